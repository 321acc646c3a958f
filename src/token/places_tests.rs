//! Places: never above the limit, turns by tenant, callers first, a hanging tenant is alone with its trouble, and the
//! pace of a large agent.
#![allow(clippy::unwrap_used)]

use std::sync::atomic::{AtomicUsize, Ordering};

use super::*;

/// Holds a place for `time` and answers how long it was waited for.
async fn hold(seat: Arc<Seat>, urgent: bool, time: Duration) -> Duration {
    let asked = Instant::now();
    let place = seat.place(urgent).await;
    let waited = asked.elapsed();
    tokio::time::sleep(time).await;
    drop(place);
    waited
}

#[tokio::test(start_paused = true)]
async fn never_more_than_the_limit_and_everybody_gets_a_turn() {
    let places = Places::new(4);
    let (running, peak) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let all: Vec<_> = (0..90)
        .map(|number| {
            let seat = places.seat(&format!("tenant {}", number % 7));
            let (running, peak) = (running.clone(), peak.clone());
            tokio::spawn(async move {
                let _place = seat.place(number % 3 == 0).await;
                peak.fetch_max(running.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
                tokio::time::sleep(Duration::from_millis(100)).await;
                running.fetch_sub(1, Ordering::SeqCst);
            })
        })
        .collect();
    for one in all {
        one.await.unwrap();
    }
    assert_eq!(peak.load(Ordering::SeqCst), 4);
    let inner = places.inner();
    assert!(inner.tenants.is_empty() && inner.taken.is_empty() && inner.connections == 0, "{inner:?}");
}

#[tokio::test(start_paused = true)]
async fn a_hanging_tenant_delays_nobody_else() {
    let places = Places::new(4);
    let hanging: Vec<_> = (0..50).map(|_| Arc::new(places.seat("hanging"))).collect();
    let healthy: Vec<_> = (0..30).map(|number| Arc::new(places.seat(&format!("t{number}")))).collect();
    for seat in &hanging {
        tokio::spawn(hold(seat.clone(), true, Duration::from_secs(30)));
    }
    tokio::task::yield_now().await;
    // An hour of the tenant's hanging requests, beside healthy ones every ten seconds.
    let mut worst = Duration::ZERO;
    for _ in 0..120 {
        for seat in &healthy {
            worst = worst.max(hold(seat.clone(), false, Duration::from_millis(100)).await);
        }
        tokio::time::sleep(Duration::from_secs(10)).await;
    }
    assert!(worst <= Duration::from_millis(10), "{worst:?}");
}

#[tokio::test(start_paused = true)]
async fn a_tenant_that_hung_is_slow_until_it_answers_quickly() {
    let places = Places::new(4);
    let (one, _other) = (Arc::new(places.seat("one")), places.seat("other"));
    hold(one.clone(), false, Duration::from_secs(30)).await;
    let at_once = |inner: &Inner| inner.taken.len();
    let first = tokio::spawn(hold(one.clone(), false, Duration::from_secs(1)));
    let second = tokio::spawn(hold(one.clone(), false, Duration::from_secs(1)));
    tokio::task::yield_now().await;
    assert_eq!(at_once(&places.inner()), 1, "a tenant that hung gets one place");
    first.await.unwrap();
    second.await.unwrap();
    let three: Vec<_> =
        (0..5).map(|_| tokio::spawn(hold(one.clone(), false, Duration::from_secs(1)))).collect();
    tokio::task::yield_now().await;
    assert_eq!(at_once(&places.inner()), 3, "a healthy one all but the last");
    for one in three {
        one.await.unwrap();
    }
}

#[tokio::test(start_paused = true)]
async fn callers_go_first_and_who_gives_up_leaves_no_gap() {
    let places = Places::new(1);
    let seat = Arc::new(places.seat("t"));
    let held = seat.place(false).await;
    let routine = tokio::spawn(hold(seat.clone(), false, Duration::from_secs(1)));
    tokio::task::yield_now().await;
    let given_up = tokio::spawn(hold(seat.clone(), true, Duration::from_secs(1)));
    let urgent = tokio::spawn(hold(seat.clone(), true, Duration::from_secs(1)));
    tokio::task::yield_now().await;
    given_up.abort();
    tokio::task::yield_now().await;
    drop(held);
    let (urgent, routine) = (urgent.await.unwrap(), routine.await.unwrap());
    assert!(urgent < Duration::from_millis(10), "{urgent:?}");
    assert!(routine >= Duration::from_secs(1), "{routine:?}");
}

#[tokio::test(start_paused = true)]
async fn a_large_agent_keeps_a_pace_below_five_percent_a_second() {
    for count in [500usize, 10_000] {
        let places = Places::new(4);
        let began = Instant::now();
        let starts = Arc::new(Mutex::new(Vec::new()));
        let all: Vec<_> = (0..count)
            .map(|number| (places.seat(&format!("t{}", number % 40)), starts.clone()))
            .collect::<Vec<_>>()
            .into_iter()
            .map(|(seat, starts)| {
                tokio::spawn(async move {
                    // Connection refused: the answer takes no time at all.
                    let _place = seat.place(false).await;
                    starts.lock().unwrap().push(began.elapsed().as_secs());
                    seat
                })
            })
            .collect();
        let mut seats = Vec::new();
        for one in all {
            seats.push(one.await.unwrap());
        }
        let mut seconds = HashMap::<u64, usize>::new();
        for second in starts.lock().unwrap().iter() {
            *seconds.entry(*second).or_default() += 1;
        }
        let peak = seconds.values().max().copied().unwrap();
        assert!(peak <= count / 20, "{peak} of {count}");
    }
}
