//! From cells to the bytes of an answer: JSON rows, newline-delimited JSON, CSV or Arrow. Cells are put in as the service wrote
//! them; nothing is parsed and written anew, so no number changes its digits. Formulas in CSV are not altered either: the
//! text belongs to its author, and whoever opens it in a spreadsheet imports it as text.

use std::borrow::Cow;

use super::arrow::ArrowEncoder;
use super::error::QueryError;
use super::residual::text;
use crate::catalog::ColumnKind;

/// Stands between the cells of a row that is held for Arrow: no JSON text has it, because it is a control character.
const BETWEEN: u8 = 0x1e;

/// The forms of an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Encoding {
    /// Objects separated by commas, to stand inside `"rows":[…]`.
    Json,
    /// One object a line.
    Ndjson,
    /// RFC 4180 with a header line.
    Csv,
    /// An Arrow IPC stream.
    Arrow,
}

impl Encoding {
    /// Whether the columns must be known before the first row.
    pub(super) fn is_table(self) -> bool {
        matches!(self, Self::Csv | Self::Arrow)
    }
}

/// Writes rows of known columns.
#[derive(Debug)]
pub(super) struct Encoder {
    encoding: Encoding,
    names: Vec<String>,
    /// `{"first":`, `,"second":`, …
    prefixes: Vec<Vec<u8>>,
    arrow: Option<ArrowEncoder>,
}

impl Encoder {
    /// An encoder for these columns.
    pub(super) fn new(encoding: Encoding, columns: &[(String, ColumnKind)]) -> Self {
        let names: Vec<String> = columns.iter().map(|(name, _)| name.clone()).collect();
        let arrow = (encoding == Encoding::Arrow).then(|| ArrowEncoder::new(columns));
        let prefix = |(place, name): (usize, &String)| {
            let opening = if place == 0 { '{' } else { ',' };
            format!("{opening}{}:", serde_json::Value::from(name.as_str())).into_bytes()
        };
        let prefixes = names.iter().enumerate().map(prefix).collect();
        Self { encoding, names, prefixes, arrow }
    }

    /// The header line, for CSV.
    pub(super) fn header(&self, out: &mut Vec<u8>) {
        if self.encoding == Encoding::Csv && !self.names.is_empty() {
            write_csv(out, self.names.iter().map(|name| Cow::Borrowed(name.as_bytes())));
        }
    }

    /// One row; `first` tells whether no row was written before it.
    ///
    /// # Errors
    /// [`QueryError::NotShowable`], when a cell does not fit into a typed column.
    pub(super) fn row<'row>(
        &mut self,
        cells: impl Iterator<Item = Option<&'row [u8]>>,
        first: bool,
        out: &mut Vec<u8>,
    ) -> Result<(), QueryError> {
        if let Some(arrow) = &mut self.arrow {
            return arrow.row(cells, out);
        }
        if self.encoding == Encoding::Csv {
            write_csv(out, cells.map(csv_field));
            return Ok(());
        }
        self.before(first, out);
        if self.prefixes.is_empty() {
            out.push(b'{');
        }
        for (prefix, cell) in self.prefixes.iter().zip(cells) {
            out.extend_from_slice(prefix);
            match cell {
                Some(cell) => push_compact(cell, out),
                None => out.extend_from_slice(b"null"),
            }
        }
        out.push(b'}');
        self.after(out);
        Ok(())
    }

    /// One row to be kept for [`Encoder::release`].
    ///
    /// # Errors
    /// As [`Encoder::row`].
    pub(super) fn hold<'row>(
        &mut self,
        cells: impl Iterator<Item = Option<&'row [u8]>>,
    ) -> Result<Vec<u8>, QueryError> {
        let mut held = Vec::new();
        if self.arrow.is_none() {
            self.row(cells, true, &mut held)?;
            return Ok(held);
        }
        for (place, cell) in cells.enumerate() {
            if place > 0 {
                held.push(BETWEEN);
            }
            held.extend_from_slice(cell.unwrap_or_default());
        }
        Ok(held)
    }

    /// Appends a row that was held.
    ///
    /// # Errors
    /// As [`Encoder::row`].
    pub(super) fn release(&mut self, held: &[u8], first: bool, out: &mut Vec<u8>) -> Result<(), QueryError> {
        if let Some(arrow) = &mut self.arrow {
            let cells =
                held.split(|byte| *byte == BETWEEN).map(|cell| Some(cell).filter(|cell| !cell.is_empty()));
            return arrow.row(cells, out);
        }
        self.before(first, out);
        out.extend_from_slice(held);
        Ok(())
    }

    /// Appends what stands behind the last row.
    ///
    /// # Errors
    /// As [`Encoder::row`].
    pub(super) fn finish(&mut self, out: &mut Vec<u8>) -> Result<(), QueryError> {
        match &mut self.arrow {
            Some(arrow) => arrow.finish(out),
            None => Ok(()),
        }
    }

    /// One whole row as JSON.
    pub(super) fn whole_row(&self, row: &[u8], first: bool, out: &mut Vec<u8>) {
        self.before(first, out);
        push_compact(row, out);
        self.after(out);
    }

    fn before(&self, first: bool, out: &mut Vec<u8>) {
        if self.encoding == Encoding::Json && !first {
            out.push(b',');
        }
    }

    fn after(&self, out: &mut Vec<u8>) {
        if self.encoding == Encoding::Ndjson {
            out.push(b'\n');
        }
    }
}

