//! What is kept of writes for a day: the journals of calls with an `Idempotency-Key` and of calls whose results are
//! fetched later. Decides who may use a journal, how many there are, and when they go. Never reads a result.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use aws_lc_rs::digest::{SHA256, digest};

use super::error::ActivityError;
use super::journal::{Earlier, Header, Journal, Line};
use super::upload::{blocking, not_kept};
use crate::clock::{Clock, Timestamp};
use crate::files::{self, AppendFile};

/// How long journals are kept after their last use.
pub(super) const KEPT_FOR: Duration = Duration::from_secs(24 * 3600);
/// Most journals at a time.
const MOST_JOURNALS: usize = 10_000;
/// Most bytes of journals at a time, as far as they are known.
const MOST_BYTES: u64 = 4 * 1024 * 1024 * 1024;
/// How often journals that have had their day are looked for.
const SWEEP_EVERY: Duration = Duration::from_secs(600);

/// The folder of journals.
#[derive(Debug)]
pub(super) struct Kept {
    folder: PathBuf,
    clock: Clock,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// Journals by name: when they were last used, and their size when that was last looked at.
    journals: HashMap<String, (Timestamp, u64)>,
    /// Journals in use: by which run, and for which request.
    in_use: HashMap<String, (String, String)>,
    swept: Timestamp,
}

/// A journal in use. Dropped, it can be used again.
#[derive(Debug)]
pub(super) struct Held {
    kept: Arc<Kept>,
    name: String,
}

/// A journal opened for a run.
#[derive(Debug)]
pub(super) struct Opened {
    pub(super) journal: Journal,
    /// What earlier runs of the same request left; empty for the first.
    pub(super) earlier: Earlier,
    pub(super) mark: String,
    pub(super) held: Held,
}

impl Kept {
    /// The journals of `folder`, which is made when missing. Those that have had their day are removed.
    ///
    /// # Errors
    /// A sentence, when the folder cannot be used.
    pub(super) fn open(folder: &Path, clock: Clock) -> Result<Arc<Self>, String> {
        files::ensure_private_folder(folder).map_err(|error| error.to_string())?;
        let now = clock.now();
        let mut state = State { swept: now, ..State::default() };
        for (name, size, written) in files::list(folder).map_err(|error| error.to_string())? {
            if !name.ends_with(".journal") {
                continue;
            }
            let written = Timestamp::from_seconds(written);
            if written.since(now) >= KEPT_FOR {
                let _tried_again_at_the_next_start = files::remove(&folder.join(&name));
            } else {
                state.journals.insert(name, (written, size));
            }
        }
        Ok(Arc::new(Self { folder: folder.to_owned(), clock, state: Mutex::new(state) }))
    }

    /// The folder, for bodies that do not fit into memory.
    pub(super) fn folder(&self) -> &Path {
        &self.folder
    }

    /// The name of the journal for a key: the key itself is the caller's and stays out of the file system.
    pub(super) fn name_of_key(connection: &str, kind: &str, key: &str) -> String {
        let text = format!("{}:{connection}{kind}:{key}", connection.len());
        format!("key-{}.journal", &hex(digest(&SHA256, text.as_bytes()).as_ref())[..40])
    }

    /// The name of the journal of a run without a key.
    pub(super) fn name_of_run(run: &str) -> String {
        format!("run-{run}.journal")
    }

    /// Opens the journal `name` for the run `run` of the request with that fingerprint.
    ///
    /// # Errors
    /// [`ActivityError::KeyInUse`], [`ActivityError::KeyReused`], [`ActivityError::NotKept`].
    pub(super) async fn open_journal(
        self: &Arc<Self>,
        name: &str,
        run: &str,
        fingerprint: &str,
        mark: &str,
    ) -> Result<Opened, ActivityError> {
        let held = self.hold(name, run, fingerprint)?;
        self.sweep().await;
        let (path, fingerprint, run, mark) =
            (self.folder.join(name), fingerprint.to_owned(), run.to_owned(), mark.to_owned());
        let known = self.state().journals.contains_key(name);
        if !known {
            self.make_room()?;
        }
        let (file, earlier, mark) = blocking(move || {
            let earlier = match known {
                true => read_again(&path, true)?,
                false => Earlier::default(),
            };
            let failed = |error: files::FileError| not_kept(&error.to_string());
            let mut first = Vec::new();
            let (mut file, mark) = match &earlier.header {
                Some(header) if header.fingerprint != fingerprint => return Err(ActivityError::KeyReused),
                Some(header) => {
                    Line::Run(&run).write(&mut first);
                    (AppendFile::open(&path).map_err(failed)?, header.mark.clone())
                }
                // New, or made by an agent that died before its first line was whole.
                None => {
                    let header = Header { version: 2, fingerprint, run, mark: mark.clone() };
                    Line::Header(&header).write(&mut first);
                    let file = if known { AppendFile::open(&path) } else { AppendFile::make(&path) };
                    (file.map_err(failed)?, mark)
                }
            };
            file.append(&first).and_then(|()| file.sync()).map_err(failed)?;
            Ok((file, earlier, mark))
        })
        .await?;
        let size = file.length().unwrap_or(0);
        self.state().journals.insert(name.to_owned(), (self.clock.now(), size));
        Ok(Opened { journal: Journal::to(file), earlier, mark, held })
    }

