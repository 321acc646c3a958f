//! Numbers, GUIDs and opaque strings: repeatable ones from a seed, and fresh ones for tokens.
//! Never cryptographic: nothing here protects anything.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

/// Mixes a seed, a row number and a purpose into 64 well-spread bits.
pub(crate) fn mix(seed: u64, index: u64, purpose: u64) -> u64 {
    let mut bits =
        seed ^ index.wrapping_mul(0x9E37_79B9_7F4A_7C15) ^ purpose.wrapping_mul(0xD1B5_4A32_D192_ED03);
    bits = (bits ^ (bits >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    bits = (bits ^ (bits >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    bits ^ (bits >> 31)
}

/// A seed from a name, so that each mailbox has its own content.
pub(crate) fn seed_of(text: &str) -> u64 {
    text.bytes().fold(0xCBF2_9CE4_8422_2325, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01B3)
    })
}

/// Picks one of a list.
pub(crate) fn pick<'a, T: ?Sized>(choices: &[&'a T], bits: u64) -> &'a T {
    choices[(bits % choices.len() as u64) as usize]
}

/// A GUID in the usual notation (version 4) from two numbers.
pub(crate) fn guid(high: u64, low: u64) -> String {
    format!(
        "{:08x}-{:04x}-4{:03x}-{:04x}-{:012x}",
        (high >> 32) as u32,
        (high >> 16) as u16,
        high & 0xFFF,
        0x8000 | ((low >> 48) & 0x3FFF),
        low & 0xFFFF_FFFF_FFFF
    )
}

/// A source of fresh values; seeded from the clock and the process, so that two sandboxes differ.
#[derive(Debug)]
pub(crate) struct Fresh {
    seed: u64,
    count: u64,
}

impl Fresh {
    /// A new source.
    pub(crate) fn new() -> Self {
        use std::hash::{BuildHasher, Hasher};
        // RandomState is the standard library's own source of per-process randomness.
        let seed = std::collections::hash_map::RandomState::new().build_hasher().finish();
        Self { seed, count: 0 }
    }

    /// The next 64 bits.
    pub(crate) fn number(&mut self) -> u64 {
        self.count += 1;
        mix(self.seed, self.count, 1)
    }

    /// A fresh GUID.
    pub(crate) fn guid(&mut self) -> String {
        guid(self.number(), self.number())
    }

    /// `length` fresh bytes in base64url.
    pub(crate) fn opaque(&mut self, length: usize) -> String {
        let mut bytes = Vec::with_capacity(length + 8);
        while bytes.len() < length {
            bytes.extend_from_slice(&self.number().to_be_bytes());
        }
        bytes.truncate(length);
        URL_SAFE_NO_PAD.encode(bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn guids_have_the_usual_shape() {
        let text = guid(mix(1, 2, 3), mix(4, 5, 6));
        assert_eq!(text.len(), 36);
        assert_eq!(text.split('-').map(str::len).collect::<Vec<_>>(), [8, 4, 4, 4, 12]);
        assert_ne!(Fresh::new().guid(), Fresh::new().guid());
    }
}
