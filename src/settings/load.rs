//! Finds, reads and checks `jitterbit.conf`: the one way from a path to [`Settings`]. Never decides what a key means
//! (that is `read.rs`).

use std::path::{Path, PathBuf};

use super::host::Host;
use super::ini::{self, Entry, Unreadable};
use super::keys::{self, KEYS, VARIABLES_SECTION};
use super::{Settings, merge, read};
use crate::error::{Fault, nearest_name};
use crate::files;

/// The file that is read when neither `--config` nor `JITTERBIT_HOME` names one.
pub const DEFAULT_FILE: &str = "/etc/o365-agent/jitterbit.conf";

/// The largest `jitterbit.conf` that is read, in bytes. Real ones have a few kilobytes.
const FILE_LIMIT: u64 = 256 * 1024;

/// Where the settings are to be read from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Location {
    /// The file.
    pub path: PathBuf,
    /// Whether the operator named it, so that its absence is an error.
    pub required: bool,
}

/// `--config`, else `$JITTERBIT_HOME/jitterbit.conf`, else [`DEFAULT_FILE`].
pub fn locate(config_flag: Option<&Path>, environment: &dyn Fn(&str) -> Option<String>) -> Location {
    if let Some(path) = config_flag {
        return Location { path: path.to_owned(), required: true };
    }
    let path = match environment("JITTERBIT_HOME") {
        Some(home) if !home.is_empty() => Path::new(&home).join("jitterbit.conf"),
        _ => PathBuf::from(DEFAULT_FILE),
    };
    Location { path, required: false }
}

/// How much a notice matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NoticeLevel {
    /// Good to know.
    Info,
    /// Probably not what was meant.
    Warning,
}

/// Something an operator should see that does not stop the file from being used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Notice {
    /// How much it matters.
    pub level: NoticeLevel,
    /// What and where.
    pub text: Fault,
}

/// Settings, and what there is to say about the file they came from.
#[derive(Debug)]
pub struct Loaded {
    /// The settings.
    pub settings: Settings,
    /// What to log about them.
    pub notices: Vec<Notice>,
}

/// Reads the settings. Start-up, reload and `check` all come here.
///
/// # Errors
/// Every fault of the file at once.
pub fn load(location: &Location, host: &dyn Host) -> Result<Loaded, Vec<Fault>> {
    let whole_file = |message: String| {
        vec![Fault { file: location.path.clone(), line: None, key: String::new(), message }]
    };
    // A mounted configuration is often a link; the operator named this path, so the link is theirs.
    let target = std::fs::canonicalize(&location.path).unwrap_or_else(|_| location.path.clone());
    match files::read_bounded(&target, FILE_LIMIT) {
        Ok(bytes) => parse(Some(&location.path), &String::from_utf8_lossy(&bytes), host),
        Err(error) if error.is_not_found() && !location.required => {
            let mut loaded = parse(None, "", host)?;
            let message = "This file does not exist; all settings have their defaults.".to_owned();
            let text = Fault { file: location.path.clone(), line: None, key: String::new(), message };
            loaded.notices.push(Notice { level: NoticeLevel::Info, text });
            Ok(loaded)
        }
        Err(error) => Err(whole_file(error.to_string())),
    }
}

/// Settings from a file's text; `file` is only named in messages and in [`Settings::file`].
///
/// # Errors
/// Every fault at once.
pub fn parse(file: Option<&Path>, text: &str, host: &dyn Host) -> Result<Loaded, Vec<Fault>> {
    let named = file.unwrap_or(Path::new(DEFAULT_FILE));
    let (entries, unreadable) = ini::read(text);
    let (ours, mut notices) = sort_out(named, entries);
    let merged = merge::merge(&ours).map_err(|error| {
        vec![Fault { file: named.to_owned(), line: None, key: String::new(), message: format!("{error}.") }]
    })?;
    let mut faults = Vec::new();
    for line in unreadable {
        let Unreadable { section, line, message } = line;
        let ours = keys::is_our_section(&section);
        let text = Fault { file: named.to_owned(), line: Some(line), key: bracketed(&section), message };
        // Foreign sections are the original agent's business, however they are written.
        if ours { faults.push(text) } else { notices.push(Notice { level: NoticeLevel::Info, text }) }
    }
    let settings = read::read(file, named, &merged, host, &mut faults);
    if faults.is_empty() {
        Ok(Loaded { settings, notices })
    } else {
        faults.sort();
        Err(faults)
    }
}

/// Parts our entries from foreign ones: one notice names all foreign sections, one each a key of ours that is unknown
/// or written twice.
fn sort_out(file: &Path, entries: Vec<Entry>) -> (Vec<Entry>, Vec<Notice>) {
    let (mut ours, mut notices, mut foreign) = (Vec::<Entry>::new(), Vec::new(), Vec::<String>::new());
    for entry in entries {
        let mut warn = |message: String| {
            let key = format!("{} {}", bracketed(&entry.section), entry.key);
            let text = Fault { file: file.to_owned(), line: Some(entry.line), key, message };
            notices.push(Notice { level: NoticeLevel::Warning, text });
        };
        if entry.section.eq_ignore_ascii_case(VARIABLES_SECTION)
            || keys::find(&entry.section, &entry.key).is_some()
        {
            if let Some(earlier) = ours.iter().find(|earlier| same_key(earlier, &entry)) {
                warn(format!("Set again: line {} is overruled. Keep one of the two.", earlier.line));
            }
            ours.push(entry);
            continue;
        }
        let here =
            KEYS.iter().filter(|key| key.section.eq_ignore_ascii_case(&entry.section)).map(|key| key.name);
        let nearest = nearest_name(&entry.key, here);
        // [Settings] is shared with the original agent, so only a likely slip in it is worth a warning.
        let shared = entry.section.eq_ignore_ascii_case("Settings");
        if keys::is_our_section(&entry.section) && (nearest.is_some() || !shared) {
            let hint = nearest.map(|name| format!(" Did you mean '{name}'?")).unwrap_or_default();
            warn(format!("Unknown key; it has no effect.{hint}"));
        } else {
            let name = if shared { format!("[Settings] {}", entry.key) } else { bracketed(&entry.section) };
            if !foreign.contains(&name) {
                foreign.push(name);
            }
        }
    }
    if !foreign.is_empty() {
        let message = format!("Not used by o365-agent, left to the original agent: {}.", foreign.join(", "));
        let text = Fault { file: file.to_owned(), line: None, key: String::new(), message };
        notices.insert(0, Notice { level: NoticeLevel::Info, text });
    }
    (ours, notices)
}

/// Variables keep their case, because variable names do; all other keys are matched without regard to it.
fn same_key(one: &Entry, other: &Entry) -> bool {
    let variables = one.section.eq_ignore_ascii_case(VARIABLES_SECTION);
    one.section.eq_ignore_ascii_case(&other.section)
        && if variables { one.key == other.key } else { one.key.eq_ignore_ascii_case(&other.key) }
}

fn bracketed(section: &str) -> String {
    if section.is_empty() { "(before the first section)".to_owned() } else { format!("[{section}]") }
}
