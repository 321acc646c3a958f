//! Stores in use: which store a connection has, shared over reloads, and how new tokens get into it. Decides no refresh,
//! and never puts less in the place of more (`known` says what is less).

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, Once, PoisonError};
use std::time::Duration;

use futures_util::StreamExt;
use tokio::sync::watch;

use crate::clock::Clock;
use crate::connection::{Connection, ConnectionName, StoreLocation};
use crate::settings::{Backend, Settings};
use crate::token::model::TokenGeneration;

use super::key::StoreKey;
use super::known::Known;
use super::postgres::rekey;
use super::{Database, FileStore, KeyRing, MemoryStore, PostgresStore, Store, StoreError, StoreLock, Stored};

/// How often a commit is made again over contents that are less than what was read.
const COMMITS: u32 = 3;

/// At the end of the agent: how often a store is asked to take what it is owed, with which pauses, and how many at once.
const LAST_SAVES: u32 = 3;
const LAST_SAVE_PAUSE: Duration = Duration::from_millis(500);
const SAVED_AT_ONCE: usize = 8;

/// A store in use.
#[derive(Debug)]
pub(in crate::token) struct OpenStore {
    store: Arc<dyn Store>,
    /// Counts changes made through this value and signals of the store itself, to wake all users of it.
    news: watch::Sender<u64>,
    /// Outlives the tasks that use the store: a reload hands over what its predecessor could not save.
    known: Mutex<Known>,
}

/// What became of new tokens.
#[derive(Debug)]
pub(in crate::token) enum Committed {
    /// They are durable.
    Saved(Arc<Stored>),
    /// They are in force, and the store has still to take them.
    Owed(Arc<Stored>, StoreError),
    /// Somebody else's tokens are newer, and in force.
    Overtaken(Arc<Stored>),
}

impl OpenStore {
    /// Puts `store` into use.
    pub(in crate::token) fn new(store: Arc<dyn Store>) -> Self {
        Self { news: store.signal(), store, known: Mutex::default() }
    }

    /// The newest tokens that this process knows of, in the store or owed to it.
    pub(in crate::token) fn newest(&self) -> Arc<Stored> {
        self.known().newest()
    }

    /// Tokens that the store has not taken yet.
    pub(in crate::token) fn unsaved(&self) -> Option<Arc<Stored>> {
        self.known().owed()
    }

    /// Whether nothing at all was in the store at the last look, not even a claim.
    pub(in crate::token) fn is_vacant(&self) -> bool {
        self.known().is_vacant()
    }

    /// The number of the next tokens, which is above all that were seen.
    pub(in crate::token) fn next_generation(&self) -> TokenGeneration {
        self.known().next_generation()
    }

    pub(in crate::token) async fn lock(&self) -> Result<StoreLock, StoreError> {
        self.store.lock().await
    }

    /// What is in the store. Takes no note of it.
    pub(in crate::token) async fn load(&self, locked: bool) -> Result<Option<Stored>, StoreError> {
        self.store.load(locked).await
    }

    /// Looks into the store without its lock and takes note of what is there.
    pub(in crate::token) async fn look(&self) -> Result<(), StoreError> {
        let before = self.known().changes();
        let found = self.store.load(false).await?;
        let mut known = self.known();
        // What was read while somebody here has committed may be what was there before that commit.
        if known.changes() == before {
            known.found(found);
        }
        Ok(())
    }

    /// Looks into the store under its lock and takes note of what is there: the number of the contents, 0 without any.
    pub(in crate::token) async fn read(&self, locked: bool) -> Result<TokenGeneration, StoreError> {
        let found = self.store.load(locked).await?;
        let generation = found.as_ref().map_or(0, |found| found.generation);
        self.known().found(found);
        Ok(generation)
    }

    /// Makes `next` the tokens in force, and durable if the store can take them now. `expected` is the number of what
    /// was read. From its first instant on the tokens are known to all users of the store, so that nothing is lost with
    /// this future.
    pub(in crate::token) async fn commit(
        &self,
        lock: Option<&StoreLock>,
        mut expected: TokenGeneration,
        next: Arc<Stored>,
    ) -> Committed {
        if !self.known().owe(&next) {
            return Committed::Overtaken(self.newest());
        }
        let Some(lock) = lock else {
            let message =
                format!("{}: the store cannot be locked, so nothing can be written to it.", self.place());
            return self.owed(StoreError::Failed { message, nobody_can_write: true });
        };
        let mut why = StoreError::Superseded { found: expected };
        for _ in 0..COMMITS {
            let next = self.known().numbered_above(expected);
            match self.store.commit(lock, expected, &next).await {
                Ok(()) => {
                    self.known().saved(&next);
                    self.announce();
                    return Committed::Saved(next);
                }
                // Another writer, one that knows no lock, or an operator.
                Err(error @ StoreError::Superseded { .. }) => why = error,
                Err(error) => return self.owed(error),
            }
            match self.read(true).await {
                Ok(found) => expected = found,
                Err(error) => return self.owed(error),
            }
            if self.unsaved().is_none() {
                self.announce();
                return Committed::Overtaken(self.newest());
            }
        }
        self.owed(why)
    }

