//! People signing in: device codes (RFC 8628), authorization codes with PKCE (RFC 6749 section 4.1, RFC 7636), and what
//! the person in front of the browser decides. Never issues a token before somebody has agreed.

use super::apps::{App, Form, field};
use super::errors::OAuthError;
use super::grants::{Granted, consented_scopes, listed, requested_scopes, split};
use crate::answer::{Answer, decoded_pairs};
use crate::data::tenant::UserFacts;
use crate::options::{REDIRECT_URIS, SandboxOptions};
use crate::random::Fresh;
use crate::state::State;
use crate::time::now_millis;
use aws_lc_rs::digest::{SHA256, digest};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::json;
use std::collections::HashMap;

/// Characters of user codes: none that look alike.
const USER_CODE_LETTERS: &[u8] = b"ABCDEFGHJKLMNPQRSTUVWXYZ";

/// What has been started and not ended.
#[derive(Debug, Default)]
pub(crate) struct SignIns {
    devices: HashMap<String, Device>,
    codes: HashMap<String, Code>,
    /// Who sits in front of the browser.
    pub(crate) browser_user: Option<String>,
}

#[derive(Debug)]
struct Device {
    app: App,
    user_code: String,
    scope: String,
    expires_at: u64,
    interval: u64,
    polled_at: Option<u64>,
    decision: Decision,
}

#[derive(Debug)]
enum Decision {
    Open,
    Approved(UserFacts),
    Declined,
    Redeemed,
}

#[derive(Debug)]
struct Code {
    app: App,
    user: UserFacts,
    scope: String,
    redirect_uri: String,
    challenge: Option<String>,
    expires_at: u64,
    used: bool,
}

impl SignIns {
    /// Somebody typed the code in. Whether there is such a code, undecided and still alive.
    pub(crate) fn decide(&mut self, user_code: &str, user: Option<UserFacts>) -> bool {
        let wanted = user_code.trim().to_ascii_uppercase();
        let found = self.devices.values_mut().find(|device| {
            device.user_code == wanted
                && device.expires_at > now_millis()
                && matches!(device.decision, Decision::Open)
        });
        let Some(device) = found else { return false };
        device.decision = user.map_or(Decision::Declined, Decision::Approved);
        true
    }
}

/// Answers a post to `/{tenant}/oauth2/v2.0/devicecode`.
pub(crate) fn device_code(state: &mut State, form: &Form) -> Result<Answer, OAuthError> {
    let client_id = field(form, "client_id").ok_or_else(|| OAuthError::missing_parameter("client_id"))?;
    let app =
        App::find(client_id).ok_or_else(|| OAuthError::unknown_application(client_id, "organizations"))?;
    let scope = field(form, "scope").ok_or_else(|| OAuthError::missing_parameter("scope"))?.to_owned();
    requested_scopes(state, app, Some(&scope), &consented_scopes())?;
    let device_code = format!("DAQABIQEAAAD{}", state.fresh.opaque(180));
    let user_code = user_code(&mut state.fresh);
    let SandboxOptions { device_code_lifetime: lifetime, device_code_interval: interval, .. } = state.options;
    let device = Device {
        app,
        user_code: user_code.clone(),
        scope,
        expires_at: now_millis() + lifetime.as_millis() as u64,
        interval: interval.as_secs(),
        polled_at: None,
        decision: Decision::Open,
    };
    state.sign_ins.devices.insert(device_code.clone(), device);
    let address = format!("{}/devicelogin", state.login_origin);
    Ok(Answer::json(
        200,
        &json!({
            "user_code": user_code,
            "device_code": device_code,
            "verification_uri": address,
            "expires_in": lifetime.as_secs(),
            "interval": interval.as_secs(),
            "message": format!("To sign in, use a web browser to open the page {address} and enter the code {user_code} to authenticate."),
        }),
    ))
}

