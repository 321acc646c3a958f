//! Which tokens, ids and secrets each way of signing in needs. Never talks to a token server and never looks into a
//! token.

use std::time::Duration;

use super::values::Values;
use super::{Auth, AuthScheme, ClientCredential, InitiateOAuth, SeedTokens};
use crate::clock::Timestamp;

/// Reads and checks what belongs to signing in. `None` when something needed is missing; the faults say what.
pub(super) fn check(values: &mut Values<'_>, scheme: AuthScheme) -> Option<Auth> {
    let initiate = initiate(values, scheme)?;
    let seed = SeedTokens {
        access_token: values.secret("OAuthAccessToken"),
        refresh_token: values.secret("OAuthRefreshToken"),
        expires_in: values.integer::<u64>("OAuthExpiresIn").map(Duration::from_secs),
        issued_at: values.integer::<i64>("OAuthTokenTimestamp").map(Timestamp::from_millis),
    };
    let auth = Auth {
        scheme,
        initiate,
        tenant: tenant(values),
        client_id: client_id(values),
        credential: values
            .secret("OAuthClientSecret")
            .map_or(ClientCredential::None, ClientCredential::Secret),
        client_secret_expires: client_secret_expires(values),
        seed,
        scope: values.text("Scope"),
    };
    match scheme {
        AuthScheme::AzureAd => azure_ad(values, &auth),
        AuthScheme::AzureServicePrincipal => service_principal(values, &auth),
        // Refused already, with the whole scheme.
        AuthScheme::AzureMsi | AuthScheme::AzureServicePrincipalCert => {}
    }
    Some(auth)
}

fn initiate(values: &mut Values<'_>, scheme: AuthScheme) -> Option<InitiateOAuth> {
    if scheme == AuthScheme::AzureMsi {
        return Some(InitiateOAuth::GetAndRefresh);
    }
    if !values.is_given("InitiateOAuth") {
        // The driver's own default.
        return Some(InitiateOAuth::Off);
    }
    Some(match values.choice("InitiateOAuth")? {
        "OFF" => InitiateOAuth::Off,
        "REFRESH" => InitiateOAuth::Refresh,
        _ => InitiateOAuth::GetAndRefresh,
    })
}

/// A domain or an id. It becomes a part of the token server's path, so nothing else may be in it.
fn tenant(values: &mut Values<'_>) -> Option<String> {
    let tenant = values.text("AzureTenant")?;
    if !tenant.chars().all(|character| character.is_ascii_alphanumeric() || matches!(character, '.' | '-')) {
        let message = format!(
            "'{}' is not a tenant. Write its domain (contoso.onmicrosoft.com) or its id.",
            tenant.escape_debug()
        );
        values.fault("AzureTenant", message);
    }
    Some(tenant)
}

fn client_id(values: &mut Values<'_>) -> Option<String> {
    let id = values.text("OAuthClientId")?;
    if !id.chars().all(|character| character.is_ascii_alphanumeric() || matches!(character, '.' | '-' | '_'))
    {
        let message = format!(
            "'{}' is not a client id. Copy the application (client) id from its registration.",
            id.escape_debug()
        );
        values.fault("OAuthClientId", message);
    }
    Some(id)
}

/// A day (its beginning in UTC, so that the warning is early rather than late) or an instant.
fn client_secret_expires(values: &mut Values<'_>) -> Option<Timestamp> {
    let text = values.text("OAuthClientSecretExpires")?;
    let day = || {
        let day = text.parse::<jiff::civil::Date>().ok()?;
        jiff::tz::TimeZone::UTC.to_timestamp(day.at(0, 0, 0, 0)).ok()
    };
    let instant = text.parse::<jiff::Timestamp>().ok().or_else(day);
    if instant.is_none() {
        let message = format!(
            "'{}' is not a date. Write it as 2027-03-31, as the app registration shows it.",
            text.escape_debug()
        );
        values.fault("OAuthClientSecretExpires", message);
    }
    instant.map(|instant| Timestamp::from_millis(instant.as_millisecond()))
}

