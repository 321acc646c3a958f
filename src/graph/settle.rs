//! What a call knows about itself while it is tried again and again, and the last word on its error: a write that may
//! have been done never ends as "cancelled", "late" or "unreachable". Never decides whether to repeat.

use super::retry::Happened;
use super::{GraphError, GraphRefusal, GraphRequest};

/// One call's memory over its attempts.
#[derive(Debug, Default)]
pub(super) struct Progress {
    /// Attempts so far.
    pub(super) attempts: u32,
    /// Whether a newer token was already asked for because Graph refused one.
    pub(super) renewed: bool,
    /// Whether the next attempt makes a connection of its own, because the last one led to a sick server.
    pub(super) new_connection: bool,
    /// Whether the call asks for a content, which Graph may answer with a redirect to a pre-signed address.
    pub(super) wants_content: bool,
    /// When Graph lets this call be repeated. The governor keeps everybody else to it as well.
    pub(super) not_before: Option<tokio::time::Instant>,
    /// Set when a write may have been done: by which attempt, and what happened to it.
    maybe_done: Option<(u32, String)>,
}

impl Progress {
    /// For a call that asks for a content.
    pub(super) fn for_content() -> Self {
        Self { wants_content: true, ..Self::default() }
    }

    /// A write may have been done: it was sent, and its outcome is not known.
    pub(super) fn note_unknown_outcome(&mut self, request: &GraphRequest, what: &str) {
        if is_write(request) {
            self.maybe_done = Some((self.attempts, what.to_owned()));
        }
    }

    /// The error as the caller must see it.
    pub(super) fn settle(&self, error: GraphError) -> GraphError {
        match (&self.maybe_done, error) {
            (None, error) | (Some(_), error @ GraphError::OutcomeUnknown { .. }) => error,
            // The one refusal that proves something: an attempt before it made the event.
            (Some(_), GraphError::Refused(refusal)) if refusal.is_known_transaction() => {
                GraphError::Refused(GraphRefusal { after_lost_answer: true, ..refusal })
            }
            (Some((attempt, what)), _) if *attempt == self.attempts => {
                GraphError::OutcomeUnknown { what: what.clone() }
            }
            // The repeat of a DELETE finds nothing, and the repeat of a PATCH with If-Match finds another ETag, just because
            // the first one was done: such a refusal proves nothing either.
            (Some((_, what)), error) => {
                GraphError::OutcomeUnknown { what: format!("{what}; and then: {error}") }
            }
        }
    }
}

/// Whether the request can change something at Graph.
pub(super) fn is_write(request: &GraphRequest) -> bool {
    !matches!(request.method, http::Method::GET | http::Method::HEAD)
}

/// The error for an attempt that is not repeated.
pub(super) fn final_error(happened: Happened, what: String, refusal: Option<GraphRefusal>) -> GraphError {
    match (happened, refusal) {
        (Happened::Answered { status: 300..=399, .. }, _) => GraphError::BadAnswer {
            what: format!("it redirects ({what}), and a token is never sent after a redirect"),
        },
        (_, Some(refusal)) => GraphError::Refused(refusal),
        (_, None) => GraphError::Unreachable { what },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::graph::Effect;

    fn request(method: http::Method) -> GraphRequest {
        GraphRequest {
            method,
            path: String::new(),
            headers: Vec::new(),
            body: None,
            mailbox: None,
            effect: Effect::Once,
        }
    }

    #[test]
    fn a_write_that_may_have_been_done_never_ends_as_something_else() {
        let gone = || GraphError::Refused(GraphRefusal { status: 404, ..GraphRefusal::default() });
        for error in [
            GraphError::Cancelled,
            GraphError::Deadline,
            gone(),
            GraphError::Unreachable { what: "x".into() },
        ] {
            for (method, unknown) in
                [(http::Method::GET, false), (http::Method::POST, true), (http::Method::DELETE, true)]
            {
                let mut progress = Progress { attempts: 1, ..Progress::default() };
                assert!(!matches!(progress.settle(error.clone()), GraphError::OutcomeUnknown { .. }));
                progress.note_unknown_outcome(&request(method), "broken");
                assert_eq!(
                    matches!(progress.settle(error.clone()), GraphError::OutcomeUnknown { .. }),
                    unknown,
                    "{error}"
                );
                progress.attempts = 2;
                let told = progress.settle(error.clone());
                assert_eq!(
                    matches!(&told, GraphError::OutcomeUnknown { what } if what.contains("broken; and then: ")),
                    unknown
                );
            }
        }
        let mut progress = Progress { attempts: 1, ..Progress::default() };
        progress.note_unknown_outcome(&request(http::Method::POST), "broken");
        progress.attempts = 2;
        let code = "ErrorDuplicateTransactionId".to_owned();
        let known = GraphError::Refused(GraphRefusal { status: 400, code, ..GraphRefusal::default() });
        assert!(
            matches!(progress.settle(known), GraphError::Refused(refusal) if refusal.after_lost_answer),
            "the service knows the repeat, so the first one was done"
        );
    }
}
