//! Every stage's error as a problem: status, stable code, public text, and the wait after which a repeat makes sense.
//! The one place where a status is chosen; the stages know nothing of HTTP, and handlers only pass errors on.

use std::time::Duration;

use http::StatusCode;

use super::problem::Problem;
use crate::activity::{ActivityError, SchemaError};
use crate::catalog::SchemaFault;
use crate::dropin::WriteError;
use crate::graph::{GraphError, GraphRefusal};
use crate::token::{SignInError, TokenError, TokenFailure};

impl From<TokenError> for Problem {
    /// 409 for what a person must mend first: repeating the call is useless, unlike with 503.
    fn from(error: TokenError) -> Self {
        let detail = error.to_string();
        match error {
            TokenError::NeedsSignIn(failure) => token(StatusCode::CONFLICT, "needs_sign_in", detail, failure),
            TokenError::NeedsAdmin(failure) => token(StatusCode::CONFLICT, "needs_admin", detail, failure),
            TokenError::TryLater { failure, after } => {
                token(StatusCode::SERVICE_UNAVAILABLE, "token_unavailable", detail, failure)
                    .retry_after(after)
            }
            TokenError::Superseded => Problem::new(StatusCode::SERVICE_UNAVAILABLE, "superseded", detail)
                .retry_after(Duration::from_secs(1)),
        }
    }
}

impl From<SignInError> for Problem {
    fn from(error: SignInError) -> Self {
        let detail = error.to_string();
        let (status, code) = match error {
            SignInError::NoSuchConnection => (StatusCode::NOT_FOUND, "no_such_connection"),
            SignInError::NothingPending => (StatusCode::NOT_FOUND, "no_sign_in"),
            SignInError::NotPossible(_) => (StatusCode::CONFLICT, "sign_in_not_possible"),
            SignInError::Pending => (StatusCode::CONFLICT, "sign_in_pending"),
            SignInError::TooLate => (StatusCode::CONFLICT, "sign_in_too_late"),
            SignInError::Callback(_) => (StatusCode::CONFLICT, "callback_unavailable"),
            SignInError::BadCode(_) => (StatusCode::BAD_REQUEST, "bad_code"),
            SignInError::Stopping => (StatusCode::SERVICE_UNAVAILABLE, "stopping"),
            SignInError::Refused(failure) => {
                return token(StatusCode::CONFLICT, "sign_in_refused", detail, failure);
            }
            SignInError::TryLater { failure, after } => {
                return token(StatusCode::SERVICE_UNAVAILABLE, "token_unavailable", detail, failure)
                    .retry_after(after);
            }
        };
        Problem::new(status, code, detail)
    }
}

fn token(status: StatusCode, code: &str, detail: String, failure: TokenFailure) -> Problem {
    let mut problem = Problem::new(status, code, detail);
    problem.log = Some(format!("{} at {}", failure.code, failure.at));
    problem.aadsts = failure.aadsts;
    problem.correlation_id = failure.correlation_id;
    problem
}

impl From<GraphError> for Problem {
    fn from(error: GraphError) -> Self {
        let detail = error.to_string();
        match error {
            GraphError::Token(error) => error.into(),
            GraphError::Refused(refusal) => refused(detail, refusal),
            GraphError::NotNow { refusal, after } => {
                let mut problem = Problem::new(StatusCode::SERVICE_UNAVAILABLE, "graph_not_ready", detail)
                    .retry_after(after);
                problem.graph = Some(refusal);
                problem
            }
            GraphError::Unreachable { .. } => {
                Problem::new(StatusCode::BAD_GATEWAY, "graph_unreachable", detail)
                    .retry_after(Duration::from_secs(5))
            }
            GraphError::OutcomeUnknown { .. } => {
                Problem::new(StatusCode::BAD_GATEWAY, "outcome_unknown", detail)
            }
            GraphError::BadRequest { .. } => Problem::new(StatusCode::BAD_REQUEST, "bad_request", detail),
            GraphError::TooLarge { .. } => Problem::new(StatusCode::BAD_GATEWAY, "content_too_large", detail),
            GraphError::BadAnswer { .. } => Problem::new(StatusCode::BAD_GATEWAY, "bad_answer", detail),
            GraphError::Deadline => Problem::new(StatusCode::GATEWAY_TIMEOUT, "deadline", detail),
            GraphError::Cancelled => Problem::new(StatusCode::CONFLICT, "cancelled", detail),
        }
    }
}

