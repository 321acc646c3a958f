//! Making a connection's token state visible: the token for callers, the reason for those who wait, the status, and the
//! metrics. Changes no state.

use super::handle::Blocked;
use super::model::{ConnectionState, TokenError, TokenStatus};
use super::state::TokenState;
use super::task::ConnectionTask;

impl ConnectionTask {
    /// Makes the state visible; `settled`: an attempt has ended, with all claims challenges up to `ticket`.
    pub(super) fn publish(&self, settled: bool, ticket: u64) {
        match self.state.held() {
            Some(held) => self.shared.publish(held, self.context.refresh.minimum_validity),
            None if matches!(self.state, TokenState::Refused { .. }) => self.shared.withdraw(),
            None => {}
        }
        let now = self.context.clock.now();
        let held = self.state.held();
        let failure = self.state.failure().or(self.unsaved.as_ref()).or(self.store_away.as_ref()).cloned();
        let shown = match self.state.shown() {
            ConnectionState::Ok if self.unsaved.is_some() || self.store_away.is_some() => {
                ConnectionState::Degraded
            }
            shown => shown,
        };
        let blocked = match &self.state {
            TokenState::Starting { .. } | TokenState::Valid { .. } | TokenState::Refreshing { .. } => None,
            TokenState::Degraded { retry_at, failure, .. } => {
                Some(Blocked::Until(*retry_at, failure.clone()))
            }
            TokenState::NeedsSignIn { failure, .. } | TokenState::Expired { failure } => {
                Some(Blocked::For(TokenError::NeedsSignIn(failure.clone())))
            }
            TokenState::NeedsAdmin { failure, .. } | TokenState::Refused { failure, .. } => {
                Some(Blocked::For(TokenError::NeedsAdmin(failure.clone())))
            }
        };
        let status = TokenStatus {
            state: shown,
            expires_at: held.map(|held| held.token.expires_at),
            refreshed_at: held.map(|held| held.obtained_at),
            next_refresh_at: self.state.due(now),
            token_generation: self.known.generation,
            token_fingerprint: held.map(|held| held.token.secret.fingerprint()),
            certificate_expires_at: self.context.proof.certificate_expires_at(),
            refreshable: self.context.can_refresh(&self.known),
            last_error: failure,
        };
        self.shared.view.send_modify(|view| {
            view.settled += u64::from(settled);
            view.claims_settled = view.claims_settled.max(ticket);
            view.blocked = blocked;
            // A running attempt is no success yet: what went wrong before stays visible until one.
            let running = matches!(self.state, TokenState::Refreshing { .. });
            let earlier = if running { view.status.last_error.take() } else { None };
            view.status = TokenStatus { last_error: status.last_error.or(earlier), ..status };
        });
        self.record_metrics();
    }

    pub(super) fn record_metrics(&self) {
        let name = self.shared.name.as_str();
        self.metrics.token_expiry(name, self.state.held().map(|held| held.token.expires_at.as_seconds()));
        self.metrics.usable(name, self.shared.current().is_some());
    }
}
