//! Where a record or procedure goes: one Graph request for each record. Pure.

use bytes::Bytes;
use serde_json::{Map, Value};

use super::body::{Parts, parts};
use super::error::ActivityError;
use super::mark::Marks;
use super::model::Record;
use crate::catalog::{GraphPath, Home, Object, ObjectKind, Owner};
use crate::connection::{ActivityKind, Connection};
use crate::graph::{Effect, GraphRequest};

/// One record's request.
#[derive(Debug)]
pub(super) struct Prepared {
    /// What is sent.
    pub(super) request: GraphRequest,
    /// The record's id, when it was given.
    pub(super) id: Option<String>,
}

/// The request for one record. `marks` marks a new record as the one with that index.
///
/// # Errors
/// A sentence naming the column and the remedy.
pub(super) fn prepare(
    object: &ObjectKind,
    kind: ActivityKind,
    connection: &Connection,
    user_id: Option<&str>,
    record: &Record,
    marks: (&Marks, usize),
) -> Result<Prepared, ActivityError> {
    match object {
        ObjectKind::Named(object) => named(object, kind, connection, user_id, record, marks),
        ObjectKind::Path(path) => by_path(path, kind, connection, record, marks),
    }
}

fn named(
    object: &'static Object,
    kind: ActivityKind,
    connection: &Connection,
    user_id: Option<&str>,
    record: &Record,
    (marks, index): (&Marks, usize),
) -> Result<Prepared, ActivityError> {
    let Parts { mut body, id, etag, user, part } = parts(object, kind, record)?;
    let at_root = part.as_ref().is_some_and(|(part, _)| !part.below_owner);
    let owner = match object.home() {
        Home::Directory => Owner::Me,
        Home::Mailbox if at_root && user.is_none() => Owner::Me,
        Home::Mailbox => {
            owner(connection, user.as_deref().or(user_id), object.name(), "the column UserId in each record")?
        }
    };
    let mailbox = match (&part, object.home()) {
        (_, Home::Directory) => None,
        (Some((part, value)), _) if at_root => Some(format!("{}/{}", part.segment, value.to_lowercase())),
        _ => Some(owner.mailbox()),
    };
    let part = part.as_ref().map(|(part, value)| (*part, value.as_str()));
    if kind == ActivityKind::Create {
        let path = object.collection_path(&owner, part);
        let effect = marks.put(index, &path, mailbox.as_deref(), &mut body);
        return Ok(Prepared {
            request: write(http::Method::POST, path, Some(body), None, mailbox, effect),
            id: None,
        });
    }
    let id = id.ok_or_else(|| missing_id(kind))?;
    let path = object.record_path(&owner, part, &id);
    Ok(Prepared { request: change(kind, path, body, etag, mailbox), id: Some(id) })
}

/// Records of a Graph path go out as they are: only `id` and `Etag` are ours, and `a_b` is not split, because the names
/// of the resource's properties are not known here.
fn by_path(
    path: &GraphPath,
    kind: ActivityKind,
    connection: &Connection,
    record: &Record,
    (marks, index): (&Marks, usize),
) -> Result<Prepared, ActivityError> {
    refuse_me(path, connection)?;
    let mut body = record.clone();
    let mailbox = path.mailbox();
    if kind == ActivityKind::Create {
        let effect = marks.put(index, path.encoded(), mailbox.as_deref(), &mut body);
        let path = path.encoded().to_owned();
        let request = write(http::Method::POST, path, Some(body), None, mailbox, effect);
        return Ok(Prepared { request, id: None });
    }
    let id = match body.shift_remove("id") {
        None => None,
        Some(Value::String(id)) if !id.trim().is_empty() => Some(id),
        Some(_) => return Err(ActivityError::field("bad_value", "id", "'id' needs an id as text.")),
    };
    let etag = match body.shift_remove("Etag") {
        Some(Value::String(etag)) => Some(etag),
        Some(Value::Null) | None => None,
        Some(_) => return Err(ActivityError::field("bad_value", "Etag", "'Etag' needs a text.")),
    };
    // Some resources have no id (`/me/mailboxSettings`), so Update may do without. Delete may not: a record whose id got
    // lost on the way would otherwise remove the resource above it.
    let is_reference = path.encoded().ends_with("/$ref");
    let target = match (&id, kind) {
        (Some(id), _) => path.below(id),
        (None, ActivityKind::Delete) if !is_reference => return Err(missing_id(kind)),
        (None, _) => path.encoded().to_owned(),
    };
    if kind == ActivityKind::Delete && !body.is_empty() {
        let name = body.keys().next().cloned().unwrap_or_default();
        let message = format!("Delete takes the record's id and Etag only, not '{name}'. Remove it.");
        return Err(ActivityError::field("bad_record", &name, message));
    }
    if kind == ActivityKind::Update && body.is_empty() {
        let message = "The record changes nothing: it has nothing but its id. Give it at least one property.";
        return Err(ActivityError::request("bad_record", message));
    }
    Ok(Prepared { request: change(kind, target, body, etag, mailbox), id })
}

