//! The text of an INI file → its entries, each with its line. Knows no section and no key by name.
//!
//! rust-ini reads each line by itself, with escapes and quotes off. Handed the whole text it would let a line without
//! `=` or with a closing backslash (`Path=C:\temp\`) swallow the next one, stop at an indented comment, and lose the
//! line numbers that faults need.

use ini::{Ini, ParseOption};

/// One `key=value` line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Entry {
    /// The section it stands in, as written; empty before the first section.
    pub(super) section: String,
    /// The key as written.
    pub(super) key: String,
    /// The value, trimmed.
    pub(super) value: String,
    /// Counted from 1.
    pub(super) line: usize,
}

/// A line that is none of: blank, comment, section, `key=value`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Unreadable {
    /// The section it stands in.
    pub(super) section: String,
    /// Counted from 1.
    pub(super) line: usize,
    /// What is wrong, as a sentence.
    pub(super) message: String,
}

/// All entries in file order, and all lines that are not understood.
pub(super) fn read(text: &str) -> (Vec<Entry>, Vec<Unreadable>) {
    let options = || ParseOption { enabled_quote: false, enabled_escape: false, ..ParseOption::default() };
    let (mut entries, mut unreadable, mut section) = (Vec::new(), Vec::new(), String::new());
    for (index, line) in text.trim_start_matches('\u{feff}').lines().enumerate() {
        let (number, line) = (index + 1, line.trim());
        if line.is_empty() || line.starts_with(['#', ';']) {
            continue;
        }
        let message = if line.starts_with('[') && !line.ends_with(']') {
            Some("A section line must end with ']'.".to_owned())
        } else {
            match Ini::load_from_str_opt(line, options()) {
                Ok(parsed) => take(&parsed, line, number, &mut section, &mut entries),
                Err(error) => Some(format!("This line is not understood: {}. Write key=value.", error.msg)),
            }
        };
        if let Some(message) = message {
            unreadable.push(Unreadable { section: section.clone(), line: number, message });
        }
    }
    (entries, unreadable)
}

/// Takes over what one line said; a sentence when it said nothing.
fn take(
    parsed: &Ini,
    line: &str,
    number: usize,
    section: &mut String,
    entries: &mut Vec<Entry>,
) -> Option<String> {
    if line.starts_with('[') {
        match parsed.sections().flatten().next() {
            Some(name) => name.clone_into(section),
            None => return Some("This section has no name.".to_owned()),
        }
        return None;
    }
    match parsed.general_section().iter().next() {
        Some((key, value)) => {
            let (section, key, value) = (section.clone(), key.trim().to_owned(), value.trim().to_owned());
            entries.push(Entry { section, key, value, line: number });
            None
        }
        None => Some(
            "This line has no '='. Write key=value, or begin it with '#' to make it a comment.".to_owned(),
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn backslashes_quotes_and_hashes_in_values_stay_as_written() {
        let text = "\u{feff}# c\r\n[One]\r\nA = C:\\temp\\\r\n  # indented comment\r\n  B=\"x\" # y\r\n[ Two ]\nC:d=e\nno sign\nD=\n";
        let (entries, unreadable) = read(text);
        let short: Vec<_> =
            entries.iter().map(|entry| (&*entry.section, &*entry.key, &*entry.value, entry.line)).collect();
        assert_eq!(
            short,
            [
                ("One", "A", "C:\\temp\\", 3),
                ("One", "B", "\"x\" # y", 5),
                ("Two", "C", "d=e", 7),
                ("Two", "D", "", 9)
            ]
        );
        assert_eq!(unreadable.iter().map(|line| line.line).collect::<Vec<_>>(), [8]);
    }

    proptest! {
        #[test]
        fn any_text_is_read_without_panic_and_lines_are_in_range(text in "(?s).{0,200}") {
            let (entries, unreadable) = read(&text);
            let lines = text.lines().count();
            prop_assert!(entries.iter().all(|entry| (1..=lines).contains(&entry.line)));
            prop_assert!(unreadable.iter().all(|entry| (1..=lines).contains(&entry.line)));
        }
    }
}
