//! Where the rows of queries that are fetched later are kept: one private file a run, for a day, within bounds. A file is
//! whole only with its end behind the rows, so what a crash or a full disk left can never be taken for an answer. Never
//! reads a row and never asks for one.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::error::ActivityError;
use super::kept::KEPT_FOR;
use super::spooled_rows::{RowsEnd, SpooledRows};
use super::upload::{blocking, not_kept};
use crate::clock::{Clock, Timestamp};
use crate::files::{self, AppendFile, FileError};

/// How files of rows end, beside journals in the same folder.
pub(super) const SUFFIX: &str = ".rows";
/// How often files that have had their day are looked for.
const SWEEP_EVERY: Duration = Duration::from_secs(600);

/// How much is kept.
#[derive(Clone, Copy, Debug)]
pub(super) struct Bounds {
    /// Files at a time.
    files: usize,
    /// Bytes of one run.
    run: u64,
    /// Bytes of all files.
    total: u64,
}

/// The bounds of an agent.
const BOUNDS: Bounds = Bounds { files: 1000, run: 1 << 30, total: 4 << 30 };

/// The files of rows in a folder.
#[derive(Debug)]
pub(super) struct Spools {
    folder: PathBuf,
    clock: Clock,
    bounds: Bounds,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    files: HashMap<String, Entry>,
    swept: Timestamp,
}

#[derive(Debug)]
struct Entry {
    /// When it was begun, and from its end on, when that was.
    since: Timestamp,
    bytes: u64,
    whole: bool,
}

/// What became of some rows.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Pushed {
    /// How many were kept.
    pub(super) rows: u64,
    /// Why the others were not, if there were any: a sentence.
    pub(super) full: Option<String>,
}

impl Spools {
    /// The files in `folder`, which exists. Those without an end, and those that have had their day, are removed.
    ///
    /// # Errors
    /// A sentence, when the folder cannot be read.
    pub(super) fn open(folder: &Path, clock: Clock) -> Result<Arc<Self>, String> {
        Self::open_with(folder, clock, BOUNDS)
    }

    fn open_with(folder: &Path, clock: Clock, bounds: Bounds) -> Result<Arc<Self>, String> {
        let now = clock.now();
        let mut state = State { swept: now, ..State::default() };
        for (name, bytes, written) in files::list(folder).map_err(|error| error.to_string())? {
            if !name.ends_with(SUFFIX) {
                continue;
            }
            let (path, since) = (folder.join(&name), Timestamp::from_seconds(written));
            if since.since(now) < KEPT_FOR && SpooledRows::open(&path).is_ok() {
                state.files.insert(name, Entry { since, bytes, whole: true });
            } else {
                let _tried_again_at_the_next_start = files::remove(&path);
            }
        }
        Ok(Arc::new(Self { folder: folder.to_owned(), clock, bounds, state: Mutex::new(state) }))
    }

    /// The name of a run's file.
    pub(super) fn name_of_run(run: &str) -> String {
        format!("query-{run}{SUFFIX}")
    }

    /// Begins the file `name`.
    ///
    /// # Errors
    /// [`ActivityError::NotKept`], when there is no room or the disk does not take it.
    pub(super) async fn begin(self: &Arc<Self>, name: &str) -> Result<Spool, ActivityError> {
        self.sweep().await;
        {
            let mut state = self.state();
            let bytes: u64 = state.files.values().map(|file| file.bytes).sum();
            if state.files.len() >= self.bounds.files || bytes >= self.bounds.total {
                return Err(not_kept(&format!(
                    "it holds the rows of {} runs with {bytes} bytes of the last 24 hours, as much as it may. Wait, or query without respond-async.",
                    state.files.len()
                )));
            }
            let entry = Entry { since: self.clock.now(), bytes: 0, whole: false };
            state.files.insert(name.to_owned(), entry);
        }
        // From here on, dropping it takes the file and its entry away again.
        let mut spool = Spool { spools: Arc::clone(self), name: name.to_owned(), file: None, whole: false };
        let path = spool.path();
        spool.file = Some(blocking(move || AppendFile::make(&path).map_err(failed)).await?);
        Ok(spool)
    }

    /// The rows in the file `name`, which are whole.
    ///
    /// # Errors
    /// [`ActivityError::NotFound`] when their day is over, [`ActivityError::NotKept`] when they cannot be read.
    pub(super) async fn read(&self, name: &str) -> Result<SpooledRows, ActivityError> {
        self.sweep().await;
        let now = self.clock.now();
        let there =
            self.state().files.get(name).is_some_and(|file| file.whole && file.since.since(now) < KEPT_FOR);
        if !there {
            let message =
                "The rows of this run are not kept any more: they are for 24 hours. Run the query again.";
            return Err(ActivityError::NotFound { code: "no_results", message: message.to_owned() });
        }
        let path = self.folder.join(name);
        blocking(move || SpooledRows::open(&path)).await
    }

