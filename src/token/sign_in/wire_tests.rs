//! Nothing of a sign-in is sent after a stop, in paused time.
#![allow(clippy::unwrap_used)]

use std::sync::Arc;

use super::super::browser;
use super::*;
use crate::clock::{Clock, Timestamp};
use crate::secret::Secret;
use crate::token::places::Places;
use crate::token::plan::TokenPlan;
use crate::token::proof::ClientProof;
use crate::token::store::{MemoryStore, OpenStore};
use crate::token::testing::{connection, settings, shared_client};

fn context(places: &Arc<Places>) -> Context {
    let clock = Clock::simulated(Timestamp::from_seconds(1_700_000_000));
    let connection = connection("one").seeded(Some(("given", 3600)), Some("given")).finish();
    let TokenPlan::Kept(plan) = TokenPlan::make(&connection.auth, clock.now()) else { panic!("a kept plan") };
    Context {
        http: shared_client(&connection),
        connection,
        plan,
        store: Arc::new(OpenStore::new(Arc::new(MemoryStore::new("one", Duration::from_secs(30))))),
        clock,
        refresh: settings("unused".as_ref()).refresh,
        seat: places.seat("tenant"),
        proof: ClientProof::of_process(),
        in_memory: None,
        repeats: Default::default(),
    }
}

#[tokio::test(start_paused = true)]
async fn a_sign_in_sends_nothing_and_waits_for_nothing_after_a_stop() {
    let (places, stop) = (Places::new(1), CancellationToken::new());
    let context = context(&places);
    let taken = context.seat.place(true).await;
    let started = tokio::time::Instant::now();
    let url = Url::parse("http://127.0.0.1:9/token").unwrap();
    let (answered, ()) = tokio::join!(post(&context, &stop, url.clone(), String::new()), async {
        tokio::time::sleep(Duration::from_secs(1)).await;
        stop.cancel();
    });
    assert_eq!(answered.err().unwrap().code, "stopping", "the wait for a place ends");
    assert_eq!(started.elapsed(), Duration::from_secs(1));
    drop(taken);
    let after = post(&context, &stop, url, String::new()).await;
    assert_eq!(after.err().unwrap().code, "stopping", "nothing is sent, though a place is free");
    let secret = |text: &str| Secret::from(text.to_owned());
    let redeemed =
        browser::redeem(&context, &stop, &secret("code"), "http://localhost/", &secret("verifier")).await;
    assert_eq!(redeemed.err().unwrap().code, "stopping");
    assert_eq!(started.elapsed(), Duration::from_secs(1), "no further attempt is waited for");
}
