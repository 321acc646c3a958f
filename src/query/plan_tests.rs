//! The plan table: request → path, headers and what is left for the agent, or the error.
#![allow(clippy::unwrap_used, clippy::needless_pass_by_value, reason = "tests")]

use percent_encoding::percent_decode_str;
use serde_json::{Value, json};

use super::plan::{Plan, Refused, plan};
use super::request::QueryRequest;
use super::test_support::connection;
use crate::catalog::Catalog;
use crate::clock::Timestamp;
use crate::connection::{AuthScheme, Connection};

const NOW: Timestamp = Timestamp::from_seconds(1_767_225_600); // 2026-01-01

fn application(connection: &mut Connection) {
    connection.auth.scheme = AuthScheme::AzureServicePrincipal;
}

fn request(value: Value) -> QueryRequest {
    serde_json::from_value(value).unwrap()
}

pub(super) fn planned(value: Value) -> Plan {
    plan(&Catalog::embedded(), &request(value), &connection(|_| {}), None, NOW).unwrap()
}

/// `C FIELD OPERATOR VALUE` as a request on `object` with the field `id`.
pub(super) fn on(object: &str, conditions: Value) -> Value {
    let conditions: Vec<Value> = conditions
        .as_array()
        .unwrap()
        .iter()
        .map(|condition| json!({"field": condition[0], "operator": condition[1], "value": condition[2]}))
        .collect();
    json!({"object": object, "fields": ["id"], "conditions": conditions})
}

/// The path decoded for reading, ` +eventual` when the advanced header is there, ` |fields` left for the agent.
pub(super) fn shown(plan: &Plan) -> String {
    let request = &plan.scans[0].request;
    let mut text = percent_decode_str(&request.path).decode_utf8().unwrap().into_owned();
    if request.headers.iter().any(|header| *header == ("ConsistencyLevel", "eventual".to_owned())) {
        text.push_str(" +eventual");
    }
    if !plan.evaluated.fields.is_empty() {
        text.push_str(&format!(" |{}", plan.evaluated.fields.join(",")));
    }
    text
}

