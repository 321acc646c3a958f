//! `SSLServerCert`: which servers a connection accepts besides those the host trusts. A file is read each time the
//! drop-ins are loaded, so a renewed certificate comes into force with the next reload. Never weakens what the host's
//! own trust store demands of other servers.

use std::path::Path;

use rustls::RootCertStore;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;

use super::endpoints::is_loopback;
use super::values::Values;
use super::{Endpoints, Proxy, ProxyKind};

const NAME: &str = "SSLServerCert";

/// Which servers are believed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum ServerTrust {
    /// Those with a certificate from an authority that the host trusts.
    #[default]
    System,
    /// Also those with a certificate from (or equal to) one of these, in DER. Names and dates count as ever.
    Certificates(Vec<Vec<u8>>),
    /// Also the one that proves to hold the key of the certificate with this SHA-256. Its issuer, names and dates do not
    /// count: the thumbprint names exactly one certificate.
    Thumbprint([u8; 32]),
    /// Anyone, on loopback addresses only.
    AnyOnLoopback,
}

/// Reads and checks `SSLServerCert`.
pub(super) fn check(
    values: &mut Values<'_>,
    endpoints: Option<&Endpoints>,
    proxy: Option<&Proxy>,
) -> ServerTrust {
    let Some(text) = values.text(NAME) else { return ServerTrust::System };
    let trust = if text == "*" {
        if is_all_loopback(endpoints, proxy) {
            Ok(ServerTrust::AnyOnLoopback)
        } else {
            Err("'*' accepts any server, so whoever stands in the line would be handed this connection's tokens; it is \
                 taken for loopback addresses only. Give the server's CA certificate (PEM text or a file), or the \
                 SHA-256 thumbprint of its certificate."
                .to_owned())
        }
    } else if text.contains("-----BEGIN ") {
        from_pem(text.as_bytes())
    } else if text.starts_with('/') {
        let read = values.around.host.public_file(Path::new(&text));
        read.and_then(|bytes| from_file(&bytes).map_err(|message| format!("{text}: {message}")))
    } else {
        thumbprint(&text)
    };
    trust.unwrap_or_else(|message| {
        values.fault(NAME, message);
        ServerTrust::System
    })
}

fn is_all_loopback(endpoints: Option<&Endpoints>, proxy: Option<&Proxy>) -> bool {
    let servers = endpoints.is_some_and(|both| is_loopback(&both.authority) && is_loopback(&both.graph));
    // TLS to a proxy is checked by the same rule, and it too would hand over a password.
    let proxy = proxy.filter(|proxy| proxy.kind == ProxyKind::Https).is_none_or(|proxy| {
        proxy.host == "localhost"
            || proxy.host.parse::<std::net::IpAddr>().is_ok_and(|address| address.is_loopback())
    });
    servers && proxy
}

fn from_file(bytes: &[u8]) -> Result<ServerTrust, String> {
    if memchr::memmem::find(bytes, b"-----BEGIN ").is_some() {
        from_pem(bytes)
    } else {
        certificates(vec![bytes.to_vec()])
    }
}

fn from_pem(bytes: &[u8]) -> Result<ServerTrust, String> {
    if memchr::memmem::find(bytes, b"PRIVATE KEY-----").is_some() {
        return Err(
            "A private key stands here. Only the certificate belongs here; keep the key on the server."
                .to_owned(),
        );
    }
    let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(bytes).collect();
    match found {
        Ok(found) if !found.is_empty() => {
            certificates(found.into_iter().map(|certificate| certificate.to_vec()).collect())
        }
        Ok(_) => Err("There is no certificate in this PEM text (a bare public key is not enough). Give one that begins with -----BEGIN CERTIFICATE-----.".to_owned()),
        Err(_) => Err("This PEM text is damaged. Copy the certificate again, with its BEGIN and END lines; in YAML, write it as a block after '|'.".to_owned()),
    }
}

fn certificates(all: Vec<Vec<u8>>) -> Result<ServerTrust, String> {
    let mut roots = RootCertStore::empty();
    for (index, certificate) in all.iter().enumerate() {
        if roots.add(CertificateDer::from(certificate.as_slice())).is_err() {
            return Err(format!(
                "Certificate {} of {} is not an X.509 certificate. Give the file in PEM or DER form.",
                index + 1,
                all.len()
            ));
        }
    }
    Ok(ServerTrust::Certificates(all))
}

/// The forms in which openssl, browsers and Windows show a SHA-256.
fn thumbprint(text: &str) -> Result<ServerTrust, String> {
    let bare = text.rsplit('=').next().unwrap_or(text);
    let digits: Vec<u8> = bare.bytes().filter(|byte| !matches!(byte, b':' | b' ' | b'-')).collect();
    let is_hex = digits.iter().all(u8::is_ascii_hexdigit);
    match digits.len() {
        64 if is_hex => {
            let mut pin = [0; 32];
            for (byte, pair) in pin.iter_mut().zip(digits.chunks_exact(2)) {
                let value = |digit: u8| (digit as char).to_digit(16).unwrap_or_default();
                *byte = u8::try_from(value(pair[0]) * 16 + value(pair[1])).unwrap_or_default();
            }
            Ok(ServerTrust::Thumbprint(pin))
        }
        length @ (32 | 40) if is_hex => {
            let kind = if length == 40 { "a SHA-1" } else { "an MD5" };
            Err(format!(
                "This is {kind} thumbprint, and such ones can be forged: another certificate can be made to have the \
                 same. Give the SHA-256 thumbprint (openssl x509 -in FILE -noout -fingerprint -sha256)."
            ))
        }
        _ => Err("This is not a certificate (PEM text), an absolute path of one, or a SHA-256 thumbprint (64 hexadecimal digits). Write one of these.".to_owned()),
    }
}

#[cfg(test)]
#[path = "server_trust_tests.rs"]
mod tests;
