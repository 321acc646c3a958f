//! The Microsoft Graph client: one request, tried until it has an answer, a refusal or no time. What one try is stands in
//! `attempt.rs`, whether there is another in `retry.rs`. Never reads without bound.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use http::header::LOCATION;

use crate::clock::Clock;
use crate::connection::Connection;
use crate::telemetry::Metrics;
use crate::token::{AccessToken, HttpClients, TokenGeneration, TokenHandle, read_claims};

use super::attempt::{Call, Opened, Outcome, stopped_while_waiting};
use super::bearer::Bearer;
use super::body::{BodyFault, BodyReader};
use super::bounds::{bounded, time_left};
use super::checked_url::CheckedUrl;
use super::governor::{Cost, Governor};
use super::refusal::request_id;
use super::retry::{Attempt, Decision, Happened, decide, random_jitter, was_surely_not_done};
use super::settle::{Progress, final_error};
use super::{CallContext, GraphAnswer, GraphError, GraphRefusal, GraphRequest};

/// Where a call for a content ended.
#[derive(Debug)]
pub(super) enum Reached {
    /// Graph answers itself.
    Here(Box<Opened>),
    /// At the address in its `Location` header, unchecked.
    Elsewhere(String),
}

/// One connection's way to Microsoft Graph.
#[derive(Debug)]
pub struct GraphClient {
    connection: Arc<Connection>,
    bearer: Bearer,
    http: HttpClients,
    governor: Arc<Governor>,
    metrics: Arc<Metrics>,
    page_bytes: usize,
    clock: Clock,
    /// One more than the generation of the token whose user is known to the governor.
    known_user: AtomicU64,
}

impl GraphClient {
    /// A client for `connection`. The clients of `http` must not follow redirects; `page_bytes` bounds every answer after decompression.
    pub fn new(
        connection: Arc<Connection>,
        tokens: Arc<TokenHandle>,
        http: HttpClients,
        governor: Arc<Governor>,
        metrics: Arc<Metrics>,
        page_bytes: usize,
    ) -> Arc<Self> {
        Self::with_bearer(connection, Bearer::Handle(tokens), http, governor, metrics, page_bytes)
    }

    pub(super) fn with_bearer(
        connection: Arc<Connection>,
        bearer: Bearer,
        http: HttpClients,
        governor: Arc<Governor>,
        metrics: Arc<Metrics>,
        page_bytes: usize,
    ) -> Arc<Self> {
        Arc::new(Self {
            connection,
            bearer,
            http,
            governor,
            metrics,
            page_bytes,
            clock: Clock::machine(),
            known_user: AtomicU64::new(0),
        })
    }

    /// The connection it talks for.
    pub fn connection(&self) -> &Arc<Connection> {
        &self.connection
    }

    /// Sends one request and reads its whole answer, at most `page_bytes` of it. Repeats what may be repeated, within the
    /// deadline; waits as long as Graph asks for.
    ///
    /// # Errors
    /// [`GraphError`]. A write that was sent and then stopped, lost or timed out is [`GraphError::OutcomeUnknown`].
    pub async fn send(
        &self,
        request: GraphRequest,
        context: &CallContext,
    ) -> Result<GraphAnswer, GraphError> {
        self.exchange(&request, context, 1).await.map(|(answer, _)| answer)
    }

    /// As [`GraphClient::send`], for a request that takes `slots` places; also tells which token it was got with.
    pub(super) async fn exchange(
        &self,
        request: &GraphRequest,
        context: &CallContext,
        slots: u32,
    ) -> Result<(GraphAnswer, TokenGeneration), GraphError> {
        let url = CheckedUrl::below_root(&self.connection.endpoints.graph, &request.path)?;
        request.check_size()?;
        let call = Call { request, url: &url, context, slots };
        let mut progress = Progress::default();
        // Boxed: the future of one attempt is large, and callers hold several of them.
        let result = Box::pin(self.exchange_until_settled(call, &mut progress)).await;
        result.map_err(|error| progress.settle(error))
    }

