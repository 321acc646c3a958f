//! The runs: which are in progress, which were, and how many may be at once. Bounded in both; never holds a row or a
//! record.

use std::collections::{BTreeMap, VecDeque};
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_util::sync::CancellationToken;

use super::error::ActivityError;
use super::history::{History, Remembered};
use super::model::{CallOptions, RunStatus, RunView};
use crate::clock::{Clock, Stopwatch};
use crate::connection::{ActivityKind, ConnectionName};
use crate::graph::Traffic;
use crate::secret::random_hex;
use crate::settings::Limits;
use crate::telemetry::Metrics;

/// When a caller that found all places taken should come back.
const RETRY_AFTER: Duration = Duration::from_secs(2);

/// All runs of the agent.
#[derive(Debug)]
pub struct Runs {
    clock: Clock,
    metrics: Arc<Metrics>,
    limit: usize,
    history: usize,
    places: Arc<Semaphore>,
    stop: CancellationToken,
    state: Mutex<State>,
    /// Where runs are noted for the next life of the agent; absent when the state directory cannot be used.
    log: Option<History>,
}

#[derive(Debug, Default)]
struct State {
    active: BTreeMap<String, Active>,
    finished: VecDeque<Remembered>,
}

/// What a run has done so far.
#[derive(Debug, Default)]
struct Counts {
    rows: AtomicU64,
    failed: AtomicU64,
    /// One more than the records in all, so that 0 means "not known".
    total: AtomicU64,
}

#[derive(Debug)]
struct Active {
    view: RunView,
    journal: Option<String>,
    counts: Arc<Counts>,
    traffic: Arc<Traffic>,
    cancel: CancellationToken,
    sequence: u64,
}

impl Active {
    fn view(&self) -> RunView {
        let stopping = self.cancel.is_cancelled();
        RunView {
            status: if stopping { RunStatus::CancelRequested } else { RunStatus::Running },
            rows: self.counts.rows.load(Ordering::Relaxed),
            failed: self.counts.failed.load(Ordering::Relaxed),
            total: self.counts.total.load(Ordering::Relaxed).checked_sub(1),
            waiting: self.traffic.waiting(),
            // To the tenth: more would be noise.
            throttled_seconds: (self.traffic.throttled().as_secs_f64() * 10.0).round() / 10.0,
            ..self.view.clone()
        }
    }
}

/// Which runs a list shows.
#[derive(Clone, Debug, Default)]
pub struct RunFilter {
    /// Of this connection only.
    pub connection: Option<String>,
    /// Of this kind only.
    pub kind: Option<ActivityKind>,
    /// In this state only.
    pub status: Option<RunStatus>,
    /// Of this saved activity only.
    pub activity: Option<String>,
    /// Only those behind this run in the list.
    pub after: Option<String>,
}

impl RunFilter {
    fn takes(&self, view: &RunView) -> bool {
        self.connection.as_ref().is_none_or(|connection| *connection == view.connection)
            && self.kind.is_none_or(|kind| kind == view.kind)
            && self.status.is_none_or(|status| status == view.status)
            && self.activity.as_ref().is_none_or(|activity| view.activity.as_ref() == Some(activity))
    }
}

impl Runs {
    /// Runs with the history of `folder`; without a folder, the history ends with the process.
    pub(super) fn new(
        clock: Clock,
        metrics: Arc<Metrics>,
        limits: &Limits,
        folder: Option<&Path>,
    ) -> Arc<Self> {
        let opened = folder.map(|folder| History::open(folder, limits.run_history, clock.now()));
        let (log, finished) = match opened {
            Some(Ok((log, finished))) => (Some(log), finished),
            Some(Err(error)) => {
                tracing::warn!(error, "The history of runs cannot be kept over a restart.");
                (None, VecDeque::new())
            }
            None => (None, VecDeque::new()),
        };
        Arc::new(Self {
            log,
            clock,
            metrics,
            limit: limits.concurrent_runs,
            history: limits.run_history,
            places: Arc::new(Semaphore::new(limits.concurrent_runs)),
            stop: CancellationToken::new(),
            state: Mutex::new(State { finished, ..State::default() }),
        })
    }

