//! Execute: a procedure, given in the request. Thin: extract, one call, answer.

use axum::Json;
use axum::body::Body;
use axum::extract::{Extension, Path, State};
use axum::http::HeaderMap;

use super::Shared;
use super::activities::{read, refuse_idempotency_key, split};
use super::connections::live;
use crate::activity::{ExecuteAnswer, ExecuteRequest};
use crate::control::extract::Call;
use crate::control::layers::RequestId;
use crate::control::problem::Problem;

/// Calls a procedure.
#[utoipa::path(post, path = "/v1/connections/{name}/execute", tag = "activities", params(("name" = String, Path)),
    request_body = ExecuteRequest, responses((status = 200, body = ExecuteAnswer), (status = 400, body = Problem), (status = 503, body = Problem)))]
pub(super) async fn execute(
    State(control): Shared,
    Extension(id): Extension<RequestId>,
    Path(name): Path<String>,
    headers: HeaderMap,
    body: Body,
) -> Result<Json<ExecuteAnswer>, Problem> {
    refuse_idempotency_key(&headers)?;
    let live = live(&control, &name)?;
    let call: Call<ExecuteRequest> = read(&control, &headers, body).await?;
    let (request, options) = split(call, id);
    Ok(Json(control.engine.execute(&live, &request, &options).await?))
}
