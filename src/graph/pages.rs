//! Walks the pages of a collection and hands out rows as they arrive, with the next page already on its way. Never
//! looks complete when it is not: after an error every further call gives that error again.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::Instant;

use super::attempt::Call;
use super::bounds::bounded;
use super::checked_url::CheckedUrl;
use super::client::GraphClient;
use super::fetch::{PageFetch, Piece, Walk};
use super::follow::ScanFault;
use super::links::LinkGuard;
use super::retry::Happened;
use super::rows::RowsDigest;
use super::scan::PageScanner;
use super::settle::Progress;
use super::{CallContext, GraphError, GraphRequest, RowBatch};

/// Bytes that are scanned at a time until the link to the next page is known.
const SLICE_BEFORE_LINK: usize = 16 * 1024;
/// Pages without a row that may follow one another at full speed. Services that filter late answer some.
const EMPTY_AT_ONCE: u32 = 20;
/// Pages without a row that may follow one another at all.
const MOST_EMPTY: u32 = 1_000;
/// The pause before each page beyond [`EMPTY_AT_ONCE`].
const EMPTY_PAUSE: Duration = Duration::from_millis(200);

/// The pages of one collection, read one after the other with at most one page ahead. Dropping it stops everything.
#[derive(Debug)]
pub struct Pages {
    walk: Arc<Walk>,
    guard: LinkGuard,
    count: Option<u64>,
    read_ahead: bool,
    /// Pages in a row that had no row.
    empty: u32,
    /// When the next page is looked at, which is when the one after it is asked for.
    pause: Option<Instant>,
    state: State,
}

#[derive(Debug)]
enum State {
    Start,
    Reading(Box<Reading>),
    End,
    Failed(GraphError),
}

/// The page that is being read.
#[derive(Debug)]
struct Reading {
    url: CheckedUrl,
    fetch: PageFetch,
    scanner: PageScanner,
    /// Received and not scanned yet, with the room it takes.
    unscanned: Option<(Bytes, OwnedSemaphorePermit)>,
    /// Scanned and not handed out yet: a caller that stops waiting must not lose rows.
    ready: Option<RowBatch>,
    /// The next page is to be asked for before anything else is done.
    ask_first: bool,
    /// The rows of this page that were handed out.
    delivered: RowsDigest,
    /// Set while a page that broke off is read again: those rows must come first, and are not handed out twice.
    replay: Option<RowsDigest>,
    repeats: Progress,
    ahead: Option<Ahead>,
}

/// The page after it: known, and on its way unless reading ahead is off.
#[derive(Debug)]
struct Ahead {
    url: CheckedUrl,
    fetch: Option<PageFetch>,
}

impl GraphClient {
    /// The rows of a collection, page after page; `first` asks for the first page. Its headers are repeated on every
    /// page. Nothing is sent before [`Pages::begin`] or the first [`Pages::next`]. Must be used inside a tokio runtime.
    pub fn pages(self: &Arc<Self>, first: GraphRequest, context: CallContext) -> Pages {
        let walk = Walk { client: Arc::clone(self), request: first, context };
        Pages {
            walk: Arc::new(walk),
            guard: LinkGuard::default(),
            count: None,
            read_ahead: true,
            empty: 0,
            pause: None,
            state: State::Start,
        }
    }
}

impl Pages {
    /// Asks for the first page now instead of at the first [`Pages::next`], which also says what is wrong with it.
    pub fn begin(&mut self) {
        if matches!(self.state, State::Start)
            && let Err(error) = self.start()
        {
            self.state = State::Failed(error);
        }
    }

    /// The next rows, `None` after the last. A batch is never empty; an answer that is no collection is one row.
    /// May be dropped while it waits without losing a row.
    ///
    /// # Errors
    /// [`GraphError`]: the rows so far are not all rows. Each further call gives the same error.
    pub async fn next(&mut self) -> Result<Option<RowBatch>, GraphError> {
        let result = self.advance().await;
        match &result {
            Ok(Some(_)) => {}
            Ok(None) => self.state = State::End,
            Err(error) => self.state = State::Failed(error.clone()),
        }
        result
    }

