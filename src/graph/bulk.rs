//! Many requests on their way at once: which of them go into the next call, how many calls each mailbox has in the air,
//! and when a part that has to be repeated is due. Never judges an answer (`batch.rs` does) and never reads a body.
//!
//! Graph runs at most four requests of one app in one mailbox at once. A mailbox therefore begins with four calls side
//! by side, each a chain whose parts run one after the other: no place stands empty while a call travels, and after a
//! record that failed nothing of its chain is done. At the first trouble (a refusal, a 429) a mailbox goes over to one
//! call at a time whose parts run side by side, which loses less when parts fail.

use std::collections::{BTreeMap, VecDeque};
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::BoxFuture;
use futures_util::stream::{FuturesUnordered, StreamExt};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::batch::{Order, PARTS_PER_CALL, PartResult, Verdict, one_call};
use super::batch_parts::Part;
use super::client::GraphClient;
use super::governor::Governor;
use super::{CallContext, GraphError, GraphRequest};

/// Calls of one bulk in the air, over all mailboxes. The governor bounds what one mailbox or tenant takes.
const CALLS_AT_ONCE: usize = 128;
/// Calls in the air that touch no mailbox: Graph counts those by rate, so more at once gain nothing.
const DIRECTORY_CALLS_AT_ONCE: usize = 4;
/// How long calls that are on their way may go on after a stop, so that their outcome is known.
const GRACE: Duration = Duration::from_secs(10);

/// Called with the indices of the requests that are about to be sent; nothing is sent before it has answered, and
/// nothing at all when it fails.
pub type Announce = Arc<dyn Fn(Vec<usize>) -> BoxFuture<'static, Result<(), ()>> + Send + Sync>;

/// How a bulk goes about its requests.
#[derive(Clone, Default)]
pub struct BulkOptions {
    /// One request at a time, in order, each by itself.
    pub one_at_a_time: bool,
    /// Whether a mailbox begins with chains; otherwise with one call at a time.
    pub chains: bool,
    /// Told before requests are sent.
    pub announce: Option<Announce>,
}

impl fmt::Debug for BulkOptions {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { one_at_a_time, chains, announce } = self;
        formatter
            .debug_struct("BulkOptions")
            .field("one_at_a_time", one_at_a_time)
            .field("chains", chains)
            .field("announce", &announce.is_some())
            .finish()
    }
}

/// What became of a request.
#[derive(Debug)]
pub enum BulkOutcome {
    /// It was sent.
    Answered(PartResult),
    /// It was certainly not sent: the bulk was stopped before.
    NotTried,
}

/// A request that is done with.
#[derive(Debug)]
pub struct Finished {
    /// The number it was given with.
    pub index: usize,
    /// The request itself, for a caller that wants to ask after it.
    pub request: GraphRequest,
    /// What became of it.
    pub outcome: BulkOutcome,
}

/// Requests on their way.
pub struct Bulk {
    client: Arc<GraphClient>,
    /// The caller's bound: nothing begins after it.
    caller: CallContext,
    /// The bound of calls that have begun.
    context: CallContext,
    options: BulkOptions,
    lanes: BTreeMap<Option<String>, Lane>,
    calls: FuturesUnordered<BoxFuture<'static, Returned>>,
    done: VecDeque<Finished>,
    stopped: Option<Instant>,
}

impl fmt::Debug for Bulk {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { lanes, calls, stopped, .. } = self;
        formatter
            .debug_struct("Bulk")
            .field("lanes", &lanes.len())
            .field("calls", &calls.len())
            .field("stopped", stopped)
            .finish_non_exhaustive()
    }
}

/// What waits for one mailbox.
#[derive(Debug)]
struct Lane {
    fresh: VecDeque<Part>,
    again: Vec<Part>,
    in_air: usize,
    chains: bool,
    /// Calls at once while in chains, and otherwise.
    widths: (usize, usize),
}

/// A call that has come back.
struct Returned {
    lane: Option<String>,
    parts: Vec<(Part, Option<Verdict>)>,
}

impl Bulk {
    /// Nothing is sent yet. When `context` is cancelled or its deadline passes, nothing new begins, and calls that are on
    /// their way have a few seconds to come back.
    pub fn new(client: Arc<GraphClient>, context: CallContext, options: BulkOptions) -> Self {
        let calls_context = CallContext {
            cancel: CancellationToken::new(),
            deadline: context.deadline + GRACE,
            ..context.clone()
        };
        Self {
            client,
            caller: context,
            context: calls_context,
            options,
            lanes: BTreeMap::new(),
            calls: FuturesUnordered::new(),
            done: VecDeque::new(),
            stopped: None,
        }
    }

