//! Work on stores beside the agent: list, export, import, move, re-key. Takes the same locks as the agent does, refreshes
//! nothing, and gives a secret out only in an export that was asked to hold secrets.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};

use crate::clock::{Clock, Timestamp};
use crate::connection::{Connection, StoreLocation};
use crate::files;
use crate::settings::{Backend, Settings};
use crate::token::model::TokenGeneration;
use crate::token::plan::fingerprints_of;

use super::key::{StoreKey, beside};
use super::lineage::Order;
use super::{Committed, FileStore, KeyRing, Lineage, OpenStore, Shelf, Stored, envelope, file, seeds};

/// What an export file calls itself.
const EXPORT_FORMAT: &str = "o365-agent-tokens-export";
const EXPORT_VERSION: u64 = 1;
/// Bound on waiting for a token file while re-keying; the agent does not run then.
const LOCK_WAIT: Duration = Duration::from_secs(10);

/// One connection's store, told without a secret.
#[derive(Clone, Debug, serde::Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Listed {
    /// The connection, which is also the contents' owner.
    pub connection: String,
    /// Where its tokens are kept.
    pub place: String,
    /// The number of the newest token; 0 when there is none.
    pub generation: TokenGeneration,
    /// When the access token ends; absent when there is none.
    pub expires_at: Option<Timestamp>,
    /// Whether there is a refresh token.
    pub has_refresh_token: bool,
    /// Why the store cannot be read, if so.
    pub problem: Option<String>,
}

/// The stores of a set of connections.
#[derive(Debug)]
pub struct Offline {
    settings: Settings,
    keys: Arc<KeyRing>,
    clock: Clock,
    connections: Vec<Arc<Connection>>,
}

impl Offline {
    /// The stores that `connections` have under `settings`.
    pub fn new(settings: Settings, connections: Vec<Arc<Connection>>, clock: Clock) -> Self {
        let credentials = crate::systemd::credentials_directory();
        let keys = Arc::new(KeyRing::existing(&settings, credentials));
        Self { settings, keys, clock, connections }
    }

    /// Every connection's store.
    pub async fn list(&self) -> Vec<Listed> {
        let shelf = self.shelf(self.settings.token_store.backend);
        let mut listed = Vec::with_capacity(self.connections.len());
        for connection in &self.connections {
            let store = shelf.open(connection);
            let mut one = Listed {
                connection: connection.name.to_string(),
                place: store.place(),
                generation: 0,
                expires_at: None,
                has_refresh_token: false,
                problem: None,
            };
            match store.load(false).await {
                Ok(stored) => {
                    let stored = stored.unwrap_or_default();
                    one.generation = stored.generation;
                    one.expires_at = stored.access.map(|access| access.expires_at);
                    one.has_refresh_token = stored.refresh_token.is_some();
                }
                Err(error) => one.problem = Some(error.to_string()),
            }
            listed.push(one);
        }
        shelf.close().await;
        listed
    }

    /// The stores as one JSON text.
    ///
    /// # Errors
    /// A sentence, when a store cannot be read: a part of the tokens must not look like all of them.
    pub async fn export(&self, with_secrets: bool) -> Result<String, String> {
        let shelf = self.shelf(self.settings.token_store.backend);
        let mut tokens = Vec::new();
        for connection in &self.connections {
            let Some(stored) = shelf.open(connection).load(false).await.map_err(|error| error.to_string())?
            else {
                continue;
            };
            let mut one = json!({
                "connection": connection.name.as_str(),
                "generation": stored.generation,
                "expiresAt": stored.access.as_ref().map(|access| access.expires_at),
                "hasRefreshToken": stored.refresh_token.is_some(),
            });
            if with_secrets {
                one["contents"] =
                    envelope::to_plain(&stored).ok_or("The tokens could not be written as JSON.")?;
            }
            tokens.push(one);
        }
        shelf.close().await;
        let note = if with_secrets {
            "This file holds tokens in the clear. Whoever reads it can act as these connections."
        } else {
            "The secrets were left out (no --with-secrets), so this file cannot be imported."
        };
        let file = json!({ "format": EXPORT_FORMAT, "version": EXPORT_VERSION, "secrets": with_secrets, "note": note, "tokens": tokens });
        serde_json::to_string_pretty(&file).map_err(|error| format!("{error}."))
    }

