//! Where tokens are kept: one trait for all stores, what is kept, and why a store refuses. Never decides when to
//! refresh, and never shows a token.

mod envelope;
mod file;
mod inspect;
mod key;
mod known;
mod lineage;
mod memory;
mod offline;
mod open;
mod postgres;

use std::any::Any;
use std::fmt;
use std::time::Duration;

use futures_util::future::BoxFuture;
use tokio::sync::watch;

use crate::clock::{Clock, Stopwatch, Timestamp};
use crate::files::FileError;
use crate::secret::Secret;

use super::model::{TokenFailure, TokenGeneration};

pub(super) use file::FileStore;
pub use inspect::StoreReport;
pub(super) use inspect::inspect;
pub(super) use key::KeyRing;
pub(super) use lineage::{Lineage, seeds};
pub(super) use memory::MemoryStore;
pub use offline::{Listed, Offline};
#[cfg(test)]
pub(super) use offline::{Newness, put};
pub(super) use open::{Committed, OpenStore, Shelf};
use postgres::{Database, PostgresStore};

/// A place where one connection's tokens are kept. Async in shape; file work happens off the async threads.
///
/// The order of a refresh is `lock`, `load`, token request, `commit`, drop of the lock. What `commit` has
/// acknowledged survives the process's death at any later instant (for the stores that outlive a process at all).
pub(super) trait Store: Send + Sync + fmt::Debug {
    /// What is kept now. `locked`: the caller holds the lock, so that an unreadable file may be set aside.
    fn load(&self, locked: bool) -> BoxFuture<'_, Result<Option<Stored>, StoreError>>;

    /// Takes the store's lock, waiting for a bounded time. It keeps out every other task and process.
    fn lock(&self) -> BoxFuture<'_, Result<StoreLock, StoreError>>;

    /// Replaces what is kept by `next`, durably, if its generation is still `expected` (0: nothing is kept).
    fn commit<'a>(
        &'a self,
        lock: &'a StoreLock,
        expected: TokenGeneration,
        next: &'a Stored,
    ) -> BoxFuture<'a, Result<(), StoreError>>;

    /// Takes the contents out of use after they have gone elsewhere, so that nobody uses the same refresh token from here.
    fn retire<'a>(&'a self, lock: &'a StoreLock) -> BoxFuture<'a, Result<(), StoreError>>;

    /// Something that differs when the contents may have changed; cheap. `None` when nothing is kept.
    fn version(&self) -> BoxFuture<'_, Result<Option<StoreVersion>, StoreError>>;

    /// The place in words, for messages.
    fn place(&self) -> String;

    /// Sent on by the store when others may have changed the contents, or when it has gone away or come back.
    fn signal(&self) -> watch::Sender<u64> {
        watch::Sender::new(0)
    }
}

/// Equal versions mean "not changed since".
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct StoreVersion(pub(super) i64, pub(super) u64);

/// A held lock; dropping it unlocks.
pub(super) struct StoreLock {
    guard: Box<dyn Any + Send + Sync>,
    lapse: Option<Lapse>,
}

impl StoreLock {
    pub(super) fn new(guard: impl Send + Sync + 'static) -> Self {
        Self { guard: Box::new(guard), lapse: None }
    }

    /// A lock that ends by itself.
    pub(super) fn lapsing(guard: impl Send + Sync + 'static, lapse: Lapse) -> Self {
        Self { guard: Box::new(guard), lapse: Some(lapse) }
    }

    /// What keeps the lock, if it is of that type.
    fn guard<T: 'static>(&self) -> Option<&T> {
        self.guard.downcast_ref()
    }

    /// How long the lock still holds; `None`: until it is dropped.
    pub(super) fn time_left(&self) -> Option<Duration> {
        self.lapse.as_ref().map(Lapse::time_left)
    }
}

/// The end of a lock that lapses.
#[derive(Debug)]
pub(super) struct Lapse {
    length: Duration,
    elapsed: Stopwatch,
    began: Timestamp,
    clock: Clock,
}

impl Lapse {
    /// Counts from now.
    pub(super) fn begin(length: Duration, clock: &Clock) -> Self {
        Self { length, elapsed: Clock::stopwatch(), began: clock.now(), clock: clock.clone() }
    }

