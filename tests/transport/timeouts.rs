//! `Timeout`: how long one answer may take; and the driver's other ways to say which token to ask for.

use std::time::{Duration, Instant};

use o365_sandbox::{Fault, FaultAction, FaultTarget};
use serde_json::json;

use crate::certificates::users;
use crate::support::{Setup, application, delegated, tenant};

#[tokio::test]
async fn an_answer_that_does_not_come_is_given_up_after_timeout() {
    let sandbox = tenant();
    let agent = Setup::new().drop_in("m.yaml", &delegated(&sandbox, "mail", "      Timeout: 1\n")).start();
    agent.await_state("mail", "ok").await;
    let hang = |times| Fault {
        target: FaultTarget::Graph { method: None, path_contains: None },
        times,
        action: FaultAction::Delay(Duration::from_secs(20)),
    };
    sandbox.inject(hang(1));
    let began = Instant::now();
    agent.post("/v1/connections/mail/query", users()).await.expect(200);
    let took = began.elapsed();
    assert!(took >= Duration::from_millis(900) && took < Duration::from_secs(15), "asked again: {took:?}");

    sandbox.inject(hang(1));
    let began = Instant::now();
    let contact = json!({"object": "Contacts", "records": [{"givenName": "Ada"}]});
    let answer = agent.post("/v1/connections/mail/create", contact).await;
    assert!(answer.text().contains("within 1 seconds"), "{} {}", answer.status, answer.text());
    assert!(began.elapsed() < Duration::from_secs(15), "{:?}", began.elapsed());
}

/// The driver's AzureAD with OAuthGrantType CLIENT is the application itself.
#[tokio::test]
async fn grant_type_client_signs_the_application_in() {
    let sandbox = tenant();
    let text = application(&sandbox, "app", "      OAuthGrantType: CLIENT\n")
        .replace("AuthScheme: AzureServicePrincipal", "AuthScheme: AzureAD");
    let agent = Setup::new().drop_in("a.yaml", &text).start();
    agent.await_state("app", "ok").await;
    agent.post("/v1/connections/app/query", users()).await.expect(200);
    let sent = sandbox.token_requests().pop().unwrap().body;
    assert!(sent.contains("grant_type=client_credentials") && sent.contains(".default"));
}

#[tokio::test]
async fn scopes_go_out_with_offline_access_to_the_address_that_is_given() {
    let sandbox = tenant();
    let more = format!(
        "      Scope: 'Mail.ReadWrite, User.Read'\n      OAuthAccessTokenURL: {}/{}/oauth2/v2.0/token\n",
        sandbox.login_url(),
        sandbox.tenant_domain()
    );
    let agent = Setup::new().drop_in("m.yaml", &delegated(&sandbox, "mail", &more)).start();
    agent.await_state("mail", "ok").await;
    agent.call(http::Method::POST, "/v1/connections/mail/refresh", &[], None).await.expect(200);
    let sent = sandbox.token_requests().pop().unwrap();
    assert!(sent.body.contains("scope=Mail.ReadWrite+User.Read+offline_access"), "{:?}", sent.path_and_query);
    assert!(sent.path_and_query.contains(&sandbox.tenant_domain()), "{}", sent.path_and_query);
}
