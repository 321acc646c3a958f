//! What many connections share is free while one of them waits for a lock or a disk, and nothing is sent after a stop;
//! through the connections' own tasks, in paused time.
#![allow(clippy::unwrap_used)]

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use http::HeaderMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use tokio::sync::Semaphore;

use super::super::answer::{self, Outcome};
use super::super::handle::{Shared, TokenHandle};
use super::super::places::Places;
use super::super::plan::TokenPlan;
use super::super::store::{MemoryStore, OpenStore, Store, StoreError, StoreLock, StoreVersion, Stored};
use super::super::task::ConnectionTask;
use super::super::testing::{InMemory, connection, settings, shared_client};
use super::super::transaction::Context;
use super::*;
use crate::clock::{Clock, Timestamp};
use crate::telemetry::Metrics;

const LOCK_TIMEOUT: Duration = Duration::from_secs(30);

/// Answers every request with a token that lives for an hour.
#[derive(Debug, Default)]
struct Server {
    posts: AtomicUsize,
}

impl InMemory for Server {
    fn exchange(&self, _form: String, now: Timestamp) -> BoxFuture<'_, Outcome> {
        self.posts.fetch_add(1, Ordering::SeqCst);
        let body = r#"{"token_type":"Bearer","expires_in":3600,"access_token":"a","refresh_token":"r"}"#;
        std::future::ready(answer::classify(200, &HeaderMap::new(), body.as_bytes(), now)).boxed()
    }
}

/// A store that does not answer at all.
#[derive(Debug)]
struct Hanging;

impl Store for Hanging {
    fn load(&self, _locked: bool) -> BoxFuture<'_, Result<Option<Stored>, StoreError>> {
        std::future::pending().boxed()
    }

    fn lock(&self) -> BoxFuture<'_, Result<StoreLock, StoreError>> {
        std::future::pending().boxed()
    }

    fn commit<'a>(
        &'a self,
        _: &'a StoreLock,
        _: u64,
        _: &'a Stored,
    ) -> BoxFuture<'a, Result<(), StoreError>> {
        std::future::pending().boxed()
    }

    fn retire<'a>(&'a self, _: &'a StoreLock) -> BoxFuture<'a, Result<(), StoreError>> {
        std::future::pending().boxed()
    }

    fn version(&self) -> BoxFuture<'_, Result<Option<StoreVersion>, StoreError>> {
        std::future::pending().boxed()
    }

    fn place(&self) -> String {
        "a disk that hangs".to_owned()
    }
}

/// What the connections of one agent share, and a stop.
struct Agent {
    server: Arc<Server>,
    clock: Clock,
    places: Arc<Places>,
    openings: Arc<Semaphore>,
    stop: CancellationToken,
}

impl Agent {
    fn new() -> Self {
        Self {
            server: Arc::default(),
            clock: Clock::simulated(Timestamp::from_seconds(1_700_000_000)),
            places: Places::new(4),
            openings: Arc::new(Semaphore::new(8)),
            stop: CancellationToken::new(),
        }
    }

    /// A connection whose task opens its store among the others.
    fn drive(&self, name: &str, store: Arc<dyn Store>) -> TokenHandle {
        let connection = connection(name).seeded(Some(("given", 3600)), Some("given")).finish();
        let TokenPlan::Kept(plan) = TokenPlan::make(&connection.auth, self.clock.now()) else {
            panic!("a kept plan")
        };
        let shared = Shared::new(&connection.name, None, &self.clock, true);
        let context = Context {
            http: shared_client(&connection),
            connection,
            plan,
            store: Arc::new(OpenStore::new(store)),
            clock: self.clock.clone(),
            refresh: settings("unused".as_ref()).refresh,
            seat: self.places.seat("tenant"),
            proof: super::super::proof::ClientProof::of_process(),
            in_memory: Some(self.server.clone()),
            repeats: Default::default(),
        };
        let task = ConnectionTask::new(
            Arc::clone(&shared),
            Arc::new(context),
            Metrics::new(),
            self.stop.clone(),
            Default::default(),
            Arc::clone(&self.openings),
        );
        tokio::spawn(task.run());
        TokenHandle::new(shared)
    }
}

