//! What a token endpoint's answer means: pure, decided in one place. Only an OAuth refusal on a 4xx can be `Denied`;
//! everything that is not clearly a new token or clearly a refusal is `TryLater`. Never passes the service's text on.

use std::time::Duration;

use http::HeaderMap;
use serde_json::{Map, Value};

use crate::clock::Timestamp;
use crate::secret::Secret;

use super::advice::{self, Verdict};
use super::claims::{LONGEST_TOKEN, read_claims};
use super::model::TokenFailure;

/// The longest wait that a Retry-After is believed for; beyond it the server is asked again anyway.
const LONGEST_RETRY_AFTER: Duration = Duration::from_secs(15 * 60);
/// The pause after AADSTS50196 (request loop detected). Shorter ones prolong it.
const LOOP_PAUSE: Duration = Duration::from_secs(5 * 60);
/// Lifetime of a token when the answer does not say: RFC 6749 section 5.1 leaves it to documentation, and Entra's
/// shortest default is one hour.
const ASSUMED_LIFETIME: Duration = Duration::from_secs(3600);
/// Longer lifetimes are cut to this: believing less only means refreshing earlier.
const LONGEST_LIFETIME: f64 = 30.0 * 86_400.0;

/// New tokens, as answered.
#[derive(Clone, Debug)]
pub(super) struct NewTokens {
    pub(super) access_token: Secret,
    /// Absent when the server keeps the old one in force (RFC 6749 section 6), and always for client credentials.
    pub(super) refresh_token: Option<Secret>,
    pub(super) lifetime: Duration,
    /// When the server wants the next refresh, from now.
    pub(super) refresh_in: Option<Duration>,
}

/// A refusal.
#[derive(Clone, PartialEq, Debug)]
pub(super) struct Denial {
    /// Whether a sign-in (or else an administrator) is needed.
    pub(super) needs_sign_in: bool,
    pub(super) failure: TokenFailure,
    /// Entra's `suberror`, when it is a plain word.
    pub(super) suberror: Option<String>,
    /// The claims that the next sign-in has to ask for.
    pub(super) claims: Option<String>,
}

/// What the endpoint's answer comes to. `Superseded`, the fourth outcome of a refresh, is the store's to say.
#[derive(Debug)]
pub(super) enum Outcome {
    Refreshed(NewTokens),
    Denied(Denial),
    TryLater { after: Option<Duration>, failure: TokenFailure },
}

/// Classifies a whole answer that arrived at `now`.
pub(super) fn classify(status: u16, headers: &HeaderMap, body: &[u8], now: Timestamp) -> Outcome {
    let json: Option<Map<String, Value>> = serde_json::from_slice(body).ok();
    let after = retry_after(headers, now);
    match (status, &json) {
        (200, Some(answer)) => match new_tokens(answer, now) {
            Ok(tokens) => Outcome::Refreshed(tokens),
            Err(what) => later(now, after, "answer_unusable", what, headers, Some(answer)),
        },
        (200, None) => later(now, after, "answer_unusable", "is not JSON", headers, None),
        // 408 and 429 are about this moment, whatever the body says.
        (400..=499, Some(answer)) if status != 408 && status != 429 => {
            refusal(status, answer, headers, now, after)
        }
        _ => later_by_status(status, now, after, headers, json.as_ref()),
    }
}

fn new_tokens(answer: &Map<String, Value>, now: Timestamp) -> Result<NewTokens, &'static str> {
    let access_token = token(answer, "access_token").ok_or("holds no usable access_token")?;
    if let Some(kind) = answer.get("token_type")
        && !kind.as_str().is_some_and(|kind| kind.eq_ignore_ascii_case("bearer"))
    {
        return Err("holds a token that is not a bearer token");
    }
    let lifetime = match answer.get("expires_in") {
        None | Some(Value::Null) => match read_claims(&access_token).and_then(|claims| claims.expires_at) {
            Some(expires_at) => expires_at.until(now),
            None => ASSUMED_LIFETIME,
        },
        Some(value) => seconds(value).ok_or("holds an expires_in that is not a time")?,
    };
    if lifetime.is_zero() {
        return Err("holds a token that has already expired");
    }
    let refresh_in =
        answer.get("refresh_in").and_then(seconds).filter(|wait| !wait.is_zero() && *wait < lifetime);
    let refresh_token = token(answer, "refresh_token").map(Secret::from);
    Ok(NewTokens { access_token: Secret::from(access_token), refresh_token, lifetime, refresh_in })
}