    /// Takes room for as many of `wanted` bytes as there is room for; answers how many, and why not more.
    fn reserve(&self, name: &str, wanted: u64) -> (u64, Option<String>) {
        let mut state = self.state();
        let all: u64 = state.files.values().map(|file| file.bytes).sum();
        let Some(entry) = state.files.get_mut(name) else { return (0, Some("It was removed.".to_owned())) };
        let of_run = self.bounds.run.saturating_sub(entry.bytes);
        let of_all = self.bounds.total.saturating_sub(all);
        let given = wanted.min(of_run).min(of_all);
        entry.bytes += given;
        let full = (given < wanted).then(|| match of_run <= of_all {
            true => format!(
                "The rows kept of one run take at most {} bytes. Narrow the query, name fewer fields, or read it without respond-async as application/x-ndjson.",
                self.bounds.run
            ),
            false => format!(
                "The rows kept of all runs of the last 24 hours take at most {} bytes. Wait until the older ones are gone, or read it without respond-async as application/x-ndjson.",
                self.bounds.total
            ),
        });
        (given, full)
    }

    fn give_back(&self, name: &str, bytes: u64) {
        if let Some(entry) = self.state().files.get_mut(name) {
            entry.bytes = entry.bytes.saturating_sub(bytes);
        }
    }

    async fn sweep(&self) {
        let now = self.clock.now();
        let old: Vec<PathBuf> = {
            let mut state = self.state();
            if state.swept.since(now) < SWEEP_EVERY {
                return;
            }
            state.swept = now;
            let gone = |file: &Entry| file.whole && file.since.since(now) >= KEPT_FOR;
            let old = state.files.extract_if(|_, file| gone(file));
            old.map(|(name, _)| self.folder.join(name)).collect()
        };
        let removed = blocking(move || old.iter().try_for_each(|path| files::remove(path)).map_err(failed));
        if let Err(error) = removed.await {
            tracing::warn!(%error, "Rows of yesterday's runs cannot be removed.");
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // Every statement leaves the map whole, so a panic elsewhere cannot have torn it.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A file of rows that is being written. Dropped before its end, it is removed.
#[derive(Debug)]
pub(super) struct Spool {
    spools: Arc<Spools>,
    name: String,
    file: Option<AppendFile>,
    whole: bool,
}

impl Spool {
    /// Appends rows, one a line, as far as there is room for whole ones; `text` is empty afterwards.
    ///
    /// # Errors
    /// [`ActivityError::NotKept`], when the disk does not take them; drop the spool then.
    pub(super) async fn push(&mut self, text: &mut Vec<u8>) -> Result<Pushed, ActivityError> {
        let (given, full) = self.spools.reserve(&self.name, text.len() as u64);
        if full.is_some() {
            let room = usize::try_from(given).unwrap_or(usize::MAX).min(text.len());
            let whole = memchr::memrchr(b'\n', &text[..room]).map_or(0, |end| end + 1);
            text.truncate(whole);
            self.spools.give_back(&self.name, given - whole as u64);
        }
        let rows = memchr::memchr_iter(b'\n', text).count() as u64;
        self.append(text, false).await?;
        Ok(Pushed { rows, full })
    }

    /// Writes the end and returns when all of it is durable.
    ///
    /// # Errors
    /// As [`Spool::push`].
    pub(super) async fn finish(mut self, end: &RowsEnd) -> Result<(), ActivityError> {
        let file = self.file.as_ref().ok_or_else(lost)?;
        let mut text = end.text(file.length().map_err(failed)?);
        self.append(&mut text, true).await?;
        self.whole = true;
        let now = self.spools.clock.now();
        if let Some(entry) = self.spools.state().files.get_mut(&self.name) {
            (entry.since, entry.whole) = (now, true);
        }
        Ok(())
    }

    async fn append(&mut self, text: &mut Vec<u8>, durably: bool) -> Result<(), ActivityError> {
        let (mut file, mut taken) = (self.file.take().ok_or_else(lost)?, std::mem::take(text));
        let (file, taken) = blocking(move || {
            file.append(&taken).map_err(failed)?;
            if durably {
                file.sync().map_err(failed)?;
            }
            taken.clear();
            Ok((file, taken))
        })
        .await?;
        (self.file, *text) = (Some(file), taken);
        Ok(())
    }

    /// Removes the file, whose rows nobody will get.
    pub(super) async fn discard(self) {
        // Removing is work for the disk, and dropping does it.
        let _nothing_can_fail = blocking(move || {
            drop(self);
            Ok(())
        })
        .await;
    }

    fn path(&self) -> PathBuf {
        self.spools.folder.join(&self.name)
    }
}

impl Drop for Spool {
    fn drop(&mut self) {
        if self.whole {
            return;
        }
        if let Err(error) = files::remove(&self.path()) {
            tracing::warn!(%error, "The rows of a run that did not end cannot be removed; the next start tries again.");
        }
        self.spools.state().files.remove(&self.name);
    }
}

#[expect(clippy::needless_pass_by_value, reason = "it is given to map_err")]
fn failed(error: FileError) -> ActivityError {
    not_kept(&error.to_string())
}

fn lost() -> ActivityError {
    not_kept("the file of this run's rows failed before. Run the query again.")
}

#[cfg(test)]
#[path = "spool_tests.rs"]
mod tests;
