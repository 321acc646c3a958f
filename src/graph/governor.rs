//! Who may talk to which mailbox now: a few requests at once per app and mailbox, first come first served, and a gate
//! that a 429 closes for everybody who uses the same lane. Never sends and never decides what to repeat.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::Instant;

use crate::connection::Connection;

use super::bounds::{Stop, bounded};
use super::{CallContext, GraphError, GraphRefusal};

/// Requests at once per connection that touch no mailbox. Graph counts those by rate rather than at once; this bounds
/// what one connection can have in the air.
const DIRECTORY_CONCURRENCY: u32 = 32;
/// Lanes that are kept for their closed gate though nobody uses them. Beyond it, idle lanes are forgotten: the next 429
/// closes the gate anew.
const IDLE_LANES: usize = 4096;

/// Shares out the right to send. One per agent, so that connections of one app share what Graph counts together.
#[derive(Debug, Default)]
pub struct Governor {
    lanes: Mutex<HashMap<LaneKey, Arc<Lane>>>,
}

/// What Graph counts together: the app in a tenant, and the mailbox.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
struct LaneKey {
    app: String,
    mailbox: Option<String>,
}

#[derive(Debug)]
struct Lane {
    slots: Arc<Semaphore>,
    capacity: u32,
    closed: Mutex<Option<Closed>>,
}

/// A closed gate: until when, and what Graph said.
#[derive(Clone, Debug)]
struct Closed {
    until: Instant,
    refusal: GraphRefusal,
}

impl Governor {
    /// A governor with every lane free.
    pub fn new() -> Arc<Self> {
        Arc::default()
    }

    /// Waits for `slots` places (at most all) in the lane of `connection` and `mailbox`, then until its gate is open.
    ///
    /// # Errors
    /// [`GraphError::NotNow`] when the gate opens after the deadline, [`GraphError::Deadline`], [`GraphError::Cancelled`].
    pub(super) async fn enter(
        self: &Arc<Self>,
        connection: &Connection,
        mailbox: Option<&str>,
        slots: u32,
        context: &CallContext,
    ) -> Result<Slot, GraphError> {
        let stay = self.stay(connection, mailbox);
        let slots = slots.clamp(1, stay.lane.capacity);
        stay.lane.refuse_if_closed_beyond(context.deadline)?;
        let acquire = Arc::clone(&stay.lane.slots).acquire_many_owned(slots);
        let permit = match bounded(context, acquire).await {
            Ok(permit) => permit.expect("a lane's semaphore is never closed"),
            Err(Stop::Deadline) => return Err(stay.lane.not_in_time()),
            Err(stop) => return Err(stop.into()),
        };
        // The gate is waited for with the slot in hand: who came first goes first, and when the gate opens no more than
        // the lane's slots rush in.
        while let Some(closed) = stay.lane.closed() {
            stay.lane.refuse_if_closed_beyond(context.deadline)?;
            bounded(context, tokio::time::sleep_until(closed.until)).await?;
        }
        Ok(Slot { _permit: permit, _stay: stay })
    }

    /// Graph said 429: nobody sends in this lane for so long.
    pub(super) fn close_gate(
        self: &Arc<Self>,
        connection: &Connection,
        mailbox: Option<&str>,
        after: Duration,
        refusal: &GraphRefusal,
    ) {
        self.stay(connection, mailbox).lane.close(Instant::now() + after, refusal.clone());
    }

    /// How many requests may be at once in the lane.
    pub(super) fn capacity(connection: &Connection, mailbox: Option<&str>) -> u32 {
        mailbox.map_or(DIRECTORY_CONCURRENCY, |_| connection.mailbox_concurrency.max(1))
    }

