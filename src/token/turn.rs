//! A refresh's turn at the token server, and the end of waiting. What many connections share (a place at the server, a
//! permit to open a store) is never kept while one connection waits for somebody else's lock or disk; and nothing new is
//! begun after a stop. Sends nothing.

use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use super::places::{Place, Seat};

/// The longest wait for a turn: ten thousand connections behind a server that answers in a third of a second.
const LONGEST_QUEUE: Duration = Duration::from_secs(15 * 60);
/// The longest wait for another turn by who has the store's lock already: others may wait for that lock.
const LONGEST_QUEUE_WITH_LOCK: Duration = Duration::from_secs(10);
/// Work on a store that takes longer has met somebody else's lock or a disk that hangs. Healthy ones take milliseconds.
const QUICK: Duration = Duration::from_millis(250);

/// Does `work`, and lets go of what is `held` when the work turns out not to be quick.
pub(super) async fn while_quick<H, T>(held: &mut Option<H>, work: impl Future<Output = T>) -> T {
    let mut work = pin!(work);
    if held.is_some() {
        if let Ok(done) = tokio::time::timeout(QUICK, &mut work).await {
            return done;
        }
        *held = None;
    }
    work.await
}

/// How a refresh waits for its turn. A stop ends every wait before the request.
#[derive(Clone, Debug)]
pub(super) struct Turn {
    pub(super) stop: CancellationToken,
    /// A caller is waiting for the token.
    pub(super) urgent: bool,
    /// Told when a caller begins to wait later.
    pub(super) hurry: Arc<Notify>,
}

/// Why there is no turn.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum NoTurn {
    /// The connection changed or the agent is stopping.
    Stopping,
    /// Too many others wait as well.
    Busy,
}

/// A refresh that has its turn, or has given it back for a while.
#[derive(Debug)]
pub(super) struct Standing<'a> {
    seat: &'a Seat,
    turn: Turn,
    place: Option<Place>,
}

impl<'a> Standing<'a> {
    /// Waits for a place at the token server, before anything is locked: others of the same store must not wait for this
    /// agent's queue.
    pub(super) async fn in_line(seat: &'a Seat, turn: Turn) -> Result<Self, NoTurn> {
        let place = place(seat, &turn, LONGEST_QUEUE).await?;
        Ok(Self { seat, turn, place: Some(place) })
    }

    /// Does work on the store; the place goes to the next in line when the work hangs.
    pub(super) async fn work<T>(&mut self, work: impl Future<Output = T>) -> T {
        while_quick(&mut self.place, work).await
    }

    /// As [`Standing::work`], for work that is a wait and nothing else: a stop ends it.
    pub(super) async fn wait<T>(&mut self, work: impl Future<Output = T>) -> Result<T, NoTurn> {
        let stop = self.turn.stop.clone();
        let done = tokio::select! {
            biased;
            () = stop.cancelled() => return Err(NoTurn::Stopping),
            done = self.work(work) => done,
        };
        // A stop may have come in the very moment in which the wait ended.
        if stop.is_cancelled() { Err(NoTurn::Stopping) } else { Ok(done) }
    }

    /// Call it last of all before a request: not after a stop, and only with a place.
    pub(super) async fn may_send(&mut self) -> Result<(), NoTurn> {
        if self.place.is_none() {
            self.place = Some(place(self.seat, &self.turn, LONGEST_QUEUE_WITH_LOCK).await?);
        }
        if self.turn.stop.is_cancelled() { Err(NoTurn::Stopping) } else { Ok(()) }
    }

    /// The request is over; what is done with its answer needs no place.
    pub(super) fn answered(&mut self) {
        self.place = None;
    }
}

async fn place(seat: &Seat, turn: &Turn, bound: Duration) -> Result<Place, NoTurn> {
    let hurried = async {
        turn.hurry.notified().await;
        seat.place(true).await
    };
    tokio::select! {
        biased;
        () = turn.stop.cancelled() => Err(NoTurn::Stopping),
        place = seat.place(turn.urgent) => Ok(place),
        place = hurried, if !turn.urgent => Ok(place),
        () = tokio::time::sleep(bound) => Err(NoTurn::Busy),
    }
}

#[cfg(test)]
#[path = "turn_tests.rs"]
mod tests;
