//! Advisory exclusive locks on files. Never deletes a lock file, and never keeps a thread while somebody else has the
//! lock.
//!
//! fs2 is used here and nowhere else. It was named by the project's user; `std::fs::File::lock` (Rust 1.89) or the fs4
//! crate would replace it by changing this file alone. Its functions are called fully qualified because std's newer
//! inherent methods of the same names shadow the trait's.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::FileError;
use crate::clock::Clock;

/// How soon a waiting lock taker tries again. Short, because holders keep a lock for one token request at most; the wait
/// grows with each try up to
const FIRST_POLL: Duration = Duration::from_millis(20);
/// this, so that hundreds of locked stores cost little.
const LONGEST_POLL: Duration = Duration::from_millis(100);

/// An advisory exclusive lock, held until dropped. The kernel frees it when the process dies, however it dies.
#[derive(Debug)]
pub struct FileLock {
    file: File,
}

impl FileLock {
    /// Takes the lock on `path`, which is created (mode 0600) when missing and never deleted: unlinking a lock file
    /// would let two holders in. Polls until `bound` has passed. Blocking: call it off the async threads.
    ///
    /// # Errors
    /// [`FileError::Locked`] when another holder kept it for the whole `bound`; [`FileError::Io`].
    pub fn acquire(path: &Path, bound: Duration) -> Result<Self, FileError> {
        let mut wanted = Wanted::open(path)?;
        let (waiting, mut poll) = (Clock::stopwatch(), FIRST_POLL);
        loop {
            wanted = match wanted.take()? {
                Taken::Ours(lock) => return Ok(lock),
                Taken::Theirs(wanted) if waiting.elapsed() >= bound => return Err(wanted.locked(bound)),
                Taken::Theirs(wanted) => wanted,
            };
            std::thread::sleep(poll);
            poll = (poll * 2).min(LONGEST_POLL);
        }
    }

    /// As [`FileLock::acquire`], with a thread for each try only: a store that somebody keeps locked takes no thread from
    /// the others. Dropping the future ends the wait; the lock is then not held.
    ///
    /// # Errors
    /// As [`FileLock::acquire`].
    pub async fn wait(path: PathBuf, bound: Duration) -> Result<Self, FileError> {
        let mut wanted = off_thread(&path, {
            let path = path.clone();
            move || Wanted::open(&path)
        })
        .await?;
        let (waiting, mut poll) = (Clock::stopwatch(), FIRST_POLL);
        loop {
            wanted = match off_thread(&path, move || wanted.take()).await? {
                Taken::Ours(lock) => return Ok(lock),
                Taken::Theirs(wanted) if waiting.elapsed() >= bound => return Err(wanted.locked(bound)),
                Taken::Theirs(wanted) => wanted,
            };
            tokio::time::sleep(poll).await;
            poll = (poll * 2).min(LONGEST_POLL);
        }
    }
}

impl Drop for FileLock {
    fn drop(&mut self) {
        // Closing would free it as well; saying so makes the order visible: unlock, then close.
        let _closing_frees_it_anyway = fs2::FileExt::unlock(&self.file);
    }
}

/// An open lock file whose lock is not held yet.
#[derive(Debug)]
struct Wanted {
    path: PathBuf,
    file: File,
}

/// What one try gave.
enum Taken {
    Ours(FileLock),
    Theirs(Wanted),
}

impl Wanted {
    #[expect(clippy::disallowed_methods, reason = "this is the files module")]
    fn open(path: &Path) -> Result<Self, FileError> {
        let flags = rustix::fs::OFlags::NOFOLLOW | rustix::fs::OFlags::CLOEXEC | rustix::fs::OFlags::NONBLOCK;
        // A fresh open per transaction: flock belongs to the open file description, so two tasks of one process
        // that shared a descriptor would both be let in. No O_TRUNC: the file may be somebody else's through a race.
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .custom_flags(flags.bits().cast_signed())
            .open(path)
            .map_err(FileError::io(path, "opening the lock"))?;
        if !file.metadata().map_err(FileError::io(path, "reading its properties"))?.is_file() {
            return Err(FileError::NotRegular { path: path.display().to_string() });
        }
        Ok(Self { path: path.to_owned(), file })
    }

    fn take(self) -> Result<Taken, FileError> {
        let ours = try_lock(&self.file, &self.path)?;
        Ok(if ours { Taken::Ours(FileLock { file: self.file }) } else { Taken::Theirs(self) })
    }

    fn locked(&self, waited: Duration) -> FileError {
        FileError::Locked { path: self.path.display().to_string(), waited }
    }
}

/// Takes the lock on an open file, if nobody else has it. It is held until the file is closed.
pub(super) fn try_lock(file: &File, path: &Path) -> Result<bool, FileError> {
    match fs2::FileExt::try_lock_exclusive(file) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == fs2::lock_contended_error().kind() => Ok(false),
        Err(error) => Err(FileError::io(path, "locking")(error)),
    }
}

async fn off_thread<T: Send + 'static>(
    path: &Path,
    work: impl FnOnce() -> Result<T, FileError> + Send + 'static,
) -> Result<T, FileError> {
    match tokio::task::spawn_blocking(work).await {
        Ok(done) => done,
        Err(error) => Err(FileError::io(path, "locking")(io::Error::other(error))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lock_has_one_holder_and_outlives_nobody() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("x.lock");
        let held = FileLock::acquire(&path, Duration::ZERO).unwrap();
        assert!(matches!(FileLock::acquire(&path, Duration::from_millis(30)), Err(FileError::Locked { .. })));
        drop(held);
        FileLock::acquire(&path, Duration::ZERO).unwrap();
        assert!(path.exists(), "the lock file is never deleted");
    }

    /// One blocking thread, and a store that stays locked: other file work still gets its turn on that thread.
    #[test]
    fn waiting_for_a_lock_keeps_no_thread() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("x.lock");
        let held = FileLock::acquire(&path, Duration::ZERO).unwrap();
        let one_thread = tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .max_blocking_threads(1)
            .build()
            .unwrap();
        one_thread.block_on(async {
            let waiting = tokio::spawn(FileLock::wait(path.clone(), Duration::from_secs(60)));
            for _ in 0..5 {
                let other = tokio::task::spawn_blocking(|| 7);
                assert_eq!(tokio::time::timeout(Duration::from_secs(10), other).await.unwrap().unwrap(), 7);
                tokio::time::sleep(Duration::from_millis(30)).await;
            }
            assert!(!waiting.is_finished());
            drop(held);
            drop(waiting.await.unwrap().unwrap());
            // Dropped while it waits: nobody holds the lock afterwards.
            let held = FileLock::acquire(&path, Duration::ZERO).unwrap();
            let given_up = FileLock::wait(path.clone(), Duration::from_secs(60));
            assert!(tokio::time::timeout(Duration::from_millis(70), given_up).await.is_err());
            drop(held);
            drop(FileLock::wait(path.clone(), Duration::from_secs(10)).await.unwrap());
        });
    }
}
