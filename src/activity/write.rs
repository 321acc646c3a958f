//! Create, Update and Delete: from a call to a running write. Decides what the write works on, what is kept of it, and
//! how its run ends. Never prepares a request and never knows an answer of Graph.

use std::sync::Arc;

use aws_lc_rs::digest::{Context, SHA256};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio_util::sync::{CancellationToken, DropGuard};

use super::engine::Live;
use super::error::ActivityError;
use super::journal::{self, Earlier, Journal};
use super::kept::{Held, Kept, Opened, hex};
use super::mark::{Elsewhere, Marks, mark_of_key};
use super::model::{Record, RecordResult, RunStatus, WriteAnswer, WriteRequest};
use super::patience::Patience;
use super::reference::named_by_id;
use super::runs::Run;
use super::selection::{Chosen, chosen, find};
use super::upload::{Source, StreamedRecords, not_kept};
use super::writing::{ONE_BY_ONE, Work, carry_out};
use crate::catalog::Object;
use crate::clock::{Clock, Timestamp};
use crate::connection::ActivityKind;
use crate::graph::CallContext;
use crate::telemetry::Metrics;

/// Results that may wait for a caller that reads slowly. What is more stays with the run, up to its own bound.
const RESULTS_AHEAD: usize = 256;

/// A call of Create, Update or Delete.
#[derive(Debug, Default)]
pub struct WriteCall {
    /// The request.
    pub request: WriteRequest,
    /// Its records, when they came as a body of their own.
    pub streamed: Option<StreamedRecords>,
    /// The caller's `Idempotency-Key`.
    pub key: Option<String>,
    /// Whether the results are fetched later instead of being answered.
    pub later: bool,
}

/// How a write ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WriteEnd {
    /// How many records the conditions found, when it went by conditions.
    pub matched: Option<u64>,
}

/// A write in progress, or one whose results are told again. Dropping it cancels the run.
#[derive(Debug)]
pub struct RunningWrite {
    run_id: String,
    results: mpsc::Receiver<RecordResult>,
    task: JoinHandle<Result<WriteEnd, ActivityError>>,
    stop: DropGuard,
}

impl RunningWrite {
    /// The run's id.
    pub fn run_id(&self) -> &str {
        &self.run_id
    }

    /// The next result, in the order of the records; `None` at the end.
    pub async fn next(&mut self) -> Option<RecordResult> {
        self.results.recv().await
    }

    /// How it ended, after the last result.
    ///
    /// # Errors
    /// [`ActivityError`], when it stopped without having a result for every record.
    pub async fn end(self) -> Result<WriteEnd, ActivityError> {
        let end = ended(self.task).await;
        let _the_run_is_over = self.stop.disarm();
        end
    }

    /// The whole answer, for a caller that takes it in one piece.
    ///
    /// # Errors
    /// As [`RunningWrite::end`].
    pub async fn answer(mut self) -> Result<WriteAnswer, ActivityError> {
        let mut results = Vec::new();
        while let Some(result) = self.next().await {
            results.push(result);
        }
        let run_id = self.run_id.clone();
        let WriteEnd { matched } = self.end().await?;
        Ok(WriteAnswer { results, run_id, matched })
    }

    /// Lets it go on by itself; answers its run's id. The agent's drain waits for it.
    pub fn leave(self) -> String {
        let _goes_on = self.stop.disarm();
        self.run_id
    }
}

async fn ended(task: JoinHandle<Result<WriteEnd, ActivityError>>) -> Result<WriteEnd, ActivityError> {
    match task.await {
        Ok(end) => end,
        // A panic in a run belongs to its request, where the control port catches it.
        Err(failed) if failed.is_panic() => std::panic::resume_unwind(failed.into_panic()),
        Err(_) => Err(not_kept("the agent is stopping.")),
    }
}

/// What a write needs from the engine.
pub(super) struct Prepared {
    pub(super) live: Arc<Live>,
    pub(super) kind: ActivityKind,
    pub(super) object: Arc<Object>,
    pub(super) user_id: Option<String>,
    pub(super) metrics: Arc<Metrics>,
    pub(super) patience: Patience,
    pub(super) clock: Clock,
    pub(super) now: Timestamp,
    pub(super) chosen: Chosen,
    pub(super) streamed: Option<StreamedRecords>,
    pub(super) continue_on_error: bool,
    /// What the request is, for the comparison with another one under the same key.
    pub(super) fingerprint: String,
    pub(super) key: Option<String>,
    pub(super) later: bool,
}