/// Redeems a device code, once somebody has agreed.
pub(crate) fn device_grant(state: &mut State, app: App, form: &Form) -> Result<Granted, OAuthError> {
    let code = field(form, "device_code").ok_or_else(|| OAuthError::missing_parameter("device_code"))?;
    let refuse = |error: &str, number: u32, text: &str| Err(OAuthError::new(400, error, number, text));
    let now = now_millis();
    let Some(device) = state.sign_ins.devices.get_mut(code).filter(|device| device.app == app) else {
        return refuse("bad_verification_code", 70_018, "Bad verification code received.");
    };
    if device.expires_at <= now {
        return refuse(
            "expired_token",
            70_020,
            "The provided value for the input parameter 'device_code' is not valid. This device code has expired.",
        );
    }
    let early = device.polled_at.is_some_and(|at| now < at + device.interval * 1000);
    device.polled_at = Some(now);
    if early {
        // RFC 8628 section 3.5: for this and all subsequent requests.
        device.interval += 5;
        return refuse("slow_down", 70_016, "The client polls too often.");
    }
    let (user, scope) = match &device.decision {
        Decision::Open => {
            return refuse(
                "authorization_pending",
                70_016,
                "OAuth 2.0 device flow error. Authorization is pending. Continue polling.",
            );
        }
        Decision::Declined => {
            return refuse(
                "authorization_declined",
                70_000,
                "The end user denied the authorization request.",
            );
        }
        Decision::Redeemed => {
            return refuse(
                "invalid_grant",
                54_005,
                "OAuth2 Authorization code was already redeemed, please retry with a new valid code or use an existing refresh token.",
            );
        }
        Decision::Approved(user) => (user.clone(), device.scope.clone()),
    };
    device.decision = Decision::Redeemed;
    tokens(state, app, &user, &scope)
}

/// What the browser does at `/{tenant}/oauth2/v2.0/authorize`: the address it is sent to. `user`: who sits there;
/// `None`: somebody who refuses.
pub(crate) fn authorize(
    state: &mut State,
    query: &str,
    user: Option<UserFacts>,
) -> Result<String, OAuthError> {
    let asked = decoded_pairs(query);
    let needed = |name: &str| field(&asked, name).ok_or_else(|| OAuthError::missing_parameter(name));
    let client_id = needed("client_id")?;
    let app =
        App::find(client_id).ok_or_else(|| OAuthError::unknown_application(client_id, "organizations"))?;
    let redirect_uri = needed("redirect_uri")?.to_owned();
    if !is_registered(&redirect_uri) {
        let text = format!(
            "The redirect URI '{redirect_uri}' specified in the request does not match the redirect URIs configured for the application."
        );
        return Err(OAuthError::new(400, "invalid_request", 50_011, text));
    }
    let joint = if redirect_uri.contains('?') { '&' } else { '?' };
    let given_state =
        field(&asked, "state").map(|value| format!("&state={}", encoded(value))).unwrap_or_default();
    let back = |error: &str, text: &str| {
        Ok(format!("{redirect_uri}{joint}error={error}&error_description={}{given_state}", encoded(text)))
    };
    if field(&asked, "response_type") != Some("code") {
        return back(
            "unsupported_response_type",
            "AADSTS700051: response_type is not enabled for the application.",
        );
    }
    let challenge = field(&asked, "code_challenge").map(str::to_owned);
    if challenge.is_some() && field(&asked, "code_challenge_method") != Some("S256") {
        return back("invalid_request", "AADSTS501491: Invalid size of Code_Challenge parameter.");
    }
    let scope = match field(&asked, "scope") {
        Some(scope) => scope.to_owned(),
        None => {
            return back(
                "invalid_request",
                "AADSTS900144: The request body must contain the following parameter: 'scope'.",
            );
        }
    };
    if let Err(error) = requested_scopes(state, app, Some(&scope), &consented_scopes()) {
        return back(&error.error, &format!("AADSTS{}: {}", error.code, error.description));
    }
    let Some(user) = user else {
        return back("access_denied", "AADSTS65004: User declined to consent to access the app.");
    };
    let code = format!("0.AVYA{}.AgABAAIAAAD{}", state.fresh.opaque(30), state.fresh.opaque(500));
    let facts = Code {
        app,
        user,
        scope,
        redirect_uri: redirect_uri.clone(),
        challenge,
        expires_at: now_millis() + state.options.authorization_code_lifetime.as_millis() as u64,
        used: false,
    };
    state.sign_ins.codes.insert(code.clone(), facts);
    Ok(format!(
        "{redirect_uri}{joint}code={}{given_state}&session_state={}",
        encoded(&code),
        state.fresh.guid()
    ))
}

