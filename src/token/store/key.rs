//! The key that encrypts the token files: from a systemd credential, a key file, or made at the first start.
//! Never logs the key; tells keys apart by the first digits of their SHA-256.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;

use aws_lc_rs::aead::{AES_256_GCM_SIV, RandomizedNonceKey};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use zeroize::{Zeroize, Zeroizing};

use crate::files::{self, FileError, FileLock};
use crate::secret;
use crate::settings::Settings;

use super::StoreError;

/// Name of the systemd credential and of the key file in the state directory.
const KEY_NAME: &str = "token-key";
/// AES-256.
const KEY_LENGTH: usize = 32;
/// A key in hexadecimal or base64 with a line end, and nothing longer.
const LARGEST_KEY_FILE: u64 = 256;
/// Bound on waiting for another agent that is making the key at the same moment.
const KEY_LOCK_WAIT: Duration = Duration::from_secs(10);

/// The key, ready for use.
pub(super) struct StoreKey {
    /// AES-256-GCM-SIV: a random nonce that repeats by misfortune reveals only that two plaintexts are equal, where
    /// plain GCM would lose its key of authentication.
    pub(super) cipher: RandomizedNonceKey,
    /// Which key it is.
    pub(super) id: String,
    /// Where it came from, for messages.
    pub(super) origin: PathBuf,
}

/// Loads the key when it is first needed, so that connections that use no file need none. A failure is tried again.
#[derive(Debug)]
pub(in crate::token) struct KeyRing {
    credential: Option<PathBuf>,
    key_file: Option<PathBuf>,
    state_directory: PathBuf,
    /// Whether a missing key is made.
    make: bool,
    key: OnceLock<Arc<StoreKey>>,
    /// Keys that were met besides: the next one while a group changes its key, the last one after it.
    others: Mutex<Vec<Arc<StoreKey>>>,
}

impl std::fmt::Debug for StoreKey {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("StoreKey")
            .field("id", &self.id)
            .field("origin", &self.origin)
            .finish_non_exhaustive()
    }
}

impl KeyRing {
    /// `credentials`: systemd's `$CREDENTIALS_DIRECTORY`.
    pub(in crate::token) fn new(settings: &Settings, credentials: Option<PathBuf>) -> Self {
        Self {
            credential: credentials.map(|folder| folder.join(KEY_NAME)),
            key_file: settings.token_store.key_file.clone(),
            state_directory: settings.state_directory.clone(),
            make: true,
            key: OnceLock::new(),
            others: Mutex::default(),
        }
    }

    /// As [`KeyRing::new`], for commands beside the agent: a key made by them would only hide that the right one is
    /// elsewhere.
    pub(in crate::token) fn existing(settings: &Settings, credentials: Option<PathBuf>) -> Self {
        Self { make: false, ..Self::new(settings, credentials) }
    }

    /// The key in one file, which is made when missing.
    pub(in crate::token) fn at(path: &Path) -> Self {
        let key_file = Some(path.to_owned());
        Self {
            credential: None,
            key_file,
            state_directory: PathBuf::new(),
            make: true,
            key: OnceLock::new(),
            others: Mutex::default(),
        }
    }

    /// The key. Blocking.
    pub(super) fn key(&self) -> Result<Arc<StoreKey>, StoreError> {
        if let Some(key) = self.key.get() {
            return Ok(Arc::clone(key));
        }
        let key = Arc::new(self.read()?);
        Ok(Arc::clone(self.key.get_or_init(|| key)))
    }

    /// The key with that id: the one in use, or one that lies beside it as `token-key.new` (before all agents of a group
    /// have changed to it) or `token-key.ID` (after this one has), or that has come into its place since it was read.
    /// Blocking.
    pub(super) fn named(&self, id: &str) -> Result<Option<Arc<StoreKey>>, StoreError> {
        let own = self.key()?;
        if own.id == id {
            return Ok(Some(own));
        }
        let known = |others: &Vec<Arc<StoreKey>>| others.iter().find(|key| key.id == id).cloned();
        if let Some(key) = known(&self.others.lock().unwrap_or_else(PoisonError::into_inner)) {
            return Ok(Some(key));
        }
        // The id comes from a store and becomes a part of a file name.
        let suffix = if id.bytes().all(|digit| digit.is_ascii_hexdigit()) { id } else { "new" };
        for path in [own.origin.clone(), beside(&own.origin, "new"), beside(&own.origin, suffix)] {
            let read = match &self.credential {
                Some(credential) if *credential == own.origin => files::read_bounded,
                _ => files::read_private,
            };
            let found = read(&path, LARGEST_KEY_FILE).ok().and_then(|bytes| parse(&path, bytes).ok());
            if let Some(key) = found.filter(|key| key.id == id) {
                let key = Arc::new(key);
                self.learn(Arc::clone(&key));
                return Ok(Some(key));
            }
        }
        Ok(None)
    }

