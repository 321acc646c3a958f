//! What a connection's task makes of its store's news: a sibling's commit, a store that went away or came back, a token
//! that could not be saved at first. Sends nothing.

use std::sync::Arc;
use std::time::Duration;

use super::state::TokenState;
use super::store::{StoreError, StoreVersion, Stored};
use super::task::ConnectionTask;
use super::transaction::Settled;

/// The longest wait between attempts to save a token that the store could not take.
const LONGEST_SAVE_WAIT: Duration = Duration::from_secs(4);

impl ConnectionTask {
    pub(super) fn looked(&mut self, version: Option<StoreVersion>, stored: Option<Arc<Stored>>) {
        let vanished = version.is_none() && self.version.is_some();
        self.version = version;
        let now = self.context.clock.now();
        if vanished && matches!(self.state, TokenState::NeedsSignIn { .. }) {
            // The operator removed the file to start over: the drop-in's tokens count again.
            self.opened = false;
            self.go(TokenState::reconsider);
            return self.publish(false, 0);
        }
        let Some(stored) = stored else { return };
        let same =
            stored.generation <= self.known.generation && stored.refresh_token == self.known.refresh_token;
        if same || stored.generation < self.known.generation {
            return;
        }
        self.known = stored;
        self.note_unsaved();
        let usable =
            self.held(&self.known).filter(|held| held.is_usable(now, self.context.refresh.minimum_validity));
        tracing::info!(connection = %self.shared.name, token_generation = self.known.generation, "The store has a newer token, from a sign-in or another agent.");
        match usable {
            Some(held) => self.go(|state| state.adopt(held)),
            None => self.go(TokenState::reconsider),
        };
        self.publish(true, 0);
    }

    pub(super) fn store_is_away(&mut self, error: &StoreError) {
        self.called = false;
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

    pub(super) fn saved(&mut self, result: Result<(), StoreError>) {
        match result {
            Ok(()) => tracing::info!(connection = %self.shared.name, "The token is saved now."),
            // The look that is due now adopts what the others have stored.
            Err(StoreError::Superseded { .. }) => {
                self.known = Arc::new(Stored { generation: 0, ..(*self.known).clone() });
            }
            Err(error) => {
                tracing::warn!(connection = %self.shared.name, %error, "The token still cannot be saved.");
            }
        }
        self.version = None;
        self.look_at = self.context.clock.now();
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
