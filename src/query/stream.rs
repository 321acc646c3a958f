//! A running query: asks Graph for pages as they are wanted and appends their rows to an answer. Holds a page at a time
//! of each collection it reads, so memory does not grow with the number of rows.

use std::sync::Arc;

use super::encode::Encoding;
use super::error::QueryError;
use super::feed::{Fed, Feed};
pub use super::pipeline::End;
use super::pipeline::Pipeline;
use super::plan::{Evaluated, Plan};
use crate::catalog::ColumnKind;
use crate::graph::{CallContext, GraphClient, RowBatch};

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
    feed: Feed,
    buffered: Option<Fed>,
    end: Option<End>,
}

impl RowStream {
    /// Nothing is sent yet.
    pub fn new(mut plan: Plan, graph: Arc<GraphClient>, context: CallContext) -> Self {
        let scans = std::mem::take(&mut plan.scans);
        let feed = Feed::new(scans, plan.in_order, plan.one_page, graph, context);
        Self { pipeline: Pipeline::new(plan), feed, buffered: None, end: None }
    }

    /// Bounds the answer to `rows`; when more rows are there, the end says so.
    pub fn cap(&mut self, rows: u64) {
        self.pipeline.cap(rows);
    }

    /// The columns with their types. Rows of a Graph path without `fields` have whatever columns the service answers:
    /// then these are the ones seen so far, all of them once the stream has ended.
    pub fn columns(&self) -> Vec<(String, ColumnKind)> {
        self.pipeline.columns()
    }

    /// Who evaluates the conditions and the order.
    pub fn evaluated(&self) -> &Evaluated {
        &self.pipeline.plan().evaluated
    }

    /// What a reader of the answer must know and is known before the rows; [`End::notes`] has the rest.
    pub fn notes(&self) -> &[String] {
        &self.pipeline.plan().notes
    }

    /// Rows appended so far.
    pub fn rows(&self) -> u64 {
        self.pipeline.delivered()
    }

    /// Asks for the first page and keeps it, so that a refusal is known before an answer has begun. When the agent sorts,
    /// all rows come now. `encoding` is that of [`RowStream::next`].
    ///
    /// # Errors
    /// As [`RowStream::next`].
    pub async fn first(&mut self, encoding: Encoding) -> Result<(), QueryError> {
        if self.buffered.is_some() || self.end.is_some() || self.pipeline.end().is_some() {
            return Ok(());
        }
        self.buffered = self.feed.next().await?;
        if self.buffered.is_none() && !self.pipeline.sorts() {
            self.end = Some(self.with_skipped(End::complete()));
        }
        self.gather(encoding).await
    }

    /// Appends the rows of the next page to `out`. The encoding is the same in every call; for CSV the header comes with
    /// the first. After an end, calls append nothing and repeat it.
    ///
    /// # Errors
    /// [`QueryError`]; what `out` held before the call is still whole rows.
    pub async fn next(&mut self, out: &mut Vec<u8>, encoding: Encoding) -> Result<Progress, QueryError> {
        let before = (self.pipeline.delivered(), out.len());
        if self.end.is_none() {
            match self.step(out, encoding).await {
                Ok(end) => self.end = end.map(|end| self.with_skipped(end)),
                Err(error) => {
                    out.truncate(before.1);
                    return Err(error);
                }
            }
        }
        if self.end.is_some() {
            // Stops the prefetch of a page that nobody will read.
            self.feed.stop();
            if let Err(error) = self.pipeline.close(encoding, out) {
                out.truncate(before.1);
                return Err(error);
            }
        }
        Ok(Progress { rows: self.pipeline.delivered() - before.0, end: self.end.clone() })
    }

    async fn step(&mut self, out: &mut Vec<u8>, encoding: Encoding) -> Result<Option<End>, QueryError> {
        if let Some(end) = self.pipeline.end() {
            return Ok(Some(end));
        }
        self.gather(encoding).await?;
        if let Some(emitted) = self.pipeline.emit(encoding, out)? {
            return Ok(emitted);
        }
        if self.pipeline.settled() {
            return Ok(Some(End::complete()));
        }
        let Some(fed) = self.next_batch().await? else { return Ok(Some(End::complete())) };
        if !self.pipeline.wants_sample(encoding) {
            return self.pipeline.push(fed.rows.rows(), &fed.places, encoding, out);
        }
        for fed in self.sample(fed).await? {
            if let Some(end) = self.pipeline.push(fed.rows.rows(), &fed.places, encoding, out)? {
                return Ok(Some(end));
            }
        }
        Ok(None)
    }

    /// When the agent sorts: takes all rows, so that their order is settled.
    async fn gather(&mut self, encoding: Encoding) -> Result<(), QueryError> {
        if !self.pipeline.sorts() {
            return Ok(());
        }
        let mut nothing_goes_out = Vec::new();
        while let Some(fed) = self.next_batch().await? {
            let sampled = match self.pipeline.wants_sample(encoding) {
                true => self.sample(fed).await?,
                false => vec![fed],
            };
            for fed in sampled {
                self.pipeline.push(fed.rows.rows(), &fed.places, encoding, &mut nothing_goes_out)?;
            }
        }
        self.pipeline.settle();
        Ok(())
    }

    /// Reads on until the columns of whole rows can be told from enough of them.
    async fn sample(&mut self, first: Fed) -> Result<Vec<Fed>, QueryError> {
        let mut sample = vec![first];
        while sample.iter().map(|fed| fed.rows.len()).sum::<usize>() < SAMPLE_ROWS {
            match self.next_batch().await? {
                Some(fed) => sample.push(fed),
                None => break,
            }
        }
        let rows: Vec<&RowBatch> = sample.iter().map(|fed| &fed.rows).collect();
        self.pipeline.sample(rows.into_iter().flat_map(RowBatch::rows))?;
        Ok(sample)
    }

    /// The end, with what was left out. Rows that were left out are missing, unless as many as wanted came all the same
    /// and any would do.
    fn with_skipped(&self, end: End) -> End {
        let skipped = self.feed.skipped();
        let enough = self.pipeline.end().is_some() && !self.pipeline.settled();
        let mut end = match skipped.reason().filter(|_| end.complete && !enough) {
            Some(reason) => End::incomplete(reason),
            None => end,
        };
        let findings = self.pipeline.findings();
        if let Some(reason) = findings.reason().filter(|_| end.complete) {
            end.complete = false;
            end.reason = Some(reason);
        }
        end.notes.extend(skipped.note());
        end.notes.extend(findings.note());
        end
    }

    /// A column of a condition that no row so far has, not even as null.
    pub fn compared_with_nothing(&self) -> Option<&str> {
        self.pipeline.findings().compared_with_nothing()
    }

    async fn next_batch(&mut self) -> Result<Option<Fed>, QueryError> {
        match self.buffered.take() {
            Some(fed) => Ok(Some(fed)),
            None => self.feed.next().await,
        }
    }
}