    /// The first `most` runs that are remembered and that `filter` takes, newest first; and whether there are more.
    pub fn list(&self, filter: &RunFilter, most: usize) -> (Vec<RunView>, bool) {
        let state = self.state();
        let mut active: Vec<&Active> = state.active.values().collect();
        active.sort_by_key(|run| std::cmp::Reverse(run.sequence));
        let mut all: Vec<RunView> = active.into_iter().map(Active::view).collect();
        all.extend(state.finished.iter().rev().map(|run| run.view.clone()));
        // A run that began later may have ended earlier; sorting is stable, so equal times keep the order above.
        all.sort_by_key(|view| std::cmp::Reverse(view.started_at));
        let behind = match &filter.after {
            None => 0,
            Some(after) => all.iter().position(|view| view.id == *after).map_or(all.len(), |place| place + 1),
        };
        let mut shown: Vec<RunView> =
            all.drain(..).skip(behind).filter(|view| filter.takes(view)).take(most + 1).collect();
        let more = shown.len() > most;
        shown.truncate(most);
        (shown, more)
    }

    /// One run.
    pub fn get(&self, id: &str) -> Option<RunView> {
        let state = self.state();
        let active = state.active.get(id).map(Active::view);
        active
            .or_else(|| state.finished.iter().rev().map(|run| &run.view).find(|view| view.id == id).cloned())
    }

    /// The name of the journal with the results of a run, if it keeps them.
    pub(super) fn journal(&self, id: &str) -> Option<String> {
        let state = self.state();
        if let Some(active) = state.active.get(id) {
            return active.journal.clone();
        }
        state.finished.iter().rev().find(|run| run.view.id == id)?.journal.clone()
    }

    /// Asks a run to stop, and answers with how it stands. One that has ended stays as it is.
    pub fn cancel(&self, id: &str) -> Option<RunView> {
        if let Some(active) = self.state().active.get(id) {
            active.cancel.cancel();
        }
        self.get(id)
    }

    /// Asks all runs to stop; the agent is stopping.
    pub fn cancel_all(&self) {
        self.stop.cancel();
    }

    /// How many runs are in progress.
    pub fn active(&self) -> usize {
        self.state().active.len()
    }

    /// Begins a run.
    ///
    /// # Errors
    /// [`ActivityError::Busy`], when as many runs as allowed are in progress.
    pub(super) fn start(
        self: &Arc<Self>,
        connection: &ConnectionName,
        kind: ActivityKind,
        object: &str,
        options: &CallOptions,
    ) -> Result<Run, ActivityError> {
        self.start_with(connection, kind, object, options, |_| None)
    }

    /// As [`Runs::start`], for a run that keeps its results in the journal that `journal` names for its id.
    ///
    /// # Errors
    /// As [`Runs::start`].
    pub(super) fn start_with(
        self: &Arc<Self>,
        connection: &ConnectionName,
        kind: ActivityKind,
        object: &str,
        options: &CallOptions,
        journal: impl FnOnce(&str) -> Option<String>,
    ) -> Result<Run, ActivityError> {
        let Ok(place) = Arc::clone(&self.places).try_acquire_owned() else {
            return Err(ActivityError::Busy { limit: self.limit, retry_after: RETRY_AFTER });
        };
        static SEQUENCE: AtomicU64 = AtomicU64::new(0);
        let id = random_hex(12);
        let view = RunView {
            id: id.clone(),
            connection: connection.as_str().to_owned(),
            kind,
            object: crate::error::clean_foreign_text(object),
            activity: options.activity.clone(),
            status: RunStatus::Running,
            request_id: options.request_id.clone(),
            started_at: self.clock.now(),
            finished_at: None,
            rows: 0,
            failed: 0,
            total: None,
            results_kept: false,
            waiting: 0,
            throttled_seconds: 0.0,
            error: None,
        };
        let journal = journal(&id);
        let view = RunView { results_kept: journal.is_some(), ..view };
        let begun = Remembered { view: view.clone(), journal: journal.clone() };
        let (counts, cancel) = (Arc::<Counts>::default(), self.stop.child_token());
        let sequence = SEQUENCE.fetch_add(1, Ordering::Relaxed);
        let traffic = Traffic::new();
        let active = Active {
            view,
            journal,
            counts: Arc::clone(&counts),
            traffic: Arc::clone(&traffic),
            cancel: cancel.clone(),
            sequence,
        };
        self.state().active.insert(id.clone(), active);
        if let Some(log) = &self.log {
            log.note(&begun);
        }
        self.metrics.run_started();
        Ok(Run {
            runs: Arc::clone(self),
            id,
            counts,
            traffic,
            cancel,
            stopwatch: Clock::stopwatch(),
            finished: false,
            _place: place,
        })
    }

