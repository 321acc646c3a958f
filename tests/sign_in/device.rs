//! Sign-in by device code: offered and never started unasked, shown, polled at the server's pace, and all its ends.

use std::time::Duration;

use http::Method;
use o365_sandbox::{Fault, FaultAction, FaultTarget, Sandbox, SandboxOptions};
use serde_json::json;

use crate::flows::{
    SIGN_IN, agent_without_token, await_sign_in, bare, field, query, quick_tenant, refresh, start,
};
use crate::support::{Setup, eventually};

const GRANT: &str = "urn:ietf:params:oauth:grant-type:device_code";

/// When the token endpoint was polled, in milliseconds.
fn polls(sandbox: &Sandbox) -> Vec<u64> {
    let requests = sandbox.token_requests();
    let polls = requests.iter().filter(|sent| field(&sent.body, "grant_type").as_deref() == Some(GRANT));
    polls.map(|sent| sent.at_millis).collect()
}

#[tokio::test]
async fn a_connection_without_token_offers_a_sign_in_and_sends_nothing() {
    let sandbox = quick_tenant();
    let agent = agent_without_token(&sandbox, "").await;
    let view = agent.get("/v1/connections/mail").await.expect(200);
    assert!(view["message"].as_str().unwrap().contains("`o365-agent sign-in mail`"), "{view}");
    assert_eq!(view["signIn"]["state"], "offered", "{view}");
    assert!(view["signIn"]["adminConsentUrl"].as_str().unwrap().contains("/organizations/adminconsent?"));
    let answer = agent.post("/v1/connections/mail/query", json!({"object": "Messages"})).await;
    let problem = answer.json();
    assert_eq!((answer.status, &problem["code"]), (409, &json!("needs_sign_in")), "{problem}");
    assert!(sandbox.token_requests().is_empty(), "nothing is posted without being asked");
    assert_eq!(agent.call(Method::DELETE, SIGN_IN, &[], None).await.expect(404)["code"], "no_sign_in");
}

#[tokio::test]
async fn a_device_code_signs_in_and_the_token_is_renewed_later() {
    let sandbox = quick_tenant();
    let agent = agent_without_token(&sandbox, "").await;
    let shown = start(&agent, "device_code").await;
    assert_eq!(shown["state"], "waiting_for_code_entry", "{shown}");
    let code = shown["userCode"].as_str().unwrap().to_owned();
    assert!(shown["secondsLeft"].as_u64().unwrap() > 800, "{shown}");
    assert!(shown["verificationUri"].as_str().unwrap().ends_with("/devicelogin"));
    let asked = sandbox.token_requests().pop().unwrap();
    assert!(asked.path_and_query.ends_with("/organizations/oauth2/v2.0/devicecode"), "{asked:?}");
    let scope = format!("{}/.default offline_access openid profile", sandbox.graph_origin());
    assert_eq!(field(&asked.body, "scope"), Some(scope));

    assert_eq!(agent.post(SIGN_IN, json!({})).await.expect(409)["code"], "sign_in_pending");
    let listed = agent.get("/v1/connections/mail").await.expect(200);
    assert!(listed["message"].as_str().unwrap().contains(&code), "{listed}");

    let user = sandbox.first_user().upn;
    assert!(sandbox.approve_device_code(&code, &user));
    let done = await_sign_in(&agent, "done").await;
    assert_eq!(done["account"], user.as_str(), "{done}");
    assert!(done["userCode"].is_null() && done["previousAccount"].is_null(), "{done}");
    assert_eq!(agent.state_of("mail").await, "ok");
    query(&agent).await;
    refresh(&agent, &sandbox).await;
    query(&agent).await;
}

#[tokio::test]
async fn polls_keep_the_servers_interval_and_slow_down() {
    let sandbox = quick_tenant();
    let agent = agent_without_token(&sandbox, "").await;
    // The second poll is told to slow down: from then on five seconds more between polls.
    let code = start(&agent, "device_code").await["userCode"].as_str().unwrap().to_owned();
    eventually("the first poll", async || polls(&sandbox).len() == 1).await;
    let slow = FaultAction::OAuthError {
        status: 400,
        error: "slow_down".into(),
        code: 70_016,
        description: "too often".into(),
        suberror: None,
        claims: None,
    };
    sandbox.inject(Fault { target: FaultTarget::Token, times: 1, action: slow });
    eventually("the third poll", async || polls(&sandbox).len() == 3).await;
    assert!(sandbox.approve_device_code(&code, &sandbox.first_user().upn));
    await_sign_in(&agent, "done").await;
    let at = polls(&sandbox);
    let gaps: Vec<u64> = at.windows(2).map(|pair| pair[1] - pair[0]).collect();
    assert!(gaps.len() >= 3 && gaps[0] >= 990 && gaps[1] >= 5_990 && gaps[2] >= 5_990, "{gaps:?}");
    assert!(gaps[0] < 5_000, "{gaps:?}");
}

