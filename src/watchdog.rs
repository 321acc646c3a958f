//! Feeds systemd's watchdog, but only while the loops that matter turn: the one that looks at the drop-ins and the one
//! that keeps the tokens. Runs on the agent's own runtime, so that a blocked runtime starves it; never on a thread of
//! its own, which would feed on when everything else is dead.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use crate::clock::{Clock, Stopwatch};
use crate::systemd;
use crate::token::Keeper;

/// Proof of life: the loop that owns one end says when it turns, the watchdog asks how long ago that was. Ages are compared
/// and not flags of one period: a loop that turns a little slower than it is asked is not dead.
#[derive(Clone, Debug)]
pub struct Alive(Arc<Turns>);

#[derive(Debug)]
struct Turns {
    started: Stopwatch,
    last: AtomicU64,
}

impl Default for Alive {
    fn default() -> Self {
        Self(Arc::new(Turns { started: Clock::stopwatch(), last: AtomicU64::new(0) }))
    }
}

impl Alive {
    /// The loop turned.
    pub fn turned(&self) {
        let millis = u64::try_from(self.0.started.elapsed().as_millis()).unwrap_or(u64::MAX);
        self.0.last.store(millis, Ordering::Release);
    }

    /// How long ago the loop last turned, by the monotonic clock.
    pub fn since_last_turn(&self) -> Duration {
        self.0.started.elapsed().saturating_sub(Duration::from_millis(self.0.last.load(Ordering::Acquire)))
    }

    /// Waits for `work` and turns meanwhile: work that takes long is no loop that is stuck.
    pub async fn turning<T>(&self, work: impl Future<Output = T>) -> T {
        let mut work = std::pin::pin!(work);
        loop {
            self.turned();
            tokio::select! {
                biased;
                done = &mut work => return done,
                () = tokio::time::sleep(IDLE_TURN) => {}
            }
        }
    }
}

/// How often a loop that has nothing to do turns all the same.
pub const IDLE_TURN: Duration = Duration::from_secs(5);

/// The loader turns every [`IDLE_TURN`], whatever it waits for; so many missed turns mean that it is stuck.
const LOADER_PATIENCE: Duration = Duration::from_secs(60);

/// A connection's task turns at least every 37 seconds (the longest sleep there is); three missed turns mean that it is
/// stuck.
const KEEPER_PATIENCE: Duration = Duration::from_secs(120);

/// The watchdog is fed so often within its limit: a machine that is busy for a moment makes one feeding late, and the
/// next ones are still in time.
const FEEDINGS: u32 = 4;

/// Feeds the watchdog until `ended`; returns at once when systemd does not watch. From `stop` on the loops end one by one,
/// and the bound of the drain takes the watchdog's place.
pub async fn feed(loader: Alive, keeper: Arc<Keeper>, stop: CancellationToken, ended: CancellationToken) {
    let Some(limit) = systemd::watchdog_interval() else { return };
    let look = || (loader.since_last_turn(), keeper.heartbeat());
    feed_while(limit, look, systemd::feed_watchdog, &stop, &ended).await;
}

async fn feed_while(
    limit: Duration,
    look: impl Fn() -> (Duration, Duration),
    feed: impl Fn(),
    stop: &CancellationToken,
    ended: &CancellationToken,
) {
    loop {
        let (loader, keeper) = look();
        if stop.is_cancelled() || (loader <= LOADER_PATIENCE && keeper <= KEEPER_PATIENCE) {
            feed();
        } else {
            let (loader, keeper) = (loader.as_secs(), keeper.as_secs());
            tracing::error!(
                loader,
                keeper,
                "A main loop has stopped turning; the watchdog is not fed. The figures are seconds since the last turn."
            );
        }
        tokio::select! {
            () = ended.cancelled() => return,
            () = tokio::time::sleep(limit / FEEDINGS) => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn it_is_fed_at_a_quarter_of_its_limit_and_not_when_a_loop_is_stuck() {
        let (alive, stop, ended) = (Alive::default(), CancellationToken::new(), CancellationToken::new());
        let (limit, started) = (Duration::from_secs(30), tokio::time::Instant::now());
        let fed = Mutex::new(Vec::new());
        let count = || fed.lock().expect("not poisoned").len();
        let look = || (alive.since_last_turn(), Duration::ZERO);
        let feeding = feed_while(
            limit,
            look,
            || fed.lock().expect("not poisoned").push(started.elapsed()),
            &stop,
            &ended,
        );
        let story = async {
            // One piece of work of forty seconds: a look at a directory that answers late.
            alive.turning(tokio::time::sleep(Duration::from_secs(40))).await;
            assert_eq!(count(), 6, "at 0, 7.5, 15, 22.5, 30 and 37.5 s");
            // Then the loop is stuck: its patience is over after a minute.
            tokio::time::sleep(LOADER_PATIENCE + limit / FEEDINGS).await;
            let fed_last = count();
            tokio::time::sleep(limit).await;
            assert_eq!(count(), fed_last, "a stuck loop starves it");
            stop.cancel();
            tokio::time::sleep(limit / FEEDINGS).await;
            assert_eq!(count(), fed_last + 1, "a drain has a bound of its own");
            ended.cancel();
        };
        tokio::join!(feeding, story);
    }
}
