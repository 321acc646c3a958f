//! Objects with their columns and paths, made from their definitions and the facts. Never sends, and never decides how a
//! request is spelled beyond its path.

use std::sync::OnceLock;

use super::column::{Column, ColumnKind, ColumnSource};
use super::definitions::{DEFINITIONS, Definition};
use super::flatten::flatten;
use super::path::{GraphPath, encode_segment};
use super::types::Facts;
use super::{CatalogError, did_you_mean};

/// Whose an object's rows are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Home {
    /// One user's mailbox: below `me` or `users/{UserId}`.
    Mailbox,
    /// The tenant's directory.
    Directory,
}

/// Whose mailbox an activity acts on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Owner {
    /// The signed-in user.
    Me,
    /// A user by id or user principal name.
    User(String),
}

impl Owner {
    /// `me`, or `users/{id}` percent-encoded.
    pub fn path(&self) -> String {
        match self {
            Self::Me => "me".to_owned(),
            Self::User(id) => format!("users/{}", encode_segment(id)),
        }
    }

    /// The name under which requests to this mailbox share their limit.
    pub fn mailbox(&self) -> String {
        match self {
            Self::Me => "me".to_owned(),
            Self::User(id) => id.to_lowercase(),
        }
    }
}

/// A column whose value chooses the path instead of becoming a filter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PathPart {
    /// The column (`ParentFolderId`).
    pub column: &'static str,
    /// The segment before its value (`mailFolders`).
    pub segment: &'static str,
    /// The collection behind its value (`messages`).
    pub collection: &'static str,
    /// Whether it stands below the owner's mailbox; otherwise at the root, instead of a mailbox.
    pub below_owner: bool,
}

/// What a new record must have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct InsertNeed {
    /// The column.
    pub column: &'static str,
    /// A value for messages, as JSON.
    pub example: &'static str,
}

/// An object with its columns.
pub struct Object {
    definition: &'static Definition,
    columns: Vec<Column>,
}

impl std::fmt::Debug for Object {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Object").field("name", &self.definition.name).finish_non_exhaustive()
    }
}

impl Object {
    fn new(definition: &'static Definition) -> Self {
        let mut columns = flatten(Facts::get(), definition.graph_type, definition.etag);
        for column in &mut columns {
            let name = column.name.as_str();
            if let Some((_, operators)) = definition.filters.iter().find(|(names, _)| names.contains(&name)) {
                column.filter = *operators;
            }
            column.sortable |= definition.sortable.contains(&name);
            column.read_only |= name == "id" || definition.read_only.contains(&name);
            column.read_only &= !definition.writable.contains(&name);
            column.select_only |= definition.select_only.contains(&name);
        }
        for place in definition.places {
            let mut column = Column::property((*place).to_owned(), Vec::new(), ColumnKind::String);
            column.source = ColumnSource::Place;
            columns.push(column);
        }
        Self { definition, columns }
    }

