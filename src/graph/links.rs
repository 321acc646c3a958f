//! The loop guard: Graph sometimes gives a next link that was already followed, and a client without memory would read
//! for ever. Never keeps a link, only hashes, and not more than a fixed number of them.

use std::collections::HashSet;
use std::hash::{BuildHasher, RandomState};

/// Links remembered exactly: a loop among them is noticed at its first repeat.
const REMEMBERED: usize = 10_000;

/// Remembers the links of one walk. Beyond [`REMEMBERED`] pages a checkpoint moves to every page whose number is a power of
/// two (Brent's way): any loop, however long, comes back to the checkpoint sooner or later.
#[derive(Debug, Default)]
pub(super) struct LinkGuard {
    hasher: RandomState,
    seen: HashSet<u64>,
    checkpoint: u64,
    links: u64,
}

impl LinkGuard {
    /// Takes note of a link. `Err` holds how many links came before, when this one closes a loop.
    pub(super) fn note(&mut self, link: &str) -> Result<(), u64> {
        let hash = self.hasher.hash_one(link);
        if self.seen.contains(&hash) || (self.links > 0 && self.checkpoint == hash) {
            return Err(self.links);
        }
        self.links += 1;
        if self.seen.len() < REMEMBERED {
            self.seen.insert(hash);
        }
        if self.links.is_power_of_two() {
            self.checkpoint = hash;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn loops_are_found_wherever_they_begin() {
        for (lead, length, at_most) in [(0, 1, 1), (3, 4, 7), (0, 9_999, 9_999), (20_000, 30_000, 120_000)] {
            let mut guard = LinkGuard::default();
            let mut page = 0u64;
            let found = (0..200_000u64).find(|_| {
                let link = format!("link {page}");
                page = if page + 1 == lead + length { lead } else { page + 1 };
                guard.note(&link).is_err()
            });
            assert!(found.is_some_and(|found| found <= at_most), "{lead} {length}: {found:?}");
            assert!(guard.seen.len() <= REMEMBERED);
        }
    }

    #[test]
    fn a_long_walk_is_not_a_loop() {
        let mut guard = LinkGuard::default();
        assert!((0..50_000).all(|page| guard.note(&format!("link {page}")).is_ok()));
    }
}