    fn owed(&self, error: StoreError) -> Committed {
        self.announce();
        Committed::Owed(self.newest(), error)
    }

    /// Keeps `next` in memory, in force and to be saved later, because `error` kept the store from being locked.
    pub(in crate::token) fn keep(&self, next: &Arc<Stored>, error: StoreError) -> Committed {
        if self.known().owe(next) { self.owed(error) } else { Committed::Overtaken(self.newest()) }
    }

    /// Notes something beside the newest tokens, and records it in the store when the store holds these very tokens and
    /// its lock is at hand.
    pub(in crate::token) async fn note(
        &self,
        lock: Option<&StoreLock>,
        expected: TokenGeneration,
        same: &Arc<Stored>,
    ) -> Result<(), StoreError> {
        self.known().note(same);
        let (Some(lock), None) = (lock, self.unsaved()) else { return Ok(()) };
        // An emptied store is not filled again by a refusal.
        if self.is_vacant() {
            return Ok(());
        }
        self.store.commit(lock, expected, same).await?;
        self.known().saved(same);
        Ok(())
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

    /// Takes the contents out of use.
    pub(in crate::token) async fn retire(&self, lock: &StoreLock) -> Result<(), StoreError> {
        self.store.retire(lock).await
    }

    /// The operator has emptied the store to start over.
    pub(in crate::token) fn forget(&self) {
        self.known().forget();
    }

    /// Tries again to make unsaved tokens durable; somebody else's newer ones win.
    pub(in crate::token) async fn save_unsaved(&self) -> Result<Committed, StoreError> {
        if self.unsaved().is_none() {
            return Ok(Committed::Overtaken(self.newest()));
        }
        let lock = self.lock().await?;
        let expected = self.read(true).await?;
        let Some(unsaved) = self.unsaved() else { return Ok(Committed::Overtaken(self.newest())) };
        match self.commit(Some(&lock), expected, unsaved).await {
            Committed::Owed(_, error) => Err(error),
            done => Ok(done),
        }
    }

    pub(in crate::token) fn subscribe(&self) -> watch::Receiver<u64> {
        self.news.subscribe()
    }

    /// Wakes the users of this store: it holds, or owes, something that they did not bring.
    fn announce(&self) {
        self.news.send_modify(|count| *count += 1);
    }

    pub(in crate::token) async fn version(&self) -> Result<Option<super::StoreVersion>, StoreError> {
        self.store.version().await
    }

    pub(in crate::token) fn place(&self) -> String {
        self.store.place()
    }

    fn known(&self) -> std::sync::MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
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

    /// The stores that have still to take tokens. What is kept in memory ends with the process anyway.
    pub(in crate::token) fn owing(&self) -> Vec<Arc<OpenStore>> {
        let stores = self.stores.lock().unwrap_or_else(PoisonError::into_inner);
        let owes = |store: &OpenStore| store.unsaved().is_some_and(|unsaved| !unsaved.is_empty());
        let lasting = stores.iter().filter(|(slot, _)| !matches!(slot, Slot::Memory(_)));
        lasting.map(|(_, store)| store).filter(|store| owes(store)).cloned().collect()
    }

    /// Makes durable what stores are owed, at the end of the agent; gives a store up after a few attempts.
    pub(in crate::token) async fn save_owed(&self) {
        let save = |store: Arc<OpenStore>| async move {
            for attempt in 1..=LAST_SAVES {
                match store.save_unsaved().await {
                    Ok(_) => return,
                    Err(error) => {
                        tracing::warn!(place = store.place(), %error, "A token cannot be saved yet.")
                    }
                }
                if attempt < LAST_SAVES {
                    tokio::time::sleep(LAST_SAVE_PAUSE).await;
                }
            }
        };
        futures_util::stream::iter(self.owing()).for_each_concurrent(SAVED_AT_ONCE, save).await;
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
