//! HTTP clients for token and Graph requests: proxy, certificate check, timeouts, no redirects. Clients are shared by
//! connections whose transport is the same, because each holds a connection pool and the host's trust roots. Sends
//! nothing itself.

mod proxy;
mod thumbprint;
mod trouble;
mod trust;

#[cfg(test)]
mod trust_tests;

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use crate::connection::{ClientCredential, Connection, Proxy, ServerTrust};

pub use thumbprint::{client_for_thumbprint, shows_other_certificate};
pub use trouble::{Trouble, explain, refused_by_proxy};

/// Bound on making a TCP and TLS connection; a healthy one takes well under a second from anywhere.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// How long an idle connection is kept. Below the two minutes after which Microsoft's front ends drop one.
const POOL_IDLE_TIMEOUT: Duration = Duration::from_secs(90);
/// A connection that has gone silent under a running HTTP/2 request is noticed after these two together.
const HTTP2_PING_INTERVAL: Duration = Duration::from_secs(30);
const HTTP2_PING_TIMEOUT: Duration = Duration::from_secs(15);
/// Different transports kept in mind; older ones are forgotten (running requests keep their own client alive).
const REMEMBERED_CLIENTS: usize = 64;

/// The two clients of one transport.
#[derive(Clone, Debug)]
pub struct HttpClients {
    /// Keeps its connections open and uses them again; HTTP/2 where the server speaks it.
    pub pooled: reqwest::Client,
    /// Makes a new connection for every request. For the repeat after a 503: Graph advises a new connection then, because
    /// an old one stays on the sick front end.
    pub fresh: reqwest::Client,
}

/// What makes two connections need different clients.
#[derive(Clone, PartialEq, Eq)]
struct Key {
    proxy: Option<Proxy>,
    trust: ServerTrust,
}

/// Hands out HTTP clients.
#[derive(Default)]
pub struct Transports {
    clients: Mutex<Vec<(Key, HttpClients)>>,
}

impl Transports {
    /// The client for `connection`: its proxy and exceptions applied, its `SSLServerCert` accepted, redirects off, connect
    /// bounded to 5 s, gzip on.
    ///
    /// # Errors
    /// A sentence that names the property that cannot be used.
    pub fn client(&self, connection: &Arc<Connection>) -> Result<reqwest::Client, String> {
        self.clients(connection).map(|clients| clients.pooled)
    }

    /// Both clients for `connection`.
    ///
    /// # Errors
    /// As [`Transports::client`].
    pub fn clients(&self, connection: &Arc<Connection>) -> Result<HttpClients, String> {
        self.remembered(Key { proxy: connection.proxy.clone(), trust: connection.server_trust.clone() })
    }

    /// The client for token requests of `connection`: as [`Transports::client`], but past every proxy where the connection
    /// signs in as the machine it runs on. The machine's proof (a pod's token) is not for a proxy to see.
    ///
    /// # Errors
    /// As [`Transports::client`].
    pub fn token_client(&self, connection: &Arc<Connection>) -> Result<reqwest::Client, String> {
        let proxy = match connection.auth.credential {
            ClientCredential::ManagedIdentity(_) => None,
            _ => connection.proxy.clone(),
        };
        let trust = connection.server_trust.clone();
        self.remembered(Key { proxy, trust }).map(|clients| clients.pooled)
    }

    fn remembered(&self, key: Key) -> Result<HttpClients, String> {
        let mut clients = self.clients.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, known)) = clients.iter().find(|(known, _)| *known == key) {
            return Ok(known.clone());
        }
        let made = build(&key)?;
        if clients.len() >= REMEMBERED_CLIENTS {
            clients.remove(0);
        }
        clients.push((key, made.clone()));
        Ok(made)
    }
}

/// Says how many, not what: the proxies inside carry passwords.
impl fmt::Debug for Transports {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let count = self.clients.lock().unwrap_or_else(PoisonError::into_inner).len();
        formatter.debug_struct("Transports").field("clients", &count).finish()
    }
}

fn build(key: &Key) -> Result<HttpClients, String> {
    let unusable = |error: &dyn std::error::Error| {
        format!(
            "The HTTP client could not be made ({}). Check the host's CA certificates and SSLServerCert.",
            crate::error::chain(error)
        )
    };
    let mut tls = trust::tls(&key.trust).map_err(|error| unusable(&error))?;
    let finish = |tls: rustls::ClientConfig, fresh: bool| -> Result<reqwest::Client, String> {
        let mut builder = reqwest::Client::builder()
            .tls_backend_preconfigured(tls)
            .user_agent(concat!("o365-agent/", env!("CARGO_PKG_VERSION")))
            // A redirected token request would hand the secret to whoever wrote the Location header.
            .redirect(reqwest::redirect::Policy::none())
            // One owner of retries: token/ and graph/ decide with the request's meaning in hand; the library cannot.
            .retry(reqwest::retry::never())
            .referer(false)
            .gzip(true)
            .tcp_nodelay(true)
            .connect_timeout(CONNECT_TIMEOUT)
            // The environment's proxy variables never apply: only a connection that asks for a proxy uses one.
            .no_proxy();
        builder = if fresh {
            builder.http1_only().pool_max_idle_per_host(0)
        } else {
            builder
                .pool_idle_timeout(POOL_IDLE_TIMEOUT)
                .http2_keep_alive_interval(HTTP2_PING_INTERVAL)
                .http2_keep_alive_timeout(HTTP2_PING_TIMEOUT)
        };
        if let Some(proxy) = &key.proxy {
            builder = builder.proxy(proxy::as_reqwest_proxy(proxy)?);
        }
        builder.build().map_err(|error| unusable(&error))
    };
    tls.alpn_protocols = vec![b"http/1.1".to_vec()];
    let fresh = finish(tls.clone(), true)?;
    tls.alpn_protocols.insert(0, b"h2".to_vec());
    Ok(HttpClients { pooled: finish(tls, false)?, fresh })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::super::testing::connection;
    use super::*;
    use crate::connection::ProxyKind;

    #[test]
    fn equal_transports_share_a_client_and_debug_is_silent() {
        let transports = Transports::default();
        let proxy = Proxy {
            kind: ProxyKind::Http,
            named_by: "ProxyServer",
            host: "p".to_owned(),
            port: 3128,
            user: Some("u".to_owned()),
            password: Some("canary".into()),
            exceptions: Vec::new(),
        };
        let plain = connection("a").finish();
        let other = connection("b").finish();
        let proxied = connection("c").with(|connection| connection.proxy = Some(proxy)).finish();
        let pinned = |byte| {
            let pin = ServerTrust::Thumbprint([byte; 32]);
            connection("d").with(|connection| connection.server_trust = pin).finish()
        };
        for connection in [&plain, &other, &proxied, &pinned(1), &pinned(2), &pinned(1)] {
            transports.clients(connection).unwrap();
        }
        let machine = connection("e").with(|connection| {
            connection.proxy = proxied.proxy.clone();
            connection.auth.credential = ClientCredential::ManagedIdentity(None);
        });
        transports.token_client(&machine.finish()).unwrap();
        assert_eq!(format!("{transports:?}"), "Transports { clients: 4 }");
    }
}