/// Redeems an authorization code.
pub(crate) fn code_grant(state: &mut State, app: App, form: &Form) -> Result<Granted, OAuthError> {
    let needed = |name: &str| field(form, name).ok_or_else(|| OAuthError::missing_parameter(name));
    let refuse = |number: u32, text: &str| Err(OAuthError::new(400, "invalid_grant", number, text));
    let (code, redirect_uri) = (needed("code")?, needed("redirect_uri")?);
    let Some(known) = state.sign_ins.codes.get_mut(code) else {
        return refuse(70_000, "Provided grant is invalid or malformed.");
    };
    if known.app != app {
        return refuse(70_000, "The provided authorization code was issued to another client.");
    }
    if known.used {
        return refuse(
            54_005,
            "OAuth2 Authorization code was already redeemed, please retry with a new valid code or use an existing refresh token.",
        );
    }
    if known.expires_at <= now_millis() {
        return refuse(
            70_008,
            "The provided authorization code or refresh token has expired due to inactivity.",
        );
    }
    if known.redirect_uri != redirect_uri {
        let text = format!(
            "The reply address '{redirect_uri}' does not match the reply address '{}' provided when requesting Authorization code.",
            known.redirect_uri
        );
        return Err(OAuthError::new(400, "invalid_client", 500_112, text));
    }
    match (&known.challenge, field(form, "code_verifier")) {
        (None, None) => {}
        (Some(challenge), Some(verifier))
            if *challenge == URL_SAFE_NO_PAD.encode(digest(&SHA256, verifier.as_bytes())) => {}
        (Some(_), None) => return refuse(50_148, "The code_verifier is missing."),
        _ => {
            return refuse(
                501_481,
                "The Code_Verifier does not match the code_challenge supplied in the authorization request.",
            );
        }
    }
    known.used = true;
    let (user, scope) = (known.user.clone(), known.scope.clone());
    tokens(state, app, &user, &scope)
}

fn tokens(state: &mut State, app: App, user: &UserFacts, scope: &str) -> Result<Granted, OAuthError> {
    let scopes = requested_scopes(state, app, Some(scope), &consented_scopes())?;
    let (sign_in, resource) = split(scopes.clone());
    let lifetime = state.options.access_token_lifetime;
    let access_token =
        state.tokens.issue_access(&mut state.fresh, &state.options, app, Some(user), &resource, lifetime);
    let refresh_token = sign_in
        .iter()
        .any(|scope| scope == "offline_access")
        .then(|| state.tokens.issue_refresh(&mut state.fresh, app, user, &scopes, None));
    Ok(Granted { access_token, refresh_token, scope: listed(&resource, &sign_in), lifetime })
}

/// For loopback addresses the port does not count ("Redirect URI restrictions"); the rest does, byte for byte.
fn is_registered(redirect_uri: &str) -> bool {
    let portless = |uri: &str| -> Option<String> {
        let (scheme, rest) = uri.split_once("://")?;
        let (authority, path) =
            rest.split_once('/').map_or((rest, ""), |(authority, path)| (authority, path));
        let (host, _) = authority.rsplit_once(':').unwrap_or((authority, ""));
        ["localhost", "127.0.0.1"].contains(&host).then(|| format!("{scheme}://{host}/{path}"))
    };
    REDIRECT_URIS.iter().any(|known| {
        *known == redirect_uri || portless(known).is_some_and(|known| portless(redirect_uri) == Some(known))
    })
}

fn user_code(fresh: &mut Fresh) -> String {
    fresh.opaque(6).bytes().map(|byte| char::from(USER_CODE_LETTERS[usize::from(byte) % 24])).collect()
}

fn encoded(text: &str) -> String {
    percent_encoding::utf8_percent_encode(text, percent_encoding::NON_ALPHANUMERIC).to_string()
}
