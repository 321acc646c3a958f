//! Places at a token server: how many token requests run there at once, whose turn it is, and how fast one follows
//! another. Sends nothing itself and knows no token.
//!
//! All tenants of a cloud share one host, and each has its own way of hanging (a federated sign-in page, a policy
//! engine). Three rules keep one tenant's trouble its own without ever going above the host's limit:
//! tenants take turns; one tenant never holds the last place while others are configured; and a tenant whose request
//! has taken longer than [`SLOW`] gets one place at a time, out of the half that all such tenants share, until it has
//! answered quickly again. A shorter request timeout was rejected: it would cut off slow answers whose refresh token
//! has already been rotated. Giving a hanging request's place away was rejected: the limit would be none.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::oneshot;
use tokio::time::Instant;

/// A request that takes longer than this hangs. Healthy ones take well under a second.
pub(super) const SLOW: Duration = Duration::from_secs(5);
/// Up to so many connections, no pace is kept: that few cannot be a herd.
const UNPACED: usize = 100;
/// Above it, request beginnings are spread so that all connections of the host need this long: 4 % of them a second.
const WHOLE_HERD: Duration = Duration::from_secs(25);
/// Never slower than one request in this time.
const LONGEST_GAP: Duration = Duration::from_millis(50);

/// The places at one token server.
#[derive(Debug)]
pub(super) struct Places {
    at_once: usize,
    inner: Mutex<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    connections: usize,
    tenants: HashMap<String, Tenant>,
    /// Places that are taken; never more than `at_once`.
    taken: Vec<Taken>,
    /// Tenants with waiting requests, in the order of their turns: for callers, and for the background.
    urgent: VecDeque<String>,
    routine: VecDeque<String>,
    next_start: Option<Instant>,
    numbers: u64,
}

#[derive(Debug, Default)]
struct Tenant {
    connections: usize,
    slow: bool,
    urgent: VecDeque<oneshot::Sender<Place>>,
    routine: VecDeque<oneshot::Sender<Place>>,
}

#[derive(Debug)]
struct Taken {
    number: u64,
    tenant: String,
    since: Instant,
}

/// One connection's right to ask for a place; counted as long as it lives.
#[derive(Debug)]
pub(super) struct Seat {
    places: Arc<Places>,
    tenant: String,
}

/// A place that is held; dropping it gives it to the next in turn.
#[derive(Debug)]
pub(super) struct Place {
    places: Arc<Places>,
    number: u64,
    /// Not before this instant, to keep the pace.
    start_at: Instant,
}

impl Places {
    /// Places for `at_once` requests.
    pub(super) fn new(at_once: usize) -> Arc<Self> {
        Arc::new(Self { at_once: at_once.max(1), inner: Mutex::default() })
    }

    /// Registers a connection of `tenant`.
    pub(super) fn seat(self: &Arc<Self>, tenant: &str) -> Seat {
        let mut inner = self.inner();
        inner.connections += 1;
        inner.tenants.entry(tenant.to_owned()).or_default().connections += 1;
        drop(inner);
        Seat { places: Arc::clone(self), tenant: tenant.to_owned() }
    }

    fn inner(&self) -> std::sync::MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Hands free places out. What is granted is sent after the lock is free, because a refused grant is dropped and
    /// comes back here.
    fn hand_out(self: &Arc<Self>) {
        loop {
            let mut inner = self.inner();
            let Some((waiting, place)) = inner.next(self) else { return };
            drop(inner);
            let _who_gave_up_waiting_frees_it_again = waiting.send(place);
        }
    }
}

impl Inner {
    fn next(&mut self, places: &Arc<Places>) -> Option<(oneshot::Sender<Place>, Place)> {
        if self.taken.len() >= places.at_once {
            return None;
        }
        let (tenant, waiting) =
            self.next_waiting(places.at_once, true).or_else(|| self.next_waiting(places.at_once, false))?;
        let now = Instant::now();
        let start_at = self.next_start.map_or(now, |at| at.max(now));
        self.next_start = Some(start_at + self.gap());
        self.numbers += 1;
        self.taken.push(Taken { number: self.numbers, tenant, since: start_at });
        Some((waiting, Place { places: Arc::clone(places), number: self.numbers, start_at }))
    }

