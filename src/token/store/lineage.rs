//! Where contents come from, and how two contents of one store stand to each other. Every sign-in, import and paste of
//! new tokens begins a lineage; refreshes stay in it. Contents name the lineages they replaced, so that a number alone
//! never decides between two people's tokens. Decides no refresh.
//!
//! Numbers alone were not enough: a store that was removed and signed in anew counts from the beginning, and its second
//! person's tokens looked older than the first one's.

use crate::clock::Timestamp;
use crate::secret;

use super::Stored;

/// How many replaced lineages are remembered. A backup from before that many sign-ins counts as somebody's newer act.
const REMEMBERED: usize = 16;
/// Fingerprints of taken-over seeds stand in the store newest first, with this between them (older stores hold one).
const SEED_SEPARATOR: &str = " ";
/// How many are remembered.
const REMEMBERED_SEEDS: usize = 8;
/// What the lineage of a paste starts with, before the paste's fingerprint.
const OF_SEED: &str = "seed-";
/// What stands between a paste's fingerprint and what tells its taking over again from the one before.
const AGAIN: char = '/';

/// Which sign-in contents come from.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(in crate::token) struct Lineage {
    /// Its name; empty only while nothing was ever kept.
    id: String,
    /// When it began, by the clock of the agent that stored it. It decides only between two people who signed in without
    /// their agents knowing of each other.
    began: Timestamp,
    /// The lineages it replaced, newest first.
    replaced: Vec<String>,
}

impl Lineage {
    /// A new one, which replaces nothing.
    pub(in crate::token) fn begin(began: Timestamp) -> Self {
        Self { id: secret::random_hex(8), began, replaced: Vec::new() }
    }

    /// That of tokens from a drop-in: every agent that takes the same tokens over gives it the same name.
    pub(in crate::token) fn of_seed(fingerprint: &str, began: Timestamp) -> Self {
        Self { id: format!("{OF_SEED}{fingerprint}"), began, replaced: Vec::new() }
    }

    /// That of a paste which comes after `earlier`. Where the same paste came before it, because the operator has emptied
    /// the store to start over, it is another one all the same.
    pub(in crate::token) fn taken_after(self, earlier: &Self) -> Self {
        let again = earlier.id == self.id || earlier.replaces(&self);
        let id = if again { format!("{}{AGAIN}{}", self.id, secret::random_hex(8)) } else { self.id };
        Self { id, began: self.began, replaced: self.replaced }.after(earlier)
    }

    /// As written in a store.
    pub(super) fn from_parts(id: String, began: Timestamp, replaced: Vec<String>) -> Self {
        Self { id, began, replaced: replaced.into_iter().take(REMEMBERED).collect() }
    }

    /// What contents of the first format came from: the tokens that were pasted last, as far as they say. `seeds` are
    /// the remembered fingerprints, newest first.
    pub(super) fn of_first_format(seeds: Option<&str>) -> Self {
        let mut seeds =
            seeds.unwrap_or_default().split(SEED_SEPARATOR).map(|seed| format!("{OF_SEED}{seed}"));
        let id = seeds.next().unwrap_or_default();
        Self { id, began: Timestamp::default(), replaced: seeds.take(REMEMBERED).collect() }
    }

    pub(super) fn id(&self) -> &str {
        &self.id
    }

    pub(super) fn began(&self) -> Timestamp {
        self.began
    }

    pub(super) fn replaced(&self) -> &[String] {
        &self.replaced
    }

    /// The same one, which has also replaced `earlier` and all that `earlier` had replaced.
    #[must_use]
    pub(in crate::token) fn after(mut self, earlier: &Self) -> Self {
        for id in std::iter::once(&earlier.id).chain(&earlier.replaced) {
            if !id.is_empty() && *id != self.id && !self.replaced.contains(id) {
                self.replaced.push(id.clone());
            }
        }
        self.replaced.truncate(REMEMBERED);
        self
    }

    /// Whether it replaced `other`.
    pub(super) fn replaces(&self, other: &Self) -> bool {
        !other.id.is_empty() && self.replaced.contains(&other.id)
    }
}

/// How contents that were found stand to contents that are known.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Order {
    /// The same tokens.
    Same,
    /// They come after the known ones.
    Newer,
    /// They come before the known ones: the store was emptied, or put back to an earlier state.
    Older,
    /// Neither knows of the other: somebody else's act, which is never overwritten.
    Apart,
}

/// The fingerprints of pasted tokens that were taken over, newest first. Older ones are remembered because the drop-in
/// of a sibling on the same store may lag behind: its restart would bring back a sign-in that has been replaced.
pub(in crate::token) fn seeds(newest: Option<&str>, earlier: Option<&str>) -> Option<String> {
    let mut known: Vec<&str> = Vec::new();
    for seed in [newest, earlier].into_iter().flatten().flat_map(|seeds| seeds.split(SEED_SEPARATOR)) {
        if !known.contains(&seed) && known.len() < REMEMBERED_SEEDS {
            known.push(seed);
        }
    }
    (!known.is_empty()).then(|| known.join(SEED_SEPARATOR))
}

