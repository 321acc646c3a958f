//! Rows in, encoded rows out: decode, evaluate what the service did not, sort what it did not, leave out the offset, stop
//! at the limit. Pure: knows nothing of requests and never waits.

use std::collections::HashSet;

use super::decode::{Decoder, note_keys};
use super::encode::{Encoder, Encoding};
use super::error::QueryError;
use super::findings::Findings;
use super::plan::{Cell, Plan};
use super::sort::{SortedRows, Sorter};
use crate::catalog::ColumnKind;
use crate::graph::GraphError;

/// Sorted rows go out in pieces of about so many bytes.
const PIECE: usize = 64 * 1024;

/// How a query ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct End {
    /// Whether all rows that were asked for are there.
    pub complete: bool,
    /// Why not, and what to do.
    pub reason: Option<String>,
    /// What else a reader of the answer must know and nobody knew before the rows came: sentences.
    pub notes: Vec<String>,
}

impl End {
    pub(super) fn complete() -> Self {
        Self { complete: true, reason: None, notes: Vec::new() }
    }

    pub(super) fn incomplete(reason: String) -> Self {
        Self { complete: false, reason: Some(reason), notes: Vec::new() }
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
    findings: Findings,
    plan: Plan,
    encoder: Option<Encoder>,
    header_written: bool,
    closed: bool,
    cap: Option<Cap>,
    /// Takes the rows while they come, if they are to be sorted.
    sorter: Option<Sorter>,
    /// The sorted rows that are still to go out.
    sorted: Option<SortedRows>,
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
            findings: Findings::new(plan.watched.clone()),
            sorter: (!plan.sort.is_empty()).then(|| Sorter::new(plan.sort.clone())),
            sorted: None,
            plan,
            encoder: None,
            header_written: false,
            closed: false,
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

    /// The columns with their types: with whole rows those seen so far.
    pub(super) fn columns(&self) -> Vec<(String, ColumnKind)> {
        let kind = |place: usize, name: &str| match self.plan.columns.get(place) {
            Some(column) => column.kind,
            None => self.plan.object.kind_of_property(name),
        };
        self.seen.iter().enumerate().map(|(place, name)| (name.clone(), kind(place, name))).collect()
    }

    /// The end, if it is reached without another row.
    pub(super) fn end(&self) -> Option<End> {
        self.plan.limit.is_some_and(|limit| self.delivered >= limit).then(End::complete)
    }

    /// Whether rows come only after all of them were looked at.
    pub(super) fn sorts(&self) -> bool {
        self.sorter.is_some()
    }

    /// Whether the columns are still to be found in the rows of the next [`Pipeline::push`], which should bring many.
    pub(super) fn wants_sample(&self, encoding: Encoding) -> bool {
        self.plan.whole_rows && encoding.is_table() && self.encoder.is_none()
    }

    /// Looks at the first rows for their columns, see [`Pipeline::wants_sample`].
    pub(super) fn sample<'row>(&mut self, rows: impl Iterator<Item = &'row [u8]>) -> Result<(), QueryError> {
        for row in rows {
            self.see(row)?;
        }
        self.use_seen_columns();
        Ok(())
    }

