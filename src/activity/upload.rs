//! Records that arrive as a stream: kept aside until the last byte is there, read through once to find faults and count
//! them, and only then handed on. So a body that breaks off, or has a fault in its last line, writes nothing at all.
//! Never holds more than a small body in memory.

use std::fs::File;
use std::io::{self, Cursor, Read, Seek, Write};
use std::path::{Path, PathBuf};

use aws_lc_rs::digest::{Context, SHA256};

use super::error::ActivityError;
use super::input::{RecordFormat, RecordReader};
use super::model::Record;
use crate::files;

/// Longest streamed body in bytes.
const LONGEST_BODY: u64 = 2 * 1024 * 1024 * 1024;
/// Most records in one call.
pub(super) const MOST_RECORDS: usize = 1_000_000;
/// Bodies up to this size stay in memory; longer ones go to the disk in pieces of this size.
const IN_MEMORY: usize = 512 * 1024;

/// A body on its way in.
#[derive(Debug)]
pub struct Upload {
    format: RecordFormat,
    folder: PathBuf,
    memory: Vec<u8>,
    file: Option<File>,
    bytes: u64,
    digest: Digest,
}

struct Digest(Context);

impl std::fmt::Debug for Digest {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("Digest")
    }
}

impl Upload {
    /// An empty body; what is too large for memory goes to a nameless file in `folder`.
    pub(super) fn new(format: RecordFormat, folder: &Path) -> Self {
        let digest = Digest(Context::new(&SHA256));
        Self { format, folder: folder.to_owned(), memory: Vec::new(), file: None, bytes: 0, digest }
    }

    /// Takes the next piece of the body.
    ///
    /// # Errors
    /// [`ActivityError::TooLarge`], or [`ActivityError::NotKept`] when the disk does not take it.
    pub async fn push(&mut self, piece: &[u8]) -> Result<(), ActivityError> {
        self.bytes += piece.len() as u64;
        if self.bytes > LONGEST_BODY {
            let message = format!(
                "The body is longer than {LONGEST_BODY} bytes. Split the records over several calls."
            );
            return Err(ActivityError::TooLarge { message });
        }
        self.digest.0.update(piece);
        self.memory.extend_from_slice(piece);
        if self.memory.len() > IN_MEMORY {
            self.spill().await?;
        }
        Ok(())
    }

    async fn spill(&mut self) -> Result<(), ActivityError> {
        let (file, folder) = (self.file.take(), self.folder.clone());
        let mut piece = std::mem::take(&mut self.memory);
        let (file, piece) = blocking(move || {
            let mut file = match file {
                Some(file) => file,
                None => files::nameless(&folder).map_err(|error| not_kept(&error.to_string()))?,
            };
            file.write_all(&piece).map_err(|error| not_kept(&error.to_string()))?;
            piece.clear();
            Ok((file, piece))
        })
        .await?;
        (self.file, self.memory) = (Some(file), piece);
        Ok(())
    }

    /// The whole body is here: reads it through once.
    ///
    /// # Errors
    /// [`ActivityError::BadRequest`] with the place of the first fault.
    pub async fn finish(mut self) -> Result<StreamedRecords, ActivityError> {
        if self.file.is_some() && !self.memory.is_empty() {
            self.spill().await?;
        }
        let mut digest = [0; 32];
        digest.copy_from_slice(self.digest.0.finish().as_ref());
        let body = match self.file {
            Some(file) => Body::File(file),
            None => Body::Memory(Cursor::new(self.memory)),
        };
        let format = self.format;
        let (body, count) = blocking(move || {
            let mut reader = RecordReader::new(body.rewound()?, format);
            let mut count = 0;
            while reader.read().map_err(bad_record)?.is_some() {
                count += 1;
                if count > MOST_RECORDS {
                    return Err(too_many());
                }
            }
            Ok((reader.into_inner().rewound()?, count))
        })
        .await?;
        Ok(StreamedRecords { reader: Some(RecordReader::new(body, format)), count, digest })
    }
}

/// Records read from a body that has been looked through.
#[derive(Debug)]
pub struct StreamedRecords {
    reader: Option<RecordReader<Body>>,
    pub(super) count: usize,
    pub(super) digest: [u8; 32],
}

#[derive(Debug)]
enum Body {
    Memory(Cursor<Vec<u8>>),
    File(File),
}

