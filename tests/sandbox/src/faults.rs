//! Things that go wrong on purpose: which request is hit, how often, and what happens to it.
//! Never decides anything about a request that no fault was injected for.

use serde::{Deserialize, Serialize};
use std::time::Duration;

/// One planned fault.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Fault {
    /// Which requests it hits.
    pub target: FaultTarget,
    /// How many requests it hits; `u32::MAX` is for ever.
    #[serde(default = "once")]
    pub times: u32,
    /// What happens to them.
    pub action: FaultAction,
}

/// Which requests a fault hits.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FaultTarget {
    /// Posts to the token endpoint.
    Token,
    /// Requests to Graph; both conditions must hold where given. `path_contains` sees path and query.
    Graph {
        /// The HTTP method, in capitals.
        #[serde(default)]
        method: Option<String>,
        /// A piece of the path and query, as sent.
        #[serde(default)]
        path_contains: Option<String>,
    },
    /// Requests to the content service: uploads and downloads by pre-authenticated addresses.
    Content {
        /// The HTTP method, in capitals.
        #[serde(default)]
        method: Option<String>,
        /// A piece of the path and query, as sent.
        #[serde(default)]
        path_contains: Option<String>,
    },
    /// Every so many of the requests that another target means: the last of each round, so one in `nth`.
    Every {
        /// How many requests make a round; zero hits none.
        nth: u32,
        /// Which requests are counted.
        target: Box<Self>,
    },
    /// Single requests inside a `$batch`.
    BatchPart {
        /// A piece of the part's `url`.
        #[serde(default)]
        path_contains: Option<String>,
    },
}

/// What a fault does.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FaultAction {
    /// Answers with this; the request is not carried out.
    Status {
        /// The HTTP status.
        status: u16,
        /// Further headers.
        #[serde(default)]
        headers: Vec<(String, String)>,
        /// The body, as it is. Empty on Graph with a status of 400 or more: a body in Graph's shape.
        #[serde(default)]
        body: String,
    },
    /// Waits, then answers normally. In JSON: milliseconds.
    Delay(#[serde(with = "milliseconds")] Duration),
    /// Carries the request out, then closes the connection without an answer.
    CutBeforeAnswer,
    /// Closes the connection without carrying anything out.
    DropBeforeExecuting,
    /// Carries the request out, then answers with this status as a gateway in between would.
    StatusAfterExecuting {
        /// The HTTP status: 502, 503 or 504.
        status: u16,
    },
    /// Answers with this status at once, as a gateway that lost patience does, and carries the request out so much later.
    /// Only Graph does the work; other services leave it. In JSON: milliseconds.
    StatusThenExecuting {
        /// The HTTP status: 502, 503 or 504.
        status: u16,
        /// When the work is done.
        #[serde(with = "milliseconds")]
        after: Duration,
    },
    /// Reads so many bytes of the request's body, then closes the connection; the content service only.
    CutUpload(usize),
    /// Carries the request out and closes the connection after so many bytes of the body.
    CutMidBody(usize),
    /// Never answers.
    Hang,
    /// An error in the token endpoint's own shape.
    OAuthError {
        /// The HTTP status.
        status: u16,
        /// The `error` member.
        error: String,
        /// The AADSTS number.
        code: u32,
        /// The text after the number.
        #[serde(default)]
        description: String,
        /// The `suberror` member.
        #[serde(default)]
        suberror: Option<String>,
        /// The `claims` member.
        #[serde(default)]
        claims: Option<String>,
    },
    /// 401 with `error="insufficient_claims"` and base64 `claims`, as continuous access evaluation does it.
    ClaimsChallenge,
    /// 200 with an HTML page where JSON is due.
    Garbage,
    /// A redirect.
    Redirect {
        /// The `Location` header.
        location: String,
        /// The HTTP status.
        status: u16,
    },
    /// 200 with a body that never ends.
    EndlessBody,
    /// Carries the request out and puts this in place of the page's next link.
    NextLink(String),
}

impl FaultAction {
    /// What the counters call it.
    pub(crate) fn kind(&self) -> String {
        match self {
            Self::Status { status, .. } => format!("status_{status}"),
            Self::Delay(_) => "delay".to_owned(),
            Self::CutBeforeAnswer => "cut_before_answer".to_owned(),
            Self::DropBeforeExecuting => "drop_before_executing".to_owned(),
            Self::StatusAfterExecuting { status } => format!("status_after_executing_{status}"),
            Self::StatusThenExecuting { status, .. } => format!("status_then_executing_{status}"),
            Self::CutUpload(_) => "cut_upload".to_owned(),
            Self::CutMidBody(_) => "cut_mid_body".to_owned(),
            Self::Hang => "hang".to_owned(),
            Self::OAuthError { .. } => "oauth_error".to_owned(),
            Self::ClaimsChallenge => "claims_challenge".to_owned(),
            Self::Garbage => "garbage".to_owned(),
            Self::Redirect { .. } => "redirect".to_owned(),
            Self::EndlessBody => "endless_body".to_owned(),
            Self::NextLink(_) => "next_link".to_owned(),
        }
    }
}

impl Fault {
    /// Hits the next `times` posts to the token endpoint.
    pub fn token(times: u32, action: FaultAction) -> Self {
        Self { target: FaultTarget::Token, times, action }
    }

    /// Hits the next `times` Graph requests of any kind.
    pub fn graph(times: u32, action: FaultAction) -> Self {
        Self { target: FaultTarget::Graph { method: None, path_contains: None }, times, action }
    }
}

/// The planned faults, in the order they were injected.
#[derive(Debug, Default)]
pub(crate) struct FaultPlan {
    faults: Vec<Fault>,
    /// How many requests each fault has seen, for those that hit only some.
    counted: Vec<u32>,
}

