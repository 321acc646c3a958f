//! What stages share about errors: a configuration fault with its place, and the cleaning of foreign text.
//! Never decides an HTTP status (that is `control/error.rs`) and never prints.

use std::error::Error;
use std::fmt;
use std::path::PathBuf;

/// One thing wrong with a configuration file: what, where, and what to do about it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, serde::Serialize)]
pub struct Fault {
    /// The file as the operator knows it.
    pub file: PathBuf,
    /// Line in that file, counted from 1; absent when the fault is about the whole file.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub line: Option<usize>,
    /// The key, as a path with dots (`connections.Sales mailbox.AuthScheme`); empty for the whole file.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub key: String,
    /// A sentence that names the thing and the remedy. Never holds a secret.
    pub message: String,
}

/// `file:line: key: message`, the form editors can jump to.
impl fmt::Display for Fault {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}", self.file.display())?;
        if let Some(line) = self.line {
            write!(formatter, ":{line}")?;
        }
        if !self.key.is_empty() {
            write!(formatter, ": {}", self.key)?;
        }
        write!(formatter, ": {}", self.message)
    }
}

/// The longest piece of foreign text that is passed on in an answer or a log line, in characters.
pub const FOREIGN_TEXT_LIMIT: usize = 600;

/// Text from outside, made fit for a log line or an answer: no control characters, at most
/// [`FOREIGN_TEXT_LIMIT`] characters.
pub fn clean_foreign_text(text: &str) -> String {
    let mut clean: String = text
        .chars()
        .take(FOREIGN_TEXT_LIMIT)
        .map(|character| if character.is_control() { ' ' } else { character })
        .collect();
    if text.chars().nth(FOREIGN_TEXT_LIMIT).is_some() {
        clean.push('…');
    }
    clean
}

/// An error and all its causes in one line, for logs and the command line.
pub fn chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(next) = cause {
        let next_text = next.to_string();
        if !text.contains(&next_text) {
            text.push_str(": ");
            text.push_str(&next_text);
        }
        cause = next.source();
    }
    text
}

/// The known name nearest to `given`, if one is near enough to be a likely typing slip. Case, spaces and
/// underscores are not counted as differences.
pub fn nearest_name<'a>(given: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let fold = |name: &str| -> String {
        name.chars()
            .filter(|character| !matches!(character, ' ' | '_' | '-'))
            .flat_map(char::to_lowercase)
            .collect()
    };
    let wanted = fold(given);
    known
        .into_iter()
        .map(|name| (strsim::damerau_levenshtein(&wanted, &fold(name)), name))
        .filter(|(distance, name)| *distance <= 1 + name.len().min(given.len()) / 5)
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, name)| name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn foreign_text_cannot_forge_a_log_line() {
        assert_eq!(clean_foreign_text("a\r\nb\x1b[31m\0"), "a  b [31m ");
        assert_eq!(clean_foreign_text(&"x".repeat(10_000)).chars().count(), FOREIGN_TEXT_LIMIT + 1);
    }

    #[test]
    fn typing_slips_are_recognised_and_other_words_are_not() {
        let known = ["AuthScheme", "OAuthClientId", "AzureTenant"];
        assert_eq!(nearest_name("authsheme", known), Some("AuthScheme"));
        assert_eq!(nearest_name("OAuth Client ID", known), Some("OAuthClientId"));
        assert_eq!(nearest_name("Mailbox", known), None);
    }

    #[test]
    fn faults_read_like_compiler_messages() {
        let fault =
            Fault { file: "agent.d/a.yaml".into(), line: Some(3), key: "k".into(), message: "No.".into() };
        assert_eq!(fault.to_string(), "agent.d/a.yaml:3: k: No.");
    }
}
