//! Drives: folders and files of users and groups, with their changes in order.
//! Never knows about HTTP; contents are referred to, not held.

use super::content::Content;
use super::hashes::hashes;
use super::messages::NEWEST;
use crate::random::{mix, seed_of};
use crate::time::{instant, now_seconds};
use serde_json::{Value, json};
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

/// The number of a drive's root folder.
pub(crate) const ROOT: u32 = 0;

/// Who did something, as `identitySet` shows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Actor {
    /// The user's id; empty for an application on its own.
    pub(crate) id: String,
    /// The display name.
    pub(crate) name: String,
    /// The mail address.
    pub(crate) address: String,
}

/// A file or folder.
#[derive(Debug, Clone)]
pub(crate) struct DriveItem {
    /// The folder it lies in; the root lies nowhere.
    pub(crate) parent: Option<u32>,
    /// The name.
    pub(crate) name: String,
    /// The description.
    pub(crate) description: Option<String>,
    /// When it was made, in seconds.
    pub(crate) created: i64,
    /// When it was changed, in seconds.
    pub(crate) modified: i64,
    /// What the client's file system says: created, last modified.
    pub(crate) file_system: (Option<String>, Option<String>),
    /// Who made it.
    pub(crate) author: Actor,
    /// Counts all changes, for the eTag.
    pub(crate) version: u32,
    /// Counts the changes of the content, for the cTag.
    pub(crate) content_version: u32,
    /// `None` for a folder.
    pub(crate) file: Option<FileFacts>,
    /// Whether it was deleted.
    pub(crate) deleted: bool,
    /// The drive's change that touched it last.
    pub(crate) sequence: u64,
}

/// What a file is beyond an item.
#[derive(Debug, Clone)]
pub(crate) struct FileFacts {
    /// The bytes.
    pub(crate) content: Arc<Content>,
    /// The media type.
    pub(crate) media_type: String,
    /// The `hashes` member.
    pub(crate) hashes: Value,
}

/// A drive.
#[derive(Debug, Clone)]
pub(crate) struct Drive {
    /// The id.
    pub(crate) id: String,
    /// `business`, `personal` or `documentLibrary`.
    pub(crate) kind: &'static str,
    /// Whose it is.
    pub(crate) owner: Actor,
    /// Whether it is a group's.
    pub(crate) of_group: bool,
    /// Where a browser would see it.
    pub(crate) web: String,
    /// Counts the changes.
    pub(crate) sequence: u64,
    seed: u64,
    items: BTreeMap<u32, DriveItem>,
    names: HashMap<u32, BTreeMap<String, u32>>,
}

impl Drive {
    /// A drive with a few folders and files.
    pub(crate) fn new(owner: Actor, of_group: bool, personal: bool) -> Self {
        let seed = seed_of(&owner.id);
        let account = owner.address.replace(['@', '.'], "_");
        let web = if of_group {
            format!("https://contoso.sharepoint.com/sites/{account}/Shared%20Documents")
        } else {
            format!("https://contoso-my.sharepoint.com/personal/{account}/Documents")
        };
        let mut drive = Self {
            id: drive_id(seed),
            kind: match (of_group, personal) {
                (true, _) => "documentLibrary",
                (false, true) => "personal",
                (false, false) => "business",
            },
            owner,
            of_group,
            web,
            sequence: 0,
            seed,
            items: BTreeMap::new(),
            names: HashMap::new(),
        };
        let root = drive.blank(None, "root");
        drive.items.insert(ROOT, root);
        drive.furnish();
        drive
    }

    /// All items that are there.
    pub(crate) fn items(&self) -> impl Iterator<Item = (u32, &DriveItem)> {
        self.items.iter().filter(|(_, item)| !item.deleted).map(|(key, item)| (*key, item))
    }

    /// The item of that number, if it is there.
    pub(crate) fn item(&self, key: u32) -> Option<&DriveItem> {
        self.items.get(&key).filter(|item| !item.deleted)
    }

