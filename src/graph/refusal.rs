//! Graph's error bodies, made into a [`GraphRefusal`], and the challenges that come with a 401. Never trusts their size,
//! shape or characters.

use base64::Engine;
use base64::alphabet;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use http::HeaderMap;
use serde_json::Value;

use crate::error::clean_foreign_text;

use super::GraphRefusal;

/// How much of an error body is read. Graph's are below 2 KiB; proxies send pages.
pub(super) const ERROR_BODY_LIMIT: usize = 64 * 1024;
/// How deep `innerError` is followed for a code.
const DEEPEST_INNER_ERROR: usize = 8;
/// Longest claims challenge that is taken, in base64 characters.
const LONGEST_CLAIMS: usize = 16 * 1024;

const LENIENT: GeneralPurposeConfig =
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent);
/// Base64 with `+` and `/`, padded or not.
pub(super) const PLAIN: GeneralPurpose = GeneralPurpose::new(&alphabet::STANDARD, LENIENT);
/// Base64 with `-` and `_`, padded or not.
pub(super) const URL_SAFE: GeneralPurpose = GeneralPurpose::new(&alphabet::URL_SAFE, LENIENT);

/// Reads an error answer. Whatever the body is, something that a person can use comes out.
pub(super) fn parse_refusal(status: u16, request_id: Option<String>, body: &[u8]) -> GraphRefusal {
    let mut refusal = GraphRefusal { status, request_id, ..GraphRefusal::default() };
    let parsed: Option<Value> = serde_json::from_slice(body).ok();
    match parsed.as_ref().and_then(|body| body.get("error")) {
        Some(Value::Object(error)) => {
            refusal.message = text_of(error.get("message"));
            let existing = text_of(error.get("@event.existingEventId"));
            refusal.existing_event = Some(existing).filter(|id| !id.is_empty());
            let mut level = Some(error);
            for _ in 0..DEEPEST_INNER_ERROR {
                let Some(inner) = level else { break };
                if refusal.code.is_empty() {
                    refusal.code = text_of(inner.get("code"));
                }
                if refusal.request_id.is_none() {
                    refusal.request_id = Some(text_of(inner.get("request-id"))).filter(|id| !id.is_empty());
                }
                level =
                    inner.get("innerError").or_else(|| inner.get("innererror")).and_then(Value::as_object);
            }
        }
        // Gateways before Graph answer in OAuth's shape (RFC 6749 section 5.2).
        Some(Value::String(code)) => {
            refusal.code = clean_foreign_text(code);
            refusal.message = text_of(parsed.as_ref().and_then(|body| body.get("error_description")));
        }
        _ => {}
    }
    if refusal.message.is_empty() {
        refusal.message = match (body.is_empty(), parsed.is_some()) {
            (true, _) => "the answer has no text".to_owned(),
            (false, true) => "the answer has no error message".to_owned(),
            // A page of HTML comes from something between the agent and Graph; its text helps nobody.
            (false, false) => {
                "the answer is not JSON; something between the agent and Graph may have sent it".to_owned()
            }
        };
    }
    refusal
}

/// Graph's `request-id` header.
pub(super) fn request_id(headers: &HeaderMap) -> Option<String> {
    let value = headers.get("request-id")?.to_str().ok()?;
    Some(clean_foreign_text(value)).filter(|id| !id.is_empty())
}

/// Whether the refusal says that the token must live longer than it does: some services want a fresh one
/// ("expected to be at least 45 minutes away from expiry").
pub(super) fn wants_fresher_token(refusal: &GraphRefusal) -> bool {
    matches!(refusal.status, 400 | 401 | 403) && refusal.message.contains("away from expiry")
}

/// The decoded claims challenge of a 401 (continuous access evaluation), if there is one: JSON text for the token
/// endpoint. The base64 is plain in some answers and URL-safe in others, with and without padding.
pub(super) fn claims_challenge(headers: &HeaderMap) -> Option<String> {
    headers.get_all(http::header::WWW_AUTHENTICATE).iter().find_map(|value| {
        let value = value.to_str().ok()?;
        let encoded = quoted_parameter(value, "claims")?;
        if encoded.len() > LONGEST_CLAIMS {
            return None;
        }
        let bytes = PLAIN.decode(encoded).or_else(|_| URL_SAFE.decode(encoded)).ok()?;
        let text = String::from_utf8(bytes).ok()?;
        matches!(serde_json::from_str(&text), Ok(Value::Object(_))).then_some(text)
    })
}

