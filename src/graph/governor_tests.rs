//! Slots, gates, and lanes that go when nobody is left.
#![allow(clippy::unwrap_used)]

use std::sync::atomic::{AtomicU32, Ordering};

use super::super::test_support::{connection, context};
use super::*;
use crate::connection::ConnectionName;

fn app() -> Connection {
    connection(url::Url::parse("https://graph.example/v1.0/").unwrap())
}

fn throttled() -> GraphRefusal {
    GraphRefusal { status: 429, ..GraphRefusal::default() }
}

#[tokio::test(start_paused = true)]
async fn no_more_than_four_at_once_in_a_mailbox_and_all_get_their_turn() {
    let (governor, connection) = (Governor::new(), Arc::new(app()));
    let (now, most) = (Arc::new(AtomicU32::new(0)), Arc::new(AtomicU32::new(0)));
    let mut tasks = tokio::task::JoinSet::new();
    for index in 0..40 {
        let (governor, connection, now, most) =
            (governor.clone(), connection.clone(), now.clone(), most.clone());
        tasks.spawn(async move {
            let mailbox = if index % 2 == 0 { "Ada@contoso.example" } else { "ada@CONTOSO.example" };
            let slot = governor.enter(&connection, Some(mailbox), 1, &context()).await.unwrap();
            most.fetch_max(now.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
            tokio::time::sleep(Duration::from_secs(1)).await;
            now.fetch_sub(1, Ordering::SeqCst);
            drop(slot);
        });
    }
    tasks.join_all().await;
    assert_eq!(most.load(Ordering::SeqCst), 4);
    assert!(governor.lanes().is_empty(), "idle lanes are dropped");
}

#[tokio::test(start_paused = true)]
async fn connections_of_one_app_share_a_lane_and_signed_in_users_do_not() {
    let rename = |mut connection: Connection, name: &str| {
        connection.name = ConnectionName::new(name).unwrap();
        connection
    };
    let delegated = |name: &str| {
        let mut connection = rename(app(), name);
        connection.auth.scheme = crate::connection::AuthScheme::AzureAd;
        connection
    };
    for (one, other, mailbox, shared) in [
        (rename(app(), "a"), rename(app(), "b"), Some("m"), true),
        (delegated("a"), delegated("b"), Some("me"), false),
        (rename(app(), "a"), rename(app(), "b"), None, false),
    ] {
        let equal = LaneKey::of(&one, mailbox) == LaneKey::of(&other, mailbox);
        assert_eq!(equal, shared, "{mailbox:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_closed_gate_holds_everybody_back_until_it_opens_and_not_longer() {
    let (governor, connection) = (Governor::new(), app());
    governor.close_gate(&connection, Some("m"), Duration::from_secs(20), &throttled());
    governor.close_gate(&connection, Some("m"), Duration::from_secs(5), &throttled());
    let begun = Instant::now();
    let other = governor.enter(&connection, Some("other"), 1, &context()).await.unwrap();
    assert_eq!(begun.elapsed(), Duration::ZERO, "another mailbox is not held back");
    let slot = governor.enter(&connection, Some("m"), 1, &context()).await.unwrap();
    assert!((20_000..20_010).contains(&begun.elapsed().as_millis()), "{:?}", begun.elapsed());
    drop((slot, other));
    assert!(governor.lanes().is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_gate_that_opens_too_late_fails_at_once() {
    let (governor, connection) = (Governor::new(), app());
    governor.close_gate(&connection, None, Duration::from_secs(61), &throttled());
    let begun = Instant::now();
    let error = governor.enter(&connection, None, 1, &context()).await.unwrap_err();
    assert!(
        matches!(error, GraphError::NotNow { after, .. } if after == Duration::from_secs(61)),
        "{error:?}"
    );
    assert_eq!(begun.elapsed(), Duration::ZERO);
}

#[tokio::test(start_paused = true)]
async fn waiting_in_line_ends_with_the_caller() {
    let (governor, connection) = (Governor::new(), app());
    let all = governor.enter(&connection, Some("m"), 99, &context()).await.unwrap();
    let late = governor.enter(&connection, Some("m"), 1, &context()).await.unwrap_err();
    assert!(matches!(late, GraphError::Deadline));
    let context = context();
    context.cancel.cancel();
    let gone = governor.enter(&connection, Some("m"), 1, &context).await.unwrap_err();
    assert!(matches!(gone, GraphError::Cancelled));
    drop(all);
    assert!(governor.lanes().is_empty());
}

#[test]
fn forgotten_closed_lanes_are_bounded() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    runtime.block_on(async {
        let (governor, connection) = (Governor::new(), app());
        for mailbox in 0..IDLE_LANES * 2 {
            governor.close_gate(
                &connection,
                Some(&mailbox.to_string()),
                Duration::from_secs(60),
                &throttled(),
            );
        }
        assert!(governor.lanes().len() <= IDLE_LANES);
    });
}
