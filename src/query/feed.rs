//! Reads the scans of a plan, several at once where there are several, and hands their rows on with their place. A scan
//! whose rows were begun and that then fails fails the whole query; one that is refused before its first row may be left
//! out, and the end then says so. Never looks into a row beyond what names the next scan.

use std::collections::VecDeque;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use futures_util::stream::{FuturesUnordered, StreamExt};

use super::decode::Decoder;
use super::error::QueryError;
use super::one_mailbox::{one_mailbox_each, owners_in_doubt};
use super::plan::{Refused, Scan, Then};
use super::residual::text;
use super::scan::{Folders, Maker};
use super::skipped::Skipped;
use crate::catalog::Recursion;
use crate::graph::{CallContext, GraphClient, GraphError, Pages, RowBatch};

/// Scans that are read at once. Each holds at most a page; more would not be faster, because a tenant is bounded too.
const AT_ONCE: usize = 16;
/// Found places that wait before the listing that finds them is read on.
const ENOUGH_WAITING: usize = 1000;
/// Folders that may wait. The deepest are read first, so that not even a drive of millions has so many at a time, unless
/// they lie side by side.
const MOST_WAITING: usize = 200_000;

/// The rows of all scans.
#[derive(Debug)]
pub(super) struct Feed {
    graph: Arc<GraphClient>,
    context: CallContext,
    in_order: bool,
    read_ahead: bool,
    waiting: VecDeque<Next>,
    /// Listings that pause because enough places wait.
    paused: Vec<Active>,
    /// In order: the scans that were begun, the first of them being read.
    begun: VecDeque<Box<Active>>,
    /// Not in order: the scans that are being read.
    running: FuturesUnordered<Step>,
    skipped: Skipped,
    /// The users whose names may mean one mailbox, until that is known.
    owners: Option<Vec<Arc<str>>>,
}

/// A scan that has not begun.
#[derive(Debug)]
enum Next {
    Scan(Box<Scan>),
    User(Arc<Maker>, Box<str>),
    Folder(Arc<Folders>, Box<str>),
}

/// A scan that is being read.
#[derive(Debug)]
struct Active {
    scan: Scan,
    pages: Pages,
    rows: u64,
}

/// Some rows of one scan.
#[derive(Debug)]
pub(super) struct Fed {
    pub(super) rows: RowBatch,
    pub(super) places: Arc<[Vec<u8>]>,
}

type Answer = (Box<Active>, Result<Option<RowBatch>, GraphError>);

/// The next page of a scan, on its way.
struct Step(Pin<Box<dyn Future<Output = Answer> + Send>>);

impl std::fmt::Debug for Step {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("Step")
    }
}

impl Future for Step {
    type Output = Answer;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Answer> {
        self.0.as_mut().poll(context)
    }
}

impl Feed {
    pub(super) fn new(
        scans: Vec<Scan>,
        in_order: bool,
        one_page: bool,
        graph: Arc<GraphClient>,
        context: CallContext,
    ) -> Self {
        // Several scans hide each other's latency; a page ahead of each would only cost memory.
        let read_ahead = !one_page && scans.len() == 1 && matches!(scans[0].then, Then::Deliver);
        Self {
            owners: owners_in_doubt(&scans),
            graph,
            context,
            in_order,
            read_ahead,
            waiting: scans.into_iter().map(|scan| Next::Scan(Box::new(scan))).collect(),
            paused: Vec::new(),
            begun: VecDeque::new(),
            running: FuturesUnordered::new(),
            skipped: Skipped::default(),
        }
    }

    /// Stops whatever is still on its way.
    pub(super) fn stop(&mut self) {
        self.waiting.clear();
        self.paused.clear();
        self.begun.clear();
        self.running = FuturesUnordered::new();
    }

    /// What was left out.
    pub(super) fn skipped(&self) -> &Skipped {
        &self.skipped
    }

    /// The next rows, `None` after the last.
    ///
    /// # Errors
    /// [`QueryError::Graph`]: the rows so far are not all rows.
    pub(super) async fn next(&mut self) -> Result<Option<Fed>, QueryError> {
        if let Some(owners) = &self.owners {
            let same = one_mailbox_each(owners, &self.graph, &self.context).await?;
            self.owners = None;
            self.waiting.retain(|next| match next {
                Next::Scan(scan) => scan.owner.as_ref().is_none_or(|owner| !same.contains(owner)),
                _ => true,
            });
        }
        loop {
            self.fill();
            let answer = match self.in_order {
                true => match self.begun.pop_front() {
                    Some(mut active) => {
                        let answer = active.pages.next().await;
                        Some((active, answer))
                    }
                    None => None,
                },
                false => self.running.next().await,
            };
            let Some((active, answer)) = answer else {
                return match self.skipped.all_refused() {
                    Some(error) => Err(error.into()),
                    None => Ok(None),
                };
            };
            match answer {
                Ok(rows) => {
                    self.skipped.answered(&active.scan);
                    let Some(rows) = rows else { continue };
                    match &active.scan.then {
                        Then::EachUser(maker) => {
                            for id in ids(&rows)? {
                                self.waiting.push_back(Next::User(Arc::clone(maker), id.into_boxed_str()));
                            }
                            self.go_on(active);
                        }
                        Then::Deliver => return Ok(Some(self.deliver(active, rows))),
                        Then::DeliverAndDescend(folders) => {
                            let folders = Arc::clone(folders);
                            self.descend(&folders, &rows)?;
                            return Ok(Some(self.deliver(active, rows)));
                        }
                    }
                }
                Err(error) => self.refused(&active, error)?,
            }
        }
    }

