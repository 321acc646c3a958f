//! Upload sessions: what was promised, what has come, and what becomes of it at the end.
//! Never reads a socket; the content service hands the bytes over.

use super::attachments::{self, NewAttachment};
use super::drives::write::{self as drive_write, Conflict};
use super::errors::GraphError;
use crate::answer::Answer;
use crate::data::content::Spool;
use crate::data::drives::Actor;
use crate::state::State;
use crate::time::{instant, now_seconds};
use serde_json::{Value, json};

/// The unit of a drive's fragments: 320 KiB.
const FRAGMENT_UNIT: u64 = 327_680;
/// A fragment of a drive's upload must be smaller than this.
const LARGEST_FRAGMENT: u64 = 60 * 1024 * 1024;
/// A range of an attachment's upload is at most this.
const LARGEST_RANGE: u64 = 4 * 1024 * 1024;

/// Where a file of a drive is going.
#[derive(Debug, Clone)]
pub(crate) struct DriveTarget {
    /// The drive's id.
    pub(crate) drive: String,
    /// The folder.
    pub(crate) folder: u32,
    /// The name.
    pub(crate) name: String,
    /// What happens when the name is taken.
    pub(crate) conflict: Conflict,
    /// Who uploads.
    pub(crate) author: Actor,
    /// The media type, if the client said one.
    pub(crate) media_type: Option<String>,
    /// Whether the end has to be asked for.
    pub(crate) deferred: bool,
}

impl DriveTarget {
    /// A target without an author.
    pub(crate) fn new(drive: &str, folder: u32, name: &str, conflict: Conflict) -> Self {
        Self {
            drive: drive.to_owned(),
            folder,
            name: name.to_owned(),
            conflict,
            author: Actor { id: String::new(), name: String::new(), address: String::new() },
            media_type: None,
            deferred: false,
        }
    }
}

/// What is being uploaded.
#[derive(Debug, Clone)]
pub(crate) enum Target {
    /// A file.
    Drive(DriveTarget),
    /// An attachment.
    Attachment(NewAttachment),
}

/// A session.
#[derive(Debug)]
pub(crate) struct Upload {
    /// What for.
    pub(crate) target: Target,
    total: Option<u64>,
    spool: Spool,
    expires: i64,
    /// Whether a fragment was no multiple of 320 KiB, and not the last.
    uneven: bool,
}

/// A range of bytes as `Content-Range` names it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Range {
    first: u64,
    last: u64,
    total: u64,
}

impl Range {
    /// Reads `bytes 0-25/128`.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let (range, total) = text.trim().strip_prefix("bytes ")?.split_once('/')?;
        let (first, last) = range.split_once('-')?;
        let range = Self {
            first: first.trim().parse().ok()?,
            last: last.trim().parse().ok()?,
            total: total.trim().parse().ok()?,
        };
        (range.first <= range.last && range.last < range.total).then_some(range)
    }
}

impl Upload {
    /// A new session and its name.
    pub(crate) fn open(
        state: &mut State,
        target: Target,
        total: Option<u64>,
    ) -> Result<(String, Self), GraphError> {
        let token = state.fresh.opaque(24);
        let spool = Spool::new(&token)
            .map_err(|_| GraphError::new(500, "generalException", "No temporary storage is available."))?;
        let expires = now_seconds() + state.options.upload_session_lifetime.as_secs() as i64;
        state.uploads.retain(|_, upload| !upload.is_expired());
        Ok((token, Self { target, total, spool, expires, uneven: false }))
    }

    /// When it ends, as text.
    pub(crate) fn expires_text(&self) -> String {
        instant(self.expires)
    }

    /// Whether it has ended by itself.
    pub(crate) fn is_expired(&self) -> bool {
        now_seconds() >= self.expires
    }

    /// Whether every byte has come.
    pub(crate) fn is_whole(&self) -> bool {
        self.total == Some(self.spool.length)
    }

    /// Its state, as a session tells it.
    pub(crate) fn state(&self) -> Value {
        let next = match (&self.target, self.is_whole()) {
            (_, true) => json!([]),
            (Target::Drive(_), false) => json!([format!("{}-", self.spool.length)]),
            (Target::Attachment(_), false) => json!([self.spool.length.to_string()]),
        };
        let name =
            if matches!(self.target, Target::Drive(_)) { "expirationDateTime" } else { "ExpirationDateTime" };
        json!({name: self.expires_text(), "nextExpectedRanges": next})
    }

    /// Takes a range of bytes.
    pub(crate) fn take(&mut self, range: Range, bytes: &[u8]) -> Result<(), GraphError> {
        let wrong = |text: &str| Err(GraphError::invalid_request(text));
        let length = range.last - range.first + 1;
        if length != bytes.len() as u64 {
            return wrong("Content-Range does not have the length of the body.");
        }
        if self.total.is_some_and(|total| total != range.total) {
            return wrong("The total size in Content-Range is not the one the upload began with.");
        }
        match &self.target {
            Target::Drive(_) if length >= LARGEST_FRAGMENT => {
                return Err(GraphError::new(
                    413,
                    "requestTooLarge",
                    "A fragment must be smaller than 60 MiB.",
                ));
            }
            Target::Attachment(_) if length > LARGEST_RANGE => {
                return Err(GraphError::new(
                    413,
                    "ErrorInvalidRequest",
                    "A range must not be larger than 4 MB.",
                ));
            }
            _ => {}
        }
        if range.first != self.spool.length {
            let text = "Optimistic concurrency failure during fragmented upload: the range is not the next expected one.";
            return Err(GraphError::new(416, "invalidRange", text));
        }
        self.total = Some(range.total);
        self.uneven |= range.last + 1 < range.total && !length.is_multiple_of(FRAGMENT_UNIT);
        self.spool
            .append(bytes)
            .map_err(|_| GraphError::new(507, "quotaLimitReached", "The storage is full."))
    }

    /// Ends a whole upload: the drive's item, or where the attachment is.
    pub(crate) fn end(state: &mut State, token: &str, asked: bool) -> Result<Answer, GraphError> {
        let Some(upload) = state.uploads.get(token) else {
            return Err(GraphError::drive_item_not_found());
        };
        match upload.target.clone() {
            Target::Drive(target) if target.deferred && !asked => Ok(Answer::json(202, &upload.state())),
            Target::Drive(_) if upload.uneven => {
                let text = "The fragments are not multiples of 320 KiB, so the file cannot be put together.";
                Err(GraphError::invalid_request(text))
            }
            Target::Drive(target) => Self::commit(state, token, &target),
            Target::Attachment(target) => {
                let Some(upload) = state.uploads.remove(token) else {
                    return Err(GraphError::drive_item_not_found());
                };
                attachments::finish_upload(state, &target, upload.spool.finish())
            }
        }
    }

    /// Puts a whole file in its place. A session whose name is taken goes on, so that it can be ended otherwise.
    pub(crate) fn commit(state: &mut State, token: &str, target: &DriveTarget) -> Result<Answer, GraphError> {
        let taken = target.conflict == Conflict::Fail
            && state
                .drives
                .get(&target.drive)
                .is_some_and(|drive| drive.named(target.folder, &target.name).is_some());
        if taken {
            return Err(GraphError::name_taken());
        }
        let upload = state.uploads.remove(token).ok_or_else(GraphError::drive_item_not_found)?;
        drive_write::commit(state, target, upload.spool.finish())
    }
}
