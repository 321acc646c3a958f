//! The names of mailboxes: an object id, a user principal name, `me`. Remembers which of them were found to mean one
//! mailbox, so that what Graph counts together has one lane. Never finds anything out by itself.

use std::collections::HashMap;

use super::keys::{LaneKey, is_object_id};

/// Names that are remembered. Beyond it all are forgotten: they are learned again from the next answers.
const MOST_NAMES: usize = 50_000;
/// Steps from a name to the one that counts: `me`, a principal name, an object id.
const MOST_STEPS: usize = 8;

/// Names that stand for others.
#[derive(Debug, Default)]
pub(super) struct Names(HashMap<LaneKey, LaneKey>);

impl Names {
    /// The name that counts for `key`.
    pub(super) fn one(&self, key: LaneKey) -> LaneKey {
        let mut one = key;
        for _ in 0..MOST_STEPS {
            match self.0.get(&one) {
                Some(other) => one = other.clone(),
                None => break,
            }
        }
        one
    }

    /// Takes note that two names mean one mailbox; which lane moves to which, if that is new. An object id counts before
    /// any other name, and never moves.
    pub(super) fn join(&mut self, name: LaneKey, other: LaneKey) -> Option<(LaneKey, LaneKey)> {
        let (mut from, mut to) = (self.one(name.clone()), self.one(other.clone()));
        if from == to {
            return None;
        }
        if is_id(&from) && is_id(&to) {
            // A name has got another user, such as `me` after another sign-in: what is in the air stays where it is.
            if !is_id(&name) {
                self.0.insert(name, to);
            } else if !is_id(&other) {
                self.0.insert(other, from);
            }
            return None;
        }
        if is_id(&from) {
            std::mem::swap(&mut from, &mut to);
        }
        if self.0.len() >= MOST_NAMES {
            self.0.clear();
        }
        self.0.insert(from.clone(), to.clone());
        Some((from, to))
    }
}

fn is_id(key: &LaneKey) -> bool {
    matches!(key, LaneKey::Mailbox(_, name) if is_object_id(name))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(name: &str) -> LaneKey {
        LaneKey::Mailbox("app".to_owned(), name.to_owned())
    }

    #[test]
    fn names_of_one_mailbox_end_at_its_object_id() {
        const ID: &str = "bb8775a4-4d8c-42cf-a1d4-4d58c2bb668f";
        const OTHER: &str = "d1a2fae9-db66-4cc9-8133-2184c77af1b8";
        let mut names = Names::default();
        assert_eq!(names.join(key("me"), key("a@b")), Some((key("me"), key("a@b"))));
        assert_eq!(names.join(key(ID), key("a@b")), Some((key("a@b"), key(ID))));
        assert_eq!(names.join(key("me"), key(ID)), None, "known already");
        for name in ["me", "a@b", ID] {
            assert_eq!(names.one(key(name)), key(ID), "{name}");
        }
        // Another user signs in: only `me` changes.
        assert_eq!(names.join(key("me"), key(OTHER)), None);
        assert_eq!((names.one(key("me")), names.one(key("a@b"))), (key(OTHER), key(ID)));
    }
}
