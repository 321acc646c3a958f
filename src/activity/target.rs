//! Where a record or procedure goes: one Graph request for each record. Pure.

use bytes::Bytes;
use serde_json::{Map, Value};

use super::body::{Parts, parts};
use super::error::ActivityError;
use super::mark::Marks;
use super::model::Record;
use super::reference::reference;
use crate::catalog::{GraphPath, Location, NotLocated, Object, Owner, RouteUse};
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
    object: &Object,
    kind: ActivityKind,
    connection: &Connection,
    user_id: Option<&str>,
    record: &Record,
    (marks, index): (&Marks, usize),
) -> Result<Prepared, ActivityError> {
    if let Some(path) = object.path() {
        refuse_me(path, connection)?;
    }
    object.allows(kind).map_err(|error| ActivityError::field("not_allowed", "object", error.message))?;
    if let Some(relation) = object.relation() {
        return reference(object, relation, kind, &connection.endpoints.graph, record);
    }
    let Parts { mut body, mut id, etag, user, given } = parts(object, kind, record)?;
    if object.is_single()
        && let Some(given) = id.take_if(|_| kind != ActivityKind::Create)
    {
        names_itself(object, &given)?;
    }
    let owner = user.as_deref().or(user_id).map(|user| Owner::User(user.to_owned()));
    let owner = owner.or_else(|| connection.is_delegated().then_some(Owner::Me));
    let wanted = match kind {
        ActivityKind::Create => RouteUse::Create,
        _ => RouteUse::Record,
    };
    if kind != ActivityKind::Create {
        needs_id(object, kind, id.as_deref())?;
    }
    if kind != ActivityKind::Delete
        && let Some(name) = object.record_type()
    {
        body.entry("@odata.type").or_insert_with(|| Value::from(name));
    }
    let located = object.locate(wanted, &given, owner.as_ref(), id.as_deref());
    let location = located.map_err(|error| not_located(error, object, connection))?;
    refuse_unused_user(object, kind, user.as_deref(), &location)?;
    if let Some((unused, _)) = given.iter().find(|(column, _)| !location.used.contains(column)) {
        let message = format!(
            "'{}' and '{unused}' both choose where the record is. Give one of them.",
            location.used.first().copied().unwrap_or("UserId")
        );
        return Err(ActivityError::field("bad_record", unused, message));
    }
    if kind == ActivityKind::Create {
        let effect = marks.put(index, &location.path, location.mailbox.as_deref(), &mut body);
        let request = write(http::Method::POST, location.path, Some(body), None, location.mailbox, effect);
        return Ok(Prepared { request, id: None });
    }
    Ok(Prepared { request: change(kind, location.path, body, etag, location.mailbox), id })
}

/// Refuses a user whom the path does not hold: the record would be another one than the caller means.
fn refuse_unused_user(
    object: &Object,
    kind: ActivityKind,
    user: Option<&str>,
    location: &Location,
) -> Result<(), ActivityError> {
    if user.is_none() || location.owner {
        return Ok(());
    }
    let message = match location.used.first() {
        Some(used) => {
            format!("'{used}' and 'UserId' both choose where the record is. Give one of them.")
        }
        None => format!(
            "{} of {} goes to no user's records, so 'UserId' would choose nothing. Remove it.",
            capitalised(kind),
            object.name()
        ),
    };
    Err(ActivityError::field("bad_record", "UserId", message))
}

/// A path that leads to one record says which. An id beside it is not a segment to be appended to the path, where it could
/// be the name of something else; it can only be the record's own.
fn names_itself(object: &Object, id: &str) -> Result<(), ActivityError> {
    if object.path().is_some_and(|path| path.ends_with(id)) {
        return Ok(());
    }
    let message = format!(
        "'{}' is one record, and '{id}' is not the id at its end. Leave the id out, or give the path of the collection.",
        object.name()
    );
    Err(ActivityError::field("bad_record", "id", message))
}

/// Some resources have no id (`/me/mailboxSettings`), so Update of a path may do without. Delete may only where the path
/// is known to lead to one record: a record whose id got lost on the way would otherwise remove the resource above it.
fn needs_id(object: &Object, kind: ActivityKind, id: Option<&str>) -> Result<(), ActivityError> {
    let may_do_without = object.path().is_some() && (kind != ActivityKind::Delete || object.is_single());
    if id.is_some() || may_do_without { Ok(()) } else { Err(missing_id(kind)) }
}

fn not_located(error: NotLocated, object: &Object, connection: &Connection) -> ActivityError {
    match error {
        NotLocated::OwnerNeeded => user_needed(connection, object.name(), "the column UserId in each record"),
        NotLocated::Wrong { field, error } => ActivityError::field("missing_field", &field, error.message),
    }
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
        None => Err(user_needed(connection, what, how)),
    }
}

fn user_needed(connection: &Connection, what: &str, how: &str) -> ActivityError {
    let message = format!(
        "The connection '{}' acts as an application, which has no mailbox of its own, so {what} needs a user. Give \
         {how}, such as \"adele@contoso.com\", or set UserId on the connection.",
        connection.name
    );
    ActivityError::field("user_id_required", "UserId", message)
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
