//! Errors as the control port answers them: RFC 9457 problem documents with a stable `code`. The public text and the
//! log text are two fields, so that neither can become the other by accident. Decides no status for a stage's error;
//! `from_stages.rs` does.

use std::time::Duration;

use axum::body::Body;
use axum::response::{IntoResponse, Response};
use http::{HeaderValue, StatusCode, header};
use serde::Serialize;
use utoipa::ToSchema;

use crate::error::Fault;
use crate::graph::GraphRefusal;

/// An error answer (RFC 9457, `application/problem+json`).
#[derive(Clone, Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Problem {
    /// `about:blank`: the code says what kind it is.
    #[serde(rename = "type")]
    pub kind: &'static str,
    /// The HTTP status in words.
    pub title: &'static str,
    /// The HTTP status.
    pub status: u16,
    /// A stable word to switch on.
    pub code: String,
    /// What is wrong and what to do, for people.
    pub detail: String,
    /// The request's id, as in the `x-request-id` header and the log.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub request_id: Option<String>,
    /// The part of the request that is wrong.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub field: Option<String>,
    /// Microsoft Graph's own words, when it refused.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Object>)]
    pub graph: Option<GraphRefusal>,
    /// The AADSTS number of the token endpoint's answer.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub aadsts: Option<u32>,
    /// Microsoft's correlation id of the token endpoint's answer.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub correlation_id: Option<String>,
    /// Faults in drop-in files, when they are the reason.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schema(value_type = Vec<Object>)]
    pub faults: Vec<Fault>,
    /// The run that is in the way.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub run_id: Option<String>,
    /// When to come back; also in the `Retry-After` header.
    #[serde(skip)]
    pub retry_after: Option<Duration>,
    /// What the log says besides; never sent.
    #[serde(skip)]
    pub log: Option<String>,
}

impl Problem {
    /// A problem with a status, a code and a public sentence.
    pub fn new(status: StatusCode, code: &str, detail: impl Into<String>) -> Self {
        Self {
            kind: "about:blank",
            title: status.canonical_reason().unwrap_or("Error"),
            status: status.as_u16(),
            code: code.to_owned(),
            detail: detail.into(),
            request_id: None,
            field: None,
            graph: None,
            aadsts: None,
            correlation_id: None,
            faults: Vec::new(),
            run_id: None,
            retry_after: None,
            log: None,
        }
    }

    /// With the wait after which a repeat makes sense.
    #[must_use]
    pub fn retry_after(mut self, after: Duration) -> Self {
        self.retry_after = Some(after);
        self
    }

    /// With the part of the request that is wrong.
    #[must_use]
    pub fn field(mut self, field: impl Into<String>) -> Self {
        self.field = Some(field.into());
        self
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let body = serde_json::to_vec(&self).unwrap_or_else(|_| b"{}".to_vec());
        let mut response = Response::new(Body::from(body));
        *response.status_mut() =
            StatusCode::from_u16(self.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
        if let Some(after) = self.retry_after {
            // Rounded up: a caller that waits exactly this long must not be too early.
            let seconds = after.as_secs() + u64::from(after.subsec_nanos() > 0);
            headers.insert(header::RETRY_AFTER, HeaderValue::from(seconds.max(1)));
        }
        if self.status == 401 {
            headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer realm=\"o365-agent\""));
        }
        response.extensions_mut().insert(ProblemShown(self));
        response
    }
}

/// Left in the response for the outermost layer, which adds the request id and writes the log line.
#[derive(Clone, Debug)]
pub(super) struct ProblemShown(pub(super) Problem);
