//! `$batch`: up to twenty requests in one, each with its own answer.
//! Never lets a part fail the others, except those that depend on it.

use super::access::{self, Principal};
use super::body;
use super::errors::GraphError;
use super::route::{self, Route};
use super::service::{planned, refused, single};
use crate::answer::{Answer, Call};
use crate::faults::FaultAction;
use crate::state::Shared;
use serde_json::{Map, Value, json};
use std::collections::HashMap;
use std::sync::Arc;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

/// The most parts of a batch.
const MOST_PARTS: usize = 20;
/// How many parts of one batch a mailbox works on at once.
const AT_ONCE: usize = 4;

/// One request of a batch.
#[derive(Debug, Clone)]
struct Part {
    id: String,
    call: Call,
    depends_on: Vec<String>,
    /// Why it is refused without being looked at any further.
    refusal: Option<GraphError>,
}

/// Carries out a batch.
pub(crate) async fn carry_out(
    shared: &Shared,
    call: &Call,
    principal: &Principal,
) -> Result<Answer, GraphError> {
    if call.method != "POST" {
        return Err(GraphError::method_not_allowed());
    }
    let parts = parts(call)?;
    shared.lock().stats.batch_parts += parts.len() as u64;
    let mut waiting = parts;
    let mut statuses: HashMap<String, u16> = HashMap::new();
    let mut responses: Vec<Value> = Vec::new();
    let mut limits: HashMap<String, Arc<Semaphore>> = HashMap::new();
    while !waiting.is_empty() {
        let (ready, blocked): (Vec<Part>, Vec<Part>) =
            waiting.into_iter().partition(|part| part.depends_on.iter().all(|id| statuses.contains_key(id)));
        waiting = blocked;
        let mut running: JoinSet<(String, Answer)> = JoinSet::new();
        for part in ready {
            let failed =
                part.depends_on.iter().any(|id| statuses.get(id).is_some_and(|status| *status >= 400));
            let mailbox = mailbox_of(shared, principal, &part.call);
            let limit = limits.entry(mailbox).or_insert_with(|| Arc::new(Semaphore::new(AT_ONCE)));
            let (shared, principal, limit) = (shared.clone(), principal.clone(), Arc::clone(limit));
            running.spawn(async move {
                // The semaphore is never closed; if it were, working without the limit would be right.
                let _turn = limit.acquire_owned().await;
                let arrival = shared.lock().throttle.arrived(
                    &part.call.method,
                    &part.call.target,
                    &part.call.body,
                    true,
                );
                let answer = one(&shared, &part, &principal, failed).await;
                let retry_after = answer.header("retry-after").map(str::to_owned);
                shared.lock().throttle.answered(arrival, answer.status, retry_after.as_deref());
                (part.id, answer)
            });
        }
        // Parts are answered in the order they finish, which need not be the order they came in.
        while let Some(finished) = running.join_next().await {
            if let Ok((id, answer)) = finished {
                statuses.insert(id.clone(), answer.status);
                responses.push(response(&id, &answer));
            }
        }
    }
    // The real service promises no order; turning it round keeps clients from relying on one.
    responses.reverse();
    Ok(Answer::json(200, &json!({"responses": responses})))
}

async fn one(shared: &Shared, part: &Part, principal: &Principal, dependency_failed: bool) -> Answer {
    if dependency_failed {
        let text = "The request was not carried out because one that it depends on failed.";
        return refused(shared, &part.call, &GraphError::new(424, "FailedDependency", text));
    }
    if let Some(refusal) = &part.refusal {
        return refused(shared, &part.call, refusal);
    }
    let fault = {
        let mut state = shared.lock();
        let fault = state.faults.take_for_batch_part(&part.call.target);
        state.count_fault(fault)
    };
    match fault {
        None => single(shared, &part.call, principal, None).await,
        Some(FaultAction::NextLink(link)) => single(shared, &part.call, principal, Some(link)).await,
        Some(FaultAction::Delay(wait)) => {
            tokio::time::sleep(wait).await;
            single(shared, &part.call, principal, None).await
        }
        Some(FaultAction::CutBeforeAnswer) => {
            single(shared, &part.call, principal, None).await;
            planned(shared, &part.call, FaultAction::CutBeforeAnswer)
        }
        Some(FaultAction::StatusAfterExecuting { status }) => {
            single(shared, &part.call, principal, None).await;
            let status = FaultAction::Status { status, headers: Vec::new(), body: String::new() };
            planned(shared, &part.call, status)
        }
        Some(FaultAction::StatusThenExecuting { status, after }) => {
            let (later, work, principal) = (shared.clone(), part.call.clone(), principal.clone());
            tokio::spawn(async move {
                tokio::time::sleep(after).await;
                single(&later, &work, &principal, None).await;
            });
            let status = FaultAction::Status { status, headers: Vec::new(), body: String::new() };
            planned(shared, &part.call, status)
        }
        Some(other) => planned(shared, &part.call, other),
    }
}

