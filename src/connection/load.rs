//! All drop-ins together → the connections in force. Holds the rules between files: last good is kept per file, a name
//! belongs to one file, a store file to one connection. Pure but for the [`Host`] it hands on; start-up, reload and
//! `check` all come here.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::check::{Checked, check};
use super::values::Surroundings;
use super::{Connection, ConnectionName, ConnectionSet, DropInState, StoreLocation};
use crate::dropin::{DropInFile, Place, Snapshot};
use crate::error::Fault;
use crate::settings::{Host, Settings};

/// What is kept of each file: its version that was last without a fault.
pub(super) type LastGood = BTreeMap<PathBuf, GoodFile>;

/// A file without a fault.
#[derive(Clone, Debug, Default)]
pub(super) struct GoodFile {
    connections: Vec<Arc<Connection>>,
    variables: BTreeMap<String, String>,
}

/// The outcome of one load.
#[derive(Debug)]
pub(super) struct Loaded {
    pub(super) set: ConnectionSet,
    pub(super) last_good: LastGood,
}

/// One file on its way through the rules.
struct Candidate<'a> {
    path: &'a Path,
    /// Absent when the file could not be read at all.
    file: Option<&'a DropInFile>,
    kept: Option<&'a GoodFile>,
    faults: Vec<Fault>,
    notices: Vec<Fault>,
    connections: Vec<Connection>,
}

impl Candidate<'_> {
    fn is_bad(&self) -> bool {
        !self.faults.is_empty()
    }

    /// Notes a fault about something named in the file, once.
    fn fault(&mut self, place: Option<&Place>, key: &str, message: String) {
        let fault = match (self.file, place) {
            (Some(file), Some(place)) => file.fault(self.faults.len(), place, key, message),
            _ => Fault { file: self.path.to_owned(), line: None, key: key.to_owned(), message },
        };
        if !self.faults.contains(&fault) {
            self.faults.push(fault);
        }
    }

    /// What the file calls its own: what it says, and, while it is bad, what is kept of it.
    fn variables(&self, first_round: bool) -> BTreeMap<&str, &str> {
        if let (Some(file), true) = (self.file, first_round || !self.is_bad()) {
            return file.variables.iter().map(|variable| (&*variable.name, &*variable.value)).collect();
        }
        self.kept.iter().flat_map(|kept| &kept.variables).map(|(name, value)| (&**name, &**value)).collect()
    }

    fn names(&self) -> Vec<(String, Option<&Place>)> {
        let mut names: Vec<(String, Option<&Place>)> = Vec::new();
        for raw in self.file.iter().flat_map(|file| &file.connections) {
            names.push((raw.name.trim().to_owned(), Some(&raw.place)));
        }
        if self.is_bad() {
            for kept in self.kept.iter().flat_map(|kept| &kept.connections) {
                if !names.iter().any(|(name, _)| name == kept.name.as_str()) {
                    names.push((kept.name.as_str().to_owned(), None));
                }
            }
        }
        names
    }

    fn store_files(&self) -> Vec<(PathBuf, String)> {
        let kept =
            self.kept.iter().filter(|_| self.is_bad()).flat_map(|kept| &kept.connections).map(|kept| &**kept);
        let fresh = self.connections.iter().filter(|_| !self.is_bad());
        kept.chain(fresh)
            .filter_map(|connection| match &connection.store {
                StoreLocation::File(path) => Some((path.clone(), connection.name.to_string())),
                StoreLocation::StateDirectory | StoreLocation::Memory(_) => None,
            })
            .collect()
    }
}

/// Applies all rules.
pub(super) fn load(snapshot: &Snapshot, settings: &Settings, host: &dyn Host, kept: &LastGood) -> Loaded {
    let mut candidates = candidates(snapshot, kept);
    variables_of_two_files(&mut candidates);
    // A file that turns out bad goes back to what was kept of it, which may be another file's variable or name; so
    // the rules are applied until nothing more turns bad. Files only ever turn bad, so this ends.
    for round in 0..candidates.len() + 2 {
        let before = fault_count(&candidates);
        check_each(&mut candidates, settings, host, round == 0);
        names_of_two_files(&mut candidates);
        stores_of_two_connections(&mut candidates);
        // The first round takes every readable file at its word, to find all faults; it decides nothing.
        let settled = round > 0 && fault_count(&candidates) == before;
        if settled || !candidates.iter().any(Candidate::is_bad) {
            break;
        }
    }
    conclude(snapshot, candidates)
}

