//! The tokens that were issued: how they look, whom they are for, whether they still work.
//! Never signs anything: a signature is random bytes, and Graph knows its own tokens by heart.

use super::apps::App;
use crate::data::tenant::UserFacts;
use crate::options::SandboxOptions;
use crate::random::Fresh;
use crate::time::now_millis;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};
use std::collections::HashMap;
use std::time::Duration;

/// What an access token allows.
#[derive(Debug, Clone)]
pub(crate) struct AccessToken {
    /// The signed-in user; `None` for an application on its own.
    pub(crate) user: Option<UserFacts>,
    /// Delegated scopes or application roles.
    pub(crate) permissions: Vec<String>,
    /// When it ends, in milliseconds since 1970.
    pub(crate) expires_at: u64,
    /// Whether Graph was told to refuse it before its time.
    pub(crate) cancelled: bool,
}

/// What a refresh token allows.
#[derive(Debug, Clone)]
pub(crate) struct RefreshToken {
    /// The signed-in user.
    pub(crate) user: UserFacts,
    /// The application it is bound to.
    pub(crate) app: App,
    /// The scopes that were granted.
    pub(crate) scopes: Vec<String>,
    /// All tokens that descend from one sign-in.
    pub(crate) family: u64,
    /// Whether it has been used.
    pub(crate) used: bool,
    /// Why it does not work any more: the AADSTS number.
    pub(crate) dead: Option<u32>,
}

/// The tokens.
#[derive(Debug, Default)]
pub(crate) struct TokenStore {
    access: HashMap<String, AccessToken>,
    refresh: HashMap<String, RefreshToken>,
    families: u64,
}

impl TokenStore {
    /// The access token's facts, if it was issued here and still works.
    pub(crate) fn accepted(&self, token: &str) -> Result<&AccessToken, &'static str> {
        match self.access.get(token) {
            None => Err("Invalid access token."),
            Some(known) if known.cancelled => Err("Access token has been revoked."),
            Some(known) if known.expires_at <= now_millis() => {
                Err("Lifetime validation failed, the token is expired.")
            }
            Some(known) => Ok(known),
        }
    }

    /// Writes an access token.
    pub(crate) fn issue_access(
        &mut self,
        fresh: &mut Fresh,
        options: &SandboxOptions,
        app: App,
        user: Option<&UserFacts>,
        permissions: &[String],
        lifetime: Duration,
    ) -> String {
        let now = now_millis();
        let expires_at = now + lifetime.as_millis() as u64;
        let mut claims = json!({
            "aud": "https://graph.microsoft.com",
            "iss": format!("https://sts.windows.net/{}/", options.tenant_id),
            "iat": now / 1000,
            "nbf": now / 1000,
            "exp": expires_at / 1000,
            "appid": app.client_id(),
            "azp": app.client_id(),
            "tid": options.tenant_id,
            "uti": fresh.opaque(16),
            "jti": fresh.guid(),
            "ver": "1.0",
        });
        match user {
            Some(user) => {
                claims["oid"] = user.id.as_str().into();
                claims["upn"] = user.upn.as_str().into();
                claims["name"] = user.name.as_str().into();
                claims["idtyp"] = "user".into();
                claims["scp"] = permissions.join(" ").into();
            }
            None => {
                claims["oid"] = crate::random::guid(crate::random::seed_of(app.client_id()), 7).into();
                claims["idtyp"] = "app".into();
                claims["roles"] = permissions.into();
            }
        }
        let token = format!(
            "{}.{}.{}",
            encoded(&json!({"typ": "JWT", "alg": "RS256", "kid": "sandbox"})),
            encoded(&claims),
            fresh.opaque(256)
        );
        let facts = AccessToken {
            user: user.cloned(),
            permissions: permissions.to_vec(),
            expires_at,
            cancelled: false,
        };
        self.access.insert(token.clone(), facts);
        token
    }

    /// Writes a refresh token; `family` is `None` for a new sign-in.
    pub(crate) fn issue_refresh(
        &mut self,
        fresh: &mut Fresh,
        app: App,
        user: &UserFacts,
        scopes: &[String],
        family: Option<u64>,
    ) -> String {
        let family = family.unwrap_or_else(|| {
            self.families += 1;
            self.families
        });
        let token = format!("1.AVYA{}.AgABAwEAAAA{}", fresh.opaque(30), fresh.opaque(420));
        let facts = RefreshToken {
            user: user.clone(),
            app,
            scopes: scopes.to_vec(),
            family,
            used: false,
            dead: None,
        };
        self.refresh.insert(token.clone(), facts);
        token
    }

    /// The facts of a refresh token, to be changed.
    pub(crate) fn refresh_mut(&mut self, token: &str) -> Option<&mut RefreshToken> {
        self.refresh.get_mut(token)
    }

    /// Makes every token of a sign-in stop working.
    pub(crate) fn kill_family(&mut self, family: u64, code: u32) {
        self.refresh
            .values_mut()
            .filter(|token| token.family == family)
            .for_each(|token| token.dead = Some(code));
    }

    /// Makes every refresh token of a user stop working, as a password change does. Answers how many.
    pub(crate) fn revoke_user(&mut self, user_id: &str, code: u32) -> usize {
        let tokens = self.refresh.values_mut().filter(|token| token.user.id == user_id);
        tokens.map(|token| token.dead = Some(code)).count()
    }

    /// Makes Graph refuse all access tokens issued so far.
    pub(crate) fn cancel_access(&mut self) {
        self.access.values_mut().for_each(|token| token.cancelled = true);
    }
}

fn encoded(value: &Value) -> String {
    URL_SAFE_NO_PAD.encode(value.to_string())
}