    /// The item in a folder; names differ without regard to case.
    pub(crate) fn named(&self, folder: u32, name: &str) -> Option<u32> {
        self.names.get(&folder)?.get(&name.to_lowercase()).copied()
    }

    /// The items in a folder, by name.
    pub(crate) fn children(&self, folder: u32) -> Vec<u32> {
        self.names.get(&folder).map_or_else(Vec::new, |names| names.values().copied().collect())
    }

    /// The item at a path from a folder.
    pub(crate) fn at_path(&self, folder: u32, names: &[String]) -> Option<u32> {
        names.iter().try_fold(folder, |folder, name| self.named(folder, name))
    }

    /// The items changed after that change, deleted ones included, parents before children.
    pub(crate) fn changed_since(&self, sequence: u64) -> Vec<u32> {
        let changed = self
            .items
            .iter()
            .filter(|(_, item)| item.sequence > sequence || (sequence == 0 && !item.deleted));
        changed.filter(|(_, item)| sequence > 0 || !item.deleted).map(|(key, _)| *key).collect()
    }

    /// An item, deleted or not.
    pub(crate) fn any_item(&self, key: u32) -> Option<&DriveItem> {
        self.items.get(&key)
    }

    /// The bytes in a file or below a folder.
    pub(crate) fn size(&self, key: u32) -> u64 {
        match self.item(key) {
            Some(DriveItem { file: Some(file), .. }) => file.content.length(),
            Some(_) => self.children(key).into_iter().map(|child| self.size(child)).sum(),
            None => 0,
        }
    }

    /// Puts an item into a folder; its name is known to be free.
    pub(crate) fn add(&mut self, folder: u32, name: &str, author: Actor, file: Option<FileFacts>) -> u32 {
        let key = self.items.keys().next_back().map_or(ROOT, |last| last + 1);
        let mut item = self.blank(Some(folder), name);
        (item.author, item.file) = (author, file);
        self.items.insert(key, item);
        self.names.entry(folder).or_default().insert(name.to_lowercase(), key);
        self.touch(folder);
        key
    }

    /// Changes an item.
    pub(crate) fn change(&mut self, key: u32, change: impl FnOnce(&mut DriveItem)) {
        let Some(before) = self.items.get(&key).cloned() else {
            return;
        };
        let Some(item) = self.items.get_mut(&key) else {
            return;
        };
        change(item);
        item.version += 1;
        item.modified = now_seconds();
        let (parent, name) = (item.parent, item.name.clone());
        if let (Some(old), Some(new)) = (before.parent, parent) {
            if let Some(names) = self.names.get_mut(&old) {
                names.remove(&before.name.to_lowercase());
            }
            self.names.entry(new).or_default().insert(name.to_lowercase(), key);
        }
        self.touch(key);
    }

    /// Takes an item away with everything below it.
    pub(crate) fn remove(&mut self, key: u32) {
        for child in self.children(key) {
            self.remove(child);
        }
        let Some(item) = self.items.get_mut(&key) else {
            return;
        };
        item.deleted = true;
        item.file = None;
        let (parent, name) = (item.parent, item.name.to_lowercase());
        if let Some(names) = parent.and_then(|parent| self.names.get_mut(&parent)) {
            names.remove(&name);
        }
        self.touch(key);
    }

    /// Puts a copy of an item, with everything below it, into a folder; the name is known to be free.
    pub(crate) fn copy(&mut self, key: u32, folder: u32, name: &str) -> Option<u32> {
        let item = self.item(key)?.clone();
        let copied = self.add(folder, name, item.author, item.file);
        for child in self.children(key).into_iter().filter(|child| *child != copied) {
            let name = self.item(child)?.name.clone();
            self.copy(child, copied, &name);
        }
        Some(copied)
    }

    /// Whether an item is a folder's own self or lies below it.
    pub(crate) fn is_within(&self, mut key: u32, folder: u32) -> bool {
        loop {
            if key == folder {
                return true;
            }
            match self.item(key).and_then(|item| item.parent) {
                Some(parent) => key = parent,
                None => return false,
            }
        }
    }

