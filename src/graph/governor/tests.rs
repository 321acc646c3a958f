//! Places, gates, turns and the slow start; and lanes that go when nobody is left.
#![allow(clippy::unwrap_used)]

use std::sync::atomic::{AtomicU32, Ordering};

use super::super::test_support::{connection, context, get};
use super::*;
use crate::graph::Traffic;

fn app() -> Connection {
    connection(url::Url::parse("https://graph.example/v1.0/").unwrap())
}

fn throttled(scope: ThrottleScope) -> GraphRefusal {
    GraphRefusal { status: 429, scope, ..GraphRefusal::default() }
}

fn wanted<'a>(connection: &'a Connection, mailbox: Option<&'a str>, places: u32) -> Wanted<'a> {
    let path = if mailbox.is_some() { "me/messages" } else { "sites/root" };
    Wanted { connection, mailbox, cost: Cost::of(&get(path)), places, again: false }
}

async fn enter(governor: &Arc<Governor>, mailbox: Option<&str>, places: u32) -> Result<Slot, GraphError> {
    governor.enter(wanted(&app(), mailbox, places), &context()).await
}

fn close(governor: &Arc<Governor>, mailbox: Option<&str>, seconds: u64, scope: ThrottleScope) {
    let after = Duration::from_secs(seconds);
    governor.close_gate(&app(), mailbox, Service::Files, after, &throttled(scope));
}

