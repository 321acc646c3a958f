//! Reads what a request carries: a bounded JSON body, and the preferences of RFC 7240. A wrong body becomes a problem
//! that names the field and its place. Never decides what the values mean.

use std::collections::BTreeMap;
use std::time::Duration;

use axum::body::Body;
use futures_util::StreamExt;
use http::{HeaderMap, StatusCode};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};
use utoipa::ToSchema;

use super::problem::Problem;
use crate::activity::RecordFormat;

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

/// Whether the caller would rather get a run than wait (`Prefer: respond-async`, RFC 7240 section 4.1).
pub(super) fn prefers_async(headers: &HeaderMap) -> bool {
    let values = headers.get_all("prefer").iter().filter_map(|value| value.to_str().ok());
    values
        .flat_map(|value| value.split(','))
        .any(|preference| preference.trim().eq_ignore_ascii_case("respond-async"))
}

/// The form of records that the content type says; `None` for JSON.
pub(super) fn record_format(headers: &HeaderMap) -> Option<RecordFormat> {
    let content_type = headers.get(http::header::CONTENT_TYPE)?.to_str().ok()?;
    let essence = content_type.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    match essence.as_str() {
        "application/x-ndjson" | "application/ndjson" => Some(RecordFormat::Ndjson),
        "text/csv" => Some(RecordFormat::Csv),
        _ => None,
    }
}

/// The `Idempotency-Key` (draft-ietf-httpapi-idempotency-key-header): a string of RFC 9651 in double quotes, or the same
/// without them, as many clients send it.
///
/// # Errors
/// 400 when there are two of them, or it is empty, too long or not printable.
pub(super) fn idempotency_key(headers: &HeaderMap) -> Result<Option<String>, Problem> {
    let mut values = headers.get_all("idempotency-key").iter();
    let Some(value) = values.next() else { return Ok(None) };
    let wrong = |detail: &str| {
        let problem = Problem::new(StatusCode::BAD_REQUEST, "bad_idempotency_key", detail);
        Err(problem.field("Idempotency-Key"))
    };
    if values.next().is_some() {
        return wrong("Idempotency-Key is there twice. Send it once.");
    }
    let Some(text) = value.to_str().ok().map(str::trim) else {
        return wrong("Idempotency-Key has characters that are not printable ASCII. A UUID is a good key.");
    };
    let key = match text.strip_prefix('"') {
        None => text.to_owned(),
        Some(rest) => match unquoted(rest) {
            Some(key) => key,
            None => {
                return wrong(
                    "Idempotency-Key begins with a double quote and does not end with one, or has another inside without a backslash.",
                );
            }
        },
    };
    if !(1..=255).contains(&key.len()) {
        return wrong("Idempotency-Key must have from 1 to 255 characters. A UUID is a good key.");
    }
    Ok(Some(key))
}

/// The rest of a quoted string, up to its closing quote, which must be the end.
fn unquoted(rest: &str) -> Option<String> {
    let mut key = String::new();
    let mut characters = rest.chars();
    loop {
        match characters.next()? {
            '"' => return characters.next().is_none().then_some(key),
            '\\' => match characters.next()? {
                escaped @ ('"' | '\\') => key.push(escaped),
                _ => return None,
            },
            character => key.push(character),
        }
    }
}

/// What comes with streamed records, in the query string, because the body is the records.
#[derive(Debug, Deserialize, ToSchema, utoipa::IntoParams)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct StreamParameters {
    /// With records as NDJSON or CSV: an object's name or a Graph path.
    #[serde(default)]
    pub object: Option<String>,
    /// With records as NDJSON or CSV: go on after a record that failed.
    #[serde(default)]
    pub continue_on_error: Option<bool>,
    /// With records as NDJSON or CSV: the time limit.
    #[serde(default)]
    pub timeout_seconds: Option<f64>,
}

/// Reads the query string of a call with streamed records.
///
/// # Errors
/// 400 with the parameter that is wrong.
pub(super) fn stream_parameters(uri: &http::Uri) -> Result<StreamParameters, Problem> {
    axum::extract::Query::<StreamParameters>::try_from_uri(uri).map(|query| query.0).map_err(|error| {
        let detail = format!(
            "The query string cannot be read: {}. With records as NDJSON or CSV it takes object, continueOnError and timeoutSeconds.",
            error.body_text()
        );
        Problem::new(StatusCode::BAD_REQUEST, "bad_request", detail)
    })
}

/// The time limit of a call with streamed records.
///
/// # Errors
/// 400 when it is out of range.
pub(super) fn stream_timeout(
    parameters: &StreamParameters,
    headers: &HeaderMap,
) -> Result<Option<Duration>, Problem> {
    match parameters.timeout_seconds {
        None => Ok(preferred_wait(headers)),
        Some(seconds) => timeout(&Value::from(seconds)).map(Some),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::query::QueryRequest;

    #[test]
    fn idempotency_keys_are_read_with_and_without_quotes() {
        let long = "x".repeat(256);
        for (given, expected) in [
            ("abc", Some("abc")),
            ("\"8e03978e-40d5\"", Some("8e03978e-40d5")),
            (r#""a\"b\\c""#, Some("a\"b\\c")),
            ("a b", Some("a b")),
            ("", None),
            ("\"\"", None),
            ("\"abc", None),
            ("\"a\"b\"", None),
            (long.as_str(), None),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert("idempotency-key", given.parse().unwrap());
            assert_eq!(idempotency_key(&headers).ok().flatten().as_deref(), expected, "{given}");
        }
        let mut headers = HeaderMap::new();
        assert_eq!(idempotency_key(&headers).ok().flatten(), None);
        headers.append("idempotency-key", "a".parse().unwrap());
        headers.append("idempotency-key", "a".parse().unwrap());
        assert!(idempotency_key(&headers).is_err());
        headers.insert("idempotency-key", http::HeaderValue::from_bytes(b"\xff").unwrap());
        assert!(idempotency_key(&headers).is_err());
    }

    #[test]
    fn the_query_string_of_a_stream_is_read_strictly() {
        let read = |uri: &str| stream_parameters(&uri.parse().unwrap());
        let given = read("/x?object=Contacts&continueOnError=true&timeoutSeconds=2.5").unwrap();
        assert_eq!((given.object.as_deref(), given.continue_on_error), (Some("Contacts"), Some(true)));
        let timeout = stream_timeout(&given, &HeaderMap::new());
        assert_eq!(timeout.ok().flatten(), Some(Duration::from_millis(2500)));
        for wrong in ["/x?objekt=a", "/x?continueOnError=maybe", "/x?timeoutSeconds=soon"] {
            assert!(read(wrong).is_err(), "{wrong}");
        }
        assert!(stream_timeout(&read("/x?timeoutSeconds=-1").unwrap(), &HeaderMap::new()).is_err());
    }

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
        assert!(prefers_async(&headers));
        assert!(!prefers_async(&HeaderMap::new()));
    }
}
