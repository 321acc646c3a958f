//! Says when to look at the drop-in directory again. An event is only that: "look again"; what happened is found out
//! by looking. Never reads a file, and never says what changed.
//!
//! notify is used directly, because its debouncer drops the rescan flag that tells of lost events. The directory is
//! watched and not the files, because a file's watch dies with the first editor that saves by renaming.

use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use notify::{RecommendedWatcher, RecursiveMode, Watcher as _};
use tokio::sync::Notify;
use tokio::time::{sleep, timeout};

/// Events within this time of each other are one change.
const QUIET: Duration = Duration::from_millis(300);

/// A change that goes on and on is looked at after this time. With the second look of the settling this keeps within
/// the promise that a saved file is live in two seconds.
const LONGEST_UNREST: Duration = Duration::from_millis(1400);

/// Without any event the directory is looked at this often, in case events were lost or cannot be had.
const SWEEP: Duration = Duration::from_secs(60);

/// While the directory cannot be watched, it is tried again this often.
const RETRY: Duration = Duration::from_secs(1);

/// What the event thread, the pokes and the watcher share.
#[derive(Debug, Default)]
struct Bell {
    rung: AtomicU64,
    broken: AtomicBool,
    notify: Notify,
}

impl Bell {
    fn ring(&self) {
        self.rung.fetch_add(1, Ordering::Release);
        self.notify.notify_one();
    }
}

/// Asks for a look, for SIGHUP and `POST /v1/agent/reload`.
#[derive(Clone, Debug)]
pub struct Poke(Arc<Bell>);

impl Poke {
    /// Asks for a look. Many calls before the look make one look.
    pub fn poke(&self) {
        self.0.ring();
    }
}

/// Watches one directory, whether it exists yet or not.
#[derive(Debug)]
pub struct Watcher {
    directory: PathBuf,
    bell: Arc<Bell>,
    heard: u64,
    watching: Option<Watching>,
    complained: bool,
}

/// A live watch, and on which directory it really is: a path can come to mean another one.
#[derive(Debug)]
struct Watching {
    identity: (u64, u64),
    _alive: RecommendedWatcher,
}

impl Watcher {
    /// A watcher of a directory.
    pub fn new(directory: &Path) -> Self {
        let directory = directory.to_owned();
        Self { directory, bell: Arc::default(), heard: 0, watching: None, complained: false }
    }

    /// A handle that asks for a look.
    pub fn poke(&self) -> Poke {
        Poke(Arc::clone(&self.bell))
    }

    /// Returns when it is time to look again. Nothing is lost when the future is dropped before.
    pub async fn changed(&mut self) {
        let sweep = sleep(SWEEP);
        tokio::pin!(sweep);
        loop {
            if self.arm() {
                self.bell.ring();
            }
            if self.bell.rung.load(Ordering::Acquire) != self.heard {
                break;
            }
            let retry = if self.watching.is_some() { SWEEP } else { RETRY };
            tokio::select! {
                () = self.bell.notify.notified() => {}
                () = sleep(retry) => {}
                () = &mut sweep => break,
            }
        }
        self.wait_for_quiet().await;
        // Armed again before the look, so that what happens during the look is heard.
        self.arm();
        self.heard = self.bell.rung.load(Ordering::Acquire);
    }

    async fn wait_for_quiet(&self) {
        let unrest = async { while timeout(QUIET, self.bell.notify.notified()).await.is_ok() {} };
        let _a_look_is_due_either_way = timeout(LONGEST_UNREST, unrest).await;
    }

    /// Makes sure that the watch is alive and on the directory that the path means now. True when a new watch was made,
    /// so that a look is due: events before it were not heard.
    pub(super) fn arm(&mut self) -> bool {
        let identity = std::fs::metadata(&self.directory).ok().map(|folder| (folder.dev(), folder.ino()));
        let broken = self.bell.broken.swap(false, Ordering::AcqRel);
        if !broken && self.watching.as_ref().is_some_and(|watching| Some(watching.identity) == identity) {
            return false;
        }
        // Losing the directory is news as well.
        let lost = self.watching.take().is_some();
        let made = identity.map_or_else(
            || Err("The directory does not exist.".to_owned()),
            |identity| self.watch().map(|alive| Watching { identity, _alive: alive }),
        );
        match made {
            Ok(watching) => {
                self.watching = Some(watching);
                if std::mem::take(&mut self.complained) {
                    tracing::info!(directory = %self.directory.display(), "The drop-in directory is watched again.");
                }
                true
            }
            Err(reason) => {
                if !std::mem::replace(&mut self.complained, true) {
                    tracing::warn!(
                        directory = %self.directory.display(),
                        %reason,
                        "The drop-in directory cannot be watched; it is looked at once a minute instead."
                    );
                }
                lost
            }
        }
    }

    fn watch(&self) -> Result<RecommendedWatcher, String> {
        let bell = Arc::clone(&self.bell);
        let mut watcher =
            notify::recommended_watcher(move |event: notify::Result<notify::Event>| match event {
                // Our own reading makes access events; listening to them would go round in circles.
                Ok(event) if event.kind.is_access() && !event.need_rescan() => {}
                Ok(_) => bell.ring(),
                Err(_) => {
                    bell.broken.store(true, Ordering::Release);
                    bell.ring();
                }
            })
            .map_err(|error| format!("{error}."))?;
        watcher.watch(&self.directory, RecursiveMode::NonRecursive).map_err(|error| format!("{error}."))?;
        Ok(watcher)
    }
}

#[cfg(test)]
#[path = "watch_tests.rs"]
mod tests;