/// A token that can stand in a header or a form: visible ASCII, not empty, not endless.
fn token(answer: &Map<String, Value>, name: &str) -> Option<String> {
    let text = answer.get(name)?.as_str()?;
    let usable =
        !text.is_empty() && text.len() <= LONGEST_TOKEN && text.bytes().all(|byte| byte.is_ascii_graphic());
    usable.then(|| text.to_owned())
}

/// Seconds as a number or, as managed identities write them, a string. Negative comes to zero, nonsense to `None`.
fn seconds(value: &Value) -> Option<Duration> {
    let seconds = match value {
        Value::Number(number) => number.as_f64()?,
        Value::String(text) => text.trim().parse::<f64>().ok()?,
        _ => return None,
    };
    if seconds.is_nan() {
        return None;
    }
    Duration::try_from_secs_f64(seconds.clamp(0.0, LONGEST_LIFETIME)).ok()
}

fn refusal(
    status: u16,
    answer: &Map<String, Value>,
    headers: &HeaderMap,
    now: Timestamp,
    after: Option<Duration>,
) -> Outcome {
    let error = answer.get("error").and_then(Value::as_str).unwrap_or_default();
    let number = aadsts(answer);
    let Some(advice) = advice::of_refusal(error, number) else {
        return later_by_status(status, now, after, headers, Some(answer));
    };
    let failure = TokenFailure {
        // A code that nobody specified is the service's text, not ours, and is not passed on.
        code: if advice::by_error(error).is_some() { error } else { "answer_unusable" }.to_owned(),
        aadsts: number,
        correlation_id: correlation_id(headers, Some(answer)),
        message: advice.message.to_owned(),
        at: now,
        retry_at: None,
    };
    let word = |name: &str| answer.get(name).and_then(Value::as_str);
    match advice.verdict {
        Verdict::SignIn | Verdict::Administrator => Outcome::Denied(Denial {
            needs_sign_in: advice.verdict == Verdict::SignIn,
            failure,
            suberror: word("suberror").filter(|text| plain_word(text)).map(str::to_owned),
            claims: word("claims").filter(|text| text.len() <= 8 * 1024).map(str::to_owned),
        }),
        Verdict::Passing => Outcome::TryLater { after, failure },
        Verdict::LongPause => {
            Outcome::TryLater { after: Some(after.unwrap_or_default().max(LOOP_PAUSE)), failure }
        }
    }
}

fn later_by_status(
    status: u16,
    now: Timestamp,
    after: Option<Duration>,
    headers: &HeaderMap,
    answer: Option<&Map<String, Value>>,
) -> Outcome {
    let (code, message) = match status {
        300..=399 => (
            "endpoint_redirects",
            "The token endpoint answered with a redirect, which is never followed. Check AuthorityHost and the proxy.".to_owned(),
        ),
        407 => ("proxy_refused", "The proxy wants other credentials. Check ProxyUser and ProxyPassword.".to_owned()),
        429 => (
            "endpoint_throttled",
            "Microsoft is throttling token requests. Nothing needs to be done; the agent tries again.".to_owned(),
        ),
        408 | 500..=599 => (
            "endpoint_unavailable",
            format!("The token endpoint has a passing problem (HTTP {status}). Nothing needs to be done; the agent tries again."),
        ),
        _ => (
            "answer_unusable",
            format!(
                "The token endpoint's answer (HTTP {status}) is not one that OAuth knows. Check AuthorityHost, AzureTenant and the proxy; the agent tries again."
            ),
        ),
    };
    let failure = TokenFailure {
        code: code.to_owned(),
        aadsts: answer.and_then(aadsts),
        correlation_id: correlation_id(headers, answer),
        message,
        at: now,
        retry_at: None,
    };
    let pause =
        answer.and_then(aadsts).and_then(advice::by_number).filter(|hint| hint.verdict == Verdict::LongPause);
    let after = if pause.is_some() { Some(after.unwrap_or_default().max(LOOP_PAUSE)) } else { after };
    Outcome::TryLater { after, failure }
}