    async fn exchange_until_settled(
        &self,
        call: Call<'_>,
        progress: &mut Progress,
    ) -> Result<(GraphAnswer, TokenGeneration), GraphError> {
        loop {
            let Opened { response, slot, token } = self.open(call, progress).await?;
            let status = response.status().as_u16();
            let location =
                response.headers().get(LOCATION).and_then(|value| value.to_str().ok()).map(str::to_owned);
            let request_id = request_id(response.headers());
            let body =
                BodyReader::new(response, self.page_bytes, self.connection.timeout).whole(call.context).await;
            drop(slot);
            let fault = match body {
                Ok(body) => {
                    self.note_mailbox(call.request, &body);
                    return Ok((GraphAnswer { status, body, location, request_id }, token));
                }
                Err(fault) => fault,
            };
            let what = match &fault {
                BodyFault::Lost(what) => what.clone(),
                BodyFault::TooLarge => format!("the answer is larger than {} bytes", self.page_bytes),
                BodyFault::Stopped(stop) => stopped_while_waiting(*stop).to_owned(),
            };
            progress
                .note_unknown_outcome(call.request, &format!("it was answered with {status}, but {what}"));
            match fault {
                BodyFault::Stopped(stop) => return Err(stop.into()),
                BodyFault::TooLarge => return Err(self.too_large()),
                BodyFault::Lost(_) => {
                    let lost = format!("the answer ({status}) broke off: {what}");
                    self.wait_to_repeat(call, progress, Happened::Lost, lost).await?;
                }
            }
        }
    }

    /// Tries until Graph answers 2xx. Waiting for the lane, for the token and between attempts is bounded by the call.
    ///
    /// # Errors
    /// As [`GraphClient::send`], not yet settled.
    pub(super) async fn open(&self, call: Call<'_>, progress: &mut Progress) -> Result<Opened, GraphError> {
        match self.reach(call, progress).await? {
            Reached::Here(opened) => Ok(*opened),
            Reached::Elsewhere(_) => {
                let what = "it redirects, and this request is not one for a content".to_owned();
                Err(GraphError::BadAnswer { what })
            }
        }
    }

    /// As [`GraphClient::open`]; for a call that asks for a content also until Graph says where it is.
    pub(super) async fn reach(&self, call: Call<'_>, progress: &mut Progress) -> Result<Reached, GraphError> {
        loop {
            progress.attempts += 1;
            match self.attempt(call, progress).await? {
                Outcome::Good(opened) => return Ok(Reached::Here(Box::new(opened))),
                Outcome::Elsewhere { location, slot } => {
                    drop(slot);
                    return Ok(Reached::Elsewhere(location));
                }
                Outcome::TokenRefused { refusal, .. } if progress.renewed => {
                    return Err(GraphError::Refused(refusal));
                }
                Outcome::TokenRefused { seen, claims, .. } => {
                    progress.renewed = true;
                    self.renew(seen, claims, call.context).await?;
                }
                Outcome::Failed { happened, what, refusal, slot } => {
                    let decision = self.decide(call, progress, happened);
                    if let (Happened::Answered { status: 429, .. }, Some(refusal)) = (happened, &refusal) {
                        self.close_gate(call.request, decision, refusal);
                    }
                    // Only now, so that nobody slips through between the answer and the closing of the gate; and before the
                    // wait, which must not hold a place.
                    drop(slot);
                    self.follow(call, progress, decision, happened, refusal, what).await?;
                }
            }
        }
    }

    /// Closes the gate that a 429 is about for as long as `decision` waits.
    pub(super) fn close_gate(&self, request: &GraphRequest, decision: Decision, refusal: &GraphRefusal) {
        // A part of a batch that was not tried, because another was refused, waits as long as that one and says nothing
        // itself.
        let (Decision::Again { after, .. } | Decision::NotNow { after }) = decision else { return };
        if refusal.status != 429 {
            return;
        }
        let (mailbox, service) = (request.mailbox.as_deref(), Cost::of(request).service);
        let longer = self.governor.close_gate(&self.connection, mailbox, service, after, refusal);
        let scope = refusal.scope.word(mailbox.is_some());
        self.metrics.gate_closed(self.connection.name.as_str(), scope, longer);
    }

    /// Counts an answer that says to wait.
    pub(super) fn note_throttled(
        &self,
        request: &GraphRequest,
        status: u16,
        retry_after: Option<Duration>,
        refusal: &GraphRefusal,
    ) {
        if status == 429 || (status == 503 && retry_after.is_some()) {
            let scope = refusal.scope.word(request.mailbox.is_some());
            self.metrics.throttled(self.connection.name.as_str(), scope);
        }
    }

    /// Asks for a token newer than the one Graph refused.
    pub(super) async fn renew(
        &self,
        seen: TokenGeneration,
        claims: Option<String>,
        context: &CallContext,
    ) -> Result<(), GraphError> {
        tracing::debug!(connection = %self.connection.name, generation = seen, claims = claims.is_some(),
            request_id = %context.request_id, "Graph refused the token; asking for a newer one.");
        bounded(context, self.bearer.renew(seen, claims, time_left(context))).await??;
        Ok(())
    }

    /// Waits for the next attempt, or says why there is none.
    pub(super) async fn wait_to_repeat(
        &self,
        call: Call<'_>,
        progress: &mut Progress,
        happened: Happened,
        what: String,
    ) -> Result<(), GraphError> {
        let decision = self.decide(call, progress, happened);
        self.follow(call, progress, decision, happened, None, what).await
    }

