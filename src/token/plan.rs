//! From a connection's `Auth` to what can be done for its tokens: pure, decided once per connection version.
//! Asks no server and reads no store.

use crate::clock::Timestamp;
use crate::connection::{Auth, AuthScheme, ClientCredential, InitiateOAuth};
use crate::secret::{Secret, hex};

use super::claims::read_claims;
use super::store::seeds;

/// What a connection's configuration allows.
#[derive(Debug)]
pub(super) enum TokenPlan {
    /// The access token is used as given and never refreshed (`InitiateOAuth: OFF`). No store is used: it could only
    /// repeat what the drop-in says.
    Fixed(GivenToken),
    /// Tokens live in a store and are renewed.
    Kept(KeptPlan),
    /// Nothing can be done with this configuration.
    Impossible(&'static str),
}

/// How tokens of a kept connection are renewed.
#[derive(Debug)]
pub(super) struct KeptPlan {
    /// The ways to a new token, in the order they are tried: the next one only when the one before is not possible or
    /// was denied.
    pub(super) grants: &'static [Grant],
    /// Tokens from the drop-in, if there are any.
    pub(super) seed: Option<Seed>,
    /// `OAuthVerifier`: the code of a sign-in that was made elsewhere.
    pub(super) verifier: Option<Verifier>,
    /// Whether a person's sign-in is the way out when no token is left (else: new tokens in the drop-in).
    pub(super) sign_in: bool,
}

/// A way to a new access token.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Grant {
    /// RFC 6749 section 6, with client authentication when the connection has a credential.
    RefreshToken,
    /// RFC 6749 section 4.4.
    ClientCredentials,
    /// The machine's identity service.
    ManagedIdentity,
    /// RFC 6749 section 4.1.3: the code of a person's sign-in.
    AuthorizationCode,
    /// RFC 8628 section 3.4: a person signs in on another device.
    DeviceCode,
}

/// A code that is redeemed once.
#[derive(Clone, Debug)]
pub(super) struct Verifier {
    /// The code.
    pub(super) code: Secret,
    /// Which code it is, recorded in the store in place of a seed's fingerprint when it has been spent.
    pub(super) fingerprint: String,
}

/// An access token from the configuration.
#[derive(Clone, Debug)]
pub(super) struct GivenToken {
    /// The token.
    pub(super) secret: Secret,
    /// When it was made, as far as that is known; else when it was first looked at.
    pub(super) obtained_at: Timestamp,
    /// When it stops working; `None` when nothing tells.
    pub(super) expires_at: Option<Timestamp>,
}

/// The tokens a drop-in gives.
#[derive(Clone, Debug)]
pub(super) struct Seed {
    /// Which seed it is: the SHA-256 of its tokens in hexadecimal, recorded in the store so that it counts only once.
    pub(super) fingerprint: String,
    /// `OAuthAccessToken`.
    pub(super) access: Option<GivenToken>,
    /// `OAuthRefreshToken`.
    pub(super) refresh_token: Option<Secret>,
}

/// Where people of any organisation sign in (Microsoft identity platform, "Endpoints").
pub(super) const ANY_TENANT: &str = "organizations";

impl KeptPlan {
    /// The fingerprints of the code and of the tokens that the drop-in gives.
    pub(super) fn fingerprints(&self) -> Option<String> {
        let of_verifier = self.verifier.as_ref().map(|verifier| verifier.fingerprint.as_str());
        seeds(of_verifier, self.seed.as_ref().map(|seed| seed.fingerprint.as_str()))
    }

    /// Whether a token request may be made without knowing the tenant: only where a person's sign-in chose it.
    pub(super) fn accepts_any_tenant(&self) -> bool {
        self.sign_in || self.verifier.is_some()
    }
}

impl TokenPlan {
    /// Decides what can be done with `auth`, seen at `now`.
    pub(super) fn make(auth: &Auth, now: Timestamp) -> Self {
        const NO_GIVEN_TOKEN: &str = "InitiateOAuth is OFF but no OAuthAccessToken is given. Give a token, or set InitiateOAuth to REFRESH or GETANDREFRESH.";
        const NO_CREDENTIAL: &str =
            "An application needs OAuthClientSecret or OAuthJWTCert to get a token. Set one of them.";
        let given = given_token(auth, now);
        let seed = seed(auth, given.as_ref());
        match (auth.scheme, auth.initiate, &auth.credential) {
            (AuthScheme::AzureMsi, ..) => Self::Kept(KeptPlan {
                grants: &[Grant::ManagedIdentity],
                seed: None,
                verifier: None,
                sign_in: false,
            }),
            (_, InitiateOAuth::Off, _) => given.map_or(Self::Impossible(NO_GIVEN_TOKEN), Self::Fixed),
            (AuthScheme::AzureAd, initiate, _) => Self::Kept(KeptPlan {
                grants: if auth.sign_in.verifier.is_some() {
                    &[Grant::AuthorizationCode, Grant::RefreshToken]
                } else {
                    &[Grant::RefreshToken]
                },
                seed,
                verifier: verifier(auth),
                sign_in: initiate == InitiateOAuth::GetAndRefresh,
            }),
            (_, _, ClientCredential::Secret(_) | ClientCredential::Certificate(_)) => Self::Kept(KeptPlan {
                grants: &[Grant::RefreshToken, Grant::ClientCredentials],
                seed,
                verifier: None,
                sign_in: false,
            }),
            (_, _, ClientCredential::None | ClientCredential::ManagedIdentity(_)) => {
                Self::Impossible(NO_CREDENTIAL)
            }
        }
    }
}

