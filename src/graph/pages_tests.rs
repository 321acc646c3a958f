//! Pages over the wire: order, reading ahead, breaks, loops, limits.
#![allow(clippy::unwrap_used)]

use std::sync::Mutex;
use std::time::Duration;

use bytes::Bytes;

use super::super::test_support::*;
use super::*;

/// A page of rows `from..to`, its link before or after them.
fn page(server: &str, from: usize, to: usize, next: Option<&str>, link_first: bool) -> String {
    let rows: Vec<_> = (from..to).map(|row| format!(r#"{{"id":{row},"text":"a \" ] }}"}}"#)).collect();
    let link = next.map(|next| format!(r#""@odata.nextLink":"http://{server}/v1.0/{next}""#));
    let value = format!(r#""value":[{}]"#, rows.join(","));
    let members = match (link, link_first) {
        (None, _) => value,
        (Some(link), true) => format!("{link},{value}"),
        (Some(link), false) => format!("{value},{link}"),
    };
    format!("{{{members}}}")
}

fn host(seen: &Seen) -> String {
    seen.headers["host"].to_str().unwrap().to_owned()
}

/// The ids of all rows, or what had come before the error.
async fn read(pages: &mut Pages) -> (Vec<u64>, Option<GraphError>) {
    let mut ids = Vec::new();
    loop {
        match pages.next().await {
            Ok(None) => return (ids, None),
            Err(error) => return (ids, Some(error)),
            Ok(Some(batch)) => {
                assert!(!batch.is_empty());
                let id =
                    |row| serde_json::from_slice::<serde_json::Value>(row).unwrap()["id"].as_u64().unwrap();
                ids.extend(batch.rows().map(id));
            }
        }
    }
}

#[tokio::test]
async fn rows_come_in_order_and_headers_go_with_every_page() {
    for link_first in [true, false] {
        let server = Server::start(move |number, seen| async move {
            let next = ["p?$skiptoken=1%23'a", "p?$skiptoken=2", "p?$skiptoken=3"].get(number).copied();
            // The second page is empty, and the walk goes on.
            let (from, to) = [(0, 100), (100, 100), (100, 150), (150, 151)][number];
            answer(200, &[], page(&host(&seen), from, to, next, link_first))
        })
        .await;
        let (client, _) = client(&server);
        let request =
            GraphRequest { headers: vec![("ConsistencyLevel", "eventual".to_owned())], ..get("p?$top=100") };
        let mut pages = client.pages(request, context());
        let (ids, error) = read(&mut pages).await;
        assert_eq!((ids, error.is_none()), ((0..151).collect(), true));
        assert!(pages.next().await.unwrap().is_none(), "the end stays the end");
        assert_eq!(
            server.targets(),
            [
                "/v1.0/p?$top=100",
                "/v1.0/p?$skiptoken=1%23%27a",
                "/v1.0/p?$skiptoken=2",
                "/v1.0/p?$skiptoken=3"
            ]
        );
        for seen in server.seen() {
            assert_eq!(seen.headers["consistencylevel"], "eventual");
            assert_eq!(seen.headers["authorization"], "Bearer token-1");
            assert_eq!(seen.headers["client-request-id"], "0f5d2d2e-1111-4222-8333-444444444444");
        }
    }
}

#[tokio::test]
async fn one_entity_is_one_row_and_nothing_is_no_row() {
    let server = Server::start(|number, _| async move {
        if number == 0 { answer(200, &[], r#"{"id":7,"@odata.count":3}"#) } else { answer(204, &[], "") }
    })
    .await;
    let (client, _) = client(&server);
    let mut pages = client.pages(get("me"), context());
    assert_eq!(read(&mut pages).await.0, [7]);
    assert_eq!(pages.count(), Some(3));
    let (ids, error) = read(&mut client.pages(get("me"), context())).await;
    assert!(ids.is_empty() && error.is_none());
}

type Flow = tokio::sync::mpsc::Sender<Result<Bytes, std::io::Error>>;

/// A server whose first page is given out by the test, piece by piece; every other page comes at once.
async fn with_a_slow_first_page() -> (Server, Arc<Mutex<Option<Flow>>>) {
    let first: Arc<Mutex<Option<Flow>>> = Arc::default();
    let flow = Arc::clone(&first);
    let server = Server::start(move |number, seen| {
        let flow = Arc::clone(&flow);
        async move {
            if number > 0 {
                return answer(
                    200,
                    &[],
                    page(&host(&seen), 2, 4, Some("p?third").filter(|_| number == 1), true),
                );
            }
            let (body, response) = flowing();
            let begin =
                format!(r#"{{"@odata.nextLink":"http://{}/v1.0/p?second","value":[{{"id":0}},"#, host(&seen));
            body.send(Ok(begin.into())).await.unwrap();
            *flow.lock().unwrap() = Some(body);
            response
        }
    })
    .await;
    (server, first)
}

#[tokio::test]
async fn the_next_page_is_asked_for_while_this_one_is_still_arriving() {
    let (server, first) = with_a_slow_first_page().await;
    let (client, _) = client(&server);
    let mut pages = client.pages(get("p"), context());
    let batch = pages.next().await.unwrap().unwrap();
    assert_eq!(batch.rows().collect::<Vec<_>>(), [br#"{"id":0}"#], "rows flow before the page is complete");
    until("the second page was asked for", || server.targets().len() == 2).await;
    let body = first.lock().unwrap().take().expect("the first page has not ended");
    body.send(Ok(r#"{"id":1}]}"#.into())).await.unwrap();
    drop(body);
    assert_eq!(server.targets().len(), 2, "not more than one page ahead");
    assert_eq!(read(&mut pages).await.0, [1, 2, 3, 2, 3]);
}

#[tokio::test]
async fn without_reading_ahead_a_page_is_asked_for_when_its_turn_comes() {
    let (server, first) = with_a_slow_first_page().await;
    let (client, _) = client(&server);
    let mut pages = client.pages(get("p"), context());
    pages.set_read_ahead(false);
    pages.next().await.unwrap().unwrap();
    let body = first.lock().unwrap().take().unwrap();
    body.send(Ok(r#"{"id":1}]}"#.into())).await.unwrap();
    drop(body);
    pages.next().await.unwrap().unwrap();
    assert_eq!(server.targets().len(), 1);
    assert_eq!(read(&mut pages).await.0, [2, 3, 2, 3]);
}

#[tokio::test]
async fn dropping_the_reader_stops_the_page_ahead() {
    let (closed, flow) = (Arc::new(Mutex::new(None)), Arc::<Mutex<Option<Flow>>>::default());
    let (close, keep) = (Arc::clone(&closed), Arc::clone(&flow));
    let server = Server::start(move |number, seen| {
        let (close, keep) = (Arc::clone(&close), Arc::clone(&keep));
        async move {
            let (body, response) = flowing();
            if number == 0 {
                let begin =
                    format!(r#"{{"@odata.nextLink":"http://{}/v1.0/p?2","value":[{{"id":0}}"#, host(&seen));
                body.send(Ok(begin.into())).await.unwrap();
                *keep.lock().unwrap() = Some(body);
            } else {
                *close.lock().unwrap() = Some(body);
            }
            response
        }
    })
    .await;
    let (client, _) = client(&server);
    let mut pages = client.pages(get("p"), context());
    pages.next().await.unwrap().unwrap();
    until("the page ahead was asked for", || closed.lock().unwrap().is_some()).await;
    drop(pages);
    until("both requests were dropped", || {
        let gone = |flow: &Mutex<Option<Flow>>| flow.lock().unwrap().as_ref().is_some_and(Flow::is_closed);
        gone(&closed) && gone(&flow)
    })
    .await;
}

#[tokio::test]
async fn loops_and_foreign_links_end_the_walk() {
    let elsewhere = Server::start(|_, _| async { answer(200, &[], r#"{"value":[]}"#) }).await;
    let foreign = format!("http://{}/v1.0/p?2", elsewhere.address);
    for (link, word) in [
        ("p?2", "loop"),
        ("p", "loop"),
        (foreign.as_str(), "away from GraphEndpoint"),
        ("//x/p", "no scheme"),
    ] {
        let link = link.to_owned();
        let server = Server::start(move |_, _| {
            let link = link.clone();
            async move { answer(200, &[], format!(r#"{{"@odata.nextLink":"{link}","value":[{{"id":1}}]}}"#)) }
        })
        .await;
        let (client, _) = client(&server);
        let mut pages = client.pages(get("p"), context());
        let (_, error) = read(&mut pages).await;
        assert!(matches!(&error, Some(GraphError::BadAnswer { what }) if what.contains(word)), "{error:?}");
        assert!(pages.next().await.is_err(), "an error stays an error");
    }
    assert!(elsewhere.seen().is_empty());
}

/// How the second answer to the same page looks, and what the caller then sees.
#[tokio::test]
async fn a_page_that_breaks_off_is_repeated_without_doubling_rows() {
    for (again, rest, complete) in [
        (r#"{"value":[{"id":0},{"id":1},{"id":2}]}"#, vec![2], true),
        (r#"{"value":[{"id":0},{"id":1}]}"#, vec![], true),
        (r#"{"value":[{"id":9},{"id":0},{"id":1}]}"#, vec![], false),
        (r#"{"value":[{"id":0}]}"#, vec![], false),
        (r#"{"value":[]}"#, vec![], false),
    ] {
        let first: Arc<Mutex<Option<Flow>>> = Arc::default();
        let flow = Arc::clone(&first);
        let server = Server::start(move |number, _| {
            let flow = Arc::clone(&flow);
            async move {
                if number > 0 {
                    return answer(200, &[], again);
                }
                let (body, response) = flowing();
                body.send(Ok(r#"{"value":[{"id":0},{"id":1},{"i"#.into())).await.unwrap();
                *flow.lock().unwrap() = Some(body);
                response
            }
        })
        .await;
        let (client, _) = client(&server);
        let mut pages = client.pages(get("p"), context());
        assert_eq!(pages.next().await.unwrap().unwrap().len(), 2);
        let body = first.lock().unwrap().take().unwrap();
        body.send(Err(broken())).await.unwrap();
        let (got, error) = read(&mut pages).await;
        assert_eq!((got, error.is_none()), (rest, complete), "{again}: {error:?}");
        assert_eq!(server.seen().len(), 2);
    }
}

#[tokio::test]
async fn a_page_cut_short_is_repeated_and_in_the_end_an_error() {
    let server = Server::start(|_, _| async { answer(200, &[], r#"{"value":[{"id":0}"#) }).await;
    let (client, _) = client(&server);
    let soon =
        CallContext { deadline: tokio::time::Instant::now() + Duration::from_millis(1800), ..context() };
    let (ids, error) = read(&mut client.pages(get("p"), soon)).await;
    assert_eq!(ids, [0]);
    assert!(matches!(error, Some(GraphError::Unreachable { .. })), "{error:?}");
    assert!(server.seen().len() >= 2);
}

#[tokio::test]
async fn what_is_no_page_is_a_bad_answer() {
    for body in ["<html>", "[]", r#"{"value":[1 2]}"#] {
        let server = Server::start(move |_, _| async move { answer(200, &[], body) }).await;
        let (client, _) = client(&server);
        let (_, error) = read(&mut client.pages(get("p"), context())).await;
        assert!(matches!(error, Some(GraphError::BadAnswer { .. })), "{body}: {error:?}");
    }
}

#[tokio::test]
async fn a_token_that_runs_out_on_the_way_is_renewed_on_the_way() {
    let server = Server::start(|number, seen| async move {
        match number {
            0 => answer(200, &[], page(&host(&seen), 0, 2, Some("p?2"), true)),
            1 => answer(401, &[], ""),
            2 => answer(200, &[], page(&host(&seen), 2, 4, Some("p?3"), true)),
            3 => answer(401, &[], ""),
            _ => answer(200, &[], page(&host(&seen), 4, 6, None, true)),
        }
    })
    .await;
    let (client, tokens) = client(&server);
    let (ids, error) = read(&mut client.pages(get("p"), context())).await;
    assert_eq!((ids, error.is_none()), ((0..6).collect(), true));
    assert_eq!(tokens.claims.lock().unwrap().len(), 2);
    assert_eq!(server.seen()[4].headers["authorization"], "Bearer token-3");
}

#[tokio::test]
async fn cancelling_ends_the_walk_at_once() {
    let (server, _first) = with_a_slow_first_page().await;
    let (client, _) = client(&server);
    let context = context();
    let mut pages = client.pages(get("p"), context.clone());
    pages.next().await.unwrap().unwrap();
    context.cancel.cancel();
    for _ in 0..2 {
        assert!(matches!(pages.next().await, Err(GraphError::Cancelled)));
    }
}

#[tokio::test]
async fn a_slow_reader_does_not_hold_the_mailbox() {
    let server = Server::start(|_, seen| async move {
        if seen.target.contains("small") {
            return answer(200, &[], r#"{"value":[]}"#);
        }
        let (body, response) = flowing();
        tokio::spawn(async move {
            let row = format!(r#"{{"id":1,"x":"{}"}},"#, "x".repeat(60_000));
            let _first = body.send(Ok(r#"{"value":["#.into())).await;
            for _ in 0..80 {
                if body.send(Ok(row.clone().into())).await.is_err() {
                    return;
                }
            }
            let _last = body.send(Ok(r#"{"id":2}]}"#.into())).await;
        });
        response
    })
    .await;
    let mut connection = connection(server.root());
    connection.mailbox_concurrency = 1;
    let (client, _) = client_with_limit(connection, 16 * 1024 * 1024);
    let of_mailbox = |path: &str| GraphRequest { mailbox: Some("m".to_owned()), ..get(path) };
    let mut large = client.pages(of_mailbox("large"), context());
    large.next().await.unwrap().unwrap();
    // The large page is larger than what is held ahead, and it is not being read: another request still gets through.
    client.send(of_mailbox("small"), &context()).await.unwrap();
    let (ids, error) = read(&mut large).await;
    assert!(error.is_none() && ids.last() == Some(&2), "{error:?}");
}

/// Links that never repeat and lead to no row: the walk slows down instead of asking as fast as the service answers.
#[tokio::test]
async fn pages_without_rows_are_not_asked_for_in_a_hot_loop() {
    let server = Server::start(|number, seen| async move {
        let next = format!("p?$skiptoken={number}");
        answer(200, &[], page(&host(&seen), 0, 0, Some(&next), true))
    })
    .await;
    let (client, _) = client(&server);
    let bounded = CallContext { deadline: Instant::now() + Duration::from_secs(2), ..context() };
    let (ids, error) = read(&mut client.pages(get("p"), bounded)).await;
    assert!(ids.is_empty() && matches!(error, Some(GraphError::Deadline)), "{error:?}");
    let asked = server.seen().len();
    assert!(asked < 50, "{asked} requests in two seconds");
}
