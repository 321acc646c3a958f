//! The login port: the token endpoint, and `/admin` for processes that only have the port.
//! Never answers Graph requests.

use crate::answer::{Answer, Call, decode, decoded_pairs};
use crate::entra::errors::OAuthError;
use crate::faults::FaultAction;
use crate::http::Outcome;
use crate::state::{Shared, remember};
use crate::{admin, entra};
use serde_json::json;

/// Serves one request.
pub(crate) async fn serve(shared: &Shared, call: &Call) -> Outcome {
    let path = call.path().to_owned();
    if path.starts_with("/admin/") {
        return Outcome::Answer(admin::serve(shared, call));
    }
    if let Some(answer) = entra::identity::serve(shared, call) {
        return Outcome::Answer(answer);
    }
    let segments: Vec<String> = path.trim_matches('/').split('/').map(decode).collect();
    let names: Vec<&str> = segments.iter().map(String::as_str).collect();
    if let [tenant, "oauth2", "v2.0", name @ ("devicecode" | "authorize")] = names[..] {
        return Outcome::Answer(sign_in(shared, tenant, name, call));
    }
    let [tenant, "oauth2", "v2.0", "token"] = names[..] else {
        return Outcome::Answer(Answer::json(404, &json!({"error": "not_found"})));
    };
    if call.method != "POST" {
        let error =
            OAuthError::new(400, "invalid_request", 900_561, "The endpoint only accepts POST requests.");
        let mut state = shared.lock();
        let login_origin = state.login_origin.clone();
        return Outcome::Answer(error.answer(&mut state.fresh, None, &login_origin));
    }
    let fault = {
        let mut state = shared.lock();
        state.stats.token_posts += 1;
        remember(&mut state.token_requests, call);
        let fault = state.faults.take_for_token();
        state.count_fault(fault)
    };
    let answer = || entra::token::post(&mut shared.lock(), tenant, call);
    match fault {
        None | Some(FaultAction::NextLink(_) | FaultAction::ClaimsChallenge) => Outcome::Answer(answer()),
        Some(FaultAction::Delay(wait)) => {
            tokio::time::sleep(wait).await;
            Outcome::Answer(answer())
        }
        Some(FaultAction::CutBeforeAnswer) => {
            answer();
            Outcome::Cut
        }
        Some(FaultAction::CutMidBody(bytes)) => Outcome::CutAfter(answer(), bytes),
        Some(FaultAction::DropBeforeExecuting | FaultAction::CutUpload(_)) => Outcome::Cut,
        Some(FaultAction::StatusAfterExecuting { status }) => {
            answer();
            Outcome::Answer(Answer::empty(status))
        }
        Some(FaultAction::StatusThenExecuting { status, .. }) => Outcome::Answer(Answer::empty(status)),
        Some(FaultAction::Hang) => Outcome::Hang,
        Some(FaultAction::EndlessBody) => Outcome::Endless,
        Some(FaultAction::Garbage) => Outcome::Answer(garbage()),
        Some(FaultAction::Redirect { location, status }) => {
            Outcome::Answer(Answer::empty(status).with("location", location))
        }
        Some(FaultAction::Status { status, headers, body }) => {
            let mut planned = Answer::empty(status);
            planned.headers = headers;
            planned.body = body.into();
            shared.lock().stats.throttled += u64::from(status == 429);
            Outcome::Answer(planned)
        }
        Some(FaultAction::OAuthError { status, error, code, description, suberror, claims }) => {
            let planned = OAuthError { status, error, code, description, suberror, claims };
            let mut state = shared.lock();
            let login_origin = state.login_origin.clone();
            Outcome::Answer(planned.answer(&mut state.fresh, call.header("client-request-id"), &login_origin))
        }
    }
}

/// The two addresses where sign-ins begin.
fn sign_in(shared: &Shared, tenant: &str, name: &str, call: &Call) -> Answer {
    let mut state = shared.lock();
    let state = &mut *state;
    remember(&mut state.token_requests, call);
    let result = match (name, call.method.as_str()) {
        _ if !entra::token::is_known(state, tenant) => Err(OAuthError::unknown_tenant(tenant)),
        ("devicecode", "POST") => {
            let form = decoded_pairs(&String::from_utf8_lossy(&call.body));
            entra::sign_in::device_code(state, &form)
        }
        ("authorize", "GET") => {
            let query = call.target.split_once('?').map_or("", |(_, query)| query).to_owned();
            match state.sign_ins.browser_user.clone().map(|user| state.tenant.user(&user)) {
                None => return garbage(),
                Some(user) => entra::sign_in::authorize(state, &query, user)
                    .map(|location| Answer::empty(302).with("location", location)),
            }
        }
        _ => {
            Err(OAuthError::new(400, "invalid_request", 900_561, "The endpoint does not accept this method."))
        }
    };
    let login_origin = state.login_origin.clone();
    result.unwrap_or_else(|error| {
        error.answer(&mut state.fresh, call.header("client-request-id"), &login_origin)
    })
}

/// A page that a proxy or a sign-in portal might put in place of the service.
pub(crate) fn garbage() -> Answer {
    Answer::text(
        200,
        "text/html; charset=utf-8",
        "<!DOCTYPE html><html><head><title>Please sign in to the network</title></head><body>Welcome!</body></html>",
    )
}
