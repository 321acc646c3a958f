//! What is declared of an object, as a shape, and how a declaration and the metadata come to columns. The declarations
//! themselves are in `definitions/`.

use super::column::{Column, ColumnKind, ColumnSource, FilterOps};
use super::comparison::TextComparison;
use super::object::Home;

/// What is declared of an object. The paths are templates (`route.rs`).
pub(super) struct Definition {
    pub(super) name: &'static str,
    /// What it is, in a sentence.
    pub(super) description: &'static str,
    pub(super) graph_type: &'static str,
    /// The type of the collection, where `graph_type` is derived from it: then records say their type, and properties of
    /// the derived type cannot be selected by their bare names.
    pub(super) listed_type: Option<&'static str>,
    pub(super) home: Home,
    /// Where rows are listed.
    pub(super) list: &'static [&'static str],
    /// Those of `list` that lead to one record rather than to a collection.
    pub(super) single: &'static [&'static str],
    /// The place column without whose value the list shows the default place alone.
    pub(super) default_place: Option<&'static str>,
    /// Where new records are posted; empty: the service makes none this way.
    pub(super) create: &'static [&'static str],
    /// Where one record is; empty: it is found in lists only.
    pub(super) record: &'static [&'static str],
    pub(super) update: bool,
    pub(super) delete: bool,
    /// What to use where the service takes no new or changed records, for the message.
    pub(super) instead: &'static str,
    pub(super) etag: bool,
    /// The property that holds the row's tag, where rows have one instead of `@odata.etag`.
    pub(super) etag_property: Option<&'static str>,
    /// Whether the service refuses to change or remove a record without `If-Match`.
    pub(super) etag_required: bool,
    /// Other names of place columns.
    pub(super) aliases: &'static [(&'static str, &'static str)],
    /// Columns of ids for which paths take names too.
    pub(super) names_in_path: &'static [(&'static str, NamesInPath)],
    /// Columns before those of the metadata.
    pub(super) before: &'static [Extra],
    /// Columns behind those of the metadata.
    pub(super) after: &'static [Extra],
    /// The page size to ask for; `None`: the service takes none.
    pub(super) largest_page: Option<u32>,
    /// Properties that make rows large, and the page to ask for with them. A thousand bodies in one page are answered with
    /// 504 (Graph, "List messages", on `$top`) or are larger than a page of ours may be.
    pub(super) heavy: Option<(&'static [&'static str], u32)>,
    pub(super) range: Option<Range>,
    pub(super) recursion: Option<Recursion>,
    /// Whether an application that names no user means every user, because there is no other way to all rows.
    pub(super) walks_users: bool,
    /// Columns shown when none are named; empty: all but those answered only when named.
    pub(super) default_columns: &'static [&'static str],
    /// What the service compares, by column; the facts hold for columns that are not here.
    pub(super) filters: &'static [(&'static [&'static str], FilterOps)],
    pub(super) sortable: &'static [&'static str],
    /// Identifiers that are addresses, which have no case.
    pub(super) case_insensitive: &'static [&'static str],
    pub(super) read_only: &'static [&'static str],
    /// Columns that the metadata's comments call read-only in some tenants only.
    pub(super) writable: &'static [&'static str],
    pub(super) select_only: &'static [&'static str],
    pub(super) insert_needs: &'static [InsertNeed],
    /// `$orderby` columns must lead `$filter` in the same order, else the service answers `InefficientFilter`.
    pub(super) order_leads_filter: bool,
    /// Error codes that mean "there is no such row".
    pub(super) absent_codes: &'static [&'static str],
}

/// A column that the type in the metadata does not have.
pub(super) struct Extra {
    pub(super) name: &'static str,
    pub(super) key: bool,
    pub(super) source: ColumnSource,
    /// For [`ColumnSource::CreateOnly`]: where its value goes in a new record.
    pub(super) path: &'static [&'static str],
}

/// What a path takes in place of an id. No row has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct NamesInPath {
    pub(super) names: Names,
    /// What a caller queries to learn the id.
    pub(super) read: &'static str,
}

