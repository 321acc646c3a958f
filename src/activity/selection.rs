//! The records of an Update or Delete that are chosen by `keys` or `conditions` instead of being listed. They are found
//! before anything is written, and more than the caller expects are refused. Never writes.

use std::collections::HashSet;
use std::sync::Arc;

use serde_json::{Map, Value};

use super::engine::Live;
use super::error::ActivityError;
use super::model::{Record, WriteRequest};
use super::upload::{MOST_RECORDS, too_many};
use crate::catalog::{ColumnSource, Object, Route, RouteUse};
use crate::clock::Timestamp;
use crate::connection::ActivityKind;
use crate::graph::CallContext;
use crate::query::{Caller, Encoding, RowStream, ScanRequest, read_conditions};

/// Records that conditions may choose unless the caller raises it on purpose.
const USUAL_MOST_ROWS: u64 = 1000;
/// Records that conditions may choose at all: they are held in memory until they are written.
const MOST_ROWS: u64 = 100_000;

/// Where the records of a request come from.
#[derive(Debug)]
pub(super) enum Chosen {
    /// They are listed.
    Listed(Vec<Record>),
    /// They have to be found.
    ByConditions { scan: Box<ScanRequest>, set: Record, most: u64, dry_run: bool },
}

/// Reads what of `request` chooses the records; `streamed` when they came as a body of their own.
///
/// # Errors
/// [`ActivityError::BadRequest`], when it is nothing, two things, or not for this kind.
pub(super) fn chosen(
    request: WriteRequest,
    kind: ActivityKind,
    object: &Arc<Object>,
    streamed: bool,
) -> Result<Chosen, ActivityError> {
    let WriteRequest { records, keys, conditions, set, max_rows, dry_run, .. } = request;
    let given = [!records.is_empty() || streamed, !keys.is_empty(), conditions.is_some()];
    let bad = |field: &str, message: &str| Err(ActivityError::field("bad_request", field, message));
    match given.iter().filter(|given| **given).count() {
        0 if kind == ActivityKind::Create => {
            return bad("records", "There are no records. Give at least one.");
        }
        0 => return bad("records", "There are no records. Give 'records', 'keys' or 'conditions'."),
        1 => {}
        _ => return bad("records", "Give only one of 'records', 'keys' and 'conditions'."),
    }
    if kind == ActivityKind::Create && !given[0] {
        return bad(
            "records",
            "Create takes 'records'; 'keys' and 'conditions' choose records that are there already.",
        );
    }
    let by_choice = !given[0];
    let set = match (kind, set.filter(|set| !set.is_empty())) {
        (ActivityKind::Update, Some(set)) if by_choice => set,
        (ActivityKind::Update, None) if by_choice => {
            return bad(
                "set",
                "Update with 'keys' or 'conditions' needs 'set': the columns to change, with their values.",
            );
        }
        (_, None) => Map::new(),
        (_, Some(_)) => return bad("set", "'set' goes with an Update by 'keys' or 'conditions' only."),
    };
    if conditions.is_none() && (dry_run || max_rows.is_some()) {
        return bad("conditions", "'maxRows' and 'dryRun' go with 'conditions'.");
    }
    if let Some(name) = set.keys().find(|name| name.eq_ignore_ascii_case("id")) {
        return bad(name, "'set' gives the columns to change; the id is chosen by 'keys' or 'conditions'.");
    }
    if given[1] {
        if keys.len() > MOST_RECORDS {
            return Err(too_many());
        }
        let record = |key: String| with_id(key, &set);
        return Ok(Chosen::Listed(keys.into_iter().map(record).collect()));
    }
    let Some(conditions) = conditions else { return Ok(Chosen::Listed(records)) };
    if conditions.as_array().is_none_or(Vec::is_empty) && !conditions.is_object() {
        return bad(
            "conditions",
            "'conditions' is empty, which would choose every record. Give at least one condition, such as [{\"field\": \"subject\", \"operator\": \"=\", \"value\": \"Old\"}].",
        );
    }
    let most = max_rows.unwrap_or(USUAL_MOST_ROWS);
    if !(1..=MOST_ROWS).contains(&most) {
        return bad("maxRows", &format!("'maxRows' must be a number from 1 to {MOST_ROWS}."));
    }
    if let Some(name) = set.keys().find(|name| says_where(object, name)) {
        let message = format!(
            "'{name}' says where a record is, which the conditions have chosen already. Remove it from 'set'."
        );
        return bad(name, &message);
    }
    let conditions = read_conditions(conditions).map_err(|error| {
        ActivityError::field("bad_request", "conditions", format!("'conditions' cannot be read: {error}."))
    })?;
    let is_etag =
        |name: &&String| object.column(name).is_ok_and(|column| column.source == ColumnSource::Etag);
    if let Some(name) = set.keys().find(is_etag) {
        let message = format!(
            "'{name}' says which version of a record is changed, which is the one that the conditions chose. Remove it from \
             'set'."
        );
        return bad(name, &message);
    }
    // One row more than may be, to know whether there are too many.
    let scan = ScanRequest::bind(object, &fields(object), &conditions, &[])?.window(Some(most + 1), 0);
    Ok(Chosen::ByConditions { scan: Box::new(scan), set, most, dry_run })
}

