//! Many connections, long times and jumping clocks, in virtual time: no herd, no hammering, no sleeping in, nothing
//! immortal. The tasks, the transaction and the state machine are the real ones.
#![allow(clippy::unwrap_used)]

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU32, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use http::HeaderMap;
use tokio::time::Instant;

use super::answer::{self, Outcome};
use super::handle::TokenHandle;
use super::model::{ConnectionState, TokenError};
use super::places::Places;
use super::store::MemoryStore;
use super::testing::{InMemory, connection, drive_with, settings};
use crate::clock::{Clock, Timestamp};
use crate::settings::Refresh;

const NOW: Timestamp = Timestamp::from_seconds(1_700_000_000);
const HOUR: Duration = Duration::from_secs(3600);

/// Answers at once with what it is told to, and counts.
#[derive(Debug)]
struct Server {
    began: Instant,
    status: AtomicU32,
    latency: Duration,
    hangs_for: Mutex<Option<String>>,
    seconds: Mutex<Vec<u64>>,
    running: AtomicUsize,
    peak: AtomicUsize,
}

impl Server {
    fn new(latency: Duration) -> Arc<Self> {
        Arc::new(Self {
            began: Instant::now(),
            status: AtomicU32::new(200),
            latency,
            hangs_for: Mutex::default(),
            seconds: Mutex::default(),
            running: AtomicUsize::new(0),
            peak: AtomicUsize::new(0),
        })
    }

    fn posts(&self) -> usize {
        self.seconds.lock().unwrap().len()
    }

    /// The most requests in one second, of those since `from`.
    fn peak_per_second(&self, from: u64) -> usize {
        let mut counts = BTreeMap::<u64, usize>::new();
        for second in self.seconds.lock().unwrap().iter().filter(|second| **second >= from) {
            *counts.entry(*second).or_default() += 1;
        }
        counts.into_values().max().unwrap_or(0)
    }

    fn answer_with(&self, status: u32) {
        self.status.store(status, Ordering::SeqCst);
    }
}

impl InMemory for Server {
    fn exchange(&self, form: String, now: Timestamp) -> BoxFuture<'_, Outcome> {
        async move {
            self.seconds.lock().unwrap().push(self.began.elapsed().as_secs());
            self.peak.fetch_max(self.running.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
            let hangs =
                self.hangs_for.lock().unwrap().as_ref().is_some_and(|client| form.contains(client.as_str()));
            tokio::time::sleep(if hangs { Duration::from_secs(30) } else { self.latency }).await;
            self.running.fetch_sub(1, Ordering::SeqCst);
            let (status, body) = match (hangs, self.status.load(Ordering::SeqCst)) {
                (false, 200) => (
                    200,
                    r#"{"token_type":"Bearer","expires_in":3600,"access_token":"a","refresh_token":"r"}"#,
                ),
                (true, _) => (504, ""),
                (_, status) => (u16::try_from(status).unwrap(), "<html>no</html>"),
            };
            answer::classify(status, &HeaderMap::new(), body.as_bytes(), now)
        }
        .boxed()
    }
}

fn refresh() -> Refresh {
    Refresh {
        backoff_base: Duration::from_secs(1),
        backoff_cap: Duration::from_secs(300),
        request_timeout: Duration::from_secs(30),
        ..settings("unused".as_ref()).refresh
    }
}

/// `count` connections, each with a token that ends `left` from now.
fn agent(
    server: &Arc<Server>,
    clock: &Clock,
    places: &Arc<Places>,
    count: usize,
    left: u64,
) -> Vec<TokenHandle> {
    let one = |number: usize| {
        let connection = connection(&format!("c{number}"))
            .seeded(Some(("given", left)), Some("given"))
            .with(|connection| connection.auth.client_id = Some(format!("client-{number}.")))
            .with(|connection| connection.auth.tenant = Some(format!("tenant-{}", number % 10)))
            .finish();
        let store = Arc::new(MemoryStore::new(&format!("{number}"), Duration::from_secs(5)));
        drive_with(&connection, store, clock.clone(), refresh(), places, Some(server.clone()))
    };
    (0..count).map(one).collect()
}

