//! PEM text: finds its sections (RFC 7468, and the older form with headers) and puts each where it belongs. Never looks
//! into keys or certificates.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use zeroize::Zeroizing;

use super::error::CertificateError;
use super::material::{KeyBytes, Material};
use super::{encrypted_key, pkcs7, traditional};

/// One `BEGIN`–`END` section.
#[derive(Debug)]
pub(super) struct Section {
    pub(super) label: String,
    /// `Proc-Type` and `DEK-Info` of the traditional format.
    pub(super) headers: Vec<(String, String)>,
    pub(super) bytes: KeyBytes,
}

/// Everything that the sections of `text` hold, in any order.
pub(super) fn read(place: &str, text: &str, password: &str) -> Result<Material, CertificateError> {
    let mut material = Material::default();
    for section in sections(text).ok_or_else(|| {
        CertificateError::unusable(
            place,
            "the PEM text is damaged: a section does not end, or is not base64. Export it again.",
        )
    })? {
        take(&mut material, place, &section, password)?;
    }
    Ok(material)
}

fn take(
    material: &mut Material,
    place: &str,
    section: &Section,
    password: &str,
) -> Result<(), CertificateError> {
    match section.label.as_str() {
        "CERTIFICATE" | "X509 CERTIFICATE" => material.add_certificate(place, &section.bytes)?,
        // OpenSSL appends its own trust settings; the certificate is the first element.
        "TRUSTED CERTIFICATE" => {
            if let Some(element) = super::der::Reader::new(&section.bytes).next() {
                material.add_certificate(place, element.whole)?;
            }
        }
        "PRIVATE KEY" => material.add_pkcs8(place, &section.bytes),
        "ENCRYPTED PRIVATE KEY" => {
            let key = encrypted_key::decrypt(place, &section.bytes, password)?;
            material.add_pkcs8(place, &key);
        }
        "RSA PRIVATE KEY" => {
            let key = traditional::decrypt(place, section, password)?;
            material.add_pkcs1(place, &key);
        }
        "EC PRIVATE KEY" => material.refuse_ec(place),
        "OPENSSH PRIVATE KEY" => {
            material.refused_key = Some(CertificateError::unusable(
                place,
                "the private key is in OpenSSH's own format. Convert a copy of it with: ssh-keygen -p -m PEM -f FILE.",
            ));
        }
        "PKCS7" | "CMS" => material.append(pkcs7::read(place, &section.bytes)?),
        // EC PARAMETERS, DH PARAMETERS, PUBLIC KEY, CERTIFICATE REQUEST: nothing to sign with.
        _ => {}
    }
    Ok(())
}

/// The sections of a PEM text; `None` when one is damaged. Text between them is left alone, as every PEM reader does.
pub(super) fn sections(text: &str) -> Option<Vec<Section>> {
    let mut sections = Vec::new();
    let mut lines = text.lines().map(str::trim);
    while let Some(line) = lines.next() {
        let Some(label) = line.strip_prefix("-----BEGIN ").and_then(|rest| rest.strip_suffix("-----")) else {
            continue;
        };
        let end = format!("-----END {label}-----");
        let mut headers = Vec::new();
        let mut encoded = Zeroizing::new(String::new());
        loop {
            let line = lines.next()?;
            if line == end {
                break;
            }
            match line.split_once(':') {
                Some((name, value)) => headers.push((name.trim().to_owned(), value.trim().to_owned())),
                None => encoded.push_str(line),
            }
        }
        let bytes = Zeroizing::new(STANDARD.decode(encoded.as_bytes()).ok()?);
        sections.push(Section { label: label.to_owned(), headers, bytes });
    }
    Some(sections)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn sections_are_found_with_headers_and_any_line_ends() {
        let text = "Bag Attributes\r\n  x: y\r\n-----BEGIN A B-----\r\nProc-Type: 4,ENCRYPTED\r\n\r\nAQID\r\n-----END A B-----\r\nmore";
        let found = sections(text).unwrap();
        assert_eq!(
            (found.len(), found[0].label.as_str(), found[0].bytes.as_slice()),
            (1, "A B", &[1u8, 2, 3][..])
        );
        assert_eq!(found[0].headers, [("Proc-Type".to_owned(), "4,ENCRYPTED".to_owned())]);
        assert!(sections("-----BEGIN A-----\nAQID\n").is_none());
        assert!(sections("-----BEGIN A-----\n!!\n-----END A-----").is_none());
        assert_eq!(sections("nothing").unwrap().len(), 0);
    }

    proptest! {
        #[test]
        fn any_text_is_read_without_a_panic(text in "(-----BEGIN |-----END |A-----|\n|[ -~]){0,40}") {
            let _read = read("x", &text, "");
        }
    }
}
