//! Random writes by conditions while others add, change and move records: the set that was written is the set that a naive
//! reader chooses. `O365_AGENT_PREDICATE_WRITES` sets another number of writes.

use std::collections::BTreeSet;
use std::time::Instant;

use serde_json::{Map, Value, json};

use crate::condition::{Condition, is, json_of};
use crate::support::Answer;
use crate::table::{Bench, connection};
use crate::world::{Graph, Object, Row};

fn writes() -> usize {
    std::env::var("O365_AGENT_PREDICATE_WRITES").ok().and_then(|count| count.parse().ok()).unwrap_or(300)
}

/// A splitmix64 generator: the same seed gives the same run.
struct Random(u64);

impl Random {
    fn next(&mut self, below: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut bits = self.0;
        bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        usize::try_from((bits ^ (bits >> 31)) % (below.max(1) as u64)).unwrap()
    }

    fn of<'a, T>(&mut self, list: &'a [T]) -> &'a T {
        &list[self.next(list.len())]
    }
}

/// A random condition on a place or on the ids of some rows.
fn leaf(object: &Object, random: &mut Random) -> Option<Condition> {
    let mut columns: Vec<&'static str> = object.places.to_vec();
    columns.push("id");
    let column = *random.of(&columns);
    let names: Vec<_> = object.names.iter().filter(|(known, ..)| *known == column).collect();
    if !names.is_empty() && random.next(8) == 0 {
        return Some(is(column, random.of(&names).1));
    }
    let mut value = || {
        let row = random.of(&object.rows);
        let value = if column == "id" { Some(&row.id) } else { row.values(column).first() };
        value.cloned()
    };
    let (first, second) = (value()?, value().or_else(&mut value)?);
    Some(match random.next(6) {
        0..=2 => is(column, &first),
        3 => Condition::Is { column, values: vec![first, second], list: true },
        4 => Condition::IsNot { column, values: vec![first] },
        _ => Condition::IsNot { column, values: vec![first, second] },
    })
}

fn condition(object: &Object, random: &mut Random) -> Option<Condition> {
    Some(match random.next(7) {
        0 => Condition::Or(vec![leaf(object, random)?, leaf(object, random)?]),
        1 => Condition::Not(Box::new(leaf(object, random)?)),
        _ => leaf(object, random)?,
    })
}

/// What others did while a write was under way.
#[derive(Default)]
struct Others {
    /// New rows: they may be written or not, but only where the conditions hold.
    added: Vec<Row>,
    /// Rows that they moved away, and what became of them.
    moved: Vec<(String, Row)>,
    /// Rows that they changed without changing their place.
    changed: BTreeSet<String>,
}

/// The path of one record, as others write it.
fn path_of(object: &Object, row: &Row) -> Option<String> {
    let first = |column: &str| row.values(column).first();
    let user = || first("UserId").map(|user| format!("users/{user}"));
    let owner = || first("GroupId").map(|group| format!("groups/{group}")).or_else(user);
    let id = &row.id;
    Some(match object.name {
        "Messages" => format!("{}/messages/{id}", user()?),
        "Contacts" => format!("{}/contacts/{id}", user()?),
        "MailFolders" => format!("{}/mailFolders/{id}", user()?),
        "Events" => format!("{}/events/{id}", owner()?),
        "Files" => format!("drives/{}/items/{id}", first("parentReference_driveId")?),
        "BookingCustomers" => format!("solutions/bookingBusinesses/{}/customers/{id}", first("BusinessId")?),
        "BookingServices" => format!("solutions/bookingBusinesses/{}/services/{id}", first("BusinessId")?),
        _ => return None,
    })
}