impl Body {
    fn rewound(mut self) -> Result<Self, ActivityError> {
        match &mut self {
            Self::Memory(bytes) => bytes.rewind(),
            Self::File(file) => file.rewind(),
        }
        .map_err(|error| not_kept(&error.to_string()))?;
        Ok(self)
    }
}

impl Read for Body {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Memory(bytes) => bytes.read(buffer),
            Self::File(file) => file.read(buffer),
        }
    }
}

/// Where the records of a write come from.
#[derive(Debug)]
pub(super) enum Source {
    /// From a JSON body, or found by conditions.
    Given(std::vec::IntoIter<Record>),
    /// From a streamed body.
    Streamed(StreamedRecords),
}

impl Source {
    /// How many there are in all.
    pub(super) fn total(&self) -> usize {
        match self {
            Self::Given(records) => records.len(),
            Self::Streamed(records) => records.count,
        }
    }

    /// The next records, at most `most`; none at the end.
    ///
    /// # Errors
    /// [`ActivityError::NotKept`], when the body cannot be read back.
    pub(super) async fn next(&mut self, most: usize) -> Result<Vec<Record>, ActivityError> {
        match self {
            Self::Given(records) => Ok(records.by_ref().take(most).collect()),
            Self::Streamed(streamed) => {
                let Some(mut reader) = streamed.reader.take() else { return Ok(Vec::new()) };
                let (reader, records) = blocking(move || {
                    let mut records = Vec::new();
                    while records.len() < most
                        && let Some(record) = reader.read().map_err(bad_record)?
                    {
                        records.push(record);
                    }
                    Ok((reader, records))
                })
                .await?;
                streamed.reader = Some(reader);
                Ok(records)
            }
        }
    }
}

pub(super) fn too_many() -> ActivityError {
    let message = format!("There are more than {MOST_RECORDS} records. Split them over several calls.");
    ActivityError::TooLarge { message }
}

fn bad_record(fault: super::input::InputFault) -> ActivityError {
    ActivityError::field("bad_record", "records", fault.0)
}

/// The state directory did not take or give what it should.
pub(super) fn not_kept(what: &str) -> ActivityError {
    ActivityError::NotKept { message: format!("The state directory cannot be used: {what}") }
}

/// Runs work that touches the disk off the async threads.
///
/// # Errors
/// Those of `work`.
pub(super) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, ActivityError> + Send + 'static,
) -> Result<T, ActivityError> {
    match tokio::task::spawn_blocking(work).await {
        Ok(result) => result,
        Err(failed) if failed.is_panic() => std::panic::resume_unwind(failed.into_panic()),
        // Only a runtime that is being shut down cancels blocking work.
        Err(_) => Err(not_kept("the agent is stopping.")),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use serde_json::json;

    use super::*;

    async fn upload(pieces: &[&[u8]]) -> Result<StreamedRecords, ActivityError> {
        let folder = tempfile::tempdir().unwrap();
        let mut upload = Upload::new(RecordFormat::Ndjson, folder.path());
        for piece in pieces {
            upload.push(piece).await?;
        }
        upload.finish().await
    }

    #[tokio::test]
    async fn small_and_large_bodies_come_back_record_by_record() {
        let filler = "x".repeat(1000);
        for count in [0, 1, 3, 2500] {
            let lines: Vec<String> =
                (0..count).map(|n| format!("{}\n", json!({"n": n, "filler": filler}))).collect();
            let pieces: Vec<&[u8]> = lines.iter().map(String::as_bytes).collect();
            let streamed = upload(&pieces).await.unwrap();
            assert_eq!((streamed.count, streamed.digest), (count, upload(&pieces).await.unwrap().digest));
            let mut source = Source::Streamed(streamed);
            let mut seen = 0;
            loop {
                let records = source.next(700).await.unwrap();
                if records.is_empty() {
                    break;
                }
                for record in records {
                    assert_eq!(record["n"], seen);
                    seen += 1;
                }
            }
            assert_eq!(seen, count);
        }
    }

    #[tokio::test]
    async fn a_fault_in_the_last_line_refuses_the_whole_body() {
        let error = upload(&[b"{\"a\":1}\n{\"a\":2}\n", b"{\"a\":"]).await.unwrap_err();
        assert!(matches!(error, ActivityError::BadRequest { .. }));
        assert!(error.message().contains("Record 2 (line 3"), "{error}");
    }
}
