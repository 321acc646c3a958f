//! The connections in force, swapped whole: readers take no lock, and nobody sees half a change. Never reads a file
//! itself and never talks to a server.

use std::collections::HashSet;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use arc_swap::ArcSwap;

use super::load::{LastGood, load};
use super::{Connection, ConnectionName, ConnectionSet};
use crate::dropin::{self, Snapshot};
use crate::error::Fault;
use crate::settings::{Host, Settings};

/// What one load changed.
#[derive(Debug, Default)]
pub struct Changes {
    /// Connections that are new.
    pub added: Vec<Arc<Connection>>,
    /// Connections that have a new generation, as they are now.
    pub changed: Vec<Arc<Connection>>,
    /// Connections that are gone, as they were.
    pub removed: Vec<Arc<Connection>>,
    /// How many connections are the very same as before.
    pub unchanged: usize,
    /// Every fault there is now, new or not.
    pub faults: Vec<Fault>,
}

impl Changes {
    /// Whether the connections in force are the same as before.
    pub fn is_empty(&self) -> bool {
        self.added.is_empty() && self.changed.is_empty() && self.removed.is_empty()
    }
}

/// The connections in force.
#[derive(Debug, Default)]
pub struct Registry {
    current: ArcSwap<ConnectionSet>,
    // Held for a whole load: two loads at once would each build on the same last good.
    last_good: Mutex<LastGood>,
}

impl Registry {
    /// A registry without connections.
    pub fn new() -> Self {
        Self::default()
    }

    /// The connections in force now. The value does not change any more; ask again for a newer one.
    pub fn current(&self) -> Arc<ConnectionSet> {
        self.current.load_full()
    }

    /// The connection of that name.
    pub fn get(&self, name: &str) -> Option<Arc<Connection>> {
        let name = ConnectionName::new(name).ok()?;
        self.current.load().connections.get(&name).cloned()
    }

    /// Puts in force what the drop-ins say. A file with a fault keeps its last good version. Reads the secrets the
    /// drop-ins refer to, so call it off the async threads.
    pub fn apply(&self, snapshot: &Snapshot, settings: &Settings, host: &dyn Host) -> Changes {
        let mut last_good = self.last_good.lock().unwrap_or_else(PoisonError::into_inner);
        let loaded = load(snapshot, settings, host, &last_good);
        let before = self.current.load_full();
        let changes = compare(&before, &loaded.set);
        report(&before, &loaded.set, &changes);
        *last_good = loaded.last_good;
        self.current.store(Arc::new(loaded.set));
        changes
    }

    /// Every fault there would be if `snapshot` were applied. Puts nothing in force.
    pub fn preview(&self, snapshot: &Snapshot, settings: &Settings, host: &dyn Host) -> Vec<Fault> {
        let last_good = self.last_good.lock().unwrap_or_else(PoisonError::into_inner).clone();
        load(snapshot, settings, host, &last_good).set.faults
    }
}

#[cfg(test)]
impl Registry {
    /// Keeps the next application from getting on until the sender is dropped, as a file system that hangs does.
    pub(crate) fn hold_up(self: &Arc<Self>) -> std::sync::mpsc::Sender<()> {
        let (held, holds) = std::sync::mpsc::channel();
        let (release, released) = std::sync::mpsc::channel::<()>();
        let registry = Arc::clone(self);
        std::thread::spawn(move || {
            let _kept = registry.last_good.lock().unwrap_or_else(PoisonError::into_inner);
            let _told = held.send(());
            let _until_the_sender_is_dropped = released.recv();
        });
        let _held_now = holds.recv();
        release
    }
}

/// What a directory comes to when nothing was loaded before: for `o365-agent check`. Changes nothing anywhere.
pub fn check_directory(directory: &Path, settings: &Settings, host: &dyn Host) -> ConnectionSet {
    load(&dropin::scan(directory), settings, host, &LastGood::new()).set
}

fn compare(before: &ConnectionSet, after: &ConnectionSet) -> Changes {
    let mut changes = Changes { faults: after.faults.clone(), ..Changes::default() };
    for (name, connection) in &after.connections {
        match before.connections.get(name) {
            None => changes.added.push(Arc::clone(connection)),
            Some(known) if known.generation == connection.generation => changes.unchanged += 1,
            Some(_) => changes.changed.push(Arc::clone(connection)),
        }
    }
    let gone = before.connections.iter().filter(|(name, _)| !after.connections.contains_key(*name));
    changes.removed.extend(gone.map(|(_, connection)| Arc::clone(connection)));
    changes
}

/// Logs what is new. Faults that were there at the last load are not repeated, because the directory is looked at once
/// a minute.
fn report(before: &ConnectionSet, after: &ConnectionSet, changes: &Changes) {
    let moves = [
        (&changes.added, "Connection added."),
        (&changes.changed, "Connection changed."),
        (&changes.removed, "Connection removed."),
    ];
    for (connections, message) in moves {
        for connection in connections {
            let (name, generation) = (&connection.name, connection.generation.number());
            tracing::info!(connection = %name, generation, file = %connection.file.display(), "{message}");
        }
    }
    let said = |set: &ConnectionSet| set.faults.iter().map(ToString::to_string).collect::<HashSet<_>>();
    let (said_before, said_after) = (said(before), said(after));
    for fault in after.faults.iter().filter(|fault| !said_before.contains(&fault.to_string())) {
        tracing::warn!(%fault, "A drop-in has a fault; what it held before stays in force.");
    }
    // By what they say: comparing each with each would take seconds with a notice per connection of a large agent.
    let noticed: HashSet<String> =
        before.files.iter().flat_map(|file| &file.notices).map(ToString::to_string).collect();
    let notices = after.files.iter().flat_map(|file| &file.notices);
    for notice in notices.filter(|notice| !noticed.contains(&notice.to_string())) {
        tracing::info!(%notice, "A drop-in has something without effect.");
    }
    for fault in before.faults.iter().filter(|fault| !said_after.contains(&fault.to_string())) {
        tracing::info!(%fault, "A fault is gone.");
    }
}