    /// Takes note of another key.
    pub(super) fn learn(&self, key: Arc<StoreKey>) {
        let mut others = self.others.lock().unwrap_or_else(PoisonError::into_inner);
        // As many as an operator could meet in a row of changes.
        if others.len() == 8 {
            others.remove(0);
        }
        others.push(key);
    }

    fn read(&self) -> Result<StoreKey, StoreError> {
        if let Some(path) = &self.credential {
            // systemd guards the folder itself, and shows access lists as group bits that a mode check would refuse.
            match files::read_bounded(path, LARGEST_KEY_FILE) {
                Ok(contents) => return parse(path, contents),
                Err(error) if error.is_not_found() => {}
                Err(error) => return Err(error.into()),
            }
        }
        let path = match &self.key_file {
            Some(path) => path.clone(),
            None => {
                files::ensure_private_folder(&self.state_directory)?;
                self.state_directory.join(KEY_NAME)
            }
        };
        if let Some(contents) = existing(&path)? {
            return parse(&path, contents);
        }
        if !self.make {
            return Err(StoreError::Refused(format!(
                "{}: there is no key. Where the agent gets it as a systemd credential, start this command with CREDENTIALS_DIRECTORY set to a folder that holds token-key.",
                path.display()
            )));
        }
        make(&path)
    }
}

/// The path with `.word` after it.
pub(super) fn beside(path: &Path, word: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".");
    name.push(word);
    PathBuf::from(name)
}

fn existing(path: &Path) -> Result<Option<Vec<u8>>, FileError> {
    match files::read_private(path, LARGEST_KEY_FILE) {
        Ok(contents) => Ok(Some(contents)),
        Err(error) if error.is_not_found() => Ok(None),
        Err(error) => Err(error),
    }
}

/// Makes the key unless another agent is faster: under a lock, because two keys would make one agent's tokens
/// unreadable for the other.
fn make(path: &Path) -> Result<StoreKey, StoreError> {
    let _lock = FileLock::acquire(&beside(path, "lock"), KEY_LOCK_WAIT)?;
    if let Some(contents) = existing(path)? {
        return parse(path, contents);
    }
    let bytes = Zeroizing::new(secret::random_bytes(KEY_LENGTH));
    let mut text = STANDARD.encode(&*bytes);
    text.push('\n');
    let written = files::write_private(path, text.as_bytes());
    text.zeroize();
    written?;
    tracing::info!(key_file = %path.display(), "Made the key that encrypts the token files. Keep a copy of it with your backups.");
    build(path, &bytes)
}

/// 32 bytes as they are, or in base64 (either alphabet) or hexadecimal.
fn parse(path: &Path, contents: Vec<u8>) -> Result<StoreKey, StoreError> {
    let contents = Zeroizing::new(contents);
    if contents.len() == KEY_LENGTH {
        return build(path, &contents);
    }
    let text = std::str::from_utf8(&contents).unwrap_or_default().trim();
    let decoded = if text.len() == 2 * KEY_LENGTH { from_hex(text) } else { from_base64(text) };
    match decoded.map(Zeroizing::new) {
        Some(bytes) if bytes.len() == KEY_LENGTH => build(path, &bytes),
        _ => Err(StoreError::Refused(format!(
            "{}: does not hold a key of 32 bytes. Make one with: openssl rand -base64 32",
            path.display()
        ))),
    }
}

fn from_base64(text: &str) -> Option<Vec<u8>> {
    STANDARD.decode(text.replace('-', "+").replace('_', "/")).ok()
}

fn from_hex(text: &str) -> Option<Vec<u8>> {
    (0..text.len() / 2)
        .map(|index| u8::from_str_radix(text.get(2 * index..2 * index + 2)?, 16).ok())
        .collect()
}

fn build(path: &Path, bytes: &[u8]) -> Result<StoreKey, StoreError> {
    let cipher = RandomizedNonceKey::new(&AES_256_GCM_SIV, bytes).map_err(|_| {
        StoreError::Refused(format!(
            "{}: the key was not accepted. Make one with: openssl rand -base64 32",
            path.display()
        ))
    })?;
    Ok(StoreKey { cipher, id: secret::fingerprint(bytes), origin: path.to_owned() })
}
