//! Contents of any size through an upload session: piece by piece with bounded memory, to a pre-signed address without
//! the token, resumed where the service says after a cut. Never buffers more than one piece, and never leaves a session
//! behind that it can take back.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::BoxFuture;
use http::header::{CONTENT_RANGE, CONTENT_TYPE, LOCATION};
use http::{HeaderMap, Method};

use super::body::{BodyReader, LONGEST_SILENCE};
use super::bounds::{bounded, time_left};
use super::client::GraphClient;
use super::digests::Digests;
use super::presigned::{Ask, NoAnswer, PresignedUrl};
use super::refusal::{parse_refusal, request_id};
use super::retry::{Attempt, Decision, Happened, decide, random_jitter, retry_after};
use super::upload_answer::{Step, of_piece, of_state, upload_url};
use super::{CallContext, GraphAnswer, GraphError, GraphRequest, Traffic};

/// Sessions that are begun for one content, when the service forgets one.
const SESSIONS: u32 = 3;
/// The answers of a session are small; a `driveItem` has a few kilobytes.
const ANSWER_LIMIT: usize = 1024 * 1024;
/// The slowest line that is taken for a working one, in bytes a second: a piece may take as long as it needs on that.
const SLOWEST_LINE: u64 = 16 * 1024;
/// Pieces that are sent for one content, as a multiple of how many it has: a service that takes a few bytes of each would
/// otherwise be sent the whole content once for each of them.
const MOST_SENT: u64 = 8;
/// Pieces that are sent beside that, for contents of few pieces.
const FEW_PIECES: u64 = 32;
/// Longest wait for the service to take a session back.
const TAKE_BACK: Duration = Duration::from_secs(5);

/// Where the bytes of an upload come from.
pub trait UploadContent: Send {
    /// How many there are.
    fn length(&self) -> u64;

    /// Whether bytes can be had a second time.
    fn can_rewind(&self) -> bool;

    /// The `length` bytes from `from` on. Asked for in order, but for a content that can be rewound.
    ///
    /// # Errors
    /// Says what is wrong with the content, as the end of a sentence.
    fn read(&mut self, from: u64, length: usize) -> BoxFuture<'_, Result<Bytes, String>>;
}

/// What is uploaded where.
#[derive(Debug)]
pub struct UploadRequest {
    /// The POST that makes the session.
    pub session: GraphRequest,
    /// The size of a piece, in bytes.
    pub piece: usize,
}

/// An upload that is done.
#[derive(Debug)]
pub struct Uploaded {
    /// The last answer: the item, or only its `location`. `None`: the last piece was sent, its answer was lost, and the
    /// session has ended since; look whether the item is there.
    pub answer: Option<GraphAnswer>,
    /// The digests of what was sent.
    pub digests: Digests,
    /// How often it went on after a cut.
    pub resumed: u32,
}

/// How one session ended.
enum Ended {
    Done(Box<Uploaded>),
    /// The service does not know the session any more.
    Gone,
}

impl GraphClient {
    /// Uploads `content` through a session.
    ///
    /// # Errors
    /// [`GraphError`].
    pub async fn upload(
        self: &Arc<Self>,
        request: UploadRequest,
        content: &mut dyn UploadContent,
        context: &CallContext,
    ) -> Result<Uploaded, GraphError> {
        for _ in 0..SESSIONS {
            let made = self.send(request.session.clone(), context).await?;
            let url = upload_url(&self.connection().endpoints.graph, &made.body)?;
            let session = Session { client: Arc::clone(self), url, open: true };
            let mut sending = Sending {
                session: &session,
                context,
                piece: request.piece.max(1),
                digests: Digests::default(),
                digested: 0,
                resumed: 0,
                fresh: false,
                troubles: 0,
                furthest: 0,
            };
            // Boxed like every call: see `exchange`.
            match Box::pin(sending.run(content)).await {
                Ok(Ended::Done(uploaded)) => {
                    session.close();
                    return Ok(*uploaded);
                }
                Ok(Ended::Gone) => {
                    session.close();
                    if !content.can_rewind() {
                        let what = "the service has dropped the upload session, and the content cannot be read a second time; send it again";
                        return Err(GraphError::Unreachable { what: what.to_owned() });
                    }
                    tracing::info!(connection = %self.connection().name, request_id = %context.request_id,
                        "The service has dropped an upload session; the upload begins again.");
                }
                Err(error) => {
                    session.take_back().await;
                    return Err(error);
                }
            }
        }
        let what = format!("the service has dropped {SESSIONS} upload sessions one after the other");
        Err(GraphError::Unreachable { what })
    }
}

/// A session at the service. Dropped while it is open, it is taken back: half a file would be kept for days.
#[derive(Debug)]
struct Session {
    client: Arc<GraphClient>,
    url: PresignedUrl,
    open: bool,
}

impl Session {
    /// There is nothing to take back.
    fn close(mut self) {
        self.open = false;
    }

