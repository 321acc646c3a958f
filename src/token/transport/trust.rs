//! The certificate check of a connection: the host's trust roots, and what `SSLServerCert` adds to them. Whatever is
//! added, the server must prove that it holds the certificate's key. Never turns the check off as a whole.

use std::fmt;
use std::sync::Arc;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::verify_server_name;
use rustls::crypto::{CryptoProvider, aws_lc_rs, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::ParsedCertificate;
use rustls::{CertificateError, ClientConfig, DigitallySignedStruct, Error, OtherError, SignatureScheme};
use rustls_platform_verifier::Verifier;

use crate::connection::ServerTrust;

/// The TLS settings for `trust`, without application protocols.
pub(super) fn tls(trust: &ServerTrust) -> Result<ClientConfig, Error> {
    let provider = Arc::new(aws_lc_rs::default_provider());
    let check: Arc<dyn ServerCertVerifier> = Arc::new(ServerCheck::new(trust, &provider)?);
    Ok(ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .dangerous()
        .with_custom_certificate_verifier(check)
        .with_no_client_auth())
}

/// The server's certificate is not the one that `SSLServerCert` names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct OtherThumbprint {
    /// The SHA-256 of what the server showed, which is public, in the form that the property takes.
    pub(super) shown: String,
}

impl fmt::Display for OtherThumbprint {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "its SHA-256 thumbprint is {}", self.shown)
    }
}

impl std::error::Error for OtherThumbprint {}

#[derive(Debug)]
pub(super) struct ServerCheck {
    /// The host's roots and the certificates given. Absent only where a host without any roots reaches servers by
    /// thumbprint or on loopback.
    roots: Option<Verifier>,
    provider: Arc<CryptoProvider>,
    trust: ServerTrust,
}

impl ServerCheck {
    pub(super) fn new(trust: &ServerTrust, provider: &Arc<CryptoProvider>) -> Result<Self, Error> {
        let roots = match trust {
            ServerTrust::System => Some(Verifier::new(provider.clone())?),
            ServerTrust::Certificates(given) => {
                let given = given.iter().map(|der| CertificateDer::from(der.clone()));
                Some(Verifier::new_with_extra_roots(given, provider.clone())?)
            }
            ServerTrust::Thumbprint(_) | ServerTrust::AnyOnLoopback => Verifier::new(provider.clone()).ok(),
        };
        Ok(Self { roots, provider: provider.clone(), trust: trust.clone() })
    }
}

impl ServerCertVerifier for ServerCheck {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        match &self.trust {
            ServerTrust::Thumbprint(wanted) if sha256(end_entity) == *wanted => {
                return Ok(ServerCertVerified::assertion());
            }
            // The configuration stage has looked at the addresses; here it is the name really connected to that counts.
            ServerTrust::AnyOnLoopback if is_loopback(server_name) => {
                return Ok(ServerCertVerified::assertion());
            }
            _ => {}
        }
        let by_roots = match &self.roots {
            Some(roots) => {
                roots.verify_server_cert(end_entity, intermediates, server_name, ocsp_response, now)
            }
            None => Err(CertificateError::UnknownIssuer.into()),
        };
        match (by_roots, &self.trust) {
            (Ok(verified), _) => Ok(verified),
            // A self-signed server certificate marked as an authority, as openssl makes them. Its dates were found good
            // before its role was looked at.
            (Err(error), ServerTrust::Certificates(given))
                if is_role_refused(&error)
                    && given.iter().any(|one| one.as_slice() == end_entity.as_ref()) =>
            {
                verify_server_name(&ParsedCertificate::try_from(end_entity)?, server_name)?;
                Ok(ServerCertVerified::assertion())
            }
            (Err(_), ServerTrust::Thumbprint(_)) => {
                let other = OtherThumbprint { shown: crate::secret::hex(&sha256(end_entity)) };
                Err(CertificateError::Other(OtherError(Arc::new(other))).into())
            }
            (Err(error), _) => Err(error),
        }
    }

    // Without these two anyone could show a copy of the right certificate.
    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls12_signature(message, certificate, signed, &self.provider.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, certificate, signed, &self.provider.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}

fn sha256(bytes: &[u8]) -> [u8; 32] {
    let mut sum = [0; 32];
    sum.copy_from_slice(::aws_lc_rs::digest::digest(&::aws_lc_rs::digest::SHA256, bytes).as_ref());
    sum
}

fn is_loopback(name: &ServerName<'_>) -> bool {
    match name {
        ServerName::DnsName(name) => name.as_ref().eq_ignore_ascii_case("localhost"),
        ServerName::IpAddress(address) => std::net::IpAddr::from(*address).is_loopback(),
        _ => false,
    }
}

/// The one word for this in rustls' errors is the text of an error of a crate below it; a test holds it.
fn is_role_refused(error: &Error) -> bool {
    matches!(error, Error::InvalidCertificate(CertificateError::Other(other)) if other.to_string().contains("CaUsedAsEndEntity"))
}
