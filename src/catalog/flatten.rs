//! The flatten rule: own and inherited structural properties, base type first; a complex type becomes `outer_inner`
//! columns to any depth; a collection becomes one column that holds JSON; an enumeration becomes text. Navigation
//! properties are no columns. Knows nothing about objects.

use super::column::{Column, ColumnKind, ColumnSource, FilterOps};
use super::types::{Facts, Property};

/// The name of the column that holds `@odata.etag`.
const ETAG_COLUMN: &str = "Etag";

/// The columns of an entity type. With `etag`, the `Etag` column stands right after `id`.
pub(super) fn flatten(facts: &Facts, entity: &str, etag: bool) -> Vec<Column> {
    let mut columns = Vec::new();
    for property in facts.properties(entity) {
        push(facts, &mut columns, property, None, &mut vec![entity]);
        if etag && property.name == "id" {
            let path = vec!["@odata.etag".to_owned()];
            let mut column = Column::property(ETAG_COLUMN.to_owned(), path, ColumnKind::String);
            column.source = ColumnSource::Etag;
            columns.push(column);
        }
    }
    columns
}

/// `open` holds the types being flattened: one that contains itself is left as JSON, or there would be no end.
fn push<'a>(
    facts: &'a Facts,
    columns: &mut Vec<Column>,
    property: &'a Property,
    outer: Option<&Column>,
    open: &mut Vec<&'a str>,
) {
    let (mut name, mut path) = match outer {
        Some(outer) => (format!("{}_", outer.name), outer.path.clone()),
        None => (String::new(), Vec::new()),
    };
    name.push_str(property.name);
    path.push(property.name.to_owned());
    let members = facts.members(property.type_name);
    let kind = match members {
        _ if property.collection => ColumnKind::Json,
        Some(_) => ColumnKind::String,
        None => ColumnKind::of_primitive(property.type_name),
    };
    let mut column = Column::property(name, path, kind);
    column.values = members.filter(|_| !property.collection).map(<[_]>::to_vec).unwrap_or_default();
    column.sortable = property.sortable;
    column.read_only = property.read_only || outer.is_some_and(|outer| outer.read_only);
    column.select_only = property.select_only || outer.is_some_and(|outer| outer.select_only);
    // What the facts say of a complex property, they say of its parts; a collection is compared by the agent, because
    // `$filter` on one speaks of its members and a column of its text.
    column.filter = match outer {
        _ if property.collection => FilterOps::NONE,
        Some(outer) if property.filter == FilterOps::NONE => outer.filter,
        _ => property.filter,
    };
    let complex = facts.structured(property.type_name).is_some();
    if property.collection || !complex || open.contains(&property.type_name) {
        columns.push(column);
        return;
    }
    // A complex type without declared properties (custom security attributes) gives no column; its values are read
    // through a Graph path.
    let inner = facts.properties(property.type_name);
    open.push(property.type_name);
    for part in inner {
        push(facts, columns, part, Some(&column), open);
    }
    open.pop();
}
