//! The keeper over stores that siblings, operators and disks change behind its back.
#![allow(clippy::unwrap_used)]

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;

use super::handle::TokenHandle;
use super::keeper::Keeper;
use super::model::{ConnectionState, TokenError};
use super::places::Places;
use super::store::{
    FileStore, KeyRing, Lapse, MemoryStore, Store, StoreError, StoreLock, StoreVersion, Stored,
};
use super::testing::*;
use crate::clock::{Clock, Timestamp};
use crate::connection::{Connection, Generation, StoreLocation};
use crate::files;

const PATIENCE: Duration = Duration::from_secs(10);

fn handle(keeper: &Keeper, connection: &Connection) -> Arc<TokenHandle> {
    keeper.handle(&connection.name).unwrap()
}

/// A task over a store of the test's own.
fn drive(connection: &Arc<Connection>, store: Arc<dyn Store>) -> TokenHandle {
    drive_with(
        connection,
        store,
        Clock::machine(),
        settings("unused".as_ref()).refresh,
        &Places::new(4),
        None,
    )
}

/// A memory store whose disk can fill up.
#[derive(Debug)]
struct Faulty {
    inner: MemoryStore,
    full: AtomicBool,
    /// Its locks are leases that are nearly over.
    lapsing: AtomicBool,
}

impl Faulty {
    fn new() -> Arc<Self> {
        Arc::new(Self {
            inner: MemoryStore::new("faulty", Duration::from_secs(5)),
            full: AtomicBool::new(false),
            lapsing: AtomicBool::new(false),
        })
    }
}

impl Store for Faulty {
    fn load(&self, locked: bool) -> BoxFuture<'_, Result<Option<Stored>, StoreError>> {
        self.inner.load(locked)
    }

    fn lock(&self) -> BoxFuture<'_, Result<StoreLock, StoreError>> {
        let lapsing = self.lapsing.load(Ordering::SeqCst);
        async move {
            let lock = self.inner.lock().await?;
            let lapse = Lapse::begin(Duration::from_secs(1), &Clock::machine());
            Ok(if lapsing { StoreLock::lapsing(lock, lapse) } else { lock })
        }
        .boxed()
    }

    fn commit<'a>(
        &'a self,
        lock: &'a StoreLock,
        expected: u64,
        next: &'a Stored,
    ) -> BoxFuture<'a, Result<(), StoreError>> {
        if self.full.load(Ordering::SeqCst) {
            let error =
                StoreError::Failed { message: "The disk is full.".to_owned(), nobody_can_write: true };
            return std::future::ready(Err(error)).boxed();
        }
        self.inner.commit(lock, expected, next)
    }

    fn retire<'a>(&'a self, lock: &'a StoreLock) -> BoxFuture<'a, Result<(), StoreError>> {
        self.inner.retire(lock)
    }

    fn version(&self) -> BoxFuture<'_, Result<Option<StoreVersion>, StoreError>> {
        self.inner.version()
    }

    fn place(&self) -> String {
        "faulty".to_owned()
    }
}

#[tokio::test]
async fn a_full_disk_degrades_and_heals() {
    let server = FakeEndpoint::start(true, 3600, "rt-0").await;
    let connection = connection("a").seeded(None, Some("rt-0")).at(&server).finish();
    let store = Faulty::new();
    let handle = drive(&connection, Arc::clone(&store) as Arc<dyn Store>);
    handle.get(PATIENCE).await.unwrap();
    store.full.store(true, Ordering::SeqCst);
    for number in 2..5 {
        let token = handle.refresh_now(PATIENCE).await.unwrap();
        assert_eq!(*token.secret.expose(), format!("at-{number}"), "served from memory");
    }
    let status = handle.status();
    assert_eq!(
        (status.state, status.last_error.unwrap().code.as_str()),
        (ConnectionState::Degraded, "store_failed")
    );
    assert_eq!(
        store.load(false).await.unwrap().unwrap().refresh_token,
        Some("rt-1".into()),
        "the previous token stays"
    );
    store.full.store(false, Ordering::SeqCst);
    until("saved", || handle.status().state == ConnectionState::Ok).await;
    let saved = store.load(false).await.unwrap().unwrap();
    assert_eq!((saved.refresh_token, saved.generation), (Some(server.current_refresh_token().into()), 5));
    assert_eq!(server.reused(), 0);
}

#[tokio::test]
async fn nothing_is_sent_under_a_lease_that_ends_before_the_answer_can_come() {
    let server = FakeEndpoint::start(true, 3600, "rt-0").await;
    let connection = connection("a").seeded(None, Some("rt-0")).at(&server).finish();
    let store = Faulty::new();
    let handle = drive(&connection, Arc::clone(&store) as Arc<dyn Store>);
    handle.get(PATIENCE).await.unwrap();
    store.lapsing.store(true, Ordering::SeqCst);
    assert!(matches!(handle.refresh_now(PATIENCE).await, Err(TokenError::TryLater { .. })));
    assert_eq!(server.posts().len(), 1);
    store.lapsing.store(false, Ordering::SeqCst);
    handle.refresh_now(PATIENCE).await.unwrap();
}