    fn stay(self: &Arc<Self>, connection: &Connection, mailbox: Option<&str>) -> Stay {
        let key = LaneKey::of(connection, mailbox);
        let mut lanes = self.lanes();
        let lane = match lanes.get(&key) {
            Some(lane) => Arc::clone(lane),
            None => {
                if lanes.len() >= IDLE_LANES {
                    lanes.retain(|_, lane| Arc::strong_count(lane) > 1);
                }
                let lane = Arc::new(Lane::new(Self::capacity(connection, mailbox)));
                lanes.insert(key.clone(), Arc::clone(&lane));
                lane
            }
        };
        drop(lanes);
        Stay { governor: Arc::clone(self), key, lane }
    }

    fn lanes(&self) -> MutexGuard<'_, HashMap<LaneKey, Arc<Lane>>> {
        // The map is whole between any two statements, so a panic elsewhere cannot have left it torn.
        self.lanes.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl LaneKey {
    /// Application connections with the same tenant, app and Graph root share a lane. A signed-in user's `me` means another
    /// mailbox in each connection, so those stay by themselves, as do directory requests.
    fn of(connection: &Connection, mailbox: Option<&str>) -> Self {
        let auth = &connection.auth;
        let app = match (&auth.client_id, mailbox) {
            (Some(client), Some(_)) if !connection.is_delegated() => {
                let tenant = auth.tenant.as_deref().unwrap_or_default();
                format!("{} {tenant} {client}", connection.endpoints.graph).to_lowercase()
            }
            _ => format!("connection {}", connection.name),
        };
        Self { app, mailbox: mailbox.map(str::to_lowercase) }
    }
}

impl Lane {
    fn new(capacity: u32) -> Self {
        let slots = usize::try_from(capacity).unwrap_or(1).min(Semaphore::MAX_PERMITS);
        Self { slots: Arc::new(Semaphore::new(slots)), capacity, closed: Mutex::new(None) }
    }

    fn closed(&self) -> Option<Closed> {
        let mut closed = self.closed.lock().unwrap_or_else(PoisonError::into_inner);
        if closed.as_ref().is_some_and(|closed| closed.until <= Instant::now()) {
            *closed = None;
        }
        closed.clone()
    }

    fn close(&self, until: Instant, refusal: GraphRefusal) {
        let mut closed = self.closed.lock().unwrap_or_else(PoisonError::into_inner);
        if closed.as_ref().is_none_or(|closed| closed.until < until) {
            *closed = Some(Closed { until, refusal });
        }
    }

    /// Fails fast instead of letting a caller wait for a gate that cannot open in time.
    fn refuse_if_closed_beyond(&self, deadline: Instant) -> Result<(), GraphError> {
        match self.closed() {
            Some(Closed { until, refusal }) if until >= deadline => {
                Err(GraphError::NotNow { refusal, after: until.saturating_duration_since(Instant::now()) })
            }
            _ => Ok(()),
        }
    }

    fn not_in_time(&self) -> GraphError {
        match self.closed() {
            Some(Closed { until, refusal }) => {
                GraphError::NotNow { refusal, after: until.saturating_duration_since(Instant::now()) }
            }
            None => GraphError::Deadline,
        }
    }
}

/// One user of a lane, waiting or sending. The last one out takes the lane off the map, unless its gate is closed.
#[derive(Debug)]
struct Stay {
    governor: Arc<Governor>,
    key: LaneKey,
    lane: Arc<Lane>,
}

impl Drop for Stay {
    fn drop(&mut self) {
        let mut lanes = self.governor.lanes();
        // Two owners are left: the map and this one. Nobody can join meanwhile, because joining needs the map's lock.
        if Arc::strong_count(&self.lane) == 2 && self.lane.closed().is_none() {
            lanes.remove(&self.key);
        }
    }
}

/// The right to have one request (or one batch) in the air. Given back when dropped: first the places, then the stay.
#[derive(Debug)]
pub(super) struct Slot {
    _permit: OwnedSemaphorePermit,
    _stay: Stay,
}

#[cfg(test)]
#[path = "governor_tests.rs"]
mod tests;
