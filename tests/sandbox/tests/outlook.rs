//! What Outlook items have beyond rows: folders in folders, series, extended properties, changes since a token.
#![allow(clippy::unwrap_used)]

mod helper;

use helper::{Client, encoded};
use o365_sandbox::{Sandbox, SandboxOptions};
use serde_json::{Value, json};

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

#[test]
fn folders_lie_in_folders() {
    let sandbox = Sandbox::start(SandboxOptions::default());
    let client = Client::adele(&sandbox);
    let before = client.all("/me/mailFolders", &[]).len();
    let made = client.send("POST", "/me/mailFolders/inbox/childFolders", &[], r#"{"displayName":"Clients"}"#);
    assert_eq!(made.status, 201, "{}", made.body);
    let child = text(&made.json()["id"]);
    let inbox = client.get("/me/mailFolders/inbox").json();
    assert_eq!((&inbox["childFolderCount"], &made.json()["parentFolderId"]), (&json!(1), &inbox["id"]));
    assert_eq!(client.all("/me/mailFolders", &[]).len(), before, "the list shows the top level");
    assert_eq!(client.all("/me/mailFolders/inbox/childFolders", &[])[0]["id"], child.as_str());
    assert_eq!(client.all("/me/mailFolders/msgfolderroot/childFolders", &[]).len(), before);
    let taken =
        client.send("POST", "/me/mailFolders/inbox/childFolders", &[], r#"{"displayName":"clients"}"#);
    assert_eq!(taken.code(), "ErrorFolderExists");
    let elsewhere = client.send("POST", "/me/mailFolders", &[], r#"{"displayName":"Clients"}"#);
    assert_eq!(elsewhere.status, 201, "a name is taken in its folder only");
    let message =
        client.send("POST", &format!("/me/mailFolders/{child}/messages"), &[], r#"{"subject":"In there"}"#);
    assert_eq!(message.json()["parentFolderId"], child.as_str());
    let named =
        client.send("PATCH", &format!("/me/mailFolders/{child}"), &[], r#"{"displayName":"Partners"}"#);
    assert_eq!((named.status, &named.json()["displayName"]), (200, &json!("Partners")));
    assert_eq!(client.send("DELETE", &format!("/me/mailFolders/{child}"), &[], "").status, 204);
    assert_eq!(client.get("/me/mailFolders/inbox").json()["childFolderCount"], 0);
}

#[test]
fn calendars_lie_in_groups() {
    let sandbox = Sandbox::start(SandboxOptions::default());
    let client = Client::adele(&sandbox);
    let group = text(&client.send("POST", "/me/calendarGroups", &[], r#"{"name":"Projects"}"#).json()["id"]);
    let path = format!("/me/calendarGroups/{group}/calendars");
    assert!(client.all(&path, &[]).is_empty());
    assert_eq!(client.send("POST", &path, &[], r#"{"name":"Moon"}"#).status, 201);
    assert_eq!(client.all(&path, &[])[0]["name"], "Moon");
    assert_eq!(client.all("/me/calendars", &[]).len(), 4, "the whole list has those of every group");
    assert_eq!(client.get("/me/calendarGroups/none/calendars").status, 404);
}

#[test]
fn a_series_is_expanded_in_views_and_by_its_instances() {
    let sandbox = Sandbox::start(SandboxOptions::default());
    let client = Client::adele(&sandbox);
    let calendar = text(&client.send("POST", "/me/calendars", &[], r#"{"name":"Series"}"#).json()["id"]);
    let series = |recurrence: Value| {
        json!({"subject": "Standup", "start": {"dateTime": "2027-03-01T09:00:00", "timeZone": "UTC"},
               "end": {"dateTime": "2027-03-01T09:15:00", "timeZone": "UTC"}, "recurrence": recurrence})
        .to_string()
    };
    let recurrence = json!({"pattern": {"type": "weekly", "interval": 1, "daysOfWeek": ["monday", "wednesday"]},
                            "range": {"type": "numbered", "startDate": "2027-03-01", "numberOfOccurrences": 5}});
    let events = format!("/me/calendars/{calendar}/events");
    let made = client.send("POST", &events, &[], &series(recurrence)).json();
    assert_eq!(made["type"], "seriesMaster");
    let master = text(&made["id"]);
    let span = "startDateTime=2027-03-02T00:00:00Z&endDateTime=2027-04-30T00:00:00Z";
    let view = client.all(&format!("/me/calendars/{calendar}/calendarView?{span}&$top=2"), &[]);
    let starts: Vec<String> =
        view.iter().map(|row| text(&row["start"]["dateTime"])[..10].to_owned()).collect();
    assert_eq!(
        starts,
        ["2027-03-03", "2027-03-08", "2027-03-10", "2027-03-15"],
        "five in all, one before the span"
    );
    assert!(view.iter().all(|row| row["type"] == "occurrence" && row["seriesMasterId"] == master.as_str()));
    let path = format!("/me/calendars/{calendar}/calendarView?{span}&$orderby=start/dateTime desc");
    assert_eq!(client.all(&path, &[])[0]["start"], view[3]["start"], "the latest first");
    let instances = client.all(&format!("/me/events/{master}/instances?{span}&$select=subject,start"), &[]);
    assert_eq!((instances.len(), &instances[0]["id"]), (4, &view[0]["id"]));
    let one = client.get(&format!("/me/events/{}", text(&view[0]["id"])));
    assert_eq!((one.status, &one.json()["start"]), (200, &view[0]["start"]));
    assert_eq!(client.get(&format!("/me/events/{master}/instances")).code(), "ErrorInvalidParameter");
    assert_eq!(client.all(&events, &[]).len(), 1, "the list shows the series once");
    for recurrence in [
        json!({"pattern": {"type": "weekly", "interval": 1}, "range": {"type": "noEnd", "startDate": "2027-03-01"}}),
        json!({"pattern": {"type": "daily", "interval": 0}, "range": {"type": "noEnd", "startDate": "2027-03-01"}}),
        json!({"pattern": {"type": "daily", "interval": 1}}),
    ] {
        assert_eq!(
            client.send("POST", &events, &[], &series(recurrence)).code(),
            "ErrorPropertyValidationFailure"
        );
    }
}

#[test]
fn extended_properties_are_kept_expanded_and_found() {
    let sandbox = Sandbox::start(SandboxOptions::default());
    let client = Client::adele(&sandbox);
    let id = "String {66f5a359-4659-4830-9070-00047ec6ac6e} Name Color";
    let mut bodies = vec![
        ("/me/messages", json!({"subject": "Painted"})),
        ("/me/contacts", json!({"givenName": "Painted"})),
    ];
    bodies.push((
        "/me/events",
        json!({"subject": "Painted", "start": {"dateTime": "2027-01-01T09:00:00", "timeZone": "UTC"},
               "end": {"dateTime": "2027-01-01T10:00:00", "timeZone": "UTC"}}),
    ));
    for (path, mut body) in bodies {
        body["singleValueExtendedProperties"] = json!([{"id": id, "value": "Green"}]);
        let made = client.send("POST", path, &[], &body.to_string());
        assert_eq!(made.status, 201, "{}", made.body);
        assert!(made.json().get("singleValueExtendedProperties").is_none());
        let one = format!("{path}/{}", text(&made.json()["id"]));
        let expand =
            format!("{one}?$expand=singleValueExtendedProperties($filter=id%20eq%20'{}')", encoded(id));
        assert_eq!(
            client.get(&expand).json()["singleValueExtendedProperties"][0]["value"],
            "Green",
            "{path}"
        );
        let changed = json!({"singleValueExtendedProperties": [{"id": id, "value": "Red"}]}).to_string();
        assert_eq!(client.send("PATCH", &one, &[], &changed).status, 200);
        let wanted = |value: &str| {
            let filter =
                format!("singleValueExtendedProperties/any(ep: ep/id eq '{id}' and ep/value eq '{value}')");
            client.all(&format!("{path}?$filter={}", encoded(&filter)), &[]).len()
        };
        assert_eq!((wanted("Red"), wanted("Green")), (1, 0), "{path}");
        assert_eq!(client.get(&format!("{one}?$expand=singleValueExtendedProperties")).status, 400);
        body["singleValueExtendedProperties"] = json!([{"id": "Color", "value": "Green"}]);
        assert_eq!(client.send("POST", path, &[], &body.to_string()).code(), "ErrorInvalidProperty");
    }
}

#[test]
fn changes_are_told_once_and_removals_too() {
    let sandbox = Sandbox::start(SandboxOptions::default());
    let client = Client::adele(&sandbox);
    let app = Client::app(&sandbox);
    let walk = |client: &Client, start: &str| {
        let (mut rows, mut next) = (Vec::new(), start.to_owned());
        loop {
            let page = client.send("GET", &next, &[("prefer", "odata.maxpagesize=50")], "").json();
            rows.extend(page["value"].as_array().unwrap_or_else(|| panic!("{page}")).iter().cloned());
            match page["@odata.nextLink"].as_str() {
                Some(link) => next = link.to_owned(),
                None => return (rows, text(&page["@odata.deltaLink"])),
            }
        }
    };
    let messages = "/me/mailFolders/drafts/messages";
    let (rows, link) = walk(&client, &format!("{messages}/delta?$select=subject"));
    assert_eq!(rows.len(), client.all(messages, &[]).len());
    assert!(walk(&client, &link).0.is_empty());
    let made = text(&client.send("POST", messages, &[], r#"{"subject":"New"}"#).json()["id"]);
    let (rows, link) = walk(&client, &link);
    assert_eq!((rows.len(), &rows[0]["subject"], rows[0].get("body")), (1, &json!("New"), None));
    client.send("DELETE", &format!("/me/messages/{made}"), &[], "");
    let (rows, _) = walk(&client, &link);
    assert!(
        rows.iter().any(|row| row["id"] == made.as_str() && row["@removed"]["reason"] == "deleted"),
        "{rows:?}"
    );
    let gone = client.get(&format!("{messages}/delta?$deltatoken=old"));
    assert_eq!((gone.status, gone.code().as_str()), (410, "SyncStateNotFound"));

    let (rows, link) = walk(&app, "/users/delta?$select=displayName");
    assert_eq!(rows.len(), 25);
    let user = sandbox.user(7);
    app.send("PATCH", &format!("/users/{}", user.id), &[], r#"{"displayName":"Renamed"}"#);
    app.send("DELETE", &format!("/users/{}", sandbox.user(8).id), &[], "");
    let (rows, _) = walk(&app, &link);
    assert_eq!(
        (rows.len(), &rows[0]["displayName"], &rows[1]["@removed"]["reason"]),
        (2, &json!("Renamed"), &json!("changed"))
    );
    assert_eq!(walk(&client, "/me/contacts/delta").0.len(), 60);
}

#[test]
fn event_actions_answer_as_documented() {
    let sandbox = Sandbox::start(SandboxOptions::default());
    let client = Client::adele(&sandbox);
    let events = client.all("/me/events?$select=isOrganizer&$top=100", &[]);
    let pick =
        |organizer: bool| text(&events.iter().find(|row| row["isOrganizer"] == organizer).unwrap()["id"]);
    let (own, invited) = (pick(true), pick(false));
    let to = r#"{"toRecipients":[{"emailAddress":{"address":"a@b.example"}}],"comment":"See"}"#;
    let cases = [
        (&invited, "accept", r#"{"comment":"Yes","sendResponse":true}"#, 202),
        (&own, "accept", "{}", 400),
        (&invited, "tentativelyAccept", r#"{"sendResponse":false}"#, 202),
        (&invited, "cancel", "{}", 400),
        (&own, "forward", to, 202),
        (&own, "forward", "{}", 400),
        (
            &own,
            "snoozeReminder",
            r#"{"newReminderTime":{"dateTime":"2027-01-01T10:00:00","timeZone":"UTC"}}"#,
            200,
        ),
        (&own, "snoozeReminder", "{}", 400),
        (&own, "dismissReminder", "", 200),
        (&invited, "decline", r#"{"surprise":1}"#, 400),
        (&invited, "decline", "", 202),
        (&own, "cancel", r#"{"comment":"Not today"}"#, 202),
        (&own, "cancel", "", 404),
    ];
    for (id, action, body, status) in cases {
        let reply = client.send("POST", &format!("/me/events/{id}/{action}"), &[], body);
        assert_eq!(reply.status, status, "{action} {body} {}", reply.body);
    }
}
