//! The agent as a whole: version, settings, drop-ins with their faults; and the order to look again.

use axum::Json;
use axum::extract::State;
use http::StatusCode;
use serde::Serialize;
use utoipa::ToSchema;

use super::Shared;
use crate::clock::Timestamp;
use crate::connection::DropInState;
use crate::control::problem::Problem;
use crate::control::reload::ReloadReport;

/// The agent, as an operator asks about it.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct AgentView {
    version: &'static str,
    /// `starting`, `ready` or `draining`.
    phase: &'static str,
    #[schema(value_type = String)]
    started_at: Timestamp,
    uptime_seconds: u64,
    settings: SettingsView,
    /// How many connections are in force.
    connections: usize,
    /// Every drop-in file, with its faults.
    #[schema(value_type = Vec<Object>)]
    drop_ins: Vec<DropInState>,
}

/// The settings in force that hold no secret.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct SettingsView {
    file: Option<String>,
    drop_in_directory: String,
    state_directory: String,
    enable_local_file_location: bool,
    concurrent_runs: usize,
    proxy: Option<String>,
    log_filter: String,
}

/// Version, uptime, settings, and the drop-ins with their faults.
#[utoipa::path(get, path = "/v1/agent", tag = "agent", responses((status = 200, body = AgentView)))]
pub(super) async fn view(State(control): Shared) -> Json<AgentView> {
    let (settings, set) = (control.settings.load(), control.registry.current());
    Json(AgentView {
        version: env!("CARGO_PKG_VERSION"),
        phase: control.phase.word(),
        started_at: control.started_at,
        uptime_seconds: control.started_at.since(control.clock.now()).as_secs(),
        settings: SettingsView {
            file: settings.file.as_ref().map(|file| file.display().to_string()),
            drop_in_directory: settings.drop_in_directory.display().to_string(),
            state_directory: settings.state_directory.display().to_string(),
            enable_local_file_location: settings.enable_local_file_location,
            concurrent_runs: settings.limits.concurrent_runs,
            proxy: settings.proxy.as_ref().map(|proxy| format!("{}:{}", proxy.host, proxy.port)),
            log_filter: settings.logging.filter.clone(),
        },
        connections: set.connections.len(),
        drop_ins: set.files.clone(),
    })
}

/// Reads the settings and the drop-ins again, and answers with what changed and what is wrong.
#[utoipa::path(post, path = "/v1/agent/reload", tag = "agent", responses(
    (status = 200, body = ReloadReport),
    (status = 503, body = Problem, description = "The agent is stopping")))]
pub(super) async fn reload(State(control): Shared) -> Result<Json<ReloadReport>, Problem> {
    control.reload.reload().await.map(Json).ok_or_else(|| {
        Problem::new(
            StatusCode::SERVICE_UNAVAILABLE,
            "stopping",
            "The agent is stopping. Ask again after it has started.",
        )
    })
}
