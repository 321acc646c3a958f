//! HTTP proxies: what goes through them, what goes past them, and who is blamed when it fails.

use o365_sandbox::{Sandbox, TlsFront};

use crate::authority::{Authority, server_cert, tenant_with};
use crate::certificates::{last_error, users};
use crate::servers::{PASSWORD, ProxyServer, USER, authority_of, free_port};
use crate::support::{Setup, application, delegated, eventually, tenant};

fn own(port: u16, password: &str) -> String {
    format!(
        "      ProxyServer: 127.0.0.1\n      ProxyPort: {port}\n      ProxyUser: {USER}\n      ProxyPassword: '{password}'\n"
    )
}

fn https() -> (Authority, Sandbox, String) {
    let authority = Authority::new();
    let sandbox = tenant_with(authority.server());
    let cert = server_cert(authority.certificate().display());
    (authority, sandbox, cert)
}

#[tokio::test]
async fn token_and_graph_requests_go_through_a_tunnel() {
    for proxy in [ProxyServer::tinyproxy(""), ProxyServer::squid()] {
        through_a_tunnel(&proxy).await;
    }
}

async fn through_a_tunnel(proxy: &ProxyServer) {
    let (_authority, sandbox, cert) = https();
    let agent = Setup::new()
        .drop_in("a.yaml", &application(&sandbox, "app", &format!("{}{cert}", own(proxy.port, PASSWORD))))
        .start();
    agent.await_state("app", "ok").await;
    let (login, graph) = (authority_of(sandbox.login_url()), authority_of(sandbox.graph_origin()));
    assert_eq!(proxy.count(&format!("CONNECT {graph} ")), 0);
    agent.post("/v1/connections/app/query", users()).await.expect(200);
    drop(agent);
    eventually("the proxy has logged the tunnels", async || {
        proxy.count(&format!("CONNECT {login} ")) == 1 && proxy.count(&format!("CONNECT {graph} ")) == 1
    })
    .await;
}

#[tokio::test]
async fn wrong_proxy_credentials_are_blamed_on_the_proxy_not_on_the_token_server() {
    let (_authority, secure, cert) = https();
    let plain = tenant();
    let proxy = ProxyServer::squid();
    let without = own(proxy.port, "").lines().take(2).map(|line| format!("{line}\n")).collect::<String>();
    let agent = Setup::new()
        .drop_in("a.yaml", &application(&secure, "tunnel", &format!("{}{cert}", own(proxy.port, "wrong"))))
        .drop_in("b.yaml", &application(&plain, "plain", &own(proxy.port, "wrong")))
        .drop_in("c.yaml", &application(&secure, "nobody", &format!("{without}{cert}")))
        .start();
    for (name, remedy) in
        [("tunnel", "Check ProxyUser"), ("plain", "Check ProxyUser"), ("nobody", "Give ProxyUser")]
    {
        let (code, message) = last_error(&agent, name).await;
        assert_eq!(code, "proxy_refused", "{name}: {message}");
        assert!(
            message.contains(&format!("The proxy 127.0.0.1:{} (ProxyServer)", proxy.port)),
            "{name}: {message}"
        );
        assert!(message.contains(remedy) && !message.contains("wrong"), "{name}: {message}");
    }
    assert_eq!((secure.stats().token_posts, plain.stats().token_posts), (0, 0));
}

/// With a token that is given, only Graph is left to go through the proxy.
#[tokio::test]
async fn graph_requests_alone_are_blamed_on_the_proxy_too() {
    let (_authority, secure, cert) = https();
    let plain = tenant();
    let proxy = ProxyServer::squid();
    let agent = Setup::new()
        .drop_in("a.yaml", &delegated(&secure, "tunnel", &format!("{}{cert}", own(proxy.port, "wrong"))))
        .drop_in("b.yaml", &delegated(&plain, "plain", &own(proxy.port, "wrong")))
        .start();
    for name in ["tunnel", "plain"] {
        let mut body = users();
        body["timeoutSeconds"] = 3.into();
        let answer = agent.post(&format!("/v1/connections/{name}/query"), body).await;
        assert!(
            answer.status >= 400 && answer.text().contains("Check ProxyUser"),
            "{name}: {}",
            answer.text()
        );
    }
    assert_eq!((secure.stats().graph_requests, plain.stats().graph_requests), (0, 0));
}

