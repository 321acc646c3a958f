//! The resources that are kept as JSON: one engine for all, driven by the rules.
//! Never knows a resource by name, except where its documents describe something of its own.

pub(in crate::graph) mod actions;
mod kinds;
pub(crate) mod path;
mod read;
pub(crate) mod rules;
mod write;

use super::access::Principal;
use super::dispatch::Context;
use super::errors::GraphError;
use crate::answer::{Answer, Call};
use crate::data::documents::Document;
use crate::data::model::Shape;
use crate::state::State;
use path::{ResourcePath, Tail};
use rules::{Etag, Rule, Within};

/// Whether the caller may do this.
pub(crate) fn check(principal: &Principal, path: &ResourcePath, method: &str) -> Result<(), GraphError> {
    let rule = path.place.rule;
    let (read, write) = rule.permissions;
    let needed = if method == "GET" { read } else { write };
    let held = principal.permissions.iter().any(|held| needed.contains(&held.as_str()));
    let alone =
        principal.user.is_none() && method == "POST" && path.tail == Tail::Nothing && !rule.app_creates;
    if held && !alone {
        return Ok(());
    }
    Err(if rule.directory() { GraphError::insufficient_privileges() } else { GraphError::access_denied() })
}

/// Does what is asked.
pub(crate) fn carry_out(
    state: &mut State,
    call: &Call,
    context: &Context,
    path: &ResourcePath,
) -> Result<Answer, GraphError> {
    check_parents(state, path)?;
    let single = path.place.within == Within::Same;
    match (call.method.as_str(), &path.tail) {
        ("GET", Tail::Nothing) if single => read::one(state, call, path, &path.ids[0]),
        ("PATCH", Tail::Nothing) if single => write::update(state, call, context, path, &path.ids[0]),
        ("GET", Tail::Nothing) => read::list(state, call, context, path),
        ("GET", Tail::Count) => read::count(state, call, context, path),
        ("GET", Tail::Item(id)) => read::one(state, call, path, id),
        ("POST", Tail::Nothing) => write::create(state, call, context, path),
        ("PATCH", Tail::Item(id)) => write::update(state, call, context, path, id),
        ("DELETE", Tail::Item(id)) => write::delete(state, call, path, id),
        (_, Tail::Action(id, words)) => actions::carry_out(state, call, context, path, id, words),
        _ => Err(GraphError::method_not_allowed()),
    }
}

/// The rule's type.
fn shape(rule: &Rule) -> &'static Shape {
    if rule.type_name == "user" {
        &crate::data::shapes::USER
    } else {
        crate::data::types::shape(rule.type_name)
    }
}

fn check_parents(state: &State, path: &ResourcePath) -> Result<(), GraphError> {
    for (table, id) in path.place.parents.iter().zip(&path.ids) {
        if state.documents.get(table, id).is_none() {
            return Err(not_found(path.place.rule, table, id));
        }
    }
    Ok(())
}

/// The row of an id, if it is where the path says.
fn find<'s>(state: &'s State, path: &ResourcePath, id: &str) -> Result<&'s Document, GraphError> {
    let missing = || not_found(path.place.rule, path.place.rule.table, id);
    let row = state.documents.get(path.place.rule.table, id).ok_or_else(missing)?;
    let there = match path.place.within {
        Within::Scope => path.ids.first() == Some(&row.scope),
        Within::Parent => path.ids.last() == Some(&row.parent),
        Within::Same => path.ids.first().is_some_and(|own| own == id),
        Within::Property(name) => {
            row.fields.get(name).and_then(|value| value.as_str()) == path.ids.last().map(String::as_str)
        }
        Within::Table | Within::User | Within::Assigned | Within::Shared => true,
    };
    if there { Ok(row) } else { Err(missing()) }
}

fn not_found(rule: &Rule, table: &str, id: &str) -> GraphError {
    if rule.directory() || table == "groups" {
        return GraphError::resource_not_found(id);
    }
    if rule.etag == Etag::Required {
        // Planner's errors have an empty code.
        return GraphError::new(404, "", "The requested item is not found.");
    }
    GraphError::item_not_found()
}

/// A row's tag.
fn etag(row: &Document) -> String {
    use base64::Engine;
    let text = format!("1-{}-{}", row.id, row.version);
    format!("W/\"{}\"", base64::engine::general_purpose::STANDARD.encode(text))
}
