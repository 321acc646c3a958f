//! What an access token says about itself, read without checking its signature. Only ever a hint: Graph decides what a
//! token may do, and a token that cannot be read (Microsoft may make them opaque) simply says nothing.

use base64::Engine;
use base64::alphabet::URL_SAFE;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};

use crate::clock::Timestamp;

/// Longer tokens are not looked into. Real ones are 1 to 8 KiB; headers of 64 KiB are refused by every server.
pub(super) const LONGEST_TOKEN: usize = 64 * 1024;
/// Longest identifier taken from a claim. Ids are 36 characters, tenant domains at most 253.
const LONGEST_IDENTIFIER: usize = 256;
/// Entra pads nothing, other makers of JWTs pad: both are read.
const BASE64URL: GeneralPurpose = GeneralPurpose::new(
    &URL_SAFE,
    GeneralPurposeConfig::new()
        .with_decode_padding_mode(DecodePaddingMode::Indifferent)
        .with_decode_allow_trailing_bits(true),
);

/// The claims the agent looks at (Microsoft identity platform, "Access token claims reference").
#[derive(Clone, Debug, Default, PartialEq, serde::Serialize)]
#[serde(rename_all = "camelCase")]
pub struct TokenClaims {
    /// `appid` (version 1 tokens) or `azp` (version 2): the client the token was issued to.
    pub client_id: Option<String>,
    /// `tid`: the tenant.
    pub tenant: Option<String>,
    /// `exp`.
    pub expires_at: Option<Timestamp>,
    /// `iat`.
    pub issued_at: Option<Timestamp>,
    /// `upn`, else `preferred_username` or `unique_name`: the account that signed in, as people know it.
    pub account: Option<String>,
    /// `oid`: the object id of the account.
    #[serde(skip)]
    pub object_id: Option<String>,
    /// `aud`: whom the token is for.
    pub audience: Option<String>,
    /// `scp`: what a signed-in user's token may do.
    pub scopes: Vec<String>,
    /// `roles`: what an application's token may do.
    pub roles: Vec<String>,
}

/// Reads the payload of a JWT-shaped token; `None` for anything else.
pub fn read_claims(token: &str) -> Option<TokenClaims> {
    if token.len() > LONGEST_TOKEN {
        return None;
    }
    let mut parts = token.split('.');
    let (_header, payload, _signature) = (parts.next()?, parts.next()?, parts.next()?);
    if parts.next().is_some() {
        return None;
    }
    let json = BASE64URL.decode(payload).ok()?;
    let claims: serde_json::Map<String, serde_json::Value> = serde_json::from_slice(&json).ok()?;
    let text = |name: &str| claims.get(name).and_then(|value| value.as_str()).and_then(identifier);
    let words = |name: &str| match claims.get(name) {
        Some(serde_json::Value::String(all)) => {
            all.split_whitespace().filter_map(identifier).take(200).collect()
        }
        Some(serde_json::Value::Array(all)) => {
            all.iter().filter_map(|one| one.as_str()).filter_map(identifier).take(200).collect()
        }
        _ => Vec::new(),
    };
    Some(TokenClaims {
        client_id: text("appid").or_else(|| text("azp")),
        tenant: text("tid"),
        expires_at: claims.get("exp").and_then(instant),
        issued_at: claims.get("iat").and_then(instant),
        account: ["upn", "preferred_username", "unique_name"].into_iter().find_map(text),
        object_id: text("oid"),
        audience: text("aud"),
        scopes: words("scp"),
        roles: words("roles"),
    })
}

/// A claim that will be shown, or put into a form or a path: short, and printable without surprises.
fn identifier(text: &str) -> Option<String> {
    let fits = !text.is_empty()
        && text.len() <= LONGEST_IDENTIFIER
        && text.bytes().all(|byte| byte.is_ascii_graphic());
    fits.then(|| text.to_owned())
}

/// Seconds since 1970, as an integer or (some libraries) a float; years past 9999 are nonsense.
fn instant(value: &serde_json::Value) -> Option<Timestamp> {
    let seconds = value.as_f64()?;
    #[expect(clippy::cast_possible_truncation, reason = "the range check holds it within i64")]
    (0.0..253_402_300_800.0).contains(&seconds).then(|| Timestamp::from_seconds(seconds as i64))
}

/// A JWT-shaped token with these claims, for tests.
#[cfg(test)]
pub(super) fn test_jwt(claims: &str) -> String {
    let encode = base64::engine::general_purpose::URL_SAFE_NO_PAD;
    format!(
        "{}.{}.{}",
        encode.encode(r#"{"typ":"JWT","alg":"RS256"}"#),
        encode.encode(claims),
        "c2lnbmF0dXJl"
    )
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn reads_both_versions_of_entra_tokens() {
        let first = read_claims(&test_jwt(
            r#"{"aud":"https://graph.microsoft.com","appid":"a-1","tid":"t-1","exp":1700003600,"iat":1700000000,"scp":"Mail.Read User.Read"}"#,
        ))
        .unwrap();
        assert_eq!((first.client_id.as_deref(), first.tenant.as_deref()), (Some("a-1"), Some("t-1")));
        assert_eq!(first.expires_at, Some(Timestamp::from_seconds(1_700_003_600)));
        assert_eq!(first.scopes, ["Mail.Read", "User.Read"]);
        let second =
            read_claims(&test_jwt(r#"{"azp":"a-2","exp":1700003600.5,"roles":["Mail.ReadWrite"]}"#)).unwrap();
        assert_eq!(second.client_id.as_deref(), Some("a-2"));
        assert_eq!(second.roles, ["Mail.ReadWrite"]);
    }

    #[test]
    fn opaque_and_hostile_tokens_say_nothing() {
        let long = "x".repeat(LONGEST_TOKEN + 1);
        for token in
            ["", "opaque", "a.b", "a.b.c", "a.b.c.d", "..", "a.!!!.c", &test_jwt("[]"), &test_jwt("{"), &long]
        {
            assert_eq!(read_claims(token), None, "{token:.40}");
        }
        let odd = read_claims(&test_jwt(r#"{"appid":"a\r\nb","tid":17,"exp":-1,"iat":1e99,"scp":{"a":1}}"#))
            .unwrap();
        assert_eq!(odd, TokenClaims::default());
    }

    proptest! {
        #[test]
        fn never_panics(text in ".{0,300}", claims in ".{0,300}") {
            read_claims(&text);
            read_claims(&test_jwt(&claims));
        }
    }
}
