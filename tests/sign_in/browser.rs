//! Sign-in with a browser: PKCE, the loopback listener and everything that must not get through it.

use std::io::{Read, Write};
use std::net::TcpStream;

use http::Method;
use o365_sandbox::{CONFIDENTIAL_CLIENT_ID, Sandbox};
use serde_json::json;

use crate::flows::{
    SIGN_IN, agent_without_token, await_sign_in, bare_with, field, parameter, query, quick_tenant, refresh,
    start,
};
use crate::support::{Agent, Setup, client};

const ANY_PORT: &str = "      CallbackURL: http://localhost:0\n";

/// Starts a browser sign-in: the address to open.
async fn start_browser(agent: &Agent) -> String {
    let shown = start(agent, "browser").await;
    assert_eq!(shown["state"], "waiting_for_redirect", "{shown}");
    assert!(shown["secondsLeft"].as_u64().unwrap() > 590, "{shown}");
    shown["authorizationUrl"].as_str().unwrap().to_owned()
}

async fn visit(address: &str) -> (u16, String) {
    let answer = client().get(address).send().await.unwrap();
    let read = crate::support::Answer::read(answer).await;
    for (name, value) in [
        ("content-security-policy", "default-src 'none'; frame-ancestors 'none'"),
        ("cache-control", "no-store"),
        ("referrer-policy", "no-referrer"),
    ] {
        assert_eq!(read.headers[name], value);
    }
    assert!(!read.text().contains("<script"), "{}", read.text());
    (read.status, read.text())
}

#[tokio::test]
async fn a_browser_signs_in_with_pkce_and_the_token_is_renewed_later() {
    let sandbox = quick_tenant();
    let agent = agent_without_token(&sandbox, ANY_PORT).await;
    let address = start_browser(&agent).await;
    assert!(agent.get(SIGN_IN).await.expect(200)["authorizationUrl"].is_null(), "state is shown once");
    let back_to = parameter(&address, "redirect_uri").unwrap();
    assert!(back_to.starts_with("http://localhost:") && !back_to.ends_with('/'), "{back_to}");
    assert_eq!(parameter(&address, "code_challenge_method").as_deref(), Some("S256"));

    let back = sandbox.authorize(&address, &sandbox.first_user().upn).unwrap();
    let (status, page) = visit(&back).await;
    assert_eq!(status, 200, "{page}");
    assert!(!page.contains(&parameter(&back, "code").unwrap()[..20]), "{page}");
    let done = await_sign_in(&agent, "done").await;
    assert_eq!(done["account"], sandbox.first_user().upn.as_str());
    let sent = sandbox.token_requests().pop().unwrap();
    assert_eq!(field(&sent.body, "redirect_uri"), Some(back_to));
    assert_eq!(field(&sent.body, "code_verifier").unwrap().len(), 43);
    assert!(client().get(&back).send().await.is_err(), "the port is closed");
    query(&agent).await;
    refresh(&agent, &sandbox).await;
}

#[tokio::test]
async fn a_web_app_redeems_with_its_secret() {
    let sandbox = quick_tenant();
    let text = bare_with(
        &sandbox,
        CONFIDENTIAL_CLIENT_ID,
        "REFRESH",
        &format!(
            "{ANY_PORT}      AzureTenant: {}\n      OAuthSettingsLocation: memory://web\n",
            sandbox.tenant_id()
        ),
    );
    let agent = Setup::new().drop_in("m.yaml", &text).start();
    agent.await_state("mail", "needs_sign_in").await;
    assert_eq!(agent.get(SIGN_IN).await.expect(404)["code"], "no_sign_in", "REFRESH never prompts");
    let address = start_browser(&agent).await;
    visit(&sandbox.authorize(&address, &sandbox.first_user().upn).unwrap()).await;
    await_sign_in(&agent, "done").await;
    query(&agent).await;
    refresh(&agent, &sandbox).await;
}

