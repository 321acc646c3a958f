//! The search for secrets in everything an agent has said: raw, and in every form in which a program might have written
//! them. A secret that was cut short, or stands in the middle of something encoded, is found as well.

use std::fmt::Write as _;

use base64::Engine;
use base64::engine::general_purpose::{STANDARD_NO_PAD, URL_SAFE_NO_PAD};

/// Secrets that are longer are also looked for by a piece from their middle.
const LONG: usize = 64;
const PIECE: usize = 32;

/// Every form of `secret` that is looked for, with its name.
pub(crate) fn forms_of(secret: &str) -> Vec<(&'static str, String)> {
    let mut forms = written(secret);
    if secret.len() >= LONG {
        let start = secret.len() / 2 - PIECE / 2;
        if let Some(piece) = secret.get(start..start + PIECE) {
            forms.push(("a piece of it", piece.to_owned()));
        }
    }
    forms.sort_by(|one, other| one.1.cmp(&other.1));
    forms.dedup_by(|one, other| one.1 == other.1);
    forms
}

fn written(secret: &str) -> Vec<(&'static str, String)> {
    let form_encoded: String = url::form_urlencoded::byte_serialize(secret.as_bytes()).collect();
    let (mut percent, mut lower_percent, mut hex) = (String::new(), String::new(), String::new());
    for byte in secret.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            percent.push(char::from(byte));
            lower_percent.push(char::from(byte));
        } else {
            write!(percent, "%{byte:02X}").unwrap();
            write!(lower_percent, "%{byte:02x}").unwrap();
        }
        write!(hex, "{byte:02x}").unwrap();
    }
    let json = serde_json::to_string(secret).unwrap();
    let json = json.trim_matches('"').to_owned();
    let debug = format!("{secret:?}").trim_matches('"').to_owned();
    let html = secret.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;");
    let ascii_json: String =
        secret
            .chars()
            .map(|one| {
                if one.is_ascii_alphanumeric() {
                    one.to_string()
                } else {
                    format!("\\u{:04x}", u32::from(one))
                }
            })
            .collect();
    let mut forms = vec![
        ("raw", secret.to_owned()),
        ("form-encoded", form_encoded),
        ("in percent escapes", percent),
        ("in lower-case percent escapes", lower_percent),
        ("with escaped slashes", json.replace('/', "\\/")),
        ("in JSON within JSON", serde_json::to_string(&json).unwrap().trim_matches('"').to_owned()),
        ("escaped for JSON", json),
        ("in unicode escapes", ascii_json),
        ("as Rust prints it", debug),
        ("in HTML", html),
        ("in capital hexadecimal", hex.to_uppercase()),
        ("in hexadecimal", hex),
    ];
    // Something else may stand before the secret in what was encoded: three ways to fall into groups of three bytes.
    for shift in 0..3 {
        let padded = format!("{}{secret}", "x".repeat(shift));
        let (first, last) = (shift.div_ceil(3) * 4, padded.len() / 3 * 4);
        for (name, encoded) in [
            ("in base64", STANDARD_NO_PAD.encode(&padded)),
            ("in base64url", URL_SAFE_NO_PAD.encode(&padded)),
        ] {
            forms.push((name, encoded[first..last].to_owned()));
        }
    }
    forms
}

/// Fails when any form of any of the secrets is in `said`.
#[track_caller]
pub(crate) fn expect_nowhere(said: &str, secrets: &[String]) {
    for secret in secrets {
        assert!(secret.len() >= 8, "too short to be told from chance");
        for (name, form) in forms_of(secret) {
            if let Some(at) = said.find(&form) {
                let before: String = said[..at].chars().rev().take(300).collect();
                let (before, shown): (String, String) =
                    (before.chars().rev().collect(), form.chars().take(8).collect());
                panic!("a secret got out ({name}): …{before}{shown}…");
            }
        }
    }
}

#[test]
fn every_form_is_found() {
    let secret = "pA8Q~x+/7k=\"Zt%26&ü\\u9 w";
    for shift in 0..3 {
        let around = format!("{}{secret}tail", "abc".repeat(shift + 1).get(..shift).unwrap());
        let encoded = STANDARD_NO_PAD.encode(&around);
        assert!(forms_of(secret).iter().any(|(_, form)| encoded.contains(form)), "{encoded}");
    }
    for text in [
        secret.to_owned(),
        format!("{:?}", vec![secret]),
        serde_json::json!({ "a": secret }).to_string(),
        serde_json::json!({ "a": serde_json::json!({ "b": secret }).to_string() }).to_string(),
        url::form_urlencoded::byte_serialize(secret.as_bytes()).collect(),
    ] {
        let found = std::panic::catch_unwind(|| expect_nowhere(&text, &[secret.to_owned()]));
        assert!(found.is_err(), "{text}");
    }
    expect_nowhere("nothing of the kind", &[secret.to_owned()]);
}
