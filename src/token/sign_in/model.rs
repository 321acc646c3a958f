//! What the sign-in tells others: requests, views and errors. Nothing here can hold a device code, an authorization code
//! or a PKCE verifier.

use std::time::Duration;

use crate::clock::Timestamp;
use crate::secret::Secret;
use crate::token::model::TokenFailure;

/// What a person asks for.
#[derive(Debug)]
pub enum SignInRequest {
    /// A code to type in on any device: works everywhere, needs no port.
    DeviceCode,
    /// A browser that comes back to `CallbackURL`.
    Browser,
    /// The code of the address that the browser of a pending [`SignInRequest::Browser`] ended at, or that whole address.
    Verifier(Secret),
}

/// How a sign-in is made.
#[derive(Clone, Copy, PartialEq, Eq, Debug, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum SignInMethod {
    /// RFC 8628.
    DeviceCode,
    /// RFC 6749 section 4.1 with RFC 7636.
    Browser,
}

/// A sign-in as status and command line show it. Never holds anything that could be used in the person's place.
#[derive(Clone, Debug, serde::Serialize)]
#[serde(rename_all = "camelCase")]
pub struct SignInView {
    /// `offered`, `starting`, `waiting_for_code_entry`, `waiting_for_redirect`, `redeeming`, `done`, `failed`,
    /// `cancelled` or `expired`.
    pub state: &'static str,
    /// What to do, or what has happened.
    pub message: String,
    /// Absent while it is only offered.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub method: Option<SignInMethod>,
    /// The code to type in at `verificationUri`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub user_code: Option<String>,
    /// Where to type it in.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub verification_uri: Option<String>,
    /// Where to sign in with a browser. Only in the answer to whoever started it: the address holds `state`, which is
    /// what keeps others from answering in the person's place.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub authorization_url: Option<String>,
    /// Where an administrator consents for the whole tenant.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub admin_consent_url: Option<String>,
    /// When it was started.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub started_at: Option<Timestamp>,
    /// When it ends by itself.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub expires_at: Option<Timestamp>,
    /// The same in seconds from now.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub seconds_left: Option<u64>,
    /// Who signed in, as far as the token says.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub account: Option<String>,
    /// Whose tokens were there before, when that was somebody else.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub previous_account: Option<String>,
    /// Why it failed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<TokenFailure>,
}

impl SignInView {
    /// Whether it still goes on.
    pub fn is_pending(&self) -> bool {
        matches!(self.state, "starting" | "waiting_for_code_entry" | "waiting_for_redirect" | "redeeming")
    }
}

/// Why a sign-in was not started, answered or cancelled. Variants by what the caller can do.
#[derive(Clone, Debug, thiserror::Error)]
pub enum SignInError {
    /// There is no such connection.
    #[error("There is no such connection. GET /v1/connections lists all of them.")]
    NoSuchConnection,
    /// The configuration must change first.
    #[error("{0}")]
    NotPossible(String),
    /// One is pending.
    #[error(
        "A sign-in of this connection is pending. Finish it, or cancel it with DELETE or `o365-agent sign-in NAME --cancel`."
    )]
    Pending,
    /// None is pending.
    #[error("No sign-in of this connection is pending. Start one with `o365-agent sign-in NAME`.")]
    NothingPending,
    /// It has gone too far to be cancelled.
    #[error(
        "The person has signed in already and the tokens are being stored. Look at the status in a moment."
    )]
    TooLate,
    /// What was brought back is not the answer to the pending sign-in.
    #[error("{0}")]
    BadCode(String),
    /// Nobody can listen at `CallbackURL`.
    #[error("{0}")]
    Callback(String),
    /// The server refuses to begin.
    #[error("{}", .0.message)]
    Refused(TokenFailure),
    /// It may work later.
    #[error("{}", .failure.message)]
    TryLater {
        /// What happened.
        failure: TokenFailure,
        /// When to try again.
        after: Duration,
    },
    /// The agent is stopping.
    #[error("The agent is stopping. Start the sign-in again after it has started.")]
    Stopping,
}
