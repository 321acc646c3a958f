//! A person's sign-in: start it, look at it, answer it, cancel it. Never shows a device code, an authorization code or a
//! PKCE verifier; the authorization address only to whoever started it.

use axum::Json;
use axum::body::Body;
use axum::extract::{Path, State};
use http::StatusCode;
use serde::Deserialize;
use utoipa::ToSchema;
use zeroize::Zeroize;

use super::Shared;
use super::connections::live;
use crate::control::extract::{bounded_body, json};
use crate::control::problem::Problem;
use crate::secret::Secret;
use crate::token::{SignInError, SignInRequest, SignInView};

/// A whole redirect address with its code fits well into this.
const BODY_BYTES: usize = 16 * 1024;

/// How to sign in.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct SignInBody {
    /// `device_code` (default), `browser`, or `verifier` to answer a pending `browser`.
    #[serde(default)]
    method: Method,
    /// With `verifier`: the code of the address the browser ended at, or that whole address.
    #[serde(default)]
    code: Option<String>,
}

#[derive(Clone, Copy, Default, PartialEq, Eq, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
enum Method {
    #[default]
    DeviceCode,
    Browser,
    Verifier,
}

impl Drop for SignInBody {
    fn drop(&mut self) {
        self.code.zeroize();
    }
}

/// Starts a sign-in, or answers the pending one. The answer says what a person has to do, and for how long that works.
#[utoipa::path(post, path = "/v1/connections/{name}/sign-in", tag = "connections", params(("name" = String, Path)),
    request_body(content = SignInBody), responses(
    (status = 200, body = Object, description = "The sign-in, as GET shows it; with `authorizationUrl` for a browser"),
    (status = 400, body = Problem), (status = 404, body = Problem), (status = 409, body = Problem), (status = 503, body = Problem)))]
pub(super) async fn start(
    State(control): Shared,
    Path(name): Path<String>,
    body: Body,
) -> Result<Json<SignInView>, Problem> {
    let mut bytes = bounded_body(body, BODY_BYTES).await?;
    let read = if bytes.is_empty() {
        Ok(SignInBody { method: Method::default(), code: None })
    } else {
        json::<SignInBody>(&bytes)
    };
    bytes.zeroize();
    let mut wish = read?;
    let live = live(&control, &name)?;
    let code = wish.code.take().map(Secret::from);
    let request = match (wish.method, code) {
        (Method::DeviceCode, None) => SignInRequest::DeviceCode,
        (Method::Browser, None) => SignInRequest::Browser,
        (Method::Verifier, Some(code)) => SignInRequest::Verifier(code),
        (Method::Verifier, None) => {
            return Err(wrong("The method 'verifier' needs 'code': what the browser brought back."));
        }
        (_, Some(_)) => return Err(wrong("'code' goes with the method 'verifier' only. Remove it.")),
    };
    Ok(Json(control.keeper.sign_in(&live.connection.name, request).await?))
}

/// The pending or last sign-in; `offered` where one is needed and none has been started.
#[utoipa::path(get, path = "/v1/connections/{name}/sign-in", tag = "connections", params(("name" = String, Path)), responses(
    (status = 200, body = Object, description = "State, what to do, user code, verification address, time left"),
    (status = 404, body = Problem)))]
pub(super) async fn view(
    State(control): Shared,
    Path(name): Path<String>,
) -> Result<Json<SignInView>, Problem> {
    let live = live(&control, &name)?;
    let view = control.keeper.sign_in_view(&live.connection.name);
    Ok(Json(view.ok_or(SignInError::NothingPending)?))
}

/// Cancels the pending sign-in.
#[utoipa::path(delete, path = "/v1/connections/{name}/sign-in", tag = "connections", params(("name" = String, Path)), responses(
    (status = 204, description = "Cancelled"), (status = 404, body = Problem), (status = 409, body = Problem)))]
pub(super) async fn cancel(State(control): Shared, Path(name): Path<String>) -> Result<StatusCode, Problem> {
    let live = live(&control, &name)?;
    control.keeper.cancel_sign_in(&live.connection.name)?;
    Ok(StatusCode::NO_CONTENT)
}

fn wrong(detail: &str) -> Problem {
    Problem::new(StatusCode::BAD_REQUEST, "bad_request", detail).field("code")
}
