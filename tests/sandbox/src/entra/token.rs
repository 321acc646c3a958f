//! The token endpoint: reads the form, finds tenant, application and grant, and writes the answer.
//! Never knows how a grant works; those are in `grants`.

use super::apps::{Form, authenticate, field};
use super::errors::OAuthError;
use super::grants::{self, Granted};
use super::sign_in;
use crate::answer::{Answer, Call, decoded_pairs};
use crate::state::State;
use serde_json::{Value, json};

/// Answers a post to `/{tenant}/oauth2/v2.0/token`.
pub(crate) fn post(state: &mut State, tenant: &str, call: &Call) -> Answer {
    let form = decoded_pairs(&String::from_utf8_lossy(&call.body));
    let result = grant(state, tenant, call, &form);
    let correlation_id = call.header("client-request-id").map(str::to_owned);
    match result {
        Ok(granted) => {
            state.stats.tokens_issued += 1;
            success(state, &granted)
        }
        Err(error) => {
            let login_origin = state.login_origin.clone();
            error.answer(&mut state.fresh, correlation_id.as_deref(), &login_origin)
        }
    }
}

fn grant(state: &mut State, tenant: &str, call: &Call, form: &Form) -> Result<Granted, OAuthError> {
    let content_type = call.header("content-type").unwrap_or_default().to_ascii_lowercase();
    if !content_type.starts_with("application/x-www-form-urlencoded") {
        // The service looks for its fields in a form only, so it finds the first one missing.
        return Err(OAuthError::missing_parameter("grant_type"));
    }
    if let Some((name, _)) =
        form.iter().find(|(name, _)| form.iter().filter(|(other, _)| other == name).count() > 1)
    {
        let text = format!("The parameter '{name}' is duplicated.");
        return Err(OAuthError::new(400, "invalid_request", 9_000_411, text));
    }
    let shared_tenant = is_shared(tenant);
    if !is_known(state, tenant) {
        return Err(OAuthError::unknown_tenant(tenant));
    }
    let grant_type = field(form, "grant_type").ok_or_else(|| OAuthError::missing_parameter("grant_type"))?;
    match grant_type {
        "refresh_token" => {
            let app = authenticate(state, call, form, tenant)?;
            grants::refresh_token(state, app, form)
        }
        "client_credentials" if shared_tenant => Err(OAuthError::new(
            400,
            "invalid_request",
            9_001_023,
            "The grant type is not supported over the /common or /consumers endpoints. Please use the /organizations or tenant-specific endpoint.",
        )),
        "client_credentials" => {
            let app = authenticate(state, call, form, tenant)?;
            grants::client_credentials(state, app, form)
        }
        "authorization_code" => {
            let app = authenticate(state, call, form, tenant)?;
            sign_in::code_grant(state, app, form)
        }
        "urn:ietf:params:oauth:grant-type:device_code" => {
            let app = authenticate(state, call, form, tenant)?;
            sign_in::device_grant(state, app, form)
        }
        other => Err(OAuthError::unsupported_grant(other)),
    }
}

fn is_shared(tenant: &str) -> bool {
    ["common", "organizations"].iter().any(|name| tenant.eq_ignore_ascii_case(name))
}

/// Whether people or applications may sign in at that tenant's address.
pub(crate) fn is_known(state: &State, tenant: &str) -> bool {
    is_shared(tenant)
        || tenant.eq_ignore_ascii_case(&state.options.tenant_id)
        || tenant.eq_ignore_ascii_case(&state.options.tenant_domain)
}

fn success(state: &State, granted: &Granted) -> Answer {
    let seconds = granted.lifetime.as_secs();
    let mut body = json!({
        "token_type": "Bearer",
        "scope": granted.scope,
        "expires_in": seconds,
        "ext_expires_in": seconds,
    });
    if let Some(refresh_in) = state.options.refresh_in {
        body["refresh_in"] = refresh_in.as_secs().into();
    }
    body["access_token"] = granted.access_token.as_str().into();
    if let Some(refresh_token) = &granted.refresh_token {
        body["refresh_token"] = Value::from(refresh_token.as_str());
    }
    if granted.scope.is_empty() {
        // Application tokens are answered without a scope.
        body.as_object_mut().map(|members| members.shift_remove("scope"));
    }
    Answer::json(200, &body).with("cache-control", "no-store, no-cache").with("pragma", "no-cache")
}
