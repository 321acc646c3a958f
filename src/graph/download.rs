//! Contents of any size, piece by piece: from Graph itself, or from the pre-signed address it redirects to, which never
//! sees the token. A cut is gone on from by range when the content is provably the same. Never hands out the last piece
//! before the whole is checked, so that a damaged or cut content can never look complete.

use std::sync::Arc;

use bytes::Bytes;
use http::header::{ACCEPT_ENCODING, IF_RANGE, RANGE};
use http::{HeaderMap, Method, StatusCode};

use super::attempt::{Call, Opened};
use super::body::{BodyReader, LONGEST_SILENCE, describe};
use super::bounds::{bounded, time_left};
use super::checked_url::CheckedUrl;
use super::client::{GraphClient, Reached};
use super::content_head::{ContentHead, HeadFault};
use super::digests::{Digests, KnownDigest};
use super::presigned::{Ask, NoAnswer, PresignedUrl};
use super::refusal::{ERROR_BODY_LIMIT, parse_refusal, request_id};
use super::retry::{Attempt, Decision, Happened, decide, random_jitter, retry_after};
use super::settle::Progress;
use super::{CallContext, Effect, GraphError, GraphRequest};

/// Addresses that are followed from Graph's first one.
const MOST_HOPS: u32 = 3;
/// New addresses that are asked for because the last one has expired, without a byte in between.
const MOST_EXPIRIES: u32 = 3;
/// Bytes that must come after a trouble for it to be over. Fewer, and the next trouble counts on: a host that gives a few
/// bytes a time would otherwise be asked for ever.
const PROGRESS: u64 = 64 * 1024;
/// How many times the length of a content may be thrown away, at a host that sends everything again after each cut.
const MOST_PASSED_OVER: u64 = 3;

/// What is downloaded, and what is known of it.
#[derive(Clone, Debug)]
pub struct DownloadRequest {
    /// The GET of the content.
    pub request: GraphRequest,
    /// The most bytes that are taken.
    pub limit: u64,
    /// The size that the service has told before, if it is to be believed to the byte.
    pub size: Option<u64>,
    /// The digest that the service has told before.
    pub digest: Option<KnownDigest>,
}

/// How the integrity of a content was checked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verified {
    /// By the digest of that kind.
    Digest(&'static str),
    /// By its length only.
    Length,
    /// The service told neither; HTTP's framing says that it is whole.
    Framing,
}

impl Verified {
    /// The word used in answers.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Digest(kind) => kind,
            Self::Length => "length",
            Self::Framing => "framing",
        }
    }
}

/// A content on its way. Dropping it stops it.
#[derive(Debug)]
pub struct Download {
    client: Arc<GraphClient>,
    wanted: DownloadRequest,
    context: CallContext,
    url: Option<PresignedUrl>,
    response: Option<reqwest::Response>,
    slot: Option<super::governor::Slot>,
    head: ContentHead,
    /// Bytes received, those held in `last` included.
    position: u64,
    digests: Digests,
    /// The newest piece: handed out when the next one, or the checked end, is there.
    last: Option<Bytes>,
    troubles: u32,
    /// Where the last trouble was.
    troubled_at: u64,
    /// Bytes that came again and were thrown away.
    passed_over: u64,
    expiries: u32,
    fresh: bool,
    resumed: u32,
    ended: Option<Verified>,
}

impl GraphClient {
    /// Begins a download at byte `from`; `digests` cover what comes before. Returns when the content's head is there.
    ///
    /// # Errors
    /// [`GraphError`]; [`GraphError::TooLarge`] when it is larger than the limit.
    pub async fn download(
        self: &Arc<Self>,
        wanted: DownloadRequest,
        from: u64,
        digests: Digests,
        context: CallContext,
    ) -> Result<Download, GraphError> {
        let mut download = Download {
            client: Arc::clone(self),
            wanted,
            context,
            url: None,
            response: None,
            slot: None,
            head: ContentHead::default(),
            position: from,
            digests,
            last: None,
            troubles: 0,
            troubled_at: from,
            passed_over: 0,
            expiries: 0,
            fresh: false,
            resumed: 0,
            ended: None,
        };
        // Boxed like every call: see `exchange`.
        Box::pin(download.connect()).await?;
        Ok(download)
    }
}

