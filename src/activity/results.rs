//! What became of a record, as its result: the status, the error in words, and whether it is for good. Pure.

use super::error::ActivityError;
use super::model::{RecordError, RecordResult, RecordStatus};
use crate::connection::ActivityKind;
use crate::graph::{GraphAnswer, GraphError};

impl RecordResult {
    /// Whether the record was written.
    pub(super) fn was_written(&self) -> bool {
        matches!(self.status, RecordStatus::Created | RecordStatus::Updated | RecordStatus::Deleted)
    }

    /// Whether nothing has happened at Graph because of it.
    pub(super) fn was_surely_not_done(&self) -> bool {
        matches!(self.status, RecordStatus::Failed | RecordStatus::Skipped)
    }
}

/// A result and what follows from it.
#[derive(Debug)]
pub(super) struct Outcome {
    pub(super) result: RecordResult,
    /// Whether a repeat with the same key gives this result again instead of trying once more.
    pub(super) for_good: bool,
    /// The error behind it, for the run.
    pub(super) error: Option<ActivityError>,
}

impl Outcome {
    /// The record was written.
    pub(super) fn done(index: usize, kind: ActivityKind, id: Option<String>) -> Self {
        let status = match kind {
            ActivityKind::Update => RecordStatus::Updated,
            ActivityKind::Delete => RecordStatus::Deleted,
            _ => RecordStatus::Created,
        };
        Self {
            result: RecordResult { index, status, id, error: None, result: None },
            for_good: true,
            error: None,
        }
    }

    /// Graph has answered for the record, or nothing more will come.
    pub(super) fn answered(
        index: usize,
        kind: ActivityKind,
        id: Option<String>,
        answer: Result<GraphAnswer, GraphError>,
    ) -> Self {
        match answer {
            Ok(answer) => Self::done(index, kind, id_in(&answer).or(id)),
            Err(error) => {
                let status = match error {
                    GraphError::OutcomeUnknown { .. } => RecordStatus::Unknown,
                    _ => RecordStatus::Failed,
                };
                let for_good = is_for_good(&error);
                Self::failed(index, status, id, error.into(), for_good)
            }
        }
    }

    /// The record cannot be sent as it is.
    pub(super) fn refused(index: usize, error: ActivityError) -> Self {
        Self::failed(index, RecordStatus::Failed, None, error, false)
    }

    /// The record was not tried. `why`: what stopped the run, if not an earlier record.
    pub(super) fn skipped(index: usize, id: Option<String>, why: Option<GraphError>) -> Self {
        match why {
            None => {
                let result =
                    RecordResult { index, status: RecordStatus::Skipped, id, error: None, result: None };
                Self { result, for_good: false, error: None }
            }
            Some(why) => Self::failed(index, RecordStatus::Skipped, id, why.into(), false),
        }
    }

    fn failed(
        index: usize,
        status: RecordStatus,
        id: Option<String>,
        error: ActivityError,
        for_good: bool,
    ) -> Self {
        let error_told = Some(record_error(&error));
        let result = RecordResult { index, status, id, error: error_told, result: None };
        Self { result, for_good, error: Some(error) }
    }
}

/// A refusal stands, unless it is about the connection or the moment rather than the record, or says that the record is
/// there.
pub(super) fn is_for_good(error: &GraphError) -> bool {
    matches!(error, GraphError::Refused(refusal)
        if (400..500).contains(&refusal.status) && !matches!(refusal.status, 401 | 403 | 408 | 411 | 424 | 429)
            && refusal.code != "Directory_ConcurrencyViolation"
            && !refusal.is_known_transaction())
}

pub(super) fn record_error(error: &ActivityError) -> RecordError {
    let graph = match error {
        ActivityError::Graph(GraphError::Refused(refusal) | GraphError::NotNow { refusal, .. }) => {
            Some(refusal.clone())
        }
        _ => None,
    };
    let (code, message) = match &graph {
        // RFC 9110 section 13.1.1: the record is not the one that was read any more.
        Some(refusal) if refusal.status == 412 => (
            "changed_meanwhile",
            format!(
                "The record was changed after its Etag was read, so nothing was written ({} {}). Read it again and repeat with the new Etag, or leave the Etag out to overwrite whatever is there.",
                refusal.status, refusal.code
            ),
        ),
        _ => (error.code(), error.message()),
    };
    RecordError { code: code.to_owned(), message, graph }
}

/// The id in the answer, which for an update may differ from the one given (a moved message).
fn id_in(answer: &GraphAnswer) -> Option<String> {
    #[derive(serde::Deserialize)]
    struct WithId {
        id: Option<String>,
    }
    serde_json::from_slice::<WithId>(&answer.body).ok()?.id
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;
    use crate::graph::GraphRefusal;

    fn answer(body: &'static str) -> GraphAnswer {
        GraphAnswer {
            status: 201,
            body: Bytes::from_static(body.as_bytes()),
            location: None,
            request_id: None,
        }
    }

    fn refused(status: u16) -> GraphError {
        GraphError::Refused(GraphRefusal {
            status,
            code: "ErrorIrresolvableConflict".to_owned(),
            ..GraphRefusal::default()
        })
    }

    #[test]
    fn every_outcome_has_its_status_and_says_whether_it_stands() {
        let create = ActivityKind::Create;
        let unknown = || GraphError::OutcomeUnknown { what: "x".to_owned() };
        let id = |id: &str| Some(id.to_owned());
        let outcomes = [
            Outcome::answered(0, create, None, Ok(answer("{\"id\":\"1\",\"x\":{}}"))),
            Outcome::answered(1, ActivityKind::Delete, id("k"), Ok(answer(""))),
            Outcome::answered(2, create, id("3"), Err(unknown())),
            Outcome::answered(3, create, id("4"), Err(refused(412))),
            Outcome::answered(4, create, None, Err(refused(403))),
            Outcome::answered(5, create, None, Err(GraphError::Unreachable { what: "x".to_owned() })),
            Outcome::refused(6, ActivityError::request("bad_record", "No.")),
            Outcome::skipped(7, None, None),
            Outcome::skipped(8, None, Some(GraphError::Cancelled)),
        ];
        let seen: Vec<_> = outcomes
            .iter()
            .map(|Outcome { result, for_good, .. }| {
                let code = result.error.as_ref().map(|error| error.code.as_str());
                (result.status, result.id.as_deref(), code, *for_good)
            })
            .collect();
        let expected = [
            (RecordStatus::Created, Some("1"), None, true),
            (RecordStatus::Deleted, Some("k"), None, true),
            (RecordStatus::Unknown, Some("3"), Some("outcome_unknown"), false),
            (RecordStatus::Failed, Some("4"), Some("changed_meanwhile"), true),
            (RecordStatus::Failed, None, Some("graph_refused"), false),
            (RecordStatus::Failed, None, Some("graph_unreachable"), false),
            (RecordStatus::Failed, None, Some("bad_record"), false),
            (RecordStatus::Skipped, None, None, false),
            (RecordStatus::Skipped, None, Some("cancelled"), false),
        ];
        assert_eq!(seen, expected);
        assert!(outcomes[3].result.error.as_ref().is_some_and(|error| error.graph.is_some()));
    }
}
