//! Pages of a collection: which rows, in which order, and the link to the next page.
//! Never keeps a cursor: everything a next page needs is in its link.

use super::cache::Page;
use super::dispatch::Context;
use super::entity::{collection_context, expand, find, shown};
use super::errors::GraphError;
use super::odata::evaluate::{matches, order, sort_value};
use super::odata::expression::Literal;
use super::odata::query::Query;
use super::route::Parent;
use super::{skip_token, users};
use crate::answer::{Answer, Call};
use crate::data::collection::Collection;
use crate::data::folders;
use crate::data::model::Entity;
use crate::random::seed_of;
use crate::state::State;
use bytes::Bytes;
use serde_json::Value;
use std::sync::Arc;

/// One page of a collection.
pub(crate) fn collection(
    state: &mut State,
    call: &Call,
    context: &Context,
    entity: Entity,
    parent: &Parent,
) -> Result<Answer, GraphError> {
    let query = Query::of_collection(call, entity)?;
    let directory = entity == Entity::User;
    let folder = parent_key(state, context, entity, parent)?;
    let cache_key = format!(
        "{}|{}|{:?}|{}|{:?}|{}",
        owner_id(context),
        version(state, context, entity),
        entity,
        call.target,
        context.prefer,
        call.header("consistencylevel").unwrap_or_default()
    );
    let lags = entity == Entity::Message && folder.is_none() && !state.options.search_lag.is_zero();
    if context.next_link.is_none()
        && !lags
        && let Some(page) = state.pages.page(&cache_key)
    {
        return Ok(answer(page));
    }
    let keys = keys(state, context, entity, folder, &query);
    let keys = searchable(state, context, entity, folder, keys);
    let (start, size) = if directory {
        (skip_token::read(query.skip_token.as_deref(), call)?, query.top.unwrap_or(100))
    } else {
        let preferred = context.prefer.max_page_size.unwrap_or(usize::MAX).min(1000);
        (
            query.skip,
            query.top.unwrap_or(10.max(if preferred == 1000 { 10 } else { preferred })).min(preferred),
        )
    };
    let end = (start + size).min(keys.len());
    let rows = keys.get(start..end).unwrap_or_default();
    let next_link = context.next_link.clone().or_else(|| {
        (end < keys.len() && start < end).then(|| {
            let option = if directory {
                format!("$skiptoken={}", skip_token::write(end, call))
            } else {
                format!("$skip={end}")
            };
            next_link(&state.graph_origin, call, &option)
        })
    });
    // The directory counts on the first page only, and only for advanced queries; it ignores the option otherwise.
    let counted = query.count
        && (!directory || (query.skip_token.is_none() && call.header("consistencylevel").is_some()));
    let head = Head {
        context: collection_context(&state.graph_origin, &owner_id(context), entity, query.select.as_deref()),
        count: counted.then_some(keys.len()),
        next_link,
        next_link_after_value: state.options.next_link_after_value,
    };
    let mut values = Vec::with_capacity(rows.len());
    for key in rows {
        values.push(if directory {
            users::shown(&state.tenant.users, *key, query.select.as_deref())
        } else {
            let mailbox = state.tenant.mailbox(context.owner());
            let mut row = shown(mailbox, entity, *key, query.select.as_deref(), &context.prefer)?;
            expand(mailbox, context.owner(), entity, *key, &query, &mut row)?;
            row
        });
    }
    let page = Page { rows: values.len() as u64, body: head.render(values.into_iter().map(Value::Object)) };
    if context.next_link.is_none() && !lags {
        state.pages.keep_page(cache_key, page.clone());
    }
    Ok(answer(page))
}

/// The number of rows, as text.
pub(crate) fn count(
    state: &mut State,
    call: &Call,
    context: &Context,
    entity: Entity,
    parent: &Parent,
) -> Result<Answer, GraphError> {
    let query = Query::of_collection(call, entity)?;
    let folder = parent_key(state, context, entity, parent)?;
    let count = keys(state, context, entity, folder, &query).len();
    Ok(Answer::text(200, "text/plain", count.to_string()))
}

/// The number of the folder or calendar that is named.
pub(crate) fn parent_key(
    state: &mut State,
    context: &Context,
    entity: Entity,
    parent: &Parent,
) -> Result<Option<u32>, GraphError> {
    let name = match parent {
        Parent::Whole if entity == Entity::MailFolder => return Ok(Some(folders::ROOT)),
        Parent::Whole => return Ok(None),
        Parent::Default => return Ok(Some(0)),
        Parent::Named(name) => name,
    };
    if entity == Entity::Calendar {
        let owner = &context.owner().id;
        let known = state.documents.get("calendarGroups", name).filter(|group| group.scope == *owner);
        // Calendars know their group by a number; zero is the group that every mailbox has.
        return known.map(|group| Some(seed_of(&group.id) as u32 | 1)).ok_or_else(GraphError::item_not_found);
    }
    let kind = match entity {
        Entity::Message | Entity::MailFolder => Entity::MailFolder,
        Entity::Event => Entity::Calendar,
        _ => Entity::ContactFolder,
    };
    find(state.tenant.mailbox(context.owner()), kind, Some(name)).map(Some)
}

