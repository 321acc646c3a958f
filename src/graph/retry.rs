//! Whether a request is sent again, and when. Pure decisions: never sleeps, never sends.

use std::time::{Duration, SystemTime};

use http::HeaderMap;

use crate::clock::Timestamp;

use super::{Effect, GraphRefusal};

/// Most attempts while Graph throttles. Other apps and users share its limits, so it may refuse the same request many
/// times; what ends the call is its deadline.
const ATTEMPTS_WHILE_THROTTLED: u32 = 50;
/// Most attempts while Graph is down and says for how long (503 with `Retry-After`).
const ATTEMPTS_WHEN_TOLD_TO_WAIT: u32 = 8;
/// Most attempts after failures that say nothing about when it may work again.
const ATTEMPTS_ELSE: u32 = 5;
const BACKOFF_BASE: Duration = Duration::from_secs(1);
const BACKOFF_CAP: Duration = Duration::from_secs(60);
/// A `Retry-After` beyond a day is taken as a day, which is beyond any deadline.
const LONGEST_RETRY_AFTER: f64 = 86_400.0;

/// How an attempt ended without a good answer.
#[derive(Clone, Copy, PartialEq, Debug)]
pub(super) enum Happened {
    /// No connection could be made: the request never left.
    NotSent,
    /// The server says on the level of the connection that it took nothing of the request (RFC 9113 section 8.7).
    NotTaken,
    /// Graph refused it because another change of the same directory object was in progress
    /// (`Directory_ConcurrencyViolation`): nothing was done, and it fares better a moment later.
    Contended {
        /// `Retry-After`, as a duration from the answer.
        retry_after: Option<Duration>,
    },
    /// The request left, or may have left, and no whole answer came.
    Lost,
    /// Graph answered with this status and this wait.
    Answered {
        /// HTTP status, 300 or more.
        status: u16,
        /// `Retry-After`, as a duration from the answer.
        retry_after: Option<Duration>,
    },
}

impl Happened {
    /// A refusal as it counts here.
    pub(super) fn refused(refusal: &GraphRefusal, retry_after: Option<Duration>) -> Self {
        match refusal.code.as_str() {
            "Directory_ConcurrencyViolation" if refusal.status < 500 => Self::Contended { retry_after },
            _ => Self::Answered { status: refusal.status, retry_after },
        }
    }
}

/// What to do next.
#[derive(Clone, Copy, PartialEq, Debug)]
pub(super) enum Decision {
    /// Send it again after this wait.
    Again {
        /// How long to wait at least.
        after: Duration,
        /// Whether this connection led to a sick server and should not be used again (Graph's advice on 503).
        new_connection: bool,
    },
    /// It makes sense to repeat, but not within this call.
    NotNow {
        /// How long to wait at least.
        after: Duration,
    },
    /// The answer is final, or repeating could do it twice.
    GiveUp,
}

/// What is known about an attempt besides how it ended.
#[derive(Clone, Copy, Debug)]
pub(super) struct Attempt {
    /// What may be repeated.
    pub(super) effect: Effect,
    /// Which attempt it was, from 1.
    pub(super) number: u32,
    /// Time until the caller's deadline.
    pub(super) time_left: Duration,
    /// A random number in 0..1 that spreads the waits of many callers.
    pub(super) jitter: f64,
}

