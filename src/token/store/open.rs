//! Stores in use: which store a connection has, shared over reloads, and the new token that a failing store has not
//! taken yet. Decides no refresh.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, Once, PoisonError};
use std::time::Duration;

use tokio::sync::watch;

use crate::clock::Clock;
use crate::connection::{Connection, ConnectionName, StoreLocation};
use crate::settings::{Backend, Settings};
use crate::token::model::TokenGeneration;

use super::key::StoreKey;
use super::postgres::rekey;
use super::{Database, FileStore, KeyRing, MemoryStore, PostgresStore, Store, StoreError, StoreLock, Stored};

/// A store in use.
#[derive(Debug)]
pub(in crate::token) struct OpenStore {
    store: Arc<dyn Store>,
    /// Counts commits made through this value and signals of the store itself, to wake all users of it.
    commits: watch::Sender<u64>,
    /// The newest tokens, when the store could not take them, and the generation they were to replace. What is on disk
    /// then is the previous refresh token, or what somebody else has committed since.
    unsaved: Mutex<Option<(Arc<Stored>, TokenGeneration)>>,
}

impl OpenStore {
    /// Puts `store` into use.
    pub(in crate::token) fn new(store: Arc<dyn Store>) -> Self {
        Self { commits: store.signal(), store, unsaved: Mutex::new(None) }
    }

    pub(in crate::token) async fn load(&self, locked: bool) -> Result<Option<Stored>, StoreError> {
        self.store.load(locked).await
    }

    pub(in crate::token) async fn lock(&self) -> Result<StoreLock, StoreError> {
        self.store.lock().await
    }

    /// Commits `next`, or keeps it as unsaved when the store cannot take it now.
    pub(in crate::token) async fn commit(
        &self,
        lock: Option<&StoreLock>,
        expected: TokenGeneration,
        next: &Arc<Stored>,
    ) -> Result<(), StoreError> {
        let result = match lock {
            Some(lock) => self.store.commit(lock, expected, next).await,
            None => Err(StoreError::Failed {
                message: format!(
                    "{}: the store cannot be locked, so nothing can be written to it.",
                    self.place()
                ),
                nobody_can_write: true,
            }),
        };
        let keep = match &result {
            Ok(()) | Err(StoreError::Superseded { .. }) => None,
            Err(_) => Some((Arc::clone(next), expected)),
        };
        *self.unsaved_slot() = keep;
        if result.is_ok() {
            self.commits.send_modify(|count| *count += 1);
        }
        result
    }

    /// Writes what is kept once more, for a test; unsaved tokens stay what they are.
    pub(in crate::token) async fn write_back(
        &self,
        lock: &StoreLock,
        expected: TokenGeneration,
        same: &Stored,
    ) -> Result<(), StoreError> {
        self.store.commit(lock, expected, same).await
    }

    /// Tokens that the store has not taken yet.
    pub(in crate::token) fn unsaved(&self) -> Option<Arc<Stored>> {
        self.unsaved_slot().as_ref().map(|(unsaved, _)| Arc::clone(unsaved))
    }

    /// Whether somebody else has committed since this process could not: then theirs counts, whatever the numbers say.
    /// Counting generations alone, a token owed from before would replace a newer sign-in.
    pub(in crate::token) fn is_overtaken_by(&self, found: TokenGeneration) -> bool {
        self.unsaved_slot().as_ref().is_some_and(|(_, replaces)| found > *replaces)
    }

    /// What is on disk as far as this process knows, when it cannot look: what an owed token was to replace, else `known`.
    pub(in crate::token) fn believed_generation(&self, known: TokenGeneration) -> TokenGeneration {
        self.unsaved_slot().as_ref().map_or(known, |(_, replaces)| *replaces)
    }

    /// Takes the contents out of use.
    pub(in crate::token) async fn retire(&self, lock: &StoreLock) -> Result<(), StoreError> {
        self.store.retire(lock).await
    }

    /// Tries again to make unsaved tokens durable; a store that has moved on meanwhile wins.
    pub(in crate::token) async fn save_unsaved(&self) -> Result<(), StoreError> {
        let Some(unsaved) = self.unsaved() else { return Ok(()) };
        let lock = self.lock().await?;
        let found = self.load(true).await?.map_or(0, |stored| stored.generation);
        if self.is_overtaken_by(found) || found >= unsaved.generation {
            *self.unsaved_slot() = None;
            return Err(StoreError::Superseded { found });
        }
        self.commit(Some(&lock), found, &unsaved).await
    }

    pub(in crate::token) fn subscribe(&self) -> watch::Receiver<u64> {
        self.commits.subscribe()
    }

    /// Wakes the users of this store: it holds, or owes, something that they did not bring.
    pub(in crate::token) fn announce(&self) {
        self.commits.send_modify(|count| *count += 1);
    }

    pub(in crate::token) async fn version(&self) -> Result<Option<super::StoreVersion>, StoreError> {
        self.store.version().await
    }

    pub(in crate::token) fn place(&self) -> String {
        self.store.place()
    }

