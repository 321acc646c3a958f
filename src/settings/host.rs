//! What configuration may ask of the machine: secrets it refers to, and facts about folders. The trait is what the
//! connection stage is handed, so that it can stay free of I/O. Never writes.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use crate::files;
use crate::secret::Secret;

/// The largest secret that is read, in bytes. A PKCS#12 with its chain fits; a log file named by mistake does not.
const SECRET_LIMIT: u64 = 64 * 1024;

/// The largest certificate file that is read, in bytes: the bundle of all public authorities is about 220 KiB.
const PUBLIC_LIMIT: u64 = 512 * 1024;

/// The machine, as configuration sees it. Errors are sentences that name the thing and the remedy, never a secret.
pub trait Host {
    /// The contents of a private file, without the newline at its end.
    ///
    /// # Errors
    /// When it is missing, too large, not text, empty or only white space, or readable by others.
    fn secret_file(&self, path: &Path) -> Result<Secret, String>;

    /// A systemd credential: a file of that name in `$CREDENTIALS_DIRECTORY`.
    ///
    /// # Errors
    /// As [`Host::secret_file`]; also when the name has a `/` or no credentials were passed.
    fn credential(&self, name: &str) -> Result<Secret, String>;

    /// An environment variable.
    ///
    /// # Errors
    /// When it is not set, empty or only white space.
    fn environment(&self, name: &str) -> Result<Secret, String>;

    /// Whether the agent may make files in that folder. Nothing is written to find out.
    ///
    /// # Errors
    /// When it may not, with the reason.
    fn check_writable_folder(&self, folder: &Path) -> Result<(), String>;

    /// The contents of a file that is no secret, such as a certificate.
    ///
    /// # Errors
    /// When it is missing, too large or not a file.
    fn public_file(&self, path: &Path) -> Result<Vec<u8>, String>;

    /// The one path of a file that may not exist yet: its folder with all links resolved, plus its own name.
    ///
    /// # Errors
    /// When the folder does not exist.
    fn canonical(&self, path: &Path) -> Result<PathBuf, String>;
}

type Environment = dyn Fn(&str) -> Option<String> + Send + Sync;

/// The real machine.
#[derive(Clone)]
pub struct ThisHost {
    environment: Arc<Environment>,
    /// What is being looked at, so that a file system that hangs can be named.
    reading: Arc<Mutex<Option<PathBuf>>>,
}

impl ThisHost {
    /// The machine with the process's own environment.
    pub fn new() -> Self {
        Self::with_environment(|name| std::env::var(name).ok())
    }

    /// The machine with another environment, for tests.
    pub fn with_environment(environment: impl Fn(&str) -> Option<String> + Send + Sync + 'static) -> Self {
        Self { environment: Arc::new(environment), reading: Arc::default() }
    }

    /// The file or folder that this machine, or a clone of it, is reading now.
    pub fn reading(&self) -> Option<PathBuf> {
        self.reading.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn while_reading<T>(&self, path: &Path, read: impl FnOnce() -> T) -> T {
        let note = |path| *self.reading.lock().unwrap_or_else(PoisonError::into_inner) = path;
        note(Some(path.to_owned()));
        let done = read();
        note(None);
        done
    }

    /// An environment variable that is no secret.
    pub fn variable(&self, name: &str) -> Option<String> {
        (self.environment)(name)
    }
}

impl Default for ThisHost {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for ThisHost {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("ThisHost")
    }
}

impl Host for ThisHost {
    fn secret_file(&self, path: &Path) -> Result<Secret, String> {
        if !path.is_absolute() {
            return Err(format!(
                "{}: a secret file needs an absolute path. Write it from / on.",
                path.display()
            ));
        }
        // Secrets mounted by Kubernetes are links; the mode and owner of what they point at are what counts.
        let bytes = self.while_reading(path, || {
            let target = std::fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
            files::read_private(&target, SECRET_LIMIT).map_err(|error| error.to_string())
        })?;
        into_secret(bytes, path)
    }

    fn public_file(&self, path: &Path) -> Result<Vec<u8>, String> {
        // Certificates are commonly links into a shared folder; what they point at is what is read.
        self.while_reading(path, || {
            let target = std::fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
            files::read_bounded(&target, PUBLIC_LIMIT).map_err(|error| error.to_string())
        })
    }

    fn credential(&self, name: &str) -> Result<Secret, String> {
        if name.is_empty() || name.starts_with('.') || name.contains(['/', '\0']) {
            return Err(format!(
                "'{}' is not a credential's name. Write the plain name given to LoadCredential, without '/'.",
                name.escape_debug()
            ));
        }
        let Some(directory) = (self.environment)("CREDENTIALS_DIRECTORY") else {
            return Err(format!(
                "Credential '{name}' cannot be read, because the agent was started without credentials. \
                 Add LoadCredential={name}:<file> to the unit, or use {{file: <path>}}."
            ));
        };
        // The folder belongs to systemd, which makes it readable for this service only, so that the files' own modes
        // (0440 under some versions) say nothing; the link and type checks of `read_bounded` still hold.
        let path = Path::new(&directory).join(name);
        let read = self.while_reading(&path, || files::read_bounded(&path, SECRET_LIMIT));
        let bytes = read.map_err(|error| {
            format!("Credential '{name}' cannot be read: {error} Check LoadCredential in the unit.")
        })?;
        into_secret(bytes, &path)
    }

