//! A content on its way to the caller, and the run that ends with it. Never decides how an answer is framed.

use bytes::Bytes;

use super::deliver::StreamedContent;
use crate::activity::error::ActivityError;
use crate::activity::model::RunStatus;
use crate::activity::runs::Run;

/// A content in progress. Dropping it ends the run as cancelled and stops whatever is still being fetched.
#[derive(Debug)]
pub struct RunningContent {
    run: Run,
    content: Box<StreamedContent>,
    ended: bool,
}

impl RunningContent {
    pub(super) fn new(run: Run, content: Box<StreamedContent>) -> Self {
        Self { run, content, ended: false }
    }

    /// The run's id.
    pub fn run_id(&self) -> &str {
        self.run.id()
    }

    /// The file name to suggest.
    pub fn name(&self) -> &str {
        &self.content.name
    }

    /// How long it is, when that is known.
    pub fn length(&self) -> Option<u64> {
        self.content.download.length()
    }

    /// The next piece; `None` when all of it was handed out and checked. The last piece is held back until then.
    ///
    /// # Errors
    /// [`ActivityError`]; the run has then ended, and what was handed out is not the whole.
    pub async fn next(&mut self) -> Result<Option<Bytes>, ActivityError> {
        let next = self.content.download.next().await.map_err(ActivityError::from);
        let piece = next.inspect_err(|error| self.run.fail(error))?;
        // The last piece comes when the whole has been checked, and whoever knows the length asks for nothing behind it.
        if self.content.download.verified().is_some() && !std::mem::replace(&mut self.ended, true) {
            self.run.add_rows(1);
            self.run.succeed(RunStatus::Success);
        }
        Ok(piece)
    }
}
