//! PKCS#12 containers (RFC 7292), old ciphers and new ones. Bags are taken as they come: which certificate belongs to
//! which key is decided by the public key, because local key ids are often missing or wrong.

use p12_keystore::Pkcs12Archive;
use p12_keystore::error::Error;

use super::error::CertificateError;
use super::material::Material;

/// Keys and certificates of a container.
pub(super) fn read(place: &str, bytes: &[u8], password: &str) -> Result<Material, CertificateError> {
    let archive = Pkcs12Archive::from_pkcs12(bytes, password).map_err(|error| match error {
        Error::MacError(_) | Error::UnpadError => CertificateError::password(place),
        Error::UnsupportedEncryptionScheme | Error::UnsupportedMacAlgorithm => CertificateError::unusable(
            place,
            "the PKCS#12 container is encrypted in a way that is not supported. Export it again with AES-256 and SHA-256.",
        ),
        _ => CertificateError::unusable(place, "the PKCS#12 container is damaged, or the password does not open it. Check OAuthJWTCertPassword, or export it again."),
    })?;
    let mut material = Material::default();
    for bag in &archive.keys {
        material.add_pkcs8(place, bag.key.as_der());
    }
    for bag in &archive.certs {
        material.add_certificate(place, bag.cert.as_der())?;
    }
    Ok(material)
}