    /// Takes some rows of one scan, whose place has these cells, and tells whether the query has ended with them.
    pub(super) fn push<'row>(
        &mut self,
        rows: impl Iterator<Item = &'row [u8]>,
        places: &[Vec<u8>],
        encoding: Encoding,
        out: &mut Vec<u8>,
    ) -> Result<Option<End>, QueryError> {
        match self.sorter {
            // The header comes with the first row that goes out.
            Some(_) => self.make_encoder(encoding),
            None => self.begin(encoding, out),
        }
        let mut cells = vec![None; self.decoder.slots()];
        for row in rows {
            if self.end().is_some() {
                break;
            }
            // A whole row without anything to look at is checked to be JSON where its keys are noted.
            if !(self.plan.whole_rows && cells.is_empty()) {
                self.decoder.decode(row, &mut cells).map_err(|error| bad_row(&error))?;
                for (slot, other) in &self.plan.fallbacks {
                    cells[*slot] = cells[*slot].or(cells[*other]);
                }
                self.findings.look(&cells);
            }
            if !self.fulfils(&cells)? {
                continue;
            }
            if let Some(mut sorter) = self.sorter.take() {
                let most = self.wanted();
                let cell = |cell| cell_of(cell, &cells, places);
                let taken = sorter.take(cell, most, || self.hold(row, &cells, places, encoding));
                self.sorter = Some(sorter);
                taken?;
                continue;
            }
            if self.skipped < self.plan.offset {
                self.skipped += 1;
                continue;
            }
            if let Some(end) = self.capped() {
                return Ok(Some(end));
            }
            self.write(row, &cells, places, encoding, self.delivered == 0, out)?;
            self.delivered += 1;
        }
        Ok(self.end())
    }

    /// Whether a row fulfils what the agent evaluates.
    fn fulfils(&self, cells: &[Option<&[u8]>]) -> Result<bool, QueryError> {
        for condition in &self.plan.residual {
            let holds =
                condition.holds(cells).map_err(|what| QueryError::Graph(GraphError::BadAnswer { what }))?;
            if !holds {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// What only the rows could tell.
    pub(super) fn findings(&self) -> &Findings {
        &self.findings
    }

    /// All rows have come: the order of those that were held for sorting is settled now.
    pub(super) fn settle(&mut self) {
        if let Some(mut sorter) = self.sorter.take() {
            let mut rows = sorter.finish();
            self.skipped =
                rows.by_ref().take(usize::try_from(self.plan.offset).unwrap_or(usize::MAX)).count() as u64;
            self.sorted = Some(rows);
        }
    }

    /// Whether sorting is over: no more rows are taken.
    pub(super) fn settled(&self) -> bool {
        !self.plan.sort.is_empty() && self.sorter.is_none()
    }

    /// Appends some of the sorted rows. `None` when there are none (left); then the query has ended.
    ///
    /// # Errors
    /// [`QueryError::NotShowable`], when a cell does not fit into a typed column.
    pub(super) fn emit(
        &mut self,
        encoding: Encoding,
        out: &mut Vec<u8>,
    ) -> Result<Option<Option<End>>, QueryError> {
        let Some(mut rows) = self.sorted.take() else { return Ok(None) };
        self.begin(encoding, out);
        let full = out.len() + PIECE;
        while out.len() < full {
            let Some(row) = rows.next() else { return Ok(None) };
            if let Some(end) = self.end().or_else(|| self.capped()) {
                return Ok(Some(Some(end)));
            }
            if let Some(encoder) = &mut self.encoder {
                encoder.release(&row, self.delivered == 0, out)?;
            }
            self.delivered += 1;
        }
        self.sorted = Some(rows);
        Ok(Some(None))
    }

    /// The end, if one more row would pass a bound that the caller did not set.
    fn capped(&self) -> Option<End> {
        let cap = self.cap.as_ref().filter(|cap| self.delivered >= cap.rows)?;
        Some(End::incomplete(cap.reason.clone()))
    }

    /// How many rows are worth holding for sorting: one more than a bound, to know whether it cut anything.
    fn wanted(&self) -> u64 {
        let cap = self.cap.as_ref().map(|cap| cap.rows.saturating_add(1));
        let most = [self.plan.limit, cap].into_iter().flatten().min().unwrap_or(u64::MAX);
        most.saturating_add(self.plan.offset)
    }

    /// Makes the encoder and writes the header, once.
    pub(super) fn begin(&mut self, encoding: Encoding, out: &mut Vec<u8>) {
        self.make_encoder(encoding);
        if let Some(encoder) = &self.encoder
            && !std::mem::replace(&mut self.header_written, true)
        {
            encoder.header(out);
        }
    }

    /// Appends what stands behind the last row, once.
    ///
    /// # Errors
    /// [`QueryError::NotShowable`], when a cell does not fit into a typed column.
    pub(super) fn close(&mut self, encoding: Encoding, out: &mut Vec<u8>) -> Result<(), QueryError> {
        self.begin(encoding, out);
        match &mut self.encoder {
            Some(encoder) if !std::mem::replace(&mut self.closed, true) => encoder.finish(out),
            _ => Ok(()),
        }
    }

    fn make_encoder(&mut self, encoding: Encoding) {
        if self.encoder.is_none() {
            self.encoder = Some(Encoder::new(encoding, &self.columns()));
        }
    }

    fn write(
        &mut self,
        row: &[u8],
        cells: &[Option<&[u8]>],
        places: &[Vec<u8>],
        encoding: Encoding,
        first: bool,
        out: &mut Vec<u8>,
    ) -> Result<(), QueryError> {
        if self.plan.whole_rows {
            self.see(row)?;
            if !encoding.is_table() {
                if let Some(encoder) = &self.encoder {
                    encoder.whole_row(row, first, out);
                }
                return Ok(());
            }
            self.refuse_new_columns()?;
        }
        let Some(encoder) = &mut self.encoder else { return Ok(()) };
        encoder.row(self.plan.cells.iter().map(|cell| cell_of(*cell, cells, places)), first, out)
    }

    /// A row as it is held for sorting.
    fn hold(
        &mut self,
        row: &[u8],
        cells: &[Option<&[u8]>],
        places: &[Vec<u8>],
        encoding: Encoding,
    ) -> Result<Vec<u8>, QueryError> {
        if self.plan.whole_rows && !encoding.is_table() {
            let mut written = Vec::new();
            self.write(row, cells, places, encoding, true, &mut written)?;
            return Ok(written);
        }
        if self.plan.whole_rows {
            self.see(row)?;
            self.refuse_new_columns()?;
        }
        let Some(encoder) = &mut self.encoder else { return Ok(Vec::new()) };
        encoder.hold(self.plan.cells.iter().map(|cell| cell_of(*cell, cells, places)))
    }

    /// Notes the columns of a whole row.
    fn see(&mut self, row: &[u8]) -> Result<(), QueryError> {
        note_keys(row, &mut self.seen, &mut self.seen_set).map_err(|error| bad_row(&error))
    }

    /// CSV needs its columns before the first row: they are those of the first rows.
    fn use_seen_columns(&mut self) {
        let residual_slots = std::mem::take(&mut self.plan.slots);
        let mut slots = super::plan::Slots(residual_slots, Vec::new());
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
                    "Row {} has the property '{name}', which none of the first rows had, so the table has no \
                     column for it. Name the columns in `fields`, or ask for application/x-ndjson.",
                    self.delivered + 1
                ),
            }),
        }
    }
}

fn cell_of<'row>(cell: Cell, cells: &[Option<&'row [u8]>], places: &'row [Vec<u8>]) -> Option<&'row [u8]> {
    match cell {
        Cell::Slot(slot) => cells.get(slot).copied().flatten(),
        Cell::Place(place) => places.get(place).map(Vec::as_slice),
    }
}

fn bad_row(error: &serde_json::Error) -> QueryError {
    QueryError::Graph(GraphError::BadAnswer { what: format!("a row is not valid JSON ({error})") })
}

#[cfg(test)]
#[path = "pipeline_tests.rs"]
mod tests;
