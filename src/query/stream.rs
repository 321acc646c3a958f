//! A running query: asks Graph for pages as they are wanted and appends their rows to an answer. Holds one page at a
//! time, so memory does not grow with the number of rows.

use std::collections::VecDeque;
use std::sync::Arc;

use super::encode::Encoding;
use super::error::QueryError;
pub use super::pipeline::End;
use super::pipeline::Pipeline;
use super::plan::Plan;
use crate::catalog::ColumnKind;
use crate::graph::{CallContext, GraphClient, GraphError, GraphRequest, Pages, RowBatch};

/// How many rows are looked at for the columns of a CSV whose columns nobody named.
const SAMPLE_ROWS: usize = 1000;

/// What one step of a query brought.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Progress {
    /// Rows appended by this step; may be 0 before the end.
    pub rows: u64,
    /// How the query ended, if it has.
    pub end: Option<End>,
}

/// The rows of a query.
#[derive(Debug)]
pub struct RowStream {
    pipeline: Pipeline,
    graph: Arc<GraphClient>,
    context: CallContext,
    requests: VecDeque<GraphRequest>,
    pages: Option<Pages>,
    buffered: Option<RowBatch>,
    end: Option<End>,
}

impl RowStream {
    /// Nothing is sent yet.
    pub fn new(plan: Plan, graph: Arc<GraphClient>, context: CallContext) -> Self {
        let requests = std::iter::once(plan.first.clone()).chain(plan.rest.iter().cloned()).collect();
        Self {
            pipeline: Pipeline::new(plan),
            graph,
            context,
            requests,
            pages: None,
            buffered: None,
            end: None,
        }
    }

    /// Bounds the answer to `rows`; when more rows are there, the end says so.
    pub fn cap(&mut self, rows: u64) {
        self.pipeline.cap(rows);
    }

    /// The columns with their types. Rows of a Graph path without `fields` have whatever columns the service answers:
    /// then these are the ones seen so far, all of them once the stream has ended.
    pub fn columns(&self) -> Vec<(String, ColumnKind)> {
        let plan = self.pipeline.plan();
        let kind = |place: usize, name: &str| match plan.columns.get(place) {
            Some(column) => column.kind,
            None => plan.object.kind_of_property(name),
        };
        let names = self.pipeline.names().iter().enumerate();
        names.map(|(place, name)| (name.clone(), kind(place, name))).collect()
    }

    /// Fields whose conditions the agent evaluates, because the service cannot.
    pub fn residual_fields(&self) -> &[String] {
        &self.pipeline.plan().residual_fields
    }

    /// Rows appended so far.
    pub fn rows(&self) -> u64 {
        self.pipeline.delivered()
    }

    /// Asks for the first page and keeps it, so that a refusal is known before an answer has begun.
    ///
    /// # Errors
    /// As [`RowStream::next`].
    pub async fn first(&mut self) -> Result<(), QueryError> {
        if self.buffered.is_none() && self.end.is_none() && self.pipeline.end().is_none() {
            self.buffered = self.fetch().await?;
            if self.buffered.is_none() {
                self.end = Some(End::complete());
            }
        }
        Ok(())
    }

    /// Appends the rows of the next page to `out`. The encoding is the same in every call; for CSV the header comes with
    /// the first. After an end, calls append nothing and repeat it.
    ///
    /// # Errors
    /// [`QueryError::Graph`] or [`QueryError::NotShowable`]; what `out` held before the call is still whole rows.
    pub async fn next(&mut self, out: &mut Vec<u8>, encoding: Encoding) -> Result<Progress, QueryError> {
        let before = (self.pipeline.delivered(), out.len());
        if self.end.is_none() {
            match self.step(out, encoding).await {
                Ok(end) => self.end = end,
                Err(error) => {
                    out.truncate(before.1);
                    return Err(error);
                }
            }
        }
        if self.end.is_some() {
            // Stops the prefetch of a page that nobody will read.
            self.pages = None;
            self.requests.clear();
            self.pipeline.begin(encoding, out);
        }
        Ok(Progress { rows: self.pipeline.delivered() - before.0, end: self.end.clone() })
    }

    async fn step(&mut self, out: &mut Vec<u8>, encoding: Encoding) -> Result<Option<End>, QueryError> {
        if let Some(end) = self.pipeline.end() {
            return Ok(Some(end));
        }
        let Some(batch) = self.next_batch().await? else { return Ok(Some(End::complete())) };
        if !self.pipeline.wants_sample(encoding) {
            return self.pipeline.push(batch.rows(), encoding, out);
        }
        let mut sample = vec![batch];
        while sample.iter().map(RowBatch::len).sum::<usize>() < SAMPLE_ROWS {
            match self.next_batch().await? {
                Some(batch) => sample.push(batch),
                None => break,
            }
        }
        self.pipeline.push(sample.iter().flat_map(RowBatch::rows), encoding, out)
    }

    async fn next_batch(&mut self) -> Result<Option<RowBatch>, QueryError> {
        match self.buffered.take() {
            Some(batch) => Ok(Some(batch)),
            None => self.fetch().await,
        }
    }

    async fn fetch(&mut self) -> Result<Option<RowBatch>, QueryError> {
        loop {
            let pages = match &mut self.pages {
                Some(pages) => pages,
                empty => match self.requests.pop_front() {
                    Some(request) => {
                        let mut pages = self.graph.pages(request, self.context.clone());
                        pages.set_read_ahead(!self.pipeline.plan().one_page);
                        empty.insert(pages)
                    }
                    None => return Ok(None),
                },
            };
            match pages.next().await {
                Ok(Some(batch)) => return Ok(Some(batch)),
                Ok(None) => self.pages = None,
                // A record asked for by its id that is not there is a query without rows, not a failure.
                Err(GraphError::Refused(refusal))
                    if refusal.status == 404
                        && self.pipeline.plan().absent_codes.contains(&refusal.code.as_str()) =>
                {
                    self.pages = None;
                }
                Err(error) => return Err(error.into()),
            }
        }
    }
}
