//! What Entra's refusals mean and what to do about them, as a table: OAuth `error` and AADSTS number → who must act,
//! and our own sentences. Microsoft says that numbers and texts may change ("Error handling" of the identity platform),
//! so a number refines the verdict of the `error` code and never makes a refusal out of something else.

use crate::connection::ConnectionName;

/// Who can repair a refusal.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Verdict {
    /// A person has to sign in, or a new token has to be given.
    SignIn,
    /// An administrator has to change the app, its secret, its consent, or the connection's properties.
    Administrator,
    /// It passes by itself.
    Passing,
    /// It passes, but only when we stay silent for a while.
    LongPause,
}

/// A verdict and the sentences that go with it: what is wrong, what to do.
#[derive(Clone, Copy, Debug)]
pub(super) struct Advice {
    pub(super) verdict: Verdict,
    pub(super) message: &'static str,
}

/// What an OAuth `error` code on a 4xx means; `None` for codes that no specification we follow defines.
pub(super) fn by_error(error: &str) -> Option<Advice> {
    use Verdict::{Administrator, Passing, SignIn};
    let (verdict, message) = match error {
        // RFC 6749 section 5.2.
        "invalid_grant" => (
            SignIn,
            "Microsoft no longer accepts the refresh token. Sign in again, or paste new tokens into the connection.",
        ),
        "invalid_client" => (
            Administrator,
            "Microsoft does not accept the client's credentials. Check OAuthClientId, OAuthClientSecret and AzureTenant; a new secret can take a few minutes to work.",
        ),
        "unauthorized_client" => (
            Administrator,
            "The app registration may not do this. Check OAuthClientId and AzureTenant, and whether the app is enabled in that tenant.",
        ),
        "invalid_scope" => (
            Administrator,
            "Microsoft does not accept the requested scope. Correct Scope, or remove it to use what was granted.",
        ),
        "invalid_resource" => (
            Administrator,
            "Microsoft does not know the requested resource in this tenant. Check AzureEnvironment, GraphEndpoint and Scope.",
        ),
        "unsupported_grant_type" => (
            Administrator,
            "The token endpoint does not offer this kind of request. Check AuthScheme and AuthorityHost.",
        ),
        "invalid_request" => (
            Administrator,
            "Microsoft calls the token request malformed. Check AzureTenant, OAuthClientId, OAuthClientSecret and Scope.",
        ),
        // OpenID Connect Core section 3.1.2.6, and Entra's own.
        "interaction_required" | "login_required" => (
            SignIn,
            "Microsoft wants the user to sign in again. Sign in again, or paste new tokens into the connection.",
        ),
        "consent_required" => (
            SignIn,
            "The app has not been given the permissions it asks for. Consent to them by signing in again, or as administrator.",
        ),
        "access_denied" | "authorization_declined" => {
            (SignIn, "The sign-in was refused. Sign in again and accept the permissions.")
        }
        "expired_token" | "bad_verification_code" => {
            (SignIn, "The sign-in took too long or its code is not valid. Start the sign-in again.")
        }
        // RFC 6749 section 4.1.2.1; Entra sends them from the token endpoint too, even with status 400.
        "temporarily_unavailable" | "server_error" | "slow_down" => (
            Passing,
            "Microsoft's token service has a passing problem. Nothing needs to be done; the agent tries again.",
        ),
        _ => return None,
    };
    Some(Advice { verdict, message })
}

