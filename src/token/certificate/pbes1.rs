//! PKCS#8 keys under the password encryption that openssl wrote by default until 2010 and Windows tools after that:
//! PBES1 of RFC 8018, and the schemes of RFC 7292 appendix C. Weak, and still met; reading it is all that is done here.

use aws_lc_rs::digest::{SHA1_FOR_LEGACY_USE_ONLY, digest};
use cbc::cipher::KeyIvInit;
use md5::{Digest, Md5};
use p12_keystore::Pkcs12Archive;
use p12_keystore::error::Error;
use zeroize::Zeroizing;

use super::der::{CONTEXT_0, INTEGER, OBJECT_ID, OCTET_STRING, Reader, SEQUENCE, element};
use super::error::CertificateError;
use super::material::KeyBytes;
use super::traditional::{decrypt_with, remove_padding};

/// Object identifiers, as their content bytes: `pbeWithMD5AndDES-CBC`, `pbeWithSHA1AndDES-CBC`, the arc of the PKCS#12
/// schemes, `data` of PKCS#7, and the PKCS#12 bag of an encrypted key.
const MD5_AND_DES: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x05, 0x03];
const SHA1_AND_DES: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x05, 0x0a];
const OF_PKCS12: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x0c, 0x01];
const DATA: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x07, 0x01];
const SHROUDED_KEY_BAG: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x0c, 0x0a, 0x01, 0x02];
/// The most hash rounds: a few seconds.
const MOST_ROUNDS: u32 = 10_000_000;

/// The key in PKCS#8, in the clear; `None` when it is encrypted in a newer way, or in none that is read here.
pub(super) fn decrypt(
    place: &str,
    bytes: &[u8],
    password: &str,
) -> Option<Result<KeyBytes, CertificateError>> {
    let mut info = Reader::new(bytes).enter(SEQUENCE)?;
    let mut algorithm = info.enter(SEQUENCE)?;
    let scheme = algorithm.expect(OBJECT_ID)?;
    let wrong = || CertificateError::password(place);
    if scheme.starts_with(OF_PKCS12) {
        return match in_container(bytes, password) {
            Err(Error::UnsupportedEncryptionScheme) => None,
            Ok(Some(key)) => Some(Ok(key)),
            _ => Some(Err(wrong())),
        };
    }
    let hash: fn(&[u8]) -> Zeroizing<Vec<u8>> = match scheme {
        MD5_AND_DES => |bytes| Zeroizing::new(Md5::digest(bytes).to_vec()),
        SHA1_AND_DES => |bytes| Zeroizing::new(digest(&SHA1_FOR_LEGACY_USE_ONLY, bytes).as_ref().to_vec()),
        _ => return None,
    };
    let mut parameters = algorithm.enter(SEQUENCE)?;
    let salt = parameters.expect(OCTET_STRING)?;
    let rounds = parameters.expect(INTEGER)?;
    let rounds =
        rounds.iter().try_fold(0u32, |sum, digit| Some(sum.checked_mul(256)? + u32::from(*digit)))?;
    if !(1..=MOST_ROUNDS).contains(&rounds) {
        return None;
    }
    let mut key = Zeroizing::new(info.expect(OCTET_STRING)?.to_vec());
    // PBKDF1 (RFC 8018 section 5.1): eight bytes of key and eight of initialisation vector.
    let mut derived = hash(&Zeroizing::new([password.as_bytes(), salt].concat()));
    for _ in 1..rounds {
        derived = hash(&derived);
    }
    let decryptor =
        cbc::Decryptor::<des::Des>::new_from_slices(derived.get(..8)?, derived.get(8..16)?).ok()?;
    let opened = decrypt_with(decryptor, &mut key).is_some() && remove_padding(&mut key);
    Some(if opened { Ok(key) } else { Err(wrong()) })
}

/// The PKCS#12 schemes are those of a container's own key bags, so the key is put into a bag of a container without a
/// seal, and read by the reader of containers: one implementation of their key derivation, with its bounds.
fn in_container(bytes: &[u8], password: &str) -> Result<Option<KeyBytes>, Error> {
    let data = |content: &[u8]| {
        let inner = element(CONTEXT_0, &[&element(OCTET_STRING, &[content])]);
        element(SEQUENCE, &[&element(OBJECT_ID, &[DATA]), &inner])
    };
    let bag = element(SEQUENCE, &[&element(OBJECT_ID, &[SHROUDED_KEY_BAG]), &element(CONTEXT_0, &[bytes])]);
    let safe = element(SEQUENCE, &[&data(&element(SEQUENCE, &[&bag]))]);
    let container = element(SEQUENCE, &[&element(INTEGER, &[&[3]]), &data(&safe)]);
    let archive = Pkcs12Archive::from_pkcs12(&container, password)?;
    Ok(archive.keys.first().map(|bag| Zeroizing::new(bag.key.as_der().to_vec())))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn any_bytes_are_read_without_a_panic(
            scheme in prop::sample::select(vec![MD5_AND_DES, SHA1_AND_DES, SHROUDED_KEY_BAG, OF_PKCS12]),
            salt in prop::collection::vec(any::<u8>(), 0..12),
            rounds in prop::collection::vec(any::<u8>(), 0..2),
            sealed in prop::collection::vec(any::<u8>(), 0..40),
            last in 0u8..5,
        ) {
            let mut name = scheme.to_vec();
            if scheme == OF_PKCS12 {
                name.push(last);
            }
            let parameters = element(SEQUENCE, &[&element(OCTET_STRING, &[&salt]), &element(INTEGER, &[&rounds])]);
            let algorithm = element(SEQUENCE, &[&element(OBJECT_ID, &[&name]), &parameters]);
            let whole = element(SEQUENCE, &[&algorithm, &element(OCTET_STRING, &[&sealed])]);
            let _read = decrypt("x", &whole, "password");
        }
    }
}
