//! Lists, counts and single rows.
//! Never changes anything.

use super::path::ResourcePath;
use super::rules::{Etag, Options, Rule, Within};
use super::{etag, find, shape};
use crate::answer::{Answer, Call};
use crate::data::documents::Document;
use crate::graph::dispatch::Context;
use crate::graph::errors::GraphError;
use crate::graph::listing::{Head, next_link};
use crate::graph::odata::evaluate::{matches_document, order, sort_value_of};
use crate::graph::odata::query::Query;
use crate::graph::skip_token;
use crate::state::State;
use serde_json::{Map, Value};

/// A page of a list.
pub(super) fn list(
    state: &mut State,
    call: &Call,
    context: &Context,
    path: &ResourcePath,
) -> Result<Answer, GraphError> {
    let rule = path.place.rule;
    let query = read_query(call, rule)?;
    let found = rows(state, context, path, &query);
    let directory = rule.directory();
    let start = if directory { skip_token::read(query.skip_token.as_deref(), call)? } else { query.skip };
    let usual = if rule.page == 0 { found.len().max(1) } else { rule.page };
    let end = (start + query.top.unwrap_or(usual)).min(found.len());
    let rows: Vec<Value> = found
        .get(start..end)
        .unwrap_or_default()
        .iter()
        .map(|row| Value::Object(shown(rule, row, &query)))
        .collect();
    let link = (end < found.len() && start < end).then(|| {
        let option = if directory {
            format!("$skiptoken={}", skip_token::write(end, call))
        } else {
            format!("$skip={end}")
        };
        next_link(&state.graph_origin, call, &option)
    });
    let counted = query.count
        && (!directory || query.skip_token.is_none() && call.header("consistencylevel").is_some());
    let head = Head {
        context: context_url(state, path),
        count: counted.then_some(found.len()),
        next_link: context.next_link.clone().or(link),
        next_link_after_value: state.options.next_link_after_value,
    };
    let mut answer = Answer::text(200, "application/json; charset=utf-8", Vec::new());
    answer.rows = rows.len() as u64;
    answer.body = head.render(rows.into_iter());
    Ok(answer)
}

/// The number of rows, as text.
pub(super) fn count(
    state: &mut State,
    call: &Call,
    context: &Context,
    path: &ResourcePath,
) -> Result<Answer, GraphError> {
    let rule = path.place.rule;
    if rule.options == Options::Few {
        return Err(GraphError::bad_request("The resource does not support $count."));
    }
    let eventual =
        call.header("consistencylevel").is_some_and(|level| level.eq_ignore_ascii_case("eventual"));
    if rule.directory() && !eventual {
        return Err(GraphError::new(400, "Request_BadRequest", "$count is not currently supported."));
    }
    // The segment stands for the option, so a filter on it counts as an advanced one.
    let mut counted = call.clone();
    counted.target = format!("{}{}$count=true", call.target, if call.query().is_empty() { "?" } else { "&" });
    let query = read_query(&counted, rule)?;
    Ok(Answer::text(200, "text/plain", rows(state, context, path, &query).len().to_string()))
}

/// One row.
pub(super) fn one(state: &State, call: &Call, path: &ResourcePath, id: &str) -> Result<Answer, GraphError> {
    let rule = path.place.rule;
    let query = Query::read(call, shape(rule), rule.directory())?;
    let row = find(state, path, id)?;
    Ok(answer(state, path, row, 200, &query))
}

/// A row as an answer.
pub(super) fn answer(
    state: &State,
    path: &ResourcePath,
    row: &Document,
    status: u16,
    query: &Query,
) -> Answer {
    let mut shown = shown(path.place.rule, row, query);
    shown.shift_insert(0, "@odata.context".into(), format!("{}/$entity", context_url(state, path)).into());
    let answer = Answer::json(status, &Value::Object(shown));
    if path.place.rule.etag == Etag::None { answer } else { answer.with("etag", etag(row)) }
}

