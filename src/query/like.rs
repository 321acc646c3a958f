//! SQL LIKE patterns: `%` for any text, `_` for one character, without regard to case. Pure.

use super::literal::quoted;

/// What a pattern comes to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Like {
    /// `%`: any text at all.
    Anything,
    /// `abc`.
    Exactly(String),
    /// `abc%`.
    StartsWith(String),
    /// `%abc`.
    EndsWith(String),
    /// `%abc%`.
    Contains(String),
    /// Anything else, with the text before its first wildcard.
    General {
        /// The text before the first wildcard; may be empty.
        prefix: String,
        /// The whole pattern as characters.
        pattern: Vec<char>,
    },
}

impl std::fmt::Display for Like {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Anything => formatter.write_str("like '%'"),
            Self::Exactly(text) => write!(formatter, "like {}", quoted(text)),
            Self::StartsWith(text) => write!(formatter, "starts-with {}", quoted(text)),
            Self::EndsWith(text) => write!(formatter, "ends-with {}", quoted(text)),
            Self::Contains(text) => write!(formatter, "contains {}", quoted(text)),
            Self::General { pattern, .. } => {
                write!(formatter, "like {}", quoted(&pattern.iter().collect::<String>()))
            }
        }
    }
}

impl Like {
    /// The pattern for texts whose case carries nothing.
    pub(super) fn folded(&self) -> Self {
        match self {
            Self::Anything => Self::Anything,
            Self::Exactly(text) => Self::Exactly(text.to_lowercase()),
            Self::StartsWith(text) => Self::StartsWith(text.to_lowercase()),
            Self::EndsWith(text) => Self::EndsWith(text.to_lowercase()),
            Self::Contains(text) => Self::Contains(text.to_lowercase()),
            Self::General { prefix, pattern } => Self::General {
                prefix: prefix.clone(),
                pattern: pattern.iter().collect::<String>().to_lowercase().chars().collect(),
            },
        }
    }

    /// Reads a pattern.
    pub(super) fn parse(pattern: &str) -> Self {
        let wildcards = |text: &str| text.contains(['%', '_']);
        let core = pattern.trim_matches('%');
        if core.is_empty() && !pattern.is_empty() {
            return Self::Anything;
        }
        if !wildcards(core) {
            return match (pattern.starts_with('%'), pattern.ends_with('%')) {
                (false, false) => Self::Exactly(core.to_owned()),
                (false, true) => Self::StartsWith(core.to_owned()),
                (true, false) => Self::EndsWith(core.to_owned()),
                (true, true) => Self::Contains(core.to_owned()),
            };
        }
        let prefix = pattern.split(['%', '_']).next().unwrap_or_default().to_owned();
        Self::General { prefix, pattern: pattern.chars().collect() }
    }
}

/// Whether `text` (already in lower case) matches a general pattern. Linear in practice: after a mismatch only the last
/// `%` is tried again, so no pattern can make it run for long.
pub(super) fn matches(pattern: &[char], text: &str) -> bool {
    let text: Vec<char> = text.chars().collect();
    let (mut in_pattern, mut in_text) = (0, 0);
    let mut resume: Option<(usize, usize)> = None;
    while in_text < text.len() {
        match pattern.get(in_pattern) {
            Some('%') => {
                resume = Some((in_pattern + 1, in_text));
                in_pattern += 1;
            }
            Some(wanted) if *wanted == '_' || *wanted == text[in_text] => {
                in_pattern += 1;
                in_text += 1;
            }
            _ => match resume {
                Some((after_wildcard, from)) => {
                    resume = Some((after_wildcard, from + 1));
                    in_pattern = after_wildcard;
                    in_text = from + 1;
                }
                None => return false,
            },
        }
    }
    pattern[in_pattern..].iter().all(|left| *left == '%')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn simple_patterns_are_recognised() {
        for (pattern, expected) in [
            ("", Like::Exactly(String::new())),
            ("%", Like::Anything),
            ("%%", Like::Anything),
            ("abc", Like::Exactly("abc".to_owned())),
            ("abc%", Like::StartsWith("abc".to_owned())),
            ("%abc", Like::EndsWith("abc".to_owned())),
            ("%abc%", Like::Contains("abc".to_owned())),
        ] {
            assert_eq!(Like::parse(pattern), expected, "{pattern}");
        }
        assert!(matches!(Like::parse("Ab%c"), Like::General { prefix, .. } if prefix == "Ab"));
        assert!(matches!(Like::parse("a_"), Like::General { prefix, .. } if prefix == "a"));
    }

    #[test]
    fn general_patterns_match_like_sql() {
        for (pattern, text, expected) in [
            ("a%c", "abc", true),
            ("a%c", "ac", true),
            ("a%c", "acd", false),
            ("a_c", "abc", true),
            ("a_c", "ac", false),
            ("%b%d%", "abcd", true),
            ("%b%d%", "adcb", false),
            ("_%", "", false),
            ("%a%a%a%a%b", "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa", false),
            ("é_", "éx", true),
        ] {
            let pattern_characters: Vec<char> = pattern.chars().collect();
            assert_eq!(matches(&pattern_characters, text), expected, "{pattern} {text}");
        }
    }
}