fn candidates<'a>(snapshot: &'a Snapshot, kept: &'a LastGood) -> Vec<Candidate<'a>> {
    let candidate = |path: &'a Path, file, faults| Candidate {
        path,
        file,
        kept: kept.get(path),
        faults,
        notices: Vec::new(),
        connections: Vec::new(),
    };
    let good = snapshot.good.iter().map(|file| candidate(&file.path, Some(&**file), file.faults.clone()));
    let rejected = snapshot
        .rejected
        .iter()
        .map(|rejected| candidate(&rejected.path, None, vec![rejected.fault.clone()]));
    let mut candidates: Vec<_> = good.chain(rejected).collect();
    candidates.sort_by(|one, other| one.path.cmp(other.path));
    candidates
}

fn fault_count(candidates: &[Candidate<'_>]) -> usize {
    candidates.iter().map(|candidate| candidate.faults.len()).sum()
}

/// Checks every file that is still good; in the first round every readable one, so that all its faults are found.
fn check_each(candidates: &mut [Candidate<'_>], settings: &Settings, host: &dyn Host, first_round: bool) {
    let mut variables = settings.predefined_variables.clone();
    for candidate in candidates.iter() {
        for (name, value) in candidate.variables(first_round) {
            variables.insert(name.to_owned(), value.to_owned());
        }
    }
    let variables = Arc::new(variables);
    let around = Surroundings { settings, host, variables: &variables };
    for candidate in candidates {
        let Some(file) = candidate.file.filter(|_| first_round || !candidate.is_bad()) else { continue };
        candidate.connections.clear();
        candidate.notices.clear();
        for raw in &file.connections {
            let already = candidate.faults.len() + candidate.notices.len();
            let Checked { connection, faults, notices } = check(around, file, raw, &variables, already);
            candidate.faults.extend(faults);
            candidate.notices.extend(notices);
            candidate.connections.extend(connection);
        }
    }
}

fn variables_of_two_files(candidates: &mut [Candidate<'_>]) {
    let mut owners: BTreeMap<String, Vec<usize>> = BTreeMap::new();
    for (index, candidate) in candidates.iter().enumerate() {
        for name in candidate.variables(true).into_keys() {
            owners.entry(name.to_owned()).or_default().push(index);
        }
    }
    for (name, owners) in owners.into_iter().filter(|(_, owners)| owners.len() > 1) {
        let files = file_names(candidates, &owners);
        for owner in owners {
            let file = candidates[owner].file;
            let place = file
                .and_then(|file| file.variables.iter().find(|one| one.name == name))
                .map(|one| &one.place);
            let message = format!(
                "The variable '{name}' is set in {files}; neither file is changed. Remove it from all but one."
            );
            candidates[owner].fault(place, &format!("variables.{name}"), message);
        }
    }
}

fn names_of_two_files(candidates: &mut [Candidate<'_>]) {
    let mut owners: BTreeMap<String, Vec<(usize, Option<Place>)>> = BTreeMap::new();
    for (index, candidate) in candidates.iter().enumerate() {
        for (name, place) in candidate.names() {
            owners.entry(name).or_default().push((index, place.cloned()));
        }
    }
    for (name, owners) in owners {
        let indices: Vec<usize> = owners.iter().map(|(index, _)| *index).collect();
        let key = format!("connections.{name}");
        if indices.windows(2).all(|pair| pair[0] == pair[1]) {
            // Within one file exact repetitions are found by the reader; these differ by a space at their ends.
            for (index, place) in owners.iter().skip(1) {
                candidates[*index].fault(
                    place.as_ref(),
                    &key,
                    format!("The connection '{name}' stands here twice. Remove one of the two."),
                );
            }
            continue;
        }
        let files = file_names(candidates, &indices);
        for (owner, place) in owners {
            let message = format!(
                "The connection '{name}' stands in {files}; neither file is changed. Remove it from all but one."
            );
            candidates[owner].fault(place.as_ref(), &key, message);
        }
    }
}

/// Two connections that write one store file would overwrite each other's refresh token.
fn stores_of_two_connections(candidates: &mut [Candidate<'_>]) {
    let mut owners: BTreeMap<PathBuf, Vec<(usize, String)>> = BTreeMap::new();
    for (index, candidate) in candidates.iter().enumerate() {
        for (path, name) in candidate.store_files() {
            owners.entry(path).or_default().push((index, name));
        }
    }
    for (path, owners) in owners.into_iter().filter(|(_, owners)| owners.len() > 1) {
        let names: Vec<String> = owners.iter().map(|(_, name)| format!("'{name}'")).collect();
        let message = format!(
            "The connections {} keep their tokens in the same file, {}. Give each an OAuthSettingsLocation of its own.",
            names.join(" and "),
            path.display()
        );
        for (owner, name) in owners {
            let file = candidates[owner].file;
            let raw = file.and_then(|file| file.connections.iter().find(|raw| raw.name.trim() == name));
            let property = raw.and_then(|raw| {
                raw.properties.iter().find(|one| {
                    super::properties::find(&one.name)
                        .is_some_and(|known| known.name == "OAuthSettingsLocation")
                })
            });
            let key = property
                .map_or(format!("connections.{name}.OAuthSettingsLocation"), |property| property.key.clone());
            candidates[owner].fault(property.map(|property| &property.place), &key, message.clone());
        }
    }
}

fn file_names(candidates: &[Candidate<'_>], owners: &[usize]) -> String {
    let name =
        |index: &usize| candidates[*index].path.file_name().map(|name| name.to_string_lossy().into_owned());
    owners.iter().filter_map(name).collect::<Vec<_>>().join(" and ")
}

/// Puts the connections in force together.
fn conclude(snapshot: &Snapshot, candidates: Vec<Candidate<'_>>) -> Loaded {
    let mut loaded = Loaded { set: ConnectionSet::default(), last_good: LastGood::new() };
    loaded.set.faults.extend(snapshot.fault.clone());
    for mut candidate in candidates {
        candidate.faults.sort_by(|one, other| (one.line, &one.key).cmp(&(other.line, &other.key)));
        let bad = candidate.is_bad();
        let in_force = if bad { candidate.kept.cloned() } else { Some(good_file(&mut candidate)) };
        let names: Vec<ConnectionName> = in_force
            .iter()
            .flat_map(|good| &good.connections)
            .map(|connection| connection.name.clone())
            .collect();
        for raw in candidate.file.iter().filter(|_| bad).flat_map(|file| &file.connections) {
            let name = raw.name.trim();
            if !names.iter().any(|kept| kept.as_str() == name) {
                loaded.set.refused.insert(name.to_owned(), faults_of(name, &candidate.faults));
            }
        }
        for connection in in_force.iter().flat_map(|good| &good.connections) {
            loaded.set.connections.insert(connection.name.clone(), Arc::clone(connection));
        }
        loaded.set.faults.extend(candidate.faults.iter().cloned());
        loaded.set.files.push(DropInState {
            file: candidate.path.to_owned(),
            sha256: candidate.file.map(|file| crate::secret::hex(&file.hash)),
            state: match (bad, &in_force) {
                (false, _) => "loaded",
                (true, Some(_)) => "kept_last_good",
                (true, None) => "rejected",
            },
            connections: names,
            faults: candidate.faults,
            notices: candidate.notices,
        });
        if let Some(good) = in_force {
            loaded.last_good.insert(candidate.path.to_owned(), good);
        }
    }
    // A name that is refused in one file may be in force from another.
    let ConnectionSet { connections, refused, .. } = &mut loaded.set;
    refused.retain(|name, _| !ConnectionName::new(name).is_ok_and(|name| connections.contains_key(&name)));
    loaded
}

/// The file's new version; a connection that has not changed stays the very same one, with its generation.
fn good_file(candidate: &mut Candidate<'_>) -> GoodFile {
    let kept = candidate.kept;
    let same = |fresh: &Connection| {
        kept?
            .connections
            .iter()
            .find(|known| known.name == fresh.name && known.digest == fresh.digest)
            .cloned()
    };
    let connections = std::mem::take(&mut candidate.connections);
    let connections =
        connections.into_iter().map(|fresh| same(&fresh).unwrap_or_else(|| Arc::new(fresh))).collect();
    let variables = candidate.file.iter().flat_map(|file| &file.variables);
    GoodFile { connections, variables: variables.map(|one| (one.name.clone(), one.value.clone())).collect() }
}

/// The faults that keep one connection from being used: its own, else all of its file.
fn faults_of(name: &str, faults: &[Fault]) -> Vec<Fault> {
    let key = format!("connections.{name}");
    let own = |fault: &&Fault| {
        fault.key == key || fault.key.strip_prefix(&key).is_some_and(|rest| rest.starts_with('.'))
    };
    let own: Vec<Fault> = faults.iter().filter(own).cloned().collect();
    if own.is_empty() { faults.to_vec() } else { own }
}
