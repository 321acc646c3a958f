//! Batches and bulks over the wire: cutting, order, chains, each part's own fate.
#![allow(clippy::unwrap_used)]

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use serde_json::{Value, json};

use super::super::GraphError;
use super::super::test_support::*;
use super::*;

/// The parts of a batch call as the server saw it.
fn parts_of(seen: &Seen) -> Vec<Value> {
    serde_json::from_slice::<Value>(&seen.body).unwrap()["requests"].as_array().unwrap().clone()
}

/// Answers every part by `judge`, last part first: Graph promises no order. `None` leaves the part out.
fn answer_parts(seen: &Seen, judge: impl Fn(&Value) -> Option<Value>) -> http::Response<Body> {
    let mut parts = parts_of(seen);
    parts.reverse();
    let answers: Vec<_> = parts
        .iter()
        .filter_map(|part| {
            let mut answer = judge(part)?;
            answer["id"] = part["id"].clone();
            Some(answer)
        })
        .collect();
    answer(200, &[], json!({ "responses": answers }).to_string())
}

fn echo(part: &Value) -> Value {
    json!({"status": 201, "headers": {"request-id": "r", "Location": "l"}, "body": {"url": part["url"]}})
}

fn numbered(count: usize) -> Vec<GraphRequest> {
    (0..count).map(|index| post_at(&format!("me/events?n={index}"))).collect()
}

