//! Answers of a query as a stream: JSON, NDJSON, CSV or Arrow by the Accept header, in constant memory. The first rows are
//! fetched before the head is sent, so that a refusal is still a problem document; a stream that breaks later is cut
//! without its last chunk, so that no client can take it for complete.

use axum::body::Body;
use axum::response::Response;
use bytes::Bytes;
use futures_util::stream;
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use http_body_util::StreamBody;
use hyper::body::Frame;
use serde_json::{Value, json};

use super::problem::Problem;
use crate::activity::{ActivityError, RunningQuery};
use crate::query::{Encoding, End, Progress};

/// Rows are gathered to about this many bytes before they are handed to the connection: fewer, larger writes, and still
/// little enough that the first rows leave at once.
const CHUNK_BYTES: usize = 64 * 1024;

/// The longest header that says something about the rows: clients bound all headers together at 8 KiB and more.
const HEADER_CHARACTERS: usize = 1024;

/// Picks the encoding that the Accept header asks for.
///
/// # Errors
/// 406 when it asks for nothing that can be given.
pub(super) fn encoding(headers: &HeaderMap) -> Result<Encoding, Problem> {
    let accept = headers.get(header::ACCEPT).and_then(|value| value.to_str().ok()).unwrap_or("*/*");
    accept
        .split(',')
        .map(|range| range.split(';').next().unwrap_or_default().trim().to_ascii_lowercase())
        .find_map(|range| match range.as_str() {
            "application/json" | "*/*" | "application/*" | "" => Some(Encoding::Json),
            "application/x-ndjson" | "application/ndjson" | "application/jsonl" => Some(Encoding::Ndjson),
            "text/csv" | "text/*" => Some(Encoding::Csv),
            "application/vnd.apache.arrow.stream" => Some(Encoding::Arrow),
            _ => None,
        })
        .ok_or_else(|| {
            let detail = "Rows can be had as application/json, application/x-ndjson, text/csv or \
                 application/vnd.apache.arrow.stream. Correct the Accept header.";
            Problem::new(StatusCode::NOT_ACCEPTABLE, "not_acceptable", detail)
        })
}

fn media_type(encoding: Encoding) -> &'static str {
    match encoding {
        Encoding::Json => "application/json",
        Encoding::Ndjson => "application/x-ndjson",
        Encoding::Csv => "text/csv; charset=utf-8; header=present",
        Encoding::Arrow => "application/vnd.apache.arrow.stream",
    }
}

/// The rows of `query` as a streamed answer.
///
/// # Errors
/// The error of the first page; later ones cut the stream.
pub(super) async fn rows(mut query: RunningQuery, encoding: Encoding) -> Result<Response, ActivityError> {
    query.first(encoding).await?;
    let told = told(&query);

    let mut head = Vec::with_capacity(CHUNK_BYTES);
    let columns_first = encoding == Encoding::Json && open(&query, &mut head);
    let body = stream::unfold(Rest::Rows(Box::new(query), head, false), move |rest| async move {
        let (mut query, mut buffer, begun) = match rest {
            Rest::Rows(query, buffer, begun) => (query, buffer, begun),
            Rest::Trailers(trailers) => return Some((Ok(Frame::trailers(trailers)), Rest::Nothing)),
            Rest::Nothing => return None,
        };
        loop {
            match query.next(&mut buffer, encoding).await {
                Ok(Progress { end: Some(end), .. }) => {
                    close(&query, encoding, &end, columns_first, &mut buffer);
                    let trailers = Rest::Trailers(trailers(&end));
                    return Some((Ok(Frame::data(Bytes::from(buffer))), trailers));
                }
                // The first rows go out as soon as they are there; later ones are gathered.
                Ok(progress) if buffer.len() >= CHUNK_BYTES || (!begun && progress.rows > 0) => {
                    let full =
                        std::mem::replace(&mut buffer, Vec::with_capacity(CHUNK_BYTES + CHUNK_BYTES / 4));
                    return Some((Ok(Frame::data(Bytes::from(full))), Rest::Rows(query, buffer, true)));
                }
                Ok(_) => {}
                // Without its last chunk, an HTTP client reports the body as broken off.
                Err(error) => return Some((Err(std::io::Error::other(error.code())), Rest::Nothing)),
            }
        }
    });

    let mut response = Response::new(Body::new(StreamBody::new(body)));
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(media_type(encoding)));
    headers.insert(header::TRAILER, HeaderValue::from_static("x-complete, x-reason, x-notes"));
    headers.extend(told);
    Ok(response)
}

/// What of an answer is still to be sent.
enum Rest {
    /// Rows: the query, what is gathered, and whether any went out.
    Rows(Box<RunningQuery>, Vec<u8>, bool),
    Trailers(HeaderMap),
    Nothing,
}