#[test]
fn conditions_become_filters_or_stay_with_the_agent() {
    const M: &str = "me/messages?$select=id&$filter=";
    const U: &str = "users?$select=id&$filter=";
    let cases: Vec<(&str, Value, String)> = vec![
        ("Messages", json!([["isRead", "=", false]]), format!("{M}isRead eq false&$top=1000")),
        ("messages", json!([["ISREAD", "!=", "true"]]), format!("{M}isRead ne true&$top=1000")),
        ("Messages", json!([["subject", "=", "O'Neil & Co"]]), format!("{M}subject eq 'O''Neil & Co'&$top=1000")),
        ("Messages", json!([["subject", "like", "Re%"]]), format!("{M}startswith(subject,'Re')&$top=1000")),
        ("Messages", json!([["subject", "like", "%a%"]]), format!("{M}contains(subject,'a')&$top=1000")),
        ("Messages", json!([["subject", "contains", "a"]]), format!("{M}contains(subject,'a')&$top=1000")),
        ("Messages", json!([["subject", "starts-with", "a"]]), format!("{M}startswith(subject,'a')&$top=1000")),
        ("Messages", json!([["subject", "like", "abc"]]), format!("{M}subject eq 'abc'&$top=1000")),
        ("Messages", json!([["subject", "like", "%a"]]), "me/messages?$select=id,subject&$top=1000 |subject".into()),
        (
            "Messages",
            json!([["subject", "like", "R_ 7%x"]]),
            "me/messages?$select=id,subject&$filter=startswith(subject,'R')&$top=1000 |subject".into(),
        ),
        (
            "Messages",
            json!([["receivedDateTime", ">=", "2026-01-01"], ["receivedDateTime", "<", "2026-02-01T00:00:00+01:00"]]),
            format!("{M}receivedDateTime ge 2026-01-01T00:00:00Z and receivedDateTime lt 2026-01-31T23:00:00Z&$top=1000"),
        ),
        ("Messages", json!([["importance", "in", ["low", "high"]]]), format!("{M}(importance eq 'low' or importance eq 'high')&$top=1000")),
        ("Messages", json!([["importance", "in", ["low"]]]), format!("{M}importance eq 'low'&$top=1000")),
        (
            "Messages",
            json!([["from_emailAddress_address", "=", "a@b.c"]]),
            format!("{M}from/emailAddress/address eq 'a@b.c'&$top=1000"),
        ),
        (
            "Messages",
            json!([["from_emailAddress_address", "like", "%@b.c"]]),
            "me/messages?$select=id,from&$top=1000 |from_emailAddress_address".into(),
        ),
        ("Messages", json!([["categories", "contains", "red"]]), "me/messages?$select=id,categories&$top=1000 |categories".into()),
        ("Messages", json!([["subject", "is null", null]]), "me/messages?$select=id,subject&$top=1000 |subject".into()),
        ("Messages", json!([["subject", "=", null]]), "me/messages?$select=id,subject&$top=1000 |subject".into()),
        ("Messages", json!([["Etag", "=", "W/1"]]), "me/messages?$select=id&$top=1000 |Etag".into()),
        (
            "Messages",
            json!([["isRead", "=", true], ["bodyPreview", "contains", "x"]]),
            "me/messages?$select=id,bodyPreview&$filter=isRead eq true&$top=1000 |bodyPreview".into(),
        ),
        ("Messages", json!([["flag_flagStatus", "=", "flagged"]]), format!("{M}flag/flagStatus eq 'flagged'&$top=1000")),
        ("Messages", json!([["UserId", "=", "a#x@b.c"]]), "users/a#x@b.c/messages?$select=id&$top=1000".into()),
        ("Messages", json!([["ParentFolderId", "=", "Drafts"]]), "me/mailFolders/Drafts/messages?$select=id&$top=1000".into()),
        (
            "Messages",
            json!([["UserId", "=", "u"], ["parentfolderid", "=", "AA="], ["isRead", "=", true]]),
            "users/u/mailFolders/AA=/messages?$select=id&$filter=isRead eq true&$top=1000".into(),
        ),
        (
            "Messages",
            json!([["parentFolderId", "in", ["a", "b"]]]),
            "me/mailFolders/a/messages?$select=id&$top=1000".into(),
        ),
        ("Messages", json!([["Id", "=", "a/b="]]), "me/messages/a/b=?$select=id".into()),
        ("Messages", json!([["id", "=", "a"], ["isRead", "=", true]]), "me/messages/a?$select=id,isRead |isRead".into()),
        ("Messages", json!([["id", "in", ["a", "b", "a"]]]), "me/messages/a?$select=id".into()),
        ("Messages", json!([["id", "!=", "a"]]), "me/messages?$select=id&$top=1000 |id".into()),
        ("Events", json!([["subject", "like", "%test%"]]), "me/events?$select=id&$filter=contains(subject,'test')&$top=1000".into()),
        (
            "Events",
            json!([["Start_DateTime", ">=", "2026-01-01T00:00"]]),
            "me/events?$select=id,start&$filter=start/dateTime ge '2025-12-31T00:00:00'&$top=1000 |start_dateTime".into(),
        ),
        ("Events", json!([["CalendarId", "=", "c"]]), "me/calendars/c/events?$select=id&$top=1000".into()),
        ("Events", json!([["GroupId", "=", "g"]]), "groups/g/events?$select=id&$top=1000".into()),
        ("Events", json!([["location_displayName", "=", "x"]]), "me/events?$select=id,location&$top=1000 |location_displayName".into()),
        ("Contacts", json!([["GivenName", "LIKE", "John%"]]), "me/contacts?$select=id&$filter=startswith(givenName,'John')&$top=1000".into()),
        ("Contacts", json!([["ParentFolderId", "=", "f"]]), "me/contactFolders/f/contacts?$select=id&$top=1000".into()),
        ("Calendars", json!([["name", "like", "Calendar%"]]), "me/calendars?$select=id&$filter=startswith(name,'Calendar')&$top=1000".into()),
        ("Users", json!([["displayName", "=", "a"]]), format!("{U}displayName eq 'a'&$top=999")),
        ("Users", json!([["displayName", "like", "John%"]]), format!("{U}startswith(displayName,'John')&$top=999")),
        ("Users", json!([["displayName", "contains", "a"]]), "users?$select=id,displayName&$top=999 |displayName".into()),
        ("Users", json!([["mail", "like", "%@b.c"]]), format!("{U}endswith(mail,'@b.c')&$top=999&$count=true +eventual")),
        ("Users", json!([["displayName", "!=", "a"]]), format!("{U}displayName ne 'a'&$top=999&$count=true +eventual")),
        ("Users", json!([["mail", "is null", null]]), format!("{U}mail eq null&$top=999&$count=true +eventual")),
        ("Users", json!([["mail", "is not null", null]]), format!("{U}mail ne null&$top=999&$count=true +eventual")),
        ("Users", json!([["id", "in", ["a", "b"]]]), format!("{U}id in ('a','b')&$top=999 |id")),
        ("Users", json!([["id", "=", "a@b.c"]]), "users/a@b.c?$select=id".into()),
        ("Users", json!([["accountEnabled", "=", true]]), format!("{U}accountEnabled eq true&$top=999")),
        (
            "Users",
            json!([["createdDateTime", ">", "2026-01-01"]]),
            "users?$select=id,createdDateTime&$filter=createdDateTime ge 2026-01-01T00:00:00Z&$top=999 |createdDateTime".into(),
        ),
        ("Users", json!([["employeeOrgData_division", "=", "x"]]), format!("{U}employeeOrgData/division eq 'x'&$top=999")),
        ("Users", json!([["businessPhones", "contains", "1"]]), "users?$select=id,businessPhones&$top=999 |businessPhones".into()),
        ("Users", json!([["aboutMe", "=", "x"]]), "users?$select=id,aboutMe&$top=999 |aboutMe".into()),
        ("Users", json!([["passwordPolicies", "is null", null]]), format!("{U}passwordPolicies eq null&$top=999&$count=true +eventual")),
        ("/me/mailFolders", json!([["displayName", "=", "x"]]), "me/mailFolders?$select=id&$filter=displayName eq 'x'&$top=1000".into()),
        ("/me/todo/lists", json!([["a_b", ">", 5]]), "me/todo/lists?$select=id&$filter=a_b gt 5".into()),
        ("/groups", json!([["displayName", "contains", "x"]]), "groups?$select=id,displayName&$top=999 |displayName".into()),
        ("/groups", json!([["mail", "is null", null]]), "groups?$select=id&$filter=mail eq null&$top=999&$count=true +eventual".into()),
        ("/sites/s/lists", json!([["createdDateTime", ">", "2026-01-01T00:00:00Z"]]), "sites/s/lists?$select=id&$filter=createdDateTime gt 2026-01-01T00:00:00Z".into()),
        ("/users/u/messages", json!([["extension_ab_c", "=", "x"]]), "users/u/messages?$select=id&$filter=extension_ab_c eq 'x'&$top=1000".into()),
    ];
    assert!(cases.len() >= 54);
    for (object, conditions, expected) in cases {
        let plan = planned(on(object, conditions.clone()));
        assert_eq!(shown(&plan), expected, "{object} {conditions}");
    }
}

