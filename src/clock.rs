//! Time: wall-clock instants, and sleeping that survives suspend and clock changes.
//! The only module that asks the operating system what time it is; everything else is handed a [`Clock`].

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

/// The longest single sleep. Linux timers stand still while the machine is suspended and do not notice when the wall
/// clock is set, so a deadline is looked at again at least this often. A prime number of seconds, so that the wake-ups
/// of many sleepers do not fall into step with minute-aligned jobs.
pub const LONGEST_SLEEP: Duration = Duration::from_secs(37);

/// A wall-clock instant in milliseconds since 1970-01-01T00:00:00Z.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Timestamp(i64);

impl Timestamp {
    /// From milliseconds since the Unix epoch.
    pub const fn from_millis(millis: i64) -> Self {
        Self(millis)
    }

    /// From seconds since the Unix epoch.
    pub const fn from_seconds(seconds: i64) -> Self {
        Self(seconds.saturating_mul(1000))
    }

    /// Milliseconds since the Unix epoch.
    pub const fn as_millis(self) -> i64 {
        self.0
    }

    /// Whole seconds since the Unix epoch.
    pub const fn as_seconds(self) -> i64 {
        self.0.div_euclid(1000)
    }

    /// How long until `self`, seen from `now`; zero when it has passed.
    pub fn until(self, now: Timestamp) -> Duration {
        Duration::from_millis(u64::try_from(self.0.saturating_sub(now.0)).unwrap_or(0))
    }

    /// How long ago `self` was, seen from `now`; zero when it lies ahead.
    pub fn since(self, now: Timestamp) -> Duration {
        now.until(self)
    }

    /// `self` plus `duration`, held at the far end of the range.
    #[must_use]
    pub fn plus(self, duration: Duration) -> Timestamp {
        Self(self.0.saturating_add(i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)))
    }

    /// `self` minus `duration`, held at the near end of the range.
    #[must_use]
    pub fn minus(self, duration: Duration) -> Timestamp {
        Self(self.0.saturating_sub(i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)))
    }
}

/// RFC 3339 in UTC, to the second.
impl fmt::Display for Timestamp {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match jiff::Timestamp::from_second(self.as_seconds()) {
            Ok(time) => write!(formatter, "{time}"),
            Err(_) => write!(formatter, "{} ms", self.0),
        }
    }
}

impl fmt::Debug for Timestamp {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, formatter)
    }
}

impl serde::Serialize for Timestamp {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// Where the time comes from: the machine, or a test's hand.
#[derive(Clone, Debug)]
pub struct Clock(Source);

#[derive(Clone, Debug)]
enum Source {
    Machine,
    Manual(Arc<AtomicI64>),
    /// Goes with the runtime's (paused) time from a start that can be moved.
    #[cfg(test)]
    Simulated(Arc<AtomicI64>, tokio::time::Instant),
}

impl Clock {
    /// The machine's wall clock.
    pub fn machine() -> Self {
        Self(Source::Machine)
    }

    /// A clock that stands still until [`Clock::set`] moves it.
    pub fn manual(start: Timestamp) -> Self {
        Self(Source::Manual(Arc::new(AtomicI64::new(start.0))))
    }

    /// A clock that goes with the test runtime's time, and that [`Clock::set`] makes jump.
    #[cfg(test)]
    pub(crate) fn simulated(start: Timestamp) -> Self {
        Self(Source::Simulated(Arc::new(AtomicI64::new(start.0)), tokio::time::Instant::now()))
    }

    /// The time now.
    pub fn now(&self) -> Timestamp {
        match &self.0 {
            #[expect(clippy::disallowed_methods, reason = "this is the clock")]
            Source::Machine => match std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH) {
                Ok(since) => Timestamp(i64::try_from(since.as_millis()).unwrap_or(i64::MAX)),
                Err(before) => Timestamp(-i64::try_from(before.duration().as_millis()).unwrap_or(i64::MAX)),
            },
            Source::Manual(millis) => Timestamp(millis.load(Ordering::Acquire)),
            #[cfg(test)]
            Source::Simulated(start, since) => Timestamp(start.load(Ordering::Acquire)).plus(since.elapsed()),
        }
    }

    /// A reading for measuring how long something took; never compared with a wall-clock instant.
    pub fn stopwatch() -> Stopwatch {
        Stopwatch(tokio::time::Instant::now())
    }

    /// Moves a manual clock; a machine clock is left alone.
    pub fn set(&self, time: Timestamp) {
        match &self.0 {
            Source::Machine => {}
            Source::Manual(millis) => millis.store(time.0, Ordering::Release),
            #[cfg(test)]
            Source::Simulated(start, since) => start.store(time.minus(since.elapsed()).0, Ordering::Release),
        }
    }

    /// Sleeps until `deadline` by the wall clock, looking again at most every [`LONGEST_SLEEP`].
    pub async fn sleep_until(&self, deadline: Timestamp) {
        loop {
            let left = deadline.until(self.now());
            if left.is_zero() {
                return;
            }
            tokio::time::sleep(left.min(LONGEST_SLEEP)).await;
        }
    }
}

/// A running measurement of elapsed time, by the monotonic clock (read through the runtime, so that a test's paused
/// time counts as time).
#[derive(Clone, Copy, Debug)]
pub struct Stopwatch(tokio::time::Instant);

impl Stopwatch {
    /// Time since the stopwatch was started.
    pub fn elapsed(&self) -> Duration {
        tokio::time::Instant::now().saturating_duration_since(self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn distances_never_go_negative() {
        let (early, late) = (Timestamp::from_seconds(10), Timestamp::from_seconds(25));
        assert_eq!(late.until(early), Duration::from_secs(15));
        assert_eq!(early.until(late), Duration::ZERO);
        assert_eq!(early.since(late), Duration::from_secs(15));
        assert_eq!(early.to_string(), "1970-01-01T00:00:10Z");
    }

    #[tokio::test(start_paused = true)]
    async fn sleeping_follows_the_wall_clock_not_the_timer() {
        let clock = Clock::manual(Timestamp::from_seconds(0));
        let sleeper = clock.clone();
        let task = tokio::spawn(async move { sleeper.sleep_until(Timestamp::from_seconds(8 * 3600)).await });
        tokio::task::yield_now().await;
        clock.set(Timestamp::from_seconds(8 * 3600)); // the machine was suspended for eight hours
        tokio::time::timeout(LONGEST_SLEEP + Duration::from_secs(1), task)
            .await
            .expect("woke in time")
            .expect("ran");
    }
}