impl Prepared {
    /// Checks a call. Nothing is sent and nothing is kept yet.
    ///
    /// # Errors
    /// [`ActivityError::BadRequest`].
    pub(super) fn new(
        live: &Arc<Live>,
        kind: ActivityKind,
        call: WriteCall,
        user_id: Option<String>,
        metrics: &Arc<Metrics>,
        (clock, patience): (&Clock, Patience),
    ) -> Result<Self, ActivityError> {
        let WriteCall { request, streamed, key, later } = call;
        let object = live
            .catalog
            .get()
            .find_object(&request.object)
            .map_err(|error| ActivityError::unknown("unknown_object", "object", error))?;
        if streamed.as_ref().is_some_and(|streamed| streamed.count == 0) {
            let message = "There are no records. Send at least one line, and for CSV a header before it.";
            return Err(ActivityError::field("bad_request", "records", message));
        }
        let fingerprint = fingerprint(&request, streamed.as_ref(), user_id.as_deref());
        let continue_on_error = request.continue_on_error;
        let chosen = chosen(request, kind, &object, streamed.is_some())?;
        let (live, metrics, clock, now) = (Arc::clone(live), Arc::clone(metrics), clock.clone(), clock.now());
        Ok(Self {
            live,
            kind,
            object,
            user_id,
            metrics,
            patience,
            clock,
            now,
            chosen,
            streamed,
            continue_on_error,
            fingerprint,
            key,
            later,
        })
    }

    /// The journal's name, when one is kept.
    pub(super) fn journal_name(&self, run: &str) -> Option<String> {
        match &self.key {
            Some(key) => Some(Kept::name_of_key(self.live.connection.name.as_str(), self.kind.as_str(), key)),
            None if self.later => Some(Kept::name_of_run(run)),
            None => None,
        }
    }

    /// How many records there are, unless they have to be found.
    fn count(&self) -> Option<usize> {
        match (&self.streamed, &self.chosen) {
            (Some(streamed), _) => Some(streamed.count),
            (None, Chosen::Listed(records)) => Some(records.len()),
            (None, Chosen::ByConditions { .. }) => None,
        }
    }

    /// The mark of a write that has no journal yet: always alike for one key, at every agent that has the connection, so
    /// that a repeat finds what the first call made.
    pub(super) fn mark(&self, run: &str) -> String {
        match &self.key {
            Some(key) => mark_of_key(&self.live.connection, self.kind, key, self.now),
            None => run.to_owned(),
        }
    }

    /// How its records are marked. `has_siblings`: other agents have the connection too.
    pub(super) fn marks(&self, run: &str, opened: Option<&Opened>, has_siblings: bool) -> Marks {
        let prefix = opened.map_or_else(|| run.to_owned(), |opened| opened.mark.clone());
        let many = self.count().is_none_or(|count| count > ONE_BY_ONE);
        // The journal of another agent is not seen here. A look for every record of a large write doubles its requests, so
        // it is taken where another agent is known to be.
        let is_new = opened.is_none_or(|opened| opened.earlier.header.is_none());
        let key = self.key.as_ref().filter(|_| is_new && (has_siblings || !many));
        let elsewhere = key.map(|key| Elsewhere::of_key(&self.live.connection, self.kind, key, self.now));
        Marks { prefix, with_property: self.key.is_some() || many, elsewhere }
    }

    /// Starts it.
    pub(super) fn start(
        self,
        run: Run,
        context: CallContext,
        marks: Marks,
        opened: Option<Opened>,
    ) -> RunningWrite {
        let (tell, results) = mpsc::channel(RESULTS_AHEAD);
        let stop = CancellationToken::clone(run.cancel_token()).drop_guard();
        let run_id = run.id().to_owned();
        // With the results in a journal there is nobody to tell them to.
        let told = (!self.later).then_some(tell);
        let task = tokio::spawn(self.run(run, context, marks, opened, told));
        RunningWrite { run_id, results, task, stop }
    }

