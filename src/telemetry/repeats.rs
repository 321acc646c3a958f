//! Keeps the log from repeating itself: the same sentence at most once a minute, with the number of times it was left
//! out. For whatever is tried again and again. Never keeps the sentences themselves.

use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use crate::clock::{Clock, Stopwatch};

/// How far apart two equal sentences are.
const APART: Duration = Duration::from_secs(60);
/// How many different sentences are remembered; with more, the oldest may be said again too soon.
const REMEMBERED: usize = 32;

/// What one speaker has said.
#[derive(Debug, Default)]
pub struct Repeats(Mutex<HashMap<u64, Said>>);

#[derive(Debug)]
struct Said {
    at: Stopwatch,
    left_out: u64,
}

impl Repeats {
    /// Whether `sentence` may be said now: `Some` with the number of times it was left out since it was said last.
    pub fn admit(&self, sentence: &str) -> Option<u64> {
        let mut hasher = DefaultHasher::new();
        sentence.hash(&mut hasher);
        let mut said = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let key = hasher.finish();
        if let Some(known) = said.get_mut(&key)
            && known.at.elapsed() < APART
        {
            known.left_out += 1;
            return None;
        }
        if said.len() >= REMEMBERED
            && !said.contains_key(&key)
            && let Some(oldest) = said.iter().max_by_key(|(_, said)| said.at.elapsed()).map(|(key, _)| *key)
        {
            said.remove(&oldest);
        }
        let before = said.insert(key, Said { at: Clock::stopwatch(), left_out: 0 });
        Some(before.map_or(0, |before| before.left_out))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn the_same_sentence_is_said_once_a_minute() {
        let repeats = Repeats::default();
        let mut said = Vec::new();
        for _ in 0..1200 {
            said.extend(repeats.admit("The store is away."));
            tokio::time::advance(Duration::from_millis(100)).await;
        }
        assert_eq!(said, [0, 599]);
        assert_eq!(repeats.admit("Another sentence."), Some(0));
    }

    #[tokio::test]
    async fn many_sentences_cost_no_more_memory() {
        let repeats = Repeats::default();
        for number in 0..1000 {
            assert_eq!(repeats.admit(&number.to_string()), Some(0));
        }
        assert_eq!(repeats.0.lock().map_or(0, |said| said.len()), REMEMBERED);
    }
}
