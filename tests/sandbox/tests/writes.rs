//! Creating, changing, deleting and acting on items.
#![allow(clippy::unwrap_used)]

mod helper;

use helper::{Client, Reply};
use o365_sandbox::{Sandbox, SandboxOptions};
use serde_json::Value;

const EVENT: &str = r#"{"subject":"Lunch","body":{"contentType":"HTML","content":"<b>Late</b> morning?"},
    "start":{"dateTime":"2026-12-01T12:00:00","timeZone":"Tokyo Standard Time"},
    "end":{"dateTime":"2026-12-01T13:00:00","timeZone":"Tokyo Standard Time"},
    "location":{"displayName":"Harry's Bar"},"transactionId":"7e163156-7762-4beb-a1c6-729ea81755a7"}"#;

fn id(reply: &Reply) -> String {
    reply.json()["id"].as_str().unwrap().to_owned()
}

#[test]
fn a_draft_is_written_changed_sent_and_found_again() {
    let sandbox = Sandbox::start(SandboxOptions::default());
    let client = Client::adele(&sandbox);
    let draft = client.send(
        "POST",
        "/me/messages",
        &[],
        r#"{"Subject":"Did you see it?","importance":"Low",
        "body":{"contentType":"HTML","content":"They were <b>awesome</b>!"},
        "toRecipients":[{"emailAddress":{"address":"AlexW@contoso.onmicrosoft.com"}}]}"#,
    );
    assert_eq!(draft.status, 201, "{}", draft.body);
    let row = draft.json();
    assert_eq!(
        (&row["importance"], &row["isDraft"], &row["bodyPreview"]),
        (&"low".into(), &true.into(), &"They were awesome !".into())
    );
    assert_eq!(row["toRecipients"][0]["emailAddress"]["name"], "AlexW@contoso.onmicrosoft.com");
    let path = format!("/me/messages/{}", id(&draft));
    let etag = row["@odata.etag"].as_str().unwrap();
    let changed = client.send("PATCH", &path, &[("if-match", etag)], r#"{"subject":"Changed"}"#);
    assert_eq!((changed.status, &changed.json()["subject"]), (200, &"Changed".into()));
    let stale = client.send("PATCH", &path, &[("if-match", etag)], r#"{"subject":"Lost"}"#);
    assert_eq!((stale.status, stale.code().as_str()), (412, "ErrorIrresolvableConflict"));
    assert_eq!(client.send("DELETE", &path, &[("if-match", etag)], "").status, 412);
    assert_eq!(
        client.send("PATCH", &path, &[("prefer", "return=minimal")], r#"{"isRead":true}"#).status,
        204
    );
    assert_eq!(client.send("POST", &format!("{path}/send"), &[], "").status, 202);
    assert_eq!(client.get(&path).code(), "ErrorItemNotFound", "a sent message has a new id");
    let sent = client.all("/me/mailFolders/sentitems/messages?$filter=subject eq 'Changed'", &[]);
    assert_eq!(sent.len(), 1);
    let sent = format!("/me/messages/{}", sent[0]["id"].as_str().unwrap());
    let refused = client.send("PATCH", &sent, &[], r#"{"subject":"Too late"}"#);
    assert_eq!(refused.code(), "ErrorInvalidPropertySet");
    assert_eq!(client.send("DELETE", &sent, &[], "").status, 204);
    assert_eq!(client.get(&sent).status, 404);
}

#[test]
fn a_move_gives_a_new_id_and_an_immutable_id_survives_it() {
    let sandbox = Sandbox::start(SandboxOptions::default());
    let client = Client::adele(&sandbox);
    let immutable = [("prefer", "IdType=\"ImmutableId\"")];
    let plain = client.get("/me/messages?$top=1").json()["value"][0]["id"].as_str().unwrap().to_owned();
    let lasting = client.send("GET", "/me/messages?$top=1", &immutable, "");
    assert_eq!(lasting.header("preference-applied"), "IdType=\"ImmutableId\"");
    let lasting = lasting.json()["value"][0]["id"].as_str().unwrap().to_owned();
    assert_ne!(plain, lasting);
    let body = r#"{"destinationId":"deleteditems"}"#;
    let moved = client.send("POST", &format!("/me/messages/{plain}/move"), &[], body);
    assert_eq!(moved.status, 201);
    assert_ne!(id(&moved), plain);
    assert_eq!(client.get(&format!("/me/messages/{plain}")).status, 404);
    let again = client.send("GET", &format!("/me/messages/{lasting}"), &immutable, "");
    assert_eq!((again.status, id(&again)), (200, lasting));
    assert_eq!(client.get("/me/messages/$count").body, "200");
    let copied = client.send("POST", &format!("/me/messages/{}/copy", id(&moved)), &[], body);
    assert_eq!(copied.status, 201);
    assert_eq!(client.get("/me/messages/$count").body, "201");
    assert_eq!(
        client.send("POST", &format!("/me/messages/{}/move", id(&moved)), &[], "{}").code(),
        "ErrorInvalidParameter"
    );
}

#[test]
fn an_event_is_created_once_per_transaction() {
    let sandbox = Sandbox::start(SandboxOptions::default());
    let client = Client::adele(&sandbox);
    let created = client.send("POST", "/me/events", &[], EVENT);
    assert_eq!(created.status, 201, "{}", created.body);
    let row = created.json();
    assert_eq!(
        (&row["start"]["dateTime"], &row["start"]["timeZone"]),
        (&"2026-12-01T03:00:00.0000000".into(), &"UTC".into())
    );
    assert_eq!(row["originalStartTimeZone"], "Tokyo Standard Time");
    assert_eq!(row["location"]["locationType"], "default");
    assert_eq!(id(&client.send("POST", "/me/events", &[], EVENT)), id(&created));
    assert_eq!(client.get("/me/events/$count").body, "81");
    let path = format!("/me/events/{}", id(&created));
    let zoned =
        client.send("GET", &path, &[("prefer", "outlook.timezone=\"Tokyo Standard Time\"")], "").json();
    assert_eq!(zoned["start"]["dateTime"], "2026-12-01T12:00:00.0000000");
    let view = "/me/calendarView?startDateTime=2026-12-01T00:00:00Z&endDateTime=2026-12-02T00:00:00Z&$top=50";
    let rows = client.all(view, &[]);
    assert!(rows.iter().any(|row| row["subject"] == "Lunch"));
    let starts: Vec<&str> = rows.iter().map(|row| row["start"]["dateTime"].as_str().unwrap()).collect();
    assert!(starts.is_sorted());
    assert_eq!(client.send("POST", &format!("{path}/accept"), &[], "{}").code(), "ErrorInvalidRequest");
    assert_eq!(client.send("POST", &format!("{path}/dismissReminder"), &[], "").status, 200);
    assert_eq!(client.send("POST", &format!("{path}/cancel"), &[], r#"{"Comment":"Off"}"#).status, 202);
    assert_eq!(client.get(&path).status, 404);
    let invited = client.all("/me/events?$filter=isOrganizer eq false&$top=1000", &[]);
    let invited = format!("/me/events/{}", invited[0]["id"].as_str().unwrap());
    assert_eq!(
        client.send("POST", &format!("{invited}/accept"), &[], r#"{"sendResponse":true}"#).status,
        202
    );
    assert_eq!(client.get(&invited).json()["responseStatus"]["response"], "accepted");
}

#[test]
fn bodies_that_the_service_refuses_are_refused() {
    let sandbox = Sandbox::start(SandboxOptions::default());
    let client = Client::app(&sandbox);
    let own = format!("/users/{}", sandbox.first_user().upn);
    let user =
        r#""displayName":"A","mailNickname":"a","accountEnabled":true,"passwordProfile":{"password":"x"}"#;
    let cases: Vec<(String, String, u16, &str, &str)> = vec![
        (format!("{own}/messages"), r#"{"colour":"red"}"#.into(), 400, "RequestBodyRead", "'colour'"),
        (format!("{own}/messages"), r#"{"isRead":"yes"}"#.into(), 400, "RequestBodyRead", "Edm.Boolean"),
        (format!("{own}/messages"), r#"{"importance":"urgent"}"#.into(), 400, "RequestBodyRead", "urgent"),
        (format!("{own}/messages"), r#"{"body":{"text":"x"}}"#.into(), 400, "RequestBodyRead", "itemBody"),
        (format!("{own}/messages"), "{".into(), 400, "BadRequest", "JSON"),
        (
            format!("{own}/events"),
            r#"{"subject":"x"}"#.into(),
            400,
            "ErrorPropertyValidationFailure",
            "'start'",
        ),
        (
            format!("{own}/events"),
            EVENT.replace("Tokyo Standard Time", "Mars Standard Time"),
            400,
            "TimeZoneNotSupportedException",
            "Mars",
        ),
        (format!("{own}/calendars"), "{}".into(), 400, "ErrorInvalidParameter", "name"),
        (format!("{own}/calendars"), r#"{"name":"Calendar"}"#.into(), 409, "ErrorFolderExists", "exists"),
        (format!("{own}/sendMail"), "{}".into(), 400, "ErrorInvalidParameter", "message"),
        (
            format!("{own}/sendMail"),
            r#"{"message":{"subject":"x"}}"#.into(),
            400,
            "ErrorInvalidRecipients",
            "recipient",
        ),
        ("/users".into(), format!("{{{user}}}"), 400, "Request_BadRequest", "userPrincipalName"),
        (
            "/users".into(),
            format!(r#"{{{user},"userPrincipalName":"a@fabrikam.example"}}"#),
            400,
            "Request_BadRequest",
            "domain",
        ),
        (
            "/users".into(),
            format!(r#"{{{user},"userPrincipalName":"AdeleV@contoso.onmicrosoft.com"}}"#),
            400,
            "Request_BadRequest",
            "already exists",
        ),
        ("/users".into(), r#"{"colour":"red"}"#.into(), 400, "Request_BadRequest", "'colour'"),
    ];
    for (path, body, status, code, word) in cases {
        let reply = client.send("POST", &path, &[], &body);
        assert_eq!((reply.status, reply.code().as_str()), (status, code), "{path} {body}: {}", reply.body);
        assert!(reply.json()["error"]["message"].as_str().unwrap().contains(word), "{}", reply.body);
    }
    let untyped = client.send("POST", &format!("{own}/messages"), &[("content-type", "")], "{}");
    assert_eq!(untyped.code(), "RequestBodyRead");
    let typed = client.send("POST", &format!("{own}/messages"), &[("content-type", "text/csv")], "{}");
    assert_eq!(typed.status, 415);
}

#[test]
fn users_contacts_and_folders_come_and_go() {
    let sandbox = Sandbox::start(SandboxOptions::default());
    let client = Client::app(&sandbox);
    let body = r#"{"accountEnabled":true,"displayName":"Nova","mailNickname":"nova","userPrincipalName":"nova@contoso.onmicrosoft.com",
        "passwordProfile":{"forceChangePasswordNextSignIn":true,"password":"xWwvJ]6NMw+bWH-d"}}"#;
    let created = client.send("POST", "/users", &[], body);
    assert_eq!(created.status, 201, "{}", created.body);
    let path = "/users/nova@contoso.onmicrosoft.com";
    assert_eq!(client.send("PATCH", path, &[], r#"{"city":"Lyon"}"#).status, 204);
    assert_eq!(client.get(&format!("{path}?$select=city,id")).json()["city"], "Lyon");
    assert_eq!(client.get(&format!("{path}/messages")).code(), "MailboxNotEnabledForRESTAPI");
    assert_eq!(client.send("PATCH", path, &[], r#"{"createdDateTime":"2026-01-01T00:00:00Z"}"#).status, 400);
    assert_eq!(client.send("DELETE", path, &[], "").status, 204);
    assert_eq!(client.get(path).status, 404);

    let client = Client::adele(&sandbox);
    let body = r#"{"givenName":"Pavel","surname":"Bansky","emailAddresses":[{"address":"pavelb@fabrikam.example","name":"Pavel"}]}"#;
    let contact = client.send("POST", "/me/contacts", &[], body).json();
    assert_eq!(
        (&contact["displayName"], &contact["fileAs"]),
        (&"Pavel Bansky".into(), &"Bansky, Pavel".into())
    );
    let found =
        client.all("/me/contacts?$filter=emailAddresses/any(a:a/address eq 'PavelB@fabrikam.example')", &[]);
    assert_eq!(found.len(), 1);
    let folder = client.send("POST", "/me/mailFolders", &[], r#"{"displayName":"Clients"}"#);
    assert_eq!(folder.status, 201);
    assert_eq!(
        client.get(&format!("/me/mailFolders/{}/messages", id(&folder))).json()["value"],
        Value::Array(vec![])
    );
    assert_eq!(
        client.send("DELETE", "/me/mailFolders/inbox", &[], "").code(),
        "ErrorDeleteDistinguishedFolder"
    );
    let calendar = client.send("POST", "/me/calendars", &[], r#"{"name":"Volunteer"}"#);
    let events = format!("/me/calendars/{}/events", id(&calendar));
    assert_eq!(client.send("POST", &events, &[], EVENT).status, 201);
    assert_eq!(client.get(&events).json()["value"].as_array().unwrap().len(), 1);
    let (all, default) = ("/me/events/$count", "/me/calendar/events/$count");
    assert_eq!((client.get(all).body.as_str(), client.get(default).body.as_str()), ("81", "72"));
    assert_eq!(client.get("/me/calendar").json()["isDefaultCalendar"], true);
    assert_eq!(client.send("POST", "/me/sendMail", &[], r#"{"message":{"subject":"Lunch?","toRecipients":[{"emailAddress":{"address":"a@b.example"}}]},"saveToSentItems":"false"}"#).status, 202);
    assert_eq!(client.get("/me/messages/$count").body, "200");
}