/// What an AADSTS number adds; `None` for numbers that are not known.
pub(super) fn by_number(number: u32) -> Option<Advice> {
    use Verdict::{Administrator, LongPause, Passing, SignIn};
    let (verdict, message) = match number {
        // The client asked too often.
        50196 => (
            LongPause,
            "Microsoft saw too many equal token requests and wants a pause. Nothing needs to be done unless other programs use the same app and user in a loop.",
        ),
        // Passing trouble on Microsoft's side.
        50033 | 50087 | 90006 | 90012 | 90024 | 90033 | 90090 | 40010 | 80001 | 80002 | 80005 => (
            Passing,
            "Microsoft's token service has a passing problem. Nothing needs to be done; the agent tries again.",
        ),
        90055 => (
            Passing,
            "Microsoft is throttling this tenant's token requests. Nothing needs to be done; the agent tries again more slowly.",
        ),
        // The client's credential.
        7000215 => (
            Administrator,
            "The client secret is wrong. Put the secret's value (not its id) into OAuthClientSecret; a new secret can take a few minutes to work.",
        ),
        7000222 => (
            Administrator,
            "The client secret has expired. Make a new one in the app registration and put it into OAuthClientSecret.",
        ),
        7000218 => (
            Administrator,
            "The app is confidential but no client secret was sent. Set OAuthClientSecret, or allow public client flows in the app registration.",
        ),
        700025 => (
            Administrator,
            "The app is a public client and must not send a secret. Remove OAuthClientSecret.",
        ),
        700027 => (
            Administrator,
            "Microsoft does not accept the client's certificate. Upload it to the app registration, and check OAuthJWTCert.",
        ),
        700024 => (
            Administrator,
            "The client assertion's time is not valid. Check that this machine's clock is right.",
        ),
        70002 | 50012 => (
            Administrator,
            "Microsoft does not accept the client's credentials. Check OAuthClientId and OAuthClientSecret.",
        ),
        // The app.
        700016 => {
            (Administrator, "The app does not exist in this tenant. Check OAuthClientId and AzureTenant.")
        }
        7000112 => (
            Administrator,
            "The app is disabled in this tenant. Ask the tenant's administrator to enable it.",
        ),
        70001 => (Administrator, "The app is not known to this tenant. Check OAuthClientId and AzureTenant."),
        // Tenant, resource, scope, request.
        90002 => (Administrator, "The tenant does not exist. Correct AzureTenant."),
        90038 => (Administrator, "The tenant belongs to another Microsoft cloud. Correct AzureEnvironment."),
        9001023 | 50194 => (
            Administrator,
            "This kind of token needs one certain tenant. Set AzureTenant to its domain or id, not to common or organizations.",
        ),
        500011 | 650057 => (
            Administrator,
            "Microsoft Graph is not among the resources this app may ask for. Add Microsoft Graph permissions to the app registration, and check Scope.",
        ),
        70011 => {
            (Administrator, "Microsoft does not accept the requested scope. Correct Scope, or remove it.")
        }
        900144 | 9002313 => (
            Administrator,
            "Microsoft calls the token request malformed. Check AzureTenant, OAuthClientId and Scope.",
        ),
        // The refresh token.
        70000 => (
            SignIn,
            "Microsoft does not accept the refresh token. Sign in again, or paste new tokens that belong to this OAuthClientId.",
        ),
        70008 | 700082 => (
            SignIn,
            "The refresh token has expired because it was not used for too long. Sign in again, or paste new tokens into the connection.",
        ),
        700084 => (
            SignIn,
            "The refresh token has expired after the fixed 24 hours of single-page apps. Register the redirect address as a web or native app, then sign in again.",
        ),
        50173 => (
            SignIn,
            "The user's password was changed or the sign-in was revoked. Sign in again, or paste new tokens into the connection.",
        ),
        70043 => (
            SignIn,
            "The tenant's sign-in frequency policy has ended this sign-in. Sign in again, and ask for an exception for this app if that happens often.",
        ),
        50132 | 50133 | 50089 => {
            (SignIn, "The user's session has ended. Sign in again, or paste new tokens into the connection.")
        }
        54005 => (SignIn, "The sign-in's code was already used. Start the sign-in again."),
        // Consent and policies.
        65001 | 65004 => (
            SignIn,
            "The user or an administrator has not consented to the app. Consent by signing in again, or as administrator.",
        ),
        90094 => (
            SignIn,
            "An administrator has to consent to this app's permissions. Ask the tenant's administrator, then sign in again.",
        ),
        50076 | 50079 | 50078 | 50072 | 50074 | 50158 => {
            (SignIn, "Multi-factor authentication is required. Sign in again and complete it.")
        }
        53000..=53004 | 530032 => (
            SignIn,
            "A Conditional Access policy blocks this sign-in. Sign in again from an allowed device, or ask the tenant's administrator for an exception.",
        ),
        // The account.
        50034 => (
            SignIn,
            "The user does not exist in this tenant. Check AzureTenant, and sign in with another account.",
        ),
        50055 => (SignIn, "The user's password has expired. Change it, then sign in again."),
        50057 => (
            SignIn,
            "The user's account is disabled. Ask the tenant's administrator to enable it, then sign in again.",
        ),
        50105 => (
            SignIn,
            "The user is not assigned to this app. Ask the tenant's administrator to assign the user, then sign in again.",
        ),
        50020 => (
            SignIn,
            "The user belongs to another tenant. Check AzureTenant, or sign in with an account of this tenant.",
        ),
        _ => return None,
    };
    Some(Advice { verdict, message })
}

