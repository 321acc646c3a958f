//! What a managed identity's answer means. Pure. Never passes the service's text on.

use std::time::Duration;

use http::HeaderMap;
use serde_json::{Map, Value};

use super::super::answer::{self, Denial, Outcome};
use super::super::model::TokenFailure;
use crate::clock::Timestamp;

/// The waits after the first, second, … failure (Microsoft Learn, "How to use managed identities on an Azure VM to
/// acquire an access token", retry guidance).
const WAITS: [u64; 5] = [0, 2, 6, 14, 30];
/// The same while the metadata service is being updated (410), which lasts up to 70 s.
const WAITS_WHILE_UPDATING: [u64; 5] = [5, 5, 10, 20, 40];

/// Classifies an answer that arrived at `now` after `failures` failed ones. `client_id`: the identity that was asked for,
/// for those sources whose answer must echo it.
pub(super) fn classify(
    answered: &Answered,
    now: Timestamp,
    failures: usize,
    client_id: Option<&str>,
    manners: Manners,
) -> Outcome {
    let Answered { status, headers, body } = answered;
    if *status == 200 {
        return match serde_json::from_slice::<Map<String, Value>>(body) {
            Ok(answer) if manners.must_echo && !echoes(&answer, client_id) => denied(
                now,
                "identity_not_confirmed",
                "Azure Arc answered without the identity that OAuthClientId names, so its token is not used. Remove OAuthClientId to use the machine's own identity.",
            ),
            Ok(answer) => success(answer, headers, now),
            Err(_) => answer::classify(200, headers, body, now),
        };
    }
    let (waits, is_passing) = match status {
        410 => (WAITS_WHILE_UPDATING, true),
        404 if manners.not_found_is_final => (WAITS, false),
        404 | 408 | 429 | 500..=599 => (WAITS, true),
        _ => (WAITS, false),
    };
    if is_passing {
        let told = headers
            .get(http::header::RETRY_AFTER)
            .and_then(|value| value.to_str().ok()?.trim().parse::<u64>().ok())
            .unwrap_or_default()
            .min(900);
        let wait = waits[failures.min(waits.len() - 1)].max(told);
        let failure = failure(
            now,
            "identity_unavailable",
            &format!(
                "The managed identity service has a passing problem (HTTP {status}). Nothing needs to be done unless it lasts; the agent tries again."
            ),
        );
        return Outcome::TryLater { after: Some(Duration::from_secs(wait)), failure };
    }
    match status {
        400 | 404 => denied(
            now,
            "identity_not_found",
            "This machine has no such managed identity. Assign one to it, or correct OAuthClientId (leave it out for the machine's own identity).",
        ),
        _ => denied(
            now,
            "identity_refused",
            &format!(
                "The managed identity service refuses the request (HTTP {status}). Check ManagedIdentitySource, and that the agent runs on the machine whose identity it asks for."
            ),
        ),
    }
}

/// In which ways the answers of a source differ from those of the others.
#[derive(Clone, Copy, Default, Debug)]
pub(super) struct Manners {
    /// Whether the answer must name the identity that was asked for.
    pub(super) must_echo: bool,
    /// Whether 404 means that there is no such identity, rather than that the service is not up yet.
    pub(super) not_found_is_final: bool,
}

/// A whole answer.
#[derive(Debug)]
pub(super) struct Answered {
    pub(super) status: u16,
    pub(super) headers: HeaderMap,
    pub(super) body: Vec<u8>,
}

fn echoes(answer: &Map<String, Value>, client_id: Option<&str>) -> bool {
    let echoed = answer.get("client_id").and_then(Value::as_str);
    client_id.is_none_or(|wanted| echoed.is_some_and(|echoed| echoed.eq_ignore_ascii_case(wanted)))
}

