//! A write in progress: records in, requests on their way, doubts looked into, results out in the order of the records.
//! Never decides what Graph's answers mean and never sends by itself.
//!
//! With a journal the order is: intent durable → sent → result durable → told. So whatever dies in between, a repeat
//! with the same key knows which records are done, which may be, and which certainly are not.

use std::collections::HashMap;
use std::sync::Arc;

use futures_util::future::BoxFuture;
use futures_util::stream::{FuturesUnordered, StreamExt};
use tokio::sync::mpsc;
use tokio::time::Instant;

use super::doubts::{Doubt, Doubts, Finding, Why};
use super::engine::Live;
use super::error::ActivityError;
use super::journal::{Earlier, Journal, Line};
use super::mark::Marks;
use super::model::{Record, RecordResult};
use super::outgoing::Out;
use super::patience::Patience;
use super::results::Outcome;
use super::runs::Run;
use super::target::{Prepared, prepare};
use super::upload::{Source, not_kept};
use crate::catalog::Object;
use crate::clock::Clock;
use crate::connection::ActivityKind;
use crate::graph::{
    Announce, Bulk, BulkOptions, BulkOutcome, CallContext, Effect, Finished, GraphError, GraphRefusal,
    GraphRequest,
};

/// Records that are read at a time.
const READ_AT_ONCE: usize = 1000;
/// Records that may be between being read and being told: the results of records behind a slow mailbox wait for it.
const MOST_OUTSTANDING: usize = 50_000;
/// Bytes of requests that may wait to be sent.
const MOST_WAITING_BYTES: usize = 32 * 1024 * 1024;
/// What a waiting request takes beside its body and path.
const REQUEST_OVERHEAD: usize = 400;
/// How often a record that was looked for and not found is sent again.
const SENT_AGAIN: u32 = 2;
/// Up to this many records that must stop at the first failure go one by one, in order.
pub(super) const ONE_BY_ONE: usize = 20;

/// What a write works on.
#[derive(Debug)]
pub(super) struct Work {
    pub(super) live: Arc<Live>,
    pub(super) kind: ActivityKind,
    pub(super) object: Arc<Object>,
    pub(super) user_id: Option<String>,
    pub(super) continue_on_error: bool,
    pub(super) source: Source,
    pub(super) marks: Marks,
    pub(super) patience: Patience,
    pub(super) clock: Clock,
    pub(super) journal: Option<(Journal, Earlier)>,
    /// Who gets the results; `None` when they are fetched from the journal later.
    pub(super) told: Option<mpsc::Sender<RecordResult>>,
    pub(super) context: CallContext,
}

/// How a write ended.
#[derive(Debug, Default)]
pub(super) struct Ended {
    pub(super) written: u64,
    pub(super) failed: u64,
    /// The first error, for the run.
    pub(super) error: Option<ActivityError>,
}

/// Carries `work` out.
///
/// # Errors
/// [`ActivityError::NotKept`], when the state directory fails in the middle: what was sent stands in the journal.
pub(super) async fn carry_out(work: Work, run: &Run) -> Result<Ended, ActivityError> {
    let Work {
        live, kind, object, user_id, continue_on_error, source, marks, journal, told, context, ..
    } = work;
    let (patience, clock) = (work.patience, work.clock);
    let (journal, earlier) =
        journal.map_or((None, Earlier::default()), |(journal, earlier)| (Some(journal), earlier));
    let one_at_a_time = !continue_on_error && source.total() <= ONE_BY_ONE;
    let options = BulkOptions {
        one_at_a_time,
        chains: true,
        announce: journal.clone().map(|journal| announce(journal, clock.clone())),
    };
    run.set_total(source.total() as u64);
    let mut writing = Writing {
        bulk: Bulk::new(Arc::clone(&live.graph), context.clone(), options),
        doubts: Doubts::new(Arc::clone(&live.graph), context.clone(), marks.clone(), patience),
        live,
        kind,
        object,
        user_id,
        continue_on_error,
        one_at_a_time,
        source,
        read: 0,
        source_ended: false,
        marks,
        patience,
        clock,
        journal,
        earlier,
        context,
        closed: None,
        halted: false,
        ids: HashMap::new(),
        sent_again: HashMap::new(),
        waiting_bytes: 0,
        being_kept: FuturesUnordered::new(),
        out: Out::new(told),
        run,
        ended: Ended::default(),
    };
    writing.work().await?;
    Ok(writing.ended)
}

/// Nothing is sent before its intent is durable.
fn announce(journal: Journal, clock: Clock) -> Announce {
    Arc::new(move |indices| {
        let (journal, at) = (journal.clone(), clock.now().as_millis());
        Box::pin(async move {
            let mut text = Vec::new();
            Line::Sent { at, records: &indices }.write(&mut text);
            journal.append(text).await
        })
    })
}

