//! What the token stage tells others: access tokens, states, outcomes and errors. Holds no logic that waits.

use std::time::Duration;

use crate::clock::Timestamp;
use crate::secret::Secret;

use super::forecast::CredentialForecast;

/// Counts a connection's tokens: each committed token has the next number. A refresh asked for because of token 7 is
/// not made when token 8 is already there.
pub type TokenGeneration = u64;

/// An access token that may be sent to the connection's Graph origin.
#[derive(Debug)]
pub struct AccessToken {
    /// The bearer token.
    pub secret: Secret,
    /// When it stops working, by the wall clock.
    pub expires_at: Timestamp,
    /// Which token of this connection it is.
    pub generation: TokenGeneration,
}

/// The states that the status route and the console show.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum ConnectionState {
    /// A valid token is there.
    Ok,
    /// A token request is on its way.
    Refreshing,
    /// The last token request failed for a passing reason; it is tried again.
    Degraded,
    /// A person has to sign in, or a new token has to be given.
    NeedsSignIn,
    /// An administrator has to change the app, its secret or its consent.
    NeedsAdmin,
    /// The configuration cannot be used.
    Refused,
}

impl ConnectionState {
    /// The word used in answers and metrics.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Refreshing => "refreshing",
            Self::Degraded => "degraded",
            Self::NeedsSignIn => "needs_sign_in",
            Self::NeedsAdmin => "needs_admin",
            Self::Refused => "refused",
        }
    }
}

/// What can be told about a connection's tokens without telling a token.
#[derive(Clone, Debug, serde::Serialize)]
#[serde(rename_all = "camelCase")]
pub struct TokenStatus {
    /// The state.
    pub state: ConnectionState,
    /// When the access token expires; absent when there is none.
    pub expires_at: Option<Timestamp>,
    /// When the last token was committed.
    pub refreshed_at: Option<Timestamp>,
    /// When the next refresh is due; absent when none will be made.
    pub next_refresh_at: Option<Timestamp>,
    /// How many tokens this store has seen.
    pub token_generation: TokenGeneration,
    /// The first 12 hex digits of the access token's SHA-256, to compare two views of one store.
    pub token_fingerprint: Option<String>,
    /// When the client certificate that was read last ends; absent without one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub certificate_expires_at: Option<Timestamp>,
    /// Whether the agent can get a new token by itself.
    pub refreshable: bool,
    /// When what the connection signs in with comes to its end.
    pub credentials: Vec<CredentialForecast>,
    /// The last failure, until a success.
    pub last_error: Option<TokenFailure>,
}

/// A failure to get a token, as shown to people.
#[derive(Clone, Debug, PartialEq, serde::Serialize)]
#[serde(rename_all = "camelCase")]
pub struct TokenFailure {
    /// A stable code: the OAuth `error` (`invalid_grant`, `invalid_client`, …) or one of ours (`no_token`,
    /// `token_expired`, `store_failed`, `endpoint_unreachable`, …).
    pub code: String,
    /// The AADSTS number, if the answer had one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub aadsts: Option<u32>,
    /// Microsoft's correlation id, for a support request.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub correlation_id: Option<String>,
    /// One sentence on what is wrong and one on what to do.
    pub message: String,
    /// When it happened.
    pub at: Timestamp,
    /// When it is tried again by itself; absent when it is not.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub retry_at: Option<Timestamp>,
}

/// Why a caller got no token. Variants by what the caller can do.
#[derive(Clone, Debug, thiserror::Error)]
pub enum TokenError {
    /// A person must act first: nothing is tried until configuration or store change.
    #[error("{}", .0.message)]
    NeedsSignIn(TokenFailure),
    /// An administrator must act first.
    #[error("{}", .0.message)]
    NeedsAdmin(TokenFailure),
    /// It may work later; `after` says when a new attempt makes sense.
    #[error("{}", .failure.message)]
    TryLater {
        /// What happened.
        failure: TokenFailure,
        /// When to try again.
        after: Duration,
    },
    /// The connection was changed or removed, or the agent is stopping.
    #[error("The connection changed or the agent is stopping. Repeat the request.")]
    Superseded,
}
