//! What stands on the wire around a request: the length of a body that is not there, and what HTTP/2 says about a request
//! that it did not take. The servers are raw sockets, so that no library adds or hides a header or a frame.
#![allow(clippy::unwrap_used, reason = "tests")]

use std::sync::{Arc, Mutex};

use bytes::Bytes;
use http::Method;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use url::Url;

use super::bearer::Bearer;
use super::test_support::{MadeTokens, client_with, connection, context, get};
use super::*;
use crate::telemetry::Metrics;

/// The HTTP/2 connection preface (RFC 9113 section 3.4).
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
const HEADERS: u8 = 1;
const RST_STREAM: u8 = 3;
const SETTINGS: u8 = 4;
const GOAWAY: u8 = 7;

async fn listen() -> (TcpListener, Url) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let root = format!("http://{}/v1.0/", listener.local_addr().unwrap());
    (listener, Url::parse(&root).unwrap())
}

fn change(method: Method, path: &str, body: Option<&'static str>) -> GraphRequest {
    let body = body.map(|body| Bytes::from_static(body.as_bytes()));
    GraphRequest { method, body, effect: Effect::Once, ..get(path) }
}

/// The head of one HTTP/1.1 request and so much of its body as the head announces.
async fn head(stream: &mut TcpStream, mut read: Vec<u8>) -> Option<String> {
    loop {
        let text = String::from_utf8_lossy(&read).to_lowercase();
        if let Some((head, body)) = text.split_once("\r\n\r\n") {
            let length = head.lines().find_map(|line| line.strip_prefix("content-length: ")?.parse().ok());
            if body.len() >= length.unwrap_or(0) {
                return Some(head.to_owned());
            }
        }
        let mut piece = [0; 4096];
        match stream.read(&mut piece).await {
            Ok(0) | Err(_) => return None,
            Ok(length) => read.extend_from_slice(&piece[..length]),
        }
    }
}

#[tokio::test]
async fn a_write_without_a_body_says_so_on_every_way() {
    let (listener, root) = listen().await;
    let seen: Arc<Mutex<Vec<String>>> = Arc::default();
    let heads = Arc::clone(&seen);
    let server = tokio::spawn(async move {
        let turns = Arc::new(Mutex::new(0));
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            let (heads, turns) = (Arc::clone(&heads), Arc::clone(&turns));
            tokio::spawn(async move {
                while let Some(head) = head(&mut stream, Vec::new()).await {
                    // Every third is turned away, so that its repeat goes over a connection of its own.
                    let turn = {
                        let mut turns = turns.lock().unwrap();
                        *turns += 1;
                        *turns
                    };
                    let status = match head.contains("content-length: ") || head.starts_with("get ") {
                        false => "411 Length Required",
                        true if turn % 3 == 0 => "503 Busy\r\nRetry-After: 0",
                        true => "204 No Content",
                    };
                    heads.lock().unwrap().push(head);
                    let answer = format!("HTTP/1.1 {status}\r\nContent-Length: 0\r\n\r\n");
                    stream.write_all(answer.as_bytes()).await.unwrap();
                }
            });
        }
    });
    let (client, _) = client_with(connection(root));
    for request in [
        change(Method::POST, "me/messages/1/send", None),
        change(Method::POST, "me/events/1/dismissReminder", Some("")),
        change(Method::PUT, "me/drive/root:/empty.txt:/content", None),
        change(Method::DELETE, "me/messages/1", None),
        change(Method::PATCH, "me/messages/1", Some("{}")),
    ] {
        for _ in 0..2 {
            let answer = client.send(request.clone(), &context()).await;
            assert!(answer.is_ok(), "{} {}: {answer:?}", request.method, request.path);
        }
    }
    client.send(get("me"), &context()).await.unwrap();
    let seen = seen.lock().unwrap();
    let repeated = seen.len() > 11;
    assert!(repeated, "no request went over a connection of its own: {}", seen.len());
    assert!(!seen.last().unwrap().contains("content-length"), "a read has none: {}", seen.last().unwrap());
    server.abort();
}

fn frame(kind: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
    [&length[1..], &[kind, 0], &stream.to_be_bytes(), payload].concat()
}

/// Reads frames until the beginning of a request; its stream.
async fn next_request(stream: &mut TcpStream) -> Option<u32> {
    loop {
        let mut head = [0; 9];
        stream.read_exact(&mut head).await.ok()?;
        let length = u32::from_be_bytes([0, head[0], head[1], head[2]]);
        let mut payload = vec![0; usize::try_from(length).unwrap()];
        stream.read_exact(&mut payload).await.ok()?;
        if head[3] == HEADERS {
            return Some(u32::from_be_bytes([head[5], head[6], head[7], head[8]]));
        }
    }
}

