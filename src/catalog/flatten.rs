//! The flatten rule: own and inherited structural properties, base type first; a complex type becomes `outer_inner`
//! columns to any depth; a collection becomes one column that holds JSON; an enumeration becomes text. Navigation
//! properties are no columns of the list. Knows nothing about objects.

use super::column::{Column, ColumnKind, ColumnSource, FilterOps};
use super::facts::{Facts, TypeId, TypeKind};
use super::facts_line::{Property, TypeRef};

/// The type of a local time with its zone beside it (Graph, "dateTimeTimeZone resource type").
const ZONED: &str = "dateTimeTimeZone";

/// The name of the column that holds `@odata.etag`.
const ETAG_COLUMN: &str = "Etag";

/// The name of the only column of an answer that is one value.
pub(super) const VALUE_COLUMN: &str = "value";

/// The columns of an entity or complex type. With `etag`, the `Etag` column stands right after `id`.
pub(super) fn flatten(facts: &Facts, kind: TypeId, etag: bool) -> Vec<Column> {
    let mut columns = Vec::new();
    for property in facts.properties(kind) {
        let is_key = property.name == "id" && facts.kind(kind) == TypeKind::Entity;
        let before = columns.len();
        push(facts, &mut columns, &property, None, &mut vec![kind]);
        if is_key && let Some(column) = columns.get_mut(before) {
            column.key = true;
        }
        if etag && property.name == "id" {
            columns.push(etag_column());
        }
    }
    columns
}

/// The column of an answer that is a value of a primitive type, or a collection of values.
pub(super) fn value_column(facts: &Facts, kind: TypeRef<'_>) -> Column {
    let path = vec![VALUE_COLUMN.to_owned()];
    Column::property(VALUE_COLUMN.to_owned(), path, kind_of(facts, kind))
}

/// Columns that are found by their name but stand in no list: the whole of a complex property that may hold more than its
/// declared parts. With `related` also what a row has when it is of a derived type, and related records.
pub(super) fn unlisted(facts: &Facts, kind: TypeId, listed: &[Column], related: bool) -> Vec<Column> {
    let mut found = Vec::new();
    let known = |found: &[Column], name: &str| {
        listed.iter().chain(found).any(|column| column.name.eq_ignore_ascii_case(name))
    };
    wholes(facts, &mut found, kind, &[], &mut vec![kind]);
    found.retain(|column| !listed.iter().any(|other| other.name == column.name));
    if !related {
        return found;
    }
    if facts.property(kind, "id").is_some() && !known(&found, ETAG_COLUMN) {
        found.push(etag_column());
    }
    for derived in facts.derived(kind) {
        let mut more = flatten(facts, derived, false);
        wholes(facts, &mut more, derived, &[], &mut vec![derived]);
        for mut column in more {
            if !known(&found, &column.name) {
                column.derived = true;
                found.push(column);
            }
        }
    }
    for holder in std::iter::once(kind).chain(facts.derived(kind)) {
        for navigation in facts.navigations(holder) {
            if !known(&found, navigation.name) {
                let path = vec![navigation.name.to_owned()];
                let mut column = Column::property(navigation.name.to_owned(), path, ColumnKind::Json);
                column.source = ColumnSource::Related;
                column.members = navigation.kind.collection.then_some(ColumnKind::Json);
                found.push(column);
            }
        }
    }
    found
}

fn etag_column() -> Column {
    let path = vec!["@odata.etag".to_owned()];
    let mut column = Column::property(ETAG_COLUMN.to_owned(), path, ColumnKind::String);
    column.source = ColumnSource::Etag;
    column
}

/// The kind of a value of type `kind`.
pub(super) fn kind_of(facts: &Facts, kind: TypeRef<'_>) -> ColumnKind {
    match facts.find(kind.name) {
        _ if kind.collection => ColumnKind::Json,
        Some(id) if facts.kind(id) == TypeKind::Enum => ColumnKind::String,
        Some(_) => ColumnKind::Json,
        None => ColumnKind::of_primitive(kind.name),
    }
}

