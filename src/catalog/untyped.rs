//! Fields of a Graph path for which the facts have no column: parts of related records, properties that the metadata does
//! not declare (list fields, extensions) and whatever an unknown path answers. Never refuses a name that Graph could know.
//!
//! A name with `_` is a whole name first (`contoso_courses`, `fields/Order_x0020_Number`), and is split at `_` only where
//! its first part is a property of the type, or where nobody knows the type.

use super::CatalogError;
use super::column::{Column, ColumnKind, ColumnSource, FilterOps};
use super::facts::{Facts, TypeId};
use super::facts_line::Navigation;
use super::flatten::flatten;
use super::object::Home;
use super::path_object::guessed_filter;

/// The column of `field` in rows of `kind`.
///
/// # Errors
/// A sentence, when it is no name of a property, or a part of a list of related records.
pub(super) fn untyped(
    facts: &Facts,
    kind: Option<TypeId>,
    field: &str,
    home: Home,
) -> Result<Column, CatalogError> {
    let field = field.trim();
    let whole: Vec<String> = field.split('/').map(str::to_owned).collect();
    if !whole.iter().all(|part| is_property_name(part)) {
        let shown = crate::error::clean_foreign_text(field);
        return Err(CatalogError::new(format!(
            "'{shown}' is no name of a property. Write for example displayName, or body_content for a part."
        )));
    }
    let first = whole[0].as_str();
    let known = kind.and_then(|kind| known_start(facts, kind, first));
    let (start, rest) = match &known {
        Some(start) => (start.name(), inner_name(&whole, start.name())),
        None => (first, None),
    };
    if let (Some(Start::Navigation(navigation)), Some(rest)) = (&known, &rest) {
        return related(facts, navigation, field, rest, home);
    }
    let mut column = match rest {
        // The part of a property whose parts are not declared.
        Some(rest) => Column::property(field.to_owned(), below(start, &rest), ColumnKind::Any),
        None => Column::property(field.to_owned(), whole.clone(), ColumnKind::Any),
    };
    let split: Vec<String> = field.split(['/', '_']).map(str::to_owned).collect();
    let ambiguous = split.len() > column.path.len() && !first.starts_with('@') && !is_extension(first);
    if ambiguous && kind.is_none() && split.iter().all(|part| is_property_name(part)) {
        column.fallback = Some(split);
        column.lies_in(home);
    } else {
        guessed_filter(&mut column, home);
    }
    Ok(column)
}

/// A property or relationship of the type with which a name begins.
enum Start<'a> {
    Property(&'a str),
    Navigation(Navigation<'a>),
}

impl Start<'_> {
    fn name(&self) -> &str {
        match self {
            Self::Property(name) => name,
            Self::Navigation(navigation) => navigation.name,
        }
    }
}

/// The longest declared name that is `text`, or that `text` begins with before a `_`.
fn known_start<'a>(facts: &'a Facts, kind: TypeId, text: &str) -> Option<Start<'a>> {
    let ends = text.match_indices('_').map(|(at, _)| at).chain([text.len()]);
    let candidates: Vec<&str> = ends.filter(|end| *end > 0).map(|end| &text[..end]).collect();
    candidates.into_iter().rev().find_map(|name| {
        let property = facts.property(kind, name).map(|property| Start::Property(property.name));
        property.or_else(|| facts.navigation(kind, name).map(Start::Navigation))
    })
}

/// The rest after the declared first name, as one text with `/` between its parts.
fn inner_name(whole: &[String], start: &str) -> Option<String> {
    let mut rest: Vec<&str> = Vec::new();
    let behind = &whole[0][start.len()..];
    rest.extend(behind.strip_prefix('_').filter(|text| !text.is_empty()));
    rest.extend(whole[1..].iter().map(String::as_str));
    (!rest.is_empty()).then(|| rest.join("/"))
}

fn below(start: &str, rest: &str) -> Vec<String> {
    std::iter::once(start).chain(rest.split('/')).map(str::to_owned).collect()
}

