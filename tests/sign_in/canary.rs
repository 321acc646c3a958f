//! No device code, authorization code, state, PKCE verifier or token of a sign-in is found in anything the agent said.

use http::Method;
use serde_json::json;

use crate::flows::{SIGN_IN, agent_without_token, await_sign_in, field, parameter, quick_tenant, start};

#[tokio::test]
async fn no_secret_of_a_sign_in_is_found_in_log_or_answers() {
    let sandbox = quick_tenant();
    let mut agent = agent_without_token(&sandbox, "      CallbackURL: http://localhost:0\n").await;
    let mut said = String::new();
    let mut canaries = Vec::new();

    let shown = start(&agent, "device_code").await;
    said.push_str(&shown.to_string());
    assert!(sandbox.approve_device_code(shown["userCode"].as_str().unwrap(), &sandbox.first_user().upn));
    said.push_str(&await_sign_in(&agent, "done").await.to_string());

    let address = start(&agent, "browser").await["authorizationUrl"].as_str().unwrap().to_owned();
    canaries.push(parameter(&address, "state").unwrap());
    said.push_str(&agent.get(SIGN_IN).await.text());
    said.push_str(&agent.get("/v1/connections").await.text());
    let back = sandbox.authorize(&address, &sandbox.first_user().upn).unwrap();
    canaries.push(parameter(&back, "code").unwrap());
    let wrong = back.replace("state=", "state=x");
    said.push_str(&agent.post(SIGN_IN, json!({"method": "verifier", "code": wrong})).await.text());
    let page = crate::support::client().get(&back).send().await.unwrap();
    said.push_str(&crate::support::Answer::read(page).await.text());
    said.push_str(&await_sign_in(&agent, "done").await.to_string());
    agent.call(Method::POST, "/v1/connections/mail/refresh", &[], None).await.expect(200);
    agent.post("/v1/connections/mail/query", json!({"object": "Messages", "limit": 1})).await.expect(200);
    for path in ["/v1/agent", "/v1/connections/mail", "/v1/connections", SIGN_IN, "/metrics", "/openapi.json"]
    {
        said.push_str(&agent.get(path).await.text());
    }
    agent.stop();
    said.push_str(&agent.log());
    assert!(said.contains("TRACE") || said.contains("DEBUG"), "the log was at its most talkative");

    for request in sandbox.token_requests() {
        for name in ["device_code", "code", "code_verifier", "refresh_token"] {
            canaries.extend(field(&request.body, name));
        }
    }
    for request in sandbox.graph_requests() {
        canaries.extend(
            request.header("authorization").map(|value| value.trim_start_matches("Bearer ").to_owned()),
        );
    }
    canaries.sort();
    canaries.dedup();
    assert!(canaries.len() >= 6, "{} canaries", canaries.len());
    crate::canaries::expect_nowhere(&said, &canaries);
}
