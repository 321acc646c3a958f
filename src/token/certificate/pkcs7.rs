//! PKCS#7 containers with certificates (RFC 5652 SignedData). Holds no private key, ever.

use super::der::{CONTEXT_0, INTEGER, OBJECT_ID, Reader, SEQUENCE, SIGNED_DATA};
use super::error::CertificateError;
use super::material::Material;

/// The certificates of a DER container.
pub(super) fn read(place: &str, bytes: &[u8]) -> Result<Material, CertificateError> {
    let damaged = || {
        CertificateError::unusable(place, "the PKCS#7 container is damaged. Export it again, in DER or PEM.")
    };
    let certificates = certificates(bytes).ok_or_else(damaged)?;
    let mut material = Material::default();
    for element in certificates.filter(|element| element.tag == SEQUENCE) {
        material.add_certificate(place, element.whole)?;
    }
    Ok(material)
}

fn certificates(bytes: &[u8]) -> Option<Reader<'_>> {
    const SET: u8 = 0x31;
    let mut content = Reader::new(bytes).enter(SEQUENCE)?;
    if content.expect(OBJECT_ID)? != SIGNED_DATA {
        return None;
    }
    let mut signed = content.enter(CONTEXT_0)?.enter(SEQUENCE)?;
    signed.expect(INTEGER)?;
    signed.expect(SET)?;
    signed.expect(SEQUENCE)?;
    signed.enter(CONTEXT_0)
}