    /// The names from the root to an item.
    pub(crate) fn path(&self, key: u32) -> String {
        match self.items.get(&key) {
            Some(DriveItem { parent: Some(parent), name, .. }) => format!("{}/{name}", self.path(*parent)),
            _ => String::new(),
        }
    }

    /// The opaque id of an item.
    pub(crate) fn item_id(&self, key: u32) -> String {
        let mut bytes = Vec::with_capacity(20);
        bytes.extend_from_slice(&mix(self.seed, u64::from(key), 100).to_be_bytes());
        bytes.extend_from_slice(&mix(self.seed, u64::from(key), 101).to_be_bytes());
        bytes.extend_from_slice(&key.to_be_bytes());
        format!("01{}", base32(&bytes))
    }

    /// The item of an id; the number is found by looking for it, as the text hides it.
    pub(crate) fn find(&self, id: &str) -> Option<u32> {
        if id.eq_ignore_ascii_case("root") {
            return Some(ROOT);
        }
        let tail = id.get(id.len().checked_sub(7)?..)?;
        let number = tail.bytes().try_fold(0_u64, |number, byte| {
            let digit = BASE32.iter().position(|known| *known == byte.to_ascii_uppercase())?;
            Some(number << 5 | digit as u64)
        })?;
        let key = number as u32;
        (self.item(key).is_some() && self.item_id(key).eq_ignore_ascii_case(id)).then_some(key)
    }

    /// The GUID in an item's tags.
    pub(crate) fn guid(&self, key: u32) -> String {
        crate::random::guid(mix(self.seed, u64::from(key), 102), mix(self.seed, u64::from(key), 103))
            .to_uppercase()
    }

    /// The facts of new file.
    pub(crate) fn file(&self, content: Content, media_type: String) -> std::io::Result<FileFacts> {
        let hashes = hashes(&content, self.kind == "personal")?;
        Ok(FileFacts { content: Arc::new(content), media_type, hashes })
    }

    /// `identitySet`.
    pub(crate) fn identity(actor: &Actor) -> Value {
        if actor.id.is_empty() {
            return json!({"application": {"id": crate::options::CONFIDENTIAL_CLIENT_ID, "displayName": actor.name}});
        }
        json!({"user": {"email": actor.address, "id": actor.id, "displayName": actor.name}})
    }

    fn touch(&mut self, key: u32) {
        self.sequence += 1;
        if let Some(item) = self.items.get_mut(&key) {
            item.sequence = self.sequence;
        }
    }

    fn blank(&mut self, parent: Option<u32>, name: &str) -> DriveItem {
        self.sequence += 1;
        let now = now_seconds();
        DriveItem {
            parent,
            name: name.to_owned(),
            description: None,
            created: now,
            modified: now,
            file_system: (None, None),
            author: self.owner.clone(),
            version: 1,
            content_version: 1,
            file: None,
            deleted: false,
            sequence: self.sequence,
        }
    }

    /// Folders eight deep and one that takes two pages, so that walks have something to get wrong.
    fn furnish(&mut self) {
        let mut folder = ROOT;
        for level in 0..8 {
            folder = self.seeded_folder(folder, if level == 0 { "Archive" } else { "Older" });
            self.seeded_file(folder, &format!("level {level}.txt"), 1_000 + level);
        }
        let documents = self.seeded_folder(ROOT, "Documents");
        for name in [
            "Budget 2026.xlsx",
            "Contoso Purchasing Permissions.docx",
            "R&D plan, Q1.pptx",
            "Ünïcode 文書.txt",
        ] {
            self.seeded_file(documents, name, 20_000);
        }
        let photos = self.seeded_folder(ROOT, "Photos");
        for number in 0..250 {
            self.seeded_file(photos, &format!("IMG_{number:04}.jpg"), 500 + number);
        }
        self.seeded_file(ROOT, "Getting started with OneDrive.pdf", 70_000);
    }

    fn seeded_folder(&mut self, parent: u32, name: &str) -> u32 {
        let key = self.add(parent, name, self.owner.clone(), None);
        self.age(key);
        key
    }