/// Appends valid JSON text without line breaks. They can stand only between tokens, never raw inside a string, so text
/// without any is copied as it is.
fn push_compact(json: &[u8], out: &mut Vec<u8>) {
    if memchr::memchr2(b'\n', b'\r', json).is_none() {
        out.extend_from_slice(json);
        return;
    }
    let (mut in_string, mut escaped) = (false, false);
    for byte in json {
        match (in_string, *byte) {
            (false, b' ' | b'\t' | b'\n' | b'\r') => continue,
            (false, b'"') => in_string = true,
            (true, _) if escaped => escaped = false,
            (true, b'\\') => escaped = true,
            (true, b'"') => in_string = false,
            _ => {}
        }
        out.push(*byte);
    }
}

fn csv_field(cell: Option<&[u8]>) -> Cow<'_, [u8]> {
    match cell {
        None | Some(b"null") => Cow::Borrowed(b""),
        Some(cell) if matches!(cell.first(), Some(b'{' | b'[')) => {
            let mut compact = Vec::with_capacity(cell.len());
            push_compact(cell, &mut compact);
            Cow::Owned(compact)
        }
        Some(cell) => match text(cell) {
            Cow::Borrowed(text) => Cow::Borrowed(text.as_bytes()),
            Cow::Owned(text) => Cow::Owned(text.into_bytes()),
        },
    }
}

fn write_csv<'field>(out: &mut Vec<u8>, fields: impl Iterator<Item = Cow<'field, [u8]>>) {
    // The writer keeps a buffer; a small one, because it is made for every row and `out` is memory as well.
    let mut writer = csv::WriterBuilder::new()
        .terminator(csv::Terminator::CRLF)
        .buffer_capacity(512)
        .flexible(true)
        .from_writer(out);
    for field in fields {
        writer.write_field(&*field).expect("writing to memory does not fail");
    }
    writer.write_record(None::<&[u8]>).expect("writing to memory does not fail");
    writer.flush().expect("writing to memory does not fail");
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use proptest::prelude::*;

    use super::*;

    fn encode(encoding: Encoding, rows: &[[Option<&str>; 3]]) -> String {
        let columns = ["id", "a\"b", "tags"].map(|name| (name.to_owned(), ColumnKind::Any));
        let mut encoder = Encoder::new(encoding, &columns);
        let mut out = Vec::new();
        encoder.header(&mut out);
        for (place, row) in rows.iter().enumerate() {
            encoder.row(row.iter().map(|cell| cell.map(str::as_bytes)), place == 0, &mut out).unwrap();
        }
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn each_form_keeps_the_cells() {
        let rows = [
            [Some("\"1\""), None, Some("[\n  \"x y\",\r\n  \"q\\\"\\n\"\n]")],
            [Some("2.50"), Some("null"), Some("[]")],
        ];
        let json = r#"{"id":"1","a\"b":null,"tags":["x y","q\"\n"]},{"id":2.50,"a\"b":null,"tags":[]}"#;
        assert_eq!(encode(Encoding::Json, &rows), json);
        let lines = "{\"id\":\"1\",\"a\\\"b\":null,\"tags\":[\"x y\",\"q\\\"\\n\"]}\n{\"id\":2.50,\"a\\\"b\":null,\"tags\":[]}\n";
        assert_eq!(encode(Encoding::Ndjson, &rows), lines);
        let csv = "id,\"a\"\"b\",tags\r\n1,,\"[\"\"x y\"\",\"\"q\\\"\"\\n\"\"]\"\r\n2.50,,[]\r\n";
        assert_eq!(encode(Encoding::Csv, &rows), csv);
    }

    #[test]
    fn csv_text_is_unescaped_and_not_altered() {
        let row = [Some(r#""=1+1, \"x\"\r\nü""#), Some("true"), Some("\"\"")];
        assert_eq!(encode(Encoding::Csv, &[row]), "id,\"a\"\"b\",tags\r\n\"=1+1, \"\"x\"\"\r\nü\",true,\r\n");
    }

    proptest! {
        #[test]
        fn compacting_keeps_the_value(text in ".{0,12}", number in any::<i64>()) {
            let value = serde_json::json!({"a": [text, {"b": number}], "c\n": null});
            let mut out = Vec::new();
            push_compact(serde_json::to_string_pretty(&value).unwrap().as_bytes(), &mut out);
            prop_assert!(!out.contains(&b'\n'));
            prop_assert_eq!(serde_json::from_slice::<serde_json::Value>(&out).unwrap(), value);
        }

        #[test]
        fn csv_can_be_read_back(texts in prop::collection::vec(".{0,12}", 3)) {
            let cells: Vec<String> = texts.iter().map(|text| serde_json::to_string(text).unwrap()).collect();
            let mut encoder = Encoder::new(Encoding::Csv, &vec![(String::new(), ColumnKind::Any); 3]);
            let mut out = Vec::new();
            encoder.header(&mut out);
            encoder.row(cells.iter().map(|cell| Some(cell.as_bytes())), true, &mut out).unwrap();
            let mut reader = csv::ReaderBuilder::new().from_reader(out.as_slice());
            let record = reader.records().next().unwrap().unwrap();
            prop_assert_eq!(record.iter().collect::<Vec<_>>(), texts);
        }
    }
}
