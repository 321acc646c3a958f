//! One attempt at one request: a place in the lane, a token, the request, and the head of its answer. Holds the only
//! function that sets `Authorization`, which takes only a [`CheckedUrl`]. Never follows a redirect, never tries again.

use std::sync::Arc;
use std::time::Duration;

use http::HeaderValue;
use http::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, LOCATION};
use zeroize::Zeroizing;

use crate::clock::{Clock, Stopwatch};
use crate::error::clean_foreign_text;
use crate::token::{AccessToken, TokenGeneration, transport};

use super::body::{BodyReader, MarkedBody, SentMark, describe, has_no_body, was_not_taken};
use super::bounds::{Stop, bounded, time_left};
use super::checked_url::CheckedUrl;
use super::client::GraphClient;
use super::governor::{Cost, Pressure, Service, Slot, Wanted};
use super::refusal::{ERROR_BODY_LIMIT, claims_challenge, parse_refusal, request_id, wants_fresher_token};
use super::retry::{Happened, retry_after};
use super::settle::{Progress, is_write};
use super::{CallContext, GraphError, GraphRefusal, GraphRequest, ThrottleScope};

/// Longest wait for the rest of an error body: the status is known already, only the words are missing.
const ERROR_BODY_TIME: Duration = Duration::from_secs(5);

/// One request on its way, with where it goes and who waits for it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Call<'a> {
    pub(super) request: &'a GraphRequest,
    pub(super) url: &'a CheckedUrl,
    pub(super) context: &'a CallContext,
    /// Places it takes in its mailbox's lane: 1, or more for a batch whose parts run side by side.
    pub(super) slots: u32,
}

/// A 2xx answer whose body has not been read.
#[derive(Debug)]
pub(super) struct Opened {
    pub(super) response: reqwest::Response,
    pub(super) slot: Slot,
    /// The token it was got with.
    pub(super) token: TokenGeneration,
}

/// How one attempt ended.
pub(super) enum Outcome {
    Good(Opened),
    /// The content is at another address; only for a call that asks for one.
    Elsewhere {
        location: String,
        slot: Slot,
    },
    /// The token was refused; `claims` is the challenge that came with it.
    TokenRefused {
        seen: TokenGeneration,
        claims: Option<String>,
        refusal: GraphRefusal,
    },
    Failed {
        happened: Happened,
        what: String,
        refusal: Option<GraphRefusal>,
        slot: Slot,
    },
}

impl GraphClient {
    /// Waits for a token, and then for the call's turn. In this order, because a token can be long in coming (a store that
    /// somebody keeps locked, a token server that hangs), and a place that waits for one connection's token would hold up all
    /// others of the same mailbox, tenant or application.
    async fn turn(
        &self,
        call: Call<'_>,
        cost: Cost,
        progress: &Progress,
    ) -> Result<(Slot, Arc<AccessToken>), GraphError> {
        let context = call.context;
        let name = self.connection().name.as_str();
        let mut again = progress.attempts > 1;
        loop {
            let wanted = Wanted {
                connection: self.connection(),
                mailbox: call.request.mailbox.as_deref(),
                cost,
                places: call.slots,
                again,
            };
            let known = bounded(context, self.bearer().get(time_left(context))).await??;
            // The token says whose mailbox `/me` is, which the governor must know before it counts the request.
            if call.request.mailbox.is_some() {
                self.note_user(&known);
            }
            let waiting = self.metrics().graph_waiting(name);
            let slot = self.governor().enter(wanted, context).await?;
            drop(waiting);
            // It may have ended in the line; then a new one is waited for without the place.
            let Some(token) = self.bearer().current() else {
                again = true;
                continue;
            };
            // The gate has seen to this already, unless the governor had too many lanes to remember this one.
            let early = progress.not_before.filter(|earliest| *earliest > tokio::time::Instant::now());
            if slot.is_open() && early.is_none() {
                return Ok((slot, token));
            }
            drop(slot);
            if let Some(earliest) = early {
                bounded(context, tokio::time::sleep_until(earliest)).await?;
            }
            again = true;
        }
    }

