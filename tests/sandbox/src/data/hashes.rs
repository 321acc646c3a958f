//! The hashes that the service tells of a file: QuickXorHash for work and school accounts, SHA-1 and SHA-256 for
//! personal ones (hashes resource type).
//! Never holds the bytes it was given.

use super::content::Content;
use aws_lc_rs::digest::{Context, SHA1_FOR_LEGACY_USE_ONLY, SHA256};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use std::io;

/// QuickXorHash rotates by 11 bits a byte in a register of 160 bits, so it comes back to the start after 160 bytes.
const WIDTH: usize = 160;
const SHIFT: usize = 11;
const PIECE: usize = 1 << 20;

/// The `hashes` member of a file.
pub(crate) fn hashes(content: &Content, personal: bool) -> io::Result<Value> {
    let mut quick = QuickXor::default();
    let mut sha1 = Context::new(&SHA1_FOR_LEGACY_USE_ONLY);
    let mut sha256 = Context::new(&SHA256);
    let mut offset = 0;
    while offset < content.length() {
        let piece = content.read(offset, PIECE)?;
        quick.update(&piece);
        if personal {
            sha1.update(&piece);
            sha256.update(&piece);
        }
        offset += piece.len() as u64;
    }
    if !personal {
        return Ok(json!({"quickXorHash": STANDARD.encode(quick.finish())}));
    }
    let upper = |bytes: &[u8]| bytes.iter().map(|byte| format!("{byte:02X}")).collect::<String>();
    Ok(json!({
        "quickXorHash": STANDARD.encode(quick.finish()),
        "sha1Hash": upper(sha1.finish().as_ref()),
        "sha256Hash": upper(sha256.finish().as_ref()),
    }))
}

/// QuickXorHash, from its published description.
struct QuickXor {
    folded: [u8; WIDTH],
    length: u64,
}

impl Default for QuickXor {
    fn default() -> Self {
        Self { folded: [0; WIDTH], length: 0 }
    }
}

impl QuickXor {
    fn update(&mut self, bytes: &[u8]) {
        let start = (self.length % WIDTH as u64) as usize;
        let (head, rest) = bytes.split_at(bytes.len().min((WIDTH - start) % WIDTH));
        for (place, byte) in self.folded[start..].iter_mut().zip(head) {
            *place ^= byte;
        }
        for row in rest.chunks(WIDTH) {
            for (place, byte) in self.folded.iter_mut().zip(row) {
                *place ^= byte;
            }
        }
        self.length += bytes.len() as u64;
    }

    fn finish(&self) -> [u8; 20] {
        let mut register = [0_u8; WIDTH / 8];
        for (index, byte) in self.folded.iter().enumerate() {
            for bit in 0..8 {
                let place = (index * SHIFT + bit) % WIDTH;
                register[place / 8] ^= ((byte >> bit) & 1) << (place % 8);
            }
        }
        for (place, byte) in register[12..].iter_mut().zip(self.length.to_le_bytes()) {
            *place ^= byte;
        }
        register
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;

    #[test]
    fn quick_xor_hashes_are_the_published_ones() {
        let known = [
            (&[][..], "AAAAAAAAAAAAAAAAAAAAAAAAAAA="),
            (&[0x4A][..], "SgAAAAAAAAAAAAAAAQAAAAAAAAA="),
            (&[0xB5, 0xB4][..], "taAFAAAAAAAAAAAAAgAAAAAAAAA="),
        ];
        for (bytes, expected) in known {
            let content = Content::Memory(Bytes::copy_from_slice(bytes));
            assert_eq!(hashes(&content, false).unwrap()["quickXorHash"], expected);
        }
    }

    #[test]
    fn pieces_do_not_matter() {
        let bytes: Vec<u8> = (0..1000_u32).map(|number| (number * 7) as u8).collect();
        let mut whole = QuickXor::default();
        whole.update(&bytes);
        let mut pieces = QuickXor::default();
        for piece in bytes.chunks(37) {
            pieces.update(piece);
        }
        assert_eq!(whole.finish(), pieces.finish());
    }
}
