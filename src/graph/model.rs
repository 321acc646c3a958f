//! What is asked of Graph and what it answers, as values. Sends nothing.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio_util::sync::CancellationToken;

use crate::token::TokenError;

use super::{ThrottleScope, Traffic};

/// What a request does, which decides what may be sent again when its outcome is unknown.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Effect {
    /// Reads, or writes that give the same result when done twice (GET, PUT, DELETE, PATCH with `If-Match`, POST with a
    /// `transactionId`): may be repeated always.
    Repeatable,
    /// Anything else: repeated only when Graph says that it was not done (429, or 503 with `Retry-After`).
    Once,
}

/// One request, relative to the connection's Graph root.
#[derive(Clone, Debug)]
pub struct GraphRequest {
    /// HTTP method.
    pub method: http::Method,
    /// Path and query below the Graph root, already percent-encoded, without a leading slash:
    /// `me/messages?$select=id`.
    pub path: String,
    /// Headers beyond Authorization, Accept and client-request-id (`ConsistencyLevel`, `Prefer`, `If-Match`).
    pub headers: Vec<(&'static str, String)>,
    /// JSON body.
    pub body: Option<Bytes>,
    /// Whose mailbox it touches: requests with the same text share the mailbox limit. `None` for directory objects.
    pub mailbox: Option<String>,
    /// What may be repeated.
    pub effect: Effect,
}

/// The largest body that Graph takes, in bytes as it is sent: base64, escapes and the rest of the JSON count (Graph, "Known
/// issues", on the size of requests: 4 MB).
pub const LARGEST_BODY: usize = 4 * 1024 * 1024;

impl GraphRequest {
    /// Refuses a body that Graph does not take.
    ///
    /// # Errors
    /// [`GraphError::BadRequest`] with what to do instead.
    pub(super) fn check_size(&self) -> Result<(), GraphError> {
        match self.body.as_ref().map(Bytes::len) {
            Some(length) if length > LARGEST_BODY => {
                let what = format!(
                    "its body has {length} bytes, and Microsoft Graph takes {LARGEST_BODY} at most; send large attachments with \
                     AddAttachments or SendMail and large files with UploadFile, which upload them piece by piece, or shorten the record"
                );
                Err(GraphError::BadRequest { what })
            }
            _ => Ok(()),
        }
    }
}

/// What belongs to the caller rather than to the request: identity, bound and stop.
#[derive(Clone, Debug)]
pub struct CallContext {
    /// Request id of the control port, sent as `client-request-id` and logged.
    pub request_id: String,
    /// Cancelled when the caller has gone or the run was cancelled.
    pub cancel: CancellationToken,
    /// When the caller's patience ends, by tokio's clock.
    pub deadline: tokio::time::Instant,
    /// What the run's requests meet; requests with the same value are one run to the governor.
    pub traffic: Arc<Traffic>,
}

impl CallContext {
    /// For a run whose traffic nobody else looks at.
    pub fn new(request_id: String, cancel: CancellationToken, deadline: tokio::time::Instant) -> Self {
        Self { request_id, cancel, deadline, traffic: Traffic::new() }
    }
}

/// A whole, bounded answer.
#[derive(Clone, Debug)]
pub struct GraphAnswer {
    /// HTTP status, always 2xx.
    pub status: u16,
    /// The body; empty for 202 and 204.
    pub body: Bytes,
    /// `Location` header, if any.
    pub location: Option<String>,
    /// Graph's `request-id` header.
    pub request_id: Option<String>,
}

/// Graph's own words about a refusal, cleaned and cut.
#[derive(Clone, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct GraphRefusal {
    /// HTTP status.
    pub status: u16,
    /// `error.code`; may be empty.
    pub code: String,
    /// `error.message`.
    pub message: String,
    /// `request-id`, for a support request.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub request_id: Option<String>,
    /// How far it reaches, when it is for too many requests.
    #[serde(skip)]
    pub scope: ThrottleScope,
    /// The event that has the `transactionId` already, when the service names it.
    #[serde(skip)]
    pub existing_event: Option<String>,
    /// Whether the same request was sent before without an answer.
    #[serde(skip)]
    pub after_lost_answer: bool,
}

impl GraphRefusal {
    /// Whether an event with the same `transactionId` is there (`ErrorDuplicateTransactionId`, with 400 or 409).
    pub fn is_known_transaction(&self) -> bool {
        self.code == "ErrorDuplicateTransactionId"
    }
}

/// Why a Graph request has no good answer. Variants by what the caller can do.
#[derive(Clone, Debug, thiserror::Error)]
pub enum GraphError {
    /// No token.
    #[error(transparent)]
    Token(#[from] TokenError),
    /// Graph understood and refused (4xx): change the request or the permissions.
    #[error("Microsoft Graph refused the request with {} {}: {}", .0.status, .0.code, .0.message)]
    Refused(GraphRefusal),
    /// Graph is throttling or down, and waiting longer would pass the deadline: repeat after `after`.
    #[error("Microsoft Graph is not ready ({}): repeat the request in {} seconds.", .refusal.status, .after.as_secs())]
    NotNow {
        /// Its last answer.
        refusal: GraphRefusal,
        /// When to come back.
        after: Duration,
    },
    /// No usable answer, and nothing was changed (a read, or the request never left): may be repeated.
    #[error(
        "Microsoft Graph could not be reached: {what}. Check the network, the proxy and GraphEndpoint, then repeat."
    )]
    Unreachable {
        /// What failed, without secrets or paths.
        what: String,
    },
    /// A write was sent and its outcome is unknown: look before repeating.
    #[error(
        "The write was sent but its outcome is unknown: {what}. Look whether it happened before you repeat it."
    )]
    OutcomeUnknown {
        /// What failed.
        what: String,
    },
    /// The answer broke a rule (too large, not JSON, a link to another origin, a loop): nothing more was sent.
    #[error("Microsoft Graph's answer cannot be used: {what}.")]
    BadAnswer {
        /// Which rule.
        what: String,
    },
    /// A content is larger than what the caller takes; what was received of it is worth nothing.
    #[error("The content is larger than {limit} bytes.")]
    TooLarge {
        /// The most that is taken.
        limit: u64,
    },
    /// The request itself cannot be sent (a path that leaves the Graph root, a header that is not allowed): nothing was
    /// sent.
    #[error("The request cannot be sent to Microsoft Graph: {what}.")]
    BadRequest {
        /// What is wrong with it.
        what: String,
    },
    /// The caller's deadline has passed.
    #[error("The time limit of this request has passed. Raise `timeoutSeconds` or ask for less.")]
    Deadline,
    /// The run was cancelled.
    #[error("The run was cancelled.")]
    Cancelled,
}
