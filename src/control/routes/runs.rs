//! Runs of activities: what is running, what ran, and the order to stop one.

use axum::Json;
use axum::extract::{Path, State};
use http::StatusCode;
use serde::Serialize;
use utoipa::ToSchema;

use super::Shared;
use crate::activity::RunView;
use crate::control::problem::Problem;

/// The runs that are remembered, newest first.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct RunList {
    runs: Vec<RunView>,
}

/// Runs in progress and the latest finished ones, newest first.
#[utoipa::path(get, path = "/v1/runs", tag = "runs", responses((status = 200, body = RunList)))]
pub(super) async fn list(State(control): Shared) -> Json<RunList> {
    Json(RunList { runs: control.engine.runs().list() })
}

/// One run.
#[utoipa::path(get, path = "/v1/runs/{id}", tag = "runs", params(("id" = String, Path)), responses(
    (status = 200, body = RunView), (status = 404, body = Problem)))]
pub(super) async fn view(State(control): Shared, Path(id): Path<String>) -> Result<Json<RunView>, Problem> {
    control.engine.runs().get(&id).map(Json).ok_or_else(unknown)
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
    let detail =
        "There is no such run. Runs are remembered up to [Limits] RunHistory, and until the agent restarts.";
    Problem::new(StatusCode::NOT_FOUND, "no_such_run", detail)
}
