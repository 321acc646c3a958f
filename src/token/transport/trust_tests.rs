//! Handshakes in memory between the client's check and a server with certificates made by openssl for the test.
#![allow(clippy::unwrap_used, clippy::disallowed_methods, reason = "tests may")]

use std::path::Path;
use std::process::Command;
use std::sync::Arc;

use rustls::crypto::aws_lc_rs;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::sign::{CertifiedKey, SingleCertAndKey};
use rustls::{ClientConfig, ClientConnection, ServerConfig, ServerConnection, SupportedProtocolVersion};

use super::thumbprint;
use super::trust::tls;
use crate::connection::ServerTrust;

/// A self-signed certificate for localhost and its key, in `folder`.
fn make(folder: &Path, name: &str) -> (CertificateDer<'static>, PrivateKeyDer<'static>) {
    let (key, certificate) = (folder.join(format!("{name}.key")), folder.join(format!("{name}.pem")));
    let output = Command::new("openssl")
        .args([
            "req",
            "-x509",
            "-newkey",
            "ec",
            "-pkeyopt",
            "ec_paramgen_curve:P-256",
            "-nodes",
            "-days",
            "2",
        ])
        .args(["-subj", "/CN=test", "-addext", "subjectAltName=DNS:localhost", "-keyout"])
        .arg(&key)
        .arg("-out")
        .arg(&certificate)
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    (CertificateDer::from_pem_file(certificate).unwrap(), PrivateKeyDer::from_pem_file(key).unwrap())
}

/// What the client says to a server that shows `certificate` and signs with `key`.
fn handshake(
    trust: &ServerTrust,
    name: &'static str,
    certificate: &CertificateDer<'static>,
    key: &PrivateKeyDer<'static>,
    version: &'static SupportedProtocolVersion,
) -> Result<(), rustls::Error> {
    handshake_of(tls(trust).unwrap(), name, certificate, key, version)
}

fn handshake_of(
    client: ClientConfig,
    name: &'static str,
    certificate: &CertificateDer<'static>,
    key: &PrivateKeyDer<'static>,
    version: &'static SupportedProtocolVersion,
) -> Result<(), rustls::Error> {
    let provider = aws_lc_rs::default_provider();
    // Not checked against each other here, as a thief's server would not do it either.
    let shown = CertifiedKey::new(
        vec![certificate.clone()],
        provider.key_provider.load_private_key(key.clone_key()).unwrap(),
    );
    let server = ServerConfig::builder_with_provider(Arc::new(provider))
        .with_protocol_versions(&[version])
        .unwrap()
        .with_no_client_auth()
        .with_cert_resolver(Arc::new(SingleCertAndKey::from(shown)));
    let mut server = ServerConnection::new(Arc::new(server)).unwrap();
    let mut client = ClientConnection::new(Arc::new(client), ServerName::try_from(name).unwrap()).unwrap();
    for _ in 0..10 {
        let mut wire = Vec::new();
        while client.wants_write() {
            client.write_tls(&mut wire).unwrap();
        }
        server.read_tls(&mut wire.as_slice()).unwrap();
        server.process_new_packets().unwrap();
        let mut wire = Vec::new();
        while server.wants_write() {
            server.write_tls(&mut wire).unwrap();
        }
        let mut rest = wire.as_slice();
        while !rest.is_empty() {
            client.read_tls(&mut rest).unwrap();
            client.process_new_packets()?;
        }
        if !client.is_handshaking() {
            return Ok(());
        }
    }
    panic!("the handshake did not end");
}

#[test]
fn whatever_is_trusted_the_server_must_hold_the_key() {
    let folder = tempfile::tempdir().unwrap();
    let (certificate, key) = make(folder.path(), "own");
    let (other, other_key) = make(folder.path(), "other");
    let sum = |certificate: &CertificateDer<'_>| {
        let sum = ::aws_lc_rs::digest::digest(&::aws_lc_rs::digest::SHA256, certificate);
        ServerTrust::Thumbprint(sum.as_ref().try_into().unwrap())
    };
    let given = ServerTrust::Certificates(vec![certificate.to_vec()]);
    for version in [&rustls::version::TLS12, &rustls::version::TLS13] {
        for trust in [&sum(&certificate), &given, &ServerTrust::AnyOnLoopback] {
            handshake(trust, "localhost", &certificate, &key, version).unwrap();
            let copied = handshake(trust, "localhost", &certificate, &other_key, version).unwrap_err();
            assert!(copied.to_string().contains("BadSignature"), "{trust:?} {version:?}: {copied}");
        }
        for trust in [&sum(&certificate), &given, &ServerTrust::System] {
            assert!(handshake(trust, "localhost", &other, &other_key, version).is_err(), "{trust:?}");
        }
    }
    let refused = handshake(&sum(&certificate), "localhost", &other, &other_key, &rustls::version::TLS13);
    let ServerTrust::Thumbprint(shown) = sum(&other) else { panic!() };
    assert!(refused.unwrap_err().to_string().contains(&crate::secret::hex(&shown)));
}

#[test]
fn a_server_known_by_its_thumbprint_shows_that_certificate_and_holds_its_key() {
    let folder = tempfile::tempdir().unwrap();
    let (certificate, key) = make(folder.path(), "own");
    let (other, other_key) = make(folder.path(), "other");
    let sum = ::aws_lc_rs::digest::digest(&::aws_lc_rs::digest::SHA1_FOR_LEGACY_USE_ONLY, &certificate);
    let client = || thumbprint::tls(sum.as_ref().try_into().unwrap()).unwrap();
    for version in [&rustls::version::TLS12, &rustls::version::TLS13] {
        handshake_of(client(), "10.0.0.4", &certificate, &key, version).unwrap();
        let copied = handshake_of(client(), "10.0.0.4", &certificate, &other_key, version).unwrap_err();
        assert!(copied.to_string().contains("BadSignature"), "{version:?}: {copied}");
        assert!(handshake_of(client(), "10.0.0.4", &other, &other_key, version).is_err());
    }
}

#[test]
fn any_server_means_those_on_loopback() {
    let folder = tempfile::tempdir().unwrap();
    let (certificate, key) = make(folder.path(), "own");
    for (name, good) in [
        ("localhost", true),
        ("LocalHost", true),
        ("127.0.0.1", true),
        ("127.8.8.8", true),
        ("::1", true),
        ("login.microsoftonline.com", false),
        ("localhost.evil.example", false),
        ("10.0.0.1", false),
    ] {
        let found = handshake(&ServerTrust::AnyOnLoopback, name, &certificate, &key, &rustls::version::TLS13);
        assert_eq!(found.is_ok(), good, "{name}: {found:?}");
    }
}

#[test]
fn a_given_certificate_counts_for_its_own_name_only() {
    let folder = tempfile::tempdir().unwrap();
    let (certificate, key) = make(folder.path(), "own");
    let given = ServerTrust::Certificates(vec![certificate.to_vec()]);
    let found = handshake(&given, "graph.microsoft.com", &certificate, &key, &rustls::version::TLS13);
    assert!(found.unwrap_err().to_string().contains("not valid for name"));
}
