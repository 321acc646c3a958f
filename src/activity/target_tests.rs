//! The target table: record → method, path, headers, body, effect.
#![allow(clippy::unwrap_used, reason = "tests")]

use serde_json::json;

use super::*;
use crate::catalog::Catalog;
use crate::connection::AuthScheme;
use crate::query::test_support::connection;

fn build(
    object: &str,
    kind: ActivityKind,
    record: &Value,
    user: Option<&str>,
) -> Result<Prepared, ActivityError> {
    // Each record has its own number, as in a run.
    static NUMBER: std::sync::atomic::AtomicUsize = std::sync::atomic::AtomicUsize::new(0);
    let index = NUMBER.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
    let (object, record) = (Catalog::embedded().find_object(object).unwrap(), record.as_object().unwrap());
    prepare(&object, kind, &connection(|_| {}), user, record, (&marks(), index))
}

fn marks() -> Marks {
    Marks { prefix: "p".to_owned(), with_property: false, elsewhere: None }
}

#[test]
fn records_become_requests() {
    use ActivityKind::{Create, Delete, Update};
    for (object, kind, record, line, body, effect) in [
        (
            "Messages",
            Create,
            json!({"subject": "x"}),
            "POST me/messages",
            json!({"subject": "x"}),
            Effect::Once,
        ),
        (
            "Messages",
            Create,
            json!({"subject": "x", "UserId": "u@x"}),
            "POST users/u@x/messages",
            json!({"subject": "x"}),
            Effect::Once,
        ),
        (
            "Messages",
            Create,
            json!({"subject": "x", "ParentFolderId": "Drafts"}),
            "POST me/mailFolders/Drafts/messages",
            json!({"subject": "x"}),
            Effect::Once,
        ),
        (
            "Messages",
            Update,
            json!({"id": "a/b", "isRead": true}),
            "PATCH me/messages/a%2Fb",
            json!({"isRead": true}),
            Effect::Once,
        ),
        (
            "Messages",
            Update,
            json!({"id": "a", "Etag": "W/1", "isRead": true}),
            "PATCH me/messages/a If-Match:W/1",
            json!({"isRead": true}),
            Effect::Repeatable,
        ),
        (
            "Messages",
            Delete,
            json!({"id": "a", "UserId": "u"}),
            "DELETE users/u/messages/a",
            Value::Null,
            Effect::Repeatable,
        ),
        (
            "Events",
            Delete,
            json!({"id": "a", "GroupId": "g"}),
            "DELETE groups/g/events/a",
            Value::Null,
            Effect::Repeatable,
        ),
        (
            "Users",
            Update,
            json!({"id": "u", "jobTitle": "x"}),
            "PATCH users/u",
            json!({"jobTitle": "x"}),
            Effect::Once,
        ),
        (
            "/me/mailFolders",
            Create,
            json!({"displayName": "x", "a_b": 1}),
            "POST me/mailFolders",
            json!({"displayName": "x", "a_b": 1}),
            Effect::Once,
        ),
        (
            "/me/mailFolders",
            Update,
            json!({"id": "f", "displayName": "x"}),
            "PATCH me/mailFolders/f",
            json!({"displayName": "x"}),
            Effect::Once,
        ),
        (
            "/me/mailboxSettings",
            Update,
            json!({"timeZone": "UTC"}),
            "PATCH me/mailboxSettings",
            json!({"timeZone": "UTC"}),
            Effect::Once,
        ),
        (
            "/me/mailFolders",
            Delete,
            json!({"id": "f"}),
            "DELETE me/mailFolders/f",
            Value::Null,
            Effect::Repeatable,
        ),
        (
            "/groups/g/members/u/$ref",
            Delete,
            json!({}),
            "DELETE groups/g/members/u/$ref",
            Value::Null,
            Effect::Repeatable,
        ),
    ] {
        let request = build(object, kind, &record, None)
            .unwrap_or_else(|error| panic!("{object} {record}: {error}"))
            .request;
        let headers: String =
            request.headers.iter().map(|(name, value)| format!(" {name}:{value}")).collect();
        let sent = request.body.as_ref().map_or(Value::Null, |body| serde_json::from_slice(body).unwrap());
        assert_eq!(format!("{} {}{headers}", request.method, request.path), line, "{object} {record}");
        assert_eq!((sent, request.effect), (body, effect), "{object} {record}");
    }
}

#[test]
fn a_new_event_can_be_sent_again() {
    let record = json!({"start": {"dateTime": "2026-01-31T08:00", "timeZone": "UTC"}, "end": {"dateTime": "2026-01-31T09:00", "timeZone": "UTC"}});
    let id = |record: &Value| {
        let request = build("Events", ActivityKind::Create, record, None).unwrap().request;
        assert_eq!(request.effect, Effect::Repeatable);
        let body: Value = serde_json::from_slice(&request.body.unwrap()).unwrap();
        body["transactionId"].as_str().unwrap().to_owned()
    };
    assert_eq!(id(&record).len(), 36);
    assert_ne!(id(&record), id(&record), "each record has its own");
    let mut own = record;
    own["transactionId"] = json!("mine");
    assert_eq!(id(&own), "mine");
}

