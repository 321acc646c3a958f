//! `$search`: a small part of what the service understands, enough to be refused or answered sensibly.
//! Never ranks anything: matches keep the collection's order.

use crate::data::collection::Collection;
use crate::graph::errors::GraphError;
use serde_json::{Map, Value};

/// Properties that a directory search may name.
const DIRECTORY_PROPERTIES: &[&str] =
    &["displayName", "mail", "userPrincipalName", "givenName", "surname", "mobilePhone"];

/// A search.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Search {
    /// Property (if one is named) and text, in lower case.
    terms: Vec<(Option<String>, String)>,
    /// Whether one match is enough.
    any: bool,
    directory: bool,
}

impl Search {
    /// Reads the text of the option.
    pub(crate) fn parse(text: &str, directory: bool) -> Result<Self, GraphError> {
        let any = text.contains("\" OR \"");
        let mut terms = Vec::new();
        for piece in text.split("\" OR \"").flat_map(|piece| piece.split("\" AND \"")) {
            let term = piece.trim().trim_matches('"');
            let (name, value) = match term.split_once(':') {
                Some((name, value)) => (Some(name.trim().to_owned()), value),
                None => (None, term),
            };
            terms.push((name, value.trim().to_lowercase()));
        }
        if !directory {
            return Ok(Self { terms, any, directory });
        }
        let quoted = text.starts_with('"') && text.ends_with('"') && text.len() > 1;
        let known = terms.iter().all(|(name, _)| {
            name.as_deref()
                .is_some_and(|name| DIRECTORY_PROPERTIES.iter().any(|known| known.eq_ignore_ascii_case(name)))
        });
        if quoted && known {
            return Ok(Self { terms, any, directory });
        }
        Err(GraphError::new(
            400,
            "Request_BadRequest",
            format!("Syntax error: the search '{text}' must be a list of quoted property:value pairs."),
        ))
    }

    /// Whether a row is found.
    pub(crate) fn matches(&self, rows: &Collection, key: u32) -> bool {
        self.holds(&|name| rows.field(key, name))
    }

    /// Whether a row that is kept as JSON is found.
    pub(crate) fn matches_document(&self, row: &Map<String, Value>) -> bool {
        self.holds(&|name| row.get(name).cloned().unwrap_or(Value::Null))
    }

    fn holds(&self, field: &dyn Fn(&str) -> Value) -> bool {
        let found = |(name, text): &(Option<String>, String)| {
            if self.directory {
                let name = name.as_deref().unwrap_or_default();
                let value = DIRECTORY_PROPERTIES.iter().find(|known| known.eq_ignore_ascii_case(name));
                let value = value.map_or(Value::Null, |name| field(name));
                let value = value.as_str().unwrap_or_default().to_lowercase();
                return value.split([' ', '.', '@', '-']).any(|word| word.starts_with(text))
                    || value.starts_with(text);
            }
            let names: &[&str] = match name.as_deref() {
                None => &["subject", "from", "bodyPreview"],
                Some("subject") => &["subject"],
                Some("from") => &["from"],
                Some("body") => &["bodyPreview"],
                Some("to") => &["toRecipients"],
                Some(_) => &[],
            };
            names.iter().any(|name| field(name).to_string().to_lowercase().contains(text))
        };
        if self.any { self.terms.iter().any(found) } else { self.terms.iter().all(found) }
    }
}
