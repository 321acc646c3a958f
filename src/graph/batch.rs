//! One `$batch` call: up to 20 parts, each with its own answer, wait and verdict. Never decides which parts go into a call
//! (`bulk.rs` does) and never sends a part again by itself.

use std::time::Duration;

use bytes::Bytes;
use futures_util::future::join_all;
use http::Method;
use tokio::time::Instant;

use super::batch_parts::{Part, PartAnswer, parse_answer, write_call};
use super::bounds::time_left;
use super::checked_url::CheckedUrl;
use super::client::GraphClient;
use super::governor::Governor;
use super::refusal::{claims_challenge, parse_refusal, request_id, wants_fresher_token};
use super::retry::{Attempt, Decision, Happened, decide, random_jitter, retry_after, was_surely_not_done};
use super::settle::final_error;
use super::{CallContext, Effect, GraphAnswer, GraphError, GraphRefusal, GraphRequest, ThrottleScope};
use crate::token::TokenGeneration;

/// Most parts of one call (Graph, "Combine multiple HTTP requests using JSON batching").
pub(super) const PARTS_PER_CALL: usize = 20;
/// What a part takes in a call beside its body, path and headers: its id, the one it waits for, names and quotes.
const PART_OVERHEAD: usize = 256;
/// Most bytes of parts in one call. Graph takes 4 MiB a request; the rest is for escapes in headers.
const BYTES_PER_CALL: usize = 3 * 1024 * 1024;

pub(super) type PartResult = Result<GraphAnswer, GraphError>;

/// How Graph runs the parts of a call ("Combine multiple HTTP requests using JSON batching", section on sequencing).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Order {
    /// All at once, as many as the service likes: four at a time in a mailbox.
    SideBySide,
    /// Each waits for the one before it (`dependsOn`), so the call takes one place of its mailbox; after a part that
    /// failed the others answer 424 without having been tried.
    OneByOne,
}

impl GraphClient {
    /// A part must pass the same checks as a request of its own, because Graph resolves its URL with our token.
    pub(super) fn check_part(&self, request: &GraphRequest) -> Result<(), GraphError> {
        CheckedUrl::below_root(&self.connection().endpoints.graph, &request.path)?;
        request.check_size()?;
        match &request.body {
            Some(body) if serde_json::from_slice::<serde::de::IgnoredAny>(body).is_err() => {
                Err(GraphError::BadRequest { what: "its body is not JSON".to_owned() })
            }
            _ => Ok(()),
        }
    }

    /// One call, and what it means for each part.
    pub(super) async fn call(
        &self,
        parts: Vec<Part>,
        order: Order,
        context: &CallContext,
    ) -> Vec<(Part, Verdict)> {
        if let [_] = parts[..] {
            let only = parts.into_iter().map(|part| async {
                let answer = self.send(part.request.clone(), context).await;
                (part, Verdict::Done(answer))
            });
            return join_all(only).await;
        }
        let body = match write_call(&parts, order) {
            Ok(body) => body,
            Err(error) => {
                let error =
                    GraphError::BadRequest { what: format!("a part cannot be written as JSON ({error})") };
                return self.whole_call_failed(parts, &error, Moment::of(context));
            }
        };
        let request = GraphRequest {
            method: Method::POST,
            path: "$batch".to_owned(),
            headers: Vec::new(),
            body: Some(body),
            mailbox: parts[0].request.mailbox.clone(),
            // Never repeated as a whole: which parts may be repeated is decided part by part.
            effect: Effect::Once,
        };
        let lane = Governor::capacity(self.connection(), request.mailbox.as_deref());
        // Directory parts are counted by rate, so such a call takes one place; in a mailbox each part that runs is counted.
        let slots = match (&request.mailbox, order) {
            (Some(_), Order::SideBySide) => lane.min(u32::try_from(parts.len()).unwrap_or(lane)),
            _ => 1,
        };
        let (answers, token) = match self.exchange(&request, context, slots).await {
            Ok((answer, token)) => (parse_answer(&answer.body), token),
            Err(error) => return self.whole_call_failed(parts, &error, Moment::of(context)),
        };
        let mut answers = match answers {
            Ok(answers) => answers,
            Err(what) => {
                let error = GraphError::OutcomeUnknown { what };
                return self.whole_call_failed(parts, &error, Moment::of(context));
            }
        };
        let moment = Moment::of(context);
        let mut verdicts = Vec::with_capacity(parts.len());
        let mut refused_token = None;
        let mut broken_off = false;
        for mut part in parts {
            let verdict = match answers.remove(&part.index) {
                // Not tried, because one before it failed: that says nothing about this one.
                Some(answer) if answer.status == 424 && broken_off => {
                    part.progress.attempts = part.progress.attempts.saturating_sub(1);
                    Verdict::Again(moment.now)
                }
                Some(answer) => {
                    broken_off |= order == Order::OneByOne && answer.status >= 300;
                    self.judge(&mut part, answer, moment, &mut refused_token)
                }
                None => self.lost(&mut part, "the batch answer leaves this part out", moment),
            };
            verdicts.push((part, verdict));
        }
        if let Some(claims) = refused_token {
            self.renew_for_parts(token, claims, &mut verdicts, context).await;
        }
        let due = |verdict: &(Part, Verdict)| match verdict.1 {
            Verdict::Again(due) => Some(due),
            Verdict::Done(_) => None,
        };
        if let Some(latest) = verdicts.iter().filter_map(due).max() {
            context.traffic.held_until(latest);
        }
        verdicts
    }

