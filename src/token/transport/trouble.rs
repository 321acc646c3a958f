//! Why no connection could be made, as a sentence that names who is to blame — the server, its certificate or the
//! proxy — and the property to look at. Never shows an address with a path, a user or a password.

use std::error::Error;

use rustls::CertificateError;
use url::Url;

use super::proxy::is_exception;
use super::trust::OtherThumbprint;
use crate::connection::{Connection, Proxy, ProxyKind, ServerTrust};
use crate::error::{chain, clean_foreign_text};

/// A failure to connect.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Trouble {
    /// A word for machines: `server_not_trusted`, `tls_failed`, `proxy_refused`, `proxy_unreachable` or
    /// `proxy_cannot_connect`.
    pub code: &'static str,
    /// A sentence for people.
    pub message: String,
}

/// What `error` says about TLS or the proxy on the way to `target`; `None` when it is about neither.
pub fn explain(error: &reqwest::Error, connection: &Connection, target: &Url) -> Option<Trouble> {
    let proxy = connection
        .proxy
        .as_ref()
        .filter(|proxy| !is_exception(target.host_str().unwrap_or_default(), &proxy.exceptions));
    let text = chain(error);
    if let Some(tls) = find_tls(error) {
        let to_proxy = proxy.filter(|proxy| {
            // Plain http has no TLS but that with the proxy; in a tunnel, the tunnel's own connection comes first.
            proxy.kind == ProxyKind::Https
                && (target.scheme() == "http" || text.contains("tunnel error: failed to create"))
        });
        let peer = match to_proxy {
            Some(proxy) => shown(proxy),
            None => target.host_str().unwrap_or("the server").to_owned(),
        };
        return Some(about_tls(tls, &peer, &connection.server_trust));
    }
    error.is_connect().then_some(())?;
    proxy.map(|proxy| about_proxy(proxy, &text, target))
}

/// The trouble of a proxy that answered 407 itself instead of passing a plain http request on; `None` when `target` is
/// reached without a proxy.
pub fn refused_by_proxy(connection: &Connection, target: &Url) -> Option<Trouble> {
    let proxy = connection.proxy.as_ref()?;
    let direct = is_exception(target.host_str().unwrap_or_default(), &proxy.exceptions);
    (!direct).then(|| wrong_credentials(proxy))
}

/// The proxy as operators know it.
fn shown(proxy: &Proxy) -> String {
    format!("the proxy {}:{} ({})", clean_foreign_text(&proxy.host), proxy.port, proxy.named_by)
}

fn wrong_credentials(proxy: &Proxy) -> Trouble {
    let (user, password) = match proxy.named_by {
        "ProxyServer" => ("ProxyUser", "ProxyPassword"),
        "FirewallServer" => ("FirewallUser", "FirewallPassword"),
        _ => ("[Proxy] User", "its password"),
    };
    let message = match proxy.user {
        None => format!("{} wants a user and password. Give {user} and {password}.", capital(&shown(proxy))),
        Some(_) => format!(
            "{} does not accept its user and password. Check {user} and {password}.",
            capital(&shown(proxy))
        ),
    };
    Trouble { code: "proxy_refused", message }
}

fn about_proxy(proxy: &Proxy, text: &str, target: &Url) -> Trouble {
    let contains = |words: &[&str]| words.iter().any(|word| text.contains(word));
    if contains(&[
        "proxy authorization required",
        "credentials not accepted",
        "does not support user/pass authentication",
        "implements authentication incorrectly",
    ]) {
        return wrong_credentials(proxy);
    }
    let host = target.host_str().unwrap_or("the server");
    if contains(&["tunnel error: unsuccessful", "tunnel error: unexpected end of file"])
        || (text.contains("SOCKS error: ")
            && !contains(&["failed to create underlying connection", "io error"]))
    {
        // Some proxies refuse a wrong password with another status than 407, and the tunnel's status is not passed on.
        let credentials = if proxy.user.is_some() { "that it accepts its user and password, " } else { "" };
        let message = format!(
            "{} does not connect to {host}. Check {credentials}that it allows {host} and that it can reach it, or write {host} into its exceptions.",
            capital(&shown(proxy))
        );
        return Trouble { code: "proxy_cannot_connect", message };
    }
    let message = format!(
        "{} cannot be reached, or did not make the connection to {host} in time. Check its host and port, its type, and the network.",
        capital(&shown(proxy))
    );
    Trouble { code: "proxy_unreachable", message }
}

fn about_tls(error: &rustls::Error, peer: &str, trust: &ServerTrust) -> Trouble {
    let rustls::Error::InvalidCertificate(problem) = error else {
        let reason = clean_foreign_text(&error.to_string());
        let message = format!(
            "The TLS connection to {peer} failed ({reason}). Check that it speaks TLS 1.2 or 1.3 on this port."
        );
        return Trouble { code: "tls_failed", message };
    };
    let message = match problem {
        CertificateError::Expired | CertificateError::ExpiredContext { .. } => format!(
            "The certificate of {peer} has expired. Renew it there; if it has not, this host's clock is wrong."
        ),
        CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => format!(
            "The certificate of {peer} is not valid yet. Check this host's clock, and the certificate's dates."
        ),
        CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => format!(
            "The certificate of {peer} is for another name. Write the address with the name it was made for, or have it made for this one."
        ),
        // A signature that does not fit: another authority of the same name.
        CertificateError::UnknownIssuer | CertificateError::BadSignature => match trust {
            ServerTrust::Certificates(_) => format!(
                "The certificate of {peer} comes neither from an authority that this host trusts nor from one in SSLServerCert. Check that SSLServerCert holds the CA certificate of this very server."
            ),
            _ => format!(
                "The certificate of {peer} comes from an authority that this host does not trust. If it is the right server, give its CA certificate as SSLServerCert (PEM text, a file, or the SHA-256 thumbprint of the server's certificate), or add it to the host's trust store."
            ),
        },
        CertificateError::Other(other) => match other.0.downcast_ref::<OtherThumbprint>() {
            Some(OtherThumbprint { shown }) => format!(
                "The certificate of {peer} is not the one whose thumbprint is in SSLServerCert: its SHA-256 thumbprint is {shown}. If the server's certificate was renewed, compare the two there and correct SSLServerCert."
            ),
            None => unusable(peer, problem),
        },
        _ => unusable(peer, problem),
    };
    Trouble { code: "server_not_trusted", message }
}

fn unusable(peer: &str, problem: &CertificateError) -> String {
    let reason = clean_foreign_text(&problem.to_string());
    format!("The certificate of {peer} cannot be accepted ({reason}). Have a correct one made for it.")
}

/// The TLS error behind an error, however deep. `io::Error` hides the error it wraps from `source`.
pub(super) fn find_tls<'e>(error: &'e (dyn Error + 'static)) -> Option<&'e rustls::Error> {
    let mut next = Some(error);
    while let Some(error) = next {
        if let Some(found) = error.downcast_ref::<rustls::Error>() {
            return Some(found);
        }
        let wrapped = error.downcast_ref::<std::io::Error>().and_then(|error| error.get_ref());
        if let Some(found) = wrapped.and_then(|wrapped| find_tls(wrapped)) {
            return Some(found);
        }
        next = error.source();
    }
    None
}

fn capital(text: &str) -> String {
    let mut characters = text.chars();
    characters.next().map(|first| first.to_uppercase().chain(characters).collect()).unwrap_or_default()
}
