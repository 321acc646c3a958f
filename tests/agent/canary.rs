//! Row 29, no secret gets out: canaries in every secret place, all activities, errors, routes and commands at TRACE, then a
//! search of everything the agent said and of what the kernel shows of it.

use std::os::unix::fs::PermissionsExt;
use std::process::Command;

use o365_sandbox::{CONFIDENTIAL_CLIENT_SECRET, Fault, FaultAction, FaultTarget, IssuedTokens, Sandbox};
use serde_json::json;

use crate::canaries::expect_nowhere;
use crate::support::{Agent, BINARY, Setup, application, delegated_with, tenant};

const FROM_FILE: &str = "canary-from-a-file-3b1f/+=&\"";
const FROM_ENVIRONMENT: &str = "canary-from-the-environment-9c2e";
const OF_THE_PROXY: &str = "canary-of-the-proxy-77aa:@/";
const PUT: &str = "canary-put-55d0\\\"";
const WRONG_BEARER: &str = "canary-of-a-wrong-bearer-1f0e";
const IN_A_QUERY: &str = "canary-in-a-query-string-6d21";
const KEY_PASSWORD: &str = "canary-of-a-key-password-ab54";
const BROKEN_KEY: &str = "canaryInsideAPrivateKeyMIIEvQIBADANBgkqhkiG9w0BAQEFAASC";
const VERIFIER: &str = "canary-of-an-oauth-verifier-0c77";
const HEADER: &str = "canary-in-a-foreign-header-41c9";

const NAMES: [&str; 7] = ["mail", "app", "file", "env", "faulty", "certificate", "verifier"];

fn setup(sandbox: &Sandbox, tokens: &IssuedTokens) -> Setup {
    let setup = Setup::new();
    let path = setup.path().join("secret");
    std::fs::write(&path, FROM_FILE).unwrap();
    std::fs::set_permissions(&path, PermissionsExt::from_mode(0o600)).unwrap();
    let quoted = format!("'{CONFIDENTIAL_CLIENT_SECRET}'");
    let with_secret = |name: &str, secret: &str| application(sandbox, name, "").replace(&quoted, secret);
    let proxy_password = OF_THE_PROXY;
    let certificate = format!(
        "      OAuthJWTCertType: PEMKEY_BLOB\n      OAuthJWTCert: |\n        -----BEGIN PRIVATE KEY-----\n        {BROKEN_KEY}\n        -----END PRIVATE KEY-----\n      OAuthJWTCertPassword: {KEY_PASSWORD}\n"
    );
    let certificate = application(sandbox, "certificate", &certificate)
        .replace("AzureServicePrincipal", "AzureServicePrincipalCert")
        .lines()
        .filter(|line| !line.contains("OAuthClientSecret"))
        .map(|line| format!("{line}\n"))
        .collect::<String>();
    let verifier = delegated_with(sandbox, "verifier", tokens, &format!("      OAuthVerifier: {VERIFIER}\n"))
        .lines()
        .filter(|line| !line.contains("OAuthAccessToken") && !line.contains("OAuthRefreshToken"))
        .map(|line| format!("{line}\n"))
        .collect::<String>();
    setup
        .conf(&format!(
            "[Proxy]\nHost=127.0.0.1\nPort=9\nUser=u\nPassword={proxy_password}\n[PredefinedJitterbitVariables]\nx=1\n"
        ))
        .environment("O365_CANARY", FROM_ENVIRONMENT)
        .drop_in("a.yaml", &delegated_with(sandbox, "mail", tokens, ""))
        .drop_in("b.yaml", &application(sandbox, "app", ""))
        .drop_in("c.yaml", &with_secret("file", &format!("{{ file: {} }}", path.display())))
        .drop_in("d.yaml", &with_secret("env", "{ env: O365_CANARY }"))
        // A faulty file quotes its place, never its secret.
        .drop_in("e.yaml", &delegated_with(sandbox, "faulty", tokens, "      NoSuchProperty: 1\n"))
        .drop_in("f.yaml", &certificate)
        .drop_in("g.yaml", &verifier)
        .drop_in("h.yaml", &format!("connections: {{ broken: {{ OAuthClientSecret: '{FROM_FILE}"))
}