/// A row as a JSON object; members that the type does not declare stay, as they say which derived type it is.
pub(super) fn shown(rule: &Rule, row: &Document, query: &Query) -> Map<String, Value> {
    let mut object = Map::new();
    if rule.etag != Etag::None {
        object.insert("@odata.etag".into(), etag(row).into());
    }
    let value = |name: &str| {
        if name == "id" {
            row.id.as_str().into()
        } else {
            row.fields.get(name).cloned().unwrap_or(Value::Null)
        }
    };
    match &query.select {
        Some(selected) => {
            if !rule.directory() {
                object.insert("id".into(), row.id.as_str().into());
            }
            object.extend(selected.iter().map(|property| (property.name.to_owned(), value(property.name))));
        }
        None => {
            let properties = shape(rule).properties.iter();
            let usual =
                properties.filter(|property| !property.on_request && !rule.hidden.contains(&property.name));
            object.extend(usual.map(|property| (property.name.to_owned(), value(property.name))));
        }
    }
    object
}

fn read_query(call: &Call, rule: &Rule) -> Result<Query, GraphError> {
    let query = Query::read(call, shape(rule), rule.directory())?;
    match rule.options {
        Options::Directory => query.check_directory(call)?,
        Options::All if query.search.is_some() => {
            return Err(GraphError::bad_request(
                "The query parameter '$search' is not supported for this resource.",
            ));
        }
        Options::Few
            if query.filter.is_some() || !query.order.is_empty() || query.search.is_some() || query.count =>
        {
            let text = "The query specified in the URI is not valid. The query option is not allowed on this resource.";
            return Err(GraphError::bad_request(text));
        }
        Options::All | Options::Few => {}
    }
    Ok(query)
}

/// The rows of a list that the query wants, in its order.
fn rows(state: &mut State, context: &Context, path: &ResourcePath, query: &Query) -> Vec<Document> {
    let user =
        context.user.as_ref().or(context.asker.as_ref()).map(|user| user.id.clone()).unwrap_or_default();
    let groups: Vec<String> = state
        .documents
        .people
        .iter()
        .filter(|(_, (members, owners))| members.contains(&user) || owners.contains(&user))
        .map(|(group, _)| group.clone())
        .collect();
    let wanted = |row: &Document| match path.place.within {
        Within::Table | Within::Same => true,
        Within::User => row.scope == user,
        Within::Scope => path.ids.first() == Some(&row.scope),
        Within::Parent => path.ids.last() == Some(&row.parent),
        Within::Property(name) => {
            row.fields.get(name).and_then(Value::as_str) == path.ids.last().map(String::as_str)
        }
        Within::Assigned => row.fields.get("assignments").is_some_and(|people| people.get(&user).is_some()),
        Within::Shared => groups.contains(&row.scope),
    };
    let matching = |row: &Document| {
        let mut fields = row.fields.clone();
        fields.insert("id".into(), row.id.as_str().into());
        query.filter.as_ref().is_none_or(|filter| matches_document(filter, &fields))
            && query.search.as_ref().is_none_or(|search| search.matches_document(&fields))
    };
    let table = state.documents.table(path.place.rule.table);
    let mut found: Vec<Document> = table.rows().filter(|row| wanted(row) && matching(row)).cloned().collect();
    for (by, descending) in query.order.iter().rev() {
        found.sort_by(|left, right| {
            let compared = order(&sort_value_of(&left.fields, by), &sort_value_of(&right.fields, by));
            if *descending { compared.reverse() } else { compared }
        });
    }
    found
}

fn context_url(state: &State, path: &ResourcePath) -> String {
    let mut ids = path.ids.iter();
    let segments: Vec<String> = path
        .place
        .path
        .split('/')
        .filter(|segment| *segment != "user")
        .map(
            |segment| {
                if segment == "{}" { ids.next().cloned().unwrap_or_default() } else { segment.to_owned() }
            },
        )
        .collect();
    format!("{}/v1.0/$metadata#{}", state.graph_origin, segments.join("/").replace('=', "%3D"))
}
