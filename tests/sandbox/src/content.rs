//! The content service: pre-authenticated addresses for uploads and downloads, on a port of its own.
//! Never accepts a token: whoever sends one here has given it away.

use crate::answer::{Answer, Call, decode, decoded_pairs};
use crate::data::content::Slice;
use crate::faults::FaultAction;
use crate::graph::drives;
use crate::graph::errors::GraphError;
use crate::graph::uploads::{Range, Target, Upload};
use crate::http::Outcome;
use crate::login::garbage;
use crate::state::{Shared, State, remember};
use crate::time::now_seconds;
use serde_json::json;
use std::sync::Arc;

/// Serves one request.
pub(crate) async fn serve(shared: &Shared, call: &Call, fault: Option<FaultAction>) -> Outcome {
    let head = Call { body: bytes::Bytes::new(), ..call.clone() };
    remember(&mut shared.lock().content_requests, &head);
    match fault {
        None => Outcome::Answer(answer(shared, call)),
        Some(FaultAction::Delay(wait)) => {
            tokio::time::sleep(wait).await;
            Outcome::Answer(answer(shared, call))
        }
        Some(FaultAction::DropBeforeExecuting | FaultAction::CutUpload(_)) => Outcome::Cut,
        Some(FaultAction::CutBeforeAnswer) => {
            answer(shared, call);
            Outcome::Cut
        }
        Some(FaultAction::CutMidBody(bytes)) => Outcome::CutAfter(answer(shared, call), bytes),
        Some(FaultAction::Hang) => Outcome::Hang,
        Some(FaultAction::EndlessBody) => Outcome::Endless,
        Some(FaultAction::Garbage) => Outcome::Answer(garbage()),
        Some(FaultAction::Redirect { location, status }) => {
            Outcome::Answer(Answer::empty(status).with("location", location))
        }
        Some(FaultAction::StatusAfterExecuting { status }) => {
            answer(shared, call);
            Outcome::Answer(refused(
                shared,
                &GraphError::new(status, "generalException", "An error occurred."),
            ))
        }
        Some(FaultAction::Status { status, headers, body }) => {
            let mut answer = Answer::empty(status);
            (answer.headers, answer.body) = (headers, body.into());
            Outcome::Answer(answer)
        }
        Some(_) => Outcome::Answer(answer(shared, call)),
    }
}

fn answer(shared: &Shared, call: &Call) -> Answer {
    let result = {
        let mut state = shared.lock();
        state.stats.content_requests += 1;
        carry_out(&mut state, call)
    };
    result.unwrap_or_else(|error| refused(shared, &error))
}

fn refused(shared: &Shared, error: &GraphError) -> Answer {
    error.answer(&mut shared.lock().fresh, None)
}

fn carry_out(state: &mut State, call: &Call) -> Result<Answer, GraphError> {
    if call.header("authorization").is_some() {
        state.stats.tokens_given_away += 1;
        return Err(GraphError::new(
            401,
            "unauthenticated",
            "The pre-authenticated address must be used without a token.",
        ));
    }
    let segments: Vec<String> = call.path().trim_matches('/').split('/').map(decode).collect();
    let words: Vec<&str> = segments.iter().map(String::as_str).collect();
    match (call.method.as_str(), &words[..]) {
        ("GET" | "HEAD", ["download", drive, item]) => download(state, call, drive, item),
        ("GET", ["monitor", _]) => {
            let pairs = decoded_pairs(call.query());
            let resource = pairs.iter().find(|(name, _)| name == "resource").map(|(_, value)| value.clone());
            Ok(Answer::json(
                200,
                &json!({"percentageComplete": 100.0, "resourceId": resource, "status": "completed"}),
            ))
        }
        (method, ["upload", token]) => upload(state, call, method, token),
        _ => Err(GraphError::drive_item_not_found()),
    }
}