    fn seeded_file(&mut self, parent: u32, name: &str, length: u64) {
        let content = Content::Generated { seed: mix(self.seed, seed_of(name), 104), length };
        if let Ok(file) = self.file(content, media_type(name).to_owned()) {
            let key = self.add(parent, name, self.owner.clone(), Some(file));
            self.age(key);
        }
    }

    fn age(&mut self, key: u32) {
        let moment = NEWEST - 86_400 * 100 + i64::from(key) * 600;
        if let Some(item) = self.items.get_mut(&key) {
            (item.created, item.modified) = (moment, moment + 60);
        }
    }
}

/// The drives that somebody opened, by id.
#[derive(Debug, Default, Clone)]
pub(crate) struct Drives {
    by_id: HashMap<String, Drive>,
}

impl Drives {
    /// The id of an owner's drive, which is built when it is first opened.
    pub(crate) fn of(&mut self, owner: &Actor, of_group: bool, personal: bool) -> String {
        let id = drive_id(seed_of(&owner.id));
        self.by_id.entry(id.clone()).or_insert_with(|| Drive::new(owner.clone(), of_group, personal));
        id
    }

    /// All of them.
    pub(crate) fn all(&self) -> impl Iterator<Item = &Drive> {
        self.by_id.values()
    }

    /// A drive by its id.
    pub(crate) fn get(&self, id: &str) -> Option<&Drive> {
        self.by_id.get(id)
    }

    /// A drive by its id, to be changed.
    pub(crate) fn get_mut(&mut self, id: &str) -> Option<&mut Drive> {
        self.by_id.get_mut(id)
    }
}

/// The media type that a file's name tells.
pub(crate) fn media_type(name: &str) -> &'static str {
    match name.rsplit_once('.').map(|(_, ending)| ending.to_ascii_lowercase()).as_deref() {
        Some("txt") => "text/plain",
        Some("pdf") => "application/pdf",
        Some("jpg" | "jpeg") => "image/jpeg",
        Some("png") => "image/png",
        Some("csv") => "text/csv",
        Some("docx") => "application/vnd.openxmlformats-officedocument.wordprocessingml.document",
        Some("xlsx") => "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet",
        Some("pptx") => "application/vnd.openxmlformats-officedocument.presentationml.presentation",
        _ => "application/octet-stream",
    }
}

/// `createdDateTime` and its like.
pub(crate) fn moment(seconds: i64) -> Value {
    instant(seconds).into()
}

const BASE32: &[u8; 32] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";

fn base32(bytes: &[u8]) -> String {
    let mut text = String::new();
    let (mut bits, mut held) = (0_u64, 0_u32);
    for byte in bytes {
        bits = bits << 8 | u64::from(*byte);
        held += 8;
        while held >= 5 {
            held -= 5;
            text.push(char::from(BASE32[(bits >> held & 31) as usize]));
        }
    }
    text
}

fn drive_id(seed: u64) -> String {
    use base64::Engine;
    let bytes: Vec<u8> = (0..6).flat_map(|part| mix(seed, part, 105).to_be_bytes()).collect();
    format!("b!{}", base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_come_back_and_changes_are_in_order() {
        let actor = Actor { id: "u".into(), name: "Adele".into(), address: "adele@contoso.com".into() };
        let mut drive = Drive::new(actor.clone(), false, false);
        for key in drive.changed_since(0) {
            assert_eq!(drive.find(&drive.item_id(key)), Some(key));
        }
        let (documents, before) = (drive.named(ROOT, "DOCUMENTS").unwrap(), drive.sequence);
        let made = drive.add(documents, "New.txt", actor, None);
        assert_eq!(drive.changed_since(before), [documents, made]);
        assert_eq!(drive.path(made), "/Documents/New.txt");
        let at = drive.sequence;
        drive.remove(documents);
        assert_eq!(drive.changed_since(at).len(), 6, "the folder, its four files and the new one");
        assert_eq!(drive.find(&drive.item_id(made)), None);
        assert_eq!(drive.find("01short"), None);
    }
}
