//! What the sign-in tests share: a connection without any token, and steps of a sign-in.

use std::time::Duration;

use o365_sandbox::{CONFIDENTIAL_CLIENT_ID, PUBLIC_CLIENT_ID, Sandbox, SandboxOptions};
use serde_json::{Value, json};

use crate::support::{Agent, Setup, eventually};

/// The sign-in's address of the connection `mail`.
pub(crate) const SIGN_IN: &str = "/v1/connections/mail/sign-in";

/// A tenant whose clients poll every second.
pub(crate) fn quick_tenant() -> Sandbox {
    Sandbox::start(SandboxOptions {
        device_code_interval: Duration::from_secs(1),
        ..SandboxOptions::default()
    })
}

/// A connection that has only a client id: `more` goes below Advanced Configurations.
pub(crate) fn bare(sandbox: &Sandbox, more: &str) -> String {
    bare_with(sandbox, PUBLIC_CLIENT_ID, "GETANDREFRESH", more)
}

/// The same with a client id and an `InitiateOAuth`.
pub(crate) fn bare_with(sandbox: &Sandbox, client_id: &str, initiate: &str, more: &str) -> String {
    let secret = if client_id == CONFIDENTIAL_CLIENT_ID {
        format!("    OAuthClientSecret: '{}'\n", o365_sandbox::CONFIDENTIAL_CLIENT_SECRET)
    } else {
        String::new()
    };
    format!(
        "connections:\n  mail:\n    AuthScheme: AzureAD\n    InitiateOAuth: {initiate}\n    OAuthClientId: {client_id}\n{secret}    AdvancedConfigurations:\n      AzureEnvironment: CUSTOM\n      AuthorityHost: {}\n      GraphEndpoint: {}\n{more}",
        sandbox.login_url(),
        sandbox.graph_url()
    )
}

/// An agent with one connection that needs a sign-in.
pub(crate) async fn agent_without_token(sandbox: &Sandbox, more: &str) -> Agent {
    let agent = Setup::new().drop_in("m.yaml", &bare(sandbox, more)).start();
    agent.await_state("mail", "needs_sign_in").await;
    agent
}

/// Starts a sign-in.
pub(crate) async fn start(agent: &Agent, method: &str) -> Value {
    agent.post(SIGN_IN, json!({"method": method})).await.expect(200)
}

/// Waits until the sign-in has that state, and answers it.
pub(crate) async fn await_sign_in(agent: &Agent, state: &str) -> Value {
    let mut last = Value::Null;
    eventually(&format!("the sign-in is {state}"), async || {
        last = agent.get(SIGN_IN).await.json();
        last["state"] == state
    })
    .await;
    last
}

/// Reads one message with the connection's token.
pub(crate) async fn query(agent: &Agent) -> Value {
    let request = json!({"object": "Messages", "fields": ["id"], "limit": 1});
    agent.post("/v1/connections/mail/query", request).await.expect(200)
}

/// Gets a new token in the background's way, by the refresh token of the sign-in.
pub(crate) async fn refresh(agent: &Agent, sandbox: &Sandbox) {
    let before = sandbox.stats().tokens_issued;
    agent.call(http::Method::POST, "/v1/connections/mail/refresh", &[], None).await.expect(200);
    assert_eq!(sandbox.stats().tokens_issued, before + 1);
    let sent = sandbox.token_requests().pop().unwrap();
    assert_eq!(field(&sent.body, "grant_type").as_deref(), Some("refresh_token"));
}

/// A field of a form.
pub(crate) fn field(form: &str, name: &str) -> Option<String> {
    url::form_urlencoded::parse(form.as_bytes())
        .find(|(known, _)| known == name)
        .map(|(_, value)| value.into_owned())
}

/// A parameter of an address.
pub(crate) fn parameter(address: &str, name: &str) -> Option<String> {
    let url = url::Url::parse(address).unwrap();
    url.query_pairs().find(|(known, _)| known == name).map(|(_, value)| value.into_owned())
}
