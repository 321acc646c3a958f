//! Where a connection keeps its tokens: the agent's own folder, memory, or a file the operator names, if the settings
//! allow that. Whether two connections name one file is found out in `load.rs`, which sees them all.

use std::path::{Component, Path};

use super::StoreLocation;
use super::values::Values;
use crate::settings::DEFAULT_FILE;

/// Reads and checks `OAuthSettingsLocation`.
pub(super) fn check(values: &mut Values<'_>) -> Option<StoreLocation> {
    const NAME: &str = "OAuthSettingsLocation";
    let Some(text) = values.text(NAME) else {
        return Some(StoreLocation::StateDirectory);
    };
    if let Some(id) = text.strip_prefix("memory://") {
        if id.is_empty() {
            values.fault(NAME, "memory:// needs an id. Write for example memory://sales.");
        }
        return Some(StoreLocation::Memory(id.to_owned()));
    }
    if !values.around.settings.enable_local_file_location {
        let file = values.around.settings.file.as_deref().unwrap_or(Path::new(DEFAULT_FILE)).display();
        values.fault(
            NAME,
            format!(
                "A file is named, but EnableLocalFileLocation is false in section [Settings] of {file}. \
             Write there, in these two lines: \"[Settings]\" and \"EnableLocalFileLocation=true\"; \
             or remove OAuthSettingsLocation, so that the tokens are kept in the agent's own folder."
            ),
        );
        return None;
    }
    let path = Path::new(&text);
    let checked = if !path.is_absolute() || path.components().any(|part| matches!(part, Component::ParentDir))
    {
        Err(format!("'{}' is not an absolute path without '..'. Write it from / on.", text.escape_debug()))
    } else {
        // The canonical path is what is kept, so that two spellings of one file cannot pass for two files.
        values.around.host.canonical(path).and_then(|path| {
            path.parent().map_or(Ok(()), |folder| values.around.host.check_writable_folder(folder))?;
            Ok(path)
        })
    };
    match checked {
        Ok(path) => Some(StoreLocation::File(path)),
        Err(message) => {
            values.fault(NAME, message);
            None
        }
    }
}