impl FaultPlan {
    /// Adds one.
    pub(crate) fn inject(&mut self, fault: Fault) {
        self.faults.push(fault);
        self.counted.push(0);
    }

    /// Forgets all.
    pub(crate) fn clear(&mut self) {
        self.faults.clear();
        self.counted.clear();
    }

    /// The faults that are still to come.
    pub(crate) fn pending(&self) -> &[Fault] {
        &self.faults
    }

    /// Takes the first fault for a token post.
    pub(crate) fn take_for_token(&mut self) -> Option<FaultAction> {
        self.take(Arrival::Token)
    }

    /// Takes the first fault for a Graph request.
    pub(crate) fn take_for_graph(&mut self, method: &str, path_and_query: &str) -> Option<FaultAction> {
        self.take(Arrival::Graph(method, path_and_query))
    }

    /// Takes the first fault for one part of a batch.
    pub(crate) fn take_for_batch_part(&mut self, url: &str) -> Option<FaultAction> {
        self.take(Arrival::Part(url))
    }

    /// Takes the first fault for an upload or download.
    pub(crate) fn take_for_content(&mut self, method: &str, path_and_query: &str) -> Option<FaultAction> {
        self.take(Arrival::Content(method, path_and_query))
    }

    fn take(&mut self, arrival: Arrival<'_>) -> Option<FaultAction> {
        // Every round is counted, also when an earlier fault takes the request.
        let due: Vec<bool> = self
            .faults
            .iter()
            .zip(&mut self.counted)
            .map(|(fault, count)| is_due(&fault.target, arrival, count))
            .collect();
        let position = due.iter().zip(&self.faults).position(|(due, fault)| *due && fault.times > 0)?;
        let fault = &mut self.faults[position];
        let action = fault.action.clone();
        if fault.times != u32::MAX {
            fault.times -= 1;
        }
        if fault.times == 0 {
            self.faults.remove(position);
            self.counted.remove(position);
        }
        Some(action)
    }
}

/// A request that faults may hit.
#[derive(Debug, Clone, Copy)]
enum Arrival<'a> {
    Token,
    Graph(&'a str, &'a str),
    Part(&'a str),
    Content(&'a str, &'a str),
}

fn is_due(target: &FaultTarget, arrival: Arrival<'_>, count: &mut u32) -> bool {
    let holds = |wanted: &Option<String>, text: &str, whole: bool| {
        wanted.as_deref().is_none_or(|wanted| if whole { wanted == text } else { text.contains(wanted) })
    };
    match (target, arrival) {
        (FaultTarget::Every { nth, target }, _) => {
            let counts = is_due(target, arrival, &mut 0);
            *count += u32::from(counts);
            counts && *nth > 0 && count.is_multiple_of(*nth)
        }
        (FaultTarget::Token, Arrival::Token) => true,
        (FaultTarget::Graph { method, path_contains }, Arrival::Graph(own, path))
        | (FaultTarget::Content { method, path_contains }, Arrival::Content(own, path)) => {
            holds(method, own, true) && holds(path_contains, path, false)
        }
        (FaultTarget::BatchPart { path_contains }, Arrival::Part(url)) => holds(path_contains, url, false),
        _ => false,
    }
}

/// Reads `503;retry-after=2`, the value of the `x-sandbox-fault` request header.
pub(crate) fn from_header(value: &str) -> Option<FaultAction> {
    let mut pieces = value.split(';');
    let status = pieces.next()?.trim().parse().ok().filter(|status| (200..600).contains(status))?;
    let headers = pieces
        .filter_map(|piece| piece.split_once('='))
        .map(|(name, value)| (name.trim().to_ascii_lowercase(), value.trim().to_owned()))
        .collect();
    Some(FaultAction::Status { status, headers, body: String::new() })
}

fn once() -> u32 {
    1
}

/// Durations as whole milliseconds, which is what a person writes in JSON.
mod milliseconds {
    use serde::{Deserialize, Deserializer, Serializer};
    use std::time::Duration;

    pub(super) fn serialize<S: Serializer>(value: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_u64(value.as_millis() as u64)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
        u64::deserialize(deserializer).map(Duration::from_millis)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fault_hits_as_often_as_it_says_and_only_its_target() {
        let mut plan = FaultPlan::default();
        plan.inject(Fault {
            target: FaultTarget::Graph {
                method: Some("GET".into()),
                path_contains: Some("/messages".into()),
            },
            times: 2,
            action: FaultAction::Hang,
        });
        assert_eq!(plan.take_for_token(), None);
        assert_eq!(plan.take_for_graph("POST", "/v1.0/me/messages"), None);
        assert_eq!(plan.take_for_graph("GET", "/v1.0/me/messages"), Some(FaultAction::Hang));
        assert_eq!(plan.take_for_graph("GET", "/v1.0/me/messages"), Some(FaultAction::Hang));
        assert_eq!(plan.take_for_graph("GET", "/v1.0/me/messages"), None);
    }

    #[test]
    fn faults_travel_as_json() {
        let text = r#"{"target":{"graph":{"path_contains":"/users"}},"times":3,"action":{"delay":250}}"#;
        let fault: Fault = serde_json::from_str(text).unwrap();
        assert_eq!(fault.action, FaultAction::Delay(Duration::from_millis(250)));
        assert_eq!(
            from_header("503;retry-after=2"),
            Some(FaultAction::Status {
                status: 503,
                headers: vec![("retry-after".into(), "2".into())],
                body: String::new()
            })
        );
        assert_eq!(from_header("nonsense"), None);
    }
}
