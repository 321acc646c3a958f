//! Upload sessions against a scripted Graph and a scripted upload host.
#![allow(clippy::unwrap_used, reason = "tests")]

use std::sync::Mutex;

use futures_util::FutureExt;

use super::super::test_support::{Seen, Server, answer, client, context, post, until};
use super::*;

const SIZE: usize = 25;

fn content() -> Vec<u8> {
    (0..SIZE as u8).collect()
}

/// Bytes that may or may not be read twice.
struct Given {
    bytes: Vec<u8>,
    rewinds: bool,
    /// How many are really there.
    there: usize,
}

fn given(rewinds: bool) -> Given {
    Given { bytes: content(), rewinds, there: SIZE }
}

impl UploadContent for Given {
    fn length(&self) -> u64 {
        self.bytes.len() as u64
    }
    fn can_rewind(&self) -> bool {
        self.rewinds
    }
    fn read(&mut self, from: u64, length: usize) -> BoxFuture<'_, Result<Bytes, String>> {
        let from = usize::try_from(from).unwrap();
        let end = (from + length).min(self.there).max(from);
        let piece = Bytes::copy_from_slice(&self.bytes[from..end]);
        async move { Ok(piece) }.boxed()
    }
}

/// What the upload host does with the pieces it gets, by number; afterwards it behaves.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Trick {
    Take,
    /// Takes it and says so as Outlook does.
    Outlook,
    /// Takes half of it and then fails.
    Half,
    /// Takes it, but the answer is a 503.
    TakeAndFail,
    TooMany,
    WrongRange,
    Forget,
    Refuse,
    Redirect,
}

#[derive(Default)]
struct Host {
    stored: Vec<u8>,
    pieces: usize,
    forgotten: bool,
}

fn range(seen: &Seen) -> (usize, usize, usize) {
    let text = seen.headers["content-range"].to_str().unwrap().strip_prefix("bytes ").unwrap().to_owned();
    let (range, total) = text.split_once('/').unwrap();
    let (first, last) = range.split_once('-').unwrap();
    (first.parse().unwrap(), last.parse().unwrap(), total.parse().unwrap())
}