fn memory(name: &str) -> Arc<MemoryStore> {
    Arc::new(MemoryStore::new(name, LOCK_TIMEOUT))
}

async fn pass(seconds: u64) {
    tokio::time::sleep(Duration::from_secs(seconds)).await;
}

#[tokio::test(start_paused = true)]
async fn locked_and_hanging_stores_stop_no_other_connection_from_opening() {
    let agent = Agent::new();
    let (mut locks, mut others) = (Vec::new(), Vec::new());
    for number in 0..8 {
        let locked = memory(&format!("l{number}"));
        locks.push(locked.lock().await.unwrap());
        others.push(agent.drive(&format!("l{number}"), locked));
        others.push(agent.drive(&format!("h{number}"), Arc::new(Hanging)));
    }
    pass(1).await;
    let healthy = agent.drive("healthy", memory("healthy"));
    let got = healthy.get(Duration::from_secs(2)).await;
    assert!(got.is_ok(), "{got:?}");
    assert!(others.iter().all(|other| other.current().is_none()));
}

#[tokio::test(start_paused = true)]
async fn locked_stores_leave_the_token_server_s_places_to_the_others() {
    let agent = Agent::new();
    let stores: Vec<_> = (0..4).map(|number| memory(&format!("l{number}"))).collect();
    let locked: Vec<_> = stores
        .iter()
        .enumerate()
        .map(|(number, store)| Arc::new(agent.drive(&format!("l{number}"), store.clone())))
        .collect();
    let healthy = agent.drive("healthy", memory("healthy"));
    pass(1).await;
    let mut locks = Vec::new();
    for store in &stores {
        locks.push(store.lock().await.unwrap());
    }
    let mut waiting = Vec::new();
    for handle in &locked {
        let handle = Arc::clone(handle);
        waiting.push(tokio::spawn(async move { handle.refresh_now(Duration::from_secs(60)).await }));
    }
    pass(1).await;
    let got = healthy.refresh_now(Duration::from_secs(2)).await;
    assert!(got.is_ok(), "{got:?}");
    assert_eq!(agent.server.posts.load(Ordering::SeqCst), 1);
    // With the locks given back, each of them gets its turn again.
    drop(locks);
    for waiting in waiting {
        assert!(waiting.await.unwrap().is_ok());
    }
    assert_eq!(agent.server.posts.load(Ordering::SeqCst), 5);
}

#[tokio::test(start_paused = true)]
async fn a_refresh_that_waits_for_its_store_sends_nothing_after_a_stop() {
    // The stop comes while the lock is waited for, or in the moment in which it is given back.
    for late in [false, true] {
        let agent = Agent::new();
        let store = memory("one");
        let handle = Arc::new(agent.drive("one", store.clone()));
        pass(1).await;
        let lock = store.lock().await.unwrap();
        let asked = Arc::clone(&handle);
        let waiting = tokio::spawn(async move { asked.refresh_now(Duration::from_secs(60)).await });
        pass(1).await;
        if late {
            drop(lock);
            agent.stop.cancel();
        } else {
            agent.stop.cancel();
            tokio::task::yield_now().await;
            drop(lock);
        }
        pass(5).await;
        assert_eq!(agent.server.posts.load(Ordering::SeqCst), 0, "late {late}");
        assert!(waiting.await.unwrap().is_err());
        // The lock is not held by what was left.
        assert!(tokio::time::timeout(Duration::from_secs(1), store.lock()).await.is_ok());
    }
}

#[tokio::test(start_paused = true)]
async fn work_that_is_quick_keeps_what_is_held_and_slow_work_gives_it_back() {
    let permits = Semaphore::new(1);
    let mut held = Some(permits.acquire().await.unwrap());
    while_quick(&mut held, tokio::time::sleep(QUICK / 2)).await;
    assert!(held.is_some());
    let slow = while_quick(&mut held, tokio::time::sleep(4 * QUICK));
    let others = async {
        let waited = tokio::time::Instant::now();
        drop(permits.acquire().await.unwrap());
        assert!(waited.elapsed() < 2 * QUICK, "{:?}", waited.elapsed());
    };
    tokio::join!(slow, others);
    assert!(held.is_none());
}