/// Where others add a record beside `row`, and with which body.
fn beside(object: &Object, row: &Row, number: usize) -> Option<(String, Value)> {
    let first = |column: &str| row.values(column).first();
    let name = format!("Others {number}");
    Some(match object.name {
        "Messages" => (
            format!("users/{}/mailFolders/{}/messages", first("UserId")?, first("ParentFolderId")?),
            json!({"subject": name}),
        ),
        "Contacts" => (
            format!("users/{}/contactFolders/{}/contacts", first("UserId")?, first("ParentFolderId")?),
            json!({"givenName": name}),
        ),
        "Events" => {
            let path = match first("GroupId") {
                Some(group) => format!("groups/{group}/events"),
                None => format!("users/{}/calendars/{}/events", first("UserId")?, first("CalendarId")?),
            };
            let time =
                |hour: u32| json!({"dateTime": format!("2027-05-01T{hour:02}:00:00"), "timeZone": "UTC"});
            (path, json!({"subject": name, "start": time(9), "end": time(10)}))
        }
        "Tasks" => (
            "planner/tasks".to_owned(),
            json!({"planId": first("planId")?, "bucketId": first("bucketId")?, "title": name}),
        ),
        "BookingCustomers" => (
            format!("solutions/bookingBusinesses/{}/customers", first("BusinessId")?),
            json!({"displayName": name, "emailAddress": "x@contoso.example"}),
        ),
        _ => return None,
    })
}

/// A field that others change and no Update of the tables does.
fn others_field(object: &Object) -> Option<Value> {
    Some(match object.name {
        "Messages" => json!({"importance": "high"}),
        "Contacts" => json!({"department": "Others"}),
        "Events" => json!({"showAs": "free"}),
        "BookingServices" => json!({"notes": "Others"}),
        "BookingCustomers" => json!({"emailAddress": "others@contoso.example"}),
        _ => return None,
    })
}

