//! Writes and removes the drop-in of one connection for the control port. Never rewrites a file that holds anything
//! else: people write comments into those. Planned first, so that the result can be checked before it is saved.

use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use super::raw::DropInFile;
use super::scan::{Snapshot, is_drop_in_name, scan};
use super::yaml;
use crate::error::Fault;
use crate::files::{self, FileError};
use crate::secret;

/// Stands above every file that is written here.
const HEADER: &str =
    "# Written by o365-agent's control port. Edits are kept until the next PUT of this connection.\n";

/// Why a drop-in was not written or removed.
#[derive(Debug, thiserror::Error)]
pub enum WriteError {
    /// No drop-in holds a connection of that name.
    #[error("No drop-in holds the connection '{0}'.")]
    NotFound(String),
    /// It is not alone in its file.
    #[error(
        "The connection '{name}' stands in {file} together with {others}. Edit that file by hand, or move the connection to a file of its own."
    )]
    Shared {
        /// The connection.
        name: String,
        /// Its file.
        file: String,
        /// What else is in it.
        others: String,
    },
    /// The file it comes from cannot be read now.
    #[error(
        "The connection '{name}' comes from {file}, which cannot be read now. Repair or remove that file first."
    )]
    Broken {
        /// The connection.
        name: String,
        /// The file.
        file: String,
    },
    /// The file is not what it was when the change was planned.
    #[error("{0} was changed meanwhile. Read the connection again and repeat the change.")]
    Changed(String),
    /// The document is no drop-in.
    #[error("{0}")]
    Invalid(Fault),
    /// The directory cannot be read.
    #[error("{0}")]
    Directory(Fault),
    /// The file system refused.
    #[error(transparent)]
    File(#[from] FileError),
}

/// The drop-in that holds a connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConnectionFile {
    /// The file.
    pub path: PathBuf,
    /// SHA-256 of its contents.
    pub hash: [u8; 32],
    /// What else is in it, in words; absent when the connection is alone.
    pub others: Option<String>,
}

impl ConnectionFile {
    /// The entity tag of the connection's configuration, with its quotes (RFC 9110 section 8.8.3).
    pub fn etag(&self) -> String {
        format!("\"{}\"", secret::hex(&self.hash[..16]))
    }
}

/// The drop-in in `snapshot` that holds a connection.
pub fn find_connection(snapshot: &Snapshot, name: &str) -> Option<ConnectionFile> {
    let file =
        snapshot.good.iter().find(|file| file.connections.iter().any(|one| one.name.trim() == name))?;
    let mut others: Vec<String> = file
        .connections
        .iter()
        .filter(|one| one.name.trim() != name)
        .map(|one| format!("'{}'", one.name))
        .collect();
    if !file.variables.is_empty() {
        others.push("variables".to_owned());
    }
    let others = (!others.is_empty()).then(|| others.join(", "));
    Some(ConnectionFile { path: file.path.clone(), hash: file.hash, others })
}

/// A file that is ready to be written.
#[derive(Debug)]
pub struct PlannedWrite {
    /// What it will say, for checking it first.
    pub file: DropInFile,
    text: secret::Secret,
    replaces: Option<[u8; 32]>,
}

impl PlannedWrite {
    /// Writes it, unless the file has changed since. Returns it as it now is.
    ///
    /// # Errors
    /// [`WriteError::Changed`], [`WriteError::File`].
    pub fn commit(self) -> Result<ConnectionFile, WriteError> {
        check_unchanged(&self.file.path, self.replaces)?;
        files::write_atomically(&self.file.path, self.text.expose().as_bytes(), 0o600)?;
        Ok(ConnectionFile { path: self.file.path, hash: self.file.hash, others: None })
    }
}

/// A file that is ready to be removed.
#[derive(Debug)]
pub struct PlannedRemoval {
    /// The file.
    pub path: PathBuf,
    hash: [u8; 32],
}

impl PlannedRemoval {
    /// Removes it, unless it has changed since.
    ///
    /// # Errors
    /// [`WriteError::Changed`], [`WriteError::File`].
    pub fn commit(self) -> Result<(), WriteError> {
        check_unchanged(&self.path, Some(self.hash))?;
        Ok(files::remove(&self.path)?)
    }
}

/// Plans the file that makes connection `name` what `document` says (its properties, and `AdvancedConfigurations` and
/// `activities` if any). `in_force` is the file that the running connection of that name came from, if there is one.
///
/// # Errors
/// [`WriteError`].
pub fn plan_put(
    snapshot: &Snapshot,
    name: &str,
    document: &Value,
    in_force: Option<&Path>,
) -> Result<PlannedWrite, WriteError> {
    let (path, replaces) = match held_alone(snapshot, name, in_force) {
        Ok(holder) => (holder.path, Some(holder.hash)),
        Err(WriteError::NotFound(_)) => (new_path(snapshot, name), None),
        Err(error) => return Err(error),
    };
    let invalid =
        |message| WriteError::Invalid(Fault { file: path.clone(), line: None, key: String::new(), message });
    let yaml = yaml::to_text(&json!({ "connections": { name: document } })).map_err(invalid)?;
    let text = format!("{HEADER}{yaml}");
    let file = DropInFile::parse(&path, text.as_bytes()).map_err(WriteError::Invalid)?;
    Ok(PlannedWrite { file, text: text.into(), replaces })
}

/// Plans the removal of the file of connection `name`.
///
/// # Errors
/// [`WriteError`].
pub fn plan_delete(
    snapshot: &Snapshot,
    name: &str,
    in_force: Option<&Path>,
) -> Result<PlannedRemoval, WriteError> {
    held_alone(snapshot, name, in_force).map(|holder| PlannedRemoval { path: holder.path, hash: holder.hash })
}