#[test]
fn trees_are_split_between_the_service_and_the_agent() {
    let leaf = |field: &str, operator: &str, value: Value| json!({"field": field, "operator": operator, "value": value});
    let read = || leaf("isRead", "=", json!(true));
    let urgent = || leaf("importance", "=", json!("high"));
    let preview = || leaf("bodyPreview", "contains", json!("x"));
    let mobile = |operator: &str, value: Value| leaf("mobilePhone", operator, value);
    let null = Value::Null;
    for (object, conditions, expected) in [
        ("Messages", json!([{"or": [read(), urgent()]}]), "(isRead eq true or importance eq 'high')"),
        ("Messages", json!({"or": [read(), urgent()]}), "(isRead eq true or importance eq 'high')"),
        ("Messages", json!([{"or": [read(), preview()]}]), "|(isRead = true or bodyPreview contains 'x')"),
        (
            "Messages",
            json!([{"or": [read(), {"and": [urgent(), preview()]}]}]),
            "(isRead eq true or importance eq 'high') |(isRead = true or (importance = 'high' and bodyPreview contains 'x'))",
        ),
        (
            "Messages",
            json!([{"and": [read(), preview()]}, urgent()]),
            "isRead eq true and importance eq 'high' |bodyPreview contains 'x'",
        ),
        ("Messages", json!([{"not": {"or": [read(), urgent()]}}]), "isRead ne true and importance ne 'high'"),
        (
            "Messages",
            json!([{"not": {"and": [read(), urgent()]}}]),
            "(isRead ne true or importance ne 'high')",
        ),
        ("Messages", json!([{"not": {"not": read()}}]), "isRead eq true"),
        (
            "Messages",
            json!([{"or": [urgent(), leaf("importance", "in", json!(["low"]))]}]),
            "(importance eq 'high' or importance eq 'low')",
        ),
        (
            "Messages",
            json!([leaf("importance", "not in", json!(["low", "high"]))]),
            "importance ne 'low' and importance ne 'high'",
        ),
        (
            "Messages",
            json!([{"or": [read(), leaf("importance", "not in", json!(["low", "high"]))]}]),
            "(isRead eq true or (importance ne 'low' and importance ne 'high'))",
        ),
        (
            "Messages",
            json!([leaf("receivedDateTime", "between", json!(["2026-01-01", "2026-02-01"]))]),
            "receivedDateTime ge 2026-01-01T00:00:00Z and receivedDateTime le 2026-02-01T00:00:00Z",
        ),
        (
            "Messages",
            json!([leaf("receivedDateTime", "not between", json!(["2026-01-01", "2026-02-01"]))]),
            "(receivedDateTime lt 2026-01-01T00:00:00Z or receivedDateTime gt 2026-02-01T00:00:00Z)",
        ),
        // Rows without a value fulfil the opposite, which Outlook cannot be asked for.
        (
            "Messages",
            json!([{"not": leaf("sentDateTime", ">", json!("2026-01-01"))}]),
            "|not sentDateTime > 2026-01-01T00:00:00Z",
        ),
        ("Messages", json!([leaf("subject", "not like", json!("a%"))]), "|subject not starts-with 'a'"),
        ("Messages", json!([leaf("subject", "not contains", json!("a"))]), "|subject not contains 'a'"),
        (
            "Messages",
            json!([leaf("from_emailAddress_address", "!=", json!("a@b.c"))]),
            "from/emailAddress/address ne 'a@b.c'",
        ),
        (
            "Users",
            json!([mobile("not starts-with", json!("+1"))]),
            "(not(startswith(mobilePhone,'+1')) or mobilePhone eq null) +eventual",
        ),
        ("Users", json!([{"not": mobile(">=", json!("1"))}]), "|not mobilePhone >= '1'"),
        ("Users", json!([mobile("not like", json!("a%b"))]), "|mobilePhone not like 'a%b'"),
        (
            "Users",
            json!([{"or": [mobile("is null", null.clone()), leaf("city", "=", json!("x"))]}]),
            "(mobilePhone eq null or city eq 'x') +eventual",
        ),
        (
            "Users",
            json!([mobile("is not null", null), mobile("in", json!(["1", "2", "1"]))]),
            "mobilePhone ne null and mobilePhone in ('1','2','1') +eventual",
        ),
    ] {
        let plan = planned(json!({"object": object, "fields": ["id"], "conditions": conditions}));
        let mut text = plan.evaluated.service.clone().unwrap_or_default();
        if plan.scans[0].request.headers.iter().any(|(name, _)| *name == "ConsistencyLevel") {
            text.push_str(" +eventual");
        }
        if !plan.evaluated.agent.is_empty() {
            text = format!("{text} |{}", plan.evaluated.agent.join(" & ")).trim_start().to_owned();
        }
        assert_eq!(text, expected, "{conditions}");
    }
}

