//! What kind of thing some bytes are, by their content, and the reader for it. The declared type only says what is
//! expected, so that a wrong one is answered with the right one.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use zeroize::Zeroizing;

use super::der::{INTEGER, OBJECT_ID, Reader, SEQUENCE, SIGNED_DATA};
use super::error::CertificateError;
use super::material::Material;
use super::{encrypted_key, jks, pem, pkcs7, pkcs12, ppk, xml};
use crate::connection::CertificateKind;

/// A format that is known by its first bytes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Format {
    Pem,
    Pkcs12,
    JavaKeyStore,
    Certificate,
    Pkcs8,
    EncryptedPkcs8,
    Pkcs1,
    Pkcs7,
    Putty,
    Xml,
    SshPublic,
}

impl Format {
    fn of(bytes: &[u8]) -> Option<Self> {
        if bytes.starts_with(&jks::MAGIC) || bytes.starts_with(&jks::JCEKS_MAGIC) {
            return Some(Self::JavaKeyStore);
        }
        if let Some(format) = Self::of_der(bytes) {
            return Some(format);
        }
        let text = std::str::from_utf8(bytes).ok()?.trim_start_matches('\u{feff}').trim_start();
        match text {
            _ if text.starts_with("PuTTY-User-Key-File-") => Some(Self::Putty),
            _ if text.starts_with('<') => Some(Self::Xml),
            _ if text.starts_with("---- BEGIN SSH2") => Some(Self::SshPublic),
            _ if text.contains("-----BEGIN ") => Some(Self::Pem),
            _ if text.starts_with("ssh-") || text.starts_with("ecdsa-") => Some(Self::SshPublic),
            _ => None,
        }
    }

    fn of_der(bytes: &[u8]) -> Option<Self> {
        let inside = Reader::new(bytes).enter(SEQUENCE)?;
        let mut elements = inside.clone();
        let (first, second) = (elements.next()?, elements.next());
        let second_tag = second.map(|second| second.tag);
        match (first.tag, second_tag) {
            (OBJECT_ID, _) if first.content == SIGNED_DATA => Some(Self::Pkcs7),
            (INTEGER, Some(SEQUENCE)) if first.content == [3] => Some(Self::Pkcs12),
            (INTEGER, Some(SEQUENCE)) => Some(Self::Pkcs8),
            (INTEGER, Some(INTEGER)) => Some(Self::Pkcs1),
            (SEQUENCE, Some(SEQUENCE)) => Some(Self::Certificate),
            (SEQUENCE, Some(super::der::OCTET_STRING)) => Some(Self::EncryptedPkcs8),
            _ => None,
        }
    }

    /// What it is called, and the type that takes it.
    fn described(self) -> (&'static str, &'static str) {
        match self {
            Self::Pem => ("PEM text", "PEMKEY_FILE or PEMKEY_BLOB"),
            Self::Pkcs12 => ("a PKCS#12 container", "PFXFILE or PFXBLOB"),
            Self::JavaKeyStore => ("a Java key store", "JKSFILE or JKSBLOB"),
            Self::Certificate => ("a certificate without a key", "PUBLIC_KEY_FILE with OAuthJWTKey"),
            Self::Pkcs8 | Self::EncryptedPkcs8 | Self::Pkcs1 => {
                ("a private key", "PEMKEY_FILE or PEMKEY_BLOB")
            }
            Self::Pkcs7 => ("a PKCS#7 container", "P7BFILE with OAuthJWTKey"),
            Self::Putty => ("a PuTTY private key", "PPKFILE"),
            Self::Xml => ("XML", "XMLFILE or XMLBLOB"),
            Self::SshPublic => ("an SSH public key", "a type that holds a private key"),
        }
    }

