//! Whose certificate is believed: the host's authorities and what `SSLServerCert` adds, and nothing else.

use serde_json::{Value, json};

use crate::authority::{Authority, server_cert, server_cert_text, tenant_with, thumbprint};
use crate::support::{Agent, Setup, application, delegated};

pub(crate) fn users() -> Value {
    json!({"object": "Users", "fields": ["id"], "limit": 1})
}

/// Waits until the connection has failed to get a token, and answers what it says about that.
pub(crate) async fn last_error(agent: &Agent, name: &str) -> (String, String) {
    agent.await_state(name, "degraded").await;
    let view = agent.get(&format!("/v1/connections/{name}")).await.expect(200);
    let error = &view["token"]["lastError"];
    (error["code"].as_str().unwrap().to_owned(), error["message"].as_str().unwrap().to_owned())
}

#[tokio::test]
async fn a_private_authority_is_believed_by_file_by_text_and_by_thumbprint() {
    let authority = Authority::new();
    let files = authority.server();
    let sandbox = tenant_with(files.clone());
    let pin = thumbprint(&files.certificate);
    let connection = |name: &str, cert: &str| application(&sandbox, name, cert);
    let agent = Setup::new()
        .drop_in("a.yaml", &connection("file", &server_cert(authority.certificate().display())))
        .drop_in("b.yaml", &connection("text", &server_cert_text(&authority.certificate())))
        .drop_in("c.yaml", &connection("pin", &server_cert(&pin)))
        .drop_in("d.yaml", &connection("bare-pin", &server_cert(pin.replace(':', "").to_lowercase())))
        .drop_in("e.yaml", &connection("any", &server_cert("*")))
        .start();
    for name in ["file", "text", "pin", "bare-pin", "any"] {
        agent.await_state(name, "ok").await;
        agent.post(&format!("/v1/connections/{name}/query"), users()).await.expect(200);
    }
    assert_eq!(sandbox.stats().token_posts, 5);
}

#[tokio::test]
async fn what_is_not_believed_is_named_with_the_remedy_and_sent_nothing() {
    let (authority, other) = (Authority::new(), Authority::new());
    let ca = server_cert(authority.certificate().display());
    let other_pin = thumbprint(&other.certificate());
    let rows = [
        ("nothing said", authority.server(), String::new(), &["does not trust", "SSLServerCert"][..]),
        ("another authority", other.server(), ca.clone(), &["neither", "SSLServerCert"]),
        ("expired", authority.expired(), ca.clone(), &["has expired", "clock"]),
        ("another name", authority.for_another_name(), ca, &["another name"]),
        ("another thumbprint", authority.server(), server_cert(other_pin), &["thumbprint", "SSLServerCert"]),
    ];
    for (what, files, cert, words) in rows {
        let sandbox = tenant_with(files);
        let agent = Setup::new().drop_in("a.yaml", &application(&sandbox, "app", &cert)).start();
        let (code, message) = last_error(&agent, "app").await;
        assert_eq!(code, "server_not_trusted", "{what}: {message}");
        for word in words.iter().chain(&["127.0.0.1"]) {
            assert!(message.contains(word), "{what}: '{word}' in {message}");
        }
        let answer = agent.post("/v1/connections/app/query", users()).await;
        assert!(answer.status >= 500 && answer.text().contains(words[0]), "{what}: {}", answer.text());
        let stats = sandbox.stats();
        assert_eq!((stats.token_posts, stats.graph_requests), (0, 0), "{what}");
    }
}

/// The token server may be believed while Graph is not: the caller is told so in the same words.
#[tokio::test]
async fn graph_is_checked_like_the_token_server() {
    let (authority, other) = (Authority::new(), Authority::new());
    let (login, graph) = (tenant_with(authority.server()), tenant_with(other.server()));
    let text = delegated(&login, "app", &server_cert(authority.certificate().display()))
        .replace(&login.graph_url(), &graph.graph_url());
    let agent = Setup::new().drop_in("a.yaml", &text).start();
    agent.await_state("app", "ok").await;
    agent.call(http::Method::POST, "/v1/connections/app/refresh", &[], None).await.expect(200);
    let body = json!({"object": "Users", "fields": ["id"], "limit": 1, "timeoutSeconds": 3});
    let answer = agent.post("/v1/connections/app/query", body).await;
    assert!(answer.status >= 500 && answer.text().contains("SSLServerCert"), "{}", answer.text());
    assert_eq!(graph.stats().graph_requests, 0);
}

/// The property adds to the host's authorities and takes none away.
#[tokio::test]
async fn the_hosts_own_authorities_still_count() {
    let (authority, other) = (Authority::new(), Authority::new());
    let sandbox = tenant_with(authority.server());
    let agent = Setup::new()
        .environment("SSL_CERT_FILE", authority.certificate().to_str().unwrap())
        .drop_in("a.yaml", &application(&sandbox, "plain", ""))
        .drop_in("b.yaml", &application(&sandbox, "more", &server_cert(other.certificate().display())))
        .drop_in("c.yaml", &application(&sandbox, "pin", &server_cert(thumbprint(&other.certificate()))))
        .start();
    for name in ["plain", "more", "pin"] {
        agent.await_state(name, "ok").await;
    }
}

#[tokio::test]
async fn a_certificate_without_an_authority_is_believed_when_it_is_given_itself() {
    let authority = Authority::new();
    for (names, good) in [("IP:127.0.0.1", true), ("DNS:elsewhere.example", false)] {
        let files = authority.without_authority(names);
        let sandbox = tenant_with(files.clone());
        let cert = server_cert(files.certificate.display());
        let agent = Setup::new().drop_in("a.yaml", &application(&sandbox, "app", &cert)).start();
        if good {
            agent.await_state("app", "ok").await;
        } else {
            let (_, message) = last_error(&agent, "app").await;
            assert!(message.contains("another name"), "{message}");
        }
    }
}

#[tokio::test]
async fn a_certificate_file_is_read_again_at_a_reload() {
    let (authority, other) = (Authority::new(), Authority::new());
    let sandbox = tenant_with(authority.server());
    let setup = Setup::new();
    let file = setup.path().join("ca.pem");
    std::fs::copy(other.certificate(), &file).unwrap();
    let agent = setup.drop_in("a.yaml", &application(&sandbox, "app", &server_cert(file.display()))).start();
    last_error(&agent, "app").await;
    std::fs::copy(authority.certificate(), &file).unwrap();
    agent.call(http::Method::POST, "/v1/agent/reload", &[], None).await.expect(200);
    agent.await_state("app", "ok").await;
}
