//! Which tokens, ids and secrets each way of signing in needs. Never talks to a token server and never looks into a
//! token.

use std::time::Duration;

use super::callback;
use super::values::Values;
use super::{Auth, AuthScheme, ClientCredential, InitiateOAuth, SeedTokens, certificate};
use crate::clock::Timestamp;

/// Reads and checks what belongs to signing in. `None` when something needed is missing; the faults say what.
pub(super) fn check(values: &mut Values<'_>, scheme: AuthScheme) -> Option<Auth> {
    let scheme = with_grant(values, scheme);
    let initiate = initiate(values, scheme)?;
    let seed = SeedTokens {
        access_token: values.secret("OAuthAccessToken"),
        refresh_token: values.secret("OAuthRefreshToken"),
        expires_in: values.integer::<u64>("OAuthExpiresIn").map(Duration::from_secs),
        issued_at: issued_at(values),
    };
    let auth = Auth {
        scheme,
        initiate,
        tenant: tenant(values),
        client_id: client_id(values),
        credential: certificate::credential(values, scheme),
        client_secret_expires: client_secret_expires(values),
        seed,
        scope: super::scope::read(values),
        sign_in: callback::check(values),
    };
    match auth.scheme {
        AuthScheme::AzureAd => azure_ad(values, &auth),
        AuthScheme::AzureServicePrincipal | AuthScheme::AzureServicePrincipalCert => {
            service_principal(values, &auth);
        }
        // The machine knows what it needs to know; OAuthClientId picks one of several identities.
        AuthScheme::AzureMsi => {}
    }
    Some(auth)
}

/// The driver's `OAuthGrantType`: CLIENT makes an AzureAD connection one of the application, with its secret. With the
/// other schemes there is nothing to choose.
fn with_grant(values: &mut Values<'_>, scheme: AuthScheme) -> AuthScheme {
    match (values.choice("OAuthGrantType"), scheme) {
        (Some("CLIENT"), AuthScheme::AzureAd) => {
            if values.is_given("OAuthRefreshToken") {
                values.fault(
                    "OAuthRefreshToken",
                    "OAuthGrantType CLIENT signs the application in, which has no refresh token (RFC 6749 section 4.4.3). Remove it, or write OAuthGrantType: CODE.",
                );
            }
            AuthScheme::AzureServicePrincipal
        }
        (Some("CODE"), AuthScheme::AzureAd) | (None, _) => scheme,
        (Some(_), _) => {
            values.notice(
                "OAuthGrantType",
                format!("OAuthGrantType has no effect. AuthScheme {} decides the grant.", scheme.as_str()),
            );
            scheme
        }
    }
}

/// The driver writes milliseconds; a number of seconds would make every token look long expired.
fn issued_at(values: &mut Values<'_>) -> Option<Timestamp> {
    const EARLIEST: i64 = 100_000_000_000;
    let millis = values.integer::<i64>("OAuthTokenTimestamp")?;
    if (1..EARLIEST).contains(&millis) {
        values.fault(
            "OAuthTokenTimestamp",
            format!("{millis} is in 1973 or earlier: it looks like seconds. Write milliseconds since 1970."),
        );
    }
    (millis != 0).then(|| Timestamp::from_millis(millis))
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
    verifier(values, auth);
    match auth.initiate {
        InitiateOAuth::Off => off(values, no_access_token),
        InitiateOAuth::Refresh => {
            let has_verifier = values.is_given("OAuthVerifier");
            if is_missing(values, "OAuthRefreshToken", auth.seed.refresh_token.as_ref())
                && !has_own_store(values)
                && !has_verifier
            {
                values.fault("OAuthRefreshToken", format!(
                    "InitiateOAuth {initiate} needs OAuthRefreshToken. Give it, or give an OAuthSettingsLocation that holds one."
                ));
            }
            if no_access_token && !has_verifier && (auth.client_id.is_none() || auth.tenant.is_none()) {
                values.fault("OAuthAccessToken", format!(
                    "InitiateOAuth {initiate} needs OAuthAccessToken, or both OAuthClientId and AzureTenant."
                ));
            }
        }
        InitiateOAuth::GetAndRefresh => {
            if no_access_token
                && !values.is_given("OAuthVerifier")
                && auth.client_id.is_none()
                && !has_own_store(values)
            {
                values.fault("OAuthClientId", format!(
                    "InitiateOAuth {initiate} needs OAuthClientId, the application to sign in to, unless OAuthAccessToken is given."
                ));
            }
        }
    }
}

/// A code and tokens would be two sign-ins, perhaps of two people, and nothing says which one counts.
fn verifier(values: &mut Values<'_>, auth: &Auth) {
    const NAME: &str = "OAuthVerifier";
    if auth.sign_in.verifier.is_none() {
        return;
    }
    if auth.initiate == InitiateOAuth::Off {
        return values
            .notice(NAME, "OAuthVerifier is not used with InitiateOAuth OFF. Write REFRESH to use it.");
    }
    if is_missing(values, "OAuthClientId", auth.client_id.as_ref()) {
        values.fault(NAME, "OAuthVerifier needs OAuthClientId: only the application that the code was made for can redeem it. Add OAuthClientId.");
    }
    if values.is_given("OAuthAccessToken") || values.is_given("OAuthRefreshToken") {
        values.fault(NAME, "OAuthVerifier and tokens are two ways to begin. Remove OAuthVerifier, or OAuthAccessToken and OAuthRefreshToken.");
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
    // An AzureAD connection with OAuthGrantType CLIENT comes here too.
    let client_grant = values.choice("AuthScheme") == Some("AzureAD");
    let who = if client_grant {
        "OAuthGrantType CLIENT".to_owned()
    } else {
        format!("AuthScheme {}", auth.scheme.as_str())
    };
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
    let has_credential = !matches!(auth.credential, ClientCredential::None);
    // A certificate that came to nothing has a fault of its own.
    let is_explained = values.has_fault("OAuthClientSecret")
        || values.is_given("OAuthJWTCert")
        || values.is_given("OAuthJWTCertType");
    if !has_credential && !is_explained {
        let (name, wanted) = match auth.scheme {
            AuthScheme::AzureServicePrincipalCert => (
                "OAuthJWTCert",
                "OAuthJWTCert with OAuthJWTCertType. Give them here or below AdvancedConfigurations.",
            ),
            _ if client_grant => {
                ("OAuthClientSecret", "OAuthClientSecret. Give it, best as { file: } or { credential: }.")
            }
            _ => (
                "OAuthClientSecret",
                "OAuthClientSecret, or OAuthJWTCert with OAuthJWTCertType. Give one of them, best as { file: } or { credential: }.",
            ),
        };
        values.fault(name, format!("{who} needs {wanted}"));
    }
    // Both can be read from a given access token.
    if no_access_token(values, auth) {
        for (name, value) in [("OAuthClientId", &auth.client_id), ("AzureTenant", &auth.tenant)] {
            if is_missing(values, name, value.as_ref()) {
                values.fault(name, format!("{who} needs {name}, unless OAuthAccessToken is given. Add it."));
            }
        }
    }
}