/// The value of `name="…"` in a challenge, where `name` is a whole parameter name.
fn quoted_parameter<'a>(challenge: &'a str, name: &str) -> Option<&'a str> {
    let mut rest = challenge;
    loop {
        let found = rest.to_ascii_lowercase().find(name)?;
        let stands_alone =
            !rest[..found].ends_with(|before: char| before.is_ascii_alphanumeric() || before == '_');
        let after = rest[found + name.len()..].trim_start();
        if stands_alone && let Some(value) = after.strip_prefix('=') {
            return value.trim_start().strip_prefix('"')?.split('"').next();
        }
        rest = &rest[found + name.len()..];
    }
}

fn text_of(value: Option<&Value>) -> String {
    clean_foreign_text(value.and_then(Value::as_str).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn every_error_body_becomes_something_usable() {
        let nested = r#"{"error":{"code":"","message":"m","innererror":{"innerError":{"code":"Deep","request-id":"r"}}}}"#;
        for (body, code, message) in [
            (r#"{"error":{"code":"ErrorItemNotFound","message":"Gone."}}"#, "ErrorItemNotFound", "Gone."),
            (nested, "Deep", "m"),
            (r#"{"error":{"code":"A","message":"a\r\nb","innerError":{"code":"B"}}}"#, "A", "a  b"),
            (r#"{"error":"invalid_token","error_description":"old"}"#, "invalid_token", "old"),
            (r#"{"error":{"code":7,"message":null}}"#, "", "the answer has no error message"),
            (r#"{"error":null}"#, "", "the answer has no error message"),
            ("[]", "", "the answer has no error message"),
            ("", "", "the answer has no text"),
            (
                "<html>Bad gateway</html>",
                "",
                "the answer is not JSON; something between the agent and Graph may have sent it",
            ),
        ] {
            let refusal = parse_refusal(400, None, body.as_bytes());
            assert_eq!((refusal.code.as_str(), refusal.message.as_str()), (code, message), "{body}");
        }
        assert_eq!(parse_refusal(400, None, nested.as_bytes()).request_id.as_deref(), Some("r"));
        assert_eq!(parse_refusal(400, Some("h".into()), nested.as_bytes()).request_id.as_deref(), Some("h"));
    }

    #[test]
    fn huge_and_deep_bodies_stay_small() {
        let huge = format!(r#"{{"error":{{"code":"{0}","message":"{0}"}}}}"#, "x".repeat(60_000));
        assert!(parse_refusal(400, None, huge.as_bytes()).message.chars().count() < 1000);
        let deep = format!("{}{}", r#"{"error":{"code":"","innerError":"#.repeat(200), "{}".repeat(200));
        assert_eq!(parse_refusal(400, None, deep.as_bytes()).code, "");
    }

    #[test]
    fn claims_are_found_in_every_spelling() {
        let json = r#"{"access_token":{"nbf":{"essential":true,"value":"1?>~"}}}"#;
        let plain = base64::engine::general_purpose::STANDARD.encode(json);
        let safe = base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(json);
        for (header, found) in [
            (format!(r#"Bearer realm="", error="insufficient_claims", claims="{plain}""#), true),
            (format!(r#"Bearer Claims = "{safe}", realm="x""#), true),
            (format!(r#"Bearer error="insufficient_claims", my_claims="{plain}""#), false),
            (format!(r#"Bearer x="the claims", claims="{plain}""#), true),
            (r#"Bearer claims="!!!""#.to_owned(), false),
            (r#"Bearer claims="""#.to_owned(), false),
            ("Bearer claims".to_owned(), false),
            (format!(r#"Bearer claims="{}""#, "A".repeat(LONGEST_CLAIMS + 4)), false),
        ] {
            let mut headers = HeaderMap::new();
            headers.append("www-authenticate", "Basic realm=x".parse().unwrap());
            headers.append("www-authenticate", header.parse().unwrap());
            assert_eq!(claims_challenge(&headers).as_deref(), found.then_some(json), "{header}");
        }
    }

    #[test]
    fn a_wish_for_a_fresher_token_is_recognised() {
        let message = "The access token is expected to be at least 45 minutes away from expiry.".to_owned();
        let refusal = GraphRefusal { status: 403, message, ..GraphRefusal::default() };
        assert!(wants_fresher_token(&refusal));
        assert!(!wants_fresher_token(&GraphRefusal {
            status: 403,
            message: "No.".into(),
            ..GraphRefusal::default()
        }));
        assert!(!wants_fresher_token(&GraphRefusal { status: 503, ..refusal }));
    }
}
