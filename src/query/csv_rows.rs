//! CSV from rows that were kept as JSON objects, one a line. Never asks for a row.

use std::collections::HashMap;

use serde_json::value::RawValue;

use super::encode::{Encoder, Encoding};
use super::error::QueryError;
use crate::catalog::ColumnKind;

/// Rows of known columns on their way to CSV.
#[derive(Debug)]
pub struct CsvRows {
    encoder: Encoder,
    names: Vec<String>,
}

impl CsvRows {
    /// For columns of these names, in this order.
    pub fn new(names: Vec<String>) -> Self {
        let columns: Vec<_> = names.iter().map(|name| (name.clone(), ColumnKind::Any)).collect();
        Self { encoder: Encoder::new(Encoding::Csv, &columns), names }
    }

    /// Appends the header line.
    pub fn header(&self, out: &mut Vec<u8>) {
        self.encoder.header(out);
    }

    /// Appends the row in `line`, a JSON object. A column that it does not have stays empty.
    ///
    /// # Errors
    /// [`QueryError::NotShowable`], when it is no JSON object.
    pub fn row(&mut self, line: &[u8], out: &mut Vec<u8>) -> Result<(), QueryError> {
        let row: HashMap<String, &RawValue> =
            serde_json::from_slice(line).map_err(|_| QueryError::NotShowable {
                message: "A kept row cannot be read back. Run the query again.".to_owned(),
            })?;
        let cells = self.names.iter().map(|name| row.get(name).map(|cell| cell.get().as_bytes()));
        self.encoder.row(cells, false, out)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;

    #[test]
    fn kept_rows_become_the_lines_that_csv_has() {
        let mut rows = CsvRows::new(["id", "n", "tags"].map(str::to_owned).to_vec());
        let mut out = Vec::new();
        rows.header(&mut out);
        rows.row(br#"{"n":2.50,"id":"a,b","tags":["x"],"more":1}"#, &mut out).unwrap();
        rows.row(br#"{"id":null}"#, &mut out).unwrap();
        assert_eq!(String::from_utf8(out).unwrap(), "id,n,tags\r\n\"a,b\",2.50,\"[\"\"x\"\"]\"\r\n,,\r\n");
        assert!(rows.row(b"[1]", &mut Vec::new()).is_err());
    }
}
