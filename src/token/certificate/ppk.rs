//! PuTTY private keys, versions 2 and 3, encrypted or not ("PuTTY user manual", appendix C). Holds no certificate.

use aes::cipher::KeyIvInit;
use argon2::{Algorithm, Argon2, Params, Version};
use aws_lc_rs::digest::{SHA1_FOR_LEGACY_USE_ONLY, digest};
use aws_lc_rs::hmac;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use zeroize::Zeroizing;

use super::der::RsaNumbers;
use super::error::CertificateError;
use super::material::{KeyBytes, Material};
use super::traditional::{decrypt_with, from_hex};

/// What a file may ask Argon2 for: PuTTY writes 8 MiB and a tenth of a second.
const MOST_MEMORY_KIB: u32 = 512 * 1024;
const MOST_PASSES: u32 = 1000;

/// A key file as written.
struct KeyFile<'a> {
    version: u8,
    algorithm: &'a str,
    encryption: &'a str,
    comment: &'a str,
    public: Vec<u8>,
    private: KeyBytes,
    derivation: Option<Derivation<'a>>,
    mac: Vec<u8>,
}

struct Derivation<'a> {
    name: &'a str,
    memory: u32,
    passes: u32,
    parallelism: u32,
    salt: Vec<u8>,
}

/// Cipher key, initial vector and MAC key.
struct Keys {
    cipher: Zeroizing<Vec<u8>>,
    vector: Zeroizing<Vec<u8>>,
    mac: Zeroizing<Vec<u8>>,
}

/// The key in the file.
pub(super) fn read(place: &str, text: &str, password: &str) -> Result<Material, CertificateError> {
    let damaged =
        || CertificateError::unusable(place, "the PuTTY key file is damaged. Save it again with PuTTYgen.");
    let mut file = parse(text).ok_or_else(damaged)?;
    let mut material = Material::default();
    if file.algorithm.starts_with("ecdsa") {
        material.refuse_ec(place);
        return Ok(material);
    }
    if file.algorithm != "ssh-rsa" {
        return Err(CertificateError::unusable(
            place,
            "the PuTTY key is not an RSA key. Microsoft Entra accepts assertions signed with RSA keys only; make an RSA key and certificate.",
        ));
    }
    let encrypted = match file.encryption {
        "none" => false,
        "aes256-cbc" => true,
        _ => return Err(damaged()),
    };
    let keys = keys(&file, encrypted, password).ok_or_else(damaged)?;
    if encrypted {
        let decryptor = cbc::Decryptor::<aes::Aes256>::new_from_slices(&keys.cipher, &keys.vector)
            .map_err(|_| damaged())?;
        decrypt_with(decryptor, &mut file.private).ok_or_else(damaged)?;
    }
    if !has_right_mac(&file, &keys.mac) {
        return Err(if encrypted { CertificateError::password(place) } else { damaged() });
    }
    let key = to_pkcs1(&file).ok_or_else(damaged)?;
    material.add_pkcs1(place, &key);
    Ok(material)
}

fn parse(text: &str) -> Option<KeyFile<'_>> {
    let mut lines = text.lines();
    let mut field = |wanted: &str| {
        let (name, value) = lines.next()?.split_once(": ").unwrap_or(("", ""));
        (name == wanted).then_some(value)
    };
    let (version, algorithm) = match text.as_bytes().get(..22)? {
        b"PuTTY-User-Key-File-2:" => (2, field("PuTTY-User-Key-File-2")?),
        b"PuTTY-User-Key-File-3:" => (3, field("PuTTY-User-Key-File-3")?),
        _ => return None,
    };
    let encryption = field("Encryption")?;
    // An empty comment has no space behind the colon in files that an editor has touched.
    let comment = lines.next()?.strip_prefix("Comment:")?.trim_start();
    let public = block(&mut lines, "Public-Lines")?;
    let derivation = if version == 3 && encryption != "none" { Some(derivation(&mut lines)?) } else { None };
    let private = block(&mut lines, "Private-Lines")?;
    let mac = from_hex(lines.next()?.strip_prefix("Private-MAC: ")?.trim())?;
    Some(KeyFile {
        version,
        algorithm,
        encryption,
        comment,
        public: public.to_vec(),
        private,
        derivation,
        mac,
    })
}

fn block<'a>(lines: &mut impl Iterator<Item = &'a str>, name: &str) -> Option<KeyBytes> {
    let count: usize = lines.next()?.strip_prefix(name)?.strip_prefix(':')?.trim().parse().ok()?;
    let mut text = Zeroizing::new(String::new());
    for _ in 0..count {
        text.push_str(lines.next()?.trim());
    }
    Some(Zeroizing::new(STANDARD.decode(text.as_bytes()).ok()?))
}

