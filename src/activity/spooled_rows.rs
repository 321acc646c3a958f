//! The rows of a query that a run has kept, for a caller that fetches them later: whole lines in pieces, so that memory
//! does not grow with their number. Never writes.

use std::path::Path;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::error::ActivityError;
use super::upload::{blocking, not_kept};
use crate::files::{AppendFile, FileError};

/// Bytes that are read at a time, unless a row is longer.
const READ_AT_ONCE: usize = 64 * 1024;
/// The longest end: columns and notes are bounded where they are made.
const LONGEST_END: u64 = 64 * 1024 * 1024;
/// The last line says where the end begins; it is always as long as this.
const LAST_LINE: usize = 31;

/// What there is to know about the rows beside them. It stands behind them in the file.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct RowsEnd {
    /// The columns in order, each with `name` and `type`.
    pub columns: Vec<Value>,
    /// Who evaluated the conditions and the order, as JSON answers show it; null when there were none.
    pub evaluated: Value,
    /// How many rows there are.
    pub rows: u64,
    /// Whether they are all that were asked for.
    pub complete: bool,
    /// Why not.
    pub reason: Option<String>,
    /// What a reader must know about them and was known before them.
    pub notes: Vec<String>,
    /// What a reader must know about them besides.
    pub notes_at_end: Vec<String>,
}

impl RowsEnd {
    /// The end as it is written behind rows of `position` bytes.
    pub(super) fn text(&self, position: u64) -> Vec<u8> {
        // Strings, numbers and JSON always become JSON.
        let mut text = serde_json::to_vec(self).unwrap_or_default();
        text.extend_from_slice(format!("\n{{\"end\":\"{position:020}\"}}\n").as_bytes());
        text
    }

    /// The columns' names, in order.
    pub fn names(&self) -> Vec<String> {
        let name = |column: &Value| column["name"].as_str().unwrap_or_default().to_owned();
        self.columns.iter().map(name).collect()
    }
}

/// The rows of one run.
#[derive(Debug)]
pub struct SpooledRows {
    file: AppendFile,
    end: RowsEnd,
    position: u64,
    length: u64,
}

impl SpooledRows {
    /// Opens a file of rows.
    ///
    /// # Errors
    /// [`ActivityError::NotKept`], when it cannot be read or has no end.
    pub(super) fn open(path: &Path) -> Result<Self, ActivityError> {
        let file = AppendFile::open(path).map_err(failed)?;
        let size = file.length().map_err(failed)?;
        let last = size.checked_sub(LAST_LINE as u64).ok_or_else(damaged)?;
        let line = read(&file, last, LAST_LINE)?;
        let length = std::str::from_utf8(&line)
            .ok()
            .and_then(|line| line.strip_prefix("{\"end\":\"")?.strip_suffix("\"}\n")?.parse::<u64>().ok())
            .filter(|length| *length < last && last - length <= LONGEST_END)
            .ok_or_else(damaged)?;
        let end = read(&file, length, usize::try_from(last - length).unwrap_or_default())?;
        let end = serde_json::from_slice(&end).map_err(|_| damaged())?;
        Ok(Self { file, end, position: 0, length })
    }

    /// What there is to know about the rows.
    pub fn end(&self) -> &RowsEnd {
        &self.end
    }

    /// The next rows as JSON objects, one a line, whole lines only; nothing at the end.
    ///
    /// # Errors
    /// [`ActivityError::NotKept`], when they cannot be read back.
    pub async fn next(mut self) -> Result<(Self, Vec<u8>), ActivityError> {
        blocking(move || {
            let mut wanted = READ_AT_ONCE;
            loop {
                let left = usize::try_from(self.length - self.position).unwrap_or(usize::MAX);
                if left == 0 {
                    return Ok((self, Vec::new()));
                }
                let mut text = read(&self.file, self.position, wanted.min(left))?;
                if let Some(last) = memchr::memrchr(b'\n', &text) {
                    text.truncate(last + 1);
                    self.position += text.len() as u64;
                    return Ok((self, text));
                }
                if wanted >= left {
                    return Err(damaged());
                }
                wanted *= 2;
            }
        })
        .await
    }
}

/// Exactly `length` bytes from `position` on.
fn read(file: &AppendFile, position: u64, length: usize) -> Result<Vec<u8>, ActivityError> {
    let (mut text, mut filled) = (vec![0; length], 0);
    while filled < length {
        let read = file.read_at(&mut text[filled..], position + filled as u64).map_err(failed)?;
        if read == 0 {
            return Err(damaged());
        }
        filled += read;
    }
    Ok(text)
}

#[expect(clippy::needless_pass_by_value, reason = "it is given to map_err")]
fn failed(error: FileError) -> ActivityError {
    not_kept(&error.to_string())
}

fn damaged() -> ActivityError {
    not_kept("the rows of this run cannot be read back. Run the query again.")
}
