//! One connection's life: opens its store, refreshes when due or wanted, follows other agents' changes, and publishes
//! what came of it. One at a time it starts work (`Flight`) that a stop does not cancel. Decides no outcome.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Notify, Semaphore, watch};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::clock::{Clock, LONGEST_SLEEP, Stopwatch, Timestamp};
use crate::telemetry::Metrics;

use super::chance;
use super::handle::{Blocked, Shared};
use super::model::{AccessToken, TokenError, TokenFailure};
use super::opening::{self, Opened};
use super::state::{CLOCK_STEP, Cause, Held, IllegalMove, TokenState, backoff};
use super::store::{Committed, StoreError, StoreVersion, Stored};
use super::transaction::{self, Ask, Context, Finished, Settled};
use super::turn::{Turn, while_quick};

/// How often a refused store is looked at again: its repair is an operator's work of minutes.
pub(super) const STORE_RETRY: Duration = Duration::from_secs(60);
/// The shortest time from a failure to the next work.
const LEAST_PAUSE: Duration = Duration::from_secs(1);

/// A connection's task.
#[derive(Debug)]
pub(super) struct ConnectionTask {
    pub(super) shared: Arc<Shared>,
    pub(super) context: Arc<Context>,
    pub(super) metrics: Arc<Metrics>,
    pub(super) stop: CancellationToken,
    /// Owns the flights: they outlive this task, and the agent's drain waits for them.
    pub(super) tracker: TaskTracker,
    /// Stores opened at once, over all connections.
    openings: Arc<Semaphore>,
    pub(super) state: TokenState,
    pub(super) known: Arc<Stored>,
    pub(super) opened: bool,
    flight: Option<Flight>,
    commits: watch::Receiver<u64>,
    pub(super) version: Option<StoreVersion>,
    pub(super) look_at: Timestamp,
    pub(super) save_at: Timestamp,
    pub(super) save_attempts: u32,
    /// Looks into the store that failed one after the other.
    pub(super) looks_failed: u32,
    /// When work failed last. Whatever a state may say is due, the next work begins [`Self::least_pause`] later.
    failed: Option<Stopwatch>,
    /// The clock at the last turn, and how long ago that was by the clock that cannot be set.
    turned: (Timestamp, Stopwatch),
    pub(super) unsaved: Option<TokenFailure>,
    /// The store could not be looked at.
    pub(super) store_away: Option<TokenFailure>,
    /// The store has sent a signal since the last look.
    pub(super) called: bool,
}

/// Work that is under way.
#[derive(Debug)]
struct Flight {
    work: JoinHandle<Done>,
    /// The claims challenges that are settled with it.
    ticket: u64,
    /// A refresh that waits for its turn is told here that a caller waits for it.
    hurry: Arc<Notify>,
}

#[derive(Debug)]
enum Done {
    /// Stopped before anything was begun.
    Left,
    Opened(Result<Opened, StoreError>),
    Refreshed(Box<Finished>),
    Looked(Result<Option<StoreVersion>, StoreError>),
    Saved(Result<Committed, StoreError>),
}

impl ConnectionTask {
    pub(super) fn new(
        shared: Arc<Shared>,
        context: Arc<Context>,
        metrics: Arc<Metrics>,
        stop: CancellationToken,
        tracker: TaskTracker,
        openings: Arc<Semaphore>,
    ) -> Self {
        let commits = context.store.subscribe();
        let now = context.clock.now();
        Self {
            shared,
            context,
            metrics,
            stop,
            tracker,
            openings,
            state: TokenState::Starting { previous: None },
            known: Arc::default(),
            opened: false,
            flight: None,
            commits,
            version: None,
            look_at: now,
            turned: (now, Clock::stopwatch()),
            save_at: now,
            save_attempts: 0,
            looks_failed: 0,
            failed: None,
            unsaved: None,
            store_away: None,
            called: false,
        }
    }

    /// Runs until stopped. Work in flight then goes on under the tracker; what it commits reaches a successor of this
    /// task through the store only.
    pub(super) async fn run(mut self) {
        while self.turn().await {}
        self.shared.view.send_modify(|view| {
            view.settled += 1;
            view.blocked = Some(Blocked::For(TokenError::Superseded));
        });
    }

    /// Begins what is due and waits for whatever comes first; false after a stop. Nothing is lost when it is dropped: what
    /// flies goes on, and what is known stands in the store's own knowledge.
    async fn turn(&mut self) -> bool {
        self.shared.beat();
        self.notice_clock_steps();
        self.begin_next();
        let nap = self.nap();
        let stop = self.stop.clone();
        tokio::select! {
            biased;
            () = stop.cancelled() => return false,
            done = landed(&mut self.flight) => self.land(done),
            () = self.shared.wake.notified() => self.flight.iter().for_each(|flight| flight.hurry.notify_one()),
            Ok(()) = self.commits.changed() => self.called(),
            () = tokio::time::sleep(nap) => self.record_metrics(),
        }
        true
    }

