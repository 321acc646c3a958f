//! What a file looks like from outside, and reading it only while it looks like that. Never believes contents that
//! changed while they were read.

use std::fs::Metadata;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use super::{FileError, open_to_read, read_opened};

/// What tells one state of a file from another. A write, a rename and a change of mode or owner all move `changed`,
/// which, unlike `modified`, no program can set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stamp {
    /// Bytes.
    pub size: u64,
    /// When its contents were last changed, in nanoseconds since 1970 (`st_mtim`).
    pub modified: i128,
    /// When its contents or its properties were last changed, in nanoseconds since 1970 (`st_ctim`).
    pub changed: i128,
    /// Its number in the file system; another file under the same name has another one.
    pub inode: u64,
}

impl Stamp {
    /// The stamp in `metadata`.
    pub fn of(metadata: &Metadata) -> Self {
        let nanoseconds = |seconds: i64, rest: i64| i128::from(seconds) * 1_000_000_000 + i128::from(rest);
        Self {
            size: metadata.size(),
            modified: nanoseconds(metadata.mtime(), metadata.mtime_nsec()),
            changed: nanoseconds(metadata.ctime(), metadata.ctime_nsec()),
            inode: metadata.ino(),
        }
    }
}

/// As [`super::read_bounded`], but only if the opened file looks like `seen` before the first byte is read and after the
/// last one. `None`: somebody is at work on the file, so what was read may be half of something.
///
/// # Errors
/// As [`super::read_bounded`].
pub fn read_unchanged(path: &Path, limit: u64, seen: &Stamp) -> Result<Option<Vec<u8>>, FileError> {
    let file = open_to_read(path)?;
    let looks_the_same = || {
        let metadata = file.metadata().map_err(FileError::io(path, "reading its properties"))?;
        Ok::<_, FileError>(Stamp::of(&metadata) == *seen)
    };
    if !looks_the_same()? {
        return Ok(None);
    }
    let read = read_opened(path, &file, limit);
    if !looks_the_same()? {
        return Ok(None);
    }
    read.map(Some)
}

#[cfg(test)]
mod tests {
    use super::super::write_private;
    use super::*;

    #[test]
    fn only_what_was_seen_is_read() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a");
        write_private(&path, b"whole").unwrap();
        let stamp = || Stamp::of(&std::fs::metadata(&path).unwrap());
        let seen = stamp();
        assert_eq!(read_unchanged(&path, 10, &seen).unwrap().as_deref(), Some(&b"whole"[..]));
        // The same size and the same time of modification: only the time of change tells.
        let modified = std::fs::metadata(&path).unwrap().modified().unwrap();
        write_private(&path, b"other").unwrap();
        let file = std::fs::File::options().write(true).open(&path).unwrap();
        file.set_times(std::fs::FileTimes::new().set_modified(modified)).unwrap();
        assert_eq!(read_unchanged(&path, 10, &Stamp { inode: stamp().inode, ..seen }).unwrap(), None);
        assert_eq!(read_unchanged(&path, 10, &stamp()).unwrap().as_deref(), Some(&b"other"[..]));
    }
}
