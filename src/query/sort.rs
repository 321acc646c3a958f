//! Puts rows in order when the service cannot: a heap of the wanted rows when there is a limit, else all of them up to a
//! bound in bytes. Pure. Order: cells without value first, then by value, texts by the rule of their column and local times
//! as moments of the zone beside them; rows that compare equal keep the order in which they came.

use std::borrow::Cow;
use std::cmp::Ordering;
use std::collections::BinaryHeap;

use super::error::QueryError;
use super::moment::Moment;
use super::plan::Cell;
use super::residual::text;
use crate::catalog::{ColumnKind, TextComparison};

/// The most bytes of rows that are held for sorting.
pub(super) const MOST_BYTES: usize = 24 * 1024 * 1024;
/// What a row costs beside its text.
const ROW_OVERHEAD: usize = 96;

/// One column of the order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SortKey {
    /// The column's name, for messages.
    pub name: String,
    /// Where its cells are.
    pub cell: Cell,
    /// The type of its cells.
    pub kind: ColumnKind,
    /// How its texts are compared.
    pub text: TextComparison,
    /// Where the time zone of its local times is.
    pub zone: Option<Cell>,
    /// Largest first.
    pub descending: bool,
}

/// A cell as it is compared. The order of the variants is the order of values of different types.
#[derive(Clone, Debug, PartialEq)]
enum Value {
    Nothing,
    Truth(bool),
    Whole(i64),
    Number(f64),
    Moment(Moment),
    Text(Box<str>),
}

impl Value {
    fn read<'row>(key: &SortKey, cell: &impl Fn(Cell) -> Option<&'row [u8]>) -> Self {
        let there = |at: Cell| cell(at).filter(|cell| *cell != b"null");
        let Some(cell) = there(key.cell) else { return Self::Nothing };
        let text_value = || Self::Text(key.text.key(&text(cell)).into());
        if let Some(zone) = key.zone {
            let zone = there(zone).map(text).unwrap_or_default();
            return Moment::in_zone(&text(cell), &zone).map_or_else(text_value, Self::Moment);
        }
        match (cell, key.kind) {
            (b"true", _) => Self::Truth(true),
            (b"false", _) => Self::Truth(false),
            ([b'"', ..], ColumnKind::DateTime | ColumnKind::Any) => {
                Moment::parse(&text(cell)).map_or_else(text_value, Self::Moment)
            }
            ([b'-' | b'0'..=b'9', ..], _) => {
                let raw = String::from_utf8_lossy(cell);
                match (raw.parse::<i64>(), raw.parse::<f64>()) {
                    (Ok(number), _) => Self::Whole(number),
                    (_, Ok(number)) => Self::Number(number),
                    _ => text_value(),
                }
            }
            _ => text_value(),
        }
    }

    fn rank(&self) -> u8 {
        match self {
            Self::Nothing => 0,
            Self::Truth(_) => 1,
            Self::Whole(_) | Self::Number(_) => 2,
            Self::Moment(_) => 3,
            Self::Text(_) => 4,
        }
    }

    fn compare(&self, other: &Self) -> Ordering {
        #[expect(clippy::cast_precision_loss, reason = "the other one is no 64-bit integer")]
        match (self, other) {
            (Self::Truth(one), Self::Truth(two)) => one.cmp(two),
            (Self::Whole(one), Self::Whole(two)) => one.cmp(two),
            (Self::Whole(one), Self::Number(two)) => (*one as f64).total_cmp(two),
            (Self::Number(one), Self::Whole(two)) => one.total_cmp(&(*two as f64)),
            (Self::Number(one), Self::Number(two)) => one.total_cmp(two),
            (Self::Moment(one), Self::Moment(two)) => one.cmp(two),
            (Self::Text(one), Self::Text(two)) => one.cmp(two),
            _ => self.rank().cmp(&other.rank()),
        }
    }

    fn size(&self) -> usize {
        match self {
            Self::Text(text) => text.len(),
            _ => 0,
        }
    }
}

/// A row waiting for its turn.
#[derive(Debug)]
struct Waiting {
    /// Each with whether it is compared the other way round.
    key: Vec<(Value, bool)>,
    arrived: u64,
    row: Box<[u8]>,
}

impl Waiting {
    fn size(&self) -> usize {
        let cells: usize = self.key.iter().map(|(value, _)| value.size() + size_of::<(Value, bool)>()).sum();
        self.row.len() + cells + ROW_OVERHEAD
    }
}

impl Ord for Waiting {
    fn cmp(&self, other: &Self) -> Ordering {
        for ((one, descending), (two, _)) in self.key.iter().zip(&other.key) {
            let order = one.compare(two);
            let order = if *descending { order.reverse() } else { order };
            if order.is_ne() {
                return order;
            }
        }
        self.arrived.cmp(&other.arrived)
    }
}

impl PartialOrd for Waiting {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Waiting {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}

impl Eq for Waiting {}

/// Takes rows in any order and gives the first ones of the wanted order back.
#[derive(Debug)]
pub(super) struct Sorter {
    keys: Vec<SortKey>,
    /// The last row of the order is on top.
    rows: BinaryHeap<Waiting>,
    bytes: usize,
    arrived: u64,
}

impl Sorter {
    pub(super) fn new(keys: Vec<SortKey>) -> Self {
        Self { keys, rows: BinaryHeap::new(), bytes: 0, arrived: 0 }
    }

    /// Takes one row, written already, if it is among the first `most`.
    ///
    /// # Errors
    /// A sentence, when the rows take more memory than they may.
    pub(super) fn take<'row>(
        &mut self,
        cell: impl Fn(Cell) -> Option<&'row [u8]>,
        most: u64,
        write: impl FnOnce() -> Result<Vec<u8>, QueryError>,
    ) -> Result<(), QueryError> {
        let key = |key: &SortKey| (Value::read(key, &cell), key.descending);
        let key = self.keys.iter().map(key).collect();
        let mut waiting = Waiting { key, arrived: self.arrived, row: Box::default() };
        self.arrived += 1;
        let full = self.rows.len() as u64 >= most;
        if full && self.rows.peek().is_none_or(|last| waiting >= *last) {
            return Ok(());
        }
        waiting.row = write()?.into_boxed_slice();
        if full && let Some(last) = self.rows.pop() {
            self.bytes -= last.size();
        }
        self.bytes += waiting.size();
        self.rows.push(waiting);
        if self.bytes > MOST_BYTES { Err(self.too_large()) } else { Ok(()) }
    }

    /// The rows in their order.
    pub(super) fn finish(&mut self) -> SortedRows {
        self.bytes = 0;
        SortedRows(std::mem::take(&mut self.rows).into_sorted_vec().into_iter())
    }

    fn too_large(&self) -> QueryError {
        let names: Vec<Cow<'_, str>> = self.keys.iter().map(|key| Cow::Borrowed(key.name.as_str())).collect();
        QueryError::TooLarge {
            message: format!(
                "The agent sorts by {} here, because Microsoft Graph does not, and the rows to be sorted take more than \
                 {} MiB. Give a limit, name fewer fields, add a condition, or leave orderBy out.",
                names.join(", "),
                MOST_BYTES / (1024 * 1024)
            ),
        }
    }
}

/// Rows in their order, as they were written.
#[derive(Debug)]
pub(super) struct SortedRows(std::vec::IntoIter<Waiting>);

impl Iterator for SortedRows {
    type Item = Box<[u8]>;

    fn next(&mut self) -> Option<Self::Item> {
        self.0.next().map(|waiting| waiting.row)
    }
}

#[cfg(test)]
#[path = "sort_tests.rs"]
mod tests;
