//! Feeds systemd's watchdog, but only while the loops that matter turn: the one that looks at the drop-ins and the one
//! that keeps the tokens. Runs on the agent's own runtime, so that a blocked runtime starves it; never on a thread of
//! its own, which would feed on when everything else is dead.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use crate::systemd;
use crate::token::Keeper;

/// Proof of life by answer: the watchdog lowers the flag, and the loop that owns the other end raises it at each turn.
#[derive(Clone, Debug, Default)]
pub struct Alive(Arc<AtomicBool>);

impl Alive {
    /// The loop turned.
    pub fn turned(&self) {
        self.0.store(true, Ordering::Release);
    }

    /// Whether the loop has turned since the last call.
    pub fn has_turned(&self) -> bool {
        self.0.swap(false, Ordering::AcqRel)
    }
}

/// How often a loop that has nothing to do turns all the same.
pub const IDLE_TURN: Duration = Duration::from_secs(5);

/// A connection's task turns at least every 37 seconds (the longest sleep there is); three missed turns mean that it is
/// stuck.
const KEEPER_PATIENCE: Duration = Duration::from_secs(120);

/// Feeds the watchdog until `stop`; returns at once when systemd does not watch.
pub async fn feed(loader: Alive, keeper: Arc<Keeper>, stop: CancellationToken) {
    let Some(limit) = systemd::watchdog_interval() else { return };
    // A loop may take up to IDLE_TURN to answer; the flags are gathered over half the limit.
    let period = limit / 2;
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            () = tokio::time::sleep(period) => {}
        }
        let (loader_turned, slowest_keeper_task) = (loader.has_turned(), keeper.heartbeat());
        if loader_turned && slowest_keeper_task <= KEEPER_PATIENCE {
            systemd::feed_watchdog();
        } else {
            let slowest = slowest_keeper_task.as_secs();
            tracing::error!(
                loader_turned,
                slowest,
                "A main loop has stopped turning; the watchdog is not fed."
            );
        }
    }
}
