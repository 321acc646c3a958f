//! One thing that Graph counts together: places for requests at once, a fair queue before them, a gate that a refusal
//! closes, and after it a slow start: half the places, one more for each round that goes well. Never sends.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use tokio::sync::oneshot;
use tokio::time::Instant;
use tokio_util::task::AbortOnDropHandle;

use crate::graph::bounds::{Stop, bounded};
use crate::graph::{CallContext, GraphError, GraphRefusal, Traffic};

use super::budget::Budget;
use super::cost::Cost;
use super::pressure::{Left, Pressure};
use super::queue::{FairQueue, Ticket};

/// Requests that may wait in one lane. Who comes then is told to come back.
const MOST_WAITING: usize = 20_000;
/// When to come back.
const COME_BACK: Duration = Duration::from_secs(5);

#[derive(Debug)]
pub(super) struct Lane {
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    /// Places there are at most.
    capacity: u32,
    /// Places there are now, from 1.
    limit: u32,
    /// Requests that have gone well since the last change of the limit.
    gone_well: u32,
    in_flight: u32,
    /// The most places in use at once since the last refusal: what a refusal halves.
    busiest: u32,
    queue: FairQueue<Waiter>,
    closed: Option<Closed>,
    pace: Option<Pace>,
    budget: Option<Budget>,
    /// Looks at the queue again when the next thing happens by time alone.
    timer: Option<(Instant, AbortOnDropHandle<()>)>,
    /// The lane that counts for this one since both were found to be one mailbox.
    moved_to: Option<Arc<Lane>>,
}

/// A closed gate: until when, and what Graph said.
#[derive(Clone, Debug)]
struct Closed {
    until: Instant,
    refusal: GraphRefusal,
}

/// One request every so often, until the rate limit begins anew.
#[derive(Clone, Copy, Debug)]
struct Pace {
    gap: Duration,
    until: Instant,
    next: Instant,
}

#[derive(Debug)]
struct Waiter {
    ask: Ask,
    deadline: Instant,
    traffic: Arc<Traffic>,
    answer: oneshot::Sender<Answer>,
}

/// The places that were given; `None`: the lane has moved, and the line is elsewhere now.
type Answer = Result<Option<u32>, GraphError>;

/// What is asked of a lane.
#[derive(Clone, Copy, Debug)]
pub(super) struct Ask {
    pub(super) places: u32,
    /// What it costs in a lane that has a budget.
    pub(super) cost: Cost,
    /// Whether it was sent before, and so goes before its run's others.
    pub(super) again: bool,
}

/// Places in a lane, given back when dropped.
#[derive(Debug)]
pub(super) struct Permit {
    lane: Arc<Lane>,
    places: u32,
}

impl Lane {
    pub(super) fn new(capacity: u32, with_budget: bool) -> Arc<Self> {
        let state = State {
            capacity,
            limit: capacity.max(1),
            gone_well: 0,
            in_flight: 0,
            busiest: 0,
            queue: FairQueue::new(),
            closed: None,
            pace: None,
            budget: with_budget.then(|| Budget::new(Instant::now())),
            timer: None,
            moved_to: None,
        };
        Arc::new(Self { state: Mutex::new(state) })
    }

    /// A reload may have given the lane another size.
    pub(super) fn resize(&self, capacity: u32) {
        let mut state = self.state();
        if state.capacity != capacity {
            let was_whole = state.limit >= state.capacity;
            state.capacity = capacity;
            state.limit = if was_whole { capacity } else { state.limit.min(capacity) }.max(1);
        }
    }

    /// Waits for a turn: free places, an open gate, and the budget. `None`: the lane has moved meanwhile.
    ///
    /// # Errors
    /// [`GraphError::NotNow`] when the gate opens after the deadline, or too many wait; [`GraphError::Deadline`],
    /// [`GraphError::Cancelled`].
    pub(super) async fn acquire(
        self: &Arc<Self>,
        ask: Ask,
        context: &CallContext,
    ) -> Result<Option<Permit>, GraphError> {
        if context.cancel.is_cancelled() {
            return Err(GraphError::Cancelled);
        }
        let Some(mut waiting) = self.line_up(ask, context)? else { return Ok(None) };
        let granted = match bounded(context, &mut waiting.answer).await {
            Ok(Ok(granted)) => granted,
            // A waiter is never dropped without an answer; were it, nothing would have been given.
            Ok(Err(_)) => Err(GraphError::Deadline),
            Err(Stop::Deadline) => return Err(self.not_in_time()),
            Err(stop) => return Err(stop.into()),
        };
        waiting.is_answered = true;
        granted.map(|places| places.map(|places| Permit { lane: Arc::clone(self), places }))
    }