/// The OAuth rules, after the two differences: some sources give only the end (`expires_on`), and none a refresh token.
fn success(mut answer: Map<String, Value>, headers: &HeaderMap, now: Timestamp) -> Outcome {
    let number = |value: &Value| match value {
        Value::Number(number) => number.as_i64(),
        Value::String(text) => text.trim().parse::<i64>().ok(),
        _ => None,
    };
    if answer.get("expires_in").and_then(number).is_none()
        && let Some(ends_at) = answer.get("expires_on").and_then(number)
    {
        answer.insert("expires_in".to_owned(), (ends_at - now.as_seconds()).max(0).into());
    }
    answer.remove("refresh_token");
    let body = serde_json::to_vec(&answer).unwrap_or_default();
    answer::classify(200, headers, &zeroize::Zeroizing::new(body), now)
}

pub(super) fn denied(now: Timestamp, code: &str, message: &str) -> Outcome {
    Outcome::Denied(Denial {
        needs_sign_in: false,
        failure: failure(now, code, message),
        suberror: None,
        claims: None,
    })
}

pub(super) fn failure(at: Timestamp, code: &str, message: &str) -> TokenFailure {
    TokenFailure {
        code: code.to_owned(),
        aadsts: None,
        correlation_id: None,
        message: message.to_owned(),
        at,
        retry_at: None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Timestamp = Timestamp::from_seconds(1_700_000_000);

    fn shown(status: u16, body: &str, failures: usize, echo: bool) -> String {
        let manners = Manners { must_echo: echo, ..Manners::default() };
        shown_with(manners, status, body, failures)
    }

    fn shown_with(manners: Manners, status: u16, body: &str, failures: usize) -> String {
        let answered = Answered { status, headers: HeaderMap::new(), body: body.as_bytes().to_vec() };
        match classify(&answered, NOW, failures, Some("id"), manners) {
            Outcome::Refreshed(tokens) => {
                format!(
                    "{} for {}, refresh {}",
                    tokens.access_token.expose(),
                    tokens.lifetime.as_secs(),
                    tokens.refresh_token.is_some()
                )
            }
            Outcome::Denied(denial) => format!("denied {}", denial.failure.code),
            Outcome::TryLater { after, failure } => {
                format!("later {:?} {}", after.map(|after| after.as_secs()), failure.code)
            }
        }
    }

    #[test]
    fn service_fabric_says_404_when_there_is_no_identity() {
        let manners = Manners { not_found_is_final: true, ..Manners::default() };
        assert_eq!(shown_with(manners, 404, "{}", 0), "denied identity_not_found");
        assert_eq!(shown_with(manners, 500, "", 0), "later Some(0) identity_unavailable");
    }

    #[test]
    fn answers_and_what_they_mean() {
        let imds = r#"{"access_token":"t","expires_in":"86399","expires_on":"1700086399","refresh_token":"","token_type":"Bearer","client_id":"ID"}"#;
        let app = r#"{"access_token":"t","expires_on":"1700003600","token_type":"Bearer"}"#;
        for (status, body, failures, echo, wanted) in [
            (200, imds, 0, true, "t for 86399, refresh false"),
            (200, app, 0, false, "t for 3600, refresh false"),
            (200, app, 0, true, "denied identity_not_confirmed"),
            (
                200,
                r#"{"access_token":"t","expires_on":"1699999999"}"#,
                0,
                false,
                "later None answer_unusable",
            ),
            (200, "<html>", 0, false, "later None answer_unusable"),
            (400, "{}", 0, false, "denied identity_not_found"),
            (403, "unreachable", 0, false, "denied identity_refused"),
            (404, "", 0, false, "later Some(0) identity_unavailable"),
            (404, "", 3, false, "later Some(14) identity_unavailable"),
            (410, "", 0, false, "later Some(5) identity_unavailable"),
            (410, "", 99, false, "later Some(40) identity_unavailable"),
            (429, "", 1, false, "later Some(2) identity_unavailable"),
            (500, r#"{"statusCode":500,"message":"x"}"#, 2, false, "later Some(6) identity_unavailable"),
        ] {
            assert_eq!(shown(status, body, failures, echo), wanted, "{status} {body}");
        }
    }
}
