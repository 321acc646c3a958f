//! Activities as callers write them and their answers. Shapes only.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use utoipa::ToSchema;

use crate::clock::Timestamp;
use crate::connection::ActivityKind;
use crate::graph::GraphRefusal;

/// A record to create, change or delete: column → value. Flattened columns (`body_content`) and nested objects
/// (`body`: {…}) are both understood.
pub type Record = Map<String, Value>;

/// Create, Update or Delete.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct WriteRequest {
    /// An object's name (`Messages`, any case) or a Graph path (`/users/{id}/mailFolders`).
    pub object: String,
    /// One or more records. Update and Delete need each record's key column (`id`).
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schema(value_type = Vec<Object>)]
    pub records: Vec<Record>,
    /// Update and Delete, instead of `records`: the ids of the records.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub keys: Vec<String>,
    /// Update and Delete, instead of `records`: the conditions that choose the records, as in a query. They are found
    /// first, and when there are more than `maxRows` nothing is written.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Object>)]
    pub conditions: Option<Value>,
    /// Update with `keys` or `conditions`: the columns to change, with their new values.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Object>)]
    pub set: Option<Record>,
    /// With `conditions`: the most records that may be written, 1000 unless raised on purpose.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_rows: Option<u64>,
    /// With `conditions`: only tell how many records there are (`matched`), and write nothing.
    #[serde(default, skip_serializing_if = "is_false")]
    pub dry_run: bool,
    /// Go on after a record that failed. Otherwise nothing more is begun, and the records that were not tried answer
    /// `skipped`. Up to 20 records are then written one by one in order; of more, some behind the one that failed may
    /// have been on their way with it.
    #[serde(default)]
    pub continue_on_error: bool,
}

fn is_false(flag: &bool) -> bool {
    !flag
}

/// Execute: a procedure with its parameters.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ExecuteRequest {
    /// A procedure's name (`SendMail`, any case), or with `target` the Graph name of an action bound to it
    /// (`createReply`) or of a function without parameters, written with `()` (`delta()`) and called by GET.
    pub procedure: String,
    /// For a bound action: the Graph path of what it is bound to (`/me/messages/{id}`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub target: Option<String>,
    /// The parameters by name.
    #[serde(default)]
    #[schema(value_type = Object)]
    pub parameters: Map<String, Value>,
}

/// How a record fared.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum RecordStatus {
    /// It was created.
    Created,
    /// It was changed.
    Updated,
    /// It was removed.
    Deleted,
    /// It was not done; `error` says why.
    Failed,
    /// It was sent, and whether it was done is not known; `error` says how to find out.
    Unknown,
    /// It was not tried, because an earlier record failed.
    Skipped,
    /// The procedure was done; `result` is what it returned.
    Executed,
}

/// One record's result, in the order of the request.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct RecordResult {
    /// Place in the request, from 0.
    pub index: usize,
    /// How it fared.
    pub status: RecordStatus,
    /// The record's key, when known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub id: Option<String>,
    /// What went wrong.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<RecordError>,
    /// Of a procedure: what it returned; absent for nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Object>)]
    pub result: Option<Value>,
}

/// What went wrong with one record.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct RecordError {
    /// A stable code of ours.
    pub code: String,
    /// What is wrong and what to do.
    pub message: String,
    /// Graph's own words, when Graph refused.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Object>)]
    pub graph: Option<GraphRefusal>,
}

/// The answer of Create, Update and Delete.
#[derive(Clone, Debug, PartialEq, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct WriteAnswer {
    /// One result a record, in order.
    pub results: Vec<RecordResult>,
    /// The run's id.
    pub run_id: String,
    /// How many records the conditions found, when it went by conditions.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub matched: Option<u64>,
}

/// The answer of Execute.
#[derive(Clone, Debug, PartialEq, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct ExecuteAnswer {
    /// What the procedure returned: Graph's JSON for an action, named outputs for a procedure, null for nothing.
    #[schema(value_type = Object)]
    pub result: Value,
    /// The run's id.
    pub run_id: String,
}

/// One step of a connection test.
#[derive(Clone, Debug, PartialEq, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct TestStep {
    /// `configuration`, `store`, `token`, `clock` or `graph`.
    pub step: &'static str,
    /// Whether it is well; `null` when it was not tried because an earlier step failed.
    pub ok: Option<bool>,
    /// How long it took.
    pub milliseconds: u64,
    /// What was found, or what is wrong and what to do.
    pub message: String,
}

/// The answer of a connection test.
#[derive(Clone, Debug, PartialEq, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct TestReport {
    /// Whether every step is well.
    pub ok: bool,
    /// The steps in order.
    pub steps: Vec<TestStep>,
}

impl TestReport {
    /// The report of a connection whose drop-in has faults: nothing after the configuration can be tried.
    pub fn refused(faults: &[crate::error::Fault]) -> Self {
        let message = faults.iter().map(ToString::to_string).collect::<Vec<_>>().join(" ");
        let not_tried = || "Not tried, because an earlier step failed.".to_owned();
        let step = |step, ok, message| TestStep { step, ok, milliseconds: 0, message };
        let later = ["store", "token", "clock", "graph"].map(|name| step(name, None, not_tried()));
        let steps = std::iter::once(step("configuration", Some(false), message)).chain(later).collect();
        Self { ok: false, steps }
    }
}

/// The life of a run, by the names that operators know from Jitterbit's operation log, and one of our own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum RunStatus {
    /// In progress.
    Running,
    /// In progress, and asked to stop.
    CancelRequested,
    /// Ended well.
    Success,
    /// Ended well for some records only.
    SuccessWithWarning,
    /// Failed.
    Error,
    /// Cancelled.
    Cancelled,
    /// It was in progress when the agent died. A write with an `Idempotency-Key` goes on when the same call is made again.
    Interrupted,
}

/// A run as the runs routes show it.
#[derive(Clone, Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct RunView {
    /// Its id.
    pub id: String,
    /// The connection.
    pub connection: String,
    /// The kind of activity.
    #[schema(value_type = String)]
    pub kind: ActivityKind,
    /// The object or procedure.
    pub object: String,
    /// The saved activity's name, if it was one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub activity: Option<String>,
    /// How it stands.
    pub status: RunStatus,
    /// Request id of the call that began it.
    pub request_id: String,
    /// When it began.
    #[schema(value_type = String)]
    pub started_at: Timestamp,
    /// When it ended.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub finished_at: Option<Timestamp>,
    /// Rows delivered or records done so far.
    pub rows: u64,
    /// Records that failed, were not tried or whose outcome is unknown, so far.
    pub failed: u64,
    /// Records in all, when known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub total: Option<u64>,
    /// Whether `GET /v1/runs/{id}/results` has its results, for 24 hours.
    pub results_kept: bool,
    /// Requests to Graph that wait for their turn now.
    pub waiting: u64,
    /// Seconds for which Graph has held the run back so far.
    pub throttled_seconds: f64,
    /// What went wrong.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}

/// What comes with a call besides the activity itself.
#[derive(Clone, Debug, Default)]
pub struct CallOptions {
    /// Request id of the control port.
    pub request_id: String,
    /// Variables of this request; they win over all others.
    pub variables: BTreeMap<String, String>,
    /// The caller's time limit; absent = the agent's default.
    pub timeout: Option<std::time::Duration>,
    /// The saved activity's name, if it is one.
    pub activity: Option<String>,
}
