//! When the drop-in directory is looked at next. An event is only that: "look again"; what happened is found out by
//! looking. All deadlines are instants kept here, never timers inside a future: a waiting future may be dropped at any await
//! and wait anew, and no deadline moves. Never touches a file.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::{Instant, sleep_until};

/// Events within this time of each other are one change.
pub(super) const QUIET: Duration = Duration::from_millis(300);

/// A change that goes on and on is looked at after this time. With the second look of the settling this keeps within
/// the promise that a saved file is live in two seconds.
pub(super) const LONGEST_UNREST: Duration = Duration::from_millis(1000);

/// Without any event the directory is looked at this often, in case events were lost or cannot be had. With the settling
/// and the loading of what was found this keeps within the promised minute.
pub(super) const SWEEP: Duration = Duration::from_secs(55);

/// While the directory cannot be watched or read, it is tried again this often.
pub(super) const RETRY: Duration = Duration::from_secs(1);

/// What the event thread, the pokes and the schedule share.
#[derive(Debug, Default)]
pub(super) struct Bell {
    unrest: Mutex<Option<Unrest>>,
    broken: AtomicBool,
    notify: Notify,
}

/// Rings that no look has begun for yet.
#[derive(Clone, Copy, Debug)]
struct Unrest {
    first: Instant,
    last: Instant,
    rings: u64,
}

impl Bell {
    pub(super) fn ring(&self) {
        let now = Instant::now();
        let mut unrest = self.unrest.lock().unwrap_or_else(PoisonError::into_inner);
        let (first, rings) = unrest.map_or((now, 0), |unrest| (unrest.first, unrest.rings));
        *unrest = Some(Unrest { first, last: now, rings: rings + 1 });
        drop(unrest);
        self.notify.notify_one();
    }

    /// The watch has reported that it is of no use any more.
    pub(super) fn break_watch(&self) {
        self.broken.store(true, Ordering::Release);
        self.ring();
    }

    /// Whether the watch has broken since the last call.
    pub(super) fn has_broken(&self) -> bool {
        self.broken.swap(false, Ordering::AcqRel)
    }

    fn unrest(&self) -> Option<Unrest> {
        *self.unrest.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How often it rang; from now on it counts anew.
    pub(super) fn take(&self) -> u64 {
        let unrest = self.unrest.lock().unwrap_or_else(PoisonError::into_inner).take();
        unrest.map_or(0, |unrest| unrest.rings)
    }
}

/// Asks for a look, for SIGHUP and `POST /v1/agent/reload`.
#[derive(Clone, Debug)]
pub struct Poke(Arc<Bell>);

impl Poke {
    /// Asks for a look. Many calls before the look make one look.
    pub fn poke(&self) {
        self.0.ring();
    }
}

/// What is to be done next.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Due {
    /// Look at the directory.
    Look,
    /// Try to watch the directory, and look at it only if that gives news.
    Watch,
}

/// The deadlines of one directory.
#[derive(Debug)]
pub(super) struct Schedule {
    bell: Arc<Bell>,
    sweep_at: Instant,
    /// When the last work began.
    begun_at: Instant,
    /// The last look asked for another one.
    again_at: Option<Instant>,
    /// There is no watch.
    watch_at: Option<Instant>,
}

impl Schedule {
    /// A look is due at once.
    pub(super) fn new() -> Self {
        let now = Instant::now();
        Self { bell: Arc::default(), sweep_at: now, begun_at: now, again_at: None, watch_at: None }
    }

    pub(super) fn bell(&self) -> &Arc<Bell> {
        &self.bell
    }

    pub(super) fn poke(&self) -> Poke {
        Poke(Arc::clone(&self.bell))
    }

    /// Returns when something is due. Changes nothing, so nothing is lost when the future is dropped.
    pub(super) async fn wait(&self) -> Due {
        loop {
            let (at, due) = self.next();
            if at <= Instant::now() {
                return due;
            }
            tokio::select! {
                () = self.bell.notify.notified() => {}
                () = sleep_until(at) => {}
            }
        }
    }

    fn next(&self) -> (Instant, Due) {
        let settled =
            self.bell.unrest().map(|unrest| (unrest.last + QUIET).min(unrest.first + LONGEST_UNREST));
        let looks = [settled, self.again_at].into_iter().flatten();
        let look_at = looks.fold(self.sweep_at, Instant::min);
        match self.watch_at {
            Some(watch_at) if watch_at < look_at => (watch_at, Due::Watch),
            _ => (look_at, Due::Look),
        }
    }

    /// Work that is due begins; what rings from now on asks for another look. Call it before the work, and keep hold of
    /// the work until its result was taken: what was heard is in it now.
    pub(super) fn begun(&mut self, due: Due) {
        self.watch_at = None;
        self.begun_at = Instant::now();
        if due == Due::Look {
            let events = self.bell.take();
            tracing::trace!(events, "A look at the drop-in directory begins.");
            self.again_at = None;
            self.sweep_at = self.begun_at + SWEEP;
        }
    }

    /// The work has ended. `again`: how long after its beginning to look once more; `watched`: whether events will be heard.
    pub(super) fn ended(&mut self, again: Option<Duration>, watched: bool) {
        // A look that takes as long as that leaves a pause all the same.
        let now = Instant::now();
        let again = again.map(|after| (self.begun_at + after).max(now + after / 4));
        self.again_at = [again, self.again_at].into_iter().flatten().min();
        self.watch_at = (!watched).then(|| now + RETRY);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Begins and ends a look, as if the directory were watched.
    fn look(schedule: &mut Schedule) {
        schedule.begun(Due::Look);
        schedule.ended(None, true);
    }

    async fn waited(schedule: &Schedule) -> Duration {
        let started = Instant::now();
        assert_eq!(schedule.wait().await, Due::Look);
        started.elapsed()
    }

    #[tokio::test(start_paused = true)]
    async fn pokes_endless_unrest_and_the_sweep_ask_for_a_look() {
        let mut schedule = Schedule::new();
        assert_eq!(waited(&schedule).await, Duration::ZERO, "the first look is due at once");
        look(&mut schedule);
        assert_eq!(waited(&schedule).await, SWEEP, "without events once a minute");
        look(&mut schedule);
        let poke = schedule.poke();
        for _ in 0..100 {
            poke.poke();
        }
        assert_eq!(waited(&schedule).await, QUIET, "a poke is answered at once");
        look(&mut schedule);
        let unrest = tokio::spawn(async move {
            loop {
                poke.poke();
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        });
        assert_eq!(waited(&schedule).await, LONGEST_UNREST);
        unrest.abort();
    }

    #[tokio::test(start_paused = true)]
    async fn no_deadline_moves_when_a_wait_is_dropped() {
        let mut schedule = Schedule::new();
        look(&mut schedule);
        let started = Instant::now();
        let turn = Duration::from_secs(5);
        while tokio::time::timeout(turn, schedule.wait()).await.is_err() {}
        assert_eq!(started.elapsed(), SWEEP);
        look(&mut schedule);
        schedule.poke().poke();
        let started = Instant::now();
        while tokio::time::timeout(QUIET / 6, schedule.wait()).await.is_err() {}
        assert_eq!(started.elapsed(), QUIET);
        // Tried again by the second, without looking, while there is no watch.
        schedule.begun(Due::Look);
        schedule.ended(None, false);
        let started = Instant::now();
        while tokio::time::timeout(RETRY / 4, schedule.wait()).await.is_err() {}
        assert_eq!((started.elapsed(), schedule.wait().await), (RETRY, Due::Watch));
    }
}
