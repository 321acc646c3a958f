//! Saved activities: their kind, and the shape of their body as far as it is the same for every object. Never looks
//! into the catalogue.

use std::collections::BTreeMap;

use serde_json::Value;

use super::check::{entry_place, scalar};
use super::values::Values;
use super::{ActivityKind, SavedActivity, template};
use crate::dropin::{Entry, Node, Place, RawActivity};
use crate::error::nearest_name;

/// Reads and checks all saved activities.
pub(super) fn check(values: &mut Values<'_>) -> BTreeMap<String, SavedActivity> {
    let mut activities = BTreeMap::new();
    for raw in &values.raw.activities {
        let mut faults = Vec::new();
        if let Some(activity) = activity(raw, &mut faults) {
            activities.insert(raw.name.trim().to_owned(), activity);
        }
        for Wrong { place, key, message } in faults {
            values.fault_in(&place, &key, message);
        }
    }
    activities
}

struct Wrong {
    place: Place,
    key: String,
    message: String,
}

/// The keys of each kind besides `type`, the required one first.
fn keys(kind: ActivityKind) -> &'static [&'static str] {
    match kind {
        ActivityKind::Query => &["object", "fields", "conditions", "orderBy", "limit", "offset"],
        ActivityKind::Create | ActivityKind::Update | ActivityKind::Delete => {
            &["object", "records", "keys", "conditions", "set", "maxRows", "dryRun", "continueOnError"]
        }
        ActivityKind::Execute => &["procedure", "target", "parameters"],
    }
}

/// What the value of a key must be.
fn shape(key: &str, node: &Node) -> Result<(), &'static str> {
    let fits = match key {
        "object" | "procedure" | "target" => node.scalar().is_some_and(|text| !text.is_empty()),
        "fields" => matches!(node, Node::List(items) if items.iter().all(|item| item.scalar().is_some())),
        "conditions" | "orderBy" | "records" => {
            matches!(node, Node::List(items) if items.iter().all(|item| matches!(item, Node::Map(_))))
        }
        "limit" | "offset" => node.scalar().is_some_and(|text| text.parse::<u64>().is_ok()),
        "continueOnError" => matches!(node, Node::Bool(_)),
        _ => matches!(node, Node::Map(_) | Node::Null),
    };
    if fits {
        return Ok(());
    }
    Err(match key {
        // A list, but with something else in it.
        "fields" if matches!(node, Node::List(_)) => "a list of names only",
        "conditions" | "orderBy" | "records" if matches!(node, Node::List(_)) => "a list of maps only",
        "fields" => "a list of names",
        "conditions" | "orderBy" | "records" => "a list of maps",
        "limit" | "offset" => "a whole number",
        "continueOnError" => "true or false",
        "parameters" => "a map",
        _ => "a name",
    })
}

fn activity(raw: &RawActivity, faults: &mut Vec<Wrong>) -> Option<SavedActivity> {
    let name = raw.name.trim();
    let mut whole =
        |message: String| faults.push(Wrong { place: raw.place.clone(), key: raw.key.clone(), message });
    if name.is_empty() || name.chars().count() > 128 || name.contains('/') || name.contains(char::is_control)
    {
        whole("An activity's name has 1 to 128 characters and no '/'. Rename the activity.".to_owned());
    }
    let Some((index, entry)) = raw.entries.iter().enumerate().find(|(_, entry)| entry.key == "type") else {
        whole("An activity needs a type. Write type: Query, Create, Update, Delete or Execute.".to_owned());
        return None;
    };
    let kind = match kind(entry) {
        Ok(kind) => kind,
        Err(message) => {
            faults.push(Wrong {
                place: entry_place(&raw.inside, index).0,
                key: format!("{}.type", raw.key),
                message,
            });
            return None;
        }
    };
    let known = keys(kind);
    if !raw.entries.iter().any(|entry| entry.key == known[0]) {
        let (kind, key) = (kind.as_str(), known[0]);
        whole(format!("An activity of type {kind} needs '{key}'. Add it."));
    }
    let mut body = serde_json::Map::new();
    for (index, entry) in raw.entries.iter().enumerate().filter(|(_, entry)| entry.key != "type") {
        match value(kind, entry) {
            Ok(value) => drop(body.insert(entry.key.clone(), value)),
            Err(message) => {
                let (place, key) = (entry_place(&raw.inside, index).0, format!("{}.{}", raw.key, entry.key));
                faults.push(Wrong { place, key, message });
            }
        }
    }
    faults.is_empty().then_some(SavedActivity { kind, body: Value::Object(body) })
}

fn kind(entry: &Entry) -> Result<ActivityKind, String> {
    const WORDS: [&str; 5] = ["Query", "Create", "Update", "Delete", "Execute"];
    let text = scalar(&entry.value, "The type")?;
    Ok(match text.to_ascii_lowercase().as_str() {
        "query" => ActivityKind::Query,
        "create" => ActivityKind::Create,
        "update" => ActivityKind::Update,
        "delete" => ActivityKind::Delete,
        "execute" => ActivityKind::Execute,
        _ => {
            let hint = match nearest_name(text, WORDS) {
                Some(word) => format!("Did you mean '{word}'?"),
                None => format!("Write one of {}.", WORDS.join(", ")),
            };
            return Err(format!("'{}' is not a type of activity. {hint}", text.escape_debug()));
        }
    })
}

fn value(kind: ActivityKind, entry: &Entry) -> Result<Value, String> {
    let known = keys(kind);
    if !known.contains(&entry.key.as_str()) {
        let hint = match nearest_name(&entry.key, known.iter().copied()) {
            Some(name) => format!("Did you mean '{name}'?"),
            None => format!("It takes {}.", known.join(", ")),
        };
        return Err(format!("Unknown key for an activity of type {}. {hint}", kind.as_str()));
    }
    shape(&entry.key, &entry.value).map_err(|wanted| {
        let (key, given) = (&entry.key, entry.value.kind());
        if wanted.ends_with(" only") {
            return format!("'{key}' must be {wanted}. Change the other items.");
        }
        format!("'{key}' must be {wanted}, not {given}.")
    })?;
    let value = entry.value.to_json();
    // Whether the variables are set is known only when it runs; whether the brackets make sense is known now.
    template::substitute_json(&value, &|_| Some(String::new()))
        .map_err(|message| message.strip_prefix(": ").map_or(message.clone(), str::to_owned))?;
    Ok(value)
}