struct Writing<'r> {
    live: Arc<Live>,
    kind: ActivityKind,
    object: Arc<Object>,
    user_id: Option<String>,
    continue_on_error: bool,
    one_at_a_time: bool,
    source: Source,
    read: usize,
    source_ended: bool,
    marks: Marks,
    patience: Patience,
    clock: Clock,
    journal: Option<Journal>,
    earlier: Earlier,
    context: CallContext,
    bulk: Bulk,
    doubts: Doubts,
    /// Set when records that are read from now on are not tried, with the reason if it is not an earlier record.
    closed: Option<Option<GraphError>>,
    /// Whether records that were read before are not begun either.
    halted: bool,
    /// The ids of records that were given one.
    ids: HashMap<usize, String>,
    sent_again: HashMap<usize, u32>,
    waiting_bytes: usize,
    being_kept: FuturesUnordered<BoxFuture<'static, Result<Vec<RecordResult>, ()>>>,
    out: Out,
    run: &'r Run,
    ended: Ended,
}

impl Writing<'_> {
    async fn work(&mut self) -> Result<(), ActivityError> {
        loop {
            self.notice_stops();
            if self.has_room() {
                self.take_in_more().await?;
                self.bulk.begin(false);
            }
            // One by one, a record in doubt must be cleared up before the next is sent.
            let hold = self.one_at_a_time && !self.doubts.is_empty() && !self.bulk.is_busy();
            let room = self.has_room();
            tokio::select! {
                biased;
                handed = self.out.hand_over(), if !self.out.ready.is_empty() => if !handed {
                    self.caller_has_gone();
                },
                Some(kept) = self.being_kept.next(), if !self.being_kept.is_empty() => match kept {
                    Ok(results) => results.into_iter().for_each(|result| self.out.push(result)),
                    Err(()) => return Err(self.journal_failed().await),
                },
                Some(found) = self.doubts.next(), if !self.doubts.is_empty() => self.cleared_up(found),
                Some(finished) = self.bulk.next(), if !hold => self.finished(finished),
                () = std::future::ready(()), if room => {}
                else => break,
            }
        }
        debug_assert!(self.out.is_done(), "every record has been told");
        Ok(())
    }

    fn has_room(&self) -> bool {
        let outstanding = self.read - self.out.next + self.out.ready.len();
        !self.source_ended && outstanding < MOST_OUTSTANDING && self.waiting_bytes < MOST_WAITING_BYTES
    }

    /// A cancelled run, or one whose time is over, begins nothing more.
    fn notice_stops(&mut self) {
        if self.halted {
            return;
        }
        if self.context.cancel.is_cancelled() {
            self.halt(Some(GraphError::Cancelled));
        } else if Instant::now() >= self.context.deadline {
            self.halt(Some(GraphError::Deadline));
        }
    }

    /// Nothing more is begun, whatever was read.
    fn halt(&mut self, why: Option<GraphError>) {
        if let Some(error) = &why {
            self.ended.error.get_or_insert_with(|| error.clone().into());
        }
        self.closed.get_or_insert(why);
        self.halted = true;
        self.bulk.stop();
    }

    fn caller_has_gone(&mut self) {
        self.out.told = None;
        self.out.ready.clear();
        self.context.cancel.cancel();
    }

    /// What is on its way is waited for, so that its outcome reaches the log at least.
    async fn journal_failed(&mut self) -> ActivityError {
        self.bulk.stop();
        while self.bulk.next().await.is_some() {}
        not_kept(
            "the journal of the run cannot be written. The run has stopped; repeat the call with the same Idempotency-Key when the disk is well again.",
        )
    }

    async fn take_in_more(&mut self) -> Result<(), ActivityError> {
        let records = self.source.next(READ_AT_ONCE).await?;
        self.source_ended = records.is_empty();
        let mut outcomes = Vec::new();
        for record in records {
            let index = self.read;
            self.read += 1;
            if let Some(result) = self.earlier.done(index)? {
                // The first result stands; it is durable already.
                self.count(&result);
                if !result.was_written() && !self.continue_on_error {
                    self.closed.get_or_insert(None);
                }
                self.out.push(result);
            } else if let Some(why) = self.closed.clone() {
                let id = id_of(&record);
                // It may have been sent by an earlier run, and is not looked for any more.
                let outcome = match self.earlier.sent.contains_key(&index) {
                    true => Outcome::answered(index, self.kind, id, Err(sent_by_an_earlier_run())),
                    false => Outcome::skipped(index, id, why),
                };
                outcomes.push(outcome);
            } else {
                self.take_in(index, &record, &mut outcomes);
            }
        }
        self.keep(outcomes);
        Ok(())
    }

    fn take_in(&mut self, index: usize, record: &Record, outcomes: &mut Vec<Outcome>) {
        let connection = &self.live.connection;
        let user = self.user_id.as_deref();
        match prepare(&self.object, self.kind, connection, user, record, (&self.marks, index)) {
            Err(error) => {
                outcomes.push(Outcome::refused(index, error));
                if !self.continue_on_error {
                    // What came before it goes on; what comes behind it is not begun.
                    self.closed.get_or_insert(None);
                }
            }
            Ok(Prepared { request, id }) => {
                if let Some(id) = id {
                    self.ids.insert(index, id);
                }
                // A change gives the same again, and so does an event with its transactionId; the others would be done
                // twice, or not be found.
                let repeatable =
                    request.method == http::Method::PATCH || request.effect == Effect::Repeatable;
                let sent = self.earlier.sent.get(&index).copied();
                let again = sent.filter(|_| !repeatable || request.method == http::Method::DELETE);
                match again.map(|at| self.patience.age(at, self.clock.now())) {
                    Some(age) => {
                        let why = Why::Lost { what: sent_by_an_earlier_run(), earlier: Some(age) };
                        self.ask(index, request, why, outcomes);
                    }
                    None if sent.is_none()
                        && self.kind == ActivityKind::Create
                        && self.marks.elsewhere.is_some() =>
                    {
                        self.ask(index, request, Why::Elsewhere, outcomes);
                    }
                    None => self.send(index, request, outcomes),
                }
            }
        }
    }

    fn send(&mut self, index: usize, request: GraphRequest, outcomes: &mut Vec<Outcome>) {
        let names_version = request.headers.iter().any(|(name, _)| *name == "If-Match");
        let is_change = matches!(request.method, http::Method::PATCH | http::Method::DELETE);
        if is_change && self.object.needs_etag() && !names_version {
            return self.ask(index, request, Why::Etag, outcomes);
        }
        self.waiting_bytes += weight(&request);
        self.bulk.push(index, request);
    }

    fn finished(&mut self, Finished { index, request, outcome }: Finished) {
        self.waiting_bytes = self.waiting_bytes.saturating_sub(weight(&request));
        let mut outcomes = Vec::new();
        match outcome {
            BulkOutcome::NotTried => outcomes.push(self.skipped(index)),
            BulkOutcome::Answered(Err(what @ GraphError::OutcomeUnknown { .. })) => {
                self.note_sent(index);
                self.ask(index, request, Why::Lost { what, earlier: None }, &mut outcomes);
            }
            BulkOutcome::Answered(Err(GraphError::Refused(refusal)))
                if refusal.is_known_transaction() && self.is_repeat(index, &request, &refusal) =>
            {
                match refusal.existing_event {
                    Some(id) => outcomes.push(Outcome::done(index, self.kind, Some(id))),
                    None => self.ask(index, request, Why::Recognised, &mut outcomes),
                }
            }
            BulkOutcome::Answered(mut answer) => {
                let id = self.ids.remove(&index);
                if matches!(&answer, Err(GraphError::Refused(refusal)) if refusal.status == 412)
                    && self.earlier.sent.contains_key(&index)
                {
                    // The Etag may be an old one just because the earlier run changed the record.
                    answer = Err(sent_by_an_earlier_run());
                }
                outcomes.push(Outcome::answered(index, self.kind, id, answer));
            }
        }
        self.keep_and_judge(outcomes);
    }

    /// Notes that a record was sent until now: its last try can be minutes later than its intent, while Graph throttles.
    fn note_sent(&mut self, index: usize) {
        let Some(journal) = self.journal.clone() else { return };
        let mut text = Vec::new();
        Line::Sent { at: self.clock.now().as_millis(), records: &[index] }.write(&mut text);
        self.being_kept.push(Box::pin(async move { journal.append(text).await.map(|()| Vec::new()) }));
    }

    /// Whether the service says of an event that was sent before, here or with the same key elsewhere, that it is there.
    fn is_repeat(&self, index: usize, request: &GraphRequest, refusal: &GraphRefusal) -> bool {
        refusal.after_lost_answer
            || self.earlier.sent.contains_key(&index)
            || self.sent_again.contains_key(&index)
            || self.marks.is_own_transaction(index, request)
    }

    fn skipped(&mut self, index: usize) -> Outcome {
        let why = self.closed.clone().flatten();
        Outcome::skipped(index, self.ids.remove(&index), why)
    }

    /// Has a record asked after; what cannot be found out is settled at once.
    fn ask(&mut self, index: usize, request: GraphRequest, why: Why, outcomes: &mut Vec<Outcome>) {
        let weight = weight(&request);
        match self.doubts.push(index, request, why) {
            Ok(()) => self.waiting_bytes += weight,
            Err((request, Why::Elsewhere)) => {
                // Nothing marks such a record, or the run is being stopped.
                self.waiting_bytes += weight;
                self.bulk.push(index, request);
            }
            Err((_, why)) => {
                let outcome = self.not_found_out(index, why);
                outcomes.push(outcome);
            }
        }
    }

    fn not_found_out(&mut self, index: usize, why: Why) -> Outcome {
        match why {
            Why::Lost { what, .. } => Outcome::answered(index, self.kind, self.ids.remove(&index), Err(what)),
            // It is there in any case.
            Why::Recognised => Outcome::done(index, self.kind, None),
            Why::Elsewhere | Why::Etag => self.skipped(index),
        }
    }

    fn cleared_up(&mut self, found: Vec<(Doubt, Finding)>) {
        let mut outcomes = Vec::new();
        for (Doubt { index, mut request, why, .. }, finding) in found {
            self.waiting_bytes = self.waiting_bytes.saturating_sub(weight(&request));
            let deletion = request.method == http::Method::DELETE;
            let first = matches!(why, Why::Elsewhere | Why::Etag);
            match finding {
                Finding::NotAsked(error) => {
                    let id = self.ids.remove(&index);
                    outcomes.push(Outcome::answered(index, self.kind, id, Err(error)));
                }
                _ if first && self.halted => outcomes.push(self.skipped(index)),
                Finding::Etag(etag) => {
                    request.headers.push(("If-Match", etag));
                    request.effect = Effect::Repeatable;
                    self.send(index, request, &mut outcomes);
                }
                Finding::There(id) if !deletion => outcomes.push(Outcome::done(index, self.kind, Some(id))),
                Finding::NotThere if first => self.send(index, request, &mut outcomes),
                Finding::NotThere if deletion => {
                    let id = self.ids.remove(&index);
                    outcomes.push(Outcome::done(index, self.kind, id));
                }
                Finding::There(_) | Finding::NotThere if self.may_send_again(index) => {
                    self.send(index, request, &mut outcomes);
                }
                _ => {
                    let outcome = self.not_found_out(index, why);
                    outcomes.push(outcome);
                }
            }
        }
        self.keep_and_judge(outcomes);
    }

    /// Counts one more repeat of a record, unless it had its share.
    fn may_send_again(&mut self, index: usize) -> bool {
        let again = self.sent_again.entry(index).or_insert(0);
        let may = *again < SENT_AGAIN && !self.halted;
        *again += u32::from(may);
        may
    }

    /// A record that failed at Graph stops the run, unless the caller wants it to go on.
    fn keep_and_judge(&mut self, outcomes: Vec<Outcome>) {
        let failed = outcomes.iter().any(|outcome| outcome.error.is_some());
        self.keep(outcomes);
        if failed && !self.continue_on_error && !self.halted {
            self.halt(None);
        }
    }

    /// Results become durable, if there is a journal, and are told then.
    fn keep(&mut self, outcomes: Vec<Outcome>) {
        if outcomes.is_empty() {
            return;
        }
        let mut results = Vec::with_capacity(outcomes.len());
        let mut text = Vec::new();
        for Outcome { result, for_good, error } in outcomes {
            if self.journal.is_some() {
                let line = if for_good { Line::Done(&result) } else { Line::Told(&result) };
                line.write(&mut text);
            }
            self.count(&result);
            if let Some(error) = error {
                self.ended.error.get_or_insert(error);
            }
            results.push(result);
        }
        match self.journal.clone() {
            None => results.into_iter().for_each(|result| self.out.push(result)),
            Some(journal) => {
                self.being_kept.push(Box::pin(async move { journal.append(text).await.map(|()| results) }));
            }
        }
    }

    fn count(&mut self, result: &RecordResult) {
        if result.was_written() {
            self.ended.written += 1;
            self.run.add_rows(1);
        } else {
            self.ended.failed += 1;
            self.run.add_failed(1);
        }
    }
}

/// What is known of a request that an earlier run may have sent.
pub(super) fn sent_by_an_earlier_run() -> GraphError {
    let what = "it was sent by an earlier run with this Idempotency-Key, which ended before the answer came"
        .to_owned();
    GraphError::OutcomeUnknown { what }
}

fn id_of(record: &Record) -> Option<String> {
    let id = record.iter().find(|(name, _)| name.eq_ignore_ascii_case("id"));
    id.and_then(|(_, id)| id.as_str()).map(str::to_owned)
}

fn weight(request: &GraphRequest) -> usize {
    request.body.as_ref().map_or(0, bytes::Bytes::len) + request.path.len() + REQUEST_OVERHEAD
}
