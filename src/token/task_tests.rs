//! The worker over a store with moods: whatever happens, it neither spins nor sleeps in, nothing that somebody has signed
//! in for is lost, and no used refresh token is sent again.
#![allow(clippy::unwrap_used)]

use std::pin::Pin;
use std::sync::Mutex;
use std::sync::atomic::Ordering;
use std::task::Poll;

use proptest::prelude::*;

use super::super::answer::NewTokens;
use super::super::handle::TokenHandle;
use super::super::model::ConnectionState;
use super::super::moody_tests::{Mood, Moody, Server};
use super::super::places::Places;
use super::super::sign_in::settle;
use super::super::store::{OpenStore, Store};
use super::super::testing::*;
use super::*;
use crate::connection::{AuthScheme, ClientCredential, Connection, InitiateOAuth};
use crate::settings::Refresh;

const PATIENCE: Duration = Duration::from_secs(20);

/// One connection's worker, its store and its server.
struct Bench {
    clock: Clock,
    store: Arc<Moody>,
    open: Arc<OpenStore>,
    server: Arc<Server>,
    connection: Arc<Connection>,
}

impl Bench {
    fn new() -> Self {
        let store = Moody::new();
        Self {
            clock: Clock::simulated(Timestamp::from_seconds(1_700_000_000)),
            open: Arc::new(OpenStore::new(store.clone())),
            store,
            server: Arc::default(),
            connection: connection("a")
                .seeded(None, Some("rt-0"))
                .with(|connection| connection.auth.initiate = InitiateOAuth::GetAndRefresh)
                .finish(),
        }
    }

    fn worker(&self, stop: &CancellationToken) -> Worker {
        let refresh = Refresh {
            backoff_base: Duration::from_secs(1),
            backoff_cap: Duration::from_secs(60),
            ..settings("unused".as_ref()).refresh
        };
        let server = Some(self.server.clone() as Arc<dyn InMemory>);
        let (open, clock) = (Arc::clone(&self.open), self.clock.clone());
        worker(&self.connection, open, clock, refresh, &Places::new(4), server, stop.clone())
    }

    fn run(&self) -> (TokenHandle, Arc<Context>, CancellationToken) {
        let stop = CancellationToken::new();
        let worker = self.worker(&stop);
        tokio::spawn(worker.task.run());
        (worker.handle, worker.context, stop)
    }

    fn sent(&self) -> Vec<String> {
        self.server.sent.lock().unwrap().clone()
    }

    fn reused(&self) -> u32 {
        self.server.reused.load(Ordering::SeqCst)
    }
}

fn of_a_person(name: &str) -> NewTokens {
    NewTokens {
        access_token: format!("at-{name}").as_str().into(),
        refresh_token: Some(format!("rt-{name}").as_str().into()),
        lifetime: Duration::from_secs(3600),
        refresh_in: None,
    }
}

#[derive(Clone, Debug)]
enum Event {
    Mood(Mood),
    Server(Option<u16>),
    Signal,
    Wants(bool),
    Pass(u64),
    Clock(i64),
    SignIn,
}

fn event() -> impl Strategy<Value = Event> {
    let moods =
        [Mood::Well, Mood::Away, Mood::Refused, Mood::Corrupt, Mood::Busy, Mood::Unreadable, Mood::Emptied];
    prop_oneof![
        4 => proptest::sample::select(moods.to_vec()).prop_map(Event::Mood),
        2 => proptest::sample::select(vec![None, Some(503), Some(400), Some(401)]).prop_map(Event::Server),
        3 => Just(Event::Signal),
        2 => any::<bool>().prop_map(Event::Wants),
        6 => prop_oneof![0u64..1500, 1500u64..4_000_000].prop_map(Event::Pass),
        1 => prop_oneof![Just(-86_400i64), Just(86_400), -90i64..90].prop_map(Event::Clock),
        1 => Just(Event::SignIn),
    ]
}

