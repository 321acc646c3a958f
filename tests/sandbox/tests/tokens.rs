//! The token endpoint: what it gives, what it refuses and in which words.
#![allow(clippy::unwrap_used)]

mod helper;

use helper::{Client, Reply, encoded, send, token};
use o365_sandbox::*;
use std::time::Duration;

const GRAPH: &str = "https://graph.microsoft.com/.default";

fn app_form<'a>(secret: &'a str, scope: &'a str) -> Vec<(&'a str, &'a str)> {
    vec![
        ("client_id", CONFIDENTIAL_CLIENT_ID),
        ("client_secret", secret),
        ("grant_type", "client_credentials"),
        ("scope", scope),
    ]
}

fn refresh(sandbox: &Sandbox, refresh_token: &str, scope: Option<&str>) -> Reply {
    let mut form = vec![
        ("client_id", PUBLIC_CLIENT_ID),
        ("grant_type", "refresh_token"),
        ("refresh_token", refresh_token),
    ];
    form.extend(scope.map(|scope| ("scope", scope)));
    token(sandbox, DEFAULT_TENANT_ID, &form)
}

#[test]
fn an_application_gets_a_token_that_graph_takes() {
    let sandbox = Sandbox::start(SandboxOptions {
        refresh_in: Some(Duration::from_secs(1800)),
        ..SandboxOptions::default()
    });
    for tenant in [DEFAULT_TENANT_ID, DEFAULT_TENANT_DOMAIN] {
        let reply = token(&sandbox, tenant, &app_form(CONFIDENTIAL_CLIENT_SECRET, GRAPH));
        assert_eq!(reply.status, 200, "{}", reply.body);
        let body = reply.json();
        let members: Vec<&String> = body.as_object().unwrap().keys().collect();
        assert_eq!(members, ["token_type", "expires_in", "ext_expires_in", "refresh_in", "access_token"]);
        assert_eq!((&body["expires_in"], &body["refresh_in"]), (&3600.into(), &1800.into()));
        let access_token = body["access_token"].as_str().unwrap().to_owned();
        assert_eq!(access_token.split('.').count(), 3);
        let client = Client { base: sandbox.graph_url(), access_token };
        assert_eq!(client.get("/users?$top=1").status, 200);
    }
    let basic = {
        use base64::Engine;
        let text = format!("{CONFIDENTIAL_CLIENT_ID}:{}", encoded(CONFIDENTIAL_CLIENT_SECRET));
        format!("Basic {}", base64::engine::general_purpose::STANDARD.encode(text))
    };
    let url = format!("{}/{DEFAULT_TENANT_ID}/oauth2/v2.0/token", sandbox.login_url());
    let form = format!("grant_type=client_credentials&scope={}", encoded(GRAPH));
    let headers = [("authorization", basic.as_str()), ("content-type", "application/x-www-form-urlencoded")];
    assert_eq!(send("POST", &url, &headers, &form).unwrap().status, 200);
    assert_eq!(sandbox.stats().tokens_issued, 3);
    assert_eq!(sandbox.token_requests().len(), 3);
}

