//! The results of a run as its journal has them, for a caller that fetches them later. Never writes.

use super::error::ActivityError;
use super::journal::Earlier;
use super::model::{RecordResult, RecordStatus, RunStatus, RunView};
use super::upload::blocking;

/// The results of one run, in the order of its records.
#[derive(Debug)]
pub struct KeptResults {
    run: RunView,
    journal: Earlier,
    next: usize,
    /// Results that were kept, of those handed out.
    kept: u64,
}

impl KeptResults {
    pub(super) fn new(run: RunView, journal: Earlier) -> Self {
        Self { run, journal, next: 0, kept: 0 }
    }

    /// The run.
    pub fn run(&self) -> &RunView {
        &self.run
    }

    /// Whether the results that were handed out are those of all records. At the end only; never true of a run that is in
    /// progress, and of one that broke off only when every record has a result all the same, because a later call with the
    /// same key went on.
    pub fn is_complete(&self) -> bool {
        let ended = match self.run.status {
            RunStatus::Running | RunStatus::CancelRequested => return false,
            RunStatus::Interrupted => false,
            RunStatus::Success | RunStatus::SuccessWithWarning | RunStatus::Error | RunStatus::Cancelled => {
                true
            }
        };
        self.run.total.map_or(ended, |total| self.kept >= total)
    }

    /// The next results, at most `most`; none at the end.
    ///
    /// # Errors
    /// [`ActivityError::NotKept`], when the journal cannot be read back.
    pub async fn next(mut self, most: usize) -> Result<(Self, Vec<RecordResult>), ActivityError> {
        blocking(move || {
            let mut results = Vec::new();
            while results.len() < most
                && let Some(result) = self.read()?
            {
                results.push(result);
            }
            Ok((self, results))
        })
        .await
    }

    /// The next result. A record that has none yet, or never got one because the agent ended, is `unknown` when it may
    /// have been sent, and is left out otherwise.
    fn read(&mut self) -> Result<Option<RecordResult>, ActivityError> {
        let last =
            self.journal.sent.keys().next_back().map_or(0, |index| index + 1).max(self.journal.results());
        while self.next < last {
            let index = self.next;
            self.next += 1;
            if let Some(result) = self.journal.told(index)? {
                self.kept += 1;
                return Ok(Some(result));
            }
            if self.journal.sent.contains_key(&index) {
                let status = RecordStatus::Unknown;
                return Ok(Some(RecordResult { index, status, id: None, error: None, result: None }));
            }
        }
        Ok(None)
    }
}
