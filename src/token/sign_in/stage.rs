//! The life of one sign-in as a pure state machine: one function per legal move. Nothing here waits, asks the time or
//! holds a secret.

use std::time::Duration;

use crate::clock::Timestamp;
use crate::token::model::TokenFailure;

/// The states.
#[derive(Clone, PartialEq, Debug)]
pub(super) enum Stage {
    /// The server is being asked for a code, or the listener is being opened.
    Starting,
    /// A person has to type the code in.
    WaitingForCodeEntry { prompt: Prompt, expires_at: Timestamp },
    /// A browser has to come back; `listening`: to this host.
    WaitingForRedirect { listening: bool, expires_at: Timestamp },
    /// The person has signed in; the tokens are fetched and stored. Cannot be cancelled: the code is spent.
    Redeeming,
    /// Signed in.
    Done { signed_in: SignedIn },
    /// Refused, or broken off.
    Failed { failure: TokenFailure },
    /// Cancelled by whoever may use the control port.
    Cancelled,
    /// Nobody signed in in time.
    Expired,
}

/// What a person types in, and where.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Prompt {
    pub(super) user_code: String,
    pub(super) verification_uri: String,
}

/// Who signed in.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(in crate::token) struct SignedIn {
    pub(super) account: Option<String>,
    /// Whose tokens were there before, when that was somebody else.
    pub(super) previous_account: Option<String>,
    /// Whether the agent can renew the token by itself.
    pub(super) renewable: bool,
}

/// A move that the stage does not allow.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("the sign-in stage {from} does not allow the move '{attempted}'")]
pub(super) struct IllegalMove {
    from: &'static str,
    attempted: &'static str,
}

impl Stage {
    /// The word in answers.
    pub(super) fn name(&self) -> &'static str {
        match self {
            Self::Starting => "starting",
            Self::WaitingForCodeEntry { .. } => "waiting_for_code_entry",
            Self::WaitingForRedirect { .. } => "waiting_for_redirect",
            Self::Redeeming => "redeeming",
            Self::Done { .. } => "done",
            Self::Failed { .. } => "failed",
            Self::Cancelled => "cancelled",
            Self::Expired => "expired",
        }
    }

    /// Whether it still goes on.
    pub(super) fn is_pending(&self) -> bool {
        self.is_waiting() || matches!(self, Self::Redeeming)
    }

    /// Whether a person can still decide otherwise.
    fn is_waiting(&self) -> bool {
        matches!(self, Self::Starting | Self::WaitingForCodeEntry { .. } | Self::WaitingForRedirect { .. })
    }

    /// When it ends by itself.
    pub(super) fn expires_at(&self) -> Option<Timestamp> {
        match self {
            Self::WaitingForCodeEntry { expires_at, .. } | Self::WaitingForRedirect { expires_at, .. } => {
                Some(*expires_at)
            }
            _ => None,
        }
    }

    /// The server gave a code to type in.
    pub(super) fn prompt(self, prompt: Prompt, expires_at: Timestamp) -> Result<Self, IllegalMove> {
        match self {
            Self::Starting => Ok(Self::WaitingForCodeEntry { prompt, expires_at }),
            other => Err(other.illegal("prompt")),
        }
    }

    /// A browser may come back now.
    pub(super) fn await_redirect(self, listening: bool, expires_at: Timestamp) -> Result<Self, IllegalMove> {
        match self {
            Self::Starting => Ok(Self::WaitingForRedirect { listening, expires_at }),
            other => Err(other.illegal("await_redirect")),
        }
    }

    /// The person has signed in.
    pub(super) fn accept(self) -> Result<Self, IllegalMove> {
        match self {
            Self::WaitingForCodeEntry { .. } | Self::WaitingForRedirect { .. } => Ok(Self::Redeeming),
            other => Err(other.illegal("accept")),
        }
    }

    /// The tokens are stored.
    pub(super) fn finish(self, signed_in: SignedIn) -> Result<Self, IllegalMove> {
        match self {
            Self::Redeeming => Ok(Self::Done { signed_in }),
            other => Err(other.illegal("finish")),
        }
    }

    /// It cannot succeed any more.
    pub(super) fn fail(self, failure: TokenFailure) -> Result<Self, IllegalMove> {
        if self.is_pending() { Ok(Self::Failed { failure }) } else { Err(self.illegal("fail")) }
    }

    /// What it was begun for has changed. Not once the person has signed in: the code is spent, and its tokens are stored.
    pub(super) fn break_off(self, failure: TokenFailure) -> Result<Self, IllegalMove> {
        if self.is_waiting() { Ok(Self::Failed { failure }) } else { Err(self.illegal("break_off")) }
    }

    /// Somebody who may use the control port wants no more of it.
    pub(super) fn cancel(self) -> Result<Self, IllegalMove> {
        if self.is_waiting() { Ok(Self::Cancelled) } else { Err(self.illegal("cancel")) }
    }

    /// The time is over.
    pub(super) fn expire(self) -> Result<Self, IllegalMove> {
        match self {
            Self::WaitingForCodeEntry { .. } | Self::WaitingForRedirect { .. } => Ok(Self::Expired),
            other => Err(other.illegal("expire")),
        }
    }

    fn illegal(&self, attempted: &'static str) -> IllegalMove {
        IllegalMove { from: self.name(), attempted }
    }
}

