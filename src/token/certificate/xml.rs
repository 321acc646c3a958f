//! .NET's XML form of an RSA key (`RSAKeyValue`, W3C XML Signature section 4.4.2.2 plus the private numbers), with
//! `X509Certificate` elements beside it or not. Reads the few elements it knows and resolves nothing.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use zeroize::Zeroizing;

use super::der::RsaNumbers;
use super::error::CertificateError;
use super::material::{KeyBytes, Material};

/// Key and certificates in the text.
pub(super) fn read(place: &str, text: &str) -> Result<Material, CertificateError> {
    let mut material = Material::default();
    let mut from = text;
    while let Some((certificate, rest)) = element(from, "X509Certificate") {
        material.add_certificate(place, &certificate)?;
        from = rest;
    }
    let value = |name: &str| element(text, name).map(|(bytes, _)| bytes);
    let has_key = value("Modulus").is_some();
    if let Some(key) = to_pkcs1(&value) {
        material.add_pkcs1(place, &key);
    } else if !has_key && material.certificates.is_empty() {
        return Err(CertificateError::unusable(
            place,
            "the XML holds no RSAKeyValue. Write the key with RSA.ToXmlString(true).",
        ));
    }
    Ok(material)
}

fn to_pkcs1(value: &impl Fn(&str) -> Option<KeyBytes>) -> Option<KeyBytes> {
    RsaNumbers {
        modulus: &value("Modulus")?,
        public_exponent: &value("Exponent")?,
        private_exponent: &value("D")?,
        prime1: &value("P")?,
        prime2: &value("Q")?,
        coefficient: &value("InverseQ")?,
    }
    .to_pkcs1()
}

/// The base64 inside the first element of that local name, and the text behind it.
fn element<'a>(text: &'a str, wanted: &str) -> Option<(KeyBytes, &'a str)> {
    let mut rest = text;
    loop {
        let (_, after) = rest.split_once('<')?;
        let (tag, inside) = after.split_once('>')?;
        rest = inside;
        let name = tag.split_ascii_whitespace().next().unwrap_or_default();
        if name.rsplit(':').next() != Some(wanted) || tag.starts_with('/') {
            continue;
        }
        let (encoded, rest) = inside.split_once('<')?;
        let encoded: Zeroizing<String> =
            Zeroizing::new(encoded.chars().filter(|one| !one.is_ascii_whitespace()).collect());
        return Some((Zeroizing::new(STANDARD.decode(encoded.as_bytes()).ok()?), rest));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn elements_are_found_by_their_local_name() {
        let text = "<?xml version='1.0'?><a:RSAKeyValue xmlns:a='x'>\n<a:D>AQ\n ID</a:D><DP>AA==</DP></a:RSAKeyValue>";
        assert_eq!(element(text, "D").map(|(bytes, _)| bytes.to_vec()), Some(vec![1, 2, 3]));
        assert!(
            element(text, "P").is_none()
                && element(text, "RSAKeyValue").is_none_or(|(bytes, _)| bytes.is_empty())
        );
        assert!(read("x", text).is_err());
    }

    proptest! {
        #[test]
        fn any_text_is_read_without_a_panic(text in "(<|>|/|D|Modulus|X509Certificate|AQID|[ -~]){0,40}") {
            let _read = read("x", &text);
        }
    }
}