    async fn run(
        self,
        mut run: Run,
        context: CallContext,
        marks: Marks,
        opened: Option<Opened>,
        told: Option<mpsc::Sender<RecordResult>>,
    ) -> Result<WriteEnd, ActivityError> {
        let (journal, held) = match opened {
            Some(Opened { journal, earlier, held, .. }) => (Some((journal, earlier)), Some(held)),
            None => (None, None),
        };
        let written = Box::pin(self.write(&run, context, marks, journal, told)).await;
        // The journal is free for a repeat before anybody can learn that the run has ended.
        drop::<Option<Held>>(held);
        match written {
            Ok((status, error, end)) => {
                match error {
                    Some(error) => run.fail(&error),
                    None => run.succeed(status),
                }
                Ok(end)
            }
            Err(error) => {
                run.fail(&error);
                Err(error)
            }
        }
    }

    async fn write(
        self,
        run: &Run,
        context: CallContext,
        marks: Marks,
        journal: Option<(Journal, Earlier)>,
        told: Option<mpsc::Sender<RecordResult>>,
    ) -> Result<(RunStatus, Option<ActivityError>, WriteEnd), ActivityError> {
        let Self { live, kind, object, user_id, metrics, now, chosen, streamed, continue_on_error, .. } =
            self;
        let (clock, patience) = (self.clock, self.patience);
        let mut matched = None;
        let source = match (streamed, chosen) {
            (Some(streamed), _) => Source::Streamed(streamed),
            (None, Chosen::Listed(records)) => Source::Given(records.into_iter()),
            (None, Chosen::ByConditions { scan, set, most, dry_run }) => {
                let kept = journal.as_ref().and_then(|(_, earlier)| earlier.found.clone());
                let again = kept.is_some();
                let records = match kept {
                    Some(records) => records,
                    // What is to be set stays out of the journal: it may be a password.
                    None => {
                        let caller = (user_id.as_deref(), now);
                        find(&live, &object, &scan, &Record::new(), most, caller, &context).await?
                    }
                };
                matched = Some(records.len() as u64);
                if let Some((journal, _)) = journal.as_ref().filter(|_| !again && !dry_run) {
                    let text = journal::found(&records);
                    journal.append(text).await.map_err(|()| {
                        not_kept("the journal of the run cannot be written; nothing was sent.")
                    })?;
                }
                let mut records = if dry_run { Vec::new() } else { records };
                for record in &mut records {
                    record.extend(set.iter().map(|(name, value)| (name.clone(), value.clone())));
                }
                Source::Given(records.into_iter())
            }
        };
        let source = match source {
            Source::Given(records) if kind == ActivityKind::Delete => {
                let earlier = journal.as_ref().map(|(_, earlier)| earlier);
                let records = named_by_id(&live, &object, records.collect(), earlier, &context).await?;
                Source::Given(records.into_iter())
            }
            source => source,
        };
        let name = live.connection.name.as_str().to_owned();
        let work = Work {
            live,
            kind,
            object,
            user_id,
            continue_on_error,
            source,
            marks,
            patience,
            clock,
            journal,
            told,
            context,
        };
        let ended = carry_out(work, run).await?;
        metrics.rows(&name, ended.written);
        let status = if ended.failed == 0 { RunStatus::Success } else { RunStatus::SuccessWithWarning };
        // A run that was stopped is shown as such, whatever it had written by then.
        let stopped = ended.error.as_ref().is_some_and(ActivityError::is_stop);
        let error = ended.error.filter(|_| ended.written == 0 || stopped);
        Ok((status, error, WriteEnd { matched }))
    }
}

/// SHA-256 over everything that makes this request another one, in hex.
fn fingerprint(request: &WriteRequest, streamed: Option<&StreamedRecords>, user_id: Option<&str>) -> String {
    let mut context = Context::new(&SHA256);
    let mut add = |bytes: &[u8]| {
        context.update(&bytes.len().to_be_bytes());
        context.update(bytes);
    };
    // The request came from JSON, so it becomes JSON.
    add(&serde_json::to_vec(request).unwrap_or_default());
    add(user_id.unwrap_or_default().as_bytes());
    add(streamed.map_or(&[], |streamed| &streamed.digest));
    hex(context.finish().as_ref())
}