/// What stands around the rows of a page.
pub(crate) struct Head {
    /// `@odata.context`.
    pub(crate) context: String,
    /// `@odata.count`.
    pub(crate) count: Option<usize>,
    /// `@odata.nextLink`.
    pub(crate) next_link: Option<String>,
    /// Where the link goes.
    pub(crate) next_link_after_value: bool,
}

impl Head {
    /// Writes the page.
    pub(crate) fn render(&self, rows: impl Iterator<Item = Value>) -> Bytes {
        let quoted = |text: &str| Value::from(text).to_string();
        let mut body = format!("{{\"@odata.context\":{}", quoted(&self.context)).into_bytes();
        if let Some(count) = self.count {
            body.extend_from_slice(format!(",\"@odata.count\":{count}").as_bytes());
        }
        let link = self.next_link.as_ref().map(|link| format!(",\"@odata.nextLink\":{}", quoted(link)));
        let link = link.unwrap_or_default();
        if !self.next_link_after_value {
            body.extend_from_slice(link.as_bytes());
        }
        body.extend_from_slice(b",\"value\":[");
        for (position, row) in rows.enumerate() {
            if position > 0 {
                body.push(b',');
            }
            serde_json::to_writer(&mut body, &row).expect("writing a Value to memory cannot fail");
        }
        body.push(b']');
        if self.next_link_after_value {
            body.extend_from_slice(link.as_bytes());
        }
        body.push(b'}');
        body.into()
    }
}

/// The same request with another starting point.
pub(crate) fn next_link(graph_origin: &str, call: &Call, option: &str) -> String {
    let kept = call.query().split('&').filter(|piece| {
        let name = crate::answer::decode(piece.split('=').next().unwrap_or_default()).to_ascii_lowercase();
        !piece.is_empty() && name != "$skip" && name != "$skiptoken"
    });
    let mut pieces: Vec<&str> = kept.collect();
    pieces.push(option);
    format!("{graph_origin}{}?{}", call.path(), pieces.join("&"))
}

fn keys(
    state: &mut State,
    context: &Context,
    entity: Entity,
    folder: Option<u32>,
    query: &Query,
) -> Arc<Vec<u32>> {
    let list_key = format!(
        "{}|{}|{:?}|{:?}|{}|{}|{}",
        owner_id(context),
        version(state, context, entity),
        entity,
        folder,
        query.filter_text,
        query.order_text,
        query.search_text
    );
    if let Some(list) = state.pages.list(&list_key) {
        return list;
    }
    let rows = rows(state, context, entity);
    let mut keys = rows.keys();
    keys.retain(|key| {
        folder.is_none_or(|folder| rows.parent(*key) == folder)
            && query.filter.as_ref().is_none_or(|filter| matches(filter, rows, *key))
            && query.search.as_ref().is_none_or(|search| search.matches(rows, *key))
    });
    if !query.order.is_empty() {
        let mut sorted: Vec<(Vec<Literal>, u32)> = keys
            .into_iter()
            .map(|key| (query.order.iter().map(|(path, _)| sort_value(rows, key, path)).collect(), key))
            .collect();
        sorted.sort_by(|(left, _), (right, _)| {
            let pairs = left.iter().zip(right).zip(&query.order);
            let mut compared = pairs.map(|((left, right), (_, descending))| {
                let ordering = order(left, right);
                if *descending { ordering.reverse() } else { ordering }
            });
            compared.find(|ordering| ordering.is_ne()).unwrap_or(std::cmp::Ordering::Equal)
        });
        keys = sorted.into_iter().map(|(_, key)| key).collect();
    }
    let list = Arc::new(keys);
    state.pages.keep_list(list_key, Arc::clone(&list));
    list
}

/// Of all messages those that the search folder shows by now.
fn searchable(
    state: &mut State,
    context: &Context,
    entity: Entity,
    folder: Option<u32>,
    keys: Arc<Vec<u32>>,
) -> Arc<Vec<u32>> {
    let lag = state.options.search_lag;
    if entity != Entity::Message || folder.is_some() || lag.is_zero() {
        return keys;
    }
    let rows = rows(state, context, entity);
    Arc::new(keys.iter().copied().filter(|key| rows.age(*key).is_none_or(|age| age >= lag)).collect())
}

fn rows<'s>(state: &'s mut State, context: &Context, entity: Entity) -> &'s Collection {
    match entity {
        Entity::User => &state.tenant.users,
        _ => state.tenant.mailbox(context.owner()).of(entity),
    }
}

fn version(state: &mut State, context: &Context, entity: Entity) -> u64 {
    if entity == Entity::MailFolder {
        // A folder shows counts, which change with the messages.
        let mailbox = state.tenant.mailbox(context.owner());
        return mailbox.of(entity).version + mailbox.of(Entity::Message).version;
    }
    rows(state, context, entity).version
}

fn owner_id(context: &Context) -> String {
    context.user.as_ref().map_or_else(String::new, |user| user.id.clone())
}

fn answer(page: Page) -> Answer {
    let mut answer = Answer::text(
        200,
        "application/json;odata.metadata=minimal;odata.streaming=true;IEEE754Compatible=false;charset=utf-8",
        page.body,
    );
    answer.rows = page.rows;
    answer
}
