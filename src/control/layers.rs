//! What happens around every handler: request id, guard, a net under panics, security headers, and one log record.
//! Runs outside the router, so that no route can be added without it. Never reads a body.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;

use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use futures_util::FutureExt;
use http::{HeaderMap, HeaderValue, StatusCode, header};

use super::guard::{Guard, Refusal, Via};
use super::problem::{Problem, ProblemShown};
use crate::clock::Clock;
use crate::secret;
use crate::telemetry::Metrics;

/// The id of one request, in its answer, in its log records and, as `client-request-id`, at Microsoft Graph.
#[derive(Clone, Debug)]
pub(super) struct RequestId(pub String);

/// What the layers need.
#[derive(Debug)]
pub struct Layers {
    /// Who may come in.
    pub guard: Guard,
    /// Counts refusals.
    pub metrics: Arc<Metrics>,
}

/// The whole of what surrounds a handler.
pub(super) async fn around(State(layers): State<Arc<Layers>>, mut request: Request, next: Next) -> Response {
    let watch = Clock::stopwatch();
    let id = request_id(request.headers());
    let (method, path) = (request.method().clone(), request.uri().path().to_owned());
    let via = request.extensions().get::<Via>().copied().unwrap_or(Via::Unix { user: None });
    request.extensions_mut().insert(RequestId(id.clone()));

    let mut response = match layers.guard.judge(via, &method, &path, request.headers()) {
        Ok(()) => match AssertUnwindSafe(next.run(request)).catch_unwind().await {
            Ok(response) => response,
            Err(_) => {
                // The panic hook has logged where; the caller learns that it was our fault.
                let detail = "The agent hit an internal error in this request; others are not affected. Report it with this request id.";
                Problem::new(StatusCode::INTERNAL_SERVER_ERROR, "internal_error", detail).into_response()
            }
        },
        Err(refusal) => {
            layers.metrics.refused(refusal.as_str());
            refused(refusal).into_response()
        }
    };

    let shown = response.extensions_mut().remove::<ProblemShown>();
    let milliseconds = u64::try_from(watch.elapsed().as_millis()).unwrap_or(u64::MAX);
    let status = response.status().as_u16();
    match shown {
        Some(ProblemShown(mut problem)) => {
            let log = problem.log.take().unwrap_or_default();
            let (code, detail) = (problem.code.clone(), problem.detail.clone());
            if status >= 500 {
                tracing::warn!(request_id = %id, %method, path, status, milliseconds, code, detail, log, "A control port request failed.");
            } else {
                tracing::info!(request_id = %id, %method, path, status, milliseconds, code, detail, log, "A control port request was refused.");
            }
            problem.request_id = Some(id.clone());
            response = problem.into_response();
        }
        None => {
            tracing::debug!(request_id = %id, %method, path, status, milliseconds, "A control port request was answered.")
        }
    }
    add_headers(response.headers_mut(), &id);
    response
}

/// The public answer to a refusal. Host and Origin say nothing more than "no": whoever fails them is no caller of ours.
fn refused(refusal: Refusal) -> Problem {
    match refusal {
        Refusal::Host | Refusal::Origin | Refusal::FetchSite => {
            Problem::new(StatusCode::FORBIDDEN, "forbidden", "This request is not allowed.")
        }
        Refusal::Peer => Problem::new(
            StatusCode::FORBIDDEN,
            "forbidden",
            "This user may not use the control socket. Add its id to [ControlPort] UnixSocketUsers, or call as root or the agent's own user.",
        ),
        Refusal::Token => Problem::new(
            StatusCode::UNAUTHORIZED,
            "unauthorized",
            "A bearer token is needed. Send 'Authorization: Bearer TOKEN' with the contents of the control token file.",
        ),
        Refusal::MediaType => Problem::new(
            StatusCode::UNSUPPORTED_MEDIA_TYPE,
            "unsupported_media_type",
            "A request with a body must be JSON. Send 'Content-Type: application/json'; create, update and delete also take application/x-ndjson and text/csv.",
        ),
    }
}

/// The caller's id when it is short and plain, else a new one in the form of a UUID, which Graph's support asks for.
fn request_id(headers: &HeaderMap) -> String {
    let given = headers.get("x-request-id").and_then(|value| value.to_str().ok()).filter(|id| {
        (1..=64).contains(&id.len())
            && id.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.'))
    });
    given.map_or_else(new_request_id, str::to_owned)
}

/// A new random request id.
fn new_request_id() -> String {
    let hex = secret::random_hex(16);
    format!("{}-{}-4{}-a{}-{}", &hex[0..8], &hex[8..12], &hex[13..16], &hex[17..20], &hex[20..32])
}

fn add_headers(headers: &mut HeaderMap, id: &str) {
    if let Ok(value) = HeaderValue::from_str(id) {
        headers.insert("x-request-id", value);
    }
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.insert(
        header::CONTENT_SECURITY_POLICY,
        HeaderValue::from_static("default-src 'none'; frame-ancestors 'none'"),
    );
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_plain_request_ids_are_taken_over() {
        for (given, taken) in
            [("abc-1_2.3", true), ("", false), ("a b", false), ("x\u{7f}", false), (&"a".repeat(65), false)]
        {
            let mut headers = HeaderMap::new();
            if let Ok(value) = HeaderValue::from_str(given) {
                headers.insert("x-request-id", value);
            }
            assert_eq!(request_id(&headers) == given, taken, "{given:?}");
        }
        assert_eq!(new_request_id().len(), 36);
    }

    /// The process lives, the caller is told in public words, and what the panic said of a secret is not its value.
    #[tokio::test]
    async fn a_panic_stays_in_its_request() {
        use tower::ServiceExt;
        let metrics = crate::telemetry::Metrics::new();
        let layers = Arc::new(Layers { guard: Guard::new("right".into(), &[1234]), metrics });
        let panicking = async || -> &'static str {
            let secret = crate::secret::Secret::from("canary-of-a-panic");
            panic!("on purpose, with {secret:?}")
        };
        let router = axum::Router::new()
            .route("/v1/panics", axum::routing::get(panicking))
            .route("/v1/works", axum::routing::get(async || "well"))
            .layer(axum::middleware::from_fn_with_state(layers, around));
        for (path, status) in [("/v1/panics", 500), ("/v1/works", 200), ("/v1/panics", 500)] {
            let mut request = Request::builder()
                .uri(path)
                .header("host", "localhost")
                .body(axum::body::Body::empty())
                .expect("a plain request");
            request.extensions_mut().insert(Via::Unix { user: Some(1234) });
            let response = router.clone().oneshot(request).await.expect("infallible");
            assert_eq!(response.status(), status, "{path}");
            assert!(response.headers().contains_key("x-request-id"));
            let body = axum::body::to_bytes(response.into_body(), 10_000).await.expect("a small body");
            let body = String::from_utf8_lossy(&body);
            assert_eq!(body.contains("internal_error"), status == 500, "{body}");
            assert!(!body.contains("purpose") && !body.contains("canary"), "{body}");
        }
    }
}
