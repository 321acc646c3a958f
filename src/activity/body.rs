//! A record of a catalog object → the JSON body Graph takes, and what of it belongs elsewhere: the id, the `If-Match`
//! tag, the mailbox, the folder. Pure.

use serde_json::{Map, Value};

use super::error::ActivityError;
use super::model::Record;
use super::value::checked;
use crate::catalog::{Column, ColumnSource, Object, PathPart, did_you_mean};
use crate::connection::ActivityKind;

/// What Graph takes with a new record although it is no column: related records and extensions.
const RELATED: [&str; 4] =
    ["attachments", "extensions", "singleValueExtendedProperties", "multiValueExtendedProperties"];

/// A record taken apart.
#[derive(Debug, Default)]
pub(super) struct Parts {
    /// The JSON body.
    pub(super) body: Map<String, Value>,
    /// The record's id.
    pub(super) id: Option<String>,
    /// The tag the record must still have.
    pub(super) etag: Option<String>,
    /// Whose mailbox it is in.
    pub(super) user: Option<String>,
    /// The folder, calendar or group it belongs to.
    pub(super) part: Option<(&'static PathPart, String)>,
}

/// Takes `record` apart for `kind`.
///
/// # Errors
/// A sentence naming the column and the remedy.
pub(super) fn parts(
    object: &'static Object,
    kind: ActivityKind,
    record: &Record,
) -> Result<Parts, ActivityError> {
    let mut parts = Parts::default();
    for (key, value) in record {
        if !take_place(object, kind, &mut parts, key, value)? {
            take_property(object, kind, &mut parts.body, key, value)?;
        }
    }
    match kind {
        ActivityKind::Create => missing_needs(object, &parts.body)?,
        ActivityKind::Update if parts.body.is_empty() => {
            let message =
                "The record changes nothing: it has no column besides those that say which record it is.";
            return Err(ActivityError::request("bad_record", message));
        }
        _ => {}
    }
    Ok(parts)
}

/// Takes a column that says where the record is rather than what it is. Tells whether it was one.
fn take_place(
    object: &'static Object,
    kind: ActivityKind,
    parts: &mut Parts,
    key: &str,
    value: &Value,
) -> Result<bool, ActivityError> {
    let creating = kind == ActivityKind::Create;
    if let Some(part) = object.part(key).filter(|part| creating || !part.below_owner) {
        let value = text(key, value)?;
        if let Some((earlier, _)) = &parts.part {
            let message = format!(
                "'{}' and '{key}' both choose where the record is. Give one of them.",
                earlier.column
            );
            return Err(ActivityError::field("bad_record", key, message));
        }
        parts.part = Some((part, value));
        return Ok(true);
    }
    if let Some(part) = object.part(key) {
        let message = format!(
            "'{}' cannot be given to {}: a record is found by its id wherever it is, and moving one is a procedure \
             (MoveMail for messages).",
            part.column,
            kind.as_str()
        );
        return Err(ActivityError::field("bad_record", key, message));
    }
    let Ok(column) = object.column(key) else { return Ok(false) };
    match (column.source, column.name.as_str()) {
        (ColumnSource::Place, "UserId") => parts.user = Some(text(key, value)?),
        (ColumnSource::Place, _) => {
            let name = object.name().to_lowercase();
            let message =
                format!("Microsoft Graph has no {name} of a group, so '{key}' cannot be given. Remove it.");
            return Err(ActivityError::field("bad_record", key, message));
        }
        (_, "id") if !creating => parts.id = Some(text(key, value)?),
        (ColumnSource::Etag, _) if !creating => parts.etag = Some(text(key, value)?),
        _ => return Ok(false),
    }
    Ok(true)
}

fn text(key: &str, value: &Value) -> Result<String, ActivityError> {
    let text = value.as_str().map(str::trim).filter(|text| !text.is_empty());
    text.map(str::to_owned)
        .ok_or_else(|| ActivityError::field("bad_value", key, format!("'{key}' needs an id as text.")))
}

fn take_property(
    object: &Object,
    kind: ActivityKind,
    body: &mut Map<String, Value>,
    key: &str,
    value: &Value,
) -> Result<(), ActivityError> {
    if kind == ActivityKind::Delete {
        let message = format!("Delete takes the record's id, Etag and place only, not '{key}'. Remove it.");
        return Err(ActivityError::field("bad_record", key, message));
    }
    if let Ok(column) = object.column(key) {
        return put(body, column, value);
    }
    // Annotations (`@odata.type`, `manager@odata.bind`), related records and directory extensions are Graph's business.
    if key.contains('@') || RELATED.contains(&key) || key.starts_with("extension_") {
        body.insert(key.to_owned(), value.clone());
        return Ok(());
    }
    put_nested(object, body, &[], key, value)
}

/// Puts a property that was given as an object (`start: {dateTime, timeZone}`): its parts are columns too.
fn put_nested(
    object: &Object,
    body: &mut Map<String, Value>,
    outer: &[String],
    key: &str,
    value: &Value,
) -> Result<(), ActivityError> {
    let depth = outer.len();
    let below = |column: &&Column| {
        column.source == ColumnSource::Property
            && column.path.len() > depth
            && column.path[..depth] == *outer
            && column.path[depth].eq_ignore_ascii_case(key)
    };
    let Some(first) = object.columns().iter().find(below) else {
        let names = object.columns().iter().filter(|column| column.path.starts_with(outer));
        let near = did_you_mean(
            key,
            names.filter_map(|column| match outer.is_empty() {
                true => Some(column.name.as_str()),
                false => column.path.get(depth).map(String::as_str),
            }),
        );
        let name = object.name();
        let message = match outer.is_empty() {
            true => format!("{name} has no column '{key}'.{near} GET …/objects/{name} lists its columns."),
            false => format!("'{}' of {name} has no part '{key}'.{near}", outer.join("_")),
        };
        return Err(ActivityError::field("unknown_field", key, message));
    };
    if first.path.len() == depth + 1 {
        return put(body, first, value);
    }
    let path = &first.path[..=depth];
    match value {
        Value::Object(inner) => {
            inner.iter().try_for_each(|(key, value)| put_nested(object, body, path, key, value))
        }
        Value::Null => {
            let parts: Vec<&Column> =
                object.columns().iter().filter(|column| column.path.starts_with(path)).collect();
            match parts.iter().find(|column| column.read_only) {
                Some(column) => Err(read_only(column)),
                None => insert(body, path, &path.join("_"), Value::Null),
            }
        }
        _ => {
            let name = path.join("_");
            let message = format!(
                "'{name}' needs an object with its parts, or use the columns that begin with '{name}_'."
            );
            Err(ActivityError::field("bad_value", &name, message))
        }
    }
}

fn put(body: &mut Map<String, Value>, column: &Column, value: &Value) -> Result<(), ActivityError> {
    if column.read_only || column.source != ColumnSource::Property {
        return Err(read_only(column));
    }
    let value = checked(column.kind, value).ok_or_else(|| {
        let message = format!(
            "'{}' has the type {}, and the value given is none. Write for example {}.",
            column.name,
            column.kind.as_str(),
            column.kind.example()
        );
        ActivityError::field("bad_value", &column.name, message)
    })?;
    insert(body, &column.path, &column.name, value)
}

fn read_only(column: &Column) -> ActivityError {
    let message = format!(
        "'{}' is set by Microsoft Graph and cannot be given. Remove it from the record.",
        column.name
    );
    ActivityError::field("read_only_field", &column.name, message)
}

/// Puts `value` at `path`, making the objects above it. Nothing is ever overwritten: a value that was given twice, flat
/// and nested, would otherwise depend on the order of the keys.
fn insert(
    body: &mut Map<String, Value>,
    path: &[String],
    name: &str,
    value: Value,
) -> Result<(), ActivityError> {
    let conflict = || {
        let message = format!("'{name}' is given twice, as a column and inside an object. Give it once.");
        ActivityError::field("bad_record", name, message)
    };
    let Some((key, rest)) = path.split_first() else { return Err(conflict()) };
    if rest.is_empty() {
        return if body.contains_key(key) {
            Err(conflict())
        } else {
            body.insert(key.clone(), value);
            Ok(())
        };
    }
    match body.entry(key.clone()).or_insert_with(|| Value::Object(Map::new())) {
        Value::Object(inner) => insert(inner, rest, name, value),
        _ => Err(conflict()),
    }
}

fn missing_needs(object: &Object, body: &Map<String, Value>) -> Result<(), ActivityError> {
    if body.is_empty() {
        return Err(ActivityError::request(
            "bad_record",
            "The record is empty. Give it at least one column.",
        ));
    }
    let given = |column: &Column| {
        let mut value = body.get(&column.path[0]);
        for key in &column.path[1..] {
            value = value.and_then(|value| value.get(key));
        }
        value.is_some_and(|value| !value.is_null())
    };
    let missing = object.insert_needs().iter().filter(|need| !object.column(need.column).is_ok_and(given));
    let missing: Vec<_> = missing.collect();
    let Some(first) = missing.first() else { return Ok(()) };
    let names: Vec<&str> = missing.iter().map(|need| need.column).collect();
    let message = format!(
        "A new record of {} also needs {}. Write for example \"{}\": {}.",
        object.name(),
        names.join(", "),
        first.column,
        first.example
    );
    Err(ActivityError::field("missing_field", first.column, message))
}

#[cfg(test)]
#[path = "body_tests.rs"]
mod tests;
