//! The table of token endpoint answers, written from Microsoft's documentation of its errors. Sends nothing.
#![allow(clippy::unwrap_used)]

use http::{HeaderMap, HeaderName, HeaderValue};
use proptest::prelude::*;

use super::super::claims::test_jwt;
use super::*;

const NOW: Timestamp = Timestamp::from_seconds(1_700_000_000);

fn headers(pairs: &[(&'static str, &str)]) -> HeaderMap {
    pairs
        .iter()
        .map(|(name, value)| (HeaderName::from_static(name), HeaderValue::from_str(value).unwrap()))
        .collect()
}

fn entra(error: &str, number: u32) -> String {
    format!(
        r#"{{"error":"{error}","error_description":"AADSTS{number}: Some text with user@contoso.com in it.\r\nTrace ID: 0000aaaa-11bb-cccc-dd22-eeeeee333333\r\nCorrelation ID: aaaa0000-bb11-2222-33cc-444444dddddd\r\nTimestamp: 2026-11-02 10:00:00Z","error_codes":[{number}],"timestamp":"2026-11-02 10:00:00Z","trace_id":"0000aaaa-11bb-cccc-dd22-eeeeee333333","correlation_id":"aaaa0000-bb11-2222-33cc-444444dddddd","error_uri":"https://login.microsoftonline.com/error?code={number}"}}"#
    )
}

/// `ok LIFETIME REFRESH_IN ROTATED`, `sign-in CODE`, `admin CODE` or `later CODE AFTER`.
fn describe(outcome: &Outcome) -> String {
    match outcome {
        Outcome::Refreshed(tokens) => format!(
            "ok {} {} {}",
            tokens.lifetime.as_secs(),
            tokens.refresh_in.map_or("-".to_owned(), |wait| wait.as_secs().to_string()),
            tokens.refresh_token.is_some()
        ),
        Outcome::Denied(denial) => {
            format!("{} {}", if denial.needs_sign_in { "sign-in" } else { "admin" }, denial.failure.code)
        }
        Outcome::TryLater { after, failure } => {
            format!(
                "later {} {}",
                failure.code,
                after.map_or("-".to_owned(), |wait| format!("{}", wait.as_secs_f64()))
            )
        }
    }
}

#[test]
fn refusals_by_code_and_number() {
    #[rustfmt::skip]
    let rows: &[(u16, &str, u32, &str)] = &[
        (400, "invalid_grant", 70000, "sign-in invalid_grant"),
        (400, "invalid_grant", 70008, "sign-in invalid_grant"),
        (400, "invalid_grant", 700082, "sign-in invalid_grant"),
        (400, "invalid_grant", 700084, "sign-in invalid_grant"),
        (400, "invalid_grant", 50173, "sign-in invalid_grant"),
        (400, "invalid_grant", 70043, "sign-in invalid_grant"),
        (400, "invalid_grant", 50132, "sign-in invalid_grant"),
        (400, "invalid_grant", 50133, "sign-in invalid_grant"),
        (400, "invalid_grant", 65001, "sign-in invalid_grant"),
        (400, "invalid_grant", 54005, "sign-in invalid_grant"),
        (400, "invalid_grant", 50089, "sign-in invalid_grant"),
        (400, "invalid_grant", 50034, "sign-in invalid_grant"),
        (400, "invalid_grant", 50055, "sign-in invalid_grant"),
        (400, "invalid_grant", 50057, "sign-in invalid_grant"),
        (400, "invalid_grant", 50105, "sign-in invalid_grant"),
        (400, "invalid_grant", 50020, "sign-in invalid_grant"),
        (400, "invalid_grant", 424_242, "sign-in invalid_grant"),
        (400, "interaction_required", 50076, "sign-in interaction_required"),
        (400, "interaction_required", 50078, "sign-in interaction_required"),
        (400, "interaction_required", 50079, "sign-in interaction_required"),
        (400, "interaction_required", 50158, "sign-in interaction_required"),
        (400, "interaction_required", 53003, "sign-in interaction_required"),
        (400, "interaction_required", 530032, "sign-in interaction_required"),
        (400, "consent_required", 65001, "sign-in consent_required"),
        (400, "consent_required", 90094, "sign-in consent_required"),
        (400, "login_required", 50058, "sign-in login_required"),
        (401, "invalid_client", 7_000_215, "admin invalid_client"),
        (401, "invalid_client", 7_000_222, "admin invalid_client"),
        (401, "invalid_client", 70002, "admin invalid_client"),
        (401, "invalid_client", 700027, "admin invalid_client"),
        (401, "invalid_client", 700024, "admin invalid_client"),
        (401, "invalid_client", 7_000_218, "admin invalid_client"),
        (401, "invalid_client", 700025, "admin invalid_client"),
        (400, "unauthorized_client", 700016, "admin unauthorized_client"),
        (400, "unauthorized_client", 7_000_112, "admin unauthorized_client"),
        (400, "unauthorized_client", 70001, "admin unauthorized_client"),
        (400, "invalid_request", 90002, "admin invalid_request"),
        (400, "invalid_request", 90038, "admin invalid_request"),
        (400, "invalid_request", 900144, "admin invalid_request"),
        (400, "invalid_request", 9_002_313, "admin invalid_request"),
        (400, "invalid_resource", 500011, "admin invalid_resource"),
        (400, "invalid_resource", 650057, "admin invalid_resource"),
        (400, "invalid_scope", 70011, "admin invalid_scope"),
        (400, "unsupported_grant_type", 70003, "admin unsupported_grant_type"),
        (400, "invalid_grant", 50196, "later invalid_grant 300"),
        (400, "invalid_request", 50196, "later invalid_request 300"),
        (400, "invalid_grant", 90033, "later invalid_grant -"),
        (400, "temporarily_unavailable", 90033, "later temporarily_unavailable -"),
        (400, "server_error", 50033, "later server_error -"),
        (400, "server_error", 90012, "later server_error -"),
        (400, "invalid_grant", 90055, "later invalid_grant -"),
        (400, "invalid_grant", 80002, "later invalid_grant -"),
        (400, "an_error_of_the_future", 700082, "later answer_unusable -"),
        (400, "an_error_of_the_future", 50196, "later answer_unusable 300"),
        (400, "", 700082, "later answer_unusable -"),
        (403, "unauthorized_client", 700016, "admin unauthorized_client"),
        // An OAuth-shaped body on another status is not a refusal.
        (500, "invalid_grant", 700082, "later endpoint_unavailable -"),
        (503, "invalid_client", 7_000_215, "later endpoint_unavailable -"),
        (429, "invalid_grant", 700082, "later endpoint_throttled -"),
        (408, "invalid_grant", 700082, "later endpoint_unavailable -"),
        (302, "invalid_grant", 700082, "later endpoint_redirects -"),
        (200, "invalid_grant", 700082, "later answer_unusable -"),
        (204, "invalid_grant", 700082, "later answer_unusable -"),
    ];
    for (status, error, number, expected) in rows {
        let outcome = classify(*status, &HeaderMap::new(), entra(error, *number).as_bytes(), NOW);
        assert_eq!(describe(&outcome), *expected, "{status} {error} {number}");
    }
}

#[test]
fn answers_that_are_not_refusals() {
    let jwt = test_jwt(r#"{"exp":1700000900}"#);
    let no_expiry = format!(r#"{{"access_token":"{jwt}","token_type":"Bearer"}}"#);
    let huge = format!(
        r#"{{"access_token":"{}","token_type":"Bearer","expires_in":3599}}"#,
        "x".repeat(LONGEST_TOKEN + 1)
    );
    #[rustfmt::skip]
    let rows: &[(u16, &str, &str)] = &[
        (200, r#"{"token_type":"Bearer","scope":"Mail.Read","expires_in":3599,"ext_expires_in":3599,"access_token":"at","refresh_token":"rt"}"#, "ok 3599 - true"),
        (200, r#"{"token_type":"Bearer","expires_in":86399,"refresh_in":43199,"access_token":"at"}"#, "ok 86399 43199 false"),
        (200, r#"{"token_type":"bearer","expires_in":"3599","access_token":"at"}"#, "ok 3599 - false"),
        (200, r#"{"token_type":"BEARER","expires_in":3599.7,"access_token":"at"}"#, "ok 3599 - false"),
        (200, r#"{"expires_in":3599,"access_token":"at"}"#, "ok 3599 - false"),
        (200, r#"{"token_type":"Bearer","access_token":"at"}"#, "ok 3600 - false"),
        (200, r#"{"token_type":"Bearer","access_token":"at","expires_in":null}"#, "ok 3600 - false"),
        (200, &no_expiry, "ok 900 - false"),
        (200, r#"{"token_type":"Bearer","access_token":"at","expires_in":1e18}"#, "ok 2592000 - false"),
        (200, r#"{"token_type":"Bearer","access_token":"at","expires_in":60,"refresh_in":60}"#, "ok 60 - false"),
        (200, r#"{"token_type":"Bearer","access_token":"at","expires_in":60,"refresh_in":-5}"#, "ok 60 - false"),
        (200, r#"{"token_type":"Bearer","access_token":"at","expires_in":60,"refresh_token":""}"#, "ok 60 - false"),
        (200, r#"{"token_type":"Bearer","access_token":"at","expires_in":60,"refresh_token":"a b"}"#, "ok 60 - false"),
        (200, r#"{"token_type":"Bearer","access_token":"at","expires_in":0}"#, "later answer_unusable -"),
        (200, r#"{"token_type":"Bearer","access_token":"at","expires_in":-1}"#, "later answer_unusable -"),
        (200, r#"{"token_type":"Bearer","access_token":"at","expires_in":"NaN"}"#, "later answer_unusable -"),
        (200, r#"{"token_type":"Bearer","access_token":"at","expires_in":"soon"}"#, "later answer_unusable -"),
        (200, r#"{"token_type":"Bearer","access_token":"at","expires_in":[3599]}"#, "later answer_unusable -"),
        (200, r#"{"token_type":"pop","access_token":"at","expires_in":3599}"#, "later answer_unusable -"),
        (200, r#"{"token_type":7,"access_token":"at","expires_in":3599}"#, "later answer_unusable -"),
        (200, r#"{"token_type":"Bearer","expires_in":3599}"#, "later answer_unusable -"),
        (200, r#"{"token_type":"Bearer","access_token":"","expires_in":3599}"#, "later answer_unusable -"),
        (200, r#"{"token_type":"Bearer","access_token":"a\r\nX: y","expires_in":3599}"#, "later answer_unusable -"),
        (200, r#"{"token_type":"Bearer","access_token":42,"expires_in":3599}"#, "later answer_unusable -"),
        (200, &huge, "later answer_unusable -"),
        (200, "", "later answer_unusable -"),
        (200, "[]", "later answer_unusable -"),
        (200, "<html>Sign in to the hotel network</html>", "later answer_unusable -"),
        (200, r#"{"token_type":"Bearer","access_token":"at","expires_"#, "later answer_unusable -"),
        (400, "", "later answer_unusable -"),
        (400, r#"{"error":{"code":"BadRequest"}}"#, "later answer_unusable -"),
        (400, r#"{"error":"invalid_grant""#, "later answer_unusable -"),
        (400, "<html>Bad Request</html>", "later answer_unusable -"),
        (401, "Unauthorized", "later answer_unusable -"),
        (403, "<html>Blocked by the firewall</html>", "later answer_unusable -"),
        (404, "<html>Not found</html>", "later answer_unusable -"),
        (407, "<html>Proxy</html>", "later proxy_refused -"),
        (301, "", "later endpoint_redirects -"),
        (500, "", "later endpoint_unavailable -"),
        (502, "<html>Bad gateway</html>", "later endpoint_unavailable -"),
        (503, "{}", "later endpoint_unavailable -"),
        (504, "\u{0}", "later endpoint_unavailable -"),
    ];
    for (status, body, expected) in rows {
        assert_eq!(
            describe(&classify(*status, &HeaderMap::new(), body.as_bytes(), NOW)),
            *expected,
            "{status} {body:.200}"
        );
    }
}

#[test]
fn retry_after_in_all_its_forms() {
    #[rustfmt::skip]
    type Row = (&'static [(&'static str, &'static str)], Option<f64>);
    #[rustfmt::skip]
    let rows: &[Row] = &[
        (&[("retry-after", "17")], Some(17.0)),
        (&[("retry-after", " 2.5 ")], Some(2.5)),
        (&[("retry-after", "0")], Some(0.0)),
        (&[("retry-after", "-3")], None),
        (&[("retry-after", "NaN")], None),
        (&[("retry-after", "inf")], Some(900.0)),
        (&[("retry-after", "86400")], Some(900.0)),
        (&[("retry-after", "soon")], None),
        (&[], None),
        (&[("retry-after", "Tue, 14 Nov 2023 22:13:50 GMT")], Some(30.0)),
        (&[("retry-after", "Tue, 14 Nov 2023 22:00:00 GMT")], Some(0.0)),
        (&[("retry-after", "Tue, 14 Nov 2023 23:59:00 GMT")], Some(900.0)),
        // The server's clock is an hour ahead of ours: the distance between its own two times counts.
        (&[("retry-after", "Tue, 14 Nov 2023 23:13:40 GMT"), ("date", "Tue, 14 Nov 2023 23:13:20 GMT")], Some(20.0)),
    ];
    for (pairs, expected) in rows {
        let pairs: Vec<(&'static str, &str)> = pairs
            .iter()
            .map(|(name, value)| (if *name == "date" { "date" } else { "retry-after" }, *value))
            .collect();
        match classify(503, &headers(&pairs), b"", NOW) {
            Outcome::TryLater { after, .. } => {
                assert_eq!(after.map(|wait| wait.as_secs_f64()), *expected, "{pairs:?}");
            }
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn a_loop_pause_is_never_shortened() {
    let body = entra("invalid_grant", 50196);
    for (retry_after, expected) in [("1", 300), ("600", 600)] {
        match classify(400, &headers(&[("retry-after", retry_after)]), body.as_bytes(), NOW) {
            Outcome::TryLater { after, .. } => assert_eq!(after.unwrap().as_secs(), expected),
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn what_is_told_is_ours_and_clean() {
    let mut body: Value = serde_json::from_str(&entra("interaction_required", 50076)).unwrap();
    body["suberror"] = "basic_action".into();
    body["claims"] = r#"{"access_token":{"capolids":{"essential":true,"values":["p"]}}}"#.into();
    match classify(400, &HeaderMap::new(), body.to_string().as_bytes(), NOW) {
        Outcome::Denied(denial) => {
            assert_eq!(denial.suberror.as_deref(), Some("basic_action"));
            assert!(denial.claims.unwrap().contains("capolids"));
            assert_eq!(denial.failure.aadsts, Some(50076));
            assert_eq!(
                denial.failure.correlation_id.as_deref(),
                Some("aaaa0000-bb11-2222-33cc-444444dddddd")
            );
            assert!(
                !denial.failure.message.contains("contoso")
                    && denial.failure.message.contains("Multi-factor")
            );
        }
        other => panic!("{other:?}"),
    }
    body["correlation_id"] = "a\u{1b}[31m\r\nforged".into();
    body["suberror"] = "a\nb".into();
    match classify(400, &headers(&[("x-ms-request-id", "id-from-header")]), body.to_string().as_bytes(), NOW)
    {
        Outcome::Denied(denial) => {
            assert_eq!(denial.failure.correlation_id.as_deref(), Some("id-from-header"));
            assert_eq!(denial.suberror, None);
        }
        other => panic!("{other:?}"),
    }
    let described = br#"{"error":"invalid_grant","error_description":"AADSTS700082: old"}"#;
    match classify(400, &HeaderMap::new(), described, NOW) {
        Outcome::Denied(denial) => assert_eq!(denial.failure.aadsts, Some(700_082)),
        other => panic!("{other:?}"),
    }
}

proptest! {
    #[test]
    fn bytes_never_panic_and_never_deny(status in 0u16..1000, body in prop::collection::vec(any::<u8>(), 0..400)) {
        let outcome = classify(status, &HeaderMap::new(), &body, NOW);
        let waits = matches!(outcome, Outcome::TryLater { .. });
        prop_assert!(waits);
    }

    #[test]
    fn only_a_4xx_denies(status in 0u16..1000, number in any::<u32>(), retry in "[ -~]{0,30}", description in ".{0,60}") {
        let body = serde_json::json!({
            "error": "invalid_grant", "error_codes": [number], "error_description": description, "access_token": number,
        });
        let outcome = classify(status, &headers(&[("retry-after", retry.trim())]), body.to_string().as_bytes(), NOW);
        match outcome {
            Outcome::Denied(_) => prop_assert!((400..500).contains(&status) && status != 408 && status != 429),
            Outcome::Refreshed(_) => prop_assert!(false, "a number is no token"),
            Outcome::TryLater { after, .. } => prop_assert!(after.unwrap_or_default() <= LONGEST_RETRY_AFTER),
        }
    }
}
