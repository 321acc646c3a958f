//! How one row is shown, and reading one by id.
//! Never decides which rows a collection has.

use super::dispatch::Context;
use super::errors::GraphError;
use super::extended;
use super::odata::query::Query;
use super::prefer::Prefer;
use crate::answer::{Answer, Call};
use crate::data::collection::Collection;
use crate::data::model::{Entity, Property};
use crate::data::tenant::{Mailbox, UserFacts};
use crate::data::{folders, ids};
use crate::state::State;
use serde_json::{Map, Value};

/// Reads one item.
pub(crate) fn get(
    state: &mut State,
    call: &Call,
    context: &Context,
    entity: Entity,
    id: Option<&str>,
) -> Result<Answer, GraphError> {
    let query = Query::of_entity(call, entity)?;
    let owner = context.owner().clone();
    let context_url = entity_context(&state.graph_origin, &owner.id, entity, query.select.as_deref());
    let mailbox = state.tenant.mailbox(&owner);
    if let Some(id) = id.filter(|_| entity == Entity::Event)
        && let Some(found) = super::views::occurrence(mailbox, context, id, &query)
    {
        return found.map(|row| Answer::json(200, &row));
    }
    let key = find(mailbox, entity, id)?;
    let mut row = shown(mailbox, entity, key, query.select.as_deref(), &context.prefer)?;
    expand(mailbox, &owner, entity, key, &query, &mut row)?;
    row.shift_insert(0, "@odata.context".into(), context_url.into());
    Ok(Answer::json(200, &Value::Object(row)))
}

/// A message as it would be delivered.
pub(crate) fn mime(state: &mut State, context: &Context, id: &str) -> Result<Answer, GraphError> {
    let owner = context.owner().clone();
    let mailbox = state.tenant.mailbox(&owner);
    let key = find(mailbox, Entity::Message, Some(id))?;
    let row = shown(mailbox, Entity::Message, key, None, &context.prefer)?;
    Ok(super::mime::of_message(&row, &mailbox.attachments_of(Entity::Message, key)))
}

/// Puts what `$expand` names into a row.
pub(crate) fn expand(
    mailbox: &Mailbox,
    owner: &UserFacts,
    entity: Entity,
    key: u32,
    query: &Query,
    row: &mut Map<String, Value>,
) -> Result<(), GraphError> {
    for expanded in &query.expand {
        if expanded.name.eq_ignore_ascii_case("attachments") {
            row.insert("attachments".into(), super::attachments::expanded(mailbox, owner, entity, key)?);
        }
        if expanded.name.eq_ignore_ascii_case(extended::NAME) {
            extended::expand(expanded, &mailbox.of(entity).field(key, extended::NAME), row)?;
        }
    }
    Ok(())
}

/// The row that an id (or a folder's well-known name) stands for.
pub(crate) fn find(mailbox: &Mailbox, entity: Entity, id: Option<&str>) -> Result<u32, GraphError> {
    let rows = mailbox.of(entity);
    let Some(id) = id else {
        // The default calendar.
        return Ok(0);
    };
    if entity == Entity::MailFolder
        && let Some(key) = folders::well_known(id)
    {
        return Ok(key);
    }
    if entity == Entity::Event && ids::occurrence_number(&rows.owner.id, id).is_some() {
        let text = "This sandbox only reads occurrences.";
        return Err(GraphError::new(501, "NotImplemented", text));
    }
    if let Some(key) = rows.named(id) {
        return if rows.contains(key) { Ok(key) } else { Err(GraphError::item_not_found()) };
    }
    let decoded = ids::decode(&rows.owner.id, id).ok_or_else(|| GraphError::foreign_id(id))?;
    if decoded.entity != entity {
        return Err(GraphError::item_not_found());
    }
    let key = if decoded.immutable { rows.current_key(decoded.key) } else { decoded.key };
    if rows.contains(key) || (entity == Entity::MailFolder && key == folders::ROOT) {
        Ok(key)
    } else {
        Err(GraphError::item_not_found())
    }
}

