//! Reads what a request carries: a bounded JSON body, and the preferences of RFC 7240. A wrong body becomes a problem
//! that names the field and its place. Never decides what the values mean.

use std::collections::BTreeMap;
use std::time::Duration;

use axum::body::Body;
use futures_util::StreamExt;
use http::{HeaderMap, StatusCode};
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

use super::problem::Problem;

/// Reads a body of at most `limit` bytes.
///
/// # Errors
/// 413 when it is longer, 400 when the caller stopped sending.
pub(super) async fn bounded_body(body: Body, limit: usize) -> Result<Vec<u8>, Problem> {
    let mut stream = body.into_data_stream();
    let mut bytes = Vec::new();
    while let Some(chunk) = stream.next().await {
        let chunk = chunk.map_err(|_| {
            Problem::new(
                StatusCode::BAD_REQUEST,
                "body_incomplete",
                "The request body ended early. Send it whole.",
            )
        })?;
        if bytes.len() + chunk.len() > limit {
            let detail = format!(
                "The request body is larger than {limit} bytes. Send fewer records a call, or raise [Limits] RequestBodyBytes."
            );
            return Err(Problem::new(StatusCode::PAYLOAD_TOO_LARGE, "body_too_large", detail));
        }
        bytes.extend_from_slice(&chunk);
    }
    Ok(bytes)
}

/// An activity call: the request itself, and what comes with it.
#[derive(Debug)]
pub(super) struct Call<T> {
    /// The request.
    pub request: T,
    /// `variables` of the body.
    pub variables: BTreeMap<String, String>,
    /// `timeoutSeconds` of the body, or `Prefer: wait=N`.
    pub timeout: Option<Duration>,
}

/// Splits `variables` and `timeoutSeconds` off a JSON body and reads the rest as `T`.
///
/// # Errors
/// 400 with the field that is wrong.
pub(super) fn call<T: DeserializeOwned>(body: &[u8], headers: &HeaderMap) -> Result<Call<T>, Problem> {
    let mut fields: Map<String, Value> = if body.is_empty() { Map::new() } else { json(body)? };
    let variables = match fields.remove("variables") {
        None | Some(Value::Null) => BTreeMap::new(),
        Some(value) => variables(value)?,
    };
    let timeout = match fields.remove("timeoutSeconds") {
        None | Some(Value::Null) => preferred_wait(headers),
        Some(value) => Some(timeout(&value)?),
    };
    let request = serde_json::from_value(Value::Object(fields)).map_err(|error| unreadable(&error))?;
    Ok(Call { request, variables, timeout })
}

/// Reads a whole body as `T`.
///
/// # Errors
/// 400 with what is wrong and where.
pub(super) fn json<T: DeserializeOwned>(body: &[u8]) -> Result<T, Problem> {
    serde_json::from_slice(body).map_err(|error| unreadable(&error))
}

fn unreadable(error: &serde_json::Error) -> Problem {
    let detail = format!("The request body cannot be read: {error}. See /openapi.json for its shape.");
    Problem::new(StatusCode::BAD_REQUEST, "bad_request", detail)
}

fn variables(value: Value) -> Result<BTreeMap<String, String>, Problem> {
    let wrong = || {
        Problem::new(
            StatusCode::BAD_REQUEST,
            "bad_request",
            "'variables' must be an object of strings, numbers or booleans.",
        )
        .field("variables")
    };
    let Value::Object(map) = value else { return Err(wrong()) };
    map.into_iter()
        .map(|(name, value)| match value {
            Value::String(text) => Ok((name, text)),
            Value::Number(number) => Ok((name, number.to_string())),
            Value::Bool(flag) => Ok((name, flag.to_string())),
            _ => Err(wrong()),
        })
        .collect()
}

fn timeout(value: &Value) -> Result<Duration, Problem> {
    value
        .as_f64()
        .filter(|seconds| (0.001..=86_400.0).contains(seconds))
        .map(Duration::from_secs_f64)
        .ok_or_else(|| {
            Problem::new(
                StatusCode::BAD_REQUEST,
                "bad_request",
                "'timeoutSeconds' must be a number of seconds up to 86400.",
            )
            .field("timeoutSeconds")
        })
}

/// `Prefer: wait=N` (RFC 7240 section 4.3): how long the caller is willing to wait, in seconds.
fn preferred_wait(headers: &HeaderMap) -> Option<Duration> {
    headers
        .get_all("prefer")
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .find_map(|preference| preference.trim().strip_prefix("wait=")?.trim().parse::<u32>().ok())
        .filter(|seconds| *seconds > 0)
        .map(|seconds| Duration::from_secs(u64::from(seconds)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::query::QueryRequest;

    #[test]
    fn what_comes_with_a_call_is_split_off() {
        let body = br#"{"object":"Messages","variables":{"a":"x","n":3,"b":true},"timeoutSeconds":1.5}"#;
        let call: Call<QueryRequest> = call(body, &HeaderMap::new()).unwrap();
        assert_eq!(call.request.object, "Messages");
        assert_eq!(
            call.variables.iter().map(|(k, v)| format!("{k}={v}")).collect::<Vec<_>>(),
            ["a=x", "b=true", "n=3"]
        );
        assert_eq!(call.timeout, Some(Duration::from_millis(1500)));
    }

    #[test]
    fn wrong_bodies_say_what_is_wrong() {
        for (body, expected) in [
            (r#"{"object":"M","colour":1}"#, "unknown field `colour`"),
            (r#"{"object":"M","variables":[]}"#, "'variables'"),
            (r#"{"object":"M","timeoutSeconds":"x"}"#, "'timeoutSeconds'"),
            (r#"{"object":"M""#, "line 1"),
            (r"[]", "invalid type"),
            ("", "missing field `object`"),
        ] {
            let problem = call::<QueryRequest>(body.as_bytes(), &HeaderMap::new()).unwrap_err();
            assert!(problem.status == 400 && problem.detail.contains(expected), "{body}: {}", problem.detail);
        }
    }

    #[test]
    fn the_wait_preference_is_understood() {
        let mut headers = HeaderMap::new();
        headers.insert("prefer", "respond-async, wait=20".parse().unwrap());
        assert_eq!(preferred_wait(&headers), Some(Duration::from_secs(20)));
    }
}
