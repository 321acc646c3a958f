//! One recorded request and answer against the catalog: does its path lead to an object or a procedure, and does every
//! property of the answer have a typed column that its value fits? Shared by the example and by its test.

use std::collections::BTreeSet;

use o365_agent::catalog::{Answer, Catalog, Column, ColumnKind, ColumnSource, Object};
use serde::Deserialize;
use serde_json::{Map, Value};

/// A recorded request with its answer, one JSON object a line.
#[derive(Debug, Deserialize)]
pub(crate) struct Sample {
    /// `GET`, …
    pub method: String,
    /// The path or whole address.
    #[serde(alias = "url")]
    pub path: String,
    /// The body sent, for batches.
    #[serde(default)]
    pub request_body: Value,
    /// The body answered: JSON, text, or nothing.
    #[serde(default)]
    pub response_body: Value,
}

/// What came of a sample.
#[derive(Debug, Default)]
pub(crate) struct Outcome {
    /// Why the path leads to nothing known.
    pub unresolved: Option<String>,
    /// What of the answer has no column or does not fit it; empty: decoded without loss.
    pub misses: BTreeSet<String>,
    /// Whether there was an answer to decode.
    pub has_answer: bool,
    /// What is lost even when rows go out whole, as they do when a path is queried without naming columns: nothing but a
    /// body that holds no rows.
    pub lost_whole: BTreeSet<String>,
    /// Properties that the metadata does not declare and that open types take without a type.
    pub undeclared: usize,
    /// Values that are a documentation's placeholder for one (`"subject-value"`, `{}` for an enumeration).
    pub placeholders: usize,
    /// Properties that were compared with their columns.
    pub compared: usize,
}

impl Outcome {
    /// Whether path and answer are both understood.
    pub(crate) fn is_whole(&self) -> bool {
        self.unresolved.is_none() && self.misses.is_empty()
    }

    /// Whether nothing is lost when rows go out whole: complex properties as JSON, properties that the metadata does not
    /// declare as they are, without a type.
    pub(crate) fn is_whole_as_rows(&self) -> bool {
        self.unresolved.is_none() && self.lost_whole.is_empty()
    }
}

/// Checks one sample.
pub(crate) fn check(catalog: &Catalog, sample: &Sample) -> Outcome {
    let mut outcome = Outcome::default();
    let parsed = sample.response_body.as_str().and_then(|text| serde_json::from_str(text).ok());
    let body = parsed.as_ref().unwrap_or(&sample.response_body);
    outcome.has_answer = !matches!(body, Value::Null) && *body != Value::String(String::new());
    let answer = catalog.answer(&sample.method, &sample.path);
    if let Answer::Unknown(segment) = &answer {
        outcome.unresolved = Some(format!("'{segment}' is not in the metadata"));
        return outcome;
    }
    // A refusal has the same shape wherever it comes from.
    if body.get("error").is_some_and(|error| error.get("code").is_some_and(Value::is_string)) {
        return outcome;
    }
    match (answer, body) {
        (_, Value::Null) => {}
        (Answer::Batch, body) => batch(catalog, &sample.request_body, body, &mut outcome),
        (Answer::Rows(object), body) => rows(catalog, &object, body, &mut outcome),
        (Answer::Upload(session, file), body) => {
            let object = if body.get("id").is_some() { file } else { session };
            rows(catalog, &object, body, &mut outcome);
        }
        (Answer::Count, body) => {
            let text = body.as_str().is_some_and(|text| text.trim().parse::<u64>().is_ok());
            if !text && !body.is_u64() {
                outcome.misses.insert("$count is no number".to_owned());
            }
        }
        // Bytes, text and references have no columns; they are handed on as they are.
        (Answer::Bytes | Answer::References, _) => {}
        (Answer::Nothing, body) => {
            if outcome.has_answer
                && body.as_object().is_none_or(|body| body.keys().any(|key| !key.contains('@')))
            {
                outcome.misses.insert("an answer to an action that has none in the metadata".to_owned());
            }
        }
        (Answer::Unknown(_), _) => {}
    }
    outcome
}

/// Each answer of a batch against its own request.
fn batch(catalog: &Catalog, request: &Value, body: &Value, outcome: &mut Outcome) {
    let requests = request.get("requests").and_then(Value::as_array).cloned().unwrap_or_default();
    for response in body.get("responses").and_then(Value::as_array).into_iter().flatten() {
        let of = requests.iter().find(|request| request.get("id") == response.get("id"));
        let text = |key: &str| of.and_then(|of| of.get(key)).and_then(Value::as_str).map(str::to_owned);
        let (Some(method), Some(path)) = (text("method"), text("url")) else { continue };
        let response_body = response.get("body").cloned().unwrap_or_default();
        let part = check(catalog, &Sample { method, path, request_body: Value::Null, response_body });
        outcome.unresolved = outcome.unresolved.take().or(part.unresolved);
        outcome.misses.extend(part.misses);
        outcome.compared += part.compared;
        outcome.undeclared += part.undeclared;
        outcome.placeholders += part.placeholders;
        outcome.lost_whole.extend(part.lost_whole);
    }
}

fn rows(catalog: &Catalog, object: &Object, body: &Value, outcome: &mut Outcome) {
    match body {
        // An answer of several rows, or of one value.
        Value::Object(map)
            if map.contains_key("value") && (!object.is_single() || is_envelope(object, map)) =>
        {
            match &map["value"] {
                Value::Array(rows) => rows.iter().for_each(|row| one(catalog, object, row, outcome)),
                other => one(catalog, object, other, outcome),
            }
        }
        Value::Array(rows) => rows.iter().for_each(|row| one(catalog, object, row, outcome)),
        other => one(catalog, object, other, outcome),
    }
}

