//! What a connection's task makes of the end of its own work: a store that was opened or not, a token request's outcome.
//! Starts nothing.

use crate::clock::{LONGEST_SLEEP, Timestamp};

use super::chance;
use super::model::TokenFailure;
use super::opening::{self, Opened};
use super::state::{TokenState, backoff};
use super::store::StoreError;
use super::task::{ConnectionTask, STORE_RETRY};
use super::transaction::{Finished, Settled};

impl ConnectionTask {
    pub(super) fn opened(&mut self, opened: Opened) {
        self.opened = true;
        self.note_unsaved();
        let now = self.context.clock.now();
        self.known = opened.stored;
        if let Some(mut held) = self.held(&self.known) {
            let usable = held.usable_for(now, self.context.refresh.minimum_validity);
            held.refresh_due = held.refresh_due.map(|due| opening::spread(due, now, usable, chance()));
            self.go(|state| state.adopt(held));
            if self.context.verifier_waits(&self.known) {
                self.go(TokenState::reconsider);
            }
        } else {
            self.go(TokenState::reconsider);
        }
        if !self.context.can_refresh(&self.known)
            && let Some(marker) = self.context.recorded_denial(&self.known)
        {
            let failure = marker.failure.clone();
            self.go(|state| state.park(failure));
        }
        if let Some(error) = opened.away {
            self.store_is_away(&error);
        }
        self.publish(true, 0);
    }

    pub(super) fn not_opened(&mut self, error: &StoreError) {
        match self.context.store_trouble(error) {
            Settled::Refused(failure) => {
                if !matches!(self.state, TokenState::Refused { .. }) {
                    tracing::error!(connection = %self.shared.name, reason = %failure.message, "The connection's token store cannot be used.");
                }
                let retry_at = failure.at.plus(STORE_RETRY);
                self.go(|state| Ok(state.refuse(failure, Some(retry_at))));
                let ticket = self.shared.wants().refuse_all();
                self.publish(true, ticket);
            }
            Settled::TryLater { failure, .. } => self.wait_to_open(failure),
            _ => {}
        }
    }

    pub(super) fn wait_to_open(&mut self, failure: TokenFailure) {
        self.tell(&format!("The connection's token store cannot be opened yet: {}", failure.message));
        let waiting = self.state.clone().postpone(failure, |attempts| self.backoff(attempts));
        self.go(|_| waiting);
        let ticket = self.shared.wants().refuse_all();
        self.publish(true, ticket);
    }

    pub(super) fn settle(&mut self, finished: Finished, ticket: u64) {
        let outcome = finished.settled.outcome();
        self.metrics.token_refresh(self.shared.name.as_str(), outcome);
        if let Some(skew) = finished.clock_skew {
            self.shared.set_clock_skew(skew);
        }
        if !matches!(finished.settled, Settled::Refreshed { .. } | Settled::Superseded(_)) {
            self.shared.wants().forget_answer();
        }
        // Whatever the outcome, the store may have been found put back to an earlier state: then it is looked into again.
        self.note_unsaved();
        let cap = self.context.refresh.backoff_cap;
        let base = self.context.refresh.backoff_base;
        let least = self.least_pause();
        let wait = |attempts| backoff(base, cap, attempts, chance()).max(least);
        // Somebody decided to answer like this (a firewall, a captive portal, a wrong address): unlike an outage it does
        // not end by itself, and asking more than once in five minutes is hammering.
        let verdict_wait = |attempts| 2 * backoff(base, cap, attempts, chance());
        match finished.settled {
            Settled::Refreshed { stored, unsaved } => {
                self.known = stored;
                if let Some(error) = unsaved {
                    self.tell(&format!("The new token could not be saved. It is used from memory, and saving is tried again: {error}"));
                }
                self.hold_known();
            }
            Settled::Superseded(stored) => {
                self.known = stored;
                let usable = self.held(&self.known).is_some_and(|held| {
                    held.is_usable(self.context.clock.now(), self.context.refresh.minimum_validity)
                });
                if usable {
                    self.hold_known();
                } else {
                    let failure = self.context.failure("superseded", "Another agent has just changed the tokens of this connection; the agent tries again.");
                    self.go(|state| state.later(None, failure, wait));
                }
            }
            Settled::Denied { denial, stored } => {
                self.known = stored;
                self.log_failure(outcome, &denial.failure, denial.suberror.as_deref());
                self.go(|state| state.denied(denial.needs_sign_in, denial.failure));
            }
            Settled::TryLater { after, failure } => {
                self.log_failure(outcome, &failure, None);
                if matches!(failure.code.as_str(), "answer_unusable" | "endpoint_redirects" | "proxy_refused")
                {
                    self.go(|state| state.later(after, failure, verdict_wait));
                } else {
                    self.go(|state| state.later(after, failure, wait));
                }
            }
            Settled::Refused(failure) => {
                self.log_failure(outcome, &failure, None);
                self.opened = false;
                let retry_at = failure.at.plus(STORE_RETRY);
                self.go(|state| Ok(state.refuse(failure, Some(retry_at))));
            }
        }
        self.look_at = self.context.clock.now().plus(LONGEST_SLEEP);
        self.publish(true, ticket);
        if matches!(self.state, TokenState::Valid { .. }) {
            tracing::info!(connection = %self.shared.name, generation = self.shared.generation.map(crate::connection::Generation::number),
                outcome, token_generation = self.known.generation,
                fingerprint = %self.known.access.as_ref().map(|access| access.secret.fingerprint()).unwrap_or_default(),
                expires_at = %self.known.access.as_ref().map_or_else(Timestamp::default, |access| access.expires_at),
                "The connection has a new token.");
        }
    }

    fn hold_known(&mut self) {
        if let Some(held) = self.held(&self.known) {
            self.go(|state| state.refreshed(held));
        }
    }
}