impl Download {
    /// Its length, when the service told it.
    pub fn length(&self) -> Option<u64> {
        self.head.total
    }

    /// Its media type, when the service told it.
    pub fn media_type(&self) -> Option<&str> {
        self.head.media_type.as_deref()
    }

    /// How it was checked; there at the end.
    pub fn verified(&self) -> Option<Verified> {
        self.ended
    }

    /// How often it went on after a cut.
    pub fn resumed(&self) -> u32 {
        self.resumed
    }

    /// Gives its place in the mailbox's lane back: for a reader who may be slow, whom others must not wait for.
    pub fn leave_lane(&mut self) {
        self.slot = None;
    }

    /// The next piece; `None` after the last one, when the whole has been checked.
    ///
    /// # Errors
    /// [`GraphError`]: it broke off and cannot be gone on with, is not what was announced, or was stopped.
    pub async fn next(&mut self) -> Result<Option<Bytes>, GraphError> {
        if self.ended.is_some() {
            return Ok(self.last.take());
        }
        loop {
            match Box::pin(self.receive()).await? {
                Some(piece) if piece.is_empty() => {}
                Some(piece) => {
                    if let Some(ready) = self.last.replace(piece) {
                        return Ok(Some(ready));
                    }
                }
                None => {
                    self.ended = Some(self.check()?);
                    self.response = None;
                    return Ok(self.last.take());
                }
            }
        }
    }

    /// One piece from the network, going on after cuts; `None` at the end.
    async fn receive(&mut self) -> Result<Option<Bytes>, GraphError> {
        loop {
            let Some(response) = &mut self.response else {
                Box::pin(self.connect()).await?;
                continue;
            };
            let waited = tokio::time::timeout(LONGEST_SILENCE, response.chunk());
            let what = match bounded(&self.context, waited).await? {
                Ok(Ok(Some(piece))) => {
                    self.position += piece.len() as u64;
                    if self.position > self.wanted.limit
                        || self.head.total.is_some_and(|total| self.position > total)
                    {
                        return Err(self.too_large());
                    }
                    self.digests.update(&piece);
                    if self.position >= self.troubled_at.saturating_add(PROGRESS) {
                        (self.troubles, self.expiries, self.fresh) = (0, 0, false);
                    }
                    return Ok(Some(piece));
                }
                Ok(Ok(None)) if self.head.total.is_none_or(|total| total == self.position) => {
                    return Ok(None);
                }
                Ok(Ok(None)) => "the answer ended early".to_owned(),
                Ok(Err(error)) => describe(error),
                Err(_) => "the answer stood still".to_owned(),
            };
            self.response = None;
            self.cut(what).await?;
        }
    }

    /// The content broke off: waits for the next attempt, if there can be one.
    async fn cut(&mut self, what: String) -> Result<(), GraphError> {
        let at = self.position;
        if !self.head.can_resume(self.wanted.digest.is_some()) && at > 0 {
            let what = format!(
                "the content broke off after {at} bytes ({what}), and the service gives nothing to go on by"
            );
            return Err(GraphError::Unreachable { what });
        }
        self.resumed += 1;
        self.stumbled(Happened::Lost, format!("the content broke off after {at} bytes: {what}"), None).await
    }

    /// Opens the content at `position`: at the address that is known, else at one that Graph gives.
    async fn connect(&mut self) -> Result<(), GraphError> {
        loop {
            let opened = match self.url.clone() {
                Some(url) => self.ask_address(url, MOST_HOPS).await?,
                None => self.ask_graph().await?,
            };
            let Some(response) = opened else { continue };
            match self.head.accept(
                response.status(),
                response.headers(),
                response.content_length(),
                self.position,
            ) {
                Ok(skip) => {
                    self.check_announced()?;
                    self.response = Some(response);
                    return self.skip(skip).await;
                }
                Err(HeadFault::Changed) => {
                    let what = "the content was changed while it was downloaded; begin again".to_owned();
                    return Err(GraphError::BadAnswer { what });
                }
                Err(HeadFault::Odd(what)) => return Err(GraphError::BadAnswer { what }),
            }
        }
    }