#[test]
fn filters_stay_short() {
    let long = "x".repeat(900);
    let many: Vec<Value> = (0..9)
        .map(|number| json!({"field": "subject", "operator": "contains", "value": format!("{number}{long}")}))
        .collect();
    let plan = planned(json!({"object": "Messages", "fields": ["id"], "conditions": many}));
    assert!(plan.scans[0].request.path.len() < 4096);
    assert_eq!((plan.scans.len(), plan.evaluated.agent.len()), (1, 6), "three fit, the agent has the rest");

    let values: Vec<String> = (0..1000).map(|number| format!("n{number}")).collect();
    let list = json!([{"field": "displayName", "operator": "in", "value": values}]);
    let plan = planned(json!({"object": "Users", "fields": ["id"], "conditions": list}));
    assert_eq!(plan.scans.len(), 67, "fifteen a request");
    assert!(!plan.in_order && plan.evaluated.agent.is_empty());
    let or: Vec<Value> = (0..16)
        .map(|number| json!({"field": "city", "operator": "starts-with", "value": format!("{number}")}))
        .collect();
    let plan = planned(json!({"object": "Users", "fields": ["id"], "conditions": {"or": or}}));
    assert_eq!(
        (plan.evaluated.service, plan.evaluated.agent.len()),
        (None, 1),
        "more than fifteen alternatives"
    );
}