/// What a store remembers of the code and the tokens that a drop-in gives.
pub(super) fn fingerprints_of(auth: &Auth, now: Timestamp) -> Option<String> {
    match TokenPlan::make(auth, now) {
        TokenPlan::Kept(plan) => plan.fingerprints(),
        TokenPlan::Fixed(_) | TokenPlan::Impossible(_) => None,
    }
}

fn verifier(auth: &Auth) -> Option<Verifier> {
    let code = auth.sign_in.verifier.clone().filter(|code| !code.is_empty())?;
    let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, code.expose().as_bytes());
    Some(Verifier { code, fingerprint: format!("verifier:{}", hex(digest.as_ref())) })
}

fn given_token(auth: &Auth, now: Timestamp) -> Option<GivenToken> {
    let secret = auth.seed.access_token.as_ref().filter(|secret| !secret.is_empty())?;
    let claims = read_claims(secret.expose()).unwrap_or_default();
    // A given issue time in the future cannot be right; "now" is the latest moment the token can have been made.
    let obtained_at = auth.seed.issued_at.or(claims.issued_at).map_or(now, |at| at.min(now));
    let lifetime_given = auth.seed.expires_in.map(|lifetime| obtained_at.plus(lifetime));
    // The token's own word wins: OAuthExpiresIn is often copied without its timestamp, or left from an older token.
    let expires_at = claims.expires_at.or(lifetime_given);
    Some(GivenToken { secret: secret.clone(), obtained_at, expires_at })
}

