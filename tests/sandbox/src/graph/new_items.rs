//! The properties that a new item gets beyond those its creator gave.
//! Never stores anything.

use super::body;
use super::errors::GraphError;
use super::occurrences;
use super::views::to_utc;
use crate::data::messages::recipient;
use crate::data::model::Entity;
use crate::data::tenant::UserFacts;
use crate::data::{events, ids};
use crate::random::Fresh;
use crate::time::{instant, now_seconds};
use serde_json::{Map, Value, json};

/// The fields of a message that was not sent yet.
pub(crate) fn new_message(
    mut fields: Map<String, Value>,
    owner: &UserFacts,
    fresh: &mut Fresh,
) -> Map<String, Value> {
    let now = instant(now_seconds());
    put_preview(&mut fields);
    let me = recipient(&owner.name, &owner.upn);
    let defaults = [
        ("createdDateTime", json!(now)),
        ("lastModifiedDateTime", json!(now)),
        ("receivedDateTime", json!(now)),
        ("sentDateTime", json!(now)),
        ("categories", json!([])),
        ("hasAttachments", json!(false)),
        ("internetMessageId", json!(format!("<{}@sandbox.prod.outlook.com>", fresh.opaque(15)))),
        ("subject", json!("")),
        ("bodyPreview", json!("")),
        ("importance", json!("normal")),
        ("conversationId", json!(format!("AAQkA{}=", fresh.opaque(40)))),
        ("conversationIndex", json!("AQHTe7/VAniOJVgCxEmtF1z6ZY1rFQ==")),
        ("isDeliveryReceiptRequested", json!(false)),
        ("isReadReceiptRequested", json!(false)),
        ("isRead", json!(true)),
        ("isDraft", json!(true)),
        (
            "webLink",
            json!("https://outlook.office365.com/owa/?ItemID=new&exvsurl=1&viewmodel=ReadMessageItem"),
        ),
        ("inferenceClassification", json!("focused")),
        ("body", json!({"contentType": "text", "content": ""})),
        ("sender", me.clone()),
        ("from", me),
        ("toRecipients", json!([])),
        ("ccRecipients", json!([])),
        ("bccRecipients", json!([])),
        ("replyTo", json!([])),
        ("flag", json!({"flagStatus": "notFlagged"})),
    ];
    put_defaults(&mut fields, defaults);
    name_recipients(&mut fields);
    fields
}

/// The fields of an event.
pub(crate) fn new_event(
    mut fields: Map<String, Value>,
    owner: &UserFacts,
    fresh: &mut Fresh,
) -> Result<Map<String, Value>, GraphError> {
    for name in ["start", "end"] {
        let Some(value) =
            fields.get(name).filter(|value| value["dateTime"].is_string() && value["timeZone"].is_string())
        else {
            let text =
                format!("At least one of the properties of the event is missing or incomplete: '{name}'.");
            return Err(GraphError::new(400, "ErrorPropertyValidationFailure", text));
        };
        let zone = value["timeZone"].clone();
        let utc = to_utc(value)?;
        fields.insert(name.to_owned(), utc);
        let original = if name == "start" { "originalStartTimeZone" } else { "originalEndTimeZone" };
        fields.insert(original.to_owned(), zone);
    }
    let moment = |name: &str| fields[name]["dateTime"].as_str().and_then(crate::time::parse_seconds);
    if moment("end") < moment("start") {
        let text = "The duration of the calendar item is negative.";
        return Err(GraphError::new(400, "ErrorCalendarDurationIsTooLong", text));
    }
    put_preview(&mut fields);
    let now = instant(now_seconds());
    let place = fields.get("location").cloned().unwrap_or_else(|| events::location(""));
    let place = match place["displayName"].as_str() {
        Some(name) if place.as_object().is_some_and(|members| members.len() == 1) => events::location(name),
        _ => place,
    };
    fields.insert("location".into(), place.clone());
    if let Some(fault) =
        fields.get("recurrence").filter(|value| !value.is_null()).and_then(occurrences::fault)
    {
        return Err(GraphError::new(400, "ErrorPropertyValidationFailure", fault));
    }
    let recurring = fields.get("recurrence").is_some_and(|value| !value.is_null());
    let defaults = [
        ("createdDateTime", json!(now)),
        ("lastModifiedDateTime", json!(now)),
        ("categories", json!([])),
        ("iCalUId", json!(format!("040000008200E00074C5B7101A82E008{:016X}", fresh.number()))),
        ("reminderMinutesBeforeStart", json!(15)),
        ("isReminderOn", json!(true)),
        ("hasAttachments", json!(false)),
        ("subject", json!("")),
        ("bodyPreview", json!("")),
        ("importance", json!("normal")),
        ("sensitivity", json!("normal")),
        ("isAllDay", json!(false)),
        ("isCancelled", json!(false)),
        ("isDraft", json!(false)),
        ("hideAttendees", json!(false)),
        ("isOrganizer", json!(true)),
        ("responseRequested", json!(true)),
        ("allowNewTimeProposals", json!(true)),
        ("showAs", json!("busy")),
        ("type", json!(if recurring { "seriesMaster" } else { "singleInstance" })),
        ("webLink", json!("https://outlook.office365.com/owa/?itemid=new&exvsurl=1&path=/calendar/item")),
        ("isOnlineMeeting", json!(false)),
        ("onlineMeetingProvider", json!("unknown")),
        ("responseStatus", json!({"response": "organizer", "time": "0001-01-01T00:00:00Z"})),
        ("body", json!({"contentType": "html", "content": ""})),
        ("locations", json!([place])),
        ("attendees", json!([])),
        ("organizer", recipient(&owner.name, &owner.upn)),
        ("cancelledOccurrences", json!([])),
    ];
    put_defaults(&mut fields, defaults);
    Ok(fields)
}