    /// `@odata.count`, once a page has given it: asked for with `$count=true`, how many rows there are in all.
    pub fn count(&self) -> Option<u64> {
        self.count
    }

    /// Whether the next page is asked for before this one is read (on at first). Worth turning off when the rows still
    /// wanted fit into one page: Graph gives a next link all the same.
    pub fn set_read_ahead(&mut self, on: bool) {
        self.read_ahead = on;
    }

    async fn advance(&mut self) -> Result<Option<RowBatch>, GraphError> {
        loop {
            if let Some(until) = self.pause {
                bounded(&self.walk.context, tokio::time::sleep_until(until)).await?;
                self.pause = None;
            }
            let reading = match &mut self.state {
                State::Reading(reading) => reading,
                State::Start => {
                    self.start()?;
                    continue;
                }
                State::End => return Ok(None),
                State::Failed(error) => return Err(error.clone()),
            };
            if self.walk.context.cancel.is_cancelled() {
                return Err(GraphError::Cancelled);
            }
            if std::mem::take(&mut reading.ask_first)
                && let Some(fetch) = reading.ahead.as_mut().and_then(|ahead| ahead.fetch.as_mut())
            {
                // A page's latency is worth more than the rows of this one, which are decoded without a pause.
                fetch.begun().await;
            }
            if let Some(batch) = reading.ready.take() {
                return Ok(Some(batch));
            }
            if let Some(bytes) = reading.next_slice() {
                let batch = reading.scanner.feed(bytes).map_err(bad_page)?;
                self.count = self.count.or(reading.scanner.count());
                let asked = reading.follow_link(&self.walk, &mut self.guard, self.read_ahead)?;
                let batch = reading.hand_out(batch)?;
                reading.ready = (!batch.is_empty()).then_some(batch);
                reading.ask_first = asked;
                continue;
            }
            match reading.fetch.next(&self.walk.context).await {
                Piece::Bytes(bytes, room) => reading.unscanned = Some((bytes, room)),
                Piece::End => match reading.scanner.finish() {
                    Ok(rest) => {
                        let rest = reading.hand_out(rest)?;
                        self.turn_page()?;
                        if !rest.is_empty() {
                            return Ok(Some(rest));
                        }
                    }
                    // An answer that ends early without a transport error was cut by something in between.
                    Err(ScanFault::Truncated) => {
                        reading.repeat(&self.walk, "the answer ended in the middle".to_owned()).await?;
                    }
                    Err(fault) => return Err(bad_page(fault)),
                },
                Piece::NoContent => self.turn_page()?,
                Piece::Lost(what) => reading.repeat(&self.walk, what).await?,
                Piece::Failed(error) => return Err(error),
            }
        }
    }

    fn start(&mut self) -> Result<(), GraphError> {
        let root = &self.walk.client.connection().endpoints.graph;
        let url = CheckedUrl::below_root(root, &self.walk.request.path)?;
        note_link(&mut self.guard, &url)?;
        let fetch = PageFetch::start(&self.walk, url.clone());
        self.state = State::Reading(Box::new(Reading::new(url, fetch)));
        Ok(())
    }

    /// The page is complete: on to the next one, if there is one.
    fn turn_page(&mut self) -> Result<(), GraphError> {
        let State::Reading(reading) = &mut self.state else { return Ok(()) };
        if reading.replay.is_some() {
            return Err(changed_meanwhile());
        }
        self.empty = if reading.delivered.rows > 0 { 0 } else { self.empty + 1 };
        if self.empty >= MOST_EMPTY && reading.ahead.is_some() {
            let what = format!(
                "{MOST_EMPTY} pages in a row have no row and lead on to another; narrow the conditions, or try again later"
            );
            return Err(GraphError::BadAnswer { what });
        }
        self.pause = (self.empty >= EMPTY_AT_ONCE).then(|| Instant::now() + EMPTY_PAUSE);
        self.state = match reading.ahead.take() {
            None => State::End,
            Some(Ahead { url, fetch }) => {
                let fetch = fetch.unwrap_or_else(|| PageFetch::start(&self.walk, url.clone()));
                State::Reading(Box::new(Reading::new(url, fetch)))
            }
        };
        Ok(())
    }
}

