//! What becomes of conditions that choose a place: a path holds them, rows are compared with them, or they are refused.
#![allow(clippy::unwrap_used, clippy::needless_pass_by_value, reason = "tests")]

use percent_encoding::percent_decode_str;
use serde_json::{Value, json};

use super::plan::{Plan, plan};
use super::test_support::connection;
use crate::catalog::Catalog;
use crate::clock::Timestamp;
use crate::connection::AuthScheme;

const NOW: Timestamp = Timestamp::from_seconds(1_767_225_600);

/// A plan for a user's connection, or for an application's that names no user.
fn planned(object: &str, conditions: &Value, application: bool) -> Result<Plan, String> {
    let request = json!({"object": object, "fields": ["id"], "conditions": conditions});
    let connection = connection(|connection| {
        if application {
            connection.auth.scheme = AuthScheme::AzureServicePrincipal;
        }
    });
    let request = serde_json::from_value(request).unwrap();
    plan(&Catalog::embedded(), &request, &connection, None, NOW).map_err(|error| error.to_string())
}

/// The paths without `$top`, decoded, and ` |conditions` left for the agent.
fn shown(plan: &Plan) -> String {
    let path = |path: &str| {
        let path = percent_decode_str(path).decode_utf8().unwrap().into_owned();
        path.split(['?', '&']).filter(|part| !part.starts_with("$top=")).collect::<Vec<_>>().join("?")
    };
    let paths: Vec<String> = plan.scans.iter().map(|scan| path(&scan.request.path)).collect();
    match plan.evaluated.agent.as_slice() {
        [] => paths.join(" "),
        agent => format!("{} |{}", paths.join(" "), agent.join(" & ")),
    }
}

fn is(field: &str, value: Value) -> Value {
    let operator = if value.is_array() { "in" } else { "=" };
    json!({"field": field, "operator": operator, "value": value})
}

fn not(field: &str, value: Value) -> Value {
    json!({"field": field, "operator": "!=", "value": value})
}

#[test]
fn every_condition_on_a_place_is_used_by_the_path_or_compared_with_rows() {
    for (object, conditions, expected) in [
        (
            "Messages",
            json!([is("id", json!(["m1", "m2"])), is("ParentFolderId", json!("X"))]),
            "me/messages/m1?$select=id,parentFolderId me/messages/m2?$select=id,parentFolderId |parentFolderId = 'X'",
        ),
        // A name is not compared with ids, so the folder is read and its rows are compared with the ids.
        (
            "Messages",
            json!([is("id", json!("m1")), is("ParentFolderId", json!("archive"))]),
            "me/mailFolders/archive/messages?$select=id |id = 'm1'",
        ),
        (
            "Contacts",
            json!([is("id", json!("c")), is("ParentFolderId", json!("X"))]),
            "me/contacts/c?$select=id,parentFolderId |parentFolderId = 'X'",
        ),
        (
            "MailFolders",
            json!([is("id", json!("f")), is("parentFolderId", json!("X"))]),
            "me/mailFolders/f?$select=id,parentFolderId |parentFolderId = 'X'",
        ),
        // No event says in which calendar it is.
        (
            "Events",
            json!([is("id", json!(["e1", "e2"])), is("CalendarId", json!("c"))]),
            "me/calendars/c/events?$select=id |id in ('e1', 'e2')",
        ),
        ("Events", json!([is("id", json!("e")), is("GroupId", json!("g"))]), "groups/g/events/e?$select=id"),
        (
            "Tasks",
            json!([is("id", json!("t")), is("planId", json!("p"))]),
            "planner/tasks/t?$select=id,planId |planId = 'p'",
        ),
        (
            "Tasks",
            json!([is("UserId", json!("u")), is("planId", json!("p"))]),
            "users/u/planner/tasks?$select=id,planId |planId = 'p'",
        ),
        (
            "Tasks",
            json!([is("planId", json!("p")), is("bucketId", json!("b"))]),
            "planner/buckets/b/tasks?$select=id,planId |planId = 'p'",
        ),
        (
            "Tasks",
            json!([is("UserId", json!("u")), is("id", json!("t"))]),
            "users/u/planner/tasks?$select=id |id = 't'",
        ),
        (
            "Tasks",
            json!({"or": [is("planId", json!("p")), is("planId", json!("q"))]}),
            "planner/plans/p/tasks?$select=id planner/plans/q/tasks?$select=id",
        ),
        (
            "Files",
            json!([is("id", json!("f")), is("parentReference_driveId", json!("D9"))]),
            "drives/D9/items/f?$select=id",
        ),
        (
            "Files",
            json!([
                is("UserId", json!("u")),
                is("parentReference_driveId", json!("D")),
                is("id", json!("f"))
            ]),
            "users/u/drive/items/f?$select=id,parentReference |parentReference_driveId = 'D'",
        ),
        (
            "EventAttachments",
            json!([is("GroupId", json!("g")), is("Events_id", json!("e")), is("id", json!("a"))]),
            "groups/g/events/e/attachments/a?$select=id",
        ),
        ("Calendars", json!([is("GroupId", json!("g"))]), "groups/g/calendar?$select=id"),
        (
            "Messages",
            json!([is("ParentFolderId", json!("inbox")), is("ParentFolderId", json!("X"))]),
            "me/mailFolders/inbox/messages?$select=id,parentFolderId?$filter=parentFolderId eq 'X' |parentFolderId = 'X'",
        ),
        (
            "Messages",
            json!([not("ParentFolderId", json!("X"))]),
            "me/messages?$select=id,parentFolderId |parentFolderId != 'X'",
        ),
        (
            "Users",
            json!([is("id", json!(["a@b.c", "A@B.C", "d@b.c"]))]),
            "users/a@b.c?$select=id users/d@b.c?$select=id",
        ),
    ] {
        let found = planned(object, &conditions, false).map(|plan| shown(&plan));
        assert_eq!(found.as_deref(), Ok(expected), "{object} {conditions}");
    }
}

