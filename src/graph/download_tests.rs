//! Contents against a scripted Graph and a scripted store.
#![allow(clippy::unwrap_used, reason = "tests")]

use super::super::test_support::{Seen, Server, answer, broken, client, context, flowing, get};
use super::*;

const SIZE: usize = 40;

fn content() -> Vec<u8> {
    (0..SIZE as u8).collect()
}

fn digest() -> KnownDigest {
    use base64::Engine;
    let mut ring = [0u8; 20];
    for (place, byte) in content().into_iter().enumerate() {
        for bit in 0..8 {
            let at = (place * 11 + bit) % 160;
            ring[at / 8] ^= (byte >> bit & 1) << (at % 8);
        }
    }
    ring[12] ^= SIZE as u8;
    KnownDigest::QuickXor(base64::engine::general_purpose::STANDARD.encode(ring))
}

fn wanted() -> DownloadRequest {
    DownloadRequest { request: get("me/drive/items/1/content"), limit: 1024, size: None, digest: None }
}

fn first_byte(seen: &Seen) -> usize {
    let Some(range) = seen.headers.get("range") else { return 0 };
    range.to_str().unwrap().strip_prefix("bytes=").unwrap().trim_end_matches('-').parse().unwrap()
}

/// How a store answers its requests, by number.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Trick {
    Whole,
    /// Stops after so many bytes more, without an end.
    Cut(usize),
    /// Stops and ends the answer as if it were whole (chunked, so nothing else tells).
    Short(usize),
    NoRanges,
    Changed,
    Expired,
    Busy,
    Damaged,
    Longer,
    Hop,
}

async fn store(tricks: &'static [Trick], tag: Option<&'static str>) -> Server {
    Server::start(move |number, seen| async move {
        let trick = tricks.get(number).copied().unwrap_or(Trick::Whole);
        let (from, mut bytes) = (first_byte(&seen), content());
        if trick == Trick::Damaged {
            bytes[SIZE - 1] ^= 1;
        }
        let tag = if trick == Trick::Changed { tag.map(|_| "\"other\"") } else { tag };
        let same = seen.headers.get("if-range").is_none_or(|wanted| Some(wanted.to_str().unwrap()) == tag);
        let from = if trick == Trick::NoRanges || !same { 0 } else { from };
        let mut headers = Vec::new();
        headers.extend(tag.map(|tag| ("ETag", tag)));
        let range = format!("bytes {from}-{}/{SIZE}", SIZE - 1);
        let status = if from > 0 { 206 } else { 200 };
        if from > 0 {
            headers.push(("Content-Range", &range));
        }
        match trick {
            Trick::Expired => return answer(403, &[], ""),
            Trick::Busy => return answer(503, &[("Retry-After", "0")], ""),
            Trick::Hop => return answer(302, &[("Location", "/next?sig=canary")], ""),
            Trick::Longer => bytes.extend_from_slice(&[0; 10]),
            _ => {}
        }
        let (Trick::Cut(length) | Trick::Short(length)) = trick else {
            return answer(status, &headers, bytes.split_off(from));
        };
        let (sender, mut response) = flowing();
        *response.status_mut() = StatusCode::from_u16(status).unwrap();
        for (name, value) in &headers {
            response.headers_mut().insert(*name, value.parse().unwrap());
        }
        let total = (SIZE - from).to_string();
        if matches!(trick, Trick::Cut(_)) {
            response.headers_mut().insert("content-length", total.parse().unwrap());
        }
        tokio::spawn(async move {
            let _gone = sender.send(Ok(Bytes::copy_from_slice(&bytes[from..from + length]))).await;
            if matches!(trick, Trick::Cut(_)) {
                // Given time to leave: hyper throws away what is still queued when a body fails.
                tokio::time::sleep(std::time::Duration::from_millis(30)).await;
                let _gone = sender.send(Err(broken())).await;
            }
        });
        response
    })
    .await
}

async fn graph_before(store: &Server) -> Server {
    let location = format!("http://{}/blob?sig=canary", store.address);
    Server::start(move |_, _| {
        let location = location.clone();
        async move { answer(302, &[("Location", &location)], "") }
    })
    .await
}

