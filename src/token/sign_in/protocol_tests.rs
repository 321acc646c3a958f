//! Tests of the sign-in's pure part.
#![allow(clippy::unwrap_used)]

use proptest::prelude::*;

use super::*;
use crate::token::testing::connection;

#[test]
fn the_challenge_is_that_of_the_rfc() {
    // RFC 7636 appendix B.
    let proof = Proof { verifier: "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk".into(), state: "s".into() };
    assert_eq!(proof.challenge(), "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM");
    let (one, other) = (Proof::new(), Proof::new());
    assert_eq!((one.verifier.expose().len(), one.state.expose().len()), (43, 43));
    assert!(one.verifier != other.verifier && one.state != other.state && one.verifier != one.state);
}

#[test]
fn addresses_name_tenant_client_scope_and_callback() {
    let connection = connection("a").finish();
    let proof = Proof { verifier: "v".into(), state: "st".into() };
    let url = authorization_url(&connection, "client", "http://localhost:33333", &proof, Some("{}")).unwrap();
    let url = Url::parse(&url).unwrap();
    assert_eq!(url.path(), "/tenant/oauth2/v2.0/authorize");
    let given: std::collections::BTreeMap<_, _> = url.query_pairs().into_owned().collect();
    for (name, value) in [
        ("client_id", "client"),
        ("response_type", "code"),
        ("redirect_uri", "http://localhost:33333"),
        ("scope", "https://graph.microsoft.com/.default offline_access openid profile"),
        ("state", "st"),
        ("code_challenge_method", "S256"),
        ("claims", "{}"),
    ] {
        assert_eq!(given[name], value, "{name}");
    }
    assert!(!url.as_str().contains("verifier"));
    assert_eq!(
        admin_consent_url(&connection).as_deref(),
        Some(
            "https://login.microsoftonline.com/tenant/adminconsent?client_id=client&redirect_uri=http%3A%2F%2Flocalhost%3A33333"
        )
    );
    let anybody = super::super::super::testing::connection("b")
        .with(|connection| {
            connection.auth.tenant = None;
            connection.auth.scope = Some("Mail.Read".to_owned());
        })
        .finish();
    assert_eq!(login_url(&anybody, "devicecode").unwrap().path(), "/organizations/oauth2/v2.0/devicecode");
    assert_eq!(scope(&anybody), "Mail.Read offline_access");
}

#[test]
fn device_codes_are_read_and_bounded() {
    let good = br#"{"device_code":"d","user_code":"ABCD-EFGH","verification_uri":"https://h/x","expires_in":900,"interval":7}"#;
    let read = DeviceCode::read(good).unwrap();
    assert_eq!((read.lifetime.as_secs(), read.interval.as_secs()), (900, 7));
    let plain =
        br#"{"device_code":"d","user_code":"A","verification_uri":"https://h/","expires_in":99999999}"#;
    let read = DeviceCode::read(plain).unwrap();
    assert_eq!((read.lifetime.as_secs(), read.interval.as_secs()), (1800, 5));
    for bad in [
        "[]",
        "{}",
        r#"{"device_code":"d","user_code":"A","verification_uri":"https://h/","expires_in":0}"#,
        r#"{"device_code":"d","user_code":"A","verification_uri":"javascript:alert(1)","expires_in":9}"#,
        r#"{"device_code":"d","user_code":"A\r\nB","verification_uri":"https://h/","expires_in":9}"#,
        r#"{"user_code":"A","verification_uri":"https://h/","expires_in":9}"#,
    ] {
        assert!(DeviceCode::read(bad.as_bytes()).is_none(), "{bad}");
    }
}

#[test]
fn only_the_right_state_brings_a_code() {
    let state = Secret::from("right");
    let code = |query: &str| match redirect(query, &state) {
        Some(Redirect::Code(code)) => code.expose().clone(),
        Some(Redirect::Refused { error, aadsts }) => format!("refused {error} {aadsts:?}"),
        None => "not ours".to_owned(),
    };
    for (query, expected) in [
        ("code=c%2Bd&state=right", "c+d"),
        ("state=right&code=c&session_state=x", "c"),
        ("code=c&state=wrong", "not ours"),
        ("code=c&state=right&state=right", "not ours"),
        ("code=c&code=d&state=right", "not ours"),
        ("code=c", "not ours"),
        ("code=&state=right", "not ours"),
        ("code=a%0Ab&state=right", "not ours"),
        ("state=right", "not ours"),
        ("error=access_denied&state=wrong", "not ours"),
        (
            "error=access_denied&error_description=AADSTS65004%3A+x&state=right",
            "refused access_denied Some(65004)",
        ),
        ("error=%3Cscript%3E&state=right", "refused unknown_error None"),
        ("error=access_denied&code=c&state=right", "refused access_denied None"),
    ] {
        assert_eq!(code(query), expected, "{query}");
    }
    let brought = |text: &str| brought_back(&text.into(), &state).is_ok();
    assert!(brought(" just-the-code \n") && brought("http://localhost:33333/?code=c&state=right#"));
    assert!(!brought("http://localhost:33333/?code=c&state=wrong") && !brought("two words") && !brought(""));
}

proptest! {
    #[test]
    fn foreign_answers_never_panic(text in ".{0,200}", bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        let state = Secret::from("s");
        redirect(&text, &state);
        let _either = brought_back(&text.as_str().into(), &state);
        DeviceCode::read(&bytes);
    }
}
