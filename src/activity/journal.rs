//! The journal of one write: what was about to be sent, and what became of each record, appended line by line. What
//! [`Journal::append`] has acknowledged survives a power cut; appends that come together share one flush. Never decides
//! whether a record is sent again.

use std::collections::{BTreeMap, HashMap};
use std::path::Path;

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use tokio::sync::{mpsc, oneshot};

use super::error::ActivityError;
use super::model::{Record, RecordResult};
use super::upload::{blocking, not_kept};
use crate::clock::Timestamp;
use crate::files::{AppendFile, FileError};

/// Lines that may wait for the flush before them.
const WAITING_LINES: usize = 1024;
/// Longest line that is read back: a record as found, or a result.
pub(super) const LONGEST_LINE: usize = 16 * 1024 * 1024;
const READ_AT_ONCE: usize = 256 * 1024;

/// The first line: what the journal is about.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Header {
    /// 2.
    pub(super) version: u32,
    /// SHA-256 of the request, in hex: the same key with another request is refused.
    pub(super) fingerprint: String,
    /// The run that began it.
    pub(super) run: String,
    /// The text that marks its records at Graph.
    pub(super) mark: String,
}

/// One line.
#[derive(Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Line<'a> {
    Header(&'a Header),
    /// These records are about to be sent, at this time in milliseconds since 1970.
    Sent {
        at: i64,
        records: &'a [usize],
    },
    /// What a record came to, for good.
    Done(&'a RecordResult),
    /// What a run said about a record that a later run may do after all.
    Told(&'a RecordResult),
    /// Some of the records that the conditions found.
    Found(&'a [Record]),
    /// That was the last of them; how many they are.
    FoundAll(usize),
    /// A later run of the same request.
    Run(&'a str),
    /// The draft with this id is whole and about to be sent.
    Draft(&'a str),
}

/// Records in one line: few enough for a line to stay short.
const FOUND_IN_A_LINE: usize = 500;

/// The lines of all records that the conditions found.
pub(super) fn found(records: &[Record]) -> Vec<u8> {
    let mut text = Vec::new();
    for some in records.chunks(FOUND_IN_A_LINE) {
        Line::Found(some).write(&mut text);
    }
    Line::FoundAll(records.len()).write(&mut text);
    text
}

impl Line<'_> {
    /// Appends the line's text to `out`.
    pub(super) fn write(&self, out: &mut Vec<u8>) {
        // Strings, numbers and objects with text keys always become JSON.
        if serde_json::to_writer(&mut *out, self).is_ok() {
            out.push(b'\n');
        }
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "snake_case")]
enum ReadLine<'a> {
    Header(Header),
    Sent { at: i64, records: Vec<usize> },
    Done(#[serde(borrow)] &'a RawValue),
    Told(#[serde(borrow)] &'a RawValue),
    Found(Vec<Record>),
    FoundAll(usize),
    Run(String),
    Draft(String),
}

/// Where a result stands in the file.
#[derive(Clone, Copy, Debug)]
struct Place {
    position: u64,
    length: usize,
}

/// What an earlier run left.
#[derive(Debug, Default)]
pub(super) struct Earlier {
    pub(super) header: Option<Header>,
    /// The latest run.
    pub(super) run: Option<String>,
    /// Records that may have been sent and have no final result, with the last time when they were.
    pub(super) sent: BTreeMap<usize, Timestamp>,
    /// The draft that was about to be sent, unless a run told that it certainly was not.
    pub(super) draft: Option<String>,
    /// The records that the conditions found, when it went by conditions.
    pub(super) found: Option<Vec<Record>>,
    finding: Vec<Record>,
    done: HashMap<usize, Place>,
    told: HashMap<usize, Place>,
    file: Option<AppendFile>,
}

impl Earlier {
    /// Reads a journal. A last line that is not whole is left out, and with `cut` cut off: a crash left it so. Without, the
    /// journal may be in use.
    ///
    /// # Errors
    /// `Ok(Err(what))` when an acknowledged line is damaged; [`FileError`] when it cannot be read.
    pub(super) fn read(path: &Path, cut: bool) -> Result<Result<Self, String>, FileError> {
        let file = AppendFile::open(path)?;
        let (mut earlier, mut position, mut number) = (Self::default(), 0, 0);
        let (mut buffer, mut chunk) = (Vec::new(), vec![0; READ_AT_ONCE]);
        loop {
            let read = file.read_at(&mut chunk, position + buffer.len() as u64)?;
            buffer.extend_from_slice(&chunk[..read]);
            let mut start = 0;
            for end in memchr::memchr_iter(b'\n', &buffer) {
                number += 1;
                if let Err(error) = earlier.take_in(&buffer[start..end], position + start as u64) {
                    return Ok(Err(format!("line {number} is damaged ({error})")));
                }
                start = end + 1;
            }
            position += start as u64;
            buffer.drain(..start);
            if buffer.len() > LONGEST_LINE {
                return Ok(Err(format!("line {} is too long", number + 1)));
            }
            if read == 0 {
                break;
            }
        }
        if cut && !buffer.is_empty() {
            file.cut(position)?;
        }
        earlier.file = Some(file);
        Ok(Ok(earlier))
    }

    fn take_in(&mut self, line: &[u8], position: u64) -> Result<(), serde_json::Error> {
        let place = |value: &RawValue| {
            // The value is a part of the line, so it lies behind the line's beginning.
            let before = value.get().as_ptr() as usize - line.as_ptr() as usize;
            Place { position: position + before as u64, length: value.get().len() }
        };
        #[derive(Deserialize)]
        struct Index {
            index: usize,
        }
        match serde_json::from_slice(line)? {
            ReadLine::Header(header) => {
                self.run = Some(header.run.clone());
                self.header = Some(header);
            }
            ReadLine::Run(run) => {
                self.run = Some(run);
                self.finding.clear();
            }
            ReadLine::Found(records) => self.finding.extend(records),
            // Without this line the agent died in between, and nothing was sent yet.
            ReadLine::FoundAll(count) => {
                let found = std::mem::take(&mut self.finding);
                self.found = (found.len() == count).then_some(found);
            }
            ReadLine::Draft(id) => self.draft = Some(id),
            ReadLine::Sent { at, records } => {
                let at = Timestamp::from_millis(at);
                let open = records.into_iter().filter(|index| !self.done.contains_key(index));
                self.sent.extend(open.map(|index| (index, at)));
            }
            ReadLine::Done(result) => {
                let Index { index } = serde_json::from_str(result.get())?;
                self.sent.remove(&index);
                self.done.insert(index, place(result));
            }
            ReadLine::Told(result) => {
                let told: RecordResult = serde_json::from_str(result.get())?;
                if told.was_surely_not_done() {
                    self.sent.remove(&told.index);
                    self.draft = None;
                }
                self.told.insert(told.index, place(result));
            }
        }
        Ok(())
    }

    /// Whether a record has its final result.
    pub(super) fn is_done(&self, index: usize) -> bool {
        self.done.contains_key(&index)
    }

    /// The final result of a record.
    ///
    /// # Errors
    /// [`ActivityError::NotKept`] when it cannot be read back.
    pub(super) fn done(&self, index: usize) -> Result<Option<RecordResult>, ActivityError> {
        self.done.get(&index).map(|place| self.result(*place)).transpose()
    }

    /// The result of a record as the latest run told it.
    ///
    /// # Errors
    /// As [`Earlier::done`].
    pub(super) fn told(&self, index: usize) -> Result<Option<RecordResult>, ActivityError> {
        let place = self.done.get(&index).or_else(|| self.told.get(&index));
        place.map(|place| self.result(*place)).transpose()
    }

    /// One more than the largest number of a record that has a result.
    pub(super) fn results(&self) -> usize {
        self.done.keys().chain(self.told.keys()).max().map_or(0, |index| index + 1)
    }

    fn result(&self, place: Place) -> Result<RecordResult, ActivityError> {
        let damaged = || {
            not_kept(
                "a kept result cannot be read back; repeat with another key after a look at the records.",
            )
        };
        let file = self.file.as_ref().ok_or_else(damaged)?;
        let mut text = vec![0; place.length];
        let mut filled = 0;
        while filled < text.len() {
            let read = file
                .read_at(&mut text[filled..], place.position + filled as u64)
                .map_err(|error| not_kept(&error.to_string()))?;
            if read == 0 {
                return Err(damaged());
            }
            filled += read;
        }
        serde_json::from_slice(&text).map_err(|_| damaged())
    }
}

/// The writing end of a journal. Clones write to the same file.
#[derive(Clone, Debug)]
pub(super) struct Journal {
    lines: mpsc::Sender<Entry>,
}

#[derive(Debug)]
struct Entry {
    text: Vec<u8>,
    durable: oneshot::Sender<bool>,
}

impl Journal {
    /// Appends to `file` until the last clone is dropped, in a task of its own.
    pub(super) fn to(file: AppendFile) -> Self {
        let (lines, waiting) = mpsc::channel(WAITING_LINES);
        tokio::spawn(write_down(file, waiting));
        Self { lines }
    }

    /// Returns when `text` (whole lines) is durable.
    ///
    /// # Errors
    /// Unit, when the disk does not take it; nothing more can be appended then.
    pub(super) async fn append(&self, text: Vec<u8>) -> Result<(), ()> {
        let (durable, told) = oneshot::channel();
        self.lines.send(Entry { text, durable }).await.map_err(|_| ())?;
        match told.await {
            Ok(true) => Ok(()),
            _ => Err(()),
        }
    }
}

async fn write_down(mut file: AppendFile, mut waiting: mpsc::Receiver<Entry>) {
    while let Some(first) = waiting.recv().await {
        let mut entries = vec![first];
        while let Ok(entry) = waiting.try_recv() {
            entries.push(entry);
        }
        let text: Vec<u8> = entries.iter().flat_map(|entry| &entry.text).copied().collect();
        let written = blocking(move || {
            file.append(&text).and_then(|()| file.sync()).map_err(|error| not_kept(&error.to_string()))?;
            Ok(file)
        });
        let (good, file_again) = match written.await {
            Ok(file) => (true, Some(file)),
            Err(error) => {
                tracing::error!(%error, "The journal of a run cannot be written; the run stops.");
                (false, None)
            }
        };
        for entry in entries {
            let _gone_with_its_run = entry.durable.send(good);
        }
        match file_again {
            Some(again) => file = again,
            // Dropping the receiver answers everybody who still waits.
            None => return,
        }
    }
}

#[cfg(test)]
#[path = "journal_tests.rs"]
mod tests;
