//! Records that were sent and got no answer: looks whether they are there, before they are called unknown or sent again.
//! Never sends a write.

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::BoxFuture;
use futures_util::stream::{FuturesUnordered, StreamExt};
use serde_json::Value;
use tokio::time::Instant;

use super::mark::Marks;
use crate::graph::{CallContext, GraphClient, GraphError, GraphRequest};

/// How long after the first look the second one is: a request whose answer was lost may still be on its way through the
/// service, and a record that is not there yet would be made twice.
pub(super) const LOOK_AGAIN: Duration = Duration::from_secs(4);
/// Doubts that one round of questions takes.
const QUESTIONS_AT_ONCE: usize = 200;

/// A record whose outcome is not known.
#[derive(Debug)]
pub(super) struct Doubt {
    pub(super) index: usize,
    /// What was sent.
    pub(super) request: GraphRequest,
    /// What is known about it.
    pub(super) what: GraphError,
    question: GraphRequest,
    looks: u32,
    due: Instant,
}

/// What became of a record in doubt.
#[derive(Debug)]
pub(super) enum Finding {
    /// It is there, with this id.
    There(String),
    /// It was looked for twice and is not there.
    NotThere,
    /// It could not be found out.
    StillUnknown,
}

/// All records in doubt.
#[derive(Debug)]
pub(super) struct Doubts {
    graph: Arc<GraphClient>,
    context: CallContext,
    marks: Marks,
    waiting: Vec<Doubt>,
    looking: FuturesUnordered<BoxFuture<'static, Vec<(Doubt, Look)>>>,
    in_hand: usize,
}

/// What one look showed.
enum Look {
    There(String),
    NotThere,
    Failed,
}

impl Doubts {
    pub(super) fn new(graph: Arc<GraphClient>, context: CallContext, marks: Marks) -> Self {
        Self { graph, context, marks, waiting: Vec::new(), looking: FuturesUnordered::new(), in_hand: 0 }
    }

    /// Whether none is left.
    pub(super) fn is_empty(&self) -> bool {
        self.in_hand == 0
    }

    /// Takes a doubt in, or gives it back when there is no way to find out.
    pub(super) fn push(
        &mut self,
        index: usize,
        request: GraphRequest,
        what: GraphError,
    ) -> Result<(), GraphError> {
        let Some(question) = self.marks.question(index, &request) else { return Err(what) };
        if self.context.cancel.is_cancelled() || Instant::now() >= self.context.deadline {
            return Err(what);
        }
        self.waiting.push(Doubt { index, request, what, question, looks: 0, due: Instant::now() });
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
                    let given_up: Vec<_> = self.waiting.drain(..).map(|doubt| (doubt, Finding::StillUnknown)).collect();
                    self.in_hand -= given_up.len();
                    return Some(given_up);
                }
            }
        }
    }

    fn sort_out(&mut self, looked: Vec<(Doubt, Look)>) -> Vec<(Doubt, Finding)> {
        let mut found = Vec::new();
        for (mut doubt, look) in looked {
            doubt.looks += 1;
            let finding = match look {
                Look::There(id) => Finding::There(id),
                Look::Failed => Finding::StillUnknown,
                Look::NotThere if doubt.looks < 2 && doubt.request.method != http::Method::DELETE => {
                    doubt.due = Instant::now() + LOOK_AGAIN;
                    self.waiting.push(doubt);
                    continue;
                }
                Look::NotThere => Finding::NotThere,
            };
            self.in_hand -= 1;
            found.push((doubt, finding));
        }
        found
    }
}

async fn look(
    graph: Arc<GraphClient>,
    context: CallContext,
    marks: Marks,
    round: Vec<Doubt>,
) -> Vec<(Doubt, Look)> {
    let questions = round.iter().map(|doubt| doubt.question.clone()).collect();
    let answers = graph.batch(questions, &context).await;
    let judge = |(doubt, answer): (Doubt, Result<crate::graph::GraphAnswer, GraphError>)| {
        let deletion = doubt.request.method == http::Method::DELETE;
        let look = match answer {
            Ok(_) if deletion => Look::There(String::new()),
            Ok(answer) => {
                let body: Value = serde_json::from_slice(&answer.body).unwrap_or_default();
                match marks.found(doubt.index, &body).into_iter().next() {
                    Some(id) => Look::There(id),
                    // Rows without the mark mean that the service did not understand the filter, and a next link that
                    // there may be more: neither proves that the record is not there.
                    None if body["value"].as_array().is_some_and(Vec::is_empty)
                        && body.get("@odata.nextLink").is_none() =>
                    {
                        Look::NotThere
                    }
                    None => Look::Failed,
                }
            }
            Err(GraphError::Refused(refusal)) if deletion && refusal.status == 404 => Look::NotThere,
            Err(_) => Look::Failed,
        };
        (doubt, look)
    };
    round.into_iter().zip(answers).map(judge).collect()
}
