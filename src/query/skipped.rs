//! Remembers which of many places could not be read, and says so in a sentence at the end. Bounded: counts all, names the
//! first few.

use super::plan::{Scan, Then};
use crate::error::clean_foreign_text;
use crate::graph::{GraphError, GraphRefusal};

/// Places that are named.
const NAMED: usize = 5;

/// Codes with which Graph says that a user has no mailbox of the kind asked for.
const NO_MAILBOX: [&str; 6] = [
    "MailboxNotEnabledForRESTAPI",
    "MailboxNotSupportedForRESTAPI",
    "ErrorInvalidUser",
    "ErrorMailboxNotEnabledForRESTAPI",
    "ResourceNotFound",
    "Request_ResourceNotFound",
];

/// What was left out.
#[derive(Debug, Default)]
pub(super) struct Skipped {
    /// Users found by listing who have no mailbox: nothing of theirs is missing.
    without: Listed,
    /// Places that could not be read: the answer is not complete.
    unread: Listed,
    /// Folders that lie deeper than is read.
    too_deep: Listed,
    first_error: Option<GraphError>,
    answered: bool,
}

/// How many, and the first of them.
#[derive(Debug, Default)]
struct Listed {
    count: u64,
    names: Vec<String>,
}

impl Listed {
    fn add(&mut self, name: String) {
        self.count += 1;
        if self.names.len() < NAMED {
            self.names.push(name);
        }
    }

    fn shown(&self) -> String {
        let more = if self.count > self.names.len() as u64 { ", …" } else { "" };
        format!("{}{more}", self.names.join(", "))
    }
}

impl Skipped {
    /// A scan was answered.
    pub(super) fn answered(&mut self, scan: &Scan) {
        self.answered |= !matches!(scan.then, Then::EachUser(_));
    }

    /// The folder `id` is too deep to be read.
    pub(super) fn too_deep(&mut self, id: &str) {
        self.too_deep.add(clean_foreign_text(id));
    }

    /// The scan of `place` was refused with `error`.
    pub(super) fn leave_out(&mut self, place: &str, named: bool, error: GraphError) {
        let place = clean_foreign_text(place);
        match &error {
            GraphError::Refused(GraphRefusal { status: 404, code, .. })
                if !named && NO_MAILBOX.contains(&code.as_str()) =>
            {
                self.without.add(place);
            }
            GraphError::Refused(refusal) => {
                self.unread.add(format!("{place} ({} {})", refusal.status, refusal.code));
                self.first_error.get_or_insert(error);
            }
            _ => self.unread.add(place),
        }
    }

    /// The first refusal, if no place at all was answered.
    pub(super) fn all_refused(&self) -> Option<GraphError> {
        self.first_error.clone().filter(|_| !self.answered)
    }

    /// Why rows are missing, if any are.
    pub(super) fn reason(&self) -> Option<String> {
        let unread = (self.unread.count > 0).then(|| {
            format!(
                "{} of the places asked for could not be read and are left out: {}. Check that each exists and that the \
                 connection may read it.",
                self.unread.count,
                self.unread.shown()
            )
        });
        let too_deep = (self.too_deep.count > 0).then(|| {
            format!(
                "{} folders lie deeper than DirectoryRetrievalDepth and were not read: {}. Raise it on the connection, or \
                 set it to -1 for all levels.",
                self.too_deep.count,
                self.too_deep.shown()
            )
        });
        match (unread, too_deep) {
            (Some(unread), Some(too_deep)) => Some(format!("{unread} {too_deep}")),
            (unread, too_deep) => unread.or(too_deep),
        }
    }

    /// What is worth knowing though nothing is missing.
    pub(super) fn note(&self) -> Option<String> {
        (self.without.count > 0).then(|| {
            format!(
                "{} of the users found have no mailbox and were passed over: {}.",
                self.without.count,
                self.without.shown()
            )
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refusal(status: u16, code: &str) -> GraphError {
        GraphError::Refused(GraphRefusal { status, code: code.to_owned(), ..GraphRefusal::default() })
    }

    #[test]
    fn a_user_without_mailbox_is_no_loss_and_anything_else_is() {
        let mut skipped = Skipped::default();
        assert_eq!((skipped.reason(), skipped.note(), skipped.all_refused().is_some()), (None, None, false));
        skipped.leave_out("a", false, refusal(404, "MailboxNotEnabledForRESTAPI"));
        assert_eq!(
            skipped.note().as_deref(),
            Some("1 of the users found have no mailbox and were passed over: a.")
        );
        assert_eq!((skipped.reason(), skipped.all_refused().is_some()), (None, false));
        for place in 0..8 {
            skipped.leave_out(&format!("p{place}"), place == 0, refusal(404, "ErrorInvalidUser"));
        }
        assert!(skipped.reason().is_some_and(|reason| reason.starts_with("1 of the places")), "p0 was named");
        skipped.leave_out("x", false, refusal(403, "ErrorAccessDenied"));
        let reason = skipped.reason().unwrap_or_default();
        assert!(reason.contains("p0 (404 ErrorInvalidUser), x (403 ErrorAccessDenied)."), "{reason}");
        assert!(
            skipped.note().is_some_and(|note| note.contains("8 of the users") && note.ends_with("p4, …."))
        );
        assert!(skipped.all_refused().is_some());
    }
}
