//! A document → the connections and variables it writes down, with all faults of shape. Property names and values are
//! taken as they stand; the connection stage judges them. Never reads a file.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use aws_lc_rs::digest;

use super::node::{Document, Entry, Node, Place, Step};
use crate::error::{Fault, nearest_name};

/// How many faults of one file are given their line: each needs a parse to find it, and nobody reads more.
pub const FAULT_LIMIT: usize = 100;

/// What one drop-in file says.
#[derive(Clone, Debug)]
pub struct DropInFile {
    /// The file.
    pub path: PathBuf,
    /// SHA-256 of its contents.
    pub hash: [u8; 32],
    /// Its connections, in file order.
    pub connections: Vec<RawConnection>,
    /// Its variables, in file order.
    pub variables: Vec<RawVariable>,
    /// What is wrong with its shape.
    pub faults: Vec<Fault>,
    document: Arc<Document>,
}

/// One connection as written.
#[derive(Clone, Debug)]
pub struct RawConnection {
    /// Its name as written.
    pub name: String,
    /// Where its name stands.
    pub place: Place,
    /// Its properties, those of `AdvancedConfigurations` among them.
    pub properties: Vec<RawProperty>,
    /// Its saved activities.
    pub activities: Vec<RawActivity>,
}

/// One property as written.
#[derive(Clone, Debug)]
pub struct RawProperty {
    /// Its name as written.
    pub name: String,
    /// The whole key with dots, for messages.
    pub key: String,
    /// Where its name stands.
    pub place: Place,
    /// Its value.
    pub value: Node,
}

/// One saved activity as written.
#[derive(Clone, Debug)]
pub struct RawActivity {
    /// Its name as written.
    pub name: String,
    /// The whole key with dots, for messages.
    pub key: String,
    /// Where its name stands.
    pub place: Place,
    /// Where its value stands.
    pub inside: Place,
    /// What it says.
    pub entries: Vec<Entry>,
}

/// One variable.
#[derive(Clone, Debug)]
pub struct RawVariable {
    /// Its name.
    pub name: String,
    /// Where its name stands.
    pub place: Place,
    /// Its value.
    pub value: String,
}

impl DropInFile {
    /// Reads the text of a drop-in.
    ///
    /// # Errors
    /// The one fault that makes the whole file unreadable. Faults of shape are in [`DropInFile::faults`] instead.
    pub fn parse(path: &Path, text: &[u8]) -> Result<Self, Fault> {
        let hash = hash(text);
        let whole = |(line, message): (Option<usize>, String)| Fault {
            file: path.to_owned(),
            line,
            key: String::new(),
            message,
        };
        let text = String::from_utf8(text.to_vec()).map_err(|error| {
            let line =
                1 + error.as_bytes()[..error.utf8_error().valid_up_to()].split(|byte| *byte == b'\n').count()
                    - 1;
            whole((Some(line), "Not text in UTF-8. Save the file as UTF-8.".to_owned()))
        })?;
        let document = Document::parse(text).map_err(whole)?;
        let mut reader = Reader { file: path, document: &document, faults: Vec::new() };
        let (mut connections, mut variables) = (Vec::new(), Vec::new());
        reader.top(&mut connections, &mut variables);
        let faults = reader.faults;
        Ok(Self {
            path: path.to_owned(),
            hash,
            connections,
            variables,
            faults,
            document: Arc::new(document.without_tree()),
        })
    }

    /// A fault about something in this file. It has no line when there are [`FAULT_LIMIT`] of them `already`.
    pub fn fault(&self, already: usize, place: &Place, key: &str, message: impl Into<String>) -> Fault {
        let line = if already < FAULT_LIMIT { self.document.line(place) } else { None };
        Fault { file: self.path.clone(), line, key: key.to_owned(), message: message.into() }
    }
}

/// SHA-256.
pub(super) fn hash(bytes: &[u8]) -> [u8; 32] {
    let mut hash = [0; 32];
    hash.copy_from_slice(digest::digest(&digest::SHA256, bytes).as_ref());
    hash
}

struct Reader<'a> {
    file: &'a Path,
    document: &'a Document,
    faults: Vec<Fault>,
}

impl<'a> Reader<'a> {
    fn fault(&mut self, place: &Place, key: &str, message: impl Into<String>) {
        if self.faults.len() < FAULT_LIMIT {
            let (file, line) = (self.file.to_owned(), self.document.line(place));
            self.faults.push(Fault { file, line, key: key.to_owned(), message: message.into() });
        }
    }