#[tokio::test]
async fn passing_trouble_between_polls_does_not_end_a_sign_in() {
    let sandbox = quick_tenant();
    let agent = agent_without_token(&sandbox, "").await;
    let code = start(&agent, "device_code").await["userCode"].as_str().unwrap().to_owned();
    sandbox.inject(Fault { target: FaultTarget::Token, times: 1, action: FaultAction::CutBeforeAnswer });
    eventually("the trouble is met", async || sandbox.stats().faults_hit == 1).await;
    assert!(sandbox.approve_device_code(&code, &sandbox.first_user().upn));
    await_sign_in(&agent, "done").await;
}

#[tokio::test]
async fn a_declined_and_an_expired_code_say_so() {
    let sandbox = Sandbox::start(SandboxOptions {
        device_code_interval: Duration::from_secs(1),
        device_code_lifetime: Duration::from_secs(3),
        ..SandboxOptions::default()
    });
    let agent = agent_without_token(&sandbox, "").await;
    let code = start(&agent, "device_code").await["userCode"].as_str().unwrap().to_owned();
    assert!(sandbox.decline_device_code(&code));
    let failed = await_sign_in(&agent, "failed").await;
    assert_eq!(failed["error"]["code"], "authorization_declined", "{failed}");
    assert!(failed["message"].as_str().unwrap().contains("`o365-agent sign-in mail`"), "{failed}");
    assert_eq!(agent.state_of("mail").await, "needs_sign_in");

    start(&agent, "device_code").await;
    let expired = await_sign_in(&agent, "expired").await;
    assert!(expired["message"].as_str().unwrap().contains("in time"), "{expired}");
    let polled = polls(&sandbox).len();
    assert!((1..=4).contains(&polled), "{polled}");
}

#[tokio::test]
async fn a_cancelled_sign_in_polls_no_more_and_a_new_one_may_begin() {
    let sandbox = quick_tenant();
    let agent = agent_without_token(&sandbox, "").await;
    let code = start(&agent, "device_code").await["userCode"].as_str().unwrap().to_owned();
    agent.call(Method::DELETE, SIGN_IN, &[], None).await.expect(204);
    assert_eq!(agent.get(SIGN_IN).await.expect(200)["state"], "cancelled");
    assert_eq!(agent.call(Method::DELETE, SIGN_IN, &[], None).await.expect(404)["code"], "no_sign_in");
    let polled = polls(&sandbox).len();
    assert!(sandbox.approve_device_code(&code, &sandbox.first_user().upn));
    // The next sign-in needs longer than the poll that must not come.
    let code = start(&agent, "device_code").await["userCode"].as_str().unwrap().to_owned();
    eventually("a poll of the new sign-in", async || polls(&sandbox).len() > polled).await;
    assert!(sandbox.approve_device_code(&code, &sandbox.user(1).upn));
    assert_eq!(await_sign_in(&agent, "done").await["account"], sandbox.user(1).upn.as_str());
    let device_codes: std::collections::BTreeSet<_> = sandbox
        .token_requests()
        .iter()
        .skip(polled + 1)
        .filter_map(|sent| field(&sent.body, "device_code"))
        .collect();
    assert_eq!(device_codes.len(), 1, "the cancelled one was not asked for again");
}

#[tokio::test]
async fn a_pending_sign_in_ends_with_the_process_and_the_status_says_what_to_do() {
    let sandbox = quick_tenant();
    let setup = Setup::new().drop_in("m.yaml", &bare(&sandbox, ""));
    let mut agent = crate::support::Agent::spawn(setup.path(), "state", "", &[]);
    agent.await_state("mail", "needs_sign_in").await;
    start(&agent, "device_code").await;
    assert_eq!(agent.stop(), 0, "a pending sign-in does not hold up a stop");
    let agent = crate::support::Agent::spawn(setup.path(), "state", "", &[]);
    agent.await_state("mail", "needs_sign_in").await;
    let view = agent.get(SIGN_IN).await.expect(200);
    assert_eq!(view["state"], "offered");
    assert!(view["message"].as_str().unwrap().contains("has to be started again"), "{view}");
}