/// The advice for an `error` code with an optional number: the code decides whether it is a refusal at all, the number
/// who must act.
pub(super) fn of_refusal(error: &str, number: Option<u32>) -> Option<Advice> {
    let hint = number.and_then(by_number);
    match (by_error(error), hint) {
        // Several transient numbers come with `invalid_grant` or `invalid_request`; believing them loses nothing.
        (_, Some(hint)) if matches!(hint.verdict, Verdict::Passing | Verdict::LongPause) => Some(hint),
        (Some(base), _) if base.verdict == Verdict::Passing => Some(base),
        (Some(base), hint) => Some(hint.unwrap_or(base)),
        (None, _) => None,
    }
}

/// The remedy for a connection whose tokens are all gone.
pub(super) fn sign_in_needed(name: &ConnectionName, agent_can_sign_in: bool) -> String {
    let way = if agent_can_sign_in {
        format!("Run {} and follow it; no other tool is needed.", sign_in_command(name))
    } else {
        format!(
            "Paste OAuthAccessToken and OAuthRefreshToken into the connection, or run {}.",
            sign_in_command(name)
        )
    };
    format!("The connection has no usable token. {way}")
}

/// The remedy for an `OAuthVerifier` that the server does not take.
pub(super) fn verifier_refused(name: &ConnectionName) -> String {
    format!(
        "Microsoft does not accept OAuthVerifier: a code works once and for about ten minutes. Run {}, or make a new code with the same CallbackURL.",
        sign_in_command(name)
    )
}

/// The command that signs a connection in, ready to be pasted into a shell.
pub(super) fn sign_in_command(name: &ConnectionName) -> String {
    let name = name.as_str();
    let plain = name.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.'))
        && !name.starts_with('-');
    if plain {
        return format!("`o365-agent sign-in {name}`");
    }
    format!("`o365-agent sign-in -- '{}'`", name.replace('\'', r"'\''"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_refine_codes_and_never_invent_a_refusal() {
        let verdict = |error, number| of_refusal(error, number).map(|advice| advice.verdict);
        assert_eq!(verdict("invalid_grant", None), Some(Verdict::SignIn));
        assert_eq!(verdict("invalid_grant", Some(50196)), Some(Verdict::LongPause));
        assert_eq!(verdict("invalid_grant", Some(90033)), Some(Verdict::Passing));
        assert_eq!(verdict("invalid_grant", Some(7000222)), Some(Verdict::Administrator));
        assert_eq!(verdict("temporarily_unavailable", Some(700082)), Some(Verdict::Passing));
        assert_eq!(verdict("something_new", Some(700082)), None);
        assert_eq!(verdict("invalid_grant", Some(123)), Some(Verdict::SignIn));
    }

    #[test]
    fn every_message_says_what_to_do() {
        let numbers =
            (0..100_000u32).chain(500_000..1_000_000).chain(7_000_000..7_001_000).chain(9_000_000..9_003_000);
        let mut count = 0;
        for advice in numbers.filter_map(by_number) {
            count += 1;
            assert!(
                advice.message.ends_with('.') && advice.message.matches(". ").count() >= 1,
                "{}",
                advice.message
            );
        }
        assert!(count > 55, "{count}");
    }
}
