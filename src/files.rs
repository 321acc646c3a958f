//! The only writer of files: private folders, atomic durable writes, locks, and careful bounded reads.
//! Never follows a link at the last path component, never writes outside mode 0600/0700, never deletes a lock file.

use std::fs::{File, OpenOptions};
use std::io::{self, Read};
use std::os::unix::fs::{DirBuilderExt, FileExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::secret;

mod confined;
mod lock;
mod log;
mod stamp;

pub use confined::{Confined, ConfinedError, ConfinedFile, PartialFile};
pub use lock::FileLock;
pub use log::{AppendFile, list, nameless, size};
pub use stamp::{Stamp, read_unchanged};

/// What went wrong with a file, with the path and what to do about it.
#[derive(Debug, thiserror::Error)]
pub enum FileError {
    /// The operating system refused.
    #[error("{path}: {action} failed: {source}.{}", remedy(source))]
    Io {
        /// The file or folder.
        path: String,
        /// What was tried, as a noun.
        action: &'static str,
        /// The operating system's answer.
        source: io::Error,
    },
    /// Longer than the bound.
    #[error("{path}: larger than the limit of {limit} bytes. Make the file smaller.")]
    TooLarge {
        /// The file.
        path: String,
        /// The bound in bytes.
        limit: u64,
    },
    /// A link, a FIFO, a device or a folder stands where a regular file belongs.
    #[error("{path}: not a regular file. Replace it by a plain file; links, pipes and devices are refused.")]
    NotRegular {
        /// The path.
        path: String,
    },
    /// Others could read or change it.
    #[error("{path}: {what}. Run: {repair}")]
    Exposed {
        /// The path.
        path: String,
        /// What is wrong.
        what: String,
        /// The command that repairs it.
        repair: String,
    },
    /// Someone else held the lock for the whole bounded wait.
    #[error(
        "{path}: locked by another process for more than {waited:?}. If no other agent uses this store, find the holder with `fuser {path}`."
    )]
    Locked {
        /// The lock file.
        path: String,
        /// How long the wait was.
        waited: Duration,
    },
}

impl FileError {
    /// Whether the file or folder does not exist.
    pub fn is_not_found(&self) -> bool {
        matches!(self, Self::Io { source, .. } if source.kind() == io::ErrorKind::NotFound)
    }

    fn io(path: &Path, action: &'static str) -> impl FnOnce(io::Error) -> Self {
        let path = path.display().to_string();
        move |source| match source.raw_os_error() {
            Some(code) if code == rustix::io::Errno::LOOP.raw_os_error() => Self::NotRegular { path },
            _ => Self::Io { path, action, source },
        }
    }
}

fn remedy(source: &io::Error) -> &'static str {
    match source.kind() {
        io::ErrorKind::PermissionDenied => " Give the agent's user access to it.",
        io::ErrorKind::NotFound => " Create it, or correct the path.",
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => " Free some space on that file system.",
        io::ErrorKind::ReadOnlyFilesystem => " Choose a path on a writable file system.",
        _ => "",
    }
}

/// Files made from now on are private, whatever the shell's umask was. Called once, before any thread starts.
pub fn make_new_files_private() {
    rustix::process::umask(rustix::fs::Mode::RWXG | rustix::fs::Mode::RWXO);
}

/// Reads a whole regular file of at most `limit` bytes, not following a link at its last component.
///
/// # Errors
/// [`FileError`] when it is missing, not regular, unreadable or too large.
pub fn read_bounded(path: &Path, limit: u64) -> Result<Vec<u8>, FileError> {
    read_opened(path, &open_to_read(path)?, limit)
}

/// As [`read_bounded`], and refuses a file that others could read or write, or that neither we nor root own.
///
/// # Errors
/// [`FileError::Exposed`] with the repairing command, else as [`read_bounded`].
pub fn read_private(path: &Path, limit: u64) -> Result<Vec<u8>, FileError> {
    let file = open_to_read(path)?;
    let metadata = file.metadata().map_err(FileError::io(path, "reading its properties"))?;
    check_owner(path, &metadata)?;
    if metadata.mode() & 0o077 != 0 {
        return Err(exposed(
            path,
            format!("mode {:04o} lets others read it", metadata.mode() & 0o7777),
            "chmod 600",
        ));
    }
    read_opened(path, &file, limit)
}

/// As [`read_private`], and refuses a file that has a second name (a hard link): who made it keeps a way to the contents
/// that this path's owner and mode say nothing about.
///
/// # Errors
/// As [`read_private`].
pub fn read_sole(path: &Path, limit: u64) -> Result<Vec<u8>, FileError> {
    let names =
        open_to_read(path)?.metadata().map_err(FileError::io(path, "reading its properties"))?.nlink();
    if names > 1 {
        let path = path.display();
        return Err(FileError::Exposed {
            path: path.to_string(),
            what: format!("the file has {names} names (hard links), and should have this one only"),
            repair: format!("cp -p {path} {path}.sole && mv {path}.sole {path}"),
        });
    }
    read_private(path, limit)
}

