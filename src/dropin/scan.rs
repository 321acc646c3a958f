//! The drop-in directory → a [`Snapshot`] of what its files say. Never judges a property, and never lets one file's
//! trouble touch another file.

use std::collections::BTreeMap;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use super::raw::{DropInFile, hash};
use super::settle::{SETTLE_TIME, Settler, Sighting};
use super::watch::{Poke, Watcher};
use crate::clock::Clock;
use crate::error::Fault;
use crate::files::{self, FileError};

/// The largest drop-in that is read, in bytes.
pub(super) const FILE_LIMIT: u64 = 256 * 1024;

/// How many drop-ins one directory may hold.
const COUNT_LIMIT: usize = 2048;

/// All drop-ins at one moment, in name order.
#[derive(Clone, Debug, Default)]
pub struct Snapshot {
    /// The directory they are in.
    pub directory: PathBuf,
    /// Files that could be read; they may still have faults.
    pub good: Vec<Arc<DropInFile>>,
    /// Files that are there and cannot be used at all.
    pub rejected: Vec<Rejected>,
    /// Why the directory itself could not be read. Then the other fields say what was there before.
    pub fault: Option<Fault>,
}

impl Snapshot {
    /// This snapshot with `file` in the place of the file of the same path: what would be if it were saved.
    #[must_use]
    pub fn with(&self, file: DropInFile) -> Snapshot {
        let mut snapshot = self.without(&file.path);
        snapshot.good.push(Arc::new(file));
        snapshot.good.sort_by(|one, other| one.path.cmp(&other.path));
        snapshot
    }

    /// This snapshot without the file of that path: what would be if it were removed.
    #[must_use]
    pub fn without(&self, path: &Path) -> Snapshot {
        let mut snapshot = self.clone();
        snapshot.good.retain(|file| file.path != path);
        snapshot.rejected.retain(|file| file.path != path);
        snapshot
    }
}

/// A file that is there and cannot be used at all.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rejected {
    /// The file.
    pub path: PathBuf,
    /// Why.
    pub fault: Fault,
}

/// Whether a file of that name is a drop-in: `*.yaml` or `*.yml`, and not what editors and package managers leave
/// beside one.
pub fn is_drop_in_name(name: &str) -> bool {
    let left_behind = name.starts_with(['.', '#'])
        || name.ends_with(['~', '#'])
        || [".swp", ".tmp"].iter().any(|ending| name.ends_with(ending))
        || [".dpkg-", ".rpm"].iter().any(|part| name.contains(part));
    !left_behind && (name.ends_with(".yaml") || name.ends_with(".yml"))
}

/// Reads the directory as it stands, without waiting for anything to settle.
pub fn scan(directory: &Path) -> Snapshot {
    let (found, mut snapshot) = match list(directory) {
        Ok(found) => (found, Snapshot { directory: directory.to_owned(), ..Snapshot::default() }),
        Err(fault) => {
            return Snapshot { directory: directory.to_owned(), fault: Some(fault), ..Snapshot::default() };
        }
    };
    for (path, found) in found {
        match found.and_then(|found| read(&path, &found.target, None)) {
            Ok(file) => snapshot.good.push(file),
            Err(fault) => snapshot.rejected.push(Rejected { path, fault }),
        }
    }
    snapshot
}

/// Reads one file as a drop-in.
///
/// # Errors
/// The fault that makes it unusable as a whole.
pub fn read_drop_in(path: &Path) -> Result<Arc<DropInFile>, Fault> {
    read(path, path, None)
}

/// Looks at the directory again and again and remembers what it has believed.
#[derive(Debug)]
pub struct Scanner {
    directory: PathBuf,
    clock: Clock,
    settler: Settler,
    taken: BTreeMap<PathBuf, Result<Arc<DropInFile>, Fault>>,
}

impl Scanner {
    /// A scanner that has seen nothing yet.
    pub fn new(directory: &Path, clock: Clock) -> Self {
        Self { directory: directory.to_owned(), clock, settler: Settler::default(), taken: BTreeMap::new() }
    }