    /// One attempt: a place in the lane, a token, one request, and the head of its answer.
    pub(super) async fn attempt(
        &self,
        call: Call<'_>,
        progress: &mut Progress,
    ) -> Result<Outcome, GraphError> {
        let context = call.context;
        let cost = Cost::of(call.request);
        let (slot, token) = self.turn(call, cost, progress).await?;
        let mark = SentMark::default();
        let mut request = self.authorised(call, &token, &mark)?;
        if cost.service == Service::Directory {
            let priority = if context.traffic.is_bulk() { "low" } else { "normal" };
            request.headers_mut().insert("x-ms-throttle-priority", HeaderValue::from_static(priority));
        }
        context.traffic.note_sent();
        let stopwatch = Clock::stopwatch();
        // The head may take as long as the whole answer: a large page is made before its first byte is sent.
        let http = self.http(progress.new_connection);
        let sent = tokio::time::timeout(self.connection().timeout, http.execute(request));
        let in_flight = self.metrics().graph_in_flight(self.connection().name.as_str());
        let answered = bounded(context, sent).await;
        drop(in_flight);
        let response = match answered {
            Err(stop) => {
                self.note(call, progress, &stopwatch, "no_answer", None);
                if mark.is_set() {
                    progress.note_unknown_outcome(call.request, stopped_while_waiting(stop));
                }
                return Err(stop.into());
            }
            Ok(Err(_)) => {
                self.note(call, progress, &stopwatch, "no_answer", None);
                let what = format!("no answer came within {} seconds", self.connection().timeout.as_secs());
                return Ok(Outcome::Failed {
                    happened: lost_unless(!mark.is_set()),
                    what,
                    refusal: None,
                    slot,
                });
            }
            Ok(Ok(Err(error))) if error.is_builder() => {
                return Err(GraphError::BadRequest { what: describe(error) });
            }
            Ok(Ok(Err(error))) => {
                self.note(call, progress, &stopwatch, "no_answer", None);
                let happened = match was_not_taken(&error) {
                    true => Happened::NotTaken,
                    false => lost_unless(error.is_connect() || !mark.is_set()),
                };
                let what = match transport::explain(&error, self.connection(), call.url.as_url()) {
                    // It becomes a part of a longer sentence.
                    Some(trouble) => trouble.message.trim_end_matches('.').to_owned(),
                    None => describe(error),
                };
                return Ok(Outcome::Failed { happened, what, refusal: None, slot });
            }
            Ok(Ok(Ok(response))) => response,
        };
        self.note(call, progress, &stopwatch, class(response.status()), Some(&response));
        slot.heard(&Pressure::of(response.headers()));
        if !is_overload(response.status()) {
            slot.succeeded();
        }
        if response.status().is_success() {
            return Ok(Outcome::Good(Opened { response, slot, token: token.generation }));
        }
        if progress.wants_content
            && response.status().is_redirection()
            && let Some(location) = response.headers().get(LOCATION).and_then(|value| value.to_str().ok())
        {
            return Ok(Outcome::Elsewhere { location: location.to_owned(), slot });
        }
        Ok(self.refused(call, response, token.generation, slot).await)
    }

    /// Reads what Graph says about an answer that is not 2xx.
    async fn refused(
        &self,
        call: Call<'_>,
        response: reqwest::Response,
        seen: TokenGeneration,
        slot: Slot,
    ) -> Outcome {
        let status = response.status().as_u16();
        let headers = response.headers().clone();
        if let Some(location) = headers.get(LOCATION).filter(|_| (300..400).contains(&status)) {
            tracing::warn!(connection = %self.connection().name, request_id = %call.context.request_id, status,
                location = %clean_foreign_text(&String::from_utf8_lossy(location.as_bytes())),
                "Graph answered with a redirect, which is never followed.");
        }
        let time = ERROR_BODY_TIME.min(self.connection().timeout);
        let body = BodyReader::new(response, ERROR_BODY_LIMIT, time).beginning(call.context).await;
        let mut refusal = parse_refusal(status, request_id(&headers), &body);
        if status == 407
            && let Some(trouble) = transport::refused_by_proxy(self.connection(), call.url.as_url())
        {
            (refusal.code, refusal.message) = (trouble.code.to_owned(), trouble.message);
        }
        if status == 401 || wants_fresher_token(&refusal) {
            return Outcome::TokenRefused { seen, claims: claims_challenge(&headers), refusal };
        }
        refusal.scope = ThrottleScope::of(&headers);
        let retry_after = retry_after(&headers, self.now());
        self.note_throttled(call.request, status, retry_after, &refusal);
        let what = format!("status {status} {}: {}", refusal.code, refusal.message);
        Outcome::Failed {
            happened: Happened::refused(&refusal, retry_after),
            what,
            refusal: Some(refusal),
            slot,
        }
    }

