//! A query in progress: its rows, and the run that ends with them. Never decides how an answer is framed.

use std::sync::Arc;

use super::error::ActivityError;
use super::model::RunStatus;
use super::runs::Run;
use crate::catalog::ColumnKind;
use crate::graph::{CallContext, GraphError};
use crate::query::{Encoding, Evaluated, Progress, RowStream};
use crate::telemetry::Metrics;

/// A query in progress. Dropping it ends the run as cancelled and stops whatever is still being fetched.
#[derive(Debug)]
pub struct RunningQuery {
    run: Run,
    stream: RowStream,
    context: CallContext,
    connection: String,
    metrics: Arc<Metrics>,
    answer_rows: u64,
    ended: bool,
}

impl RunningQuery {
    pub(super) fn new(
        run: Run,
        stream: RowStream,
        context: CallContext,
        connection: String,
        metrics: Arc<Metrics>,
        answer_rows: u64,
    ) -> Self {
        Self { run, stream, context, connection, metrics, answer_rows, ended: false }
    }

    /// The run's id.
    pub fn run_id(&self) -> &str {
        self.run.id()
    }

    /// The columns with their types; see [`RowStream::columns`].
    pub fn columns(&self) -> Vec<(String, ColumnKind)> {
        self.stream.columns()
    }

    /// Who evaluates the conditions and the order. What the agent evaluates needs more rows than are answered.
    pub fn evaluated(&self) -> &Evaluated {
        self.stream.evaluated()
    }

    /// What a reader of the answer must know and is known before the rows.
    pub fn notes(&self) -> &[String] {
        self.stream.notes()
    }

    /// Rows appended so far.
    pub fn rows(&self) -> u64 {
        self.stream.rows()
    }

    /// Fetches the first page, so that a refusal is known before an answer has begun; all rows, when the agent sorts.
    /// `encoding` is that of [`RunningQuery::next`].
    ///
    /// # Errors
    /// [`ActivityError`]; the run has then ended.
    pub async fn first(&mut self, encoding: Encoding) -> Result<(), ActivityError> {
        self.bound(encoding);
        let result = Box::pin(self.stream.first(encoding)).await.map_err(ActivityError::from);
        result.inspect_err(|error| self.run.fail(error))
    }

    /// Appends the rows of the next page to `out`, in the same encoding every time. JSON answers are bounded by
    /// `[Limits] AnswerRows`; the end then says that the answer is not complete.
    ///
    /// # Errors
    /// [`ActivityError`]; the run has then ended, and `out` holds whole rows only.
    pub async fn next(&mut self, out: &mut Vec<u8>, encoding: Encoding) -> Result<Progress, ActivityError> {
        let progress = self.page(out, encoding).await.inspect_err(|error| self.run.fail(error))?;
        self.count(progress.rows);
        if let Some(end) = &progress.end {
            self.succeed(end.complete);
        }
        Ok(progress)
    }

    /// As [`RunningQuery::next`], for a caller that counts the rows and ends the run itself.
    ///
    /// # Errors
    /// [`ActivityError`]; `out` holds whole rows only.
    pub(super) async fn page(
        &mut self,
        out: &mut Vec<u8>,
        encoding: Encoding,
    ) -> Result<Progress, ActivityError> {
        self.bound(encoding);
        let stopped = if self.context.cancel.is_cancelled() {
            Some(GraphError::Cancelled)
        } else if tokio::time::Instant::now() >= self.context.deadline {
            Some(GraphError::Deadline)
        } else {
            None
        };
        match stopped {
            Some(error) if !self.ended => Err(error.into()),
            _ => self.stream.next(out, encoding).await.map_err(ActivityError::from),
        }
    }

    /// Counts rows that were delivered.
    pub(super) fn count(&self, rows: u64) {
        self.run.add_rows(rows);
        self.metrics.rows(&self.connection, rows);
    }

    /// Ends the run well.
    pub(super) fn succeed(&mut self, complete: bool) {
        self.ended = true;
        self.run.succeed(if complete { RunStatus::Success } else { RunStatus::SuccessWithWarning });
    }

    /// Ends the run because of `error`.
    pub(super) fn fail(&mut self, error: &ActivityError) {
        self.run.fail(error);
    }

    fn bound(&mut self, encoding: Encoding) {
        if encoding == Encoding::Json {
            self.stream.cap(self.answer_rows);
        }
    }
}
