//! Digests of contents on their way: the three that drives tell of their files (Graph, resource type `hashes`). Never
//! holds a content.

use aws_lc_rs::digest::{Context, SHA1_FOR_LEGACY_USE_ONLY, SHA256};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;

use crate::secret::hex;

/// Bytes after which quickXorHash begins again at the same bit: 11 bits a byte, 160 bits in all.
const TURN: usize = 160;
const WORDS: usize = TURN / 8;

/// A digest that the service has told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum KnownDigest {
    /// SHA-256 in hexadecimal.
    Sha256(String),
    /// SHA-1 in hexadecimal.
    Sha1(String),
    /// Microsoft's quickXorHash in base64: made to find damage, not malice.
    QuickXor(String),
}

impl KnownDigest {
    /// The best digest of a `hashes` object (`driveItem.file.hashes`), if it holds one that is understood.
    pub fn of_hashes(hashes: &Value) -> Option<Self> {
        let text = |name: &str| {
            hashes.get(name).and_then(Value::as_str).filter(|text| !text.is_empty()).map(str::to_owned)
        };
        text("sha256Hash")
            .map(Self::Sha256)
            .or_else(|| text("sha1Hash").map(Self::Sha1))
            .or_else(|| text("quickXorHash").map(Self::QuickXor))
    }

    /// The name of its kind, as Graph calls it.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Sha256(_) => "sha256Hash",
            Self::Sha1(_) => "sha1Hash",
            Self::QuickXor(_) => "quickXorHash",
        }
    }
}

/// All three digests of bytes that are added one after the other: which one the service will tell is known only at the
/// end of an upload.
#[derive(Clone)]
pub struct Digests {
    sha256: Context,
    sha1: Context,
    quick_xor: QuickXor,
}

impl Default for Digests {
    fn default() -> Self {
        Self {
            sha256: Context::new(&SHA256),
            sha1: Context::new(&SHA1_FOR_LEGACY_USE_ONLY),
            quick_xor: QuickXor::default(),
        }
    }
}

impl std::fmt::Debug for Digests {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Digests").field("bytes", &self.quick_xor.length).finish_non_exhaustive()
    }
}

impl Digests {
    /// Adds bytes.
    pub fn update(&mut self, bytes: &[u8]) {
        self.sha256.update(bytes);
        self.sha1.update(bytes);
        self.quick_xor.update(bytes);
    }

    /// Whether what was added has that digest.
    pub fn agree(&self, known: &KnownDigest) -> bool {
        match known {
            KnownDigest::Sha256(told) => {
                hex(self.sha256.clone().finish().as_ref()).eq_ignore_ascii_case(told)
            }
            KnownDigest::Sha1(told) => hex(self.sha1.clone().finish().as_ref()).eq_ignore_ascii_case(told),
            KnownDigest::QuickXor(told) => STANDARD.encode(self.quick_xor.finish()) == *told,
        }
    }
}

/// quickXorHash (Microsoft, "Code Snippets: QuickXorHash Algorithm"): every byte is XORed into a ring of 160 bits, 11 bits
/// further than the one before it; the length is XORed into the last 64 bits. The ring comes round after 160 bytes, so
/// bytes that meet at the same place are gathered by words first and turned at the end.
#[derive(Clone)]
struct QuickXor {
    whole: [u64; WORDS],
    single: [u8; TURN],
    length: u64,
}

impl Default for QuickXor {
    fn default() -> Self {
        Self { whole: [0; WORDS], single: [0; TURN], length: 0 }
    }
}

impl QuickXor {
    fn update(&mut self, mut bytes: &[u8]) {
        let at = (self.length % TURN as u64) as usize;
        self.length = self.length.wrapping_add(bytes.len() as u64);
        if at > 0 {
            let (first, rest) = bytes.split_at(bytes.len().min(TURN - at));
            self.add_single(at, first);
            bytes = rest;
        }
        let turns = bytes.chunks_exact(TURN);
        self.add_single(0, turns.remainder());
        for turn in turns {
            let (words, _) = turn.as_chunks::<8>();
            for (sum, word) in self.whole.iter_mut().zip(words) {
                *sum ^= u64::from_ne_bytes(*word);
            }
        }
    }