/// A row as a JSON object, with the selected properties only.
pub(crate) fn shown(
    mailbox: &Mailbox,
    entity: Entity,
    key: u32,
    select: Option<&[&'static Property]>,
    prefer: &Prefer,
) -> Result<Map<String, Value>, GraphError> {
    let rows = mailbox.of(entity);
    let mut row = Map::new();
    if entity.has_change_key() {
        row.insert("@odata.etag".into(), rows.etag(key).into());
    }
    let mut id_shown = false;
    let mut put = |property: &Property| -> Result<(), GraphError> {
        id_shown |= property.name == "id";
        row.insert(property.name.to_owned(), value(mailbox, rows, key, property.name, prefer)?);
        Ok(())
    };
    match select {
        // The service puts the id in whether it was asked for or not.
        Some(selected) => {
            if let Some(id) =
                entity.shape().find("id").filter(|_| !selected.iter().any(|known| known.name == "id"))
            {
                put(id)?;
            }
            selected.iter().try_for_each(|property| put(property))?;
        }
        None => {
            let shown = entity.shape().properties.iter().filter(|property| !property.on_request);
            shown.into_iter().try_for_each(put)?;
        }
    }
    Ok(row)
}

/// The `@odata.context` of one entity.
pub(crate) fn entity_context(
    graph_origin: &str,
    user_id: &str,
    entity: Entity,
    select: Option<&[&'static Property]>,
) -> String {
    format!("{}/$entity", collection_context(graph_origin, user_id, entity, select))
}

/// The `@odata.context` of a collection.
pub(crate) fn collection_context(
    graph_origin: &str,
    user_id: &str,
    entity: Entity,
    select: Option<&[&'static Property]>,
) -> String {
    let names = select.map_or_else(String::new, |selected| {
        let names: Vec<&str> = selected.iter().map(|property| property.name).collect();
        format!("({})", names.join(","))
    });
    let path = match entity {
        Entity::User => "users".to_owned(),
        Entity::Message => format!("users('{user_id}')/messages"),
        Entity::Event => format!("users('{user_id}')/events"),
        Entity::Contact => format!("users('{user_id}')/contacts"),
        Entity::Calendar => format!("users('{user_id}')/calendars"),
        Entity::MailFolder => format!("users('{user_id}')/mailFolders"),
        Entity::ContactFolder => format!("users('{user_id}')/contactFolders"),
    };
    format!("{graph_origin}/v1.0/$metadata#{path}{names}")
}

fn value(
    mailbox: &Mailbox,
    rows: &Collection,
    key: u32,
    name: &str,
    prefer: &Prefer,
) -> Result<Value, GraphError> {
    match (rows.entity, name) {
        (_, "id") => Ok(rows.id(key, prefer.immutable_ids).into()),
        (Entity::MailFolder, "childFolderCount") => {
            let parents = rows.keys().into_iter().filter(|child| rows.parent(*child) == key);
            Ok(parents.count().into())
        }
        (Entity::MailFolder, "totalItemCount" | "unreadItemCount") => {
            let messages = mailbox.of(Entity::Message);
            let unread_only = name == "unreadItemCount";
            let counted = messages.keys().into_iter().filter(|message| {
                messages.parent(*message) == key
                    && (!unread_only || messages.field(*message, "isRead") == Value::Bool(false))
            });
            Ok(counted.count().into())
        }
        (Entity::Event, "start" | "end") => match &prefer.time_zone {
            Some(zone) => super::views::in_zone(&rows.field(key, name), zone),
            None => Ok(rows.field(key, name)),
        },
        (Entity::Message | Entity::Event, "body" | "uniqueBody") if prefer.text_bodies => {
            let text = rows
                .field(key, "body")
                .get("content")
                .map(|content| super::body::plain_text(content.as_str().unwrap_or_default()));
            Ok(serde_json::json!({"contentType": "text", "content": text}))
        }
        _ => Ok(rows.field(key, name)),
    }
}
