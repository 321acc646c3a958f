//! Bodies: a request body that tells whether it was handed to a connection, and bounded reading of answers. Bytes are
//! counted after decompression, because a limit on what came over the wire is no limit.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use h2::Reason;
use http::HeaderValue;
use http::header::CONTENT_LENGTH;
use hyper::body::{Body, Frame, SizeHint};
use tokio::time::Instant;

use crate::error::{chain, clean_foreign_text};

use super::CallContext;
use super::bounds::{Stop, bounded};

/// Longest silence in the middle of an answer.
pub(super) const LONGEST_SILENCE: Duration = Duration::from_secs(15);

/// Whether a request may have reached Graph.
#[derive(Clone, Debug, Default)]
pub(super) struct SentMark(Arc<AtomicBool>);

impl SentMark {
    pub(super) fn set(&self) {
        self.0.store(true, Ordering::Release);
    }

    pub(super) fn is_set(&self) -> bool {
        self.0.load(Ordering::Acquire)
    }
}

/// A request body that sets its mark when a connection first asks for it: until then nothing of the request was written,
/// so a request that is stopped while it waits for a connection is known not to have been sent.
#[derive(Debug)]
pub(super) struct MarkedBody {
    bytes: Option<Bytes>,
    mark: SentMark,
}

impl MarkedBody {
    pub(super) fn new(bytes: Bytes, mark: SentMark) -> Self {
        Self { bytes: Some(bytes), mark }
    }
}

impl Body for MarkedBody {
    type Data = Bytes;
    type Error = std::convert::Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        self.mark.set();
        Poll::Ready(self.bytes.take().map(|bytes| Ok(Frame::data(bytes))))
    }

    fn is_end_stream(&self) -> bool {
        self.bytes.is_none()
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.bytes.as_ref().map_or(0, |bytes| bytes.len() as u64))
    }
}

/// Why a body could not be read.
#[derive(Debug, PartialEq)]
pub(super) enum BodyFault {
    /// It broke off or stood still.
    Lost(String),
    /// It is larger than allowed.
    TooLarge,
    /// The caller stopped.
    Stopped(Stop),
}

/// Reads an answer piece by piece, within a time that counts only while the agent waits for the network: a caller who
/// takes rows slowly does not use it up.
#[derive(Debug)]
pub(super) struct BodyReader {
    response: reqwest::Response,
    left: Duration,
    limit: usize,
    read: usize,
}

impl BodyReader {
    /// A reader that takes at most `limit` decoded bytes and waits `time` altogether.
    pub(super) fn new(response: reqwest::Response, limit: usize, time: Duration) -> Self {
        Self { response, left: time, limit, read: 0 }
    }

    /// The next piece; `None` at the end.
    pub(super) async fn next(&mut self, context: &CallContext) -> Result<Option<Bytes>, BodyFault> {
        // An announced length beyond the limit is refused before anything is read.
        if self.read == 0 && self.response.content_length().is_some_and(|length| length > self.limit as u64) {
            return Err(BodyFault::TooLarge);
        }
        let begun = Instant::now();
        let waited = tokio::time::timeout(self.left.min(LONGEST_SILENCE), self.response.chunk());
        let piece = match bounded(context, waited).await {
            Err(stop) => return Err(BodyFault::Stopped(stop)),
            Ok(Err(_)) => return Err(BodyFault::Lost("the answer stood still".to_owned())),
            Ok(Ok(Err(error))) => return Err(BodyFault::Lost(describe(error))),
            Ok(Ok(Ok(piece))) => piece,
        };
        self.left = self.left.saturating_sub(begun.elapsed());
        self.read += piece.as_ref().map_or(0, Bytes::len);
        if self.read > self.limit {
            return Err(BodyFault::TooLarge);
        }
        Ok(piece)
    }

    /// The whole body.
    pub(super) async fn whole(mut self, context: &CallContext) -> Result<Bytes, BodyFault> {
        let Some(first) = self.next(context).await? else { return Ok(Bytes::new()) };
        let Some(second) = self.next(context).await? else { return Ok(first) };
        let mut body = BytesMut::with_capacity(first.len() + second.len());
        body.extend_from_slice(&first);
        body.extend_from_slice(&second);
        while let Some(piece) = self.next(context).await? {
            body.extend_from_slice(&piece);
        }
        Ok(body.freeze())
    }

    /// As much of the body as can be had, for an error message.
    pub(super) async fn beginning(mut self, context: &CallContext) -> Bytes {
        let mut body = BytesMut::new();
        while let Ok(Some(piece)) = self.next(context).await {
            body.extend_from_slice(&piece);
        }
        body.freeze()
    }
}

/// Says on a request that changes something that it has no body: HTTP/1.1 clients leave the length out where there is
/// none, and Graph answers such a POST with 411 (RFC 9110 section 8.6).
pub(super) fn has_no_body(request: &mut reqwest::Request) {
    request.headers_mut().insert(CONTENT_LENGTH, HeaderValue::from_static("0"));
}

/// Whether the server says on the level of the connection that nothing of the request was carried out: GOAWAY for a
/// stream above the last one it took, REFUSED_STREAM, HTTP_1_1_REQUIRED (RFC 9113 sections 6.8, 7 and 8.7).
pub(super) fn was_not_taken(error: &reqwest::Error) -> bool {
    let mut source = std::error::Error::source(error);
    while let Some(error) = source {
        if let Some(error) = error.downcast_ref::<h2::Error>() {
            // A GOAWAY of the server's ends only the streams above its last one with this error; the others go on.
            let refused = matches!(error.reason(), Some(Reason::REFUSED_STREAM | Reason::HTTP_1_1_REQUIRED));
            return error.is_remote() && (error.is_go_away() || (error.is_reset() && refused));
        }
        source = error.source();
    }
    false
}

/// A transport error without its URL, whose query may hold what people searched for.
pub(super) fn describe(error: reqwest::Error) -> String {
    clean_foreign_text(&chain(&error.without_url()))
}
