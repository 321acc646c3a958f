//! The drop-in directory over time: one snapshot after the other, each when there is something to see. A look runs on a
//! thread of its own and is kept hold of until its result was taken, so that no caller who gives up waiting loses what
//! was heard. Never judges what it sees.

use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep_until};

use super::scan::{Scanner, Snapshot};
use super::schedule::{Due, Poke, RETRY, Schedule};
use super::settle::SETTLE_TIME;
use super::watch::Watch;
use crate::clock::Clock;
use crate::error::Fault;

/// A look that takes longer is reported: the directory is on a file system that does not answer.
const LOOK_PATIENCE: Duration = Duration::from_secs(20);

/// How many looks a caller waits for until everything has settled: two seconds.
const SETTLING_LOOKS: u32 = 7;

/// The directory, watched.
#[derive(Debug)]
pub struct DropIns {
    schedule: Schedule,
    looker: Arc<Mutex<Looker>>,
    under_way: Option<UnderWay>,
    /// What was seen last.
    last: Snapshot,
}

/// What works on the directory, off the async threads: a network file system can hang.
#[derive(Debug)]
struct Looker {
    watch: Watch,
    scanner: Scanner,
}

/// A look that has not ended, or whose result was not taken.
#[derive(Debug)]
struct UnderWay {
    work: JoinHandle<Looked>,
    /// When it is reported that the directory does not answer.
    report_at: Option<Instant>,
}

/// What one look gave.
#[derive(Debug)]
struct Looked {
    /// What is there, and whether something has not settled; nothing, when only the watch was tried and gave no news.
    seen: Option<(Snapshot, bool)>,
    /// Whether events are heard.
    watched: bool,
}

impl Looker {
    fn work(&mut self, due: Due) -> Looked {
        // Before the look, so that what happens during the look is heard.
        let news = self.watch.arm();
        let seen = (news || due == Due::Look).then(|| self.scanner.look());
        Looked { seen, watched: self.watch.is_alive() }
    }
}

impl DropIns {
    /// Watches a directory, which need not exist yet.
    pub fn watch(directory: &Path, clock: Clock) -> Self {
        let schedule = Schedule::new();
        let watch = Watch::new(directory, schedule.bell());
        let looker = Looker { watch, scanner: Scanner::new(directory, clock) };
        let last = Snapshot { directory: directory.to_owned(), ..Snapshot::default() };
        Self { schedule, looker: Arc::new(Mutex::new(looker)), under_way: None, last }
    }

    /// A handle with which SIGHUP and `POST /v1/agent/reload` ask for a look.
    pub fn poke(&self) -> Poke {
        self.schedule.poke()
    }

    /// Waits until it is time to look again, and looks. A snapshot with a fault and the files that were there before means
    /// that the directory does not answer. Nothing is lost when the future is dropped, and the look goes on.
    pub async fn next(&mut self) -> Snapshot {
        loop {
            let report_at = match &self.under_way {
                Some(under_way) => under_way.report_at,
                None => {
                    let due = self.schedule.wait().await;
                    self.begin(due)
                }
            };
            let silence = async {
                match report_at {
                    Some(at) => sleep_until(at).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                biased;
                seen = self.landed() => if let Some((snapshot, _)) = seen { return snapshot },
                () = silence => {
                    if let Some(under_way) = &mut self.under_way {
                        under_way.report_at = None;
                    }
                    return self.silent();
                }
            }
        }
    }

    /// What is there now, at start-up and when somebody asks: every file is waited for until it has settled, for two
    /// seconds at most, and for a directory that does not answer as [`DropIns::next`] says. Nothing is lost when the future
    /// is dropped: what it has not returned is seen by the next look.
    pub async fn settled(&mut self) -> Snapshot {
        let looks = async {
            // A look that is under way may have passed what the caller means. Its result is part of the next one's, which
            // begins before anything is waited for again.
            self.landed().await;
            let mut looks_left = SETTLING_LOOKS;
            loop {
                self.begin(Due::Look);
                looks_left = looks_left.saturating_sub(1);
                if let Some((snapshot, unsettled)) = self.landed().await
                    && (!unsettled || looks_left == 0)
                {
                    return snapshot;
                }
                tokio::time::sleep(SETTLE_TIME).await;
            }
        };
        match tokio::time::timeout(LOOK_PATIENCE, looks).await {
            Ok(snapshot) => snapshot,
            Err(_) => self.silent(),
        }
    }

    /// Begins work on a thread; when to report that it takes too long.
    fn begin(&mut self, due: Due) -> Option<Instant> {
        self.schedule.begun(due);
        let looker = Arc::clone(&self.looker);
        let work = tokio::task::spawn_blocking(move || {
            looker.lock().unwrap_or_else(PoisonError::into_inner).work(due)
        });
        let report_at = Some(Instant::now() + LOOK_PATIENCE);
        self.under_way = Some(UnderWay { work, report_at });
        report_at
    }

    /// The end of the work under way, if there is any. It stays under way until this future has returned.
    async fn landed(&mut self) -> Option<(Snapshot, bool)> {
        let under_way = self.under_way.as_mut()?;
        let looked = (&mut under_way.work).await;
        self.under_way = None;
        match looked {
            Ok(Looked { seen, watched }) => {
                // A directory that cannot be read now has not been looked at.
                let again = seen.as_ref().and_then(|(snapshot, unsettled)| match snapshot.fault {
                    Some(_) => Some(RETRY),
                    None => unsettled.then_some(SETTLE_TIME),
                });
                self.schedule.ended(again, watched);
                if let Some((snapshot, _)) = &seen {
                    self.last = snapshot.clone();
                }
                seen
            }
            // A panic in the parser costs this look only; the next one tries again.
            Err(error) => {
                tracing::error!(%error, "Looking at the drop-in directory failed.");
                self.schedule.ended(Some(RETRY), true);
                Some((self.last.clone(), true))
            }
        }
    }

    /// What was there before, with the fault that the directory does not answer.
    fn silent(&self) -> Snapshot {
        let seconds = LOOK_PATIENCE.as_secs();
        let fault = Fault {
            file: self.last.directory.clone(),
            line: None,
            key: String::new(),
            message: format!(
                "The drop-in directory does not answer; reading it has taken more than {seconds} seconds. What it held before stays in force. Check the file system it is on."
            ),
        };
        Snapshot { fault: Some(fault), ..self.last.clone() }
    }
}

#[cfg(test)]
impl DropIns {
    /// As if the operating system refused every watch.
    pub(crate) fn refuse_watching(&self) {
        self.looker.lock().unwrap_or_else(PoisonError::into_inner).watch.refused = true;
    }

    /// Keeps looks from getting on for as long as the guard lives, as a file system that hangs does.
    pub(crate) fn hold_up(&self) -> HoldUp {
        let (held, holds) = std::sync::mpsc::channel();
        let (release, released) = std::sync::mpsc::channel::<()>();
        let looker = Arc::clone(&self.looker);
        std::thread::spawn(move || {
            let _kept = looker.lock().unwrap_or_else(PoisonError::into_inner);
            let _told = held.send(());
            let _until_the_guard_is_dropped = released.recv();
        });
        let _held_now = holds.recv();
        HoldUp { _release: release }
    }
}

/// Looks hang while it lives.
#[cfg(test)]
#[derive(Debug)]
pub(crate) struct HoldUp {
    _release: std::sync::mpsc::Sender<()>,
}

#[cfg(test)]
#[path = "look_tests.rs"]
mod tests;