/// The fields of a contact.
pub(crate) fn new_contact(mut fields: Map<String, Value>) -> Result<Map<String, Value>, GraphError> {
    let text = |fields: &Map<String, Value>, name: &str| {
        fields.get(name).and_then(Value::as_str).unwrap_or_default().to_owned()
    };
    let (given, surname) = (text(&fields, "givenName"), text(&fields, "surname"));
    let full = format!("{given} {surname}").trim().to_owned();
    let filed = if surname.is_empty() { given } else { format!("{surname}, {given}") };
    let now = instant(now_seconds());
    let mut defaults = vec![
        ("createdDateTime", json!(now)),
        ("lastModifiedDateTime", json!(now)),
        ("displayName", json!(full)),
        ("fileAs", json!(filed.trim_end_matches([',', ' ']))),
    ];
    for name in ["categories", "imAddresses", "homePhones", "businessPhones", "children", "emailAddresses"] {
        defaults.push((name, json!([])));
    }
    for name in ["homeAddress", "businessAddress", "otherAddress"] {
        defaults.push((name, json!({})));
    }
    put_defaults(&mut fields, defaults);
    Ok(fields)
}

/// The fields of a calendar.
pub(crate) fn new_calendar(
    mut fields: Map<String, Value>,
    owner: &UserFacts,
) -> Result<Map<String, Value>, GraphError> {
    require_name(&fields, "name")?;
    let defaults = [
        ("color", json!("auto")),
        ("hexColor", json!("")),
        ("isDefaultCalendar", json!(false)),
        ("canShare", json!(true)),
        ("canViewPrivateItems", json!(true)),
        ("canEdit", json!(true)),
        ("allowedOnlineMeetingProviders", json!(["teamsForBusiness"])),
        ("defaultOnlineMeetingProvider", json!("teamsForBusiness")),
        ("isTallyingResponses", json!(false)),
        ("isRemovable", json!(true)),
        ("owner", json!({"name": owner.name, "address": owner.upn})),
    ];
    put_defaults(&mut fields, defaults);
    Ok(fields)
}

/// The fields of a folder.
pub(crate) fn new_folder(
    mut fields: Map<String, Value>,
    owner: &UserFacts,
    entity: Entity,
) -> Result<Map<String, Value>, GraphError> {
    require_name(&fields, "displayName")?;
    let mut defaults = vec![("parentFolderId", json!(ids::encode(&owner.id, entity, u32::MAX, false)))];
    if entity == Entity::MailFolder {
        defaults.push(("childFolderCount", json!(0)));
        defaults.push(("isHidden", json!(false)));
    }
    put_defaults(&mut fields, defaults);
    Ok(fields)
}

fn require_name(fields: &Map<String, Value>, name: &str) -> Result<(), GraphError> {
    match fields.get(name).and_then(Value::as_str) {
        Some(text) if !text.is_empty() => Ok(()),
        _ => {
            Err(GraphError::new(400, "ErrorInvalidParameter", format!("The property '{name}' is required.")))
        }
    }
}

fn put_defaults<'n>(fields: &mut Map<String, Value>, defaults: impl IntoIterator<Item = (&'n str, Value)>) {
    for (name, value) in defaults {
        fields.entry(name).or_insert(value);
    }
}

/// Derives the preview from the body, if one was given.
pub(crate) fn put_preview(fields: &mut Map<String, Value>) {
    let Some(content) = fields.get("body").and_then(|body| body["content"].as_str()) else {
        return;
    };
    let preview: String = body::plain_text(content).chars().take(255).collect();
    fields.insert("bodyPreview".into(), preview.into());
    if let Some(Value::Object(body)) = fields.get_mut("body") {
        body.entry("contentType").or_insert_with(|| "text".into());
    }
}

/// The service shows the address as the name of a recipient that came without one.
fn name_recipients(fields: &mut Map<String, Value>) {
    for list in ["toRecipients", "ccRecipients", "bccRecipients", "replyTo"] {
        for recipient in fields.get_mut(list).and_then(Value::as_array_mut).into_iter().flatten() {
            if let Some(Value::Object(address)) = recipient.get_mut("emailAddress") {
                let text = address.get("address").cloned().unwrap_or(Value::Null);
                address.entry("name").or_insert(text);
            }
        }
    }
}
