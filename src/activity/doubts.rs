//! Records that are asked after before they are (again) sent: those that got no answer, those that another agent may have
//! made with the same key, those whose `Etag` is missing. Never sends a write.

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::BoxFuture;
use futures_util::stream::{FuturesUnordered, StreamExt};
use serde_json::Value;
use tokio::time::Instant;

use super::mark::{Day, Marks, recognises_repeats};
use super::patience::Patience;
use crate::graph::{CallContext, GraphAnswer, GraphClient, GraphError, GraphRequest};

/// Doubts that one round of questions takes.
const QUESTIONS_AT_ONCE: usize = 200;

/// Why a record is asked after.
#[derive(Clone, Debug)]
pub(super) enum Why {
    /// It was sent and got no answer.
    Lost {
        /// What is known about it.
        what: GraphError,
        /// How long ago it was sent, when an earlier run with the same key did.
        earlier: Option<Duration>,
    },
    /// The service says that it is there; what is missing is its id.
    Recognised,
    /// It was not sent yet, and another agent may have made it with the same key.
    Elsewhere,
    /// Its `Etag` was not given.
    Etag,
}

/// A record that is asked after.
#[derive(Debug)]
pub(super) struct Doubt {
    pub(super) index: usize,
    /// What was sent, or is to be.
    pub(super) request: GraphRequest,
    pub(super) why: Why,
    day: Day,
    /// How old the write was when it was pushed.
    age: Duration,
    pushed: Instant,
    due: Instant,
}

impl Doubt {
    fn age(&self) -> Duration {
        self.age + self.pushed.elapsed()
    }

    fn question(&self, marks: &Marks) -> Option<GraphRequest> {
        match self.why {
            Why::Etag => Some(GraphRequest {
                method: http::Method::GET,
                headers: Vec::new(),
                body: None,
                ..self.request.clone()
            }),
            _ => marks.question(self.index, &self.request, self.day),
        }
    }
}

/// What is known of a record after it was asked after.
#[derive(Debug)]
pub(super) enum Finding {
    /// It is there, with this id.
    There(String),
    /// It is not there, and what was sent will not make it appear: it may be sent (again).
    NotThere,
    /// It could not be found out.
    StillUnknown,
    /// The `Etag` it has.
    Etag(String),
    /// It could not be asked after; nothing of it was sent.
    NotAsked(GraphError),
}

/// All records in doubt.
#[derive(Debug)]
pub(super) struct Doubts {
    graph: Arc<GraphClient>,
    context: CallContext,
    marks: Marks,
    patience: Patience,
    waiting: Vec<Doubt>,
    looking: FuturesUnordered<BoxFuture<'static, Vec<(Doubt, Look)>>>,
    in_hand: usize,
}

/// What one look showed.
enum Look {
    There(String),
    NotThere,
    Etag(String),
    /// Nothing.
    Failed(Option<GraphError>),
}

impl Doubts {
    pub(super) fn new(
        graph: Arc<GraphClient>,
        context: CallContext,
        marks: Marks,
        patience: Patience,
    ) -> Self {
        let (waiting, looking) = (Vec::new(), FuturesUnordered::new());
        Self { graph, context, marks, patience, waiting, looking, in_hand: 0 }
    }

    /// Whether none is left.
    pub(super) fn is_empty(&self) -> bool {
        self.in_hand == 0
    }

    /// Takes a record in, or gives it back when there is no way to find out.
    pub(super) fn push(
        &mut self,
        index: usize,
        request: GraphRequest,
        why: Why,
    ) -> Result<(), (GraphRequest, Why)> {
        let now = Instant::now();
        let age = match why {
            Why::Lost { earlier, .. } => earlier.unwrap_or_default(),
            _ => Duration::ZERO,
        };
        let doubt = Doubt { index, request, why, day: Day::Own, age, pushed: now, due: now };
        let stopped = self.context.cancel.is_cancelled() || now >= self.context.deadline;
        if stopped || doubt.question(&self.marks).is_none() {
            return Err((doubt.request, doubt.why));
        }
        self.waiting.push(doubt);
        self.in_hand += 1;
        Ok(())
    }