    /// Takes a request in. It is sent by [`Bulk::next`] or [`Bulk::begin`].
    pub fn push(&mut self, index: usize, request: GraphRequest) {
        if let Err(error) = self.client.check_part(&request) {
            return self.done.push_back(Finished {
                index,
                request,
                outcome: BulkOutcome::Answered(Err(error)),
            });
        }
        let part = Part::new(index, request);
        if self.stopped.is_some() {
            return self.done.push_back(not_tried(part));
        }
        let mailbox = part.request.mailbox.as_deref().map(str::to_lowercase);
        let connection = self.client.connection();
        let new_lane = || {
            let capacity = Governor::capacity(connection, part.request.mailbox.as_deref());
            let widths = match part.request.mailbox {
                Some(_) => (usize::try_from(capacity).unwrap_or(1), 1),
                None => (DIRECTORY_CALLS_AT_ONCE, DIRECTORY_CALLS_AT_ONCE),
            };
            // Directory requests have no places to share out, so chains would only make them wait for each other.
            let chains = self.options.chains && part.request.mailbox.is_some();
            Lane { fresh: VecDeque::new(), again: Vec::new(), in_air: 0, chains, widths }
        };
        self.lanes.entry(mailbox).or_insert_with(new_lane).fresh.push_back(part);
    }

    /// Whether calls are in the air.
    pub fn is_busy(&self) -> bool {
        !self.calls.is_empty()
    }

    /// Sends nothing more. What was not sent comes out as [`BulkOutcome::NotTried`].
    pub fn stop(&mut self) {
        self.stopped.get_or_insert_with(|| Instant::now() + GRACE);
        for lane in self.lanes.values_mut() {
            self.done.extend(lane.again.drain(..).chain(lane.fresh.drain(..)).map(not_tried));
        }
    }

    /// Begins the calls that can begin now. Without `partial` only full ones: more requests are about to come.
    pub fn begin(&mut self, partial: bool) {
        if self.stopped.is_some() {
            return;
        }
        let most = if self.options.one_at_a_time { 1 } else { CALLS_AT_ONCE };
        let now = Instant::now();
        let mut started = Vec::new();
        if self.options.one_at_a_time {
            let first = |lane: &Lane| lane.fresh.iter().chain(&lane.again).map(|part| part.index).min();
            let next = self.lanes.iter_mut().min_by_key(|(_, lane)| first(lane).unwrap_or(usize::MAX));
            if let Some((key, lane)) = next.filter(|_| self.calls.is_empty())
                && let Some((parts, order)) = lane.take(true, 1, now)
            {
                started.push((key.clone(), parts, order));
            }
        } else {
            'full: for (key, lane) in &mut self.lanes {
                while let Some((parts, order)) = lane.take(partial, PARTS_PER_CALL, now) {
                    started.push((key.clone(), parts, order));
                    if self.calls.len() + started.len() >= most {
                        break 'full;
                    }
                }
            }
        }
        for (lane, parts, order) in started {
            let (client, context) = (Arc::clone(&self.client), self.context.clone());
            let announce = self.options.announce.clone();
            self.calls.push(Box::pin(carry_out(client, context, announce, lane, parts, order)));
        }
    }

    /// The next request that is done with, in the order in which they finish; `None` when there are none. Nothing is lost
    /// when the future is dropped.
    pub async fn next(&mut self) -> Option<Finished> {
        loop {
            if let Some(finished) = self.done.pop_front() {
                return Some(finished);
            }
            if self.calls.len() < CALLS_AT_ONCE {
                self.begin(true);
            }
            let due = self.lanes.values().flat_map(|lane| lane.again.iter().map(|part| part.due)).min();
            if self.calls.is_empty() && due.is_none() {
                return None;
            }
            let wake = async {
                match due {
                    Some(due) => tokio::time::sleep_until(due).await,
                    None => std::future::pending().await,
                }
            };
            let hard_stop = async {
                match self.stopped {
                    Some(hard) if !self.context.cancel.is_cancelled() => tokio::time::sleep_until(hard).await,
                    _ => std::future::pending().await,
                }
            };
            let running = self.stopped.is_none();
            tokio::select! {
                biased;
                Some(returned) = self.calls.next(), if !self.calls.is_empty() => self.take_in(returned),
                () = hard_stop => self.context.cancel.cancel(),
                () = self.caller.cancel.cancelled(), if running => self.stop(),
                () = tokio::time::sleep_until(self.caller.deadline), if running => self.stop(),
                () = wake => {}
            }
        }
    }

    fn take_in(&mut self, Returned { lane: key, parts }: Returned) {
        let Some(lane) = self.lanes.get_mut(&key) else { return };
        lane.in_air = lane.in_air.saturating_sub(1);
        let mut refused = false;
        for (part, verdict) in parts {
            let outcome = match verdict {
                None => {
                    refused = true;
                    BulkOutcome::NotTried
                }
                Some(Verdict::Again(due)) => {
                    lane.chains = false;
                    let part = Part { due, ..part };
                    match self.stopped {
                        None => lane.again.push(part),
                        Some(_) => self.done.push_back(not_tried(part)),
                    }
                    continue;
                }
                Some(Verdict::Done(result)) => {
                    lane.chains &= result.is_ok();
                    BulkOutcome::Answered(part.settle(result).1)
                }
            };
            self.done.push_back(Finished { index: part.index, request: part.request, outcome });
        }
        if lane.in_air == 0 && lane.again.is_empty() && lane.fresh.is_empty() {
            self.lanes.remove(&key);
        }
        if refused {
            self.stop();
        }
    }
}