impl Stored {
    /// Whether the pasted tokens with that fingerprint were taken over.
    pub(in crate::token) fn has_taken(&self, fingerprint: &str) -> bool {
        self.seed.as_deref().unwrap_or_default().split(SEED_SEPARATOR).any(|seed| seed == fingerprint)
    }

    /// Whether there is no token in it.
    pub(in crate::token) fn is_empty(&self) -> bool {
        self.access.is_none() && self.refresh_token.is_none()
    }

    /// Whether both hold the same tokens.
    pub(in crate::token) fn has_the_tokens_of(&self, other: &Self) -> bool {
        let access = |stored: &Self| stored.access.as_ref().map(|access| access.secret.clone());
        self.refresh_token == other.refresh_token && access(self) == access(other)
    }

    /// How `self`, which was found, stands to `known`.
    pub(super) fn order(&self, known: &Self) -> Order {
        match (self.is_empty(), known.is_empty()) {
            (true, true) => return Order::Same,
            (true, false) => return Order::Older,
            (false, true) => return Order::Newer,
            (false, false) => {}
        }
        if self.lineage.id != known.lineage.id {
            return match (self.comes_after(known), known.comes_after(self)) {
                (true, false) => Order::Newer,
                (false, true) => Order::Older,
                _ => Order::Apart,
            };
        }
        match self.generation.cmp(&known.generation) {
            std::cmp::Ordering::Greater => Order::Newer,
            std::cmp::Ordering::Equal if self.has_the_tokens_of(known) => Order::Same,
            // Two agents went on from one state, each without the other.
            std::cmp::Ordering::Equal => Order::Apart,
            // Put back to an earlier state; but tokens obtained later than the known ones were made from that state.
            std::cmp::Ordering::Less if self.obtained_after(known) => Order::Apart,
            std::cmp::Ordering::Less => Order::Older,
        }
    }

    /// Whether `self` comes from a sign-in that was made in knowledge of the other one's.
    pub(super) fn comes_after(&self, other: &Self) -> bool {
        let pasted = other.lineage.id.strip_prefix(OF_SEED).and_then(|seed| seed.split(AGAIN).next());
        let pasted = pasted.filter(|seed| !seed.is_empty());
        self.lineage.replaces(&other.lineage)
            || (self.lineage.id != other.lineage.id && pasted.is_some_and(|seed| self.has_taken(seed)))
    }

    fn obtained_after(&self, known: &Self) -> bool {
        let obtained = |stored: &Self| stored.access.as_ref().map(|access| access.obtained_at);
        obtained(self) > obtained(known)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::super::StoredAccess;
    use super::*;

    const AT: Timestamp = Timestamp::from_seconds(1);

    fn contents(lineage: &Lineage, generation: u64, token: &str, obtained: i64) -> Stored {
        let at = Timestamp::from_seconds(obtained);
        Stored {
            generation,
            access: Some(StoredAccess {
                secret: token.into(),
                obtained_at: at,
                expires_at: at,
                refresh_due: at,
            }),
            refresh_token: Some(token.into()),
            lineage: lineage.clone(),
            ..Stored::default()
        }
    }

    #[test]
    fn the_sign_in_decides_before_the_number() {
        let anna = Lineage::begin(AT);
        let bert = Lineage::begin(AT).after(&anna);
        let stranger = Lineage::begin(AT);
        let known = contents(&anna, 47, "a", 1000);
        let rows = [
            ("nothing", Stored::default(), Order::Older),
            ("the same", contents(&anna, 47, "a", 1000), Order::Same),
            ("a sibling's refresh", contents(&anna, 48, "b", 1100), Order::Newer),
            ("a backup", contents(&anna, 40, "c", 500), Order::Older),
            ("a refresh of a backup", contents(&anna, 41, "d", 1100), Order::Apart),
            ("a sibling's refresh at the same time", contents(&anna, 47, "e", 1000), Order::Apart),
            ("the next sign-in, counted anew", contents(&bert, 1, "f", 1100), Order::Newer),
            ("a sign-in by somebody who knew nothing", contents(&stranger, 1, "g", 1100), Order::Apart),
        ];
        for (what, found, expected) in rows {
            assert_eq!(found.order(&known), expected, "{what}");
        }
        assert_eq!(known.order(&contents(&bert, 1, "f", 1100)), Order::Older, "the first person's backup");
        assert_eq!(known.order(&Stored::default()), Order::Newer);
    }

    #[test]
    fn what_was_replaced_is_remembered_in_bounds() {
        let mut line = Lineage::of_seed("0", AT);
        for number in 1..100 {
            line = Lineage::of_seed(&number.to_string(), AT).after(&line);
        }
        assert_eq!(line.replaced().len(), REMEMBERED);
        assert!(line.replaces(&Lineage::of_seed("98", AT)) && !line.replaces(&Lineage::of_seed("1", AT)));
        let first_format = Lineage::of_first_format(Some("98 97"));
        assert_eq!(first_format.id(), "seed-98");
        assert!(line.replaces(&first_format) && first_format.replaces(&Lineage::of_seed("97", AT)));
    }
}