    /// The store has changed, gone away or come back.
    fn called(&mut self) {
        self.look_at = self.context.clock.now();
        self.called = true;
        if self.flight.is_some() {
            return;
        }
        let waits = matches!(self.state, TokenState::Degraded { .. } | TokenState::Refused { .. });
        if !self.opened && waits {
            self.go(TokenState::reconsider);
        }
        // Before the look: a sign-in that the store could not take is there all the same.
        self.take_news();
    }

    /// A step forward (and a suspend) makes due what is due. A step back would put everything off: it is told by the
    /// monotonic clock, which a suspend stops but nobody sets.
    fn notice_clock_steps(&mut self) {
        let now = self.context.clock.now();
        let expected = self.turned.0.plus(self.turned.1.elapsed());
        self.turned = (now, Clock::stopwatch());
        if expected.until(now) > CLOCK_STEP {
            tracing::debug!(connection = %self.shared.name, "The clock was set back; a token with dates of this clock is fetched.");
            self.go(|state| Ok(state.distrust_dates(now)));
        }
    }

    /// Until the next due instant; the bound keeps the heartbeat going and notices changed clocks and suspends.
    fn nap(&self) -> Duration {
        let now = self.context.clock.now();
        if self.flight.is_some() {
            return LONGEST_SLEEP;
        }
        let pause = self.pause_left();
        if !pause.is_zero() {
            return pause.max(Duration::from_millis(5));
        }
        let save_at = self.unsaved.as_ref().map(|_| self.save_at);
        let next = [self.state.due(now), save_at, Some(self.look_at)].into_iter().flatten().min();
        // Not zero, so that a due instant whose work cannot begin does not spin.
        next.map_or(LONGEST_SLEEP, |next| next.until(now)).clamp(Duration::from_millis(5), LONGEST_SLEEP)
    }

    /// How long no work may begin after one that failed: a second, unless the settings want shorter waits.
    pub(super) fn least_pause(&self) -> Duration {
        self.context.refresh.backoff_base.min(LEAST_PAUSE)
    }

    fn pause_left(&self) -> Duration {
        self.failed.map_or(Duration::ZERO, |failed| self.least_pause().saturating_sub(failed.elapsed()))
    }

    fn begin_next(&mut self) {
        if self.flight.is_some() || !self.pause_left().is_zero() {
            return;
        }
        let now = self.context.clock.now();
        let is_due = self.state.due(now).is_some_and(|due| due <= now);
        if !self.opened {
            if is_due || self.shared.wants().operator() {
                let (context, openings) = (Arc::clone(&self.context), Arc::clone(&self.openings));
                let stop = self.stop.clone();
                self.fly(0, async move {
                    // Never closed. A stop lets all through, so that a stopping agent does not wait for the queue.
                    let mut permit = tokio::select! {
                        permit = openings.acquire_owned() => permit.ok(),
                        () = stop.cancelled() => return Done::Left,
                    };
                    Done::Opened(while_quick(&mut permit, opening::open(context, stop)).await)
                });
            }
            return;
        }
        // A step back of the clock must not put the next look off.
        if self.look_at <= now || self.look_at.until(now) > LONGEST_SLEEP {
            self.look_at = now.plus(LONGEST_SLEEP);
            return self.look();
        }
        if self.begin_wanted(now) {
            return;
        }
        if is_due {
            let wanted = self.shared.wants().take();
            return self.begin_refresh(now, Cause::Routine, false, wanted.ask, wanted.ticket);
        }
        if self.unsaved.is_some()
            && (self.save_at <= now || self.save_at.until(now) > self.context.refresh.backoff_cap)
        {
            let store = Arc::clone(&self.context.store);
            self.fly(0, async move { Done::Saved(store.save_unsaved().await) });
        }
    }

    fn begin_wanted(&mut self, now: Timestamp) -> bool {
        let usable = self.shared.current().is_some();
        let mut wants = self.shared.wants();
        if !wants.due(self.known.generation, usable) {
            return false;
        }
        let cause = if wants.operator() { Cause::Operator } else { Cause::Routine };
        if !self.state.may_begin(now, cause) {
            return false;
        }
        if !wants.may_spend(tokio::time::Instant::now()) {
            let ticket = wants.refuse_all();
            drop(wants);
            self.tell_refused_tokens(now, ticket);
            return false;
        }
        let wanted = wants.take();
        drop(wants);
        self.begin_refresh(now, cause, true, wanted.ask, wanted.ticket);
        true
    }