/// Lets the worker do what it has to, and checks it before each thing it does.
async fn turn_until_idle(task: &mut ConnectionTask, bench: &Bench) -> Result<(), TestCaseError> {
    for _ in 0..40 {
        let flew = task.flight.is_some();
        let failed_at = [&bench.store.failed_at, &bench.server.failed_at].map(|at| *at.lock().unwrap());
        task.begin_next();
        let now = task.context.clock.now();
        let (due, state) = (task.state.due(now), task.state.name());
        if task.flight.is_none() {
            let paused = !task.pause_left().is_zero();
            prop_assert!(due.is_none_or(|due| due > now) || paused, "{state} is due, and nothing is done");
            return Ok(());
        }
        if !flew {
            let failed = failed_at.into_iter().flatten().max();
            prop_assert!(
                failed.is_none_or(|at| at.elapsed() >= Duration::from_secs(1)),
                "{state}: work begins {:?} after a failure (store, server); posts: {}; last: {:?}",
                failed_at.map(|at| at.map(|at| at.elapsed())),
                bench.sent().len(),
                task.shared.view.borrow().status.last_error
            );
        }
        task.turn().await;
    }
    Err(TestCaseError::fail("it does not come to rest"))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(600))]
    #[test]
    fn what_is_due_lies_ahead_or_is_under_way_and_nothing_fails_twice_in_a_second(
        events in prop::collection::vec(event(), 1..50)
    ) {
        let runtime =
            tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
        runtime.block_on(async {
            let bench = Bench::new();
            let Worker { mut task, handle, context } = bench.worker(&CancellationToken::new());
            for event in &events {
                match event {
                    Event::Mood(mood) => bench.store.set(*mood),
                    Event::Server(answers) => *bench.server.answers.lock().unwrap() = *answers,
                    Event::Signal => bench.store.signal.send_modify(|count| *count += 1),
                    Event::Wants(operator) => {
                        handle.shared().wants().add(None, None, *operator);
                    }
                    Event::Pass(millis) => tokio::time::advance(Duration::from_millis(*millis)).await,
                    Event::Clock(seconds) => {
                        let now = bench.clock.now().as_seconds() + seconds;
                        bench.clock.set(Timestamp::from_seconds(now));
                    }
                    Event::SignIn => {
                        let shared = handle.shared();
                        let failed_at = *bench.store.failed_at.lock().unwrap();
                        let (context, now) = (Arc::clone(&context), bench.clock.now());
                        let settling = settle(context, shared, of_a_person("p"), now, CancellationToken::new());
                        let _stored_or_not = tokio::time::timeout(Duration::from_secs(1), settling).await;
                        // It is no work of the worker's.
                        *bench.store.failed_at.lock().unwrap() = failed_at;
                    }
                }
                task.notice_clock_steps();
                if task.commits.has_changed().unwrap() {
                    task.commits.mark_unchanged();
                    task.called();
                }
                turn_until_idle(&mut task, &bench).await?;
            }
            Ok::<(), TestCaseError>(())
        })?;
    }
}

/// Lines of the log, on this thread.
#[derive(Clone, Debug, Default)]
struct Lines(Arc<Mutex<Vec<u8>>>);

