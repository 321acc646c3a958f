//! The client for a server that is known by the SHA-1 thumbprint of its certificate alone: Azure Service Fabric's token
//! service, and nothing else. No proxy, no redirects, no other certificate whoever has issued it.

use std::sync::Arc;
use std::time::Duration;

use aws_lc_rs::digest::{SHA1_FOR_LEGACY_USE_ONLY, digest};
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, aws_lc_rs as provider, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{CertificateError, ClientConfig, DigitallySignedStruct, Error, SignatureScheme};

/// A client that talks to the holder of the certificate with this SHA-1 thumbprint, and to nobody else.
///
/// # Errors
/// A sentence, when the client cannot be made.
pub fn client_for_thumbprint(thumbprint: [u8; 20], connect: Duration) -> Result<reqwest::Client, String> {
    let unusable = |error: &dyn std::error::Error| {
        format!("The HTTP client could not be made ({}).", crate::error::chain(error))
    };
    reqwest::Client::builder()
        .tls_backend_preconfigured(tls(thumbprint).map_err(|error| unusable(&error))?)
        .user_agent(concat!("o365-agent/", env!("CARGO_PKG_VERSION")))
        .redirect(reqwest::redirect::Policy::none())
        .retry(reqwest::retry::never())
        .no_proxy()
        .https_only(true)
        .connect_timeout(connect)
        .build()
        .map_err(|error| unusable(&error))
}

/// Whether a request failed because the server showed another certificate.
pub fn shows_other_certificate(error: &reqwest::Error) -> bool {
    matches!(
        super::trouble::find_tls(error),
        Some(Error::InvalidCertificate(CertificateError::ApplicationVerificationFailure))
    )
}

pub(super) fn tls(thumbprint: [u8; 20]) -> Result<ClientConfig, Error> {
    let provider = Arc::new(provider::default_provider());
    let check = Arc::new(OneCertificate { thumbprint, provider: provider.clone() });
    Ok(ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .dangerous()
        .with_custom_certificate_verifier(check)
        .with_no_client_auth())
}

#[derive(Debug)]
struct OneCertificate {
    thumbprint: [u8; 20],
    provider: Arc<CryptoProvider>,
}

impl ServerCertVerifier for OneCertificate {
    /// Name, dates and issuer say nothing about a self-signed certificate. The digest is SHA-1 because the platform gives
    /// no other: what an attacker would need is a second certificate with a given digest, which nobody can make even for
    /// SHA-1 (known attacks make two of their own that agree), and a place on the machine's own network.
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        if digest(&SHA1_FOR_LEGACY_USE_ONLY, end_entity).as_ref() == self.thumbprint {
            Ok(ServerCertVerified::assertion())
        } else {
            Err(CertificateError::ApplicationVerificationFailure.into())
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