#[tokio::test]
async fn a_sibling_that_ignores_the_lock_is_adopted_and_not_mistaken_for_the_end() {
    let server = FakeEndpoint::start(true, 3600, "rt-0").await;
    let connection = connection("a").seeded(None, Some("rt-0")).at(&server).finish();
    let store = Faulty::new();
    let handle = drive(&connection, Arc::clone(&store) as Arc<dyn Store>);
    handle.get(PATIENCE).await.unwrap();
    // While our request is on its way, a sibling rotates and commits without any lock; then we are refused.
    server.next(Next::Hold);
    let renewing = {
        let shared = handle.shared();
        tokio::spawn(async move { TokenHandle::new(shared).renew(2, None, PATIENCE).await })
    };
    until("our request is there", || server.posts().len() == 2).await;
    let mut theirs = store.load(false).await.unwrap().unwrap();
    theirs.generation += 1;
    theirs.refresh_token = Some("rt-of-the-sibling".into());
    theirs.access.as_mut().unwrap().secret = "at-of-the-sibling".into();
    // The commit of the sibling goes past the lock that our transaction holds.
    let pretended = StoreLock::new(());
    store.commit(&pretended, theirs.generation - 1, &theirs).await.unwrap();
    server.refuse_held();
    server.release();
    assert_eq!(renewing.await.unwrap().unwrap().secret.expose(), "at-of-the-sibling");
    assert_eq!(handle.status().state, ConnectionState::Ok);
}

#[tokio::test]
async fn a_new_seed_wins_and_an_old_one_never_comes_back() {
    let (folder, server) = (state_folder(), FakeEndpoint::start(false, 3600, "rt-0").await);
    let with_seed = |access: &'static str, refresh: &'static str| {
        connection("a").seeded(Some((access, 3600)), Some(refresh)).at(&server).finish()
    };
    let keeper = keeper(folder.path());
    let first = with_seed("seed-1", "rt-0");
    keeper.apply(&set_of(&[&first]));
    assert_eq!(handle(&keeper, &first).get(PATIENCE).await.unwrap().secret.expose(), "seed-1");
    assert_eq!(handle(&keeper, &first).refresh_now(PATIENCE).await.unwrap().secret.expose(), "at-1");
    let same_again = with_seed("seed-1", "rt-0");
    keeper.apply(&set_of(&[&same_again]));
    assert_eq!(
        handle(&keeper, &same_again).get(PATIENCE).await.unwrap().secret.expose(),
        "at-1",
        "rotated, not seed"
    );
    let pasted = with_seed("seed-2", "rt-pasted");
    keeper.apply(&set_of(&[&pasted]));
    let token = handle(&keeper, &pasted).get(PATIENCE).await.unwrap();
    assert_eq!((token.secret.expose().as_str(), token.generation), ("seed-2", 3));
    let report = keeper.inspect(&pasted).await;
    assert!(report.is_good(), "{report:?}");
    assert_eq!((report.owner.as_deref(), report.generation, report.has_refresh_token), (Some("a"), 3, true));
}

#[tokio::test]
async fn a_corrupt_file_is_set_aside_and_hurts_nobody_else() {
    let (folder, server) = (state_folder(), FakeEndpoint::start(false, 3600, "rt-0").await);
    let (bad, good) = (
        connection("bad").seeded(Some(("seed", 3600)), Some("rt-0")).at(&server).finish(),
        connection("good").seeded(Some(("other", 3600)), Some("rt-1")).at(&server).finish(),
    );
    let path = FileStore::default_path(folder.path(), &bad.name);
    files::ensure_private_folder(path.parent().unwrap()).unwrap();
    files::write_private(&path, b"{\"format\":").unwrap();
    let keeper = keeper(folder.path());
    keeper.apply(&set_of(&[&bad, &good]));
    assert_eq!(handle(&keeper, &bad).get(PATIENCE).await.unwrap().secret.expose(), "seed");
    assert_eq!(handle(&keeper, &good).get(PATIENCE).await.unwrap().secret.expose(), "other");
    let aside = std::fs::read_dir(path.parent().unwrap()).unwrap();
    assert_eq!(
        aside
            .filter(|entry| entry.as_ref().unwrap().file_name().to_string_lossy().contains(".corrupt-"))
            .count(),
        1
    );
}