fn parts(call: &Call) -> Result<Vec<Part>, GraphError> {
    let invalid = |text: String| GraphError::bad_request(format!("Invalid batch payload format. {text}"));
    let envelope = body::object(call)?;
    let Some(Value::Array(requests)) = envelope.get("requests") else {
        return Err(invalid("The member 'requests' is missing.".to_owned()));
    };
    if requests.is_empty() {
        return Err(invalid("The batch is empty.".to_owned()));
    }
    if requests.len() > MOST_PARTS {
        let text = format!("Number of batch request steps exceeds the maximum value of {MOST_PARTS}.");
        return Err(GraphError::new(400, "BadRequest", text));
    }
    let mut parts: Vec<Part> = Vec::new();
    for request in requests {
        let part = part(call, request).map_err(&invalid)?;
        if parts.iter().any(|known| known.id == part.id) {
            return Err(invalid(format!("The id '{}' is not unique.", part.id)));
        }
        // Looking back only keeps rings from being written at all.
        if let Some(unknown) = part.depends_on.iter().find(|id| !parts.iter().any(|known| known.id == **id)) {
            return Err(invalid(format!(
                "The request '{}' depends on '{unknown}', which does not precede it.",
                part.id
            )));
        }
        parts.push(part);
    }
    if !is_supported_order(&parts) {
        let text = "A batch must be fully sequential, fully parallel, or wait for one and the same request.";
        return Err(invalid(text.to_owned()));
    }
    Ok(parts)
}

/// The service runs three orders: none waits, each waits for the one before, or all that wait wait for the same.
fn is_supported_order(parts: &[Part]) -> bool {
    let sequential = parts.windows(2).all(|pair| pair[1].depends_on == [pair[0].id.clone()]);
    let mut waiting = parts.iter().filter(|part| !part.depends_on.is_empty()).map(|part| &part.depends_on);
    let first = waiting.next();
    sequential || waiting.all(|depends_on| Some(depends_on) == first)
}

fn part(batch: &Call, request: &Value) -> Result<Part, String> {
    let text = |name: &str| request[name].as_str().filter(|text| !text.is_empty()).map(str::to_owned);
    let id = text("id").ok_or("A request has no id.")?;
    let method =
        text("method").ok_or_else(|| format!("The request '{id}' has no method."))?.to_ascii_uppercase();
    let url = text("url").ok_or_else(|| format!("The request '{id}' has no url."))?;
    if url.contains("://") {
        return Err(format!("The url of the request '{id}' must be relative."));
    }
    let mut headers: Vec<(String, String)> = request["headers"]
        .as_object()
        .into_iter()
        .flatten()
        .map(|(name, value)| (name.to_ascii_lowercase(), value.as_str().unwrap_or_default().to_owned()))
        .collect();
    let inherited = batch.headers.iter().filter(|(name, _)| name == "client-request-id");
    headers.extend(inherited.cloned());
    let body = match &request["body"] {
        Value::Null => Vec::new(),
        value => value.to_string().into_bytes(),
    };
    let content_type = headers.iter().any(|(name, _)| name == "content-type");
    let refusal = (!body.is_empty() && !content_type).then(|| {
        let text = "Write request id : content type header is required for requests with a body.";
        GraphError::bad_request(text.replace("id", &id))
    });
    let depends_on = request["dependsOn"].as_array().into_iter().flatten();
    let depends_on = depends_on.filter_map(|id| id.as_str().map(str::to_owned)).collect();
    let target = format!("/v1.0/{}", url.trim_start_matches('/'));
    Ok(Part { id, call: Call { method, target, headers, body: body.into() }, depends_on, refusal })
}

fn mailbox_of(shared: &Shared, principal: &Principal, call: &Call) -> String {
    let state = shared.lock();
    let route =
        route::parse(call.path()).ok().filter(|route| access::uses_mailbox(route) && *route != Route::Batch);
    route
        .and_then(|route| access::check(&state, principal, &route, &call.method).ok().flatten())
        .map_or_else(String::new, |user| user.id)
}

fn response(id: &str, answer: &Answer) -> Value {
    let mut headers = Map::new();
    for (name, value) in &answer.headers {
        // Inside a batch the service writes header names in their usual capitals.
        let name: Vec<String> =
            name.split('-').map(|word| word[..1].to_ascii_uppercase() + &word[1..]).collect();
        headers.insert(name.join("-"), value.as_str().into());
    }
    let mut response = json!({"id": id, "status": answer.status, "headers": headers});
    if !answer.body.is_empty() {
        let text = String::from_utf8_lossy(&answer.body);
        response["body"] =
            serde_json::from_slice(&answer.body).unwrap_or_else(|_| Value::from(text.as_ref()));
    }
    response
}
