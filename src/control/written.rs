//! Answers of Create, Update and Delete: one JSON document, or a stream of results in constant memory. A stream that breaks
//! is cut without its last chunk, so that no client can take it for complete. Decides nothing about a record.

use axum::Json;
use axum::body::Body;
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use futures_util::stream;
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use serde_json::{Value, json};

use super::problem::Problem;
use crate::activity::{Engine, KeptResults, RecordResult, RunningWrite, WriteEnd};

/// Results are gathered to about this many bytes before they are handed to the connection.
const CHUNK_BYTES: usize = 16 * 1024;
/// Kept results that are read at a time.
const READ_AT_ONCE: usize = 500;

/// How results are answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Form {
    /// `{"results": […], "runId": "…"}`.
    Json,
    /// One result a line.
    Ndjson,
}

/// Picks the form that the Accept header asks for.
///
/// # Errors
/// 406 when it asks for nothing that can be given.
pub(super) fn form(headers: &HeaderMap) -> Result<Form, Problem> {
    let accept = headers.get(header::ACCEPT).and_then(|value| value.to_str().ok()).unwrap_or("*/*");
    accept
        .split(',')
        .map(|range| range.split(';').next().unwrap_or_default().trim().to_ascii_lowercase())
        .find_map(|range| match range.as_str() {
            "application/json" | "*/*" | "application/*" | "" => Some(Form::Json),
            "application/x-ndjson" | "application/ndjson" | "application/jsonl" => Some(Form::Ndjson),
            _ => None,
        })
        .ok_or_else(|| {
            let detail =
                "Results can be had as application/json or application/x-ndjson. Correct the Accept header.";
            Problem::new(StatusCode::NOT_ACCEPTABLE, "not_acceptable", detail)
        })
}

/// 202 with the run (RFC 7240 section 4.1).
pub(super) fn accepted(engine: &Engine, run: &str) -> Result<Response, Problem> {
    let view = engine.runs().get(run).ok_or_else(|| {
        let detail =
            "The run has ended and is forgotten already: [Limits] RunHistory is too small for respond-async.";
        Problem::new(StatusCode::INTERNAL_SERVER_ERROR, "no_such_run", detail)
    })?;
    let mut response = (StatusCode::ACCEPTED, Json(view)).into_response();
    let headers = response.headers_mut();
    headers.insert("preference-applied", HeaderValue::from_static("respond-async"));
    headers.extend(
        HeaderValue::from_str(&format!("/v1/runs/{run}")).ok().map(|value| (header::LOCATION, value)),
    );
    headers.extend(run_header(run));
    Ok(response)
}

/// All results in one document, or the problem when there are none.
pub(super) async fn whole(running: RunningWrite) -> Result<Response, Problem> {
    let run = running.run_id().to_owned();
    let mut response = Json(running.answer().await?).into_response();
    response.headers_mut().extend(run_header(&run));
    Ok(response)
}

/// The results as they come.
///
/// # Errors
/// What happened before the first of them; what happens later cuts the stream.
pub(super) async fn stream(mut running: RunningWrite, form: Form) -> Result<Response, Problem> {
    let run = running.run_id().to_owned();
    let mut text = Text::new(form, &run);
    let Some(first) = running.next().await else {
        let WriteEnd { matched } = running.end().await?;
        let rest = text.ended(matched.map(|matched| ("matched", json!(matched))));
        return Ok(text.response(Body::from(rest)));
    };
    text.push(&first);
    let headers = text.response(Body::empty()).headers().clone();
    let body = stream::unfold(Some((running, text)), |state| async {
        let (mut running, mut text) = state?;
        loop {
            if text.buffer.len() >= CHUNK_BYTES {
                return Some((Ok(text.take()), Some((running, text))));
            }
            // What is there already goes out at once when the next result is not there yet.
            let next = match text.buffer.is_empty() {
                true => running.next().await,
                false => match futures_util::FutureExt::now_or_never(running.next()) {
                    Some(next) => next,
                    None => return Some((Ok(text.take()), Some((running, text)))),
                },
            };
            match next {
                Some(result) => text.push(&result),
                None => {
                    return match running.end().await {
                        Ok(WriteEnd { matched }) => {
                            let rest = text.ended(matched.map(|matched| ("matched", json!(matched))));
                            Some((Ok(rest), None))
                        }
                        // Without its last chunk, an HTTP client reports the body as broken off.
                        Err(error) => Some((Err(std::io::Error::other(error.code())), None)),
                    };
                }
            }
        }
    });
    let mut response = Response::new(Body::from_stream(body));
    *response.headers_mut() = headers;
    Ok(response)
}