fn later(
    now: Timestamp,
    after: Option<Duration>,
    code: &str,
    what: &str,
    headers: &HeaderMap,
    answer: Option<&Map<String, Value>>,
) -> Outcome {
    let message = format!(
        "The token endpoint's answer {what}. Check AuthorityHost and the proxy; the agent tries again."
    );
    let failure = TokenFailure {
        code: code.to_owned(),
        aadsts: None,
        correlation_id: correlation_id(headers, answer),
        message,
        at: now,
        retry_at: None,
    };
    Outcome::TryLater { after, failure }
}

/// The first AADSTS number: from `error_codes`, else from the description's `AADSTSnnnnn`.
fn aadsts(answer: &Map<String, Value>) -> Option<u32> {
    let listed = answer
        .get("error_codes")
        .and_then(Value::as_array)
        .and_then(|codes| codes.first())
        .and_then(Value::as_u64);
    if let Some(number) = listed {
        return u32::try_from(number).ok();
    }
    let description = answer.get("error_description")?.as_str()?;
    let (_, rest) = description.split_once("AADSTS")?;
    let digits = rest.bytes().take(9).take_while(u8::is_ascii_digit).count();
    rest.get(..digits)?.parse().ok()
}

fn correlation_id(headers: &HeaderMap, answer: Option<&Map<String, Value>>) -> Option<String> {
    let body = answer.and_then(|answer| answer.get("correlation_id")).and_then(Value::as_str);
    let header = || headers.get("x-ms-request-id").and_then(|value| value.to_str().ok());
    body.filter(|id| plain_word(id)).or_else(|| header().filter(|id| plain_word(id))).map(str::to_owned)
}

/// An id or a word that can stand in a log line as it is.
fn plain_word(text: &str) -> bool {
    (1..=64).contains(&text.len())
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'))
}

/// Retry-After as seconds (with a fraction, too) or an HTTP date, at most [`LONGEST_RETRY_AFTER`].
fn retry_after(headers: &HeaderMap, now: Timestamp) -> Option<Duration> {
    let text = headers.get(http::header::RETRY_AFTER)?.to_str().ok()?.trim();
    let wait = match text.parse::<f64>() {
        Ok(seconds) if seconds >= 0.0 => {
            Duration::from_secs_f64(seconds.min(LONGEST_RETRY_AFTER.as_secs_f64()))
        }
        Ok(_) => return None,
        // A date is the server's time; the distance to its own Date header does not depend on our clock.
        Err(_) => http_date(text)?.until(server_time(headers).unwrap_or(now)),
    };
    Some(wait.min(LONGEST_RETRY_AFTER))
}

/// The server's clock, as its Date header tells it.
pub(super) fn server_time(headers: &HeaderMap) -> Option<Timestamp> {
    http_date(headers.get(http::header::DATE)?.to_str().ok()?)
}

fn http_date(text: &str) -> Option<Timestamp> {
    let time = httpdate::parse_http_date(text).ok()?;
    let since = time.duration_since(std::time::UNIX_EPOCH).ok()?;
    Some(Timestamp::from_seconds(i64::try_from(since.as_secs()).ok()?))
}

#[cfg(test)]
#[path = "answer_tests.rs"]
mod tests;
