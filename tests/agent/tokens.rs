//! Tokens over the wire: one request for many callers, trouble is not death, denial is not deletion, and two agents on
//! one store never use a refresh token twice.

use std::time::Duration;

use o365_sandbox::{Fault, FaultAction, FaultTarget, Rotation, Sandbox, SandboxOptions};
use serde_json::json;

use crate::support::{Agent, Setup, application, delegated, delegated_with, eventually, tenant};

fn query() -> serde_json::Value {
    json!({"object": "Messages", "fields": ["id"], "limit": 1})
}

/// "Must show" 3, first part.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_thousand_callers_at_expiry_make_one_token_request() {
    let sandbox = tenant();
    let expired = sandbox.issue_delegated_tokens_for(&sandbox.first_user().upn, Duration::ZERO);
    let hold = Fault {
        target: FaultTarget::Token,
        times: 1,
        action: FaultAction::Delay(Duration::from_millis(1500)),
    };
    sandbox.inject(hold);
    let agent = Setup::new()
        .conf("[Limits]\nConcurrentRuns=2000\nControlConnections=2000\n")
        .drop_in("m.yaml", &delegated_with(&sandbox, "mail", &expired, "      MailboxConcurrency: 4\n"))
        .start();
    let client = crate::support::client();
    let calls = (0..1000).map(|_| {
        let request = client
            .post(format!("{}/v1/connections/mail/query", agent.base))
            .header("authorization", format!("Bearer {}", agent.token))
            .header("content-type", "application/json")
            .body(query().to_string());
        tokio::spawn(async move { request.send().await.unwrap().status().as_u16() })
    });
    let calls: Vec<_> = calls.collect();
    for call in calls {
        assert_eq!(call.await.unwrap(), 200);
    }
    assert_eq!(sandbox.stats().token_posts, 1);
}

#[tokio::test]
async fn a_401_from_graph_renews_once_and_goes_on() {
    let sandbox = tenant();
    let agent = Setup::new().drop_in("m.yaml", &delegated(&sandbox, "mail", "")).start();
    agent.post("/v1/connections/mail/query", query()).await.expect(200);
    sandbox.expire_access_tokens();
    agent.post("/v1/connections/mail/query", query()).await.expect(200);
    assert_eq!(sandbox.stats().token_posts, 1);
    let challenge = Fault {
        target: FaultTarget::Graph { method: None, path_contains: None },
        times: 1,
        action: FaultAction::ClaimsChallenge,
    };
    sandbox.inject(challenge);
    agent.post("/v1/connections/mail/query", query()).await.expect(200);
    let sent = sandbox.token_requests().pop().unwrap();
    assert!(sent.body.contains("claims="), "the challenge is handed on");
}

#[tokio::test]
async fn passing_trouble_keeps_the_token_in_use_and_heals() {
    let sandbox = tenant();
    let agent = Setup::new().drop_in("m.yaml", &delegated(&sandbox, "mail", "")).start();
    agent.await_state("mail", "ok").await;
    let rows = [
        FaultAction::Status {
            status: 503,
            headers: vec![("Retry-After".into(), "1".into())],
            body: String::new(),
        },
        FaultAction::Garbage,
        FaultAction::CutBeforeAnswer,
        FaultAction::OAuthError {
            status: 503,
            error: "invalid_grant".into(),
            code: 70008,
            description: "an OAuth-shaped body on a 5xx is still an outage".into(),
            suberror: None,
            claims: None,
        },
    ];
    for action in rows {
        let shown = format!("{action:?}");
        sandbox.inject(Fault { target: FaultTarget::Token, times: 1, action });
        let answer = agent.call(http::Method::POST, "/v1/connections/mail/refresh", &[], None).await;
        assert_eq!(answer.status, 503, "{shown}: {}", answer.text());
        agent.post("/v1/connections/mail/query", query()).await.expect(200);
        eventually(&format!("healed after {shown}"), async || agent.state_of("mail").await == "ok").await;
    }
}

#[tokio::test]
async fn a_denied_connection_says_what_to_do_and_a_pasted_token_revives_it() {
    let sandbox = tenant();
    let user = sandbox.first_user().upn;
    let agent = Setup::new().drop_in("m.yaml", &delegated(&sandbox, "mail", "")).start();
    agent.await_state("mail", "ok").await;
    sandbox.revoke_user_tokens(&user);
    sandbox.expire_access_tokens();
    let answer = agent.post("/v1/connections/mail/query", query()).await;
    let problem = answer.json();
    assert_eq!((answer.status, &problem["code"]), (409, &json!("needs_sign_in")), "{problem}");
    assert_eq!(problem["aadsts"], 50173);
    assert!(problem["correlationId"].is_string(), "{problem}");
    let posts = sandbox.stats().token_posts;
    assert_eq!(agent.state_of("mail").await, "needs_sign_in");
    let again = agent.post("/v1/connections/mail/query", query()).await;
    assert_eq!(again.status, 409);
    assert_eq!(sandbox.stats().token_posts, posts, "a dead grant is not asked for again");

    std::fs::write(agent.drop_in_directory().join("m.yaml"), delegated(&sandbox, "mail", "")).unwrap();
    agent.await_state("mail", "ok").await;
    agent.post("/v1/connections/mail/query", query()).await.expect(200);
}