/// Whether a property came to nothing without a fault that explains it.
fn is_missing<T>(values: &Values<'_>, name: &str, value: Option<&T>) -> bool {
    value.is_none() && !values.has_fault(name)
}

fn no_access_token(values: &Values<'_>, auth: &Auth) -> bool {
    is_missing(values, "OAuthAccessToken", auth.seed.access_token.as_ref())
}

/// A store of its own may hold tokens from an earlier life of this connection.
fn has_own_store(values: &Values<'_>) -> bool {
    values.written("OAuthSettingsLocation").is_some_and(|text| !text.trim().is_empty())
}

fn azure_ad(values: &mut Values<'_>, auth: &Auth) {
    let initiate = auth.initiate.as_str();
    let no_access_token = no_access_token(values, auth);
    match auth.initiate {
        InitiateOAuth::Off => off(values, no_access_token),
        InitiateOAuth::Refresh => {
            if is_missing(values, "OAuthRefreshToken", auth.seed.refresh_token.as_ref())
                && !has_own_store(values)
            {
                values.fault("OAuthRefreshToken", format!(
                    "InitiateOAuth {initiate} needs OAuthRefreshToken. Give it, or give an OAuthSettingsLocation that holds one."
                ));
            }
            if no_access_token && (auth.client_id.is_none() || auth.tenant.is_none()) {
                values.fault("OAuthAccessToken", format!(
                    "InitiateOAuth {initiate} needs OAuthAccessToken, or both OAuthClientId and AzureTenant."
                ));
            }
        }
        InitiateOAuth::GetAndRefresh => {
            if no_access_token && auth.client_id.is_none() && !has_own_store(values) {
                values.fault("OAuthClientId", format!(
                    "InitiateOAuth {initiate} needs OAuthClientId, the application to sign in to, unless OAuthAccessToken is given."
                ));
            }
        }
    }
}

fn off(values: &mut Values<'_>, no_access_token: bool) {
    if no_access_token {
        values.fault(
            "OAuthAccessToken",
            "InitiateOAuth OFF needs OAuthAccessToken. Give it, or write InitiateOAuth: REFRESH with an OAuthRefreshToken.",
        );
    }
    values.notice(
        "OAuthRefreshToken",
        "OAuthRefreshToken is not used with InitiateOAuth OFF. Write REFRESH to use it.",
    );
}

fn service_principal(values: &mut Values<'_>, auth: &Auth) {
    if auth.initiate == InitiateOAuth::Off {
        return off(values, no_access_token(values, auth));
    }
    // RFC 6749 section 4.4 has no user behind it, so there is no "whichever tenant the user is in".
    let any_tenant = ["common", "organizations", "consumers"];
    if let Some(tenant) =
        auth.tenant.as_deref().filter(|tenant| any_tenant.contains(&tenant.to_ascii_lowercase().as_str()))
    {
        let message = format!(
            "An application signs in to one tenant, not to '{tenant}'. Write the tenant's domain or id."
        );
        values.fault("AzureTenant", message);
    }
    let secret = matches!(auth.credential, ClientCredential::Secret(_)).then_some(&auth.credential);
    if is_missing(values, "OAuthClientSecret", secret) {
        values.fault("OAuthClientSecret", "AuthScheme AzureServicePrincipal needs OAuthClientSecret. Give it, best as { file: } or { credential: }.");
    }
    // Both can be read from a given access token.
    if no_access_token(values, auth) {
        for (name, value) in [("OAuthClientId", &auth.client_id), ("AzureTenant", &auth.tenant)] {
            if is_missing(values, name, value.as_ref()) {
                values.fault(name, format!("AuthScheme AzureServicePrincipal needs {name}, unless OAuthAccessToken is given. Add it."));
            }
        }
    }
}
