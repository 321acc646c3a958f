//! The default store: one encrypted file per connection, replaced whole and durably, with a lock file beside it that
//! is never deleted. Never follows links, and never touches a file that belongs to another connection.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;

use crate::clock::Clock;
use crate::connection::ConnectionName;
use crate::files::{self, FileLock};
use crate::secret::fingerprint;
use crate::token::model::TokenGeneration;

use super::envelope::{self, OpenError};
use super::key::StoreKey;
use super::{KeyRing, Store, StoreError, StoreLock, StoreVersion, Stored, off_thread};

/// Two tokens of at most 64 KiB each, encoded twice, and room for the frame.
const LARGEST_FILE: u64 = 512 * 1024;

/// One connection's token file.
#[derive(Debug)]
pub(in crate::token) struct FileStore(Arc<Place>);

#[derive(Debug)]
struct Place {
    path: PathBuf,
    lock_path: PathBuf,
    owner: String,
    keys: Arc<KeyRing>,
    lock_timeout: Duration,
    clock: Clock,
}

impl FileStore {
    /// The store at `path` for the connection `owner`.
    pub(in crate::token) fn new(
        path: PathBuf,
        owner: &ConnectionName,
        keys: Arc<KeyRing>,
        lock_timeout: Duration,
        clock: Clock,
    ) -> Self {
        let lock_path = with_suffix(&path, ".lock");
        Self(Arc::new(Place { path, lock_path, owner: owner.as_str().to_owned(), keys, lock_timeout, clock }))
    }

    /// The file of `owner` below the state directory: a readable part, and a part that tells apart names that read
    /// the same (`Sales/1` and `sales 1` on a file system that ignores case).
    pub(in crate::token) fn default_path(state_directory: &Path, owner: &ConnectionName) -> PathBuf {
        let readable: String = owner
            .as_str()
            .chars()
            .take(40)
            .map(|letter| if letter.is_ascii_alphanumeric() { letter.to_ascii_lowercase() } else { '-' })
            .collect();
        state_directory
            .join("tokens")
            .join(format!("{readable}-{}.json", fingerprint(owner.as_str().as_bytes())))
    }
}

impl Store for FileStore {
    fn load(&self, locked: bool) -> BoxFuture<'_, Result<Option<Stored>, StoreError>> {
        let place = Arc::clone(&self.0);
        off_thread(move || place.load(locked)).boxed()
    }

    fn lock(&self) -> BoxFuture<'_, Result<StoreLock, StoreError>> {
        let place = Arc::clone(&self.0);
        async move {
            let prepared = Arc::clone(&place);
            off_thread(move || prepared.prepare_folder()).await?;
            let lock = FileLock::wait(place.lock_path.clone(), place.lock_timeout).await?;
            Ok(StoreLock::new(lock))
        }
        .boxed()
    }

    fn commit<'a>(
        &'a self,
        _lock: &'a StoreLock,
        expected: TokenGeneration,
        next: &'a Stored,
    ) -> BoxFuture<'a, Result<(), StoreError>> {
        let (place, next) = (Arc::clone(&self.0), next.clone());
        off_thread(move || place.commit(expected, &next)).boxed()
    }

    fn retire<'a>(&'a self, _lock: &'a StoreLock) -> BoxFuture<'a, Result<(), StoreError>> {
        let place = Arc::clone(&self.0);
        off_thread(move || {
            let name =
                place.path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
            let name = format!("{name}.moved-{}", place.clock.now().as_millis());
            files::set_aside(&place.path, &name)?;
            Ok(())
        })
        .boxed()
    }

    fn version(&self) -> BoxFuture<'_, Result<Option<StoreVersion>, StoreError>> {
        let place = Arc::clone(&self.0);
        off_thread(move || Ok(place.version())).boxed()
    }

    fn place(&self) -> String {
        self.0.path.display().to_string()
    }
}

/// Seals the file at `path` with `new` instead of `old`, under its lock; the owner stays. Whether it had to be done.
pub(super) fn reseal(
    path: &Path,
    old: &StoreKey,
    new: &StoreKey,
    bound: Duration,
) -> Result<bool, StoreError> {
    let _lock = FileLock::acquire(&with_suffix(path, ".lock"), bound)?;
    let bytes = files::read_sole(path, LARGEST_FILE)?;
    let Some(owner) = envelope::owner_of(&bytes) else {
        return Err(StoreError::Corrupt(format!("{}: not a token file of this agent.", path.display())));
    };
    // Done by an earlier run that was cut short.
    if envelope::open(&bytes, &owner, new).is_ok() {
        return Ok(false);
    }
    let unreadable = |error: OpenError| {
        StoreError::Refused(match error {
            OpenError::Key(id) => format!(
                "{}: encrypted with key {id}, which is neither the old key {} nor the new one {}.",
                path.display(),
                old.id,
                new.id
            ),
            other => format!("{}: cannot be opened ({other:?}). Move it away and try again.", path.display()),
        })
    };
    let stored = envelope::open(&bytes, &owner, old).map_err(unreadable)?;
    let sealed = envelope::seal(&stored, &owner, new)
        .map_err(|why| StoreError::Refused(format!("{}: {why}.", path.display())))?;
    files::write_private(path, &sealed)?;
    Ok(true)
}

