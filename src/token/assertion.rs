//! Client assertions (RFC 7523 section 2.2): a JWT that says who asks, signed with the certificate's key. Made anew for
//! every request, because strict servers refuse a `jti` they have seen. Never reads a file.
//!
//! Microsoft identity platform, "Certificate credentials": PS256 with `x5t#S256`; RS256 with `x5t` for older servers.

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{RSA_PKCS1_SHA256, RSA_PSS_SHA256};
use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use serde_json::json;
use url::form_urlencoded::Serializer;

use crate::clock::Timestamp;
use crate::connection::{AssertionAlgorithm, ClientCertificate};
use crate::secret::{Secret, hex, random_bytes};

use super::certificate::Signer;

/// How long an assertion counts. Entra takes up to ten minutes; half leaves room for a clock that is off.
const LIFETIME_SECONDS: i64 = 300;
/// RFC 7521 section 4.2.
const ASSERTION_TYPE: &str = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer";

/// An assertion for the token endpoint at `audience`; `None` when the key refuses to sign.
pub(super) fn make(
    signer: &Signer,
    wanted: &ClientCertificate,
    client_id: &str,
    audience: &str,
    now: Timestamp,
) -> Option<Secret> {
    let thumbprint = URL_SAFE_NO_PAD.encode(&signer.thumbprint);
    let mut header = match wanted.algorithm {
        AssertionAlgorithm::Ps256 => json!({"alg": "PS256", "typ": "JWT", "x5t#S256": thumbprint}),
        AssertionAlgorithm::Rs256 => json!({"alg": "RS256", "typ": "JWT", "x5t": thumbprint}),
    };
    if wanted.send_chain {
        // RFC 7515 section 4.1.6: standard base64, unlike everything around it.
        header["x5c"] = signer.chain.iter().map(|der| STANDARD.encode(der)).collect();
    }
    let seconds = now.as_seconds();
    let claims = json!({
        "aud": audience,
        "iss": client_id,
        "sub": client_id,
        "jti": random_uuid(),
        "nbf": seconds,
        "iat": seconds,
        "exp": seconds + LIFETIME_SECONDS,
    });
    let part = |value: &serde_json::Value| URL_SAFE_NO_PAD.encode(value.to_string());
    let signed = format!("{}.{}", part(&header), part(&claims));
    let mut signature = vec![0; signer.key.public_modulus_len()];
    let padding: &'static dyn aws_lc_rs::signature::RsaEncoding = match wanted.algorithm {
        AssertionAlgorithm::Ps256 => &RSA_PSS_SHA256,
        AssertionAlgorithm::Rs256 => &RSA_PKCS1_SHA256,
    };
    signer.key.sign(padding, &SystemRandom::new(), signed.as_bytes(), &mut signature).ok()?;
    Some(Secret::new(format!("{signed}.{}", URL_SAFE_NO_PAD.encode(signature))))
}

/// `form` with the assertion as the client's authentication.
pub(super) fn add_to_form(form: String, assertion: &Secret) -> String {
    let mut form = Serializer::new(form);
    form.append_pair("client_assertion_type", ASSERTION_TYPE);
    form.append_pair("client_assertion", assertion.expose());
    form.finish()
}

/// A random UUID (RFC 9562 section 5.4).
fn random_uuid() -> String {
    let mut bytes = random_bytes(16);
    bytes[6] = (bytes[6] & 0x0f) | 0x40;
    bytes[8] = (bytes[8] & 0x3f) | 0x80;
    let text = hex(&bytes);
    format!("{}-{}-{}-{}-{}", &text[..8], &text[8..12], &text[12..16], &text[16..20], &text[20..])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_random_uuids() {
        let (one, two) = (random_uuid(), random_uuid());
        assert!(one != two && one.len() == 36 && one.as_bytes()[14] == b'4', "{one}");
    }
}