/// How the query ended, for the forms that have no place for it (RFC 9110 section 6.5). A client gets them when it says
/// `TE: trailers`.
fn trailers(end: &End) -> HeaderMap {
    let mut trailers = HeaderMap::new();
    let complete = if end.complete { "true" } else { "false" };
    trailers.insert(HeaderName::from_static("x-complete"), HeaderValue::from_static(complete));
    for (name, text) in
        [("x-reason", end.reason.clone().unwrap_or_default()), ("x-notes", end.notes.join(" "))]
    {
        if let Some(value) = header_text(&text).filter(|value| !value.is_empty()) {
            trailers.insert(HeaderName::from_static(name), value);
        }
    }
    trailers
}

/// What is known before the rows, as headers, for the forms that hold rows only.
fn told(query: &RunningQuery) -> Vec<(HeaderName, HeaderValue)> {
    let evaluated = query.evaluated();
    let types: Vec<String> =
        query.columns().iter().map(|(name, kind)| format!("{name}={}", kind.as_str())).collect();
    [
        ("x-run-id", query.run_id().to_owned()),
        ("x-columns", types.join(",")),
        ("x-evaluated-by-service", evaluated.service.clone().unwrap_or_default()),
        ("x-evaluated-by-agent", evaluated.fields.join(",")),
        ("x-sorted-by", evaluated.order.unwrap_or_default().to_owned()),
        ("x-notes", query.notes().join(" ")),
    ]
    .into_iter()
    .filter(|(_, text)| !text.is_empty())
    .filter_map(|(name, text)| Some((HeaderName::from_static(name), header_text(&text)?)))
    .collect()
}

/// Text as a header's value: what no header may hold is percent-encoded, and what is too long is cut.
pub(super) fn header_text(text: &str) -> Option<HeaderValue> {
    let encoded = percent_encoding::utf8_percent_encode(text, percent_encoding::CONTROLS).to_string();
    let cut = match encoded.char_indices().nth(HEADER_CHARACTERS) {
        Some((end, _)) => format!("{}...", &encoded[..end]),
        None => encoded,
    };
    HeaderValue::from_str(&cut).ok()
}

/// Begins the JSON document. The columns come first when they are known before the rows; those of a Graph path without
/// `fields` are known only at the end. Returns whether they came first.
fn open(query: &RunningQuery, out: &mut Vec<u8>) -> bool {
    out.push(b'{');
    let known = !query.columns().is_empty();
    if known {
        columns(query, out);
        out.push(b',');
    }
    if !query.evaluated().is_empty() {
        let evaluated = json!({"evaluated": query.evaluated()}).to_string();
        out.extend_from_slice(&evaluated.as_bytes()[1..evaluated.len() - 1]);
        out.push(b',');
    }
    out.extend_from_slice(b"\"rows\":[");
    known
}

/// Ends the answer: for JSON the rest of the document, for NDJSON a last line if something is missing or was passed over.
/// CSV and Arrow have no place to say so; the trailers and the run (`GET /v1/runs/{id}`) do.
fn close(query: &RunningQuery, encoding: Encoding, end: &End, columns_first: bool, out: &mut Vec<u8>) {
    match encoding {
        Encoding::Json => {
            out.extend_from_slice(b"],");
            if !columns_first {
                columns(query, out);
                out.push(b',');
            }
            let mut rest = json!({"runId": query.run_id(), "complete": end.complete});
            if let Some(reason) = &end.reason {
                rest["reason"] = json!(reason);
            }
            let notes: Vec<&String> = query.notes().iter().chain(&end.notes).collect();
            if !notes.is_empty() {
                rest["notes"] = json!(notes);
            }
            let rest = rest.to_string();
            out.extend_from_slice(rest.strip_prefix('{').unwrap_or(&rest).as_bytes());
        }
        Encoding::Ndjson if !end.complete || !end.notes.is_empty() => {
            let mut line = json!({"@complete": end.complete});
            if let Some(reason) = &end.reason {
                line["@reason"] = json!(reason);
            }
            if !end.notes.is_empty() {
                line["@notes"] = json!(end.notes);
            }
            out.extend_from_slice(line.to_string().as_bytes());
            out.push(b'\n');
        }
        Encoding::Ndjson | Encoding::Csv | Encoding::Arrow => {}
    }
}

fn columns(query: &RunningQuery, out: &mut Vec<u8>) {
    let columns: Vec<_> =
        query.columns().into_iter().map(|(name, kind)| json!({"name": name, "type": kind})).collect();
    out.extend_from_slice(b"\"columns\":");
    out.extend_from_slice(Value::Array(columns).to_string().as_bytes());
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
            (Some("application/vnd.apache.arrow.stream"), Some(Encoding::Arrow)),
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
