//! Reading drives: items, children, changes, searches, and where contents are.
//! Never changes anything.

use super::path::DrivePath;
use super::{drive as find_drive, key, reply, show};
use crate::answer::{Answer, Call};
use crate::data::drives::Drive;
use crate::graph::errors::GraphError;
use crate::graph::listing::{Head, next_link};
use crate::graph::odata::query::Query;
use crate::graph::skip_token;
use crate::state::State;
use serde_json::{Value, json};

/// Items in a page unless `$top` says otherwise.
const PAGE: usize = 200;
/// The most items in a page.
const LARGEST_PAGE: usize = 1_000;

/// A drive, or the list of the owner's drives.
pub(super) fn drive(state: &State, id: &str, list: bool) -> Result<Answer, GraphError> {
    let mut shown = show::drive(find_drive(state, id)?);
    if list {
        return Ok(Answer::json(200, &json!({"value": [shown]})));
    }
    let url = format!("{}/v1.0/$metadata#drives/$entity", state.graph_origin);
    shown.shift_insert(0, "@odata.context".into(), url.into());
    Ok(Answer::json(200, &Value::Object(shown)))
}

/// One item.
pub(super) fn item(state: &State, call: &Call, id: &str, path: &DrivePath) -> Result<Answer, GraphError> {
    let (query, annotations) = reply::query(call)?;
    let drive = find_drive(state, id)?;
    let key = key(drive, path)?;
    reply::item(200, drive, key, (&state.graph_origin, &state.content_origin), &query, &annotations)
}

/// A page of what lies in a folder.
pub(super) fn children(state: &State, call: &Call, id: &str, path: &DrivePath) -> Result<Answer, GraphError> {
    let (query, annotations) = reply::query(call)?;
    let drive = find_drive(state, id)?;
    let folder = key(drive, path)?;
    let mut keys = drive.children(folder);
    order(drive, &mut keys, &query)?;
    page(state, call, drive, &keys, &query, &annotations)
}

/// What is called so below an item.
pub(super) fn search(
    state: &State,
    call: &Call,
    id: &str,
    path: &DrivePath,
    text: &str,
) -> Result<Answer, GraphError> {
    let (query, annotations) = reply::query(call)?;
    let drive = find_drive(state, id)?;
    let folder = key(drive, path)?;
    let wanted = text.to_lowercase();
    let mut keys = drive.changed_since(0);
    keys.retain(|key| {
        *key != folder
            && drive.is_within(*key, folder)
            && drive.item(*key).is_some_and(|item| item.name.to_lowercase().contains(&wanted))
    });
    order(drive, &mut keys, &query)?;
    page(state, call, drive, &keys, &query, &annotations)
}

/// Where the bytes of a file are.
pub(super) fn content(state: &State, id: &str, path: &DrivePath) -> Result<Answer, GraphError> {
    let drive = find_drive(state, id)?;
    let key = key(drive, path)?;
    match drive.item(key) {
        Some(item) if item.file.is_some() => {
            Ok(Answer::empty(302).with("location", show::address(drive, key, item, &state.content_origin)))
        }
        _ => Err(GraphError::invalid_request("You cannot get content for a folder")),
    }
}