    fn decide(&self, call: Call<'_>, progress: &Progress, happened: Happened) -> Decision {
        let attempt = Attempt {
            effect: call.request.effect,
            number: progress.attempts,
            time_left: time_left(call.context),
            jitter: random_jitter(),
        };
        decide(attempt, happened)
    }

    async fn follow(
        &self,
        call: Call<'_>,
        progress: &mut Progress,
        decision: Decision,
        happened: Happened,
        refusal: Option<GraphRefusal>,
        what: String,
    ) -> Result<(), GraphError> {
        if !was_surely_not_done(happened) {
            progress.note_unknown_outcome(call.request, &what);
        }
        match decision {
            Decision::Again { after, new_connection } => {
                self.metrics.retried(self.connection.name.as_str());
                tracing::debug!(connection = %self.connection.name, request_id = %call.context.request_id,
                    attempt = progress.attempts, after_ms = after.as_millis(), what, "The Graph request is sent again.");
                progress.new_connection = new_connection;
                let earliest = tokio::time::Instant::now() + after;
                call.context.traffic.held_until(earliest);
                if matches!(happened, Happened::Answered { status: 429, .. }) {
                    // The wait is in the line, at its front: there everybody waits for the same gate.
                    progress.not_before = Some(earliest);
                } else {
                    bounded(call.context, tokio::time::sleep_until(earliest)).await?;
                }
                Ok(())
            }
            Decision::NotNow { after } => Err(match refusal {
                Some(refusal) => GraphError::NotNow { refusal, after },
                None => final_error(happened, what, None),
            }),
            Decision::GiveUp => Err(final_error(happened, what, refusal)),
        }
    }

    /// Tells the governor under which name the service knows the mailbox of this answer, which it says at the front
    /// (`@odata.context`): an object id, or a principal name.
    pub(super) fn note_mailbox(&self, request: &GraphRequest, beginning: &[u8]) {
        let Some(mailbox) = request.mailbox.as_deref().filter(|name| !name.starts_with("groups/")) else {
            return;
        };
        if let Some(name) = mailbox_in_context(beginning) {
            self.governor.is_same(&self.connection, mailbox, &name);
        }
    }

    /// Takes note that the user `name` has the object id `id`, so that requests under both names share the mailbox's limit.
    pub fn note_object_id(&self, name: &str, id: &str) {
        self.governor.is_same(&self.connection, name, id);
    }

    /// Tells the governor whose token it is, so that `me` counts with the other names of that mailbox.
    pub(super) fn note_user(&self, token: &AccessToken) {
        let known = token.generation.saturating_add(1);
        if !self.connection.is_delegated() || self.known_user.swap(known, Ordering::AcqRel) == known {
            return;
        }
        let claims = read_claims(token.secret.expose());
        let Some((id, account)) = claims.and_then(|claims| Some((claims.object_id?, claims.account))) else {
            return;
        };
        self.governor.is_same(&self.connection, "me", &id);
        if let Some(account) = account {
            self.governor.is_same(&self.connection, &account, &id);
        }
    }

    pub(super) fn too_large(&self) -> GraphError {
        let what = format!(
            "it is larger than {} bytes; lower the page size, ask for fewer columns or raise [Limits] PageBytes",
            self.page_bytes
        );
        GraphError::BadAnswer { what }
    }

    pub(super) fn page_bytes(&self) -> usize {
        self.page_bytes
    }

    /// The client for an attempt: one that makes a new connection where the last one led to a sick server.
    pub(super) fn http(&self, new_connection: bool) -> &reqwest::Client {
        if new_connection { &self.http.fresh } else { &self.http.pooled }
    }

    pub(super) fn bearer(&self) -> &Bearer {
        &self.bearer
    }

    pub(super) fn governor(&self) -> &Arc<Governor> {
        &self.governor
    }

    pub(super) fn metrics(&self) -> &Metrics {
        &self.metrics
    }

    pub(super) fn now(&self) -> crate::clock::Timestamp {
        self.clock.now()
    }
}

/// The name of the user in `…/$metadata#users('NAME')/messages…` at the front of an answer.
fn mailbox_in_context(beginning: &[u8]) -> Option<String> {
    const FRONT: usize = 512;
    let front = &beginning[..beginning.len().min(FRONT)];
    let start = memchr::memmem::find(front, b"$metadata#users('")? + b"$metadata#users('".len();
    let end = start + memchr::memmem::find(&front[start..], b"')/")?;
    let name = percent_encoding::percent_decode(&front[start..end]).decode_utf8().ok()?;
    (!name.is_empty()).then(|| name.into_owned())
}

#[cfg(test)]
#[path = "client_tests.rs"]
mod tests;