#[test]
fn what_no_route_uses_is_refused_with_the_remedy() {
    for (object, conditions, expected) in [
        (
            "Events",
            json!([is("UserId", json!("u")), is("GroupId", json!("g"))]),
            "'GroupId' and 'UserId' both choose",
        ),
        (
            "Plans",
            json!([is("UserId", json!("u")), is("GroupId", json!("g"))]),
            "'GroupId' and 'UserId' both choose",
        ),
        ("CalendarView", json!([is("CalendarId", json!("c")), is("GroupId", json!("g"))]), "both choose"),
        (
            "Messages",
            json!([not("ParentFolderId", json!("archive"))]),
            "'archive' is a name, and rows carry the id in 'parentFolderId'",
        ),
        ("Messages", json!([{"not": is("ParentFolderId", json!(["X", "Archive"]))}]), "'Archive' is a name"),
        (
            "Messages",
            json!([{"or": [is("ParentFolderId", json!("inbox")), is("subject", json!("x"))]}]),
            "Query MailFolders with the condition id = this name",
        ),
        ("Messages", json!([is("ParentFolderId", json!(["inbox", "X"]))]), "ids and names in one list"),
        ("MailFolders", json!([not("id", json!("inbox"))]), "'inbox' is a name"),
        (
            "MailFolders",
            json!([is("id", json!("inbox")), is("parentFolderId", json!("msgfolderroot"))]),
            "is a name",
        ),
        ("Users", json!([not("id", json!("a@b.c"))]), "Query Users with the condition id = this name"),
        ("Files", json!([not("parentReference_id", json!("root"))]), "'root' is a name"),
        ("Contacts", json!([not("ParentFolderId", json!("X"))]), "the default place of Contacts alone"),
        ("Messages", json!([is("id", json!(" "))]), "'id' needs an id as text"),
        ("Events", json!([{"not": is("CalendarId", json!("c"))}]), "not inside 'or' or 'not'"),
        ("Conversations", json!([is("id", json!("c"))]), "Conversations needs GroupId"),
    ] {
        let message = planned(object, &conditions, false).unwrap_err();
        assert!(message.contains(expected), "{object} {conditions}: {message}");
    }
}

#[test]
fn a_row_says_of_its_place_only_what_its_path_held() {
    let cells = |object: &str, conditions: Value| {
        let request = json!({"object": object, "fields": ["UserId", "GroupId"], "conditions": conditions});
        let request = serde_json::from_value(request).unwrap();
        let connection = connection(|_| {});
        let plan = plan(&Catalog::embedded(), &request, &connection, Some("default"), NOW).unwrap();
        let text = |cell: &Vec<u8>| String::from_utf8(cell.clone()).unwrap();
        plan.scans[0].places.iter().map(text).collect::<Vec<_>>().join(" ")
    };
    assert_eq!(cells("Events", json!([is("GroupId", json!("g"))])), "null \"g\"");
    assert_eq!(cells("Events", json!([])), "\"default\" null");
    assert_eq!(cells("Tasks", json!([is("planId", json!("p"))])), "null null");
    assert_eq!(cells("Tasks", json!([is("id", json!("t"))])), "null null");
    assert_eq!(cells("Tasks", json!([is("UserId", json!("u")), is("planId", json!("p"))])), "\"u\" null");
    assert_eq!(cells("Files", json!([is("parentReference_driveId", json!("D"))])), "null null");
}

#[test]
fn an_application_reads_everybody_only_where_the_route_has_a_user() {
    let shown = |conditions: Value| planned("Tasks", &conditions, true).map(|plan| shown(&plan));
    assert_eq!(shown(json!([])).as_deref(), Ok("users?$select=id"));
    assert_eq!(shown(json!([not("planId", json!("p"))])).as_deref(), Ok("users?$select=id |planId != 'p'"));
    assert_eq!(shown(json!([is("planId", json!("p"))])).as_deref(), Ok("planner/plans/p/tasks?$select=id"));
    assert_eq!(
        shown(json!([is("UserId", json!("*")), is("planId", json!("p"))])).as_deref(),
        Ok("users?$select=id |planId = 'p'")
    );
    assert_eq!(shown(json!([is("id", json!("t"))])).as_deref(), Ok("planner/tasks/t?$select=id"));
}
