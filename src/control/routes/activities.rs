//! Query given in the request, and everything saved in a drop-in. Thin: extract, one call, answer.

use std::sync::Arc;

use axum::Json;
use axum::body::Body;
use axum::extract::{Extension, Path, State};
use axum::http::HeaderMap;
use axum::response::Response;
use http::{StatusCode, Uri};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::ToSchema;

use super::Shared;
use super::connections::live;
use super::writes;
use crate::activity::{CallOptions, Live, Record, SavedRequest};
use crate::connection::ActivityKind;
use crate::control::Control;
use crate::control::answer;
use crate::control::extract::{Call, bounded_body, call, json, prefers_async};
use crate::control::layers::RequestId;
use crate::control::problem::Problem;
use crate::control::written;
use crate::dropin;
use crate::query::{Evaluated, QueryRequest};

/// A query as JSON answers it. NDJSON and CSV hold the rows only.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct QueryAnswer {
    /// The columns in order, each with `name` and `type`.
    #[schema(value_type = Vec<Object>)]
    columns: Vec<Value>,
    /// Who evaluated the conditions and the order; absent when there were none. For NDJSON and CSV the same stands in the
    /// headers `x-evaluated-by-service` (the `$filter`), `x-evaluated-by-agent` (the fields), `x-sorted-by`.
    evaluated: Option<Evaluated>,
    /// One object a row.
    #[schema(value_type = Vec<Object>)]
    rows: Vec<Value>,
    /// The run's id.
    run_id: String,
    /// False when something capped the rows; `reason` then says what.
    complete: bool,
    /// What capped the rows.
    reason: Option<String>,
    /// What a reader must know about the rows (a default range, columns that come only by name, mailboxes that were passed
    /// over); absent when there is nothing. NDJSON and CSV have what is known before the rows in the header `x-notes` and
    /// the columns with their types in `x-columns`; NDJSON ends with a line `{"@complete":…,"@reason":…,"@notes":[…]}`
    /// when something is missing or was passed over. A client that sends `TE: trailers` gets `x-complete`, `x-reason` and
    /// `x-notes` behind the rows of every form.
    notes: Option<Vec<String>>,
}

/// Reads rows. `Accept` picks JSON, `application/x-ndjson`, `text/csv` or
/// `application/vnd.apache.arrow.stream`; all are streamed. `Prefer: respond-async` answers 202 and the run: its rows are
/// read in the background and kept for `GET /v1/runs/{id}/results`, and `Accept` counts there.
#[utoipa::path(post, path = "/v1/connections/{name}/query", tag = "activities", params(("name" = String, Path)),
    request_body = QueryRequest, responses(
    (status = 200, body = QueryAnswer, description = "The rows"), (status = 202, description = "The run; rows later"), (status = 400, body = Problem), (status = 404, body = Problem),
    (status = 502, body = Problem), (status = 503, body = Problem)))]
pub(super) async fn query(
    State(control): Shared,
    Extension(id): Extension<RequestId>,
    Path(name): Path<String>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Problem> {
    let live = live(&control, &name)?;
    let call: Call<QueryRequest> = read(&control, &headers, body).await?;
    let (request, options) = split(call, id);
    rows(&control, live, request, options, &headers).await
}

/// A saved activity.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct SavedView {
    name: String,
    /// `query`, `create`, `update`, `delete` or `execute`.
    #[serde(rename = "type")]
    #[schema(value_type = String)]
    kind: ActivityKind,
    /// The request, with its variables as written.
    #[schema(value_type = Object)]
    request: Value,
}

/// The saved activities of a connection.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct SavedList {
    activities: Vec<SavedView>,
}

/// All saved activities of a connection.
#[utoipa::path(get, path = "/v1/connections/{name}/activities", tag = "saved activities", params(("name" = String, Path)), responses(
    (status = 200, body = SavedList), (status = 404, body = Problem)))]
pub(super) async fn list_saved(
    State(control): Shared,
    Path(name): Path<String>,
) -> Result<Json<SavedList>, Problem> {
    let live = live(&control, &name)?;
    let activities =
        live.connection.activities.keys().filter_map(|activity| saved_view(&live, activity)).collect();
    Ok(Json(SavedList { activities }))
}

/// One saved activity.
#[utoipa::path(get, path = "/v1/connections/{name}/activities/{activity}", tag = "saved activities",
    params(("name" = String, Path), ("activity" = String, Path)), responses((status = 200, body = SavedView), (status = 404, body = Problem)))]
pub(super) async fn view_saved(
    State(control): Shared,
    Path((name, activity)): Path<(String, String)>,
) -> Result<Json<SavedView>, Problem> {
    saved_view(&*live(&control, &name)?, &activity)
        .map(Json)
        .ok_or_else(|| no_such_activity(&name, &activity))
}

fn saved_view(live: &Live, activity: &str) -> Option<SavedView> {
    let saved = live.connection.activities.get(activity)?;
    Some(SavedView { name: activity.to_owned(), kind: saved.kind, request: saved.body.clone() })
}

/// Writes a saved activity into the connection's drop-in. The body is the activity as in a drop-in, as JSON.
#[utoipa::path(put, path = "/v1/connections/{name}/activities/{activity}", tag = "saved activities",
    params(("name" = String, Path), ("activity" = String, Path)), request_body(content = Object), responses(
    (status = 200, description = "Written; the connection's state"), (status = 409, body = Problem), (status = 412, body = Problem), (status = 422, body = Problem)))]
