//! The life of a token that is used as given (`InitiateOAuth: OFF`): foretold and then reported as expired. Sends
//! nothing and keeps nothing.

use std::sync::Arc;
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use crate::clock::{LONGEST_SLEEP, Timestamp};
use crate::telemetry::Metrics;

use super::forecast::{Known, forecast};
use super::handle::{Blocked, Shared, fixed_token, token_expired};
use super::model::{TokenError, TokenFailure};
use super::plan::GivenToken;
use super::state::TokenState;

/// How long before its end the log foretells it.
const FORETOLD: Duration = Duration::from_secs(5 * 60);

/// Hands `given` out until it ends or `stop` is cancelled.
pub(super) async fn run(
    shared: Arc<Shared>,
    given: GivenToken,
    minimum_validity: Duration,
    metrics: Arc<Metrics>,
    stop: CancellationToken,
) {
    let held = fixed_token(given.secret, given.obtained_at, given.expires_at);
    shared.publish(&held, minimum_validity);
    let access = given.expires_at.map(|at| (at, false));
    let credentials = forecast(Known { access, ..Known::default() });
    for row in &credentials {
        metrics.credential_expiry(shared.name.as_str(), row.credential.as_str(), row.expires_at.as_seconds());
    }
    shared.view.send_modify(|view| view.status.credentials = credentials);
    let mut state = TokenState::Valid { held: held.clone() };
    let mut foretold = false;
    loop {
        shared.beat();
        let now = shared.clock.now();
        let left = held.token.expires_at.until(now);
        if !matches!(state, TokenState::Expired { .. }) && !held.is_usable(now, minimum_validity) {
            tracing::error!(connection = %shared.name, "The given access token has expired. Calls fail until a new one is given.");
            shared.withdraw();
            let expired = state.clone().expire(token_expired(now));
            state = expired.unwrap_or(state);
        } else if !foretold && left <= FORETOLD {
            foretold = true;
            tracing::warn!(connection = %shared.name, expires_at = %held.token.expires_at, "The given access token expires soon and InitiateOAuth is OFF. Give a new one.");
        }
        publish(&shared, &state, given.expires_at, &metrics, now);
        let wake = if foretold { left } else { left.saturating_sub(FORETOLD) };
        tokio::select! {
            biased;
            () = stop.cancelled() => break,
            () = tokio::time::sleep(wake.clamp(Duration::from_millis(50), LONGEST_SLEEP)) => {}
        }
    }
    shared.view.send_modify(|view| {
        view.settled += 1;
        view.blocked = Some(Blocked::For(TokenError::Superseded));
    });
}

fn publish(
    shared: &Shared,
    state: &TokenState,
    expires_at: Option<Timestamp>,
    metrics: &Metrics,
    now: Timestamp,
) {
    let held = state.held();
    shared.view.send_modify(|view| {
        view.status.state = state.shown();
        view.status.expires_at = expires_at;
        view.status.token_generation = 1;
        view.status.token_fingerprint =
            held.map(|held| held.token.secret.fingerprint()).or(view.status.token_fingerprint.take());
        view.status.last_error = state.failure().cloned();
        // Whoever waits has had this very token refused, or it has ended: no waiting will help.
        let failure = state.failure().cloned().unwrap_or_else(|| refused_by_graph(now));
        view.blocked = Some(Blocked::For(TokenError::NeedsSignIn(failure)));
    });
    metrics.token_expiry(shared.name.as_str(), expires_at.map(Timestamp::as_seconds));
    metrics.usable(shared.name.as_str(), shared.current().is_some());
}

fn refused_by_graph(at: Timestamp) -> TokenFailure {
    TokenFailure {
        code: "token_refused".to_owned(),
        message: "Microsoft Graph refuses the given access token and InitiateOAuth is OFF. Paste a new OAuthAccessToken, or set InitiateOAuth to REFRESH with an OAuthRefreshToken.".to_owned(),
        ..token_expired(at)
    }
}