/// Answers the first request, which comes over HTTP/2, with the frame and closes the connection; whatever comes over
/// HTTP/1.1 is created. Answers how many requests came over each.
async fn two_protocols(refusal: fn(u32) -> Vec<u8>) -> (Url, Arc<Mutex<(u32, u32)>>) {
    let (listener, root) = listen().await;
    let counted: Arc<Mutex<(u32, u32)>> = Arc::default();
    let counts = Arc::clone(&counted);
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let counts = Arc::clone(&counts);
            tokio::spawn(async move {
                let mut first = vec![0; PREFACE.len()];
                stream.read_exact(&mut first).await.ok()?;
                if first == PREFACE {
                    stream.write_all(&frame(SETTINGS, 0, &[])).await.ok()?;
                    let number = next_request(&mut stream).await?;
                    counts.lock().unwrap().0 += 1;
                    stream.write_all(&refusal(number)).await.ok()?;
                } else {
                    head(&mut stream, first).await?;
                    counts.lock().unwrap().1 += 1;
                    stream.write_all(b"HTTP/1.1 201 Created\r\nContent-Length: 2\r\n\r\n{}").await.ok()?;
                }
                stream.flush().await.ok()
            });
        }
    });
    (root, counted)
}

#[tokio::test]
async fn what_http_2_did_not_take_is_sent_again_and_what_it_may_have_taken_is_unknown() {
    type Refusal = fn(u32) -> Vec<u8>;
    let refusals: [(&str, Refusal, bool); 6] = [
        ("GOAWAY below the stream", |_| frame(GOAWAY, 0, &[0; 8]), true),
        ("GOAWAY with an error below the stream", |_| frame(GOAWAY, 0, &[0, 0, 0, 0, 0, 0, 0, 2]), true),
        ("REFUSED_STREAM", |number| frame(RST_STREAM, number, &[0, 0, 0, 7]), true),
        ("HTTP_1_1_REQUIRED", |number| frame(RST_STREAM, number, &[0, 0, 0, 13]), true),
        ("INTERNAL_ERROR", |number| frame(RST_STREAM, number, &[0, 0, 0, 2]), false),
        (
            "GOAWAY at the stream",
            |number| frame(GOAWAY, 0, &[&number.to_be_bytes()[..], &[0, 0, 0, 2]].concat()),
            false,
        ),
    ];
    for (name, refusal, certain) in refusals {
        let (root, counted) = two_protocols(refusal).await;
        let connection = Arc::new(connection(root));
        let mut http = crate::token::Transports::default().clients(&connection).unwrap();
        http.pooled = reqwest::Client::builder()
            .no_proxy()
            .http2_prior_knowledge()
            .retry(reqwest::retry::never())
            .build()
            .unwrap();
        let bearer = Bearer::Made(MadeTokens::default());
        let client =
            GraphClient::with_bearer(connection, bearer, http, Governor::new(), Metrics::new(), 1 << 20);
        let sent = client.send(change(Method::POST, "me/contacts", Some("{}")), &context()).await;
        match certain {
            true => assert!(sent.is_ok(), "{name}: {sent:?}"),
            false => assert!(matches!(sent, Err(GraphError::OutcomeUnknown { .. })), "{name}: {sent:?}"),
        }
        assert_eq!(*counted.lock().unwrap(), (1, u32::from(certain)), "{name}");
    }
}

#[tokio::test]
async fn no_room_and_no_length_are_failures_and_a_contended_object_is_written_a_moment_later() {
    use super::test_support::{Server, answer, client};
    let contended = r#"{"error":{"code":"Directory_ConcurrencyViolation","message":"m"}}"#;
    let server = Server::start(move |number, seen| async move {
        match (seen.target.as_str(), number) {
            ("/v1.0/full", _) => answer(507, &[], r#"{"error":{"code":"quotaLimitReached","message":"m"}}"#),
            ("/v1.0/length", _) => answer(411, &[], ""),
            (_, 2) => answer(409, &[("retry-after", "0")], contended),
            _ => answer(201, &[], "{}"),
        }
    })
    .await;
    let (client, _) = client(&server);
    for (path, status) in [("full", 507), ("length", 411)] {
        let refused = client.send(change(Method::POST, path, Some("{}")), &context()).await;
        assert!(
            matches!(&refused, Err(GraphError::Refused(refusal)) if refusal.status == status),
            "{refused:?}"
        );
    }
    let written = client.send(change(Method::POST, "groups", Some("{}")), &context()).await;
    assert!(written.is_ok(), "{written:?}");
    assert_eq!(server.seen().len(), 4);
}
