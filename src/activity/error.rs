//! Why an activity did not happen, by what the caller can do about it. Never decides an HTTP status.

use std::time::Duration;

use crate::catalog::CatalogError;
use crate::graph::GraphError;
use crate::query::QueryError;
use crate::token::{SignInError, TokenError};

/// Why an activity did not happen.
#[derive(Clone, Debug, thiserror::Error)]
pub enum ActivityError {
    /// The request must be changed; nothing was sent.
    #[error("{message}")]
    BadRequest {
        /// A stable code.
        code: &'static str,
        /// The field, record key or parameter it is about.
        field: Option<String>,
        /// What is wrong and what to write instead.
        message: String,
    },
    /// The named thing does not exist.
    #[error("{message}")]
    NotFound {
        /// A stable code: `unknown_activity`, `unknown_run`.
        code: &'static str,
        /// What is missing and what there is.
        message: String,
    },
    /// There are no results (yet), by the way the run went.
    #[error("{message}")]
    NoResults {
        /// A stable code: `run_in_progress`, `no_complete_rows`.
        code: &'static str,
        /// How the run stands and what to do.
        message: String,
    },
    /// The connection is for reading only; nothing was sent.
    #[error("{message}")]
    ReadOnly {
        /// Which connection, and the property that says so.
        message: String,
    },
    /// As many runs as allowed are in progress: repeat after `retry_after`.
    #[error("The agent runs as many activities as it may ([Limits] ConcurrentRuns = {limit}). Repeat the request in {} s.", .retry_after.as_secs())]
    Busy {
        /// The limit.
        limit: usize,
        /// When to come back.
        retry_after: Duration,
    },
    /// A person's sign-in could not be started or finished.
    #[error(transparent)]
    SignIn(#[from] SignInError),
    /// More than one call may carry.
    #[error("{message}")]
    TooLarge {
        /// The bound and what to do.
        message: String,
    },
    /// The state directory does not take or give back what has to be kept; nothing is sent without it.
    #[error("{message}")]
    NotKept {
        /// What failed and what to do.
        message: String,
    },
    /// A call with the same `Idempotency-Key` is in progress.
    #[error(
        "A call with this Idempotency-Key is in progress as run {run}. Wait for its end (GET /v1/runs/{run}) and repeat the call to get its results."
    )]
    KeyInUse {
        /// Its run.
        run: String,
    },
    /// The `Idempotency-Key` was used with another request.
    #[error(
        "This Idempotency-Key was used within the last 24 hours with another request. Send the same request again, or take a new key."
    )]
    KeyReused,
    /// Graph refused or could not be asked.
    #[error(transparent)]
    Graph(#[from] GraphError),
    /// A row cannot be shown in the asked-for form without losing something.
    #[error("{message}")]
    NotShowable {
        /// What is wrong and what to ask for instead.
        message: String,
    },
}

impl ActivityError {
    /// A stable code for the caller.
    pub fn code(&self) -> &'static str {
        match self {
            Self::BadRequest { code, .. } | Self::NotFound { code, .. } | Self::NoResults { code, .. } => {
                code
            }
            Self::ReadOnly { .. } => "read_only",
            Self::Busy { .. } => "busy",
            Self::SignIn(_) => "sign_in_failed",
            Self::TooLarge { .. } => "too_large",
            Self::NotKept { .. } => "not_kept",
            Self::KeyInUse { .. } => "idempotency_key_in_use",
            Self::KeyReused => "idempotency_key_reused",
            Self::Graph(error) => graph_error_code(error),
            Self::NotShowable { .. } => "not_showable",
        }
    }

    /// The message for the caller.
    pub fn message(&self) -> String {
        self.to_string()
    }

    /// The message for the log: with Graph's request id, without anything of the caller's data.
    pub fn log_message(&self) -> String {
        let refusal = match self {
            Self::Graph(GraphError::Refused(refusal) | GraphError::NotNow { refusal, .. }) => refusal,
            _ => return self.code().to_owned(),
        };
        let id = refusal.request_id.as_deref().unwrap_or("none");
        format!("{}: status {} {} (Graph request-id {id})", self.code(), refusal.status, refusal.code)
    }

    /// Whether it is the caller's or an operator's own doing that the work stopped.
    pub fn is_cancelled(&self) -> bool {
        matches!(self, Self::Graph(GraphError::Cancelled))
    }

    /// Whether the run was stopped from outside: cancelled, or its time was over.
    pub(super) fn is_stop(&self) -> bool {
        matches!(self, Self::Graph(GraphError::Cancelled | GraphError::Deadline))
    }

    pub(super) fn field(code: &'static str, field: &str, message: impl Into<String>) -> Self {
        Self::BadRequest { code, field: Some(field.to_owned()), message: message.into() }
    }

    pub(super) fn request(code: &'static str, message: impl Into<String>) -> Self {
        Self::BadRequest { code, field: None, message: message.into() }
    }

    pub(super) fn unknown(code: &'static str, field: &str, error: CatalogError) -> Self {
        Self::field(code, field, error.message)
    }
}

impl From<QueryError> for ActivityError {
    fn from(error: QueryError) -> Self {
        match error {
            QueryError::BadRequest { code, field, message } => Self::BadRequest { code, field, message },
            QueryError::Graph(error) => Self::Graph(error),
            QueryError::NotShowable { message } => Self::NotShowable { message },
            QueryError::TooLarge { message } => {
                Self::BadRequest { code: "too_large_to_sort", field: Some("orderBy".to_owned()), message }
            }
        }
    }
}

/// The stable code of a Graph error.
pub fn graph_error_code(error: &GraphError) -> &'static str {
    match error {
        GraphError::Token(TokenError::NeedsSignIn(_)) => "needs_sign_in",
        GraphError::Token(TokenError::NeedsAdmin(_)) => "needs_admin",
        GraphError::Token(TokenError::TryLater { .. }) => "token_not_ready",
        GraphError::Token(TokenError::Superseded) => "superseded",
        GraphError::Refused(_) => "graph_refused",
        GraphError::NotNow { .. } => "graph_not_ready",
        GraphError::Unreachable { .. } => "graph_unreachable",
        GraphError::OutcomeUnknown { .. } => "outcome_unknown",
        GraphError::BadAnswer { .. } => "bad_answer",
        GraphError::TooLarge { .. } => "content_too_large",
        GraphError::BadRequest { .. } => "bad_request",
        GraphError::Deadline => "deadline",
        GraphError::Cancelled => "cancelled",
    }
}