fn upload(state: &mut State, call: &Call, method: &str, token: &str) -> Result<Answer, GraphError> {
    let gone = || GraphError::new(404, "itemNotFound", "The upload session was not found");
    if state.uploads.get(token).is_none_or(Upload::is_expired) {
        state.uploads.remove(token);
        return Err(gone());
    }
    let upload = state.uploads.get_mut(token).ok_or_else(gone)?;
    match method {
        "GET" => Ok(Answer::json(200, &upload.state())),
        "DELETE" => {
            state.uploads.remove(token);
            Ok(Answer::empty(204))
        }
        "POST" if upload.is_whole() => Upload::end(state, token, true),
        "PUT" => {
            let range = call.header("content-range").and_then(Range::parse).ok_or_else(|| {
                GraphError::invalid_request("The Content-Range header is missing or malformed.")
            })?;
            upload.take(range, &call.body)?;
            state.stats.bytes_uploaded += call.body.len() as u64;
            let upload = state.uploads.get(token).ok_or_else(gone)?;
            if upload.is_whole() {
                return Upload::end(state, token, false);
            }
            let status = if matches!(upload.target, Target::Drive(_)) { 202 } else { 200 };
            Ok(Answer::json(status, &upload.state()))
        }
        _ => Err(GraphError::method_not_allowed()),
    }
}

fn download(state: &mut State, call: &Call, drive: &str, item: &str) -> Result<Answer, GraphError> {
    let pairs = decoded_pairs(call.query());
    let value =
        |name: &str| pairs.iter().find(|(known, _)| known == name).map_or("", |(_, value)| value.as_str());
    let (version, expires) = (value("v").parse().unwrap_or(0), value("e").parse().unwrap_or(0));
    let proof = drives::proof(drive, item, version, expires);
    if value("tempauth") != format!("{proof:016x}") || now_seconds() >= expires {
        return Err(GraphError::new(401, "unauthenticated", "The address has expired."));
    }
    let found = state.drives.get(drive).and_then(|drive| {
        let key = drive.find(item)?;
        let row = drive.item(key)?;
        let file = row.file.as_ref()?;
        Some((Arc::clone(&file.content), file.media_type.clone(), drives::etag(drive, key, row)))
    });
    let (content, media_type, etag) = found.ok_or_else(GraphError::drive_item_not_found)?;
    let total = content.length();
    let unchanged = call.header("if-range").is_none_or(|tag| tag == etag);
    let range = call.header("range").filter(|_| unchanged).map(|text| range_of(text, total));
    let (status, start, length) = match range {
        None => (200, 0, total),
        Some(Some((start, end))) => (206, start, end - start + 1),
        Some(None) => {
            return Err(GraphError::new(416, "invalidRange", "The requested range is not satisfiable.")
                .with("content-range", format!("bytes */{total}")));
        }
    };
    let mut answer =
        Answer::text(status, &media_type, Vec::new()).with("etag", etag).with("accept-ranges", "bytes");
    if status == 206 {
        answer = answer.with("content-range", format!("bytes {start}-{}/{total}", start + length - 1));
    }
    answer.slice = Some(Slice { content, start, length });
    Ok(answer)
}

/// The first and last byte of `bytes=a-b`, `bytes=a-` or `bytes=-n`; `None` when there are none.
fn range_of(text: &str, total: u64) -> Option<(u64, u64)> {
    let (first, last) = text.strip_prefix("bytes=")?.split_once('-')?;
    let end = total.checked_sub(1)?;
    match (first.trim(), last.trim()) {
        ("", suffix) => {
            let length: u64 = suffix.parse().ok().filter(|length| *length > 0)?;
            Some((total.saturating_sub(length), end))
        }
        (first, "") => first.parse().ok().filter(|first| *first <= end).map(|first| (first, end)),
        (first, last) => {
            let (first, last): (u64, u64) = (first.parse().ok()?, last.parse().ok()?);
            (first <= last && first <= end).then_some((first, last.min(end)))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_are_read_as_the_standard_says() {
        let cases = [
            ("bytes=0-9", Some((0, 9))),
            ("bytes=90-", Some((90, 99))),
            ("bytes=-10", Some((90, 99))),
            ("bytes=95-200", Some((95, 99))),
            ("bytes=100-", None),
            ("bytes=9-3", None),
            ("lines=1-2", None),
        ];
        for (text, expected) in cases {
            assert_eq!(range_of(text, 100), expected, "{text}");
        }
    }
}
