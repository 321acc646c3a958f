//! Conditions that the agent evaluates on streamed rows, compiled once. Pure.
//!
//! It compares as the service does: text without regard to case, and a cell without value fulfils nothing but
//! "is null" and the negative comparisons. A column of JSON is compared by its text.

use std::borrow::Cow;
use std::cmp::Ordering;

use super::condition::{Comparison, Test};
use super::like::{Like, matches};
use super::literal::{Literal, moment};
use super::tree::Tree;
use crate::catalog::Column;

/// Compiled conditions.
#[derive(Clone, Debug, PartialEq)]
pub struct Residual(Node);

#[derive(Clone, Debug, PartialEq)]
enum Node {
    All(Vec<Node>),
    Any(Vec<Node>),
    /// On the cell in `slot`.
    Is {
        slot: usize,
        negated: bool,
        test: Test,
    },
}

impl Residual {
    /// Compiles conditions: text is folded once here, not for every row. `slot` gives the place of a column's cells.
    pub(super) fn new(tree: &Tree, slot: &mut dyn FnMut(&Column) -> usize) -> Self {
        Self(Node::new(tree, slot))
    }

    /// Whether they hold of a row's cells, each the raw JSON text of a value.
    pub(super) fn holds(&self, cells: &[Option<&[u8]>]) -> bool {
        self.0.holds(cells)
    }
}

impl Node {
    fn new(tree: &Tree, slot: &mut dyn FnMut(&Column) -> usize) -> Self {
        let condition = match tree {
            Tree::All(members) => {
                return Self::All(members.iter().map(|tree| Self::new(tree, slot)).collect());
            }
            Tree::Any(members) => {
                return Self::Any(members.iter().map(|tree| Self::new(tree, slot)).collect());
            }
            Tree::Is(condition) => condition,
        };
        let test = match condition.test.clone() {
            Test::Compare(comparison, literal) => Test::Compare(comparison, folded(literal)),
            Test::OneOf(values) => Test::OneOf(values.into_iter().map(folded).collect()),
            Test::Like(Like::StartsWith(text)) => Test::Like(Like::StartsWith(text.to_lowercase())),
            Test::Like(Like::EndsWith(text)) => Test::Like(Like::EndsWith(text.to_lowercase())),
            Test::Like(Like::Contains(text)) => Test::Like(Like::Contains(text.to_lowercase())),
            other => other,
        };
        Self::Is { slot: slot(&condition.column), negated: condition.negated, test }
    }

    fn holds(&self, cells: &[Option<&[u8]>]) -> bool {
        match self {
            Self::All(members) => members.iter().all(|member| member.holds(cells)),
            Self::Any(members) => members.iter().any(|member| member.holds(cells)),
            Self::Is { slot, negated, test } => {
                let cell = cells.get(*slot).copied().flatten().filter(|cell| *cell != b"null");
                fulfils(test, cell) != *negated
            }
        }
    }
}

fn fulfils(test: &Test, cell: Option<&[u8]>) -> bool {
    match (test, cell) {
        (Test::IsNull, cell) => cell.is_none(),
        (_, None) => false,
        (Test::Compare(comparison, literal), Some(cell)) => compares(*comparison, cell, literal),
        (Test::OneOf(values), Some(cell)) => {
            values.iter().any(|value| compares(Comparison::Equal, cell, value))
        }
        (Test::Like(pattern), Some(cell)) => like(pattern, &text(cell).to_lowercase()),
    }
}

fn folded(literal: Literal) -> Literal {
    match literal {
        Literal::Text(text) => Literal::Text(text.to_lowercase()),
        other => other,
    }
}

fn like(pattern: &Like, text: &str) -> bool {
    match pattern {
        Like::Anything => true,
        Like::Exactly(wanted) => text == wanted,
        Like::StartsWith(wanted) => text.starts_with(wanted.as_str()),
        Like::EndsWith(wanted) => text.ends_with(wanted.as_str()),
        Like::Contains(wanted) => text.contains(wanted.as_str()),
        Like::General { pattern, .. } => matches(pattern, text),
    }
}

fn compares(comparison: Comparison, cell: &[u8], literal: &Literal) -> bool {
    let Some(order) = order(cell, literal) else {
        // Values of different types are not equal, and neither is greater.
        return false;
    };
    match comparison {
        Comparison::Equal => order == Ordering::Equal,
        Comparison::Greater => order == Ordering::Greater,
        Comparison::GreaterOrEqual => order != Ordering::Less,
        Comparison::Less => order == Ordering::Less,
        Comparison::LessOrEqual => order != Ordering::Greater,
    }
}

fn order(cell: &[u8], literal: &Literal) -> Option<Ordering> {
    let raw = std::str::from_utf8(cell).ok()?;
    match literal {
        Literal::Null => None,
        Literal::Bool(truth) => match raw {
            "true" => Some(true.cmp(truth)),
            "false" => Some(false.cmp(truth)),
            _ => None,
        },
        Literal::Whole(number) => match raw.parse::<i64>() {
            Ok(found) => Some(found.cmp(number)),
            #[expect(
                clippy::cast_precision_loss,
                reason = "the cell is no 64-bit integer, so it is compared as a number"
            )]
            Err(_) => raw.parse::<f64>().ok()?.partial_cmp(&(*number as f64)),
        },
        Literal::Number(number) => raw.parse::<f64>().ok()?.partial_cmp(number),
        Literal::Moment(wanted) => Some(moment(&text(cell))?.cmp(wanted)),
        Literal::Text(wanted) => Some(text(cell).to_lowercase().as_str().cmp(wanted)),
        Literal::Plain(wanted) | Literal::Duration(wanted) => {
            Some(plain(&text(cell).to_lowercase()).cmp(wanted.to_lowercase().as_str()))
        }
    }
}