    fn fits(self, kind: CertificateKind) -> bool {
        use CertificateKind as Kind;
        match kind {
            Kind::User | Kind::Machine => true,
            Kind::PfxFile | Kind::PfxBlob => self == Self::Pkcs12,
            // Java's own stores are PKCS#12 since Java 9, under the old file names, and Java reads either as "JKS".
            Kind::JksFile | Kind::JksBlob => matches!(self, Self::JavaKeyStore | Self::Pkcs12),
            Kind::PemKeyFile | Kind::PemKeyBlob => {
                matches!(self, Self::Pem | Self::Pkcs8 | Self::EncryptedPkcs8 | Self::Pkcs1)
            }
            Kind::PublicKeyFile | Kind::PublicKeyBlob => matches!(self, Self::Pem | Self::Certificate),
            Kind::SshPublicKeyFile | Kind::SshPublicKeyBlob => self == Self::SshPublic,
            Kind::P7bFile => matches!(self, Self::Pkcs7 | Self::Pem),
            Kind::PpkFile => self == Self::Putty,
            Kind::XmlFile | Kind::XmlBlob => self == Self::Xml,
        }
    }
}

/// Everything `bytes` hold, which may be base64 of what is meant. `kind`: what was declared; `None` takes any format.
pub(super) fn read(
    place: &str,
    kind: Option<CertificateKind>,
    bytes: &[u8],
    password: &str,
) -> Result<Material, CertificateError> {
    let decoded;
    let (format, bytes) = match Format::of(bytes) {
        Some(format) => (format, bytes),
        None => {
            decoded = from_base64(bytes).unwrap_or_default();
            let format = Format::of(&decoded).ok_or_else(|| unknown(place, kind))?;
            (format, decoded.as_slice())
        }
    };
    if let Some(kind) = kind.filter(|kind| !format.fits(*kind)) {
        let (found, wanted) = format.described();
        let kind = kind.as_str();
        return Err(CertificateError::unusable(
            place,
            &format!(
                "it is {found}, not what OAuthJWTCertType {kind} says. Write OAuthJWTCertType: {wanted}."
            ),
        ));
    }
    let text = || String::from_utf8_lossy(bytes);
    let mut material = Material::default();
    match format {
        Format::Pem => return pem::read(place, &Zeroizing::new(text().into_owned()), password),
        Format::Pkcs12 => return pkcs12::read(place, bytes, password),
        Format::JavaKeyStore => return jks::read(place, bytes, password),
        Format::Pkcs7 => return pkcs7::read(place, bytes),
        Format::Putty => return ppk::read(place, &Zeroizing::new(text().into_owned()), password),
        Format::Xml => return xml::read(place, &Zeroizing::new(text().into_owned())),
        Format::Certificate => material.add_certificate(place, bytes)?,
        Format::Pkcs8 => material.add_pkcs8(place, bytes),
        Format::EncryptedPkcs8 => {
            let key = encrypted_key::decrypt(place, bytes, password)?;
            material.add_pkcs8(place, &key);
        }
        Format::Pkcs1 => material.add_pkcs1(place, bytes),
        // It identifies a key and can neither sign nor name a certificate.
        Format::SshPublic => {}
    }
    Ok(material)
}

fn unknown(place: &str, kind: Option<CertificateKind>) -> CertificateError {
    let wanted = kind.map_or_else(String::new, |kind| format!(" for OAuthJWTCertType {}", kind.as_str()));
    CertificateError::unusable(
        place,
        &format!(
            "it is neither a key nor a certificate in any format that is known. Check that it is the right thing{wanted}."
        ),
    )
}

fn from_base64(bytes: &[u8]) -> Option<Zeroizing<Vec<u8>>> {
    let compact: Zeroizing<Vec<u8>> =
        Zeroizing::new(bytes.iter().copied().filter(|byte| !byte.is_ascii_whitespace()).collect());
    STANDARD.decode(compact.as_slice()).ok().map(Zeroizing::new)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn any_bytes_are_read_without_a_panic(bytes in proptest::collection::vec(any::<u8>(), 0..128), start in 0usize..4) {
            let starts: [&[u8]; 4] = [b"", &[0x30, 0x40, 0x02, 0x01, 0x03, 0x30], &jks::MAGIC, b"-----BEGIN PKCS7-----\n"];
            let bytes = [starts[start], &bytes].concat();
            let _read = read("x", None, &bytes, "password");
        }
    }
}
