//! Which proxy a connection uses: its own `ProxyServer` or `FirewallServer`, else the agent's if it asks for that, else
//! none. The environment's proxy variables are looked at only where `ProxyAutoDetect` asks for it. Never connects to
//! anything.

use super::system_proxy;
use super::values::Values;
use super::{Proxy, ProxyKind};
use crate::settings::LONGEST_SOCKS_WORD;

/// Reads and checks the proxy and firewall properties. `has_tls`: whether Graph is spoken to with TLS.
pub(super) fn check(values: &mut Values<'_>, has_tls: bool) -> Option<Proxy> {
    let agents = values.boolean("UseProxySettings", false);
    let by_itself = values.boolean("ProxyAutoDetect", false);
    let firewall = firewall(values);
    let server = values.text("ProxyServer");
    if by_itself {
        let other = match (&server, &firewall, agents) {
            (Some(_), _, _) => Some("ProxyServer"),
            (_, Some(_), _) => Some("FirewallServer"),
            (_, _, true) => Some("UseProxySettings"),
            _ => None,
        };
        if let Some(other) = other {
            let message = format!(
                "ProxyAutoDetect takes the proxy from the agent's environment, and {other} names another one. Remove one of the two."
            );
            values.fault("ProxyAutoDetect", message);
            // For what else is wrong with it.
            let _not_used = server.and_then(|host| own(values, host));
            return None;
        }
        let own = ["ProxyPort", "ProxyUser", "ProxyPassword", "ProxyAuthScheme", "ProxyExceptions"];
        orphans(values, "ProxyServer", &own);
        return system_proxy::find(values, has_tls);
    }
    match (server, firewall) {
        (Some(_), Some(_)) => {
            let message = "ProxyServer and FirewallServer are both given, and a connection goes through one of them. Remove one.";
            values.fault("FirewallServer", message);
            None
        }
        (Some(host), None) => own(values, host),
        (None, firewall) => {
            orphans(values, "ProxyServer", &["ProxyPort", "ProxyUser", "ProxyPassword", "ProxyAuthScheme"]);
            if firewall.is_none() {
                orphans(values, "ProxyServer", &["ProxyExceptions"]);
            }
            firewall.or_else(|| if agents { the_agents(values) } else { None })
        }
    }
}

/// Properties that mean nothing without `server`.
fn orphans(values: &mut Values<'_>, server: &str, names: &[&str]) {
    for name in names {
        if values.is_given(name) {
            values.fault(name, format!("{name} needs {server}. Add it, or remove {name}."));
        }
    }
}

fn the_agents(values: &mut Values<'_>) -> Option<Proxy> {
    let Some(proxy) = &values.around.settings.proxy else {
        values.fault(
            "UseProxySettings",
            "The agent has no proxy. Set Host in section [Proxy] of jitterbit.conf, or remove UseProxySettings.",
        );
        return None;
    };
    Some(Proxy {
        kind: proxy.kind,
        named_by: "[Proxy] Host in jitterbit.conf",
        host: proxy.host.clone(),
        port: proxy.port,
        user: proxy.user.clone(),
        password: proxy.password.clone(),
        exceptions: proxy.exceptions.clone(),
    })
}

fn own(values: &mut Values<'_>, host: String) -> Option<Proxy> {
    host_only(values, "ProxyServer", &host);
    // TUNNEL is what happens to https anyway; the driver's AUTO looks at the address, which is https for Microsoft.
    let kind = match values.choice("ProxySSLType") {
        Some("ALWAYS") => ProxyKind::Https,
        _ => ProxyKind::Http,
    };
    let without_sign_in = match values.choice("ProxyAuthScheme") {
        None | Some("BASIC") => false,
        Some("NONE") => true,
        Some(other) => {
            let message = format!(
                "Proxies are spoken to with BASIC authentication or none, not with {other}. Write BASIC or NONE, \
                 or put a local proxy that signs in with {other} in between."
            );
            values.fault("ProxyAuthScheme", message);
            true
        }
    };
    let user = values.text("ProxyUser").filter(|_| !without_sign_in);
    let password = values.secret("ProxyPassword").filter(|_| !without_sign_in);
    if password.is_some() && user.is_none() && !values.is_given("ProxyUser") {
        values.fault("ProxyPassword", "ProxyPassword needs ProxyUser. Add it, or remove ProxyPassword.");
    }
    let port = values.integer("ProxyPort").unwrap_or(80);
    let exceptions = exceptions(values);
    Some(Proxy { kind, named_by: "ProxyServer", host, port, user, password, exceptions })
}

