//! Groups, conversations, Planner, Bookings, To Do, licences: made, listed, changed, deleted, and refused.
#![allow(clippy::unwrap_used)]

mod helper;

use helper::{Client, Reply};
use o365_sandbox::{Sandbox, SandboxOptions};
use serde_json::{Value, json};

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

fn first(client: &Client, path: &str) -> Value {
    client.get(path).json()["value"][0].clone()
}

fn group(client: &Client) -> String {
    text(&first(client, "/groups?$filter=displayName eq 'Retail'")["id"])
}

fn created(reply: &Reply) -> Value {
    assert_eq!(reply.status, 201, "{}", reply.body);
    reply.json()
}

/// Path, body of a new row, changed property and its new value; the status of a change.
const LIVES: &[(&str, &str, &str, &str, u16)] = &[
    (
        "/groups",
        r#"{"displayName":"New team","mailEnabled":true,"mailNickname":"newteam","securityEnabled":false,"groupTypes":["Unified"]}"#,
        "description",
        "Changed",
        204,
    ),
    (
        "/solutions/bookingBusinesses",
        r#"{"displayName":"Fourth Coffee","phone":"555-555-0100"}"#,
        "phone",
        "555-555-0199",
        204,
    ),
    (
        "BUSINESS/services",
        r#"{"displayName":"Tasting","defaultDuration":"PT1H","defaultPrice":10.5}"#,
        "description",
        "Long",
        204,
    ),
    (
        "BUSINESS/staffMembers",
        r##"{"@odata.type":"#microsoft.graph.bookingStaffMember","displayName":"Dana","emailAddress":"dana@contoso.com","role":"externalGuest"}"##,
        "displayName",
        "Dana S.",
        204,
    ),
    (
        "BUSINESS/customers",
        r##"{"@odata.type":"#microsoft.graph.bookingCustomer","displayName":"Joni","emailAddress":"joni@contoso.com"}"##,
        "displayName",
        "Joni S.",
        204,
    ),
    (
        "BUSINESS/customQuestions",
        r#"{"displayName":"How old?","answerInputType":"text"}"#,
        "displayName",
        "How tall?",
        204,
    ),
    ("/me/calendarGroups", r#"{"name":"Personal events"}"#, "name", "Private events", 200),
    ("/me/todo/lists", r#"{"displayName":"Travel items"}"#, "displayName", "Trips", 200),
];

#[test]
fn every_kind_of_row_has_a_life() {
    let sandbox = Sandbox::start(SandboxOptions::default());
    let client = Client::adele(&sandbox);
    let business = text(&first(&client, "/solutions/bookingBusinesses")["id"]);
    // Groups are written by an administrator's application; the others by a user.
    for (path, body, property, value, changed) in LIVES {
        let path = path.replace("BUSINESS", &format!("/solutions/bookingBusinesses/{business}"));
        let before = client.all(&path, &[]).len();
        let made = created(&client.send("POST", &path, &[], body));
        let one = format!("{path}/{}", text(&made["id"]));
        assert_eq!(client.all(&path, &[]).len(), before + 1, "{path}");
        let reply = client.send("PATCH", &one, &[], &json!({*property: value}).to_string());
        assert_eq!(reply.status, *changed, "{one} {}", reply.body);
        assert_eq!(client.get(&one).json()[*property], *value, "{one}");
        assert_eq!(client.send("PATCH", &one, &[], r#"{"colour":"red"}"#).status, 400, "{one}");
        assert_eq!(client.send("POST", &path, &[], "{}").status, 400, "{path}");
        assert_eq!(client.send("DELETE", &one, &[], "").status, 204, "{one}");
        assert_eq!(client.get(&one).status, 404, "{one}");
    }
    let app = Client::app(&sandbox);
    assert_eq!(app.send("POST", "/solutions/bookingBusinesses", &[], r#"{"displayName":"x"}"#).status, 403);
}

#[test]
fn appointments_need_a_service_and_can_be_cancelled() {
    let sandbox = Sandbox::start(SandboxOptions::default());
    let client = Client::adele(&sandbox);
    let business = format!(
        "/solutions/bookingBusinesses/{}",
        text(&first(&client, "/solutions/bookingBusinesses")["id"])
    );
    let service = text(&first(&client, &format!("{business}/services"))["id"]);
    let time = |hour: u32| json!({"@odata.type": "#microsoft.graph.dateTimeTimeZone", "dateTime": format!("2026-12-01T{hour}:00:00Z"), "timeZone": "UTC"});
    let body = json!({"startDateTime": time(10), "endDateTime": time(11), "serviceId": service});
    let made = created(&client.send("POST", &format!("{business}/appointments"), &[], &body.to_string()));
    assert_eq!(made["serviceName"], "Service 1");
    let one = format!("{business}/appointments/{}", text(&made["id"]));
    assert_eq!(
        client.send("POST", &format!("{one}/cancel"), &[], r#"{"cancellationMessage":"Sorry"}"#).status,
        204
    );
    assert_eq!(client.get(&one).status, 404);
    let body = json!({"startDateTime": time(10), "endDateTime": time(11), "serviceId": "none"});
    assert_eq!(client.send("POST", &format!("{business}/appointments"), &[], &body.to_string()).status, 400);
    assert_eq!(client.send("POST", &format!("{business}/publish"), &[], "").status, 204);
    assert_eq!(client.get(&business).json()["isPublished"], true);
    assert_eq!(client.get(&format!("{business}/appointments?$filter=serviceName eq 'x'")).status, 400);
    assert_eq!(client.get("/solutions/bookingBusinesses/none/services").status, 404);
}

#[test]
fn planner_insists_on_tags() {
    let sandbox = Sandbox::start(SandboxOptions::default());
    let client = Client::adele(&sandbox);
    let body = json!({"container": {"url": format!("https://graph.microsoft.com/v1.0/groups/{}", group(&client))}, "title": "Plan"});
    let plan = created(&client.send("POST", "/planner/plans", &[], &body.to_string()));
    let plan_id = text(&plan["id"]);
    let body = json!({"name": "Advertising", "planId": plan_id, "orderHint": " !"});
    let bucket = text(&created(&client.send("POST", "/planner/buckets", &[], &body.to_string()))["id"]);
    let user = sandbox.first_user().id;
    let body = json!({"planId": plan_id, "bucketId": bucket, "title": "Update list",
        "assignments": {&user: {"@odata.type": "#microsoft.graph.plannerAssignment", "orderHint": " !"}}});
    let task = created(&client.send("POST", "/planner/tasks", &[], &body.to_string()));
    let one = format!("/planner/tasks/{}", text(&task["id"]));
    for path in [format!("/planner/plans/{plan_id}/tasks"), format!("/planner/buckets/{bucket}/tasks")] {
        assert_eq!(first(&client, &path)["id"], task["id"], "{path}");
    }
    assert!(client.all("/me/planner/tasks", &[]).iter().any(|row| row["id"] == task["id"]));
    assert!(client.all("/me/planner/plans", &[]).iter().any(|row| row["id"] == plan["id"]));
    let tag = text(&task["@odata.etag"]);
    let done = r#"{"percentComplete":100}"#;
    let cases = [(None, 428), (Some("*"), 400), (Some("W/\"old\""), 412)];
    for (given, status) in cases {
        let headers: Vec<(&str, &str)> = given.iter().map(|tag| ("if-match", *tag)).collect();
        assert_eq!(client.send("PATCH", &one, &headers, done).status, status, "{given:?}");
        assert_eq!(client.send("DELETE", &one, &headers, "").status, status, "{given:?}");
    }
    let match_tag = [("if-match", tag.as_str())];
    assert_eq!(client.send("PATCH", &one, &match_tag, done).status, 204);
    let changed = client.get(&one).json();
    assert!(changed["completedDateTime"].is_string() && changed["@odata.etag"] != task["@odata.etag"]);
    let tag = text(&changed["@odata.etag"]);
    let both = [("if-match", tag.as_str()), ("prefer", "return=representation")];
    let reply = client.send("PATCH", &one, &both, &json!({"assignments": {&user: null}}).to_string());
    assert_eq!((reply.status, &reply.json()["assignments"]), (200, &json!({})));
    let details = format!("{one}/details");
    let tag = text(&client.get(&details).json()["@odata.etag"]);
    let reply = client.send("PATCH", &details, &[("if-match", &tag)], r#"{"description":"Long"}"#);
    assert_eq!(reply.status, 204, "{}", reply.body);
    assert_eq!(client.get(&one).json()["hasDescription"], true);
    for body in [
        r#"{"title":"x"}"#.to_owned(),
        r#"{"planId":"none","title":"x"}"#.to_owned(),
        json!({"planId": plan_id, "title": "x", "percentComplete": 101}).to_string(),
    ] {
        assert_eq!(client.send("POST", "/planner/tasks", &[], &body).status, 400, "{body}");
    }
    let tag = text(&client.get(&one).json()["@odata.etag"]);
    assert_eq!(client.send("PATCH", &one, &[("if-match", &tag)], r#"{"planId":"other"}"#).status, 400);
    assert_eq!(client.send("DELETE", &one, &[("if-match", &tag)], "").status, 204);
    assert_eq!(client.get(&one).status, 404);
    assert_eq!(client.get("/me/planner/tasks?$filter=title eq 'x'").status, 400);
}

#[test]
fn conversations_begin_with_a_post_and_go_with_their_threads() {
    let sandbox = Sandbox::start(SandboxOptions::default());
    let client = Client::adele(&sandbox);
    let group = format!("/groups/{}", group(&client));
    let post = json!({"body": {"contentType": "html", "content": "<p>Hello</p>"}, "newParticipants": [{"emailAddress": {"name": "A", "address": "a@b.example"}}]});
    let body = json!({"topic": "New head count", "threads": [{"posts": [post]}]});
    let made = created(&client.send("POST", &format!("{group}/conversations"), &[], &body.to_string()));
    assert_eq!((&made["topic"], &made["preview"]), (&json!("New head count"), &json!("Hello")));
    let one = format!("{group}/conversations/{}", text(&made["id"]));
    let thread = text(&first(&client, &format!("{one}/threads"))["id"]);
    let reply = client.send(
        "POST",
        &format!("{group}/threads/{thread}/reply"),
        &[],
        r#"{"post":{"body":{"contentType":"text","content":"Fine"}}}"#,
    );
    assert_eq!(reply.status, 202);
    assert_eq!(client.all(&format!("{group}/threads/{thread}/posts"), &[]).len(), 2);
    let locked = client.send("PATCH", &format!("{group}/threads/{thread}"), &[], r#"{"isLocked":true}"#);
    assert_eq!((locked.status, &locked.json()["isLocked"]), (200, &json!(true)));
    assert_eq!(client.send("PATCH", &one, &[], r#"{"topic":"x"}"#).status, 405);
    assert_eq!(client.send("DELETE", &one, &[], "").status, 204);
    assert_eq!(client.get(&format!("{group}/threads/{thread}")).status, 404);
    assert_eq!(
        client.send("POST", &format!("{group}/conversations"), &[], r#"{"topic":"x","threads":[]}"#).status,
        400
    );
    let app = Client::app(&sandbox);
    assert_eq!(app.send("POST", &format!("{group}/conversations"), &[], &body.to_string()).status, 403);
    assert_eq!(app.get(&format!("{group}/conversations")).status, 200);
}

#[test]
fn groups_follow_the_directorys_rules() {
    let sandbox = Sandbox::start(SandboxOptions::default());
    let client = Client::adele(&sandbox);
    let eventual = [("consistencylevel", "eventual")];
    let refused = [
        ("/groups?$filter=endsWith(displayName,'l')", "Request_UnsupportedQuery"),
        ("/groups?$filter=contains(displayName,'l')", "Request_UnsupportedQuery"),
        ("/groups?$filter=displayName ne 'l'", "Request_UnsupportedQuery"),
        ("/groups?$search=\"displayName:sales\"", "Request_UnsupportedQuery"),
        ("/groups?$top=1000", "Request_UnsupportedQuery"),
        ("/groups?$select=colour", "BadRequest"),
        ("/groups/$count", "Request_BadRequest"),
        ("/groups/none", "Request_ResourceNotFound"),
    ];
    for (path, code) in refused {
        assert_eq!(client.get(path).code(), code, "{path}");
    }
    assert_eq!(client.all("/groups?$filter=groupTypes/any(t:t eq 'Unified')", &[]).len(), 4);
    assert_eq!(client.send("GET", "/groups/$count", &eventual, "").body, "6");
    assert_eq!(client.all("/groups?$filter=displayName ne 'Retail'&$count=true", &eventual).len(), 5);
    assert_eq!(client.all("/groups?$search=\"displayName:sales\"", &eventual).len(), 1);
    assert_eq!(client.all("/groups?$top=2", &[]).len(), 6);
    let small = first(&client, "/groups?$select=displayName&$top=1");
    assert_eq!(small.as_object().unwrap().len(), 1, "the directory adds no id");
    for body in [
        r#"{"displayName":"x","mailNickname":"x","securityEnabled":true}"#,
        r#"{"displayName":"x","mailEnabled":true,"mailNickname":"x","securityEnabled":true}"#,
        r#"{"displayName":"x","mailEnabled":false,"mailNickname":"retail","securityEnabled":true}"#,
        r#"{"displayName":"x","mailEnabled":false,"mailNickname":"a b","securityEnabled":true}"#,
    ] {
        assert_eq!(client.send("POST", "/groups", &[], body).code(), "Request_BadRequest", "{body}");
    }
    let one = format!("/groups/{}", group(&client));
    let before = client.all(&format!("{one}/members"), &[]).len();
    let stranger = client.all("/users?$select=id", &[]).into_iter().map(|row| text(&row["id"]));
    let members: Vec<String> =
        client.all(&format!("{one}/members?$select=id"), &[]).iter().map(|row| text(&row["id"])).collect();
    let stranger = stranger.into_iter().find(|id| !members.contains(id)).unwrap();
    let body = json!({"@odata.id": format!("{}/directoryObjects/{stranger}", client.base)}).to_string();
    assert_eq!(client.send("POST", &format!("{one}/members/$ref"), &[], &body).status, 204);
    assert_eq!(client.send("POST", &format!("{one}/members/$ref"), &[], &body).status, 400, "already in");
    assert_eq!(client.all(&format!("{one}/members"), &[]).len(), before + 1);
    assert_eq!(client.send("DELETE", &format!("{one}/members/{stranger}/$ref"), &[], "").status, 204);
    assert_eq!(client.get(&format!("{one}/drive/root/children")).status, 200);
    assert_eq!(client.get(&format!("{one}/events")).status, 200);
    assert_eq!(client.send("DELETE", &one, &[], "").status, 204);
    let gone = first(&client, "/directory/deletedItems/microsoft.graph.group");
    assert_eq!(gone["displayName"], "Retail");
    let restore = format!("/directory/deletedItems/microsoft.graph.group/{}/restore", text(&gone["id"]));
    assert_eq!(client.send("POST", &restore, &[], "").status, 200);
    assert_eq!(client.get(&one).status, 200);
}

#[test]
fn licences_are_given_while_there_are_any() {
    let sandbox = Sandbox::start(SandboxOptions::default());
    let client = Client::app(&sandbox);
    let skus = client.all("/subscribedSkus", &[]);
    let sku = |name: &str| text(&skus.iter().find(|row| row["skuPartNumber"] == name).unwrap()["skuId"]);
    let path = format!("/users/{}/assignLicense", sandbox.first_user().upn);
    let give = |sku: &str| {
        json!({"addLicenses": [{"disabledPlans": [], "skuId": sku}], "removeLicenses": []}).to_string()
    };
    let reply = client.send("POST", &path, &[], &give(&sku("FLOW_FREE")));
    assert_eq!(reply.status, 200, "{}", reply.body);
    let user = format!("/users/{}", sandbox.first_user().upn);
    let held = client.get(&format!("{user}?$select=assignedLicenses")).json();
    assert!(held["assignedLicenses"].to_string().contains(&sku("FLOW_FREE")));
    assert!(!client.all(&format!("{user}/licenseDetails"), &[]).is_empty());
    let none = "00000000-0000-0000-0000-000000000000";
    for body in [
        give(&sku("EMS")),
        give(none),
        json!({"addLicenses": [], "removeLicenses": [none]}).to_string(),
        json!({"addLicenses": []}).to_string(),
    ] {
        assert_eq!(client.send("POST", &path, &[], &body).code(), "Request_BadRequest", "{body}");
    }
    let take = json!({"addLicenses": [], "removeLicenses": [sku("FLOW_FREE")]}).to_string();
    assert_eq!(client.send("POST", &path, &[], &take).status, 200);
}

#[test]
fn deleted_users_can_be_listed_and_restored() {
    let sandbox = Sandbox::start(SandboxOptions::default());
    let client = Client::app(&sandbox);
    let user = sandbox.user(5);
    assert_eq!(client.send("DELETE", &format!("/users/{}", user.id), &[], "").status, 204);
    let gone = first(
        &client,
        "/directory/deletedItems/microsoft.graph.user?$select=id,userPrincipalName,deletedDateTime",
    );
    assert_eq!(gone["id"], user.id.as_str());
    assert!(gone["deletedDateTime"].is_string());
    let restore = format!("/directory/deletedItems/microsoft.graph.user/{}/restore", user.id);
    assert_eq!(client.send("POST", &restore, &[], "").status, 200);
    assert_eq!(client.get(&format!("/users/{}", user.id)).json()["userPrincipalName"], user.upn.as_str());
}
