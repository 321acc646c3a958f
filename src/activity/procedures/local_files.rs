//! Whether an activity may touch a file of this host, and which: only below `[LocalFiles] Root`, and only with
//! `EnableLocalFileLocation=true`. A caller of the control port could otherwise mail any file that the agent can read.

use std::path::PathBuf;
use std::sync::Arc;

use crate::activity::error::ActivityError;
use crate::files::{Confined, ConfinedError, ConfinedFile, PartialFile};
use crate::settings::Settings;

/// The settings about local files.
#[derive(Clone, Debug, Default)]
pub struct LocalFiles {
    enabled: bool,
    root: Option<PathBuf>,
    settings_file: String,
}

/// A path that may be used, not opened yet.
#[derive(Clone, Debug)]
pub(super) struct LocalPath {
    root: PathBuf,
    path: String,
    parameter: &'static str,
}

impl LocalFiles {
    /// What `settings` say.
    pub fn of(settings: &Settings) -> Self {
        let file = settings.file.as_ref().map(|file| file.display().to_string());
        Self {
            enabled: settings.enable_local_file_location,
            root: settings.local_files_root.clone(),
            settings_file: file.unwrap_or_else(|| "jitterbit.conf".to_owned()),
        }
    }

    /// The path in `parameter`.
    ///
    /// # Errors
    /// A sentence that names the setting, its section and its file.
    pub(super) fn path(&self, parameter: &'static str, path: &str) -> Result<LocalPath, ActivityError> {
        let instead = "or give the content itself in the call, in base64 or as a stream";
        let refuse = |remedy: String| {
            let message = format!(
                "'{}' would be a file on the agent's host, which is switched off. {remedy} in {}, {instead}.",
                crate::error::clean_foreign_text(path),
                self.settings_file
            );
            Err(ActivityError::field("local_files_off", parameter, message))
        };
        match &self.root {
            _ if !self.enabled => {
                refuse("Set EnableLocalFileLocation=true in [Settings], and Root in [LocalFiles],".to_owned())
            }
            None => refuse("Set Root in [LocalFiles]".to_owned()),
            Some(root) => Ok(LocalPath { root: root.clone(), path: path.trim().to_owned(), parameter }),
        }
    }
}

impl LocalPath {
    /// The path of a file `name` in this folder.
    pub(super) fn below(&self, name: &str) -> Self {
        let folder = self.path.trim_end_matches('/');
        let root = self.root.display().to_string();
        let path = match folder {
            "" | "." => name.to_owned(),
            _ if folder == root => name.to_owned(),
            _ => format!("{folder}/{name}"),
        };
        Self { path, ..self.clone() }
    }

    /// As it was given.
    pub(super) fn as_given(&self) -> &str {
        &self.path
    }

    /// Opens it to read.
    pub(super) async fn open(&self) -> Result<Arc<ConfinedFile>, ActivityError> {
        let path = self.clone();
        self.blocking(move || Confined::open(&path.root)?.read(&path.path)).await.map(Arc::new)
    }

    /// Begins to write it, or goes on with what was begun for the same `content`.
    pub(super) async fn begin(&self, content: String, overwrite: bool) -> Result<PartialFile, ActivityError> {
        let path = self.clone();
        self.blocking(move || Confined::open(&path.root)?.begin(&path.path, &content, overwrite)).await
    }

    /// File work off the async threads.
    pub(super) async fn blocking<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> Result<T, ConfinedError> + Send + 'static,
    ) -> Result<T, ActivityError> {
        match tokio::task::spawn_blocking(work).await {
            Ok(Ok(done)) => Ok(done),
            Ok(Err(error)) => {
                let code = match &error {
                    ConfinedError::Path { .. } => "bad_local_path",
                    ConfinedError::Exists { .. } => "local_file_exists",
                    ConfinedError::Busy { .. } => "local_file_busy",
                    ConfinedError::File(_) => "local_file_failed",
                };
                let message = format!("The parameter '{}' cannot be used: {error}", self.parameter);
                Err(ActivityError::field(code, self.parameter, message))
            }
            Err(_) => {
                let message = "The agent is stopping. Repeat the call after it has started.";
                Err(ActivityError::field("local_file_failed", self.parameter, message))
            }
        }
    }
}

/// A name from outside, made one that a file below the folder can have: no folders, no hidden file, nothing that a shell
/// or terminal could take for something else.
pub(super) fn safe_name(name: &str) -> String {
    const LONGEST: usize = 150;
    let odd = |character: char| {
        character.is_control() || matches!(character, '/' | '\\' | ':' | '*' | '?' | '"' | '<' | '>' | '|')
    };
    let clean: String = name.chars().map(|character| if odd(character) { '_' } else { character }).collect();
    let clean = clean.trim().trim_start_matches(['.', '-']).trim();
    let mut cut = clean.len().min(LONGEST);
    while !clean.is_char_boundary(cut) {
        cut -= 1;
    }
    // The extension says what it is, so it survives the cut.
    let extension =
        clean.rsplit_once('.').map(|(_, extension)| extension).filter(|extension| extension.len() <= 16);
    match (clean.len() > LONGEST, extension) {
        (true, Some(extension)) => format!("{}.{extension}", &clean[..cut]),
        (true, None) => clean[..cut].to_owned(),
        (false, _) if clean.is_empty() => "unnamed".to_owned(),
        (false, _) => clean.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_from_outside_stay_names() {
        for (name, safe) in [
            ("report.pdf", "report.pdf"),
            ("../../etc/passwd", "_.._etc_passwd"),
            ("..", "unnamed"),
            ("", "unnamed"),
            (".bashrc", "bashrc"),
            ("-rf", "rf"),
            ("a\0b\nc", "a_b_c"),
            ("C:\\x", "C__x"),
            ("übung.txt", "übung.txt"),
        ] {
            assert_eq!(safe_name(name), safe, "{name:?}");
        }
        let long = format!("{}.docx", "ü".repeat(300));
        assert!(safe_name(&long).len() < 180 && safe_name(&long).ends_with(".docx"));
    }

    #[test]
    fn the_switch_and_the_root_are_both_needed_and_named() {
        let root = Some(PathBuf::from("/srv/files"));
        for (enabled, root, expected) in [
            (
                false,
                None,
                "EnableLocalFileLocation=true in [Settings], and Root in [LocalFiles], in /etc/j.conf",
            ),
            (false, root.clone(), "EnableLocalFileLocation=true in [Settings]"),
            (true, None, "Set Root in [LocalFiles] in /etc/j.conf"),
        ] {
            let files = LocalFiles { enabled, root, settings_file: "/etc/j.conf".to_owned() };
            let error =
                files.path("LocalFile", "a.txt").err().map(|error| error.message()).unwrap_or_default();
            assert!(error.contains(expected), "{error}");
        }
        let files = LocalFiles { enabled: true, root, settings_file: String::new() };
        let folder = |path: &str| files.path("AttachmentFolder", path).map(|path| path.below("x").path);
        assert_eq!(folder("/").ok().as_deref(), Some("x"));
        assert_eq!(folder("/srv/files").ok().as_deref(), Some("x"));
        assert_eq!(folder("in/").ok().as_deref(), Some("in/x"));
    }
}