/// What changed below an item since a token.
pub(super) fn delta(
    state: &State,
    call: &Call,
    id: &str,
    path: &DrivePath,
    in_path: Option<&str>,
) -> Result<Answer, GraphError> {
    let drive = find_drive(state, id)?;
    let folder = key(drive, path)?;
    let pairs = crate::answer::decoded_pairs(call.query());
    let given =
        pairs.iter().find(|(name, _)| name.eq_ignore_ascii_case("token")).map(|(_, value)| value.as_str());
    let own = call.path().trim_end_matches("()").split("(token").next().unwrap_or_default();
    let link = |token: String| format!("{}{own}?token={token}", state.graph_origin);
    let (since, start, until) = match in_path.or(given) {
        None | Some("") => (0, 0, drive.sequence),
        Some("latest") => (drive.sequence, 0, drive.sequence),
        Some(token) => read_token(token).ok_or_else(|| {
            let text = "The delta token is no longer valid, and the app must reset the sync state.";
            GraphError::new(410, "resyncRequired", text)
                .with("location", link(write_token(0, 0, drive.sequence)))
        })?,
    };
    // A link that was made for later has no end of its own yet.
    let until = if until == 0 { drive.sequence } else { until };
    let mut keys = drive.changed_since(since);
    keys.retain(|key| drive.any_item(*key).is_some_and(|item| item.deleted) || drive.is_within(*key, folder));
    let end = (start + PAGE).min(keys.len());
    let rows: Vec<Value> = keys
        .get(start..end)
        .unwrap_or_default()
        .iter()
        .map(|key| Value::Object(show::item(drive, *key, &state.content_origin)))
        .collect();
    let mut body =
        json!({"@odata.context": format!("{}/v1.0/$metadata#Collection(driveItem)", state.graph_origin)});
    if end < keys.len() {
        body["@odata.nextLink"] = link(write_token(since, end, until)).into();
    } else {
        body["@odata.deltaLink"] = link(write_token(until, 0, 0)).into();
    }
    let count = rows.len() as u64;
    body["value"] = rows.into();
    let mut answer = Answer::json(200, &body);
    answer.rows = count;
    Ok(answer)
}

fn page(
    state: &State,
    call: &Call,
    drive: &Drive,
    keys: &[u32],
    query: &Query,
    annotations: &[String],
) -> Result<Answer, GraphError> {
    let start = skip_token::read(query.skip_token.as_deref(), call)
        .map_err(|_| GraphError::invalid_request("Invalid skip token"))?;
    let size = query.top.unwrap_or(PAGE).clamp(1, LARGEST_PAGE);
    let end = (start + size).min(keys.len());
    let mut rows = Vec::new();
    for key in keys.get(start..end).unwrap_or_default() {
        rows.push(Value::Object(show::chosen(drive, *key, &state.content_origin, query, annotations)?));
    }
    let link = (end < keys.len()).then(|| {
        next_link(&state.graph_origin, call, &format!("$skiptoken={}", skip_token::write(end, call)))
    });
    let head = Head {
        context: format!(
            "{}/v1.0/$metadata#drives('{}')/items",
            state.graph_origin,
            drive.id.replace('!', "%21")
        ),
        count: query.count.then_some(keys.len()),
        next_link: link,
        next_link_after_value: state.options.next_link_after_value,
    };
    let mut answer = Answer::text(200, "application/json; charset=utf-8", Vec::new());
    answer.rows = rows.len() as u64;
    answer.body = head.render(rows.into_iter());
    Ok(answer)
}

/// The list can be ordered by name, size and time of change; nothing else is documented.
fn order(drive: &Drive, keys: &mut [u32], query: &Query) -> Result<(), GraphError> {
    for (path, descending) in query.order.iter().rev() {
        let name = path.text();
        match name.as_str() {
            "name" => keys.sort_by_key(|key| drive.item(*key).map(|item| item.name.to_lowercase())),
            "size" => keys.sort_by_key(|key| drive.size(*key)),
            "lastModifiedDateTime" => keys.sort_by_key(|key| drive.item(*key).map(|item| item.modified)),
            _ => {
                let text = format!("Ordering by '{name}' is not supported.");
                return Err(GraphError::new(400, "notSupported", text));
            }
        }
        if *descending {
            keys.reverse();
        }
    }
    Ok(())
}

fn write_token(since: u64, start: usize, until: u64) -> String {
    format!("NDslMjM0{since:08x}{start:08x}{until:08x}")
}

fn read_token(token: &str) -> Option<(u64, usize, u64)> {
    let digits = token.strip_prefix("NDslMjM0").filter(|digits| digits.len() == 24)?;
    let number = |from: usize| u64::from_str_radix(digits.get(from..from + 8)?, 16).ok();
    let (since, until) = (number(0)?, number(16)?);
    Some((since, number(8)? as usize, until))
}