    /// The one place where the token is put on a request; the URL's type says that it was compared with the
    /// connection's origin.
    fn authorised(
        &self,
        call: Call<'_>,
        token: &AccessToken,
        mark: &SentMark,
    ) -> Result<reqwest::Request, GraphError> {
        let Call { request, url, context, .. } = call;
        let bad = |what: String| GraphError::BadRequest { what };
        let mut built = reqwest::Request::new(request.method.clone(), url.as_url().clone());
        let headers = built.headers_mut();
        headers.insert(ACCEPT, HeaderValue::from_static("application/json"));
        if let Ok(id) = HeaderValue::from_str(&context.request_id) {
            headers.insert("client-request-id", id);
        }
        for (name, value) in &request.headers {
            let name = http::HeaderName::from_bytes(name.as_bytes())
                .map_err(|_| bad(format!("'{name}' is not a header name")))?;
            if matches!(
                name.as_str(),
                "authorization" | "host" | "content-length" | "transfer-encoding" | "connection"
            ) {
                return Err(bad(format!("the header '{name}' belongs to the client")));
            }
            let value = HeaderValue::from_str(value).map_err(|_| {
                bad(format!("the value of header '{name}' has characters that no header can hold"))
            })?;
            headers.insert(name, value);
        }
        let bearer = Zeroizing::new(format!("Bearer {}", token.secret.expose()));
        let mut bearer = HeaderValue::from_str(&bearer).map_err(|_| {
            bad("the access token has characters that no header can hold; give a new one".to_owned())
        })?;
        bearer.set_sensitive(true);
        headers.insert(AUTHORIZATION, bearer);
        match &request.body {
            Some(body) if !body.is_empty() => {
                headers.entry(CONTENT_TYPE).or_insert(HeaderValue::from_static("application/json"));
                *built.body_mut() = Some(reqwest::Body::wrap(MarkedBody::new(body.clone(), mark.clone())));
            }
            // Nobody asks for an empty body, so such a request counts as sent from the start.
            _ => {
                mark.set();
                if is_write(request) {
                    has_no_body(&mut built);
                }
            }
        }
        Ok(built)
    }

    /// Counts and logs one attempt: the path without its query, never a token or a body.
    fn note(
        &self,
        call: Call<'_>,
        progress: &Progress,
        stopwatch: &Stopwatch,
        outcome: &'static str,
        response: Option<&reqwest::Response>,
    ) {
        self.metrics().graph_request(self.connection().name.as_str(), outcome);
        tracing::debug!(connection = %self.connection().name, method = %call.request.method, path = call.url.path(),
            status = response.map(|response| response.status().as_u16()), outcome,
            ms = stopwatch.elapsed().as_millis(), attempt = progress.attempts,
            request_id = %call.context.request_id,
            graph_request_id = response.and_then(|response| request_id(response.headers())),
            "Graph request.");
    }
}

/// Whether the answer says that there was no room for the request, rather than what became of it.
fn is_overload(status: http::StatusCode) -> bool {
    status == http::StatusCode::TOO_MANY_REQUESTS || status.is_server_error()
}

fn lost_unless(not_sent: bool) -> Happened {
    if not_sent { Happened::NotSent } else { Happened::Lost }
}

pub(super) fn stopped_while_waiting(stop: Stop) -> &'static str {
    match stop {
        Stop::Cancelled => "the run was cancelled before the answer came",
        Stop::Deadline => "the time limit passed before the answer came",
    }
}

/// The word for the metric.
fn class(status: http::StatusCode) -> &'static str {
    match status.as_u16() {
        200..=299 => "2xx",
        300..=399 => "3xx",
        400..=499 => "4xx",
        _ => "5xx",
    }
}
