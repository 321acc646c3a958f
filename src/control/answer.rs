//! Answers of a query as a stream: JSON, NDJSON or CSV by the Accept header, in constant memory. The first rows are
//! fetched before the head is sent, so that a refusal is still a problem document; a stream that breaks later is cut
//! without its last chunk, so that no client can take it for complete.

use std::sync::Arc;

use axum::body::Body;
use axum::response::Response;
use bytes::Bytes;
use futures_util::stream;
use http::{HeaderMap, HeaderValue, StatusCode, header};

use super::problem::Problem;
use crate::activity::{ActivityError, RunningQuery};
use crate::query::Encoding;
use crate::telemetry::Metrics;

/// Rows are gathered to about this many bytes before they are handed to the connection: fewer, larger writes, and still
/// little enough that the first rows leave at once.
const CHUNK_BYTES: usize = 64 * 1024;

/// Picks the encoding that the Accept header asks for.
///
/// # Errors
/// 406 when it asks for nothing that can be given.
pub fn encoding(headers: &HeaderMap) -> Result<Encoding, Problem> {
    let accept = headers.get(header::ACCEPT).and_then(|value| value.to_str().ok()).unwrap_or("*/*");
    accept
        .split(',')
        .map(|range| range.split(';').next().unwrap_or_default().trim().to_ascii_lowercase())
        .find_map(|range| match range.as_str() {
            "application/json" | "*/*" | "application/*" | "" => Some(Encoding::Json),
            "application/x-ndjson" | "application/ndjson" | "application/jsonl" => Some(Encoding::Ndjson),
            "text/csv" | "text/*" => Some(Encoding::Csv),
            _ => None,
        })
        .ok_or_else(|| {
            let detail = "Rows can be had as application/json, application/x-ndjson or text/csv. Correct the Accept header.";
            Problem::new(StatusCode::NOT_ACCEPTABLE, "not_acceptable", detail)
        })
}

fn media_type(encoding: Encoding) -> &'static str {
    match encoding {
        Encoding::Json => "application/json",
        Encoding::Ndjson => "application/x-ndjson",
        Encoding::Csv => "text/csv; charset=utf-8; header=present",
    }
}

/// The rows of `query` as a streamed answer.
///
/// # Errors
/// The error of the first page; later ones cut the stream.
pub async fn rows(
    mut query: RunningQuery,
    encoding: Encoding,
    metrics: Arc<Metrics>,
) -> Result<Response, ActivityError> {
    let mut first = Vec::with_capacity(CHUNK_BYTES);
    query.begin(&mut first, encoding).await?;
    let run_id = query.run_id().to_owned();
    let residual = query.residual_fields().join(",");
    let connection = query.connection_name().to_owned();

    let state = Some((query, first));
    let body = stream::unfold(state, move |state| {
        let (metrics, connection) = (metrics.clone(), connection.clone());
        async move {
            let (mut query, mut buffer) = state?;
            let mut ended = query.is_finished();
            while !ended && buffer.len() < CHUNK_BYTES {
                match query.append(&mut buffer, encoding).await {
                    Ok(rows) => metrics.rows(&connection, rows),
                    Err(error) => return Some((Err(std::io::Error::other(error.to_string())), None)),
                }
                ended = query.is_finished();
            }
            if buffer.is_empty() {
                return None;
            }
            let chunk = Bytes::from(std::mem::replace(
                &mut buffer,
                Vec::with_capacity(CHUNK_BYTES + CHUNK_BYTES / 4),
            ));
            Some((Ok(chunk), (!ended).then_some((query, buffer))))
        }
    });

    let mut response = Response::new(Body::from_stream(body));
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(media_type(encoding)));
    if let Ok(value) = HeaderValue::from_str(&run_id) {
        headers.insert("x-run-id", value);
    }
    if let Ok(value) = HeaderValue::from_str(&residual)
        && !residual.is_empty()
    {
        // Which conditions Microsoft Graph could not evaluate, so that a slow query can be understood.
        headers.insert("x-evaluated-by-agent", value);
    }
    Ok(response)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_accept_header_picks_the_encoding() {
        for (accept, expected) in [
            (None, Some(Encoding::Json)),
            (Some("*/*"), Some(Encoding::Json)),
            (Some("application/x-ndjson"), Some(Encoding::Ndjson)),
            (Some("text/csv;q=0.9, application/json"), Some(Encoding::Csv)),
            (Some("text/html, application/json;q=0.5"), Some(Encoding::Json)),
            (Some("image/png"), None),
        ] {
            let mut headers = HeaderMap::new();
            if let Some(accept) = accept {
                headers.insert(header::ACCEPT, accept.parse().unwrap());
            }
            assert_eq!(encoding(&headers).ok(), expected, "{accept:?}");
        }
    }
}