#[tokio::test]
async fn plain_http_goes_through_and_exceptions_go_past() {
    let sandbox = tenant();
    let proxy = ProxyServer::tinyproxy("");
    let past = format!("{}      ProxyExceptions: 'graph.example; 127.0.0.1'\n", own(proxy.port, PASSWORD));
    let agent = Setup::new().drop_in("a.yaml", &application(&sandbox, "past", &past)).start();
    agent.await_state("past", "ok").await;
    agent.post("/v1/connections/past/query", users()).await.expect(200);
    assert_eq!(proxy.count("Request"), 0, "exceptions never ask the proxy");
    let through = application(&sandbox, "through", &own(proxy.port, PASSWORD));
    std::fs::write(agent.drop_in_directory().join("b.yaml"), through).unwrap();
    agent.await_state("through", "ok").await;
    agent.post("/v1/connections/through/query", users()).await.expect(200);
    let token = format!("POST {}/", sandbox.login_url());
    let graph = format!("GET {}/", sandbox.graph_origin());
    assert_eq!((proxy.count(&token), proxy.count(&graph)), (1, 1), "{}", proxy.log());
}

#[tokio::test]
async fn a_connections_own_proxy_wins_over_the_agents() {
    let (_authority, sandbox, cert) = https();
    let (own_proxy, agents) = (ProxyServer::tinyproxy(""), ProxyServer::tinyproxy(""));
    let with_agents = |name: &str, more: &str| {
        application(&sandbox, name, &format!("{more}{cert}"))
            .replace("    AdvancedConfigurations", "    UseProxySettings: true\n    AdvancedConfigurations")
    };
    let tunnel = format!(
        "      FirewallType: TUNNEL\n      FirewallServer: 127.0.0.1\n      FirewallPort: {}\n      FirewallUser: {USER}\n      FirewallPassword: '{PASSWORD}'\n",
        own_proxy.port
    );
    let conf = format!("[Proxy]\nHost=127.0.0.1\nPort={}\nUser={USER}\nPassword={PASSWORD}\n", agents.port);
    let agent = Setup::new()
        .conf(&conf)
        .drop_in("a.yaml", &with_agents("own", &own(own_proxy.port, PASSWORD)))
        .drop_in("b.yaml", &with_agents("wall", &tunnel))
        .start();
    agent.await_state("own", "ok").await;
    agent.await_state("wall", "ok").await;
    assert_eq!((own_proxy.count("CONNECT 127"), agents.count("CONNECT 127")), (2, 0));
    std::fs::write(agent.drop_in_directory().join("c.yaml"), with_agents("shared", "")).unwrap();
    agent.await_state("shared", "ok").await;
    assert_eq!((own_proxy.count("CONNECT 127"), agents.count("CONNECT 127")), (2, 1));
}

#[tokio::test]
async fn a_proxy_that_is_away_or_unwilling_is_named() {
    let (_authority, sandbox, cert) = https();
    let unwilling = ProxyServer::tinyproxy("ConnectPort 1");
    let away = free_port();
    let connection =
        |name: &str, port| application(&sandbox, name, &format!("{}{cert}", own(port, PASSWORD)));
    let agent = Setup::new()
        .drop_in("a.yaml", &connection("away", away))
        .drop_in("b.yaml", &connection("unwilling", unwilling.port))
        .start();
    let rows = [("away", away, "proxy_unreachable"), ("unwilling", unwilling.port, "proxy_cannot_connect")];
    for (name, port, wanted) in rows {
        let (code, message) = last_error(&agent, name).await;
        assert_eq!(code, wanted, "{message}");
        assert!(message.contains(&format!("127.0.0.1:{port} (ProxyServer)")), "{message}");
    }
}

#[tokio::test]
async fn tls_to_the_proxy_is_checked_by_the_same_certificates() {
    let (authority, sandbox, cert) = https();
    let proxy = ProxyServer::tinyproxy("");
    let front = TlsFront::start(&authority.server(), proxy.port).unwrap();
    let strange = TlsFront::start(&Authority::new().server(), proxy.port).unwrap();
    let always = |port| format!("{}      ProxySSLType: ALWAYS\n{cert}", own(port, PASSWORD));
    let agent = Setup::new()
        .drop_in("a.yaml", &application(&sandbox, "app", &always(front.port())))
        .drop_in("b.yaml", &application(&sandbox, "strange", &always(strange.port())))
        .drop_in("c.yaml", &application(&tenant(), "plain", &always(strange.port())))
        .start();
    agent.await_state("app", "ok").await;
    agent.post("/v1/connections/app/query", users()).await.expect(200);
    assert_eq!(proxy.count("CONNECT 127"), 2);
    for name in ["strange", "plain"] {
        let (code, message) = last_error(&agent, name).await;
        assert_eq!(code, "server_not_trusted", "{message}");
        assert!(
            message.contains(&format!("the proxy 127.0.0.1:{} (ProxyServer)", strange.port())),
            "{message}"
        );
    }
    assert_eq!(proxy.count("CONNECT 127"), 2, "no password went to the strange one");
}