impl std::io::Write for Lines {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

#[tokio::test(start_paused = true)]
async fn a_store_that_refuses_and_then_fails_is_asked_seldom_and_told_of_once_a_minute() {
    let lines = Lines::default();
    let writer = lines.clone();
    let subscriber = tracing_subscriber::fmt().with_ansi(false).with_writer(move || writer.clone()).finish();
    let _log = tracing::subscriber::set_default(subscriber);
    let bench = Bench::new();
    bench.store.set(Mood::Refused);
    let (handle, _, _) = bench.run();
    tokio::time::sleep(Duration::from_secs(30)).await;
    assert_eq!(handle.status().state, ConnectionState::Refused);
    bench.store.set(Mood::Away);
    let before = bench.store.touches.load(Ordering::SeqCst);
    tokio::time::sleep(Duration::from_secs(10 * 60)).await;
    let touches = bench.store.touches.load(Ordering::SeqCst) - before;
    assert!((5..60).contains(&touches), "{touches} looks in ten minutes");
    let log = String::from_utf8(lines.0.lock().unwrap().clone()).unwrap();
    let told = log.lines().filter(|line| line.contains("cannot be opened yet")).count();
    assert!((2..=11).contains(&told), "told {told} times in ten minutes:\n{log}");
    assert!(!log.contains("was not made"), "{log}");
    bench.store.set(Mood::Well);
    tokio::time::sleep(Duration::from_secs(120)).await;
    assert_eq!(handle.status().state, ConnectionState::Ok);
}

#[tokio::test(start_paused = true)]
async fn a_refused_token_is_not_sent_again_although_the_store_cannot_be_read() {
    let bench = Bench::new();
    let (handle, _, _) = bench.run();
    handle.get(PATIENCE).await.unwrap();
    *bench.server.answers.lock().unwrap() = Some(400);
    *bench.server.meanwhile.lock().unwrap() = Some((bench.store.clone(), Mood::Unreadable));
    let _refused = handle.refresh_now(PATIENCE).await.unwrap_err();
    tokio::time::sleep(Duration::from_secs(3600)).await;
    assert_eq!(bench.sent().len(), 2, "{:?}", bench.sent());
    assert_eq!(handle.status().state, ConnectionState::NeedsSignIn);
}

#[tokio::test(start_paused = true)]
async fn a_refusal_is_recorded_also_when_the_next_grant_is_put_off() {
    let mut bench = Bench::new();
    bench.connection = connection("a")
        .seeded(None, Some("rt-0"))
        .with(|connection| {
            connection.auth.scheme = AuthScheme::AzureServicePrincipal;
            connection.auth.credential = ClientCredential::Secret("s3cret".into());
        })
        .finish();
    *bench.server.answers.lock().unwrap() = Some(400);
    // The server has trouble from the second request on.
    *bench.server.then.lock().unwrap() = Some(503);
    let (handle, _, stop) = bench.run();
    tokio::time::sleep(Duration::from_secs(600)).await;
    assert_ne!(handle.status().state, ConnectionState::Ok);
    let sent = bench.sent();
    assert!(sent.len() > 3, "{sent:?}");
    assert_eq!(sent.iter().filter(|token| *token == "rt-0").count(), 1, "{sent:?}");
    // Neither does the next agent, which knows what is in the store and nothing else.
    stop.cancel();
    assert!(bench.store.inner.load(false).await.unwrap().unwrap().denied.is_some());
}

#[tokio::test(start_paused = true)]
async fn a_sign_in_that_waits_for_a_locked_store_is_kept_at_a_stop() {
    let bench = Bench::new();
    let (handle, context, stop) = bench.run();
    handle.get(PATIENCE).await.unwrap();
    let somebody = bench.store.inner.lock().await.unwrap();
    let settling = settle(context, handle.shared(), of_a_person("bert"), bench.clock.now(), stop.clone());
    let settling = tokio::spawn(settling);
    tokio::time::sleep(Duration::from_millis(500)).await;
    assert!(!settling.is_finished() && bench.open.unsaved().is_none());
    stop.cancel();
    let done = tokio::time::timeout(Duration::from_secs(1), settling).await;
    assert!(done.expect("no wait for the lock").unwrap().is_ok());
    assert!(bench.open.unsaved().is_some());
    drop(somebody);
    bench.open.save_unsaved().await.unwrap();
    assert_eq!(bench.store.refresh_token().await.as_deref(), Some("rt-bert"));
}

#[tokio::test(start_paused = true)]
async fn a_sign_in_while_the_store_is_away_is_used_at_once_and_saved_later() {
    for opened in [true, false] {
        let bench = Bench::new();
        if !opened {
            bench.store.set(Mood::Away);
        }
        let (handle, context, stop) = bench.run();
        tokio::time::sleep(Duration::from_secs(5)).await;
        bench.store.set(Mood::Away);
        let done = settle(
            context,
            handle.shared(),
            of_a_person("bert"),
            bench.clock.now(),
            CancellationToken::new(),
        )
        .await;
        assert!(done.is_ok(), "opened {opened}: {done:?}");
        assert_eq!(handle.get(PATIENCE).await.unwrap().secret.expose(), "at-bert", "opened {opened}");
        // A reload hands it over.
        stop.cancel();
        let (handle, _, _) = bench.run();
        assert_eq!(handle.get(PATIENCE).await.unwrap().secret.expose(), "at-bert", "opened {opened}");
        assert_ne!(bench.store.refresh_token().await.as_deref(), Some("rt-bert"));
        bench.store.set(Mood::Well);
        tokio::time::sleep(Duration::from_secs(60)).await;
        assert_eq!(bench.store.refresh_token().await.as_deref(), Some("rt-bert"), "opened {opened}");
        assert_eq!(handle.status().state, ConnectionState::Ok);
    }
}

#[tokio::test(start_paused = true)]
async fn a_successor_sends_no_token_that_its_predecessor_has_used() {
    let bench = Bench::new();
    let (first, _, stop) = bench.run();
    first.get(PATIENCE).await.unwrap();
    // The successor has read the store before its predecessor's refresh ends, whose commit then fails.
    let (second, _, _) = bench.run();
    second.get(PATIENCE).await.unwrap();
    bench.store.set(Mood::Full);
    first.refresh_now(PATIENCE).await.unwrap();
    stop.cancel();
    second.refresh_now(PATIENCE).await.unwrap();
    assert_eq!((bench.reused(), bench.sent()), (0, vec!["rt-0".into(), "rt-1".into(), "rt-2".into()]));
    bench.store.set(Mood::Well);
    tokio::time::sleep(Duration::from_secs(60)).await;
    assert_eq!(bench.store.refresh_token().await.as_deref(), Some("rt-3"));
}

#[tokio::test(start_paused = true)]
async fn a_commit_that_finds_the_store_emptied_is_made_again() {
    let bench = Bench::new();
    let (handle, context, _) = bench.run();
    handle.get(PATIENCE).await.unwrap();
    bench.store.set(Mood::Emptied);
    handle.refresh_now(PATIENCE).await.unwrap();
    assert_eq!(bench.store.refresh_token().await.as_deref(), Some("rt-2"));
    bench.store.set(Mood::Emptied);
    settle(context, handle.shared(), of_a_person("bert"), bench.clock.now(), CancellationToken::new())
        .await
        .unwrap();
    assert_eq!(bench.store.refresh_token().await.as_deref(), Some("rt-bert"));
}

#[tokio::test(start_paused = true)]
async fn news_of_a_sibling_that_could_not_be_read_is_read_later() {
    let bench = Bench::new();
    let (handle, _, _) = bench.run();
    handle.get(PATIENCE).await.unwrap();
    tokio::time::sleep(Duration::from_secs(40)).await;
    bench.store.set(Mood::Unreadable);
    let mut theirs = bench.store.inner.load(false).await.unwrap().unwrap();
    (theirs.generation, theirs.refresh_token) = (theirs.generation + 1, Some("rt-theirs".into()));
    theirs.access.as_mut().unwrap().secret = "at-theirs".into();
    let lock = bench.store.inner.lock().await.unwrap();
    bench.store.inner.commit(&lock, theirs.generation - 1, &theirs).await.unwrap();
    drop(lock);
    tokio::time::sleep(Duration::from_secs(80)).await;
    assert_eq!(handle.current().unwrap().secret.expose(), "at-1");
    bench.store.set(Mood::Well);
    tokio::time::sleep(Duration::from_secs(80)).await;
    assert_eq!(handle.current().unwrap().secret.expose(), "at-theirs");
    assert_eq!(bench.sent().len(), 1);
}

/// Drops what it drives after so many polls.
struct Dropped<F>(Option<Pin<Box<F>>>, u32);

impl<F: Future> Future for Dropped<F> {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, context: &mut std::task::Context<'_>) -> Poll<()> {
        let left = self.1;
        self.1 = left.saturating_sub(1);
        match &mut self.0 {
            Some(driven) if left > 0 => driven.as_mut().poll(context).map(drop),
            _ => {
                self.0 = None;
                Poll::Ready(())
            }
        }
    }
}

