//! The runs of earlier lives of the agent: a log of beginnings and ends, read once at the start. A run without an end was
//! in progress when the agent died. Bounded by rewriting; a damaged file is set aside. Never holds a row or a record.

use std::collections::VecDeque;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use serde::{Deserialize, Serialize};

use super::model::{RunStatus, RunView};
use crate::clock::Timestamp;
use crate::connection::ActivityKind;
use crate::files::{self, AppendFile};

/// Longest log that is read back.
const LONGEST_LOG: u64 = 1024 * 1024 * 1024;
/// Lines beyond twice the history after which the log is written anew.
const SPARE_LINES: usize = 1000;

/// The log.
#[derive(Debug)]
pub(super) struct History {
    path: PathBuf,
    most: usize,
    file: Mutex<Option<(AppendFile, usize)>>,
}

/// A run as a line of the log.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Written {
    id: String,
    connection: String,
    kind: ActivityKind,
    object: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    activity: Option<String>,
    status: RunStatus,
    request_id: String,
    /// Milliseconds since 1970.
    started: i64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    finished: Option<i64>,
    rows: u64,
    failed: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    total: Option<u64>,
    #[serde(default)]
    throttled_seconds: f64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    journal: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    error: Option<String>,
}

/// A run with the journal that has its results.
#[derive(Clone, Debug)]
pub(super) struct Remembered {
    pub(super) view: RunView,
    pub(super) journal: Option<String>,
}

impl History {
    /// Reads the log in `folder` and goes on writing it; answers the runs it holds, oldest first, at most `most`.
    ///
    /// # Errors
    /// A sentence, when the file cannot be used.
    pub(super) fn open(
        folder: &Path,
        most: usize,
        now: Timestamp,
    ) -> Result<(Self, VecDeque<Remembered>), String> {
        let path = folder.join("history.ndjson");
        let mut runs = VecDeque::new();
        match files::read_bounded(&path, LONGEST_LOG) {
            Ok(text) => match read(&text, most, now) {
                Ok(read) => runs = read,
                Err(line) => {
                    let aside = format!("history.damaged-{}.ndjson", now.as_seconds());
                    let kept = files::set_aside(&path, &aside).map_err(|error| error.to_string())?;
                    tracing::warn!(file = %kept.display(), line, "The history of runs is damaged; it was set aside and a new one begun.");
                }
            },
            Err(error) if error.is_not_found() => {}
            Err(error) => return Err(error.to_string()),
        }
        let history = Self { path, most, file: Mutex::new(None) };
        history.rewrite(runs.iter()).map_err(|error| error.to_string())?;
        Ok((history, runs))
    }

    /// Notes how a run stands. Survives the end of the process; a power cut may take the last ones.
    pub(super) fn note(&self, run: &Remembered) {
        let mut file = self.file.lock().unwrap_or_else(PoisonError::into_inner);
        let Some((log, lines)) = file.as_mut() else { return };
        if let Err(error) = log.append(&line(run)) {
            tracing::warn!(%error, "The history of runs cannot be written; it ends here until the agent starts again.");
            *file = None;
            return;
        }
        *lines += 1;
    }

    /// Whether so much was noted that the log should be written anew.
    pub(super) fn is_long(&self) -> bool {
        let file = self.file.lock().unwrap_or_else(PoisonError::into_inner);
        file.as_ref().is_some_and(|(_, lines)| *lines > self.most * 2 + SPARE_LINES)
    }

    /// Writes the log anew, with `runs` only.
    ///
    /// # Errors
    /// [`files::FileError`]; the old log is then still there.
    pub(super) fn rewrite<'r>(
        &self,
        runs: impl Iterator<Item = &'r Remembered>,
    ) -> Result<(), files::FileError> {
        let mut file = self.file.lock().unwrap_or_else(PoisonError::into_inner);
        let (mut text, mut lines) = (Vec::new(), 0);
        for run in runs {
            text.extend(line(run));
            lines += 1;
        }
        files::write_private(&self.path, &text)?;
        *file = Some((AppendFile::open(&self.path)?, lines));
        Ok(())
    }
}

fn line(run: &Remembered) -> Vec<u8> {
    let RunView {
        id,
        connection,
        kind,
        object,
        activity,
        status,
        request_id,
        started_at,
        finished_at,
        rows,
        failed,
        total,
        results_kept: _,
        waiting: _,
        throttled_seconds,
        error,
    } = run.view.clone();
    let written = Written {
        id,
        connection,
        kind,
        object,
        activity,
        status,
        request_id,
        started: started_at.as_millis(),
        finished: finished_at.map(Timestamp::as_millis),
        rows,
        failed,
        total,
        throttled_seconds,
        journal: run.journal.clone(),
        error,
    };
    let mut line = serde_json::to_vec(&written).unwrap_or_default();
    line.push(b'\n');
    line
}

/// The runs in `text`, oldest first. A torn last line is left out; `Err` is the number of a damaged one before it.
fn read(text: &[u8], most: usize, now: Timestamp) -> Result<VecDeque<Remembered>, usize> {
    let mut runs: VecDeque<Remembered> = VecDeque::new();
    let mut places = std::collections::HashMap::new();
    let whole = memchr::memrchr(b'\n', text).map_or(0, |end| end + 1);
    for (number, line) in text[..whole].split(|byte| *byte == b'\n').enumerate() {
        if line.is_empty() {
            continue;
        }
        let written: Written = serde_json::from_slice(line).map_err(|_| number + 1)?;
        let run = remembered(written, now);
        match places.get(&run.view.id) {
            Some(place) => runs[*place] = run,
            None => {
                places.insert(run.view.id.clone(), runs.len());
                runs.push_back(run);
            }
        }
    }
    while runs.len() > most.max(1) {
        runs.pop_front();
    }
    Ok(runs)
}

fn remembered(mut written: Written, now: Timestamp) -> Remembered {
    let mut view = RunView {
        id: written.id,
        connection: written.connection,
        kind: written.kind,
        object: written.object,
        activity: written.activity,
        status: written.status,
        request_id: written.request_id,
        started_at: Timestamp::from_millis(written.started),
        finished_at: written.finished.map(Timestamp::from_millis),
        rows: written.rows,
        failed: written.failed,
        total: written.total,
        results_kept: written.journal.is_some(),
        waiting: 0,
        throttled_seconds: written.throttled_seconds,
        error: written.error,
    };
    if matches!(view.status, RunStatus::Running | RunStatus::CancelRequested) {
        view.status = RunStatus::Interrupted;
        view.finished_at = Some(now);
        let writes = !matches!(view.kind, ActivityKind::Query);
        let remedy = match (&written.journal, writes) {
            (Some(name), true) if name.starts_with("key-") => {
                "Make the same call again with the same Idempotency-Key: records that are done are answered, the others are written."
            }
            (_, true) => "What it had written stands; look before you repeat it.",
            (_, false) => "Repeat it.",
        };
        if !writes {
            // Rows without an end are removed at the start.
            view.results_kept = false;
            written.journal = None;
        }
        view.error = Some(format!("The agent ended while this run was in progress. {remedy}"));
    }
    Remembered { view, journal: written.journal }
}

#[cfg(test)]
#[path = "history_tests.rs"]
mod tests;
