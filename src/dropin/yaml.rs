//! YAML text → [`Node`], the line of any place in it, and a value → YAML text. The only file that uses `serde_yaml`,
//! which the project was given and which stands here for its maintained continuation `yaml_serde`; serde-saphyr would
//! replace it (it has spans of its own). Never keeps a value beyond the budgets below, whatever aliases ask for.
//!
//! Lines: the deserializer hands out no spans, but an error that a visitor raises is given the mark of the very event
//! being visited. So [`line()`] walks to the wanted place with a seed that ignores everything else, raises an error
//! there, and reads `error.location()`. That is exact for keys, values and items, and costs a parse only per fault.

use std::cell::Cell;
use std::fmt;

use serde::de::{
    DeserializeSeed, Deserializer, EnumAccess, Error, IgnoredAny, MapAccess, SeqAccess, Visitor,
};
use serde_json::Number;

use super::node::{Entry, Node, Step};

/// How deep lists and maps may be nested. Drop-ins need six levels; conditions in activities a few more.
const DEPTH_LIMIT: usize = 32;

/// How many values one document may come to, with aliases followed.
const NODE_LIMIT: usize = 50_000;

/// How many bytes of text one document may come to, with aliases followed.
const TEXT_LIMIT: usize = 1024 * 1024;

/// How many brackets and braces may stand in the text: the parser's work grows with the square of open ones.
const BRACKET_LIMIT: usize = 20_000;

/// Parses one document. The empty document is [`Node::Null`].
///
/// # Errors
/// The line, if known, and a sentence.
pub(super) fn parse(text: &str) -> Result<Node, (Option<usize>, String)> {
    if text.bytes().filter(|byte| matches!(byte, b'[' | b'{')).count() > BRACKET_LIMIT {
        return Err((None, format!("The file has more than {BRACKET_LIMIT} opening brackets. Split it.")));
    }
    let budget = Budget { nodes: Cell::new(NODE_LIMIT), text: Cell::new(TEXT_LIMIT) };
    let parsed = NodeSeed { budget: &budget, depth: 0 }.deserialize(serde_yaml::Deserializer::from_str(text));
    let mut root = match parsed {
        Ok(root) => root,
        // An empty text has no event at all.
        Err(_) if text.lines().all(|line| line.trim().is_empty() || line.trim_start().starts_with('#')) => {
            Node::Null
        }
        Err(error) => return Err(explain(&error)),
    };
    // The first pass learns types and shapes; this one asks again for the text of the numbers.
    if has_number(&root) {
        NumberText(&mut root)
            .deserialize(serde_yaml::Deserializer::from_str(text))
            .map_err(|error| explain(&error))?;
    }
    Ok(root)
}

/// The line of the place at the end of `steps`, counted from 1.
pub(super) fn line(text: &str, steps: &[Step]) -> Option<usize> {
    let error = Probe(steps).deserialize(serde_yaml::Deserializer::from_str(text)).err()?;
    error.location().map(|location| location.line())
}

/// Writes a value as a YAML document.
///
/// # Errors
/// A sentence, when it cannot be written (no JSON value is like that).
pub(super) fn to_text(value: &serde_json::Value) -> Result<String, String> {
    serde_yaml::to_string(value).map_err(|error| format!("This value cannot be written as YAML: {error}."))
}

/// The parser's words without its own place (the fault has the line) and without the text it choked on.
fn explain(error: &serde_yaml::Error) -> (Option<usize>, String) {
    let text = error.to_string();
    // Our own sentences are marked, because the library prefixes messages with a path and suffixes them with a place.
    if let Some(own) = text.split(OWN).nth(1) {
        return (error.location().map(|location| location.line()), own.to_owned());
    }
    let what = match () {
        () if text.contains("recursion limit") => {
            format!("Nested deeper than {DEPTH_LIMIT} levels. Flatten it.")
        }
        () if text.contains("repetition limit") => {
            "Its aliases repeat too much. Write the values out.".to_owned()
        }
        () if text.contains("more than one document") => {
            "The file has more than one document ('---'). Use one file for each.".to_owned()
        }
        () => {
            let text = text.split(" at line ").next().unwrap_or(&text).to_owned();
            format!("Not valid YAML: {}. Check the indentation and quotes here and on the line before.", text)
        }
    };
    (error.location().map(|location| location.line()), what)
}

/// Stands on both sides of a sentence of ours inside the library's error text. A control character, which no YAML
/// text can contain, so that nothing in a file can forge it.
const OWN: char = '\u{1}';

fn own<E: Error>(sentence: &str) -> E {
    E::custom(format_args!("{OWN}{sentence}{OWN}"))
}

struct Budget {
    nodes: Cell<usize>,
    text: Cell<usize>,
}

impl Budget {
    fn take<E: Error>(&self, text_bytes: usize) -> Result<(), E> {
        let (Some(nodes), Some(text)) =
            (self.nodes.get().checked_sub(1), self.text.get().checked_sub(text_bytes))
        else {
            return Err(own(
                "The file comes to too many values. Write it without repeated aliases, or split it.",
            ));
        };
        self.nodes.set(nodes);
        self.text.set(text);
        Ok(())
    }
}

#[derive(Clone, Copy)]
struct NodeSeed<'b> {
    budget: &'b Budget,
    depth: usize,
}

impl NodeSeed<'_> {
    fn inside<E: Error>(self) -> Result<Self, E> {
        if self.depth + 1 >= DEPTH_LIMIT {
            return Err(own(&format!("Nested deeper than {DEPTH_LIMIT} levels. Flatten it.")));
        }
        Ok(Self { depth: self.depth + 1, ..self })
    }

    fn number<E: Error>(self, value: Option<Number>) -> Result<Node, E> {
        self.budget.take(0)?;
        let value =
            value.ok_or_else(|| own("This number cannot be used. Write a finite number, or quote it."))?;
        Ok(Node::Number { text: value.to_string(), value })
    }
}

