//! Execute: a procedure, given as JSON, or in the address with its content as the body. A content comes back as a stream
//! that is cut without its end when it breaks. Thin: extract, one call, answer.

use std::sync::Arc;

use axum::Json;
use axum::body::Body;
use axum::extract::{Extension, Path, RawQuery, State};
use axum::http::HeaderMap;
use axum::response::{IntoResponse, Response};
use futures_util::{StreamExt, stream};
use http::{HeaderName, HeaderValue, StatusCode, header};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::{Map, Value};

use super::Shared;
use super::activities::{read, split};
use super::connections::live;
use crate::activity::{
    CallOptions, ContentStream, ExecuteAnswer, ExecuteRequest, Executed, KeptCall, Live, LocalFiles,
    ProcedureHost, RunningContent,
};
use crate::control::Control;
use crate::control::extract::{Call, call, idempotency_key, prefers_async};
use crate::control::layers::RequestId;
use crate::control::problem::Problem;
use crate::control::written;

/// The media type of contents.
const CONTENT: &str = "application/octet-stream";

/// Calls a procedure. A procedure that takes a content takes it as the body with `Content-Type: application/octet-stream`,
/// its name and parameters then being query parameters (`?procedure=UploadFile&FileName=a.bin`); one that gives a content
/// streams it with `Accept: application/octet-stream`.
///
/// With an `Idempotency-Key` a repeat within 24 hours answers the first result and calls nothing; when the first call ended
/// without its answer, SendMail finds out in the mailbox whether it was sent, and what cannot be found out answers
/// `outcome_unknown` and is never sent again. `Prefer: respond-async` answers 202 and the run, whose result is at
/// `/v1/runs/{id}/results` for 24 hours. Neither goes with a content as the body or as the answer.
#[utoipa::path(post, path = "/v1/connections/{name}/execute", tag = "activities", params(("name" = String, Path)),
    request_body(content((ExecuteRequest = "application/json"), (String = "application/octet-stream"))), responses(
    (status = 200, description = "The outputs, or the content", content((ExecuteAnswer = "application/json"), (String = "application/octet-stream"))),
    (status = 202, description = "The run; its result later"), (status = 400, body = Problem), (status = 403, body = Problem),
    (status = 409, body = Problem), (status = 411, body = Problem), (status = 422, body = Problem), (status = 502, body = Problem), (status = 503, body = Problem)))]