#[tokio::test]
async fn only_the_right_answer_at_the_right_path_counts_and_only_once() {
    let sandbox = quick_tenant();
    let agent = agent_without_token(&sandbox, "      CallbackURL: http://127.0.0.1:0/\n").await;
    let address = start_browser(&agent).await;
    let back_to = parameter(&address, "redirect_uri").unwrap();
    let posts = sandbox.stats().token_posts;
    for (suffix, status) in [
        ("?code=stolen&state=wrong", 400),
        ("?code=stolen", 400),
        ("?error=access_denied&state=wrong", 400),
        ("", 400),
        ("elsewhere?code=x", 404),
        ("favicon.ico", 404),
    ] {
        assert_eq!(visit(&format!("{back_to}{suffix}")).await.0, status, "{suffix}");
    }
    let state = parameter(&address, "state").unwrap();
    let posted = client().post(format!("{back_to}?code=x&state={state}")).send().await.unwrap();
    assert_eq!(posted.status(), 405);
    // A browser opens connections ahead and says nothing on them.
    let port = back_to.trim_end_matches('/').rsplit(':').next().unwrap();
    let _silent: Vec<_> = (0..3).map(|_| TcpStream::connect(format!("127.0.0.1:{port}")).unwrap()).collect();
    let mut endless = TcpStream::connect(format!("127.0.0.1:{port}")).unwrap();
    endless.write_all(format!("GET /?{} HTTP/1.1\r\n", "x".repeat(200_000)).as_bytes()).unwrap();
    let mut answer = String::new();
    let _reset_is_fine_too = endless.read_to_string(&mut answer);
    assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 4"), "{answer}");
    assert_eq!(agent.get(SIGN_IN).await.expect(200)["state"], "waiting_for_redirect");
    assert_eq!(sandbox.stats().token_posts, posts, "nothing was redeemed");

    let back = sandbox.authorize(&address, &sandbox.first_user().upn).unwrap();
    let (one, other) = tokio::join!(client().get(&back).send(), client().get(&back).send());
    let statuses: Vec<u16> =
        [one, other].into_iter().flatten().map(|answer| answer.status().as_u16()).collect();
    assert_eq!(statuses.iter().filter(|status| **status == 200).count(), 1, "{statuses:?}");
    await_sign_in(&agent, "done").await;
    assert_eq!(sandbox.stats().token_posts, posts + 1, "the code was sent once");
}

#[tokio::test]
async fn a_refusal_comes_back_with_its_reason() {
    let sandbox = quick_tenant();
    let agent = agent_without_token(&sandbox, ANY_PORT).await;
    let address = start_browser(&agent).await;
    let (status, page) = visit(&sandbox.refuse(&address).unwrap()).await;
    assert!(status == 200 && page.contains("refused"), "{page}");
    let failed = await_sign_in(&agent, "failed").await;
    assert_eq!(
        (&failed["error"]["code"], &failed["error"]["aadsts"]),
        (&json!("access_denied"), &json!(65004))
    );
    assert_eq!(sandbox.stats().token_posts, 0);
}

#[tokio::test]
async fn the_port_is_opened_on_demand_and_a_taken_one_is_named() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port();
    let sandbox = quick_tenant();
    let agent = agent_without_token(&sandbox, &format!("      CallbackURL: http://localhost:{port}\n")).await;
    let answer = agent.post(SIGN_IN, json!({"method": "browser"})).await.expect(409);
    assert_eq!(answer["code"], "callback_unavailable");
    assert!(answer["detail"].as_str().unwrap().contains(&port.to_string()), "{answer}");
    drop(taken);
    assert!(TcpStream::connect(("127.0.0.1", port)).is_err(), "nothing listens while nothing is pending");
    start_browser(&agent).await;
    TcpStream::connect(("127.0.0.1", port)).unwrap();
    agent.call(Method::DELETE, SIGN_IN, &[], None).await.expect(204);
    crate::support::eventually("the port is closed", async || {
        TcpStream::connect(("127.0.0.1", port)).is_err()
    })
    .await;
}

#[tokio::test]
async fn a_code_is_brought_back_by_hand() {
    let sandbox: Sandbox = quick_tenant();
    for whole_address in [false, true] {
        let agent =
            agent_without_token(&sandbox, "      CallbackURL: https://agent.contoso.example/back\n").await;
        let bring = async |code: &str| agent.post(SIGN_IN, json!({"method": "verifier", "code": code})).await;
        assert_eq!(bring("x").await.expect(404)["code"], "no_sign_in");
        let address = start_browser(&agent).await;
        let back = sandbox.authorize(&address, &sandbox.first_user().upn).unwrap();
        assert_eq!(
            bring("https://agent.contoso.example/back?code=x&state=y").await.expect(400)["code"],
            "bad_code"
        );
        assert_eq!(bring("two words").await.expect(400)["code"], "bad_code");
        let code = parameter(&back, "code").unwrap();
        bring(if whole_address { &back } else { &code }).await.expect(200);
        let done = await_sign_in(&agent, "done").await;
        assert_eq!(done["account"], sandbox.first_user().upn.as_str());
        let sent = sandbox.token_requests().pop().unwrap();
        assert!(field(&sent.body, "code_verifier").is_some());
        query(&agent).await;
    }
}
