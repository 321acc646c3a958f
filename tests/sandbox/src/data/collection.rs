//! Rows of one entity type in one mailbox (or in the directory): generated ones plus what was changed since.
//! Never generates a row before somebody reads it, so a mailbox of 100,000 messages costs nothing at start.

use super::model::Entity;
use super::{contacts, directory, events, folders, ids, messages};
use serde_json::{Map, Value};
use std::cell::RefCell;
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Whose rows they are.
#[derive(Debug)]
pub(crate) struct Owner {
    /// The user's id; the tenant's id for the directory.
    pub(crate) id: String,
    /// The display name.
    pub(crate) name: String,
    /// The mail address; the domain for the directory.
    pub(crate) address: String,
    /// Decides the generated content.
    pub(crate) seed: u64,
}

/// A row that was created or changed.
#[derive(Debug, Clone)]
struct StoredRow {
    /// The folder or calendar it lies in.
    parent: u32,
    /// The number it was born with: what its immutable id tells.
    origin: u32,
    /// How often it changed.
    change: u32,
    /// Its properties as JSON text, which takes a fifth of the room; without the ones that follow from its number.
    packed: Box<[u8]>,
}

impl StoredRow {
    fn fields(&self) -> Map<String, Value> {
        serde_json::from_slice(&self.packed).unwrap_or_default()
    }

    fn set(&mut self, fields: &Map<String, Value>) {
        self.packed = pack(fields);
    }
}

fn pack(fields: &Map<String, Value>) -> Box<[u8]> {
    serde_json::to_vec(fields).unwrap_or_default().into_boxed_slice()
}

/// The rows.
#[derive(Debug, Clone)]
pub(crate) struct Collection {
    /// The entity type.
    pub(crate) entity: Entity,
    /// Whose rows they are.
    pub(crate) owner: Arc<Owner>,
    /// Counts the changes; part of every cache key.
    pub(crate) version: u64,
    seeded: u32,
    /// Ids that a test gave to rows instead of their own.
    names: BTreeMap<u32, String>,
    next_key: u32,
    stored: BTreeMap<u32, Option<StoredRow>>,
    /// The row that was read last, unpacked: its number, its change and its properties.
    unpacked: RefCell<(u32, u32, Map<String, Value>)>,
    /// The rows that changed, with the version they changed to.
    changes: Vec<(u64, u32)>,
    moved: HashMap<u32, u32>,
    /// When rows that clients made or moved came to where they are.
    placed: HashMap<u32, Instant>,
}

impl Collection {
    /// A collection with so many generated rows.
    pub(crate) fn new(entity: Entity, owner: Arc<Owner>, seeded: usize) -> Self {
        let seeded = u32::try_from(seeded).unwrap_or(u32::MAX / 2);
        Self {
            entity,
            owner,
            // A client that has nothing yet is at zero.
            version: 1,
            seeded,
            names: BTreeMap::new(),
            next_key: seeded,
            stored: BTreeMap::new(),
            unpacked: RefCell::new((u32::MAX, u32::MAX, Map::new())),
            changes: Vec::new(),
            moved: HashMap::new(),
            placed: HashMap::new(),
        }
    }

    /// The numbers of all rows in the service's order: the newest first, except in the directory.
    pub(crate) fn keys(&self) -> Vec<u32> {
        let created = self.stored.range(self.seeded..).filter(|(_, row)| row.is_some()).map(|(key, _)| *key);
        let seeded = (0..self.seeded).filter(|key| !matches!(self.stored.get(key), Some(None)));
        match self.entity {
            Entity::Message | Entity::Event | Entity::Contact => created.rev().chain(seeded).collect(),
            _ => seeded.chain(created).collect(),
        }
    }

    /// Whether there is such a row.
    pub(crate) fn contains(&self, key: u32) -> bool {
        match self.stored.get(&key) {
            Some(row) => row.is_some(),
            None => key < self.seeded,
        }
    }

    /// How long a row has been where it is; nothing for one that was always there.
    pub(crate) fn age(&self, key: u32) -> Option<Duration> {
        self.placed.get(&key).map(Instant::elapsed)
    }

    /// The row's number now, for the number it was born with.
    pub(crate) fn current_key(&self, origin: u32) -> u32 {
        self.moved.get(&origin).copied().unwrap_or(origin)
    }

    /// The folder or calendar the row lies in.
    pub(crate) fn parent(&self, key: u32) -> u32 {
        match self.stored.get(&key) {
            Some(Some(row)) => row.parent,
            _ => match self.entity {
                Entity::Message => folders::folder_of_message(key),
                Entity::Event => events::calendar_of_event(key),
                Entity::MailFolder => folders::ROOT,
                _ => 0,
            },
        }
    }

    /// The row's number at birth.
    pub(crate) fn origin(&self, key: u32) -> u32 {
        match self.stored.get(&key) {
            Some(Some(row)) => row.origin,
            _ => key,
        }
    }

    /// The row's change key.
    pub(crate) fn change_key(&self, key: u32) -> String {
        let change = match self.stored.get(&key) {
            Some(Some(row)) => row.change,
            _ => 0,
        };
        ids::change_key(self.owner.seed, key, change)
    }

    /// The row's ETag.
    pub(crate) fn etag(&self, key: u32) -> String {
        format!("W/\"{}\"", self.change_key(key))
    }

    /// Gives a row an id of the test's own, which stands for it wherever its id does.
    pub(crate) fn give_id(&mut self, key: u32, id: &str) {
        self.note(key);
        self.names.insert(key, id.to_owned());
    }