    fn environment(&self, name: &str) -> Result<Secret, String> {
        let text = (self.environment)(name).ok_or_else(|| {
            format!(
                "Environment variable '{}' is not set. Set it for the agent's process.",
                name.escape_debug()
            )
        })?;
        if text.trim().is_empty() {
            return Err(format!(
                "Environment variable '{}' is empty. Put the secret into it for the agent's process.",
                name.escape_debug()
            ));
        }
        Ok(Secret::from(text))
    }

    fn check_writable_folder(&self, folder: &Path) -> Result<(), String> {
        use rustix::fs::{Access, AtFlags, CWD, accessat};
        if !self.while_reading(folder, || folder.is_dir()) {
            return Err(format!(
                "The folder {} does not exist. Create it for the agent's user.",
                folder.display()
            ));
        }
        // Asked of the kernel and not tried out: this runs at every look, and `check` must leave no trace.
        let access = Access::WRITE_OK | Access::EXEC_OK;
        self.while_reading(folder, || accessat(CWD, folder, access, AtFlags::EACCESS)).map_err(|error| {
            format!(
                "The agent cannot make files in {}: {error}. Give its user access (and ReadWritePaths in the unit).",
                folder.display()
            )
        })
    }

    fn canonical(&self, path: &Path) -> Result<PathBuf, String> {
        let (Some(folder), Some(name)) = (path.parent(), path.file_name()) else {
            return Err(format!("{} names no file. Write a path with a file name.", path.display()));
        };
        let folder = self.while_reading(folder, || std::fs::canonicalize(folder)).map_err(|_| {
            format!("The folder {} does not exist. Create it for the agent's user.", folder.display())
        })?;
        Ok(folder.join(name))
    }
}

fn into_secret(bytes: Vec<u8>, path: &Path) -> Result<Secret, String> {
    let not_text = |_| format!("{}: not text in UTF-8. Store the secret as text.", path.display());
    let mut text = String::from_utf8(bytes).map_err(not_text)?;
    while text.ends_with(['\n', '\r']) {
        text.pop();
    }
    if text.trim().is_empty() {
        return Err(format!("{}: empty. Put the secret into it.", path.display()));
    }
    Ok(Secret::new(text))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn what_is_being_read_can_be_named() {
        let host = ThisHost::new();
        let path = Path::new("/run/secrets/one");
        assert_eq!(host.while_reading(path, || host.clone().reading()).as_deref(), Some(path));
        assert_eq!(host.reading(), None);
    }
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn secrets_come_from_private_files_and_credentials_only() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("token");
        files::write_private(&path, b"hunter2\r\n").unwrap();
        let directory = folder.path().display().to_string();
        let host = ThisHost::with_environment(move |name| {
            (name == "CREDENTIALS_DIRECTORY").then(|| directory.clone())
        });
        assert_eq!(host.secret_file(&path).unwrap().expose(), "hunter2");
        assert_eq!(host.credential("token").unwrap().expose(), "hunter2");
        for name in ["", "../token", "a/b", ".hidden"] {
            assert!(host.credential(name).unwrap_err().contains("not a credential's name"), "{name}");
        }
        assert!(host.environment("NOT_SET").unwrap_err().contains("NOT_SET"));
        assert!(host.secret_file(Path::new("token")).unwrap_err().contains("absolute"));
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o644)).unwrap();
        assert!(host.secret_file(&path).unwrap_err().contains("chmod 600"));
        for blank in ["", "\n", " \t\r\n"] {
            files::write_private(&path, blank.as_bytes()).unwrap();
            assert!(host.secret_file(&path).unwrap_err().contains("empty"));
            assert!(host.credential("token").unwrap_err().contains("empty"));
            let host = ThisHost::with_environment(move |_| Some(blank.to_owned()));
            assert!(host.environment("X").unwrap_err().contains("'X' is empty"));
        }
        assert!(
            ThisHost::with_environment(|_| None).credential("token").unwrap_err().contains("LoadCredential")
        );
    }

    #[test]
    fn one_file_has_one_canonical_path() {
        let folder = tempfile::tempdir().unwrap();
        let (real, link) = (folder.path().join("real"), folder.path().join("link"));
        files::ensure_private_folder(&real).unwrap();
        std::os::unix::fs::symlink(&real, &link).unwrap();
        let host = ThisHost::new();
        assert_eq!(host.canonical(&real.join("a")).unwrap(), host.canonical(&link.join("a")).unwrap());
        assert!(host.canonical(&folder.path().join("none/a")).is_err());
        assert!(host.check_writable_folder(&real).is_ok());
        assert!(host.check_writable_folder(&real.join("none")).is_err());
    }
}