/// The driver's firewall: an HTTP proxy that tunnels, or a SOCKS server.
fn firewall(values: &mut Values<'_>) -> Option<Proxy> {
    let kind = match values.choice("FirewallType") {
        Some("TUNNEL") => Some(ProxyKind::Http),
        Some("SOCKS5") => Some(ProxyKind::Socks5),
        Some("SOCKS4") => {
            values.fault(
                "FirewallType",
                "SOCKS4 carries addresses of IP version 4 only and no password, and is not spoken here. Write SOCKS5 or TUNNEL.",
            );
            Some(ProxyKind::Socks5)
        }
        _ => None,
    };
    let server = values.text("FirewallServer");
    // 0 is the driver's way to say "not given".
    let port = values.integer::<u16>("FirewallPort").filter(|port| *port != 0);
    let user = values.text("FirewallUser");
    let password = values.secret("FirewallPassword");
    let Some(kind) = kind else {
        for name in ["FirewallServer", "FirewallPort", "FirewallUser", "FirewallPassword"] {
            let harmless = name == "FirewallPort" && port.is_none();
            if values.is_given(name) && !harmless {
                values.fault(
                    name,
                    format!("{name} needs FirewallType: TUNNEL or SOCKS5. Add it, or remove {name}."),
                );
            }
        }
        return None;
    };
    let Some(host) = server else {
        if !values.is_given("FirewallServer") {
            values.fault(
                "FirewallType",
                "FirewallType needs FirewallServer. Add it, or write FirewallType: NONE.",
            );
        }
        return None;
    };
    host_only(values, "FirewallServer", &host);
    if password.is_some() && user.is_none() && !values.is_given("FirewallUser") {
        values.fault(
            "FirewallPassword",
            "FirewallPassword needs FirewallUser. Add it, or remove FirewallPassword.",
        );
    }
    let lengths = [
        ("FirewallUser", user.as_ref().map_or(0, String::len)),
        ("FirewallPassword", password.as_ref().map_or(0, |password| password.expose().len())),
    ];
    for (name, _) in
        lengths.into_iter().filter(|(_, length)| kind == ProxyKind::Socks5 && *length > LONGEST_SOCKS_WORD)
    {
        values
            .fault(name, format!("SOCKS5 takes at most 255 bytes as {name} (RFC 1929). Use a shorter one."));
    }
    let exceptions = exceptions(values);
    let port = port.unwrap_or_else(|| kind.default_port());
    Some(Proxy { kind, named_by: "FirewallServer", host, port, user, password, exceptions })
}

fn host_only(values: &mut Values<'_>, name: &str, host: &str) {
    if host.contains(['/', '@', ' ', ':']) && host.parse::<std::net::IpAddr>().is_err() {
        let (port, user) = match name {
            "ProxyServer" => ("ProxyPort", "ProxyUser"),
            _ => ("FirewallPort", "FirewallUser"),
        };
        let message =
            format!("{name} must be a host name only. Write the port as {port} and the user as {user}.");
        values.fault(name, message);
    }
}

fn exceptions(values: &mut Values<'_>) -> Vec<String> {
    let text = values.text("ProxyExceptions").unwrap_or_default();
    text.split(';').map(str::trim).filter(|name| !name.is_empty()).map(str::to_owned).collect()
}