fn derivation<'a>(lines: &mut impl Iterator<Item = &'a str>) -> Option<Derivation<'a>> {
    let mut field = |name: &str| lines.next()?.strip_prefix(name)?.strip_prefix(':').map(str::trim);
    Some(Derivation {
        name: field("Key-Derivation")?,
        memory: field("Argon2-Memory")?.parse().ok()?,
        passes: field("Argon2-Passes")?.parse().ok()?,
        parallelism: field("Argon2-Parallelism")?.parse().ok()?,
        salt: from_hex(field("Argon2-Salt")?)?,
    })
}

fn keys(file: &KeyFile<'_>, encrypted: bool, password: &str) -> Option<Keys> {
    let password = if encrypted { password } else { "" };
    if let Some(derivation) = &file.derivation {
        return argon2_keys(derivation, password);
    }
    if file.version == 3 {
        return Some(Keys {
            cipher: Zeroizing::default(),
            vector: Zeroizing::default(),
            mac: Zeroizing::default(),
        });
    }
    let sha1 = |parts: &[&[u8]]| {
        let joined = Zeroizing::new(parts.concat());
        digest(&SHA1_FOR_LEGACY_USE_ONLY, &joined).as_ref().to_vec()
    };
    let password = password.as_bytes();
    let mut cipher = Zeroizing::new(sha1(&[&[0, 0, 0, 0], password]));
    cipher.extend_from_slice(&sha1(&[&[0, 0, 0, 1], password]));
    cipher.truncate(32);
    let mac = Zeroizing::new(sha1(&[b"putty-private-key-file-mac-key", password]));
    Some(Keys { cipher, vector: Zeroizing::new(vec![0; 16]), mac })
}

fn argon2_keys(derivation: &Derivation<'_>, password: &str) -> Option<Keys> {
    let algorithm = match derivation.name {
        "Argon2id" => Algorithm::Argon2id,
        "Argon2i" => Algorithm::Argon2i,
        "Argon2d" => Algorithm::Argon2d,
        _ => return None,
    };
    if derivation.memory > MOST_MEMORY_KIB || derivation.passes > MOST_PASSES {
        return None;
    }
    let parameters =
        Params::new(derivation.memory, derivation.passes, derivation.parallelism, Some(80)).ok()?;
    let mut all = Zeroizing::new(vec![0u8; 80]);
    Argon2::new(algorithm, Version::V0x13, parameters)
        .hash_password_into(password.as_bytes(), &derivation.salt, &mut all)
        .ok()?;
    let part = |from: usize, to: usize| Zeroizing::new(all[from..to].to_vec());
    Some(Keys { cipher: part(0, 32), vector: part(32, 48), mac: part(48, 80) })
}

fn has_right_mac(file: &KeyFile<'_>, key: &[u8]) -> bool {
    let mut data = Zeroizing::new(Vec::new());
    for part in [
        file.algorithm.as_bytes(),
        file.encryption.as_bytes(),
        file.comment.as_bytes(),
        &file.public,
        &file.private,
    ] {
        data.extend_from_slice(&u32::try_from(part.len()).unwrap_or(u32::MAX).to_be_bytes());
        data.extend_from_slice(part);
    }
    let algorithm = if file.version == 2 { hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY } else { hmac::HMAC_SHA256 };
    hmac::verify(&hmac::Key::new(algorithm, key), &data, &file.mac).is_ok()
}

fn to_pkcs1(file: &KeyFile<'_>) -> Option<KeyBytes> {
    let mut public = Strings(&file.public);
    let (_name, public_exponent, modulus) = (public.next()?, public.next()?, public.next()?);
    let mut private = Strings(&file.private);
    let (private_exponent, prime1, prime2, coefficient) =
        (private.next()?, private.next()?, private.next()?, private.next()?);
    RsaNumbers { modulus, public_exponent, private_exponent, prime1, prime2, coefficient }.to_pkcs1()
}

/// Length-prefixed strings (RFC 4251 section 5).
struct Strings<'a>(&'a [u8]);

impl<'a> Iterator for Strings<'a> {
    type Item = &'a [u8];

    fn next(&mut self) -> Option<&'a [u8]> {
        let (length, rest) = self.0.split_at_checked(4)?;
        let length = usize::try_from(u32::from_be_bytes(length.try_into().ok()?)).ok()?;
        let (string, rest) = rest.split_at_checked(length)?;
        self.0 = rest;
        Some(string)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn any_text_is_read_without_a_panic(text in "PuTTY-User-Key-File-[23]: ssh-rsa\nEncryption: none\nComment: (x)?\n[ -~\n]{0,60}") {
            let _read = read("x", &text, "");
        }
    }
}
