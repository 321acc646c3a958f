//! What stages share about errors: a configuration fault with its place, and the cleaning of foreign text.
//! Never decides an HTTP status (that is `control/error.rs`) and never prints.

use std::borrow::Cow;
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

/// A run of so many characters without a blank is no word and no id that helps anybody; it may be an opaque token.
const LONGEST_RUN: usize = 400;

/// Text from outside, made fit for a log line or an answer: no control characters, at most [`FOREIGN_TEXT_LIMIT`]
/// characters, and nothing that looks like a token. Gateways say back what they were sent, the bearer token included.
pub fn clean_foreign_text(text: &str) -> String {
    let text = without_tokens(text);
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

/// JSON Web Tokens (RFC 7519; their first part always begins with `eyJ`, which is `{"` in base64) and very long runs, each
/// replaced by a word.
fn without_tokens(text: &str) -> Cow<'_, str> {
    let belongs = |character: char| character.is_ascii_alphanumeric() || "-_.~+/=%".contains(character);
    let is_token = |run: &str| {
        run.len() >= LONGEST_RUN
            || run.find("eyJ").is_some_and(|at| run[at..].len() >= 20 && run[at..].contains('.'))
    };
    if !text.split(|character| !belongs(character)).any(is_token) {
        return Cow::Borrowed(text);
    }
    let (mut clean, mut rest) = (String::new(), text);
    while !rest.is_empty() {
        let end = rest.find(|character| !belongs(character)).unwrap_or(rest.len());
        let (run, after) = rest.split_at(end);
        clean.push_str(if is_token(run) { "[left out]" } else { run });
        let between = after.find(belongs).unwrap_or(after.len());
        clean.push_str(&after[..between]);
        rest = &after[between..];
    }
    Cow::Owned(clean)
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
        assert_eq!(clean_foreign_text(&"x ".repeat(10_000)).chars().count(), FOREIGN_TEXT_LIMIT + 1);
    }

    #[test]
    fn tokens_that_a_gateway_says_back_are_left_out() {
        let jwt = "eyJ0eXAiOiJKV1QiLCJhbGciOiJSUzI1NiJ9.eyJhdWQiOiIwMDAwIn0.c2lnbmF0dXJl";
        for (text, clean) in [
            (format!("token {jwt} expired"), "token [left out] expired".to_owned()),
            (format!("Authorization=Bearer%20{jwt}, 'x'"), "[left out], 'x'".to_owned()),
            (format!("\"{jwt}\""), "\"[left out]\"".to_owned()),
            (format!("opaque {}.", "Aa1/+".repeat(100)), "opaque [left out]".to_owned()),
            (
                "é ErrorItemNotFound: AAMkAGI2/AAA= eyJ".to_owned(),
                "é ErrorItemNotFound: AAMkAGI2/AAA= eyJ".to_owned(),
            ),
        ] {
            assert_eq!(clean_foreign_text(&text), clean);
        }
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