fn post_at(path: &str) -> GraphRequest {
    GraphRequest { mailbox: Some("m".to_owned()), ..post(path, r#"{"a":1}"#) }
}

#[tokio::test]
async fn any_number_is_cut_into_calls_of_twenty_and_answered_in_order() {
    let server = Server::start(|_, seen| async move {
        if seen.target.ends_with("$batch") {
            return answer_parts(&seen, |part| Some(echo(part)));
        }
        answer(201, &[], json!({ "url": seen.target.replace("/v1.0", "") }).to_string())
    })
    .await;
    for (count, calls) in [(0, 0), (1, 1), (2, 1), (20, 1), (21, 2), (45, 3)] {
        let (client, _) = client(&server);
        let before = server.seen().len();
        let results = client.batch(numbered(count), &context()).await;
        assert_eq!((results.len(), server.seen().len() - before), (count, calls), "{count}");
        for (index, result) in results.into_iter().enumerate() {
            let answer = result.unwrap();
            let body: Value = serde_json::from_slice(&answer.body).unwrap();
            assert_eq!(
                (answer.status, body["url"].as_str().unwrap()),
                (201, format!("/me/events?n={index}").as_str())
            );
        }
    }
    let first = server.seen().into_iter().find(|seen| seen.target == "/v1.0/$batch").unwrap();
    assert_eq!(parts_of(&first)[0]["headers"]["Content-Type"], "application/json");
}

#[tokio::test]
async fn throttled_parts_are_sent_again_after_their_own_wait() {
    let calls = Arc::new(Mutex::new(Vec::new()));
    let log = Arc::clone(&calls);
    let server = Server::start(move |number, seen| {
        log.lock().unwrap().push(tokio::time::Instant::now());
        async move {
            answer_parts(&seen, |part| {
                let url = part["url"].as_str().unwrap_or_default();
                let (status, wait) = match (number, url) {
                    (0, "/me/events?n=1" | "/me/events?n=2") => (429, "0.3"),
                    (0, "/me/events?n=3" | "/me/events?n=4") => (503, "0.6"),
                    (0, "/me/events?n=5") => (400, "0.3"),
                    _ => return Some(echo(part)),
                };
                let error = json!({"error": {"code": "Wait", "message": "m"}});
                Some(json!({"status": status, "headers": {"retry-after": wait}, "body": error}))
            })
        }
    })
    .await;
    let (client, _) = client(&server);
    let results = client.batch(numbered(7), &context()).await;
    let good: Vec<_> = results.iter().map(Result::is_ok).collect();
    assert_eq!(good, [true, true, true, true, true, false, true]);
    assert!(matches!(&results[5], Err(GraphError::Refused(refusal)) if refusal.code == "Wait"));
    let sizes: Vec<_> = server.seen().iter().map(|seen| parts_of(seen).len()).collect();
    assert_eq!(sizes, [7, 2, 2], "only what was not done is sent again");
    let calls = calls.lock().unwrap();
    assert!(calls[1] - calls[0] >= Duration::from_millis(300));
    assert!(calls[2] - calls[0] >= Duration::from_millis(600));
}

#[tokio::test]
async fn parts_without_an_answer_are_unknown_or_asked_again() {
    let server = Server::start(|number, seen| async move {
        answer_parts(&seen, |part| (number > 0 || part["id"] == "0").then(|| echo(part)))
    })
    .await;
    let (client, _) = client(&server);
    let read = |path| GraphRequest { mailbox: Some("m".to_owned()), ..get(path) };
    let results = client.batch(vec![post_at("a"), post_at("b"), read("c"), read("d")], &context()).await;
    assert!(results[0].is_ok() && results[2].is_ok() && results[3].is_ok(), "{results:?}");
    assert!(matches!(results[1], Err(GraphError::OutcomeUnknown { .. })));
    assert_eq!(server.seen().len(), 2);
}

#[tokio::test]
async fn a_lost_call_leaves_writes_unknown_and_repeats_reads() {
    let server = Server::start(|number, seen| async move {
        if number > 0 {
            return answer_parts(&seen, |part| Some(echo(part)));
        }
        assert_eq!(parts_of(&seen).len(), 4);
        let (body, response) = flowing();
        body.send(Err(broken())).await.unwrap();
        response
    })
    .await;
    let (client, _) = client(&server);
    let results = client.batch(vec![post("a", "{}"), get("b"), post("c", "{}"), get("d")], &context()).await;
    let unknown: Vec<_> =
        results.iter().map(|result| matches!(result, Err(GraphError::OutcomeUnknown { .. }))).collect();
    assert_eq!(unknown, [true, false, true, false], "{results:?}");
    assert!(results[1].is_ok() && results[3].is_ok());
    assert_eq!(parts_of(&server.seen()[1]).len(), 2);
}

#[tokio::test]
async fn each_part_has_its_own_fate() {
    let server = Server::start(|number, seen| async move {
        answer_parts(&seen, |part| {
            let body = json!({"error": {"code": "C", "message": "words"}});
            match part["url"].as_str().unwrap_or_default() {
                "/token" if number == 0 => Some(json!({"status": 401, "body": body})),
                "/dependent" if number == 0 => {
                    Some(json!({"status": 424, "headers": {"Retry-After": "0"}, "body": body}))
                }
                "/gone" => Some(json!({"status": 404, "body": body})),
                "/moved" => Some(json!({"status": 302, "headers": {"Location": "https://evil.example"}})),
                "/gateway" => Some(json!({"status": 504, "body": "<html>"})),
                _ => Some(json!({"status": 204})),
            }
        })
    })
    .await;
    let (client, tokens) = client(&server);
    let paths = ["token", "dependent", "gone", "moved", "gateway", "done", "../beta/me", "x//y"];
    let mut requests: Vec<_> = paths.iter().map(|path| post(path, "{}")).collect();
    requests.push(post("not-json", "{"));
    let results = client.batch(requests, &context()).await;
    assert!(results[0].is_ok() && results[1].is_ok() && results[5].is_ok(), "{results:?}");
    assert!(
        matches!(&results[2], Err(GraphError::Refused(refusal)) if refusal.status == 404 && refusal.message == "words")
    );
    assert!(matches!(results[3], Err(GraphError::BadAnswer { .. })));
    assert!(matches!(results[4], Err(GraphError::OutcomeUnknown { .. })));
    assert!(results[6..].iter().all(|result| matches!(result, Err(GraphError::BadRequest { .. }))));
    assert_eq!(tokens.claims.lock().unwrap().len(), 1);
    assert_eq!(server.seen()[1].headers["authorization"], "Bearer token-2");
}

#[tokio::test]
async fn cancelling_stops_before_the_next_call() {
    let context = context();
    let cancel = context.cancel.clone();
    let server = Server::start(move |_, seen| {
        // The call that is under way is answered; the caller goes just before.
        let answered = answer_parts(&seen, |part| Some(echo(part)));
        let cancel = cancel.clone();
        async move {
            tokio::spawn(async move { cancel.cancel() });
            answered
        }
    })
    .await;
    let (client, _) = client(&server);
    let results = client.batch(numbered(60), &context).await;
    assert_eq!(server.seen().len(), 1);
    assert!(
        results[..20].iter().all(|result| matches!(result, Ok(_) | Err(GraphError::OutcomeUnknown { .. })))
    );
    assert!(results[20..].iter().all(|result| matches!(result, Err(GraphError::Cancelled))));
}

#[tokio::test]
async fn parts_in_the_air_never_exceed_the_mailbox_and_mailboxes_go_side_by_side() {
    let (now, most) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let counters = (Arc::clone(&now), Arc::clone(&most));
    let server = Server::start(move |_, seen| {
        let (now, most) = (Arc::clone(&counters.0), Arc::clone(&counters.1));
        async move {
            most.fetch_max(now.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
            tokio::time::sleep(Duration::from_millis(30)).await;
            now.fetch_sub(1, Ordering::SeqCst);
            answer_parts(&seen, |part| Some(echo(part)))
        }
    })
    .await;
    let (client, _) = client(&server);
    // A call of many parts takes all places of its mailbox, so two batches for one mailbox go one after the other.
    let (one, other) = (context(), context());
    let (first, second) = tokio::join!(client.batch(numbered(20), &one), client.batch(numbered(20), &other));
    assert!(first.iter().chain(&second).all(Result::is_ok));
    assert_eq!(most.swap(0, Ordering::SeqCst), 1);
    let many = (0..160)
        .map(|index| GraphRequest { mailbox: Some(format!("m{}", index % 8)), ..post("a", "{}") })
        .collect();
    assert!(client.batch(many, &context()).await.iter().all(Result::is_ok));
    assert!((2..=CALLS_AT_ONCE).contains(&most.load(Ordering::SeqCst)), "{most:?}");
}

#[tokio::test]
async fn large_bodies_are_spread_over_calls() {
    let server =
        Server::start(|_, seen| async move { answer_parts(&seen, |_| Some(json!({"status": 204}))) }).await;
    let (client, _) = client(&server);
    let body = Bytes::from(format!("\"{}\"", "x".repeat(1024 * 1024)));
    let requests = (0..4).map(|_| GraphRequest { body: Some(body.clone()), ..post_at("a") }).collect();
    assert!(client.batch(requests, &context()).await.iter().all(Result::is_ok));
    let sizes: Vec<_> = server.seen().iter().map(|seen| parts_of(seen).len()).collect();
    assert_eq!(sizes, [2, 2]);
}

/// A mailbox as the service documents it: parts that depend on each other run one after the other and stop at a failure,
/// all others four at a time; more than four at once in the mailbox is refused.
fn mailbox(
    status: impl Fn(&str) -> u16 + Send + Sync + Clone + 'static,
    at_once: Arc<AtomicUsize>,
    most: Arc<AtomicUsize>,
) -> impl Fn(usize, Seen) -> std::pin::Pin<Box<dyn Future<Output = http::Response<Body>> + Send>> {
    move |_, seen| {
        let (status, at_once, most) = (status.clone(), Arc::clone(&at_once), Arc::clone(&most));
        Box::pin(async move {
            let parts = parts_of(&seen);
            let chained = parts.get(1).is_some_and(|part| part["dependsOn"][0] == parts[0]["id"]);
            let width = if chained { 1 } else { parts.len().min(4) };
            most.fetch_max(at_once.fetch_add(width, Ordering::SeqCst) + width, Ordering::SeqCst);
            tokio::time::sleep(Duration::from_millis(20)).await;
            at_once.fetch_sub(width, Ordering::SeqCst);
            let failed = std::sync::atomic::AtomicBool::new(false);
            let mut answers = Vec::new();
            for part in &parts {
                let code = match failed.load(Ordering::SeqCst) {
                    true => 424,
                    false => status(part["url"].as_str().unwrap()),
                };
                failed.fetch_or(chained && code >= 400, Ordering::SeqCst);
                let mut told = echo(part);
                told["status"] = json!(code);
                told["id"] = part["id"].clone();
                answers.push(told);
            }
            answers.reverse();
            answer(200, &[], json!({ "responses": answers }).to_string())
        })
    }
}

async fn all(bulk: &mut Bulk) -> BTreeMap<usize, BulkOutcome> {
    let mut all = BTreeMap::new();
    while let Some(finished) = bulk.next().await {
        assert!(all.insert(finished.index, finished.outcome).is_none(), "{} came twice", finished.index);
    }
    all
}

#[tokio::test]
async fn a_mailbox_begins_with_four_chains_and_goes_over_to_one_call_when_a_part_fails() {
    let (at_once, most) = (Arc::default(), Arc::<AtomicUsize>::default());
    let refuses = |url: &str| if url.ends_with("n=30") { 400 } else { 201 };
    let server = Server::start(mailbox(refuses, at_once, Arc::clone(&most))).await;
    let (client, _) = client(&server);
    let options = BulkOptions { chains: true, ..BulkOptions::default() };
    let mut bulk = Bulk::new(client, context(), options);
    for (index, request) in numbered(200).into_iter().enumerate() {
        bulk.push(index, request);
    }
    let all = all(&mut bulk).await;
    assert_eq!(all.len(), 200);
    for (index, outcome) in &all {
        let fine = matches!(outcome, BulkOutcome::Answered(Ok(_)));
        assert_eq!(fine, *index != 30, "{index}: {outcome:?}");
    }
    assert!(most.load(Ordering::SeqCst) <= 4, "{most:?} parts ran at once");
    let calls: Vec<_> = server.seen().iter().map(parts_of).collect();
    let chained = |parts: &Vec<Value>| parts.len() > 1 && parts[1].get("dependsOn").is_some();
    assert!(calls[..4].iter().all(chained) && !chained(calls.last().unwrap()), "{}", calls.len());
    // The nine parts after the refused one were not tried, and are sent once more; nothing else is.
    let sent: usize = calls.iter().map(Vec::len).sum();
    assert_eq!(sent, 200 + 9);
}

#[tokio::test]
async fn after_a_stop_nothing_begins_and_the_rest_says_that_it_was_not_tried() {
    let refuses = |url: &str| if url.ends_with("n=3") { 400 } else { 201 };
    let server = Server::start(mailbox(refuses, Arc::default(), Arc::default())).await;
    let (client, _) = client(&server);
    let options = BulkOptions { chains: true, ..BulkOptions::default() };
    let mut bulk = Bulk::new(client, context(), options);
    for (index, request) in numbered(400).into_iter().enumerate() {
        bulk.push(index, request);
    }
    let (mut done, mut not_tried) = (Vec::new(), Vec::new());
    while let Some(finished) = bulk.next().await {
        match finished.outcome {
            BulkOutcome::Answered(result) => {
                if result.is_err() {
                    bulk.stop();
                }
                done.push(finished.index);
            }
            BulkOutcome::NotTried => not_tried.push(finished.index),
        }
    }
    assert_eq!(done.len() + not_tried.len(), 400);
    assert!((4..=80).contains(&done.len()) && not_tried.contains(&4), "{done:?}");
    let sent: usize = server.seen().iter().map(|seen| parts_of(seen).len()).sum();
    assert!(sent <= 80, "{sent} were sent");
}

#[tokio::test]
async fn one_at_a_time_goes_in_order_and_nothing_is_sent_unannounced() {
    let server = Server::start(|_, seen| async move { answer(201, &[], seen.target) }).await;
    let (client, _) = client(&server);
    let announced: Arc<Mutex<Vec<usize>>> = Arc::default();
    let log = Arc::clone(&announced);
    let announce: Announce = Arc::new(move |indices| {
        let log = Arc::clone(&log);
        Box::pin(async move {
            log.lock().unwrap().extend(indices);
            if log.lock().unwrap().len() > 3 { Err(()) } else { Ok(()) }
        })
    });
    let options = BulkOptions { one_at_a_time: true, chains: true, announce: Some(announce) };
    let mut bulk = Bulk::new(client, context(), options);
    for index in 0..6 {
        let mailbox = Some(format!("m{}", index % 2));
        bulk.push(index, GraphRequest { mailbox, ..post_at(&format!("a?n={index}")) });
    }
    let all = all(&mut bulk).await;
    assert_eq!(*announced.lock().unwrap(), [0, 1, 2, 3]);
    assert_eq!(server.targets(), ["/v1.0/a?n=0", "/v1.0/a?n=1", "/v1.0/a?n=2"]);
    let tried: Vec<_> = all.values().map(|outcome| matches!(outcome, BulkOutcome::Answered(_))).collect();
    assert_eq!(tried, [true, true, true, false, false, false]);
}
