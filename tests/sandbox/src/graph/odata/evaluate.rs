//! Carries out a filter and an order on rows.
//! Never looks at whether the service would have refused them.

use super::expression::{Expr, Function, Literal, Operator, Path};
use crate::data::collection::Collection;
use crate::data::model::Kind;
use serde_json::{Map, Value};
use std::cmp::Ordering;

/// Whether a row meets a condition.
pub(crate) fn matches(expression: &Expr, rows: &Collection, key: u32) -> bool {
    holds(expression, &|path: &Path| {
        let first = path.names.first().copied().unwrap_or_default();
        walk(rows.field(key, first), &path.names[1..])
    })
}

/// Whether a row that is kept as JSON meets a condition.
pub(crate) fn matches_document(expression: &Expr, row: &Map<String, Value>) -> bool {
    holds(expression, &|path: &Path| value_of(row, path))
}

/// Like [`sort_value`], for a row that is kept as JSON.
pub(crate) fn sort_value_of(row: &Map<String, Value>, path: &Path) -> Literal {
    literal(value_of(row, path), path.kind)
}

fn value_of(row: &Map<String, Value>, path: &Path) -> Value {
    let first = path.names.first().copied().unwrap_or_default();
    walk(row.get(first).cloned().unwrap_or(Value::Null), &path.names[1..])
}

/// How two rows compare by a value, for `$orderby`.
pub(crate) fn order(left: &Literal, right: &Literal) -> Ordering {
    match (left, right) {
        (Literal::Null, Literal::Null) => Ordering::Equal,
        (Literal::Null, _) => Ordering::Less,
        (_, Literal::Null) => Ordering::Greater,
        _ => compared(left, right).unwrap_or(Ordering::Equal),
    }
}

/// The value at a path of a row, as something that can be compared; strings are folded to lower case.
pub(crate) fn sort_value(rows: &Collection, key: u32, path: &Path) -> Literal {
    let first = path.names.first().copied().unwrap_or_default();
    literal(walk(rows.field(key, first), &path.names[1..]), path.kind)
}

fn holds(expression: &Expr, value_at: &dyn Fn(&Path) -> Value) -> bool {
    match expression {
        Expr::And(left, right) => holds(left, value_at) && holds(right, value_at),
        Expr::Or(left, right) => holds(left, value_at) || holds(right, value_at),
        Expr::Not(inner) => !holds(inner, value_at),
        Expr::Truth(path) => value_at(path) == Value::Bool(true),
        Expr::Compare(path, operator, wanted) => {
            compares(&compared_by(path, value_at(path)), *operator, &folded(path, wanted))
        }
        Expr::In(path, wanted) => {
            let value = compared_by(path, value_at(path));
            wanted.iter().any(|wanted| compares(&value, Operator::Eq, &folded(path, wanted)))
        }
        Expr::Call(function, path, argument) => match value_at(path) {
            Value::String(text) => {
                let (text, argument) = (text.to_lowercase(), argument.to_lowercase());
                match function {
                    Function::StartsWith => text.starts_with(&argument),
                    Function::EndsWith => text.ends_with(&argument),
                    Function::Contains => text.contains(&argument),
                }
            }
            _ => false,
        },
        Expr::Lambda { all, path, condition } => {
            let Value::Array(elements) = value_at(path) else {
                return *all;
            };
            let Some(condition) = condition else {
                return !elements.is_empty();
            };
            let element_holds = |element: &Value| {
                holds(condition, &|path: &Path| {
                    if path.from_variable { walk(element.clone(), &path.names) } else { value_at(path) }
                })
            };
            if *all { elements.iter().all(element_holds) } else { elements.iter().any(element_holds) }
        }
    }
}

fn walk(value: Value, names: &[&'static str]) -> Value {
    names.iter().fold(value, |mut value, name| value.get_mut(*name).map_or(Value::Null, Value::take))
}

fn literal(value: Value, kind: Kind) -> Literal {
    match (value, kind) {
        (Value::String(text), Kind::Instant) => {
            crate::time::parse_nanos(&text).map_or(Literal::Null, Literal::Instant)
        }
        // Both the directory and mailbox searches compare strings without regard to case.
        (Value::String(text), _) => Literal::Text(text.to_lowercase()),
        (Value::Bool(flag), _) => Literal::Flag(flag),
        (Value::Number(number), _) => Literal::Number(number.as_f64().unwrap_or_default()),
        (Value::Null, _) => Literal::Null,
        // An object or array is only ever compared with null.
        (Value::Array(_) | Value::Object(_), _) => Literal::Flag(true),
    }
}

/// The value of a row as `$filter` compares it: identifiers as they are, because they are base64 in mailboxes, planner and
/// drives; any other text without regard to case.
fn compared_by(path: &Path, value: Value) -> Literal {
    match value {
        Value::String(text) if is_identifier(path) => Literal::Text(identifier(text)),
        value => literal(value, path.kind),
    }
}

fn folded(path: &Path, literal: &Literal) -> Literal {
    match literal {
        Literal::Text(text) if is_identifier(path) => Literal::Text(identifier(text.clone())),
        Literal::Text(text) => Literal::Text(text.to_lowercase()),
        other => other.clone(),
    }
}

fn is_identifier(path: &Path) -> bool {
    path.names.last().is_some_and(|name| *name == "id" || *name == "changeKey" || name.ends_with("Id"))
}

/// The directory's identifiers are GUIDs, whose digits have no case.
fn identifier(text: String) -> String {
    let guid = text.len() == 36 && text.bytes().all(|byte| byte.is_ascii_hexdigit() || byte == b'-');
    if guid { text.to_lowercase() } else { text }
}

fn compares(value: &Literal, operator: Operator, wanted: &Literal) -> bool {
    if matches!(value, Literal::Null) || matches!(wanted, Literal::Null) {
        let both = matches!((value, wanted), (Literal::Null, Literal::Null));
        return match operator {
            Operator::Eq => both,
            Operator::Ne => !both,
            // Nothing is greater or less than null.
            _ => false,
        };
    }
    let Some(ordering) = compared(value, wanted) else {
        return operator == Operator::Ne;
    };
    match operator {
        Operator::Eq => ordering.is_eq(),
        Operator::Ne => ordering.is_ne(),
        Operator::Gt => ordering.is_gt(),
        Operator::Ge => ordering.is_ge(),
        Operator::Lt => ordering.is_lt(),
        Operator::Le => ordering.is_le(),
    }
}

fn compared(left: &Literal, right: &Literal) -> Option<Ordering> {
    match (left, right) {
        (Literal::Text(left), Literal::Text(right)) => Some(left.cmp(right)),
        (Literal::Flag(left), Literal::Flag(right)) => Some(left.cmp(right)),
        (Literal::Number(left), Literal::Number(right)) => left.partial_cmp(right),
        (Literal::Instant(left), Literal::Instant(right)) => Some(left.cmp(right)),
        _ => None,
    }
}
