//! What is done with a row beyond writing it: members of groups, replies, publishing, restoring.
//! Never creates or deletes the row itself, except by restoring it.

use super::path::ResourcePath;
use super::{find, kinds, read};
use crate::answer::{Answer, Call, decode};
use crate::data::tenant::UserFacts;
use crate::graph::body;
use crate::graph::dispatch::Context;
use crate::graph::errors::GraphError;
use crate::graph::odata::evaluate::matches;
use crate::graph::odata::query::Query;
use crate::graph::users;
use crate::state::State;
use serde_json::{Value, json};

/// Does what is asked of a row.
pub(super) fn carry_out(
    state: &mut State,
    call: &Call,
    context: &Context,
    path: &ResourcePath,
    id: &str,
    words: &[String],
) -> Result<Answer, GraphError> {
    find(state, path, id)?;
    let lower: Vec<String> = words.iter().map(|word| word.to_ascii_lowercase()).collect();
    let lower: Vec<&str> = lower.iter().map(String::as_str).collect();
    let done = match (call.method.as_str(), path.place.rule.table, &lower[..]) {
        ("GET", "groups", [list @ ("members" | "owners")]) => {
            return people(state, call, id, *list == "owners");
        }
        ("GET", "groups", [list @ ("members" | "owners"), "$count"]) => {
            let count = listed(state, id, *list == "owners").len();
            return Ok(Answer::text(200, "text/plain", count.to_string()));
        }
        ("POST", "groups", [list @ ("members" | "owners"), "$ref"]) => {
            add_person(state, call, id, *list == "owners")?
        }
        ("DELETE", "groups", [list @ ("members" | "owners"), _, "$ref"]) => {
            remove_person(state, id, &words[1], *list == "owners")?
        }
        ("GET", "groups", [list @ ("members" | "owners"), _]) => {
            return person(state, call, id, &words[1], *list == "owners");
        }
        // Without `$ref` the path names the user itself, and that is what goes.
        ("DELETE", "groups", [list @ ("members" | "owners"), _]) => {
            let user = member(state, id, &words[1], *list == "owners")?;
            users::remove(state, &user);
            return Ok(Answer::empty(204));
        }
        ("POST", "threads", ["reply"]) => {
            let parameters = body::object(call)?;
            let post =
                parameters.get("post").or_else(|| parameters.get("Post")).unwrap_or(&Value::Null).clone();
            if !post["body"]["content"].is_string() {
                return Err(GraphError::new(400, "ErrorInvalidArgument", "The post needs a body."));
            }
            kinds::deliver(state, context, id, &post);
            Answer::empty(202)
        }
        ("POST", "bookingBusinesses", [word @ ("publish" | "unpublish")]) => {
            let published = *word == "publish";
            if let Some(row) = state.documents.table("bookingBusinesses").get_mut(id) {
                row.fields.insert("isPublished".into(), published.into());
                let url = format!("https://outlook.office365.com/owa/calendar/{id}/bookings/");
                row.fields.insert("publicUrl".into(), if published { json!(url) } else { Value::Null });
            }
            Answer::empty(204)
        }
        ("POST", "bookingAppointments", ["cancel"]) => {
            state.documents.table("bookingAppointments").remove(id);
            Answer::empty(204)
        }
        ("POST", "deletedGroups", ["restore"]) => {
            let row = state
                .documents
                .table("deletedGroups")
                .remove(id)
                .ok_or_else(|| GraphError::resource_not_found(id))?;
            let mut restored = row;
            restored.fields.shift_remove("deletedDateTime");
            let answer = read::answer(state, path, &restored, 200, &Query::default());
            state.documents.table("groups").add(restored);
            answer
        }
        ("POST", "deletedUsers", ["restore"]) => {
            let row = state
                .documents
                .table("deletedUsers")
                .remove(id)
                .ok_or_else(|| GraphError::resource_not_found(id))?;
            let key = state.tenant.users.create(0, row.fields);
            state.tenant.index_user(key);
            Answer::json(200, &Value::Object(users::shown(&state.tenant.users, key, None)))
        }
        _ => {
            let segment = words.first().cloned().unwrap_or_default();
            return Err(GraphError::bad_request(format!("Resource not found for the segment '{segment}'.")));
        }
    };
    state.count_write(None);
    Ok(done)
}