/// The kind of a collection's members; `None`: it is no collection.
pub(super) fn members_kind(facts: &Facts, kind: TypeRef<'_>) -> Option<ColumnKind> {
    kind.collection.then(|| kind_of(facts, TypeRef { collection: false, ..kind }))
}

/// The name of the type whose parts are being flattened.
fn outer_type<'a>(facts: &'a Facts, open: &[TypeId]) -> Option<&'a str> {
    open.last().map(|id| facts.name(*id))
}

/// The complex type of a single-valued property.
fn complex(facts: &Facts, property: &Property<'_>) -> Option<TypeId> {
    let id = facts.find(property.kind.name).filter(|_| !property.kind.collection)?;
    (facts.kind(id) != TypeKind::Enum).then_some(id)
}

/// `open` holds the types being flattened: one that contains itself is left as JSON, or there would be no end.
fn push(
    facts: &Facts,
    columns: &mut Vec<Column>,
    property: &Property<'_>,
    outer: Option<&Column>,
    open: &mut Vec<TypeId>,
) {
    let (mut name, mut path) = match outer {
        Some(outer) => (format!("{}_", outer.name), outer.path.clone()),
        None => (String::new(), Vec::new()),
    };
    name.push_str(property.name);
    path.push(property.name.to_owned());
    let mut column = Column::property(name, path, kind_of(facts, property.kind));
    let members = facts.find(property.kind.name).filter(|_| !property.kind.collection);
    let members = members.and_then(|id| facts.members(id));
    column.values = members.map(|members| members.map(str::to_owned).collect()).unwrap_or_default();
    column.sortable = property.flags.sortable;
    column.searchable = property.flags.searchable;
    column.required = property.flags.required;
    column.max_length = property.flags.max_length;
    column.read_only = property.flags.read_only || outer.is_some_and(|outer| outer.read_only);
    column.select_only = property.flags.select_only
        || property.kind.name == "Stream"
        || outer.is_some_and(|outer| outer.select_only);
    column.members = members_kind(facts, property.kind);
    if property.name == "dateTime" && outer_type(facts, open) == Some(ZONED) {
        let mut zone = column.path.clone();
        zone.pop();
        zone.push("timeZone".to_owned());
        column.zone = Some(zone);
    }
    // What the facts say of a complex property, they say of its parts; of a collection they speak of its members, and
    // collections of objects are compared by the agent.
    column.filter = match outer {
        _ if column.members == Some(ColumnKind::Json) => FilterOps::NONE,
        Some(outer) if property.flags.filter == FilterOps::NONE => outer.filter,
        _ => property.flags.filter,
    };
    match complex(facts, property) {
        Some(inner) if !open.contains(&inner) => {
            // A complex type without declared properties (planner's assignments) gives no column of the list; its value
            // is found by the property's own name.
            open.push(inner);
            for part in facts.properties(inner) {
                push(facts, columns, &part, Some(&column), open);
            }
            open.pop();
        }
        _ => columns.push(column),
    }
}

/// Complex properties, at any depth, whose values may hold more than their declared parts, as JSON.
fn wholes(facts: &Facts, found: &mut Vec<Column>, kind: TypeId, outer: &[String], open: &mut Vec<TypeId>) {
    for property in facts.properties(kind) {
        let Some(inner) = complex(facts, &property).filter(|inner| !open.contains(inner)) else { continue };
        let mut path = outer.to_vec();
        path.push(property.name.to_owned());
        let more =
            facts.is_open(inner) || !facts.derived(inner).is_empty() || facts.properties(inner).is_empty();
        if more {
            found.push(Column::property(path.join("_"), path.clone(), ColumnKind::Json));
        }
        open.push(inner);
        wholes(facts, found, inner, &path, open);
        open.pop();
    }
}
