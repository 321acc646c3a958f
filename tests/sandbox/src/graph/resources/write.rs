//! Creating, changing and deleting rows by their rules.
//! Never knows what a kind of resource needs beyond that; that is in `kinds`.

use super::path::ResourcePath;
use super::rules::{Etag, IdStyle, Rule};
use super::{etag, find, kinds, read, shape};
use crate::answer::{Answer, Call};
use crate::data::documents::Document;
use crate::data::seeds::{mail_id, planner_id};
use crate::graph::body;
use crate::graph::dispatch::Context;
use crate::graph::errors::GraphError;
use crate::graph::odata::query::Query;
use crate::state::State;
use serde_json::{Map, Value};

/// The places that only list what is made elsewhere.
const LISTS_ONLY: &[&str] = &[
    "groups/{}/planner/plans",
    "planner/plans/{}/buckets",
    "planner/plans/{}/tasks",
    "planner/buckets/{}/tasks",
    "user/planner/tasks",
    "user/planner/plans",
    "solutions/bookingbusinesses/{}/calendarview",
];

/// Creates a row.
pub(super) fn create(
    state: &mut State,
    call: &Call,
    context: &Context,
    path: &ResourcePath,
) -> Result<Answer, GraphError> {
    let rule = path.place.rule;
    if !rule.writes.contains("POST") || LISTS_ONLY.contains(&path.place.path) {
        return Err(GraphError::method_not_allowed());
    }
    let raw = body::object(call)?;
    let mut fields = body::of_shape(raw.clone(), shape(rule), rule.directory())?;
    require(rule, &raw)?;
    let (scope, parent) = kinds::prepare(state, context, path, &mut fields, &raw)?;
    let id = new_id(state, rule, &fields);
    let row = Document { id: id.clone(), scope, parent, fields, version: 0 };
    state.documents.table(rule.table).add(row);
    kinds::created(state, context, path, &id, &raw)?;
    let name = ["displayName", "title", "name", "topic"].iter().find_map(|name| raw.get(*name)?.as_str());
    state.count_write(name);
    let row = find_any(state, rule, &id)?;
    Ok(read::answer(state, path, row, 201, &Query::default()))
}

/// Changes a row.
pub(super) fn update(
    state: &mut State,
    call: &Call,
    context: &Context,
    path: &ResourcePath,
    id: &str,
) -> Result<Answer, GraphError> {
    let rule = path.place.rule;
    if !rule.writes.contains("PATCH") {
        return Err(GraphError::method_not_allowed());
    }
    let raw = body::object(call)?;
    let fields = body::of_shape(raw.clone(), shape(rule), rule.directory())?;
    check_tag(rule, call, find(state, path, id)?)?;
    if let Some(name) = fields.keys().find(|name| rule.fixed.contains(&name.as_str())) {
        let text = format!("The property '{name}' cannot be changed.");
        let code = if rule.directory() { "Request_BadRequest" } else { "BadRequest" };
        return Err(GraphError::new(400, code, text));
    }
    kinds::change(state, context, rule, id, fields)?;
    state.count_write(None);
    let representation = call.header("prefer").is_some_and(|prefer| prefer.contains("return=representation"));
    if rule.changed == 204 && !(rule.etag == Etag::Required && representation) {
        return Ok(Answer::empty(204));
    }
    let row = find_any(state, rule, id)?;
    Ok(read::answer(state, path, row, 200, &Query::default()))
}

/// Deletes a row.
pub(super) fn delete(
    state: &mut State,
    call: &Call,
    path: &ResourcePath,
    id: &str,
) -> Result<Answer, GraphError> {
    let rule = path.place.rule;
    if !rule.writes.contains("DELETE") {
        return Err(GraphError::method_not_allowed());
    }
    check_tag(rule, call, find(state, path, id)?)?;
    if let Some(row) = state.documents.table(rule.table).remove(id) {
        kinds::deleted(state, rule, &row);
    }
    state.count_write(None);
    Ok(Answer::empty(204))
}

/// Refuses a change when the client's version is not the current one, or when it should have named one.
pub(super) fn check_tag(rule: &Rule, call: &Call, row: &Document) -> Result<(), GraphError> {
    let given = call.header("if-match");
    match (rule.etag, given) {
        (Etag::Required, None) => {
            Err(GraphError::new(428, "", "The If-Match header must be specified for this type of request."))
        }
        (Etag::Required, Some(tag)) if !tag.starts_with("W/\"") => {
            Err(GraphError::new(400, "", "The If-Match header contains an invalid value."))
        }
        (Etag::Required, Some(tag)) if tag != etag(row) => Err(GraphError::new(
            412,
            "",
            "The etag provided in the If-Match header does not match the current version of the item.",
        )),
        (Etag::Optional, Some(tag)) if tag != "*" && tag != etag(row) => Err(GraphError::new(
            412,
            "ErrorIrresolvableConflict",
            "The change key does not match the current change key for the item.",
        )),
        _ => Ok(()),
    }
}

fn require(rule: &Rule, raw: &Map<String, Value>) -> Result<(), GraphError> {
    let given = |wanted: &str| {
        raw.iter().any(|(name, value)| {
            name.eq_ignore_ascii_case(wanted) && !value.is_null() && value.as_str() != Some("")
        })
    };
    let Some(missing) = rule.required.iter().find(|name| !given(name)) else {
        return Ok(());
    };
    if rule.directory() {
        let text = format!("A value is required for property '{missing}' of resource 'Group'.");
        return Err(GraphError::new(400, "Request_BadRequest", text));
    }
    if rule.etag == Etag::Required {
        let text =
            format!("Schema validation has failed. The field '{missing}' has no value, but needs one.");
        return Err(GraphError::new(400, "", text));
    }
    Err(GraphError::new(400, "ErrorInvalidArgument", format!("The property '{missing}' is required.")))
}

fn new_id(state: &mut State, rule: &Rule, fields: &Map<String, Value>) -> String {
    let bits = state.fresh.number();
    match rule.id {
        IdStyle::Guid => state.fresh.guid(),
        IdStyle::Mail => mail_id("AAMkA", bits, 9),
        IdStyle::Planner => planner_id(bits, 9),
        IdStyle::Address => {
            let name = fields.get("displayName").and_then(Value::as_str).unwrap_or_default();
            let plain: String = name.chars().filter(char::is_ascii_alphanumeric).collect();
            let free = format!("{plain}@{}", state.options.tenant_domain);
            match state.documents.get(rule.table, &free) {
                None => free,
                Some(_) => format!("{plain}{}@{}", bits % 1_000_000, state.options.tenant_domain),
            }
        }
    }
}

fn find_any<'s>(state: &'s State, rule: &Rule, id: &str) -> Result<&'s Document, GraphError> {
    state.documents.get(rule.table, id).ok_or_else(GraphError::item_not_found)
}