#[test]
fn what_cannot_be_sent_is_refused() {
    use ActivityKind::{Delete, Update};
    for (object, kind, record, expected) in [
        ("Messages", Update, json!({"isRead": true}), "Update needs the id"),
        (
            "Events",
            ActivityKind::Create,
            json!({"CalendarId": "c", "GroupId": "g", "start_dateTime": "2026-01-31T08:00", "start_timeZone": "UTC",
                   "end_dateTime": "2026-01-31T09:00", "end_timeZone": "UTC"}),
            "both choose where",
        ),
        (
            "Events",
            Delete,
            json!({"id": "e", "UserId": "u", "GroupId": "g"}),
            "'GroupId' and 'UserId' both choose",
        ),
        ("Tasks", Delete, json!({"id": "t", "Etag": "W/1", "UserId": "u"}), "'UserId' would choose nothing"),
        (
            "Calendars",
            Delete,
            json!({"id": "c", "GroupId": "g"}),
            "no single record of Calendars by 'GroupId'",
        ),
        ("Messages", Delete, json!({}), "Delete needs the id"),
        ("/me/mailFolders", Delete, json!({}), "Delete needs the id"),
        ("/me/mailFolders", Delete, json!({"id": ""}), "needs an id as text"),
        ("/me/mailFolders", Delete, json!({"id": "f", "x": 1}), "not 'x'"),
        ("/me/mailFolders", Update, json!({"id": "f"}), "changes nothing"),
    ] {
        let error = build(object, kind, &record, None).unwrap_err().to_string();
        assert!(error.contains(expected), "{object} {record}: {error}");
    }
}

#[test]
fn what_the_service_does_not_take_is_refused_before_it_is_asked() {
    for (object, kind, record, expected) in [
        ("CalendarView", ActivityKind::Delete, json!({"id": "e"}), "Write to Events"),
        ("Files", ActivityKind::Create, json!({"name": "x"}), "UploadFile"),
    ] {
        let error = build(object, kind, &record, None).unwrap_err().to_string();
        assert!(error.contains(expected), "{object} {record}: {error}");
    }
}

#[test]
fn the_tag_of_a_task_goes_out_as_a_header() {
    // One that is missing is read before the task is changed.
    let request =
        build("Tasks", ActivityKind::Update, &json!({"id": "t", "title": "x"}), None).unwrap().request;
    assert_eq!(request.headers, []);
    let tagged = json!({"id": "t", "title": "x", "Etag": "W/1"});
    let request = build("Tasks", ActivityKind::Update, &tagged, None).unwrap().request;
    assert_eq!((request.path.as_str(), request.headers[0].0), ("planner/tasks/t", "If-Match"));
}

#[test]
fn records_of_a_collection_of_several_types_say_theirs() {
    let record = json!({"BusinessId": "b", "displayName": "Ada"});
    let request = build("BookingCustomers", ActivityKind::Create, &record, None).unwrap().request;
    let body: Value = serde_json::from_slice(&request.body.unwrap()).unwrap();
    assert_eq!(request.path, "solutions/bookingBusinesses/b/customers");
    assert_eq!(body, json!({"displayName": "Ada", "@odata.type": "#microsoft.graph.bookingCustomer"}));
}

#[test]
fn a_conversation_is_made_with_its_first_post() {
    let record = json!({"GroupId": "g", "topic": "T", "Content": "Hi", "NewParticipants": "Ada, ada@x.y; Lee, lee@x.y"});
    let request = build("Conversations", ActivityKind::Create, &record, None).unwrap().request;
    let body: Value = serde_json::from_slice(&request.body.unwrap()).unwrap();
    assert_eq!(request.path, "groups/g/conversations");
    let post = &body["threads"][0]["posts"][0];
    assert_eq!(post["body"]["content"], "Hi");
    assert_eq!(post["newParticipants"][1]["emailAddress"], json!({"name": "Lee", "address": "lee@x.y"}));
}

#[test]
fn an_application_must_name_a_user() {
    let application = connection(|connection| connection.auth.scheme = AuthScheme::AzureMsi);
    let record = json!({"subject": "x"});
    let messages = Catalog::embedded().find_object("Messages").unwrap();
    let on = |user| {
        prepare(
            &messages,
            ActivityKind::Create,
            &application,
            user,
            record.as_object().unwrap(),
            (&marks(), 0),
        )
    };
    assert_eq!(on(None).unwrap_err().code(), "user_id_required");
    let request = on(Some("u@X")).unwrap().request;
    assert_eq!((request.path.as_str(), request.mailbox.as_deref()), ("users/u@X/messages", Some("u@x")));
}