/// The worker is dropped at each of its awaits, over a good and over a full store, with a sign-in in between; a successor
/// goes on.
#[tokio::test(start_paused = true)]
async fn nothing_is_lost_when_the_worker_is_dropped_at_any_await() {
    for mood in [Mood::Well, Mood::Full, Mood::Away] {
        for signs_in in [false, true] {
            for polls in 0..60 {
                let bench = Bench::new();
                let Worker { task, handle, context } = bench.worker(&CancellationToken::new());
                let dropped = tokio::spawn(Dropped(Some(Box::pin(task.run())), polls));
                let shared = handle.shared();
                for step in 0..12 {
                    tokio::time::sleep(Duration::from_millis(400)).await;
                    if step == 4 {
                        bench.store.set(mood);
                    }
                    if step == 6 && signs_in {
                        let settling = settle(
                            Arc::clone(&context),
                            handle.shared(),
                            of_a_person("p"),
                            bench.clock.now(),
                            CancellationToken::new(),
                        );
                        let _published_or_not =
                            tokio::time::timeout(Duration::from_millis(100), settling).await;
                    }
                    shared.wants().add(None, None, true);
                    shared.wake.notify_one();
                }
                dropped.abort();
                let (next, _, _) = bench.run();
                bench.store.set(Mood::Well);
                tokio::time::sleep(Duration::from_secs(200)).await;
                let what = format!("{mood:?}, sign-in {signs_in}, {polls} polls: {:?}", bench.sent());
                assert_eq!(next.status().state, ConnectionState::Ok, "{what}");
                next.refresh_now(PATIENCE).await.unwrap();
                assert_eq!(bench.reused(), 0, "{what}");
                let newest = format!("rt-{}", bench.sent().len());
                assert_eq!(bench.store.refresh_token().await, Some(newest), "{what}");
                if signs_in {
                    let at = bench.sent().iter().position(|token| token == "rt-p");
                    assert!(at.is_some(), "the person's sign-in was taken up: {what}");
                }
            }
        }
    }
}
