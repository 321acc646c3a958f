//! What the tests of contents share: an agent with a folder for local files, calls that carry contents, and bytes that
//! follow from their place.

use std::path::PathBuf;

use o365_sandbox::{Fault, FaultAction, FaultTarget, Sandbox};
use serde_json::{Value, json};

use crate::support::{Agent, Answer, Setup, application, client, delegated};

pub(crate) const EXECUTE: &str = "/v1/connections/mail/execute";
pub(crate) const MIB: usize = 1024 * 1024;

/// An agent with the delegated connection `mail`, the application's connection `app`, and local files switched on below
/// the folder `files`.
pub(crate) fn agent(sandbox: &Sandbox) -> Agent {
    let setup = Setup::new();
    let root = setup.path().join("files");
    std::fs::create_dir(&root).unwrap();
    setup
        // Waits after a lost answer take a twentieth.
        .environment("O365_AGENT_TEST_LOOKS_PERCENT", "5")
        .conf(&format!("[Settings]\nEnableLocalFileLocation=true\n[LocalFiles]\nRoot={}", root.display()))
        .drop_in("mail.yaml", &delegated(sandbox, "mail", ""))
        .drop_in("app.yaml", &application(sandbox, "app", ""))
        .start()
}

/// The folder for local files.
pub(crate) fn files(agent: &Agent) -> PathBuf {
    agent.root().join("files")
}

/// Calls a procedure and expects its result.
pub(crate) async fn run(agent: &Agent, procedure: &str, parameters: Value) -> Value {
    let answer = agent.post(EXECUTE, json!({"procedure": procedure, "parameters": parameters})).await;
    answer.expect(200)["result"].clone()
}

/// Calls a procedure and expects a problem.
pub(crate) async fn refused(agent: &Agent, status: u16, procedure: &str, parameters: Value) -> Value {
    agent.post(EXECUTE, json!({"procedure": procedure, "parameters": parameters})).await.expect(status)
}

/// Calls a procedure that gives a content, and takes it as a stream.
pub(crate) async fn stream(agent: &Agent, procedure: &str, parameters: Value) -> reqwest::Response {
    client()
        .post(format!("{}{EXECUTE}", agent.base))
        .header("authorization", format!("Bearer {}", agent.token))
        .header("accept", "application/octet-stream")
        .header("content-type", "application/json")
        .body(json!({"procedure": procedure, "parameters": parameters}).to_string())
        .send()
        .await
        .unwrap()
}

/// Calls a procedure with its content as the body; `query` holds the name and the parameters.
pub(crate) async fn send(
    agent: &Agent,
    query: &str,
    body: impl Into<reqwest::Body>,
    length: Option<u64>,
) -> Answer {
    let mut request = client()
        .post(format!("{}{EXECUTE}?{query}", agent.base))
        .header("authorization", format!("Bearer {}", agent.token))
        .header("content-type", "application/octet-stream")
        .body(body);
    if let Some(length) = length {
        request = request.header("content-length", length);
    }
    Answer::read(request.send().await.unwrap()).await
}

/// Bytes that follow from their place.
pub(crate) fn bytes(length: usize) -> Vec<u8> {
    (0..length).map(|place| (place.wrapping_mul(2_654_435_761) >> 13) as u8).collect()
}

/// Hits the next requests to the content service.
pub(crate) fn inject(sandbox: &Sandbox, method: &str, times: u32, action: FaultAction) {
    let target = FaultTarget::Content { method: Some(method.to_owned()), path_contains: None };
    sandbox.inject(Fault { target, times, action });
}

/// A request straight to the tenant's Graph, without the agent, as the first user.
pub(crate) async fn graph(sandbox: &Sandbox, path: &str) -> Value {
    let tokens = sandbox.issue_delegated_tokens(&sandbox.first_user().upn);
    let request = client()
        .get(format!("{}/{path}", sandbox.graph_url()))
        .header("authorization", format!("Bearer {}", tokens.access_token));
    Answer::read(request.send().await.unwrap()).await.json()
}

/// No request to the content service ever carried a token.
pub(crate) fn expect_no_token_given_away(sandbox: &Sandbox) {
    assert_eq!(sandbox.stats().tokens_given_away, 0);
    let requests = sandbox.content_requests();
    assert!(!requests.is_empty(), "the content service was asked at all");
}