/// Graph's refusal keeps its meaning: the caller's fault stays a 4xx, but a 401 or 403 of Graph is not one of this port.
fn refused(detail: String, refusal: GraphRefusal) -> Problem {
    let (status, code) = match refusal.status {
        404 => (StatusCode::NOT_FOUND, "graph_not_found"),
        409 => (StatusCode::CONFLICT, "graph_conflict"),
        412 => (StatusCode::PRECONDITION_FAILED, "graph_precondition_failed"),
        401 | 403 => (StatusCode::BAD_GATEWAY, "graph_forbidden"),
        400..=499 => (StatusCode::BAD_REQUEST, "graph_refused"),
        _ => (StatusCode::BAD_GATEWAY, "graph_failed"),
    };
    let mut problem = Problem::new(status, code, detail);
    problem.graph = Some(refusal);
    problem
}

impl From<ActivityError> for Problem {
    fn from(error: ActivityError) -> Self {
        let (detail, log) = (error.message(), error.log_message());
        let mut problem = match error {
            ActivityError::BadRequest { code, field, .. } => {
                let status = match code {
                    "length_required" => StatusCode::LENGTH_REQUIRED,
                    "local_files_off" => StatusCode::FORBIDDEN,
                    "local_file_exists" | "local_file_busy" => StatusCode::CONFLICT,
                    _ => StatusCode::BAD_REQUEST,
                };
                let mut problem = Problem::new(status, code, detail);
                problem.field = field;
                problem
            }
            ActivityError::NotFound { code, .. } => Problem::new(StatusCode::NOT_FOUND, code, detail),
            ActivityError::NoResults { code, .. } => Problem::new(StatusCode::CONFLICT, code, detail),
            ActivityError::ReadOnly { .. } => Problem::new(StatusCode::FORBIDDEN, "read_only", detail),
            ActivityError::Busy { retry_after, .. } => {
                Problem::new(StatusCode::SERVICE_UNAVAILABLE, "busy", detail).retry_after(retry_after)
            }
            ActivityError::SignIn(error) => error.into(),
            ActivityError::TooLarge { .. } => {
                Problem::new(StatusCode::PAYLOAD_TOO_LARGE, "too_large", detail)
            }
            ActivityError::NotKept { .. } => {
                Problem::new(StatusCode::SERVICE_UNAVAILABLE, "not_kept", detail)
            }
            // Both as the draft of the Idempotency-Key header wants them (section 2.7).
            ActivityError::KeyInUse { run } => {
                let mut problem = Problem::new(StatusCode::CONFLICT, "idempotency_key_in_use", detail);
                problem.run_id = Some(run);
                problem
            }
            ActivityError::KeyReused => {
                Problem::new(StatusCode::UNPROCESSABLE_ENTITY, "idempotency_key_reused", detail)
            }
            ActivityError::Graph(error) => error.into(),
            ActivityError::NotShowable { .. } => {
                Problem::new(StatusCode::NOT_ACCEPTABLE, "not_showable", detail)
            }
        };
        problem.log.get_or_insert(log);
        problem
    }
}

impl From<SchemaError> for Problem {
    fn from(error: SchemaError) -> Self {
        let detail = error.to_string();
        match error {
            SchemaError::Graph(error) => error.into(),
            SchemaError::Fault(SchemaFault::Bad(_)) => {
                Problem::new(StatusCode::BAD_GATEWAY, "bad_schema", detail)
            }
            SchemaError::Fault(SchemaFault::NotKept(_)) => {
                Problem::new(StatusCode::INTERNAL_SERVER_ERROR, "schema_not_kept", detail)
            }
        }
    }
}

impl From<WriteError> for Problem {
    fn from(error: WriteError) -> Self {
        let detail = error.to_string();
        match error {
            WriteError::NotFound(_) => Problem::new(StatusCode::NOT_FOUND, "no_such_connection", detail),
            WriteError::Changed(_) => {
                Problem::new(StatusCode::PRECONDITION_FAILED, "precondition_failed", detail)
            }
            WriteError::Invalid(fault) => {
                let mut problem = Problem::new(StatusCode::UNPROCESSABLE_ENTITY, "faulty_connection", detail);
                problem.faults = vec![fault];
                problem
            }
            _ => Problem::new(StatusCode::CONFLICT, "not_written", detail),
        }
    }
}
