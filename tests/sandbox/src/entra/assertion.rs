//! Client assertions: a JWT signed with the key of a certificate that is registered on the application (Microsoft identity
//! platform, "Certificate credentials"), or a federated token that the application trusts.
//! Never takes an unsigned or unknown one.

use super::apps::{App, Form, field};
use super::errors::OAuthError;
use crate::time::now_seconds;
use aws_lc_rs::digest::{SHA1_FOR_LEGACY_USE_ONLY, SHA256, digest};
use aws_lc_rs::signature::{
    RSA_PKCS1_2048_8192_SHA256, RSA_PSS_2048_8192_SHA256, UnparsedPublicKey, VerificationAlgorithm,
};
use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use serde_json::Value;
use std::collections::HashSet;

/// The longest life of an assertion, with what clocks may differ.
const LONGEST_LIFE: i64 = 600;
const CLOCK_SKEW: i64 = 300;
/// The `client_assertion_type` of RFC 7523.
const ASSERTION_TYPE: &str = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer";

/// What the confidential application has registered beside its secrets.
#[derive(Debug, Default)]
pub(crate) struct Credentials {
    certificates: Vec<Registered>,
    federated_tokens: HashSet<String>,
    used_ids: HashSet<String>,
}

#[derive(Debug)]
struct Registered {
    sha1: Vec<u8>,
    sha256: Vec<u8>,
    public_key: Vec<u8>,
}

impl Credentials {
    /// Registers every certificate of a PEM text; answers how many.
    pub(crate) fn register(&mut self, pem: &str) -> usize {
        let before = self.certificates.len();
        for piece in pem.split("-----BEGIN CERTIFICATE-----").skip(1) {
            let encoded: String = piece
                .split("-----END")
                .next()
                .unwrap_or_default()
                .chars()
                .filter(|one| !one.is_ascii_whitespace())
                .collect();
            let Ok(der) = STANDARD.decode(encoded) else { continue };
            let Some(public_key) = subject_public_key_info(&der) else { continue };
            self.certificates.push(Registered {
                sha1: digest(&SHA1_FOR_LEGACY_USE_ONLY, &der).as_ref().to_vec(),
                sha256: digest(&SHA256, &der).as_ref().to_vec(),
                public_key,
            });
        }
        self.certificates.len() - before
    }

    /// Trusts a federated token, until the next one.
    pub(crate) fn trust_federated_token(&mut self, token: &str) {
        self.federated_tokens = HashSet::from([token.to_owned()]);
    }

    /// Fails unless the assertion of the form proves that it comes from `app`; `audience`: the address it was posted to.
    pub(crate) fn verify(&mut self, app: App, form: &Form, audience: &str) -> Result<(), OAuthError> {
        let refused = |code, text: &str| Err(OAuthError::new(401, "invalid_client", code, text));
        if field(form, "client_assertion_type") != Some(ASSERTION_TYPE) {
            return Err(OAuthError::missing_parameter("client_assertion_type"));
        }
        let assertion = field(form, "client_assertion").unwrap_or_default();
        if self.federated_tokens.contains(assertion) {
            return Ok(());
        }
        let mut parts = assertion.split('.');
        let (Some(head), Some(body), Some(signature), None) =
            (parts.next(), parts.next(), parts.next(), parts.next())
        else {
            return refused(50_027, "JWT token is invalid or malformed.");
        };
        let (Some(header), Some(claims), Ok(signature)) =
            (json(head), json(body), URL_SAFE_NO_PAD.decode(signature))
        else {
            return refused(50_027, "JWT token is invalid or malformed.");
        };
        let Some(known) = self.certificates.iter().find(|known| known.is_named_by(&header)) else {
            return refused(
                700_027,
                "The certificate with identifier used to sign the client assertion is not registered on application.",
            );
        };
        let algorithm: &dyn VerificationAlgorithm = match header["alg"].as_str() {
            Some("PS256") => &RSA_PSS_2048_8192_SHA256,
            Some("RS256") => &RSA_PKCS1_2048_8192_SHA256,
            _ => return refused(5_002_738, "Invalid JWT token. The algorithm is not supported."),
        };
        let signed = format!("{head}.{body}");
        let key = UnparsedPublicKey::new(algorithm, &known.public_key);
        if header["typ"] != "JWT" || key.verify(signed.as_bytes(), &signature).is_err() {
            return refused(700_027, "Client assertion failed signature validation.");
        }
        if claims["aud"] != audience {
            return refused(700_023, "Client assertion audience claim does not match Realm issuer.");
        }
        if claims["iss"] != app.client_id() || claims["sub"] != app.client_id() {
            return refused(
                700_021,
                "Client assertion application identifier doesn't match 'client_id' parameter.",
            );
        }
        let now = now_seconds();
        // RFC 7519 allows fractions; the service's own documents show whole seconds, and so nothing else is taken.
        let (Some(begins), Some(ends)) = (claims["nbf"].as_i64(), claims["exp"].as_i64()) else {
            return refused(50_027, "JWT token is invalid or malformed: 'nbf' or 'exp' is missing.");
        };
        if ends < now - CLOCK_SKEW || begins > now + CLOCK_SKEW || ends - begins > LONGEST_LIFE {
            return refused(700_024, "Client assertion is not within its valid time range.");
        }
        let id = claims["jti"].as_str().unwrap_or_default();
        if id.is_empty() || !self.used_ids.insert(id.to_owned()) {
            return refused(50_012, "Authentication failed: the client assertion has been used before.");
        }
        Ok(())
    }
}

impl Registered {
    fn is_named_by(&self, header: &Value) -> bool {
        let named = |name: &str| {
            header[name].as_str().and_then(|text| URL_SAFE_NO_PAD.decode(text.trim_end_matches('=')).ok())
        };
        match (named("x5t#S256"), named("x5t")) {
            (Some(thumbprint), _) => thumbprint == self.sha256,
            (None, Some(thumbprint)) => thumbprint == self.sha1,
            (None, None) => false,
        }
    }
}

fn json(part: &str) -> Option<Value> {
    serde_json::from_slice(&URL_SAFE_NO_PAD.decode(part).ok()?).ok()
}

/// The SubjectPublicKeyInfo of a certificate, in DER (RFC 5280 section 4.1).
fn subject_public_key_info(certificate: &[u8]) -> Option<Vec<u8>> {
    const VERSION: u8 = 0xa0;
    let (_, certificate, _) = element(certificate)?;
    let (_, mut rest, _) = element(certificate)?;
    let (tag, _, after) = element(rest)?;
    if tag == VERSION {
        rest = after;
    }
    // Serial number, signature, issuer, validity, subject.
    for _ in 0..5 {
        rest = element(rest)?.2;
    }
    let after = element(rest)?.2;
    Some(rest[..rest.len() - after.len()].to_vec())
}

/// Tag, content and what follows.
fn element(bytes: &[u8]) -> Option<(u8, &[u8], &[u8])> {
    let (tag, first) = (*bytes.first()?, usize::from(*bytes.get(1)?));
    let digits = first.saturating_sub(128);
    let length = match digits {
        0 => first,
        1..=3 => bytes.get(2..2 + digits)?.iter().fold(0, |length, digit| length * 256 + usize::from(*digit)),
        _ => return None,
    };
    let start = 2 + digits;
    Some((tag, bytes.get(start..start + length)?, bytes.get(start + length..)?))
}