/// Row 19: all tokens of a large agent end in the same second; then an outage of half an hour begins and ends.
#[tokio::test(start_paused = true)]
async fn five_hundred_connections_are_no_herd_before_during_and_after_an_outage() {
    const COUNT: usize = 500;
    let (server, clock, places) =
        (Server::new(Duration::from_millis(20)), Clock::simulated(NOW), Places::new(4));
    let agent = agent(&server, &clock, &places, COUNT, 90);
    tokio::time::sleep(Duration::from_secs(180)).await;
    assert!(server.posts() >= COUNT, "{}", server.posts());
    assert!(server.peak_per_second(0) <= COUNT / 20, "at the start: {}", server.peak_per_second(0));
    server.answer_with(503);
    clock.set(clock.now().plus(HOUR)); // every token ends now, in one second
    tokio::time::sleep(HOUR / 2).await;
    let during = server.began.elapsed().as_secs();
    assert!(server.peak_per_second(180) <= COUNT / 20, "during: {}", server.peak_per_second(180));
    let waits: Vec<Duration> = agent
        .iter()
        .filter_map(|handle| handle.status().last_error?.retry_at)
        .map(|at| at.until(clock.now()))
        .collect();
    assert_eq!(waits.len(), COUNT);
    let spread = *waits.iter().max().unwrap() - *waits.iter().min().unwrap();
    assert!(spread >= Duration::from_secs(150), "at the cap the waits are spread over {spread:?}");
    server.answer_with(200);
    tokio::time::sleep(Duration::from_secs(330)).await;
    assert!(server.peak_per_second(during) <= COUNT / 20, "after: {}", server.peak_per_second(during));
    assert!(server.peak.load(Ordering::SeqCst) <= 4);
    assert!(agent.iter().all(|handle| handle.status().state == ConnectionState::Ok));
}

/// Row 20, first half.
#[tokio::test(start_paused = true)]
async fn a_403_for_ever_is_asked_at_most_every_five_minutes() {
    let (server, clock, places) =
        (Server::new(Duration::from_millis(20)), Clock::simulated(NOW), Places::new(4));
    server.answer_with(403);
    let agent = agent(&server, &clock, &places, 1, 30);
    tokio::time::sleep(Duration::from_secs(600)).await;
    let before = server.posts();
    tokio::time::sleep(12 * HOUR).await;
    let posts = server.posts() - before;
    assert!((60..=12 * 12).contains(&posts), "{posts} in 12 h");
    let status = agent[0].status();
    assert_eq!(status.state, ConnectionState::Degraded);
    assert!(status.last_error.unwrap().retry_at.is_some(), "degraded says until when");
}

/// Row 20, second half: an outage of 12 h, with and without callers.
#[tokio::test(start_paused = true)]
async fn after_twelve_hours_of_outage_a_token_is_there_within_five_minutes() {
    let (server, clock, places) =
        (Server::new(Duration::from_millis(20)), Clock::simulated(NOW), Places::new(4));
    server.answer_with(503);
    let agent = agent(&server, &clock, &places, 20, 30);
    tokio::time::sleep(12 * HOUR).await;
    let during = server.posts();
    assert!(during <= 20 * (12 * 60 / 2 + 12), "{during}");
    server.answer_with(200);
    tokio::time::sleep(Duration::from_secs(301)).await;
    assert!(agent.iter().all(|handle| handle.current().is_some()));
}

/// Row 21: fresh at most 60 s after any jump, with at most two token requests, and nothing is immortal.
#[tokio::test(start_paused = true)]
async fn clock_jumps_and_suspend_leave_a_fresh_token() {
    let day = 24 * HOUR;
    for (what, jump, forward) in [
        ("an hour forward", HOUR, true),
        ("a day forward", day, true),
        ("suspended for eight hours", 8 * HOUR, true),
        ("an hour back", HOUR, false),
        ("a day back", day, false),
        ("ten minutes back", HOUR / 6, false),
    ] {
        for minutes_before in [1, 20] {
            let (server, clock, places) =
                (Server::new(Duration::from_millis(20)), Clock::simulated(NOW), Places::new(4));
            let agent = agent(&server, &clock, &places, 1, 3600);
            tokio::time::sleep(Duration::from_secs(60 * minutes_before)).await;
            assert_eq!(server.posts(), 0);
            let now = clock.now();
            clock.set(if forward { now.plus(jump) } else { now.minus(jump) });
            tokio::time::sleep(Duration::from_secs(60)).await;
            let token = agent[0].current();
            assert!(token.is_some(), "{what}: no token");
            assert!((1..=2).contains(&server.posts()), "{what}: {} posts", server.posts());
            let left = token.unwrap().expires_at.until(clock.now());
            assert!((HOUR - Duration::from_secs(61)..=HOUR).contains(&left), "{what}: {left:?} left");
        }
    }
}

