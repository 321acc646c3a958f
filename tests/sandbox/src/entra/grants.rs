//! How each grant turns into tokens.
//! Never reads HTTP: it gets the form and an application that proved itself.

use super::apps::{App, Form, field};
use super::errors::OAuthError;
use crate::options::{APPLICATION_ROLES, DELEGATED_SCOPES, Rotation};
use crate::state::State;
use std::time::Duration;

/// Scopes of the sign-in itself; they belong to no resource.
const SIGN_IN_SCOPES: &[&str] = &["offline_access", "openid", "profile", "email"];

/// What a grant gives.
#[derive(Debug)]
pub(crate) struct Granted {
    /// The access token.
    pub(crate) access_token: String,
    /// The refresh token, if one is due.
    pub(crate) refresh_token: Option<String>,
    /// The scopes, as the answer lists them; empty for an application on its own.
    pub(crate) scope: String,
    /// How long the access token lives.
    pub(crate) lifetime: Duration,
}

/// The scopes of a public application's sign-in, `offline_access` included.
pub(crate) fn consented_scopes() -> Vec<String> {
    DELEGATED_SCOPES.iter().chain(SIGN_IN_SCOPES).map(|scope| (*scope).to_owned()).collect()
}

/// An application on its own.
pub(crate) fn client_credentials(state: &mut State, app: App, form: &Form) -> Result<Granted, OAuthError> {
    if app == App::Public {
        return Err(OAuthError::no_credential());
    }
    let scope = field(form, "scope").ok_or_else(|| OAuthError::missing_parameter("scope"))?;
    let resource = scope.strip_suffix("/.default").filter(|resource| !resource.contains(' '));
    let resource = resource.ok_or_else(|| OAuthError::invalid_scope(scope))?;
    if !is_graph(state, resource) {
        return Err(OAuthError::unknown_resource(resource));
    }
    let roles: Vec<String> = APPLICATION_ROLES.iter().map(|role| (*role).to_owned()).collect();
    let lifetime = state.options.access_token_lifetime;
    let access_token =
        state.tokens.issue_access(&mut state.fresh, &state.options, app, None, &roles, lifetime);
    Ok(Granted { access_token, refresh_token: None, scope: String::new(), lifetime })
}

/// A signed-in user, from a refresh token.
pub(crate) fn refresh_token(state: &mut State, app: App, form: &Form) -> Result<Granted, OAuthError> {
    let token = field(form, "refresh_token").ok_or_else(|| OAuthError::missing_parameter("refresh_token"))?;
    let strict = state.options.rotation == Rotation::Strict;
    let known = state.tokens.refresh_mut(token).ok_or_else(|| {
        OAuthError::bad_refresh_token(
            9_002_313,
            "Invalid request. Request is malformed or invalid: the refresh token is not one.",
            Some("bad_token"),
        )
    })?;
    if known.app != app {
        return Err(OAuthError::bad_refresh_token(
            70_000,
            "Provided grant is invalid or malformed: the refresh token was issued to another client.",
            Some("client_mismatch"),
        ));
    }
    if let Some(code) = known.dead {
        return Err(dead(code));
    }
    let family = known.family;
    let reused = known.used;
    known.used = true;
    let (user, granted) = (known.user.clone(), known.scopes.clone());
    if reused {
        state.stats.refresh_reuses += 1;
        if strict {
            state.tokens.kill_family(family, 70_000);
            return Err(dead(70_000));
        }
    }
    let scopes = match requested_scopes(state, app, field(form, "scope"), &granted) {
        Ok(scopes) => scopes,
        Err(error) => {
            // A refused request uses nothing up.
            if let Some(known) = state.tokens.refresh_mut(token) {
                known.used = reused;
            }
            return Err(error);
        }
    };
    let (sign_in, resource) = split(scopes);
    let lifetime = state.options.access_token_lifetime;
    let access_token =
        state.tokens.issue_access(&mut state.fresh, &state.options, app, Some(&user), &resource, lifetime);
    let refresh_token = sign_in
        .iter()
        .any(|scope| scope == "offline_access")
        .then(|| state.tokens.issue_refresh(&mut state.fresh, app, &user, &granted, Some(family)));
    Ok(Granted { access_token, refresh_token, scope: listed(&resource, &sign_in), lifetime })
}

