//! What one run's requests to Graph meet: how many wait for their turn, how many went out, how long Graph held them back.
//! Counted by the governor, read by whoever shows the run. Decides nothing.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

/// Requests of one run after which it counts as bulk work: more than a page-by-page reader sends in a minute.
const BULK: u64 = 100;

/// The requests of one run. Requests with the same value share a place in every queue, so that a run with thousands of
/// them does not push aside one with a few.
#[derive(Debug)]
pub struct Traffic {
    run: u64,
    waiting: AtomicU64,
    sent: AtomicU64,
    held: Mutex<Held>,
}

/// The time in which at least one gate was closed for the run: counted ahead, up to when the last one opens.
#[derive(Clone, Copy, Debug, Default)]
struct Held {
    total: Duration,
    until: Option<Instant>,
}

impl Traffic {
    /// A run without requests.
    pub fn new() -> Arc<Self> {
        static RUNS: AtomicU64 = AtomicU64::new(0);
        Arc::new(Self {
            run: RUNS.fetch_add(1, Ordering::Relaxed),
            waiting: AtomicU64::new(0),
            sent: AtomicU64::new(0),
            held: Mutex::default(),
        })
    }

    /// Requests that wait for their turn now.
    pub fn waiting(&self) -> u64 {
        self.waiting.load(Ordering::Relaxed)
    }

    /// For how long so far Graph has had the run wait: the time in which at least one of its requests was held back,
    /// counted once however many were.
    pub fn throttled(&self) -> Duration {
        let held = *self.held.lock().unwrap_or_else(PoisonError::into_inner);
        let ahead =
            held.until.map_or(Duration::ZERO, |until| until.saturating_duration_since(Instant::now()));
        held.total.saturating_sub(ahead)
    }

    /// Tells runs apart.
    pub(super) fn run(&self) -> u64 {
        self.run
    }

    /// Whether the run has sent so much that others should go first when Graph has to choose.
    pub(super) fn is_bulk(&self) -> bool {
        self.sent.load(Ordering::Relaxed) >= BULK
    }

    pub(super) fn note_sent(&self) {
        self.sent.fetch_add(1, Ordering::Relaxed);
    }

    /// A request of the run is held back until then.
    pub(super) fn held_until(&self, until: Instant) {
        let mut held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        let from = held.until.map_or_else(Instant::now, |counted| counted.max(Instant::now()));
        if until > from {
            held.total += until - from;
            held.until = Some(until);
        }
    }

    /// Counts one waiting request until the result is dropped.
    pub(super) fn wait(&self) -> Waiting<'_> {
        self.waiting.fetch_add(1, Ordering::Relaxed);
        Waiting(self)
    }
}

/// One request that waits.
#[derive(Debug)]
pub(super) struct Waiting<'t>(&'t Traffic);

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.waiting.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn time_held_back_is_counted_once_and_as_it_passes() {
        let traffic = Traffic::new();
        let begun = Instant::now();
        for seconds in [10, 4, 12] {
            traffic.held_until(begun + Duration::from_secs(seconds));
        }
        assert_eq!(traffic.throttled(), Duration::ZERO, "none of it has passed");
        tokio::time::advance(Duration::from_secs(5)).await;
        assert_eq!(traffic.throttled(), Duration::from_secs(5));
        tokio::time::advance(Duration::from_secs(20)).await;
        traffic.held_until(Instant::now() + Duration::from_secs(3));
        tokio::time::advance(Duration::from_secs(9)).await;
        assert_eq!(traffic.throttled(), Duration::from_secs(15));
        assert_eq!((traffic.waiting(), Traffic::new().run() == traffic.run()), (0, false));
    }
}