/// Row 21: the server is away while the clock is set back, so no new token can come; the old one ends all the same.
#[tokio::test(start_paused = true)]
async fn a_clock_that_goes_back_makes_no_token_immortal() {
    let (server, clock, places) =
        (Server::new(Duration::from_millis(20)), Clock::simulated(NOW), Places::new(4));
    let agent = agent(&server, &clock, &places, 1, 3600);
    tokio::time::sleep(Duration::from_secs(60)).await;
    server.answer_with(503);
    clock.set(clock.now().minus(24 * HOUR));
    tokio::time::sleep(Duration::from_secs(600)).await;
    assert!(agent[0].current().is_some(), "it lives as long as it lives");
    tokio::time::sleep(HOUR).await;
    assert!(agent[0].current().is_none(), "an hour's token is handed out after an hour");
}

/// The clock is set back while Graph refuses one token after the other: the pace at which refusals are believed goes by the
/// time that passes, not by the clock.
#[tokio::test(start_paused = true)]
async fn a_clock_set_back_by_hours_leaves_refusals_believed() {
    let (server, clock, places) =
        (Server::new(Duration::from_millis(20)), Clock::simulated(NOW), Places::new(4));
    let agent = agent(&server, &clock, &places, 1, 3600);
    tokio::time::sleep(Duration::from_secs(60)).await;
    let refused = async || {
        let seen = agent[0].status().token_generation;
        agent[0].renew(seen, None, Duration::from_secs(5)).await
    };
    let mut believed = 0;
    while refused().await.is_ok() {
        believed += 1;
        assert!(believed < 50, "refusals are believed in bounded number");
    }
    clock.set(clock.now().minus(3 * HOUR));
    // The task notices the step and fetches a token with dates of this clock; after that, one refusal every half minute.
    tokio::time::sleep(Duration::from_secs(120)).await;
    let got = refused().await;
    assert!(got.is_ok(), "{got:?}");
}

/// Row 22, between tenants of one host: the hanging tenant has twenty connections, and everybody needs a token now.
#[tokio::test(start_paused = true)]
async fn a_tenant_that_hangs_delays_no_other_tenant() {
    let (server, clock, places) =
        (Server::new(Duration::from_millis(20)), Clock::simulated(NOW), Places::new(4));
    *server.hangs_for.lock().unwrap() = Some("hanging".to_owned());
    let mut hanging = Vec::new();
    for number in 0..20 {
        let connection = connection(&format!("h{number}"))
            .seeded(None, Some("given"))
            .with(|connection| connection.auth.client_id = Some("hanging".to_owned()))
            .with(|connection| connection.auth.tenant = Some("hanging".to_owned()))
            .finish();
        let store = Arc::new(MemoryStore::new(&format!("h{number}"), Duration::from_secs(5)));
        hanging.push(drive_with(&connection, store, clock.clone(), refresh(), &places, Some(server.clone())));
    }
    let healthy = agent(&server, &clock, &places, 10, 3600);
    tokio::time::sleep(Duration::from_secs(1)).await;
    let mut waits = Vec::new();
    for _ in 0..100 {
        for handle in &healthy {
            let began = Instant::now();
            let got = handle.refresh_now(Duration::from_secs(60)).await;
            assert!(!matches!(got, Err(TokenError::TryLater { .. })), "{got:?}");
            waits.push(began.elapsed());
        }
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
    waits.sort();
    let p99 = waits[waits.len() * 99 / 100];
    assert!(p99 <= server.latency + Duration::from_millis(10), "{p99:?}");
    assert!(server.peak.load(Ordering::SeqCst) <= 4);
}
