//! The two-look rule: when a file in a watched directory may be believed. A truncated YAML text can still be valid
//! YAML, and many programs save by removing and making anew; so a file counts only once it has stood still, and a
//! vanished file only once it has stayed away. Pure: it is told what is there and what time it is.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use crate::clock::Timestamp;
use crate::files::Stamp;

/// How long a file must have stood still, or stayed away, to be believed.
pub const SETTLE_TIME: Duration = Duration::from_millis(300);

/// What one look came to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Verdict {
    /// Files that may be read now.
    pub ready: Vec<PathBuf>,
    /// Files that must be looked at again after [`SETTLE_TIME`]; what was known of them before still holds.
    pub waiting: Vec<PathBuf>,
    /// Files that are gone for good.
    pub gone: Vec<PathBuf>,
}

/// Remembers the last look.
#[derive(Debug, Default)]
pub struct Settler {
    known: BTreeMap<PathBuf, Known>,
}

/// How a file looked, and since when it has looked like that. No stamp: it was missing.
#[derive(Debug)]
struct Known {
    stamp: Option<Stamp>,
    since: Timestamp,
}

impl Settler {
    /// Takes note of what is there now.
    pub fn look(&mut self, now: Timestamp, present: &BTreeMap<PathBuf, Stamp>) -> Verdict {
        let mut verdict = Verdict::default();
        for (path, stamp) in present {
            let stood_still = self.unchanged_for(path, Some(*stamp), now) >= SETTLE_TIME;
            if stood_still || is_old(stamp, now) {
                verdict.ready.push(path.clone());
            } else {
                verdict.waiting.push(path.clone());
            }
        }
        let missing: Vec<PathBuf> =
            self.known.keys().filter(|path| !present.contains_key(*path)).cloned().collect();
        for path in missing {
            if self.unchanged_for(&path, None, now) >= SETTLE_TIME {
                self.known.remove(&path);
                verdict.gone.push(path);
            } else {
                verdict.waiting.push(path);
            }
        }
        verdict
    }

    /// For how long `path` has looked like this; zero when it looks different from before.
    fn unchanged_for(&mut self, path: &PathBuf, stamp: Option<Stamp>, now: Timestamp) -> Duration {
        match self.known.get_mut(path) {
            // A clock that was set back must not keep a file waiting until it has caught up.
            Some(known) if known.stamp == stamp && known.since <= now => known.since.since(now),
            _ => {
                self.known.insert(path.clone(), Known { stamp, since: now });
                Duration::ZERO
            }
        }
    }
}

/// A file last changed long enough ago needs no second look. Both times count, because a program can set the time of
/// modification while it is still writing. A time ahead of ours proves nothing.
fn is_old(stamp: &Stamp, now: Timestamp) -> bool {
    let now = i128::from(now.as_millis()) * 1_000_000;
    now - stamp.modified.max(stamp.changed) >= i128::try_from(SETTLE_TIME.as_nanos()).unwrap_or(i128::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// When the look is made, what is there, and what it should come to.
    type Look = (i64, BTreeMap<PathBuf, Stamp>, &'static str);

    fn file(size: u64, modified_millis: i64) -> BTreeMap<PathBuf, Stamp> {
        touched(size, modified_millis, modified_millis)
    }

    fn touched(size: u64, modified_millis: i64, changed_millis: i64) -> BTreeMap<PathBuf, Stamp> {
        let [modified, changed] =
            [modified_millis, changed_millis].map(|millis| i128::from(millis) * 1_000_000);
        BTreeMap::from([("a.yaml".into(), Stamp { size, modified, changed, inode: 1 })])
    }

    fn outcome(verdict: &Verdict) -> &'static str {
        match (verdict.ready.len(), verdict.waiting.len(), verdict.gone.len()) {
            (1, 0, 0) => "ready",
            (0, 1, 0) => "waiting",
            (0, 0, 1) => "gone",
            (0, 0, 0) => "nothing",
            _ => "mixed",
        }
    }

    #[test]
    fn a_file_is_believed_when_it_stands_still() {
        let nothing = BTreeMap::new();
        let cases: Vec<(&str, Vec<Look>)> = vec![
            ("old file", vec![(10_000, file(5, 9_000), "ready")]),
            ("fresh file", vec![(10_000, file(5, 9_990), "waiting"), (10_300, file(5, 9_990), "ready")]),
            (
                "written just now with an old time",
                vec![
                    (10_000, touched(5, 9_000, 9_990), "waiting"),
                    (10_290, touched(5, 9_000, 10_280), "waiting"),
                    (10_590, touched(5, 9_000, 10_280), "ready"),
                ],
            ),
            (
                "slow append",
                vec![
                    (10_000, file(5, 9_990), "waiting"),
                    (10_200, file(6, 10_190), "waiting"),
                    (10_400, file(7, 10_390), "waiting"),
                    (10_700, file(7, 10_390), "ready"),
                ],
            ),
            (
                "removed and made anew",
                vec![
                    (10_000, file(5, 9_000), "ready"),
                    (10_100, nothing.clone(), "waiting"),
                    (10_200, file(6, 10_190), "waiting"),
                    (10_500, file(6, 10_190), "ready"),
                ],
            ),
            (
                "removed",
                vec![
                    (10_000, file(5, 9_000), "ready"),
                    (10_100, nothing.clone(), "waiting"),
                    (10_400, nothing.clone(), "gone"),
                    (10_800, nothing, "nothing"),
                ],
            ),
            (
                "from the future",
                vec![(10_000, file(5, 99_000), "waiting"), (10_300, file(5, 99_000), "ready")],
            ),
            (
                "clock set back",
                vec![
                    (10_000, file(5, 9_990), "waiting"),
                    (1_000, file(5, 9_990), "waiting"),
                    (1_300, file(5, 9_990), "ready"),
                ],
            ),
        ];
        for (name, looks) in cases {
            let mut settler = Settler::default();
            for (time, present, wanted) in looks {
                let verdict = settler.look(Timestamp::from_millis(time), &present);
                assert_eq!(outcome(&verdict), wanted, "{name} at {time}");
            }
        }
    }
}