/// Adds, changes and moves some records beside the ones of the tenant.
async fn others(graph: &Graph, object: &Object, picks: &[usize]) -> Others {
    let mut others = Others::default();
    for (number, pick) in picks.iter().enumerate() {
        let row = &object.rows[pick % object.rows.len()];
        if others.changed.contains(&row.id) || others.moved.iter().any(|(id, _)| *id == row.id) {
            continue;
        }
        match number % 3 {
            0 => {
                let Some((path, body)) = beside(object, row, number) else { continue };
                let made = graph.call("POST", &path, Some(body)).await;
                // The place may be gone by now.
                if made.status < 300 {
                    let id = made.json()["id"].as_str().unwrap().to_owned();
                    let mut row = Row { id, within: None, ..row.clone() };
                    row.etag = None;
                    if object.name == "Tasks" {
                        row.places.remove("UserId");
                    }
                    others.added.push(row);
                }
            }
            1 => {
                let Some((path, body)) = path_of(object, row).zip(others_field(object)) else { continue };
                let _gone_already = graph.call("PATCH", &path, Some(body)).await;
                others.changed.insert(row.id.clone());
            }
            _ if object.name == "Messages" => {
                let Some(path) = path_of(object, row) else { continue };
                let user = &row.values("UserId")[0];
                let theirs = object.rows.iter().find(|other| other.has("UserId", user)).unwrap();
                let folder = theirs.values("ParentFolderId")[0].clone();
                let moved =
                    graph.call("POST", &format!("{path}/move"), Some(json!({"destinationId": folder}))).await;
                if moved.status < 300 {
                    let before = row.id.clone();
                    let mut row = Row { id: moved.json()["id"].as_str().unwrap().to_owned(), ..row.clone() };
                    row.places.insert("ParentFolderId", vec![folder]);
                    others.moved.push((before, row));
                }
            }
            _ => {}
        }
    }
    others
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn random_writes_hit_what_their_conditions_choose_while_others_write() {
    let bench = Bench::new().await;
    let writable: Vec<&Object> =
        bench.world.objects.iter().filter(|object| object.delete || !object.update.is_empty()).collect();
    let (began, mut done, mut refused, mut written, mut by_others) = (Instant::now(), 0, 0, 0, 0);
    let mut number = 0_u64;
    while done + refused < writes() {
        number += 1;
        let mut random = Random(number);
        let object = writable[random.next(writable.len())];
        let conditions: Option<Vec<Condition>> =
            (0..=random.next(3)).map(|_| condition(object, &mut random)).collect();
        let Some(conditions) = conditions else { continue };
        let deletes = object.update.is_empty() || object.delete && random.next(2) == 0;
        let picks: Vec<usize> = (0..random.next(7)).map(|_| random.next(object.rows.len())).collect();

        let mut body =
            json!({"object": object.name, "conditions": json_of(&conditions), "continueOnError": true});
        if !deletes {
            body["set"] = serde_json::from_str(object.update).unwrap();
        }
        let names_user = conditions.iter().any(|condition| condition.names("UserId"));
        let kind = if deletes { "delete" } else { "update" };
        let path = format!("/v1/connections/{}/{kind}", connection(object, names_user));
        let (answer, others) = tokio::join!(bench.post(&path, body), others(&bench.graph, object, &picks));
        let what = format!("write {number}: {kind} {} {}", object.name, json_of(&conditions));
        by_others += others.added.len() + others.moved.len() + others.changed.len();
        let count = check(&bench, object, &conditions, deletes, &answer, &others, &what).await;
        match answer.status {
            200 => done += 1,
            _ => refused += 1,
        }
        written += count;
        bench.restore();
    }
    eprintln!(
        "{done} writes done and {refused} refused, {written} records written, {by_others} changes by others, in {:?}",
        began.elapsed()
    );
    assert!(done * 3 > refused, "too many refusals to prove anything: {done} done, {refused} refused");
    assert!(written > done / 4, "{written} records are too few to prove anything");
}

/// Compares what was written with what a naive reader chooses; answers how many records were written.
async fn check(
    bench: &Bench,
    object: &Object,
    conditions: &[Condition],
    deletes: bool,
    answer: &Answer,
    others: &Others,
    what: &str,
) -> usize {
    let touched: BTreeSet<&String> =
        others.changed.iter().chain(others.moved.iter().map(|(id, _)| id)).collect();
    let changed = bench.changed(object);
    let meant = object.meant(conditions, &bench.world);
    let expected = if deletes { object.gone_with(&meant) } else { meant };
    // A row that nobody else touched is written exactly if the conditions choose it.
    let own: BTreeSet<&String> = changed.iter().filter(|id| !touched.contains(id)).collect();
    let chosen: BTreeSet<&String> = expected.iter().filter(|id| !touched.contains(id)).collect();
    if answer.status != 200 {
        assert!((400..500).contains(&answer.status), "{what}: {} {}", answer.status, answer.text());
        assert!(own.is_empty(), "{what}: refused, and yet {own:?} were written: {}", answer.text());
        return 0;
    }
    assert_eq!(own, chosen, "{what}: {}", answer.text());
    // One that others changed where it lies is chosen or not all the time; the mark of the write tells.
    for id in &others.changed {
        let row = object.row(id);
        let Some(path) = path_of(object, row) else { continue };
        let is_written = is_marked(bench, object, &path, deletes).await;
        assert_eq!(
            is_written,
            expected.contains(id),
            "{what}: {id}, which others changed: {}",
            answer.text()
        );
    }
    // One that came or moved meanwhile may be missed, and is never written unless the conditions hold of one of its places.
    for (before, row) in &others.moved {
        let path = path_of(object, row).unwrap();
        let may = object.is_meant(row, conditions, &bench.world)
            || object.is_meant(object.row(before), conditions, &bench.world);
        assert!(may || !is_marked(bench, object, &path, deletes).await, "{what}: moved {before}");
    }
    for row in &others.added {
        let Some(path) = path_of(object, row) else { continue };
        let may = object.is_meant(row, conditions, &bench.world);
        assert!(may || !is_marked(bench, object, &path, deletes).await, "{what}: added {}", row.id);
    }
    own.len()
}

/// Whether the agent has written the record at `path`.
async fn is_marked(bench: &Bench, object: &Object, path: &str, deletes: bool) -> bool {
    let found = bench.graph.call("GET", path, None).await;
    if deletes || found.status == 404 {
        return found.status == 404;
    }
    let found = found.expect(200);
    let mark: Map<String, Value> = serde_json::from_str(object.update).unwrap();
    mark.iter().all(|(name, value)| found[name.as_str()] == *value)
}
