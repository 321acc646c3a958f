//! Collections that are computed: calendar views and folders in folders.
//! Never changes anything.

use super::dispatch::Context;
use super::entity::{collection_context, find, shown};
use super::errors::GraphError;
use super::listing::{Head, next_link, parent_key};
use super::odata::evaluate::matches;
use super::odata::query::Query;
use super::route::Parent;
use crate::answer::{Answer, Call};
use crate::data::collection::Collection;
use crate::data::model::Entity;
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

/// The events that overlap a span of time, in the order of their start.
pub(crate) fn calendar_view(
    state: &mut State,
    call: &Call,
    context: &Context,
    parent: &Parent,
) -> Result<Answer, GraphError> {
    let query = Query::of_collection(call, Entity::Event)?;
    let missing = || {
        GraphError::new(
            400,
            "ErrorInvalidParameter",
            "This request requires a time window specified by the query string parameters StartDateTime and EndDateTime.",
        )
    };
    let (from, until) = query.span.clone().0.zip(query.span.1.clone()).ok_or_else(missing)?;
    let seconds = |text: &str| {
        parse_seconds(text).ok_or_else(|| {
            let text = format!("The value '{text}' of the time window is not a point in time.");
            GraphError::new(400, "ErrorInvalidParameter", text)
        })
    };
    let (from, until) = (seconds(&from)?, seconds(&until)?);
    if from > until {
        let text = "The end of the time window must be after its start.";
        return Err(GraphError::new(400, "ErrorInvalidParameter", text));
    }
    let calendar = parent_key(state, context, Entity::Event, parent)?.unwrap_or(0);
    let origin = state.graph_origin.clone();
    let next_link_after_value = state.options.next_link_after_value;
    let owner = context.owner().clone();
    let mailbox = state.tenant.mailbox(&owner);
    let events = mailbox.of(Entity::Event);
    let mut found: Vec<(i64, u32)> = events
        .keys()
        .into_iter()
        .filter(|key| events.parent(*key) == calendar)
        .filter_map(|key| {
            let start = time_of(events, key, "start")?;
            let end = time_of(events, key, "end")?;
            (start < until && end > from).then_some((start, key))
        })
        .filter(|(_, key)| query.filter.as_ref().is_none_or(|filter| matches(filter, events, *key)))
        .collect();
    found.sort_unstable();
    let size = query.top.or(context.prefer.max_page_size).unwrap_or(10).min(1000);
    let end = (query.skip + size).min(found.len());
    let rows = found.get(query.skip..end).unwrap_or_default();
    let mut values = Vec::with_capacity(rows.len());
    for (_, key) in rows {
        values.push(shown(mailbox, Entity::Event, *key, query.select.as_deref(), &context.prefer)?);
    }
    let more = end < found.len() && query.skip < end;
    let link = more.then(|| next_link(&origin, call, &format!("$skip={end}")));
    let head = Head {
        context: format!("{origin}/v1.0/$metadata#users('{}')/calendarView", owner.id),
        count: query.count.then_some(found.len()),
        next_link: context.next_link.clone().or(link),
        next_link_after_value,
    };
    let mut answer = Answer::text(200, "application/json; charset=utf-8", Vec::new());
    answer.rows = values.len() as u64;
    answer.body = head.render(values.into_iter().map(Value::Object));
    Ok(answer)
}

/// Folders in a folder; the sandbox has none.
pub(crate) fn child_folders(
    state: &mut State,
    context: &Context,
    entity: Entity,
    id: &str,
) -> Result<Answer, GraphError> {
    let owner = context.owner().clone();
    find(state.tenant.mailbox(&owner), entity, Some(id))?;
    let url = collection_context(&state.graph_origin, &owner.id, entity, None);
    Ok(Answer::json(200, &json!({"@odata.context": url, "value": []})))
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
