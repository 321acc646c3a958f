//! `OAuthVerifier`: the code of a sign-in made elsewhere, redeemed once and never sent again.

use o365_sandbox::{PUBLIC_CLIENT_ID, Sandbox};

use crate::flows::{bare_with, field, query, quick_tenant, refresh};
use crate::support::{Agent, Setup};

/// The code of a sign-in that another tool made, without PKCE.
fn code(sandbox: &Sandbox, upn: &str) -> String {
    let address = format!(
        "{}/{}/oauth2/v2.0/authorize?client_id={PUBLIC_CLIENT_ID}&response_type=code&redirect_uri=http%3A%2F%2Flocalhost%3A33333&scope=offline_access%20User.Read%20Mail.ReadWrite",
        sandbox.login_url(),
        sandbox.tenant_id()
    );
    let back = sandbox.authorize(&address, upn).unwrap();
    crate::flows::parameter(&back, "code").unwrap()
}

fn drop_in(sandbox: &Sandbox, code: &str) -> String {
    let more = format!("      AzureTenant: {}\n      OAuthVerifier: {code}\n", sandbox.tenant_id());
    bare_with(sandbox, PUBLIC_CLIENT_ID, "REFRESH", &more)
}

#[tokio::test]
async fn a_verifier_is_redeemed_once_and_a_new_one_replaces_the_sign_in() {
    let sandbox = quick_tenant();
    let setup =
        Setup::new().drop_in("m.yaml", &drop_in(&sandbox, &code(&sandbox, &sandbox.first_user().upn)));
    let mut agent = Agent::spawn(setup.path(), "state", "", &[]);
    agent.await_state("mail", "ok").await;
    let sent = sandbox.token_requests();
    assert_eq!(sent.len(), 1);
    assert_eq!(field(&sent[0].body, "redirect_uri").as_deref(), Some("http://localhost:33333"));
    assert!(field(&sent[0].body, "code_verifier").is_none());
    query(&agent).await;
    refresh(&agent, &sandbox).await;
    agent.stop();
    let posts = sandbox.stats().token_posts;
    let agent = Agent::spawn(setup.path(), "state", "", &[]);
    agent.await_state("mail", "ok").await;
    query(&agent).await;
    assert_eq!(sandbox.stats().token_posts, posts, "the store has the tokens; the code is not sent again");

    let other = code(&sandbox, &sandbox.user(3).upn);
    std::fs::write(agent.drop_in_directory().join("m.yaml"), drop_in(&sandbox, &other)).unwrap();
    crate::support::eventually("the new code is redeemed", async || sandbox.stats().token_posts > posts)
        .await;
    agent.await_state("mail", "ok").await;
    let sent = sandbox.token_requests().pop().unwrap();
    assert_eq!(field(&sent.body, "code"), Some(other));
    refresh(&agent, &sandbox).await;
}

#[tokio::test]
async fn a_used_verifier_is_refused_once_and_remembered() {
    let sandbox = quick_tenant();
    let spent = code(&sandbox, &sandbox.first_user().upn);
    let first = Setup::new().drop_in("m.yaml", &drop_in(&sandbox, &spent)).start();
    first.await_state("mail", "ok").await;
    let setup = Setup::new().drop_in("m.yaml", &drop_in(&sandbox, &spent));
    let mut agent = Agent::spawn(setup.path(), "state", "", &[]);
    agent.await_state("mail", "needs_sign_in").await;
    let view = agent.get("/v1/connections/mail").await.expect(200);
    assert_eq!(view["token"]["lastError"]["aadsts"], 54005, "{view}");
    assert!(view["message"].as_str().unwrap().contains("OAuthVerifier"), "{view}");
    let posts = sandbox.stats().token_posts;
    agent.stop();
    let agent = Agent::spawn(setup.path(), "state", "", &[]);
    agent.await_state("mail", "needs_sign_in").await;
    assert_eq!(sandbox.stats().token_posts, posts, "a code that was refused is not sent again");
}
