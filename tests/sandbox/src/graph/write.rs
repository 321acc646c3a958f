//! Creating, changing and deleting items of a mailbox.
//! Never sends anything; that is in `actions`.

use super::dispatch::Context;
use super::entity::{entity_context, find, shown};
use super::errors::GraphError;
use super::extended;
use super::listing::parent_key;
use super::new_items::{new_calendar, new_contact, new_event, new_folder, new_message, put_preview};
use super::route::Parent;
use super::views::to_utc;
use super::{attachments, body};
use crate::answer::{Answer, Call};
use crate::data::model::Entity;
use crate::data::tenant::UserFacts;
use crate::data::{folders, ids};
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
    let brought = attachments::brought(&body::object(call)?)?;
    let owner = context.owner().clone();
    let folder = parent_key(state, context, entity, parent)?;
    if let Some(known) = repeated_transaction(state, &owner, entity, &given) {
        if state.options.refuse_known_transactions {
            let text = "Your request can't be completed. The TransactionId specified in the request has already been used to create a different event.";
            return Err(GraphError::new(409, "ErrorDuplicateTransactionId", text));
        }
        return Ok(created(state, context, entity, known)?.1);
    }
    let transaction = given.get("transactionId").and_then(Value::as_str).map(str::to_owned);
    let (fields, folder) = match entity {
        Entity::Message => (new_message(given, &owner, &mut state.fresh), folder.unwrap_or(folders::DRAFTS)),
        Entity::Event => (new_event(given, &owner, &mut state.fresh)?, folder.unwrap_or(0)),
        Entity::Contact => (new_contact(given)?, folder.unwrap_or(0)),
        Entity::Calendar => (new_calendar(given, &owner)?, folder.unwrap_or(0)),
        Entity::MailFolder => {
            let folder = folder.unwrap_or(folders::ROOT);
            let mut fields = new_folder(given, &owner, entity)?;
            fields.insert("parentFolderId".into(), ids::encode(&owner.id, entity, folder, false).into());
            (fields, folder)
        }
        Entity::ContactFolder => (new_folder(given, &owner, entity)?, 0),
        Entity::User => return Err(GraphError::method_not_allowed()),
    };
    if matches!(entity, Entity::Calendar | Entity::MailFolder | Entity::ContactFolder) {
        refuse_taken_name(state, &owner, entity, folder, &fields)?;
    }
    let name = ["subject", "displayName", "name"]
        .iter()
        .find_map(|name| fields.get(*name)?.as_str())
        .map(str::to_owned);
    let mailbox = state.tenant.mailbox(&owner);
    let key = mailbox.of_mut(entity).create(folder, fields);
    if let Some(transaction) = transaction {
        mailbox.transactions.insert(transaction, key);
    }
    attachments::hang(state, &owner, entity, key, brought);
    state.count_write(name.as_deref());
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
    if let Some(extended) = given.get(extended::NAME).cloned() {
        given.insert(extended::NAME.into(), extended::merged(&rows.field(key, extended::NAME), &extended));
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
        let inner: Vec<u32> = match entity {
            Entity::MailFolder => {
                rows.keys().into_iter().filter(|child| rows.parent(*child) == key).collect()
            }
            _ => Vec::new(),
        };
        for child in inner {
            rows.remove(child);
        }
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

fn refuse_taken_name(
    state: &mut State,
    owner: &UserFacts,
    entity: Entity,
    folder: u32,
    fields: &Map<String, Value>,
) -> Result<(), GraphError> {
    let name = if entity == Entity::Calendar { "name" } else { "displayName" };
    let rows = state.tenant.mailbox(owner).of(entity);
    let wanted = fields.get(name).and_then(Value::as_str).unwrap_or_default().to_lowercase();
    let taken = rows.keys().into_iter().any(|key| {
        rows.parent(key) == folder
            && rows.field(key, name).as_str().unwrap_or_default().to_lowercase() == wanted
    });
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
    // Documented for users' calendars; a group's take the property and forget it.
    let of_user = owner.key != u32::MAX;
    let transaction = given.get("transactionId").filter(|_| entity == Entity::Event && of_user)?.as_str()?;
    let mailbox = state.tenant.mailbox(owner);
    let key = *mailbox.transactions.get(transaction)?;
    mailbox.of(entity).contains(key).then_some(key)
}
