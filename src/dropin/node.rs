//! A YAML document as an own tree: key order and duplicate keys are kept, so that every fault in a file can be
//! collected, and numbers keep the text they were written with. Never prints a value: it may be a secret.

use std::fmt;

use serde_json::{Map, Value};

use super::yaml;
use crate::secret::Secret;

/// One value.
#[derive(Clone, PartialEq)]
pub enum Node {
    /// Nothing after the colon, `~` or `null`.
    Null,
    /// `true` or `false`.
    Bool(bool),
    /// A number, with the text it was written with (`007` is not `7` to whoever wrote an id).
    Number {
        /// As written.
        text: String,
        /// What it counts as.
        value: serde_json::Number,
    },
    /// Text.
    Text(String),
    /// A list.
    List(Vec<Node>),
    /// A map, in file order, with duplicate keys kept.
    Map(Vec<Entry>),
}

/// One key with its value.
#[derive(Clone, PartialEq)]
pub struct Entry {
    /// The key as written.
    pub key: String,
    /// Its value.
    pub value: Node,
}

/// One step from a node to something inside it, by position, so that duplicate keys have places of their own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// The key of the n-th entry of a map.
    Key(usize),
    /// The value of the n-th entry of a map.
    Value(usize),
    /// The n-th item of a list.
    Item(usize),
}

/// Where something stands in a document.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Place(pub(super) Vec<Step>);

impl Place {
    /// The place one step further in.
    #[must_use]
    pub fn then(&self, step: Step) -> Place {
        let mut steps = self.0.clone();
        steps.push(step);
        Place(steps)
    }
}

impl Node {
    /// A scalar as text: text, number or boolean. `None` for null, lists and maps.
    pub fn scalar(&self) -> Option<&str> {
        match self {
            Self::Text(text) | Self::Number { text, .. } => Some(text),
            Self::Bool(true) => Some("true"),
            Self::Bool(false) => Some("false"),
            Self::Null | Self::List(_) | Self::Map(_) => None,
        }
    }

    /// What it is, in a word with its article, for messages.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Null => "nothing",
            Self::Bool(_) => "a boolean",
            Self::Number { .. } => "a number",
            Self::Text(_) => "text",
            Self::List(_) => "a list",
            Self::Map(_) => "a map",
        }
    }

    /// The same as JSON. Of duplicate keys the last one counts; callers report duplicates before.
    pub fn to_json(&self) -> Value {
        match self {
            Self::Null => Value::Null,
            Self::Bool(value) => Value::Bool(*value),
            Self::Number { value, .. } => Value::Number(value.clone()),
            Self::Text(text) => Value::String(text.clone()),
            Self::List(items) => Value::Array(items.iter().map(Node::to_json).collect()),
            Self::Map(entries) => Value::Object(
                entries.iter().map(|entry| (entry.key.clone(), entry.value.to_json())).collect::<Map<_, _>>(),
            ),
        }
    }
}

/// Shapes only: a node may be an inline secret.
impl fmt::Debug for Node {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::List(items) => formatter.debug_list().entries(items).finish(),
            Self::Map(entries) => {
                formatter.debug_map().entries(entries.iter().map(|entry| (&entry.key, &entry.value))).finish()
            }
            scalar => formatter.write_str(scalar.kind()),
        }
    }
}

impl fmt::Debug for Entry {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}: {:?}", self.key, self.value)
    }
}

/// A parsed document with its text, so that lines can be looked up when a fault needs one.
#[derive(Clone, Debug)]
pub struct Document {
    /// The root of the tree.
    pub root: Node,
    // The text may hold inline secrets.
    text: Secret,
}

impl Document {
    /// Parses the text of one document.
    ///
    /// # Errors
    /// The line, if known, and a sentence.
    pub fn parse(text: String) -> Result<Self, (Option<usize>, String)> {
        Ok(Self { root: yaml::parse(&text)?, text: Secret::new(text) })
    }

    /// The document without its tree, for when only lines will still be asked for.
    #[must_use]
    pub(super) fn without_tree(self) -> Self {
        Self { root: Node::Null, ..self }
    }

    /// The line of something in the document, counted from 1.
    pub fn line(&self, place: &Place) -> Option<usize> {
        yaml::line(self.text.expose(), &place.0)
    }
}