fn next_ranges(stored: usize) -> String {
    format!(r#"{{"nextExpectedRanges":["{stored}-"]}}"#)
}

async fn host(tricks: &'static [Trick]) -> (Server, Arc<Mutex<Host>>) {
    let state = Arc::new(Mutex::new(Host::default()));
    let shared = Arc::clone(&state);
    let server = Server::start(move |_, seen| {
        let shared = Arc::clone(&shared);
        async move {
            let mut host = shared.lock().unwrap();
            if host.forgotten {
                return answer(404, &[], "");
            }
            if seen.method == Method::GET {
                return answer(200, &[], next_ranges(host.stored.len()));
            }
            if seen.method == Method::DELETE {
                host.forgotten = true;
                return answer(204, &[], "");
            }
            let trick = tricks.get(host.pieces).copied().unwrap_or(Trick::Take);
            host.pieces += 1;
            let (first, last, total) = range(&seen);
            assert_eq!((last - first + 1, total), (seen.body.len(), SIZE));
            if first != host.stored.len() {
                return answer(416, &[], "{}");
            }
            let taken = match trick {
                Trick::Take | Trick::Outlook | Trick::TakeAndFail => seen.body.len(),
                Trick::Half => seen.body.len() / 2,
                _ => 0,
            };
            host.stored.extend_from_slice(&seen.body[..taken]);
            let done = host.stored.len() == total;
            host.forgotten |= trick == Trick::Forget || (done && trick == Trick::TakeAndFail);
            match trick {
                Trick::Take if done => answer(201, &[], r#"{"id":"new"}"#),
                Trick::Outlook if done => answer(201, &[("Location", "https://x/Attachments('A')")], ""),
                Trick::Outlook => {
                    answer(200, &[], format!(r#"{{"NextExpectedRanges":["{}"]}}"#, host.stored.len()))
                }
                Trick::Take => answer(202, &[], next_ranges(host.stored.len())),
                Trick::Half | Trick::TakeAndFail => answer(503, &[("Retry-After", "0")], ""),
                Trick::TooMany => answer(429, &[("Retry-After", "0")], ""),
                Trick::WrongRange => answer(416, &[], "{}"),
                Trick::Forget => answer(404, &[], ""),
                Trick::Refuse => answer(409, &[], r#"{"error":{"code":"nameAlreadyExists","message":"m"}}"#),
                Trick::Redirect => answer(302, &[("Location", "https://evil.example/")], ""),
            }
        }
    })
    .await;
    (server, state)
}

/// A Graph whose sessions lead to `host`; each new session begins with nothing.
async fn graph(host: &Server, state: &Arc<Mutex<Host>>) -> Server {
    let body = format!(r#"{{"uploadUrl":"http://{}/up?sig=canary"}}"#, host.address);
    let state = Arc::clone(state);
    Server::start(move |_, _| {
        let (body, state) = (body.clone(), Arc::clone(&state));
        async move {
            let mut host = state.lock().unwrap();
            (host.stored, host.forgotten) = (Vec::new(), false);
            answer(200, &[], body)
        }
    })
    .await
}

fn request() -> UploadRequest {
    UploadRequest { session: post("me/messages/m/attachments/createUploadSession", "{}"), piece: 10 }
}

#[tokio::test]
async fn whatever_happens_to_a_piece_all_of_it_arrives_once_and_no_token_leaves_the_origin() {
    use Trick::{Forget, Half, Outlook, Take, TakeAndFail, TooMany, WrongRange};
    let rows: [(&'static [Trick], usize); 9] = [
        (&[], 1),
        (&[Outlook, Outlook, Outlook], 1),
        (&[Half], 1),
        (&[Take, Half, Half], 1),
        (&[TakeAndFail], 1),
        (&[TooMany, TooMany], 1),
        (&[Take, WrongRange], 1),
        (&[Take, Forget], 2),
        (&[Forget, Take, Forget], 3),
    ];
    for (tricks, sessions) in rows {
        let (host, state) = host(tricks).await;
        let graph = graph(&host, &state).await;
        let (client, _) = client(&graph);
        let uploaded = client.upload(request(), &mut given(true), &context()).await;
        let uploaded = uploaded.unwrap_or_else(|error| panic!("{tricks:?}: {error}"));
        assert_eq!(state.lock().unwrap().stored, content(), "{tricks:?}");
        let mut digests = Digests::default();
        digests.update(&content());
        assert_eq!(format!("{:?}", uploaded.digests), format!("{digests:?}"), "{tricks:?}");
        assert_eq!(uploaded.answer.map(|answer| answer.status), Some(201), "{tricks:?}");
        assert_eq!(graph.seen().len(), sessions, "{tricks:?}");
        assert!(graph.seen().iter().all(|seen| seen.headers.contains_key("authorization")));
        assert!(host.seen().iter().all(|seen| !seen.headers.contains_key("authorization")), "{tricks:?}");
        assert!(host.seen().iter().all(|seen| seen.method != Method::DELETE), "{tricks:?}");
    }
}

#[tokio::test]
async fn what_cannot_be_finished_says_why_and_the_session_is_taken_back() {
    use Trick::{Forget, Redirect, Refuse, Take};
    let forgetful: &'static [Trick] = &[Forget, Forget, Forget];
    let rows: [(&'static [Trick], Given, &str, bool); 6] = [
        (&[Take, Refuse], given(true), "nameAlreadyExists", true),
        (&[Redirect], given(true), "redirects", true),
        (&[Forget], given(false), "cannot be read a second time", false),
        (forgetful, given(true), "3 upload sessions", false),
        (&[], Given { there: 15, ..given(true) }, "ends after 15 of 25 bytes", true),
        (&[], Given { bytes: Vec::new(), ..given(true) }, "at least one byte", true),
    ];
    for (tricks, mut content, expected, taken_back) in rows {
        let (host, state) = host(tricks).await;
        let graph = graph(&host, &state).await;
        let (client, _) = client(&graph);
        let error = client.upload(request(), &mut content, &context()).await.unwrap_err().to_string();
        assert!(error.contains(expected), "{tricks:?}: {error}");
        assert!(!error.contains("canary"), "{error}");
        let deleted = host.seen().iter().any(|seen| seen.method == Method::DELETE);
        assert_eq!(deleted, taken_back, "{tricks:?}");
    }
}

#[tokio::test]
async fn a_caller_who_leaves_leaves_no_session_behind() {
    let host = Server::start(|_, seen| async move {
        if seen.method == Method::DELETE {
            return answer(204, &[], "");
        }
        std::future::pending().await
    })
    .await;
    let graph = graph(&host, &Arc::default()).await;
    let (client, _) = client(&graph);
    let call =
        tokio::spawn(async move { client.upload(request(), &mut given(true), &context()).await.map(drop) });
    until("the first piece has arrived", || !host.seen().is_empty()).await;
    call.abort();
    until("the session is taken back", || host.seen().iter().any(|seen| seen.method == Method::DELETE)).await;
}

#[tokio::test]
async fn a_server_that_is_gone_ends_in_a_bounded_number_of_tries() {
    let (host, state) = host(&[Trick::TakeAndFail; 40]).await;
    let graph = graph(&host, &state).await;
    let (client, _) = client(&graph);
    let short =
        CallContext { deadline: tokio::time::Instant::now() + Duration::from_millis(600), ..context() };
    let whole = UploadRequest { session: post("x", "{}"), piece: SIZE };
    let uploaded = client.upload(whole, &mut given(true), &short).await.unwrap();
    assert!(uploaded.answer.is_none(), "it was taken, and nobody says so any more");
    drop(host);
    let began = state.lock().unwrap().pieces;
    let error = client.upload(request(), &mut given(true), &short).await.unwrap_err();
    assert!(matches!(error, GraphError::Unreachable { .. } | GraphError::Deadline), "{error}");
    assert_eq!(state.lock().unwrap().pieces, began);
}

/// A service that takes one byte of each piece would be sent the whole content once for each of them.
#[tokio::test]
async fn a_service_that_takes_a_byte_of_each_piece_is_given_up() {
    const LONG: usize = 400;
    let host = Server::start(|_, seen| async move {
        if seen.method == Method::DELETE {
            return answer(204, &[], "");
        }
        let (first, _, total) = range(&seen);
        match first + 1 == total {
            true => answer(201, &[], r#"{"id":"new"}"#),
            false => answer(202, &[], next_ranges(first + 1)),
        }
    })
    .await;
    let graph = graph(&host, &Arc::default()).await;
    let (client, _) = client(&graph);
    let mut content = Given { bytes: vec![7; LONG], rewinds: true, there: LONG };
    let error = client.upload(request(), &mut content, &context()).await.unwrap_err();
    assert!(error.to_string().contains("takes too little of each piece"), "{error}");
    let pieces = host.seen().iter().filter(|seen| seen.method == Method::PUT).count();
    assert_eq!(pieces, 40 * 8 + 32);
}