    /// Puts the tokens of an export into the stores, as newer than what is there. One line per connection.
    ///
    /// # Errors
    /// A sentence, before anything was changed, or naming the connection that could not be written.
    pub async fn import(&self, text: &[u8]) -> Result<Vec<String>, String> {
        let file: Value =
            serde_json::from_slice(text).map_err(|error| format!("It is not JSON: {error}."))?;
        if file["format"] != EXPORT_FORMAT || file["version"] != EXPORT_VERSION {
            return Err(
                "It is not an export of `o365-agent tokens export` that this version understands.".to_owned()
            );
        }
        if file["secrets"] != true {
            return Err("It was exported without --with-secrets, so there are no tokens in it.".to_owned());
        }
        let mut planned = Vec::new();
        for one in file["tokens"].as_array().into_iter().flatten() {
            let name = one["connection"].as_str().unwrap_or_default();
            let connection = self.connections.iter().find(|connection| connection.name.as_str() == name);
            let connection = connection.ok_or_else(|| {
                format!("There is no connection '{name}'. Add its drop-in first, or take it out of the file.")
            })?;
            let stored = envelope::from_plain(one["contents"].clone())
                .ok_or_else(|| format!("The tokens of '{name}' are not understood."))?;
            planned.push((connection, stored));
        }
        let shelf = self.shelf(self.settings.token_store.backend);
        let mut lines = Vec::new();
        for (connection, stored) in planned {
            let store = shelf.open(connection);
            // What stands in the drop-in is older than what a person imports.
            let seed = fingerprints_of(&connection.auth, self.clock.now());
            let stored = Stored { seed: seeds(stored.seed.as_deref(), seed.as_deref()), ..stored };
            let generation = put(&store, stored, Newness::AlwaysNewer(self.clock.now()))
                .await
                .map_err(|why| format!("{}: {why}", connection.name))?;
            lines.push(format!("{}: token {generation} in {}", connection.name, store.place()));
        }
        shelf.close().await;
        Ok(lines)
    }

    /// Moves the tokens of all connections without a place of their own to `target`, and takes the old place out of use.
    /// One line per connection. May be repeated after it was cut short.
    ///
    /// # Errors
    /// A sentence naming the connection; those before it are moved.
    pub async fn move_to(&self, target: Backend) -> Result<Vec<String>, String> {
        let store = &self.settings.token_store;
        if target == Backend::Postgresql && (store.postgresql.is_none() || store.group.is_none()) {
            return Err(
                "Set [TokenStore] Connection and Group first; Backend is changed after the move.".to_owned()
            );
        }
        let source = match target {
            Backend::File if store.postgresql.is_none() => {
                return Err(
                    "[TokenStore] Connection is not set, so there is no database to move from.".to_owned()
                );
            }
            Backend::File => Backend::Postgresql,
            Backend::Postgresql => Backend::File,
        };
        let (from, to) = (self.shelf(source), self.shelf(target));
        let mut lines = Vec::new();
        let movable =
            |connection: &&Arc<Connection>| matches!(connection.store, StoreLocation::StateDirectory);
        for connection in self.connections.iter().filter(movable) {
            let failed = |why: String| format!("{}: {why}", connection.name);
            let (old, new) = (from.open(connection), to.open(connection));
            let lock = old.lock().await.map_err(|error| failed(error.to_string()))?;
            let Some(stored) = old.load(true).await.map_err(|error| failed(error.to_string()))? else {
                lines.push(format!("{}: nothing to move", connection.name));
                continue;
            };
            let generation = put(&new, stored, Newness::MustBeNewer).await.map_err(failed)?;
            // Only now: a crash before this leaves both, and a repetition finds the same tokens at the target.
            old.retire(&lock).await.map_err(|error| failed(error.to_string()))?;
            lines.push(format!("{}: token {generation} moved to {}", connection.name, new.place()));
        }
        from.close().await;
        to.close().await;
        Ok(lines)
    }

    /// Encrypts all token files, and the rows of the agents' group, with the key in `new_key` (made when missing, but not
    /// for a group, whose other agents need it first), then puts that key in the old one's place, which is kept beside
    /// it. After a crash at any instant a repetition goes on where it stopped.
    ///
    /// # Errors
    /// A sentence; every store then opens with the old or with the new key.
    pub async fn rekey(&self, new_key: Option<&Path>) -> Result<Vec<String>, String> {
        let text = |error: super::StoreError| error.to_string();
        let old = self.keys.key().map_err(text)?;
        if self.settings.token_store.key_file.as_ref().is_none_or(|path| *path != old.origin)
            && old.origin.parent() != Some(self.settings.state_directory.as_path())
        {
            return Err(format!(
                "The key comes from {}, which only systemd may change. Store a new credential, set CREDENTIALS_DIRECTORY to a copy of the old one's folder, and set KeyFile.",
                old.origin.display()
            ));
        }
        let staged = new_key.map_or_else(|| beside(&old.origin, "new"), Path::to_owned);
        let of_group = self.settings.token_store.backend == Backend::Postgresql;
        if of_group && !staged.exists() {
            return Err(format!(
                "{}: there is no new key. Make one with: openssl rand -base64 32. Put it beside the key of every agent of the group, as {}, so that all can read what is encrypted with it, then repeat this.",
                staged.display(),
                beside(&old.origin, "new").display()
            ));
        }
        let new = KeyRing::at(&staged).key().map_err(text)?;
        if new.id == old.id {
            return Err(format!("{}: it is the key in use. Name another file.", staged.display()));
        }
        let mut lines = Vec::new();
        for path in self.token_files()? {
            let changed = file::reseal(&path, &old, &new, LOCK_WAIT).map_err(text)?;
            lines.push(format!(
                "{}: {}",
                path.display(),
                if changed { "encrypted anew" } else { "was done already" }
            ));
        }
        if of_group {
            self.keys.learn(Arc::clone(&new));
            let shelf = self.shelf(Backend::Postgresql);
            let done = shelf.rekey_group(&old, &new).await;
            shelf.close().await;
            lines.extend(done.map_err(text)?);
        }
        self.exchange_keys(&old, &new, &staged)?;
        lines.push(format!(
            "Key {} is in force. The old key {} is kept in {}; delete it when no backup needs it.",
            new.id,
            old.id,
            beside(&old.origin, &old.id).display()
        ));
        Ok(lines)
    }

