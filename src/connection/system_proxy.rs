//! `ProxyAutoDetect`: the proxy of this machine's environment, as its services get it on Linux: `https_proxy`,
//! `http_proxy`, `all_proxy` and `no_proxy`, which systemd sets with `Environment=`. Read only for a connection that asks
//! for it. Never connects to anything.

use std::net::IpAddr;

use url::Url;

use super::values::Values;
use super::{Proxy, ProxyKind};
use crate::secret::Secret;

/// The variables, by whether Graph is spoken to with TLS. `HTTP_PROXY` in capitals is left out: where a web server starts
/// programs, anybody can set it with a header.
const FOR_TLS: &[&str] = &["https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY"];
const FOR_PLAIN: &[&str] = &["http_proxy", "all_proxy", "ALL_PROXY"];

/// The proxy that the environment names; none, when it names none.
pub(super) fn find(values: &mut Values<'_>, has_tls: bool) -> Option<Proxy> {
    let names = if has_tls { FOR_TLS } else { FOR_PLAIN };
    let host = values.around.host;
    let (variable, address) = names.iter().find_map(|name| Some((*name, host.environment(name).ok()?)))?;
    let without = ["no_proxy", "NO_PROXY"].iter().find_map(|name| host.environment(name).ok());
    let (exceptions, unclear) = exceptions_of(without.as_ref().map_or("", |text| text.expose().as_str()));
    for entry in unclear {
        let entry = entry.escape_debug();
        values.notice(
            "ProxyAutoDetect",
            format!("The entry '{entry}' of the environment variable no_proxy is left out: names and addresses are understood, not networks or ports."),
        );
    }
    let proxy = parse(variable, address.expose());
    if proxy.is_none() && !address.expose().trim().is_empty() {
        values.fault(
            "ProxyAutoDetect",
            format!("The environment variable {variable} is not a proxy's address. Write it as http://host:port, or with https or socks5h in place of http, and with user:password@ before the host if the proxy wants them."),
        );
    }
    proxy.map(|proxy| Proxy { exceptions, ..proxy })
}

fn parse(variable: &'static str, address: &str) -> Option<Proxy> {
    let address = address.trim();
    let with_scheme = if address.contains("://") { address.to_owned() } else { format!("http://{address}") };
    let url = Url::parse(&with_scheme).ok()?;
    let kind = match url.scheme() {
        "http" => ProxyKind::Http,
        "https" => ProxyKind::Https,
        "socks5" | "socks5h" => ProxyKind::Socks5,
        _ => return None,
    };
    let decoded = |text: &str| percent_encoding::percent_decode_str(text).decode_utf8_lossy().into_owned();
    let host = url.host_str().filter(|host| !host.is_empty())?;
    Some(Proxy {
        kind,
        named_by: variable,
        host: host.trim_matches(['[', ']']).to_owned(),
        port: url.port_or_known_default().unwrap_or_else(|| kind.default_port()),
        user: Some(decoded(url.username())).filter(|user| !user.is_empty()),
        password: url.password().map(|password| Secret::from(decoded(password))),
        exceptions: Vec::new(),
    })
}

/// The entries as a connection's exceptions, and those that cannot be one. A name there covers itself and all below it.
fn exceptions_of(text: &str) -> (Vec<String>, Vec<String>) {
    let (mut exceptions, mut unclear) = (Vec::new(), Vec::new());
    for entry in text.split([',', ' ']).map(str::trim).filter(|entry| !entry.is_empty()) {
        let name = entry.trim_start_matches("*.").trim_start_matches('.');
        if entry == "*" || name.trim_matches(['[', ']']).parse::<IpAddr>().is_ok() {
            exceptions.push(name.to_owned());
        } else if name.is_empty() || name.contains(['/', ':', '*']) {
            unclear.push(entry.to_owned());
        } else {
            exceptions.extend([name.to_owned(), format!(".{name}")]);
        }
    }
    (exceptions, unclear)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn addresses_in_every_spelling() {
        for (text, wanted) in [
            ("http://proxy.example:3128", Some((ProxyKind::Http, "proxy.example", 3128, None))),
            ("proxy.example:3128", Some((ProxyKind::Http, "proxy.example", 3128, None))),
            ("proxy.example", Some((ProxyKind::Http, "proxy.example", 80, None))),
            ("https://p.example/", Some((ProxyKind::Https, "p.example", 443, None))),
            (
                "socks5://us%40er:p%3Aw@[::1]:1080",
                Some((ProxyKind::Socks5, "::1", 1080, Some(("us@er", "p:w")))),
            ),
            ("socks5h://10.0.0.1", Some((ProxyKind::Socks5, "10.0.0.1", 1080, None))),
            ("ftp://p.example", None),
            ("http://", None),
            ("", None),
        ] {
            let found = parse("https_proxy", text);
            let shown = found.as_ref().map(|proxy| {
                let password = proxy.password.as_ref().map(|password| password.expose().as_str());
                (proxy.kind, proxy.host.as_str(), proxy.port, proxy.user.as_deref().zip(password))
            });
            assert_eq!(shown, wanted, "{text}");
        }
    }

    #[test]
    fn exceptions_cover_a_name_and_all_below_it() {
        let (exceptions, unclear) =
            exceptions_of("localhost, .contoso.com,*.fabrikam.com 127.0.0.1,[::1],10.0.0.0/8,a:80,,x*y");
        assert_eq!(
            exceptions,
            [
                "localhost",
                ".localhost",
                "contoso.com",
                ".contoso.com",
                "fabrikam.com",
                ".fabrikam.com",
                "127.0.0.1",
                "[::1]"
            ]
        );
        assert_eq!(unclear, ["10.0.0.0/8", "a:80", "x*y"]);
        assert_eq!(exceptions_of("*").0, ["*"]);
    }
}