impl Place {
    fn prepare_folder(&self) -> Result<(), StoreError> {
        match self.path.parent() {
            // A folder the operator made keeps its mode: the files in it are private by themselves.
            Some(folder) if !folder.is_dir() => Ok(files::ensure_private_folder(folder)?),
            Some(folder) => Ok(files::check_folder_is_ours(folder)?),
            _ => Ok(()),
        }
    }

    fn load(&self, locked: bool) -> Result<Option<Stored>, StoreError> {
        let bytes = match files::read_sole(&self.path, LARGEST_FILE) {
            Ok(bytes) => bytes,
            Err(error) if error.is_not_found() => return Ok(None),
            Err(error) => return self.or_set_aside(StoreError::from(error), locked),
        };
        // The owner before the key: a file of another connection is refused whether or not its key is at hand.
        if let Some(owner) = envelope::owner_of(&bytes)
            && owner != self.owner
        {
            return Err(self.owned_by(&owner));
        }
        let mut key = self.keys.key()?;
        let mut opened = envelope::open(&bytes, &self.owner, &key);
        if let Err(OpenError::Key(id)) = &opened
            && let Some(other) = self.keys.named(id)?
        {
            opened = envelope::open(&bytes, &self.owner, &other);
            key = other;
        }
        match opened {
            Ok(stored) => Ok(Some(stored)),
            Err(OpenError::Owner(owner)) => Err(self.owned_by(&owner)),
            Err(OpenError::Newer(version)) => Err(StoreError::Refused(format!(
                "{}: written by a newer agent (format {version}). Run the newer agent, or move the file away and sign in again.",
                self.path.display()
            ))),
            Err(OpenError::Key(id)) => Err(StoreError::Refused(format!(
                "{}: encrypted with key {id}, but the key in {} is {}. Bring the right key back, or move the file away and sign in again.",
                self.path.display(),
                key.origin.display(),
                key.id
            ))),
            Err(OpenError::Corrupt(why)) => {
                let error = StoreError::Corrupt(format!(
                    "{}: the token file cannot be read: {why}.",
                    self.path.display()
                ));
                self.or_set_aside(error, locked)
            }
        }
    }

    /// Moves an unreadable file aside, but only under the lock: without it, the file could be a sibling's fresh one by
    /// the time it is renamed.
    fn or_set_aside(&self, error: StoreError, locked: bool) -> Result<Option<Stored>, StoreError> {
        match error {
            StoreError::Corrupt(why) if locked => {
                let name =
                    self.path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
                let aside = files::set_aside(
                    &self.path,
                    &format!("{name}.corrupt-{}", self.clock.now().as_millis()),
                )?;
                tracing::error!(connection = %self.owner, file = %self.path.display(), kept_as = %aside.display(), reason = %why,
                    "The token file cannot be read. It was set aside and the connection starts with the tokens of its drop-in.");
                Ok(None)
            }
            other => Err(other),
        }
    }

    fn commit(&self, expected: TokenGeneration, next: &Stored) -> Result<(), StoreError> {
        // Under the lock nobody else writes, so this comparison only fails when the lock was not honoured by someone.
        let found = self.load(true)?.map_or(0, |stored| stored.generation);
        if found != expected {
            return Err(StoreError::Superseded { found });
        }
        let key = self.keys.key()?;
        let bytes = envelope::seal(next, &self.owner, &key).map_err(|why| StoreError::Failed {
            message: format!("{}: {why}. Restart the agent.", self.path.display()),
            nobody_can_write: false,
        })?;
        Ok(files::write_private(&self.path, &bytes)?)
    }

    fn version(&self) -> Option<StoreVersion> {
        use std::os::unix::fs::MetadataExt;
        let metadata = std::fs::symlink_metadata(&self.path).ok()?;
        // Every commit makes a new inode; the time tells apart inodes that were reused.
        Some(StoreVersion(
            metadata.mtime().wrapping_mul(1_000_000_000).wrapping_add(metadata.mtime_nsec()),
            metadata.ino(),
        ))
    }

    fn owned_by(&self, other: &str) -> StoreError {
        StoreError::Refused(format!(
            "{}: this token file belongs to connection '{other}', so connection '{}' must not use it. Give each connection its own OAuthSettingsLocation.",
            self.path.display(),
            self.owner
        ))
    }
}

fn with_suffix(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    PathBuf::from(name)
}