pub(super) async fn execute(
    State(control): Shared,
    Extension(id): Extension<RequestId>,
    Path(name): Path<String>,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Problem> {
    let live = live(&control, &name)?;
    if is_content(&headers, header::CONTENT_TYPE) {
        let call: Call<ExecuteRequest> = in_address(query.as_deref().unwrap_or_default(), &headers)?;
        let (request, options) = split(call, id);
        return executed(&control, &live, &request, Some(content(&headers, body)), &headers, &options).await;
    }
    if query.is_some_and(|query| !query.is_empty()) {
        let detail = "Query parameters go with a content as the body (Content-Type: application/octet-stream). In JSON, give `procedure` and `parameters`.";
        return Err(Problem::new(StatusCode::BAD_REQUEST, "bad_request", detail));
    }
    let call: Call<ExecuteRequest> = read(&control, &headers, body).await?;
    let (request, options) = split(call, id);
    executed(&control, &live, &request, None, &headers, &options).await
}

/// Runs a procedure and frames what it answers.
pub(super) async fn executed(
    control: &Arc<Control>,
    live: &Arc<Live>,
    request: &ExecuteRequest,
    content: Option<ContentStream>,
    headers: &HeaderMap,
    options: &CallOptions,
) -> Result<Response, Problem> {
    let host = ProcedureHost {
        keeper: control.keeper.clone(),
        local_files: LocalFiles::of(&control.settings.load()),
        wants_stream: is_content(headers, header::ACCEPT),
    };
    let kept = KeptCall { key: idempotency_key(headers)?, later: prefers_async(headers) };
    if kept.key.is_some() || kept.later {
        if content.is_some() {
            let detail = "A content as the body of the call is not kept, so it goes neither with an Idempotency-Key nor with Prefer: respond-async. Leave the header out, or give the content as ContentBytes or LocalFile.";
            return Err(Problem::new(StatusCode::BAD_REQUEST, "content_not_kept", detail));
        }
        let later = kept.later;
        let running = control.engine.execute_kept(live, request, host, kept, options).await?;
        if later {
            return written::accepted(&control.engine, running.run_id());
        }
        return Ok(Json(running.answer().await?).into_response());
    }
    match control.engine.execute(live, request, content, &host, options).await? {
        Executed::Answer(answer) => Ok(Json(answer).into_response()),
        Executed::Content(content) => streamed(content).await,
    }
}

fn is_content(headers: &HeaderMap, name: HeaderName) -> bool {
    let value = headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default();
    value.split(';').next().unwrap_or_default().trim().eq_ignore_ascii_case(CONTENT)
}

/// The call from query parameters: `procedure`, `timeoutSeconds`, and the procedure's own.
fn in_address(query: &str, headers: &HeaderMap) -> Result<Call<ExecuteRequest>, Problem> {
    let (mut fields, mut parameters) = (Map::new(), Map::new());
    for (name, value) in url::form_urlencoded::parse(query.as_bytes()) {
        let twice = match &*name {
            "procedure" => fields.insert(name.to_string(), Value::from(value)),
            "timeoutSeconds" => {
                let seconds = value.parse::<f64>().map(Value::from).unwrap_or(Value::from(&*value));
                fields.insert(name.to_string(), seconds)
            }
            _ => parameters.insert(name.to_string(), Value::from(value)),
        };
        if twice.is_some() {
            let name = crate::error::clean_foreign_text(&name);
            let detail = format!("The query parameter '{name}' is given twice. Give it once.");
            return Err(Problem::new(StatusCode::BAD_REQUEST, "bad_request", detail).field(name));
        }
    }
    fields.insert("parameters".to_owned(), Value::Object(parameters));
    call(Value::Object(fields).to_string().as_bytes(), headers)
}

fn content(headers: &HeaderMap, body: Body) -> ContentStream {
    let length = headers.get(header::CONTENT_LENGTH).and_then(|value| value.to_str().ok()?.parse().ok());
    let pieces =
        body.into_data_stream().map(|piece| piece.map_err(|_| "the caller stopped sending it".to_owned()));
    ContentStream { length, pieces: pieces.boxed() }
}

/// The content as a streamed answer. The first piece is there before the head is sent, so that a refusal is still a
/// problem document; one that breaks later is cut without its end, so that nobody can take it for complete.
async fn streamed(mut content: Box<RunningContent>) -> Result<Response, Problem> {
    let first = content.next().await?;
    let run_id = HeaderValue::from_str(content.run_id());
    let length = content.length();
    let name = utf8_percent_encode(content.name(), NON_ALPHANUMERIC);
    let disposition = HeaderValue::from_str(&format!("attachment; filename*=UTF-8''{name}"));
    let rest = stream::unfold(Some(content), |content| async {
        let mut content = content?;
        match content.next().await {
            Ok(Some(piece)) => Some((Ok(piece), Some(content))),
            Ok(None) => None,
            Err(error) => Some((Err(std::io::Error::other(error.code())), None)),
        }
    });
    let body = match first {
        Some(first) => Body::from_stream(stream::iter([Ok(first)]).chain(rest)),
        None => Body::empty(),
    };
    let mut response = Response::new(body);
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(CONTENT));
    headers.extend(disposition.ok().map(|value| (header::CONTENT_DISPOSITION, value)));
    headers.extend(run_id.ok().map(|value| (HeaderName::from_static("x-run-id"), value)));
    headers.extend(length.map(|length| (header::CONTENT_LENGTH, HeaderValue::from(length))));
    Ok(response)
}
