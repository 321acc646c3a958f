//! Conditions that the agent evaluates on streamed rows, compiled once. Pure.
//!
//! It compares as the service does: texts by the rule of their column, local times as moments in the zone beside them,
//! and of a collection its members: a positive comparison holds when it holds of one of them. A cell without value, which
//! a collection without members is too, fulfils nothing but "is null" and the negative comparisons.

use std::borrow::Cow;
use std::cmp::Ordering;

use super::condition::{Comparison, Test};
use super::like::{Like, matches};
use super::literal::Literal;
use super::members::{any_member, any_member_text, any_text, is_empty};
use super::moment::Moment;
use super::tree::Tree;
use crate::catalog::{Column, TextComparison, is_uuid};

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
        text: TextComparison,
        /// The slot of its time zone, and its name.
        zone: Option<(usize, Box<str>)>,
    },
}

impl Residual {
    /// Compiles conditions: values are brought to the form in which they are compared once here, not for every row. `slot`
    /// gives the place of a column's cells.
    pub(super) fn new(tree: &Tree, slot: &mut dyn FnMut(&Column) -> usize) -> Self {
        Self(Node::new(tree, slot))
    }

    /// Whether they hold of a row's cells, each the raw JSON text of a value.
    ///
    /// # Errors
    /// A sentence, when a cell has a time zone that nobody knows, so that nobody can say.
    pub(super) fn holds(&self, cells: &[Option<&[u8]>]) -> Result<bool, String> {
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
        let rule = condition.column.text;
        let key = |text: String| rule.key(&text).into_owned();
        let value = |literal| match literal {
            Literal::Text(text) => Literal::Text(key(text)),
            other => other,
        };
        let test = match condition.test.clone() {
            Test::Compare(comparison, literal) => Test::Compare(comparison, value(literal)),
            Test::OneOf(values) => Test::OneOf(values.into_iter().map(value).collect()),
            // A pattern is a part of a text, of which only the whole says whether it is a UUID.
            Test::Like(pattern) if rule == TextComparison::CaseInsensitive => Test::Like(pattern.folded()),
            other @ (Test::IsNull | Test::Like(_)) => other,
        };
        let zone = condition.column.zone_column().map(|column| (slot(&column), column.name.into_boxed_str()));
        Self::Is { slot: slot(&condition.column), negated: condition.negated, test, text: rule, zone }
    }

    fn holds(&self, cells: &[Option<&[u8]>]) -> Result<bool, String> {
        match self {
            Self::All(members) => {
                for member in members {
                    if !member.holds(cells)? {
                        return Ok(false);
                    }
                }
                Ok(true)
            }
            Self::Any(members) => {
                for member in members {
                    if member.holds(cells)? {
                        return Ok(true);
                    }
                }
                Ok(false)
            }
            Self::Is { slot, negated, test, text: rule, zone } => {
                let value = |slot: usize| cells.get(slot).copied().flatten().filter(|cell| *cell != b"null");
                let cell = value(*slot).filter(|cell| !is_empty(cell));
                let positive = match (test, cell) {
                    (Test::IsNull, cell) => cell.is_none(),
                    (_, None) => false,
                    (test, Some(cell)) => match zone {
                        None => fulfils(test, cell, *rule),
                        Some((slot, name)) => {
                            let zone = value(*slot).map(text).unwrap_or_default();
                            fulfils_moment(test, in_zone(cell, &zone, name)?)
                        }
                    },
                };
                Ok(positive != *negated)
            }
        }
    }
}

/// A local time as a moment.
fn in_zone(cell: &[u8], zone: &str, name: &str) -> Result<Moment, String> {
    let local = text(cell);
    Moment::in_zone(&local, zone).ok_or_else(|| {
        let clean = crate::error::clean_foreign_text;
        format!(
            "a row has the local time '{}' with the time zone '{}' in '{name}', which is no zone of Windows or IANA, so it \
             cannot be compared",
            clean(&local),
            clean(zone)
        )
    })
}

/// Whether the moment of a cell fulfils `test`, whose literals are moments.
fn fulfils_moment(test: &Test, found: Moment) -> bool {
    let order = |literal: &Literal| match literal {
        Literal::Moment(wanted) => Some(found.cmp(wanted)),
        _ => None,
    };
    match test {
        Test::Compare(comparison, literal) => order(literal).is_some_and(|order| comparison.is(order)),
        Test::OneOf(values) => values.iter().any(|value| order(value) == Some(Ordering::Equal)),
        Test::IsNull | Test::Like(_) => false,
    }
}

fn fulfils(test: &Test, cell: &[u8], rule: TextComparison) -> bool {
    if cell.first() == Some(&b'[') {
        return any_member(cell, &mut |member| match (member.first(), test) {
            (Some(b'{' | b'['), Test::Like(pattern)) => {
                any_member_text(member, &mut |text| like(pattern, text, rule))
            }
            _ => fulfils_one(test, member, rule),
        });
    }
    match (cell.first(), test) {
        (Some(b'{'), Test::Like(pattern)) => any_text(cell, &mut |text| like(pattern, text, rule)),
        _ => fulfils_one(test, cell, rule),
    }
}

fn fulfils_one(test: &Test, cell: &[u8], rule: TextComparison) -> bool {
    let compares = |comparison: Comparison, literal: &Literal| {
        // Values of different types are not equal, and neither is greater.
        order(cell, literal, rule).is_some_and(|order| comparison.is(order))
    };
    match test {
        Test::IsNull => false,
        Test::Compare(comparison, literal) => compares(*comparison, literal),
        Test::OneOf(values) => values.iter().any(|value| compares(Comparison::Equal, value)),
        Test::Like(pattern) => like(pattern, &text(cell), rule),
    }
}

fn like(pattern: &Like, text: &str, rule: TextComparison) -> bool {
    match rule {
        TextComparison::CaseInsensitive => fits(pattern, &text.to_lowercase()),
        TextComparison::Exact if is_uuid(text) => fits(&pattern.folded(), &text.to_ascii_lowercase()),
        TextComparison::Exact => fits(pattern, text),
    }
}

fn fits(pattern: &Like, text: &str) -> bool {
    match pattern {
        Like::Anything => true,
        Like::Exactly(wanted) => text == wanted,
        Like::StartsWith(wanted) => text.starts_with(wanted.as_str()),
        Like::EndsWith(wanted) => text.ends_with(wanted.as_str()),
        Like::Contains(wanted) => text.contains(wanted.as_str()),
        Like::General { pattern, .. } => matches(pattern, text),
    }
}

fn order(cell: &[u8], literal: &Literal, rule: TextComparison) -> Option<Ordering> {
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
        Literal::Moment(wanted) => Some(Moment::parse(&text(cell))?.cmp(wanted)),
        // An object is no text, and its JSON is never compared.
        Literal::Text(_) if raw.starts_with(['{', '[']) => None,
        Literal::Text(wanted) => Some(rule.key(&text(cell)).as_ref().cmp(wanted.as_str())),
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
#[path = "residual_tests.rs"]
mod tests;
