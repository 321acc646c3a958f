//! What this process knows of one store's contents: the newest tokens, what was last seen in the store, and whether the
//! store has still to take the newest ones. Shared by all tasks that ever use the store, so that a successor never sends
//! a token that its predecessor has used up. Decides whose tokens count; does no I/O.

use std::sync::Arc;

use crate::token::model::TokenGeneration;

use super::Stored;
use super::lineage::{Order, seeds};

/// The knowledge.
#[derive(Debug, Default)]
pub(super) struct Known {
    /// The newest tokens. Their number only grows, also when the store's own count began anew.
    newest: Arc<Stored>,
    /// What was last seen in the store or put there. It stays when the store is emptied or put back: what the store
    /// holds then is *less*, and not news.
    in_store: Arc<Stored>,
    /// Whether the store has still to take `newest`.
    owed: bool,
    /// Whether nothing at all was in the store at the last look, not even a claim.
    vacant: bool,
    /// The highest number seen anywhere.
    highest: TokenGeneration,
    /// Counts changes of this knowledge.
    changes: u64,
}

impl Known {
    pub(super) fn newest(&self) -> Arc<Stored> {
        Arc::clone(&self.newest)
    }

    pub(super) fn owed(&self) -> Option<Arc<Stored>> {
        self.owed.then(|| self.newest())
    }

    pub(super) fn is_vacant(&self) -> bool {
        self.vacant
    }

    pub(super) fn changes(&self) -> u64 {
        self.changes
    }

    /// The number of the next tokens, which is above all numbers seen.
    pub(super) fn next_generation(&self) -> TokenGeneration {
        self.highest + 1
    }

    /// The store holds `found`. Tokens that somebody else has put there become the newest; an emptied store and one that
    /// was put back to an earlier state change nothing, and the latter is to take the newest tokens again.
    pub(super) fn found(&mut self, found: Option<Stored>) {
        self.vacant = found.is_none();
        let found = found.unwrap_or_default();
        let generation = found.generation;
        match found.order(&self.in_store) {
            Order::Same => self.found_the_same(found),
            Order::Newer | Order::Apart if self.owes_a_later_sign_in_than(&found) => {
                self.in_store = Arc::new(found);
                self.changes += 1;
            }
            Order::Newer | Order::Apart => self.adopt(found),
            // A person has brought a backup of tokens that may still work, which the newest do not.
            Order::Older if !found.is_empty() && self.newest.is_refused() => self.adopt(found),
            Order::Older if !found.is_empty() && !self.newest.is_empty() => {
                self.changes += u64::from(!self.owed);
                self.owed = true;
            }
            Order::Older => {}
        }
        self.highest = self.highest.max(generation);
    }

    /// Whether the store's tokens come from a sign-in that the owed ones replace, or from one that was earlier. A claim that
    /// is owed holds no token and gives way to all.
    fn owes_a_later_sign_in_than(&self, found: &Stored) -> bool {
        if self.newest.is_empty() {
            return false;
        }
        let (ours, theirs) = (&self.newest.lineage, &found.lineage);
        let is_new = ours.id() != self.in_store.lineage.id() && ours.id() != theirs.id();
        let later = is_new && ours.began() > theirs.began() && !found.comes_after(&self.newest);
        self.owed && !self.newest.is_refused() && (self.newest.comes_after(found) || later)
    }

    /// A refusal, or that a code was spent, may have been recorded beside the same tokens.
    fn found_the_same(&mut self, found: Stored) {
        let notes = |stored: &Stored| (stored.denied.clone(), stored.seed.clone());
        if notes(&found) == notes(&self.in_store) {
            return;
        }
        if !self.owed {
            let (generation, lineage) = (self.newest.generation, self.newest.lineage.clone());
            self.newest = Arc::new(Stored { generation, lineage, ..found.clone() });
        }
        self.in_store = Arc::new(found);
        self.changes += 1;
    }

    fn adopt(&mut self, found: Stored) {
        let before = &self.newest;
        let generation = if found.has_the_tokens_of(before) {
            found.generation.max(before.generation)
        } else if self.highest == 0 {
            found.generation
        } else {
            found.generation.max(self.highest + 1)
        };
        let lineage = found.lineage.clone().after(&before.lineage);
        let seed = seeds(found.seed.as_deref(), before.seed.as_deref());
        self.in_store = Arc::new(found);
        let same = (generation, &lineage, &seed)
            == (self.in_store.generation, &self.in_store.lineage, &self.in_store.seed);
        self.newest = if same {
            Arc::clone(&self.in_store)
        } else {
            Arc::new(Stored { generation, lineage, seed, ..(*self.in_store).clone() })
        };
        self.highest = self.highest.max(generation);
        self.owed = false;
        self.changes += 1;
    }

    /// `next` is to be put in the store. Whether it counts: not when a person has signed in, or a sibling has refreshed
    /// the same sign-in, since it was asked for.
    pub(super) fn owe(&mut self, next: &Arc<Stored>) -> bool {
        let counts = match next.order(&self.newest) {
            Order::Newer | Order::Same => true,
            Order::Apart => next.lineage.id() != self.newest.lineage.id(),
            Order::Older => false,
        };
        if !counts {
            return false;
        }
        self.newest = Arc::clone(next);
        self.highest = self.highest.max(next.generation);
        self.owed = true;
        self.changes += 1;
        true
    }

    /// The owed tokens with a number above that of what they replace in the store.
    pub(super) fn numbered_above(&mut self, in_store: TokenGeneration) -> Arc<Stored> {
        if self.newest.generation <= in_store && !self.newest.is_empty() {
            let generation = in_store.max(self.highest) + 1;
            self.newest = Arc::new(Stored { generation, ..(*self.newest).clone() });
            self.highest = generation;
            self.changes += 1;
        }
        self.newest()
    }

    /// The store has taken `taken`.
    pub(super) fn saved(&mut self, taken: &Arc<Stored>) {
        self.in_store = Arc::clone(taken);
        self.vacant = false;
        if self.newest.has_the_tokens_of(taken) {
            self.owed = false;
        }
        self.changes += 1;
    }

    /// Notes beside the newest tokens: a refusal, or that a code was spent.
    pub(super) fn note(&mut self, same: &Arc<Stored>) {
        if self.newest.has_the_tokens_of(same) {
            self.newest = Arc::clone(same);
            self.changes += 1;
        }
    }

    /// The operator has emptied the store to start over. Numbers and lineage stay, so that what comes now is newer than
    /// what siblings know.
    pub(super) fn forget(&mut self) {
        if !self.owed {
            let emptied = Stored { lineage: self.newest.lineage.clone(), ..Stored::default() };
            self.newest = Arc::new(emptied);
            self.in_store = self.newest();
            self.changes += 1;
        }
    }
}

#[cfg(test)]
#[path = "known_tests.rs"]
mod tests;
