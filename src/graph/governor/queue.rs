//! A queue that is fair between runs: they take turns, and a run that wants more places at once waits for more turns. Of
//! one run, who came first goes first, and a request that is sent again goes before those that were never sent.

use std::collections::{BTreeMap, HashMap, VecDeque};

/// Numbers of first tries count up from here, those of repeats down.
const MIDDLE: u64 = 1 << 63;

/// What waits, by run.
#[derive(Debug)]
pub(super) struct FairQueue<T> {
    lines: HashMap<u64, Line<T>>,
    /// The runs in the order of their turns. One that has left altogether stays, with its empty line, until its turn: to
    /// look for it here would make a crowd that leaves quadratic.
    turns: VecDeque<u64>,
    length: usize,
    next: u64,
    next_again: u64,
}

#[derive(Debug)]
struct Line<T> {
    waiting: BTreeMap<u64, (u32, T)>,
    /// Places the run may take in its turn; a turn adds one.
    credit: u32,
}

/// Finds what was put into the queue.
#[derive(Clone, Copy, Debug)]
pub(super) struct Ticket {
    run: u64,
    number: u64,
}

impl<T> FairQueue<T> {
    pub(super) fn new() -> Self {
        Self { lines: HashMap::new(), turns: VecDeque::new(), length: 0, next: MIDDLE, next_again: MIDDLE }
    }

    pub(super) fn len(&self) -> usize {
        self.length
    }

    /// Puts `what` of `run` in, which takes `places`; `again`: before all that wait for the first time.
    pub(super) fn push(&mut self, run: u64, places: u32, again: bool, what: T) -> Ticket {
        let number = if again {
            self.next_again -= 1;
            self.next_again
        } else {
            self.next += 1;
            self.next
        };
        let line = self.lines.entry(run).or_insert_with(|| {
            self.turns.push_back(run);
            Line { waiting: BTreeMap::new(), credit: 0 }
        });
        line.waiting.insert(number, (places, what));
        self.length += 1;
        Ticket { run, number }
    }

    /// Whose turn it is, until it is taken: the places it wants, and what it is.
    pub(super) fn head(&mut self) -> Option<(u32, &T)> {
        loop {
            let run = *self.turns.front()?;
            let line = self.lines.get_mut(&run)?;
            let Some(places) = line.waiting.values().next().map(|(places, _)| *places) else {
                self.lines.remove(&run);
                self.turns.pop_front();
                continue;
            };
            if line.credit < places {
                line.credit += 1;
                if line.credit < places {
                    self.turns.rotate_left(1);
                    continue;
                }
            }
            break;
        }
        let (places, what) = self.lines.get(self.turns.front()?)?.waiting.values().next()?;
        Some((*places, what))
    }

    /// Takes what [`FairQueue::head`] has shown.
    pub(super) fn take(&mut self) -> Option<T> {
        self.head()?;
        let run = *self.turns.front()?;
        let line = self.lines.get_mut(&run)?;
        let (_, (places, what)) = line.waiting.pop_first()?;
        line.credit = line.credit.saturating_sub(places);
        self.length -= 1;
        if line.waiting.is_empty() {
            self.lines.remove(&run);
            self.turns.pop_front();
        } else if line.credit == 0 {
            self.turns.rotate_left(1);
        }
        Some(what)
    }

    /// Takes something out of turn.
    pub(super) fn remove(&mut self, ticket: Ticket) -> Option<T> {
        let line = self.lines.get_mut(&ticket.run)?;
        let (_, what) = line.waiting.remove(&ticket.number)?;
        self.length -= 1;
        // While nobody gets a turn, those who came and went must not pile up.
        if self.lines.len() > 2 * self.length + 64 {
            self.lines.retain(|_, line| !line.waiting.is_empty());
            self.turns.retain(|run| self.lines.contains_key(run));
        }
        Some(what)
    }

    /// Shows everything, in no order.
    pub(super) fn each(&self, mut see: impl FnMut(&T)) {
        self.lines.values().flat_map(|line| line.waiting.values()).for_each(|(_, what)| see(what));
    }

    /// Takes everything out that `goes`.
    pub(super) fn remove_where(&mut self, mut goes: impl FnMut(&T) -> bool) -> Vec<T> {
        let mut tickets = Vec::new();
        for (run, line) in &self.lines {
            for (number, (_, what)) in &line.waiting {
                if goes(what) {
                    tickets.push(Ticket { run: *run, number: *number });
                }
            }
        }
        tickets.into_iter().filter_map(|ticket| self.remove(ticket)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn order(queue: &mut FairQueue<&'static str>) -> Vec<&'static str> {
        std::iter::from_fn(|| queue.take()).collect()
    }

    #[test]
    fn runs_take_turns_and_repeats_go_first_in_their_own_line() {
        let mut queue = FairQueue::new();
        for what in ["a1", "a2", "a3", "a4"] {
            queue.push(1, 1, false, what);
        }
        queue.push(2, 1, false, "b1");
        queue.push(2, 1, false, "b2");
        queue.push(1, 1, true, "a0");
        assert_eq!(order(&mut queue), ["a0", "b1", "a1", "b2", "a2", "a3", "a4"]);
        assert_eq!((queue.len(), queue.lines.len(), queue.turns.len()), (0, 0, 0));
    }

    #[test]
    fn a_run_that_wants_four_places_at_once_waits_four_turns() {
        let mut queue = FairQueue::new();
        queue.push(1, 4, false, "A");
        queue.push(1, 4, false, "A");
        for _ in 0..8 {
            queue.push(2, 1, false, "b");
        }
        assert_eq!(order(&mut queue).join(""), "bbbAbbbbAb");
    }

    #[test]
    fn runs_that_come_and_go_leave_nothing_behind() {
        let mut queue = FairQueue::new();
        queue.push(0, 1, false, "stays");
        for run in 1..10_000 {
            let ticket = queue.push(run, 1, false, "goes");
            assert_eq!(queue.remove(ticket), Some("goes"));
        }
        assert!(queue.lines.len() < 100 && queue.turns.len() < 100);
        assert_eq!(order(&mut queue), ["stays"]);
    }

    proptest! {
        /// Whatever comes and goes: nothing is lost, and nothing comes twice.
        #[test]
        fn nothing_is_lost(steps in prop::collection::vec((0u64..5, 1u32..5, any::<bool>(), 0u8..4), 0..200)) {
            let mut queue = FairQueue::new();
            let (mut inside, mut tickets) = (std::collections::BTreeSet::new(), Vec::new());
            for (index, (run, places, again, step)) in steps.into_iter().enumerate() {
                match step {
                    0 | 1 => {
                        tickets.push(queue.push(run, places, again, index));
                        inside.insert(index);
                    }
                    2 => {
                        let shown = queue.head().map(|(_, what)| *what);
                        let taken = queue.take();
                        prop_assert_eq!(shown, taken);
                        prop_assert_eq!(taken.is_some(), !inside.is_empty());
                        prop_assert!(taken.is_none_or(|taken| inside.remove(&taken)));
                    }
                    _ => {
                        if let Some(gone) = tickets.pop().and_then(|ticket| queue.remove(ticket)) {
                            prop_assert!(inside.remove(&gone));
                        }
                    }
                }
                prop_assert_eq!((queue.len(), queue.turns.len()), (inside.len(), queue.lines.len()));
            }
            while let Some(taken) = queue.take() {
                prop_assert!(inside.remove(&taken));
            }
            prop_assert!(queue.head().is_none());
            prop_assert!(inside.is_empty() && queue.lines.is_empty() && queue.turns.is_empty());
        }
    }
}
