//! Create, Update and Delete: records in, one result a record out, in order. Never sends a record again; that is the Graph
//! stage's decision.

use super::engine::Live;
use super::error::{ActivityError, graph_error_code};
use super::model::{Record, RecordError, RecordResult, RecordStatus, WriteRequest};
use super::target::{Prepared, prepare};
use crate::connection::ActivityKind;
use crate::graph::{CallContext, GraphAnswer, GraphError};

/// How many records are prepared and sent at a time, so that the bodies of all records do not stand in memory twice.
const RECORDS_AT_A_TIME: usize = 100;

/// Writes the records of `request`. Beside the results: the error to show for the run, when none was written.
///
/// # Errors
/// [`ActivityError::BadRequest`], when nothing was tried.
pub(super) async fn write_records(
    live: &Live,
    kind: ActivityKind,
    request: &WriteRequest,
    user_id: Option<&str>,
    context: &CallContext,
) -> Result<(Vec<RecordResult>, Option<ActivityError>), ActivityError> {
    if request.records.is_empty() {
        return Err(ActivityError::field(
            "bad_request",
            "records",
            "There are no records. Give at least one.",
        ));
    }
    let object = live
        .catalog
        .get()
        .find_object(&request.object)
        .map_err(|error| ActivityError::unknown("unknown_object", "object", error))?;
    let connection = &live.connection;
    let prepared = |record: &Record| prepare(&object, kind, connection, user_id, record);
    let mut tally = Tally { kind, results: Vec::with_capacity(request.records.len()), first_error: None };
    if request.continue_on_error && request.records.len() > 1 {
        for records in request.records.chunks(RECORDS_AT_A_TIME) {
            write_batch(live, records.iter().map(prepared).collect(), context, &mut tally).await;
        }
    } else {
        // One at a time: in a batch Graph runs the parts side by side, and records after a failed one would be written.
        for record in &request.records {
            if tally.first_error.is_some() {
                tally.skip();
                continue;
            }
            match prepared(record) {
                Err(error) => tally.refused(error),
                Ok(Prepared { request, id }) => {
                    let answer = live.graph.send(request, context).await;
                    tally.answered(id, answer);
                }
            }
        }
    }
    let nothing_done = !tally.results.iter().any(RecordResult::was_written);
    Ok((tally.results, tally.first_error.filter(|_| nothing_done)))
}

async fn write_batch(
    live: &Live,
    records: Vec<Result<Prepared, ActivityError>>,
    context: &CallContext,
    tally: &mut Tally,
) {
    let mut requests = Vec::with_capacity(records.len());
    let records: Vec<Result<Option<String>, ActivityError>> = records
        .into_iter()
        .map(|record| {
            record.map(|Prepared { request, id }| {
                requests.push(request);
                id
            })
        })
        .collect();
    let answers = if requests.is_empty() { Vec::new() } else { live.graph.batch(requests, context).await };
    let mut answers = answers.into_iter();
    for record in records {
        match record {
            Err(error) => tally.refused(error),
            Ok(id) => {
                let unanswered =
                    || Err(GraphError::OutcomeUnknown { what: "the batch has no answer for it".to_owned() });
                tally.answered(id, answers.next().unwrap_or_else(unanswered));
            }
        }
    }
}

impl RecordResult {
    /// Whether the record was written.
    pub(super) fn was_written(&self) -> bool {
        matches!(self.status, RecordStatus::Created | RecordStatus::Updated | RecordStatus::Deleted)
    }
}

/// The results so far.
struct Tally {
    kind: ActivityKind,
    results: Vec<RecordResult>,
    first_error: Option<ActivityError>,
}

impl Tally {
    fn push(&mut self, status: RecordStatus, id: Option<String>, error: Option<ActivityError>) {
        let record_error = error.as_ref().map(|error| RecordError {
            code: error.code().to_owned(),
            message: error.message(),
            graph: match error {
                ActivityError::Graph(GraphError::Refused(refusal) | GraphError::NotNow { refusal, .. }) => {
                    Some(refusal.clone())
                }
                _ => None,
            },
        });
        self.results.push(RecordResult { index: self.results.len(), status, id, error: record_error });
        if self.first_error.is_none() {
            self.first_error = error;
        }
    }

    fn skip(&mut self) {
        self.push(RecordStatus::Skipped, None, None);
    }

    fn refused(&mut self, error: ActivityError) {
        self.push(RecordStatus::Failed, None, Some(error));
    }

    fn answered(&mut self, id: Option<String>, answer: Result<GraphAnswer, GraphError>) {
        match answer {
            Ok(answer) => {
                let status = match self.kind {
                    ActivityKind::Update => RecordStatus::Updated,
                    ActivityKind::Delete => RecordStatus::Deleted,
                    _ => RecordStatus::Created,
                };
                self.push(status, created_id(&answer).or(id), None);
            }
            Err(error) => {
                let status = match graph_error_code(&error) {
                    "outcome_unknown" => RecordStatus::Unknown,
                    _ => RecordStatus::Failed,
                };
                self.push(status, id, Some(error.into()));
            }
        }
    }
}

/// The id in the answer, which for an update may differ from the one given (a moved message).
fn created_id(answer: &GraphAnswer) -> Option<String> {
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

    #[test]
    fn every_outcome_has_its_status() {
        let mut tally = Tally { kind: ActivityKind::Create, results: Vec::new(), first_error: None };
        tally.answered(None, Ok(answer("{\"id\":\"1\",\"x\":{}}")));
        tally.answered(None, Ok(answer("")));
        tally.answered(Some("3".to_owned()), Err(GraphError::OutcomeUnknown { what: "x".to_owned() }));
        let refusal = GraphRefusal {
            status: 412,
            code: "ErrorIrresolvableConflict".to_owned(),
            ..GraphRefusal::default()
        };
        tally.answered(Some("4".to_owned()), Err(GraphError::Refused(refusal)));
        tally.refused(ActivityError::request("bad_record", "No."));
        tally.skip();
        let seen: Vec<_> = tally
            .results
            .iter()
            .map(|result| {
                (
                    result.index,
                    result.status,
                    result.id.as_deref(),
                    result.error.as_ref().map(|error| error.code.as_str()),
                )
            })
            .collect();
        let expected = [
            (0, RecordStatus::Created, Some("1"), None),
            (1, RecordStatus::Created, None, None),
            (2, RecordStatus::Unknown, Some("3"), Some("outcome_unknown")),
            (3, RecordStatus::Failed, Some("4"), Some("graph_refused")),
            (4, RecordStatus::Failed, None, Some("bad_record")),
            (5, RecordStatus::Skipped, None, None),
        ];
        assert_eq!(seen, expected);
        assert!(tally.results[3].error.as_ref().is_some_and(|error| error.graph.is_some()));
    }
}