    fn line_up(self: &Arc<Self>, ask: Ask, context: &CallContext) -> Result<Option<Waiting<'_>>, GraphError> {
        let mut state = self.state();
        if state.moved_to.is_some() {
            return Ok(None);
        }
        if let Some(closed) = state.closed(Instant::now()) {
            closed.refuse_beyond(context.deadline)?;
            context.traffic.held_until(closed.until);
        }
        if state.queue.len() >= MOST_WAITING {
            return Err(too_many_wait());
        }
        let (answer, answered) = oneshot::channel();
        let traffic = Arc::clone(&context.traffic);
        let run = traffic.run();
        let waiter = Waiter { ask, deadline: context.deadline, traffic, answer };
        let ticket = state.queue.push(run, ask.places, ask.again, waiter);
        self.serve(&mut state);
        Ok(Some(Waiting { lane: self, ticket, answer: answered, is_answered: false }))
    }

    /// Lets `other` count for this lane from now on: what is in the air here counts there too until it comes back, a gate
    /// that is closed here is closed there, and nobody gets in here any more. `other` must never move to this lane.
    pub(super) fn move_to(self: &Arc<Self>, other: &Arc<Self>) {
        if Arc::ptr_eq(self, other) {
            return;
        }
        // Both locks at once, so that no place comes back in between. The order is never the other way round.
        let mut state = self.state();
        let mut theirs = other.state();
        if state.moved_to.is_some() {
            return;
        }
        theirs.in_flight += state.in_flight;
        let now = Instant::now();
        if let Some(closed) = state.closed(now).cloned()
            && theirs.closed(now).is_none_or(|known| known.until < closed.until)
        {
            theirs.closed = Some(closed);
        }
        drop(theirs);
        state.moved_to = Some(Arc::clone(other));
        for waiter in state.queue.remove_where(|_| true) {
            let _caller_may_be_gone = waiter.answer.send(Ok(None));
        }
    }

    /// Places come back.
    fn give_back(self: &Arc<Self>, places: u32) {
        let mut state = self.state();
        state.in_flight -= places;
        let moved_to = state.moved_to.clone();
        self.serve(&mut state);
        drop(state);
        if let Some(other) = moved_to {
            other.give_back(places);
        }
    }

    /// Lets everybody in for whom there is room now, and sees to it that the others are looked at in time.
    fn serve(self: &Arc<Self>, state: &mut State) {
        let now = Instant::now();
        loop {
            let Some((_, waiter)) = state.queue.head() else {
                state.timer = None;
                return;
            };
            let ask = waiter.ask;
            // A lane with fewer places than asked for gives what it has.
            let places = ask.places.clamp(1, state.limit);
            if state.in_flight > 0 && state.in_flight + places > state.limit {
                return;
            }
            if let Some(later) = state.not_before(ask.cost, now) {
                self.look_again(state, later);
                return;
            }
            let Some(waiter) = state.queue.take() else { return };
            if waiter.answer.send(Ok(Some(places))).is_ok() {
                state.admit(places, ask.cost, now);
            }
        }
    }

    fn look_again(self: &Arc<Self>, state: &mut State, at: Instant) {
        if state.timer.as_ref().is_some_and(|(armed, _)| *armed == at) {
            return;
        }
        // Outside a runtime nobody waits.
        let Ok(runtime) = tokio::runtime::Handle::try_current() else { return };
        let lane = Arc::downgrade(self);
        let timer = runtime.spawn(async move {
            tokio::time::sleep_until(at).await;
            if let Some(lane) = Weak::upgrade(&lane) {
                let mut state = lane.state();
                // Its own handle goes with it: nothing is left to abort.
                let _this_task = state.timer.take_if(|(armed, _)| *armed == at);
                lane.serve(&mut state);
            }
        });
        state.timer = Some((at, AbortOnDropHandle::new(timer)));
    }

    /// Graph refused: nobody gets in until then. By how much that is longer than before.
    pub(super) fn close(self: &Arc<Self>, until: Instant, refusal: &GraphRefusal) -> Duration {
        let mut state = self.state();
        let now = Instant::now();
        let before = state.closed(now).map(|closed| closed.until);
        // Requests that were in the air together are refused together: that is one refusal to slow down for.
        if before.is_none() {
            state.slow_down();
        }
        let from = before.unwrap_or(now);
        if until <= from {
            return Duration::ZERO;
        }
        state.closed = Some(Closed { until, refusal: refusal.clone() });
        for late in state.queue.remove_where(|waiter| waiter.deadline <= until) {
            let not_now =
                GraphError::NotNow { refusal: refusal.clone(), after: until.saturating_duration_since(now) };
            let _caller_may_be_gone = late.answer.send(Err(not_now));
        }
        state.queue.each(|waiter| waiter.traffic.held_until(until));
        self.serve(&mut state);
        until - from
    }

    /// A request that had `places` ended well.
    fn succeeded(self: &Arc<Self>, places: u32) {
        let mut state = self.state();
        if state.limit < state.capacity {
            state.gone_well += places;
            // One more place for each round of as many requests as there are places.
            if state.gone_well >= state.limit {
                (state.limit, state.gone_well) = (state.limit + 1, 0);
                self.serve(&mut state);
            }
        }
    }

    /// What the service said in an answer to a request that was thought to cost `cost`.
    pub(super) fn heard(self: &Arc<Self>, cost: Cost, said: &Pressure) {
        let mut state = self.state();
        let now = Instant::now();
        if let Some(budget) = &mut state.budget {
            budget.learn(cost, said, now);
        }
        if let Some(left) = said.left {
            state.pace = pace(left, now);
            self.serve(&mut state);
        }
    }

    pub(super) fn is_closed(&self) -> bool {
        self.state().closed(Instant::now()).is_some()
    }

    /// Whether a new lane would do as well.
    pub(super) fn is_as_new(&self) -> bool {
        let mut state = self.state();
        let now = Instant::now();
        state.closed(now).is_none()
            && state.pace.is_none_or(|pace| pace.until <= now)
            && state.limit >= state.capacity
            && state.budget.as_mut().is_none_or(|budget| budget.is_full(now))
    }

    /// [`GraphError::NotNow`] when the gate opens at `deadline` or later.
    pub(super) fn refuse_if_closed_beyond(&self, deadline: Instant) -> Result<(), GraphError> {
        self.state().closed(Instant::now()).map_or(Ok(()), |closed| closed.refuse_beyond(deadline))
    }

    fn not_in_time(&self) -> GraphError {
        self.state().closed(Instant::now()).map_or(GraphError::Deadline, Closed::not_now)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // Whole between any two statements, so a panic elsewhere cannot have left it torn.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn closed(&mut self, now: Instant) -> Option<&Closed> {
        self.closed.take_if(|closed| closed.until <= now);
        self.closed.as_ref()
    }

    /// When the next request may go, for reasons of time; `None`: now.
    fn not_before(&mut self, cost: Cost, now: Instant) -> Option<Instant> {
        if let Some(closed) = self.closed(now) {
            return Some(closed.until);
        }
        self.pace.take_if(|pace| pace.until <= now);
        let paced = self.pace.map(|pace| pace.next).filter(|next| *next > now);
        let afforded = self.budget.as_mut().and_then(|budget| budget.when(cost, now));
        paced.max(afforded)
    }

    fn admit(&mut self, places: u32, cost: Cost, now: Instant) {
        self.in_flight += places;
        self.busiest = self.busiest.max(self.in_flight);
        if let Some(pace) = &mut self.pace {
            pace.next = pace.next.max(now) + pace.gap;
        }
        if let Some(budget) = &mut self.budget {
            budget.spend(cost);
        }
    }

    fn slow_down(&mut self) {
        // What the lane could do is not what it did: a lane of a thousand places that had forty in use begins with twenty.
        self.limit = (self.limit.min(self.busiest) / 2).max(1);
        self.gone_well = 0;
        self.busiest = self.in_flight;
        if let Some(budget) = &mut self.budget {
            budget.refused();
        }
    }
}