    /// The row that has this id of a test's own: exactly this one, as the service compares ids.
    pub(crate) fn named(&self, id: &str) -> Option<u32> {
        self.names.iter().find(|(_, name)| *name == id).map(|(key, _)| *key)
    }

    /// The row's id.
    pub(crate) fn id(&self, key: u32, immutable: bool) -> String {
        if let Some(name) = self.names.get(&key) {
            return name.clone();
        }
        match self.entity {
            Entity::User => match self.field(key, "id") {
                Value::String(id) => id,
                _ => String::new(),
            },
            entity if immutable => ids::encode(&self.owner.id, entity, self.origin(key), true),
            entity => ids::encode(&self.owner.id, entity, key, false),
        }
    }

    /// One property's value; null when the row has none.
    pub(crate) fn field(&self, key: u32, name: &str) -> Value {
        if self.entity != Entity::User {
            match name {
                "id" => return self.id(key, false).into(),
                "changeKey" => return self.change_key(key).into(),
                "parentFolderId" if self.entity == Entity::Message => {
                    return ids::encode(&self.owner.id, Entity::MailFolder, self.parent(key), false).into();
                }
                "parentFolderId" if self.entity == Entity::Contact => {
                    return ids::encode(&self.owner.id, Entity::ContactFolder, self.parent(key), false)
                        .into();
                }
                _ => {}
            }
        }
        match self.stored.get(&key) {
            Some(Some(row)) => self.stored_field(key, row, name),
            _ => self.seeded_field(key, name),
        }
    }

    /// What a generated row had for a property when it was born; null for rows that clients made.
    pub(crate) fn seeded(&self, origin: u32, name: &str) -> Value {
        if origin < self.seeded { self.seeded_field(origin, name) } else { Value::Null }
    }

    /// Adds a row and returns its number.
    pub(crate) fn create(&mut self, parent: u32, fields: Map<String, Value>) -> u32 {
        let key = self.next_key;
        self.next_key += 1;
        self.placed.insert(key, Instant::now());
        self.note(key);
        self.stored.insert(key, Some(StoredRow { parent, origin: key, change: 0, packed: pack(&fields) }));
        key
    }

    /// Changes a row's properties.
    pub(crate) fn update(&mut self, key: u32, changes: Map<String, Value>) {
        let mut row = self.materialized(key);
        row.change += 1;
        let mut fields = row.fields();
        fields.extend(changes);
        row.set(&fields);
        self.note(key);
        self.stored.insert(key, Some(row));
    }

    /// Takes a row away.
    pub(crate) fn remove(&mut self, key: u32) {
        self.note(key);
        self.stored.insert(key, None);
    }

    /// Puts a row into another folder: it gets a new number, and so a new id, but keeps its immutable id.
    pub(crate) fn move_to(&mut self, key: u32, parent: u32) -> u32 {
        let mut row = self.materialized(key);
        row.parent = parent;
        row.change += 1;
        let moved = self.next_key;
        self.next_key += 1;
        self.placed.insert(moved, Instant::now());
        self.note(key);
        self.note(moved);
        self.moved.insert(row.origin, moved);
        self.stored.insert(key, None);
        self.stored.insert(moved, Some(row));
        moved
    }

    /// Puts a copy of a row into a folder.
    pub(crate) fn copy_to(&mut self, key: u32, parent: u32) -> u32 {
        let row = self.materialized(key);
        self.create(parent, row.fields())
    }

    /// The rows that changed after that version, each once, in the order of their last change.
    pub(crate) fn changed_since(&self, version: u64) -> Vec<u32> {
        let start = self.changes.partition_point(|(changed, _)| *changed <= version);
        let mut seen = std::collections::HashSet::new();
        let mut keys: Vec<u32> =
            self.changes[start..].iter().rev().map(|(_, key)| *key).filter(|key| seen.insert(*key)).collect();
        keys.reverse();
        keys
    }

    /// One property of a row that was changed. Readers ask for all properties of a row in turn.
    fn stored_field(&self, key: u32, row: &StoredRow, name: &str) -> Value {
        let mut last = self.unpacked.borrow_mut();
        if (last.0, last.1) != (key, row.change) {
            *last = (key, row.change, row.fields());
        }
        last.2.get(name).cloned().unwrap_or(Value::Null)
    }

    fn note(&mut self, key: u32) {
        self.version += 1;
        self.changes.push((self.version, key));
    }

    fn materialized(&self, key: u32) -> StoredRow {
        if let Some(Some(row)) = self.stored.get(&key) {
            return row.clone();
        }
        let derived = ["changeKey", "parentFolderId"];
        let fields = self
            .entity
            .shape()
            .properties
            .iter()
            .filter(|property| !derived.contains(&property.name))
            .filter(|property| property.name != "id" || self.entity == Entity::User)
            .map(|property| (property.name.to_owned(), self.seeded_field(key, property.name)))
            .collect::<Map<String, Value>>();
        StoredRow { parent: self.parent(key), origin: key, change: 0, packed: pack(&fields) }
    }

    fn seeded_field(&self, key: u32, name: &str) -> Value {
        match self.entity {
            Entity::Message => messages::field(&self.owner, key, name),
            Entity::Event => events::field(&self.owner, key, name),
            Entity::Contact => contacts::field(&self.owner, key, name),
            Entity::User => directory::field(&self.owner, key, name),
            Entity::Calendar => folders::calendar_field(&self.owner, key, name),
            Entity::MailFolder => folders::mail_folder_field(&self.owner, key, name),
            Entity::ContactFolder => folders::contact_folder_field(&self.owner, key, name),
        }
    }
}
