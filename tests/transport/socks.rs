//! SOCKS5 with user and password, as a connection's firewall and as the agent's proxy.

use crate::authority::{Authority, server_cert, tenant_with};
use crate::certificates::{last_error, users};
use crate::servers::{ProxyServer, SOCKS_PASSWORD, USER, free_port};
use crate::support::{Setup, application, tenant};

fn wall(port: u16, password: &str) -> String {
    format!(
        "      FirewallType: SOCKS5\n      FirewallServer: 127.0.0.1\n      FirewallPort: {port}\n      FirewallUser: {USER}\n      FirewallPassword: '{password}'\n"
    )
}

#[tokio::test]
async fn a_socks_server_carries_http_and_https() {
    let authority = Authority::new();
    let (secure, plain) = (tenant_with(authority.server()), tenant());
    let cert = server_cert(authority.certificate().display());
    let socks = ProxyServer::microsocks();
    let agents = application(&secure, "agents", &cert)
        .replace("    AdvancedConfigurations", "    UseProxySettings: true\n    AdvancedConfigurations");
    let past = format!("{}      ProxyExceptions: 127.0.0.1\n", wall(free_port(), "x"));
    let agent = Setup::new()
        .conf(&format!(
            "[Proxy]\nType=socks5\nHost=127.0.0.1\nPort={}\nUser={USER}\nPassword={SOCKS_PASSWORD}\n",
            socks.port
        ))
        .drop_in(
            "a.yaml",
            &application(&secure, "https", &format!("{}{cert}", wall(socks.port, SOCKS_PASSWORD))),
        )
        .drop_in("b.yaml", &application(&plain, "http", &wall(socks.port, SOCKS_PASSWORD)))
        .drop_in("c.yaml", &agents)
        .drop_in("d.yaml", &application(&plain, "past", &past))
        .start();
    for name in ["https", "http", "agents", "past"] {
        agent.await_state(name, "ok").await;
        agent.post(&format!("/v1/connections/{name}/query"), users()).await.expect(200);
    }
    let port = |address: &str| address.rsplit(':').next().unwrap().to_owned();
    for (address, most) in [
        (secure.login_url(), 2),
        (secure.graph_origin(), 2),
        (plain.login_url(), 1),
        (plain.graph_origin(), 1),
    ] {
        let seen = socks.count(&format!(":{}", port(address)));
        assert!((1..=most).contains(&seen), "{address}: {seen} in\n{}", socks.log());
    }
}

#[tokio::test]
async fn wrong_credentials_and_absence_are_blamed_on_the_firewall() {
    let sandbox = tenant();
    let socks = ProxyServer::microsocks();
    let away = free_port();
    let without: String = wall(socks.port, "").lines().take(3).map(|line| format!("{line}\n")).collect();
    let agent = Setup::new()
        .drop_in("a.yaml", &application(&sandbox, "wrong", &wall(socks.port, "wrong")))
        .drop_in("b.yaml", &application(&sandbox, "nobody", &without))
        .drop_in("c.yaml", &application(&sandbox, "away", &wall(away, SOCKS_PASSWORD)))
        .start();
    for (name, code, word) in [
        ("wrong", "proxy_refused", "Check FirewallUser"),
        ("nobody", "proxy_refused", "Give FirewallUser"),
        ("away", "proxy_unreachable", "cannot be reached"),
    ] {
        let (found, message) = last_error(&agent, name).await;
        assert_eq!(found, code, "{name}: {message}");
        assert!(message.contains(word) && message.contains("(FirewallServer)"), "{name}: {message}");
    }
    assert_eq!(sandbox.stats().token_posts, 0);
}
