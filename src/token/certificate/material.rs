//! What was found in a file: RSA keys ready to sign, and parsed certificates. Never decides which of them is meant.

use aws_lc_rs::digest::{SHA1_FOR_LEGACY_USE_ONLY, SHA256, digest};
use aws_lc_rs::signature::{KeyPair, RsaKeyPair};
use x509_cert::certificate::{CertificateInner, Raw};
use x509_cert::der::{Decode, Encode};
use zeroize::Zeroizing;

use super::der::{self, Reader};
use super::error::CertificateError;
use crate::clock::Timestamp;
use crate::secret::hex;

/// Everything one or more files hold.
#[derive(Debug, Default)]
pub(super) struct Material {
    pub(super) keys: Vec<RsaKeyPair>,
    pub(super) certificates: Vec<Certificate>,
    /// Why a key that was found cannot be used, told when there is no other.
    pub(super) refused_key: Option<CertificateError>,
}

impl Material {
    /// Adds a private key in PKCS#8.
    pub(super) fn add_pkcs8(&mut self, place: &str, key: &[u8]) {
        let algorithm = pkcs8_algorithm(key);
        if algorithm == Some(der::EC_PUBLIC_KEY) {
            self.refuse_ec(place);
            return;
        }
        if algorithm.is_some_and(|algorithm| algorithm != der::RSA_ENCRYPTION) {
            self.refused_key = Some(CertificateError::unusable(
                place,
                "the private key is not an RSA key. Microsoft Entra accepts assertions signed with RSA keys only; make an RSA key and certificate.",
            ));
            return;
        }
        self.add(place, RsaKeyPair::from_pkcs8(key));
    }

    /// Adds a private key in PKCS#1.
    pub(super) fn add_pkcs1(&mut self, place: &str, key: &[u8]) {
        self.add(place, RsaKeyPair::from_der(key));
    }

    /// Notes that there is a key on an elliptic curve.
    pub(super) fn refuse_ec(&mut self, place: &str) {
        self.refused_key = Some(CertificateError::unusable(
            place,
            "the private key is on an elliptic curve. Microsoft Entra accepts assertions signed with RSA keys only; make an RSA key and certificate.",
        ));
    }

    fn add(&mut self, place: &str, key: Result<RsaKeyPair, aws_lc_rs::error::KeyRejected>) {
        match key {
            Ok(key) => self.keys.push(key),
            Err(_) => {
                self.refused_key = Some(CertificateError::unusable(
                    place,
                    "the RSA private key cannot be used: it is damaged or not of 2048 to 8192 bits. Make a new key of 2048 bits or more.",
                ));
            }
        }
    }

    /// Adds a certificate in DER.
    pub(super) fn add_certificate(&mut self, place: &str, bytes: &[u8]) -> Result<(), CertificateError> {
        let certificate = Certificate::parse(bytes).ok_or_else(|| {
            CertificateError::unusable(place, "it holds a certificate that cannot be read. Export it again.")
        })?;
        self.certificates.push(certificate);
        Ok(())
    }

    /// Takes over what another file holds.
    pub(super) fn append(&mut self, other: Self) {
        self.keys.extend(other.keys);
        self.certificates.extend(other.certificates);
        self.refused_key = self.refused_key.take().or(other.refused_key);
    }
}

fn pkcs8_algorithm(key: &[u8]) -> Option<&[u8]> {
    let mut info = Reader::new(key).enter(der::SEQUENCE)?;
    info.expect(der::INTEGER)?;
    info.enter(der::SEQUENCE)?.expect(der::OBJECT_ID)
}

/// One certificate.
#[derive(Clone, Debug)]
pub(super) struct Certificate {
    pub(super) der: Vec<u8>,
    /// As in the certificate: the most general part first.
    pub(super) subject: Vec<String>,
    subject_bytes: Vec<u8>,
    issuer_bytes: Vec<u8>,
    pub(super) not_before: Timestamp,
    pub(super) not_after: Timestamp,
    /// The public key in PKCS#1, when it is an RSA key.
    public_key: Vec<u8>,
}

impl Certificate {
    fn parse(bytes: &[u8]) -> Option<Self> {
        // The raw profile takes certificates with odd serial numbers and dates, which authorities do issue.
        let parsed = CertificateInner::<Raw>::from_der(bytes).ok()?;
        let facts = parsed.tbs_certificate();
        let seconds = |time: x509_cert::time::Time| {
            Some(Timestamp::from_seconds(i64::try_from(time.to_unix_duration().as_secs()).ok()?))
        };
        Some(Self {
            der: bytes.to_vec(),
            subject: facts.subject().iter_rdn().map(ToString::to_string).collect(),
            subject_bytes: facts.subject().to_der().ok()?,
            issuer_bytes: facts.issuer().to_der().ok()?,
            not_before: seconds(facts.validity().not_before)?,
            not_after: seconds(facts.validity().not_after)?,
            public_key: facts.subject_public_key_info().subject_public_key.raw_bytes().to_vec(),
        })
    }

    /// Whether `key` is this certificate's.
    pub(super) fn belongs_to(&self, key: &RsaKeyPair) -> bool {
        self.public_key == key.public_key().as_ref()
    }

    /// Whether `other` has, by its name, issued this one.
    pub(super) fn is_issued_by(&self, other: &Self) -> bool {
        self.issuer_bytes == other.subject_bytes && self.subject_bytes != other.subject_bytes
    }

    /// The subject as people write it.
    pub(super) fn subject_text(&self) -> String {
        self.subject.join(", ")
    }

    pub(super) fn sha1(&self) -> Vec<u8> {
        // Not a signature: a lookup name that older servers want (RFC 7515 section 4.1.7).
        digest(&SHA1_FOR_LEGACY_USE_ONLY, &self.der).as_ref().to_vec()
    }

    pub(super) fn sha256(&self) -> Vec<u8> {
        digest(&SHA256, &self.der).as_ref().to_vec()
    }

    /// Whether `thumbprint`, 40 or 64 hexadecimal digits, is this certificate's.
    pub(super) fn has_thumbprint(&self, thumbprint: &str) -> bool {
        let own = if thumbprint.len() == 40 { self.sha1() } else { self.sha256() };
        hex(&own) == thumbprint
    }
}

/// Key bytes on their way from a container to the signer: wiped when dropped.
pub(super) type KeyBytes = Zeroizing<Vec<u8>>;