fn missing_id(kind: ActivityKind) -> ActivityError {
    let message = format!("{} needs the id of each record. Give it as the column 'id'.", capitalised(kind));
    ActivityError::field("missing_field", "id", message)
}

fn capitalised(kind: ActivityKind) -> &'static str {
    match kind {
        ActivityKind::Update => "Update",
        ActivityKind::Delete => "Delete",
        ActivityKind::Create => "Create",
        ActivityKind::Query => "Query",
        ActivityKind::Execute => "Execute",
    }
}

fn change(
    kind: ActivityKind,
    path: String,
    body: Map<String, Value>,
    etag: Option<String>,
    mailbox: Option<String>,
) -> GraphRequest {
    match kind {
        ActivityKind::Delete => write(http::Method::DELETE, path, None, etag, mailbox, Effect::Repeatable),
        _ => {
            let effect = if etag.is_some() { Effect::Repeatable } else { Effect::Once };
            write(http::Method::PATCH, path, Some(body), etag, mailbox, effect)
        }
    }
}

pub(super) fn write(
    method: http::Method,
    path: String,
    body: Option<Map<String, Value>>,
    etag: Option<String>,
    mailbox: Option<String>,
    effect: Effect,
) -> GraphRequest {
    let body = body.map(|body| Bytes::from(Value::Object(body).to_string()));
    GraphRequest {
        method,
        path,
        headers: etag.map(|etag| ("If-Match", etag)).into_iter().collect(),
        body,
        mailbox,
        effect,
    }
}

/// Whose mailbox it is. `how`: the way to name a user in this kind of request.
///
/// # Errors
/// A sentence, when an application names no user.
pub(super) fn owner(
    connection: &Connection,
    user: Option<&str>,
    what: &str,
    how: &str,
) -> Result<Owner, ActivityError> {
    match user {
        Some(user) => Ok(Owner::User(user.to_owned())),
        None if connection.is_delegated() => Ok(Owner::Me),
        None => {
            let message = format!(
                "The connection '{}' acts as an application, which has no mailbox of its own, so {what} needs a user. Give \
                 {how}, such as \"adele@contoso.com\", or set UserId on the connection.",
                connection.name
            );
            Err(ActivityError::field("user_id_required", "UserId", message))
        }
    }
}

/// Refuses `/me` for an application.
///
/// # Errors
/// A sentence with the path to write instead.
pub(super) fn refuse_me(path: &GraphPath, connection: &Connection) -> Result<(), ActivityError> {
    if !path.needs_user() || connection.is_delegated() {
        return Ok(());
    }
    let message = format!(
        "The connection '{}' acts as an application, which has no signed-in user, so '/{}' leads nowhere. Begin the path \
         with /users/adele@contoso.com instead of /me.",
        connection.name,
        path.encoded()
    );
    Err(ActivityError::field("user_id_required", "object", message))
}

#[cfg(test)]
#[path = "target_tests.rs"]
mod tests;
