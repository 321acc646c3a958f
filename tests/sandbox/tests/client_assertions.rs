//! Client assertions: which the tenant takes, and which it refuses with what number (Microsoft identity platform,
//! "Certificate credentials"; RFC 7523 section 3).
#![allow(clippy::unwrap_used, clippy::disallowed_methods, reason = "tests may")]

mod helper;

use std::process::Command;
use std::time::{SystemTime, UNIX_EPOCH};

use aws_lc_rs::digest::{SHA256, digest};
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{RSA_PSS_SHA256, RsaKeyPair};
use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use helper::{Reply, token};
use o365_sandbox::*;
use serde_json::{Value, json};

/// A key and its certificate in PEM, made by openssl.
struct Signer {
    key: RsaKeyPair,
    thumbprint: String,
    certificate: String,
}

fn der(pem: &str) -> Vec<u8> {
    let lines: String = pem.lines().filter(|line| !line.starts_with("-----")).collect();
    STANDARD.decode(lines).unwrap()
}

impl Signer {
    fn new(folder: &std::path::Path, name: &str) -> Self {
        let (key, certificate) = (folder.join(format!("{name}.key")), folder.join(format!("{name}.crt")));
        let made = Command::new("openssl")
            .args([
                "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=test", "-keyout",
            ])
            .arg(&key)
            .arg("-out")
            .arg(&certificate)
            .output()
            .unwrap();
        assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
        let certificate = std::fs::read_to_string(certificate).unwrap();
        let key = RsaKeyPair::from_pkcs8(&der(&std::fs::read_to_string(key).unwrap())).unwrap();
        let thumbprint = URL_SAFE_NO_PAD.encode(digest(&SHA256, &der(&certificate)));
        Self { key, thumbprint, certificate }
    }

    fn sign(&self, claims: &Value) -> String {
        let header = json!({"alg": "PS256", "typ": "JWT", "x5t#S256": self.thumbprint});
        let part = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
        let signed = format!("{}.{}", part(&header), part(claims));
        let mut signature = vec![0; self.key.public_modulus_len()];
        self.key.sign(&RSA_PSS_SHA256, &SystemRandom::new(), signed.as_bytes(), &mut signature).unwrap();
        format!("{signed}.{}", URL_SAFE_NO_PAD.encode(signature))
    }
}

fn now() -> i64 {
    i64::try_from(SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs()).unwrap()
}

fn claims(sandbox: &Sandbox, id: &str) -> Value {
    let audience = format!("{}/{DEFAULT_TENANT_ID}/oauth2/v2.0/token", sandbox.login_url());
    json!({
        "aud": audience,
        "iss": CONFIDENTIAL_CLIENT_ID,
        "sub": CONFIDENTIAL_CLIENT_ID,
        "jti": id,
        "nbf": now(),
        "exp": now() + 300,
    })
}

fn ask(sandbox: &Sandbox, assertion: &str) -> Reply {
    token(
        sandbox,
        DEFAULT_TENANT_ID,
        &[
            ("client_id", CONFIDENTIAL_CLIENT_ID),
            ("grant_type", "client_credentials"),
            ("scope", "https://graph.microsoft.com/.default"),
            ("client_assertion_type", "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"),
            ("client_assertion", assertion),
        ],
    )
}

#[test]
fn an_assertion_is_taken_once_and_only_when_every_claim_is_right() {
    let folder = tempfile::tempdir().unwrap();
    let (signer, stranger) = (Signer::new(folder.path(), "known"), Signer::new(folder.path(), "stranger"));
    let sandbox = Sandbox::start(SandboxOptions::default());
    assert_eq!(sandbox.register_certificate(&signer.certificate), 1);

    let good = signer.sign(&claims(&sandbox, "first"));
    assert_eq!(ask(&sandbox, &good).status, 200);
    let code = |reply: &Reply| (reply.status, reply.json()["error_codes"][0].as_u64().unwrap());
    assert_eq!(code(&ask(&sandbox, &good)), (401, 50_012), "the same assertion again");
    let same_id = signer.sign(&claims(&sandbox, "first"));
    assert_eq!(code(&ask(&sandbox, &same_id)), (401, 50_012), "another assertion with the same id");

    let with = |id: &str, name: &str, value: Value| {
        let mut changed = claims(&sandbox, id);
        changed[name] = value;
        changed
    };
    for (what, changed, number) in [
        ("no id", with("", "jti", Value::Null), 50_012),
        ("another audience", with("a", "aud", json!("https://login.microsoftonline.com/x")), 700_023),
        ("no audience", with("b", "aud", Value::Null), 700_023),
        ("another issuer", with("c", "iss", json!(PUBLIC_CLIENT_ID)), 700_021),
        ("another subject", with("d", "sub", json!(PUBLIC_CLIENT_ID)), 700_021),
        ("expired", json!({"exp": now() - 400, "nbf": now() - 900}), 700_024),
        ("not yet valid", json!({"nbf": now() + 400, "exp": now() + 700}), 700_024),
        ("lives too long", with("e", "exp", json!(now() + 3600)), 700_024),
        ("no end", with("f", "exp", Value::Null), 50_027),
    ] {
        let mut whole = claims(&sandbox, what);
        for (name, value) in changed.as_object().unwrap() {
            whole[name] = value.clone();
        }
        assert_eq!(code(&ask(&sandbox, &signer.sign(&whole))), (401, number), "{what}");
    }
    let foreign = stranger.sign(&claims(&sandbox, "stranger"));
    assert_eq!(code(&ask(&sandbox, &foreign)), (401, 700_027), "a certificate that nobody registered");
    // Somebody else's key under the name of the certificate that is registered.
    let forger = Signer { thumbprint: signer.thumbprint.clone(), ..stranger };
    assert_eq!(code(&ask(&sandbox, &forger.sign(&claims(&sandbox, "forged")))), (401, 700_027));
    let unsigned = good.rsplit_once('.').unwrap().0.to_owned() + ".";
    assert_eq!(code(&ask(&sandbox, &unsigned)), (401, 700_027), "no signature");
    assert_eq!(code(&ask(&sandbox, "no.jwt")), (401, 50_027));
    // What was refused has not used up its id.
    assert_eq!(ask(&sandbox, &signer.sign(&claims(&sandbox, "a"))).status, 200);
}