/// A time as people read it.
pub(super) fn spoken(left: Duration) -> String {
    let seconds = left.as_secs();
    if seconds < 120 { format!("{seconds} s") } else { format!("{} min", seconds / 60) }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    const AT: Timestamp = Timestamp::from_seconds(1_700_000_000);

    fn failure() -> TokenFailure {
        TokenFailure {
            code: "x".to_owned(),
            aadsts: None,
            correlation_id: None,
            message: "No.".to_owned(),
            at: AT,
            retry_at: None,
        }
    }

    #[test]
    fn every_pair_of_stage_and_move_is_decided() {
        let prompt = Prompt { user_code: "A".into(), verification_uri: "https://h/".into() };
        let stages = [
            Stage::Starting,
            Stage::WaitingForCodeEntry { prompt: prompt.clone(), expires_at: AT },
            Stage::WaitingForRedirect { listening: true, expires_at: AT },
            Stage::Redeeming,
            Stage::Done { signed_in: SignedIn::default() },
            Stage::Failed { failure: failure() },
            Stage::Cancelled,
            Stage::Expired,
        ];
        // Where each move leads from the stages above, in their order; `-`: it is not allowed.
        #[rustfmt::skip]
        let table = [
            ("prompt", ["waiting_for_code_entry", "-", "-", "-", "-", "-", "-", "-"]),
            ("await_redirect", ["waiting_for_redirect", "-", "-", "-", "-", "-", "-", "-"]),
            ("accept", ["-", "redeeming", "redeeming", "-", "-", "-", "-", "-"]),
            ("finish", ["-", "-", "-", "done", "-", "-", "-", "-"]),
            ("fail", ["failed", "failed", "failed", "failed", "-", "-", "-", "-"]),
            ("break_off", ["failed", "failed", "failed", "-", "-", "-", "-", "-"]),
            ("cancel", ["cancelled", "cancelled", "cancelled", "-", "-", "-", "-", "-"]),
            ("expire", ["-", "expired", "expired", "-", "-", "-", "-", "-"]),
        ];
        for (name, expected) in table {
            for (stage, expected) in stages.iter().cloned().zip(expected) {
                let from = stage.name();
                let moved = match name {
                    "prompt" => stage.prompt(prompt.clone(), AT),
                    "await_redirect" => stage.await_redirect(true, AT),
                    "accept" => stage.accept(),
                    "finish" => stage.finish(SignedIn::default()),
                    "fail" => stage.fail(failure()),
                    "break_off" => stage.break_off(failure()),
                    "cancel" => stage.cancel(),
                    _ => stage.expire(),
                };
                assert_eq!(moved.map_or("-", |stage| stage.name()), expected, "{name} from {from}");
            }
        }
    }
}
