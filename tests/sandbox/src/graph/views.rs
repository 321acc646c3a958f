//! Collections that are computed: calendar views and the occurrences of series.
//! Never changes anything.

use super::dispatch::Context;
use super::entity::{find, shown};
use super::errors::GraphError;
use super::listing::{Head, next_link, parent_key};
use super::occurrences::{self, MOST};
use super::odata::evaluate::{matches, order, sort_value};
use super::odata::query::Query;
use super::route::Parent;
use crate::answer::{Answer, Call};
use crate::data::collection::Collection;
use crate::data::ids;
use crate::data::model::Entity;
use crate::data::tenant::Mailbox;
use crate::state::State;
use crate::time::{parse_seconds, zoneless};
use serde_json::{Value, json};

/// Zones that answers can be given in: name, hours from UTC.
/// Zones with summer time are left out: a test that needs them would test this table.
const ZONES: &[(&str, i64)] = &[
    ("UTC", 0),
    ("Greenwich Standard Time", 0),
    ("Tokyo Standard Time", 9),
    ("China Standard Time", 8),
    ("Singapore Standard Time", 8),
    ("US Mountain Standard Time", -7),
    ("Hawaiian Standard Time", -10),
    ("Arabian Standard Time", 4),
    ("SA Pacific Standard Time", -5),
];

/// The events that overlap a span of time, in the order of their start; series come as their occurrences.
pub(crate) fn calendar_view(
    state: &mut State,
    call: &Call,
    context: &Context,
    parent: &Parent,
) -> Result<Answer, GraphError> {
    let query = Query::of_collection(call, Entity::Event)?;
    let calendar = parent_key(state, context, Entity::Event, parent)?.unwrap_or(0);
    page(state, call, context, &query, "calendarView", &|events, key| events.parent(key) == calendar)
}

/// The occurrences of one series in a span of time.
pub(crate) fn instances(
    state: &mut State,
    call: &Call,
    context: &Context,
    id: &str,
) -> Result<Answer, GraphError> {
    let query = Query::of_collection(call, Entity::Event)?;
    let series = find(state.tenant.mailbox(context.owner()), Entity::Event, Some(id))?;
    page(state, call, context, &query, "events/instances", &|events, key| {
        key == series && events.field(key, "type") == "seriesMaster"
    })
}

/// One occurrence, found by its id; `None` when the id is not one of an occurrence.
pub(crate) fn occurrence(
    mailbox: &Mailbox,
    context: &Context,
    id: &str,
    query: &Query,
) -> Option<Result<Value, GraphError>> {
    let events = mailbox.of(Entity::Event);
    let number = ids::occurrence_number(&events.owner.id, id)?;
    let (series, index) = (number / MOST, number % MOST);
    let found = if events.contains(series) { spans(events, series, i64::MAX) } else { Vec::new() };
    let Some(found) = found.into_iter().find(|found| found.index == Some(index)) else {
        return Some(Err(GraphError::item_not_found()));
    };
    Some(row(mailbox, context, &found, query))
}

/// An event or an occurrence in time.
struct Found {
    start: i64,
    end: i64,
    key: u32,
    /// The number of the occurrence in its series.
    index: Option<u32>,
}

fn page(
    state: &mut State,
    call: &Call,
    context: &Context,
    query: &Query,
    name: &str,
    wanted: &dyn Fn(&Collection, u32) -> bool,
) -> Result<Answer, GraphError> {
    let (from, until) = span(query)?;
    let origin = state.graph_origin.clone();
    let next_link_after_value = state.options.next_link_after_value;
    let owner = context.owner().clone();
    let mailbox = state.tenant.mailbox(&owner);
    let events = mailbox.of(Entity::Event);
    let mut found: Vec<Found> = events
        .keys()
        .into_iter()
        .filter(|key| wanted(events, *key))
        .filter(|key| query.filter.as_ref().is_none_or(|filter| matches(filter, events, *key)))
        .flat_map(|key| spans(events, key, until))
        .filter(|found| found.start < until && found.end > from)
        .collect();
    found.sort_by_key(|found| (found.start, found.key));
    for (path, descending) in query.order.iter().rev() {
        found.sort_by(|left, right| {
            let compared = match path.text().as_str() {
                "start/dateTime" => left.start.cmp(&right.start),
                "end/dateTime" => left.end.cmp(&right.end),
                _ => order(&sort_value(events, left.key, path), &sort_value(events, right.key, path)),
            };
            if *descending { compared.reverse() } else { compared }
        });
    }
    let size = query.top.or(context.prefer.max_page_size).unwrap_or(10).min(1000);
    let end = (query.skip + size).min(found.len());
    let rows = found.get(query.skip..end).unwrap_or_default();
    let values: Result<Vec<Value>, GraphError> =
        rows.iter().map(|found| row(mailbox, context, found, query)).collect();
    let values = values?;
    let more = end < found.len() && query.skip < end;
    let link = more.then(|| next_link(&origin, call, &format!("$skip={end}")));
    let head = Head {
        context: format!("{origin}/v1.0/$metadata#users('{}')/{name}", owner.id),
        count: query.count.then_some(found.len()),
        next_link: context.next_link.clone().or(link),
        next_link_after_value,
    };
    let mut answer = Answer::text(200, "application/json; charset=utf-8", Vec::new());
    answer.rows = values.len() as u64;
    answer.body = head.render(values.into_iter());
    Ok(answer)
}