    fn exchange_keys(&self, old: &StoreKey, new: &StoreKey, staged: &Path) -> Result<(), String> {
        let copy = |from: &Path, to: &Path| {
            let contents = files::read_private(from, 256).map_err(|error| error.to_string())?;
            files::write_private(to, &contents).map_err(|error| error.to_string())
        };
        copy(&old.origin, &beside(&old.origin, &old.id))?;
        copy(&new.origin, &old.origin)?;
        if *staged == beside(&old.origin, "new") {
            files::remove(staged).map_err(|error| error.to_string())?;
        }
        Ok(())
    }

    /// The files of all connections, and those in the state directory that no connection has now.
    fn token_files(&self) -> Result<Vec<PathBuf>, String> {
        let folder = self.settings.state_directory.join("tokens");
        let mut found: Vec<PathBuf> = match std::fs::read_dir(&folder) {
            Ok(entries) => entries
                .filter_map(|entry| entry.ok().map(|entry| entry.path()))
                .filter(|path| path.extension().is_some_and(|extension| extension == "json"))
                .filter(|path| path.file_name().is_some_and(|name| !name.to_string_lossy().starts_with('.')))
                .collect(),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Vec::new(),
            Err(error) => return Err(format!("{}: {error}.", folder.display())),
        };
        for connection in &self.connections {
            let path = match &connection.store {
                StoreLocation::StateDirectory => {
                    FileStore::default_path(&self.settings.state_directory, &connection.name)
                }
                StoreLocation::File(path) => path.clone(),
                StoreLocation::Memory(_) => continue,
            };
            if path.exists() && !found.contains(&path) {
                found.push(path);
            }
        }
        found.sort();
        Ok(found)
    }

    fn shelf(&self, backend: Backend) -> Shelf {
        let mut settings = self.settings.clone();
        settings.token_store.backend = backend;
        Shelf::with_keys(&settings, Arc::clone(&self.keys), self.clock.clone())
    }
}

/// How tokens stand to those that are there.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(in crate::token) enum Newness {
    /// They replace them, because a person says so, now.
    AlwaysNewer(Timestamp),
    /// They replace only those that they come after; a number alone does not decide between two sign-ins.
    MustBeNewer,
}

pub(in crate::token) async fn put(
    store: &OpenStore,
    mut stored: Stored,
    newness: Newness,
) -> Result<TokenGeneration, String> {
    let lock = store.lock().await.map_err(|error| error.to_string())?;
    let found = store.load(true).await.map_err(|error| error.to_string())?;
    let there = found.as_ref().map_or(0, |found| found.generation);
    match newness {
        // A running agent may know the tokens that were here, or those that the export was made from.
        Newness::AlwaysNewer(now) => {
            stored.generation = stored.generation.max(there + 1);
            let found = found.unwrap_or_default();
            let replaced = found.lineage.after(&stored.lineage);
            stored.lineage = Lineage::begin(now).after(&replaced);
            stored.seed = seeds(stored.seed.as_deref(), found.seed.as_deref());
        }
        Newness::MustBeNewer => {
            let found = found.unwrap_or_default();
            // An earlier move, which was cut short.
            if found.has_the_tokens_of(&stored) {
                return Ok(there);
            }
            if stored.order(&found) != Order::Newer {
                return Err(format!(
                    "{} has token {there} already, which this one (number {}) does not come after: it is as new, or from another sign-in. Nothing was changed. Keep the one and remove the other.",
                    store.place(),
                    stored.generation
                ));
            }
        }
    }
    match store.commit(Some(&lock), there, Arc::new(stored)).await {
        Committed::Saved(saved) => Ok(saved.generation),
        Committed::Owed(_, error) => Err(error.to_string()),
        Committed::Overtaken(_) => Err(format!(
            "{} was changed meanwhile by somebody who takes no lock. Repeat the command.",
            store.place()
        )),
    }
}
