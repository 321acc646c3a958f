//! Marks that let the agent find a record again whose creation got no answer. Where Graph itself recognises a repeat
//! (`transactionId` of an event) the mark goes there; on the other items of a mailbox it is an extended property, which no
//! mail program shows and which can be filtered by. Pure.
//!
//! Facts: "event resource type" and "Create event" (`transactionId`), "Create singleValueLegacyExtendedProperty" (which resources, and
//! inside a new one), "Get singleValueLegacyExtendedProperty" (filter and expand) of the Graph reference.

use aws_lc_rs::digest::{Context, SHA256, digest};
use serde_json::{Map, Value, json};

use super::kept::hex;
use crate::clock::Timestamp;
use crate::connection::{ActivityKind, Connection};
use crate::graph::{Effect, GraphRequest};

/// The extended property's id: a named string property in a property set of our own.
const PROPERTY: &str = "String {6f0a3b4e-91c2-4d0e-8a77-2c53d1f4be09} Name o365-agent-record";
/// Collections whose new items may carry extended properties, by the last segment of their path.
const MARKABLE: [&str; 7] =
    ["messages", "contacts", "events", "mailFolders", "childFolders", "contactFolders", "calendars"];
/// A mark holds for the day on which its key was first used, and a key for 24 hours: an older record under yesterday's
/// mark belongs to an earlier use of the key.
const DAY: i64 = 24 * 3600;

/// The mark of a key: the same at every agent that has the connection, so that one finds what another wrote.
pub(super) fn mark_of_key(
    connection: &Connection,
    kind: ActivityKind,
    key: &str,
    day_of: Timestamp,
) -> String {
    let day = day_of.as_seconds().div_euclid(DAY).to_string();
    let mut context = Context::new(&SHA256);
    let tenant = connection.auth.tenant.as_deref().unwrap_or_default();
    let (name, graph) = (connection.name.as_str(), connection.endpoints.graph.as_str());
    for part in [name, graph, tenant, kind.as_str(), key, &day] {
        context.update(&part.len().to_be_bytes());
        context.update(part.as_bytes());
    }
    hex(&context.finish().as_ref()[..20])
}

/// How the records of one write are marked.
#[derive(Clone, Debug)]
pub(super) struct Marks {
    /// The same for all records, and for every repeat with the same key.
    pub(super) prefix: String,
    /// Whether items are marked that Graph does not recognise by itself.
    pub(super) with_property: bool,
    /// What another agent may have written with the key, before anything is sent.
    pub(super) elsewhere: Option<Elsewhere>,
}

/// Where to look for what another agent wrote with the same key.
#[derive(Clone, Debug)]
pub(super) struct Elsewhere {
    /// The mark of the day before.
    pub(super) yesterday: String,
    /// Records that are older belong to an earlier use of the key.
    pub(super) not_before: Timestamp,
}

impl Elsewhere {
    /// For a key that is used here for the first time.
    pub(super) fn of_key(connection: &Connection, kind: ActivityKind, key: &str, now: Timestamp) -> Self {
        let not_before = now.minus(std::time::Duration::from_secs(DAY.unsigned_abs()));
        Self { yesterday: mark_of_key(connection, kind, key, not_before), not_before }
    }

    /// Whether a record is of this use of the key, as far as it tells.
    fn is_recent(&self, row: &Value) -> bool {
        let made = row["createdDateTime"].as_str().and_then(|text| text.parse::<jiff::Timestamp>().ok());
        made.is_none_or(|made| made.as_second() >= self.not_before.as_seconds())
    }
}

/// Which mark a record is searched by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Day {
    /// The write's own.
    Own,
    /// That of the day before, as another agent may have begun.
    Yesterday,
}

impl Marks {
    fn value(&self, index: usize) -> String {
        format!("{}-{index}", self.prefix)
    }

    fn value_of(&self, index: usize, day: Day) -> String {
        match (day, &self.elsewhere) {
            (Day::Yesterday, Some(elsewhere)) => format!("{}-{index}", elsewhere.yesterday),
            _ => self.value(index),
        }
    }

    /// Marks the body of the new record with that index, which is posted to `path`; tells what may be repeated.
    pub(super) fn put(
        &self,
        index: usize,
        path: &str,
        mailbox: Option<&str>,
        body: &mut Map<String, Value>,
    ) -> Effect {
        if mailbox.is_none() {
            return Effect::Once;
        }
        let marked = self.with_property && is_markable(path);
        if marked {
            let property = json!({"id": PROPERTY, "value": self.value(index)});
            let properties = body.entry("singleValueExtendedProperties").or_insert_with(|| json!([]));
            // Not an array: Graph refuses the record as it is, which is what its author has to hear.
            if let Value::Array(properties) = properties {
                properties.push(property);
            }
        }
        if !recognises_repeats(path) {
            return Effect::Once;
        }
        if body.get("transactionId").is_none_or(Value::is_null) {
            body.insert("transactionId".to_owned(), Value::from(self.transaction_id(index)));
        }
        // An event that can be found is looked for before it is sent again.
        if marked { Effect::Once } else { Effect::Repeatable }
    }