#[test]
fn several_places_make_several_scans() {
    let user = |value: Value| json!({"field": "UserId", "operator": "in", "value": value});
    let folder = json!({"field": "ParentFolderId", "operator": "in", "value": ["f", "F", "f"]});
    let paths = |conditions: Value, more: Value| {
        let mut value = json!({"object": "Messages", "fields": ["id"], "conditions": conditions});
        value.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        let plan = planned(value);
        let paths: Vec<String> = plan
            .scans
            .iter()
            .map(|scan| percent_decode_str(&scan.request.path).decode_utf8_lossy().into_owned())
            .collect();
        (paths, plan.in_order, plan.sort.len(), plan.offset)
    };
    let (found, in_order, sorts, offset) =
        paths(json!([user(json!(["a", "B", "A", "b"]))]), json!({"offset": 3, "limit": 2}));
    assert_eq!(found, ["users/a/messages?$select=id&$top=5", "users/B/messages?$select=id&$top=5"]);
    assert_eq!((in_order, sorts, offset), (false, 0, 3));
    let (found, ..) = paths(json!([user(json!(["a", "b"])), folder]), json!({}));
    let ends: Vec<&str> = found.iter().map(|path| path.split("/messages").next().unwrap()).collect();
    assert_eq!(
        ends,
        ["users/a/mailFolders/f", "users/b/mailFolders/f", "users/a/mailFolders/F", "users/b/mailFolders/F"]
    );
    let newest = json!({"orderBy": [{"field": "receivedDateTime", "descending": true}], "limit": 5});
    let (found, _, sorts, _) = paths(json!([user(json!(["a", "b"]))]), newest.clone());
    assert_eq!(
        (found[1].as_str(), sorts),
        ("users/b/messages?$select=id,receivedDateTime&$orderby=receivedDateTime desc&$top=5", 1)
    );
    let (found, ..) =
        paths(json!([user(json!(["a", "b"])), {"field": "isRead", "operator": "=", "value": true}]), newest);
    assert!(
        found[0].contains("$filter=receivedDateTime ge 1900-01-01T00:00:00Z and isRead eq true&"),
        "{found:?}"
    );
    let (found, _, sorts, _) =
        paths(json!([user(json!(["a", "b"]))]), json!({"orderBy": [{"field": "subject"}], "limit": 5}));
    assert_eq!((found[0].as_str(), sorts), ("users/a/messages?$select=id,subject&$top=1000", 1));
    let (found, ..) = paths(json!([user(json!(["*"]))]), json!({}));
    assert_eq!(found, ["users?$select=id&$top=999"]);
}

