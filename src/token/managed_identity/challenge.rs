//! Azure Arc's challenge: the agent proves that it runs on the machine by reading a file that only local users of a
//! certain group can read. The rules on that file keep a hostile answer from having any other file read and sent.

use std::path::{Component, Path, PathBuf};

use http::HeaderMap;

use crate::files;
use crate::secret::Secret;

/// Where the Arc agent puts its challenge files on Linux.
pub(super) const TOKEN_FOLDER: &str = "/var/opt/azcmagent/tokens";
const LARGEST_FILE: u64 = 4096;

/// The file that a 401 answer names, if it obeys the rules.
pub(super) fn file_in(headers: &HeaderMap, folder: &Path) -> Result<PathBuf, String> {
    let refused = |why: &str| {
        format!(
            "Azure Arc's challenge is refused, because {why}. Check the health of the Arc agent with: azcmagent show."
        )
    };
    let header = headers
        .get(http::header::WWW_AUTHENTICATE)
        .and_then(|value| value.to_str().ok())
        .ok_or_else(|| refused("it names no file"))?;
    let realm = header.strip_prefix("Basic realm=").ok_or_else(|| refused("it is not of the kind Basic"))?;
    let path = PathBuf::from(realm.trim().trim_matches('"'));
    if path.parent() != Some(folder) || path.components().any(|part| part == Component::ParentDir) {
        return Err(refused(&format!("the file does not lie in {}", folder.display())));
    }
    if path.extension().is_none_or(|extension| extension != "key") {
        return Err(refused("the file's name does not end in .key"));
    }
    Ok(path)
}

/// The proof in that file. Blocking.
pub(super) fn read(path: &Path) -> Result<Secret, String> {
    let bytes = files::read_bounded(path, LARGEST_FILE).map_err(|error| {
        format!("Azure Arc's challenge file cannot be read: {error} Add the agent's user to the group himds.")
    })?;
    let text = String::from_utf8(bytes).unwrap_or_default();
    if text.is_empty() || !text.trim().bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err("Azure Arc's challenge file holds something else than a proof. Check the health of the Arc agent with: azcmagent show.".to_owned());
    }
    Ok(Secret::from(text.trim()))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn only_a_key_file_in_the_folder_is_read() {
        let found = |value: &str| {
            let mut headers = HeaderMap::new();
            headers.insert(http::header::WWW_AUTHENTICATE, value.parse().unwrap());
            file_in(&headers, Path::new(TOKEN_FOLDER))
        };
        let good = "/var/opt/azcmagent/tokens/abc.key";
        assert_eq!(found(&format!("Basic realm={good}")).unwrap(), Path::new(good));
        for bad in [
            "Bearer realm=/var/opt/azcmagent/tokens/a.key",
            "Basic realm=/etc/shadow",
            "Basic realm=/etc/a.key",
            "Basic realm=/var/opt/azcmagent/tokens/a.txt",
            "Basic realm=/var/opt/azcmagent/tokens/../a.key",
            "Basic realm=/var/opt/azcmagent/tokens/../tokens/a.key",
            "Basic realm=/var/opt/azcmagent/tokens/sub/a.key",
            "Basic realm=/var/opt/azcmagent/tokensX/a.key",
            "Basic realm=a.key",
        ] {
            assert!(found(bad).is_err(), "{bad}");
        }
        assert!(file_in(&HeaderMap::new(), Path::new(TOKEN_FOLDER)).is_err());
    }

    #[test]
    fn long_files_links_and_binary_are_refused() {
        let folder = tempfile::tempdir().unwrap();
        let (path, link) = (folder.path().join("a.key"), folder.path().join("b.key"));
        files::write_private(&path, b"proof\n").unwrap();
        assert_eq!(read(&path).unwrap().expose(), "proof");
        std::os::unix::fs::symlink(&path, &link).unwrap();
        assert!(read(&link).is_err());
        files::write_private(&path, &[b'x'; 4097]).unwrap();
        assert!(read(&path).unwrap_err().contains("larger"));
        files::write_private(&path, b"a\nb").unwrap();
        assert!(read(&path).is_err());
    }
}