/// A part of a related record: the relationship is expanded.
fn related(
    facts: &Facts,
    navigation: &Navigation<'_>,
    field: &str,
    rest: &str,
    home: Home,
) -> Result<Column, CatalogError> {
    if navigation.kind.collection {
        let name = navigation.name;
        return Err(CatalogError::new(format!(
            "'{name}' is a list of related records, so no column is a part of it. Name '{name}' for the list as JSON, or \
             query its own path, which ends in /{name}."
        )));
    }
    let flat = rest.replace('/', "_");
    let columns =
        facts.find(navigation.kind.name).map(|kind| flatten(facts, kind, false)).unwrap_or_default();
    let known = columns.into_iter().find(|column| column.name.eq_ignore_ascii_case(&flat));
    let mut column = known.unwrap_or_else(|| {
        Column::property(String::new(), rest.split('/').map(str::to_owned).collect(), ColumnKind::Any)
    });
    column.path.insert(0, navigation.name.to_owned());
    if let Some(zone) = &mut column.zone {
        zone.insert(0, navigation.name.to_owned());
    }
    column.name = field.to_owned();
    column.source = ColumnSource::Related;
    // Whether a `$filter` may go through the relationship is not documented, so the agent compares.
    column.filter = FilterOps::NONE;
    column.sortable = false;
    column.lies_in(home);
    Ok(column)
}

/// Directory extensions (`extension_…_name`), which Graph names with underscores of their own.
fn is_extension(name: &str) -> bool {
    name.to_ascii_lowercase().starts_with("extension_")
}

fn is_property_name(part: &str) -> bool {
    let inner = part.strip_prefix("@odata.").unwrap_or(part);
    inner.starts_with(|first: char| first.is_ascii_alphabetic() || first == '_')
        && inner
            .chars()
            .all(|character| character.is_ascii_alphanumeric() || matches!(character, '_' | '.' | '@'))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;

    /// The path of `field`, with ` +` for a related record and ` or …` for the second reading.
    fn shown(kind: Option<&str>, field: &str) -> String {
        let facts = Facts::embedded();
        let kind = kind.map(|name| facts.find(name).unwrap());
        match untyped(&facts, kind, field, Home::Other) {
            Ok(column) => {
                let related = if column.source == ColumnSource::Related { " +" } else { "" };
                let or = column.fallback.map(|path| format!(" or {}", path.join("/"))).unwrap_or_default();
                format!("{}{related}{or}", column.path.join("/"))
            }
            Err(error) => error.message,
        }
    }

    #[test]
    fn a_name_with_underscores_is_a_whole_name_first() {
        for (kind, field, expected) in [
            (Some("listItem"), "fields/Order_x0020_Number", "fields/Order_x0020_Number +"),
            (Some("listItem"), "fields_Order_x0020_Number", "fields/Order_x0020_Number +"),
            (Some("user"), "contoso_courses", "contoso_courses"),
            (Some("user"), "contoso_courses/courseId", "contoso_courses/courseId"),
            (Some("user"), "manager_displayName", "manager/displayName +"),
            (
                Some("user"),
                "manager/onPremisesExtensionAttributes/x_1",
                "manager/onPremisesExtensionAttributes/x_1 +",
            ),
            (Some("user"), "extension_ab_c", "extension_ab_c"),
            (Some("plannerTask"), "assignments_u1_orderHint", "assignments/u1_orderHint"),
            (Some("plannerTask"), "assignments/u1/orderHint", "assignments/u1/orderHint"),
            (None, "a_b", "a_b or a/b"),
            (None, "a/b_c", "a/b_c or a/b/c"),
            (None, "extension_ab_c", "extension_ab_c"),
            (None, "@odata.type", "@odata.type"),
            (None, "_hidden", "_hidden"),
        ] {
            assert_eq!(shown(kind, field), expected, "{kind:?} {field}");
        }
        assert!(shown(Some("group"), "members_displayName").contains("a list of related records"));
        assert!(shown(None, "a b").contains("is no name of a property"));
    }
}