/// Times of day may come with a fraction (`08:00:00.0000000`), UUIDs in capitals.
fn plain(text: &str) -> &str {
    match text.split_once('.') {
        Some((whole, fraction)) if fraction.bytes().all(|digit| digit == b'0') => whole,
        _ => text,
    }
}

/// A cell as text: a JSON string without its quotes and escapes, anything else as it stands.
pub(super) fn text(cell: &[u8]) -> Cow<'_, str> {
    match cell {
        [b'"', inner @ .., b'"'] => match memchr::memchr(b'\\', inner) {
            None => String::from_utf8_lossy(inner),
            Some(_) => match serde_json::from_slice::<String>(cell) {
                Ok(text) => Cow::Owned(text),
                Err(_) => String::from_utf8_lossy(inner), // a lone surrogate escape, which no Rust text can hold
            },
        },
        other => String::from_utf8_lossy(other),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use serde_json::{Value, json};

    use super::super::condition::check;
    use super::super::request::{Condition, Operator};
    use super::*;
    use crate::catalog::ColumnKind;

    fn holds(kind: ColumnKind, operator: &str, value: Value, cell: Option<&str>) -> bool {
        let column = Column::property("c".to_owned(), vec!["c".to_owned()], kind);
        let operator: Operator = serde_json::from_value(json!(operator)).unwrap();
        let checked = check(&column, &Condition { field: "c".to_owned(), operator, value }).unwrap();
        Residual::new(&checked, &mut |_| 0).holds(&[cell.map(str::as_bytes)])
    }

    #[test]
    fn rows_are_compared_as_the_service_does() {
        use ColumnKind::{Any, Bool, DateTime, Double, Guid, Int64, Json, String, Time};
        for (kind, operator, value, cell, expected) in [
            (String, "=", json!("Straße"), Some("\"STRAßE\""), true),
            (String, "=", json!("a\"b"), Some("\"a\\\"b\""), true),
            (String, "=", json!("a"), None, false),
            (String, "!=", json!("a"), None, true),
            (String, "!=", json!("a"), Some("null"), true),
            (String, "!=", json!("a"), Some("\"A\""), false),
            (String, ">", json!("a"), Some("\"b\""), true),
            (String, ">", json!("a"), None, false),
            (String, "like", json!("%port%"), Some("\"Re\\u0050ort\""), true),
            (String, "like", json!("R_port%x"), Some("\"report 7X\""), true),
            (String, "like", json!("%"), None, false),
            (String, "like", json!("%"), Some("\"\""), true),
            (String, "contains", json!("B"), Some("\"abc\""), true),
            (String, "starts-with", json!("AB"), Some("\"abc\""), true),
            (String, "in", json!(["x", "ABC"]), Some("\"abc\""), true),
            (String, "is null", json!(null), Some("null"), true),
            (String, "is not null", json!(null), Some("\"\""), true),
            (String, "ends-with", json!("BC"), Some("\"abc\""), true),
            (String, "not ends-with", json!("BC"), Some("\"abc\""), false),
            (String, "not ends-with", json!("BC"), None, true),
            (String, "not like", json!("a%c"), Some("\"abd\""), true),
            (String, "not in", json!(["x", "ABC"]), Some("\"abc\""), false),
            (String, "not in", json!(["x", "ABC"]), None, true),
            (Int64, "between", json!([1, 3]), Some("3"), true),
            (Int64, "between", json!([1, 3]), None, false),
            (Int64, "not between", json!([1, 3]), Some("4"), true),
            (Int64, "not between", json!([1, 3]), Some("1"), false),
            (Int64, "not between", json!([1, 3]), None, true),
            (Bool, "=", json!(true), Some("true"), true),
            (Bool, "!=", json!(true), Some("false"), true),
            (Int64, ">=", json!(9_007_199_254_740_993_i64), Some("9007199254740992"), false),
            (Double, "<", json!(1.5), Some("1"), true),
            (
                DateTime,
                "=",
                json!("2026-01-31T09:00:00+01:00"),
                Some("\"2026-01-31T08:00:00.0000000Z\""),
                true,
            ),
            (DateTime, ">", json!("2026-01-31"), Some("\"2026-01-31T00:00:01Z\""), true),
            (Time, "=", json!("08:00:00"), Some("\"08:00:00.0000000\""), true),
            (
                Guid,
                "=",
                json!("9D2B4E0C-5F3A-4C8E-8A51-0E6A3F1F7C11"),
                Some("\"9d2b4e0c-5f3a-4c8e-8a51-0e6a3f1f7c11\""),
                true,
            ),
            (Json, "contains", json!("red"), Some("[\"Red category\"]"), true),
            (Any, "=", json!(5), Some("5.0"), true),
            (Any, "=", json!(5), Some("\"5\""), false),
            (Any, "!=", json!(5), Some("\"5\""), true),
        ] {
            assert_eq!(
                holds(kind, operator, value.clone(), cell),
                expected,
                "{kind:?} {operator} {value} on {cell:?}"
            );
        }
    }
}