/// The names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Names {
    /// These, in any case.
    These(&'static [&'static str]),
    /// User principal names.
    Principals,
}

/// What a new record must have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct InsertNeed {
    /// The column.
    pub column: &'static str,
    /// A value for messages, as JSON.
    pub example: &'static str,
}

/// The columns whose conditions bound the range of time that the service shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Range {
    /// The column that says where it begins (`Start_DateTime`).
    pub start: &'static str,
    /// The column that says where it ends.
    pub end: &'static str,
    /// The query option for the beginning (`startDateTime`).
    pub start_option: &'static str,
    /// The query option for the end.
    pub end_option: &'static str,
}

/// How rows that hold further rows are read on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Recursion {
    /// The place column that is given a row's id to list what is in it (`parentReference_id`).
    pub column: &'static str,
    /// Where a row says how many rows it holds; a row whose first part of it is missing or null holds none.
    pub holds: &'static [&'static str],
}

/// Most objects' declaration, to be changed.
pub(super) const PLAIN: Definition = Definition {
    name: "",
    description: "",
    graph_type: "",
    listed_type: None,
    home: Home::Other,
    list: &[],
    single: &[],
    default_place: None,
    create: &[],
    record: &[],
    update: false,
    delete: false,
    instead: "",
    etag: false,
    etag_property: None,
    etag_required: false,
    aliases: &[],
    names_in_path: &[],
    before: &[],
    after: &[],
    largest_page: None,
    heavy: None,
    range: None,
    recursion: None,
    walks_users: false,
    default_columns: &[],
    filters: &[],
    sortable: &[],
    case_insensitive: &[],
    read_only: &[],
    writable: &[],
    select_only: &[],
    insert_needs: &[],
    order_leads_filter: false,
    absent_codes: &[],
};

/// A place that is known from the request rather than from the row.
pub(super) const fn place(name: &'static str) -> Extra {
    Extra { name, key: false, source: ColumnSource::Place, path: &[] }
}

/// A place that is a part of the key.
pub(super) const fn key_place(name: &'static str) -> Extra {
    Extra { name, key: true, source: ColumnSource::Place, path: &[] }
}

/// A bound of the range of time that is shown.
pub(super) const fn bound(name: &'static str) -> Extra {
    Extra { name, key: false, source: ColumnSource::FilterOnly, path: &[] }
}

/// A value that a new record takes at `path` and no row has.
pub(super) const fn create_only(name: &'static str, path: &'static [&'static str]) -> Extra {
    Extra { name, key: false, source: ColumnSource::CreateOnly, path }
}

impl Extra {
    fn column(&self) -> Column {
        let path = self.path.iter().map(|part| (*part).to_owned()).collect();
        let mut column = Column::property(self.name.to_owned(), path, ColumnKind::String);
        column.source = self.source;
        column.key = self.key;
        column
    }
}

impl Definition {
    /// The columns: the metadata's, between the declared ones, with what is declared of them.
    pub(super) fn columns(&self, flattened: Vec<Column>) -> Vec<Column> {
        let mut columns: Vec<Column> = self.before.iter().map(Extra::column).collect();
        columns.extend(flattened);
        for column in &mut columns {
            let name = column.name.as_str();
            if let Some((_, operators)) = self.filters.iter().find(|(names, _)| names.contains(&name)) {
                column.filter = *operators;
            }
            if let (ColumnSource::Etag, Some(property)) = (column.source, self.etag_property) {
                column.path = vec![property.to_owned()];
            }
            column.sortable |= self.sortable.contains(&name);
            column.text = match self.case_insensitive.contains(&name) {
                true => TextComparison::CaseInsensitive,
                false => TextComparison::of(&column.path, column.members.unwrap_or(column.kind), self.home),
            };
            column.read_only |= name == "id" || self.read_only.contains(&name);
            column.read_only &= !self.writable.contains(&name);
            column.select_only |= self.select_only.contains(&name);
        }
        for extra in self.after {
            columns.push(extra.column());
        }
        columns
    }
}
