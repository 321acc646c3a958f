//! Java key stores (JKS): the container of the Java runtime before PKCS#12 became its default. JCEKS, its sibling with
//! another cipher, is told apart and refused. Nothing publishes the format but the runtime's own source
//! (sun.security.provider.JavaKeyStore and KeyProtector).

use aws_lc_rs::constant_time::verify_slices_are_equal;
use aws_lc_rs::digest::{Context, SHA1_FOR_LEGACY_USE_ONLY};
use zeroize::Zeroizing;

use super::der::{OCTET_STRING, Reader, SEQUENCE};
use super::error::CertificateError;
use super::material::{KeyBytes, Material};

pub(super) const MAGIC: [u8; 4] = [0xfe, 0xed, 0xfe, 0xed];
pub(super) const JCEKS_MAGIC: [u8; 4] = [0xce, 0xce, 0xce, 0xce];
const DIGEST_LENGTH: usize = 20;

/// Keys and certificates of a store whose keys have the store's own password.
pub(super) fn read(place: &str, bytes: &[u8], password: &str) -> Result<Material, CertificateError> {
    let damaged = || CertificateError::unusable(place, "the Java key store is damaged. Export it again.");
    if bytes.starts_with(&JCEKS_MAGIC) {
        return Err(CertificateError::unusable(
            place,
            "it is a JCEKS key store, which is not supported. Convert it with: keytool -importkeystore -deststoretype PKCS12.",
        ));
    }
    let at = bytes.len().checked_sub(DIGEST_LENGTH).ok_or_else(damaged)?;
    let (body, checksum) = bytes.split_at(at);
    let password = utf16(password);
    let mut context = Context::new(&SHA1_FOR_LEGACY_USE_ONLY);
    context.update(&password);
    // The runtime mixes this in as it is.
    context.update(b"Mighty Aphrodite");
    context.update(body);
    if verify_slices_are_equal(context.finish().as_ref(), checksum).is_err() {
        return Err(CertificateError::password(place));
    }
    let entries = entries(body).ok_or_else(damaged)?;
    let mut material = Material::default();
    for protected in entries.keys {
        let key = unprotect(protected, &password).ok_or_else(|| {
            CertificateError::Password(format!(
                "{place}: a key has another password than the store. Give both the same with: keytool -keypasswd."
            ))
        })?;
        material.add_pkcs8(place, &key);
    }
    for certificate in entries.certificates {
        material.add_certificate(place, certificate)?;
    }
    Ok(material)
}

/// Java hashes a password as big-endian UTF-16.
fn utf16(password: &str) -> Zeroizing<Vec<u8>> {
    Zeroizing::new(password.encode_utf16().flat_map(u16::to_be_bytes).collect())
}

#[derive(Default)]
struct Entries<'a> {
    keys: Vec<&'a [u8]>,
    certificates: Vec<&'a [u8]>,
}

fn entries(body: &[u8]) -> Option<Entries<'_>> {
    const KEY: u32 = 1;
    const CERTIFICATE: u32 = 2;
    let mut fields = Fields(body);
    (fields.take(4)? == MAGIC).then_some(())?;
    let version = fields.number()?;
    (1..=2).contains(&version).then_some(())?;
    let mut entries = Entries::default();
    for _ in 0..fields.number()? {
        let kind = fields.number()?;
        let _alias = fields.text()?;
        let _made_at = fields.take(8)?;
        match kind {
            KEY => {
                entries.keys.push(fields.block()?);
                for _ in 0..fields.number()? {
                    entries.certificates.push(fields.certificate(version)?);
                }
            }
            CERTIFICATE => entries.certificates.push(fields.certificate(version)?),
            _ => return None,
        }
    }
    Some(entries)
}

/// Java's DataInput, as far as it is used here.
struct Fields<'a>(&'a [u8]);

impl<'a> Fields<'a> {
    fn take(&mut self, count: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(count)?;
        self.0 = rest;
        Some(taken)
    }

    fn number(&mut self) -> Option<u32> {
        Some(u32::from_be_bytes(self.take(4)?.try_into().ok()?))
    }

    fn text(&mut self) -> Option<&'a [u8]> {
        let length = u16::from_be_bytes(self.take(2)?.try_into().ok()?);
        self.take(usize::from(length))
    }

    fn block(&mut self) -> Option<&'a [u8]> {
        let length = usize::try_from(self.number()?).ok()?;
        self.take(length)
    }

    fn certificate(&mut self, version: u32) -> Option<&'a [u8]> {
        if version == 2 {
            let _kind = self.text()?;
        }
        self.block()
    }
}

/// The key, out of its EncryptedPrivateKeyInfo: salt, the key XORed with a chain of hashes, and a checksum.
fn unprotect(protected: &[u8], password: &[u8]) -> Option<KeyBytes> {
    let mut info = Reader::new(protected).enter(SEQUENCE)?;
    info.expect(SEQUENCE)?;
    let data = info.expect(OCTET_STRING)?;
    let (salt, rest) = data.split_at_checked(DIGEST_LENGTH)?;
    let (hidden, checksum) = rest.split_at_checked(rest.len().checked_sub(DIGEST_LENGTH)?)?;
    let hash = |second: &[u8]| {
        let mut context = Context::new(&SHA1_FOR_LEGACY_USE_ONLY);
        context.update(password);
        context.update(second);
        Zeroizing::new(context.finish().as_ref().to_vec())
    };
    let mut key = Zeroizing::new(hidden.to_vec());
    let mut pad = Zeroizing::new(salt.to_vec());
    for block in key.chunks_mut(DIGEST_LENGTH) {
        pad = hash(&pad);
        block.iter_mut().zip(pad.iter()).for_each(|(byte, mask)| *byte ^= mask);
    }
    verify_slices_are_equal(&hash(&key), checksum).ok()?;
    Some(key)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn any_store_is_read_without_a_panic(bytes in proptest::collection::vec(any::<u8>(), 0..128)) {
            let mut store = [&MAGIC[..], &[0, 0, 0, 2]].concat();
            store.extend(bytes);
            let _read = (entries(&store).is_some(), read("x", &store, "").is_ok(), unprotect(&store, b"").is_some());
        }
    }
}
