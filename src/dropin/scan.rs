//! The drop-in directory → a [`Snapshot`] of what its files say. Never judges a property, and never lets one file's
//! trouble touch another file.

use std::collections::BTreeMap;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::raw::{DropInFile, hash};
use super::settle::{Settler, Verdict};
use crate::clock::Clock;
use crate::error::Fault;
use crate::files::{self, FileError, Stamp};

/// The largest drop-in that is read, in bytes.
pub(super) const FILE_LIMIT: u64 = 256 * 1024;

/// How many drop-ins one directory may hold.
const COUNT_LIMIT: usize = 2048;

/// How often a file that changes while it is read is read again, where nobody can come back later.
const READ_ATTEMPTS: u32 = 5;

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
        match found.and_then(|found| read_now(&path, &found.target)) {
            Ok(file) => snapshot.good.push(file),
            Err(fault) => snapshot.rejected.push(Rejected { path, fault }),
        }
    }
    snapshot
}

/// Reads one file as a drop-in, without waiting for it to settle. What changes while it is read is read again; a writer
/// that pauses in the middle is not noticed.
///
/// # Errors
/// The fault that makes it unusable as a whole.
pub fn read_drop_in(path: &Path) -> Result<Arc<DropInFile>, Fault> {
    read_now(path, path)
}

fn read_now(path: &Path, target: &Path) -> Result<Arc<DropInFile>, Fault> {
    let fault = |message: String| Fault { file: path.to_owned(), line: None, key: String::new(), message };
    for _ in 0..READ_ATTEMPTS {
        let metadata = std::fs::symlink_metadata(target).map_err(|error| {
            fault(format!(
                "This file cannot be looked at: {error}. Restore it, or give the agent's user access to it."
            ))
        })?;
        let seen = Found { target: target.to_owned(), stamp: Stamp::of(&metadata) };
        if let Some(file) = read(path, &seen, None)? {
            return Ok(file);
        }
    }
    Err(fault("This file is being written right now. Try again when that is done.".to_owned()))
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

    /// Looks once. True beside the snapshot: something has not settled; look again after [`super::SETTLE_TIME`].
    pub fn look(&mut self) -> (Snapshot, bool) {
        match self.see() {
            Ok((found, verdict)) => self.take(&found, verdict),
            // A directory that vanished for a moment must not take every connection with it.
            Err(fault) => (self.snapshot(Some(fault)), false),
        }
    }

    /// The files that are there, and which of them may be believed. Reads no file.
    fn see(&mut self) -> Result<(Listing, Verdict), Fault> {
        let found = list(&self.directory)?;
        let stamps =
            found.iter().filter_map(|(path, found)| Some((path.clone(), found.as_ref().ok()?.stamp)));
        let verdict = self.settler.look(self.clock.now(), &stamps.collect());
        Ok((found, verdict))
    }

    /// Reads what may be believed.
    fn take(&mut self, found: &Listing, verdict: Verdict) -> (Snapshot, bool) {
        for (path, found) in found {
            if let Err(fault) = found {
                self.taken.insert(path.clone(), Err(fault.clone()));
            }
        }
        for path in verdict.gone {
            if !found.contains_key(&path) {
                self.taken.remove(&path);
            }
        }
        let stale = |path: &PathBuf| !found.contains_key(path) && !verdict.waiting.contains(path);
        self.taken.retain(|path, _| !stale(path));
        let mut unsettled = !verdict.waiting.is_empty();
        for path in verdict.ready {
            let Some(Ok(seen)) = found.get(&path) else { continue };
            let known = self.taken.get(&path).and_then(|taken| taken.as_ref().ok());
            match read(&path, seen, known).transpose() {
                Some(file) => drop(self.taken.insert(path, file)),
                // Somebody is at work on it: what was known of it still holds.
                None => unsettled = true,
            }
        }
        (self.snapshot(None), unsettled)
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

/// A drop-in that may be read: where it really is and how it looks.
struct Found {
    target: PathBuf,
    stamp: Stamp,
}

/// All drop-ins in the directory, each with why it may not be read, if so.
type Listing = BTreeMap<PathBuf, Result<Found, Fault>>;

fn list(directory: &Path) -> Result<Listing, Fault> {
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
    // Only what does not exist has vanished; whatever else keeps it from being looked at is a fault.
    let vanished = |error: std::io::Error| match error.kind() {
        std::io::ErrorKind::NotFound => None,
        _ => Some(format!("This file cannot be looked at: {error}. Give the agent's user access to it.")),
    };
    let metadata = std::fs::symlink_metadata(path).map_err(vanished)?;
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
        let metadata = std::fs::metadata(&target).map_err(vanished)?;
        (target, metadata)
    } else {
        (path.to_owned(), metadata)
    };
    if !metadata.is_file() {
        return Err(Some("Not a regular file. Replace it by a plain file.".to_owned()));
    }
    check_owner(&target, &metadata).map_err(Some)?;
    Ok(Found { target, stamp: Stamp::of(&metadata) })
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

/// Reads and parses what was seen; a file with the contents of `known` is `known`. Nothing, when the file no longer looks
/// as it did, or has gone.
fn read(
    path: &Path,
    seen: &Found,
    known: Option<&Arc<DropInFile>>,
) -> Result<Option<Arc<DropInFile>>, Fault> {
    let bytes = match files::read_unchanged(&seen.target, FILE_LIMIT, &seen.stamp) {
        Ok(bytes) => bytes,
        Err(error) if error.is_not_found() => None,
        Err(error) => {
            let message = match error {
                FileError::TooLarge { limit, .. } => {
                    format!("Larger than the limit of {limit} bytes. Split it into several files.")
                }
                other => other.to_string(),
            };
            return Err(Fault { file: path.to_owned(), line: None, key: String::new(), message });
        }
    };
    let Some(bytes) = bytes else { return Ok(None) };
    match known {
        Some(known) if known.hash == hash(&bytes) => Ok(Some(Arc::clone(known))),
        _ => DropInFile::parse(path, &bytes).map(|file| Some(Arc::new(file))),
    }
}

#[cfg(test)]
#[path = "scan_tests.rs"]
mod tests;
