//! Secrets in memory: a value that cannot be printed, serialised or compared in variable time.
//! Never writes, sends or logs the value; only `expose` hands it out, so that every use can be found by name.

use std::fmt;

use aws_lc_rs::{constant_time, digest};
use zeroize::Zeroize;

/// A secret value. `Debug` prints `[secret]`, there is no `Display` and no `Serialize`, and it is wiped when dropped.
#[derive(Clone, Default)]
pub struct Secret<T: Zeroize = String>(T);

impl<T: Zeroize> Secret<T> {
    /// Takes a value into protection.
    pub fn new(value: T) -> Self {
        Self(value)
    }

    /// The value itself. Every call is a place where a secret leaves protection: keep them few.
    pub fn expose(&self) -> &T {
        &self.0
    }
}

impl Secret<String> {
    /// The first 12 hex digits of the value's SHA-256: enough to tell two secrets apart in a log, useless to an attacker.
    pub fn fingerprint(&self) -> String {
        fingerprint(self.0.as_bytes())
    }

    /// Whether the secret is the empty string, which operators use to mean "not given".
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// The first 12 hex digits of the SHA-256 of `bytes`.
pub fn fingerprint(bytes: &[u8]) -> String {
    hex(&digest::digest(&digest::SHA256, bytes).as_ref()[..6])
}

/// Lower-case hexadecimal.
pub fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write;
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
        let _infallible = write!(text, "{byte:02x}");
        text
    })
}

/// `count` random bytes from the operating system's generator, as lower-case hexadecimal.
pub fn random_hex(count: usize) -> String {
    hex(&random_bytes(count))
}

/// `count` random bytes.
pub fn random_bytes(count: usize) -> Vec<u8> {
    let mut bytes = vec![0u8; count];
    aws_lc_rs::rand::fill(&mut bytes)
        .expect("the operating system's random generator answers once the machine has booted");
    bytes
}

impl<T: Zeroize> Drop for Secret<T> {
    fn drop(&mut self) {
        self.0.zeroize();
    }
}

impl<T: Zeroize> fmt::Debug for Secret<T> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("[secret]")
    }
}

/// Constant time in the contents (the lengths may differ at once), so that a guess cannot be refined by timing.
impl PartialEq for Secret<String> {
    fn eq(&self, other: &Self) -> bool {
        constant_time::verify_slices_are_equal(self.0.as_bytes(), other.0.as_bytes()).is_ok()
    }
}

impl Eq for Secret<String> {}

impl From<String> for Secret<String> {
    fn from(value: String) -> Self {
        Self(value)
    }
}

impl From<&str> for Secret<String> {
    fn from(value: &str) -> Self {
        Self(value.to_owned())
    }
}

/// A core dump would hold every token in the clear, so none is written, whatever the shell or the unit allows. Called
/// once, before any secret is read.
pub fn forbid_core_dumps() {
    let none = rustix::process::Rlimit { current: Some(0), maximum: Some(0) };
    let _lowering_a_limit_is_always_allowed =
        rustix::process::setrlimit(rustix::process::Resource::Core, none);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn debug_never_shows_the_value() {
        let secret = Secret::from("hunter2");
        assert_eq!(format!("{secret:?} {:?}", Some(&secret)), "[secret] Some([secret])");
    }

    #[test]
    fn fingerprints_tell_secrets_apart() {
        assert_eq!(Secret::from("a").fingerprint(), "ca978112ca1b");
        assert_ne!(Secret::from("a").fingerprint(), Secret::from("b").fingerprint());
        assert_eq!(Secret::from("x"), Secret::from("x"));
        assert_ne!(Secret::from("x"), Secret::from("xy"));
    }
}
