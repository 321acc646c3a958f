//! Single-value extended properties of Outlook items: read from bodies, expanded, and found by filters.
//! Never shown unless they are expanded by their ids.

use super::errors::GraphError;
use super::odata::query::Expand;
use crate::data::model::{Kind, Property, Shape, property};
use serde_json::{Map, Value};

/// The relationship's name.
pub(crate) const NAME: &str = "singleValueExtendedProperties";

static EXTENDED: Shape = Shape {
    name: "singleValueLegacyExtendedProperty",
    properties: &[property("id", Kind::Text), property("value", Kind::Text)],
    navigation: &[],
};
/// The relationship as filters see it.
pub(crate) static PROPERTY: Property = property(NAME, Kind::List(&Kind::Complex(&EXTENDED)));

/// Checks the properties of a body.
pub(crate) fn check(value: &Value) -> Result<(), GraphError> {
    let valid = |entry: &Value| entry["value"].is_string() && entry["id"].as_str().is_some_and(is_id);
    if value.as_array().is_some_and(|list| list.iter().all(valid)) {
        return Ok(());
    }
    let text = "PropertyId values may only be in one of the following formats: 'MapiPropertyType namespaceGuid Name propertyName', 'MapiPropertyType namespaceGuid Id propertyId' or 'MapiPropertyType propertyTag'.";
    Err(GraphError::new(400, "ErrorInvalidProperty", text))
}

/// Puts new values among those that are there.
pub(crate) fn merged(kept: &Value, given: &Value) -> Value {
    let mut list = kept.as_array().cloned().unwrap_or_default();
    for entry in given.as_array().into_iter().flatten() {
        let same = |known: &Value| {
            known["id"].as_str().map(str::to_lowercase) == entry["id"].as_str().map(str::to_lowercase)
        };
        match list.iter_mut().find(|known| same(known)) {
            Some(known) => *known = entry.clone(),
            None => list.push(entry.clone()),
        }
    }
    list.into()
}

/// Puts those that `$expand` names into a row; it has to name them.
pub(crate) fn expand(expand: &Expand, kept: &Value, row: &mut Map<String, Value>) -> Result<(), GraphError> {
    let filter =
        expand.options.iter().find(|(name, _)| name == "$filter").map(|(_, value)| value.to_lowercase());
    let Some(filter) = filter else {
        let text = "Expanding extended properties needs a $filter that names their ids.";
        return Err(GraphError::new(400, "ErrorInvalidUrlQuery", text));
    };
    let list = kept.as_array().into_iter().flatten();
    let named: Vec<Value> = list
        .filter(|entry| {
            entry["id"].as_str().is_some_and(|id| filter.contains(&format!("id eq '{}'", id.to_lowercase())))
        })
        .cloned()
        .collect();
    if !named.is_empty() {
        row.insert(NAME.into(), named.into());
    }
    Ok(())
}

/// `String {GUID} Name X`, `Integer {GUID} Id 0x8233` or `String 0x4001`.
fn is_id(text: &str) -> bool {
    let words: Vec<&str> = text.splitn(4, ' ').collect();
    match words[..] {
        [_, tag] => tag.starts_with("0x") && tag.len() > 2,
        [_, guid, kind, name] => {
            guid.starts_with('{')
                && guid.ends_with('}')
                && guid.len() == 38
                && matches!(kind, "Name" | "Id")
                && !name.is_empty()
        }
        _ => false,
    }
}
