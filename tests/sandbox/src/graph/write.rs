//! Creating, changing and deleting items of a mailbox.
//! Never sends anything; that is in `actions`.

use super::body;
use super::dispatch::Context;
use super::entity::{entity_context, find, shown};
use super::errors::GraphError;
use super::listing::parent_key;
use super::route::Parent;
use super::views::to_utc;
use crate::answer::{Answer, Call};
use crate::data::messages::recipient;
use crate::data::model::Entity;
use crate::data::tenant::UserFacts;
use crate::data::{events, folders, ids};
use crate::random::Fresh;
use crate::state::State;
use crate::time::{instant, now_seconds};
use serde_json::{Map, Value, json};

/// Creates an item.
pub(crate) fn create(
    state: &mut State,
    call: &Call,
    context: &Context,
    entity: Entity,
    parent: &Parent,
) -> Result<Answer, GraphError> {
    let given = body::read(call, entity)?;
    let owner = context.owner().clone();
    let folder = parent_key(state, context, entity, parent)?;
    if let Some(known) = repeated_transaction(state, &owner, entity, &given) {
        return Ok(created(state, context, entity, known)?.1);
    }
    let transaction = given.get("transactionId").and_then(Value::as_str).map(str::to_owned);
    let (fields, folder) = match entity {
        Entity::Message => (new_message(given, &owner, &mut state.fresh), folder.unwrap_or(folders::DRAFTS)),
        Entity::Event => (new_event(given, &owner, &mut state.fresh)?, folder.unwrap_or(0)),
        Entity::Contact => (new_contact(given)?, folder.unwrap_or(0)),
        Entity::Calendar => (new_calendar(given, &owner)?, 0),
        Entity::MailFolder | Entity::ContactFolder => (new_folder(given, &owner, entity)?, 0),
        Entity::User => return Err(GraphError::method_not_allowed()),
    };
    if matches!(entity, Entity::Calendar | Entity::MailFolder | Entity::ContactFolder) {
        refuse_taken_name(state, &owner, entity, &fields)?;
    }
    let mailbox = state.tenant.mailbox(&owner);
    let key = mailbox.of_mut(entity).create(folder, fields);
    if let Some(transaction) = transaction {
        mailbox.transactions.insert(transaction, key);
    }
    state.stats.writes += 1;
    let (id, answer) = created(state, context, entity, key)?;
    let segment = match entity {
        Entity::Message => "messages",
        Entity::Event => "events",
        Entity::Contact => "contacts",
        Entity::Calendar => "calendars",
        Entity::MailFolder => "mailFolders",
        _ => "contactFolders",
    };
    Ok(answer
        .with("location", format!("{}/v1.0/users('{}')/{segment}('{id}')", state.graph_origin, owner.id)))
}

/// Changes an item.
pub(crate) fn update(
    state: &mut State,
    call: &Call,
    context: &Context,
    entity: Entity,
    id: Option<&str>,
) -> Result<Answer, GraphError> {
    let mut given = body::read(call, entity)?;
    let owner = context.owner().clone();
    let mailbox = state.tenant.mailbox(&owner);
    let key = find(mailbox, entity, id)?;
    let rows = mailbox.of(entity);
    check_etag(call, &rows.etag(key))?;
    if entity == Entity::Message && rows.field(key, "isDraft") != Value::Bool(true) {
        let fixed = entity
            .shape()
            .properties
            .iter()
            .find(|property| property.draft_only && given.contains_key(property.name));
        if let Some(property) = fixed {
            let text = format!(
                "Set action is invalid for property '{}': the message is not a draft.",
                property.name
            );
            return Err(GraphError::new(400, "ErrorInvalidPropertySet", text));
        }
    }
    for name in ["start", "end"] {
        if let Some(value) = given.get(name).filter(|_| entity == Entity::Event) {
            let value = to_utc(value)?;
            given.insert(name.to_owned(), value);
        }
    }
    if let Some(location) = given.get("location").cloned().filter(|_| entity == Entity::Event) {
        given.insert("locations".into(), json!([location]));
    }
    put_preview(&mut given);
    given.insert("lastModifiedDateTime".into(), instant(now_seconds()).into());
    mailbox.of_mut(entity).update(key, given);
    state.stats.writes += 1;
    if context.prefer.minimal {
        return Ok(Answer::empty(204));
    }
    let mut answer = created(state, context, entity, key)?.1;
    answer.status = 200;
    Ok(answer)
}

