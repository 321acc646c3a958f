//! The JSON of `$batch`: parts as they are written, answers as they are read. Never sends and never decides.

use std::collections::{BTreeMap, HashMap};

use base64::Engine;
use bytes::Bytes;
use http::header::{CONTENT_TYPE, LOCATION};
use http::{HeaderMap, HeaderName, HeaderValue};
use serde::de::IgnoredAny;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use serde_json::value::RawValue;
use tokio::time::Instant;

use super::batch::Order;
use super::refusal::{PLAIN, URL_SAFE, request_id};
use super::settle::Progress;
use super::{GraphAnswer, GraphError, GraphRequest};

/// One request of a batch and what is known about it.
#[derive(Debug)]
pub(super) struct Part {
    /// Its place in the batch, which is also its id in every call.
    pub(super) index: usize,
    pub(super) request: GraphRequest,
    /// When it may be sent (again).
    pub(super) due: Instant,
    /// Counts the calls it was part of.
    pub(super) progress: Progress,
}

impl Part {
    /// A part that may be sent at once.
    pub(super) fn new(index: usize, request: GraphRequest) -> Self {
        Self { index, request, due: Instant::now(), progress: Progress::default() }
    }

    /// The part's place and its result as the caller must see it.
    pub(super) fn settle(
        &self,
        result: Result<GraphAnswer, GraphError>,
    ) -> (usize, Result<GraphAnswer, GraphError>) {
        (self.index, result.map_err(|error| self.progress.settle(error)))
    }
}

#[derive(Serialize)]
struct WrittenCall<'a> {
    requests: Vec<WrittenPart<'a>>,
}

#[derive(Serialize)]
struct WrittenPart<'a> {
    id: String,
    method: &'a str,
    url: String,
    #[serde(rename = "dependsOn", skip_serializing_if = "Option::is_none")]
    depends_on: Option<[String; 1]>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    headers: BTreeMap<&'a str, &'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    body: Option<&'a RawValue>,
}

/// The body of one call. The parts' bodies were checked to be JSON and are passed on as they are.
pub(super) fn write_call(parts: &[Part], order: Order) -> Result<Bytes, serde_json::Error> {
    let mut requests: Vec<WrittenPart<'_>> = Vec::with_capacity(parts.len());
    for Part { index, request, .. } in parts {
        let mut headers: BTreeMap<&str, &str> =
            request.headers.iter().map(|(name, value)| (*name, value.as_str())).collect();
        let body = match &request.body {
            Some(body) if !body.is_empty() => Some(serde_json::from_slice::<&RawValue>(body)?),
            _ => None,
        };
        if body.is_some() && !headers.keys().any(|name| name.eq_ignore_ascii_case("content-type")) {
            headers.insert("Content-Type", "application/json");
        }
        let (id, url) = (index.to_string(), format!("/{}", request.path));
        let before = requests.last().filter(|_| order == Order::OneByOne);
        let depends_on = before.map(|part| [part.id.clone()]);
        requests.push(WrittenPart { id, method: request.method.as_str(), url, depends_on, headers, body });
    }
    serde_json::to_vec(&WrittenCall { requests }).map(Bytes::from)
}

#[derive(Deserialize)]
struct ReadCall<'a> {
    #[serde(borrow)]
    responses: Vec<ReadPart<'a>>,
}

#[derive(Deserialize)]
struct ReadPart<'a> {
    id: Value,
    status: u16,
    #[serde(default)]
    headers: Option<HashMap<String, Value>>,
    #[serde(default, borrow)]
    body: Option<&'a RawValue>,
}

/// The answer to one part.
#[derive(Debug)]
pub(super) struct PartAnswer {
    pub(super) status: u16,
    pub(super) body: Bytes,
    headers: HeaderMap,
}

impl PartAnswer {
    pub(super) fn headers(&self) -> &HeaderMap {
        &self.headers
    }

    /// As the answer of a request of its own.
    pub(super) fn into_answer(self) -> GraphAnswer {
        let location = self.headers.get(LOCATION).and_then(|value| value.to_str().ok()).map(str::to_owned);
        GraphAnswer { status: self.status, request_id: request_id(&self.headers), location, body: self.body }
    }
}

/// The answers by the parts' places. Ids that were never given out are left aside, and of two answers with one id the
/// first counts.
///
/// # Errors
/// What is wrong, when it is not a batch answer at all.
pub(super) fn parse_answer(body: &[u8]) -> Result<HashMap<usize, PartAnswer>, String> {
    let call: ReadCall<'_> = serde_json::from_slice(body)
        .map_err(|error| format!("the batch answer is not readable ({error})"))?;
    let mut answers = HashMap::with_capacity(call.responses.len());
    for part in call.responses {
        let id = match &part.id {
            Value::String(id) => id.parse().ok(),
            id => id.as_u64().and_then(|id| usize::try_from(id).ok()),
        };
        let headers = header_map(part.headers.unwrap_or_default());
        let body = part.body.map_or_else(Bytes::new, |body| plain_body(body, &headers));
        if let Some(id) = id {
            answers.entry(id).or_insert(PartAnswer { status: part.status, body, headers });
        }
    }
    Ok(answers)
}

