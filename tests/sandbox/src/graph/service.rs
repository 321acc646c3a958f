//! One Graph request from arrival to outcome: faults, token, mailbox limit, latency, work.
//! Never knows what a resource is.

use super::access::{self, Principal};
use super::dispatch::{self, Context};
use super::errors::GraphError;
use super::route::Route;
use super::{batch, metadata, route};
use crate::answer::{Answer, Call};
use crate::data::tenant::UserFacts;
use crate::faults::{FaultAction, from_header};
use crate::http::Outcome;
use crate::login::garbage;
use crate::state::{Shared, State, remember};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;

/// Serves one request and records it.
pub(crate) async fn serve(shared: &Shared, call: Call) -> Outcome {
    let arrival = shared.lock().throttle.arrived(&call.method, &call.target, &call.body, false);
    let outcome = hit_or_answered(shared, call).await;
    let (status, retry_after) = match &outcome {
        Outcome::Answer(answer) => (answer.status, answer.header("retry-after").map(str::to_owned)),
        _ => (0, None),
    };
    shared.lock().throttle.answered(arrival, status, retry_after.as_deref());
    outcome
}

async fn hit_or_answered(shared: &Shared, call: Call) -> Outcome {
    let fault = {
        let mut state = shared.lock();
        state.stats.graph_requests += 1;
        remember(&mut state.graph_requests, &call);
        let asked = call.header("x-sandbox-fault").and_then(from_header);
        let fault = asked.or_else(|| state.faults.take_for_graph(&call.method, &call.target));
        state.count_fault(fault)
    };
    match fault {
        None => Outcome::Answer(answer(shared, &call, None).await),
        Some(FaultAction::NextLink(link)) => Outcome::Answer(answer(shared, &call, Some(link)).await),
        Some(FaultAction::Delay(wait)) => {
            tokio::time::sleep(wait).await;
            Outcome::Answer(answer(shared, &call, None).await)
        }
        Some(FaultAction::CutBeforeAnswer) => {
            answer(shared, &call, None).await;
            Outcome::Cut
        }
        Some(FaultAction::DropBeforeExecuting) => Outcome::Cut,
        Some(FaultAction::StatusAfterExecuting { status }) => {
            answer(shared, &call, None).await;
            let planned_status = FaultAction::Status { status, headers: Vec::new(), body: String::new() };
            Outcome::Answer(planned(shared, &call, planned_status))
        }
        Some(FaultAction::StatusThenExecuting { status, after }) => {
            let (later, work) = (shared.clone(), call.clone());
            tokio::spawn(async move {
                tokio::time::sleep(after).await;
                answer(&later, &work, None).await;
            });
            let planned_status = FaultAction::Status { status, headers: Vec::new(), body: String::new() };
            Outcome::Answer(planned(shared, &call, planned_status))
        }
        Some(FaultAction::CutMidBody(bytes)) => Outcome::CutAfter(answer(shared, &call, None).await, bytes),
        Some(FaultAction::Hang) => Outcome::Hang,
        Some(FaultAction::EndlessBody) => Outcome::Endless,
        Some(other) => Outcome::Answer(planned(shared, &call, other)),
    }
}

/// One request as a batch part or on its own, without faults.
pub(crate) async fn single(
    shared: &Shared,
    call: &Call,
    principal: &Principal,
    next_link: Option<String>,
) -> Answer {
    let (context, latency, _slot) = match admit(shared, call, principal, next_link) {
        Ok(admitted) => admitted,
        Err(error) => return refused(shared, call, &error),
    };
    if !latency.is_zero() {
        tokio::time::sleep(latency).await;
    }
    let result = carry_out(shared, call, &context);
    match result {
        Ok(answer) => finished(call, &context, answer),
        Err(error) => refused(shared, call, &error),
    }
}

fn carry_out(shared: &Shared, call: &Call, context: &Context) -> Result<Answer, GraphError> {
    let mut state = shared.lock();
    let answer = dispatch::carry_out(&mut state, call, context)?;
    state.stats.rows_sent += answer.rows;
    let request_id = state.fresh.guid();
    Ok(answer.with("request-id", request_id))
}

