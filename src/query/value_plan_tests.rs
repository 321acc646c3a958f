//! The plan table of values that are no plain ones: identifiers, collections and local times.

use serde_json::{Value, json};

use super::plan_tests::{on, planned, shown};

#[test]
fn identifiers_collections_and_local_times_go_as_far_as_the_service_knows_them() {
    const M: &str = "me/messages?$select=id&$filter=";
    const E: &str = "me/events?$select=id,start&$filter=";
    const U: &str = "users?$select=id&$filter=";
    let cases: Vec<(&str, Value, String)> = vec![
        // Whether the service folds the case of identifiers is not documented: the agent looks again.
        (
            "Messages",
            json!([["conversationId", "=", "AAQ="]]),
            "me/messages?$select=id,conversationId&$filter=conversationId eq 'AAQ='&$top=1000 |conversationId".into(),
        ),
        (
            "/me/messages",
            json!([["conversationId", "!=", "AAQ="]]),
            "me/messages?$select=id,conversationId&$top=1000 |conversationId".into(),
        ),
        ("Users", json!([["id", "in", ["a", "A"]]]), format!("{U}id in ('a','A')&$top=999 |id")),
        (
            "Users",
            json!([["id", "in", ["9D2B4E0C-5F3A-4C8E-8A51-0E6A3F1F7C11"]]]),
            format!("{U}id eq '9D2B4E0C-5F3A-4C8E-8A51-0E6A3F1F7C11'&$top=999"),
        ),
        ("Messages", json!([["categories", "=", "Keep"]]), format!("{M}categories/any(x:x eq 'Keep')&$top=1000")),
        (
            "Messages",
            json!([["categories", "in", ["Keep", "O'Neil"]]]),
            format!("{M}(categories/any(x:x eq 'Keep') or categories/any(x:x eq 'O''Neil'))&$top=1000"),
        ),
        (
            "Messages",
            json!([["categories", "!=", "Keep"]]),
            "me/messages?$select=id,categories&$top=1000 |categories".into(),
        ),
        ("Users", json!([["businessPhones", "=", "1"]]), format!("{U}businessPhones/any(x:x eq '1')&$top=999")),
        (
            "Users",
            json!([["businessPhones", "not in", ["1"]]]),
            format!("{U}not(businessPhones/any(x:x eq '1'))&$top=999&$count=true +eventual"),
        ),
        (
            "Users",
            json!([["businessPhones", "starts-with", "1"]]),
            format!("{U}businessPhones/any(x:startswith(x,'1'))&$top=999&$count=true +eventual"),
        ),
        // A day more than is wanted, in whatever zone the service compares; the agent has the last word.
        (
            "Events",
            json!([["start_dateTime", "=", "2026-03-02T01:00:00+02:00"]]),
            format!(
                "{E}start/dateTime ge '2026-02-28T23:00:00' and start/dateTime le '2026-03-02T23:00:00'&$top=1000 \
                 |start_dateTime"
            ),
        ),
        (
            "Events",
            json!([["start_dateTime", "<", "9999-12-31"]]),
            "me/events?$select=id,start&$top=1000 |start_dateTime".into(),
        ),
        (
            "Events",
            json!([["start_dateTime", "!=", "2026-03-02"]]),
            "me/events?$select=id,start&$top=1000 |start_dateTime".into(),
        ),
        // A part of a related record expands it; a name with an underscore is a whole name first.
        (
            "/users",
            json!([["manager/displayName", "=", "x"], ["contoso_courses", "=", "y"]]),
            "users?$select=id&$expand=manager&$filter=contoso_courses eq 'y'&$top=999 |manager/displayName".into(),
        ),
        (
            "/sites/s/lists/l/items",
            json!([["fields/Order_x0020_Number", ">", 5]]),
            "sites/s/lists/l/items?$select=id&$expand=fields |fields/Order_x0020_Number".into(),
        ),
    ];
    for (object, conditions, expected) in cases {
        assert_eq!(shown(&planned(on(object, conditions.clone()))), expected, "{object} {conditions}");
    }
}
