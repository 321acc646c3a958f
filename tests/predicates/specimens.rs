//! Writes by conditions that once hit records nobody chose, each by itself.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use crate::condition::{Condition, is, json_of, one_of};
use crate::table::{Bench, connection};
use crate::world::Object;

impl Bench {
    fn object(&self, name: &str) -> &Object {
        self.world.objects.iter().find(|object| object.name == name).unwrap()
    }

    /// Deletes by conditions; answers the ids that are gone and the answer.
    async fn delete(&self, object: &Object, conditions: &[Condition]) -> (BTreeSet<String>, Value) {
        let names_user = conditions.iter().any(|condition| condition.names("UserId"));
        let path = format!("/v1/connections/{}/delete", connection(object, names_user));
        let body = json!({"object": object.name, "conditions": json_of(conditions)});
        let answer = self.post(&path, body).await.json();
        let gone = self.changed(object);
        self.restore();
        (gone, answer)
    }
}

#[tokio::test]
async fn a_delete_hits_the_records_of_the_place_that_its_conditions_name_and_no_others() {
    let bench = Bench::new().await;
    let user = bench.world.users[0].clone();
    let two_places = |object: &'static str, place: &'static str| {
        let rows = &bench.object(object).rows;
        let first = rows.iter().find(|row| row.removable && row.has("UserId", &user)).unwrap();
        let value = first.values(place)[0].clone();
        let elsewhere = rows.iter().find(|row| row.has("UserId", &user) && !row.has(place, &value)).unwrap();
        (first.id.clone(), elsewhere.id.clone(), value)
    };
    // Two ids and one place: the record elsewhere stays.
    for (object, place) in [
        ("Messages", "ParentFolderId"),
        ("Contacts", "ParentFolderId"),
        ("Events", "CalendarId"),
        ("Tasks", "planId"),
        ("Tasks", "bucketId"),
        ("Files", "parentReference_id"),
    ] {
        let (inside, elsewhere, value) = two_places(object, place);
        let object = bench.object(object);
        let conditions = [one_of("id", &[&inside, &elsewhere]), is(place, &value)];
        let (gone, answer) = bench.delete(object, &conditions).await;
        let expected = object.gone_with(&BTreeSet::from([inside]));
        assert_eq!(gone, expected, "{} {place}: {answer}", object.name);
    }
    // A user and a group exclude each other.
    let events = bench.object("Events");
    let group = events.rows.iter().find_map(|row| row.values("GroupId").first()).unwrap();
    let (gone, answer) =
        bench.delete(events, &[is("UserId", &bench.world.users[1]), is("GroupId", group)]).await;
    assert!(gone.is_empty() && answer["detail"].as_str().unwrap().contains("both choose"), "{answer}");
    // What is found in a group's drive is removed there.
    let files = bench.object("Files");
    let of_group = files.rows.iter().find(|row| !row.values("GroupId").is_empty()).unwrap();
    let drive = &of_group.values("parentReference_driveId")[0];
    let folder = &of_group.values("parentReference_id")[0];
    let conditions = [is("parentReference_driveId", drive), is("parentReference_id", folder)];
    let (gone, answer) = bench.delete(files, &conditions).await;
    assert_eq!(gone, files.gone_with(&files.meant(&conditions, &bench.world)), "{answer}");
    // "All but the archive" does not include the archive, and is refused until it is said by its id.
    let messages = bench.object("Messages");
    let but = |value: &str| Condition::IsNot { column: "ParentFolderId", values: vec![value.to_owned()] };
    let (gone, answer) = bench.delete(messages, &[but("archive")]).await;
    assert!(
        gone.is_empty() && answer["detail"].as_str().unwrap().contains("'archive' is a name"),
        "{answer}"
    );
    let archive = messages.names.iter().find(|(_, name, _)| *name == "archive").unwrap().2.clone();
    let (gone, answer) = bench.delete(messages, &[but(&archive)]).await;
    assert_eq!(gone, messages.meant(&[but(&archive)], &bench.world), "{answer}");
}