#[tokio::test]
async fn two_connections_never_share_a_file() {
    let (folder, server) = (state_folder(), FakeEndpoint::start(true, 3600, "rt-0").await);
    let path = folder.path().join("oauth").join("sales.json");
    let at_path = |name: &str| {
        connection(name)
            .seeded(Some(("seed", 3600)), Some("rt-0"))
            .at(&server)
            .with(|connection| connection.store = StoreLocation::File(path.clone()))
            .finish()
    };
    let (first, second) = (at_path("first"), at_path("second"));
    let (one, two) = (keeper(folder.path()), keeper(folder.path()));
    one.apply(&set_of(&[&first]));
    handle(&one, &first).get(PATIENCE).await.unwrap();
    for (keeper, set) in [(&two, set_of(&[&second])), (&one, set_of(&[&first, &second]))] {
        keeper.apply(&set);
        match handle(keeper, &second).get(PATIENCE).await {
            Err(TokenError::NeedsAdmin(failure)) => {
                assert_eq!(failure.code, "store_refused");
                assert!(
                    failure.message.contains("'first'") && failure.message.contains("'second'"),
                    "{failure:?}"
                );
            }
            other => panic!("{other:?}"),
        }
        assert_eq!(handle(keeper, &second).status().state, ConnectionState::Refused);
    }
    assert!(!two.inspect(&second).await.is_good());
    handle(&one, &first).refresh_now(PATIENCE).await.unwrap();
    assert_eq!(server.reused(), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_agents_on_one_store_never_reuse_a_refresh_token() {
    let (folder, server) = (state_folder(), FakeEndpoint::start(true, 3600, "rt-0").await);
    let connection = connection("a").seeded(None, Some("rt-0")).at(&server).finish();
    let agents = [keeper(folder.path()), keeper(folder.path())];
    let mut workers = Vec::new();
    for agent in &agents {
        agent.apply(&set_of(&[&connection]));
        let handle = handle(agent, &connection);
        workers.push(tokio::spawn(async move {
            handle.get(PATIENCE).await.unwrap();
            for _ in 0..100 {
                handle.refresh_now(PATIENCE).await.unwrap();
            }
        }));
    }
    for worker in workers {
        worker.await.unwrap();
    }
    assert_eq!(server.reused(), 0);
    let keys = Arc::new(KeyRing::new(&settings(folder.path()), None));
    let path = FileStore::default_path(folder.path(), &connection.name);
    let store = FileStore::new(path, &connection.name, keys, PATIENCE, Clock::machine());
    let stored = store.load(false).await.unwrap().unwrap();
    assert_eq!(stored.refresh_token, Some(server.current_refresh_token().into()), "stored is last issued");
    assert_eq!(stored.generation, server.posts().len() as u64 + 1, "requests = rotations");
    assert!(server.posts().len() >= 100, "{}", server.posts().len());
}

#[tokio::test]
async fn a_sibling_s_commit_is_noticed_by_a_parked_agent() {
    let (folder, server) = (state_folder(), FakeEndpoint::start(true, 3600, "rt-new").await);
    let stale = connection("a").seeded(None, Some("rt-stale")).at(&server).finish();
    let (one, two) = (keeper(folder.path()), keeper(folder.path()));
    one.apply(&set_of(&[&stale]));
    let parked = handle(&one, &stale);
    assert!(matches!(parked.get(PATIENCE).await, Err(TokenError::NeedsSignIn(_))));
    assert_eq!(server.posts().len(), 1);
    // The other agent has been given new tokens.
    let fresh = connection("a")
        .seeded(None, Some("rt-new"))
        .at(&server)
        .with(|c| c.generation = Generation::next())
        .finish();
    two.apply(&set_of(&[&fresh]));
    let token = handle(&two, &fresh).get(PATIENCE).await.unwrap();
    assert_eq!(parked.refresh_now(PATIENCE).await.unwrap().secret, token.secret);
    assert_eq!(server.posts().len(), 2, "adopted without a request of its own");
}

#[tokio::test(start_paused = true)]
async fn refreshes_happen_by_themselves_and_expiry_is_noticed_after_suspend() {
    let clock = Clock::manual(Timestamp::from_seconds(1_700_000_000));
    let (folder, server) = (state_folder(), FakeEndpoint::start(true, 3600, "rt-0").await);
    let connection = connection("a")
        .seeded(None, Some("rt-0"))
        .at(&server)
        .with(|connection| connection.store = StoreLocation::Memory("m".to_owned()))
        .finish();
    let keeper = keeper_with(settings(folder.path()), clock.clone());
    keeper.apply(&set_of(&[&connection]));
    let handle = handle(&keeper, &connection);
    until("first", || server.posts().len() == 1 && handle.current().is_some()).await;
    for (hours, expected) in [(8, 2), (0, 3), (1, 4)] {
        // Forward eight hours (suspend), back to the start, forward again.
        clock.set(Timestamp::from_seconds(1_700_000_000 + hours * 3600));
        tokio::time::sleep(Duration::from_secs(40)).await;
        until("refreshed", || server.posts().len() == expected && handle.current().is_some()).await;
    }
    assert_eq!(server.reused(), 0);
}