/// The results that a run has kept.
pub(super) fn kept(results: KeptResults, form: Form) -> Response {
    let run = results.run().clone();
    let text = Text::new(form, &run.id);
    let headers = text.response(Body::empty()).headers().clone();
    let body = stream::unfold(Some((results, text)), move |state| {
        let (status, total) = (run.status, run.total);
        async move {
            let (results, mut text) = state?;
            match results.next(READ_AT_ONCE).await {
                Err(error) => Some((Err(std::io::Error::other(error.code())), None)),
                Ok((results, read)) if read.is_empty() => {
                    let mut end = vec![("status", json!(status)), ("complete", json!(results.is_complete()))];
                    end.extend(total.map(|total| ("total", json!(total))));
                    if form == Form::Ndjson && !results.is_complete() {
                        text.last_line(&end);
                    }
                    Some((Ok(text.ended(end)), None))
                }
                Ok((results, read)) => {
                    read.iter().for_each(|result| text.push(result));
                    Some((Ok(text.take()), Some((results, text))))
                }
            }
        }
    });
    let mut response = Response::new(Body::from_stream(body));
    *response.headers_mut() = headers;
    response
}

/// The text of an answer that is being put together.
struct Text {
    form: Form,
    run: String,
    any: bool,
    buffer: Vec<u8>,
}

impl Text {
    fn new(form: Form, run: &str) -> Self {
        let buffer = if form == Form::Json { b"{\"results\":[".to_vec() } else { Vec::new() };
        Self { form, run: run.to_owned(), any: false, buffer }
    }

    fn push(&mut self, result: &RecordResult) {
        if self.form == Form::Json && std::mem::replace(&mut self.any, true) {
            self.buffer.push(b',');
        }
        // Strings and numbers always become JSON.
        let _always_written: Result<(), _> = serde_json::to_writer(&mut self.buffer, result);
        if self.form == Form::Ndjson {
            self.buffer.push(b'\n');
        }
    }

    fn take(&mut self) -> Bytes {
        Bytes::from(std::mem::take(&mut self.buffer))
    }

    /// The line that says of NDJSON that it does not hold all results, as the one of rows does.
    fn last_line(&mut self, end: &[(&'static str, Value)]) {
        let line: serde_json::Map<String, Value> =
            end.iter().map(|(name, value)| (format!("@{name}"), value.clone())).collect();
        self.buffer.extend_from_slice(Value::Object(line).to_string().as_bytes());
        self.buffer.push(b'\n');
    }

    /// The rest of the answer. NDJSON holds the results only.
    fn ended(&mut self, more: impl IntoIterator<Item = (&'static str, Value)>) -> Bytes {
        if self.form == Form::Json {
            let mut rest = json!({"runId": self.run});
            for (name, value) in more {
                rest[name] = value;
            }
            let rest = rest.to_string();
            self.buffer.extend_from_slice(b"],");
            self.buffer.extend_from_slice(rest.strip_prefix('{').unwrap_or(&rest).as_bytes());
        }
        self.take()
    }

    fn response(&self, body: Body) -> Response {
        let mut response = Response::new(body);
        let media_type = match self.form {
            Form::Json => "application/json",
            Form::Ndjson => "application/x-ndjson",
        };
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(media_type));
        headers.extend(run_header(&self.run));
        response
    }
}

fn run_header(run: &str) -> Option<(HeaderName, HeaderValue)> {
    HeaderValue::from_str(run).ok().map(|value| (HeaderName::from_static("x-run-id"), value))
}
