//! Runs of activities: what is running, what ran, the order to stop one, and the results that a run has kept.

use axum::Json;
use axum::extract::{Path, Query, State};
use axum::http::HeaderMap;
use axum::response::Response;
use http::StatusCode;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::Shared;
use crate::activity::{RunFilter, RunResults, RunStatus, RunView};
use crate::connection::ActivityKind;
use crate::control::problem::Problem;
use crate::control::{spooled, written};

/// Runs in one answer, unless asked for otherwise, and at most.
const USUAL_PAGE: usize = 100;
const LARGEST_PAGE: usize = 1000;

/// Which runs are wanted.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct Wanted {
    /// Of this connection only.
    connection: Option<String>,
    /// Of this kind only: `query`, `create`, `update`, `delete` or `execute`.
    #[param(value_type = Option<String>)]
    kind: Option<ActivityKind>,
    /// In this state only.
    #[param(value_type = Option<String>)]
    status: Option<RunStatus>,
    /// Of this saved activity only.
    activity: Option<String>,
    /// The most runs, up to 1000; 100 when left out.
    limit: Option<usize>,
    /// Only runs behind this one: the `next` of the answer before.
    after: Option<String>,
}

/// The runs that are remembered, newest first.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct RunList {
    runs: Vec<RunView>,
    /// There when there are more: the `after` of the next call.
    #[serde(skip_serializing_if = "Option::is_none")]
    next: Option<String>,
}

/// Runs in progress and the latest finished ones, newest first.
#[utoipa::path(get, path = "/v1/runs", tag = "runs", params(Wanted), responses(
    (status = 200, body = RunList), (status = 400, body = Problem)))]
pub(super) async fn list(
    State(control): Shared,
    wanted: Result<Query<Wanted>, axum::extract::rejection::QueryRejection>,
) -> Result<Json<RunList>, Problem> {
    let Query(wanted) = wanted.map_err(|error| {
        let detail = format!(
            "The query string cannot be read: {}. It takes connection, kind, status, activity, limit and after.",
            error.body_text()
        );
        Problem::new(StatusCode::BAD_REQUEST, "bad_request", detail)
    })?;
    let Wanted { connection, kind, status, activity, limit, after } = wanted;
    let most = limit.unwrap_or(USUAL_PAGE);
    if !(1..=LARGEST_PAGE).contains(&most) {
        let detail = format!("'limit' must be a number from 1 to {LARGEST_PAGE}.");
        return Err(Problem::new(StatusCode::BAD_REQUEST, "bad_request", detail).field("limit"));
    }
    let filter = RunFilter { connection, kind, status, activity, after };
    let (runs, more) = control.engine.runs().list(&filter, most);
    let next = runs.last().filter(|_| more).map(|run| run.id.clone());
    Ok(Json(RunList { runs, next }))
}

/// One run.
#[utoipa::path(get, path = "/v1/runs/{id}", tag = "runs", params(("id" = String, Path)), responses(
    (status = 200, body = RunView), (status = 404, body = Problem)))]
pub(super) async fn view(State(control): Shared, Path(id): Path<String>) -> Result<Json<RunView>, Problem> {
    control.engine.runs().get(&id).map(Json).ok_or_else(unknown)
}

/// The results of a Create, Update, Delete or Execute (one, with `result`) that was begun with `Prefer: respond-async` or an `Idempotency-Key`, for 24
/// hours. While it runs, those it has so far: `complete` is then false. `Accept: application/x-ndjson` gives one a line.
/// The rows of a query that was begun with `Prefer: respond-async`, for 24 hours, when it has ended: as the query answers
/// them, as JSON, `application/x-ndjson` or `text/csv`.
#[utoipa::path(get, path = "/v1/runs/{id}/results", tag = "runs", params(("id" = String, Path)), responses(
    (status = 200, description = "`results` as in the answer of create, with `status` and `complete`; of a query, its answer"),
    (status = 404, body = Problem), (status = 406, body = Problem), (status = 409, body = Problem, description = "The rows are still being read, or the run did not end well"),
    (status = 503, body = Problem)))]
pub(super) async fn results(
    State(control): Shared,
    Path(id): Path<String>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    match control.engine.results(&id).await? {
        RunResults::Records(results) => Ok(written::kept(*results, written::form(&headers)?)),
        RunResults::Rows(rows) => spooled::kept(*rows, &id, control.engine.answer_rows(), &headers),
    }
}

/// Cancels a run. A write that Graph has already received is not undone.
#[utoipa::path(delete, path = "/v1/runs/{id}", tag = "runs", params(("id" = String, Path)), responses(
    (status = 202, body = RunView, description = "It is being cancelled, or has ended already"),
    (status = 404, body = Problem)))]
pub(super) async fn cancel(
    State(control): Shared,
    Path(id): Path<String>,
) -> Result<(StatusCode, Json<RunView>), Problem> {
    control.engine.runs().cancel(&id).map(|run| (StatusCode::ACCEPTED, Json(run))).ok_or_else(unknown)
}

fn unknown() -> Problem {
    let detail = "There is no such run. Runs are remembered up to [Limits] RunHistory.";
    Problem::new(StatusCode::NOT_FOUND, "no_such_run", detail)
}
