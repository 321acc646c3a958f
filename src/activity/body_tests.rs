//! The body table: record → JSON body, or the refusal.
#![allow(clippy::unwrap_used, reason = "tests")]

use serde_json::json;

use super::*;
use crate::catalog::Catalog;

fn take(object: &str, kind: ActivityKind, record: &Value) -> Result<Parts, String> {
    let object = Catalog::embedded().find_object(object).unwrap();
    parts(&object, kind, record.as_object().unwrap()).map_err(|error| error.to_string())
}

#[test]
fn records_become_bodies() {
    use ActivityKind::{Create, Update};
    for (object, kind, record, expected) in [
        (
            "Messages",
            Create,
            json!({"Subject": "Hi", "Body_Content": "<b>", "body_contenttype": "html"}),
            json!({"subject": "Hi", "body": {"content": "<b>", "contentType": "html"}}),
        ),
        (
            "Messages",
            Create,
            json!({"body": {"Content": "x"}, "body_contentType": "text"}),
            json!({"body": {"content": "x", "contentType": "text"}}),
        ),
        (
            "Messages",
            Create,
            json!({"toRecipients": "[{\"emailAddress\":{\"address\":\"a@b.c\"}}]", "categories": ["Red"]}),
            json!({"toRecipients": [{"emailAddress": {"address": "a@b.c"}}], "categories": ["Red"]}),
        ),
        (
            "Messages",
            Create,
            json!({"subject": "x", "attachments": [{"@odata.type": "#microsoft.graph.fileAttachment"}]}),
            json!({"subject": "x", "attachments": [{"@odata.type": "#microsoft.graph.fileAttachment"}]}),
        ),
        ("Messages", Update, json!({"id": "1", "isRead": "true"}), json!({"isRead": true})),
        (
            "Messages",
            Update,
            json!({"Id": "1", "from": null, "flag_flagStatus": "flagged"}),
            json!({"from": null, "flag": {"flagStatus": "flagged"}}),
        ),
        (
            "Events",
            Create,
            json!({"start_dateTime": "2026-01-31T08:00", "start_timeZone": "UTC", "end": {"dateTime": "2026-01-31T09:00", "timeZone": "UTC"}}),
            json!({"start": {"dateTime": "2026-01-31T08:00", "timeZone": "UTC"}, "end": {"dateTime": "2026-01-31T09:00", "timeZone": "UTC"}}),
        ),
        (
            "Events",
            Update,
            json!({"id": "1", "location": {"address": {"city": "Oslo"}}, "location_displayName": "x"}),
            json!({"location": {"address": {"city": "Oslo"}, "displayName": "x"}}),
        ),
        (
            "Contacts",
            Create,
            json!({"givenName": "A", "businessPhones": ["1"]}),
            json!({"givenName": "A", "businessPhones": ["1"]}),
        ),
        ("Calendars", Create, json!({"Name": "P"}), json!({"name": "P"})),
        (
            "Users",
            Create,
            json!({"accountEnabled": true, "displayName": "A", "mailNickname": "a", "userPrincipalName": "a@b.c",
                "PasswordProfile_Password": "x", "passwordProfile_forceChangePasswordNextSignIn": false}),
            json!({"accountEnabled": true, "displayName": "A", "mailNickname": "a", "userPrincipalName": "a@b.c",
                "passwordProfile": {"password": "x", "forceChangePasswordNextSignIn": false}}),
        ),
        (
            "Users",
            Update,
            json!({"id": "u", "extension_ab_c": 5, "mobilePhone": "1"}),
            json!({"extension_ab_c": 5, "mobilePhone": "1"}),
        ),
    ] {
        let parts = take(object, kind, &record).unwrap_or_else(|error| panic!("{object} {record}: {error}"));
        assert_eq!(Value::Object(parts.body), expected, "{object} {record}");
    }
}

#[test]
fn what_says_where_is_no_part_of_the_body() {
    let record = json!({"ID": "1", "etag": "W/\"x\"", "userid": "u@x", "subject": "s"});
    let parts = take("Messages", ActivityKind::Update, &record).unwrap();
    assert_eq!(
        (parts.id.as_deref(), parts.etag.as_deref(), parts.user.as_deref()),
        (Some("1"), Some("W/\"x\""), Some("u@x"))
    );
    assert_eq!(Value::Object(parts.body), json!({"subject": "s"}));
    let parts =
        take("Messages", ActivityKind::Create, &json!({"subject": "s", "ParentFolderId": "Drafts"})).unwrap();
    assert_eq!(parts.given, [("ParentFolderId", "Drafts".to_owned())]);
    assert_eq!(take("Messages", ActivityKind::Delete, &json!({"id": "1"})).unwrap().id.as_deref(), Some("1"));
}

