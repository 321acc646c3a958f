//! What an upload session's answers mean: where to go on, that it is done, or that it is gone. Drives and Outlook spell
//! them differently (Graph, "driveItem: createUploadSession" and "Attach large files to Outlook messages"). Never sends.

use http::HeaderMap;
use serde_json::{Map, Value};
use url::Url;

use super::GraphError;
use super::presigned::PresignedUrl;
use super::refusal::{parse_refusal, request_id};

/// What an answer to a piece, or to the question how an upload stands, means.
#[derive(Debug)]
pub(super) enum Step {
    /// All of it has arrived.
    Done,
    /// The service wants bytes from this place on.
    GoOn(u64),
    /// The answer does not say where to go on: ask for the state.
    AskState,
    /// The session does not exist any more.
    Gone,
    /// It may work later: 429 and 5xx, but for 507 (the drive is full).
    Later,
    /// It is refused for good.
    Refused(GraphError),
}

/// Judges an answer with `status` to a piece that was sent.
pub(super) fn of_piece(status: u16, headers: &HeaderMap, body: &[u8]) -> Step {
    match status {
        200..=299 => match next_range(body) {
            Some(next) => Step::GoOn(next),
            // Outlook ends with 201 and says 200 in between, drives end with either and say 202 in between.
            None if status == 202 => Step::AskState,
            None => Step::Done,
        },
        404 | 410 => Step::Gone,
        // The piece is not where the service wants it; it has perhaps taken some of it already.
        416 => Step::AskState,
        408 | 429 | 500..=506 | 508..=599 => Step::Later,
        _ => Step::Refused(refused(status, headers, body)),
    }
}

/// Judges an answer with `status` to the question how the upload stands.
pub(super) fn of_state(status: u16, headers: &HeaderMap, body: &[u8]) -> Step {
    match status {
        200..=299 => next_range(body).map_or(Step::Gone, Step::GoOn),
        404 | 410 => Step::Gone,
        408 | 429 | 500..=506 | 508..=599 => Step::Later,
        _ => Step::Refused(refused(status, headers, body)),
    }
}

fn refused(status: u16, headers: &HeaderMap, body: &[u8]) -> GraphError {
    if (300..400).contains(&status) {
        return GraphError::BadAnswer { what: format!("the upload address redirects ({status})") };
    }
    GraphError::Refused(parse_refusal(status, request_id(headers), body))
}

/// The first place of `nextExpectedRanges`: `26-`, `12345-55232` or, from Outlook, `2097152`.
fn next_range(body: &[u8]) -> Option<u64> {
    let answer: Map<String, Value> = serde_json::from_slice(body).ok()?;
    let first = member(&answer, "nextExpectedRanges")?.as_array()?.first()?;
    match first {
        Value::String(range) => range.split('-').next()?.trim().parse().ok(),
        other => other.as_u64(),
    }
}

/// Outlook's answers begin the names with a capital.
fn member<'a>(answer: &'a Map<String, Value>, name: &str) -> Option<&'a Value> {
    answer.iter().find(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value)
}

/// The address of a new session.
///
/// # Errors
/// [`GraphError::BadAnswer`], when there is none or it cannot be used.
pub(super) fn upload_url(root: &Url, body: &[u8]) -> Result<PresignedUrl, GraphError> {
    let missing =
        || GraphError::BadAnswer { what: "the new upload session has no upload address".to_owned() };
    let answer: Map<String, Value> = serde_json::from_slice(body).map_err(|_| missing())?;
    let link = member(&answer, "uploadUrl").and_then(Value::as_str).ok_or_else(missing)?;
    PresignedUrl::parse(root, root, link)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_answer_means_one_thing() {
        let ranges = r#"{"expirationDateTime":"2026-01-29T09:21:55.523Z","nextExpectedRanges":["12345-55232","77829-99375"]}"#;
        let outlook = r#"{"ExpirationDateTime":"2026-09-25T01:09:30Z","NextExpectedRanges":["2097152"]}"#;
        for (status, body, expected) in [
            (202, ranges, "GoOn(12345)"),
            (200, outlook, "GoOn(2097152)"),
            (202, r#"{"nextExpectedRanges":["26-"]}"#, "GoOn(26)"),
            (202, r#"{"nextExpectedRanges":[]}"#, "AskState"),
            (202, "", "AskState"),
            (202, r#"{"nextExpectedRanges":["x-"]}"#, "AskState"),
            (200, r#"{"id":"1","size":5}"#, "Done"),
            (201, "", "Done"),
            (404, "", "Gone"),
            (410, "", "Gone"),
            (416, r#"{"error":{"code":"invalidRange"}}"#, "AskState"),
            (429, "", "Later"),
            (503, "", "Later"),
            (509, "", "Later"),
            (401, "{}", "Refused"),
            (507, r#"{"error":{"code":"quotaLimitReached"}}"#, "Refused(Refused"),
            (409, r#"{"error":{"code":"nameAlreadyExists","message":"m"}}"#, "Refused(Refused"),
            (302, "", "Refused(BadAnswer"),
        ] {
            let step = format!("{:?}", of_piece(status, &HeaderMap::new(), body.as_bytes()));
            assert!(step.starts_with(expected), "{status} {body}: {step}");
        }
        for (status, body, expected) in
            [(200, ranges, "GoOn(12345)"), (200, "{}", "Gone"), (404, "", "Gone"), (500, "", "Later")]
        {
            let step = format!("{:?}", of_state(status, &HeaderMap::new(), body.as_bytes()));
            assert_eq!(step, expected, "{status} {body}");
        }
    }

    proptest::proptest! {
        #[test]
        fn no_body_is_too_odd(status in 100u16..600, body in ".{0,60}") {
            let _any = (of_piece(status, &HeaderMap::new(), body.as_bytes()), of_state(status, &HeaderMap::new(), body.as_bytes()));
        }
    }
}
