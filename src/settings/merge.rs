//! Entries of the file, laid over the defaults by the `config` crate. Values stay text here; `read.rs` types them.
//! Never touches a file.

use std::collections::BTreeMap;

use config::{Config, ConfigError, Map, Source, Value};

use super::ini::Entry;
use super::keys::{KEYS, VARIABLES_SECTION};

/// The merged text of every key of ours, and where each one that is set was written.
#[derive(Debug)]
pub(super) struct Merged {
    values: Config,
    lines: BTreeMap<(String, String), usize>,
    /// `[PredefinedJitterbitVariables]`, with names as written.
    pub(super) variables: BTreeMap<String, String>,
}

impl Merged {
    /// The text of a key: from the file, else its default. The key must be one of [`KEYS`].
    pub(super) fn text(&self, section: &str, name: &str) -> String {
        self.values.get_string(&format!("{}.{}", fold(section), fold(name))).unwrap_or_default()
    }

    /// The line that set the key; absent when its default holds.
    pub(super) fn line(&self, section: &str, name: &str) -> Option<usize> {
        self.lines.get(&(fold(section), fold(name))).copied()
    }
}

/// Lays `entries` (only those of our sections) over the defaults. Of two entries with one name the later one counts.
///
/// # Errors
/// The `config` crate's own, which it has no occasion for: both layers are plain text.
pub(super) fn merge(entries: &[Entry]) -> Result<Merged, ConfigError> {
    let mut written = Layer::default();
    let (mut lines, mut variables) = (BTreeMap::new(), BTreeMap::new());
    for entry in entries {
        if entry.section.eq_ignore_ascii_case(VARIABLES_SECTION) {
            variables.insert(entry.key.clone(), entry.value.clone());
        } else {
            written.set(&entry.section, &entry.key, &entry.value);
            lines.insert((fold(&entry.section), fold(&entry.key)), entry.line);
        }
    }
    let mut defaults = Layer::default();
    for key in KEYS {
        defaults.set(key.section, key.name, key.default);
    }
    Ok(Merged {
        values: Config::builder().add_source(defaults).add_source(written).build()?,
        lines,
        variables,
    })
}

fn fold(name: &str) -> String {
    name.to_ascii_lowercase()
}

/// One layer: section → key → text, names in lower case because the original's file is matched without regard to case.
#[derive(Clone, Debug, Default)]
struct Layer(BTreeMap<String, Map<String, Value>>);

impl Layer {
    fn set(&mut self, section: &str, name: &str, text: &str) {
        self.0.entry(fold(section)).or_default().insert(fold(name), Value::from(text));
    }
}

impl Source for Layer {
    fn clone_into_box(&self) -> Box<dyn Source + Send + Sync> {
        Box::new(self.clone())
    }

    fn collect(&self) -> Result<Map<String, Value>, ConfigError> {
        Ok(self.0.iter().map(|(section, keys)| (section.clone(), Value::from(keys.clone()))).collect())
    }
}