fn people(state: &mut State, call: &Call, group: &str, owners: bool) -> Result<Answer, GraphError> {
    let query = Query::of_collection(call, crate::data::model::Entity::User)?;
    let ids = listed(state, group, owners);
    let rows: Vec<Value> = ids
        .iter()
        .filter_map(|id| state.tenant.user(id))
        .filter(|user| {
            query.filter.as_ref().is_none_or(|filter| matches(filter, &state.tenant.users, user.key))
        })
        .map(|user| {
            let mut row = users::shown(&state.tenant.users, user.key, query.select.as_deref());
            row.shift_insert(0, "@odata.type".into(), "#microsoft.graph.user".into());
            Value::Object(row)
        })
        .collect();
    let url = format!("{}/v1.0/$metadata#directoryObjects", state.graph_origin);
    let mut answer = Answer::json(200, &json!({"@odata.context": url, "value": rows}));
    answer.rows = rows.len() as u64;
    Ok(answer)
}

/// The user of that id, if it is in the list.
fn member(state: &State, group: &str, id: &str, owners: bool) -> Result<UserFacts, GraphError> {
    let there = listed(state, group, owners).iter().any(|known| known == id);
    state.tenant.user(id).filter(|_| there).ok_or_else(|| GraphError::resource_not_found(id))
}

fn person(state: &State, call: &Call, group: &str, id: &str, owners: bool) -> Result<Answer, GraphError> {
    let query = Query::of_entity(call, crate::data::model::Entity::User)?;
    let user = member(state, group, id, owners)?;
    let mut row = users::shown(&state.tenant.users, user.key, query.select.as_deref());
    row.shift_insert(0, "@odata.type".into(), "#microsoft.graph.user".into());
    Ok(Answer::json(200, &Value::Object(row)))
}

fn listed(state: &State, group: &str, owners: bool) -> Vec<String> {
    let lists = state.documents.people.get(group).cloned().unwrap_or_default();
    if owners { lists.1 } else { lists.0 }
}

fn add_person(state: &mut State, call: &Call, group: &str, owner: bool) -> Result<Answer, GraphError> {
    let given = body::object(call)?;
    let url = given.get("@odata.id").and_then(Value::as_str).unwrap_or_default();
    let id = referred(state, url)?;
    let lists = state.documents.people.entry(group.to_owned()).or_default();
    let list = if owner { &mut lists.1 } else { &mut lists.0 };
    if list.contains(&id) {
        let text = "One or more added object references already exist for the following modified properties: 'members'.";
        return Err(GraphError::new(400, "Request_BadRequest", text));
    }
    list.push(id);
    Ok(Answer::empty(204))
}

/// The id of the user at an address below this service's root.
pub(in crate::graph) fn referred(state: &State, url: &str) -> Result<String, GraphError> {
    let path = url.strip_prefix(&format!("{}/v1.0/", state.graph_origin));
    let name = match path.and_then(|path| path.split_once('/')) {
        Some(("users" | "directoryObjects", name)) => decode(name),
        _ => {
            let text = "Invalid URL format specified in @odata.id for the entity reference.";
            return Err(GraphError::new(400, "Request_BadRequest", text));
        }
    };
    // A directory object is found by its id alone, a user also by its principal name.
    let known = state.tenant.user(&name).filter(|user| url.contains("/users/") || user.id == name);
    known.map(|user| user.id).ok_or_else(|| GraphError::resource_not_found(&name))
}

fn remove_person(state: &mut State, group: &str, id: &str, owner: bool) -> Result<Answer, GraphError> {
    let lists = state.documents.people.entry(group.to_owned()).or_default();
    let list = if owner { &mut lists.1 } else { &mut lists.0 };
    let before = list.len();
    list.retain(|known| known != id);
    if list.len() == before { Err(GraphError::resource_not_found(id)) } else { Ok(Answer::empty(204)) }
}