/// Whether a column chooses the route to a record.
fn says_where(object: &Object, name: &str) -> bool {
    let is_place =
        |object: &Object| object.column(name).is_ok_and(|column| column.source == ColumnSource::Place);
    object.place_column(RouteUse::Record, name).is_some() || is_place(object)
}

/// The columns that say which record it is, where it lies and, where a change needs it, which version was read.
fn fields(object: &Object) -> Vec<String> {
    let mut fields = vec!["id".to_owned()];
    let places = object.columns().iter().filter(|column| column.source == ColumnSource::Place);
    fields.extend(places.map(|column| column.name.clone()));
    // What chooses the route to a record is read from its row, whatever chose the route to the row.
    for column in object.ways(RouteUse::Record).into_iter().flat_map(Route::columns) {
        let known = |name: &String| name.eq_ignore_ascii_case(column);
        if !fields.iter().any(known) && object.column(column).is_ok() {
            fields.push(column.to_owned());
        }
    }
    // What was chosen is written only as it was chosen.
    if object.needs_etag() {
        fields.extend(object.column("Etag").ok().map(|column| column.name.clone()));
    }
    fields
}

/// Finds the records.
///
/// # Errors
/// [`ActivityError::BadRequest`] with the code `too_many_rows`, or that of the query.
pub(super) async fn find(
    live: &Live,
    object: &Object,
    scan: &ScanRequest,
    set: &Record,
    most: u64,
    (user_id, now): (Option<&str>, Timestamp),
    context: &CallContext,
) -> Result<Vec<Record>, ActivityError> {
    let plan = scan.clone().plan(&Caller { connection: &live.connection, user_id, now })?;
    // Known before anything is read: a record is changed only where its row was seen.
    let way = object
        .record_way(plan.route)
        .map_err(|error| ActivityError::field("bad_request", "conditions", error.message))?;
    let mut stream = RowStream::new(plan, Arc::clone(&live.graph), context.clone());
    let (mut records, mut text, mut rows, mut seen) = (Vec::new(), Vec::new(), 0_u64, HashSet::new());
    loop {
        text.clear();
        let progress = stream.next(&mut text, Encoding::Ndjson).await?;
        for line in text.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()) {
            rows += 1;
            let found = record(object, way, line)?;
            // Rows of two places may be one record: a task of two users.
            if seen.insert(Value::Object(found.clone()).to_string()) {
                records.push(with(found, set));
            }
        }
        if rows > most {
            let message = format!(
                "The conditions choose more than {most} records, and nothing was written. Narrow the conditions, or raise 'maxRows' if all of them are meant."
            );
            return Err(ActivityError::field("too_many_rows", "maxRows", message));
        }
        match progress.end {
            // Records that the conditions choose would be left out: a place could not be read, or the connection caps the
            // rows. As many as `maxRows` may be there all the same, so their number says nothing.
            Some(end) if !end.complete => {
                let why = end.reason.unwrap_or_default();
                let message = format!("Not all records could be found, and nothing was written: {why}");
                return Err(ActivityError::field("incomplete_selection", "conditions", message));
            }
            Some(_) => {
                if let Some(name) = stream.compared_with_nothing().filter(|_| !records.is_empty()) {
                    return Err(unknown_name(name));
                }
                return Ok(records);
            }
            None => {}
        }
    }
}

/// A condition on a name that no row has chooses all rows or none, which a slip of the pen must not write to.
fn unknown_name(name: &str) -> ActivityError {
    let name = crate::error::clean_foreign_text(name);
    let message = format!(
        "No row that Microsoft Graph answered has a property called '{name}', so the condition on it chose nothing, and \
         nothing was written. Check the name, its capitals too; if the records are meant, query them and give their ids as \
         'keys'."
    );
    ActivityError::field("unknown_column", "conditions", message)
}

/// The record of a row: its id, what the route to it needs, and its tag. What else is known of its place says nothing
/// about where the record is.
fn record(object: &Object, way: Route, row: &[u8]) -> Result<Record, ActivityError> {
    let row: Map<String, Value> = serde_json::from_slice(row).unwrap_or_default();
    let Some(Value::String(id)) = row.get("id") else {
        return Err(not_reached("id"));
    };
    let mut record = Map::new();
    record.insert("id".to_owned(), Value::from(id.clone()));
    for (name, value) in row.iter().filter(|(_, value)| !value.is_null()) {
        let is_user = name.eq_ignore_ascii_case("UserId") && way.has_owner();
        let is_place = object.place_column(RouteUse::Record, name).is_some_and(|column| way.uses(column));
        let is_etag = object.column(name).is_ok_and(|column| column.source == ColumnSource::Etag);
        if is_user || is_place || is_etag {
            record.insert(name.clone(), value.clone());
        }
    }
    // Without it another route would be taken, to another record.
    let missing = |column: &&str| !record.keys().any(|name| name.eq_ignore_ascii_case(column));
    match way.columns().find(missing) {
        Some(column) => Err(not_reached(column)),
        None => Ok(record),
    }
}

