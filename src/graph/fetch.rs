//! Receives one page in a task of its own, so that the next page is on its way while this one is still being read. What
//! is received and not yet taken is bounded in bytes. Never looks into the page, and dies with its owner.

use std::sync::Arc;

use bytes::Bytes;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, oneshot};
use tokio_util::task::AbortOnDropHandle;

use super::attempt::{Call, Opened};
use super::body::{BodyFault, BodyReader};
use super::bounds::bounded;
use super::checked_url::CheckedUrl;
use super::client::GraphClient;
use super::settle::Progress;
use super::{CallContext, GraphError, GraphRequest};

/// Bytes of one page that are held ahead of whoever reads it. A usual page of 1,000 rows fits, so a page that is
/// fetched ahead is wholly here when its turn comes; of a larger one the rest flows while it is read.
const BYTES_AHEAD: usize = 2 * 1024 * 1024;
/// Pieces held ahead, for answers that come in tiny ones.
const PIECES_AHEAD: usize = 512;

/// What a page comes in.
#[derive(Debug)]
pub(super) enum Piece {
    /// The next bytes; the permit gives their room back when it is dropped.
    Bytes(Bytes, OwnedSemaphorePermit),
    /// The answer is complete.
    End,
    /// The answer is complete and has no body (204).
    NoContent,
    /// The connection broke after the answer had begun.
    Lost(String),
    /// There will be no page.
    Failed(GraphError),
}

/// What every page of one walk has in common.
#[derive(Debug)]
pub(super) struct Walk {
    pub(super) client: Arc<GraphClient>,
    /// The first request; its method and headers are repeated on every page.
    pub(super) request: GraphRequest,
    pub(super) context: CallContext,
}

/// A page on its way. Dropping it stops it.
#[derive(Debug)]
pub(super) struct PageFetch {
    pieces: mpsc::Receiver<Piece>,
    begun: Option<oneshot::Receiver<()>>,
    _task: AbortOnDropHandle<()>,
}

impl PageFetch {
    /// Sends the request for the page at `url`, in a task.
    pub(super) fn start(walk: &Arc<Walk>, url: CheckedUrl) -> Self {
        let (sender, pieces) = mpsc::channel(PIECES_AHEAD);
        let (began, begun) = oneshot::channel();
        let task = tokio::spawn(run(Arc::clone(walk), url, sender, began));
        Self { pieces, begun: Some(begun), _task: AbortOnDropHandle::new(task) }
    }

    /// Waits until the request has been handed to the connection, or has to wait for something itself. A new task waits
    /// in the queue of the thread that made it, where no other thread can take it; without this wait it would begin only
    /// when that thread has decoded all rows it has. (A plain yield does not help: an HTTP server polls a body again at
    /// once.)
    pub(super) async fn begun(&mut self) {
        if let Some(begun) = &mut self.begun {
            let _a_task_that_ended_has_begun = begun.await;
            self.begun = None;
        }
    }

    /// The next piece. After anything but bytes there is none.
    pub(super) async fn next(&mut self, context: &CallContext) -> Piece {
        let piece = match self.pieces.try_recv() {
            Ok(piece) => Some(piece),
            Err(_) => match bounded(context, self.pieces.recv()).await {
                Ok(piece) => piece,
                Err(stop) => return Piece::Failed(stop.into()),
            },
        };
        // A task that ended without a last word has panicked: the page is not complete.
        piece.unwrap_or_else(|| Piece::Lost("the task that receives the page ended early".to_owned()))
    }
}

async fn run(walk: Arc<Walk>, url: CheckedUrl, sender: mpsc::Sender<Piece>, began: oneshot::Sender<()>) {
    let mut receiving = Box::pin(receive(&walk, &url, &sender));
    let first_step = futures_util::poll!(receiving.as_mut());
    let _reader_may_not_care = began.send(());
    let received = match first_step {
        std::task::Poll::Ready(received) => received,
        std::task::Poll::Pending => receiving.await,
    };
    let last = match received {
        Ok(()) => Piece::End,
        Err(last) => last,
    };
    // Nobody is left to hear it when the reader has gone.
    let _reader_may_be_gone = sender.send(last).await;
}

async fn receive(walk: &Walk, url: &CheckedUrl, sender: &mpsc::Sender<Piece>) -> Result<(), Piece> {
    let Walk { client, request, context } = walk;
    let mut progress = Progress::default();
    let call = Call { request, url, context, slots: 1 };
    let opened = Box::pin(client.open(call, &mut progress)).await;
    let Opened { response, slot, .. } = opened.map_err(|error| Piece::Failed(progress.settle(error)))?;
    if response.status() == http::StatusCode::NO_CONTENT {
        return Err(Piece::NoContent);
    }
    let mut body = BodyReader::new(response, client.page_bytes(), client.connection().timeout);
    let mut slot = Some(slot);
    let room = Arc::new(Semaphore::new(BYTES_AHEAD));
    let mut is_first = true;
    loop {
        let bytes = match body.next(context).await {
            Ok(Some(bytes)) => {
                if std::mem::take(&mut is_first) {
                    client.note_mailbox(request, &bytes);
                }
                bytes
            }
            Ok(None) => return Ok(()),
            Err(BodyFault::Lost(what)) => return Err(Piece::Lost(what)),
            Err(BodyFault::TooLarge) => return Err(Piece::Failed(client.too_large())),
            Err(BodyFault::Stopped(stop)) => return Err(Piece::Failed(stop.into())),
        };
        let size = u32::try_from(bytes.len().min(BYTES_AHEAD)).unwrap_or(u32::MAX);
        let permit = match Arc::clone(&room).try_acquire_many_owned(size) {
            Ok(permit) => permit,
            Err(_) => {
                // The reader is slower than the network. From here on the wait is ours, not Graph's: keeping the slot would
                // let one slow reader starve the mailbox, or wait for itself when it reads a second page beside this one.
                slot = None;
                let waiting = Arc::clone(&room).acquire_many_owned(size);
                let permit = bounded(context, waiting).await.map_err(|stop| Piece::Failed(stop.into()))?;
                permit.expect("the room's semaphore is never closed")
            }
        };
        match sender.try_send(Piece::Bytes(bytes, permit)) {
            Ok(()) => {}
            Err(mpsc::error::TrySendError::Full(piece)) => {
                slot = None;
                if bounded(context, sender.send(piece))
                    .await
                    .map_err(|stop| Piece::Failed(stop.into()))?
                    .is_err()
                {
                    return Ok(());
                }
            }
            Err(mpsc::error::TrySendError::Closed(_)) => return Ok(()),
        }
        let _held_while_the_network_is_waited_for = &slot;
    }
}