fn read_opened(path: &Path, file: &File, limit: u64) -> Result<Vec<u8>, FileError> {
    let mut contents = Vec::new();
    file.take(limit + 1).read_to_end(&mut contents).map_err(FileError::io(path, "reading"))?;
    if contents.len() as u64 > limit {
        return Err(FileError::TooLarge { path: path.display().to_string(), limit });
    }
    Ok(contents)
}

#[expect(clippy::disallowed_methods, reason = "this is the files module")]
fn open_to_read(path: &Path) -> Result<File, FileError> {
    // O_NONBLOCK: opening a FIFO that somebody planted must not hang; it has no effect on a regular file.
    let flags = rustix::fs::OFlags::NOFOLLOW | rustix::fs::OFlags::NONBLOCK | rustix::fs::OFlags::CLOEXEC;
    let file = OpenOptions::new()
        .read(true)
        .custom_flags(flags.bits().cast_signed())
        .open(path)
        .map_err(FileError::io(path, "opening"))?;
    let metadata = file.metadata().map_err(FileError::io(path, "reading its properties"))?;
    if !metadata.is_file() {
        return Err(FileError::NotRegular { path: path.display().to_string() });
    }
    Ok(file)
}

/// Writes `contents` so that after a crash at any instant the file holds either the old or the new contents, whole:
/// temporary file (mode 0600) in the same folder, fsync, rename, fsync of the folder. Returns only when it is durable.
///
/// # Errors
/// [`FileError::Io`]; the old contents are then still in place.
pub fn write_private(path: &Path, contents: &[u8]) -> Result<(), FileError> {
    write_atomically(path, contents, 0o600)
}

/// As [`write_private`] with the mode of a file that holds no secret.
///
/// # Errors
/// As [`write_private`].
#[expect(clippy::disallowed_methods, reason = "this is the files module")]
pub fn write_atomically(path: &Path, contents: &[u8], mode: u32) -> Result<(), FileError> {
    let folder = parent(path);
    let name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    let temporary = folder.join(format!(".{name}.{}.tmp", secret::random_hex(6)));
    let flags = rustix::fs::OFlags::NOFOLLOW | rustix::fs::OFlags::CLOEXEC;
    let written = (|| {
        let file = OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(mode)
            .custom_flags(flags.bits().cast_signed())
            .open(&temporary)
            .map_err(FileError::io(&temporary, "creating"))?;
        // Positioned, which sockets, pipes and logs cannot be: so a test can make exactly this write of the process fail.
        file.write_all_at(contents, 0).map_err(FileError::io(&temporary, "writing"))?;
        file.sync_all().map_err(FileError::io(&temporary, "flushing to disk"))?;
        std::fs::rename(&temporary, path).map_err(FileError::io(path, "replacing"))?;
        sync_folder(&folder)
    })();
    if written.is_err() {
        // Harmless when the rename has happened; otherwise no half-written secret stays behind.
        let _already_reported = std::fs::remove_file(&temporary);
    }
    written
}

/// Removes a file durably; one that is already gone counts as removed.
///
/// # Errors
/// [`FileError::Io`].
#[expect(clippy::disallowed_methods, reason = "this is the files module")]
pub fn remove(path: &Path) -> Result<(), FileError> {
    match std::fs::remove_file(path) {
        Ok(()) => sync_folder(&parent(path)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(FileError::io(path, "removing")(error)),
    }
}

/// Removes temporary files that a killed writer left in `folder`; how many. A file whose lock somebody holds is being
/// written right now and stays. What cannot be removed stays as well: it is private and does no harm.
#[expect(clippy::disallowed_methods, reason = "this is the files module")]
pub fn remove_left_over(folder: &Path) -> usize {
    let Ok(entries) = std::fs::read_dir(folder) else { return 0 };
    let mut removed = 0;
    for entry in entries.flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        let Some(target) = name.strip_prefix('.').and_then(|rest| rest.strip_suffix(".tmp")) else {
            continue;
        };
        let Some((target, _)) = target.rsplit_once('.') else { continue };
        let lock = folder.join(format!("{target}.lock"));
        if lock.exists()
            && let Ok(_nobody_writes_now) = FileLock::acquire(&lock, Duration::ZERO)
        {
            removed += usize::from(std::fs::remove_file(entry.path()).is_ok());
        }
    }
    removed
}

/// Moves a file aside under another name in the same folder, durably.
///
/// # Errors
/// [`FileError::Io`].
#[expect(clippy::disallowed_methods, reason = "this is the files module")]
pub fn set_aside(path: &Path, new_name: &str) -> Result<PathBuf, FileError> {
    let target = parent(path).join(new_name);
    std::fs::rename(path, &target).map_err(FileError::io(path, "renaming"))?;
    sync_folder(&parent(path))?;
    Ok(target)
}