/// Every route and activity of every connection, with bodies that are right, wrong and no JSON at all.
async fn ask_everything(agent: &Agent) -> String {
    let mut said = String::new();
    let put = json!({"AuthScheme": "AzureAD", "OAuthAccessToken": PUT, "Wrong": 1});
    let put_bad_type =
        json!({"AuthScheme": "AzureAD", "OAuthAccessToken": [PUT], "OAuthClientSecret": {"inline": PUT}});
    for name in NAMES {
        for (method, path, body) in [
            ("GET", "", None),
            ("POST", "/test", None),
            ("POST", "/refresh", None),
            ("POST", "/query", Some(json!({"object": "Messages", "fields": ["id"]}))),
            (
                "POST",
                "/query",
                Some(
                    json!({"object": "Users", "conditions": [{"field": "bad", "operator": "=", "value": 1}]}),
                ),
            ),
            ("POST", "/create", Some(json!({"object": "Contacts", "records": [{"givenName": "A"}]}))),
            ("PUT", "", Some(put.clone())),
            ("PUT", "", Some(put_bad_type.clone())),
            ("GET", "/sign-in", None),
            ("POST", "/sign-in", Some(json!({"method": "verifier", "code": VERIFIER}))),
            ("GET", "/objects", None),
            ("GET", "/procedures", None),
        ] {
            let answer = agent
                .call(method.parse().unwrap(), &format!("/v1/connections/{name}{path}"), &[], body)
                .await;
            said.push_str(&format!("{:?}\n{}\n", answer.headers, answer.text()));
        }
    }
    for path in [
        "/",
        "/console",
        "/v1/agent",
        "/v1/connections",
        "/v1/runs",
        "/metrics",
        "/openapi.json",
        "/healthz",
        "/readyz",
        &format!("/v1/runs?token={IN_A_QUERY}"),
        &format!("/v1/connections/mail?access_token={IN_A_QUERY}&code={IN_A_QUERY}"),
        &format!("/no-such-route?secret={IN_A_QUERY}"),
    ] {
        said.push_str(&agent.get(path).await.text());
    }
    let client = crate::support::client();
    for (header, value) in [
        ("authorization", format!("Bearer {WRONG_BEARER}")),
        ("authorization", format!("Basic {WRONG_BEARER}")),
    ] {
        let answer =
            client.get(format!("{}/v1/agent", agent.base)).header(header, value).send().await.unwrap();
        assert_eq!(answer.status(), 401);
        said.push_str(&answer.text().await.unwrap());
    }
    // A body that breaks off in the middle of a secret, and a header that is not ours.
    let broken = client
        .put(format!("{}/v1/connections/new", agent.base))
        .header("authorization", format!("Bearer {}", agent.token))
        .header("content-type", "application/json")
        .header("x-foreign", HEADER)
        .body(format!("{{\"OAuthClientSecret\": \"{PUT}"));
    said.push_str(&broken.send().await.unwrap().text().await.unwrap());
    said
}

/// The servers say back what they were sent.
async fn be_echoed_at(agent: &Agent, sandbox: &Sandbox, tokens: &IssuedTokens) -> String {
    let refresh = "/v1/connections/mail/refresh";
    let echo =
        format!("<html>{} {} {CONFIDENTIAL_CLIENT_SECRET}</html>", tokens.refresh_token, tokens.access_token);
    let mut said = String::new();
    let actions = [
        FaultAction::OAuthError {
            status: 400,
            error: "invalid_grant".into(),
            code: 70008,
            description: format!("echo of {}", tokens.refresh_token),
            suberror: Some(tokens.refresh_token.clone()),
            claims: None,
        },
        FaultAction::OAuthError {
            status: 400,
            error: tokens.refresh_token.clone(),
            code: 1,
            description: String::new(),
            suberror: None,
            claims: None,
        },
        FaultAction::Status { status: 200, headers: vec![], body: echo.clone() },
        FaultAction::Status {
            status: 502,
            headers: vec![("x-echo".into(), tokens.refresh_token.clone())],
            body: echo.clone(),
        },
        FaultAction::Redirect {
            location: format!("https://elsewhere.example/?t={}", tokens.refresh_token),
            status: 302,
        },
    ];
    for action in actions {
        sandbox.inject(Fault { target: FaultTarget::Token, times: 1, action });
        said.push_str(&agent.call(http::Method::POST, refresh, &[], None).await.text());
        said.push_str(&agent.get("/v1/connections").await.text());
    }
    let everything = || FaultTarget::Graph { method: None, path_contains: None };
    let shaped = json!({"error": {"code": tokens.access_token, "message": tokens.access_token}}).to_string();
    for (status, body) in [(403, shaped.clone()), (400, shaped), (200, echo.clone()), (404, echo)] {
        let action = FaultAction::Status { status, headers: vec![], body };
        sandbox.inject(Fault { target: everything(), times: 1, action });
        said.push_str(&agent.post("/v1/connections/app/query", json!({"object": "Users"})).await.text());
    }
    said
}