    async fn take_back(mut self) {
        self.open = false;
        take_back(Arc::clone(&self.client), self.url.clone()).await;
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        if self.open
            && let Ok(runtime) = tokio::runtime::Handle::try_current()
        {
            // The caller has gone, so nobody is left to wait; the task is bounded by `TAKE_BACK`.
            runtime.spawn(take_back(Arc::clone(&self.client), self.url.clone()));
        }
    }
}

async fn take_back(client: Arc<GraphClient>, url: PresignedUrl) {
    let context = CallContext {
        request_id: crate::secret::random_hex(16),
        cancel: tokio_util::sync::CancellationToken::new(),
        deadline: tokio::time::Instant::now() + TAKE_BACK,
        traffic: Traffic::new(),
    };
    let ask = Ask {
        method: Method::DELETE,
        url: &url,
        headers: Vec::new(),
        body: None,
        time: TAKE_BACK,
        fresh: true,
    };
    if let Err(reason) = client.ask_presigned(ask, &context).await {
        tracing::debug!(connection = %client.connection().name, ?reason,
            "An upload session could not be taken back; the service drops it when its time is over.");
    }
}

/// One session's way through the content.
struct Sending<'a> {
    session: &'a Session,
    context: &'a CallContext,
    piece: usize,
    digests: Digests,
    /// How many bytes from the beginning the digests cover.
    digested: u64,
    resumed: u32,
    /// Whether the next request makes a connection of its own.
    fresh: bool,
    /// Troubles since the service last took something.
    troubles: u32,
    /// How many bytes from the beginning the service has said to have, at most.
    furthest: u64,
}

/// An answer of the upload address, read whole.
struct Answered {
    status: u16,
    headers: HeaderMap,
    body: Bytes,
}

