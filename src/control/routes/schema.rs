//! Which schema a connection's Graph endpoint has, and fetching it anew.

use axum::Json;
use axum::extract::{Extension, Path, State};

use super::Shared;
use super::connections::live;
use crate::activity::CallOptions;
use crate::catalog::SchemaStatus;
use crate::control::layers::RequestId;
use crate::control::problem::Problem;

/// Which schema is in use at the connection's Graph endpoint: this build's, or the service's own, and from when.
#[utoipa::path(get, path = "/v1/connections/{name}/schema", tag = "catalogue", params(("name" = String, Path)), responses(
    (status = 200, body = SchemaStatus), (status = 404, body = Problem)))]
pub(super) async fn view(
    State(control): Shared,
    Path(name): Path<String>,
) -> Result<Json<SchemaStatus>, Problem> {
    Ok(Json(live(&control, &name)?.catalog.status()))
}

/// Fetches the service's `$metadata`, checks it and puts it in use for every connection to the same endpoint, at once and
/// after a restart. When it cannot be used, the schema in use stays.
#[utoipa::path(post, path = "/v1/connections/{name}/schema", tag = "catalogue", params(("name" = String, Path)), responses(
    (status = 200, body = SchemaStatus), (status = 404, body = Problem), (status = 502, body = Problem)))]
pub(super) async fn refresh(
    State(control): Shared,
    Path(name): Path<String>,
    Extension(RequestId(request_id)): Extension<RequestId>,
) -> Result<Json<SchemaStatus>, Problem> {
    let live = live(&control, &name)?;
    let options = CallOptions { request_id, ..CallOptions::default() };
    Ok(Json(control.engine.refresh_schema(&live, &options).await?))
}
