//! The keeper against a token endpoint on a local port: sharing, cancelling, reloading, stopping, failing.
#![allow(clippy::unwrap_used)]

use std::sync::Arc;
use std::time::Duration;

use super::keeper::Keeper;
use super::model::{ConnectionState, TokenError};
use super::store::{Committed, StoreError, Stored};
use super::testing::*;
use super::{TokenHandle, read_claims};
use crate::clock::{Clock, Timestamp};
use crate::connection::{
    AuthScheme, ClientCredential, Connection, Generation, InitiateOAuth, Proxy, StoreLocation,
};

const PATIENCE: Duration = Duration::from_secs(10);

fn handle(keeper: &Keeper, connection: &Connection) -> Arc<TokenHandle> {
    keeper.handle(&connection.name).unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_thousand_callers_at_expiry_make_one_request() {
    let (folder, server) = (state_folder(), FakeEndpoint::start(true, 3600, "rt-0").await);
    let connection = connection("a").seeded(Some(("expired", 0)), Some("rt-0")).at(&server).finish();
    server.next(Next::Hold);
    let keeper = keeper(folder.path());
    keeper.apply(&set_of(&[&connection]));
    let handle = handle(&keeper, &connection);
    let callers: Vec<_> = (0..1000)
        .map(|number| {
            let handle = Arc::clone(&handle);
            tokio::spawn(async move {
                let token = if number % 2 == 0 {
                    handle.get(PATIENCE).await.unwrap()
                } else {
                    handle.renew(1, None, PATIENCE).await.unwrap()
                };
                token.secret.expose().clone()
            })
        })
        .collect();
    until("the request is there", || server.posts().len() == 1).await;
    server.release();
    for caller in callers {
        assert_eq!(caller.await.unwrap(), "at-1");
    }
    assert_eq!(server.posts().len(), 1);
    assert_eq!(handle.status().state, ConnectionState::Ok);
    assert_eq!(handle.status().token_generation, 2);
    assert!(handle.server_clock_skew().unwrap() < -86_400, "the endpoint's Date header lies in 2023");
}

#[tokio::test]
async fn a_caller_that_gives_up_does_not_stop_the_refresh() {
    let (folder, server) = (state_folder(), FakeEndpoint::start(true, 3600, "rt-0").await);
    let connection = connection("a").seeded(None, Some("rt-0")).at(&server).finish();
    server.next(Next::Hold);
    let keeper = keeper(folder.path());
    keeper.apply(&set_of(&[&connection]));
    let handle = handle(&keeper, &connection);
    match handle.get(Duration::from_millis(50)).await {
        Err(TokenError::TryLater { failure, .. }) => assert_eq!(failure.code, "refresh_takes_long"),
        other => panic!("{other:?}"),
    }
    let dropped = tokio::spawn({
        let handle = Arc::clone(&handle);
        async move { handle.get(PATIENCE).await }
    });
    until("the request is there", || server.posts().len() == 1).await;
    dropped.abort();
    server.release();
    assert_eq!(handle.get(PATIENCE).await.unwrap().secret.expose(), "at-1");
    assert_eq!(server.posts().len(), 1);
}

#[tokio::test]
async fn a_reload_during_the_request_loses_nothing() {
    let (folder, server) = (state_folder(), FakeEndpoint::start(true, 3600, "rt-0").await);
    let draft = || connection("a").seeded(Some(("expired", 0)), Some("rt-0")).at(&server);
    let (before, after) =
        (draft().finish(), draft().with(|connection| connection.generation = Generation::next()).finish());
    server.next(Next::Hold);
    let keeper = keeper(folder.path());
    keeper.apply(&set_of(&[&before]));
    let old = handle(&keeper, &before);
    until("the request is there", || server.posts().len() == 1).await;
    keeper.apply(&set_of(&[&before]));
    assert!(Arc::ptr_eq(&old, &handle(&keeper, &before)), "an unchanged connection goes on untouched");
    keeper.apply(&set_of(&[&after]));
    let new = handle(&keeper, &after);
    assert!(!Arc::ptr_eq(&old, &new));
    // Whoever holds the old handle waits for the new version's token.
    let waiting = tokio::spawn({
        let old = Arc::clone(&old);
        async move { old.get(PATIENCE).await.unwrap().secret.expose().clone() }
    });
    server.release();
    assert_eq!(
        new.get(PATIENCE).await.unwrap().secret.expose(),
        "at-1",
        "the successor finds it in the store"
    );
    assert_eq!(waiting.await.unwrap(), "at-1", "runs end as they began");
    assert_eq!((server.posts().len(), server.reused()), (1, 0));
    keeper.apply(&set_of(&[]));
    assert!(keeper.handle(&after.name).is_none());
}

#[tokio::test]
async fn stopping_lets_a_running_refresh_commit() {
    let (folder, server) = (state_folder(), FakeEndpoint::start(true, 3600, "rt-0").await);
    let connection = connection("a").seeded(None, Some("rt-0")).at(&server).finish();
    server.next(Next::Hold);
    let first = keeper(folder.path());
    first.apply(&set_of(&[&connection]));
    until("the request is there", || server.posts().len() == 1).await;
    let stopping = tokio::spawn({
        let first = Arc::clone(&first);
        async move { first.drain(PATIENCE).await }
    });
    tokio::task::yield_now().await;
    server.release();
    assert!(stopping.await.unwrap(), "drained in time");
    let second = keeper(folder.path());
    second.apply(&set_of(&[&connection]));
    assert_eq!(handle(&second, &connection).get(PATIENCE).await.unwrap().secret.expose(), "at-1");
    assert_eq!(server.posts().len(), 1, "the next agent needs no request");
}

#[tokio::test]
async fn a_stop_saves_what_a_store_is_owed_or_says_that_it_is_lost() {
    let connection = connection("a").finish();
    for locked in [false, true] {
        let folder = state_folder();
        let (keeper, sibling) = (keeper(folder.path()), keeper(folder.path()));
        let store = keeper.shelf().open(&connection);
        let owed =
            Stored { generation: 1, refresh_token: Some("rt-of-a-person".into()), ..Stored::default() };
        let Committed::Owed(..) = store.keep(&Arc::new(owed), StoreError::Busy("Locked.".to_owned())) else {
            panic!("it is owed")
        };
        let theirs = sibling.shelf().open(&connection);
        let lock = if locked { Some(theirs.lock().await.unwrap()) } else { None };
        let bound = if locked { Duration::from_millis(300) } else { PATIENCE };
        assert_eq!(keeper.drain(bound).await, !locked);
        drop(lock);
        let saved = theirs.load(false).await.unwrap().and_then(|stored| stored.refresh_token);
        assert_eq!(saved.is_some(), !locked);
    }
}

#[tokio::test]
async fn a_lost_answer_is_repaired_with_the_same_token() {
    // Not strict, as Entra: a used refresh token stays in force.
    let (folder, server) = (state_folder(), FakeEndpoint::start(false, 3600, "rt-0").await);
    let connection = connection("a").seeded(None, Some("rt-0")).at(&server).finish();
    server.next(Next::Cut);
    let keeper = keeper(folder.path());
    keeper.apply(&set_of(&[&connection]));
    let handle = handle(&keeper, &connection);
    until("a token is there", || handle.current().is_some()).await;
    let posts = server.posts();
    assert_eq!(posts.len(), 2);
    assert_eq!(posts[0], posts[1], "the same refresh token again");
    assert_eq!(handle.status().last_error, None);
}

#[tokio::test]
async fn trouble_is_not_death_and_a_refusal_is_final_until_a_change() {
    let (folder, server) = (state_folder(), FakeEndpoint::start(true, 3600, "rt-0").await);
    let denied = r#"{"error":"invalid_grant","error_codes":[700082]}"#;
    for (status, body) in [(503, "x"), (500, denied), (429, denied), (200, "<html>"), (400, "")] {
        server.next(Next::Answer(status, body.to_owned()));
    }
    let draft = || connection("a").seeded(None, Some("rt-0")).at(&server);
    let before = draft().finish();
    let first = keeper(folder.path());
    first.apply(&set_of(&[&before]));
    let in_use = handle(&first, &before);
    until("a token is there", || in_use.current().is_some()).await;
    assert_eq!(server.posts().len(), 6);

    server.next(Next::Answer(400, denied.to_owned()));
    match in_use.renew(2, None, PATIENCE).await {
        Err(TokenError::NeedsSignIn(failure)) => {
            assert_eq!((failure.code.as_str(), failure.aadsts), ("invalid_grant", Some(700_082)));
        }
        other => panic!("{other:?}"),
    }
    assert_eq!(in_use.status().state, ConnectionState::NeedsSignIn);
    assert!(in_use.current().is_some(), "the token that still works goes on working");
    assert!(in_use.renew(2, None, PATIENCE).await.is_err());
    assert_eq!(server.posts().len(), 7, "no more requests");

    // Not even after a restart, though the refresh token is still there.
    assert!(first.drain(PATIENCE).await);
    let second = keeper(folder.path());
    second.apply(&set_of(&[&before]));
    let after_restart = handle(&second, &before);
    until("parked", || after_restart.status().state == ConnectionState::NeedsSignIn).await;
    assert_eq!(after_restart.status().last_error.unwrap().aadsts, Some(700_082));
    assert_eq!(server.posts().len(), 7);

    // A person may insist, and a changed configuration is a new chance.
    assert_eq!(after_restart.refresh_now(PATIENCE).await.unwrap().secret.expose(), "at-2");
    server.next(Next::Answer(400, denied.to_owned()));
    assert!(after_restart.refresh_now(PATIENCE).await.is_err());
    let changed = draft()
        .with(|connection| (connection.digest, connection.generation) = ([1; 32], Generation::next()))
        .finish();
    second.apply(&set_of(&[&changed]));
    let changed = handle(&second, &changed);
    until("the token of the store", || changed.status().state == ConnectionState::Ok).await;
    assert!(changed.current().is_some());
    assert_eq!(changed.renew(3, None, PATIENCE).await.unwrap().secret.expose(), "at-3");
}

#[tokio::test]
async fn a_service_principal_mints_and_falls_back_to_minting() {
    let (folder, server) = (state_folder(), FakeEndpoint::start(true, 3600, "rt-0").await);
    let principal = |name: &str| {
        connection(name).at(&server).with(|connection| {
            connection.auth.scheme = AuthScheme::AzureServicePrincipal;
            connection.auth.credential = ClientCredential::Secret("s3cret".into());
        })
    };
    let minted = principal("minted")
        .with(|connection| connection.auth.initiate = InitiateOAuth::GetAndRefresh)
        .finish();
    let given = principal("given").seeded(None, Some("rt-of-nobody")).finish();
    let keeper = keeper(folder.path());
    keeper.apply(&set_of(&[&minted]));
    assert_eq!(handle(&keeper, &minted).get(PATIENCE).await.unwrap().secret.expose(), "minted-1");
    keeper.apply(&set_of(&[&minted, &given]));
    let handle = handle(&keeper, &given);
    assert_eq!(handle.get(PATIENCE).await.unwrap().secret.expose(), "minted-3");
    assert_eq!(handle.renew(2, None, PATIENCE).await.unwrap().secret.expose(), "minted-4");
    let grants: Vec<_> =
        server.posts().iter().map(|post| post.contains("grant_type=refresh_token")).collect();
    assert_eq!(grants, [false, true, false, false], "the refused refresh token is not sent again");
    assert!(server.posts()[1].contains("client_secret=s3cret"));
}

#[tokio::test]
async fn an_administrators_problem_is_told_and_not_hammered() {
    let (folder, server) = (state_folder(), FakeEndpoint::start(true, 3600, "rt-0").await);
    server.next(Next::Answer(401, r#"{"error":"invalid_client","error_codes":[7000222]}"#.to_owned()));
    let connection = connection("a").seeded(None, Some("rt-0")).at(&server).finish();
    let keeper = keeper(folder.path());
    keeper.apply(&set_of(&[&connection]));
    let handle = handle(&keeper, &connection);
    for _ in 0..3 {
        match handle.get(PATIENCE).await {
            Err(TokenError::NeedsAdmin(failure)) => {
                assert_eq!(failure.aadsts, Some(7_000_222));
                assert_eq!(failure.retry_at.unwrap().since(failure.at), Duration::ZERO);
                assert_eq!(failure.retry_at.unwrap().until(failure.at), Duration::from_secs(300));
            }
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(server.posts().len(), 1);
    assert_eq!(handle.refresh_now(PATIENCE).await.unwrap().secret.expose(), "at-1");
}

#[tokio::test]
async fn claims_challenges_of_many_callers_are_one_request() {
    let (folder, server) = (state_folder(), FakeEndpoint::start(true, 3600, "rt-0").await);
    let connection = connection("a").seeded(Some(("given", 3600)), Some("rt-0")).at(&server).finish();
    let keeper = keeper(folder.path());
    keeper.apply(&set_of(&[&connection]));
    let handle = handle(&keeper, &connection);
    assert_eq!(handle.get(PATIENCE).await.unwrap().secret.expose(), "given");
    let callers: Vec<_> = (0..50)
        .map(|_| {
            let handle = Arc::clone(&handle);
            tokio::spawn(async move {
                handle.renew(1, Some(r#"{"a":1}"#.to_owned()), PATIENCE).await.unwrap().generation
            })
        })
        .collect();
    for caller in callers {
        assert_eq!(caller.await.unwrap(), 2);
    }
    assert_eq!(server.posts().len(), 1);
    assert!(server.posts()[0].ends_with("claims=%7B%22a%22%3A1%7D"));
    // A plain refusal of the old token needs nothing any more.
    assert_eq!(handle.renew(1, None, PATIENCE).await.unwrap().generation, 2);
    assert_eq!(server.posts().len(), 1);
}

#[tokio::test]
async fn a_tenant_that_refuses_every_token_does_not_cause_a_storm() {
    let (folder, server) = (state_folder(), FakeEndpoint::start(true, 3600, "rt-0").await);
    let connection = connection("a").seeded(Some(("given", 3600)), Some("rt-0")).at(&server).finish();
    let keeper = keeper(folder.path());
    keeper.apply(&set_of(&[&connection]));
    let handle = handle(&keeper, &connection);
    handle.get(PATIENCE).await.unwrap();
    let mut refused = None;
    for _ in 0..100 {
        let seen = handle.status().token_generation;
        if let Err(error) = handle.renew(seen, None, PATIENCE).await {
            refused = Some(error);
        }
    }
    assert_eq!(server.posts().len(), 10);
    match refused {
        Some(TokenError::TryLater { failure, .. }) => assert_eq!(failure.code, "token_refused"),
        other => panic!("{other:?}"),
    }
    assert!(handle.get(PATIENCE).await.is_ok());
}

#[tokio::test(start_paused = true)]
async fn a_given_token_is_foretold_and_then_refused_before_any_call() {
    let folder = state_folder();
    let clock = Clock::manual(Timestamp::from_seconds(1_700_000_000));
    let connection = connection("a")
        .seeded(Some(("given", 3600)), None)
        .with(|connection| connection.auth.initiate = InitiateOAuth::Off)
        .finish();
    let keeper = keeper_with(settings(folder.path()), clock.clone());
    keeper.apply(&set_of(&[&connection]));
    let handle = handle(&keeper, &connection);
    tokio::time::sleep(Duration::from_millis(1)).await;
    assert_eq!(handle.get(PATIENCE).await.unwrap().secret.expose(), "given");
    let status = handle.status();
    assert_eq!((status.state, status.refreshable), (ConnectionState::Ok, false));
    assert_eq!(status.expires_at, Some(Timestamp::from_seconds(1_700_003_600)));
    assert!(
        matches!(handle.renew(1, None, PATIENCE).await, Err(TokenError::NeedsSignIn(failure)) if failure.code == "token_refused")
    );
    clock.set(Timestamp::from_seconds(1_700_003_541));
    assert!(handle.current().is_none(), "at once, before the task has noticed");
    tokio::time::sleep(Duration::from_secs(40)).await;
    assert_eq!(handle.status().state, ConnectionState::NeedsSignIn);
    assert!(
        matches!(handle.get(PATIENCE).await, Err(TokenError::NeedsSignIn(failure)) if failure.code == "token_expired")
    );
    assert!(keeper.inspect(&connection).await.is_good());
    assert!(!folder.path().join("tokens").exists(), "OFF keeps nothing");
}

#[tokio::test]
async fn fixed_handles_and_unusable_configurations_say_what_they_are() {
    let clock = Clock::manual(Timestamp::from_seconds(1_700_000_000));
    let fixed = TokenHandle::fixed("t".into(), Some(Timestamp::from_seconds(1_700_000_100)), &clock);
    assert_eq!(fixed.get(PATIENCE).await.unwrap().secret.expose(), "t");
    clock.set(Timestamp::from_seconds(1_700_000_100));
    assert!(matches!(fixed.get(PATIENCE).await, Err(TokenError::NeedsSignIn(_))));
    assert!(read_claims("t").is_none() && fixed.claims().is_none());

    let folder = state_folder();
    let keeper = keeper(folder.path());
    let nothing = connection("nothing")
        .with(|connection| connection.auth.initiate = InitiateOAuth::GetAndRefresh)
        .finish();
    let nameless = connection("nameless")
        .seeded(None, Some("rt"))
        .with(|connection| connection.auth.client_id = None)
        .finish();
    keeper.apply(&set_of(&[&nothing, &nameless]));
    let error = |connection: Arc<Connection>| {
        let handle = handle(&keeper, &connection);
        async move { handle.get(PATIENCE).await.unwrap_err() }
    };
    assert!(
        matches!(error(nothing).await, TokenError::NeedsSignIn(failure) if failure.message.contains("`o365-agent sign-in nothing`"))
    );
    assert!(
        matches!(error(nameless).await, TokenError::NeedsAdmin(failure) if failure.message.contains("OAuthClientId"))
    );
    assert!(keeper.heartbeat() < Duration::from_secs(37));
}

#[tokio::test]
async fn connections_with_one_memory_id_share_their_tokens() {
    let (folder, server) = (state_folder(), FakeEndpoint::start(true, 3600, "rt-0").await);
    let shared = |name: &str| {
        connection(name)
            .seeded(None, Some("rt-0"))
            .at(&server)
            .with(|connection| connection.store = StoreLocation::Memory("one".to_owned()))
            .finish()
    };
    let (a, b) = (shared("a"), shared("b"));
    let keeper = keeper(folder.path());
    keeper.apply(&set_of(&[&a, &b]));
    let (of_a, of_b) = (handle(&keeper, &a), handle(&keeper, &b));
    let (first, second) = (of_a.get(PATIENCE).await.unwrap(), of_b.get(PATIENCE).await.unwrap());
    assert_eq!(first.secret, second.secret);
    of_a.refresh_now(PATIENCE).await.unwrap();
    until("the other hears of it", || of_b.current().unwrap().secret == of_a.current().unwrap().secret).await;
    assert_eq!((server.posts().len(), server.reused()), (2, 0));
    assert!(!folder.path().join("tokens").exists());
}

#[tokio::test]
async fn token_requests_go_through_the_connections_proxy_except_to_exceptions() {
    // The endpoint plays the proxy: the token server itself is a name that no resolver knows.
    let (folder, proxy) = (state_folder(), FakeEndpoint::start(true, 3600, "rt-0").await);
    let through = |name: &str, exceptions: &[&str]| {
        let proxy = Proxy {
            kind: crate::connection::ProxyKind::Http,
            named_by: "ProxyServer",
            host: "127.0.0.1".to_owned(),
            port: proxy.authority.port().unwrap(),
            user: Some("agent".to_owned()),
            password: Some("pass:word".into()),
            exceptions: exceptions.iter().map(|&exception| exception.to_owned()).collect(),
        };
        connection(name)
            .seeded(None, Some("rt-0"))
            .with(|connection| {
                connection.endpoints.authority = "http://login.invalid/".parse().unwrap();
                connection.proxy = Some(proxy);
            })
            .finish()
    };
    let (proxied, direct) = (through("proxied", &["other.invalid"]), through("direct", &["*.invalid"]));
    let keeper = keeper(folder.path());
    keeper.apply(&set_of(&[&direct]));
    match handle(&keeper, &direct).get(PATIENCE).await {
        Err(TokenError::TryLater { failure, .. }) => assert_eq!(failure.code, "endpoint_unreachable"),
        other => panic!("{other:?}"),
    }
    assert!(proxy.heads().is_empty());
    keeper.apply(&set_of(&[&proxied]));
    assert_eq!(handle(&keeper, &proxied).get(PATIENCE).await.unwrap().secret.expose(), "at-1");
    let head = proxy.heads().remove(0);
    assert!(head.starts_with("POST http://login.invalid/tenant/oauth2/v2.0/token HTTP/1.1"), "{head}");
    assert!(head.to_lowercase().contains("proxy-authorization: basic "), "{head}");
    assert!(head.contains("YWdlbnQ6cGFzczp3b3Jk") && head.contains("o365-agent/"), "{head}");
}
