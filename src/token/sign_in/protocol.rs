//! The sign-in's protocol, pure: addresses, the scopes that are asked for, PKCE, and what the device code endpoint's and
//! the browser's answers say. Never sends and never waits.

use std::time::Duration;

use aws_lc_rs::digest::{SHA256, digest};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Map, Value};
use url::Url;

use super::stage::Prompt;
use crate::connection::{Callback, Connection};
use crate::secret::{Secret, random_bytes};
use crate::token::endpoint;
use crate::token::plan::ANY_TENANT;

/// Longest lifetime that a device code is believed to have; Entra's is 15 minutes.
const LONGEST_LIFETIME: u64 = 30 * 60;
/// RFC 8628 section 3.2: the interval when the server names none.
const DEFAULT_INTERVAL: u64 = 5;
const LONGEST_INTERVAL: u64 = 60;
/// Entra's codes are 1 to 2 KiB; a longer one is not a code.
const LONGEST_CODE: usize = 8 * 1024;

/// The tenant whose people may sign in: the configured one, else any organisation's.
pub(super) fn tenant(connection: &Connection) -> &str {
    connection.auth.tenant.as_deref().unwrap_or(ANY_TENANT)
}

/// What is asked for. By default everything that the app registration lists (`/.default`), so that an operator grants
/// permissions in one place and a sign-in never asks for one that nobody granted; the driver's own long list would be
/// refused by every app that has fewer. `offline_access` brings the refresh token, `openid profile` who signed in.
pub(super) fn scope(connection: &Connection) -> String {
    match connection.auth.scope.as_deref().map(str::trim).filter(|scope| !scope.is_empty()) {
        Some(scope) => endpoint::with_offline_access(scope),
        None => {
            format!("{} offline_access openid profile", endpoint::default_scope(&connection.endpoints.graph))
        }
    }
}

/// `{AuthorityHost}/{tenant}/oauth2/v2.0/{name}`; for `authorize` the connection's own `OAuthAuthorizationURL`, if any.
pub(super) fn login_url(connection: &Connection, name: &str) -> Option<Url> {
    if name == "authorize"
        && let Some(own) = &connection.sign_in_urls.authorization
    {
        return Some(own.clone());
    }
    let mut url = endpoint::token_url(&connection.endpoints.authority, tenant(connection))?;
    url.path_segments_mut().ok()?.pop().push(name);
    Some(url)
}

/// Where an administrator consents for the tenant (Microsoft identity platform, "Admin consent").
pub(super) fn admin_consent_url(connection: &Connection) -> Option<String> {
    consent_url(connection, None, None, None)
}

/// As `admin_consent_url`, with another return address, a `state`, and single permissions instead of all that the app
/// registration lists; those need version 2 of the page. `None` when the connection names no application.
pub fn consent_url(
    connection: &Connection,
    redirect_uri: Option<&Callback>,
    state: Option<&str>,
    scope: Option<&str>,
) -> Option<String> {
    let client_id = connection.auth.client_id.as_deref()?;
    let redirect_uri = redirect_uri.unwrap_or(&connection.auth.sign_in.callback);
    let mut url = connection.endpoints.authority.clone();
    {
        let mut segments = url.path_segments_mut().ok()?;
        segments.pop_if_empty().push(tenant(connection)).extend(scope.map(|_| "v2.0")).push("adminconsent");
    }
    url.query_pairs_mut()
        .append_pair("client_id", client_id)
        .append_pair("redirect_uri", redirect_uri.as_str())
        .extend_pairs(scope.map(|scope| ("scope", scope)))
        .extend_pairs(state.map(|state| ("state", state)));
    Some(url.into())
}

/// The secrets of one browser sign-in.
#[derive(Debug)]
pub(super) struct Proof {
    /// RFC 7636 section 4.1.
    pub(super) verifier: Secret,
    /// RFC 6749 section 10.12.
    pub(super) state: Secret,
}

impl Proof {
    /// 256 bits each.
    pub(super) fn new() -> Self {
        let random = || Secret::from(URL_SAFE_NO_PAD.encode(random_bytes(32)));
        Self { verifier: random(), state: random() }
    }

    /// RFC 7636 section 4.2, method S256.
    fn challenge(&self) -> String {
        URL_SAFE_NO_PAD.encode(digest(&SHA256, self.verifier.expose().as_bytes()))
    }
}

/// Where the browser signs in. The answer comes back in the query: a posted form could not be copied from the address
/// bar of a browser on another machine.
pub(super) fn authorization_url(
    connection: &Connection,
    client_id: &str,
    redirect_uri: &str,
    proof: &Proof,
    claims: Option<&str>,
) -> Option<String> {
    let mut url = login_url(connection, "authorize")?;
    {
        let mut query = url.query_pairs_mut();
        query
            .append_pair("client_id", client_id)
            .append_pair("response_type", "code")
            .append_pair("redirect_uri", redirect_uri)
            .append_pair("response_mode", "query")
            .append_pair("scope", &scope(connection))
            .append_pair("state", proof.state.expose())
            .append_pair("code_challenge", &proof.challenge())
            .append_pair("code_challenge_method", "S256");
        if let Some(claims) = claims {
            query.append_pair("claims", claims);
        }
    }
    Some(url.into())
}

