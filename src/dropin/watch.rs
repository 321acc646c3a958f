//! Hears that something happens in the drop-in directory, and rings. Never reads a file, and never says what changed.
//!
//! notify is used directly, because its debouncer drops the rescan flag that tells of lost events. The directory is
//! watched and not the files, because a file's watch dies with the first editor that saves by renaming.

use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use notify::{RecommendedWatcher, RecursiveMode, Watcher as _};

use super::schedule::Bell;

/// Watches one directory, whether it exists yet or not.
#[derive(Debug)]
pub(super) struct Watch {
    directory: PathBuf,
    bell: Arc<Bell>,
    watching: Option<Watching>,
    complained: bool,
    /// As if the operating system refused every watch.
    #[cfg(test)]
    pub(super) refused: bool,
}

/// A live watch, and on which directory it really is: a path can come to mean another one.
#[derive(Debug)]
struct Watching {
    identity: (u64, u64),
    _alive: RecommendedWatcher,
}

impl Watch {
    /// Watches nothing yet.
    pub(super) fn new(directory: &Path, bell: &Arc<Bell>) -> Self {
        Self {
            directory: directory.to_owned(),
            bell: Arc::clone(bell),
            watching: None,
            complained: false,
            #[cfg(test)]
            refused: false,
        }
    }

    /// Whether events are heard.
    pub(super) fn is_alive(&self) -> bool {
        self.watching.is_some()
    }

    /// Makes sure that the watch is alive and on the directory that the path means now. True when a watch was made or
    /// lost, so that a look is due: events before it were not heard. Blocking, because a network file system can hang.
    pub(super) fn arm(&mut self) -> bool {
        let identity = std::fs::metadata(&self.directory).ok().map(|folder| (folder.dev(), folder.ino()));
        let broken = self.bell.has_broken();
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
        #[cfg(test)]
        if self.refused {
            return Err("Refused for this test.".to_owned());
        }
        let bell = Arc::clone(&self.bell);
        let mut watcher =
            notify::recommended_watcher(move |event: notify::Result<notify::Event>| match event {
                // Our own reading makes access events; listening to them would go round in circles.
                Ok(event) if event.kind.is_access() && !event.need_rescan() => {}
                Ok(_) => bell.ring(),
                Err(_) => bell.break_watch(),
            })
            .map_err(|error| format!("{error}."))?;
        watcher.watch(&self.directory, RecursiveMode::NonRecursive).map_err(|error| format!("{error}."))?;
        Ok(watcher)
    }
}

#[cfg(test)]
#[path = "watch_tests.rs"]
mod tests;
