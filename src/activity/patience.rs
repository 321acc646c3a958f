//! When the service is asked after a write that got no answer, beside at once, and for how long what was written may stay
//! unseen. Never asks and never waits.

use std::time::Duration;

use tokio::time::Instant;

use crate::clock::Timestamp;

/// Ages of a write without an answer at which it is looked for: a commit shows after a moment, or after half a minute.
const LOOKS: [u64; 3] = [5, 15, 40];
/// The age from which a write that was looked for and is not there was certainly not done. Four times what the slowest
/// commit takes; only a later call with the same key waits for it.
const SETTLED: u64 = 120;
/// Ages at which a draft that may have been sent is looked at.
const DRAFT_LOOKS: [u64; 4] = [5, 15, 40, 60];
/// Shortens every wait for tests, in percent of the real one. Not for operators: a look that comes too early doubles.
const SHORTENED: &str = "O365_AGENT_TEST_LOOKS_PERCENT";

/// The waits of one process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Patience {
    percent: u32,
    /// When the process began to count.
    began: Instant,
}

impl Patience {
    /// As the process was started: in full, unless a test shortens it.
    pub(super) fn of_process() -> Self {
        let given = std::env::var(SHORTENED).ok().and_then(|percent| percent.parse().ok());
        Self::of(given.filter(|percent| (1..100).contains(percent)).unwrap_or(100))
    }

    fn of(percent: u32) -> Self {
        Self { percent, began: Instant::now() }
    }

    /// The age of a write whose last try began at `at`, as far as it is certain. A process that died may have sent it until
    /// it did, however long before it had noted so: such a write is no older than this process.
    pub(super) fn age(self, at: Timestamp, now: Timestamp) -> Duration {
        at.since(now).min(self.began.elapsed())
    }

    fn scaled(self, seconds: u64) -> Duration {
        Duration::from_secs(seconds) * self.percent / 100
    }

    /// The age of the next look after one at `age`; `None` when it is not looked for any more. A later call also looks when
    /// the write has settled.
    pub(super) fn next_look(self, age: Duration, later_call: bool) -> Option<Duration> {
        let ages = LOOKS.into_iter().chain(later_call.then_some(SETTLED));
        ages.map(|seconds| self.scaled(seconds)).find(|look| *look > age)
    }

    /// The age of the next look at a draft after one at `age`.
    pub(super) fn next_draft_look(self, age: Duration) -> Option<Duration> {
        DRAFT_LOOKS.into_iter().map(|seconds| self.scaled(seconds)).find(|look| *look > age)
    }

    /// Whether a write of that age that is not there was certainly not done.
    pub(super) fn has_settled(self, age: Duration) -> bool {
        age >= self.scaled(SETTLED)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ages(later_call: bool, from: u64) -> Vec<u64> {
        let patience = Patience::of(100);
        let mut age = Duration::from_secs(from);
        let next = || {
            age = patience.next_look(age, later_call)?;
            Some(age.as_secs())
        };
        std::iter::from_fn(next).collect()
    }

    #[test]
    fn a_write_is_looked_for_up_to_its_bound_and_no_longer() {
        assert_eq!(ages(false, 0), [5, 15, 40]);
        assert_eq!(ages(true, 20), [40, 120]);
        assert_eq!(ages(true, 300), [] as [u64; 0]);
        let patience = Patience::of(100);
        assert!(
            !patience.has_settled(Duration::from_secs(119)) && patience.has_settled(Duration::from_secs(120))
        );
        assert_eq!(patience.next_draft_look(Duration::from_secs(40)), Some(Duration::from_secs(60)));
        assert_eq!(patience.next_draft_look(Duration::from_secs(60)), None);
        assert_eq!(Patience::of(1).next_look(Duration::ZERO, false), Some(Duration::from_millis(50)));
    }

    #[tokio::test(start_paused = true)]
    async fn a_write_of_a_process_that_died_is_no_older_than_this_process() {
        let patience = Patience::of(100);
        let at = Timestamp::from_millis(1_000_000);
        let later = |seconds: u64| at.plus(Duration::from_secs(seconds));
        assert_eq!(patience.age(at, later(3600)), Duration::ZERO);
        tokio::time::advance(Duration::from_secs(200)).await;
        assert_eq!(patience.age(at, later(3600)), Duration::from_secs(200));
        assert_eq!(patience.age(at, later(30)), Duration::from_secs(30));
    }
}