/// What the commands of an operator print.
fn run_commands(agent: &Agent) -> String {
    let settings = agent.settings_file();
    let mut said = String::new();
    for arguments in [
        vec!["status"],
        vec!["status", "--json"],
        vec!["check"],
        vec!["reload"],
        vec!["test", "mail"],
        vec!["test", "certificate", "--json"],
        vec!["tokens", "list"],
    ] {
        let output = Command::new(BINARY)
            .args(&arguments)
            .arg("--config")
            .arg(&settings)
            .env("O365_CANARY", FROM_ENVIRONMENT)
            .output()
            .unwrap();
        assert!(!output.stdout.is_empty() || !output.stderr.is_empty(), "{arguments:?}");
        said.push_str(&String::from_utf8_lossy(&output.stdout));
        said.push_str(&String::from_utf8_lossy(&output.stderr));
    }
    said
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_canary_is_found_in_logs_answers_metrics_or_arguments() {
    let sandbox = tenant();
    let tokens = sandbox.issue_delegated_tokens(&sandbox.first_user().upn);
    let mut agent = setup(&sandbox, &tokens).start();
    let mut said = ask_everything(&agent).await;
    said.push_str(&be_echoed_at(&agent, &sandbox, &tokens).await);
    said.push_str(&run_commands(&agent));
    let shown = |file: &str| {
        let bytes = std::fs::read(format!("/proc/{}/{file}", agent.pid())).unwrap();
        String::from_utf8_lossy(&bytes).replace('\0', "\n")
    };
    said.push_str(&shown("cmdline"));
    said.push_str(&shown("comm"));
    // What the operator put into the environment stays there; the agent adds nothing to it.
    said.push_str(&shown("environ").replace(&format!("O365_CANARY={FROM_ENVIRONMENT}"), ""));
    let control_token = agent.token.clone();
    let state = agent.root().join("state");
    let store_key = std::fs::read_to_string(state.join("token-key")).unwrap();
    agent.stop();
    let log = agent.log();
    assert!(log.contains("TRACE") || log.contains("DEBUG"), "the log was at its most talkative");
    said.push_str(&log);

    let mut canaries: Vec<String> = [
        FROM_FILE,
        FROM_ENVIRONMENT,
        OF_THE_PROXY,
        PUT,
        WRONG_BEARER,
        IN_A_QUERY,
        KEY_PASSWORD,
        BROKEN_KEY,
        VERIFIER,
        HEADER,
        CONFIDENTIAL_CLIENT_SECRET,
        &tokens.access_token,
        &tokens.refresh_token,
        &control_token,
        store_key.trim(),
    ]
    .map(str::to_owned)
    .to_vec();
    // Every token that was issued while the test ran: the sandbox saw them in Authorization headers and forms.
    for request in sandbox.graph_requests().iter().chain(&sandbox.token_requests()) {
        canaries.extend(
            request.header("authorization").map(|value| value.trim_start_matches("Bearer ").to_owned()),
        );
        let form = url::form_urlencoded::parse(request.body.as_bytes());
        canaries
            .extend(form.filter(|(name, _)| name == "refresh_token").map(|(_, value)| value.into_owned()));
    }
    canaries.sort();
    canaries.dedup();
    assert!(canaries.len() > 18, "{} canaries", canaries.len());
    eprintln!("{} canaries in every form, {} KiB searched", canaries.len(), said.len() / 1024);
    expect_nowhere(&said, &canaries);
    // The store itself holds them sealed only.
    for entry in std::fs::read_dir(state.join("tokens")).unwrap() {
        let stored = std::fs::read(entry.unwrap().path()).unwrap();
        expect_nowhere(&String::from_utf8_lossy(&stored), &canaries);
    }
}
