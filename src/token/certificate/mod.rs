//! Client certificates: reads the key and certificate a connection names, in any of their formats, and picks the pair
//! that signs. They are read anew for each token request, so a renewed file needs no restart. Never keeps a key.
//!
//! One file a format; `format` tells them apart, `material` is what all of them come to.

mod der;
mod encrypted_key;
mod error;
mod format;
mod jks;
mod material;
mod pbes1;
mod pem;
mod pkcs12;
mod pkcs7;
mod ppk;
mod preview;
mod source;
mod subject;
mod traditional;
mod xml;

use aws_lc_rs::signature::RsaKeyPair;

use self::material::{Certificate, Material};
use crate::clock::Timestamp;
use crate::connection::{
    AssertionAlgorithm, CertificateKind, CertificateSource, ClientCertificate, ClientCredential, Connection,
};
use crate::secret::hex;

pub use error::CertificateError;
pub use preview::faults;

/// What can be told about a connection's certificate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CertificateReport {
    /// Its subject; absent when only a thumbprint is given.
    pub subject: Option<String>,
    /// Its SHA-256 thumbprint in hexadecimal; what was given, when only a thumbprint is given.
    pub thumbprint: String,
    /// When its time begins.
    pub not_before: Option<Timestamp>,
    /// When its time ends.
    pub not_after: Option<Timestamp>,
    /// The file or folder, or the property that holds it.
    pub source: String,
}

/// A key that signs, with the names of its certificate.
#[derive(Debug)]
pub(super) struct Signer {
    pub(super) key: RsaKeyPair,
    /// The thumbprint that the algorithm's header field wants: SHA-256 for PS256, SHA-1 for RS256.
    pub(super) thumbprint: Vec<u8>,
    /// The certificate and its issuers, in DER.
    pub(super) chain: Vec<Vec<u8>>,
    pub(super) report: CertificateReport,
}

/// Reads the certificate of `connection` as a token request at `now` would. `None` when it has none. Blocking.
///
/// # Errors
/// [`CertificateError`], a sentence that names the place and the remedy.
pub fn inspect(
    connection: &Connection,
    now: Timestamp,
) -> Result<Option<CertificateReport>, CertificateError> {
    match &connection.auth.credential {
        ClientCredential::Certificate(certificate) => Ok(Some(load(certificate, now)?.report)),
        _ => Ok(None),
    }
}

/// Reads everything that `wanted` names and picks the pair that signs. Blocking.
pub(super) fn load(wanted: &ClientCertificate, now: Timestamp) -> Result<Signer, CertificateError> {
    let password = wanted.password.as_ref().map_or("", |password| password.expose().as_str());
    let mut material = source::read("OAuthJWTCert", Some(wanted.kind), &wanted.source, password)?;
    if let Some(certificate) = &wanted.certificate {
        let more = source::read("OAuthJWTCertificate", None, certificate, password)?;
        material.certificates.extend(more.certificates);
    }
    if let Some(key) = &wanted.key {
        material.append(source::read("OAuthJWTKey", None, key, password)?);
    }
    pick(wanted, material, now)
}

fn pick(
    wanted: &ClientCertificate,
    mut material: Material,
    now: Timestamp,
) -> Result<Signer, CertificateError> {
    let place = place(wanted);
    if material.keys.is_empty() {
        let missing = no_key(wanted.kind, &place, &material);
        return Err(material.refused_key.unwrap_or(missing));
    }
    if material.certificates.is_empty() {
        return bare_key(wanted, material, place);
    }
    let pairs: Vec<(usize, usize)> = (0..material.certificates.len())
        .filter_map(|at| {
            let certificate = &material.certificates[at];
            let key = material.keys.iter().position(|key| certificate.belongs_to(key))?;
            Some((at, key))
        })
        .collect();
    if pairs.is_empty() {
        return Err(CertificateError::Mismatch(format!(
            "{place}: no certificate belongs to the private key. Put the key and its own certificate together."
        )));
    }
    let (at, key) = best(wanted, &material.certificates, &pairs, now, &place)?;
    let leaf = material.certificates[at].clone();
    let chain = chain(&leaf, &material.certificates);
    let report = CertificateReport {
        subject: Some(leaf.subject_text()),
        thumbprint: hex(&leaf.sha256()),
        not_before: Some(leaf.not_before),
        not_after: Some(leaf.not_after),
        source: place,
    };
    let thumbprint = match wanted.algorithm {
        AssertionAlgorithm::Ps256 => leaf.sha256(),
        AssertionAlgorithm::Rs256 => leaf.sha1(),
    };
    Ok(Signer { key: material.keys.swap_remove(key), thumbprint, chain, report })
}