/// Decides what to do after an attempt.
pub(super) fn decide(attempt: Attempt, happened: Happened) -> Decision {
    let may_repeat = was_surely_not_done(happened) || attempt.effect == Effect::Repeatable;
    if !is_passing(happened) || !may_repeat {
        return Decision::GiveUp;
    }
    let (told, most) = match happened {
        // "At once" is taken at its word, but not fifty times.
        Happened::Answered { status: 429, retry_after } if retry_after != Some(Duration::ZERO) => {
            (retry_after, ATTEMPTS_WHILE_THROTTLED)
        }
        Happened::Answered { retry_after: Some(wait), .. }
        | Happened::Contended { retry_after: Some(wait) } => (Some(wait), ATTEMPTS_WHEN_TOLD_TO_WAIT),
        _ => (None, ATTEMPTS_ELSE),
    };
    let after = told.unwrap_or_else(|| backoff(attempt.number, attempt.jitter));
    if attempt.number >= most || after >= attempt.time_left {
        return Decision::NotNow { after };
    }
    let new_connection = matches!(happened, Happened::Answered { status: 503, .. } | Happened::NotTaken);
    Decision::Again { after, new_connection }
}

/// Whether the request was certainly not carried out: it never left, or Graph turned it away before doing anything.
/// A 503 without `Retry-After` can come from a gateway whose back end went on, so it proves nothing. A 507 comes from the
/// store itself, which has no room (Microsoft Graph error responses and resource types).
pub(super) fn was_surely_not_done(happened: Happened) -> bool {
    match happened {
        Happened::NotSent | Happened::NotTaken | Happened::Contended { .. } => true,
        Happened::Lost => false,
        Happened::Answered { status: 507, .. } => true,
        Happened::Answered { status: 503, retry_after } => retry_after.is_some(),
        Happened::Answered { status, .. } => status < 500 && status != 408,
    }
}

/// Whether the same request may fare better later.
fn is_passing(happened: Happened) -> bool {
    match happened {
        Happened::NotSent | Happened::NotTaken | Happened::Contended { .. } | Happened::Lost => true,
        Happened::Answered { status, .. } => matches!(status, 408 | 429 | 500 | 502 | 503 | 504 | 509),
    }
}

/// `cap(1 s × 2ⁿ) × U(0.5, 1)`: the jitter comes after the cap, or it would vanish there.
fn backoff(number: u32, jitter: f64) -> Duration {
    let doublings = number.saturating_sub(1).min(6);
    (BACKOFF_BASE * 2u32.pow(doublings)).min(BACKOFF_CAP).mul_f64(0.5 + 0.5 * jitter.clamp(0.0, 1.0))
}

/// A random number in 0..1.
pub(super) fn random_jitter() -> f64 {
    crate::secret::random_bytes(1).first().map_or(0.5, |byte| f64::from(*byte) / 256.0)
}

/// `Retry-After` of an answer: whole seconds, a fraction (Graph's own sample is `2.128`), or an HTTP date, which is
/// measured from the answer's own `Date` where there is one, so that a wrong clock here does not matter.
pub(super) fn retry_after(headers: &HeaderMap, now: Timestamp) -> Option<Duration> {
    let text = |name: http::HeaderName| headers.get(name).and_then(|value| value.to_str().ok());
    parse_retry_after(text(http::header::RETRY_AFTER)?, text(http::header::DATE), now)
}

/// As [`retry_after`], from the texts of the two headers.
pub(super) fn parse_retry_after(value: &str, date: Option<&str>, now: Timestamp) -> Option<Duration> {
    let value = value.trim();
    if let Ok(seconds) = value.parse::<f64>() {
        // `parse` also takes "inf" and "NaN"; neither they nor a negative number is a wait.
        return (seconds.is_finite() && seconds >= 0.0)
            .then(|| Duration::from_secs_f64(seconds.min(LONGEST_RETRY_AFTER)));
    }
    let until = httpdate::parse_http_date(value).ok()?;
    let from = date.and_then(|date| httpdate::parse_http_date(date.trim()).ok()).unwrap_or_else(|| {
        SystemTime::UNIX_EPOCH + Duration::from_millis(u64::try_from(now.as_millis()).unwrap_or(0))
    });
    Some(until.duration_since(from).unwrap_or_default().min(Duration::from_secs_f64(LONGEST_RETRY_AFTER)))
}

#[cfg(test)]
#[path = "retry_tests.rs"]
mod tests;
