//! Graph's types as facts, read from the generated `facts.txt` at first use. Never decides what a column is.
//!
//! The format, one line each, made so that all of Graph's metadata can be put through it:
//!
//! ```text
//! # comment
//! entity NAME [< BASE] [open] [abstract]      likewise `complex`; base types come first
//!  PROPERTY TYPE [ro] [so] [order] [search] [filter=OPERATOR,…]
//! enum NAME = MEMBER MEMBER …
//! ```
//!
//! `TYPE` is a primitive of EDM without `Edm.` (`DateTimeOffset`) or the name of a type without `microsoft.graph.`;
//! `[]` before it marks a collection.

use std::collections::HashMap;
use std::sync::OnceLock;

use super::column::FilterOps;

const FACTS: &str = include_str!("facts.txt");

/// All types by name.
#[derive(Debug, Default)]
pub(super) struct Facts {
    structured: HashMap<&'static str, StructuredType>,
    enums: HashMap<&'static str, Vec<&'static str>>,
}

/// An entity type or a complex type.
#[derive(Debug)]
pub(super) struct StructuredType {
    pub(super) base: Option<&'static str>,
    pub(super) properties: Vec<Property>,
}

/// One structural property.
#[derive(Debug)]
pub(super) struct Property {
    pub(super) name: &'static str,
    pub(super) type_name: &'static str,
    pub(super) collection: bool,
    pub(super) read_only: bool,
    pub(super) select_only: bool,
    pub(super) sortable: bool,
    pub(super) filter: FilterOps,
}

impl Facts {
    /// The facts that came with this build.
    pub(super) fn get() -> &'static Self {
        static PARSED: OnceLock<Facts> = OnceLock::new();
        PARSED.get_or_init(|| parse(FACTS).expect("facts.txt is part of the build and a test parses it"))
    }

    /// An entity type or complex type.
    pub(super) fn structured(&self, name: &str) -> Option<&StructuredType> {
        self.structured.get(name)
    }

    /// The members of an enumeration.
    pub(super) fn members(&self, name: &str) -> Option<&[&'static str]> {
        self.enums.get(name).map(Vec::as_slice)
    }

    /// The properties of a type with those it inherits, base type first.
    pub(super) fn properties(&self, name: &str) -> Vec<&Property> {
        let Some(found) = self.structured.get(name) else { return Vec::new() };
        let mut all = found.base.map(|base| self.properties(base)).unwrap_or_default();
        all.extend(&found.properties);
        all
    }
}

fn parse(text: &'static str) -> Result<Facts, String> {
    let mut facts = Facts::default();
    let mut current = None;
    for (number, line) in text.lines().enumerate() {
        let fault = |what: &str| format!("line {}: {what}: {line}", number + 1);
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        if let Some(property) = line.strip_prefix(' ') {
            let owner =
                current.and_then(|name| facts.structured.get_mut(name)).ok_or_else(|| fault("no type"))?;
            owner.properties.push(parse_property(property).ok_or_else(|| fault("no property"))?);
            continue;
        }
        let mut words = line.split(' ');
        let (Some(keyword), Some(name)) = (words.next(), words.next()) else { return Err(fault("no name")) };
        match keyword {
            "enum" => {
                facts.enums.insert(name, words.skip_while(|word| *word == "=").collect());
                current = None;
            }
            "entity" | "complex" => {
                let base = (words.next() == Some("<")).then(|| words.next()).flatten();
                if base.is_some_and(|base| !facts.structured.contains_key(base)) {
                    return Err(fault("the base type comes later or not at all"));
                }
                facts.structured.insert(name, StructuredType { base, properties: Vec::new() });
                current = Some(name);
            }
            _ => return Err(fault("unknown keyword")),
        }
    }
    Ok(facts)
}

fn parse_property(text: &'static str) -> Option<Property> {
    let mut words = text.split(' ');
    let (name, type_name) = (words.next()?, words.next()?);
    let mut property = Property {
        name,
        type_name: type_name.trim_start_matches("[]"),
        collection: type_name.starts_with("[]"),
        read_only: false,
        select_only: false,
        sortable: false,
        filter: FilterOps::NONE,
    };
    for word in words {
        match word {
            "ro" => property.read_only = true,
            "so" => property.select_only = true,
            "order" => property.sortable = true,
            "search" => {}
            _ => property.filter = FilterOps::parse(word.strip_prefix("filter=")?)?,
        }
    }
    Some(property)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;

    #[test]
    fn the_facts_of_this_build_are_whole() {
        let facts = Facts::get();
        for (name, found) in &facts.structured {
            for property in &found.properties {
                let primitive = property.type_name.starts_with(|first: char| first.is_ascii_uppercase());
                let known = primitive
                    || facts.structured.contains_key(property.type_name)
                    || facts.enums.contains_key(property.type_name);
                assert!(known, "{name}.{} has the unknown type {}", property.name, property.type_name);
            }
        }
        assert_eq!(facts.properties("message")[0].name, "id");
        assert_eq!(facts.members("bodyType"), Some(["text", "html"].as_slice()));
    }

    #[test]
    fn faults_name_their_line() {
        for (text, expected) in [
            ("entity a < b", "line 1: the base type"),
            (" x String", "line 1: no type"),
            ("entity a\n x", "line 2: no property"),
            ("entity a\n x String filter=xx", "line 2: no property"),
            ("thing a", "line 1: unknown keyword"),
        ] {
            let message = parse(text).unwrap_err();
            assert!(message.starts_with(expected), "{text:?}: {message}");
        }
    }
}