#[test]
fn fields_order_limit_and_offset() {
    for (value, expected) in [
        (json!({"object": "Messages"}), "me/messages?$top=100"),
        (
            json!({"object": "Users", "limit": 5}),
            "users?$select=id,businessPhones,displayName,givenName,jobTitle,mail,mobilePhone,officeLocation,preferredLanguage,surname,userPrincipalName&$top=5",
        ),
        (json!({"object": "Messages", "fields": ["Etag", "UserId"]}), "me/messages?$select=id&$top=1000"),
        (
            json!({"object": "Messages", "fields": ["body_content", "body_contentType", "subject"], "limit": 7, "offset": 3}),
            "me/messages?$select=body,subject&$top=7&$skip=3",
        ),
        (json!({"object": "Users", "fields": ["id"], "limit": 7, "offset": 3}), "users?$select=id&$top=10"),
        (
            json!({"object": "Messages", "fields": ["id", "body_content"]}),
            "me/messages?$select=id,body&$top=100",
        ),
        (json!({"object": "Messages", "fields": ["id"], "limit": 0}), "me/messages?$select=id&$top=1"),
        (json!({"object": "Messages", "fields": ["id"], "limit": 5000}), "me/messages?$select=id&$top=1000"),
        (
            json!({"object": "Messages", "fields": ["id"], "orderBy": [{"field": "receivedDateTime", "descending": true}]}),
            "me/messages?$select=id&$orderby=receivedDateTime desc&$top=1000",
        ),
        (
            json!({"object": "Users", "fields": ["id"], "orderBy": [{"field": "displayName"}]}),
            "users?$select=id&$orderby=displayName&$top=999&$count=true +eventual",
        ),
        // The order's column leads the filter: the harmless one, or the caller's own.
        (
            json!({"object": "Messages", "fields": ["id"], "orderBy": [{"field": "receivedDateTime"}],
                "conditions": [{"field": "isRead", "operator": "=", "value": false}]}),
            "me/messages?$select=id&$filter=receivedDateTime ge 1900-01-01T00:00:00Z and isRead eq false&$orderby=receivedDateTime&$top=1000",
        ),
        (
            json!({"object": "Messages", "fields": ["id"], "orderBy": [{"field": "receivedDateTime"}],
                "conditions": [{"field": "isRead", "operator": "=", "value": false},
                    {"field": "receivedDateTime", "operator": ">", "value": "2026-01-01"}]}),
            "me/messages?$select=id&$filter=receivedDateTime gt 2026-01-01T00:00:00Z and isRead eq false&$orderby=receivedDateTime&$top=1000",
        ),
        // No filter on the subject is harmless, so the agent evaluates the condition and the service sorts.
        (
            json!({"object": "Messages", "fields": ["id"], "orderBy": [{"field": "subject"}],
                "conditions": [{"field": "isRead", "operator": "=", "value": false}]}),
            "me/messages?$select=id,isRead&$orderby=subject&$top=1000 |isRead",
        ),
        (json!({"object": "/me/mailFolders"}), "me/mailFolders?$top=1000"),
        (json!({"object": "/me"}), "me"),
        (json!({"object": "/me", "fields": ["displayName", "a/b"]}), "me?$select=displayName,a"),
        (json!({"object": "/me/drive/root/children", "limit": 5, "offset": 2}), "me/drive/root/children"),
    ] {
        assert_eq!(shown(&planned(value.clone())), expected, "{value}");
    }
    let plan = planned(json!({"object": "Users", "limit": 7, "offset": 3}));
    assert_eq!((plan.limit, plan.offset), (Some(7), 3));
    let plan = planned(json!({"object": "Messages", "fields": ["id"], "offset": 3, "limit": 2,
        "conditions": [{"field": "bodyPreview", "operator": "=", "value": "x"}]}));
    assert_eq!(
        (shown(&plan).as_str(), plan.offset),
        ("me/messages?$select=id,bodyPreview&$top=1000 |bodyPreview", 3)
    );
}

#[test]
fn everything_is_encoded_once_and_stays_in_its_place() {
    let plan = planned(on("Messages", json!([["subject", "=", "a'&$top=1#+%"], ["UserId", "=", "a/b?c"]])));
    assert_eq!(
        plan.scans[0].request.path,
        "users/a%2Fb%3Fc/messages?$select=id&$filter=subject%20eq%20%27a%27%27%26%24top%3D1%23%2B%25%27&$top=1000"
    );
    let url: url::Url =
        url::Url::parse("https://graph.test/v1.0/").unwrap().join(&plan.scans[0].request.path).unwrap();
    assert_eq!(
        url.as_str(),
        format!("https://graph.test/v1.0/{}", plan.scans[0].request.path),
        "no URL parser changes it"
    );
}

