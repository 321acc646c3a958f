//! Records out of streamed text: NDJSON (one object a line) and CSV (a header, then rows). One record at a time, each
//! bounded; what cannot be read is an error that says which record, line and column. Never knows an object's columns and
//! never keeps more than one record.

use std::io::{self, BufRead, BufReader, Read};

use serde_json::{Map, Value};

use super::model::Record;

/// Longest record in bytes of text. Microsoft Graph takes at most 4 MiB a request.
pub const LONGEST_RECORD: usize = 4 * 1024 * 1024;
/// Most columns of a CSV. The widest object of Graph has a tenth of them.
const MOST_COLUMNS: usize = 4096;

/// The form of streamed records.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RecordFormat {
    /// `application/x-ndjson`: one JSON object a line; empty lines are left out.
    Ndjson,
    /// `text/csv` (RFC 4180): a header row with the columns' names. An empty cell gives the record no such column.
    Csv,
}

/// Why records cannot be read: a sentence with the record, the line and the column.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct InputFault(pub String);

/// Reads records one after the other. After an error there are none.
pub struct RecordReader<R> {
    source: Source<R>,
    next: usize,
    ended: bool,
}

enum Source<R> {
    Lines { reader: BufReader<R>, line: u64 },
    Table { reader: Box<csv::Reader<Rationed<R>>>, columns: Option<Vec<String>> },
}

impl<R> std::fmt::Debug for RecordReader<R> {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("RecordReader").field("next", &self.next).finish_non_exhaustive()
    }
}

impl<R: Read> RecordReader<R> {
    /// Nothing is read yet.
    pub fn new(input: R, format: RecordFormat) -> Self {
        let source = match format {
            RecordFormat::Ndjson => {
                Source::Lines { reader: BufReader::with_capacity(64 * 1024, input), line: 0 }
            }
            RecordFormat::Csv => {
                let input = Rationed { input, left: LONGEST_RECORD };
                let reader = csv::ReaderBuilder::new().has_headers(false).flexible(true).from_reader(input);
                Source::Table { reader: Box::new(reader), columns: None }
            }
        };
        Self { source, next: 0, ended: false }
    }

    /// What it reads from, at whatever place it is.
    pub(super) fn into_inner(self) -> R {
        match self.source {
            Source::Lines { reader, .. } => reader.into_inner(),
            Source::Table { reader, .. } => reader.into_inner().input,
        }
    }

    /// The next record.
    ///
    /// # Errors
    /// [`InputFault`]; nothing can be read after it.
    pub fn read(&mut self) -> Result<Option<Record>, InputFault> {
        if self.ended {
            return Ok(None);
        }
        let record = match &mut self.source {
            Source::Lines { reader, line } => next_line(reader, line, self.next),
            Source::Table { reader, columns } => next_row(reader, columns, self.next),
        };
        self.ended = !matches!(record, Ok(Some(_)));
        self.next += usize::from(!self.ended);
        record
    }
}

fn next_line<R: Read>(
    reader: &mut BufReader<R>,
    line: &mut u64,
    record: usize,
) -> Result<Option<Record>, InputFault> {
    let mut text = Vec::new();
    loop {
        text.clear();
        *line += 1;
        let limit = LONGEST_RECORD as u64 + 2;
        let read = reader.by_ref().take(limit).read_until(b'\n', &mut text);
        read.map_err(|error| unreadable(record, *line, &error))?;
        if text.is_empty() {
            return Ok(None);
        }
        if text.len() > LONGEST_RECORD + 1 {
            return Err(too_long(record, *line));
        }
        // A byte order mark, as some editors write it, is no part of the first record.
        let content = if *line == 1 { text.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(&text) } else { &text };
        if content.trim_ascii().is_empty() {
            continue;
        }
        return match serde_json::from_slice::<Value>(content) {
            Ok(Value::Object(fields)) => Ok(Some(fields)),
            Ok(_) => Err(InputFault(format!(
                "Record {record} (line {line}) is no JSON object. Write one object a line, such as {{\"givenName\": \"Ada\"}}."
            ))),
            Err(error) => Err(InputFault(format!(
                "Record {record} (line {line}, column {}) is no JSON object: {}. Write one object a line, without line breaks inside.",
                error.column(),
                reason(&error)
            ))),
        };
    }
}

