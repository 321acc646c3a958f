//! OpenSSL's traditional encrypted PEM ("Proc-Type: 4,ENCRYPTED"): the key of the cipher is derived with MD5 as
//! EVP_BytesToKey does it. Weak, and still written by old tools; reading it is all that is done here.

use aes::cipher::{Array, BlockModeDecrypt, KeyIvInit};
use md5::{Digest, Md5};
use zeroize::Zeroizing;

use super::error::CertificateError;
use super::material::KeyBytes;
use super::pem::Section;

/// The section's key in PKCS#1, decrypted when it is encrypted.
pub(super) fn decrypt(place: &str, section: &Section, password: &str) -> Result<KeyBytes, CertificateError> {
    let Some((_, info)) = section.headers.iter().find(|(name, _)| name == "DEK-Info") else {
        return Ok(section.bytes.clone());
    };
    let unusable = || {
        CertificateError::unusable(
            place,
            "the private key is encrypted in a way that is not supported. Convert it with: openssl pkcs8 -topk8 -v2 aes-256-cbc.",
        )
    };
    let (cipher, vector) = info.split_once(',').ok_or_else(unusable)?;
    let vector = from_hex(vector.trim()).ok_or_else(unusable)?;
    let mut bytes = section.bytes.clone();
    let done = match cipher.trim() {
        "AES-128-CBC" => decrypt_blocks::<cbc::Decryptor<aes::Aes128>>(&mut bytes, password, &vector, 16),
        "AES-192-CBC" => decrypt_blocks::<cbc::Decryptor<aes::Aes192>>(&mut bytes, password, &vector, 24),
        "AES-256-CBC" => decrypt_blocks::<cbc::Decryptor<aes::Aes256>>(&mut bytes, password, &vector, 32),
        "DES-EDE3-CBC" => decrypt_blocks::<cbc::Decryptor<des::TdesEde3>>(&mut bytes, password, &vector, 24),
        _ => return Err(unusable()),
    };
    if done.is_none() || !remove_padding(&mut bytes) {
        return Err(CertificateError::password(place));
    }
    Ok(bytes)
}

/// Cuts the padding off a decrypted key. `false`: the password was wrong, which shows in the padding, or by one in 256 in
/// what is not a sequence.
pub(super) fn remove_padding(bytes: &mut KeyBytes) -> bool {
    let padding = bytes.last().copied().map_or(0, usize::from);
    let is_padded = (1..=16).contains(&padding)
        && bytes.len() > padding
        && bytes[bytes.len() - padding..].iter().all(|byte| usize::from(*byte) == padding);
    if !is_padded || bytes.first() != Some(&super::der::SEQUENCE) {
        return false;
    }
    let length = bytes.len() - padding;
    bytes.truncate(length);
    true
}

/// Decrypts whole blocks in place.
pub(super) fn decrypt_blocks<D: BlockModeDecrypt + KeyIvInit>(
    bytes: &mut [u8],
    password: &str,
    vector: &[u8],
    key_length: usize,
) -> Option<()> {
    let key = derived_key(password, vector.get(..8)?, key_length);
    let decryptor = D::new_from_slices(&key, vector).ok()?;
    decrypt_with(decryptor, bytes)
}

/// Runs a decryptor over `bytes`, whose length must be a multiple of the block's.
pub(super) fn decrypt_with<D: BlockModeDecrypt>(mut decryptor: D, bytes: &mut [u8]) -> Option<()> {
    let (blocks, rest) = Array::slice_as_chunks_mut(bytes);
    if !rest.is_empty() {
        return None;
    }
    decryptor.decrypt_blocks(blocks);
    Some(())
}

fn derived_key(password: &str, salt: &[u8], length: usize) -> Zeroizing<Vec<u8>> {
    let mut key = Zeroizing::new(Vec::with_capacity(length + 16));
    let mut last = Zeroizing::new(Vec::new());
    while key.len() < length {
        let mut hash = Md5::new();
        hash.update(last.as_slice());
        hash.update(password.as_bytes());
        hash.update(salt);
        last = Zeroizing::new(hash.finalize().to_vec());
        key.extend_from_slice(&last);
    }
    key.truncate(length);
    key
}

/// Bytes from hexadecimal text.
pub(super) fn from_hex(text: &str) -> Option<Vec<u8>> {
    if !text.len().is_multiple_of(2) || !text.is_ascii() {
        return None;
    }
    (0..text.len()).step_by(2).map(|at| u8::from_str_radix(&text[at..at + 2], 16).ok()).collect()
}