    /// Looks once. True beside the snapshot: something has not settled; look again after [`SETTLE_TIME`].
    pub fn look(&mut self) -> (Snapshot, bool) {
        let found = match list(&self.directory) {
            Ok(found) => found,
            // A directory that vanished for a moment must not take every connection with it.
            Err(fault) => return (self.snapshot(Some(fault)), false),
        };
        let mut present = BTreeMap::new();
        for (path, found) in &found {
            match found {
                Ok(found) => drop(present.insert(path.clone(), found.sighting)),
                Err(fault) => drop(self.taken.insert(path.clone(), Err(fault.clone()))),
            }
        }
        let verdict = self.settler.look(self.clock.now(), &present);
        for path in verdict.gone {
            if !found.contains_key(&path) {
                self.taken.remove(&path);
            }
        }
        let stale = |path: &PathBuf| !found.contains_key(path) && !verdict.waiting.contains(path);
        self.taken.retain(|path, _| !stale(path));
        for path in verdict.ready {
            if let Some(Ok(Found { target, .. })) = found.get(&path) {
                let known = self.taken.get(&path).and_then(|taken| taken.as_ref().ok());
                let file = read(&path, target, known);
                self.taken.insert(path, file);
            }
        }
        (self.snapshot(None), !verdict.waiting.is_empty())
    }

    fn snapshot(&self, fault: Option<Fault>) -> Snapshot {
        let mut snapshot = Snapshot { directory: self.directory.clone(), fault, ..Snapshot::default() };
        for (path, taken) in &self.taken {
            match taken {
                Ok(file) => snapshot.good.push(Arc::clone(file)),
                Err(fault) => snapshot.rejected.push(Rejected { path: path.clone(), fault: fault.clone() }),
            }
        }
        snapshot
    }
}

/// The directory, watched: one snapshot after the other, each when there is something to see.
#[derive(Debug)]
pub struct DropIns {
    watcher: Watcher,
    scanner: Arc<Mutex<Scanner>>,
    unsettled: bool,
}

impl DropIns {
    /// Watches a directory, which need not exist yet. Call it within a tokio runtime.
    pub fn watch(directory: &Path, clock: Clock) -> Self {
        let scanner = Arc::new(Mutex::new(Scanner::new(directory, clock)));
        Self { watcher: Watcher::new(directory), scanner, unsettled: false }
    }

    /// A handle with which SIGHUP and `POST /v1/agent/reload` ask for a look.
    pub fn poke(&self) -> Poke {
        self.watcher.poke()
    }

    /// What is there now, at start-up and when somebody asks: every file is waited for until it has settled, for two
    /// seconds at most.
    pub async fn settled(&mut self) -> Snapshot {
        self.watcher.arm();
        let mut snapshot = self.look().await;
        for _ in 0..6 {
            if !self.unsettled {
                break;
            }
            tokio::time::sleep(SETTLE_TIME).await;
            snapshot = self.look().await;
        }
        snapshot
    }

    /// Waits until it is time to look again, and looks. Nothing is lost when the future is dropped.
    pub async fn next(&mut self) -> Snapshot {
        if self.unsettled {
            let _either_way_a_look_is_due = tokio::time::timeout(SETTLE_TIME, self.watcher.changed()).await;
        } else {
            self.watcher.changed().await;
        }
        self.look().await
    }

    /// Off the async threads, because a directory on a network file system can hang.
    async fn look(&mut self) -> Snapshot {
        let scanner = Arc::clone(&self.scanner);
        let looked = tokio::task::spawn_blocking(move || {
            scanner.lock().unwrap_or_else(PoisonError::into_inner).look()
        })
        .await;
        match looked {
            Ok((snapshot, unsettled)) => {
                self.unsettled = unsettled;
                snapshot
            }
            // A panic in the parser costs this look only; the next one tries again.
            Err(error) => {
                tracing::error!(%error, "Looking at the drop-in directory failed.");
                self.unsettled = true;
                self.scanner.lock().unwrap_or_else(PoisonError::into_inner).snapshot(None)
            }
        }
    }
}

/// A drop-in that may be read: where it really is and how it looks.
struct Found {
    target: PathBuf,
    sighting: Sighting,
}

