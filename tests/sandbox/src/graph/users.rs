//! The directory's users: shown, counted, created, changed and deleted.
//! Never touches a mailbox.

use super::body;
use super::dispatch::Context;
use super::entity::entity_context;
use super::errors::GraphError;
use super::odata::evaluate::matches;
use super::odata::query::Query;
use crate::answer::{Answer, Call};
use crate::data::collection::Collection;
use crate::data::directory::DEFAULT_PROPERTIES;
use crate::data::documents::Document;
use crate::data::model::{Entity, Property};
use crate::data::tenant::UserFacts;
use crate::state::State;
use crate::time::{instant, now_seconds};
use serde_json::{Map, Value, json};

/// The properties that a new user must have.
const REQUIRED: &[&str] =
    &["accountEnabled", "displayName", "mailNickname", "passwordProfile", "userPrincipalName"];

/// A user as a JSON object; the default set when nothing is selected.
pub(crate) fn shown(
    users: &Collection,
    key: u32,
    select: Option<&[&'static Property]>,
) -> Map<String, Value> {
    let names: Vec<&str> = match select {
        Some(selected) => selected.iter().map(|property| property.name).collect(),
        None => DEFAULT_PROPERTIES.to_vec(),
    };
    names
        .into_iter()
        // A password is never told to anybody.
        .map(|name| {
            (name.to_owned(), if name == "passwordProfile" { Value::Null } else { users.field(key, name) })
        })
        .collect()
}

/// Reads one user.
pub(crate) fn get(state: &mut State, call: &Call, context: &Context) -> Result<Answer, GraphError> {
    let query = Query::of_entity(call, Entity::User)?;
    let url = entity_context(&state.graph_origin, "", Entity::User, query.select.as_deref());
    let mut user = shown(&state.tenant.users, context.owner().key, query.select.as_deref());
    user.shift_insert(0, "@odata.context".into(), url.into());
    Ok(Answer::json(200, &Value::Object(user)))
}

/// The number of users, as text; always an advanced query.
pub(crate) fn count(state: &mut State, call: &Call) -> Result<Answer, GraphError> {
    let eventual =
        call.header("consistencylevel").is_some_and(|level| level.eq_ignore_ascii_case("eventual"));
    if !eventual {
        return Err(GraphError::new(400, "Request_BadRequest", "$count is not currently supported."));
    }
    // The segment stands for the option, so a filter on it counts as an advanced one.
    let mut counted = call.clone();
    let separator = if call.query().is_empty() { "?" } else { "&" };
    counted.target = format!("{}{separator}$count=true", call.target);
    let query = Query::of_collection(&counted, Entity::User)?;
    let users = &state.tenant.users;
    let found = users.keys().into_iter().filter(|key| {
        query.filter.as_ref().is_none_or(|filter| matches(filter, users, *key))
            && query.search.as_ref().is_none_or(|search| search.matches(users, *key))
    });
    Ok(Answer::text(200, "text/plain", found.count().to_string()))
}

/// Creates a user.
pub(crate) fn create(state: &mut State, call: &Call) -> Result<Answer, GraphError> {
    let mut fields = body::read(call, Entity::User)?;
    for name in REQUIRED {
        let missing = fields.get(*name).is_none_or(|value| value.is_null() || value.as_str() == Some(""));
        if missing {
            return Err(refused(format!("A value is required for property '{name}' of resource 'User'.")));
        }
    }
    if !fields["passwordProfile"]["password"].is_string() {
        return Err(refused("A password must be specified to create a new user."));
    }
    let upn = fields["userPrincipalName"].as_str().unwrap_or_default().to_owned();
    check_principal_name(state, &upn)?;
    let id = state.fresh.guid();
    fields.shift_remove("passwordProfile");
    let now = instant(now_seconds());
    let defaults = [
        ("id", json!(id)),
        ("createdDateTime", json!(now)),
        ("userType", json!("Member")),
        ("businessPhones", json!([])),
    ];
    for (name, value) in defaults {
        fields.entry(name).or_insert(value);
    }
    let key = state.tenant.users.create(0, fields);
    state.tenant.index_user(key);
    state.stats.writes += 1;
    let mut user = shown(&state.tenant.users, key, None);
    let url = entity_context(&state.graph_origin, "", Entity::User, None);
    user.shift_insert(0, "@odata.context".into(), url.into());
    let location = format!("{}/v1.0/users/{id}", state.graph_origin);
    Ok(Answer::json(201, &Value::Object(user)).with("location", location))
}

/// Changes a user; the directory answers without a body.
pub(crate) fn update(state: &mut State, call: &Call, context: &Context) -> Result<Answer, GraphError> {
    let mut fields = body::read(call, Entity::User)?;
    let user = context.owner();
    if let Some(upn) = fields.get("userPrincipalName").and_then(Value::as_str)
        && !upn.eq_ignore_ascii_case(&user.upn)
    {
        check_principal_name(state, upn)?;
    }
    fields.shift_remove("passwordProfile");
    state.tenant.users.update(user.key, fields);
    state.tenant.index_user(user.key);
    state.stats.writes += 1;
    Ok(Answer::empty(204))
}

/// Deletes a user.
pub(crate) fn delete(state: &mut State, context: &Context) -> Result<Answer, GraphError> {
    let user = context.owner().clone();
    remove(state, &user);
    Ok(Answer::empty(204))
}

/// Takes a user out of the directory, by whichever path it was named.
pub(crate) fn remove(state: &mut State, user: &UserFacts) {
    let key = user.key;
    let names = crate::data::shapes::USER.properties.iter().map(|property| property.name);
    let mut fields: Map<String, Value> =
        names.map(|name| (name.to_owned(), state.tenant.users.field(key, name))).collect();
    fields.insert("deletedDateTime".into(), instant(now_seconds()).into());
    let id = user.id.clone();
    let row = Document { id, scope: String::new(), parent: String::new(), fields, version: 0 };
    state.documents.table("deletedUsers").add(row);
    state.tenant.users.remove(key);
    state.stats.writes += 1;
}

fn check_principal_name(state: &State, upn: &str) -> Result<(), GraphError> {
    let domain = upn.split_once('@').map(|(_, domain)| domain);
    if !domain.is_some_and(|domain| domain.eq_ignore_ascii_case(&state.options.tenant_domain)) {
        return Err(refused(
            "The domain portion of the userPrincipalName property is invalid. You must use one of the verified domain names in your organization.",
        ));
    }
    if state.tenant.user(upn).is_some() {
        return Err(refused(
            "Another object with the same value for property userPrincipalName already exists.",
        ));
    }
    Ok(())
}

fn refused(message: impl Into<String>) -> GraphError {
    GraphError::new(400, "Request_BadRequest", message)
}
