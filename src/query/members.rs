//! Cells that hold several values: a collection's members, and the texts inside objects. Pure.

use serde_json::Value;
use serde_json::value::RawValue;

/// Whether `holds` is true of a member of the JSON array `cell`. An array that cannot be read has no members.
pub(super) fn any_member(cell: &[u8], holds: &mut dyn FnMut(&[u8]) -> bool) -> bool {
    let members: Vec<&RawValue> = serde_json::from_slice(cell).unwrap_or_default();
    members.into_iter().any(|member| member.get() != "null" && holds(member.get().as_bytes()))
}

/// Whether the JSON array `cell` has no members.
pub(super) fn is_empty(cell: &[u8]) -> bool {
    cell.first() == Some(&b'[') && cell[1..].iter().find(|byte| !byte.is_ascii_whitespace()) == Some(&b']')
}

/// Whether `holds` is true of a text inside the JSON object `cell`: of its texts at any depth, and of the names of its
/// own properties, which are data where the type is open (Planner's `assignments` go by user). Annotations are neither.
pub(super) fn any_text(cell: &[u8], holds: &mut dyn FnMut(&str) -> bool) -> bool {
    match serde_json::from_slice(cell) {
        Ok(Value::Object(members)) => members
            .iter()
            .filter(|(name, _)| !name.contains('@'))
            .any(|(name, value)| holds(name) || texts(value, holds)),
        Ok(value) => texts(&value, holds),
        Err(_) => false,
    }
}

/// Whether `holds` is true of a text of the object `member` of a collection; names of properties are the type's there.
pub(super) fn any_member_text(member: &[u8], holds: &mut dyn FnMut(&str) -> bool) -> bool {
    serde_json::from_slice(member).is_ok_and(|value: Value| texts(&value, holds))
}

/// serde_json reads 128 levels at most, so this has an end.
fn texts(value: &Value, holds: &mut dyn FnMut(&str) -> bool) -> bool {
    match value {
        Value::String(text) => holds(text),
        Value::Array(members) => members.iter().any(|member| texts(member, holds)),
        Value::Object(members) => {
            members.iter().filter(|(name, _)| !name.contains('@')).any(|(_, value)| texts(value, holds))
        }
        _ => false,
    }
}
