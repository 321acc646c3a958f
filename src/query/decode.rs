//! From a row's bytes to the wanted cells. The hot path of every query: no tree of values is built, unwanted properties
//! are skipped, and a cell is the slice of the row that holds its JSON text, byte for byte as the service wrote it.

use std::collections::{HashMap, HashSet};
use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, Error, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;

/// Objects with more wanted keys than this look them up by hash; below it comparing them in turn is faster.
const LINEAR_KEYS: usize = 8;

/// The wanted paths as a tree, made once for a query.
#[derive(Debug)]
pub(super) struct Decoder {
    nodes: Vec<Node>,
    slots: usize,
}

#[derive(Debug, Default)]
struct Node {
    keys: Vec<(String, Target)>,
    by_name: HashMap<String, usize>,
}

/// What is wanted of one property: itself, parts of it, or both.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Target {
    slot: Option<usize>,
    child: Option<usize>,
}

impl Decoder {
    /// A decoder whose cell `i` is the value at `paths[i]`. Paths are unique.
    pub(super) fn new(paths: &[Vec<String>]) -> Self {
        let mut decoder = Self { nodes: vec![Node::default()], slots: paths.len() };
        for (slot, path) in paths.iter().enumerate() {
            decoder.add(slot, path);
        }
        for node in &mut decoder.nodes {
            if node.keys.len() > LINEAR_KEYS {
                node.by_name =
                    node.keys.iter().enumerate().map(|(place, (key, _))| (key.clone(), place)).collect();
            }
        }
        decoder
    }

    fn add(&mut self, slot: usize, path: &[String]) {
        let mut node = 0;
        for (depth, key) in path.iter().enumerate() {
            let place = match self.nodes[node].keys.iter().position(|(known, _)| known == key) {
                Some(place) => place,
                None => {
                    self.nodes[node].keys.push((key.clone(), Target::default()));
                    self.nodes[node].keys.len() - 1
                }
            };
            if depth + 1 == path.len() {
                self.nodes[node].keys[place].1.slot = Some(slot);
                return;
            }
            let child = self.nodes[node].keys[place].1.child.unwrap_or(self.nodes.len());
            if child == self.nodes.len() {
                self.nodes.push(Node::default());
                self.nodes[node].keys[place].1.child = Some(child);
            }
            node = child;
        }
    }

    /// How many cells a row has.
    pub(super) fn slots(&self) -> usize {
        self.slots
    }

    /// Fills `cells` (as many as there are slots) from one row; a cell that is not there becomes `None`. The whole row is
    /// checked to be JSON, so that a cell can be put into an answer as it is.
    pub(super) fn decode<'row>(
        &self,
        row: &'row [u8],
        cells: &mut [Option<&'row [u8]>],
    ) -> Result<(), serde_json::Error> {
        cells.fill(None);
        let mut deserializer = serde_json::Deserializer::from_slice(row);
        Object { decoder: self, node: 0, cells, top: true }.deserialize(&mut deserializer)?;
        deserializer.end()
    }
}

impl Node {
    fn find(&self, key: &str) -> Option<Target> {
        if self.by_name.is_empty() {
            return self.keys.iter().find(|(known, _)| known == key).map(|(_, target)| *target);
        }
        self.by_name.get(key).map(|place| self.keys[*place].1)
    }
}

struct Object<'decoder, 'cells, 'row> {
    decoder: &'decoder Decoder,
    node: usize,
    cells: &'cells mut [Option<&'row [u8]>],
    top: bool,
}