/// The device code endpoint's answer (RFC 8628 section 3.2).
#[derive(Debug)]
pub(super) struct DeviceCode {
    pub(super) device_code: Secret,
    pub(super) prompt: Prompt,
    pub(super) lifetime: Duration,
    pub(super) interval: Duration,
}

impl DeviceCode {
    /// Reads it; `None` when it is not one that can be shown to a person.
    pub(super) fn read(body: &[u8]) -> Option<Self> {
        let answer: Map<String, Value> = serde_json::from_slice(body).ok()?;
        let text = |name: &str, longest: usize| {
            let text = answer.get(name)?.as_str()?;
            let fits =
                (1..=longest).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_graphic());
            fits.then(|| text.to_owned())
        };
        let seconds = |name: &str| answer.get(name).and_then(Value::as_u64);
        let verification_uri = text("verification_uri", 512)?;
        // It will be opened by a person who trusts this agent.
        let address = Url::parse(&verification_uri).ok()?;
        if !matches!(address.scheme(), "https" | "http") {
            return None;
        }
        let lifetime = seconds("expires_in").filter(|seconds| *seconds > 0)?.min(LONGEST_LIFETIME);
        let interval = seconds("interval").unwrap_or(DEFAULT_INTERVAL).clamp(1, LONGEST_INTERVAL);
        Some(Self {
            device_code: Secret::from(text("device_code", LONGEST_CODE)?),
            prompt: Prompt { user_code: text("user_code", 64)?, verification_uri },
            lifetime: Duration::from_secs(lifetime),
            interval: Duration::from_secs(interval),
        })
    }
}

/// What a browser brought back.
#[derive(Debug)]
pub(super) enum Redirect {
    /// The code to redeem.
    Code(Secret),
    /// The server refused (RFC 6749 section 4.1.2.1): its `error`, as far as that is a plain word, and its number.
    Refused { error: String, aadsts: Option<u32> },
}

/// Reads the query of a redirect; `None` when it does not answer the sign-in with that `state`.
pub(super) fn redirect(query: &str, state: &Secret) -> Option<Redirect> {
    let mut code = None;
    let mut error = None;
    let mut description = None;
    let mut given_state = None;
    for (name, value) in url::form_urlencoded::parse(query.as_bytes()) {
        let slot = match &*name {
            "code" => &mut code,
            "state" => &mut given_state,
            "error" => &mut error,
            "error_description" => &mut description,
            _ => continue,
        };
        // RFC 6749 section 3.1: parameters must not be repeated.
        if slot.replace(value.into_owned()).is_some() {
            return None;
        }
    }
    // `Secret` compares in constant time, so that the state cannot be found out bit by bit.
    if Secret::from(given_state?) != *state {
        return None;
    }
    if let Some(error) = error {
        let plain = (1..=64).contains(&error.len())
            && error.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
        let error = if plain { error } else { "unknown_error".to_owned() };
        return Some(Redirect::Refused { error, aadsts: description.as_deref().and_then(aadsts) });
    }
    let code = code.filter(|code| is_code(code))?;
    Some(Redirect::Code(Secret::from(code)))
}

/// What a person brought back: a code, or the whole address (then its `state` must be right).
pub(super) fn brought_back(text: &Secret, state: &Secret) -> Result<Redirect, String> {
    const NOT_THE_ANSWER: &str = "This address is not the answer to the pending sign-in. Open the address that was shown last, and copy where the browser ends.";
    let text = text.expose().trim();
    if text.contains("://") {
        let url = Url::parse(text).map_err(|_| NOT_THE_ANSWER.to_owned())?;
        return redirect(url.query().unwrap_or_default(), state).ok_or_else(|| NOT_THE_ANSWER.to_owned());
    }
    if is_code(text) {
        return Ok(Redirect::Code(Secret::from(text)));
    }
    Err("This is not a code. Copy what stands between 'code=' and the next '&', or the whole address."
        .to_owned())
}

fn is_code(text: &str) -> bool {
    (1..=LONGEST_CODE).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_graphic())
}

fn aadsts(description: &str) -> Option<u32> {
    let (_, rest) = description.split_once("AADSTS")?;
    let digits = rest.bytes().take(9).take_while(u8::is_ascii_digit).count();
    rest.get(..digits)?.parse().ok()
}

#[cfg(test)]
#[path = "protocol_tests.rs"]
mod tests;