    /// The results in the journal `name`.
    ///
    /// # Errors
    /// [`ActivityError::NotFound`] when its day is over, [`ActivityError::NotKept`].
    pub(super) async fn results(&self, name: &str) -> Result<Earlier, ActivityError> {
        if !self.state().journals.contains_key(name) {
            let message = "The results of this run are not kept (any more). Runs begun with Prefer: respond-async or an Idempotency-Key keep theirs for 24 hours.";
            return Err(ActivityError::NotFound { code: "no_results", message: message.to_owned() });
        }
        let path = self.folder.join(name);
        // It may be in use, so nothing of it is cut off.
        blocking(move || read_again(&path, false)).await
    }

    fn hold(self: &Arc<Self>, name: &str, run: &str, fingerprint: &str) -> Result<Held, ActivityError> {
        let mut state = self.state();
        if let Some((other, its_fingerprint)) = state.in_use.get(name) {
            return Err(match its_fingerprint == fingerprint {
                true => ActivityError::KeyInUse { run: other.clone() },
                false => ActivityError::KeyReused,
            });
        }
        state.in_use.insert(name.to_owned(), (run.to_owned(), fingerprint.to_owned()));
        Ok(Held { kept: Arc::clone(self), name: name.to_owned() })
    }

    fn make_room(&self) -> Result<(), ActivityError> {
        let state = self.state();
        let bytes: u64 = state.journals.values().map(|(_, size)| size).sum();
        if state.journals.len() >= MOST_JOURNALS || bytes >= MOST_BYTES {
            return Err(not_kept(&format!(
                "it holds {} journals with {bytes} bytes of the last 24 hours, as many as it may. Wait, or send without Idempotency-Key and respond-async.",
                state.journals.len()
            )));
        }
        Ok(())
    }

    async fn sweep(&self) {
        let now = self.clock.now();
        let old: Vec<PathBuf> = {
            let mut state = self.state();
            if state.swept.since(now) < SWEEP_EVERY {
                return;
            }
            state.swept = now;
            let State { journals, in_use, .. } = &mut *state;
            let gone =
                |name: &String, used: Timestamp| used.since(now) >= KEPT_FOR && !in_use.contains_key(name);
            let names: Vec<String> = journals
                .iter()
                .filter(|(name, (used, _))| gone(name, *used))
                .map(|(name, _)| name.clone())
                .collect();
            journals.retain(|name, _| !names.contains(name));
            names.iter().map(|name| self.folder.join(name)).collect()
        };
        let removed = blocking(move || {
            old.iter().try_for_each(|path| files::remove(path)).map_err(|error| not_kept(&error.to_string()))
        });
        if let Err(error) = removed.await {
            tracing::warn!(%error, "Journals of yesterday's runs cannot be removed.");
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // Every statement leaves the maps whole, so a panic elsewhere cannot have torn them.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Reads a journal. One that is damaged is never taken for an empty one: its records may be done.
fn read_again(path: &Path, cut: bool) -> Result<Earlier, ActivityError> {
    let failed = |error: files::FileError| not_kept(&error.to_string());
    match Earlier::read(path, cut).map_err(failed)? {
        Ok(earlier) => Ok(earlier),
        Err(what) => Err(not_kept(&format!(
            "{}: {what}. Look which records were written before you send them again with another key.",
            path.display()
        ))),
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        let size = files::size(&self.kept.folder.join(&self.name)).unwrap_or(0);
        let now = self.kept.clock.now();
        let mut state = self.kept.state();
        state.in_use.remove(&self.name);
        state.journals.insert(self.name.clone(), (now, size));
    }
}

pub(super) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
#[path = "kept_tests.rs"]
mod tests;