impl<'row> DeserializeSeed<'row> for Object<'_, '_, 'row> {
    type Value = ();

    fn deserialize<D: Deserializer<'row>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'row> Visitor<'row> for Object<'_, '_, 'row> {
    type Value = ();

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("an object")
    }

    fn visit_map<M: MapAccess<'row>>(self, mut map: M) -> Result<(), M::Error> {
        let node = &self.decoder.nodes[self.node];
        while let Some(target) = map.next_key_seed(Key(node))? {
            match target {
                Some(Target { slot: Some(slot), child }) => {
                    let raw: &'row RawValue = map.next_value()?;
                    self.cells[slot] = Some(raw.get().as_bytes());
                    if let Some(node) = child {
                        let mut inner = serde_json::Deserializer::from_str(raw.get());
                        let parts =
                            Object { decoder: self.decoder, node, cells: &mut *self.cells, top: false };
                        parts.deserialize(&mut inner).map_err(M::Error::custom)?;
                    }
                }
                Some(Target { slot: None, child: Some(node) }) => {
                    map.next_value_seed(Object {
                        decoder: self.decoder,
                        node,
                        cells: &mut *self.cells,
                        top: false,
                    })?;
                }
                _ => {
                    map.next_value::<IgnoredAny>()?;
                }
            }
        }
        Ok(())
    }

    // A part of something that is null, a scalar or an array is not there; a row that is no object is a fault.

    fn visit_unit<E: Error>(self) -> Result<(), E> {
        self.no_object()
    }

    fn visit_bool<E: Error>(self, _: bool) -> Result<(), E> {
        self.no_object()
    }

    fn visit_i64<E: Error>(self, _: i64) -> Result<(), E> {
        self.no_object()
    }

    fn visit_u64<E: Error>(self, _: u64) -> Result<(), E> {
        self.no_object()
    }

    fn visit_f64<E: Error>(self, _: f64) -> Result<(), E> {
        self.no_object()
    }

    fn visit_str<E: Error>(self, _: &str) -> Result<(), E> {
        self.no_object()
    }

    fn visit_seq<S: SeqAccess<'row>>(self, mut sequence: S) -> Result<(), S::Error> {
        while sequence.next_element::<IgnoredAny>()?.is_some() {}
        self.no_object()
    }
}

impl Object<'_, '_, '_> {
    fn no_object<E: Error>(&self) -> Result<(), E> {
        if self.top { Err(E::custom("a row is not a JSON object")) } else { Ok(()) }
    }
}

/// Looks a key up without keeping it.
struct Key<'decoder>(&'decoder Node);

impl<'row> DeserializeSeed<'row> for Key<'_> {
    type Value = Option<Target>;

    fn deserialize<D: Deserializer<'row>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl Visitor<'_> for Key<'_> {
    type Value = Option<Target>;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a key")
    }

    fn visit_str<E: Error>(self, key: &str) -> Result<Self::Value, E> {
        Ok(self.0.find(key))
    }
}

/// Adds the keys of a row that are not known yet to `seen`, in its order; checks that the whole row is JSON. A known key
/// costs no allocation, because this runs on every row of a query whose columns nobody named.
pub(super) fn note_keys(
    row: &[u8],
    seen: &mut Vec<String>,
    known: &mut HashSet<String>,
) -> Result<(), serde_json::Error> {
    let mut deserializer = serde_json::Deserializer::from_slice(row);
    deserializer.deserialize_map(Keys { seen, known })?;
    deserializer.end()
}

struct Keys<'note> {
    seen: &'note mut Vec<String>,
    known: &'note mut HashSet<String>,
}

impl<'row> Visitor<'row> for Keys<'_> {
    type Value = ();

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("an object")
    }

    fn visit_map<M: MapAccess<'row>>(self, mut map: M) -> Result<(), M::Error> {
        let Keys { seen, known } = self;
        while map.next_key_seed(NoteKey(&mut *seen, &mut *known))?.is_some() {
            map.next_value::<IgnoredAny>()?;
        }
        Ok(())
    }
}

struct NoteKey<'note>(&'note mut Vec<String>, &'note mut HashSet<String>);

impl<'row> DeserializeSeed<'row> for NoteKey<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'row>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl Visitor<'_> for NoteKey<'_> {
    type Value = ();

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a key")
    }

    fn visit_str<E: Error>(self, key: &str) -> Result<(), E> {
        if !self.1.contains(key) {
            self.1.insert(key.to_owned());
            self.0.push(key.to_owned());
        }
        Ok(())
    }
}

#[cfg(test)]
#[path = "decode_tests.rs"]
mod tests;