impl<'de> DeserializeSeed<'de> for NodeSeed<'_> {
    type Value = Node;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Node, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for NodeSeed<'_> {
    type Value = Node;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a YAML value")
    }

    fn visit_unit<E: Error>(self) -> Result<Node, E> {
        self.budget.take(0)?;
        Ok(Node::Null)
    }

    fn visit_bool<E: Error>(self, value: bool) -> Result<Node, E> {
        self.budget.take(0)?;
        Ok(Node::Bool(value))
    }

    fn visit_u64<E: Error>(self, value: u64) -> Result<Node, E> {
        self.number(Some(value.into()))
    }

    fn visit_i64<E: Error>(self, value: i64) -> Result<Node, E> {
        self.number(Some(value.into()))
    }

    fn visit_u128<E: Error>(self, _value: u128) -> Result<Node, E> {
        self.number(None)
    }

    fn visit_i128<E: Error>(self, _value: i128) -> Result<Node, E> {
        self.number(None)
    }

    fn visit_f64<E: Error>(self, value: f64) -> Result<Node, E> {
        self.number(Number::from_f64(value))
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Node, E> {
        self.budget.take(text.len())?;
        Ok(Node::Text(text.to_owned()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Node, A::Error> {
        self.budget.take(0)?;
        let (inside, mut list) = (self.inside()?, Vec::new());
        while let Some(item) = items.next_element_seed(inside)? {
            list.push(item);
        }
        Ok(Node::List(list))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Node, A::Error> {
        self.budget.take(0)?;
        let (inside, mut map) = (self.inside()?, Vec::new());
        while let Some(key) = entries.next_key_seed(KeySeed { budget: self.budget })? {
            map.push(Entry { key, value: entries.next_value_seed(inside)? });
        }
        Ok(Node::Map(map))
    }

    fn visit_enum<A: EnumAccess<'de>>(self, _tagged: A) -> Result<Node, A::Error> {
        Err(own("YAML tags ('!name') are not used here. Remove the tag, or quote the text."))
    }
}

/// A key as it was written, whatever type YAML would give it.
struct KeySeed<'b> {
    budget: &'b Budget,
}

impl<'de> DeserializeSeed<'de> for KeySeed<'_> {
    type Value = String;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<String, D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl<'de> Visitor<'de> for KeySeed<'_> {
    type Value = String;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{OWN}A key must be text. Quote it, or remove the brackets around it.{OWN}")
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<String, E> {
        self.budget.take(text.len())?;
        Ok(text.to_owned())
    }
}

fn has_number(node: &Node) -> bool {
    match node {
        Node::Number { .. } => true,
        Node::List(items) => items.iter().any(has_number),
        Node::Map(entries) => entries.iter().any(|entry| has_number(&entry.value)),
        Node::Null | Node::Bool(_) | Node::Text(_) => false,
    }
}

/// Walks the document beside its finished tree and puts the written text into each number.
struct NumberText<'n>(&'n mut Node);

impl<'de> DeserializeSeed<'de> for NumberText<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        match &self.0 {
            Node::Number { .. } => deserializer.deserialize_str(self),
            Node::List(_) => deserializer.deserialize_seq(self),
            Node::Map(_) => deserializer.deserialize_map(self),
            Node::Null | Node::Bool(_) | Node::Text(_) => {
                deserializer.deserialize_ignored_any(IgnoredAny).map(|_| ())
            }
        }
    }
}

impl<'de> Visitor<'de> for NumberText<'_> {
    type Value = ();

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("the same document again")
    }

    fn visit_str<E: Error>(self, written: &str) -> Result<(), E> {
        if let Node::Number { text, .. } = self.0 {
            written.clone_into(text);
        }
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<(), A::Error> {
        if let Node::List(list) = self.0 {
            for item in list {
                items.next_element_seed(NumberText(item))?;
            }
        }
        Ok(())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<(), A::Error> {
        if let Node::Map(map) = self.0 {
            for entry in map {
                entries.next_key::<IgnoredAny>()?;
                entries.next_value_seed(NumberText(&mut entry.value))?;
            }
        }
        Ok(())
    }
}

/// Walks to a place and raises an error there, which the library then marks with that place's line.
struct Probe<'s>(&'s [Step]);

impl<'de> DeserializeSeed<'de> for Probe<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Probe<'_> {
    type Value = ();

    /// Shown nowhere. A scalar that is visited is not expected either way, and the error for that is the one wanted.
    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("the probed place")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<(), A::Error> {
        let Some((Step::Item(index), rest)) = self.0.split_first() else { return Err(own("here")) };
        for _ in 0..*index {
            items.next_element::<IgnoredAny>()?;
        }
        items.next_element_seed(Probe(rest)).map(|_| ())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<(), A::Error> {
        let (index, of_key, rest) = match self.0.split_first() {
            Some((Step::Key(index), rest)) => (*index, true, rest),
            Some((Step::Value(index), rest)) => (*index, false, rest),
            _ => return Err(own("here")),
        };
        for _ in 0..index {
            entries.next_entry::<IgnoredAny, IgnoredAny>()?;
        }
        if of_key {
            return entries.next_key_seed(Probe(&[])).map(|_| ());
        }
        entries.next_key::<IgnoredAny>()?;
        entries.next_value_seed(Probe(rest))
    }
}

#[cfg(test)]
#[path = "yaml_tests.rs"]
mod tests;