/// The first pair with the wanted subject and thumbprint, one that is valid now before one that is not: while a
/// certificate is renewed, the old one and the new one stand side by side.
fn best(
    wanted: &ClientCertificate,
    certificates: &[Certificate],
    pairs: &[(usize, usize)],
    now: Timestamp,
    place: &str,
) -> Result<(usize, usize), CertificateError> {
    let mut ranked: Vec<_> = pairs
        .iter()
        .filter_map(|pair| Some((subject::matches(&certificates[pair.0].subject, &wanted.subject)?, *pair)))
        .collect();
    let rank = ranked.iter().map(|(rank, _)| *rank).min();
    ranked.retain(|(found, _)| Some(*found) == rank);
    if ranked.is_empty() {
        let subjects: Vec<_> =
            pairs.iter().take(5).map(|pair| format!("'{}'", certificates[pair.0].subject_text())).collect();
        return Err(CertificateError::Subject(format!(
            "{place}: no entry has the OAuthJWTCertSubject '{}'. There is {}. Correct OAuthJWTCertSubject, or write * for the first.",
            wanted.subject.escape_debug(),
            subjects.join(", ")
        )));
    }
    if let Some(thumbprint) = &wanted.thumbprint {
        ranked.retain(|(_, pair)| certificates[pair.0].has_thumbprint(thumbprint));
    }
    let Some((_, first)) = ranked.first() else {
        return Err(CertificateError::Mismatch(format!(
            "{place}: the certificate does not have the OAuthJWTCertThumbprint. Correct the thumbprint, or remove it."
        )));
    };
    let problem = |pair: &(usize, usize)| time_problem(&certificates[pair.0], now, place);
    match ranked.iter().find(|(_, pair)| problem(pair).is_none()) {
        Some((_, pair)) => Ok(*pair),
        None => Err(problem(first)
            .unwrap_or_else(|| CertificateError::unusable(place, "no certificate can be used."))),
    }
}

fn time_problem(certificate: &Certificate, now: Timestamp, place: &str) -> Option<CertificateError> {
    let subject = certificate.subject_text();
    if now > certificate.not_after {
        return Some(CertificateError::Expired(format!(
            "{place}: the certificate '{subject}' expired at {}. Put a renewed one in its place and upload it to the app registration.",
            certificate.not_after
        )));
    }
    (now < certificate.not_before).then(|| {
        CertificateError::NotYetValid(format!(
            "{place}: the certificate '{subject}' is not valid before {}. Check this machine's clock, or wait.",
            certificate.not_before
        ))
    })
}

/// The certificate and whoever issued it, as far as they are there, without a self-signed root's repetition.
fn chain(leaf: &Certificate, certificates: &[Certificate]) -> Vec<Vec<u8>> {
    const LONGEST: usize = 8;
    let mut chain = vec![leaf.der.clone()];
    let mut last = leaf;
    while let Some(issuer) = certificates.iter().find(|other| last.is_issued_by(other)) {
        if chain.len() == LONGEST || chain.contains(&issuer.der) {
            break;
        }
        chain.push(issuer.der.clone());
        last = issuer;
    }
    chain
}

fn no_key(kind: CertificateKind, place: &str, material: &Material) -> CertificateError {
    use CertificateKind as Kind;
    let name = kind.as_str();
    let also = if material.certificates.is_empty() {
        " and OAuthJWTCertificate or OAuthJWTCertThumbprint"
    } else {
        ""
    };
    CertificateError::Incomplete(match kind {
        Kind::SshPublicKeyFile | Kind::SshPublicKeyBlob => format!(
            "{place}: OAuthJWTCertType {name} holds neither a private key nor a certificate. Add OAuthJWTKey{also}, or use a type that holds both, such as PFXFILE."
        ),
        Kind::PublicKeyFile | Kind::PublicKeyBlob | Kind::P7bFile => format!(
            "{place}: OAuthJWTCertType {name} holds no private key. Add OAuthJWTKey{also}, or use a type that holds both, such as PFXFILE."
        ),
        _ => format!("{place}: there is no private key in it. Add OAuthJWTKey{also}."),
    })
}

/// A key without a certificate can be named by a given thumbprint.
fn bare_key(
    wanted: &ClientCertificate,
    mut material: Material,
    place: String,
) -> Result<Signer, CertificateError> {
    let Some(thumbprint) = &wanted.thumbprint else {
        return Err(CertificateError::Incomplete(format!(
            "{place}: there is a private key but no certificate, whose thumbprint Microsoft Entra wants. Add OAuthJWTCertificate or OAuthJWTCertThumbprint."
        )));
    };
    let (digits, name, other) = match wanted.algorithm {
        AssertionAlgorithm::Ps256 => (64, "PS256", "SHA-256"),
        AssertionAlgorithm::Rs256 => (40, "RS256", "SHA-1"),
    };
    if thumbprint.len() != digits {
        return Err(CertificateError::Mismatch(format!(
            "{place}: OAuthAssertionAlgorithm {name} names the certificate by its {other} thumbprint of {digits} digits. Correct OAuthJWTCertThumbprint, or add OAuthJWTCertificate."
        )));
    }
    if wanted.send_chain {
        return Err(CertificateError::Incomplete(format!(
            "{place}: OAuthAssertionSendX5c needs the certificate itself. Add OAuthJWTCertificate."
        )));
    }
    let bytes = traditional::from_hex(thumbprint).unwrap_or_default();
    let report = CertificateReport {
        subject: None,
        thumbprint: thumbprint.clone(),
        not_before: None,
        not_after: None,
        source: place,
    };
    Ok(Signer { key: material.keys.swap_remove(0), thumbprint: bytes, chain: Vec::new(), report })
}

/// The file or folder, or the property's name.
fn place(wanted: &ClientCertificate) -> String {
    match &wanted.source {
        CertificateSource::File(path) | CertificateSource::Folder(path) => path.display().to_string(),
        CertificateSource::Contents(_) => "OAuthJWTCert".to_owned(),
    }
}
