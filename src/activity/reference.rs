//! Writes at a relationship: a reference is added, set or removed by `/$ref`, and the record that it leads to stays as it
//! is (OData Protocol 4.01, sections 11.4.6.1 to 11.4.6.3; Graph reference, "Add member", "Assign manager"). Never sends a
//! request that could remove or change the record itself.

use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::{Map, Value};
use url::Url;

use super::engine::Live;
use super::error::ActivityError;
use super::journal::Earlier;
use super::model::Record;
use super::target::{Prepared, refuse_me, write};
use crate::catalog::{Adding, Object, Relation, Removing, encode_segment};
use crate::connection::ActivityKind;
use crate::graph::{CallContext, Effect, GraphError, GraphRequest};

/// The address of what a reference leads to.
const ADDRESS: &str = "@odata.id";

/// The request for one record of a relationship. `root`: the Graph root, which addresses begin with.
///
/// # Errors
/// A sentence naming the column and the remedy.
pub(super) fn reference(
    object: &Object,
    relation: &Relation,
    kind: ActivityKind,
    root: &Url,
    record: &Record,
) -> Result<Prepared, ActivityError> {
    let given = Given::of(record)?;
    if kind == ActivityKind::Delete {
        return remove(object, relation, root, &given);
    }
    if relation.adding == Adding::ReferenceOrRecord && !given.rest.is_empty() && !relation.names_one() {
        let path = relation.path.clone();
        let request = write(http::Method::POST, path, Some(record.clone()), None, None, Effect::Once);
        return Ok(Prepared { request, id: None });
    }
    given.nothing_else(
        relation,
        &format!(
            "Create here adds a reference to a {} that exists. Give its id, or its address as {ADDRESS}",
            relation.target_type
        ),
    )?;
    if relation.names_one() {
        let message = format!(
            "'{}' names one reference, so none can be added below it. Create one at the relationship itself: the same path \
             without the key.",
            object.name()
        );
        return Err(ActivityError::field("not_allowed", "object", message));
    }
    let address = given.address(relation, root)?;
    let body = Map::from_iter([(ADDRESS.to_owned(), Value::from(address))]);
    let path = format!("{}/$ref", relation.path);
    // Setting the one reference a second time sets the same again; adding one twice is refused.
    let (method, effect) = match relation.many {
        true => (http::Method::POST, Effect::Once),
        false => (http::Method::PUT, Effect::Repeatable),
    };
    Ok(Prepared { request: write(method, path, Some(body), None, None, effect), id: given.id })
}

fn remove(
    object: &Object,
    relation: &Relation,
    root: &Url,
    given: &Given,
) -> Result<Prepared, ActivityError> {
    given.nothing_else(relation, "Delete here removes a reference. Give the id of what it leads to")?;
    if given.address.is_some() && relation.removing != Removing::ByQuery {
        let message =
            format!("Delete removes the reference by its id, not by '{ADDRESS}'. Give the column 'id'.");
        return Err(ActivityError::field("bad_record", ADDRESS, message));
    }
    let path = match (relation.names_one() || !relation.many, &given.id) {
        // One reference is named by the path: an id beside it can only be the same.
        (true, Some(id)) if relation.key.as_ref() != Some(id) => {
            let message = match &relation.key {
                Some(key) => format!(
                    "'{}' names the reference to '{key}' and the record the one to '{id}'. Leave the id out, or give the path \
                     of the relationship without a key.",
                    object.name()
                ),
                None => format!(
                    "'{}' is one reference and is removed whatever it leads to, so Delete takes no id there. Give one record \
                     without columns: \"records\": [{{}}].",
                    object.name()
                ),
            };
            return Err(ActivityError::field("bad_record", "id", message));
        }
        (true, _) => match &relation.key {
            Some(key) => format!("{}/{}/$ref", relation.path, encode_segment(key)),
            None => format!("{}/$ref", relation.path),
        },
        (false, _) if relation.removing == Removing::ByQuery => {
            let address = given.address(relation, root)?;
            let address = utf8_percent_encode(&address, NON_ALPHANUMERIC);
            format!("{}/$ref?$id={address}", relation.path)
        }
        (false, Some(id)) => format!("{}/{}/$ref", relation.path, encode_segment(id)),
        (false, None) => {
            let message = format!(
                "Delete needs the id of what each reference in '{}' leads to. Give it as the column 'id'.",
                relation.name
            );
            return Err(ActivityError::field("missing_field", "id", message));
        }
    };
    let request = write(http::Method::DELETE, path, None, None, None, Effect::Repeatable);
    Ok(Prepared { request, id: given.id.clone().or_else(|| relation.key.clone()) })
}