impl Lane {
    /// The parts of the next call, if one can begin.
    fn take(&mut self, partial: bool, most: usize, now: Instant) -> Option<(Vec<Part>, Order)> {
        let (chains, side_by_side) = self.widths;
        let width = if self.chains { chains } else { side_by_side };
        let free = width.saturating_sub(self.in_air);
        let due = self.again.iter().filter(|part| part.due <= now).count();
        let waiting = due + self.fresh.len();
        if free == 0 || waiting == 0 || (!partial && waiting < PARTS_PER_CALL * free) {
            return None;
        }
        self.again.sort_by_key(|part| (part.due > now, part.index));
        let share = if self.chains { waiting.div_ceil(free).min(most) } else { most };
        let candidates = self.again[..due].iter().chain(&self.fresh).take(share);
        let size = one_call(candidates);
        let again = size.min(due);
        let mut parts: Vec<Part> = self.again.drain(..again).collect();
        parts.extend(self.fresh.drain(..size - again));
        for part in &mut parts {
            part.progress.attempts += 1;
        }
        self.in_air += 1;
        Some((parts, if self.chains { Order::OneByOne } else { Order::SideBySide }))
    }
}

async fn carry_out(
    client: Arc<GraphClient>,
    context: CallContext,
    announce: Option<Announce>,
    lane: Option<String>,
    parts: Vec<Part>,
    order: Order,
) -> Returned {
    if let Some(announce) = announce
        && announce(parts.iter().map(|part| part.index).collect()).await.is_err()
    {
        return Returned { lane, parts: parts.into_iter().map(|part| (part, None)).collect() };
    }
    let answered = client.call(parts, order, &context).await;
    Returned { lane, parts: answered.into_iter().map(|(part, verdict)| (part, Some(verdict))).collect() }
}

/// A part that is not sent any more; one that was sent before may have been done.
fn not_tried(part: Part) -> Finished {
    let (index, settled) = part.settle(Err(GraphError::Cancelled));
    let outcome = match settled {
        Err(unknown @ GraphError::OutcomeUnknown { .. }) => BulkOutcome::Answered(Err(unknown)),
        _ => BulkOutcome::NotTried,
    };
    Finished { index, request: part.request, outcome }
}

impl GraphClient {
    /// Sends any number of requests and answers each, in order: one call at a time for each mailbox, whose parts run side
    /// by side. Cancelling stops before the next call; what was not sent answers [`GraphError::Cancelled`].
    pub async fn batch(
        self: &Arc<Self>,
        requests: Vec<GraphRequest>,
        context: &CallContext,
    ) -> Vec<PartResult> {
        let mut results: Vec<Option<PartResult>> = requests.iter().map(|_| None).collect();
        let mut bulk = Bulk::new(Arc::clone(self), context.clone(), BulkOptions::default());
        for (index, request) in requests.into_iter().enumerate() {
            bulk.push(index, request);
        }
        while let Some(Finished { index, outcome, .. }) = bulk.next().await {
            let stopped = || {
                let cancelled = context.cancel.is_cancelled();
                if cancelled { GraphError::Cancelled } else { GraphError::Deadline }
            };
            results[index] = Some(match outcome {
                BulkOutcome::Answered(result) => result,
                BulkOutcome::NotTried => Err(stopped()),
            });
        }
        let unanswered =
            || Err(GraphError::BadAnswer { what: "a part of the batch has no answer".to_owned() });
        results.into_iter().map(|result| result.unwrap_or_else(unanswered)).collect()
    }
}

#[cfg(test)]
#[path = "bulk_tests.rs"]
mod tests;