async fn take(
    graph: &Server,
    wanted: DownloadRequest,
) -> Result<(Vec<u8>, Verified, u32), (Vec<u8>, GraphError)> {
    let (client, _) = client(graph);
    let mut got = Vec::new();
    let mut download = client
        .download(wanted, 0, Digests::default(), context())
        .await
        .map_err(|error| (Vec::new(), error))?;
    loop {
        match download.next().await {
            Ok(Some(piece)) => got.extend_from_slice(&piece),
            Ok(None) => return Ok((got, download.verified().unwrap(), download.resumed())),
            Err(error) => return Err((got, error)),
        }
    }
}

#[tokio::test]
async fn a_content_survives_cuts_and_the_store_never_sees_the_token() {
    use Trick::{Busy, Cut, Expired, Hop, NoRanges};
    let rows: [(&'static [Trick], Option<&'static str>, bool, u32, usize); 9] = [
        (&[], Some("\"a\""), false, 0, 1),
        (&[Hop], Some("\"a\""), false, 0, 1),
        (&[Cut(7)], Some("\"a\""), false, 1, 1),
        (&[Cut(7), Cut(9), Cut(3)], Some("\"a\""), false, 3, 1),
        (&[Cut(7), Busy, Busy], Some("\"a\""), false, 1, 1),
        (&[Cut(7), NoRanges], Some("\"a\""), false, 1, 1),
        (&[Expired], Some("\"a\""), false, 0, 2),
        (&[Cut(7), Expired, Expired], Some("\"a\""), false, 1, 3),
        (&[Cut(7)], None, true, 1, 1),
    ];
    for (tricks, tag, with_digest, resumed, asked) in rows {
        let store = store(tricks, tag).await;
        let graph = graph_before(&store).await;
        let digest = with_digest.then(digest);
        let taken = take(&graph, DownloadRequest { digest, ..wanted() }).await;
        let (got, verified, cuts) = taken.unwrap_or_else(|error| panic!("{tricks:?}: {error:?}"));
        assert_eq!((got, cuts), (content(), resumed), "{tricks:?}");
        let expected = if with_digest { Verified::Digest("quickXorHash") } else { Verified::Length };
        assert_eq!(verified, expected, "{tricks:?}");
        assert_eq!(graph.seen().len(), asked, "{tricks:?}");
        assert!(graph.seen().iter().all(|seen| seen.headers.contains_key("authorization")));
        assert!(store.seen().iter().all(|seen| !seen.headers.contains_key("authorization")), "{tricks:?}");
        assert!(store.seen().iter().all(|seen| seen.headers["accept-encoding"] == "identity"));
    }
}

#[tokio::test]
async fn what_is_cut_damaged_changed_or_too_large_never_looks_complete() {
    use Trick::{Changed, Cut, Damaged, Hop, Longer, Short};
    let all = DownloadRequest { digest: Some(digest()), size: Some(SIZE as u64), ..wanted() };
    let plain = wanted();
    let rows: [(&'static [Trick], Option<&'static str>, &DownloadRequest, &str); 9] = [
        (&[Cut(7)], None, &plain, "nothing to go on by"),
        (&[Cut(7), Changed], Some("\"a\""), &plain, "changed while"),
        (&[Damaged], Some("\"a\""), &all, "quickXorHash is not the one"),
        (&[Short(7)], Some("\"a\""), &DownloadRequest { size: Some(40), ..wanted() }, "after 7 of 40 bytes"),
        (&[Short(7)], Some("\"a\""), &all, "quickXorHash is not the one"),
        (&[Longer], Some("\"a\""), &all, "but the item says 40"),
        (&[], Some("\"a\""), &DownloadRequest { limit: 39, ..wanted() }, "larger than 39 bytes"),
        (&[Short(30)], None, &DownloadRequest { limit: 29, ..wanted() }, "larger than 29 bytes"),
        (&[Hop; 9], None, &plain, "redirects more than 3 times"),
    ];
    for (tricks, tag, wanted, expected) in rows {
        let store = store(tricks, tag).await;
        let graph = graph_before(&store).await;
        let (got, error) = take(&graph, wanted.clone()).await.unwrap_err();
        assert!(error.to_string().contains(expected), "{tricks:?}: {error}");
        assert!(!error.to_string().contains("canary"), "{error}");
        assert!(got.len() < SIZE, "{tricks:?}: the last piece was handed out before the check");
    }
}