/// The records of a Delete at the one reference of a path (`/users/{id}/manager`): an id beside the path must be that of
/// what it leads to now, which is asked once, and is then left out. What an earlier call with the same key has done stands.
///
/// # Errors
/// [`ActivityError::BadRequest`], when it leads to something else; nothing was written.
pub(super) async fn named_by_id(
    live: &Live,
    object: &Object,
    mut records: Vec<Record>,
    earlier: Option<&Earlier>,
    context: &CallContext,
) -> Result<Vec<Record>, ActivityError> {
    let is_id = |name: &str| name.eq_ignore_ascii_case("id");
    let named = |record: &Record| record.keys().any(|name| is_id(name));
    let Some(relation) = object.relation().filter(|relation| !relation.many) else { return Ok(records) };
    let is_done = |index: usize| earlier.is_some_and(|earlier| earlier.is_done(index));
    let mut open = records.iter().enumerate().filter(|(index, record)| named(record) && !is_done(*index));
    // What the service does not remove is refused record by record.
    if open.next().is_none() || object.allows(ActivityKind::Delete).is_err() {
        return Ok(records);
    }
    if let Some(path) = object.path() {
        refuse_me(path, &live.connection)?;
    }
    let question = GraphRequest {
        method: http::Method::GET,
        path: format!("{}?$select=id", relation.path),
        headers: Vec::new(),
        body: None,
        mailbox: None,
        effect: Effect::Repeatable,
    };
    let row: Option<Value> = match live.graph.send(question, context).await {
        Ok(answer) => Some(serde_json::from_slice(&answer.body).unwrap_or_default()),
        // There is none (any more): the removal says so itself, or was done by an earlier call with the same key.
        Err(GraphError::Refused(refusal)) if refusal.status == 404 => None,
        Err(error) => return Err(error.into()),
    };
    for (index, record) in records.iter_mut().enumerate() {
        let Some(name) = record.keys().find(|name| is_id(name)).cloned() else { continue };
        let given = record.remove(&name);
        if !is_done(index) && row.as_ref().is_some_and(|row| given.as_ref() != row.get("id")) {
            // Sent by an earlier call, it may have been removed, and another one set after it.
            let what = match earlier.is_some_and(|earlier| earlier.sent.contains_key(&index)) {
                true => "nothing was removed by this call",
                false => "the reference was not removed",
            };
            let message = format!(
                "'{}' does not lead to the record with this id now, so {what}. Give one record without columns to remove it \
                 whatever it leads to: \"records\": [{{}}].",
                object.name()
            );
            return Err(ActivityError::field("bad_record", "id", message));
        }
    }
    Ok(records)
}

/// What a record says of a reference.
#[derive(Debug, Default)]
struct Given {
    id: Option<String>,
    address: Option<String>,
    /// `user` of `#microsoft.graph.user`, as rows of a relationship say it.
    kind: Option<String>,
    rest: Vec<String>,
}

impl Given {
    fn of(record: &Record) -> Result<Self, ActivityError> {
        let mut given = Self::default();
        for (key, value) in record {
            let place = match key.as_str() {
                name if name.eq_ignore_ascii_case("id") => &mut given.id,
                name if name.eq_ignore_ascii_case(ADDRESS) => &mut given.address,
                "@odata.type" => &mut given.kind,
                _ => {
                    given.rest.push(key.clone());
                    continue;
                }
            };
            let text = value.as_str().map(str::trim).filter(|text| !text.is_empty());
            let text = text.ok_or_else(|| {
                ActivityError::field("bad_value", key, format!("'{key}' needs an id or address as text."))
            })?;
            if place.replace(text.to_owned()).is_some() {
                let message = format!("'{key}' is given twice. Give it once.");
                return Err(ActivityError::field("bad_record", key, message));
            }
        }
        if let Some(kind) = &mut given.kind {
            *kind = kind.trim_start_matches('#').replacen("microsoft.graph.", "", 1);
        }
        Ok(given)
    }

    fn nothing_else(&self, relation: &Relation, how: &str) -> Result<(), ActivityError> {
        let Some(other) = self.rest.first() else { return Ok(()) };
        let message = format!(
            "{how}, and nothing else: '{other}' belongs to the {} itself, at {}.",
            relation.target_type,
            relation.own_path()
        );
        Err(ActivityError::field("bad_record", other, message))
    }

    /// The address of what the reference leads to, below the connection's own Graph root.
    fn address(&self, relation: &Relation, root: &Url) -> Result<String, ActivityError> {
        let wrong = |field: &str, message: String| Err(ActivityError::field("bad_value", field, message));
        let id = match (&self.address, &self.id) {
            (Some(_), Some(_)) => {
                let message = format!("'id' and '{ADDRESS}' both say what the reference leads to. Give one.");
                return Err(ActivityError::field("bad_record", ADDRESS, message));
            }
            (Some(address), None) => {
                let path = address.strip_prefix(root.as_str()).unwrap_or(address).trim_start_matches('/');
                let whole = root.join(path).ok().filter(|whole| whole.as_str().starts_with(root.as_str()));
                return match whole {
                    Some(whole) if !path.is_empty() => Ok(whole.into()),
                    _ => wrong(
                        ADDRESS,
                        format!(
                            "'{ADDRESS}' must be an address below {root}, or the path of the record such as \
                             \"directoryObjects/5f1c…\"."
                        ),
                    ),
                };
            }
            (None, Some(id)) => id,
            (None, None) => {
                let message = format!(
                    "A reference in '{}' needs what it leads to. Give the id of a {}, or its address as {ADDRESS}.",
                    relation.name, relation.target_type
                );
                return Err(ActivityError::field("missing_field", "id", message));
            }
        };
        let home = match (relation.home.as_deref(), self.kind.as_deref()) {
            (Some("directoryObjects"), Some("user")) => "users",
            (Some("directoryObjects"), Some("group")) => "groups",
            // A user principal name is no id of a directory object; users are found by it.
            (Some("directoryObjects"), _) if id.contains('@') => "users",
            (Some(home), _) => home,
            (None, _) => {
                let message = format!(
                    "The agent does not know where records of the type {} are kept. Give the address of the record as \
                     {ADDRESS} instead of its id.",
                    relation.target_type
                );
                return wrong("id", message);
            }
        };
        Ok(format!("{root}{home}/{}", encode_segment(id)))
    }
}

#[cfg(test)]
#[path = "reference_tests.rs"]
mod tests;
