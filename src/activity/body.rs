//! A record of an object → the JSON body Graph takes, and what of it belongs elsewhere: the id, the `If-Match`
//! tag, the mailbox, the folder. Pure.

use serde_json::{Map, Value};

use super::error::ActivityError;
use super::model::Record;
use super::value::{checked, local_time};
use crate::catalog::{Column, ColumnKind, ColumnSource, Object, RouteUse, did_you_mean};
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
    /// The folder, calendar, group or business it belongs to, by the declared names of their columns.
    pub(super) given: Vec<(&'static str, String)>,
}

/// Takes `record` apart for `kind`.
///
/// # Errors
/// A sentence naming the column and the remedy.
pub(super) fn parts(object: &Object, kind: ActivityKind, record: &Record) -> Result<Parts, ActivityError> {
    let mut parts = Parts::default();
    for (key, value) in record {
        if !take_place(object, kind, &mut parts, key, value)? {
            take_property(object, kind, &mut parts.body, key, value)?;
        }
    }
    local_times(object, &mut parts.body)?;
    whole_values(object, kind, &mut parts.body)?;
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

/// Checks the local times in `body` together with the zones beside them.
fn local_times(object: &Object, body: &mut Map<String, Value>) -> Result<(), ActivityError> {
    for column in object.columns() {
        let (Some(zone), Some((last, outer))) = (&column.zone, column.path.split_last()) else { continue };
        let mut part = Some(&mut *body);
        for key in outer {
            part = part.and_then(|part| part.get_mut(key)).and_then(Value::as_object_mut);
        }
        let Some(part) = part.filter(|part| part.contains_key(last)) else { continue };
        let given = zone.last().and_then(|name| part.get(name)).and_then(Value::as_str);
        let checked = local_time(&part[last], given).map_err(|what| {
            let message = format!(
                "'{}' {what}. Write for example \"2026-01-31T08:00:00\", and its zone in '{}'.",
                column.name,
                zone.join("_")
            );
            ActivityError::field("bad_value", &column.name, message)
        })?;
        part.insert(last.clone(), checked);
    }
    Ok(())
}

/// Takes a column that says where the record is rather than what it is. Tells whether it was one.
fn take_place(
    object: &Object,
    kind: ActivityKind,
    parts: &mut Parts,
    key: &str,
    value: &Value,
) -> Result<bool, ActivityError> {
    let creating = kind == ActivityKind::Create;
    let wanted = if creating { RouteUse::Create } else { RouteUse::Record };
    if let Some(column) = object.place_column(wanted, key) {
        let value = text(key, value)?;
        if parts.given.iter().any(|(given, _)| *given == column) {
            let message = format!("'{column}' is given twice. Give it once.");
            return Err(ActivityError::field("bad_record", key, message));
        }
        parts.given.push((column, value));
        return Ok(true);
    }
    if let Some(column) = object.place_column(RouteUse::Create, key) {
        let message = format!(
            "'{column}' cannot be given to {}: a record is found by its id wherever it is, and moving one is a procedure \
             (MoveMail for messages).",
            kind.as_str()
        );
        return Err(ActivityError::field("bad_record", key, message));
    }
    let Ok(column) = object.column(key) else { return Ok(false) };
    match (column.source, column.name.as_str()) {
        (ColumnSource::Place, name) if name.eq_ignore_ascii_case("UserId") => {
            once(&mut parts.user, key, value)?;
        }
        (ColumnSource::Place, _) => {
            let name = object.name().to_lowercase();
            let message = match object.place_column(RouteUse::List, key) {
                Some(_) => format!(
                    "Microsoft Graph reaches no single record of {} by '{key}', so it cannot be given. Remove it.",
                    object.name()
                ),
                None => {
                    format!(
                        "Microsoft Graph has no {name} of a group, so '{key}' cannot be given. Remove it."
                    )
                }
            };
            return Err(ActivityError::field("bad_record", key, message));
        }
        (_, "id") if !creating => once(&mut parts.id, key, value)?,
        (ColumnSource::Etag, _) if !creating => once(&mut parts.etag, key, value)?,
        _ => return Ok(false),
    }
    Ok(true)
}

/// Takes the text of what is there once only: `id` beside `ID` could be two records.
fn once(place: &mut Option<String>, key: &str, value: &Value) -> Result<(), ActivityError> {
    match place.replace(text(key, value)?) {
        None => Ok(()),
        Some(_) => {
            let message = format!("'{key}' is given twice. Give it once.");
            Err(ActivityError::field("bad_record", key, message))
        }
    }
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
    if object.is_lenient() {
        return put_lenient(object, body, key, value);
    }
    if let Ok(column) = object.column(key) {
        return put(kind, body, &column, value);
    }
    // Annotations (`@odata.type`, `manager@odata.bind`), related records and directory extensions are Graph's business.
    if key.contains('@') || RELATED.contains(&key) || key.starts_with("extension_") {
        body.insert(key.to_owned(), value.clone());
        return Ok(());
    }
    put_nested(object, kind, body, &[], key, value)
}

/// Puts a property of a Graph path's record. The service has the last word on it: what is known goes out in its type and
/// in its place, anything else as it is.
fn put_lenient(
    object: &Object,
    body: &mut Map<String, Value>,
    key: &str,
    value: &Value,
) -> Result<(), ActivityError> {
    let known = object.column(key).ok().filter(|column| {
        column.source == ColumnSource::Property && column.kind != ColumnKind::Any && !key.contains('/')
    });
    match known {
        Some(column) => {
            let value = checked(column.kind, value).unwrap_or_else(|| value.clone());
            insert(body, &column.path, key, value)
        }
        None => insert(body, &[key.to_owned()], key, value.clone()),
    }
}

/// Puts a property that was given as an object (`start: {dateTime, timeZone}`): its parts are columns too.
fn put_nested(
    object: &Object,
    kind: ActivityKind,
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
        return put(kind, body, first, value);
    }
    let path = &first.path[..=depth];
    match value {
        Value::Object(inner) => {
            inner.iter().try_for_each(|(key, value)| put_nested(object, kind, body, path, key, value))
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

fn put(
    kind: ActivityKind,
    body: &mut Map<String, Value>,
    column: &Column,
    value: &Value,
) -> Result<(), ActivityError> {
    if column.source == ColumnSource::CreateOnly && kind == ActivityKind::Create {
        return insert(body, &column.path, &column.name, participants(column, value)?);
    }
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
    if let Some((ARRAY, rest)) = rest.split_first().map(|(next, rest)| (next.as_str(), rest)) {
        let list = body.entry(key.clone()).or_insert_with(|| Value::Array(vec![Value::Object(Map::new())]));
        return match list.get_mut(0) {
            Some(Value::Object(inner)) => insert(inner, rest, name, value),
            _ => Err(conflict()),
        };
    }
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

/// Values that the service takes whole only, by their two parts in the order in which it wants them: "dateTimeTimeZone
/// resource type" and "patternedRecurrence resource type".
const PAIRS: [[&str; 2]; 2] = [["dateTime", "timeZone"], ["pattern", "range"]];

/// Refuses a change of one half of a value that is replaced whole, and brings the halves into order.
fn whole_values(
    object: &Object,
    kind: ActivityKind,
    body: &mut Map<String, Value>,
) -> Result<(), ActivityError> {
    for (name, value) in body {
        let Value::Object(value) = value else { continue };
        let is_column = |half: &str| {
            let is = |column: &&Column| matches!(column.path.as_slice(), [first, second, ..] if first == name && second == half);
            object.columns().iter().find(is)
        };
        for [first, second] in PAIRS {
            if is_column(first).is_none() || is_column(second).is_none() {
                continue;
            }
            let (given, missing) = match (value.contains_key(first), value.contains_key(second)) {
                (true, false) => (first, second),
                (false, true) => (second, first),
                (true, true) => {
                    if let Some(last) = value.shift_remove(second) {
                        value.insert(second.to_owned(), last);
                    }
                    continue;
                }
                (false, false) => continue,
            };
            if kind == ActivityKind::Update {
                let field = format!("{name}_{missing}");
                let message = format!(
                    "'{name}_{given}' cannot be changed alone, because Microsoft Graph replaces '{name}' whole. Give \
                     '{field}' too; a query shows what the record has."
                );
                return Err(ActivityError::field("missing_field", &field, message));
            }
        }
    }
    Ok(())
}

/// Stands in a path for the first record of a list of related ones: a conversation is made with its first post.
const ARRAY: &str = "[]";

/// `name1, email1; name2, email2` as recipients; any other value as it is.
fn participants(column: &Column, value: &Value) -> Result<Value, ActivityError> {
    let Some(list) = value.as_str().filter(|_| column.name == "NewParticipants") else {
        return Ok(value.clone());
    };
    let one = |entry: &str| {
        let (name, address) = entry.rsplit_once(',').unwrap_or(("", entry));
        let (name, address) = (name.trim(), address.trim());
        if !address.contains('@') {
            let message = format!(
                "'{}' needs names and addresses: \"Adele Vance, adele@contoso.com; Lee Gu, lee@contoso.com\".",
                column.name
            );
            return Err(ActivityError::field("bad_value", &column.name, message));
        }
        Ok(serde_json::json!({"emailAddress": {"name": name, "address": address}}))
    };
    list.split(';').map(str::trim).filter(|entry| !entry.is_empty()).map(one).collect()
}

fn missing_needs(object: &Object, body: &Map<String, Value>) -> Result<(), ActivityError> {
    if body.is_empty() && !object.is_lenient() {
        return Err(ActivityError::request(
            "bad_record",
            "The record is empty. Give it at least one column.",
        ));
    }
    let given = |column: &Column| {
        let mut value = body.get(&column.path[0]);
        for key in &column.path[1..] {
            value = value.and_then(|value| if key == ARRAY { value.get(0) } else { value.get(key) });
        }
        value.is_some_and(|value| !value.is_null())
    };
    let missing = object
        .insert_needs()
        .iter()
        .filter(|need| !object.column(need.column).is_ok_and(|column| given(&column)));
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
