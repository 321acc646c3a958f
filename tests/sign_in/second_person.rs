//! A second person signs in where the first one's tokens were kept, and the store is not what the agent remembers. Calls
//! go out as the second person from then on, and that sign-in survives.

use std::path::PathBuf;

use http::Method;
use o365_sandbox::{Rotation, Sandbox, SandboxOptions};
use serde_json::json;

use crate::flows::{SIGN_IN, agent_without_token, await_sign_in, bare, quick_tenant, refresh, start};
use crate::support::{Agent, eventually};

async fn sign_in(agent: &Agent, sandbox: &Sandbox, who: &str) -> serde_json::Value {
    let code = start(agent, "device_code").await["userCode"].as_str().unwrap().to_owned();
    assert!(sandbox.approve_device_code(&code, who));
    await_sign_in(agent, "done").await
}

async fn expect_calls_as(agent: &Agent, who: &str) {
    let request = json!({"object": "/me", "fields": ["userPrincipalName"]});
    let answer = agent.post("/v1/connections/mail/query", request).await.expect(200);
    assert_eq!(
        answer["rows"][0][0].as_str().or(answer["rows"][0]["userPrincipalName"].as_str()),
        Some(who),
        "{answer}"
    );
}

fn token_files(agent: &Agent) -> Vec<PathBuf> {
    let folder = std::fs::read_dir(agent.root().join("state/tokens")).unwrap();
    folder
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|e| e == "json"))
        .collect()
}

/// What happens to the first person's token file before the second person signs in.
#[derive(Clone, Copy, PartialEq, Debug)]
enum Meanwhile {
    Removed,
    /// The operator puts an older copy back.
    PutBack,
}

async fn second_person(meanwhile: Meanwhile, rotation: Rotation) {
    let options = SandboxOptions {
        rotation,
        device_code_interval: std::time::Duration::from_secs(1),
        ..SandboxOptions::default()
    };
    let sandbox = Sandbox::start(options);
    let (anna, bert) = (sandbox.first_user().upn, sandbox.user(2).upn);
    let mut agent = agent_without_token(&sandbox, "").await;
    sign_in(&agent, &sandbox, &anna).await;
    let files = token_files(&agent);
    let copy = std::fs::read(&files[0]).unwrap();
    // The agent knows a high number: that is what made the second person's tokens look old.
    for _ in 0..4 {
        refresh(&agent, &sandbox).await;
    }
    expect_calls_as(&agent, &anna).await;
    match meanwhile {
        Meanwhile::Removed => std::fs::remove_file(&files[0]).unwrap(),
        Meanwhile::PutBack => std::fs::write(&files[0], copy).unwrap(),
    }
    let done = sign_in(&agent, &sandbox, &bert).await;
    assert_eq!((&done["account"], &done["previousAccount"]), (&json!(bert), &json!(anna)), "{done}");
    eventually("the token in use is the second person's", async || {
        agent.get("/v1/connections/mail").await.json()["state"] == "ok"
    })
    .await;
    expect_calls_as(&agent, &bert).await;
    for _ in 0..2 {
        refresh(&agent, &sandbox).await;
        expect_calls_as(&agent, &bert).await;
    }
    assert_eq!(agent.stop(), 0);
    let root = agent.root().to_owned();
    let again = Agent::spawn(&root, "state", "", &[]);
    again.await_state("mail", "ok").await;
    expect_calls_as(&again, &bert).await;
    refresh(&again, &sandbox).await;
    expect_calls_as(&again, &bert).await;
    assert_eq!(sandbox.stats().refresh_reuses, 0, "{:?}", sandbox.stats());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_second_person_is_not_overwritten_where_the_first_one_s_file_was_removed() {
    second_person(Meanwhile::Removed, Rotation::Strict).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_second_person_is_not_overwritten_where_an_older_file_was_put_back() {
    second_person(Meanwhile::PutBack, Rotation::Lenient).await;
}

/// An import is somebody's act as well, made by a process that knows nothing of what the agent knows.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_import_counts_although_the_agent_knows_a_higher_number() {
    let sandbox = quick_tenant();
    let (anna, bert) = (sandbox.first_user().upn, sandbox.user(2).upn);
    let agent = agent_without_token(&sandbox, "").await;
    sign_in(&agent, &sandbox, &bert).await;
    let export = agent.root().join("export.json");
    let tokens = |arguments: &[&str]| {
        let output = std::process::Command::new(crate::support::BINARY)
            .args(["tokens", "--config"])
            .arg(agent.settings_file())
            .args(arguments)
            .output()
            .unwrap();
        assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    };
    tokens(&["export", "--all", "--with-secrets", "--to", export.to_str().unwrap()]);
    sign_in(&agent, &sandbox, &anna).await;
    for _ in 0..4 {
        refresh(&agent, &sandbox).await;
    }
    std::fs::remove_file(&token_files(&agent)[0]).unwrap();
    tokens(&["import", export.to_str().unwrap()]);
    // The number in the store begins anew; the next refresh, which looks into the store first, finds it.
    agent.call(Method::POST, "/v1/connections/mail/refresh", &[], None).await.expect(200);
    expect_calls_as(&agent, &bert).await;
    refresh(&agent, &sandbox).await;
    expect_calls_as(&agent, &bert).await;
}

/// A pending sign-in does not go on by addresses, a way or a secret that are no longer configured.
#[tokio::test]
async fn a_pending_sign_in_ends_with_the_way_it_was_begun_by() {
    let sandbox = quick_tenant();
    let agent = agent_without_token(&sandbox, "").await;
    let file = agent.drop_in_directory().join("m.yaml");
    let address = format!(
        "      OAuthAccessTokenURL: {}/organizations/oauth2/v2.0/token\n",
        sandbox.login_url().trim_end_matches('/')
    );
    for more in [address.as_str(), "      SSLServerCert: '*'\n", ""] {
        start(&agent, "device_code").await;
        std::fs::write(&file, bare(&sandbox, more)).unwrap();
        agent.call(Method::POST, "/v1/agent/reload", &[], None).await.expect(200);
        let view = agent.get(SIGN_IN).await.expect(200);
        assert_eq!(
            (&view["state"], &view["error"]["code"]),
            (&json!("failed"), &json!("configuration_changed")),
            "{more}: {view}"
        );
    }
}
