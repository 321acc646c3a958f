//! A connection's proxy as reqwest wants it, and which hosts are reached without it. Never connects to anything.

use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use url::Url;

use crate::connection::{Proxy, ProxyKind};

/// The proxy with its exceptions applied.
///
/// # Errors
/// A sentence that names the property that cannot be used.
pub(super) fn as_reqwest_proxy(proxy: &Proxy) -> Result<reqwest::Proxy, String> {
    let Some(address) = address(proxy) else {
        return Err(format!(
            "{} '{}' with port {} is not a host name or address. Correct the proxy's host and port.",
            proxy.named_by,
            crate::error::clean_foreign_text(&proxy.host),
            proxy.port
        ));
    };
    let sign_in = proxy.user.as_ref().filter(|_| proxy.kind != ProxyKind::Socks5);
    // Our own matching: reqwest's NoProxy lets an exact name cover all its subdomains and knows no leading `*.`.
    let exceptions = proxy.exceptions.clone();
    let matched = reqwest::Proxy::custom(move |target: &Url| {
        let host = target.host_str().unwrap_or_default();
        (!is_exception(host, &exceptions)).then(|| address.clone())
    });
    Ok(match sign_in {
        Some(user) => matched
            .basic_auth(user, proxy.password.as_ref().map_or("", |password| password.expose().as_str())),
        None => matched,
    })
}

fn address(proxy: &Proxy) -> Option<Url> {
    let host = if proxy.host.contains(':') && !proxy.host.starts_with('[') {
        format!("[{}]", proxy.host)
    } else {
        proxy.host.clone()
    };
    // As http first, whose hosts the url crate checks and writes in ASCII; it takes the host of an unknown scheme as is.
    let plain = Url::parse(&format!("http://{host}:{}/", proxy.port)).ok().filter(|url| {
        url.host_str().is_some() && url.username().is_empty() && url.path() == "/" && url.query().is_none()
    })?;
    let (host, port) = (plain.host_str()?, proxy.port);
    let text = match (proxy.kind, &proxy.user) {
        (ProxyKind::Http, _) => format!("http://{host}:{port}/"),
        (ProxyKind::Https, _) => format!("https://{host}:{port}/"),
        // socks5h: names are resolved by the proxy, as behind a firewall they often can be nowhere else.
        (ProxyKind::Socks5, None) => format!("socks5h://{host}:{port}/"),
        (ProxyKind::Socks5, Some(user)) => {
            let password = proxy.password.as_ref().map_or("", |password| password.expose().as_str());
            // reqwest takes them from the address only, and decodes them; left as they are, a '%' would change them.
            let encode = |text: &str| utf8_percent_encode(text, NON_ALPHANUMERIC).to_string();
            format!("socks5h://{}:{}@{host}:{port}/", encode(user), encode(password))
        }
    };
    // reqwest goes on without the proxy when it cannot read its address, so that is found out here.
    text.parse::<http::Uri>().ok().and_then(|_| Url::parse(&text).ok())
}

/// Whether `host` is reached directly. `*.contoso.com` and `.contoso.com` cover every name below `contoso.com` but not
/// itself, `*` covers all, anything else is one exact name or address. Case does not count.
pub(super) fn is_exception(host: &str, exceptions: &[String]) -> bool {
    let bare =
        |name: &str| name.trim().trim_start_matches('[').trim_end_matches([']', '.']).to_ascii_lowercase();
    let host = bare(host);
    exceptions.iter().any(|exception| {
        let exception = bare(exception);
        match exception.strip_prefix('*').unwrap_or(&exception) {
            "" => !exception.is_empty(),
            suffix if suffix.starts_with('.') => host.len() > suffix.len() && host.ends_with(suffix),
            exact => exact == host,
        }
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::secret::Secret;

    #[test]
    fn exceptions_cover_what_they_say_and_no_more() {
        let rows: &[(&str, &str, bool)] = &[
            ("graph.contoso.com", "*.contoso.com", true),
            ("a.b.contoso.com", ".contoso.com", true),
            ("contoso.com", "*.contoso.com", false),
            ("contoso.com", ".contoso.com", false),
            ("contoso.com", "contoso.com", true),
            ("CONTOSO.com.", "Contoso.COM", true),
            ("www.contoso.com", "contoso.com", false),
            ("evilcontoso.com", "*.contoso.com", false),
            ("evilcontoso.com", "contoso.com", false),
            ("127.0.0.1", "127.0.0.1", true),
            ("127.0.0.1", "localhost", false),
            ("[::1]", "::1", true),
            ("anything.example", "*", true),
            ("anything.example", "", false),
            ("anything.example", " anything.example ", true),
        ];
        for (host, exception, expected) in rows {
            assert_eq!(
                is_exception(host, &[(*exception).to_owned()]),
                *expected,
                "{host} against {exception}"
            );
        }
    }

    fn proxy(kind: ProxyKind, host: &str) -> Proxy {
        Proxy {
            kind,
            named_by: "ProxyServer",
            host: host.to_owned(),
            port: 3128,
            user: Some("us:er@x".to_owned()),
            password: Some(Secret::from("p%41/ü?#".to_owned())),
            exceptions: Vec::new(),
        }
    }

    #[test]
    fn proxy_hosts_that_are_more_than_a_host_are_refused() {
        for kind in [ProxyKind::Http, ProxyKind::Https, ProxyKind::Socks5] {
            for good in ["proxy.contoso.com", "10.0.0.1", "::1", "[::1]", "prüfung.example"] {
                assert!(as_reqwest_proxy(&proxy(kind, good)).is_ok(), "{good}");
            }
            for bad in ["", "a b", "user@host", "host/path", "host?x", "http://host"] {
                let message = as_reqwest_proxy(&proxy(kind, bad)).unwrap_err();
                assert!(message.contains("ProxyServer"), "{bad}");
            }
        }
    }

    #[test]
    fn only_socks_carries_its_user_in_the_address() {
        let text = |kind| address(&proxy(kind, "p.example")).unwrap().to_string();
        assert_eq!(text(ProxyKind::Http), "http://p.example:3128/");
        assert_eq!(text(ProxyKind::Https), "https://p.example:3128/");
        assert_eq!(text(ProxyKind::Socks5), "socks5h://us%3Aer%40x:p%2541%2F%C3%BC%3F%23@p.example:3128/");
    }
}
