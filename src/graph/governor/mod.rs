//! Who may send to Graph now. The one place that knows what Graph counts together, and keeps to it before Graph has to
//! say no: requests at once in a mailbox, resource units of the directory, rate limits that services tell, and the waits
//! they ask for. Never sends and never decides what to repeat.
//!
//! ```text
//! request ─► lane (mailbox, or service of the tenant) ─► tenant (app and tenant) ─► application ─► send
//! ```
//!
//! Each of the three is a `Lane`: places, a queue that is fair between runs, a gate, a slow start after a refusal. A
//! refusal closes the gate of the one that it is about.

mod budget;
mod cost;
mod keys;
mod lane;
mod names;
mod pressure;
mod queue;

#[cfg(test)]
mod simulation_tests;
#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use crate::connection::Connection;

use self::keys::{LaneKey, LaneKeys};
use self::lane::{Ask, Lane, Permit};
use self::names::Names;
use super::{CallContext, GraphError, GraphRefusal};

pub(super) use cost::{Cost, Service};
pub use keys::is_object_id;
pub(super) use pressure::Pressure;
pub use pressure::ThrottleScope;

/// Requests at once to one service of a tenant that has no limit of its own by mailbox. Graph counts those by rate
/// rather than at once; this bounds what can be in the air.
const SERVICE_CONCURRENCY: u32 = 32;
/// Requests at once of one app in one tenant, and in all of them: bounds on what is open, until Graph refuses one.
const TENANT_CONCURRENCY: u32 = 1_024;
const APPLICATION_CONCURRENCY: u32 = 4_096;
/// Lanes that are kept for what they have learned though nobody uses them. Beyond it, idle lanes are forgotten: the next
/// refusal closes the gate anew.
const IDLE_LANES: usize = 4_096;

/// Shares out the right to send. One per agent, so that connections of one app share what Graph counts together.
#[derive(Debug, Default)]
pub struct Governor {
    lanes: Mutex<Lanes>,
}

/// The lanes that are in use or have learned something, and the names that mean the same mailbox.
#[derive(Debug, Default)]
struct Lanes {
    all: HashMap<LaneKey, Arc<Lane>>,
    names: Names,
}

/// A request that wants to be sent.
#[derive(Clone, Copy, Debug)]
pub(super) struct Wanted<'a> {
    pub(super) connection: &'a Connection,
    pub(super) mailbox: Option<&'a str>,
    pub(super) cost: Cost,
    /// Places it takes in its lane, at most all: 1, or more for a batch whose parts run side by side.
    pub(super) places: u32,
    /// Whether it was sent before.
    pub(super) again: bool,
}

impl Governor {
    /// A governor with every lane free.
    pub fn new() -> Arc<Self> {
        Arc::default()
    }

    /// Waits until `wanted` may be sent.
    ///
    /// # Errors
    /// [`GraphError::NotNow`] when a gate opens after the deadline, [`GraphError::Deadline`], [`GraphError::Cancelled`].
    pub(super) async fn enter(
        self: &Arc<Self>,
        wanted: Wanted<'_>,
        context: &CallContext,
    ) -> Result<Slot, GraphError> {
        let mut stay = self.stay(wanted.connection, wanted.mailbox, wanted.cost.service);
        stay.refuse_if_closed_beyond(context.deadline)?;
        let _waiting = context.traffic.wait();
        let mut ask = Ask { places: wanted.places.max(1), cost: wanted.cost, again: wanted.again };
        // Narrow before wide, always in this order: who holds a place of the tenant waits for no mailbox.
        loop {
            let Some(lane) = stay.lane.acquire(ask, context).await? else {
                // The mailbox was found to be one with another name, and its line is there now.
                stay = self.stay(wanted.connection, wanted.mailbox, wanted.cost.service);
                ask.again = true;
                continue;
            };
            let wide = Ask { places: 1, ..ask };
            // Only mailboxes move.
            let (Some(tenant), Some(application)) =
                (stay.tenant.acquire(wide, context).await?, stay.application.acquire(wide, context).await?)
            else {
                continue;
            };
            if stay.is_open() {
                return Ok(Slot { permits: [lane, tenant, application], cost: wanted.cost, stay });
            }
            // One gate closed while another was waited for. Back to the front of the line, without the places.
            ask.again = true;
        }
    }

    /// Graph said 429 to a request of this lane: nobody sends for so long, as far as the refusal reaches. By how much
    /// longer than before that is.
    pub(super) fn close_gate(
        self: &Arc<Self>,
        connection: &Connection,
        mailbox: Option<&str>,
        service: Service,
        after: Duration,
        refusal: &GraphRefusal,
    ) -> Duration {
        let stay = self.stay(connection, mailbox, service);
        let lane = match refusal.scope {
            ThrottleScope::Narrow => &stay.lane,
            ThrottleScope::Tenant => &stay.tenant,
            ThrottleScope::Application => &stay.application,
        };
        lane.close(Instant::now() + after, refusal)
    }