    /// Whether `request` makes the event with the `transactionId` that was derived for this record.
    pub(super) fn is_own_transaction(&self, index: usize, request: &GraphRequest) -> bool {
        let body: Option<Value> = request.body.as_ref().and_then(|body| serde_json::from_slice(body).ok());
        body.is_some_and(|body| body["transactionId"] == self.transaction_id(index).as_str())
    }

    /// In the form of a UUID, the same for every repeat.
    fn transaction_id(&self, index: usize) -> String {
        let hex = hex(digest(&SHA256, self.value(index).as_bytes()).as_ref());
        format!("{}-{}-4{}-a{}-{}", &hex[..8], &hex[8..12], &hex[13..16], &hex[17..20], &hex[20..32])
    }

    /// The request that finds out what became of `request`, if there is one: for a marked record the search for its mark,
    /// for a deletion whether the record is still there.
    pub(super) fn question(&self, index: usize, request: &GraphRequest, day: Day) -> Option<GraphRequest> {
        let path = match request.method {
            http::Method::DELETE => {
                // A reference is there as long as the record is found through it.
                let path = request.path.strip_suffix("/$ref").unwrap_or(&request.path);
                if path.contains('?') {
                    return None;
                }
                format!("{path}?$select=id")
            }
            http::Method::POST
                if self.with_property && request.mailbox.is_some() && is_markable(&request.path) =>
            {
                let select = if has_date(&request.path) { "id,createdDateTime" } else { "id" };
                format!("{}?{}", consistent(&request.path), self.search(index, select, day))
            }
            _ => return None,
        };
        let headers = request.headers.iter().filter(|(name, _)| *name == "Prefer").cloned().collect();
        Some(GraphRequest {
            method: http::Method::GET,
            path,
            headers,
            body: None,
            mailbox: request.mailbox.clone(),
            effect: Effect::Repeatable,
        })
    }

    /// The query for the records that carry the mark, with the columns `select`.
    pub(super) fn search(&self, index: usize, select: &str, day: Day) -> String {
        let filter = format!(
            "singleValueExtendedProperties/any(ep: ep/id eq '{PROPERTY}' and ep/value eq '{}')",
            self.value_of(index, day)
        );
        let expand = format!("singleValueExtendedProperties($filter=id eq '{PROPERTY}')");
        format!("$select={select}&$top=5&$filter={}&$expand={}", encoded(&filter), encoded(&expand))
    }

    /// The ids of the records in `answer` that carry the mark. A service that ignored the filter answers others too.
    pub(super) fn found(&self, index: usize, answer: &Value, day: Day) -> Vec<String> {
        self.rows(index, answer, day).filter_map(|row| row["id"].as_str().map(str::to_owned)).collect()
    }

    /// The records in `answer` that carry the mark.
    pub(super) fn rows<'a>(
        &'a self,
        index: usize,
        answer: &'a Value,
        day: Day,
    ) -> impl Iterator<Item = &'a Value> {
        let value = self.value_of(index, day);
        let marked = move |row: &&Value| {
            let properties = row["singleValueExtendedProperties"].as_array();
            let of_this_use = match (day, &self.elsewhere) {
                (Day::Yesterday, Some(elsewhere)) => elsewhere.is_recent(row),
                _ => true,
            };
            of_this_use
                && properties.into_iter().flatten().any(|property| property["value"] == value.as_str())
        };
        let rows = answer["value"].as_array().into_iter().flatten();
        rows.filter(marked)
    }
}

fn is_markable(path: &str) -> bool {
    MARKABLE.contains(&last_segment(path))
}

/// Whether the service takes a second POST with the same `transactionId` for the first one: "Create event" documents it
/// for users' calendars and not for groups'.
pub(super) fn recognises_repeats(path: &str) -> bool {
    last_segment(path) == "events" && !path.starts_with("groups/")
}

/// Folders and calendars do not say when they were made.
fn has_date(path: &str) -> bool {
    matches!(last_segment(path), "messages" | "contacts" | "events")
}

/// Where a new record of the collection shows as soon as it is there. All messages of a mailbox are read from a search
/// folder, which lags; a new one lies in the drafts.
fn consistent(path: &str) -> String {
    match path.strip_suffix("/messages") {
        Some(owner) if !owner.contains("/mailFolders/") => format!("{owner}/mailFolders/drafts/messages"),
        _ => path.to_owned(),
    }
}

fn last_segment(path: &str) -> &str {
    path.rsplit('/').next().unwrap_or(path)
}

fn encoded(text: &str) -> String {
    percent_encoding::utf8_percent_encode(text, percent_encoding::NON_ALPHANUMERIC).to_string()
}

#[cfg(test)]
#[path = "mark_tests.rs"]
mod tests;