    /// A service that does not know ranges sends everything again; what is known already is passed over. A cut in it counts
    /// like any other, and how much is passed over in all is bounded.
    async fn skip(&mut self, mut left: u64) -> Result<(), GraphError> {
        let most = self.head.total.unwrap_or(self.position).max(PROGRESS).saturating_mul(MOST_PASSED_OVER);
        if self.passed_over.saturating_add(left) > most {
            let what = format!(
                "the content broke off after {} bytes, and its host sends everything again instead of the rest; begin again later",
                self.position
            );
            return Err(GraphError::Unreachable { what });
        }
        while left > 0 {
            let Some(response) = &mut self.response else { return Ok(()) };
            let waited = tokio::time::timeout(LONGEST_SILENCE, response.chunk());
            match bounded(&self.context, waited).await? {
                Ok(Ok(Some(piece))) => {
                    let length = piece.len() as u64;
                    self.passed_over += length.min(left);
                    if length > left {
                        let rest = piece.slice(usize::try_from(left).unwrap_or(piece.len())..);
                        self.position += rest.len() as u64;
                        self.digests.update(&rest);
                        self.hold(rest);
                    }
                    left = left.saturating_sub(length);
                }
                other => {
                    self.response = None;
                    let what = match other {
                        Ok(Err(error)) => describe(error),
                        Ok(_) => "the answer ended early".to_owned(),
                        Err(_) => "the answer stood still".to_owned(),
                    };
                    return self.cut(what).await;
                }
            }
        }
        Ok(())
    }

    fn hold(&mut self, piece: Bytes) {
        self.last = Some(match self.last.take() {
            None => piece,
            Some(held) => {
                let mut both = bytes::BytesMut::with_capacity(held.len() + piece.len());
                both.extend_from_slice(&held);
                both.extend_from_slice(&piece);
                both.freeze()
            }
        });
    }

    /// Asks Graph, with the token: it answers itself or says where the content is.
    async fn ask_graph(&mut self) -> Result<Option<reqwest::Response>, GraphError> {
        let mut request = self.wanted.request.clone();
        request.headers.push(("Accept", "*/*".to_owned()));
        request.headers.push(("Accept-Encoding", "identity".to_owned()));
        if self.position > 0 {
            request.headers.push(("Range", format!("bytes={}-", self.position)));
            request.headers.extend(self.head.strong_tag().map(|tag| ("If-Range", tag)));
        }
        let root = self.client.connection().endpoints.graph.clone();
        let url = CheckedUrl::below_root(&root, &request.path)?;
        let call = Call { request: &request, url: &url, context: &self.context, slots: 1 };
        let mut progress = Progress::for_content();
        let reached = Box::pin(self.client.reach(call, &mut progress)).await;
        match reached.map_err(|error| progress.settle(error))? {
            Reached::Here(opened) => {
                let Opened { response, slot, .. } = *opened;
                self.slot = Some(slot);
                Ok(Some(response))
            }
            Reached::Elsewhere(location) => {
                self.slot = None;
                self.url = Some(PresignedUrl::parse(&root, url.as_url(), &location)?);
                Ok(None)
            }
        }
    }

    /// Asks a pre-signed address. `None`: ask again, here or for a new address.
    async fn ask_address(
        &mut self,
        mut url: PresignedUrl,
        hops: u32,
    ) -> Result<Option<reqwest::Response>, GraphError> {
        for _ in 0..=hops {
            // Ranges count bytes as they are stored, so nothing may be compressed on the way.
            let mut headers = vec![(ACCEPT_ENCODING, "identity".to_owned())];
            if self.position > 0 {
                headers.push((RANGE, format!("bytes={}-", self.position)));
                headers.extend(self.head.strong_tag().map(|tag| (IF_RANGE, tag)));
            }
            let time = self.client.connection().timeout;
            let ask = Ask { method: Method::GET, url: &url, headers, body: None, time, fresh: self.fresh };
            let response = match self.client.ask_presigned(ask, &self.context).await {
                Ok(response) => response,
                Err(NoAnswer::Stopped(stop)) => return Err(stop.into()),
                Err(NoAnswer::NotSent(what)) => {
                    return self.stumbled(Happened::NotSent, what, None).await.map(|()| None);
                }
                Err(NoAnswer::Lost(what)) => {
                    return self.stumbled(Happened::Lost, what, None).await.map(|()| None);
                }
            };
            let status = response.status();
            if status.is_success() {
                return Ok(Some(response));
            }
            match location(status, response.headers()) {
                Some(location) => {
                    let root = &self.client.connection().endpoints.graph;
                    url = PresignedUrl::parse(root, url.as_url(), &location)?;
                }
                None => return self.refused(response).await.map(|()| None),
            }
        }
        let what = format!("the content's address redirects more than {hops} times");
        Err(GraphError::BadAnswer { what })
    }