    fn add_single(&mut self, at: usize, bytes: &[u8]) {
        for (sum, byte) in self.single[at..].iter_mut().zip(bytes) {
            *sum ^= byte;
        }
    }

    fn finish(&self) -> [u8; 20] {
        let whole = self.whole.iter().flat_map(|word| word.to_ne_bytes());
        let mut ring = [0u8; 20];
        for (place, (single, whole)) in self.single.iter().zip(whole).enumerate() {
            let bit = place * 11 % 160;
            let spread = u16::from(single ^ whole) << (bit % 8);
            let [low, high] = spread.to_le_bytes();
            ring[bit / 8] ^= low;
            ring[(bit / 8 + 1) % 20] ^= high;
        }
        for (sum, byte) in ring[12..].iter_mut().zip(self.length.to_le_bytes()) {
            *sum ^= byte;
        }
        ring
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn digests(pieces: &[&[u8]]) -> Digests {
        let mut digests = Digests::default();
        pieces.iter().for_each(|piece| digests.update(piece));
        digests
    }

    /// Bit by bit, as the algorithm is told.
    fn by_bits(bytes: &[u8]) -> [u8; 20] {
        let mut ring = [false; 160];
        for (place, byte) in bytes.iter().enumerate() {
            for bit in 0..8 {
                ring[(place * 11 + bit) % 160] ^= byte >> bit & 1 == 1;
            }
        }
        for bit in 0..64 {
            ring[96 + bit] ^= (bytes.len() as u64) >> bit & 1 == 1;
        }
        let mut out = [0; 20];
        for (place, set) in ring.iter().enumerate() {
            out[place / 8] |= u8::from(*set) << (place % 8);
        }
        out
    }

    #[test]
    fn known_digests() {
        // The first rows can be made by hand: the byte, the second 11 bits further, and the length in byte 12.
        for (bytes, quick_xor) in [
            (&b""[..], "AAAAAAAAAAAAAAAAAAAAAAAAAAA="),
            (b"\x4a", "SgAAAAAAAAAAAAAAAQAAAAAAAAA="),
            (b"\xb5\xb4", "taAFAAAAAAAAAAAAAgAAAAAAAAA="),
        ] {
            assert!(digests(&[bytes]).agree(&KnownDigest::QuickXor(quick_xor.to_owned())), "{bytes:?}");
        }
        // FIPS 180-4's own example.
        let abc = digests(&[b"a", b"bc"]);
        assert!(abc.agree(&KnownDigest::Sha1("A9993E364706816ABA3E25717850C26C9CD0D89D".to_owned())));
        let sha256 = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        assert!(abc.agree(&KnownDigest::Sha256(sha256.to_owned())));
        assert!(!abc.agree(&KnownDigest::QuickXor("AAAAAAAAAAAAAAAAAAAAAAAAAAA=".to_owned())));
    }

    #[test]
    fn the_strongest_digest_told_is_taken() {
        for (hashes, kind) in [
            (json!({"quickXorHash": "q", "sha1Hash": "s", "sha256Hash": "t"}), Some("sha256Hash")),
            (json!({"quickXorHash": "q", "sha1Hash": "s"}), Some("sha1Hash")),
            (json!({"quickXorHash": "q", "sha1Hash": null}), Some("quickXorHash")),
            (json!({"crc32Hash": "c", "quickXorHash": ""}), None),
            (json!(null), None),
        ] {
            assert_eq!(KnownDigest::of_hashes(&hashes).map(|known| known.kind()), kind, "{hashes}");
        }
    }

    proptest::proptest! {
        #[test]
        fn pieces_make_no_difference(
            bytes in proptest::collection::vec(proptest::prelude::any::<u8>(), 0..2000),
            cuts in proptest::collection::vec(0usize..2000, 0..6),
        ) {
            let mut cuts: Vec<usize> = cuts.into_iter().map(|cut| cut.min(bytes.len())).collect();
            cuts.sort_unstable();
            let mut quick_xor = QuickXor::default();
            let mut from = 0;
            for cut in cuts.into_iter().chain([bytes.len()]) {
                quick_xor.update(&bytes[from..cut]);
                from = cut;
            }
            proptest::prop_assert_eq!(quick_xor.finish(), by_bits(&bytes));
        }
    }
}