/// Which scopes a request asks for: those of the sign-in when it names none, never more than those.
pub(crate) fn requested_scopes(
    state: &State,
    app: App,
    requested: Option<&str>,
    granted: &[String],
) -> Result<Vec<String>, OAuthError> {
    let Some(requested) = requested else {
        return Ok(granted.to_vec());
    };
    let mut scopes: Vec<String> = Vec::new();
    let mut resources: Vec<String> = Vec::new();
    for scope in requested.split_ascii_whitespace() {
        let (resource, name) = match scope.rsplit_once('/') {
            Some((resource, name)) if resource.contains(':') => (Some(resource), name),
            Some(_) => return Err(OAuthError::invalid_scope(scope)),
            None => (None, scope),
        };
        if let Some(resource) = resource {
            if !is_graph(state, resource) {
                return Err(OAuthError::unknown_resource(resource));
            }
            if !resources.iter().any(|known| known == resource) {
                resources.push(resource.to_owned());
            }
        }
        if name == ".default" {
            let resource_scopes = granted.iter().filter(|scope| !SIGN_IN_SCOPES.contains(&scope.as_str()));
            scopes.extend(resource_scopes.cloned());
            continue;
        }
        let known =
            DELEGATED_SCOPES.iter().chain(SIGN_IN_SCOPES).find(|known| known.eq_ignore_ascii_case(name));
        match known {
            Some(known) if granted.iter().any(|scope| scope == known) => scopes.push((*known).to_owned()),
            // Well-formed, but nobody agreed to it.
            _ if name.contains('.') || SIGN_IN_SCOPES.contains(&name) => {
                return Err(OAuthError::consent_required(app.client_id()));
            }
            _ => return Err(OAuthError::invalid_scope(scope)),
        }
    }
    if resources.len() > 1 {
        return Err(OAuthError::two_resources());
    }
    scopes.sort();
    scopes.dedup();
    if scopes.iter().all(|scope| SIGN_IN_SCOPES.contains(&scope.as_str())) {
        // Sign-in scopes alone mean the resource scopes of the sign-in.
        scopes.extend(granted.iter().filter(|scope| !SIGN_IN_SCOPES.contains(&scope.as_str())).cloned());
    }
    Ok(scopes)
}

fn is_graph(state: &State, resource: &str) -> bool {
    let resource = resource.trim_end_matches('/');
    let own = state.graph_origin.as_str();
    ["https://graph.microsoft.com", "00000003-0000-0000-c000-000000000000", own].contains(&resource)
}

/// Scopes of the sign-in itself, and those of the resource.
pub(crate) fn split(scopes: Vec<String>) -> (Vec<String>, Vec<String>) {
    scopes.into_iter().partition(|scope| SIGN_IN_SCOPES.contains(&scope.as_str()))
}

/// The scopes as an answer lists them.
pub(crate) fn listed(resource: &[String], sign_in: &[String]) -> String {
    let shown = sign_in.iter().filter(|scope| *scope != "offline_access");
    resource.iter().chain(shown).map(String::as_str).collect::<Vec<_>>().join(" ")
}

fn dead(code: u32) -> OAuthError {
    let text = match code {
        700_082 => "The refresh token has expired due to inactivity.",
        70_008 => "The provided authorization code or refresh token has expired due to inactivity.",
        50_173 => "The provided grant has expired due to it being revoked, a fresh auth token is needed.",
        _ => "Provided grant is invalid or malformed: the refresh token has been used before.",
    };
    OAuthError::bad_refresh_token(code, text, Some("bad_token"))
}