fn header_map(headers: HashMap<String, Value>) -> HeaderMap {
    let pairs = headers.into_iter().filter_map(|(name, value)| {
        let text = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
        Some((HeaderName::from_bytes(name.as_bytes()).ok()?, HeaderValue::from_str(&text).ok()?))
    });
    pairs.collect()
}

/// The body as it would have come by itself: JSON stays JSON; what is not JSON travels as a string, base64 unless it is
/// text. JSON in base64 has been seen as well.
fn plain_body(body: &RawValue, headers: &HeaderMap) -> Bytes {
    let raw = body.get();
    if raw == "null" {
        return Bytes::new();
    }
    let as_it_is = || Bytes::copy_from_slice(raw.as_bytes());
    if !raw.starts_with('"') {
        return as_it_is();
    }
    let Ok(text) = serde_json::from_str::<String>(raw) else { return as_it_is() };
    let kind = headers.get(CONTENT_TYPE).and_then(|kind| kind.to_str().ok()).unwrap_or("application/json");
    let decoded = PLAIN.decode(&text).or_else(|_| URL_SAFE.decode(&text)).ok();
    if kind.contains("json") {
        let is_json = |bytes: &Vec<u8>| serde_json::from_slice::<HashMap<String, IgnoredAny>>(bytes).is_ok();
        return decoded.filter(is_json).map_or_else(as_it_is, Bytes::from);
    }
    decoded.filter(|_| !kind.starts_with("text/")).map_or_else(|| Bytes::from(text), Bytes::from)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::super::Effect;
    use super::*;

    #[tokio::test]
    async fn parts_are_written_as_graph_wants_them() {
        let request = |method, path: &str, body: Option<&'static str>| GraphRequest {
            method,
            path: path.to_owned(),
            headers: vec![("If-Match", "W/\"1\"".to_owned())],
            body: body.map(|body| Bytes::from_static(body.as_bytes())),
            mailbox: None,
            effect: Effect::Once,
        };
        let parts = [
            Part::new(0, request(http::Method::GET, "me/messages?$top=1", None)),
            Part::new(7, request(http::Method::POST, "me/events", Some(r#"{"a": 1.0}"#))),
        ];
        let chained = write_call(&parts, Order::OneByOne).unwrap();
        assert!(std::str::from_utf8(&chained).unwrap().contains(r#""url":"/me/events","dependsOn":["0"],"#));
        let written = write_call(&parts, Order::SideBySide).unwrap();
        assert_eq!(
            std::str::from_utf8(&written).unwrap(),
            concat!(
                r#"{"requests":[{"id":"0","method":"GET","url":"/me/messages?$top=1","headers":{"If-Match":"W/\"1\""}},"#,
                r#"{"id":"7","method":"POST","url":"/me/events","headers":{"Content-Type":"application/json","#,
                r#""If-Match":"W/\"1\""},"body":{"a": 1.0}}]}"#
            )
        );
    }

    #[test]
    fn bodies_come_out_as_they_would_have_come_alone() {
        for (kind, body, plain) in [
            ("application/json", r#"{"id": 1}"#, r#"{"id": 1}"#),
            ("application/json", r#""eyJpZCI6MX0=""#, r#"{"id":1}"#),
            ("application/json", r#""word""#, r#""word""#),
            ("application/json", "null", ""),
            ("image/jpeg", r#""AQID""#, "\u{1}\u{2}\u{3}"),
            ("text/plain", r#""1234""#, "1234"),
            ("application/octet-stream", r#""not base64!""#, "not base64!"),
        ] {
            let answer = format!(
                r#"{{"responses":[{{"id":"3","status":200,"headers":{{"content-TYPE":"{kind}"}},"body":{body}}}]}}"#
            );
            let mut answers = parse_answer(answer.as_bytes()).unwrap();
            assert_eq!(answers.remove(&3).unwrap().body, plain.as_bytes(), "{kind} {body}");
        }
    }

    #[test]
    fn odd_answers_are_taken_as_far_as_they_go() {
        let odd = r#"{"responses":[{"id":"x","status":200},{"id":2,"status":204,"headers":null,"body":null},
            {"id":"2","status":500},{"id":"5","status":429,"headers":{"retry-after":3,"bad name":"x"}}]}"#;
        let answers = parse_answer(odd.as_bytes()).unwrap();
        assert_eq!(answers.len(), 2);
        assert_eq!(answers[&2].status, 204);
        assert_eq!(answers[&5].headers().get("Retry-After").unwrap(), "3");
        for broken in ["", "[]", "{}", r#"{"responses":[{"id":"1"}]}"#] {
            assert!(parse_answer(broken.as_bytes()).is_err(), "{broken}");
        }
    }
}