#[test]
fn refusals_name_the_column_and_the_remedy() {
    use ActivityKind::{Create, Delete, Update};
    for (object, kind, record, expected) in [
        ("Messages", Create, json!({}), "The record is empty"),
        ("Messages", Create, json!({"id": "1", "subject": "x"}), "'id' is set by Microsoft Graph"),
        ("Messages", Create, json!({"Etag": "1", "subject": "x"}), "'Etag' is set by Microsoft Graph"),
        ("Messages", Create, json!({"webLink": "x"}), "'webLink' is set by Microsoft Graph"),
        ("Messages", Create, json!({"subjct": "x"}), "Did you mean 'subject'?"),
        (
            "Messages",
            Create,
            json!({"body": {"contnt": "x"}}),
            "'body' of Messages has no part 'contnt'. Did you mean 'content'?",
        ),
        ("Messages", Create, json!({"body": "x"}), "needs an object with its parts"),
        ("Messages", Create, json!({"body": {"content": "x"}, "body_content": "y"}), "given twice"),
        ("Messages", Create, json!({"body_content": "y", "body": null}), "given twice"),
        ("Messages", Create, json!({"subject": "a", "Subject": "b"}), "given twice"),
        ("Messages", Create, json!({"uniqueBody": null}), "'uniqueBody_content' is set by Microsoft Graph"),
        ("Messages", Create, json!({"isRead": "maybe"}), "'isRead' has the type Bool"),
        ("Messages", Create, json!({"toRecipients": "a@b.c"}), "'toRecipients' has the type Json"),
        ("Messages", Create, json!({"subject": "x", "GroupId": "g"}), "no messages of a group"),
        ("Messages", Update, json!({"id": "1"}), "changes nothing"),
        ("Messages", Update, json!({"id": "1", "parentFolderId": "x"}), "MoveMail"),
        ("Messages", Update, json!({"id": 5, "subject": "x"}), "'id' needs an id as text"),
        ("Messages", Delete, json!({"id": "1", "subject": "x"}), "not 'subject'"),
        (
            "Events",
            Create,
            json!({"subject": "x", "start_dateTime": "2026-01-31T08:00"}),
            "also needs start_timeZone, end_dateTime, end_timeZone",
        ),
        (
            "Users",
            Create,
            json!({"displayName": "x"}),
            "also needs accountEnabled, mailNickname, userPrincipalName, passwordProfile_password",
        ),
        (
            "Events",
            Update,
            json!({"id": "1", "location_address": {"city": "Oslo"}}),
            "has no column 'location_address'",
        ),
        ("Calendars", Create, json!({"color": "auto"}), "also needs name"),
    ] {
        let error = take(object, kind, &record).unwrap_err();
        assert!(error.contains(expected), "{object} {record}: {error}");
    }
}

#[test]
fn a_value_that_is_replaced_whole_is_given_whole_and_in_order() {
    use ActivityKind::Update;
    for (object, record, missing) in [
        ("Events", json!({"id": "1", "start_dateTime": "2026-01-31T08:00"}), "start_timeZone"),
        ("Events", json!({"id": "1", "end": {"timeZone": "UTC"}}), "end_dateTime"),
        ("Events", json!({"id": "1", "recurrence_range_type": "noEnd"}), "recurrence_pattern"),
        ("Events", json!({"id": "1", "recurrence": {"pattern": {"type": "daily"}}}), "recurrence_range"),
        ("/me/events/1", json!({"start": {"dateTime": "2026-01-31T08:00"}}), "start_timeZone"),
        (
            "BookingAppointments",
            json!({"id": "1", "BusinessId": "b", "startDateTime_dateTime": "2026-01-31T08:00"}),
            "startDateTime_timeZone",
        ),
    ] {
        let refused = take(object, Update, &record).unwrap_err();
        assert!(refused.contains(&format!("Give '{missing}' too")), "{object} {record}: {refused}");
    }
    let recurring = json!({"id": "1", "recurrence": {
        "range": {"type": "noEnd", "startDate": "2026-01-31"}, "pattern": {"type": "daily", "interval": 1}}});
    let body = Value::Object(take("Events", Update, &recurring).unwrap().body).to_string();
    assert!(body.find("pattern") < body.find("range"), "the service reads them in this order: {body}");
    // Other values may have one of the names.
    let hours = json!({"workingHours": {"timeZone": {"name": "UTC"}}});
    assert!(take("/me/mailboxSettings", Update, &hours).is_ok());
}
