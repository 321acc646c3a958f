//! Bytes of files and attachments: in memory, generated from a seed, or in a file that nobody else can see.
//! Never holds a large content in memory: readers get it piece by piece.

use crate::random::{mix, seed_of};
use bytes::Bytes;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::sync::{Arc, OnceLock};

/// The generated pattern repeats after so many bytes, except for the page numbers in it.
const PATTERN: usize = 1 << 20;
/// Every page of a generated content begins with its number.
const PAGE: u64 = 4096;

/// Bytes that do not change any more.
#[derive(Debug)]
pub(crate) enum Content {
    /// A few bytes.
    Memory(Bytes),
    /// Pseudo-random bytes that follow from the seed and their place.
    Generated {
        /// Decides the bytes.
        seed: u64,
        /// How many.
        length: u64,
    },
    /// Bytes in a file without a name.
    Stored {
        /// The file.
        file: File,
        /// How many.
        length: u64,
    },
}

impl Content {
    /// How many bytes there are.
    pub(crate) fn length(&self) -> u64 {
        match self {
            Self::Memory(bytes) => bytes.len() as u64,
            Self::Generated { length, .. } | Self::Stored { length, .. } => *length,
        }
    }

    /// So many bytes from there, or as many as there are.
    pub(crate) fn read(&self, offset: u64, most: usize) -> io::Result<Bytes> {
        let end = (offset + most as u64).min(self.length());
        let wanted = end.saturating_sub(offset) as usize;
        match self {
            Self::Memory(bytes) => Ok(bytes.slice(offset.min(end) as usize..end as usize)),
            Self::Generated { seed, .. } => Ok(generated(*seed, offset, wanted)),
            Self::Stored { file, .. } => {
                let mut buffer = vec![0; wanted];
                file.read_exact_at(&mut buffer, offset)?;
                Ok(buffer.into())
            }
        }
    }

    /// All of it, for contents that are known to be small enough.
    pub(crate) fn whole(&self) -> io::Result<Bytes> {
        self.read(0, self.length() as usize)
    }
}

/// A part of a content, for one answer.
#[derive(Debug, Clone)]
pub(crate) struct Slice {
    /// Of what.
    pub(crate) content: Arc<Content>,
    /// The first byte.
    pub(crate) start: u64,
    /// How many bytes.
    pub(crate) length: u64,
}

/// A content that is being written, in order.
#[derive(Debug)]
pub(crate) struct Spool {
    file: File,
    /// How many bytes have been written.
    pub(crate) length: u64,
}

impl Spool {
    /// An empty one; its file has lost its name before the first byte is written.
    pub(crate) fn new(name: &str) -> io::Result<Self> {
        let unique = format!("o365-sandbox-{}-{:016x}", std::process::id(), seed_of(name));
        let path = std::env::temp_dir().join(unique);
        let file = File::options().read(true).write(true).create_new(true).open(&path)?;
        std::fs::remove_file(&path)?;
        Ok(Self { file, length: 0 })
    }

    /// Adds bytes at the end.
    pub(crate) fn append(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.file.write_all_at(bytes, self.length)?;
        self.length += bytes.len() as u64;
        Ok(())
    }

    /// What was written.
    pub(crate) fn finish(self) -> Content {
        Content::Stored { file: self.file, length: self.length }
    }
}

fn generated(seed: u64, offset: u64, length: usize) -> Bytes {
    static BLOCK: OnceLock<Vec<u8>> = OnceLock::new();
    let block = BLOCK
        .get_or_init(|| (0..PATTERN as u64 / 8).flat_map(|word| mix(7, word, 90).to_le_bytes()).collect());
    let shift = seed.wrapping_mul(8) % PATTERN as u64;
    let mut bytes = Vec::with_capacity(length);
    let mut at = offset;
    let end = offset + length as u64;
    while at < end {
        let from = ((at + shift) % PATTERN as u64) as usize;
        let piece = (end - at).min((PATTERN - from) as u64) as usize;
        bytes.extend_from_slice(&block[from..from + piece]);
        at += piece as u64;
    }
    // The pages' numbers make every page different, so that a page in the wrong place is found out.
    for page in offset / PAGE..=end / PAGE {
        for (index, byte) in mix(seed, page, 91).to_le_bytes().into_iter().enumerate() {
            let place = page * PAGE + index as u64;
            if (offset..end).contains(&place) {
                bytes[(place - offset) as usize] = byte;
            }
        }
    }
    bytes.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn generated_bytes_do_not_depend_on_how_they_are_read() {
        let content = Content::Generated { seed: 5, length: 3_000_000 };
        let whole = content.whole().unwrap();
        assert_eq!(whole.len(), 3_000_000);
        for (offset, most) in [(0, 10), (4095, 9000), (1_048_570, 20), (2_999_990, 100), (3_000_000, 5)] {
            let piece = content.read(offset, most).unwrap();
            let end = (offset as usize + most).min(whole.len());
            assert_eq!(piece, whole.slice(offset as usize..end));
        }
        assert_ne!(whole.slice(..4096), whole.slice(1_048_576..1_052_672));
    }

    #[test]
    fn a_spool_comes_back_as_it_was_written() {
        let mut spool = Spool::new("test").unwrap();
        spool.append(b"one ").unwrap();
        spool.append(b"two").unwrap();
        let content = spool.finish();
        assert_eq!(content.whole().unwrap(), "one two");
        assert_eq!(content.read(4, 100).unwrap(), "two");
    }
}