impl Reading {
    fn new(url: CheckedUrl, fetch: PageFetch) -> Self {
        Self {
            url,
            fetch,
            scanner: PageScanner::new(),
            unscanned: None,
            ready: None,
            ask_first: false,
            delivered: RowsDigest::default(),
            replay: None,
            repeats: Progress::default(),
            ahead: None,
        }
    }

    /// What is to be scanned next. Until the link to the next page is known in small slices, because it usually stands at
    /// the front: the request goes out before the rest of a large piece is looked at.
    fn next_slice(&mut self) -> Option<Bytes> {
        let (bytes, _room) = self.unscanned.as_mut()?;
        if self.ahead.is_some() || bytes.len() <= SLICE_BEFORE_LINK {
            return self.unscanned.take().map(|(bytes, _room)| bytes);
        }
        Some(bytes.split_to(SLICE_BEFORE_LINK))
    }

    /// Asks for the next page as soon as the link to it is known. Whether it was asked for now.
    fn follow_link(
        &mut self,
        walk: &Arc<Walk>,
        guard: &mut LinkGuard,
        read_ahead: bool,
    ) -> Result<bool, GraphError> {
        let Some(link) = self.scanner.take_new_link() else { return Ok(false) };
        let url = CheckedUrl::next_link(&walk.client.connection().endpoints.graph, &link)?;
        // A page that is read again usually gives the same link; then the page ahead is on its way already.
        if self.ahead.as_ref().is_some_and(|ahead| ahead.url == url) {
            return Ok(false);
        }
        note_link(guard, &url)?;
        let fetch = read_ahead.then(|| PageFetch::start(walk, url.clone()));
        let asked = fetch.is_some();
        self.ahead = Some(Ahead { url, fetch });
        Ok(asked)
    }

    /// Takes away what was handed out before the page broke off, if it is the same; notes what is handed out now.
    fn hand_out(&mut self, mut batch: RowBatch) -> Result<RowBatch, GraphError> {
        if let Some(seen) = &mut self.replay {
            let again = (self.delivered.rows - seen.rows).min(batch.len());
            batch.rows().take(again).for_each(|row| seen.add(row));
            batch.drop_front(again);
            if seen.rows == self.delivered.rows {
                if *seen != self.delivered {
                    return Err(changed_meanwhile());
                }
                self.replay = None;
            }
        }
        batch.rows().for_each(|row| self.delivered.add(row));
        Ok(batch)
    }

    /// The page broke off: asks for it again, after a pause and not for ever. Rows that were handed out must not be handed
    /// out twice, and the order of the repeated page is not promised: so they are skipped only if they are the same.
    async fn repeat(&mut self, walk: &Arc<Walk>, what: String) -> Result<(), GraphError> {
        self.repeats.attempts += 1;
        let call = Call { request: &walk.request, url: &self.url, context: &walk.context, slots: 1 };
        walk.client.wait_to_repeat(call, &mut self.repeats, Happened::Lost, what).await?;
        self.fetch = PageFetch::start(walk, self.url.clone());
        self.scanner = PageScanner::new();
        self.unscanned = None;
        self.replay = (self.delivered.rows > 0).then(RowsDigest::default);
        Ok(())
    }
}

fn note_link(guard: &mut LinkGuard, url: &CheckedUrl) -> Result<(), GraphError> {
    guard.note(url.as_url().as_str()).map_err(|pages| GraphError::BadAnswer {
        what: format!(
            "its links to the next page run in a loop: page {pages} leads back to a page that was read before"
        ),
    })
}

fn bad_page(fault: ScanFault) -> GraphError {
    let what = match fault {
        ScanFault::Truncated => "it ends in the middle".to_owned(),
        ScanFault::Invalid(what) => format!("it is not a page of rows: {what}"),
    };
    GraphError::BadAnswer { what }
}

fn changed_meanwhile() -> GraphError {
    let what =
        "the connection broke in the middle of a page, and the page had changed when it was read again";
    GraphError::Unreachable { what: what.to_owned() }
}

#[cfg(test)]
#[path = "pages_tests.rs"]
mod tests;