/// Whether `value` holds the answer rather than being a property of it.
fn is_envelope(object: &Object, map: &Map<String, Value>) -> bool {
    let declared =
        object.columns().iter().any(|column| column.path.first().is_some_and(|first| first == "value"));
    !declared && map.keys().all(|key| key == "value" || key.starts_with('@'))
}

fn one(catalog: &Catalog, object: &Object, row: &Value, outcome: &mut Outcome) {
    let Value::Object(map) = row else {
        // A row that is no object is a value: of the column `value`, when the facts know its type.
        match object.columns() {
            [only] if only.name == "value" => {
                // Of a collection of values each row is one; the column is the whole.
                outcome.compared += 1;
                if only.kind != ColumnKind::Json && !fits(only.kind, row) {
                    outcome.misses.insert(format!("a value is no {}", only.kind.as_str()));
                }
            }
            _ => {
                outcome.misses.insert("a row is no object".to_owned());
                outcome.lost_whole.insert("a row is no object".to_owned());
            }
        }
        return;
    };
    let own = map.get("@odata.type").and_then(Value::as_str);
    let typed = own.and_then(|own| catalog.object_of_type(object, own));
    let object = typed.as_deref().unwrap_or(object);
    let columns: Vec<&Column> = object.columns().iter().chain(object.unlisted()).collect();
    let mut path = Vec::new();
    properties(object, &columns, map, &mut path, outcome);
}

/// Every property of a row, at any depth, has a column that its value fits or lies in one that holds JSON.
fn properties(
    object: &Object,
    columns: &[&Column],
    map: &Map<String, Value>,
    path: &mut Vec<String>,
    outcome: &mut Outcome,
) {
    for (key, value) in map {
        if key.contains('@') {
            continue; // control information and annotations are no properties (OData JSON 4.01, section 4.6)
        }
        path.push(key.clone());
        let own = columns.iter().find(|column| column.path == *path && column.source != ColumnSource::Etag);
        let parts =
            columns.iter().any(|column| column.path.len() > path.len() && column.path.starts_with(path));
        match (own, value) {
            (Some(column), value) if column.kind == ColumnKind::Json || fits(column.kind, value) => {
                outcome.compared += 1;
            }
            (Some(_), value) if is_placeholder(value) => outcome.placeholders += 1,
            (Some(column), _) => {
                outcome.misses.insert(format!("{} is no {}: {value}", path.join("_"), column.kind.as_str()));
            }
            (None, Value::Object(inner)) if parts => properties(object, columns, inner, path, outcome),
            (None, Value::Null) if parts => outcome.compared += 1,
            (None, _) if path.len() == 1 && object.is_open() => outcome.undeclared += 1,
            (None, _) => {
                let kind = object.graph_type().unwrap_or_default();
                outcome.misses.insert(format!("{kind} declares no {}", path.join("_")));
            }
        }
        path.pop();
    }
}

/// Whether a value can stand in a column of this kind.
fn fits(kind: ColumnKind, value: &Value) -> bool {
    let text = |check: fn(&str) -> bool| value.as_str().is_some_and(check);
    match kind {
        _ if value.is_null() => true,
        ColumnKind::Any | ColumnKind::Json => true,
        ColumnKind::String => value.is_string(),
        ColumnKind::Bool => value.is_boolean(),
        ColumnKind::Int32 => value.as_i64().is_some_and(|number| i32::try_from(number).is_ok()),
        // 64-bit numbers may come as text (OData JSON 4.01, IEEE754Compatible).
        ColumnKind::Int64 => value.is_i64() || value.is_u64() || text(|text| text.parse::<i64>().is_ok()),
        ColumnKind::Double => value.is_number() || text(|text| matches!(text, "INF" | "-INF" | "NaN")),
        ColumnKind::DateTime => text(|text| looks_like(text, "0000-00-00T00:00")),
        ColumnKind::Date => text(|text| looks_like(text, "0000-00-00")),
        ColumnKind::Time => text(|text| looks_like(text, "00:00")),
        ColumnKind::Duration => text(|text| text.trim_start_matches('-').starts_with('P')),
        ColumnKind::Guid => text(|text| text.len() == 36 && text.matches('-').count() == 4),
        ColumnKind::Binary => value.is_string(),
    }
}

/// Whether a documentation wrote a placeholder where the service writes a value.
fn is_placeholder(value: &Value) -> bool {
    const TYPES: [&str; 7] = ["String", "Boolean", "Int32", "Int64", "DateTimeOffset", "Date", "Guid"];
    match value {
        Value::String(text) => {
            text.ends_with("-value") || TYPES.contains(&text.split(" (").next().unwrap_or_default())
        }
        Value::Object(map) => map.keys().all(|key| key.starts_with('@')),
        _ => false,
    }
}

/// Whether `text` begins with digits and signs where `pattern` has them.
fn looks_like(text: &str, pattern: &str) -> bool {
    let fits =
        |(given, wanted): (u8, u8)| if wanted == b'0' { given.is_ascii_digit() } else { given == wanted };
    text.len() >= pattern.len() && text.bytes().zip(pattern.bytes()).all(fits)
}
