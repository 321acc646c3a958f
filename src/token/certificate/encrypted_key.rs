//! Encrypted PKCS#8 keys (RFC 5958, PBES2 of RFC 8018; older ones go to `pbes1`). Never derives a key with a cost that would take the machine down.

use pkcs8::EncryptedPrivateKeyInfoRef;
use pkcs8::pkcs5::EncryptionScheme;
use pkcs8::pkcs5::pbes2::Kdf;
use zeroize::Zeroizing;

use super::error::CertificateError;
use super::material::KeyBytes;
use super::pbes1;

/// The largest scrypt memory cost: 2^20 blocks are 1 GiB, and openssl writes 2^14.
const LARGEST_SCRYPT_COST: u64 = 1 << 20;
/// The most PBKDF2 rounds: a few seconds.
const MOST_ROUNDS: u32 = 10_000_000;

/// The key in PKCS#8, in the clear.
pub(super) fn decrypt(place: &str, bytes: &[u8], password: &str) -> Result<KeyBytes, CertificateError> {
    let unsupported = || {
        CertificateError::unusable(
            place,
            "the private key is encrypted in a way that is not supported. Convert it with: openssl pkcs8 -topk8 -v2 aes-256-cbc.",
        )
    };
    if let Some(old) = pbes1::decrypt(place, bytes, password) {
        return old;
    }
    let info = EncryptedPrivateKeyInfoRef::try_from(bytes).map_err(|_| unsupported())?;
    let EncryptionScheme::Pbes2(parameters) = &info.encryption_algorithm else { return Err(unsupported()) };
    let bearable = match &parameters.kdf {
        Kdf::Pbkdf2(parameters) => parameters.iteration_count <= MOST_ROUNDS,
        Kdf::Scrypt(parameters) => {
            parameters.cost_parameter <= LARGEST_SCRYPT_COST
                && parameters.block_size <= 16
                && parameters.parallelization <= 16
        }
        _ => false,
    };
    if !bearable {
        return Err(unsupported());
    }
    let key = info.decrypt(password).map_err(|_| CertificateError::password(place))?;
    Ok(Zeroizing::new(key.as_bytes().to_vec()))
}