    /// The address did not give the content: it may have expired, or it is too much now.
    async fn refused(&mut self, response: reqwest::Response) -> Result<(), GraphError> {
        let (status, headers) = (response.status().as_u16(), response.headers().clone());
        let body =
            BodyReader::new(response, ERROR_BODY_LIMIT, LONGEST_SILENCE).beginning(&self.context).await;
        let refusal = parse_refusal(status, request_id(&headers), &body);
        match status {
            401 | 403 | 404 | 410 if self.expiries < MOST_EXPIRIES => {
                self.expiries += 1;
                self.url = None;
                Ok(())
            }
            408 | 429 | 500..=599 => {
                let retry_after = retry_after(&headers, self.client.now());
                let happened = Happened::Answered { status, retry_after };
                self.stumbled(happened, format!("status {status}"), Some(refusal)).await
            }
            _ => Err(GraphError::Refused(refusal)),
        }
    }

    async fn stumbled(
        &mut self,
        happened: Happened,
        what: String,
        refusal: Option<super::GraphRefusal>,
    ) -> Result<(), GraphError> {
        self.troubles += 1;
        self.troubled_at = self.position;
        let attempt = Attempt {
            effect: Effect::Repeatable,
            number: self.troubles,
            time_left: time_left(&self.context),
            jitter: random_jitter(),
        };
        match (decide(attempt, happened), refusal) {
            (Decision::Again { after, .. }, _) => {
                self.fresh = true;
                self.client.metrics().retried(self.client.connection().name.as_str());
                bounded(&self.context, tokio::time::sleep(after)).await?;
                Ok(())
            }
            (Decision::NotNow { after }, Some(refusal)) => Err(GraphError::NotNow { refusal, after }),
            (_, Some(refusal)) => Err(GraphError::Refused(refusal)),
            (_, None) => Err(GraphError::Unreachable { what }),
        }
    }

    /// What the head announces must fit what was told before, and the limit.
    fn check_announced(&self) -> Result<(), GraphError> {
        let Some(total) = self.head.total else { return Ok(()) };
        if total > self.wanted.limit {
            return Err(self.too_large());
        }
        match self.wanted.size {
            Some(size) if size != total => {
                let what = format!(
                    "the content has {total} bytes, but the item says {size}; it may have changed, so begin again"
                );
                Err(GraphError::BadAnswer { what })
            }
            _ => Ok(()),
        }
    }

    fn too_large(&self) -> GraphError {
        match self.head.total {
            Some(total) if total <= self.wanted.limit => GraphError::BadAnswer {
                what: format!("the content has more than the announced {total} bytes"),
            },
            _ => GraphError::TooLarge { limit: self.wanted.limit },
        }
    }

    /// The end has come: is it the whole, undamaged?
    fn check(&self) -> Result<Verified, GraphError> {
        if let Some(known) = &self.wanted.digest {
            if self.digests.agree(known) {
                return Ok(Verified::Digest(known.kind()));
            }
            let what = format!(
                "the content's {} is not the one that the item has: it was damaged or changed on the way",
                known.kind()
            );
            return Err(GraphError::BadAnswer { what });
        }
        match (self.wanted.size, self.head.total) {
            (Some(size), _) if size != self.position => {
                let what = format!("the content ended after {} of {size} bytes", self.position);
                Err(GraphError::BadAnswer { what })
            }
            (None, None) => Ok(Verified::Framing),
            _ => Ok(Verified::Length),
        }
    }
}

fn location(status: StatusCode, headers: &HeaderMap) -> Option<String> {
    let location = headers.get(http::header::LOCATION)?.to_str().ok()?;
    status.is_redirection().then(|| location.to_owned())
}

#[cfg(test)]
#[path = "download_tests.rs"]
mod tests;