#[tokio::test]
async fn a_revoked_sign_in_hands_its_claims_to_the_next_and_another_account_is_shown() {
    let sandbox = quick_tenant();
    let agent = agent_without_token(&sandbox, "").await;
    let code = start(&agent, "device_code").await["userCode"].as_str().unwrap().to_owned();
    assert!(sandbox.approve_device_code(&code, &sandbox.first_user().upn));
    await_sign_in(&agent, "done").await;

    let claims = r#"{"access_token":{"capolids":{"essential":true,"values":["x"]}}}"#;
    let denied = FaultAction::OAuthError {
        status: 400,
        error: "interaction_required".into(),
        code: 50_076,
        description: "MFA".into(),
        suberror: Some("basic_action".into()),
        claims: Some(claims.into()),
    };
    sandbox.inject(Fault { target: FaultTarget::Token, times: 1, action: denied });
    agent.call(Method::POST, "/v1/connections/mail/refresh", &[], None).await.expect(409);
    eventually("the sign-in is offered again", async || {
        agent.get(SIGN_IN).await.json()["state"] == "offered"
    })
    .await;

    let browser = start(&agent, "browser").await;
    let address = browser["authorizationUrl"].as_str().unwrap();
    assert_eq!(crate::flows::parameter(address, "claims").as_deref(), Some(claims));
    agent.call(Method::DELETE, SIGN_IN, &[], None).await.expect(204);

    let code = start(&agent, "device_code").await["userCode"].as_str().unwrap().to_owned();
    assert!(sandbox.approve_device_code(&code, &sandbox.user(2).upn));
    let done = await_sign_in(&agent, "done").await;
    let poll = sandbox.token_requests().pop().unwrap();
    assert_eq!(field(&poll.body, "claims").as_deref(), Some(claims));
    assert_eq!(done["account"], sandbox.user(2).upn.as_str(), "{done}");
    assert_eq!(done["previousAccount"], sandbox.first_user().upn.as_str(), "{done}");
    assert_eq!(agent.state_of("mail").await, "ok");
    refresh(&agent, &sandbox).await;
}

#[tokio::test]
async fn a_changed_connection_ends_its_sign_in_and_an_unrelated_change_does_not() {
    let sandbox = quick_tenant();
    let agent = agent_without_token(&sandbox, "").await;
    let file = agent.drop_in_directory().join("m.yaml");
    let code = start(&agent, "device_code").await["userCode"].as_str().unwrap().to_owned();
    std::fs::write(&file, bare(&sandbox, "      MaxRows: 7\n")).unwrap();
    agent.call(Method::POST, "/v1/agent/reload", &[], None).await.expect(200);
    assert_eq!(agent.get(SIGN_IN).await.expect(200)["state"], "waiting_for_code_entry");
    assert!(sandbox.approve_device_code(&code, &sandbox.first_user().upn));
    await_sign_in(&agent, "done").await;
    agent.await_state("mail", "ok").await;

    start(&agent, "device_code").await;
    std::fs::write(&file, bare(&sandbox, "      AzureTenant: contoso.onmicrosoft.com\n")).unwrap();
    agent.call(Method::POST, "/v1/agent/reload", &[], None).await.expect(200);
    let failed = await_sign_in(&agent, "failed").await;
    assert_eq!(failed["error"]["code"], "configuration_changed", "{failed}");
}

#[tokio::test]
async fn connections_that_need_no_person_refuse_a_sign_in() {
    let sandbox = quick_tenant();
    let app = crate::support::application(&sandbox, "app", "");
    let no_client = crate::support::delegated(&sandbox, "noclient", "");
    let agent = Setup::new().drop_in("a.yaml", &app).drop_in("b.yaml", &no_client).start();
    for (name, word) in [("app", "AuthScheme"), ("noclient", "OAuthClientId")] {
        let answer = agent.post(&format!("/v1/connections/{name}/sign-in"), json!({})).await.expect(409);
        assert_eq!(answer["code"], "sign_in_not_possible");
        assert!(answer["detail"].as_str().unwrap().contains(word), "{answer}");
    }
    agent.post("/v1/connections/none/sign-in", json!({})).await.expect(404);
    let answer = agent.post("/v1/connections/app/sign-in", json!({"method": "telepathy"})).await.expect(400);
    assert!(answer["detail"].as_str().unwrap().contains("device_code"), "{answer}");
    agent.post("/v1/connections/app/sign-in", json!({"method": "browser", "code": "x"})).await.expect(400);
}

/// Debian's package `faketime`: it moves the wall clock of a running process alone.
const FAKETIME: &str = "/usr/lib/x86_64-linux-gnu/faketime/libfaketimeMT.so.1";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn polls_go_on_when_the_clock_is_set_back_by_hours() {
    if !std::path::Path::new(FAKETIME).exists() {
        eprintln!("skipped: it takes the package faketime");
        return;
    }
    let sandbox = quick_tenant();
    let setup = Setup::new().drop_in("m.yaml", &bare(&sandbox, ""));
    let offset = setup.path().join("offset");
    std::fs::write(&offset, "+0").unwrap();
    let agent = setup
        .environment("LD_PRELOAD", FAKETIME)
        .environment("FAKETIME_TIMESTAMP_FILE", offset.to_str().unwrap())
        .environment("FAKETIME_NO_CACHE", "1")
        .environment("FAKETIME_DONT_FAKE_MONOTONIC", "1")
        .start();
    agent.await_state("mail", "needs_sign_in").await;
    let code = start(&agent, "device_code").await["userCode"].as_str().unwrap().to_owned();
    eventually("the first poll", async || !polls(&sandbox).is_empty()).await;
    std::fs::write(&offset, "-10800").unwrap();
    // The poll after the step may have been timed before it; those after that were not.
    let seen = polls(&sandbox).len();
    eventually("polls go on", async || polls(&sandbox).len() >= seen + 3).await;
    assert!(sandbox.approve_device_code(&code, &sandbox.first_user().upn));
    await_sign_in(&agent, "done").await;
}
