//! Answers of a query's rows that a run has kept: JSON, NDJSON or CSV by the Accept header, in constant memory. A stream
//! that breaks is cut without its last chunk. Decides nothing about a row.

use axum::body::Body;
use axum::response::Response;
use bytes::Bytes;
use futures_util::stream;
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use serde_json::json;

use super::answer::header_text;
use super::problem::Problem;
use crate::activity::{RowsEnd, SpooledRows};
use crate::query::CsvRows;

/// How kept rows are answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Form {
    Json,
    Ndjson,
    Csv,
}

/// The rows that the run `run` has kept; a JSON answer holds at most `most` of them.
///
/// # Errors
/// 406 when the Accept header asks for nothing that can be given.
pub(super) fn kept(
    rows: SpooledRows,
    run: &str,
    most: u64,
    headers: &HeaderMap,
) -> Result<Response, Problem> {
    let form = form(headers)?;
    let mut end = rows.end().clone();
    if form == Form::Json && end.rows > most {
        end.complete = false;
        end.reason = Some(format!(
            "A JSON answer holds at most {most} rows (AnswerRows). Ask for application/x-ndjson or text/csv: all {} rows are kept.",
            end.rows
        ));
    }
    let told = told(run, &end);
    let begun = Text::new(form, run, most, end);
    let body = stream::unfold(Some((rows, begun)), |state| async {
        let (rows, mut text) = state?;
        let piece = async {
            let (rows, lines) = rows.next().await?;
            Ok::<_, crate::activity::ActivityError>(match lines.is_empty() || text.is_full() {
                true => (text.ended(), None),
                false => (text.lines(&lines)?, Some((rows, text))),
            })
        };
        match piece.await {
            Ok((bytes, state)) => Some((Ok(bytes), state)),
            // Without its last chunk, an HTTP client reports the body as broken off.
            Err(error) => Some((Err(std::io::Error::other(error.code())), None)),
        }
    });
    let mut response = Response::new(Body::from_stream(body));
    let media_type = match form {
        Form::Json => "application/json",
        Form::Ndjson => "application/x-ndjson",
        Form::Csv => "text/csv; charset=utf-8; header=present",
    };
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(media_type));
    response.headers_mut().extend(told);
    Ok(response)
}

fn form(headers: &HeaderMap) -> Result<Form, Problem> {
    let accept = headers.get(header::ACCEPT).and_then(|value| value.to_str().ok()).unwrap_or("*/*");
    accept
        .split(',')
        .map(|range| range.split(';').next().unwrap_or_default().trim().to_ascii_lowercase())
        .find_map(|range| match range.as_str() {
            "application/json" | "*/*" | "application/*" | "" => Some(Form::Json),
            "application/x-ndjson" | "application/ndjson" | "application/jsonl" => Some(Form::Ndjson),
            "text/csv" | "text/*" => Some(Form::Csv),
            _ => None,
        })
        .ok_or_else(|| {
            let detail = "The rows that a run has kept can be had as application/json, application/x-ndjson or \
                 text/csv. Correct the Accept header.";
            Problem::new(StatusCode::NOT_ACCEPTABLE, "not_acceptable", detail)
        })
}

/// What the forms that hold rows only have no place for. All of it is known before the rows.
fn told(run: &str, end: &RowsEnd) -> Vec<(HeaderName, HeaderValue)> {
    let column = |column: &serde_json::Value| {
        Some(format!("{}={}", column["name"].as_str()?, column["type"].as_str()?))
    };
    let types: Vec<String> = end.columns.iter().filter_map(column).collect();
    [
        ("x-run-id", run.to_owned()),
        ("x-columns", types.join(",")),
        ("x-complete", end.complete.to_string()),
        ("x-reason", end.reason.clone().unwrap_or_default()),
        ("x-notes", [end.notes.as_slice(), &end.notes_at_end].concat().join(" ")),
    ]
    .into_iter()
    .filter(|(_, text)| !text.is_empty())
    .filter_map(|(name, text)| Some((HeaderName::from_static(name), header_text(&text)?)))
    .collect()
}

/// The text of an answer that is being put together.
struct Text {
    run: String,
    end: RowsEnd,
    /// Rows that may still come.
    left: u64,
    begun: bool,
    csv: Option<CsvRows>,
    form: Form,
}

impl Text {
    fn new(form: Form, run: &str, most: u64, end: RowsEnd) -> Self {
        let left = if form == Form::Json { most } else { u64::MAX };
        let csv = (form == Form::Csv).then(|| CsvRows::new(end.names()));
        Self { run: run.to_owned(), end, left, begun: false, csv, form }
    }

    fn is_full(&self) -> bool {
        self.left == 0
    }

    /// The rows in `lines`, with what stands before the first of them.
    fn lines(&mut self, lines: &[u8]) -> Result<Bytes, crate::query::QueryError> {
        let mut out = Vec::with_capacity(lines.len() + lines.len() / 4);
        let first = !self.begun;
        self.begin(&mut out);
        let mut begun = !first;
        for line in lines.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()) {
            if self.left == 0 {
                break;
            }
            self.left -= 1;
            match &mut self.csv {
                Some(csv) => csv.row(line, &mut out)?,
                None => {
                    if self.form == Form::Json && std::mem::replace(&mut begun, true) {
                        out.push(b',');
                    }
                    out.extend_from_slice(line);
                    if self.form == Form::Ndjson {
                        out.push(b'\n');
                    }
                }
            }
        }
        Ok(Bytes::from(out))
    }

    fn begin(&mut self, out: &mut Vec<u8>) {
        if std::mem::replace(&mut self.begun, true) {
            return;
        }
        match (&self.csv, self.form) {
            (Some(csv), _) => csv.header(out),
            (None, Form::Json) => {
                let mut head = json!({"columns": self.end.columns});
                if !self.end.evaluated.is_null() {
                    head["evaluated"] = self.end.evaluated.clone();
                }
                let head = head.to_string();
                out.extend_from_slice(head.strip_suffix('}').unwrap_or(&head).as_bytes());
                out.extend_from_slice(b",\"rows\":[");
            }
            (None, _) => {}
        }
    }

    /// What stands behind the last row.
    fn ended(&mut self) -> Bytes {
        let mut out = Vec::new();
        self.begin(&mut out);
        let RowsEnd { complete, reason, notes, notes_at_end, .. } = &self.end;
        match self.form {
            Form::Json => {
                let mut rest = json!({"runId": self.run, "complete": complete});
                if let Some(reason) = reason {
                    rest["reason"] = json!(reason);
                }
                let notes: Vec<&String> = notes.iter().chain(notes_at_end).collect();
                if !notes.is_empty() {
                    rest["notes"] = json!(notes);
                }
                let rest = rest.to_string();
                out.extend_from_slice(b"],");
                out.extend_from_slice(rest.strip_prefix('{').unwrap_or(&rest).as_bytes());
            }
            Form::Ndjson if !complete || !notes_at_end.is_empty() => {
                let mut line = json!({"@complete": complete});
                if let Some(reason) = reason {
                    line["@reason"] = json!(reason);
                }
                if !notes_at_end.is_empty() {
                    line["@notes"] = json!(notes_at_end);
                }
                out.extend_from_slice(line.to_string().as_bytes());
                out.push(b'\n');
            }
            Form::Ndjson | Form::Csv => {}
        }
        Bytes::from(out)
    }
}
