//! The services that vouch for a machine: the metadata service of a virtual machine, App Service, Azure Arc, Azure Machine
//! Learning and Cloud Shell, each below a path of its own (Microsoft Learn, "Managed identities for Azure resources").
//! Never answers without the header that proves that the caller is on the machine.

use super::apps::App;
use crate::answer::{Answer, Call, decoded_pairs};
use crate::faults::FaultAction;
use crate::options::{APPLICATION_ROLES, CONFIDENTIAL_CLIENT_ID};
use crate::state::{Shared, State, remember};
use crate::time::now_seconds;
use serde_json::{Value, json};
use std::path::PathBuf;

/// The value that App Service's `IDENTITY_HEADER` and Azure Machine Learning's `MSI_SECRET` have here.
pub const IDENTITY_HEADER: &str = "6f1ab9d0-sandbox-identity-header";

/// Azure Arc's challenge: the file it names, and what must be in it.
#[derive(Debug, Clone)]
pub(crate) struct ArcChallenge {
    pub(crate) file: PathBuf,
    pub(crate) proof: String,
}

/// Answers when the path is one of these services'.
pub(crate) fn serve(shared: &Shared, call: &Call) -> Option<Answer> {
    let (service, path) = match call.path() {
        path @ "/metadata/identity/oauth2/token" => (Service::Imds, path),
        path @ "/msi/token" => (Service::WebApp, path),
        path @ "/arc/metadata/identity/oauth2/token" => (Service::Arc, path),
        path @ "/azureml/token" => (Service::AzureMl, path),
        path @ "/cloudshell/token" => (Service::CloudShell, path),
        _ => return None,
    };
    let mut state = shared.lock();
    remember(&mut state.identity_requests, call);
    if let Some(FaultAction::Status { status, headers, body }) = state.faults.take_for_token() {
        let mut planned = Answer::empty(status);
        (planned.headers, planned.body) = (headers, body.into());
        return Some(planned);
    }
    Some(answer(&mut state, service, call).unwrap_or_else(|(status, text)| {
        Answer::json(
            status,
            &json!({"error": "invalid_request", "error_description": format!("{text} ({path})")}),
        )
    }))
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Service {
    Imds,
    WebApp,
    Arc,
    AzureMl,
    CloudShell,
}

fn answer(state: &mut State, service: Service, call: &Call) -> Result<Answer, (u16, &'static str)> {
    let fields = match service {
        Service::CloudShell => decoded_pairs(&String::from_utf8_lossy(&call.body)),
        _ => decoded_pairs(call.query()),
    };
    let field = |name: &str| fields.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str());
    let (method, header, value, version, id_name) = match service {
        Service::Imds => ("GET", "metadata", "true", Some("2018-02-01"), "client_id"),
        Service::WebApp => ("GET", "x-identity-header", IDENTITY_HEADER, Some("2019-08-01"), "client_id"),
        Service::Arc => ("GET", "metadata", "true", Some("2020-06-01"), "client_id"),
        Service::AzureMl => ("GET", "secret", IDENTITY_HEADER, Some("2017-09-01"), "clientid"),
        Service::CloudShell => ("POST", "metadata", "true", None, "client_id"),
    };
    if call.method != method {
        return Err((405, "Method not allowed"));
    }
    if call.header(header) != Some(value) {
        return Err((
            if service == Service::WebApp { 403 } else { 400 },
            "Required metadata header not specified",
        ));
    }
    if call.header("x-forwarded-for").is_some() {
        return Err((403, "A proxied request is not from this machine"));
    }
    if version.is_some() && field("api-version") != version {
        return Err((400, "Bad api-version"));
    }
    let own = format!("{}/", state.graph_origin);
    let resource = field("resource").ok_or((400, "Missing parameter resource"))?;
    if format!("{}/", resource.trim_end_matches('/')) != own {
        // App Service is known for a vague 500 here.
        return Err((if service == Service::WebApp { 500 } else { 400 }, "Unknown resource"));
    }
    if field(id_name).is_some_and(|id| id != CONFIDENTIAL_CLIENT_ID) {
        return Err((400, "Identity not found"));
    }
    if service == Service::Arc
        && let Some(challenge) = state.arc_challenge.clone()
        && call.header("authorization") != Some(format!("Basic {}", challenge.proof).as_str())
    {
        let realm = format!("Basic realm={}", challenge.file.display());
        return Ok(Answer::empty(401).with("www-authenticate", realm));
    }
    Ok(token(state, service))
}

fn token(state: &mut State, service: Service) -> Answer {
    let roles: Vec<String> = APPLICATION_ROLES.iter().map(|role| (*role).to_owned()).collect();
    let lifetime = state.options.access_token_lifetime;
    let token = state.tokens.issue_access(
        &mut state.fresh,
        &state.options,
        App::Confidential,
        None,
        &roles,
        lifetime,
    );
    let seconds = i64::try_from(lifetime.as_secs()).unwrap_or(i64::MAX);
    let mut body = json!({
        "access_token": token,
        "expires_on": (now_seconds() + seconds).to_string(),
        "resource": state.graph_origin,
        "token_type": "Bearer",
        "client_id": CONFIDENTIAL_CLIENT_ID,
    });
    if matches!(service, Service::Imds | Service::Arc | Service::CloudShell) {
        // All numbers are strings here, and the refresh token is an empty one.
        body["expires_in"] = Value::from(seconds.to_string());
        body["refresh_token"] = Value::from("");
    }
    Answer::json(200, &body)
}