/// Deletes an item; a message goes to the deleted items first, as the service does it.
pub(crate) fn delete(
    state: &mut State,
    call: &Call,
    context: &Context,
    entity: Entity,
    id: Option<&str>,
) -> Result<Answer, GraphError> {
    let owner = context.owner().clone();
    let mailbox = state.tenant.mailbox(&owner);
    let key = find(mailbox, entity, id)?;
    check_etag(call, &mailbox.of(entity).etag(key))?;
    let fixed = match entity {
        Entity::Calendar => key == 0,
        Entity::MailFolder => (key as usize) < folders::MAIL_FOLDERS.len(),
        Entity::ContactFolder => key == 0,
        _ => false,
    };
    if fixed {
        let text = "Distinguished folders cannot be deleted.";
        return Err(GraphError::new(400, "ErrorDeleteDistinguishedFolder", text));
    }
    let rows = mailbox.of_mut(entity);
    if entity == Entity::Message && rows.parent(key) != folders::DELETED {
        rows.move_to(key, folders::DELETED);
    } else {
        rows.remove(key);
    }
    state.stats.writes += 1;
    Ok(Answer::empty(204))
}

/// The row of an answer with 201, and its id.
pub(crate) fn created(
    state: &mut State,
    context: &Context,
    entity: Entity,
    key: u32,
) -> Result<(String, Answer), GraphError> {
    let owner = context.owner().clone();
    let url = entity_context(&state.graph_origin, &owner.id, entity, None);
    let mailbox = state.tenant.mailbox(&owner);
    let id = mailbox.of(entity).id(key, context.prefer.immutable_ids);
    let mut row = shown(mailbox, entity, key, None, &context.prefer)?;
    row.shift_insert(0, "@odata.context".into(), url.into());
    let mut answer = Answer::json(201, &Value::Object(row));
    if entity.has_change_key() {
        answer = answer.with("etag", mailbox.of(entity).etag(key));
    }
    Ok((id, answer))
}

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

/// Refuses a change when the client's version is not the current one.
pub(crate) fn check_etag(call: &Call, etag: &str) -> Result<(), GraphError> {
    match call.header("if-match") {
        None | Some("*") => Ok(()),
        Some(wanted) if wanted == etag => Ok(()),
        Some(_) => {
            let text = "The send or update operation could not be performed because the change key passed in the request does not match the current change key for the item.";
            Err(GraphError::new(412, "ErrorIrresolvableConflict", text))
        }
    }
}

fn new_event(
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

fn new_contact(mut fields: Map<String, Value>) -> Result<Map<String, Value>, GraphError> {
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

fn new_calendar(mut fields: Map<String, Value>, owner: &UserFacts) -> Result<Map<String, Value>, GraphError> {
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

fn new_folder(
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

fn refuse_taken_name(
    state: &mut State,
    owner: &UserFacts,
    entity: Entity,
    fields: &Map<String, Value>,
) -> Result<(), GraphError> {
    let name = if entity == Entity::Calendar { "name" } else { "displayName" };
    let rows = state.tenant.mailbox(owner).of(entity);
    let wanted = fields.get(name).and_then(Value::as_str).unwrap_or_default().to_lowercase();
    let taken = rows
        .keys()
        .into_iter()
        .any(|key| rows.field(key, name).as_str().unwrap_or_default().to_lowercase() == wanted);
    if taken {
        let text = "A folder with the specified name already exists.";
        return Err(GraphError::new(409, "ErrorFolderExists", text));
    }
    Ok(())
}

fn repeated_transaction(
    state: &mut State,
    owner: &UserFacts,
    entity: Entity,
    given: &Map<String, Value>,
) -> Option<u32> {
    let transaction = given.get("transactionId").filter(|_| entity == Entity::Event)?.as_str()?;
    let mailbox = state.tenant.mailbox(owner);
    let key = *mailbox.transactions.get(transaction)?;
    mailbox.of(entity).contains(key).then_some(key)
}

fn put_defaults<'n>(fields: &mut Map<String, Value>, defaults: impl IntoIterator<Item = (&'n str, Value)>) {
    for (name, value) in defaults {
        fields.entry(name).or_insert(value);
    }
}

fn put_preview(fields: &mut Map<String, Value>) {
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
