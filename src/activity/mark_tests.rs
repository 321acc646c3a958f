//! Tests of the marks: where they go, what is asked, which rows count.
#![allow(clippy::unwrap_used, reason = "tests")]

use super::*;
use crate::query::test_support::connection;

fn marks(with_property: bool) -> Marks {
    Marks { prefix: "abc".to_owned(), with_property, elsewhere: None }
}

fn request(method: http::Method, path: &str) -> GraphRequest {
    GraphRequest {
        method,
        path: path.to_owned(),
        headers: Vec::new(),
        body: None,
        mailbox: Some("me".to_owned()),
        effect: Effect::Once,
    }
}

#[test]
fn a_mark_goes_where_the_service_lets_it_be_found() {
    for (path, mailbox, with, key, effect) in [
        ("me/contacts", Some("me"), true, Some("singleValueExtendedProperties"), Effect::Once),
        (
            "users/a/mailFolders/b/messages",
            Some("a"),
            true,
            Some("singleValueExtendedProperties"),
            Effect::Once,
        ),
        ("me/contacts", Some("me"), false, None, Effect::Once),
        ("me/events", Some("me"), false, Some("transactionId"), Effect::Repeatable),
        ("me/events", Some("me"), true, Some("singleValueExtendedProperties"), Effect::Once),
        // Nothing documents a transactionId for the events of a group.
        ("groups/g/events", Some("groups/g"), false, None, Effect::Once),
        ("groups/g/events", Some("groups/g"), true, Some("singleValueExtendedProperties"), Effect::Once),
        ("users", None, true, None, Effect::Once),
        ("groups/g/events", None, true, None, Effect::Once),
        ("me/messages/x/attachments", Some("me"), true, None, Effect::Once),
    ] {
        let mut body = Map::new();
        assert_eq!(marks(with).put(7, path, mailbox, &mut body), effect, "{path}");
        assert_eq!(body.keys().next().map(String::as_str), key, "{path}");
    }
    let mut body = Map::new();
    body.insert(
        "singleValueExtendedProperties".to_owned(),
        json!([{"id": "String {x} Name y", "value": "z"}]),
    );
    marks(true).put(7, "me/contacts", Some("me"), &mut body);
    assert_eq!(body["singleValueExtendedProperties"][1]["value"], "abc-7");
    let mut given = Map::new();
    given.insert("transactionId".to_owned(), json!("mine"));
    marks(true).put(7, "me/events", Some("me"), &mut given);
    assert_eq!(given["transactionId"], "mine");
    assert_eq!(marks(true).transaction_id(1), marks(true).transaction_id(1));
    assert_ne!(marks(true).transaction_id(1), marks(true).transaction_id(2));
    assert_eq!(marks(true).transaction_id(1).len(), 36);
}

#[test]
fn only_what_can_be_found_out_is_asked() {
    let asked = |method, path: &str, with| {
        marks(with).question(3, &request(method, path), Day::Own).map(|ask| ask.path)
    };
    let by_mark = asked(http::Method::POST, "me/contacts", true).unwrap_or_default();
    assert!(
        by_mark.starts_with("me/contacts?$select=id,createdDateTime&$top=5&$filter=singleValue"),
        "{by_mark}"
    );
    assert!(by_mark.contains("abc%2D3"), "{by_mark}");
    assert_eq!(asked(http::Method::POST, "me/contacts", false), None);
    for (path, consistent) in [
        ("me/messages", "me/mailFolders/drafts/messages?"),
        ("users/a%40b/messages", "users/a%40b/mailFolders/drafts/messages?"),
        ("me/mailFolders/archive/messages", "me/mailFolders/archive/messages?"),
        ("groups/g/events", "groups/g/events?"),
        ("me/mailFolders", "me/mailFolders?$select=id&"),
    ] {
        let asked = asked(http::Method::POST, path, true).unwrap();
        assert!(asked.starts_with(consistent), "{asked}");
    }
    assert_eq!(asked(http::Method::PATCH, "me/contacts/1", true), None);
    assert_eq!(
        asked(http::Method::DELETE, "me/contacts/1", false).as_deref(),
        Some("me/contacts/1?$select=id")
    );
}

#[test]
fn rows_without_the_mark_are_not_ours() {
    let row = |id: &str, value: &str| json!({"id": id, "singleValueExtendedProperties": [{"id": PROPERTY, "value": value}]});
    let answer = json!({"value": [{"id": "a"}, row("b", "abc-1"), row("c", "abc-10")]});
    assert_eq!(marks(true).found(1, &answer, Day::Own), ["b"]);
    assert!(marks(true).found(1, &json!({"error": 1}), Day::Own).is_empty());
}

#[test]
fn a_key_has_the_same_mark_at_every_agent_for_its_24_hours() {
    let noon = Timestamp::from_seconds(12 * 3600);
    let mark = |name: &str, kind, key: &str, now| {
        let connection = connection(|connection| {
            connection.name = crate::connection::ConnectionName::new(name).unwrap();
        });
        mark_of_key(&connection, kind, key, now)
    };
    let first = mark("A", ActivityKind::Create, "k", noon);
    assert_eq!(first, mark("A", ActivityKind::Create, "k", noon), "another agent has the same connection");
    for other in [
        mark("B", ActivityKind::Create, "k", noon),
        mark("A", ActivityKind::Execute, "k", noon),
        mark("A", ActivityKind::Create, "l", noon),
        mark("A", ActivityKind::Create, "k", noon.plus(std::time::Duration::from_secs(24 * 3600))),
    ] {
        assert_ne!(first, other);
    }
    // Yesterday's records count for a day.
    let now = noon.plus(std::time::Duration::from_secs(24 * 3600));
    let elsewhere = Elsewhere::of_key(&connection(|_| {}), ActivityKind::Create, "k", now);
    let marks = Marks { elsewhere: Some(elsewhere.clone()), ..marks(true) };
    let row = |made: &str| {
        let property = json!({"id": PROPERTY, "value": format!("{}-1", elsewhere.yesterday)});
        json!({"value": [{"id": "x", "createdDateTime": made, "singleValueExtendedProperties": [property]}]})
    };
    assert_eq!(marks.found(1, &row("1970-01-01T13:00:00Z"), Day::Yesterday), ["x"]);
    assert!(
        marks.found(1, &row("1970-01-01T11:00:00Z"), Day::Yesterday).is_empty(),
        "an earlier use of the key"
    );
    assert!(marks.found(1, &row("1970-01-01T13:00:00Z"), Day::Own).is_empty());
}