/// Scans `directory`, plans and writes in one go.
///
/// # Errors
/// [`WriteError`].
pub fn put_connection(directory: &Path, name: &str, document: &Value) -> Result<ConnectionFile, WriteError> {
    plan_put(&scanned(directory)?, name, document, None)?.commit()
}

/// Scans `directory`, plans and removes in one go.
///
/// # Errors
/// [`WriteError`].
pub fn delete_connection(directory: &Path, name: &str) -> Result<(), WriteError> {
    plan_delete(&scanned(directory)?, name, None)?.commit()
}

fn scanned(directory: &Path) -> Result<Snapshot, WriteError> {
    let mut snapshot = scan(directory);
    match snapshot.fault.take() {
        Some(fault) => Err(WriteError::Directory(fault)),
        None => Ok(snapshot),
    }
}

fn held_alone(
    snapshot: &Snapshot,
    name: &str,
    in_force: Option<&Path>,
) -> Result<ConnectionFile, WriteError> {
    match (find_connection(snapshot, name), in_force) {
        (Some(ConnectionFile { path, others: Some(others), .. }), _) => {
            Err(WriteError::Shared { name: name.to_owned(), file: path.display().to_string(), others })
        }
        (Some(holder), _) => Ok(holder),
        (None, Some(file)) if snapshot.rejected.iter().any(|rejected| rejected.path == file) => {
            Err(WriteError::Broken { name: name.to_owned(), file: file.display().to_string() })
        }
        (None, _) => Err(WriteError::NotFound(name.to_owned())),
    }
}

/// A file name that says which connection is inside and that nobody has yet.
fn new_path(snapshot: &Snapshot, name: &str) -> PathBuf {
    let mut slug: String = name
        .chars()
        .map(|character| if character.is_ascii_alphanumeric() { character.to_ascii_lowercase() } else { '-' })
        .collect();
    slug = slug.split('-').filter(|part| !part.is_empty()).collect::<Vec<_>>().join("-");
    slug.truncate(60);
    let fingerprint = secret::fingerprint(name.as_bytes());
    let plain = format!("{slug}.yaml");
    let taken = |file: &str| snapshot.directory.join(file).symlink_metadata().is_ok();
    if !slug.is_empty() && is_drop_in_name(&plain) && !taken(&plain) {
        return snapshot.directory.join(plain);
    }
    snapshot
        .directory
        .join(format!("{}-{fingerprint}.yaml", if slug.is_empty() { "connection" } else { &slug }))
}

fn check_unchanged(path: &Path, wanted: Option<[u8; 32]>) -> Result<(), WriteError> {
    let found = match super::scan::read_drop_in(path) {
        Ok(file) => Some(file.hash),
        Err(_) if path.symlink_metadata().is_err() => None,
        Err(_) => return Err(WriteError::Changed(path.display().to_string())),
    };
    if found == wanted { Ok(()) } else { Err(WriteError::Changed(path.display().to_string())) }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn a_connection_is_written_changed_and_removed_alone() {
        let folder = tempfile::tempdir().unwrap();
        let document = json!({ "AuthScheme": "AzureAD", "OAuthClientSecret": "a: 'b' # c" });
        let written = put_connection(folder.path(), "Sales mailbox", &document).unwrap();
        assert_eq!(written.path, folder.path().join("sales-mailbox.yaml"));
        let found = find_connection(&scan(folder.path()), "Sales mailbox").unwrap();
        assert_eq!((found.etag(), found.others.as_deref()), (written.etag(), None));
        // Another name with the same slug gets a file of its own.
        let other = put_connection(folder.path(), "sales MAILBOX", &document).unwrap();
        assert_ne!(other.path, written.path);
        let again =
            put_connection(folder.path(), "Sales mailbox", &json!({ "AuthScheme": "AzureMSI" })).unwrap();
        assert_eq!(again.path, written.path);
        assert_ne!(again.etag(), written.etag());
        delete_connection(folder.path(), "Sales mailbox").unwrap();
        assert!(!written.path.exists());
        assert!(matches!(delete_connection(folder.path(), "Sales mailbox"), Err(WriteError::NotFound(_))));
    }

    #[test]
    fn files_with_other_things_in_them_are_left_alone() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("hand.yaml");
        files::write_private(&path, b"# mine\nconnections: {A: {}, B: {}}\nvariables: {x: 1}\n").unwrap();
        let error = put_connection(folder.path(), "A", &json!({})).unwrap_err().to_string();
        assert!(error.contains("hand.yaml") && error.contains("'B', variables"), "{error}");
        assert!(delete_connection(folder.path(), "B").is_err());
        files::write_private(&path, b"connections: [\n").unwrap();
        let planned = plan_put(&scan(folder.path()), "A", &json!({}), Some(&path));
        assert!(matches!(planned, Err(WriteError::Broken { .. })));
    }

    #[test]
    fn a_change_in_between_is_noticed() {
        let folder = tempfile::tempdir().unwrap();
        let written = put_connection(folder.path(), "A", &json!({})).unwrap();
        let planned = plan_put(&scan(folder.path()), "A", &json!({ "Timeout": 5 }), None).unwrap();
        files::write_private(&written.path, b"connections: {A: {Timeout: 6}}\n").unwrap();
        assert!(matches!(planned.commit(), Err(WriteError::Changed(_))));
        let fresh = plan_put(&scan(folder.path()), "B", &json!({}), None).unwrap();
        files::write_private(&folder.path().join("b.yaml"), b"connections: {}\n").unwrap();
        assert!(matches!(fresh.commit(), Err(WriteError::Changed(_))));
    }
}
