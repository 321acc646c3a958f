//! The control token: the shared secret of the TCP port, from a systemd credential or a private file made at first
//! start. Never logs it, and refuses a file that others can read.

use std::path::Path;

use crate::files::{self, FileError};
use crate::secret::{self, Secret};

/// A token file is one short line.
const TOKEN_FILE_LIMIT: u64 = 4096;

/// Reads the control token: the credential `control-token` when systemd passed one, else `path`, which is made with
/// mode 0600 and 256 random bits when it is missing.
///
/// # Errors
/// A sentence that names the file and the remedy.
pub fn control_token(credentials: Option<&Path>, path: &Path) -> Result<Secret, String> {
    if let Some(credential) = credentials.map(|folder| folder.join("control-token")) {
        match files::read_bounded(&credential, TOKEN_FILE_LIMIT) {
            Ok(contents) => return usable(&contents, &credential),
            Err(error) if error.is_not_found() => {}
            Err(error) => return Err(error.to_string()),
        }
    }
    match files::read_private(path, TOKEN_FILE_LIMIT) {
        Ok(contents) => usable(&contents, path),
        Err(error) if error.is_not_found() => create(path).map_err(|error| error.to_string()),
        Err(error) => Err(error.to_string()),
    }
}

fn create(path: &Path) -> Result<Secret, FileError> {
    let token = secret::random_hex(32);
    files::write_private(path, format!("{token}\n").as_bytes())?;
    tracing::info!(file = %path.display(), "A control token was made.");
    Ok(Secret::new(token))
}

fn usable(contents: &[u8], path: &Path) -> Result<Secret, String> {
    let token = String::from_utf8_lossy(contents).trim().to_owned();
    if token.len() < 16 || !token.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err(format!(
            "{}: a control token has at least 16 printable characters and no spaces. Remove the file and restart to have one made.",
            path.display()
        ));
    }
    Ok(Secret::new(token))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn made_once_then_read() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("control-token");
        let first = control_token(None, &path).unwrap();
        assert_eq!(first.expose().len(), 64);
        assert!(control_token(None, &path).unwrap() == first);
        files::write_private(&path, b"short\n").unwrap();
        assert!(control_token(None, &path).unwrap_err().contains("at least 16"));
    }

    #[test]
    fn a_credential_wins() {
        let folder = tempfile::tempdir().unwrap();
        files::write_private(&folder.path().join("control-token"), b"from-the-credential\n").unwrap();
        let token = control_token(Some(folder.path()), &folder.path().join("other")).unwrap();
        assert_eq!(token.expose(), "from-the-credential");
    }
}