    /// By whichever clock has gone further: the monotonic one stands still during a suspend, the wall clock can be set.
    fn time_left(&self) -> Duration {
        let elapsed = self.elapsed.elapsed().max(self.began.since(self.clock.now()));
        self.length.saturating_sub(elapsed)
    }
}

impl fmt::Debug for StoreLock {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("StoreLock")
    }
}

/// One connection's tokens as kept.
#[derive(Clone, Debug, Default)]
pub(super) struct Stored {
    /// Grows with each new token; 0 only when the store has been claimed but no token was ever there.
    pub(super) generation: TokenGeneration,
    /// Which sign-in the tokens come from, and which ones that replaced.
    pub(super) lineage: Lineage,
    pub(super) access: Option<StoredAccess>,
    pub(super) refresh_token: Option<Secret>,
    /// The fingerprint of the drop-in's tokens that were taken over last.
    pub(super) seed: Option<String>,
    /// The refresh token that the server refused last.
    pub(super) denied: Option<DeniedMarker>,
}

impl Stored {
    /// What claims a store that nothing was ever kept in.
    pub(super) fn claim(now: Timestamp) -> Self {
        Self { lineage: Lineage::begin(now), ..Self::default() }
    }

    /// Whether the server has refused the very refresh token that is in it.
    fn is_refused(&self) -> bool {
        let refused = self.denied.as_ref().map(|marker| marker.refresh_token.as_str());
        refused.is_some() && refused == self.refresh_token.as_ref().map(Secret::fingerprint).as_deref()
    }
}

/// An access token as kept.
#[derive(Clone, Debug)]
pub(super) struct StoredAccess {
    pub(super) secret: Secret,
    pub(super) obtained_at: Timestamp,
    pub(super) expires_at: Timestamp,
    pub(super) refresh_due: Timestamp,
}

/// That the server refused a refresh token, asked with a certain configuration. It is not asked again until one of
/// the two changes, not even after a restart; the token itself stays.
#[derive(Clone, PartialEq, Debug)]
pub(super) struct DeniedMarker {
    /// Fingerprint of the refresh token.
    pub(super) refresh_token: String,
    /// Digest of the connection it was asked with.
    pub(super) configuration: String,
    /// What the next sign-in has to ask for (Conditional Access), as the refusal said.
    pub(super) claims: Option<String>,
    pub(super) failure: TokenFailure,
}

/// Why a store did not do what it was asked. Variants by what the caller can do.
#[derive(Clone, Debug, thiserror::Error)]
pub(super) enum StoreError {
    /// Somebody else held the lock for the whole bounded wait: try again.
    #[error("{0}")]
    Busy(String),
    /// Somebody else has committed meanwhile: load again.
    #[error("Another agent has committed token generation {found} to the same store.")]
    Superseded { found: TokenGeneration },
    /// The store is not ours to use as it is (owner, key, permissions, newer format): a person must act.
    #[error("{0}")]
    Refused(String),
    /// The contents cannot be read; under the lock they are set aside and the store starts anew.
    #[error("{0}")]
    Corrupt(String),
    /// The operating system refused. `nobody_can_write`: for a reason that holds for every process on this machine.
    #[error("{message}")]
    Failed { message: String, nobody_can_write: bool },
}

impl From<FileError> for StoreError {
    fn from(error: FileError) -> Self {
        let message = error.to_string();
        match error {
            FileError::Locked { .. } => Self::Busy(message),
            FileError::Exposed { .. } | FileError::NotRegular { .. } => Self::Refused(message),
            FileError::TooLarge { .. } => Self::Corrupt(message),
            FileError::Io { source, .. } => {
                let full = matches!(
                    source.kind(),
                    std::io::ErrorKind::StorageFull
                        | std::io::ErrorKind::QuotaExceeded
                        | std::io::ErrorKind::ReadOnlyFilesystem
                );
                Self::Failed { message, nobody_can_write: full }
            }
        }
    }
}

/// Runs file work off the async threads. Not cancellable once begun, which is what a commit needs.
async fn off_thread<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, StoreError> + Send + 'static,
) -> Result<T, StoreError> {
    match tokio::task::spawn_blocking(work).await {
        Ok(result) => result,
        Err(error) => Err(StoreError::Failed {
            message: format!("Work on the token store broke off ({error}). The agent tries again."),
            nobody_can_write: false,
        }),
    }
}

#[cfg(test)]
mod tests;