#[test]
fn the_connection_decides_mailbox_page_and_cap() {
    let messages = request(json!({"object": "Messages", "fields": ["id"]}));
    let plan_on = |change: fn(&mut Connection), user| {
        plan(&Catalog::embedded(), &messages, &connection(change), user, NOW).map(|plan| shown(&plan))
    };
    assert_eq!(plan_on(|_| {}, Some("u")).unwrap(), "users/u/messages?$select=id&$top=1000");
    assert_eq!(plan_on(application, Some("u")).unwrap(), "users/u/messages?$select=id&$top=1000");
    assert_eq!(
        plan_on(|connection| connection.page_size = Some(50), None).unwrap(),
        "me/messages?$select=id&$top=50"
    );
    assert_eq!(
        plan_on(|connection| connection.max_rows = Some(20), None).unwrap(),
        "me/messages?$select=id&$top=21"
    );
    let message = plan_on(application, None).unwrap_err().to_string();
    assert!(
        message.contains("acts as an application") && message.contains("\"value\":\"adele@contoso.com\""),
        "{message}"
    );
    let users = request(json!({"object": "Users"}));
    assert!(
        plan(&Catalog::embedded(), &users, &connection(application), None, NOW).is_ok(),
        "the directory needs no mailbox"
    );
    let me = request(json!({"object": "/me/messages"}));
    assert!(
        plan(&Catalog::embedded(), &me, &connection(application), None, NOW)
            .unwrap_err()
            .to_string()
            .contains("/users/adele@contoso.com")
    );
    let mailboxes: Vec<Option<String>> = ["Messages", "Users", "/users/U@x/messages", "/users"]
        .map(|object| {
            plan(&Catalog::embedded(), &request(json!({"object": object})), &connection(|_| {}), None, NOW)
                .unwrap()
                .scans[0]
                .request
                .mailbox
                .clone()
        })
        .to_vec();
    assert_eq!(mailboxes, [Some("me".to_owned()), None, Some("u@x".to_owned()), None]);
}

#[test]
fn several_records_are_read_one_by_one() {
    let plan = planned(on("Messages", json!([["id", "in", ["a", "b", "a"]]])));
    assert_eq!(
        plan.scans.iter().map(|scan| scan.request.path.as_str()).collect::<Vec<_>>(),
        ["me/messages/a?$select=id", "me/messages/b?$select=id"]
    );
    assert!(plan.in_order, "in the order of the ids");
    assert!(plan.scans.iter().all(|scan| scan.refused == Refused::Fails(&["ErrorItemNotFound"])));
}

#[test]
fn refusals_name_the_field_and_the_remedy() {
    let many: Vec<String> = (0..1001).map(|id| id.to_string()).collect();
    for (value, expected) in [
        (json!({"object": "Mesages"}), "Did you mean 'Messages'?"),
        (json!({"object": "/me/../x"}), "without steps"),
        (json!({"object": "Messages", "fields": ["subjct"]}), "Did you mean 'subject'?"),
        (json!({"object": "Messages", "fields": ["id", "ID"]}), "'id' is named twice"),
        (json!({"object": "/me", "fields": ["a b"]}), "is no name of a property"),
        (json!({"object": "/me", "fields": ["a,b"]}), "is no name of a property"),
        (json!({"object": "/me", "fields": ["a&$filter=x"]}), "is no name of a property"),
        (on("Messages", json!([["isRead", "=", "maybe"]])), "Write for example true"),
        (on("Messages", json!([["isRead", ">", true]])), "has no order"),
        (on("Messages", json!([["isRead", "like", "t%"]])), "is for text"),
        (on("Messages", json!([["subject", ">", null]])), "'is null'"),
        (on("Messages", json!([["receivedDateTime", "=", "yesterday"]])), "2026-01-31T08:00:00Z"),
        (on("Messages", json!([["subject", "in", []]])), "needs an array"),
        (on("Messages", json!([["subject", "in", "x"]])), "needs an array"),
        (on("Messages", json!([["subject", "in", [null]]])), "use 'is null'"),
        (on("Messages", json!([["UserId", "!=", "x"]])), "with '=' and 'in' only"),
        (on("Messages", json!([["UserId", "=", ""]])), "needs an id as text"),
        (on("Messages", json!([["GroupId", "=", "g"]])), "no messages of a group"),
        (on("Events", json!([["CalendarId", "=", "c"], ["GroupId", "=", "g"]])), "Give one of them"),
        (on("Events", json!([["CalendarId", "like", "c"]])), "with '=' and 'in' only"),
        (on("Messages", json!([["id", "in", many]])), "1000 are the most"),
        (on("Messages", json!([["nope", "=", 1]])), "has no column 'nope'"),
        (on("Messages", json!([["subject", "contains", ""]])), "needs a text"),
    ] {
        let error = plan(&Catalog::embedded(), &request(value.clone()), &connection(|_| {}), None, NOW)
            .unwrap_err()
            .to_string();
        assert!(error.contains(expected), "{value}: {error}");
    }
}