    /// No part has an answer of its own.
    fn whole_call_failed(
        &self,
        parts: Vec<Part>,
        error: &GraphError,
        moment: Moment,
    ) -> Vec<(Part, Verdict)> {
        let judge = |mut part: Part| {
            let verdict = match error {
                GraphError::OutcomeUnknown { what } => self.lost(&mut part, what, moment),
                error => Verdict::Done(Err(error.clone())),
            };
            (part, verdict)
        };
        parts.into_iter().map(judge).collect()
    }

    /// The part was sent, and what became of it is not known.
    fn lost(&self, part: &mut Part, what: &str, moment: Moment) -> Verdict {
        part.progress.note_unknown_outcome(&part.request, what);
        self.repeat_or(part, Happened::Lost, what.to_owned(), None, moment)
    }

    fn judge(
        &self,
        part: &mut Part,
        answer: PartAnswer,
        moment: Moment,
        refused_token: &mut Option<Option<String>>,
    ) -> Verdict {
        let PartAnswer { status, body, .. } = &answer;
        if (200..300).contains(status) {
            return Verdict::Done(Ok(answer.into_answer()));
        }
        let mut refusal = parse_refusal(*status, request_id(answer.headers()), body);
        refusal.scope = ThrottleScope::of(answer.headers());
        tracing::debug!(connection = %self.connection().name, status, code = %refusal.code,
            attempt = part.progress.attempts, "Graph refused a part of a batch.");
        if (*status == 401 || wants_fresher_token(&refusal)) && !part.progress.renewed {
            part.progress.renewed = true;
            refused_token.get_or_insert_with(|| None);
            *refused_token =
                refused_token.take().map(|claims| claims.or_else(|| claims_challenge(answer.headers())));
            return Verdict::Again(moment.now);
        }
        let what = format!("status {status} {}: {}", refusal.code, refusal.message);
        let retry_after = retry_after(answer.headers(), self.now());
        self.note_throttled(&part.request, *status, retry_after, &refusal);
        // 424: another part was not done and this one was not tried. It fares as if Graph had said "later".
        let happened = match *status {
            424 => Happened::Answered { status: 429, retry_after },
            _ => Happened::refused(&refusal, retry_after),
        };
        if !was_surely_not_done(happened) {
            part.progress.note_unknown_outcome(&part.request, &what);
        }
        self.repeat_or(part, happened, what, Some(refusal), moment)
    }

    fn repeat_or(
        &self,
        part: &Part,
        happened: Happened,
        what: String,
        refusal: Option<GraphRefusal>,
        moment: Moment,
    ) -> Verdict {
        let attempt = Attempt {
            effect: part.request.effect,
            number: part.progress.attempts,
            time_left: moment.time_left,
            jitter: moment.jitter,
        };
        let decision = decide(attempt, happened);
        if let (Happened::Answered { status: 429, .. }, Some(refusal)) = (happened, &refusal) {
            self.close_gate(&part.request, decision, refusal);
        }
        match (decision, refusal) {
            (Decision::Again { after, .. }, _) => {
                self.metrics().retried(self.connection().name.as_str());
                Verdict::Again(moment.now + after)
            }
            (Decision::NotNow { after }, Some(refusal)) => {
                Verdict::Done(Err(GraphError::NotNow { refusal, after }))
            }
            (_, refusal) => Verdict::Done(Err(final_error(happened, what, refusal))),
        }
    }

    /// Some parts met an old token: one renewal for all of them. Without a new token they end with that error.
    async fn renew_for_parts(
        &self,
        seen: TokenGeneration,
        claims: Option<String>,
        verdicts: &mut [(Part, Verdict)],
        context: &CallContext,
    ) {
        let Err(error) = self.renew(seen, claims, context).await else { return };
        for (part, verdict) in verdicts {
            if part.progress.renewed && matches!(verdict, Verdict::Again(_)) {
                *verdict = Verdict::Done(Err(error.clone()));
            }
        }
    }
}

/// What all parts of one call share when they are judged: the time and the dice, so that parts that failed alike are
/// due together and go into one call again.
#[derive(Clone, Copy, Debug)]
struct Moment {
    now: Instant,
    time_left: Duration,
    jitter: f64,
}

impl Moment {
    fn of(context: &CallContext) -> Self {
        Self { now: Instant::now(), time_left: time_left(context), jitter: random_jitter() }
    }
}

/// What follows for a part.
#[derive(Debug)]
pub(super) enum Verdict {
    Done(PartResult),
    Again(Instant),
}

/// How many of `parts`, from the first, fit into one call.
pub(super) fn one_call<'p>(parts: impl Iterator<Item = &'p Part>) -> usize {
    let mut bytes = 0;
    let fitting = parts.take(PARTS_PER_CALL).take_while(|part| {
        let GraphRequest { body, path, headers, .. } = &part.request;
        let in_headers = headers.iter().map(|(name, value)| name.len() + value.len()).sum::<usize>();
        bytes += body.as_ref().map_or(0, Bytes::len) + path.len() + in_headers + PART_OVERHEAD;
        bytes <= BYTES_PER_CALL
    });
    fitting.count().max(1)
}