impl Closed {
    fn refuse_beyond(&self, deadline: Instant) -> Result<(), GraphError> {
        if self.until >= deadline { Err(self.not_now()) } else { Ok(()) }
    }

    fn not_now(&self) -> GraphError {
        let after = self.until.saturating_duration_since(Instant::now());
        GraphError::NotNow { refusal: self.refusal.clone(), after }
    }
}

fn pace(left: Left, now: Instant) -> Option<Pace> {
    left.gap().map(|gap| {
        // With nothing left the first one waits as well.
        let next = if left.remaining < 1.0 { now + left.reset } else { now + gap };
        Pace { gap, until: now + left.reset, next }
    })
}

fn too_many_wait() -> GraphError {
    let refusal = GraphRefusal {
        status: 503,
        code: "TooManyWaiting".to_owned(),
        message: format!(
            "{MOST_WAITING} requests of this agent already wait for the same mailbox or service"
        ),
        ..GraphRefusal::default()
    };
    GraphError::NotNow { refusal, after: COME_BACK }
}

/// One that has lined up. Leaving gives its turn, or its places, to the next.
#[derive(Debug)]
struct Waiting<'l> {
    lane: &'l Arc<Lane>,
    ticket: Ticket,
    answer: oneshot::Receiver<Answer>,
    is_answered: bool,
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        if self.is_answered {
            return;
        }
        let mut state = self.lane.state();
        let was_waiting = state.queue.remove(self.ticket).is_some();
        self.lane.serve(&mut state);
        drop(state);
        if !was_waiting && let Ok(Ok(Some(places))) = self.answer.try_recv() {
            self.lane.give_back(places);
        }
    }
}

impl Permit {
    /// The request ended well.
    pub(super) fn succeeded(&self) {
        self.lane.succeeded(self.places);
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        self.lane.give_back(self.places);
    }
}