fn seed(auth: &Auth, given: Option<&GivenToken>) -> Option<Seed> {
    let refresh_token = auth.seed.refresh_token.clone().filter(|secret| !secret.is_empty());
    if given.is_none() && refresh_token.is_none() {
        return None;
    }
    let mut context = aws_lc_rs::digest::Context::new(&aws_lc_rs::digest::SHA256);
    for part in [given.map(|given| &given.secret), refresh_token.as_ref()] {
        // The length first, so that no two different pairs of tokens feed the same bytes.
        let bytes = part.map_or(&b""[..], |secret| secret.expose().as_bytes());
        context.update(&(bytes.len() as u64).to_be_bytes());
        context.update(bytes);
    }
    Some(Seed { fingerprint: hex(context.finish().as_ref()), access: given.cloned(), refresh_token })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::time::Duration;

    use super::super::claims::test_jwt;
    use super::super::testing::auth;
    use super::*;

    const NOW: Timestamp = Timestamp::from_seconds(1_700_000_000);

    fn describe(plan: &TokenPlan) -> String {
        match plan {
            TokenPlan::Fixed(_) => "fixed".to_owned(),
            TokenPlan::Kept(kept) => {
                let grants: Vec<&str> = kept
                    .grants
                    .iter()
                    .map(|grant| match grant {
                        Grant::RefreshToken => "refresh",
                        Grant::ClientCredentials => "mint",
                        Grant::ManagedIdentity => "machine",
                        Grant::AuthorizationCode => "code",
                        Grant::DeviceCode => "device",
                    })
                    .collect();
                let seed =
                    kept.seed.as_ref().map_or("none", |seed| match (&seed.access, &seed.refresh_token) {
                        (Some(_), Some(_)) => "both",
                        (Some(_), None) => "access",
                        _ => "refresh",
                    });
                format!("{} seed={seed} sign_in={}", grants.join("+"), kept.sign_in)
            }
            TokenPlan::Impossible(why) => format!("impossible: {why}"),
        }
    }

    #[test]
    fn the_table_of_schemes() {
        use AuthScheme::{AzureAd, AzureMsi, AzureServicePrincipal, AzureServicePrincipalCert};
        use InitiateOAuth::{GetAndRefresh, Off, Refresh};
        #[rustfmt::skip]
        let rows: &[(AuthScheme, InitiateOAuth, bool, bool, bool, &str)] = &[
            // scheme, initiate, access token, refresh token, client secret, expected
            (AzureAd, Off, true, false, false, "fixed"),
            (AzureAd, Off, true, true, true, "fixed"),
            (AzureAd, Off, false, false, false, "impossible: InitiateOAuth is OFF"),
            (AzureAd, Off, false, true, false, "impossible: InitiateOAuth is OFF"),
            (AzureAd, Refresh, true, true, false, "refresh seed=both sign_in=false"),
            (AzureAd, Refresh, false, true, false, "refresh seed=refresh sign_in=false"),
            (AzureAd, Refresh, true, false, false, "refresh seed=access sign_in=false"),
            (AzureAd, Refresh, true, true, true, "refresh seed=both sign_in=false"),
            (AzureAd, GetAndRefresh, false, false, false, "refresh seed=none sign_in=true"),
            (AzureAd, GetAndRefresh, false, true, false, "refresh seed=refresh sign_in=true"),
            (AzureServicePrincipal, Off, true, false, true, "fixed"),
            (AzureServicePrincipal, Off, false, false, true, "impossible: InitiateOAuth is OFF"),
            (AzureServicePrincipal, Refresh, false, false, true, "refresh+mint seed=none sign_in=false"),
            (AzureServicePrincipal, Refresh, true, false, true, "refresh+mint seed=access sign_in=false"),
            (AzureServicePrincipal, Refresh, true, true, true, "refresh+mint seed=both sign_in=false"),
            (AzureServicePrincipal, GetAndRefresh, false, false, true, "refresh+mint seed=none sign_in=false"),
            (AzureServicePrincipal, GetAndRefresh, false, true, true, "refresh+mint seed=refresh sign_in=false"),
            (AzureServicePrincipal, GetAndRefresh, false, false, false, "impossible: An application needs"),
            (AzureServicePrincipalCert, Off, true, false, false, "fixed"),
            (AzureServicePrincipalCert, Refresh, true, true, false, "impossible: An application needs"),
            (AzureMsi, GetAndRefresh, false, false, false, "machine seed=none sign_in=false"),
        ];
        for (scheme, initiate, access, refresh, secret, expected) in rows {
            let mut auth = auth(*scheme, *initiate);
            auth.seed.access_token = access.then(|| "at".into());
            auth.seed.refresh_token = refresh.then(|| "rt".into());
            auth.credential =
                if *secret { ClientCredential::Secret("s".into()) } else { ClientCredential::None };
            let plan = describe(&TokenPlan::make(&auth, NOW));
            assert!(
                plan.starts_with(expected),
                "{scheme:?} {initiate:?} {access} {refresh} {secret}: {plan}"
            );
        }
    }

    #[test]
    fn expiry_comes_from_the_token_then_from_the_properties() {
        let given = |token: &str, expires_in: Option<u64>, issued_at: Option<i64>| {
            let mut auth = auth(AuthScheme::AzureAd, InitiateOAuth::Off);
            auth.seed.access_token = Some(token.into());
            auth.seed.expires_in = expires_in.map(Duration::from_secs);
            auth.seed.issued_at = issued_at.map(Timestamp::from_seconds);
            given_token(&auth, NOW).unwrap().expires_at.map(Timestamp::as_seconds)
        };
        assert_eq!(given("opaque", None, None), None);
        assert_eq!(given("opaque", Some(3600), None), Some(1_700_003_600));
        assert_eq!(given("opaque", Some(3600), Some(1_699_999_000)), Some(1_700_002_600));
        assert_eq!(given("opaque", Some(3600), Some(1_800_000_000)), Some(1_700_003_600));
        assert_eq!(given(&test_jwt(r#"{"exp":1700000500}"#), Some(3600), None), Some(1_700_000_500));
    }

    #[test]
    fn a_seed_is_told_from_every_other() {
        let fingerprint = |access: Option<&str>, refresh: Option<&str>| {
            let mut auth = auth(AuthScheme::AzureAd, InitiateOAuth::Refresh);
            auth.seed.access_token = access.map(Into::into);
            auth.seed.refresh_token = refresh.map(Into::into);
            match TokenPlan::make(&auth, NOW) {
                TokenPlan::Kept(kept) => kept.seed.map(|seed| seed.fingerprint),
                other => panic!("{other:?}"),
            }
        };
        let all = [
            fingerprint(Some("ab"), Some("c")),
            fingerprint(Some("a"), Some("bc")),
            fingerprint(Some("abc"), None),
            fingerprint(None, Some("abc")),
        ];
        for (index, one) in all.iter().enumerate() {
            assert!(all[index + 1..].iter().all(|other| other != one));
        }
        assert_eq!(fingerprint(None, None), None);
        assert_eq!(fingerprint(Some("a"), None), fingerprint(Some("a"), Some("")));
    }
}
