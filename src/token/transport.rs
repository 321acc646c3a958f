//! HTTP clients for token and Graph requests: proxy, timeouts, no redirects. Clients are shared by connections whose
//! transport is the same, because each holds a connection pool and the host's trust roots. Sends nothing itself.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use url::Url;

use crate::connection::{Connection, Proxy};

/// Bound on making a TCP and TLS connection; a healthy one takes well under a second from anywhere.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// How long an idle connection is kept. Below the two minutes after which Microsoft's front ends drop one.
const POOL_IDLE_TIMEOUT: Duration = Duration::from_secs(90);
/// A connection that has gone silent under a running HTTP/2 request is noticed after these two together.
const HTTP2_PING_INTERVAL: Duration = Duration::from_secs(30);
const HTTP2_PING_TIMEOUT: Duration = Duration::from_secs(15);
/// Different proxies kept in mind; older ones are forgotten (running requests keep their own client alive).
const REMEMBERED_CLIENTS: usize = 64;

/// Hands out HTTP clients.
#[derive(Default)]
pub struct Transports {
    clients: Mutex<Vec<(Option<Proxy>, reqwest::Client)>>,
}

impl Transports {
    /// The client for `connection`: its proxy and exceptions applied, redirects off, connect bounded to 5 s, gzip on.
    ///
    /// # Errors
    /// A sentence that names the property that cannot be used.
    pub fn client(&self, connection: &Arc<Connection>) -> Result<reqwest::Client, String> {
        let mut clients = self.clients.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, client)) = clients.iter().find(|(proxy, _)| *proxy == connection.proxy) {
            return Ok(client.clone());
        }
        let client = build(connection.proxy.as_ref())?;
        if clients.len() >= REMEMBERED_CLIENTS {
            clients.remove(0);
        }
        clients.push((connection.proxy.clone(), client.clone()));
        Ok(client)
    }
}

/// Says how many, not what: the proxies inside carry passwords.
impl fmt::Debug for Transports {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let count = self.clients.lock().unwrap_or_else(PoisonError::into_inner).len();
        formatter.debug_struct("Transports").field("clients", &count).finish()
    }
}

fn build(proxy: Option<&Proxy>) -> Result<reqwest::Client, String> {
    let builder = reqwest::Client::builder()
        .user_agent(concat!("o365-agent/", env!("CARGO_PKG_VERSION")))
        // A redirected token request would hand the secret to whoever wrote the Location header.
        .redirect(reqwest::redirect::Policy::none())
        // One owner of retries: token/ and graph/ decide with the request's meaning in hand; the library cannot.
        .retry(reqwest::retry::never())
        .referer(false)
        .gzip(true)
        .tcp_nodelay(true)
        .connect_timeout(CONNECT_TIMEOUT)
        .pool_idle_timeout(POOL_IDLE_TIMEOUT)
        .http2_keep_alive_interval(HTTP2_PING_INTERVAL)
        .http2_keep_alive_timeout(HTTP2_PING_TIMEOUT)
        // The environment's proxy variables never apply: only a connection that asks for a proxy uses one.
        .no_proxy();
    let builder = match proxy {
        None => builder,
        Some(proxy) => builder.proxy(as_reqwest_proxy(proxy)?),
    };
    builder.build().map_err(|error| {
        format!(
            "The HTTP client could not be made ({}). Check the host's CA certificates.",
            crate::error::chain(&error)
        )
    })
}

fn as_reqwest_proxy(proxy: &Proxy) -> Result<reqwest::Proxy, String> {
    let host = if proxy.host.contains(':') && !proxy.host.starts_with('[') {
        format!("[{}]", proxy.host)
    } else {
        proxy.host.clone()
    };
    let address = Url::parse(&format!("http://{host}:{}/", proxy.port)).ok().filter(|url| {
        url.host_str().is_some() && url.username().is_empty() && url.path() == "/" && url.query().is_none()
    });
    let Some(address) = address else {
        return Err(format!(
            "ProxyServer '{}' with ProxyPort {} is not a host name or address. Correct the proxy's host and port.",
            crate::error::clean_foreign_text(&proxy.host),
            proxy.port
        ));
    };
    // Our own matching: reqwest's NoProxy lets an exact name cover all its subdomains and knows no leading `*.`.
    let exceptions = proxy.exceptions.clone();
    let matched = reqwest::Proxy::custom(move |target: &Url| {
        let host = target.host_str().unwrap_or_default();
        (!is_exception(host, &exceptions)).then(|| address.clone())
    });
    Ok(match (&proxy.user, &proxy.password) {
        (Some(user), password) => {
            matched.basic_auth(user, password.as_ref().map_or("", |password| password.expose().as_str()))
        }
        (None, _) => matched,
    })
}

/// Whether `host` is reached directly. `*.contoso.com` and `.contoso.com` cover every name below `contoso.com` but not
/// itself, `*` covers all, anything else is one exact name or address. Case does not count.
fn is_exception(host: &str, exceptions: &[String]) -> bool {
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

    fn proxy(host: &str) -> Proxy {
        let password = Some(Secret::from("canary"));
        Proxy {
            host: host.to_owned(),
            port: 3128,
            user: Some("u".to_owned()),
            password,
            exceptions: Vec::new(),
        }
    }

    #[test]
    fn proxy_hosts_that_are_more_than_a_host_are_refused() {
        for good in ["proxy.contoso.com", "10.0.0.1", "::1", "[::1]"] {
            assert!(as_reqwest_proxy(&proxy(good)).is_ok(), "{good}");
        }
        for bad in ["", "a b", "user@host", "host/path", "host?x", "http://host"] {
            assert!(as_reqwest_proxy(&proxy(bad)).unwrap_err().contains("ProxyServer"), "{bad}");
        }
    }

    #[test]
    fn equal_transports_share_a_client_and_debug_is_silent() {
        let transports = Transports::default();
        let plain = super::super::testing::connection("a").finish();
        let other = super::super::testing::connection("b").finish();
        let proxied = super::super::testing::connection("c")
            .with(|connection| connection.proxy = Some(proxy("p")))
            .finish();
        for connection in [&plain, &other, &proxied] {
            transports.client(connection).unwrap();
        }
        assert_eq!(format!("{transports:?}"), "Transports { clients: 2 }");
    }
}