    fn finish(&self, id: &str, status: RunStatus, error: Option<&ActivityError>, stopwatch: Stopwatch) {
        let view = {
            let mut state = self.state();
            let Some(mut active) = state.active.remove(id) else { return };
            // Rows of a query that did not end well are kept for nobody; results of records are.
            let well = matches!(status, RunStatus::Success | RunStatus::SuccessWithWarning);
            if active.view.kind == ActivityKind::Query && !well {
                (active.journal, active.view.results_kept) = (None, false);
            }
            let view = RunView {
                status,
                finished_at: Some(self.clock.now()),
                error: error.map(ActivityError::message),
                waiting: 0,
                ..active.view()
            };
            while state.finished.len() >= self.history.max(1) {
                state.finished.pop_front();
            }
            let run = Remembered { view: view.clone(), journal: active.journal };
            if let Some(log) = &self.log {
                log.note(&run);
            }
            state.finished.push_back(run);
            view
        };
        self.shorten_log();
        let outcome = match status {
            RunStatus::Success | RunStatus::SuccessWithWarning | RunStatus::Running => "success",
            RunStatus::Error => "error",
            RunStatus::Cancelled | RunStatus::CancelRequested | RunStatus::Interrupted => "cancelled",
        };
        self.metrics.run_finished(&view.connection, view.kind.as_str(), outcome);
        tracing::info!(
            connection = %view.connection,
            activity = view.kind.as_str(),
            object = %view.object,
            run = %view.id,
            request_id = %view.request_id,
            outcome,
            rows = view.rows,
            ms = stopwatch.elapsed().as_millis(),
            cause = error.map(ActivityError::log_message),
            "A run has ended."
        );
    }

    /// Notes how a run in progress stands, so that its log says it of a run that does not end.
    fn note_progress(&self, id: &str) {
        let Some(log) = &self.log else { return };
        let state = self.state();
        if let Some(run) = state.active.get(id) {
            log.note(&Remembered { view: run.view(), journal: run.journal.clone() });
        }
    }

    /// Writes the log of runs anew when it has grown, in one piece.
    fn shorten_log(&self) {
        let Some(log) = self.log.as_ref().filter(|log| log.is_long()) else { return };
        let state = self.state();
        let running: Vec<Remembered> = state
            .active
            .values()
            .map(|run| Remembered { view: run.view(), journal: run.journal.clone() })
            .collect();
        // Under the lock, so that nothing is noted in the file that is about to be replaced. It happens once in more than
        // a thousand runs.
        if let Err(error) = log.rewrite(state.finished.iter().chain(&running)) {
            tracing::warn!(%error, "The history of runs could not be shortened.");
        }
    }

    /// The state is whole after every line that changes it, so one that a panic left behind is as good as any.
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A run in progress. Dropped before it was finished, it counts as cancelled: its caller has gone.
#[derive(Debug)]
pub(super) struct Run {
    runs: Arc<Runs>,
    id: String,
    counts: Arc<Counts>,
    traffic: Arc<Traffic>,
    cancel: CancellationToken,
    stopwatch: Stopwatch,
    finished: bool,
    _place: OwnedSemaphorePermit,
}

impl Run {
    pub(super) fn id(&self) -> &str {
        &self.id
    }

    pub(super) fn cancel_token(&self) -> &CancellationToken {
        &self.cancel
    }

    /// What its requests to Graph meet.
    pub(super) fn traffic(&self) -> Arc<Traffic> {
        Arc::clone(&self.traffic)
    }

    pub(super) fn add_rows(&self, count: u64) {
        self.counts.rows.fetch_add(count, Ordering::Relaxed);
    }

    pub(super) fn add_failed(&self, count: u64) {
        self.counts.failed.fetch_add(count, Ordering::Relaxed);
    }

    pub(super) fn set_total(&self, total: u64) {
        self.counts.total.store(total.saturating_add(1), Ordering::Relaxed);
        self.runs.note_progress(&self.id);
    }

    /// Ends the run well.
    pub(super) fn succeed(&mut self, status: RunStatus) {
        self.end(status, None);
    }

    /// Ends the run because of `error`.
    pub(super) fn fail(&mut self, error: &ActivityError) {
        let status = if error.is_cancelled() { RunStatus::Cancelled } else { RunStatus::Error };
        self.end(status, Some(error));
    }

    fn end(&mut self, status: RunStatus, error: Option<&ActivityError>) {
        if !std::mem::replace(&mut self.finished, true) {
            self.runs.finish(&self.id, status, error, self.stopwatch);
        }
    }
}

impl Drop for Run {
    fn drop(&mut self) {
        // Whatever still works for this run (a prefetch, a queued request) stops with it.
        self.cancel.cancel();
        self.end(RunStatus::Cancelled, None);
    }
}

#[cfg(test)]
#[path = "runs_tests.rs"]
mod tests;
