//! The runs: which are in progress, which were, and how many may be at once. Bounded in both; never holds a row or a
//! record.

use std::collections::{BTreeMap, VecDeque};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_util::sync::CancellationToken;

use super::error::ActivityError;
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
}

#[derive(Debug, Default)]
struct State {
    active: BTreeMap<String, Active>,
    finished: VecDeque<RunView>,
}

#[derive(Debug)]
struct Active {
    view: RunView,
    rows: Arc<AtomicU64>,
    traffic: Arc<Traffic>,
    cancel: CancellationToken,
    sequence: u64,
}

impl Active {
    fn view(&self) -> RunView {
        RunView {
            rows: self.rows.load(Ordering::Relaxed),
            waiting: self.traffic.waiting(),
            // To the tenth: more would be noise.
            throttled_seconds: (self.traffic.throttled().as_secs_f64() * 10.0).round() / 10.0,
            ..self.view.clone()
        }
    }
}

impl Runs {
    pub(super) fn new(clock: Clock, metrics: Arc<Metrics>, limits: &Limits) -> Arc<Self> {
        Arc::new(Self {
            clock,
            metrics,
            limit: limits.concurrent_runs,
            history: limits.run_history,
            places: Arc::new(Semaphore::new(limits.concurrent_runs)),
            stop: CancellationToken::new(),
            state: Mutex::default(),
        })
    }

    /// All runs that are remembered, newest first.
    pub fn list(&self) -> Vec<RunView> {
        let state = self.state();
        let mut active: Vec<&Active> = state.active.values().collect();
        active.sort_by_key(|run| std::cmp::Reverse(run.sequence));
        let mut all: Vec<RunView> = active.into_iter().map(Active::view).collect();
        all.extend(state.finished.iter().rev().cloned());
        // A run that began later may have ended earlier; sorting is stable, so equal times keep the order above.
        all.sort_by_key(|view| std::cmp::Reverse(view.started_at));
        all
    }

    /// One run.
    pub fn get(&self, id: &str) -> Option<RunView> {
        let state = self.state();
        let active = state.active.get(id).map(Active::view);
        active.or_else(|| state.finished.iter().rev().find(|view| view.id == id).cloned())
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
            waiting: 0,
            throttled_seconds: 0.0,
            error: None,
        };
        let (rows, cancel) = (Arc::new(AtomicU64::new(0)), self.stop.child_token());
        let sequence = SEQUENCE.fetch_add(1, Ordering::Relaxed);
        let traffic = Traffic::new();
        let active = Active {
            view,
            rows: Arc::clone(&rows),
            traffic: Arc::clone(&traffic),
            cancel: cancel.clone(),
            sequence,
        };
        self.state().active.insert(id.clone(), active);
        self.metrics.run_started();
        Ok(Run {
            runs: Arc::clone(self),
            id,
            rows,
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
            let Some(active) = state.active.remove(id) else { return };
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
            state.finished.push_back(view.clone());
            view
        };
        let outcome = match status {
            RunStatus::Success | RunStatus::SuccessWithWarning | RunStatus::Running => "success",
            RunStatus::Error => "error",
            RunStatus::Cancelled => "cancelled",
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
    rows: Arc<AtomicU64>,
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
        self.rows.fetch_add(count, Ordering::Relaxed);
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