    fn begin_refresh(&mut self, now: Timestamp, cause: Cause, wanted: bool, ask: Ask, ticket: u64) {
        if !self.go(|state| state.begin(now, cause)) {
            return;
        }
        self.publish(false, 0);
        let urgent = cause == Cause::Operator || wanted;
        let hurry = Arc::new(Notify::new());
        let turn = Turn { stop: self.stop.clone(), urgent, hurry: Arc::clone(&hurry) };
        let refresh = transaction::refresh(Arc::clone(&self.context), Arc::clone(&self.known), ask, turn);
        let work = self.tracker.spawn(async move { Done::Refreshed(Box::new(refresh.await)) });
        self.flight = Some(Flight { work, ticket, hurry });
    }

    fn look(&mut self) {
        let (store, before) = (Arc::clone(&self.context.store), self.version);
        self.fly(0, async move {
            let version = match store.version().await {
                Ok(version) => version,
                Err(error) => return Done::Looked(Err(error)),
            };
            // The version counts only once the contents were read: what could not be read is still unseen.
            if version != before
                && let Err(error) = store.look().await
            {
                return Done::Looked(Err(error));
            }
            Done::Looked(Ok(version))
        });
    }

    fn fly(&mut self, ticket: u64, work: impl Future<Output = Done> + Send + 'static) {
        self.flight = Some(Flight { work: self.tracker.spawn(work), ticket, hurry: Arc::default() });
    }

    fn land(&mut self, (done, ticket): (Result<Done, tokio::task::JoinError>, u64)) {
        if failed(&done) {
            self.failed = Some(Clock::stopwatch());
        }
        match done {
            Ok(Done::Left) => {}
            Ok(Done::Opened(Ok(opened))) => self.opened(opened),
            Ok(Done::Opened(Err(error))) => self.not_opened(&error),
            Ok(Done::Refreshed(finished)) => self.settle(*finished, ticket),
            Ok(Done::Looked(Ok(version))) => {
                self.store_is_there();
                self.looked(version);
            }
            Ok(Done::Looked(Err(error))) => self.store_is_away(&error),
            Ok(Done::Saved(result)) => self.saved(result),
            Err(error) => {
                self.tell(&format!("Work on the connection's tokens broke off: {error}"));
                let failure = self.context.failure("internal", "Work on the connection's tokens broke off; the agent tries again. Report this with the log.");
                if matches!(self.state, TokenState::Refreshing { .. }) {
                    self.settle(
                        Finished { settled: Settled::TryLater { after: None, failure }, clock_skew: None },
                        ticket,
                    );
                } else if !self.opened {
                    self.wait_to_open(failure);
                }
            }
        }
    }

    pub(super) fn backoff(&self, attempts: u32) -> Duration {
        let wait =
            backoff(self.context.refresh.backoff_base, self.context.refresh.backoff_cap, attempts, chance());
        wait.max(self.least_pause())
    }

    pub(super) fn held(&self, stored: &Stored) -> Option<Held> {
        let access = stored.access.as_ref()?;
        // Without a way to a new token there is nothing to do before the old one ends.
        let refresh_due =
            if self.context.can_refresh(stored) { access.refresh_due } else { access.expires_at };
        let token = AccessToken {
            secret: access.secret.clone(),
            expires_at: access.expires_at,
            generation: stored.generation,
        };
        Some(Held { token: Arc::new(token), obtained_at: access.obtained_at, refresh_due: Some(refresh_due) })
    }

    pub(super) fn go(&mut self, step: impl FnOnce(TokenState) -> Result<TokenState, IllegalMove>) -> bool {
        match step(self.state.clone()) {
            Ok(next) => {
                self.state = next;
                true
            }
            Err(error) => {
                self.tell(&format!("A token state move was not made: {error}"));
                false
            }
        }
    }

    /// Says something that may have to be said again and again.
    pub(super) fn tell(&self, sentence: &str) {
        if let Some(left_out) = self.context.repeats.admit(sentence) {
            tracing::warn!(connection = %self.shared.name, left_out, "{sentence}");
        }
    }
}

/// Whether the work is to be begun again, and not at once.
fn failed(done: &Result<Done, tokio::task::JoinError>) -> bool {
    match done {
        Ok(Done::Refreshed(finished)) => {
            !matches!(finished.settled, Settled::Refreshed { .. } | Settled::Superseded(_))
        }
        Ok(Done::Opened(result)) => result.as_ref().map_or(true, |opened| opened.away.is_some()),
        Ok(Done::Looked(result)) => result.is_err(),
        Ok(Done::Saved(result)) => result.is_err(),
        Ok(Done::Left) => false,
        Err(_) => true,
    }
}

/// The end of the flight, if one is under way.
async fn landed(flight: &mut Option<Flight>) -> (Result<Done, tokio::task::JoinError>, u64) {
    let Some(under_way) = flight else { return std::future::pending().await };
    let done = (&mut under_way.work).await;
    let ticket = under_way.ticket;
    *flight = None;
    (done, ticket)
}

#[cfg(test)]
#[path = "task_tests.rs"]
mod tests;