    /// Its name (`Messages`).
    pub fn name(&self) -> &'static str {
        self.definition.name
    }

    /// Whose its rows are.
    pub fn home(&self) -> Home {
        self.definition.home
    }

    /// All its columns, in order.
    pub fn columns(&self) -> &[Column] {
        &self.columns
    }

    /// The column with this name, in any case.
    ///
    /// # Errors
    /// A sentence with the nearest name.
    pub fn column(&self, name: &str) -> Result<&Column, CatalogError> {
        self.columns.iter().find(|column| column.name.eq_ignore_ascii_case(name)).ok_or_else(|| {
            let near = did_you_mean(name, self.columns.iter().map(|column| column.name.as_str()));
            let object = self.name();
            CatalogError::new(format!(
                "{object} has no column '{name}'.{near} GET …/objects/{object} lists its columns."
            ))
        })
    }

    /// The columns that are answered when none are named.
    pub fn default_columns(&self) -> Vec<&Column> {
        let named = self.definition.default_columns;
        let shown = |column: &&Column| match named {
            [] => !column.select_only && column.source != ColumnSource::Place,
            named => named.contains(&column.name.as_str()),
        };
        self.columns.iter().filter(shown).collect()
    }

    /// Whether the service answers exactly the default columns when nothing is selected.
    pub fn default_needs_no_select(&self) -> bool {
        self.definition.default_columns.is_empty()
    }

    /// The columns whose value chooses the path.
    pub fn parts(&self) -> &'static [PathPart] {
        self.definition.parts
    }

    /// The part that `column` (any case) chooses, if any.
    pub fn part(&self, column: &str) -> Option<&'static PathPart> {
        self.definition.parts.iter().find(|part| part.column.eq_ignore_ascii_case(column))
    }

    /// The most rows a page can hold.
    pub fn largest_page(&self) -> u32 {
        self.definition.largest_page
    }

    /// The page to ask for when `selected` properties are answered (none: all of them).
    pub fn page_for(&self, selected: &[String]) -> u32 {
        let (heavy, page) = self.definition.heavy;
        let is_heavy = selected.is_empty() || selected.iter().any(|name| heavy.contains(&name.as_str()));
        if is_heavy { page } else { self.definition.largest_page }
    }

    /// What a new record must have.
    pub fn insert_needs(&self) -> &'static [InsertNeed] {
        self.definition.insert_needs
    }

    /// Whether columns of the order must lead the filter.
    pub fn order_leads_filter(&self) -> bool {
        self.definition.order_leads_filter
    }

    /// Error codes that mean "there is no such row".
    pub fn absent_codes(&self) -> &'static [&'static str] {
        self.definition.absent_codes
    }

    /// The collection's path below the Graph root, percent-encoded: `me/messages`, or the one that `part` with its value
    /// chooses. `owner` is not used by directory objects.
    pub fn collection_path(&self, owner: &Owner, part: Option<(&PathPart, &str)>) -> String {
        let collection = self.definition.collection;
        let root = match self.definition.home {
            Home::Mailbox => format!("{}/", owner.path()),
            Home::Directory => String::new(),
        };
        match part {
            None => format!("{root}{collection}"),
            Some((part, value)) => {
                let root = if part.below_owner { root } else { String::new() };
                format!("{root}{}/{}/{}", part.segment, encode_segment(value), part.collection)
            }
        }
    }

    /// One record's path below the Graph root, percent-encoded. Items of a mailbox are found by their id whatever
    /// folder they are in, so only a part that replaces the mailbox matters.
    pub fn record_path(&self, owner: &Owner, part: Option<(&PathPart, &str)>, id: &str) -> String {
        let part = part.filter(|(part, _)| !part.below_owner);
        format!("{}/{}", self.collection_path(owner, part), encode_segment(id))
    }
}

/// What the `object` of a request names.
#[derive(Clone, Debug)]
pub enum ObjectKind {
    /// One of the catalog's objects.
    Named(&'static Object),
    /// A Graph path.
    Path(GraphPath),
}

/// The object called `name`, in any case, or the Graph path it is when it begins with `/`.
///
/// # Errors
/// A sentence: what is wrong with the path, or the nearest name and the list of names.
pub fn find_object(name: &str) -> Result<ObjectKind, CatalogError> {
    let name = name.trim();
    if name.starts_with('/') {
        return GraphPath::parse(name).map(ObjectKind::Path);
    }
    let found = objects().iter().find(|object| object.name().eq_ignore_ascii_case(name));
    found.map(ObjectKind::Named).ok_or_else(|| {
        let names: Vec<&str> = objects().iter().map(Object::name).collect();
        let near = did_you_mean(name, names.iter().copied());
        CatalogError::new(format!(
            "There is no object '{name}'.{near} The objects are {}; any Graph path that begins with '/' is one too.",
            names.join(", ")
        ))
    })
}

/// All objects.
pub(super) fn objects() -> &'static [Object] {
    static OBJECTS: OnceLock<Vec<Object>> = OnceLock::new();
    OBJECTS.get_or_init(|| DEFINITIONS.iter().map(Object::new).collect())
}

#[cfg(test)]
#[path = "objects_tests.rs"]
mod tests;
