//! No secret gets out: canaries in every secret place, all activities, errors and routes at TRACE, then a search of
//! everything the agent said.

use base64::Engine;
use o365_sandbox::{Fault, FaultAction, FaultTarget};
use serde_json::json;

use crate::support::{Setup, application, delegated_with, tenant};

#[tokio::test]
async fn no_canary_is_found_in_logs_answers_metrics_or_arguments() {
    let sandbox = tenant();
    let tokens = sandbox.issue_delegated_tokens(&sandbox.first_user().upn);
    let secret_file = "canary-from-a-file-3b1f";
    let setup = Setup::new();
    let path = setup.path().join("secret");
    std::fs::write(&path, secret_file).unwrap();
    std::fs::set_permissions(&path, std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
    let from_file = application(&sandbox, "file", "").replace(
        &format!("'{}'", o365_sandbox::CONFIDENTIAL_CLIENT_SECRET),
        &format!("{{ file: {} }}", path.display()),
    );
    let from_environment = application(&sandbox, "env", "")
        .replace(&format!("'{}'", o365_sandbox::CONFIDENTIAL_CLIENT_SECRET), "{ env: O365_CANARY }");
    // A faulty file quotes its place, never its secret.
    let faulty = delegated_with(&sandbox, "faulty", &tokens, "      NoSuchProperty: 1\n");
    let conf = "[Proxy]\nHost=127.0.0.1\nPort=9\nUser=u\nPassword=canary-of-the-proxy-77aa\n[PredefinedJitterbitVariables]\nx=1\n";
    let mut agent = setup
        .conf(conf)
        .environment("O365_CANARY", "canary-from-the-environment-9c2e")
        .drop_in("a.yaml", &delegated_with(&sandbox, "mail", &tokens, ""))
        .drop_in("b.yaml", &application(&sandbox, "app", ""))
        .drop_in("c.yaml", &from_file)
        .drop_in("d.yaml", &from_environment)
        .drop_in("e.yaml", &faulty)
        .start();
    let mut said = String::new();
    for name in ["mail", "app", "file", "env", "faulty"] {
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
            (
                "PUT",
                "",
                Some(json!({"AuthScheme": "AzureAD", "OAuthAccessToken": "canary-put-55d0", "Wrong": 1})),
            ),
        ] {
            let answer = agent
                .call(method.parse().unwrap(), &format!("/v1/connections/{name}{path}"), &[], body)
                .await;
            said.push_str(&format!("{:?}\n{}\n", answer.headers, answer.text()));
        }
    }
    let oauth = FaultAction::OAuthError {
        status: 400,
        error: "invalid_grant".into(),
        code: 70008,
        description: format!("echo of {}", tokens.refresh_token),
        suberror: None,
        claims: None,
    };
    sandbox.inject(Fault { target: FaultTarget::Token, times: 1, action: oauth });
    said.push_str(&agent.call(http::Method::POST, "/v1/connections/mail/refresh", &[], None).await.text());
    let echo = FaultAction::Status {
        status: 403,
        headers: vec![],
        body: format!(
            "{{\"error\":{{\"code\":\"x\",\"message\":\"y\"}},\"echo\":\"{}\"}}",
            tokens.access_token
        ),
    };
    sandbox.inject(Fault {
        target: FaultTarget::Graph { method: None, path_contains: None },
        times: 1,
        action: echo,
    });
    said.push_str(&agent.post("/v1/connections/app/query", json!({"object": "Users"})).await.text());
    for path in ["/v1/agent", "/v1/connections", "/v1/runs", "/metrics", "/openapi.json", "/healthz"] {
        said.push_str(&agent.get(path).await.text());
    }
    let arguments = std::fs::read(format!("/proc/{}/cmdline", agent.pid())).unwrap();
    said.push_str(&String::from_utf8_lossy(&arguments));
    let control_token = agent.token.clone();
    agent.stop();
    let log = agent.log();
    assert!(log.contains("TRACE") || log.contains("DEBUG"), "the log was at its most talkative");
    said.push_str(&log);

    let mut canaries = vec![
        tokens.access_token.clone(),
        tokens.refresh_token.clone(),
        o365_sandbox::CONFIDENTIAL_CLIENT_SECRET.to_owned(),
        secret_file.to_owned(),
        "canary-from-the-environment-9c2e".to_owned(),
        "canary-of-the-proxy-77aa".to_owned(),
        "canary-put-55d0".to_owned(),
        control_token,
    ];
    // Every token that was issued while the test ran: the sandbox saw them in Authorization headers and forms.
    for request in sandbox.graph_requests().iter().chain(&sandbox.token_requests()) {
        canaries.extend(
            request
                .headers
                .iter()
                .filter(|(name, _)| name.eq_ignore_ascii_case("authorization"))
                .map(|(_, value)| value.trim_start_matches("Bearer ").to_owned()),
        );
    }
    canaries.sort();
    canaries.dedup();
    assert!(canaries.len() > 9, "{} canaries", canaries.len());
    for canary in &canaries {
        let percent: String = url::form_urlencoded::byte_serialize(canary.as_bytes()).collect();
        let escaped = serde_json::to_string(canary).unwrap();
        let base64 = base64::engine::general_purpose::STANDARD.encode(canary);
        for form in [canary.as_str(), &percent, escaped.trim_matches('"'), base64.trim_end_matches('=')] {
            if let Some(at) = said.find(form) {
                let start = said[..at].rfind('\n').unwrap_or(0);
                panic!("a secret got out: …{}", &said[start..(at + 8).min(said.len())]);
            }
        }
    }
}