fn span(query: &Query) -> Result<(i64, i64), GraphError> {
    let wrong = |text: String| GraphError::new(400, "ErrorInvalidParameter", text);
    let given = query.span.0.as_deref().zip(query.span.1.as_deref()).ok_or_else(|| {
        wrong("This request requires a time window specified by the query string parameters StartDateTime and EndDateTime.".to_owned())
    })?;
    let seconds = |text: &str| {
        parse_seconds(text)
            .ok_or_else(|| wrong(format!("The value '{text}' of the time window is not a point in time.")))
    };
    let (from, until) = (seconds(given.0)?, seconds(given.1)?);
    if from > until {
        return Err(wrong("The end of the time window must be after its start.".to_owned()));
    }
    Ok((from, until))
}

/// When an event takes place; a series as often as it does before that time.
fn spans(events: &Collection, key: u32, until: i64) -> Vec<Found> {
    let Some((start, end)) = time_of(events, key, "start").zip(time_of(events, key, "end")) else {
        return Vec::new();
    };
    let recurrence = events.field(key, "recurrence");
    if recurrence.is_null() {
        return vec![Found { start, end, key, index: None }];
    }
    let starts = occurrences::starts(&recurrence, start, until);
    starts
        .into_iter()
        .map(|(index, at)| Found { start: at, end: at + end - start, key, index: Some(index) })
        .collect()
}

fn row(mailbox: &Mailbox, context: &Context, found: &Found, query: &Query) -> Result<Value, GraphError> {
    let mut row = shown(mailbox, Entity::Event, found.key, query.select.as_deref(), &context.prefer)?;
    if let Some(index) = found.index {
        let time = |seconds: i64| match &context.prefer.time_zone {
            Some(zone) => in_zone(&occurrences::in_utc(seconds), zone),
            None => Ok(occurrences::in_utc(seconds)),
        };
        let id = ids::occurrence(&mailbox.of(Entity::Event).owner.id, found.key * MOST + index);
        occurrences::show(&mut row, id, (time(found.start)?, time(found.end)?), found.start);
    }
    Ok(Value::Object(row))
}

/// A `dateTimeTimeZone` in another zone.
pub(crate) fn in_zone(value: &Value, zone: &str) -> Result<Value, GraphError> {
    let (name, hours) = known_zone(zone)?;
    let seconds = value["dateTime"].as_str().and_then(parse_seconds).unwrap_or_default();
    Ok(json!({"dateTime": zoneless(seconds + hours * 3600), "timeZone": name}))
}

/// A `dateTimeTimeZone` of a request as the mailbox keeps it: in UTC.
pub(crate) fn to_utc(value: &Value) -> Result<Value, GraphError> {
    let (_, hours) = known_zone(value["timeZone"].as_str().unwrap_or_default())?;
    let text = value["dateTime"].as_str().unwrap_or_default();
    let seconds = parse_seconds(text).ok_or_else(|| {
        let text = format!("The value '{text}' of dateTime is not a point in time.");
        GraphError::new(400, "ErrorInvalidRequest", text)
    })?;
    // An offset in the text itself wins over the zone, as it leaves nothing to interpret.
    let has_offset = text.ends_with('Z');
    Ok(json!({"dateTime": zoneless(seconds - if has_offset { 0 } else { hours * 3600 }), "timeZone": "UTC"}))
}

fn known_zone(zone: &str) -> Result<(&'static str, i64), GraphError> {
    ZONES.iter().find(|(name, _)| name.eq_ignore_ascii_case(zone)).copied().ok_or_else(|| {
        let text = format!("A valid TimeZone value must be specified. The following TimeZone value is not supported: '{zone}'.");
        GraphError::new(400, "TimeZoneNotSupportedException", text)
    })
}

fn time_of(events: &Collection, key: u32, name: &str) -> Option<i64> {
    events.field(key, name)["dateTime"].as_str().and_then(parse_seconds)
}