/// The answer of a fault that stands in for the work.
pub(crate) fn planned(shared: &Shared, call: &Call, fault: FaultAction) -> Answer {
    match fault {
        FaultAction::Status { status, headers, body } if body.is_empty() && status >= 400 => {
            let (code, message) = match status {
                401 => ("InvalidAuthenticationToken", "Access token has expired or is not yet valid."),
                403 => ("ErrorAccessDenied", "Access is denied. Check credentials and try again."),
                404 => ("ErrorItemNotFound", "The specified object was not found in the store."),
                412 => ("ErrorIrresolvableConflict", "The change key does not match."),
                429 => ("TooManyRequests", "Too many requests."),
                503 => ("ServiceUnavailable", "The service is temporarily unavailable."),
                504 => ("GatewayTimeout", "The gateway did not get an answer in time."),
                _ => ("generalException", "An unspecified error has occurred."),
            };
            let mut error = GraphError::new(status, code, message);
            error.headers = headers;
            refused(shared, call, &error)
        }
        FaultAction::Status { status, headers, body } => {
            let mut answer = Answer::empty(status);
            answer.headers = headers;
            answer.body = body.into();
            count_refusal(shared, status);
            answer
        }
        FaultAction::OAuthError { status, error, description, .. } => {
            refused(shared, call, &GraphError::new(status, &error, description))
        }
        FaultAction::ClaimsChallenge => {
            let claims =
                STANDARD.encode(r#"{"access_token":{"nbf":{"essential":true,"value":"1795194000"}}}"#);
            let header = format!(
                "Bearer realm=\"\", authorization_uri=\"https://login.microsoftonline.com/common/oauth2/authorize\", client_id=\"00000003-0000-0000-c000-000000000000\", error=\"insufficient_claims\", claims=\"{claims}\""
            );
            let text = "Continuous access evaluation resulted in challenge with result: InteractionRequired and code: TokenIssuedBeforeRevocationTimestamp";
            let error =
                GraphError::new(401, "InvalidAuthenticationToken", text).with("www-authenticate", header);
            refused(shared, call, &error)
        }
        FaultAction::Garbage => garbage(),
        FaultAction::Redirect { location, status } => Answer::empty(status).with("location", location),
        // The others do not stand in for the work; a batch part has no connection of its own to cut.
        _ => refused(
            shared,
            call,
            &GraphError::new(504, "GatewayTimeout", "The gateway did not get an answer in time."),
        ),
    }
}

/// Writes a refusal and counts it.
pub(crate) fn refused(shared: &Shared, call: &Call, error: &GraphError) -> Answer {
    count_refusal(shared, error.status);
    let answer = error.answer(&mut shared.lock().fresh, call.header("client-request-id"));
    echo(call, answer)
}

/// The largest JSON body ("Known issues with Microsoft Graph", on the size of requests).
const LARGEST_JSON: usize = 4 * 1024 * 1024;

async fn answer(shared: &Shared, call: &Call, next_link: Option<String>) -> Answer {
    let json = call.header("content-type").is_some_and(|kind| kind.starts_with("application/json"));
    if json && call.body.len() > LARGEST_JSON {
        let error = GraphError::new(413, "RequestEntityTooLarge", "The request is larger than 4 MB.");
        return refused(shared, call, &error);
    }
    if let Some(answer) = metadata::asked_for(call) {
        return answer;
    }
    // The lock must be free again before a refusal is written, so its guard ends with this statement.
    let principal = access::principal(&shared.lock(), call);
    let principal = match principal {
        Ok(principal) => principal,
        Err(error) => return refused(shared, call, &error),
    };
    if matches!(route::parse(call.path()), Ok(route::Route::Batch)) {
        return match batch::carry_out(shared, call, &principal).await {
            Ok(answer) => {
                let request_id = shared.lock().fresh.guid();
                echo(call, answer).with("request-id", request_id)
            }
            Err(error) => refused(shared, call, &error),
        };
    }
    single(shared, call, &principal, next_link).await
}

fn admit(
    shared: &Shared,
    call: &Call,
    principal: &Principal,
    next_link: Option<String>,
) -> Result<(Context, std::time::Duration, Option<Slot>), GraphError> {
    let mut state = shared.lock();
    let route = route::parse(call.path())?;
    let user = access::check(&state, principal, &route, &call.method)?;
    check_rates(&mut state, &route, user.as_ref(), call)?;
    let mut slot = None;
    if let Some(user) = user.as_ref().filter(|_| access::uses_mailbox(&route)) {
        let limit = state.options.mailbox_concurrency;
        let enforced = state.options.enforce_mailbox_concurrency;
        let in_work = state.in_work.entry(user.id.clone()).or_insert(0);
        if enforced && *in_work >= limit {
            let text = "Application is over its MailboxConcurrency limit.";
            return Err(GraphError::new(429, "ApplicationThrottled", text).with("retry-after", "1"));
        }
        *in_work += 1;
        let now = *in_work as u64;
        state.stats.max_concurrent_per_mailbox = state.stats.max_concurrent_per_mailbox.max(now);
        slot = Some(Slot { shared: shared.clone(), mailbox: user.id.clone() });
    }
    let latency = state.options.page_latency;
    let mut context = Context::new(call, route, user, next_link);
    context.asker = principal.user.clone();
    Ok((context, latency, slot))
}

/// Refuses what is over a limit, with the time after which it would not be.
fn check_rates(
    state: &mut State,
    route: &Route,
    user: Option<&UserFacts>,
    call: &Call,
) -> Result<(), GraphError> {
    if let Some(limit) = state.options.tenant_rate {
        state.throttle.count("tenant", 1, limit).map_err(|seconds| {
            GraphError::new(429, "TooManyRequests", "Too many requests.")
                .with("retry-after", seconds.to_string())
        })?;
    }
    if let Some((limit, user)) = state.options.mailbox_rate.zip(user.filter(|_| access::uses_mailbox(route)))
    {
        state.throttle.count(&user.id, 1, limit).map_err(|seconds| {
            let text = "Application is over its RequestRate limit.";
            GraphError::new(429, "ApplicationThrottled", text).with("retry-after", seconds.to_string())
        })?;
    }
    if let Some((limit, units)) = state.options.directory_units.zip(resource_units(route, call)) {
        state.throttle.count("directory", units, limit).map_err(|seconds| {
            GraphError::new(429, "TooManyRequests", "Too many requests.")
                .with("retry-after", seconds.to_string())
                .with("x-ms-throttle-scope", "Tenant_Application/ReadWrite/sandbox/sandbox")
                .with("x-ms-throttle-information", "ResourceUnitLimitExceeded")
        })?;
    }
    Ok(())
}

/// What a directory request costs (Microsoft Graph service-specific throttling limits, identity and access).
fn resource_units(route: &Route, call: &Call) -> Option<u32> {
    let base = match route {
        Route::Users => 2,
        Route::User(_) | Route::UsersCount => 1,
        Route::Resource(path) if path.place.rule.directory() => 2,
        _ => return None,
    };
    let pairs = crate::answer::decoded_pairs(call.query());
    let has =
        |name: &str| pairs.iter().find(|(known, _)| known.eq_ignore_ascii_case(name)).map(|(_, value)| value);
    let small = has("$top").and_then(|top| top.parse::<u32>().ok()).is_some_and(|top| top < 20);
    let cost =
        base + i32::from(has("$expand").is_some()) - i32::from(has("$select").is_some()) - i32::from(small);
    Some(cost.max(1) as u32)
}

fn finished(call: &Call, context: &Context, mut answer: Answer) -> Answer {
    if let Some(units) = resource_units(&context.route, call) {
        answer = answer.with("x-ms-resource-unit", units.to_string());
    }
    if let Some(applied) = context.prefer.applied() {
        answer = answer.with("preference-applied", applied);
    }
    echo(call, answer)
}

fn echo(call: &Call, mut answer: Answer) -> Answer {
    if let Some(id) = call.header("client-request-id") {
        answer = answer.with("client-request-id", id);
    }
    answer
}

fn count_refusal(shared: &Shared, status: u16) {
    let mut state = shared.lock();
    state.stats.throttled += u64::from(status == 429);
    state.stats.unauthorized += u64::from(status == 401);
}

/// One of the requests that a mailbox may have in work.
struct Slot {
    shared: Shared,
    mailbox: String,
}

impl Drop for Slot {
    fn drop(&mut self) {
        if let Some(in_work) = self.shared.lock().in_work.get_mut(&self.mailbox) {
            *in_work -= 1;
        }
    }
}