#[test]
fn every_refusal_has_its_number() {
    let sandbox = Sandbox::start(SandboxOptions::default());
    let tokens = sandbox.issue_delegated_tokens(&sandbox.first_user().upn);
    let good = CONFIDENTIAL_CLIENT_SECRET;
    let id = ("client_id", CONFIDENTIAL_CLIENT_ID);
    let public = ("client_id", PUBLIC_CLIENT_ID);
    let refreshing = ("grant_type", "refresh_token");
    let held = ("refresh_token", tokens.refresh_token.as_str());
    let own = DEFAULT_TENANT_ID;
    type Form<'a> = Vec<(&'a str, &'a str)>;
    let cases: Vec<(&str, Form<'_>, u16, &str, u32)> = vec![
        (own, app_form("wrong", GRAPH), 401, "invalid_client", 7_000_215),
        (own, app_form(EXPIRED_CLIENT_SECRET, GRAPH), 401, "invalid_client", 7_000_222),
        (
            own,
            vec![id, ("grant_type", "client_credentials"), ("scope", GRAPH)],
            401,
            "invalid_client",
            7_000_218,
        ),
        (own, app_form(good, "User.Read"), 400, "invalid_scope", 70_011),
        (own, app_form(good, "https://vault.azure.net/.default"), 400, "invalid_resource", 500_011),
        (own, app_form(good, ""), 400, "invalid_request", 900_144),
        (own, vec![id], 400, "invalid_request", 900_144),
        (own, vec![("grant_type", "client_credentials")], 400, "invalid_request", 900_144),
        (
            own,
            vec![id, ("client_secret", good), ("grant_type", "password")],
            400,
            "unsupported_grant_type",
            70_003,
        ),
        (
            own,
            vec![("client_id", "nobody"), ("grant_type", "client_credentials")],
            400,
            "unauthorized_client",
            700_016,
        ),
        ("fabrikam.example", app_form(good, GRAPH), 400, "invalid_request", 90_002),
        ("common", app_form(good, GRAPH), 400, "invalid_request", 9_001_023),
        (own, vec![public, refreshing], 400, "invalid_request", 900_144),
        (own, vec![public, refreshing, ("refresh_token", "nonsense")], 400, "invalid_grant", 9_002_313),
        (own, vec![public, refreshing, held, ("client_secret", "x")], 401, "invalid_client", 700_025),
        (own, vec![id, ("client_secret", good), refreshing, held], 400, "invalid_grant", 70_000),
        (own, vec![public, refreshing, held, ("scope", "nonsense")], 400, "invalid_scope", 70_011),
        (own, vec![public, refreshing, held, ("scope", "Sites.Read.All")], 400, "invalid_grant", 65_001),
        (
            own,
            vec![public, refreshing, held, ("scope", "https://vault.azure.net/.default")],
            400,
            "invalid_resource",
            500_011,
        ),
    ];
    for (tenant, form, status, error, code) in cases {
        let reply = token(&sandbox, tenant, &form);
        let body = reply.json();
        assert_eq!(
            (reply.status, body["error"].as_str(), &body["error_codes"][0]),
            (status, Some(error), &code.into()),
            "{form:?}"
        );
        let description = body["error_description"].as_str().unwrap();
        assert!(
            description.starts_with(&format!("AADSTS{code}: ")) && description.contains("\r\nTrace ID: ")
        );
        for member in ["timestamp", "trace_id", "correlation_id", "error_uri"] {
            assert!(body[member].is_string(), "{member}");
        }
    }
    let url = format!("{}/{own}/oauth2/v2.0/token", sandbox.login_url());
    let reply =
        send("POST", &url, &[("content-type", "application/json")], r#"{"grant_type":"refresh_token"}"#);
    assert_eq!(reply.unwrap().json()["error_codes"][0], 900_144);
    // A refused request uses nothing up.
    assert_eq!(refresh(&sandbox, &tokens.refresh_token, None).status, 200);
    assert_eq!(sandbox.stats().refresh_reuses, 0);
}

#[test]
fn lenient_rotation_keeps_old_tokens_working() {
    let sandbox = Sandbox::start(SandboxOptions::default());
    let first = sandbox.issue_delegated_tokens(&sandbox.first_user().upn).refresh_token;
    let second = refresh(&sandbox, &first, Some("offline_access Mail.ReadWrite")).json();
    assert_ne!(second["refresh_token"], first.as_str());
    assert_eq!(second["scope"], "Mail.ReadWrite");
    assert_eq!(refresh(&sandbox, &first, None).status, 200);
    assert_eq!(refresh(&sandbox, second["refresh_token"].as_str().unwrap(), None).status, 200);
    assert_eq!(sandbox.stats().refresh_reuses, 1);
    let narrow = refresh(&sandbox, &first, Some("https://graph.microsoft.com/Mail.ReadWrite")).json();
    assert!(narrow.get("refresh_token").is_none(), "offline_access was not asked for");
    let client =
        Client { base: sandbox.graph_url(), access_token: narrow["access_token"].as_str().unwrap().into() };
    assert_eq!(client.get("/me/messages").status, 200);
    assert_eq!(client.get("/me/events").status, 403, "the scope was narrowed to mail");
}

#[test]
fn strict_rotation_revokes_the_family_on_reuse() {
    let sandbox = Sandbox::start(SandboxOptions { rotation: Rotation::Strict, ..SandboxOptions::default() });
    let adele = sandbox.first_user().upn;
    let first = sandbox.issue_delegated_tokens(&adele).refresh_token;
    let other = sandbox.issue_delegated_tokens(&adele).refresh_token;
    let second = refresh(&sandbox, &first, None).json()["refresh_token"].as_str().unwrap().to_owned();
    let third = refresh(&sandbox, &second, None).json()["refresh_token"].as_str().unwrap().to_owned();
    let reused = refresh(&sandbox, &first, None);
    assert_eq!((reused.status, reused.json()["error"].as_str()), (400, Some("invalid_grant")));
    assert_eq!(refresh(&sandbox, &third, None).status, 400, "the newest of the family is gone too");
    assert_eq!(refresh(&sandbox, &other, None).status, 200, "another sign-in is not");
    assert_eq!(sandbox.stats().refresh_reuses, 1);
}

#[test]
fn a_lost_answer_has_rotated_the_token() {
    let sandbox = Sandbox::start(SandboxOptions { rotation: Rotation::Strict, ..SandboxOptions::default() });
    let first = sandbox.issue_delegated_tokens(&sandbox.first_user().upn).refresh_token;
    sandbox.inject(Fault::token(1, FaultAction::CutBeforeAnswer));
    let url = format!("{}/{DEFAULT_TENANT_ID}/oauth2/v2.0/token", sandbox.login_url());
    let form = format!("client_id={PUBLIC_CLIENT_ID}&grant_type=refresh_token&refresh_token={first}");
    let headers = [("content-type", "application/x-www-form-urlencoded")];
    assert!(send("POST", &url, &headers, &form).is_none());
    assert_eq!(sandbox.stats().tokens_issued, 1);
    assert_eq!(refresh(&sandbox, &first, None).status, 400);
    assert_eq!(sandbox.stats().refresh_reuses, 1);
}

#[test]
fn revoked_and_planned_errors_are_in_entras_shape() {
    let sandbox = Sandbox::start(SandboxOptions::default());
    let adele = sandbox.first_user().upn;
    let first = sandbox.issue_delegated_tokens(&adele).refresh_token;
    sandbox.inject(Fault::token(
        1,
        FaultAction::OAuthError {
            status: 400,
            error: "interaction_required".into(),
            code: 50_076,
            description: "Use multi-factor authentication.".into(),
            suberror: Some("basic_action".into()),
            claims: Some("{\"access_token\":{}}".into()),
        },
    ));
    let body = refresh(&sandbox, &first, None).json();
    assert_eq!(
        (body["error"].as_str(), body["suberror"].as_str()),
        (Some("interaction_required"), Some("basic_action"))
    );
    assert_eq!(body["claims"], "{\"access_token\":{}}");
    sandbox.inject(Fault::token(
        1,
        FaultAction::Status {
            status: 503,
            headers: vec![("retry-after".into(), "2".into())],
            body: String::new(),
        },
    ));
    let reply = refresh(&sandbox, &first, None);
    assert_eq!((reply.status, reply.header("retry-after")), (503, "2"));
    assert_eq!(sandbox.revoke_user_tokens(&adele), 1);
    assert_eq!(refresh(&sandbox, &first, None).json()["error_codes"][0], 50_173);
}

#[test]
fn graph_refuses_tokens_that_are_old_cancelled_or_foreign() {
    let sandbox = Sandbox::start(SandboxOptions::default());
    let adele = sandbox.first_user().upn;
    let mut client = Client::adele(&sandbox);
    assert_eq!(client.get("/me").status, 200);
    sandbox.expire_access_tokens();
    let mut refused = vec![client.get("/me")];
    client.access_token = sandbox.issue_delegated_tokens_for(&adele, Duration::ZERO).access_token;
    refused.push(client.get("/me"));
    for foreign in ["", "opaque", "e30.e30.e30"] {
        client.access_token = foreign.into();
        refused.push(client.get("/me"));
    }
    refused.push(send("GET", &format!("{}/me", sandbox.graph_url()), &[], "").unwrap());
    for reply in &refused {
        assert_eq!((reply.status, reply.code().as_str()), (401, "InvalidAuthenticationToken"));
        assert!(reply.header("www-authenticate").starts_with("Bearer "));
    }
    assert_eq!(sandbox.stats().unauthorized, refused.len() as u64);
}
