//! Rows in, encoded rows out: decode, evaluate what the service did not, leave out the offset, stop at the limit. Pure:
//! knows nothing of requests and never waits.

use std::collections::HashSet;

use super::decode::{Decoder, note_keys};
use super::encode::{Encoder, Encoding};
use super::error::QueryError;
use super::plan::{Cell, Plan};
use crate::graph::GraphError;

/// How a query ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct End {
    /// Whether all rows that were asked for are there.
    pub complete: bool,
    /// Why not, and what to do.
    pub reason: Option<String>,
}

impl End {
    pub(super) fn complete() -> Self {
        Self { complete: true, reason: None }
    }
}

/// A bound that the caller did not ask for.
#[derive(Clone, Debug)]
struct Cap {
    rows: u64,
    reason: String,
}

/// The state of one query's rows.
#[derive(Debug)]
pub(super) struct Pipeline {
    decoder: Decoder,
    plan: Plan,
    encoder: Option<Encoder>,
    header_written: bool,
    cap: Option<Cap>,
    skipped: u64,
    delivered: u64,
    seen: Vec<String>,
    seen_set: HashSet<String>,
}

impl Pipeline {
    pub(super) fn new(plan: Plan) -> Self {
        let cap = plan.max_rows.map(|rows| {
            let reason =
                format!("The connection's MaxRows of {rows} rows was reached. Give a limit to get more.");
            Cap { rows, reason }
        });
        let seen = plan.columns.iter().map(|column| column.name.clone()).collect();
        Self {
            decoder: Decoder::new(&plan.slots),
            plan,
            encoder: None,
            header_written: false,
            cap,
            skipped: 0,
            delivered: 0,
            seen,
            seen_set: HashSet::new(),
        }
    }

    /// Bounds the answer to `rows`, unless something bounds it more.
    pub(super) fn cap(&mut self, rows: u64) {
        if self.cap.as_ref().is_none_or(|cap| cap.rows > rows) {
            let reason = format!(
                "A JSON answer holds at most {rows} rows (AnswerRows). Ask for application/x-ndjson or text/csv, or \
                 give a smaller limit."
            );
            self.cap = Some(Cap { rows, reason });
        }
    }

    pub(super) fn plan(&self) -> &Plan {
        &self.plan
    }

    /// Rows delivered so far.
    pub(super) fn delivered(&self) -> u64 {
        self.delivered
    }

    /// The names of the columns: with whole rows those seen so far.
    pub(super) fn names(&self) -> &[String] {
        &self.seen
    }

    /// The end, if it is reached without another row.
    pub(super) fn end(&self) -> Option<End> {
        self.plan.limit.is_some_and(|limit| self.delivered >= limit).then(End::complete)
    }

    /// Whether the columns are still to be found in the rows of the next [`Pipeline::push`], which should bring many.
    pub(super) fn wants_sample(&self, encoding: Encoding) -> bool {
        self.plan.whole_rows && encoding == Encoding::Csv && self.encoder.is_none()
    }

    /// Takes some rows, and tells whether the query has ended with them.
    pub(super) fn push<'row>(
        &mut self,
        rows: impl Iterator<Item = &'row [u8]>,
        encoding: Encoding,
        out: &mut Vec<u8>,
    ) -> Result<Option<End>, QueryError> {
        if self.wants_sample(encoding) {
            let rows: Vec<&[u8]> = rows.collect();
            for row in &rows {
                self.see(row)?;
            }
            self.use_seen_columns();
            return self.push_decoded(rows.into_iter(), encoding, out);
        }
        self.push_decoded(rows, encoding, out)
    }

    fn push_decoded<'row>(
        &mut self,
        rows: impl Iterator<Item = &'row [u8]>,
        encoding: Encoding,
        out: &mut Vec<u8>,
    ) -> Result<Option<End>, QueryError> {
        self.begin(encoding, out);
        let mut cells = vec![None; self.decoder.slots()];
        for row in rows {
            if self.end().is_some() {
                break;
            }
            // A whole row without anything to look at is checked to be JSON where its keys are noted.
            if !(self.plan.whole_rows && cells.is_empty()) {
                self.decoder.decode(row, &mut cells).map_err(|error| bad_row(&error))?;
            }
            if !self.plan.residual.iter().all(|condition| condition.holds(&cells)) {
                continue;
            }
            if self.skipped < self.plan.offset {
                self.skipped += 1;
                continue;
            }
            if let Some(cap) = self.cap.as_ref().filter(|cap| self.delivered >= cap.rows) {
                return Ok(Some(End { complete: false, reason: Some(cap.reason.clone()) }));
            }
            self.write(row, &cells, encoding, out)?;
            self.delivered += 1;
        }
        Ok(self.end())
    }

    /// Makes the encoder and writes the header, once.
    pub(super) fn begin(&mut self, encoding: Encoding, out: &mut Vec<u8>) {
        let encoder = self.encoder.get_or_insert_with(|| Encoder::new(encoding, self.seen.clone()));
        if !std::mem::replace(&mut self.header_written, true) {
            encoder.header(out);
        }
    }

    fn write(
        &mut self,
        row: &[u8],
        cells: &[Option<&[u8]>],
        encoding: Encoding,
        out: &mut Vec<u8>,
    ) -> Result<(), QueryError> {
        let first = self.delivered == 0;
        if self.plan.whole_rows {
            self.see(row)?;
            if encoding != Encoding::Csv {
                if let Some(encoder) = &self.encoder {
                    encoder.whole_row(row, first, out);
                }
                return Ok(());
            }
            self.refuse_new_columns()?;
        }
        let cell = |cell: &Cell| match cell {
            Cell::Slot(slot) => cells.get(*slot).copied().flatten(),
            Cell::Constant(_) => None,
        };
        let Some(encoder) = &self.encoder else { return Ok(()) };
        let row = self.plan.cells.iter().map(|source| match source {
            Cell::Constant(text) => Some(text.as_slice()),
            slot => cell(slot),
        });
        encoder.row(row, first, out);
        Ok(())
    }

    /// Notes the columns of a whole row.
    fn see(&mut self, row: &[u8]) -> Result<(), QueryError> {
        note_keys(row, &mut self.seen, &mut self.seen_set).map_err(|error| bad_row(&error))
    }

    /// CSV needs its columns before the first row: they are those of the first rows.
    fn use_seen_columns(&mut self) {
        let residual_slots = std::mem::take(&mut self.plan.slots);
        let mut slots = super::plan::Slots(residual_slots);
        self.plan.cells =
            self.seen.iter().map(|name| Cell::Slot(slots.of(std::slice::from_ref(name)))).collect();
        self.plan.slots = slots.0;
        self.decoder = Decoder::new(&self.plan.slots);
    }

    fn refuse_new_columns(&self) -> Result<(), QueryError> {
        match self.seen.get(self.plan.cells.len()) {
            None => Ok(()),
            Some(name) => Err(QueryError::NotShowable {
                message: format!(
                    "Row {} has the property '{name}', which none of the first rows had, so the CSV has no column for \
                     it. Name the columns in `fields`, or ask for application/x-ndjson.",
                    self.delivered + 1
                ),
            }),
        }
    }
}

fn bad_row(error: &serde_json::Error) -> QueryError {
    QueryError::Graph(GraphError::BadAnswer { what: format!("a row is not valid JSON ({error})") })
}

#[cfg(test)]
#[path = "pipeline_tests.rs"]
mod tests;