#[tokio::test(start_paused = true)]
async fn no_more_than_four_at_once_in_a_mailbox_and_all_get_their_turn() {
    let governor = Governor::new();
    let (now, most) = (Arc::new(AtomicU32::new(0)), Arc::new(AtomicU32::new(0)));
    let mut tasks = tokio::task::JoinSet::new();
    for index in 0..40 {
        let (governor, now, most) = (governor.clone(), now.clone(), most.clone());
        tasks.spawn(async move {
            let mailbox = if index % 2 == 0 { "Ada@contoso.example" } else { "ada@CONTOSO.example" };
            let slot = enter(&governor, Some(mailbox), 1).await.unwrap();
            most.fetch_max(now.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
            tokio::time::sleep(Duration::from_secs(1)).await;
            now.fetch_sub(1, Ordering::SeqCst);
            drop(slot);
        });
    }
    tasks.join_all().await;
    assert_eq!(most.load(Ordering::SeqCst), 4);
    assert!(governor.lanes().all.is_empty(), "idle lanes are dropped");
}

#[tokio::test(start_paused = true)]
async fn a_closed_gate_holds_everybody_back_until_it_opens_and_not_longer() {
    let governor = Governor::new();
    close(&governor, Some("m"), 20, ThrottleScope::Narrow);
    close(&governor, Some("m"), 5, ThrottleScope::Narrow);
    let begun = Instant::now();
    let other = enter(&governor, Some("other"), 1).await.unwrap();
    assert_eq!(begun.elapsed(), Duration::ZERO, "another mailbox is not held back");
    let slot = enter(&governor, Some("m"), 1).await.unwrap();
    assert!((20_000..20_010).contains(&begun.elapsed().as_millis()), "{:?}", begun.elapsed());
    // It has learned that four at once were too many; one that goes well is enough to forget that.
    (0..8).for_each(|_| slot.succeeded());
    drop((slot, other));
    assert!(governor.lanes().all.is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_refusal_reaches_as_far_as_it_says() {
    for (scope, mailbox, neighbour, files, other_tenant) in [
        (ThrottleScope::Narrow, 20, 0, 0, 0),
        (ThrottleScope::Tenant, 20, 20, 20, 0),
        (ThrottleScope::Application, 20, 20, 20, 20),
    ] {
        let governor = Governor::new();
        close(&governor, Some("m"), 20, scope);
        let begun = Instant::now();
        let mut elsewhere = app();
        elsewhere.auth.tenant = Some("other".to_owned());
        let waits = async |connection: &Connection, mailbox: Option<&str>| {
            let _slot = governor.enter(wanted(connection, mailbox, 1), &context()).await.unwrap();
            begun.elapsed().as_secs()
        };
        let one = app();
        let found = tokio::join!(
            waits(&one, Some("m")),
            waits(&one, Some("n")),
            waits(&one, None),
            waits(&elsewhere, Some("m"))
        );
        assert_eq!(found, (mailbox, neighbour, files, other_tenant), "{scope:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_gate_that_opens_too_late_fails_at_once_also_for_those_who_wait_already() {
    for scope in [ThrottleScope::Narrow, ThrottleScope::Tenant, ThrottleScope::Application] {
        let governor = Governor::new();
        let begun = Instant::now();
        let full = enter(&governor, Some("m"), 4).await.unwrap();
        let late = |error: GraphError| matches!(error, GraphError::NotNow { after, .. } if after == Duration::from_secs(61));
        let (waiting, ()) = tokio::join!(enter(&governor, Some("m"), 1), async {
            tokio::task::yield_now().await;
            close(&governor, Some("m"), 61, scope);
            drop(full);
        });
        assert!(late(waiting.unwrap_err()), "{scope:?}");
        assert!(late(enter(&governor, Some("m"), 1).await.unwrap_err()), "{scope:?}");
        assert_eq!(begun.elapsed(), Duration::ZERO);
    }
}

#[tokio::test(start_paused = true)]
async fn waiting_in_line_ends_with_the_caller_and_leaves_nothing_behind() {
    let governor = Governor::new();
    // The three stay, so that the lane does as well.
    let three = enter(&governor, Some("m"), 3).await.unwrap();
    let last = enter(&governor, Some("m"), 1).await.unwrap();
    let late = enter(&governor, Some("m"), 1).await.unwrap_err();
    assert!(matches!(late, GraphError::Deadline));
    let gone = context();
    gone.cancel.cancel();
    let gone = governor.enter(wanted(&app(), Some("m"), 1), &gone).await.unwrap_err();
    assert!(matches!(gone, GraphError::Cancelled));
    // One that is dropped while it waits, and one that is dropped when it has got its place and does not know it yet.
    let (app, context) = (app(), context());
    let line_up = || Box::pin(governor.enter(wanted(&app, Some("m"), 1), &context));
    let (mut one, mut other) = (line_up(), line_up());
    assert!(
        futures_util::poll!(one.as_mut()).is_pending() && futures_util::poll!(other.as_mut()).is_pending()
    );
    drop(other);
    drop(last);
    drop(one);
    assert_eq!(context.traffic.waiting(), 0);
    let again = enter(&governor, Some("m"), 1).await.unwrap();
    drop((again, three));
    assert!(governor.lanes().all.is_empty());
}

/// A refusal halves the places; each round that goes well gives one back.
#[tokio::test(start_paused = true)]
async fn after_a_refusal_it_starts_slowly() {
    let governor = Governor::new();
    let all = enter(&governor, Some("m"), 4).await.unwrap();
    close(&governor, Some("m"), 3, ThrottleScope::Narrow);
    // The others that were in the air are refused as well: that is still one refusal.
    close(&governor, Some("m"), 4, ThrottleScope::Narrow);
    drop(all);
    let at_once = async || {
        let mut slots = Vec::new();
        while let Ok(slot) =
            tokio::time::timeout(Duration::from_secs(5), enter(&governor, Some("m"), 1)).await
        {
            slots.push(slot.unwrap());
        }
        slots
    };
    let mut found = Vec::new();
    for _ in 0..4 {
        let slots = at_once().await;
        found.push(slots.len());
        slots.iter().for_each(Slot::succeeded);
    }
    assert_eq!(found, [2, 3, 4, 4]);
}

#[tokio::test(start_paused = true)]
async fn runs_take_turns_in_a_lane() {
    let governor = Governor::new();
    let order = Arc::new(Mutex::new(Vec::new()));
    let bulk = Traffic::new();
    let mut tasks = tokio::task::JoinSet::new();
    let all = enter(&governor, Some("m"), 4).await.unwrap();
    for index in 0..1_003 {
        let (governor, order) = (governor.clone(), order.clone());
        let mut context = context();
        context.deadline += Duration::from_secs(3_600);
        let name = if index < 1_000 { "bulk" } else { "small" };
        if index < 1_000 {
            context.traffic = bulk.clone();
        }
        tasks.spawn(async move {
            let slot = governor.enter(wanted(&app(), Some("m"), 1), &context).await.unwrap();
            order.lock().unwrap().push(name);
            tokio::time::sleep(Duration::from_millis(50)).await;
            drop(slot);
        });
        if index % 100 == 0 {
            tokio::task::yield_now().await;
        }
    }
    while bulk.waiting() < 1_000 {
        tokio::task::yield_now().await;
    }
    drop(all);
    tasks.join_all().await;
    let order = order.lock().unwrap();
    let last = order.iter().rposition(|name| *name == "small").unwrap();
    assert!(last < 8, "three small requests behind a thousand: the last was number {last}");
    assert_eq!((order.len(), bulk.waiting()), (1_003, 0));
}

#[tokio::test(start_paused = true)]
async fn a_full_queue_turns_callers_away() {
    let governor = Governor::new();
    let _all = enter(&governor, Some("m"), 4).await.unwrap();
    let mut tasks = tokio::task::JoinSet::new();
    for _ in 0..20_001 {
        let governor = governor.clone();
        tasks.spawn(async move { enter(&governor, Some("m"), 1).await });
    }
    let Err(first) = tasks.join_next().await.unwrap().unwrap() else { panic!() };
    assert!(
        matches!(&first, GraphError::NotNow { refusal, .. } if refusal.code == "TooManyWaiting"),
        "{first}"
    );
}

/// With nothing left of a rate limit nobody sends before it begins anew; with little left it is made to last.
#[tokio::test(start_paused = true)]
async fn what_is_left_of_a_rate_limit_is_made_to_last() {
    for (remaining, seconds) in [("0", [30, 30]), ("2", [15, 30]), ("900", [0, 0])] {
        let governor = Governor::new();
        let mut headers = http::HeaderMap::new();
        for (name, value) in
            [("ratelimit-limit", "1000"), ("ratelimit-remaining", remaining), ("ratelimit-reset", "30")]
        {
            headers.insert(name, value.parse().unwrap());
        }
        let slot = enter(&governor, None, 1).await.unwrap();
        slot.heard(&Pressure::of(&headers));
        drop(slot);
        let begun = Instant::now();
        for second in seconds {
            drop(enter(&governor, None, 1).await.unwrap());
            assert_eq!(begun.elapsed().as_secs(), second, "{remaining} left");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn the_directory_is_spent_as_units_and_other_services_are_not() {
    let governor = Governor::new();
    let begun = Instant::now();
    let connection = app();
    let ask = |path: &str| Wanted { cost: Cost::of(&get(path)), ..wanted(&connection, None, 1) };
    let mut context = context();
    context.deadline += Duration::from_secs(600);
    // The bucket of the smallest tenant holds 3,500 units and gets 350 each second; a list of users costs two.
    for _ in 0..1_750 + 350 {
        drop(governor.enter(ask("users"), &context).await.unwrap());
    }
    assert!((1_900..2_200).contains(&begun.elapsed().as_millis()), "{:?}", begun.elapsed());
    for _ in 0..5_000 {
        drop(governor.enter(ask("sites/root"), &context).await.unwrap());
    }
    assert!(begun.elapsed() < Duration::from_secs(3), "{:?}", begun.elapsed());
}

#[test]
fn forgotten_closed_lanes_are_bounded() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    runtime.block_on(async {
        let governor = Governor::new();
        for mailbox in 0..IDLE_LANES * 2 {
            close(&governor, Some(&mailbox.to_string()), 60, ThrottleScope::Narrow);
        }
        assert!(governor.lanes().all.len() <= IDLE_LANES + 2);
    });
}

#[tokio::test(start_paused = true)]
async fn a_mailbox_under_two_names_has_one_line_once_that_is_known() {
    const ID: &str = "bb8775a4-4d8c-42cf-a1d4-4d58c2bb668f";
    let governor = Governor::new();
    let connection = app();
    let enter = async |name: &'static str| {
        let soon = CallContext { deadline: Instant::now() + Duration::from_secs(1), ..context() };
        governor.enter(wanted(&connection, Some(name), 1), &soon).await
    };
    let mut by_name = Vec::new();
    for _ in 0..3 {
        by_name.push(enter("ada@contoso.example").await.unwrap());
    }
    let by_id = [enter(ID).await.unwrap(), enter(ID).await.unwrap()];
    governor.is_same(&connection, "Ada@contoso.example", ID);
    // Five are in the air, begun before it was known. Nobody gets in under either name until fewer than four are left.
    for name in ["ada@contoso.example", ID] {
        assert!(matches!(enter(name).await, Err(GraphError::Deadline)), "{name}");
    }
    by_name.pop();
    assert!(matches!(enter(ID).await, Err(GraphError::Deadline)));
    by_name.pop();
    let fourth = enter("ada@contoso.example").await.unwrap();
    assert!(matches!(enter(ID).await, Err(GraphError::Deadline)));
    drop((by_name, by_id, fourth));
    assert!(governor.lanes().all.is_empty(), "nothing is held by names");
}
