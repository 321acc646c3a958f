//! The store that forgets at the end of the process (`OAuthSettingsLocation: memory://id`). Connections with the same
//! id share it, each under the same lock. Writes nothing anywhere.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;

use crate::token::model::TokenGeneration;

use super::{Store, StoreError, StoreLock, StoreVersion, Stored};

/// Tokens under one `memory://` id.
#[derive(Debug)]
pub(in crate::token) struct MemoryStore {
    id: String,
    kept: Mutex<Kept>,
    lock: Arc<tokio::sync::Mutex<()>>,
    lock_timeout: Duration,
}

#[derive(Debug, Default)]
struct Kept {
    stored: Option<Stored>,
    commits: u64,
}

impl MemoryStore {
    /// An empty store.
    pub(in crate::token) fn new(id: &str, lock_timeout: Duration) -> Self {
        Self { id: id.to_owned(), kept: Mutex::default(), lock: Arc::default(), lock_timeout }
    }

    fn kept(&self) -> std::sync::MutexGuard<'_, Kept> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Store for MemoryStore {
    fn load(&self, _locked: bool) -> BoxFuture<'_, Result<Option<Stored>, StoreError>> {
        let stored = self.kept().stored.clone();
        std::future::ready(Ok(stored)).boxed()
    }

    fn lock(&self) -> BoxFuture<'_, Result<StoreLock, StoreError>> {
        async {
            match tokio::time::timeout(self.lock_timeout, Arc::clone(&self.lock).lock_owned()).await {
                Ok(guard) => Ok(StoreLock::new(guard)),
                Err(_) => Err(StoreError::Busy(format!(
                    "memory://{}: another connection with this id has been refreshing for more than {:?}. The agent tries again.",
                    self.id, self.lock_timeout
                ))),
            }
        }
        .boxed()
    }

    fn commit<'a>(
        &'a self,
        _lock: &'a StoreLock,
        expected: TokenGeneration,
        next: &'a Stored,
    ) -> BoxFuture<'a, Result<(), StoreError>> {
        let mut kept = self.kept();
        let found = kept.stored.as_ref().map_or(0, |stored| stored.generation);
        let result = if found == expected {
            kept.stored = Some(next.clone());
            kept.commits += 1;
            Ok(())
        } else {
            Err(StoreError::Superseded { found })
        };
        drop(kept);
        std::future::ready(result).boxed()
    }

    fn retire<'a>(&'a self, _lock: &'a StoreLock) -> BoxFuture<'a, Result<(), StoreError>> {
        self.kept().stored = None;
        std::future::ready(Ok(())).boxed()
    }

    fn version(&self) -> BoxFuture<'_, Result<Option<StoreVersion>, StoreError>> {
        let kept = self.kept();
        let version = kept.stored.is_some().then_some(StoreVersion(0, kept.commits));
        drop(kept);
        std::future::ready(Ok(version)).boxed()
    }

    fn place(&self) -> String {
        format!("memory://{}", self.id)
    }
}