    /// The entries of a map, without repetitions; nothing counts as an empty map.
    fn entries(
        &mut self,
        node: &'a Node,
        at: &Place,
        inside: &Place,
        key: &str,
    ) -> Vec<(Place, Place, &'a Entry)> {
        let entries = match node {
            Node::Map(entries) => entries,
            Node::Null => return Vec::new(),
            other => {
                self.fault(
                    at,
                    key,
                    format!(
                        "This is {}, but a map is needed: indented lines of 'name: value'.",
                        other.kind()
                    ),
                );
                return Vec::new();
            }
        };
        let mut kept: Vec<(Place, Place, &Entry)> = Vec::new();
        for (index, entry) in entries.iter().enumerate() {
            let place = inside.then(Step::Key(index));
            if kept.iter().any(|(_, _, earlier)| earlier.key == entry.key) {
                let key = dotted(key, &entry.key);
                self.fault(&place, &key, "This key stands here twice. Remove one of the two.");
            } else {
                kept.push((place, inside.then(Step::Value(index)), entry));
            }
        }
        kept
    }

    fn top(&mut self, connections: &mut Vec<RawConnection>, variables: &mut Vec<RawVariable>) {
        let root = Place::default();
        for (place, inside, entry) in self.entries(&self.document.root, &root, &root, "") {
            match fold(&entry.key).as_str() {
                "connections" => {
                    for (place, inside, entry) in self.entries(&entry.value, &place, &inside, &entry.key) {
                        connections.push(self.connection(place, &inside, entry));
                    }
                }
                "variables" => {
                    for (place, _, entry) in self.entries(&entry.value, &place, &inside, &entry.key) {
                        variables.extend(self.variable(place, entry));
                    }
                }
                _ => {
                    let hint = match nearest_name(&entry.key, ["connections", "variables"]) {
                        Some(name) => format!("Did you mean '{name}'?"),
                        None => "A drop-in has the keys 'connections' and 'variables'.".to_owned(),
                    };
                    self.fault(&place, &entry.key, format!("Unknown key. {hint}"));
                }
            }
        }
    }

    fn variable(&mut self, place: Place, entry: &Entry) -> Option<RawVariable> {
        let Some(value) = entry.value.scalar() else {
            let message = format!("A variable's value is text, not {}. Write one value.", entry.value.kind());
            self.fault(&place, &dotted("variables", &entry.key), message);
            return None;
        };
        Some(RawVariable { name: entry.key.clone(), place, value: value.to_owned() })
    }

    fn connection(&mut self, place: Place, inside: &Place, entry: &'a Entry) -> RawConnection {
        let key = dotted("connections", &entry.key);
        let (mut properties, mut activities) = (Vec::new(), Vec::new());
        for (at, inside, entry) in self.entries(&entry.value, &place, inside, &key) {
            let key = dotted(&key, &entry.key);
            match fold(&entry.key).as_str() {
                "advancedconfigurations" => {
                    for (at, _, entry) in self.entries(&entry.value, &at, &inside, &key) {
                        properties.push(property(at, &key, entry));
                    }
                }
                "activities" => {
                    for (at, inside, entry) in self.entries(&entry.value, &at, &inside, &key) {
                        activities.extend(self.activity(at, inside, &key, entry));
                    }
                }
                _ => properties.push(RawProperty {
                    name: entry.key.clone(),
                    key,
                    place: at,
                    value: entry.value.clone(),
                }),
            }
        }
        RawConnection { name: entry.key.clone(), place, properties, activities }
    }

    fn activity(&mut self, place: Place, inside: Place, key: &str, entry: &'a Entry) -> Option<RawActivity> {
        let key = dotted(key, &entry.key);
        let mut entries = Vec::new();
        for (at, inside, entry) in self.entries(&entry.value, &place, &inside, &key) {
            self.no_repetitions(&at, &inside, &dotted(&key, &entry.key), &entry.value);
            entries.push(entry.clone());
        }
        // A repeated key shifts the positions that `inside` is counted by, but then the file is refused as a whole.
        matches!(entry.value, Node::Map(_) | Node::Null).then(|| RawActivity {
            name: entry.key.clone(),
            key,
            place,
            inside,
            entries,
        })
    }

    /// Looks for repeated keys all the way down.
    fn no_repetitions(&mut self, at: &Place, inside: &Place, key: &str, node: &'a Node) {
        match node {
            Node::Map(_) => {
                for (at, inside, entry) in self.entries(node, at, inside, key) {
                    self.no_repetitions(&at, &inside, &dotted(key, &entry.key), &entry.value);
                }
            }
            Node::List(items) => {
                for (index, item) in items.iter().enumerate() {
                    let place = inside.then(Step::Item(index));
                    self.no_repetitions(&place, &place, key, item);
                }
            }
            Node::Null | Node::Bool(_) | Node::Number { .. } | Node::Text(_) => {}
        }
    }
}

fn property(place: Place, key: &str, entry: &Entry) -> RawProperty {
    RawProperty { name: entry.key.clone(), key: dotted(key, &entry.key), place, value: entry.value.clone() }
}

fn dotted(key: &str, name: &str) -> String {
    let name = crate::error::clean_foreign_text(name);
    if key.is_empty() { name } else { format!("{key}.{name}") }
}

/// Names without regard to case and spaces.
fn fold(name: &str) -> String {
    name.chars().filter(|character| *character != ' ').flat_map(char::to_lowercase).collect()
}
