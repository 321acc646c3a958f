//! Which proxy a connection uses: its own, else the agent's if it asks for that, else none. The environment's proxy
//! variables are never looked at. Never connects to anything.

use super::Proxy;
use super::values::Values;

/// Reads and checks the proxy properties.
pub(super) fn check(values: &mut Values<'_>) -> Option<Proxy> {
    const OF_SERVER: [&str; 5] =
        ["ProxyPort", "ProxyUser", "ProxyPassword", "ProxyExceptions", "ProxyAuthScheme"];
    let agents = values.boolean("UseProxySettings", false);
    if let Some(host) = values.text("ProxyServer") {
        return own(values, host);
    }
    for name in OF_SERVER {
        if values.is_given(name) {
            values.fault(name, format!("{name} needs ProxyServer. Add it, or remove {name}."));
        }
    }
    if !agents {
        return None;
    }
    let Some(proxy) = &values.around.settings.proxy else {
        values.fault(
            "UseProxySettings",
            "The agent has no proxy. Set Host in section [Proxy] of jitterbit.conf, or remove UseProxySettings.",
        );
        return None;
    };
    Some(Proxy {
        host: proxy.host.clone(),
        port: proxy.port,
        user: proxy.user.clone(),
        password: proxy.password.clone(),
        exceptions: proxy.exceptions.clone(),
    })
}

fn own(values: &mut Values<'_>, host: String) -> Option<Proxy> {
    if host.contains(['/', '@', ' ', ':']) && host.parse::<std::net::IpAddr>().is_err() {
        values.fault(
            "ProxyServer",
            "ProxyServer must be a host name only. Write the port as ProxyPort and the user as ProxyUser.",
        );
    }
    let without_sign_in = values.choice("ProxyAuthScheme") == Some("NONE");
    let user = values.text("ProxyUser").filter(|_| !without_sign_in);
    let password = values.secret("ProxyPassword").filter(|_| !without_sign_in);
    if password.is_some() && user.is_none() && !values.is_given("ProxyUser") {
        values.fault("ProxyPassword", "ProxyPassword needs ProxyUser. Add it, or remove ProxyPassword.");
    }
    let port = values.integer("ProxyPort").unwrap_or(80);
    let exceptions = values.text("ProxyExceptions").unwrap_or_default();
    let exceptions =
        exceptions.split(';').map(str::trim).filter(|name| !name.is_empty()).map(str::to_owned).collect();
    Some(Proxy { host, port, user, password, exceptions })
}