#[tokio::test]
async fn a_content_that_graph_answers_itself_needs_no_other_address() {
    let graph = store(&[Trick::Cut(7)], Some("\"a\"")).await;
    let (got, verified, resumed) = take(&graph, wanted()).await.unwrap();
    assert_eq!((got, verified, resumed), (content(), Verified::Length, 1));
    assert!(graph.seen().iter().all(|seen| seen.headers.contains_key("authorization")));
    assert_eq!(graph.seen()[1].headers["if-range"], "\"a\"");
}

#[tokio::test]
async fn an_address_without_tls_in_the_cloud_is_not_followed() {
    for location in ["http://10.0.0.1/x", "ftp://x/y", "https://user@x.example/"] {
        let graph =
            Server::start(move |_, _| async move { answer(302, &[("Location", location)], "") }).await;
        let (_, error) = take(&graph, wanted()).await.unwrap_err();
        assert!(matches!(error, GraphError::BadAnswer { .. }), "{location}: {error}");
    }
}

/// A host that ignores ranges and breaks off before anything new has come: 7,489 requests in 8 seconds once.
#[tokio::test]
async fn a_host_that_ignores_ranges_is_not_asked_in_a_hot_loop() {
    let store = Server::start(|number, seen| async move {
        let _ignored = first_byte(&seen);
        let length = if number == 0 { 20 } else { 5 };
        let (sender, mut response) = flowing();
        response.headers_mut().insert("etag", "\"a\"".parse().unwrap());
        response.headers_mut().insert("content-length", SIZE.to_string().parse().unwrap());
        tokio::spawn(async move {
            let _gone = sender.send(Ok(Bytes::from(content()[..length].to_vec()))).await;
            tokio::time::sleep(std::time::Duration::from_millis(30)).await;
            let _gone = sender.send(Err(broken())).await;
        });
        response
    })
    .await;
    let graph = graph_before(&store).await;
    let (client, _) = client(&graph);
    let bounded = CallContext {
        deadline: tokio::time::Instant::now() + std::time::Duration::from_secs(4),
        ..context()
    };
    let mut download = client.download(wanted(), 0, Digests::default(), bounded).await.unwrap();
    let error = loop {
        match download.next().await {
            Ok(Some(_)) => {}
            Ok(None) => panic!("it never was whole"),
            Err(error) => break error,
        }
    };
    let asked = store.seen().len();
    assert!((2..=6).contains(&asked), "{asked} requests in four seconds: {error}");
}

/// A host that sends everything again after each cut, with a little more each time, is given up after a few times the length.
#[tokio::test]
async fn what_comes_again_is_bounded() {
    const LARGE: usize = 400 * 1024;
    let store = Server::start(|number, _| async move {
        let (sender, mut response) = flowing();
        response.headers_mut().insert("etag", "\"a\"".parse().unwrap());
        response.headers_mut().insert("content-length", LARGE.to_string().parse().unwrap());
        tokio::spawn(async move {
            let length = LARGE - 1 - (64usize.saturating_sub(number)) * 70;
            let _gone = sender.send(Ok(Bytes::from(vec![7; length]))).await;
            tokio::time::sleep(std::time::Duration::from_millis(30)).await;
            let _gone = sender.send(Err(broken())).await;
        });
        response
    })
    .await;
    let graph = graph_before(&store).await;
    let limit = DownloadRequest { limit: 1 << 20, ..wanted() };
    let (_, error) = take(&graph, limit).await.unwrap_err();
    let asked = store.seen().len();
    assert!(asked <= 6, "{asked}: {error}");
}
