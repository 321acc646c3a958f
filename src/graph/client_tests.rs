//! One request over the wire: what is sent, repeated, refused and never followed.
#![allow(clippy::unwrap_used)]

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use base64::Engine;
use bytes::Bytes;

use super::super::governor::Wanted;
use super::super::test_support::*;
use super::super::{CallContext, Effect};
use super::*;

const REFUSAL: &str =
    r#"{"error":{"code":"SomeCode","message":"Some words.","innerError":{"request-id":"inner"}}}"#;

#[tokio::test]
async fn a_request_carries_what_it_must_and_the_answer_comes_whole() {
    let server = Server::start(|_, _| async {
        answer(201, &[("request-id", "rid"), ("location", "https://x/1")], r#"{"id":"1"}"#)
    })
    .await;
    let (client, _) = client(&server);
    let mut request = post("me/events?$select=id", r#"{"a":1}"#);
    request.headers = vec![("Prefer", "return=minimal".to_owned())];
    let answer = client.send(request, &context()).await.unwrap();
    assert_eq!((answer.status, &answer.body[..]), (201, &br#"{"id":"1"}"#[..]));
    assert_eq!(
        (answer.location.as_deref(), answer.request_id.as_deref()),
        (Some("https://x/1"), Some("rid"))
    );
    let seen = &server.seen()[0];
    assert_eq!((seen.method.as_str(), seen.target.as_str()), ("POST", "/v1.0/me/events?$select=id"));
    assert_eq!(seen.body, r#"{"a":1}"#);
    for (name, value) in [
        ("authorization", "Bearer token-1"),
        ("accept", "application/json"),
        ("content-type", "application/json"),
        ("client-request-id", "0f5d2d2e-1111-4222-8333-444444444444"),
        ("prefer", "return=minimal"),
        ("content-length", "7"),
    ] {
        assert_eq!(seen.headers.get(name).unwrap(), value, "{name}");
    }
}

#[tokio::test]
async fn headers_of_the_client_cannot_be_replaced() {
    let server = Server::start(|_, _| async { answer(204, &[], "") }).await;
    let (client, _) = client(&server);
    for (name, value) in
        [("Authorization", "Bearer x"), ("Host", "evil"), ("bad name", "x"), ("Prefer", "a\r\nb")]
    {
        let request = GraphRequest { headers: vec![(name, value.to_owned())], ..get("me") };
        let error = client.send(request, &context()).await.unwrap_err();
        assert!(matches!(error, GraphError::BadRequest { .. }), "{name}: {error}");
    }
    assert!(server.seen().is_empty());
}

/// What the server answers first, how often a read and a write are sent then, and that a 507 is a certain refusal.
#[tokio::test]
async fn the_retry_table_over_the_wire() {
    for (status, retry_after, read, write) in [
        (429, Some("0.05"), 2, 2),
        (503, Some("0.05"), 2, 2),
        (503, None, 2, 1),
        (500, None, 2, 1),
        (502, None, 2, 1),
        (504, None, 2, 1),
        (509, None, 2, 1),
        (408, None, 2, 1),
        (400, None, 1, 1),
        (403, None, 1, 1),
        (404, None, 1, 1),
        (507, None, 1, 1),
    ] {
        let server = Server::start(move |number, _| async move {
            let headers: Vec<_> = retry_after.map(|wait| ("Retry-After", wait)).into_iter().collect();
            if number == 0 { answer(status, &headers, REFUSAL) } else { answer(200, &[], "{}") }
        })
        .await;
        let (reader, _) = client(&server);
        let got = reader.send(get("me"), &context()).await;
        assert_eq!((server.seen().len(), got.is_ok()), (read, read == 2), "read after {status}: {got:?}");

        let server = Server::start(move |number, _| async move {
            let headers: Vec<_> = retry_after.map(|wait| ("retry-after", wait)).into_iter().collect();
            if number == 0 { answer(status, &headers, REFUSAL) } else { answer(201, &[], "{}") }
        })
        .await;
        let (writer, _) = client(&server);
        let got = writer.send(post("me/sendMail", "{}"), &context()).await;
        assert_eq!((server.seen().len(), got.is_ok()), (write, write == 2), "write after {status}: {got:?}");
        match (status, got) {
            (_, Ok(_)) => {}
            (400 | 403 | 404 | 507, Err(GraphError::Refused(refusal))) => {
                assert_eq!(
                    (refusal.code.as_str(), refusal.request_id.as_deref()),
                    ("SomeCode", Some("inner"))
                );
            }
            (408 | 500.., Err(GraphError::OutcomeUnknown { what })) => {
                assert!(what.contains("Some words."), "{what}");
            }
            (status, other) => panic!("{status}: {other:?}"),
        }
    }
}

/// Graph's advice on 503: one connection stays on one front end, so the repeat must not go down the same one.
#[tokio::test]
async fn the_repeat_after_503_goes_over_a_new_connection_and_others_over_the_old_one() {
    for (status, another) in [(503, true), (429, false), (500, false)] {
        let server = Server::start(move |number, _| async move {
            if number == 1 {
                answer(status, &[("Retry-After", "0.01")], REFUSAL)
            } else {
                answer(200, &[], "{}")
            }
        })
        .await;
        let (client, _) = client(&server);
        for _ in 0..3 {
            client.send(get("me"), &context()).await.unwrap();
        }
        let peers: Vec<_> = server.seen().iter().map(|seen| seen.peer).collect();
        let [first, refused, repeated, later] = peers.as_slice() else { panic!("{status}: {peers:?}") };
        assert_eq!(first, refused, "{status}: connections are kept open");
        assert_eq!(repeated != refused, another, "{status}: {peers:?}");
        assert_eq!(later, first, "{status}: later calls use the pool again");
    }
}

#[tokio::test]
async fn a_second_503_gets_a_second_new_connection() {
    let server = Server::start(|number, _| async move {
        if number < 3 { answer(503, &[("Retry-After", "0.01")], REFUSAL) } else { answer(200, &[], "{}") }
    })
    .await;
    let (client, _) = client(&server);
    client.send(get("me"), &context()).await.unwrap();
    let mut peers: Vec<_> = server.seen().iter().map(|seen| seen.peer).collect();
    assert_eq!(peers.len(), 4);
    peers.sort_unstable();
    peers.dedup();
    assert_eq!(peers.len(), 4, "every repeat has a connection of its own");
}

#[tokio::test]
async fn a_lost_answer_is_asked_for_again_only_by_reads() {
    let script = |number, _| async move {
        if number > 0 {
            return answer(200, &[], "{}");
        }
        let (body, response) = flowing();
        body.send(Err(broken())).await.unwrap();
        response
    };
    let server = Server::start(script).await;
    let (reader, _) = client(&server);
    reader.send(get("me"), &context()).await.unwrap();
    assert_eq!(server.seen().len(), 2);
    let server = Server::start(script).await;
    let (writer, _) = client(&server);
    let error = writer.send(post("me/sendMail", "{}"), &context()).await.unwrap_err();
    assert!(matches!(error, GraphError::OutcomeUnknown { .. }), "{error}");
    assert_eq!(server.seen().len(), 1);
}

#[tokio::test]
async fn a_repeated_delete_that_finds_nothing_is_unknown_and_not_refused() {
    let server =
        Server::start(|number, _| async move { answer(if number == 0 { 504 } else { 404 }, &[], REFUSAL) })
            .await;
    let (client, _) = client(&server);
    let request = GraphRequest { method: http::Method::DELETE, ..get("me/messages/1") };
    let error = client.send(request, &context()).await.unwrap_err();
    assert!(matches!(&error, GraphError::OutcomeUnknown { what } if what.contains("404")), "{error}");
}

#[tokio::test]
async fn nobody_there_is_unreachable_even_for_a_write() {
    let server = Server::start(|_, _| async { answer(200, &[], "{}") }).await;
    let root = server.root();
    drop(server);
    let (client, _) = client_with(connection(root));
    let soon =
        CallContext { deadline: tokio::time::Instant::now() + Duration::from_millis(1700), ..context() };
    let error = client.send(post("me/sendMail", "{}"), &soon).await.unwrap_err();
    assert!(matches!(error, GraphError::Unreachable { .. }), "{error}");
}

#[tokio::test]
async fn a_wait_beyond_the_deadline_is_not_begun_and_holds_others_back() {
    let server = Server::start(|_, _| async { answer(429, &[("Retry-After", "100")], REFUSAL) }).await;
    let (client, _) = client(&server);
    let begun = tokio::time::Instant::now();
    for _ in 0..3 {
        let error = client.send(get("me"), &context()).await.unwrap_err();
        assert!(
            matches!(&error, GraphError::NotNow { after, refusal } if after.as_secs() >= 98 && refusal.status == 429),
            "{error:?}"
        );
    }
    assert_eq!(server.seen().len(), 1, "the gate is closed for the other calls");
    assert!(begun.elapsed() < Duration::from_secs(10));
}

#[tokio::test]
async fn a_refused_token_is_renewed_once_with_the_claims() {
    let claims = r#"{"access_token":{"nbf":{"value":"1"}}}"#;
    let challenge = base64::engine::general_purpose::STANDARD.encode(claims);
    let challenge = format!(r#"Bearer realm="", error="insufficient_claims", claims="{challenge}""#);
    let server = Server::start(move |number, _| {
        let challenge = challenge.clone();
        async move {
            if number == 0 {
                answer(401, &[("WWW-Authenticate", &challenge)], "")
            } else {
                answer(200, &[], "{}")
            }
        }
    })
    .await;
    let (client, tokens) = client(&server);
    client.send(post("me/sendMail", "{}"), &context()).await.unwrap();
    let bearers: Vec<_> =
        server.seen().iter().map(|seen| seen.headers["authorization"].to_str().unwrap().to_owned()).collect();
    assert_eq!(bearers, ["Bearer token-1", "Bearer token-2"]);
    assert_eq!(*tokens.claims.lock().unwrap(), [Some(claims.to_owned())]);
}

#[tokio::test]
async fn a_token_refused_twice_is_a_refusal() {
    for (status, body) in [
        (401, REFUSAL),
        (
            403,
            r#"{"error":{"code":"x","message":"Token expected to be at least 45 minutes away from expiry"}}"#,
        ),
    ] {
        let server = Server::start(move |_, _| async move { answer(status, &[], body) }).await;
        let (client, tokens) = client(&server);
        let error = client.send(get("me"), &context()).await.unwrap_err();
        assert!(matches!(&error, GraphError::Refused(refusal) if refusal.status == status), "{error}");
        assert_eq!((server.seen().len(), tokens.claims.lock().unwrap().len()), (2, 1));
    }
}

#[tokio::test]
async fn redirects_are_refused_and_never_followed() {
    let elsewhere = Server::start(|_, _| async { answer(200, &[], "{}") }).await;
    for status in [300, 301, 302, 303, 307, 308] {
        let location = format!("http://{}/steal", elsewhere.address);
        let server = Server::start(move |_, _| {
            let location = location.clone();
            async move { answer(status, &[("Location", &location)], "") }
        })
        .await;
        let (client, _) = client(&server);
        for request in [get("me"), post("me/sendMail", "{}")] {
            let error = client.send(request, &context()).await.unwrap_err();
            assert!(
                matches!(&error, GraphError::BadAnswer { what } if !what.contains("steal")),
                "{status}: {error}"
            );
        }
        assert_eq!(server.seen().len(), 2);
    }
    assert!(elsewhere.seen().is_empty());
}

#[tokio::test]
async fn endless_bodies_and_bombs_are_bounded() {
    // 16 KiB of gzip that unpack to 16 MiB of spaces; the limit is 1 MiB.
    static BOMB: &[u8] = include_bytes!("testdata/bomb.gz");
    let sent = Arc::new(AtomicUsize::new(0));
    let counter = Arc::clone(&sent);
    let server = Server::start(move |_, seen| {
        let counter = Arc::clone(&counter);
        async move {
            if seen.target.contains("bomb") {
                return answer(200, &[("Content-Encoding", "gzip")], BOMB);
            }
            if seen.target.contains("announced") {
                return answer(200, &[], vec![b' '; 2 * 1024 * 1024]);
            }
            let (body, response) = flowing();
            tokio::spawn(async move {
                while body.send(Ok(Bytes::from(vec![b' '; 64 * 1024]))).await.is_ok() {
                    counter.fetch_add(64 * 1024, Ordering::SeqCst);
                }
            });
            response
        }
    })
    .await;
    let (client, _) = client(&server);
    assert!(BOMB.len() < 20_000);
    for path in ["bomb", "announced", "endless"] {
        let error = client.send(get(path), &context()).await.unwrap_err();
        assert!(
            matches!(&error, GraphError::BadAnswer { what } if what.contains("PageBytes")),
            "{path}: {error}"
        );
        let mut pages = client.pages(get(path), context());
        let error = pages.next().await.unwrap_err();
        assert!(matches!(error, GraphError::BadAnswer { .. }), "{path}: {error}");
    }
    let error = client.send(post("endless", "{}"), &context()).await.unwrap_err();
    assert!(matches!(error, GraphError::OutcomeUnknown { .. }), "the write was done: {error}");
    assert!(sent.load(Ordering::SeqCst) < 64 * 1024 * 1024);
}

#[tokio::test]
async fn cancelling_tells_reads_from_writes_and_before_from_after() {
    let server = Server::start(|_, _| std::future::pending::<http::Response<Body>>()).await;
    let (client, _) = client(&server);
    for (request, sent, unknown) in [
        (get("me"), true, false),
        (post("me/sendMail", "{}"), true, true),
        (post("me/sendMail", "{}"), false, false),
    ] {
        let context = context();
        let before = server.seen().len();
        if !sent {
            context.cancel.cancel();
        }
        let (client, context2) = (Arc::clone(&client), context.clone());
        let call = tokio::spawn(async move { client.send(request, &context2).await });
        if sent {
            until("the request has arrived", || server.seen().len() > before).await;
            context.cancel.cancel();
        }
        let error = call.await.unwrap().unwrap_err();
        assert_eq!(matches!(error, GraphError::OutcomeUnknown { .. }), unknown, "{error}");
        assert_eq!(matches!(error, GraphError::Cancelled), !unknown, "{error}");
    }
    assert_eq!(server.seen().len(), 2);
}

#[tokio::test]
async fn the_deadline_and_the_timeout_end_a_silent_server() {
    let server = Server::start(|_, _| std::future::pending::<http::Response<Body>>()).await;
    let (patient, _) = client(&server);
    let soon =
        || CallContext { deadline: tokio::time::Instant::now() + Duration::from_millis(300), ..context() };
    assert!(matches!(patient.send(get("me"), &soon()).await, Err(GraphError::Deadline)));
    let late = patient.send(post("me/sendMail", "{}"), &soon()).await;
    assert!(matches!(late, Err(GraphError::OutcomeUnknown { .. })), "{late:?}");
    let mut hasty = connection(server.root());
    hasty.timeout = Duration::from_millis(200);
    let (hasty, _) = client_with(hasty);
    let silent = hasty.send(post("me/sendMail", "{}"), &context()).await;
    assert!(
        matches!(&silent, Err(GraphError::OutcomeUnknown { what }) if what.contains("no answer")),
        "{silent:?}"
    );
}

#[tokio::test]
async fn a_mailbox_never_has_more_than_four_requests() {
    let (now, most) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let counters = (Arc::clone(&now), Arc::clone(&most));
    let server = Server::start(move |_, _| {
        let (now, most) = (Arc::clone(&counters.0), Arc::clone(&counters.1));
        async move {
            most.fetch_max(now.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
            tokio::time::sleep(Duration::from_millis(10)).await;
            now.fetch_sub(1, Ordering::SeqCst);
            answer(200, &[], "{}")
        }
    })
    .await;
    let (client, _) = client(&server);
    let calls = (0..24).map(|_| {
        let (client, request) =
            (Arc::clone(&client), GraphRequest { mailbox: Some("m".to_owned()), ..get("me") });
        async move { client.send(request, &context()).await.map(drop) }
    });
    assert!(futures_util::future::join_all(calls).await.iter().all(Result::is_ok));
    assert_eq!(most.load(Ordering::SeqCst), 4);
    assert_eq!(Effect::Repeatable, get("me").effect);
}

/// A request that had its turn, and then waited for a token, meets the gate that closed meanwhile.
#[tokio::test]
async fn nothing_is_sent_through_a_gate_that_closed_while_a_token_was_fetched() {
    let server = Server::start(|_, _| async { answer(200, &[], "{}") }).await;
    let (client, tokens) = client(&server);
    let request = || GraphRequest { mailbox: Some("m".to_owned()), ..get("me/messages") };
    let held = tokens.hold.write().await;
    let (caller, context2) = (Arc::clone(&client), context());
    let traffic = context2.traffic.clone();
    let call = tokio::spawn(async move { caller.send(request(), &context2).await });
    until("it waits for the token", || tokens.waiting.load(Ordering::SeqCst) == 1).await;
    // Meanwhile somebody else may have every place of the mailbox.
    let wanted = Wanted {
        connection: client.connection(),
        mailbox: Some("m"),
        cost: Cost::of(&request()),
        places: 4,
        again: false,
    };
    let other = context();
    let all_places = tokio::time::timeout(Duration::from_secs(5), client.governor().enter(wanted, &other));
    drop(all_places.await.expect("no place is held by who waits for a token").unwrap());
    let begun = tokio::time::Instant::now();
    let refusal = GraphRefusal { status: 429, ..GraphRefusal::default() };
    let decision = Decision::Again { after: Duration::from_millis(400), new_connection: false };
    client.close_gate(&request(), decision, &refusal);
    drop(held);
    call.await.unwrap().unwrap();
    assert!(begun.elapsed() >= Duration::from_millis(400), "{:?}", begun.elapsed());
    assert!(traffic.throttled() >= Duration::from_millis(300), "{:?}", traffic.throttled());
    assert_eq!(server.seen().len(), 1);
}

/// The directory is told which requests it may refuse first; other services are not asked.
#[tokio::test]
async fn bulk_work_in_the_directory_has_a_low_priority() {
    let server = Server::start(|_, _| async { answer(200, &[], "{}") }).await;
    let (client, _) = client(&server);
    let run = context();
    for path in ["sites/root", "users"].into_iter().chain(std::iter::repeat_n("users?$select=id", 100)) {
        client.send(get(path), &run).await.unwrap();
    }
    let seen = server.seen();
    let priority =
        |index: usize| seen[index].headers.get("x-ms-throttle-priority").map(|value| value.to_str().unwrap());
    assert_eq!((priority(0), priority(1), priority(101)), (None, Some("normal"), Some("low")));
}

#[tokio::test]
async fn a_refusal_for_the_whole_tenant_holds_other_mailboxes_back_too() {
    for (scope, held) in [(Some("Tenant_Application/ReadWrite/a/b"), true), (None, false)] {
        let server = Server::start(move |number, _| async move {
            let mut headers = vec![("Retry-After", "0.4")];
            headers.extend(scope.map(|scope| ("x-ms-throttle-scope", scope)));
            if number == 0 { answer(429, &headers, REFUSAL) } else { answer(200, &[], "{}") }
        })
        .await;
        let (client, _) = client(&server);
        let of = |mailbox: &str| GraphRequest { mailbox: Some(mailbox.to_owned()), ..get("me/messages") };
        let begun = tokio::time::Instant::now();
        let refused = tokio::spawn({
            let (client, request) = (Arc::clone(&client), of("a"));
            async move { client.send(request, &context()).await.map(drop) }
        });
        until("it was refused", || client.metrics().render().contains("graph_gate_closed_seconds_total{"))
            .await;
        client.send(of("b"), &context()).await.unwrap();
        assert_eq!(begun.elapsed() >= Duration::from_millis(400), held, "{scope:?}: {:?}", begun.elapsed());
        refused.await.unwrap().unwrap();
    }
}