/// What is wrong, without the place, which is told in our own words.
fn reason(error: &serde_json::Error) -> String {
    let text = error.to_string();
    text.split(" at line ").next().unwrap_or_default().to_owned()
}

fn next_row<R: Read>(
    reader: &mut csv::Reader<Rationed<R>>,
    columns: &mut Option<Vec<String>>,
    record: usize,
) -> Result<Option<Record>, InputFault> {
    let names = match columns {
        Some(names) => names,
        empty => match row(reader, None)? {
            None => return Ok(None),
            Some(header) => empty.insert(header_names(&header)?),
        },
    };
    let Some(cells) = row(reader, Some(record))? else { return Ok(None) };
    let line = cells.position().map_or(0, csv::Position::line);
    if cells.len() != names.len() {
        return Err(InputFault(format!(
            "Record {record} (line {line}) has {} cells, and the header has {} columns. Correct the row; a cell with a comma or a line break stands in double quotes.",
            cells.len(),
            names.len()
        )));
    }
    let mut fields = Map::new();
    for (name, cell) in names.iter().zip(cells.iter()) {
        if !cell.is_empty() {
            fields.insert(name.clone(), Value::from(cell));
        }
    }
    Ok(Some(fields))
}

fn header_names(header: &csv::StringRecord) -> Result<Vec<String>, InputFault> {
    let fault = |what: String| Err(InputFault(what));
    if header.len() > MOST_COLUMNS {
        return fault(format!(
            "The CSV header has {} columns; at most {MOST_COLUMNS} are taken.",
            header.len()
        ));
    }
    let names: Vec<String> = header.iter().map(|name| name.trim().to_owned()).collect();
    for (place, name) in names.iter().enumerate() {
        let number = place + 1;
        if name.is_empty() {
            return fault(format!(
                "Column {number} of the CSV header has no name. The first row names the columns."
            ));
        }
        if names[..place].iter().any(|earlier| earlier.eq_ignore_ascii_case(name)) {
            let name = crate::error::clean_foreign_text(name);
            return fault(format!("The CSV header names the column '{name}' twice. Remove one."));
        }
    }
    Ok(names)
}

fn row<R: Read>(
    reader: &mut csv::Reader<Rationed<R>>,
    record: Option<usize>,
) -> Result<Option<csv::StringRecord>, InputFault> {
    reader.get_mut().left = LONGEST_RECORD;
    let mut cells = csv::StringRecord::new();
    let line = reader.position().line();
    match reader.read_record(&mut cells) {
        Ok(true) => Ok(Some(cells)),
        Ok(false) => Ok(None),
        Err(error) => {
            let place =
                record.map_or_else(|| "The CSV header".to_owned(), |record| format!("Record {record}"));
            Err(match error.into_kind() {
                csv::ErrorKind::Utf8 { err, .. } => InputFault(format!(
                    "{place} (line {line}, cell {}) is not UTF-8. Save the file as UTF-8.",
                    err.field() + 1
                )),
                csv::ErrorKind::Io(error) if error.kind() == io::ErrorKind::FileTooLarge => {
                    too_long(record.unwrap_or(0), line)
                }
                csv::ErrorKind::Io(error) => unreadable(record.unwrap_or(0), line, &error),
                _ => InputFault(format!("{place} (line {line}) is no CSV row.")),
            })
        }
    }
}

fn too_long(record: usize, line: u64) -> InputFault {
    InputFault(format!(
        "Record {record} (line {line}) is longer than {LONGEST_RECORD} bytes, more than Microsoft Graph takes in one request. Shorten it; a quote that is not closed also makes a record long."
    ))
}

fn unreadable(record: usize, line: u64, error: &io::Error) -> InputFault {
    InputFault(format!("Record {record} (line {line}) could not be read back: {error}."))
}

/// Gives out at most a ration of bytes before it is filled up again, so that one endless record cannot fill the memory.
struct Rationed<R> {
    input: R,
    left: usize,
}

impl<R: Read> Read for Rationed<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.left == 0 {
            return Err(io::ErrorKind::FileTooLarge.into());
        }
        let most = buffer.len().min(self.left);
        let read = self.input.read(&mut buffer[..most])?;
        self.left -= read;
        Ok(read)
    }
}

#[cfg(test)]
#[path = "input_tests.rs"]
mod tests;
