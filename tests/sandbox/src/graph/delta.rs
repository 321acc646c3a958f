//! What changed since a token: messages, contacts and events of a mailbox, folders, and users.
//! Never keeps anything for a client: a token says all there is to know.

use super::dispatch::Context;
use super::entity::{collection_context, shown};
use super::errors::GraphError;
use super::listing::parent_key;
use super::odata::evaluate::matches;
use super::odata::query::Query;
use super::route::Parent;
use super::users;
use crate::answer::{Answer, Call, decoded_pairs};
use crate::data::model::Entity;
use crate::state::State;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};

/// What a token says: the version that the client has, how far it is, the version it will have, and its `$select`.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Token {
    since: u64,
    start: usize,
    until: u64,
    options: String,
}

/// A page of changes.
pub(crate) fn changes(
    state: &mut State,
    call: &Call,
    context: &Context,
    entity: Entity,
    parent: &Parent,
) -> Result<Answer, GraphError> {
    let directory = entity == Entity::User;
    let pairs = decoded_pairs(call.query());
    let given = pairs
        .iter()
        .find(|(name, _)| ["$deltatoken", "$skiptoken"].contains(&name.to_ascii_lowercase().as_str()));
    let folder = parent_key(state, context, entity, parent)?;
    let version = match entity {
        Entity::User => state.tenant.users.version,
        _ => state.tenant.mailbox(context.owner()).of(entity).version,
    };
    let token = match given.map(|(_, value)| value.as_str()) {
        None => Token { since: 0, start: 0, until: version, options: call.query().to_owned() },
        Some("latest") => Token { since: version, start: 0, until: version, options: String::new() },
        Some(text) => Token::read(text).ok_or_else(|| expired(directory))?,
    };
    let mut asked = call.clone();
    asked.target = format!("{}?{}", call.path(), token.options);
    let query = Query::of_collection(&asked, entity)?;
    let until = if token.until == 0 { version } else { token.until };
    let first = token.since == 0;
    let keys = {
        let rows = match entity {
            Entity::User => &state.tenant.users,
            _ => state.tenant.mailbox(context.owner()).of(entity),
        };
        let mut keys = if first { rows.keys() } else { rows.changed_since(token.since) };
        let in_folder = |key: &u32| folder.is_none_or(|folder| rows.parent(*key) == folder);
        keys.retain(|key| !rows.contains(*key) || in_folder(key));
        keys.retain(|key| {
            !rows.contains(*key) || query.filter.as_ref().is_none_or(|filter| matches(filter, rows, *key))
        });
        keys
    };
    let size = context.prefer.max_page_size.unwrap_or(if directory { 100 } else { 10 });
    let end = (token.start + size).min(keys.len());
    let mut values = Vec::new();
    for key in keys.get(token.start..end).unwrap_or_default() {
        values.push(row(state, context, entity, *key, &query)?);
    }
    let link =
        |name: &str, token: &Token| format!("{}{}?{name}={}", state.graph_origin, call.path(), token.write());
    let owner = context.user.as_ref().map_or_else(String::new, |user| user.id.clone());
    let url = collection_context(&state.graph_origin, &owner, entity, query.select.as_deref());
    let mut body = json!({"@odata.context": format!("{url}/$delta")});
    if end < keys.len() {
        body["@odata.nextLink"] = link("$skiptoken", &Token { start: end, until, ..token.clone() }).into();
    } else {
        body["@odata.deltaLink"] =
            link("$deltatoken", &Token { since: until, start: 0, until: 0, ..token.clone() }).into();
    }
    let count = values.len() as u64;
    body["value"] = values.into();
    let mut answer = Answer::json(200, &body);
    answer.rows = count;
    Ok(answer)
}

fn row(
    state: &mut State,
    context: &Context,
    entity: Entity,
    key: u32,
    query: &Query,
) -> Result<Value, GraphError> {
    if entity == Entity::User {
        if !state.tenant.users.contains(key) {
            let gone = state.tenant.user_id(key);
            return Ok(json!({"id": gone, "@removed": {"reason": "changed"}}));
        }
        let mut shown = users::shown(&state.tenant.users, key, query.select.as_deref());
        let id = state.tenant.users.id(key, false);
        shown.entry("id").or_insert_with(|| id.into());
        return Ok(Value::Object(shown));
    }
    let mailbox = state.tenant.mailbox(context.owner());
    if !mailbox.of(entity).contains(key) {
        let id = mailbox.of(entity).id(key, context.prefer.immutable_ids);
        return Ok(json!({"@removed": {"reason": "deleted"}, "id": id}));
    }
    shown(mailbox, entity, key, query.select.as_deref(), &context.prefer).map(Value::Object)
}

fn expired(directory: bool) -> GraphError {
    if directory {
        return GraphError::new(
            410,
            "syncStateNotFound",
            "The sync state generation is not found; continuing the sync is not possible.",
        );
    }
    GraphError::new(
        410,
        "SyncStateNotFound",
        "The sync state is not found; the synchronization has to begin anew.",
    )
}

impl Token {
    fn write(&self) -> String {
        URL_SAFE_NO_PAD.encode(format!("{}.{}.{}.{}", self.since, self.start, self.until, self.options))
    }

    fn read(text: &str) -> Option<Self> {
        let plain = String::from_utf8(URL_SAFE_NO_PAD.decode(text).ok()?).ok()?;
        let mut pieces = plain.splitn(4, '.');
        let mut number = || pieces.next()?.parse::<u64>().ok();
        let (since, start, until) = (number()?, number()?, number()?);
        Some(Self { since, start: start as usize, until, options: pieces.next()?.to_owned() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_come_back() {
        let token = Token { since: 3, start: 20, until: 9, options: "$select=id,subject".to_owned() };
        assert_eq!(Token::read(&token.write()), Some(token));
        assert_eq!(Token::read("nonsense"), None);
    }
}