    /// The next records that are found out about; `None` when there are none. Nothing is lost when it is dropped.
    pub(super) async fn next(&mut self) -> Option<Vec<(Doubt, Finding)>> {
        loop {
            if self.in_hand == 0 {
                return None;
            }
            let now = Instant::now();
            if self.looking.is_empty() {
                self.waiting.sort_by_key(|doubt| doubt.due);
                let due = self.waiting.iter().take_while(|doubt| doubt.due <= now).count();
                let round: Vec<Doubt> = self.waiting.drain(..due.min(QUESTIONS_AT_ONCE)).collect();
                if !round.is_empty() {
                    let (graph, context) = (Arc::clone(&self.graph), self.context.clone());
                    self.looking.push(Box::pin(look(graph, context, self.marks.clone(), round)));
                }
            }
            let next_due = self.waiting.iter().map(|doubt| doubt.due).min();
            let wake = async {
                match next_due {
                    Some(due) => tokio::time::sleep_until(due).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                Some(looked) = self.looking.next(), if !self.looking.is_empty() => {
                    let found = self.sort_out(looked);
                    if !found.is_empty() {
                        return Some(found);
                    }
                }
                () = wake, if self.looking.is_empty() => {}
                () = self.context.cancel.cancelled(), if self.looking.is_empty() => {
                    let given_up: Vec<_> = self.waiting.drain(..).map(|doubt| {
                        let finding = nothing_found(&doubt.why, Some(GraphError::Cancelled));
                        (doubt, finding)
                    }).collect();
                    self.in_hand -= given_up.len();
                    return Some(given_up);
                }
            }
        }
    }

    fn sort_out(&mut self, looked: Vec<(Doubt, Look)>) -> Vec<(Doubt, Finding)> {
        let mut found = Vec::new();
        for (mut doubt, look) in looked {
            let finding = match look {
                Look::There(id) => Finding::There(id),
                Look::Etag(etag) => Finding::Etag(etag),
                look => match self.after_nothing(&mut doubt, look) {
                    Some(finding) => finding,
                    None => {
                        self.waiting.push(doubt);
                        continue;
                    }
                },
            };
            self.in_hand -= 1;
            found.push((doubt, finding));
        }
        found
    }

    /// What follows when a look did not show the record; `None`: another look, for which `doubt` is due then.
    fn after_nothing(&self, doubt: &mut Doubt, look: Look) -> Option<Finding> {
        let failure = match look {
            Look::Failed(failure) => Some(failure),
            _ => None,
        };
        match &doubt.why {
            Why::Lost { earlier, .. } if doubt.request.method != http::Method::DELETE => {
                let (age, later_call) = (doubt.age(), earlier.is_some());
                if let Some(next) = self.patience.next_look(age, later_call) {
                    doubt.due = Instant::now() + (next - age);
                    // Nobody waits for a look that would come too late.
                    return (doubt.due >= self.context.deadline).then_some(Finding::StillUnknown);
                }
                let certain =
                    recognises_repeats(&doubt.request.path) || (later_call && self.patience.has_settled(age));
                Some(match failure {
                    None if certain => Finding::NotThere,
                    _ => Finding::StillUnknown,
                })
            }
            Why::Elsewhere if failure.is_none() && doubt.day == Day::Own => {
                doubt.day = Day::Yesterday;
                None
            }
            why => Some(failure.map_or(Finding::NotThere, |failure| nothing_found(why, failure))),
        }
    }
}

/// What is known when a record could not be asked after.
fn nothing_found(why: &Why, failure: Option<GraphError>) -> Finding {
    match (why, failure) {
        (Why::Lost { .. } | Why::Recognised, _) => Finding::StillUnknown,
        // A service that does not search by marks cannot tell, and it is no reason not to write.
        (Why::Elsewhere, None | Some(GraphError::Refused(_))) => Finding::NotThere,
        (Why::Etag, None) => Finding::NotAsked(GraphError::BadAnswer {
            what: "the record has no @odata.etag, which its change needs".to_owned(),
        }),
        (Why::Elsewhere | Why::Etag, Some(error)) => Finding::NotAsked(error),
    }
}

async fn look(
    graph: Arc<GraphClient>,
    context: CallContext,
    marks: Marks,
    round: Vec<Doubt>,
) -> Vec<(Doubt, Look)> {
    // Every one was pushed with a question.
    let questions = round.iter().filter_map(|doubt| doubt.question(&marks)).collect();
    let answers = graph.batch(questions, &context).await;
    let judged = |(doubt, answer): (Doubt, Result<GraphAnswer, GraphError>)| {
        let look = judge(&doubt, answer, &marks);
        (doubt, look)
    };
    round.into_iter().zip(answers).map(judged).collect()
}

fn judge(doubt: &Doubt, answer: Result<GraphAnswer, GraphError>, marks: &Marks) -> Look {
    let deletion = doubt.request.method == http::Method::DELETE;
    let answer = match answer {
        Ok(answer) => answer,
        Err(GraphError::Refused(refusal)) if refusal.status == 404 && deletion => match doubt.why {
            Why::Etag => return Look::Failed(Some(GraphError::Refused(refusal))),
            _ => return Look::NotThere,
        },
        Err(error) => return Look::Failed(Some(error)),
    };
    let body: Value = serde_json::from_slice(&answer.body).unwrap_or_default();
    match doubt.why {
        Why::Etag => match body["@odata.etag"].as_str() {
            Some(etag) => Look::Etag(etag.to_owned()),
            None => Look::Failed(None),
        },
        _ if deletion => Look::There(String::new()),
        _ => match marks.found(doubt.index, &body, doubt.day).into_iter().next() {
            Some(id) => Look::There(id),
            // Rows without the mark mean that the service did not understand the filter, and a next link that there may be
            // more: neither proves that the record is not there.
            None if body["value"].as_array().is_some_and(Vec::is_empty)
                && body.get("@odata.nextLink").is_none() =>
            {
                Look::NotThere
            }
            None if doubt.day == Day::Yesterday => Look::NotThere,
            None => Look::Failed(None),
        },
    }
}