    /// Begins scans until as many are on their way as may be.
    fn fill(&mut self) {
        if self.waiting.len() < ENOUGH_WAITING {
            for listing in std::mem::take(&mut self.paused) {
                self.run(Box::new(listing));
            }
        }
        while self.begun.len() + self.running.len() < AT_ONCE {
            let scan = match self.waiting.pop_front() {
                None => return,
                Some(Next::Scan(scan)) => *scan,
                // A plan is made only if these work for any id.
                Some(Next::User(maker, id)) => match maker.user(&id) {
                    Ok(scan) => scan,
                    Err(_) => continue,
                },
                Some(Next::Folder(folders, id)) => match folders.inside(&id) {
                    Ok(scan) => scan,
                    Err(_) => continue,
                },
            };
            let mut pages = self.graph.pages(scan.request.clone(), self.context.clone());
            pages.set_read_ahead(self.read_ahead);
            // What cannot be begun says so when it is read.
            pages.begin();
            self.run(Box::new(Active { scan, pages, rows: 0 }));
        }
    }

    fn run(&mut self, mut active: Box<Active>) {
        match self.in_order {
            true => self.begun.push_back(active),
            false => self.running.push(Step(Box::pin(async move {
                let answer = active.pages.next().await;
                (active, answer)
            }))),
        }
    }

    /// Reads a scan on whose turn it is still.
    fn go_on(&mut self, active: Box<Active>) {
        match (self.in_order, &active.scan.then) {
            (true, _) => self.begun.push_front(active),
            (false, Then::EachUser(_)) if self.waiting.len() >= ENOUGH_WAITING => self.paused.push(*active),
            (false, _) => self.run(active),
        }
    }

    /// Takes note of the rows that hold further rows.
    fn descend(&mut self, folders: &Arc<Folders>, rows: &RowBatch) -> Result<(), QueryError> {
        for id in holders(rows, folders.recursion())? {
            if folders.is_last_level() {
                self.skipped.too_deep(&id);
            } else {
                self.waiting.push_front(Next::Folder(Arc::clone(folders), id.into_boxed_str()));
            }
        }
        if self.waiting.len() > MOST_WAITING {
            let message = format!(
                "More than {MOST_WAITING} folders wait to be read. Ask for one folder (a condition on '{}') at a time.",
                folders.recursion().column
            );
            return Err(QueryError::TooLarge { message });
        }
        Ok(())
    }

    fn deliver(&mut self, mut active: Box<Active>, rows: RowBatch) -> Fed {
        active.rows += rows.len() as u64;
        let fed = Fed { rows, places: Arc::clone(&active.scan.places) };
        if active.scan.rows.is_none_or(|most| active.rows < most) {
            self.go_on(active);
        }
        fed
    }

    /// A scan was refused: no row, left out, or the end of the query.
    fn refused(&mut self, active: &Active, error: GraphError) -> Result<(), QueryError> {
        let GraphError::Refused(refusal) = &error else { return Err(error.into()) };
        match &active.scan.refused {
            Refused::Fails(absent) if refusal.status == 404 && absent.contains(&refusal.code.as_str()) => {
                self.skipped.answered(&active.scan);
                Ok(())
            }
            Refused::LeavesOut { place, named }
                if active.rows == 0 && matches!(refusal.status, 403 | 404) =>
            {
                self.skipped.leave_out(place, *named, error);
                Ok(())
            }
            _ => Err(error.into()),
        }
    }
}

/// The ids of the rows of a listing.
fn ids(rows: &RowBatch) -> Result<Vec<String>, QueryError> {
    let decoder = Decoder::new(&[vec!["id".to_owned()]]);
    let mut found = Vec::with_capacity(rows.len());
    for row in rows.rows() {
        let mut cells = [None];
        decoder.decode(row, &mut cells).map_err(|error| bad_row(&error))?;
        found.extend(cells[0].filter(|cell| *cell != b"null").map(|cell| text(cell).into_owned()));
    }
    Ok(found)
}

/// The ids of the rows that hold further rows.
fn holders(rows: &RowBatch, recursion: Recursion) -> Result<Vec<String>, QueryError> {
    let path = |parts: &[&str]| parts.iter().map(|part| (*part).to_owned()).collect::<Vec<String>>();
    let count = path(recursion.holds);
    let facet = count.first().cloned().into_iter().collect::<Vec<String>>();
    let mut paths = vec![path(&["id"]), facet];
    if recursion.holds.len() > 1 {
        paths.push(count);
    }
    let decoder = Decoder::new(&paths);
    let mut found = Vec::new();
    for row in rows.rows() {
        let mut cells = vec![None; paths.len()];
        decoder.decode(row, &mut cells).map_err(|error| bad_row(&error))?;
        let there = |cell: &Option<&[u8]>| cell.is_some_and(|cell| cell != b"null");
        let empty = cells[1..].iter().any(|cell| *cell == Some(b"0".as_slice()));
        if let (Some(id), true, false) = (cells[0], there(&cells[1]), empty) {
            found.push(text(id).into_owned());
        }
    }
    Ok(found)
}

fn bad_row(error: &serde_json::Error) -> QueryError {
    QueryError::Graph(GraphError::BadAnswer { what: format!("a row is not valid JSON ({error})") })
}