impl Sending<'_> {
    async fn run(&mut self, content: &mut dyn UploadContent) -> Result<Ended, GraphError> {
        let total = content.length();
        let (mut at, mut held_from, mut held) = (0u64, 0u64, Bytes::new());
        if total == 0 {
            let what = "an upload session takes at least one byte".to_owned();
            return Err(GraphError::BadRequest { what });
        }
        // Set when the last piece may have been taken although no answer said so.
        let mut maybe_done = false;
        let pieces = total.div_ceil(self.piece as u64);
        let (mut sent, most) = (0, pieces.saturating_mul(MOST_SENT).saturating_add(FEW_PIECES));
        loop {
            if sent >= most {
                let what = format!(
                    "the service takes too little of each piece: {sent} were sent, and {at} of {total} bytes are there"
                );
                return Err(GraphError::Unreachable { what });
            }
            sent += 1;
            let inside = (held_from..held_from + held.len() as u64).contains(&at);
            if !inside {
                if at < held_from + held.len() as u64 && !content.can_rewind() {
                    return Ok(Ended::Gone);
                }
                drop(std::mem::take(&mut held));
                held = self.read(content, at, total).await?;
                held_from = at;
            }
            let rest = held.slice(usize::try_from(at - held_from).unwrap_or(held.len())..);
            let end = at + rest.len() as u64;
            let step = match self.put(at, total, rest).await? {
                Ok(answered) => match of_piece(answered.status, &answered.headers, &answered.body) {
                    Step::Done if end == total => {
                        return Ok(Ended::Done(Box::new(self.done(Some(answered)))));
                    }
                    Step::Done => Step::AskState,
                    Step::Later => {
                        maybe_done |= end == total && answered.status != 429;
                        self.wait(told(&answered, self.session), &answered).await?;
                        Step::AskState
                    }
                    step => step,
                },
                Err(()) => {
                    maybe_done |= end == total;
                    Step::AskState
                }
            };
            let step = match step {
                Step::AskState => {
                    self.resumed += 1;
                    self.state().await?
                }
                step => step,
            };
            match step {
                Step::GoOn(next) if next <= total => {
                    // Going back and forth is no progress.
                    if next > self.furthest {
                        self.furthest = next;
                        (self.troubles, self.fresh) = (0, false);
                    } else {
                        self.stumbled(Happened::Lost, "the service took nothing of a piece").await?;
                    }
                    at = next;
                    if at == total {
                        // Everything is there and the answer that says so was lost.
                        return Ok(Ended::Done(Box::new(self.done(None))));
                    }
                    maybe_done = false;
                }
                Step::Gone if maybe_done => return Ok(Ended::Done(Box::new(self.done(None)))),
                Step::Gone => return Ok(Ended::Gone),
                Step::Refused(error) => return Err(error),
                _ => {
                    let what = "the upload session wants bytes beyond the end of the content".to_owned();
                    return Err(GraphError::BadAnswer { what });
                }
            }
        }
    }

    async fn read(
        &mut self,
        content: &mut dyn UploadContent,
        at: u64,
        total: u64,
    ) -> Result<Bytes, GraphError> {
        let length = usize::try_from(total - at).unwrap_or(usize::MAX).min(self.piece);
        let read = bounded(self.context, content.read(at, length)).await?;
        let bytes = read.map_err(|what| GraphError::BadRequest { what })?;
        if bytes.len() != length {
            let what = format!("the content ends after {} of {total} bytes", at + bytes.len() as u64);
            return Err(GraphError::BadRequest { what });
        }
        if at <= self.digested {
            let known = usize::try_from(self.digested - at).unwrap_or(usize::MAX).min(bytes.len());
            self.digests.update(&bytes[known..]);
            self.digested = self.digested.max(at + bytes.len() as u64);
        }
        Ok(bytes)
    }

    /// Sends one piece; `Err(())` when its outcome is unknown and the session must be asked.
    async fn put(&mut self, at: u64, total: u64, piece: Bytes) -> Result<Result<Answered, ()>, GraphError> {
        let length = piece.len() as u64;
        let range = format!("bytes {at}-{}/{total}", at + length - 1);
        let time = self.session.client.connection().timeout + Duration::from_secs(length / SLOWEST_LINE);
        let ask = Ask {
            method: Method::PUT,
            url: &self.session.url,
            headers: vec![(CONTENT_RANGE, range), (CONTENT_TYPE, "application/octet-stream".to_owned())],
            body: Some(piece),
            time,
            fresh: self.fresh,
        };
        match self.ask(ask).await? {
            Ok(answered) => Ok(Ok(answered)),
            Err((happened, what)) => {
                self.stumbled(happened, &what).await?;
                Ok(Err(()))
            }
        }
    }

    /// Asks where to go on, until there is an answer.
    async fn state(&mut self) -> Result<Step, GraphError> {
        loop {
            let time = self.session.client.connection().timeout;
            let ask = Ask {
                method: Method::GET,
                url: &self.session.url,
                headers: Vec::new(),
                body: None,
                time,
                fresh: self.fresh,
            };
            match self.ask(ask).await? {
                Ok(answered) => match of_state(answered.status, &answered.headers, &answered.body) {
                    Step::Later => self.wait(told(&answered, self.session), &answered).await?,
                    step => return Ok(step),
                },
                Err((happened, what)) => self.stumbled(happened, &what).await?,
            }
        }
    }

    async fn ask(&self, ask: Ask<'_>) -> Result<Result<Answered, (Happened, String)>, GraphError> {
        let response = match self.session.client.ask_presigned(ask, self.context).await {
            Ok(response) => response,
            Err(NoAnswer::Stopped(stop)) => return Err(stop.into()),
            Err(NoAnswer::NotSent(what)) => return Ok(Err((Happened::NotSent, what))),
            Err(NoAnswer::Lost(what)) => return Ok(Err((Happened::Lost, what))),
        };
        let (status, headers) = (response.status().as_u16(), response.headers().clone());
        // An answer that breaks off says nothing that asking for the state would not say.
        let body = BodyReader::new(response, ANSWER_LIMIT, LONGEST_SILENCE).beginning(self.context).await;
        Ok(Ok(Answered { status, headers, body }))
    }

    /// The service said "later".
    async fn wait(&mut self, happened: Happened, answered: &Answered) -> Result<(), GraphError> {
        let refusal = parse_refusal(answered.status, request_id(&answered.headers), &answered.body);
        match self.decide(happened) {
            Decision::Again { after, new_connection } => self.pause(after, new_connection).await,
            Decision::NotNow { after } => Err(GraphError::NotNow { refusal, after }),
            Decision::GiveUp => Err(GraphError::Refused(refusal)),
        }
    }

    /// There was no answer, or one that did not help.
    async fn stumbled(&mut self, happened: Happened, what: &str) -> Result<(), GraphError> {
        match self.decide(happened) {
            Decision::Again { after, .. } => self.pause(after, true).await,
            _ => Err(GraphError::Unreachable { what: format!("an upload broke off: {what}") }),
        }
    }

    fn decide(&mut self, happened: Happened) -> Decision {
        self.troubles += 1;
        let attempt = Attempt {
            effect: super::Effect::Repeatable,
            number: self.troubles,
            time_left: time_left(self.context),
            jitter: random_jitter(),
        };
        decide(attempt, happened)
    }

    async fn pause(&mut self, after: Duration, fresh: bool) -> Result<(), GraphError> {
        self.fresh = fresh;
        self.session.client.metrics().retried(self.session.client.connection().name.as_str());
        bounded(self.context, tokio::time::sleep(after)).await?;
        Ok(())
    }

    fn done(&mut self, answered: Option<Answered>) -> Uploaded {
        let answer = answered.map(|answered| GraphAnswer {
            status: answered.status,
            location: answered.headers.get(LOCATION).and_then(|value| value.to_str().ok()).map(str::to_owned),
            request_id: request_id(&answered.headers),
            body: answered.body,
        });
        Uploaded { answer, digests: std::mem::take(&mut self.digests), resumed: self.resumed }
    }
}

/// What the service told by answering "later".
fn told(answered: &Answered, session: &Session) -> Happened {
    let retry_after = retry_after(&answered.headers, session.client.now());
    Happened::Answered { status: answered.status, retry_after }
}

#[cfg(test)]
#[path = "upload_tests.rs"]
mod tests;