fn not_reached(column: &str) -> ActivityError {
    let message = format!(
        "A record that the conditions choose has no '{column}', so it can be neither changed nor removed. Nothing was \
         written."
    );
    ActivityError::field("bad_request", "conditions", message)
}

fn with(mut record: Record, set: &Record) -> Record {
    record.extend(set.iter().map(|(name, value)| (name.clone(), value.clone())));
    record
}

fn with_id(id: String, set: &Record) -> Record {
    let mut record = Map::new();
    record.insert("id".to_owned(), Value::from(id));
    with(record, set)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use serde_json::json;

    use super::*;
    use crate::catalog::{Catalog, RouteUse};

    fn choose(kind: ActivityKind, request: Value) -> Result<Chosen, String> {
        let mut request = request;
        request["object"] = json!("Messages");
        let request = serde_json::from_value(request).unwrap();
        let object = Catalog::embedded().find_object("Messages").unwrap();
        chosen(request, kind, &object, false).map_err(|error| error.message())
    }

    #[test]
    fn records_are_chosen_in_one_way_only() {
        use ActivityKind::{Create, Delete, Update};
        let condition = json!([{"field": "subject", "operator": "=", "value": "x"}]);
        for (kind, request, expected) in [
            (Create, json!({}), "Give at least one"),
            (Delete, json!({}), "'records', 'keys' or 'conditions'"),
            (Create, json!({"keys": ["a"]}), "Create takes 'records'"),
            (Delete, json!({"keys": ["a"], "records": [{"id": "b"}]}), "only one of"),
            (Update, json!({"keys": ["a"]}), "needs 'set'"),
            (Delete, json!({"keys": ["a"], "set": {"subject": "x"}}), "'set' goes with"),
            (Update, json!({"keys": ["a"], "set": {"ID": "x"}}), "the id is chosen"),
            (Delete, json!({"conditions": []}), "would choose every record"),
            (Delete, json!({"conditions": [{"field": "subject"}]}), "cannot be read"),
            (Update, json!({"conditions": condition, "set": {"userid": "x"}}), "says where a record is"),
            (Update, json!({"conditions": condition, "set": {"etag": "*"}}), "which version of a record"),
            (Delete, json!({"keys": ["a"], "maxRows": 5}), "go with 'conditions'"),
            (Delete, json!({"conditions": condition, "maxRows": 0}), "from 1 to 100000"),
            (Delete, json!({"conditions": condition, "maxRows": 100_001}), "from 1 to 100000"),
        ] {
            let message = choose(kind, request.clone()).unwrap_err();
            assert!(message.contains(expected), "{request}: {message}");
        }
        let Chosen::Listed(records) =
            choose(Update, json!({"keys": ["a", "b"], "set": {"subject": "x"}})).unwrap()
        else {
            panic!("keys are a list")
        };
        assert_eq!(Value::from(records), json!([{"id": "a", "subject": "x"}, {"id": "b", "subject": "x"}]));
        let Chosen::ByConditions { most, dry_run, .. } =
            choose(Delete, json!({"conditions": condition, "dryRun": true})).unwrap()
        else {
            panic!("conditions choose")
        };
        assert_eq!((most, dry_run), (1000, true));
    }

    #[test]
    fn a_row_becomes_a_record_with_what_its_route_needs() {
        let found = |object: &str, list: usize, row: Value| {
            let object = Catalog::embedded().find_object(object).unwrap();
            let way = object.record_way(object.ways(RouteUse::List)[list]).unwrap();
            record(&object, way, row.to_string().as_bytes()).map(Value::from).map_err(|error| error.message())
        };
        let row = json!({"id": "1", "UserId": "a@b", "GroupId": null, "x": 1});
        assert_eq!(found("Messages", 1, row), Ok(json!({"id": "1", "UserId": "a@b"})));
        let row = json!({"id": "1", "UserId": null, "GroupId": "g"});
        assert_eq!(found("Events", 2, row), Ok(json!({"id": "1", "GroupId": "g"})));
        let row = json!({"id": "1", "UserId": "a@b", "Etag": "W/1"});
        assert_eq!(found("Tasks", 0, row), Ok(json!({"id": "1", "Etag": "W/1"})));
        let row = json!({"id": "1", "parentReference_driveId": "D9", "UserId": null, "GroupId": null});
        assert_eq!(found("Files", 4, row.clone()), Ok(json!({"id": "1", "parentReference_driveId": "D9"})));
        assert_eq!(found("Files", 0, row), Ok(json!({"id": "1"})));
        assert!(found("Events", 2, json!({"id": "1"})).unwrap_err().contains("no 'GroupId'"));
        assert!(found("Events", 0, json!({"subject": "y"})).unwrap_err().contains("no 'id'"));
        let calendars = Catalog::embedded().find_object("Calendars").unwrap();
        let of_group = calendars.ways(RouteUse::List)[2];
        assert!(calendars.record_way(of_group).unwrap_err().message.contains("by GroupId"));
    }
}