    fn unsaved_slot(&self) -> std::sync::MutexGuard<'_, Option<(Arc<Stored>, TokenGeneration)>> {
        self.unsaved.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Which stores are in use. A reload gets the same store again, with its unsaved tokens; memory stores stay for the
/// life of the process.
#[derive(Debug)]
pub(in crate::token) struct Shelf {
    keys: Arc<KeyRing>,
    state_directory: PathBuf,
    lock_timeout: Duration,
    clock: Clock,
    /// The agent group's database, where tokens are kept that have no place of their own.
    group: Option<Arc<Database>>,
    group_listens: Once,
    stores: Mutex<HashMap<Slot, Arc<OpenStore>>>,
    /// The number of stores at which unused ones are looked for next.
    sweep_at: Mutex<usize>,
}

/// A file is opened per owner, because owning it is checked per owner; a memory id is shared by all.
#[derive(PartialEq, Eq, Hash, Debug)]
enum Slot {
    File(PathBuf, ConnectionName),
    Group(ConnectionName),
    Memory(String),
}

impl Shelf {
    pub(in crate::token) fn new(settings: &Settings, credentials: Option<PathBuf>, clock: Clock) -> Self {
        if let (Backend::File, Some(group)) = (settings.token_store.backend, &settings.token_store.group) {
            tracing::warn!(group, state_directory = %settings.state_directory.display(),
                "The agents of this group keep their tokens in files. Agents on one host that share the files (OAuthSettingsLocation and the key) take turns safely; agents on different hosts, or with files of their own, each rotate their own copy of a sign-in, and with a provider that revokes reused tokens they end each other's. Set Backend=postgresql to share them.");
        }
        Self::with_keys(settings, Arc::new(KeyRing::new(settings, credentials)), clock)
    }

    /// The shelf of a command beside the agent, with the key given.
    pub(in crate::token) fn with_keys(settings: &Settings, keys: Arc<KeyRing>, clock: Clock) -> Self {
        let configured = &settings.token_store;
        let group = match (configured.backend, &configured.postgresql, &configured.group) {
            (Backend::Postgresql, Some(database), Some(group)) => {
                Some(Arc::new(Database::new(database.clone(), group.clone(), Arc::clone(&keys))))
            }
            _ => None,
        };
        Self {
            group,
            group_listens: Once::new(),
            keys,
            state_directory: settings.state_directory.clone(),
            lock_timeout: settings.token_store.lock_timeout,
            clock,
            stores: Mutex::default(),
            sweep_at: Mutex::new(64),
        }
    }

    /// Gives leases back and closes what is open, at the end of the agent.
    pub(in crate::token) async fn close(&self) {
        if let Some(database) = &self.group {
            database.close().await;
        }
    }

    /// Puts the rows of the group under `new`; one line a row. Nothing, when tokens are kept in files.
    pub(super) async fn rekey_group(
        &self,
        old: &StoreKey,
        new: &Arc<StoreKey>,
    ) -> Result<Vec<String>, StoreError> {
        match &self.group {
            Some(database) => rekey::group(database, old, new, self.lock_timeout, &self.clock).await,
            None => Ok(Vec::new()),
        }
    }

    /// The store of `connection`. Call it inside the async runtime.
    pub(in crate::token) fn open(&self, connection: &Connection) -> Arc<OpenStore> {
        let slot = match &connection.store {
            StoreLocation::StateDirectory if self.group.is_some() => Slot::Group(connection.name.clone()),
            StoreLocation::StateDirectory => Slot::File(
                FileStore::default_path(&self.state_directory, &connection.name),
                connection.name.clone(),
            ),
            StoreLocation::File(path) => Slot::File(path.clone(), connection.name.clone()),
            StoreLocation::Memory(id) => Slot::Memory(id.clone()),
        };
        let mut stores = self.stores.lock().unwrap_or_else(PoisonError::into_inner);
        // Files nobody uses any more are closed, unless they still owe the disk a token.
        // Only now and then: at each opening it would make the start of a large agent quadratic.
        if stores.len() >= *self.sweep_at.lock().unwrap_or_else(PoisonError::into_inner) {
            stores.retain(|slot, store| {
                matches!(slot, Slot::Memory(_)) || Arc::strong_count(store) > 1 || store.unsaved().is_some()
            });
            *self.sweep_at.lock().unwrap_or_else(PoisonError::into_inner) = 64.max(stores.len() * 2);
        }
        if let Some(store) = stores.get(&slot) {
            return Arc::clone(store);
        }
        let store: Arc<dyn Store> = match &slot {
            Slot::File(path, owner) => Arc::new(FileStore::new(
                path.clone(),
                owner,
                Arc::clone(&self.keys),
                self.lock_timeout,
                self.clock.clone(),
            )),
            Slot::Memory(id) => Arc::new(MemoryStore::new(id, self.lock_timeout)),
            Slot::Group(owner) => {
                let database =
                    self.group.as_ref().expect("a slot in the group is made only where there is one");
                self.group_listens.call_once(|| database.listen());
                Arc::new(PostgresStore::new(
                    Arc::clone(database),
                    owner,
                    self.lock_timeout,
                    self.clock.clone(),
                ))
            }
        };
        let store = Arc::new(OpenStore::new(store));
        stores.insert(slot, Arc::clone(&store));
        store
    }
}