#[tokio::test]
async fn an_off_connection_ends_with_a_clear_error_before_any_call() {
    let sandbox = tenant();
    let tokens = sandbox.issue_delegated_tokens_for(&sandbox.first_user().upn, Duration::from_secs(4));
    let text =
        delegated_with(&sandbox, "mail", &tokens, "").replace("InitiateOAuth: REFRESH", "InitiateOAuth: OFF");
    let text: String = text
        .lines()
        .filter(|line| !line.contains("OAuthRefreshToken"))
        .map(|line| format!("{line}\n"))
        .collect();
    let agent = Setup::new().drop_in("m.yaml", &text).start();
    agent.post("/v1/connections/mail/query", query()).await.expect(200);
    eventually("the token counts as expired", async || agent.state_of("mail").await == "needs_sign_in").await;
    let sent = sandbox.stats().graph_requests;
    let answer = agent.post("/v1/connections/mail/query", query()).await;
    assert!(answer.status == 409 && answer.text().contains("OAuthAccessToken"), "{}", answer.text());
    assert_eq!(sandbox.stats().graph_requests, sent, "nothing was sent with a dead token");
}

#[tokio::test]
async fn wrong_secrets_need_an_administrator() {
    let sandbox = tenant();
    for (secret, aadsts) in [("wrong", 7_000_215), (o365_sandbox::EXPIRED_CLIENT_SECRET, 7_000_222)] {
        let text = application(&sandbox, "app", "").replace(o365_sandbox::CONFIDENTIAL_CLIENT_SECRET, secret);
        let agent = Setup::new().drop_in("a.yaml", &text).start();
        agent.await_state("app", "needs_admin").await;
        let view = agent.get("/v1/connections/app").await.expect(200);
        assert_eq!(view["token"]["lastError"]["aadsts"], aadsts, "{view}");
        let test = agent.call(http::Method::POST, "/v1/connections/app/test", &[], None).await.expect(200);
        assert_eq!(test["ok"], false);
        let failed: Vec<_> = test["steps"]
            .as_array()
            .unwrap()
            .iter()
            .filter(|step| step["ok"] == false)
            .map(|step| &step["step"])
            .collect();
        assert_eq!(failed, ["token"], "{test}");
    }
}

#[tokio::test]
async fn a_test_of_a_well_connection_passes_every_step() {
    let sandbox = tenant();
    let agent = Setup::new().drop_in("a.yaml", &application(&sandbox, "app", "")).start();
    let test = agent.call(http::Method::POST, "/v1/connections/app/test", &[], None).await.expect(200);
    assert_eq!(test["ok"], true, "{test}");
    let steps: Vec<_> =
        test["steps"].as_array().unwrap().iter().map(|step| step["step"].as_str().unwrap()).collect();
    assert_eq!(steps, ["configuration", "store", "token", "clock", "graph"]);
}

/// "Must show" 3, third part: two agents, one store, the strict identity provider.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_agents_on_one_store_never_use_a_refresh_token_twice() {
    let refreshes = 200;
    let options = SandboxOptions { rotation: Rotation::Strict, ..SandboxOptions::default() };
    let sandbox = Sandbox::start(options);
    let setup = Setup::new();
    let store = setup.path().join("shared");
    std::fs::create_dir(&store).unwrap();
    std::fs::set_permissions(&store, std::os::unix::fs::PermissionsExt::from_mode(0o700)).unwrap();
    let key = setup.path().join("token-key");
    let location = format!("      OAuthSettingsLocation: {}\n", store.join("mail.json").display());
    let setup = setup.drop_in("m.yaml", &delegated(&sandbox, "mail", &location));
    let conf = format!("[Settings]\nEnableLocalFileLocation=true\n[TokenStore]\nKeyFile={}\n", key.display());
    let agents =
        [Agent::spawn(setup.path(), "one", &conf, &[]), Agent::spawn(setup.path(), "two", &conf, &[])];
    let mut round = 0;
    while sandbox.stats().token_posts < refreshes {
        round += 1;
        assert!(round < 2000, "{:?}", sandbox.stats());
        let (one, two) = tokio::join!(
            agents[0].call(http::Method::POST, "/v1/connections/mail/refresh", &[], None),
            agents[1].call(http::Method::POST, "/v1/connections/mail/refresh", &[], None)
        );
        one.expect(200);
        two.expect(200);
    }
    let stats = sandbox.stats();
    assert_eq!(stats.refresh_reuses, 0, "{stats:?}");
    for agent in &agents {
        agent.post("/v1/connections/mail/query", query()).await.expect(200);
    }
}

#[tokio::test]
async fn the_proxy_carries_token_and_graph_requests_and_exceptions_go_direct() {
    let sandbox = tenant();
    let proxy = crate::process::CountingProxy::start();
    let conf = format!("[Proxy]\nHost=127.0.0.1\nPort={}\nUser=agent\nPassword=pr0xy-pw\n", proxy.port);
    let through = application(&sandbox, "through", "      UserId: adele\n")
        .replace("    AdvancedConfigurations", "    UseProxySettings: true\n    AdvancedConfigurations");
    let agent = Setup::new()
        .conf(&conf)
        .drop_in("a.yaml", &through)
        .drop_in("b.yaml", &application(&sandbox, "direct", ""))
        .start();
    agent.await_state("direct", "ok").await;
    agent.await_state("through", "ok").await;
    let request = json!({"object": "Users", "fields": ["id"], "limit": 1});
    agent.post("/v1/connections/direct/query", request.clone()).await.expect(200);
    let before = proxy.seen();
    assert!(
        before.iter().all(|request| request.contains("oauth2/v2.0/token") || request.starts_with("CONNECT")),
        "{before:?}"
    );
    assert_eq!(before.len(), 1, "{before:?}");
    agent.post("/v1/connections/through/query", request).await.expect(200);
    assert_eq!(proxy.seen().len(), 2, "{:?}", proxy.seen());
    assert!(proxy.authorized(), "the proxy was given its user and password");
}
