//! [`RowBatch`]: complete rows as raw JSON, cut out of the bytes they arrived in. Never decodes a row.

use bytes::Bytes;

/// One or more complete rows of an answer, each the raw JSON of one element of `value`. Rows are slices of the piece they
/// arrived in; only a row that came in several pieces was copied, once.
#[derive(Clone, Debug, Default)]
pub struct RowBatch {
    first: Option<Bytes>,
    piece: Bytes,
    ranges: Vec<(u32, u32)>,
}

impl RowBatch {
    pub(super) fn new(first: Option<Bytes>, piece: Bytes, ranges: Vec<(u32, u32)>) -> Self {
        Self { first, piece, ranges }
    }

    /// The rows in their order.
    pub fn rows(&self) -> impl Iterator<Item = &[u8]> {
        let cut = |&(from, to): &(u32, u32)| &self.piece[from as usize..to as usize];
        self.first.iter().map(|row| &row[..]).chain(self.ranges.iter().map(cut))
    }

    /// How many rows there are.
    pub fn len(&self) -> usize {
        usize::from(self.first.is_some()) + self.ranges.len()
    }

    /// Whether there is no row.
    pub fn is_empty(&self) -> bool {
        self.first.is_none() && self.ranges.is_empty()
    }

    /// Takes the first `count` rows away.
    pub(super) fn drop_front(&mut self, count: usize) {
        let mut left = count.min(self.len());
        if left > 0 && self.first.take().is_some() {
            left -= 1;
        }
        self.ranges.drain(..left);
    }
}

/// A digest of the rows that were handed out, to see whether a page that is read again begins the same. It guards
/// against change, not against malice, and runs over every byte of every row: so a multiply and a rotate per word
/// rather than a keyed or cryptographic hash.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct RowsDigest {
    /// How many rows it covers.
    pub(super) rows: usize,
    state: u64,
}

impl RowsDigest {
    /// Adds one row.
    pub(super) fn add(&mut self, row: &[u8]) {
        const MULTIPLIER: u64 = 0x9E37_79B9_7F4A_7C15; // 2⁶⁴ divided by the golden ratio: odd, with well-mixed bits
        let mix = |state: u64, word: u64| (state ^ word).wrapping_mul(MULTIPLIER).rotate_left(29);
        let (words, rest) = row.as_chunks::<8>();
        let mut state = mix(self.state, row.len() as u64);
        for word in words {
            state = mix(state, u64::from_le_bytes(*word));
        }
        let mut last = [0u8; 8];
        last[..rest.len()].copy_from_slice(rest);
        self.state = mix(state, u64::from_le_bytes(last));
        self.rows += 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn batch() -> RowBatch {
        RowBatch::new(Some(Bytes::from_static(b"1")), Bytes::from_static(b"2,3"), vec![(0, 1), (2, 3)])
    }

    #[test]
    fn rows_are_taken_from_the_front() {
        for (count, left) in
            [(0, vec!["1", "2", "3"]), (1, vec!["2", "3"]), (2, vec!["3"]), (3, vec![]), (9, vec![])]
        {
            let mut batch = batch();
            batch.drop_front(count);
            let rows: Vec<_> = batch.rows().map(|row| String::from_utf8_lossy(row).into_owned()).collect();
            assert_eq!(rows, left);
            assert_eq!((batch.len(), batch.is_empty()), (left.len(), left.is_empty()));
        }
    }

    #[test]
    fn digests_tell_rows_apart() {
        let digest = |rows: &[&[u8]]| {
            let mut digest = RowsDigest::default();
            rows.iter().for_each(|row| digest.add(row));
            digest
        };
        let same = digest(&[b"{\"id\":1}", b"{}"]);
        assert_eq!(same, digest(&[b"{\"id\":1}", b"{}"]));
        for other in [
            &[b"{\"id\":2}" as &[u8], b"{}"][..],
            &[b"{}", b"{\"id\":1}"],
            &[b"{\"id\":1}{}"],
            &[b"{\"id\":1}", b"{}\0"],
        ] {
            assert_ne!(same, digest(other));
        }
    }
}
