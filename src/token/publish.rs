//! Making a connection's token state visible: the token for callers, the reason for those who wait, the status, and the
//! metrics. Changes no state.

use std::time::Duration;

use crate::clock::Timestamp;

use super::forecast::{Known, forecast};
use super::handle::Blocked;
use super::model::{ConnectionState, TokenError, TokenFailure, TokenStatus};
use super::state::TokenState;
use super::task::ConnectionTask;
use super::wants::REFILL_SECONDS;

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
        let refreshable = self.context.can_refresh(&self.known);
        let status = TokenStatus {
            state: shown,
            expires_at: held.map(|held| held.token.expires_at),
            refreshed_at: held.map(|held| held.obtained_at),
            next_refresh_at: self.state.due(now),
            token_generation: self.known.generation,
            token_fingerprint: held.map(|held| held.token.secret.fingerprint()),
            certificate_expires_at: self.context.proof.certificate_expires_at(),
            refreshable,
            credentials: forecast(Known {
                access: held.map(|held| (held.token.expires_at, refreshable)),
                refreshed_at: self.refresh_token_made_at(),
                client_secret: self.context.connection.auth.client_secret_expires,
                certificate: self.context.proof.certificate_expires_at(),
            }),
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

    /// Each refresh brings a new refresh token or a new life for the old one.
    fn refresh_token_made_at(&self) -> Option<Timestamp> {
        self.known.refresh_token.as_ref()?;
        self.known.access.as_ref().map(|access| access.obtained_at)
    }

    pub(super) fn log_failure(&self, outcome: &str, failure: &TokenFailure, suberror: Option<&str>) {
        let sentence = format!("no token: {} {:?} {}", failure.code, failure.aadsts, failure.message);
        let Some(left_out) = self.context.repeats.admit(&sentence) else { return };
        tracing::warn!(connection = %self.shared.name, generation = self.shared.generation.map(crate::connection::Generation::number),
            left_out, outcome, code = %failure.code, aadsts = failure.aadsts, suberror, correlation_id = failure.correlation_id,
            fingerprint = %self.known.refresh_token.as_ref().map(|token| token.fingerprint()).unwrap_or_default(),
            "The token request brought no token.");
    }

    pub(super) fn tell_refused_tokens(&self, now: Timestamp, ticket: u64) {
        let retry_at = now.plus(Duration::from_secs(REFILL_SECONDS.unsigned_abs()));
        let mut failure = self.context.failure(
            "token_refused",
            "Microsoft Graph refuses tokens that were just issued. Check GraphEndpoint and AzureEnvironment, the app's permissions, and the tenant's access policies.",
        );
        failure.retry_at = Some(retry_at);
        tracing::warn!(connection = %self.shared.name, "Microsoft Graph keeps refusing new tokens; no more are fetched for a while.");
        self.shared.view.send_modify(|view| {
            view.settled += 1;
            view.claims_settled = view.claims_settled.max(ticket);
            view.blocked = Some(Blocked::Until(retry_at, failure));
        });
    }

    pub(super) fn record_metrics(&self) {
        let name = self.shared.name.as_str();
        for row in &self.shared.view.borrow().status.credentials {
            self.metrics.credential_expiry(name, row.credential.as_str(), row.expires_at.as_seconds());
        }
        self.metrics.token_expiry(name, self.state.held().map(|held| held.token.expires_at.as_seconds()));
        self.metrics.usable(name, self.shared.current().is_some());
    }
}
