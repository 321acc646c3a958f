//! Create, Update and Delete: records as JSON, NDJSON or CSV in, one result a record out. Thin: extract, one call, answer.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::{Extension, Path, State};
use axum::http::HeaderMap;
use axum::response::Response;
use futures_util::StreamExt;
use http::{StatusCode, Uri};

use super::Shared;
use super::activities::{read, split};
use super::connections::live;
use crate::activity::{CallOptions, Live, StreamedRecords, Upload, WriteAnswer, WriteCall, WriteRequest};
use crate::connection::ActivityKind;
use crate::control::Control;
use crate::control::extract::{
    Call, StreamParameters, idempotency_key, prefers_async, record_format, stream_parameters, stream_timeout,
};
use crate::control::layers::RequestId;
use crate::control::problem::Problem;
use crate::control::written::{self, Form};

/// Makes records; one result a record, in order. The body is JSON, or the records alone as `application/x-ndjson` or
/// `text/csv` with the object in the query string. `Accept: application/x-ndjson` streams the results. With an
/// `Idempotency-Key` a repeat answers the first results; `Prefer: respond-async` answers 202 and the run.
#[utoipa::path(post, path = "/v1/connections/{name}/create", tag = "activities", params(("name" = String, Path), StreamParameters),
    request_body = WriteRequest, responses((status = 200, body = WriteAnswer), (status = 202, description = "The run; results later"), (status = 400, body = Problem),
    (status = 409, body = Problem), (status = 413, body = Problem), (status = 422, body = Problem), (status = 503, body = Problem)))]
pub(super) async fn create(
    State(control): Shared,
    Extension(id): Extension<RequestId>,
    Path(name): Path<String>,
    uri: Uri,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Problem> {
    given(&control, ActivityKind::Create, id, &name, &uri, &headers, body).await
}

/// Changes records by their key, by a list of keys, or by conditions; one result a record, in order. Bodies, headers and
/// answers as for create.
#[utoipa::path(post, path = "/v1/connections/{name}/update", tag = "activities", params(("name" = String, Path), StreamParameters),
    request_body = WriteRequest, responses((status = 200, body = WriteAnswer), (status = 202, description = "The run; results later"), (status = 400, body = Problem),
    (status = 409, body = Problem), (status = 413, body = Problem), (status = 422, body = Problem), (status = 503, body = Problem)))]
pub(super) async fn update(
    State(control): Shared,
    Extension(id): Extension<RequestId>,
    Path(name): Path<String>,
    uri: Uri,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Problem> {
    given(&control, ActivityKind::Update, id, &name, &uri, &headers, body).await
}

/// Removes records by their key, by a list of keys, or by conditions; one result a record, in order. Bodies, headers and
/// answers as for create.
#[utoipa::path(post, path = "/v1/connections/{name}/delete", tag = "activities", params(("name" = String, Path), StreamParameters),
    request_body = WriteRequest, responses((status = 200, body = WriteAnswer), (status = 202, description = "The run; results later"), (status = 400, body = Problem),
    (status = 409, body = Problem), (status = 413, body = Problem), (status = 422, body = Problem), (status = 503, body = Problem)))]
pub(super) async fn delete(
    State(control): Shared,
    Extension(id): Extension<RequestId>,
    Path(name): Path<String>,
    uri: Uri,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Problem> {
    given(&control, ActivityKind::Delete, id, &name, &uri, &headers, body).await
}

async fn given(
    control: &Arc<Control>,
    kind: ActivityKind,
    id: RequestId,
    name: &str,
    uri: &Uri,
    headers: &HeaderMap,
    body: Body,
) -> Result<Response, Problem> {
    let live = live(control, name)?;
    match streamed(control, &id, uri, headers).await? {
        None => {
            let call: Call<WriteRequest> = read(control, headers, body).await?;
            let (request, options) = split(call, id);
            write(control, &live, kind, request, None, &options, headers).await
        }
        Some((parameters, options, upload)) => {
            let Some(object) = parameters.object else {
                let detail = "The object is missing. With records as NDJSON or CSV it stands in the query string: ?object=Contacts.";
                return Err(Problem::new(StatusCode::BAD_REQUEST, "bad_request", detail).field("object"));
            };
            let continue_on_error = parameters.continue_on_error.unwrap_or(false);
            let request = WriteRequest { object, continue_on_error, ..WriteRequest::default() };
            let records = receive(upload, body).await?;
            write(control, &live, kind, request, Some(records), &options, headers).await
        }
    }
}

/// What a call with records as its body says besides them; `None` when the body is JSON.
pub(super) async fn streamed(
    control: &Control,
    id: &RequestId,
    uri: &Uri,
    headers: &HeaderMap,
) -> Result<Option<(StreamParameters, CallOptions, Upload)>, Problem> {
    let Some(format) = record_format(headers) else { return Ok(None) };
    let parameters = stream_parameters(uri)?;
    let timeout = stream_timeout(&parameters, headers)?;
    let options = CallOptions { request_id: id.0.clone(), timeout, ..CallOptions::default() };
    let upload = control.engine.upload(format)?;
    Ok(Some((parameters, options, upload)))
}

/// Takes the whole body in. Nothing is written before its last byte is here and all of it can be read.
pub(super) async fn receive(mut upload: Upload, body: Body) -> Result<StreamedRecords, Problem> {
    let mut pieces = body.into_data_stream();
    while let Some(piece) = pieces.next().await {
        let piece = piece.map_err(|_| {
            let detail = "The request body ended early, so nothing was written. Send it whole.";
            Problem::new(StatusCode::BAD_REQUEST, "body_incomplete", detail)
        })?;
        upload.push(&piece).await?;
    }
    Ok(upload.finish().await?)
}

/// Starts the write and answers it in the form that the caller wants.
pub(super) async fn write(
    control: &Arc<Control>,
    live: &Arc<Live>,
    kind: ActivityKind,
    request: WriteRequest,
    streamed: Option<StreamedRecords>,
    options: &CallOptions,
    headers: &HeaderMap,
) -> Result<Response, Problem> {
    let later = prefers_async(headers);
    let form = written::form(headers)?;
    let many = streamed.is_some();
    let call = WriteCall { request, streamed, key: idempotency_key(headers)?, later };
    let running = control.engine.write(live, kind, call, options).await?;
    if later {
        return written::accepted(&control.engine, &running.leave());
    }
    match form {
        Form::Json if !many => written::whole(running).await,
        form => written::stream(running, form).await,
    }
}