pub(super) async fn put_saved(
    State(control): Shared,
    Path((name, activity)): Path<(String, String)>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Problem> {
    let body = bounded_body(body, 256 * 1024).await?;
    change_saved(&control, &name, &activity, Some(json(&body)?), &headers).await
}

/// Removes a saved activity from the connection's drop-in.
#[utoipa::path(delete, path = "/v1/connections/{name}/activities/{activity}", tag = "saved activities",
    params(("name" = String, Path), ("activity" = String, Path)), responses(
    (status = 204, description = "Removed"), (status = 404, body = Problem), (status = 409, body = Problem), (status = 412, body = Problem)))]
pub(super) async fn delete_saved(
    State(control): Shared,
    Path((name, activity)): Path<(String, String)>,
    headers: HeaderMap,
) -> Result<StatusCode, Problem> {
    if !live(&control, &name)?.connection.activities.contains_key(&activity) {
        return Err(no_such_activity(&name, &activity));
    }
    change_saved(&control, &name, &activity, None, &headers).await?;
    Ok(StatusCode::NO_CONTENT)
}

async fn change_saved(
    control: &Arc<Control>,
    name: &str,
    activity: &str,
    body: Option<Value>,
    headers: &HeaderMap,
) -> Result<Response, Problem> {
    let live = live(control, name)?;
    let (file, owned, activity) = (live.connection.file.clone(), name.to_owned(), activity.to_owned());
    let document = super::connections::blocking(move || {
        Ok(dropin::connection_document(&file, &owned, &activity, body)?)
    })
    .await?;
    super::connections::write(control, &live.connection.name, document, headers).await
}

/// What a run of a saved activity takes.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct RunRequest {
    /// For a Create, Update or Delete that was saved without records: the records.
    #[serde(default)]
    #[schema(value_type = Vec<Object>)]
    records: Vec<Record>,
}

/// Runs a saved activity. The body may give `variables`, `timeoutSeconds` and, for a write that was saved without
/// records, `records`; those may also be the body itself as NDJSON or CSV. The answer is that of its kind.
#[utoipa::path(post, path = "/v1/connections/{name}/activities/{activity}/run", tag = "saved activities",
    params(("name" = String, Path), ("activity" = String, Path)), request_body(content = Object, description = "`variables` and `timeoutSeconds`"),
    responses((status = 200, description = "As query, create, update, delete or execute"), (status = 400, body = Problem), (status = 404, body = Problem)))]
pub(super) async fn run_saved(
    State(control): Shared,
    Extension(id): Extension<RequestId>,
    Path((name, activity)): Path<(String, String)>,
    uri: Uri,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Problem> {
    let live = live(&control, &name)?;
    if !live.connection.activities.contains_key(&activity) {
        return Err(no_such_activity(&name, &activity));
    }
    let (records, mut options, streamed) = match writes::streamed(&control, &id, &uri, &headers).await? {
        Some((_, options, upload)) => (Vec::new(), options, Some(writes::receive(upload, body).await?)),
        None => {
            let call: Call<RunRequest> = read(&control, &headers, body).await?;
            let (RunRequest { records }, options) = split(call, id);
            (records, options, None)
        }
    };
    options.activity = Some(activity.clone());
    let saved = control.engine.saved(&live, &activity, &options)?;
    if !matches!(saved, SavedRequest::Write(..)) && (streamed.is_some() || !records.is_empty()) {
        let detail =
            format!("The activity '{activity}' writes no records, so it takes none. Leave them out.");
        return Err(Problem::new(StatusCode::BAD_REQUEST, "bad_request", detail).field("records"));
    }
    match saved {
        SavedRequest::Query(request) => {
            refuse_idempotency_key(&headers)?;
            rows(&control, live, request, options, &headers).await
        }
        SavedRequest::Write(kind, mut request) => {
            request.records.extend(records);
            writes::write(&control, &live, kind, *request, streamed, &options, &headers).await
        }
        SavedRequest::Execute(request) => {
            super::execute::executed(&control, &live, &request, None, &headers, &options).await
        }
    }
}

async fn rows(
    control: &Arc<Control>,
    live: Arc<Live>,
    request: QueryRequest,
    options: CallOptions,
    headers: &HeaderMap,
) -> Result<Response, Problem> {
    if prefers_async(headers) {
        let run = control.engine.query_for_later(&live, &request, &options).await?;
        return written::accepted(&control.engine, &run);
    }
    let encoding = answer::encoding(headers)?;
    let query = control.engine.query(&live, &request, &options)?;
    Ok(answer::rows(query, encoding).await?)
}

pub(super) async fn read<T: serde::de::DeserializeOwned>(
    control: &Control,
    headers: &HeaderMap,
    body: Body,
) -> Result<Call<T>, Problem> {
    let limit = control.settings.load().limits.request_body_bytes;
    call(&bounded_body(body, limit).await?, headers)
}

pub(super) fn split<T>(call: Call<T>, id: RequestId) -> (T, CallOptions) {
    let options =
        CallOptions { request_id: id.0, variables: call.variables, timeout: call.timeout, activity: None };
    (call.request, options)
}

/// A key that was taken and then not kept would be worse than none: the caller would repeat a write and double it.
pub(super) fn refuse_idempotency_key(headers: &HeaderMap) -> Result<(), Problem> {
    if headers.contains_key("idempotency-key") {
        let detail = "Idempotency keys are kept for create, update, delete and execute. Leave the header out here: a query changes nothing and can be repeated.";
        return Err(Problem::new(StatusCode::BAD_REQUEST, "idempotency_key_unsupported", detail)
            .field("Idempotency-Key"));
    }
    Ok(())
}

fn no_such_activity(name: &str, activity: &str) -> Problem {
    let activity = crate::error::clean_foreign_text(activity);
    let detail = format!(
        "The connection '{name}' has no saved activity '{activity}'. GET /v1/connections/{{name}}/activities lists them."
    );
    Problem::new(StatusCode::NOT_FOUND, "no_such_activity", detail)
}
