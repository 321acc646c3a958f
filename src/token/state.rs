//! The life of one connection's token as a pure state machine: the states with their data, one function per legal move,
//! and when the next refresh is due. Chance is handed in as a number from 0 to 1; nothing here waits or asks the time.

use std::sync::Arc;
use std::time::Duration;

use crate::clock::Timestamp;

use super::model::{AccessToken, ConnectionState, TokenFailure};

/// A wall clock that is this far behind an instant it has already shown was set back. Smaller steps are clock
/// synchronisation at work.
pub(super) const CLOCK_STEP: Duration = Duration::from_secs(60);
/// How often an administrator's repair is looked for: a new secret can take minutes to spread through Entra.
const ADMINISTRATOR_RETRY: Duration = Duration::from_secs(5 * 60);

/// An access token with its dates.
#[derive(Clone, Debug)]
pub(super) struct Held {
    pub(super) token: Arc<AccessToken>,
    pub(super) obtained_at: Timestamp,
    /// When a new one is to be fetched; `None`: never (`InitiateOAuth: OFF`).
    pub(super) refresh_due: Option<Timestamp>,
}

impl Held {
    /// Whether it may be handed out at `now`: more than the margin is left.
    pub(super) fn is_usable(&self, now: Timestamp, minimum_validity: Duration) -> bool {
        !self.usable_for(now, minimum_validity).is_zero()
    }

    /// How long it may still be handed out.
    pub(super) fn usable_for(&self, now: Timestamp, minimum_validity: Duration) -> Duration {
        self.token.expires_at.until(now).saturating_sub(margin(self.lifetime(), minimum_validity))
    }

    pub(super) fn lifetime(&self) -> Duration {
        self.token.expires_at.until(self.obtained_at)
    }

    fn due(&self, now: Timestamp) -> Option<Timestamp> {
        let due = self.refresh_due?;
        // After a step back the token would seem to live longer than it does; a new one has dates of this clock.
        Some(if was_set_back(now, self.obtained_at) { now } else { due })
    }
}

/// How much must be left of a token for it to be handed out: the configured time, but never more than a tenth of the
/// token's whole life, so that tokens that live shorter than the configured time can be used at all.
pub(super) fn margin(lifetime: Duration, minimum_validity: Duration) -> Duration {
    minimum_validity.min(lifetime / 10)
}

fn was_set_back(now: Timestamp, seen_before: Timestamp) -> bool {
    seen_before.until(now) > CLOCK_STEP
}

/// When a token obtained at `obtained_at` is to be refreshed: when the server says, else at half of its life; ±10 % by
/// `chance`, so that tokens obtained together are not refreshed together; in any case before it is no longer handed out.
pub(super) fn refresh_due(
    obtained_at: Timestamp,
    lifetime: Duration,
    refresh_in: Option<Duration>,
    minimum_validity: Duration,
    chance: f64,
) -> Timestamp {
    let base = refresh_in.unwrap_or(lifetime / 2);
    let jittered = base.mul_f64(0.9 + 0.2 * chance.clamp(0.0, 1.0));
    obtained_at.plus(jittered.min(lifetime.saturating_sub(margin(lifetime, minimum_validity))))
}

/// The wait before attempt number `attempts` + 1: `cap(base·2ⁿ) × U(0.5, 1)`. The chance multiplies after the cap:
/// applied before, it would vanish exactly when everybody waits longest.
pub(super) fn backoff(base: Duration, cap: Duration, attempts: u32, chance: f64) -> Duration {
    let exponential = base.saturating_mul(2u32.saturating_pow(attempts.min(30)));
    exponential.min(cap).mul_f64(0.5 + 0.5 * chance.clamp(0.0, 1.0))
}

/// The states.
#[derive(Clone, Debug)]
pub(super) enum TokenState {
    /// A new token is to be fetched now; `previous` may still work.
    Starting { previous: Option<Held> },
    /// A token is there.
    Valid { held: Held },
    /// A token request is on its way.
    Refreshing { previous: Option<Held>, attempts: u32 },
    /// The last token request failed for a passing reason.
    Degraded { previous: Option<Held>, attempts: u32, retry_at: Timestamp, failure: TokenFailure },
    /// A person must act; nothing is sent until configuration or store change.
    NeedsSignIn { previous: Option<Held>, failure: TokenFailure },
    /// An administrator must act; tried again slowly, because that needs no change here.
    NeedsAdmin { previous: Option<Held>, retry_at: Timestamp, failure: TokenFailure },
    /// A token that is never refreshed has reached its end.
    Expired { failure: TokenFailure },
    /// Configuration or store cannot be used. `retry_at`: when to look at the store again.
    Refused { failure: TokenFailure, retry_at: Option<Timestamp> },
}

