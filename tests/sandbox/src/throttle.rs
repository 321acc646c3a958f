//! Limits on how many requests are served in a span of time, and the record of who kept to them.
//! Never delays a request: what is over a limit is refused with the time after which it would not be.

use crate::random::seed_of;
use crate::time::now_millis;
use serde::Serialize;
use std::collections::{HashMap, VecDeque};
use std::time::Duration;

/// How many requests are recorded.
const LONGEST_LOG: usize = 200_000;
/// A refusal takes so long to reach a client that may have another request on its way already.
const ON_THE_WAY: u64 = 100;

/// So many requests (or resource units) in a span of time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RateLimit {
    /// How many.
    pub requests: u32,
    /// In which time; a new span begins with the first request after the last one ended.
    pub window: Duration,
}

/// A request in the record.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct LoggedRequest {
    /// When it arrived, in milliseconds since 1970.
    pub at_millis: u64,
    /// The method.
    pub method: String,
    /// The path, without the query.
    pub path: String,
    /// Whether it was a part of a batch.
    pub in_batch: bool,
    /// The status of the answer; zero when there was none.
    pub status: u16,
    /// The answer's `Retry-After`, in seconds.
    pub retry_after: Option<u64>,
    /// Whether the same request was refused before and its time had not passed yet.
    pub early_repeat: bool,
    /// Whether any request to the same mailbox (or else of the same kind) was refused and its time had not passed yet.
    pub early_for_owner: bool,
}

/// The limits at work.
#[derive(Debug, Default)]
pub(crate) struct Throttle {
    windows: HashMap<String, (u64, u32)>,
    /// When and until when requests were refused: by owner, and by the request itself.
    refused: HashMap<u64, (u64, u64)>,
    log: VecDeque<LoggedRequest>,
    /// How many requests came before their time.
    pub(crate) early_repeats: u64,
}

/// A request that arrived and is not answered yet.
#[derive(Debug, Clone)]
pub(crate) struct Arrival {
    entry: LoggedRequest,
    keys: [u64; 2],
}

impl Throttle {
    /// Counts a request against a limit; the error is the seconds until the limit has room again.
    pub(crate) fn count(&mut self, name: &str, cost: u32, limit: RateLimit) -> Result<u32, u64> {
        let now = now_millis();
        let window = limit.window.as_millis().max(1) as u64;
        let (start, used) = self.windows.entry(name.to_owned()).or_insert((now, 0));
        if now >= *start + window {
            (*start, *used) = (now, 0);
        }
        if *used + cost > limit.requests {
            return Err((*start + window - now).div_ceil(1_000).max(1));
        }
        *used += cost;
        Ok(*used)
    }

    /// Notes that a request arrived.
    pub(crate) fn arrived(&self, method: &str, target: &str, body: &[u8], in_batch: bool) -> Arrival {
        let path = target.split('?').next().unwrap_or_default();
        let same = seed_of(&format!("{method} {target} {}", seed_of(&String::from_utf8_lossy(body))));
        let keys = [seed_of(&owner(path)), same];
        let now = now_millis();
        let early = |key: &u64| {
            self.refused.get(key).is_some_and(|(at, until)| now > at + ON_THE_WAY && now < *until)
        };
        let entry = LoggedRequest {
            at_millis: now,
            method: method.to_owned(),
            path: path.to_owned(),
            in_batch,
            status: 0,
            retry_after: None,
            early_repeat: early(&keys[1]),
            early_for_owner: early(&keys[0]),
        };
        Arrival { entry, keys }
    }

    /// Records a request with its answer.
    pub(crate) fn answered(&mut self, arrival: Arrival, status: u16, retry_after: Option<&str>) {
        let Arrival { mut entry, keys } = arrival;
        entry.status = status;
        let seconds: Option<f64> = retry_after.and_then(|text| text.trim().parse().ok());
        if let Some(seconds) = seconds.filter(|_| matches!(status, 429 | 503)) {
            entry.retry_after = Some(seconds.ceil() as u64);
            let now = now_millis();
            for key in keys {
                self.refused.insert(key, (now, now + (seconds * 1_000.0) as u64));
            }
        }
        self.early_repeats += u64::from(entry.early_repeat);
        if self.refused.len() > LONGEST_LOG {
            let now = now_millis();
            self.refused.retain(|_, (_, until)| *until > now);
        }
        if self.log.len() == LONGEST_LOG {
            self.log.pop_front();
        }
        self.log.push_back(entry);
    }

    /// The record, oldest first.
    pub(crate) fn log(&self) -> Vec<LoggedRequest> {
        self.log.iter().cloned().collect()
    }

    /// Forgets the record.
    pub(crate) fn clear(&mut self) {
        *self = Self::default();
    }
}

/// The mailbox of a path as it is written, or else the first word after the version.
fn owner(path: &str) -> String {
    let mut words = path.trim_matches('/').split('/').skip(1);
    match words.next() {
        Some("users") => words.next().unwrap_or_default().to_ascii_lowercase(),
        Some(other) => other.to_ascii_lowercase(),
        None => String::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_limit_refuses_what_is_over_it_and_says_how_long() {
        let limit = RateLimit { requests: 3, window: Duration::from_secs(60) };
        let mut throttle = Throttle::default();
        assert_eq!(throttle.count("a", 2, limit), Ok(2));
        assert_eq!(throttle.count("a", 1, limit), Ok(3));
        let wait = throttle.count("a", 1, limit).unwrap_err();
        assert!((59..=60).contains(&wait), "{wait}");
        assert_eq!(throttle.count("b", 1, limit), Ok(1));
    }

    #[test]
    fn refusals_are_remembered_for_the_request_and_its_owner() {
        let mut throttle = Throttle::default();
        let first = throttle.arrived("GET", "/v1.0/users/A/messages?$top=1", b"", false);
        throttle.answered(first, 429, Some("60"));
        for (at, _) in throttle.refused.values_mut() {
            *at -= ON_THE_WAY + 1;
        }
        let again = throttle.arrived("GET", "/v1.0/users/a/messages?$top=2", b"", false).entry;
        assert!(again.early_for_owner && !again.early_repeat);
        let same = throttle.arrived("GET", "/v1.0/users/A/messages?$top=1", b"", true).entry;
        assert!(same.early_repeat && same.in_batch);
        assert!(!throttle.arrived("GET", "/v1.0/users/b/messages", b"", false).entry.early_for_owner);
        assert_eq!(throttle.log()[0].retry_after, Some(60));
    }
}