    /// How many requests may be at once in the lane.
    pub(super) fn capacity(connection: &Connection, mailbox: Option<&str>) -> u32 {
        mailbox.map_or(SERVICE_CONCURRENCY, |_| connection.mailbox_concurrency.max(1))
    }

    fn stay(self: &Arc<Self>, connection: &Connection, mailbox: Option<&str>, service: Service) -> Stay {
        let mut keys = LaneKeys::of(connection, mailbox, service);
        let has_budget = keys.lane.is_directory();
        let mut guard = self.lanes();
        keys.lane = guard.names.one(keys.lane);
        let lanes = &mut guard.all;
        if lanes.len() >= IDLE_LANES && !lanes.contains_key(&keys.lane) {
            lanes.retain(|_, lane| Arc::strong_count(lane) > 1 || lane.is_closed());
            // Closed gates go last, and only when there are too many of them.
            if lanes.len() >= IDLE_LANES {
                lanes.retain(|_, lane| Arc::strong_count(lane) > 1);
            }
        }
        let mut lane = |key: &LaneKey, capacity: u32, has_budget: bool| match lanes.get(key) {
            Some(lane) => Arc::clone(lane),
            None => {
                let lane = Lane::new(capacity, has_budget);
                lanes.insert(key.clone(), Arc::clone(&lane));
                lane
            }
        };
        let capacity = Self::capacity(connection, mailbox);
        let narrow = lane(&keys.lane, capacity, has_budget);
        let tenant = lane(&keys.tenant, TENANT_CONCURRENCY, false);
        let application = lane(&keys.application, APPLICATION_CONCURRENCY, false);
        drop(guard);
        narrow.resize(capacity);
        Stay { governor: Arc::clone(self), keys, lane: narrow, tenant, application }
    }

    /// Takes note that `name` and `other` are one mailbox for this connection: from now on both have one line.
    pub(super) fn is_same(&self, connection: &Connection, name: &str, other: &str) {
        if name.eq_ignore_ascii_case(other) {
            return;
        }
        let key = |name| LaneKeys::of(connection, Some(name), Service::Other).lane;
        let mut guard = self.lanes();
        let Lanes { all, names } = &mut *guard;
        let Some((from, to)) = names.join(key(name), key(other)) else { return };
        if let Some(lane) = all.remove(&from) {
            let capacity = Self::capacity(connection, Some(other));
            lane.move_to(all.entry(to).or_insert_with(|| Lane::new(capacity, false)));
        }
    }

    fn lanes(&self) -> MutexGuard<'_, Lanes> {
        // The map is whole between any two statements, so a panic elsewhere cannot have left it torn.
        self.lanes.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One user of three lanes, waiting or sending. The last one out takes a lane off the map, unless it has learned
/// something.
#[derive(Debug)]
struct Stay {
    governor: Arc<Governor>,
    keys: LaneKeys,
    lane: Arc<Lane>,
    tenant: Arc<Lane>,
    application: Arc<Lane>,
}

impl Stay {
    fn is_open(&self) -> bool {
        !self.lanes().into_iter().any(|lane| lane.is_closed())
    }

    /// Fails at once instead of letting a caller wait for a gate that cannot open in time.
    fn refuse_if_closed_beyond(&self, deadline: Instant) -> Result<(), GraphError> {
        self.lanes().into_iter().try_for_each(|lane| lane.refuse_if_closed_beyond(deadline))
    }

    fn lanes(&self) -> [&Arc<Lane>; 3] {
        [&self.lane, &self.tenant, &self.application]
    }
}

impl Drop for Stay {
    fn drop(&mut self) {
        let mut lanes = self.governor.lanes();
        for (key, lane) in [
            (&self.keys.lane, &self.lane),
            (&self.keys.tenant, &self.tenant),
            (&self.keys.application, &self.application),
        ] {
            // Two owners are left: the map and this one. Nobody can join meanwhile, because joining needs the map's lock.
            // A lane that has moved is not in the map any more.
            let is_there = lanes.all.get(key).is_some_and(|known| Arc::ptr_eq(known, lane));
            if is_there && Arc::strong_count(lane) == 2 && lane.is_as_new() {
                lanes.all.remove(key);
            }
        }
    }
}

/// The right to have one request (or one batch) in the air. Given back when dropped: first the places, then the stay.
#[derive(Debug)]
pub(super) struct Slot {
    permits: [Permit; 3],
    cost: Cost,
    stay: Stay,
}

impl Slot {
    /// Whether no gate has closed since it was given.
    pub(super) fn is_open(&self) -> bool {
        self.stay.is_open()
    }

    /// Graph did what was asked, or refused it for what it is: there was room for it.
    pub(super) fn succeeded(&self) {
        self.permits.iter().for_each(Permit::succeeded);
    }

    /// Graph answered, and said this about its limits.
    pub(super) fn heard(&self, said: &Pressure) {
        self.stay.lane.heard(self.cost, said);
    }
}