/// A move that the state does not allow: a fault of the caller, reported instead of panicking.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("the token state {from} does not allow the move '{attempted}'")]
pub(super) struct IllegalMove {
    from: &'static str,
    attempted: &'static str,
}

/// Who wants a refresh to begin.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Cause {
    /// The time has come, or a caller needs a token.
    Routine,
    /// A person asked for it: allowed while a sign-in is needed and before a wait is over.
    Operator,
}

impl TokenState {
    /// The name in logs.
    pub(super) fn name(&self) -> &'static str {
        match self {
            Self::Starting { .. } => "starting",
            Self::Valid { .. } => "valid",
            Self::Refreshing { .. } => "refreshing",
            Self::Degraded { .. } => "degraded",
            Self::NeedsSignIn { .. } => "needs_sign_in",
            Self::NeedsAdmin { .. } => "needs_admin",
            Self::Expired { .. } => "expired",
            Self::Refused { .. } => "refused",
        }
    }

    /// The state as others see it.
    pub(super) fn shown(&self) -> ConnectionState {
        match self {
            Self::Valid { .. } => ConnectionState::Ok,
            Self::Starting { .. } | Self::Refreshing { .. } => ConnectionState::Refreshing,
            Self::Degraded { .. } => ConnectionState::Degraded,
            Self::NeedsSignIn { .. } | Self::Expired { .. } => ConnectionState::NeedsSignIn,
            Self::NeedsAdmin { .. } => ConnectionState::NeedsAdmin,
            Self::Refused { .. } => ConnectionState::Refused,
        }
    }

    /// The token it holds, whether usable or not.
    pub(super) fn held(&self) -> Option<&Held> {
        match self {
            Self::Valid { held } => Some(held),
            Self::Starting { previous }
            | Self::Refreshing { previous, .. }
            | Self::Degraded { previous, .. }
            | Self::NeedsSignIn { previous, .. }
            | Self::NeedsAdmin { previous, .. } => previous.as_ref(),
            Self::Expired { .. } | Self::Refused { .. } => None,
        }
    }

    /// The failure it stands for.
    pub(super) fn failure(&self) -> Option<&TokenFailure> {
        match self {
            Self::Degraded { failure, .. }
            | Self::NeedsSignIn { failure, .. }
            | Self::NeedsAdmin { failure, .. }
            | Self::Expired { failure }
            | Self::Refused { failure, .. } => Some(failure),
            Self::Starting { .. } | Self::Valid { .. } | Self::Refreshing { .. } => None,
        }
    }

    /// When something is to be done next by itself, seen from `now`; `None`: never.
    pub(super) fn due(&self, now: Timestamp) -> Option<Timestamp> {
        match self {
            Self::Starting { .. } => Some(now),
            Self::Valid { held } => held.due(now),
            Self::Degraded { retry_at, failure, .. } | Self::NeedsAdmin { retry_at, failure, .. } => {
                Some(if was_set_back(now, failure.at) { now } else { *retry_at })
            }
            Self::Refused { retry_at, failure } => {
                retry_at.map(|retry_at| if was_set_back(now, failure.at) { now } else { retry_at })
            }
            Self::Refreshing { .. } | Self::NeedsSignIn { .. } | Self::Expired { .. } => None,
        }
    }

    /// Whether a refresh may begin at `now`; a caller's wish does not shorten a wait.
    pub(super) fn may_begin(&self, now: Timestamp, cause: Cause) -> bool {
        match self {
            Self::Starting { .. } => true,
            Self::Valid { held } => held.refresh_due.is_some(),
            Self::Degraded { .. } | Self::NeedsAdmin { .. } => {
                cause == Cause::Operator || self.due(now).is_some_and(|due| due <= now)
            }
            Self::NeedsSignIn { .. } => cause == Cause::Operator,
            Self::Refreshing { .. } | Self::Expired { .. } | Self::Refused { .. } => false,
        }
    }

    /// A token request begins.
    pub(super) fn begin(self, now: Timestamp, cause: Cause) -> Result<Self, IllegalMove> {
        if !self.may_begin(now, cause) {
            return Err(self.illegal("begin"));
        }
        let attempts = if let Self::Degraded { attempts, .. } = &self { *attempts } else { 0 };
        Ok(Self::Refreshing { previous: self.held().cloned(), attempts })
    }

    /// The request brought a token, or the store had a newer one.
    pub(super) fn refreshed(self, held: Held) -> Result<Self, IllegalMove> {
        match self {
            Self::Refreshing { .. } => Ok(Self::Valid { held }),
            other => Err(other.illegal("refreshed")),
        }
    }

    /// The request was refused. The previous token stays in use for as long as it works.
    pub(super) fn denied(self, needs_sign_in: bool, mut failure: TokenFailure) -> Result<Self, IllegalMove> {
        match self {
            Self::Refreshing { previous, .. } if needs_sign_in => Ok(Self::NeedsSignIn { previous, failure }),
            Self::Refreshing { previous, .. } => {
                let retry_at = failure.at.plus(ADMINISTRATOR_RETRY);
                failure.retry_at = Some(retry_at);
                Ok(Self::NeedsAdmin { previous, retry_at, failure })
            }
            other => Err(other.illegal("denied")),
        }
    }

    /// The request failed for a passing reason; `wait` is the backoff for a number of attempts.
    pub(super) fn later(
        self,
        after: Option<Duration>,
        mut failure: TokenFailure,
        wait: impl FnOnce(u32) -> Duration,
    ) -> Result<Self, IllegalMove> {
        match self {
            Self::Refreshing { previous, attempts } => {
                // The server's wait is a lower bound: with `Retry-After: 0` it must not turn off our own backoff.
                let retry_at = failure.at.plus(wait(attempts).max(after.unwrap_or_default()));
                failure.retry_at = Some(retry_at);
                Ok(Self::Degraded { previous, attempts: attempts.saturating_add(1), retry_at, failure })
            }
            other => Err(other.illegal("later")),
        }
    }

    /// Work outside of a request failed for a passing reason (the store could not be opened); from any state but a running
    /// request. `wait` is the backoff for a number of attempts.
    pub(super) fn postpone(
        self,
        mut failure: TokenFailure,
        wait: impl FnOnce(u32) -> Duration,
    ) -> Result<Self, IllegalMove> {
        let attempts = match &self {
            Self::Refreshing { .. } => return Err(self.illegal("postpone")),
            Self::Degraded { attempts, .. } => *attempts,
            _ => 0,
        };
        let retry_at = failure.at.plus(wait(attempts));
        failure.retry_at = Some(retry_at);
        let previous = self.held().cloned();
        Ok(Self::Degraded { previous, attempts: attempts.saturating_add(1), retry_at, failure })
    }

    /// The store holds a newer token than this state: it counts from any state but a running request, which finds it
    /// by itself.
    pub(super) fn adopt(self, held: Held) -> Result<Self, IllegalMove> {
        match self {
            Self::Refreshing { .. } => Err(self.illegal("adopt")),
            _ => Ok(Self::Valid { held }),
        }
    }

    /// The store changed in a way that makes a new attempt worth while (another refresh token, or a repaired file).
    pub(super) fn reconsider(self) -> Result<Self, IllegalMove> {
        match self {
            Self::Refreshing { .. } => Err(self.illegal("reconsider")),
            other => Ok(Self::Starting { previous: other.held().cloned() }),
        }
    }

    /// The clock was set back: the token's dates are those of another clock, and by this one it would seem to live
    /// longer than it does, so a new one is due now.
    pub(super) fn distrust_dates(self, now: Timestamp) -> Self {
        match self {
            Self::Valid { held } if held.refresh_due.is_some() => {
                Self::Valid { held: Held { refresh_due: Some(now), ..held } }
            }
            other => other,
        }
    }

    /// A token that is never refreshed has reached its end.
    pub(super) fn expire(self, failure: TokenFailure) -> Result<Self, IllegalMove> {
        match self {
            Self::Valid { held } if held.refresh_due.is_none() => Ok(Self::Expired { failure }),
            other => Err(other.illegal("expire")),
        }
    }

    /// Configuration or store cannot be used; with `retry_at` it is looked at again then.
    pub(super) fn refuse(self, mut failure: TokenFailure, retry_at: Option<Timestamp>) -> Self {
        failure.retry_at = retry_at;
        Self::Refused { failure, retry_at }
    }

    /// A sign-in was found to be needed without asking the server (it refused this very token before a restart).
    pub(super) fn park(self, failure: TokenFailure) -> Result<Self, IllegalMove> {
        match self {
            Self::Refreshing { .. } => Err(self.illegal("park")),
            other => Ok(Self::NeedsSignIn { previous: other.held().cloned(), failure }),
        }
    }

    fn illegal(&self, attempted: &'static str) -> IllegalMove {
        IllegalMove { from: self.name(), attempted }
    }
}

#[cfg(test)]
#[path = "state_tests.rs"]
mod tests;