/// Makes a folder and its parents with mode 0700, and refuses one that others can enter or that is not ours.
///
/// # Errors
/// [`FileError::Exposed`] with the repairing command, or [`FileError::Io`].
pub fn ensure_private_folder(path: &Path) -> Result<(), FileError> {
    std::fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(path)
        .map_err(FileError::io(path, "creating"))?;
    let metadata = std::fs::metadata(path).map_err(FileError::io(path, "reading its properties"))?;
    if !metadata.is_dir() {
        return Err(FileError::NotRegular { path: path.display().to_string() });
    }
    check_owner(path, &metadata)?;
    if metadata.permissions().mode() & 0o077 != 0 {
        let what = format!("mode {:04o} lets others in", metadata.mode() & 0o7777);
        return Err(exposed(path, what, "chmod 700"));
    }
    Ok(())
}

/// Refuses a folder in which others could put files of theirs in the place of ours. Its mode may otherwise be the
/// operator's choice.
///
/// # Errors
/// [`FileError::Exposed`] with the repairing command, or [`FileError::Io`].
pub fn check_folder_is_ours(path: &Path) -> Result<(), FileError> {
    let metadata = std::fs::metadata(path).map_err(FileError::io(path, "reading its properties"))?;
    check_owner(path, &metadata)?;
    let (others_write, sticky) = (metadata.mode() & 0o022 != 0, metadata.mode() & 0o1000 != 0);
    if others_write && !sticky {
        let what = format!("mode {:04o} lets others replace files in it", metadata.mode() & 0o7777);
        return Err(exposed(path, what, "chmod go-w"));
    }
    Ok(())
}

/// Whether new files can be made in `folder`, tried by making and removing one.
///
/// # Errors
/// [`FileError::Io`] with the reason why not.
#[expect(clippy::disallowed_methods, reason = "this is the files module")]
pub fn check_writable_folder(folder: &Path) -> Result<(), FileError> {
    let probe = folder.join(format!(".probe.{}.tmp", secret::random_hex(6)));
    OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(&probe)
        .map_err(FileError::io(folder, "creating a file in this folder"))?;
    std::fs::remove_file(&probe).map_err(FileError::io(&probe, "removing"))
}

fn check_owner(path: &Path, metadata: &std::fs::Metadata) -> Result<(), FileError> {
    let own = rustix::process::geteuid().as_raw();
    if metadata.uid() == own || metadata.uid() == 0 {
        return Ok(());
    }
    Err(exposed(
        path,
        format!("owned by uid {}, not by the agent (uid {own}) or root", metadata.uid()),
        &format!("chown {own}"),
    ))
}

fn exposed(path: &Path, what: String, command: &str) -> FileError {
    FileError::Exposed {
        path: path.display().to_string(),
        what,
        repair: format!("{command} {}", path.display()),
    }
}

fn parent(path: &Path) -> PathBuf {
    match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder.to_owned(),
        _ => PathBuf::from("."),
    }
}

fn sync_folder(folder: &Path) -> Result<(), FileError> {
    File::open(folder).and_then(|handle| handle.sync_all()).map_err(FileError::io(folder, "flushing to disk"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn writes_are_private_and_replace_the_old_contents() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("token");
        write_private(&path, b"one").unwrap();
        write_private(&path, b"two").unwrap();
        assert_eq!(read_private(&path, 10).unwrap(), b"two");
        assert_eq!(std::fs::metadata(&path).unwrap().mode() & 0o777, 0o600);
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1, "no temporary file stays behind");
    }

    #[test]
    fn links_pipes_and_loose_modes_are_refused() {
        let folder = tempfile::tempdir().unwrap();
        let (target, link, fifo) =
            (folder.path().join("t"), folder.path().join("l"), folder.path().join("f"));
        write_private(&target, b"victim").unwrap();
        std::os::unix::fs::symlink(&target, &link).unwrap();
        rustix::fs::mknodat(rustix::fs::CWD, &fifo, rustix::fs::FileType::Fifo, 0o600.into(), 0).unwrap();
        for path in [&link, &fifo] {
            assert!(matches!(read_bounded(path, 10), Err(FileError::NotRegular { .. })), "{path:?}");
            assert!(FileLock::acquire(path, Duration::ZERO).is_err(), "{path:?}");
        }
        let second = folder.path().join("second");
        assert!(read_sole(&target, 10).is_ok());
        std::fs::hard_link(&target, &second).unwrap();
        let message = read_sole(&target, 10).unwrap_err().to_string();
        assert!(message.contains("2 names") && message.contains("Run: cp -p "), "{message}");
        remove(&second).unwrap();
        std::fs::set_permissions(&target, std::fs::Permissions::from_mode(0o644)).unwrap();
        let message = read_private(&target, 10).unwrap_err().to_string();
        assert!(message.contains("chmod 600"), "{message}");
        assert!(matches!(read_bounded(&target, 3), Err(FileError::TooLarge { .. })));
    }
}
