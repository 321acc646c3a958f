//! What a connection's task makes of its store's news: a sibling's commit, a store that went away or came back, a token
//! that could not be saved at first. Sends nothing.

use std::sync::Arc;
use std::time::Duration;

use crate::clock::LONGEST_SLEEP;

use super::state::TokenState;
use super::store::{Committed, StoreError, StoreVersion};
use super::task::ConnectionTask;
use super::transaction::Settled;

/// The longest wait between attempts to save a token that the store could not take.
const LONGEST_SAVE_WAIT: Duration = Duration::from_secs(4);
/// The shortest wait before a store is looked at again that could not be read.
const SOONEST_LOOK: Duration = Duration::from_secs(1);

impl ConnectionTask {
    pub(super) fn looked(&mut self, version: Option<StoreVersion>) {
        let vanished = version.is_none() && self.version.is_some();
        self.version = version;
        self.looks_failed = 0;
        if vanished
            && matches!(self.state, TokenState::NeedsSignIn { .. })
            && self.context.store.unsaved().is_none()
        {
            // The operator removed the file to start over: the drop-in's tokens count again.
            self.context.store.forget();
            self.opened = false;
            self.go(TokenState::reconsider);
            return self.publish(false, 0);
        }
        self.take_news();
    }

    /// Follows what others have done to the tokens that all users of the store share: a sign-in, a sibling's commit, a
    /// predecessor's refresh. A running flight finds it by itself.
    pub(super) fn take_news(&mut self) {
        let newest = self.context.store.newest();
        if !self.opened || Arc::ptr_eq(&newest, &self.known) {
            return;
        }
        let same = newest.has_the_tokens_of(&self.known) && newest.generation == self.known.generation;
        self.known = newest;
        self.note_unsaved();
        if same || self.known.is_empty() {
            return self.publish(false, 0);
        }
        let now = self.context.clock.now();
        let usable =
            self.held(&self.known).filter(|held| held.is_usable(now, self.context.refresh.minimum_validity));
        tracing::info!(connection = %self.shared.name, token_generation = self.known.generation, "There is a newer token, from a sign-in or another agent.");
        match usable {
            Some(held) => self.go(|state| state.adopt(held)),
            None => self.go(TokenState::reconsider),
        };
        self.publish(true, 0);
    }

    pub(super) fn store_is_away(&mut self, error: &StoreError) {
        self.called = false;
        // The version stays what it was, so that what could not be read now is read later.
        let wait = self.backoff(self.looks_failed).clamp(SOONEST_LOOK, LONGEST_SLEEP);
        self.looks_failed = self.looks_failed.saturating_add(1);
        self.look_at = self.context.clock.now().plus(wait);
        self.take_news();
        let (Settled::TryLater { failure, .. } | Settled::Refused(failure)) =
            self.context.store_trouble(error)
        else {
            return;
        };
        self.store_away = Some(failure);
        self.publish(false, 0);
    }

    /// What waits only because the store was away waits no longer.
    pub(super) fn store_is_there(&mut self) {
        let was_away = self.store_away.take().is_some();
        let called = std::mem::take(&mut self.called);
        if !was_away && !called {
            return;
        }
        let waits =
            matches!(&self.state, TokenState::Degraded { failure, .. } if failure.code == "store_failed");
        if waits {
            self.go(TokenState::reconsider);
        }
        if self.unsaved.is_some() {
            self.save_at = self.context.clock.now();
        }
        if was_away || waits {
            self.publish(false, 0);
        }
    }

    pub(super) fn saved(&mut self, result: Result<Committed, StoreError>) {
        match result {
            Ok(Committed::Saved(_)) => {
                tracing::info!(connection = %self.shared.name, "The token is saved now.");
            }
            // What others have stored is taken over below.
            Ok(_) => {}
            Err(error) => self.tell(&format!("The token still cannot be saved: {error}")),
        }
        self.take_news();
        self.note_unsaved();
        self.publish(false, 0);
    }

    /// Takes note of whether the store owes the disk a token, and when to try again.
    pub(super) fn note_unsaved(&mut self) {
        if self.context.store.unsaved().is_none() {
            (self.unsaved, self.save_attempts) = (None, 0);
            return;
        }
        let now = self.context.clock.now();
        // A disk is asked again soon, whatever the wait for servers is: asking costs nobody anything.
        self.save_at = now.plus(self.backoff(self.save_attempts).min(LONGEST_SAVE_WAIT));
        self.save_attempts = self.save_attempts.saturating_add(1);
        let mut failure = self.context.failure(
            "store_failed",
            &format!("The newest token could not be saved to {}. Check the disk's space and the folder's permissions; until it is saved, a restart may lose the sign-in.", self.context.store.place()),
        );
        failure.retry_at = Some(self.save_at);
        self.unsaved = Some(failure);
    }
}
