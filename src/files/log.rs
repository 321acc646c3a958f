//! Files that grow: logs that are appended to and read back by position, and nameless ones that hold what is too large
//! for memory. Never rewrites what was written, never follows a link, never leaves a nameless file behind.

use std::fs::{File, OpenOptions};
use std::io::Write;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use super::{FileError, parent, sync_folder};
use crate::secret;

/// A private file that is only appended to.
#[derive(Debug)]
pub struct AppendFile {
    file: File,
    path: PathBuf,
}

impl AppendFile {
    /// Makes a new file (mode 0600); its name is durable when this returns.
    ///
    /// # Errors
    /// [`FileError::Io`], also when the file exists already.
    pub fn make(path: &Path) -> Result<Self, FileError> {
        let file = options().create_new(true).open(path).map_err(FileError::io(path, "creating"))?;
        sync_folder(&parent(path))?;
        Ok(Self { file, path: path.to_owned() })
    }

    /// Opens a file, which is made when missing, to append to it.
    ///
    /// # Errors
    /// [`FileError::NotRegular`], [`FileError::Io`].
    pub fn open(path: &Path) -> Result<Self, FileError> {
        let file = options().create(true).open(path).map_err(FileError::io(path, "opening"))?;
        if !file.metadata().map_err(FileError::io(path, "reading its properties"))?.is_file() {
            return Err(FileError::NotRegular { path: path.display().to_string() });
        }
        Ok(Self { file, path: path.to_owned() })
    }

    /// Appends. A killed process cannot take it back; a power cut can, until [`AppendFile::sync`] has returned.
    ///
    /// # Errors
    /// [`FileError::Io`]; a part may have been written.
    pub fn append(&mut self, bytes: &[u8]) -> Result<(), FileError> {
        self.file.write_all(bytes).map_err(FileError::io(&self.path, "writing"))
    }

    /// Returns when everything appended is on the disk.
    ///
    /// # Errors
    /// [`FileError::Io`].
    pub fn sync(&self) -> Result<(), FileError> {
        self.file.sync_data().map_err(FileError::io(&self.path, "flushing to disk"))
    }

    /// Cuts the file to `length` bytes: a line that a crash left half written goes.
    ///
    /// # Errors
    /// [`FileError::Io`].
    pub fn cut(&self, length: u64) -> Result<(), FileError> {
        self.file.set_len(length).map_err(FileError::io(&self.path, "cutting"))
    }

    /// How long it is.
    ///
    /// # Errors
    /// [`FileError::Io`].
    pub fn length(&self) -> Result<u64, FileError> {
        let metadata = self.file.metadata().map_err(FileError::io(&self.path, "reading its properties"))?;
        Ok(metadata.len())
    }

    /// Reads at a position, as [`std::os::unix::fs::FileExt::read_at`].
    ///
    /// # Errors
    /// [`FileError::Io`].
    pub fn read_at(&self, buffer: &mut [u8], position: u64) -> Result<usize, FileError> {
        self.file.read_at(buffer, position).map_err(FileError::io(&self.path, "reading"))
    }

    /// A second handle on the same file.
    ///
    /// # Errors
    /// [`FileError::Io`].
    pub fn again(&self) -> Result<Self, FileError> {
        let file = self.file.try_clone().map_err(FileError::io(&self.path, "opening"))?;
        Ok(Self { file, path: self.path.clone() })
    }
}

#[expect(clippy::disallowed_methods, reason = "this is the files module")]
fn options() -> OpenOptions {
    let flags = rustix::fs::OFlags::NOFOLLOW | rustix::fs::OFlags::CLOEXEC | rustix::fs::OFlags::NONBLOCK;
    let mut options = OpenOptions::new();
    options.read(true).append(true).mode(0o600).custom_flags(flags.bits().cast_signed());
    options
}

/// A nameless file in `folder`, to write and then read from its beginning. It is gone with its last handle, however the
/// process ends.
///
/// # Errors
/// [`FileError::Io`].
#[expect(clippy::disallowed_methods, reason = "this is the files module")]
pub fn nameless(folder: &Path) -> Result<File, FileError> {
    let path = folder.join(format!(".spool.{}.tmp", secret::random_hex(6)));
    let file = OpenOptions::new()
        .read(true)
        .write(true)
        .create_new(true)
        .mode(0o600)
        .custom_flags(rustix::fs::OFlags::CLOEXEC.bits().cast_signed())
        .open(&path)
        .map_err(FileError::io(&path, "creating"))?;
    std::fs::remove_file(&path).map_err(FileError::io(&path, "removing"))?;
    Ok(file)
}

/// The regular files in `folder`: names, sizes in bytes, and when they were last written, in seconds since 1970.
///
/// # Errors
/// [`FileError::Io`].
pub fn list(folder: &Path) -> Result<Vec<(String, u64, i64)>, FileError> {
    use std::os::unix::fs::MetadataExt;
    let entries = std::fs::read_dir(folder).map_err(FileError::io(folder, "listing"))?;
    let described = entries.flatten().filter_map(|entry| {
        let metadata = entry.metadata().ok().filter(std::fs::Metadata::is_file)?;
        Some((entry.file_name().to_string_lossy().into_owned(), metadata.len(), metadata.mtime()))
    });
    Ok(described.collect())
}

/// The size of a file in bytes.
pub fn size(path: &Path) -> Option<u64> {
    std::fs::symlink_metadata(path).ok().map(|metadata| metadata.len())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::io::{Read, Seek};

    use super::*;

    #[test]
    fn a_log_grows_is_read_by_position_and_can_be_cut() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.log");
        let mut log = AppendFile::make(&path).unwrap();
        log.append(b"one\n").unwrap();
        log.append(b"tw").unwrap();
        log.sync().unwrap();
        assert!(AppendFile::make(&path).is_err(), "an existing file is not made anew");
        let mut again = AppendFile::open(&path).unwrap();
        again.cut(4).unwrap();
        again.append(b"two\n").unwrap();
        let mut buffer = [0; 16];
        assert_eq!((again.read_at(&mut buffer, 4).unwrap(), &buffer[..4]), (4, b"two\n".as_slice()));
        assert_eq!(list(folder.path()).unwrap()[0].1, 8);
        std::os::unix::fs::symlink(&path, folder.path().join("l")).unwrap();
        assert!(matches!(AppendFile::open(&folder.path().join("l")), Err(FileError::NotRegular { .. })));
    }

    #[test]
    fn a_nameless_file_leaves_nothing_behind() {
        let folder = tempfile::tempdir().unwrap();
        let mut file = nameless(folder.path()).unwrap();
        file.write_all(b"rows").unwrap();
        file.rewind().unwrap();
        let mut text = String::new();
        file.read_to_string(&mut text).unwrap();
        assert_eq!((text.as_str(), list(folder.path()).unwrap().len()), ("rows", 0));
    }
}
