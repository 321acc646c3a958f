//! What a test may do to a running tenant; used by the handle and by the admin port alike.
//! Never does anything that a client could do by itself.

use crate::data::directory::WITHOUT_MAILBOX;
use crate::data::words::PEOPLE;
use crate::entra::apps::App;
use crate::entra::grants::consented_scopes;
use crate::entra::sign_in;
use crate::entra::token::is_known;
use crate::options::{
    APPLICATION_ROLES, CONFIDENTIAL_CLIENT_ID, CONFIDENTIAL_CLIENT_SECRET, DELEGATED_SCOPES,
    EXPIRED_CLIENT_SECRET, PUBLIC_CLIENT_ID,
};
use crate::state::State;
use serde::Serialize;
use serde_json::{Value, json};
use std::fmt;
use std::time::Duration;

/// Tokens as a third-party tool would hand them to an operator.
#[derive(Clone, PartialEq, Eq, Serialize)]
pub struct IssuedTokens {
    /// The access token.
    pub access_token: String,
    /// The refresh token; empty for an application on its own.
    pub refresh_token: String,
    /// Seconds that the access token lives.
    pub expires_in: u64,
}

impl fmt::Debug for IssuedTokens {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("IssuedTokens").field("expires_in", &self.expires_in).finish_non_exhaustive()
    }
}

/// Signs a user in to the public application.
pub(crate) fn issue_delegated_tokens(
    state: &mut State,
    user: &str,
    lifetime: Option<Duration>,
) -> Option<IssuedTokens> {
    let user = state.tenant.user(user)?;
    let lifetime = lifetime.unwrap_or(state.options.access_token_lifetime);
    let permissions: Vec<String> = DELEGATED_SCOPES.iter().map(|scope| (*scope).to_owned()).collect();
    let access_token = state.tokens.issue_access(
        &mut state.fresh,
        &state.options,
        App::Public,
        Some(&user),
        &permissions,
        lifetime,
    );
    let refresh_token =
        state.tokens.issue_refresh(&mut state.fresh, App::Public, &user, &consented_scopes(), None);
    Some(IssuedTokens { access_token, refresh_token, expires_in: lifetime.as_secs() })
}

/// Signs the confidential application in on its own.
pub(crate) fn issue_app_token(state: &mut State, lifetime: Option<Duration>) -> IssuedTokens {
    let lifetime = lifetime.unwrap_or(state.options.access_token_lifetime);
    let roles: Vec<String> = APPLICATION_ROLES.iter().map(|role| (*role).to_owned()).collect();
    let access_token = state.tokens.issue_access(
        &mut state.fresh,
        &state.options,
        App::Confidential,
        None,
        &roles,
        lifetime,
    );
    IssuedTokens { access_token, refresh_token: String::new(), expires_in: lifetime.as_secs() }
}

/// Makes a user's refresh tokens stop working; answers how many there were.
pub(crate) fn revoke_user_tokens(state: &mut State, user: &str) -> usize {
    match state.tenant.user(user) {
        Some(user) => state.tokens.revoke_user(&user.id, 50_173),
        None => 0,
    }
}

/// A device code is typed in by a user, or refused by somebody.
pub(crate) fn decide_device_code(state: &mut State, user_code: &str, user: Option<&str>) -> bool {
    let facts = user.map(|user| state.tenant.user(user));
    match facts {
        Some(None) => false,
        Some(facts) => state.sign_ins.decide(user_code, facts),
        None => state.sign_ins.decide(user_code, None),
    }
}

/// A browser opens an authorization address of this tenant.
pub(crate) fn authorize(state: &mut State, url: &str, user: Option<&str>) -> Result<String, String> {
    let rest = url.strip_prefix(state.login_origin.as_str()).ok_or("This is another server's address.")?;
    let (path, query) = rest.split_once('?').ok_or("There is no query.")?;
    let tenant = path.strip_suffix("/oauth2/v2.0/authorize").ok_or("This is another address.")?;
    if !is_known(state, tenant.trim_start_matches('/')) {
        return Err("There is no such tenant.".to_owned());
    }
    let user = match user {
        Some(user) => Some(state.tenant.user(user).ok_or("There is no such user.")?),
        None => None,
    };
    sign_in::authorize(state, query, user)
        .map_err(|error| format!("AADSTS{}: {}", error.code, error.description))
}

/// What a client must know to use the tenant.
pub(crate) fn facts(state: &State) -> Value {
    let users: Vec<Value> = (0..state.options.users.min(PEOPLE.len()) as u32)
        .map(|key| {
            let user = state.tenant.facts(key);
            json!({"id": user.id, "userPrincipalName": user.upn, "administrator": user.administrator,
                   "mailbox": key != WITHOUT_MAILBOX})
        })
        .collect();
    json!({
        "login_url": state.login_origin,
        "graph_url": format!("{}/v1.0", state.graph_origin),
        "tenant_id": state.options.tenant_id,
        "tenant_domain": state.options.tenant_domain,
        "confidential_client": {"client_id": CONFIDENTIAL_CLIENT_ID, "client_secret": CONFIDENTIAL_CLIENT_SECRET,
                                "expired_client_secret": EXPIRED_CLIENT_SECRET},
        "public_client": {"client_id": PUBLIC_CLIENT_ID},
        "users": users,
    })
}