/// All drop-ins in the directory, each with why it may not be read, if so.
fn list(directory: &Path) -> Result<BTreeMap<PathBuf, Result<Found, Fault>>, Fault> {
    let whole =
        |message: String| Fault { file: directory.to_owned(), line: None, key: String::new(), message };
    let unreadable = |error: std::io::Error| {
        whole(format!(
            "The drop-in directory cannot be read: {error}. Create it, or correct [Agent] DropInDirectory."
        ))
    };
    let real = std::fs::canonicalize(directory).map_err(unreadable)?;
    let mut found = BTreeMap::new();
    for entry in std::fs::read_dir(directory).map_err(unreadable)? {
        let name = entry.map_err(unreadable)?.file_name();
        let Some(name) = name.to_str().filter(|name| is_drop_in_name(name)) else { continue };
        if found.len() == COUNT_LIMIT {
            return Err(whole(format!(
                "More than {COUNT_LIMIT} drop-ins. Put several connections into one file."
            )));
        }
        let path = directory.join(name);
        match find(&real, &path) {
            // It vanished between the listing and now.
            Err(None) => {}
            Err(Some(message)) => {
                let fault = Fault { file: path.clone(), line: None, key: String::new(), message };
                found.insert(path, Err(fault));
            }
            Ok(file) => drop(found.insert(path, Ok(file))),
        }
    }
    Ok(found)
}

/// Follows a link that stays within the directory, as Kubernetes mounts its volumes, and checks type, owner and mode.
fn find(real_directory: &Path, path: &Path) -> Result<Found, Option<String>> {
    let Ok(metadata) = std::fs::symlink_metadata(path) else { return Err(None) };
    let (target, metadata) = if metadata.is_symlink() {
        let target = std::fs::canonicalize(path).map_err(|_| {
            Some("This link leads nowhere. Remove it, or restore what it points to.".to_owned())
        })?;
        if !target.starts_with(real_directory) {
            return Err(Some(format!(
                "This link leads out of the drop-in directory, to {}. Put the file itself here.",
                target.display()
            )));
        }
        let metadata = std::fs::metadata(&target).map_err(|_| None)?;
        (target, metadata)
    } else {
        (path.to_owned(), metadata)
    };
    if !metadata.is_file() {
        return Err(Some("Not a regular file. Replace it by a plain file.".to_owned()));
    }
    check_owner(&target, &metadata).map_err(Some)?;
    let modified = i128::from(metadata.mtime()) * 1_000_000_000 + i128::from(metadata.mtime_nsec());
    Ok(Found { target, sighting: Sighting { size: metadata.size(), modified, inode: metadata.ino() } })
}

/// Whoever can write a drop-in can send the connection's token elsewhere, so only root and the agent may.
fn check_owner(path: &Path, metadata: &std::fs::Metadata) -> Result<(), String> {
    let (user, group) = (rustix::process::geteuid().as_raw(), rustix::process::getegid().as_raw());
    let path = path.display();
    if metadata.uid() != user && metadata.uid() != 0 {
        let owner = metadata.uid();
        return Err(format!(
            "Owned by uid {owner}, not by root or the agent (uid {user}). Run: chown root {path}"
        ));
    }
    if metadata.mode() & 0o002 != 0 {
        return Err(format!(
            "Mode {:04o} lets everybody change it. Run: chmod o-w {path}",
            metadata.mode() & 0o7777
        ));
    }
    if metadata.mode() & 0o020 != 0 && metadata.gid() != 0 && metadata.gid() != group {
        let (mode, group) = (metadata.mode() & 0o7777, metadata.gid());
        return Err(format!(
            "Mode {mode:04o} lets the group with gid {group} change it. Run: chmod g-w {path}"
        ));
    }
    Ok(())
}

/// Reads and parses; a file with the contents of `known` is `known`.
fn read(path: &Path, target: &Path, known: Option<&Arc<DropInFile>>) -> Result<Arc<DropInFile>, Fault> {
    let bytes = files::read_bounded(target, FILE_LIMIT).map_err(|error| {
        let message = match error {
            FileError::TooLarge { limit, .. } => {
                format!("Larger than the limit of {limit} bytes. Split it into several files.")
            }
            other => other.to_string(),
        };
        Fault { file: path.to_owned(), line: None, key: String::new(), message }
    })?;
    match known {
        Some(known) if known.hash == hash(&bytes) => Ok(Arc::clone(known)),
        _ => DropInFile::parse(path, &bytes).map(Arc::new),
    }
}

#[cfg(test)]
#[path = "scan_tests.rs"]
mod tests;
