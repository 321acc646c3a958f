//! Liveness and readiness, each one word and open to everybody on this host; metrics and the OpenAPI document, guarded.

use std::sync::LazyLock;

use axum::extract::State;
use axum::response::{IntoResponse, Response};
use http::{StatusCode, header};

use super::{Shared, open_api};

/// Whether the process answers at all.
#[utoipa::path(get, path = "/healthz", tag = "agent", security(()), responses((status = 200, body = str, description = "`ok`")))]
pub(super) async fn healthz() -> &'static str {
    "ok\n"
}

/// Whether the first load is done and the agent is not draining.
#[utoipa::path(get, path = "/readyz", tag = "agent", security(()), responses(
    (status = 200, body = str, description = "`ready`"),
    (status = 503, body = str, description = "`starting` or `draining`")))]
pub(super) async fn readyz(State(control): Shared) -> Response {
    let word = control.phase.word();
    let status = if word == "ready" { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    (status, format!("{word}\n")).into_response()
}

/// All metrics in the OpenMetrics text format, for Prometheus.
#[utoipa::path(get, path = "/metrics", tag = "agent", responses((status = 200, body = str, description = "OpenMetrics text")))]
pub(super) async fn metrics(State(control): Shared) -> Response {
    let media_type = "application/openmetrics-text; version=1.0.0; charset=utf-8";
    ([(header::CONTENT_TYPE, media_type)], control.metrics.render()).into_response()
}

/// This document.
#[utoipa::path(get, path = "/openapi.json", tag = "agent", responses((status = 200, description = "OpenAPI 3.1")))]
pub(super) async fn openapi() -> Response {
    static TEXT: LazyLock<String> =
        LazyLock::new(|| open_api().to_json().unwrap_or_else(|_| "{}".to_owned()));
    ([(header::CONTENT_TYPE, "application/json")], TEXT.as_str()).into_response()
}