    fn next_waiting(&mut self, at_once: usize, urgent: bool) -> Option<(String, oneshot::Sender<Place>)> {
        for _ in 0..if urgent { self.urgent.len() } else { self.routine.len() } {
            let turns = if urgent { &mut self.urgent } else { &mut self.routine };
            let name = turns.pop_front()?;
            let may = self.may_take(&name, at_once);
            let Some(tenant) = self.tenants.get_mut(&name) else { continue };
            let queue = if urgent { &mut tenant.urgent } else { &mut tenant.routine };
            while queue.front().is_some_and(oneshot::Sender::is_closed) {
                queue.pop_front();
            }
            let waiting = if may { queue.pop_front() } else { None };
            let more = !queue.is_empty();
            if more {
                let turns = if urgent { &mut self.urgent } else { &mut self.routine };
                turns.push_back(name.clone());
            }
            if let Some(waiting) = waiting {
                return Some((name, waiting));
            }
        }
        None
    }

    fn may_take(&self, tenant: &str, at_once: usize) -> bool {
        let own = self.taken.iter().filter(|taken| taken.tenant == tenant).count();
        if self.is_slow(tenant) {
            let slow = self.taken.iter().filter(|taken| self.is_slow(&taken.tenant)).count();
            return own == 0 && slow < (at_once / 2).max(1);
        }
        let share = if self.tenants.len() > 1 { (at_once - 1).max(1) } else { at_once };
        own < share
    }

    fn is_slow(&self, tenant: &str) -> bool {
        self.tenants.get(tenant).is_some_and(|tenant| tenant.slow)
            || self.taken.iter().any(|taken| taken.tenant == tenant && taken.since.elapsed() > SLOW)
    }

    /// The time from one request's beginning to the next.
    fn gap(&self) -> Duration {
        if self.connections <= UNPACED {
            return Duration::ZERO;
        }
        (WHOLE_HERD / u32::try_from(self.connections).unwrap_or(u32::MAX)).min(LONGEST_GAP)
    }

    fn forget_if_unused(&mut self, name: &str) {
        let unused = self.tenants.get(name).is_some_and(|tenant| {
            tenant.connections == 0 && tenant.urgent.is_empty() && tenant.routine.is_empty()
        });
        if unused {
            self.tenants.remove(name);
        }
    }
}

impl Seat {
    /// Waits for a place. `urgent`: a caller is waiting, so before all that are only kept fresh.
    pub(super) async fn place(&self, urgent: bool) -> Place {
        let (grant, granted) = oneshot::channel();
        {
            let mut inner = self.places.inner();
            let inner = &mut *inner;
            let tenant = inner.tenants.entry(self.tenant.clone()).or_default();
            let (queue, turns) = if urgent {
                (&mut tenant.urgent, &mut inner.urgent)
            } else {
                (&mut tenant.routine, &mut inner.routine)
            };
            if queue.is_empty() {
                turns.push_back(self.tenant.clone());
            }
            queue.push_back(grant);
        }
        self.places.hand_out();
        let place = granted.await.expect("a waiting request is forgotten only when it has given up");
        if place.start_at > Instant::now() {
            tokio::time::sleep_until(place.start_at).await;
        }
        place
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        let mut inner = self.places.inner();
        inner.connections = inner.connections.saturating_sub(1);
        if let Some(tenant) = inner.tenants.get_mut(&self.tenant) {
            tenant.connections = tenant.connections.saturating_sub(1);
        }
        inner.forget_if_unused(&self.tenant);
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        {
            let mut inner = self.places.inner();
            if let Some(index) = inner.taken.iter().position(|taken| taken.number == self.number) {
                let taken = inner.taken.swap_remove(index);
                let slow = taken.since.elapsed() > SLOW;
                if let Some(tenant) = inner.tenants.get_mut(&taken.tenant) {
                    tenant.slow = slow;
                }
                inner.forget_if_unused(&taken.tenant);
            }
        }
        self.places.hand_out();
    }
}

#[cfg(test)]
#[path = "places_tests.rs"]
mod tests;
