//! From a path to a place in the table of resources.
//! Never looks whether the rows are there.

use super::rules::{PLACES, Place, Within};
use crate::graph::route::Whose;

/// What a path names.
#[derive(Debug, Clone)]
pub(crate) struct ResourcePath {
    /// The place.
    pub(crate) place: &'static Place,
    /// Whose it is, for paths below a user.
    pub(crate) whose: Option<Whose>,
    /// The ids in the place's path.
    pub(crate) ids: Vec<String>,
    /// What comes after the place.
    pub(crate) tail: Tail,
}

/// What comes after a place's path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Tail {
    /// Nothing: the list, or the one row of a place that has one.
    Nothing,
    /// `$count`.
    Count,
    /// `delta`.
    Delta,
    /// An id.
    Item(String),
    /// An id and what is done with it or asked of it.
    Action(String, Vec<String>),
}

impl PartialEq for ResourcePath {
    fn eq(&self, other: &Self) -> bool {
        self.place.path == other.place.path
            && self.ids == other.ids
            && self.tail == other.tail
            && self.whose == other.whose
    }
}

impl Eq for ResourcePath {}

/// Finds the place of a path; `lower` is the same as `words` in lower case.
pub(crate) fn find(whose: Option<Whose>, lower: &[&str], words: &[&str]) -> Option<ResourcePath> {
    // The whole path first, then with an id after it, then with something after the id.
    for rest in 0..=4 {
        let Some(length) = lower.len().checked_sub(rest) else {
            break;
        };
        for place in PLACES {
            let pattern: Vec<&str> = place.path.split('/').collect();
            let pattern = match (&whose, pattern.split_first()) {
                (Some(_), Some((&"user", below))) => below.to_vec(),
                (Some(_), _) | (None, Some((&"user", _))) => continue,
                (None, _) => pattern,
            };
            let fits = pattern.len() == length
                && pattern.iter().zip(lower).all(|(wanted, word)| *wanted == "{}" || wanted == word);
            if !fits || (place.within == Within::Same && rest > 0) {
                continue;
            }
            let ids = pattern
                .iter()
                .zip(words)
                .filter(|(wanted, _)| **wanted == "{}")
                .map(|(_, word)| (*word).to_owned());
            let tail = match (&lower[length..], &words[length..]) {
                ([], _) => Tail::Nothing,
                (["$count"], _) => Tail::Count,
                (["delta" | "delta()"], _) => Tail::Delta,
                ([_], [id]) => Tail::Item((*id).to_owned()),
                ([_, rest @ ..], [id, ..]) => {
                    Tail::Action((*id).to_owned(), rest.iter().map(|word| (*word).to_owned()).collect())
                }
                _ => continue,
            };
            return Some(ResourcePath { place, whose, ids: ids.collect(), tail });
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn longer_places_win_over_actions() {
        let read = |path: &str| {
            let words: Vec<&str> = path.split('/').collect();
            let found = find(None, &words, &words).unwrap();
            (found.place.path, found.ids.join(","), found.tail)
        };
        let cases = [
            ("groups", ("groups", "", Tail::Nothing)),
            ("groups/$count", ("groups", "", Tail::Count)),
            ("groups/g", ("groups", "", Tail::Item("g".into()))),
            ("groups/g/members", ("groups", "", Tail::Action("g".into(), vec!["members".into()]))),
            ("groups/g/threads/t", ("groups/{}/threads", "g", Tail::Item("t".into()))),
            ("groups/g/threads/t/posts", ("groups/{}/threads/{}/posts", "g,t", Tail::Nothing)),
            ("planner/tasks/t/details", ("planner/tasks/{}/details", "t", Tail::Nothing)),
        ];
        for (path, (place, ids, tail)) in cases {
            assert_eq!(read(path), (place, ids.to_owned(), tail), "{path}");
        }
        assert!(find(None, &["unicorns"], &["unicorns"]).is_none());
        assert!(find(Some(Whose::Me), &["planner", "tasks"], &["planner", "tasks"]).is_some());
    }
}
