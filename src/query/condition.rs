//! One condition with its column known and its value checked. Pure; decides neither who evaluates it nor how.
//!
//! A negative comparison is the exact opposite of the positive one and is kept as that: `x != 1` is "not (x = 1)". So a
//! cell without value, of which no positive comparison holds, fulfils every negative one, as with OData's `ne` and `not`.

use std::cmp::Ordering;
use std::fmt;

use serde_json::Value;

use super::error::QueryError;
use super::like::Like;
use super::literal::Literal;
use super::request::{Condition, Operator};
use super::tree::Tree;
use crate::catalog::{Column, ColumnKind};

/// The most values of one `in`.
const MOST_VALUES: usize = 1000;
/// The values of a list that are shown where conditions are named.
const SHOWN_VALUES: usize = 5;

/// A checked condition.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Checked {
    /// The column.
    pub(super) column: Column,
    /// Whether the opposite must hold.
    pub(super) negated: bool,
    /// What must hold.
    pub(super) test: Test,
}

/// What must hold of a cell. Nothing but `IsNull` holds of a cell without value.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Test {
    /// It has no value.
    IsNull,
    /// It compares so.
    Compare(Comparison, Literal),
    /// It is one of these.
    OneOf(Vec<Literal>),
    /// It matches this pattern, by the column's rule for texts.
    Like(Like),
}

/// The comparisons.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Comparison {
    Equal,
    Greater,
    GreaterOrEqual,
    Less,
    LessOrEqual,
}

impl Comparison {
    /// The OData operator.
    pub(super) fn odata(self) -> &'static str {
        match self {
            Self::Equal => "eq",
            Self::Greater => "gt",
            Self::GreaterOrEqual => "ge",
            Self::Less => "lt",
            Self::LessOrEqual => "le",
        }
    }

    fn sql(self) -> &'static str {
        match self {
            Self::Equal => "=",
            Self::Greater => ">",
            Self::GreaterOrEqual => ">=",
            Self::Less => "<",
            Self::LessOrEqual => "<=",
        }
    }

    /// Whether a value of this order to the wanted one fulfils it.
    pub(super) fn is(self, order: Ordering) -> bool {
        match self {
            Self::Equal => order == Ordering::Equal,
            Self::Greater => order == Ordering::Greater,
            Self::GreaterOrEqual => order != Ordering::Less,
            Self::Less => order == Ordering::Less,
            Self::LessOrEqual => order != Ordering::Greater,
        }
    }

    /// The OData operator of the opposite, for cells with a value.
    pub(super) fn opposite(self) -> &'static str {
        match self {
            Self::Equal => "ne",
            Self::Greater => "le",
            Self::GreaterOrEqual => "lt",
            Self::Less => "ge",
            Self::LessOrEqual => "gt",
        }
    }
}

/// Checks the value of `condition` against `column`.
///
/// # Errors
/// A sentence naming the field, what is wrong and an example.
pub(super) fn check(column: &Column, condition: &Condition) -> Result<Tree, QueryError> {
    use Operator as Op;
    let (value, operator) = (&condition.value, condition.operator);
    let is = |test| Tree::Is(Checked { column: column.clone(), negated: false, test });
    let compare = |comparison, value: &Value| {
        let literal = parse(column, operator, value)?;
        ordered(column, comparison, &literal)?;
        Ok::<Tree, QueryError>(is(match literal {
            Literal::Null => Test::IsNull,
            literal => Test::Compare(comparison, literal),
        }))
    };
    let text = |example| text(column, operator, value, example).map(str::to_owned);
    let positive = match operator {
        Op::Equal | Op::NotEqual => compare(Comparison::Equal, value)?,
        Op::Greater => compare(Comparison::Greater, value)?,
        Op::GreaterOrEqual => compare(Comparison::GreaterOrEqual, value)?,
        Op::Less => compare(Comparison::Less, value)?,
        Op::LessOrEqual => compare(Comparison::LessOrEqual, value)?,
        Op::Between | Op::NotBetween => {
            let (low, high) = two(column, operator, value)?;
            let low = compare(Comparison::GreaterOrEqual, low)?;
            Tree::all(vec![low, compare(Comparison::LessOrEqual, high)?])
        }
        Op::IsNull | Op::IsNotNull => is(Test::IsNull),
        Op::In | Op::NotIn => is(Test::OneOf(values(column, operator, value)?)),
        Op::Like | Op::NotLike => match Like::parse(&text("\"Report%\"")?) {
            Like::Anything => is(Test::IsNull).negated(),
            Like::Exactly(text) if !holds_objects(column) => {
                is(Test::Compare(Comparison::Equal, Literal::Text(text)))
            }
            pattern => is(Test::Like(pattern)),
        },
        Op::Contains | Op::NotContains => is(Test::Like(Like::Contains(text("\"report\"")?))),
        Op::StartsWith | Op::NotStartsWith => is(Test::Like(Like::StartsWith(text("\"Report\"")?))),
        Op::EndsWith | Op::NotEndsWith => is(Test::Like(Like::EndsWith(text("\"report\"")?))),
    };
    Ok(match operator {
        Op::NotEqual
        | Op::NotBetween
        | Op::IsNotNull
        | Op::NotIn
        | Op::NotLike
        | Op::NotContains
        | Op::NotStartsWith
        | Op::NotEndsWith => positive.negated(),
        _ => positive,
    })
}

fn two<'a>(
    column: &Column,
    operator: Operator,
    value: &'a Value,
) -> Result<(&'a Value, &'a Value), QueryError> {
    match value.as_array().map(Vec::as_slice) {
        Some([low, high]) => Ok((low, high)),
        _ => {
            let (name, operator, example) = (&column.name, operator.as_str(), column.kind.example());
            let message = format!(
                "The condition on '{name}' has the operator '{operator}' and needs an array of two values. Write for \
                 example {{\"field\":\"{name}\",\"operator\":\"{operator}\",\"value\":[{example}, {example}]}}."
            );
            Err(QueryError::field("bad_value", name, message))
        }
    }
}

fn values(column: &Column, operator: Operator, value: &Value) -> Result<Vec<Literal>, QueryError> {
    let fault = |what: &str| {
        let message = format!(
            "The condition on '{}' {what}. Write for example {{\"field\":\"{}\",\"operator\":\"{}\",\"value\":[{}]}}.",
            column.name,
            column.name,
            operator.as_str(),
            column.kind.example()
        );
        QueryError::field("bad_value", &column.name, message)
    };
    let list = value.as_array().filter(|list| !list.is_empty());
    let list = list.ok_or_else(|| {
        let needs = format!("has the operator '{}' and needs an array of values", operator.as_str());
        fault(&needs)
    })?;
    if list.len() > MOST_VALUES {
        return Err(fault(&format!("has {} values; {MOST_VALUES} are the most", list.len())));
    }
    if list.iter().any(Value::is_null) {
        return Err(fault("has null among its values, which a list never finds: use 'is null' for it"));
    }
    list.iter().map(|value| parse(column, operator, value)).collect()
}

fn text<'a>(
    column: &Column,
    operator: Operator,
    value: &'a Value,
    example: &str,
) -> Result<&'a str, QueryError> {
    let operator = operator.as_str();
    let kind = column.members.unwrap_or(column.kind);
    if column.zone.is_some() {
        let message = format!(
            "'{}' is a moment, which '{operator}' cannot compare: it is for text. Use =, <, <=, >, >= or between.",
            column.name
        );
        return Err(QueryError::field("bad_operator", &column.name, message));
    }
    if !matches!(kind, ColumnKind::String | ColumnKind::Json | ColumnKind::Any) {
        let message = format!(
            "'{}' has the type {}, which '{operator}' cannot compare: it is for text. Use =, !=, <, <=, > or >=.",
            column.name,
            kind.as_str()
        );
        return Err(QueryError::field("bad_operator", &column.name, message));
    }
    let found = value.as_str().filter(|text| !text.is_empty());
    found.ok_or_else(|| {
        let given = crate::error::clean_foreign_text(&value.to_string());
        let message = format!(
            "The condition '{operator}' on '{}' needs a text, not {given}. Write for example {example}.",
            column.name
        );
        QueryError::field("bad_value", &column.name, message)
    })
}

/// Whether the cells of `column` are objects or lists of them, which equal no single value.
fn holds_objects(column: &Column) -> bool {
    column.members.unwrap_or(column.kind) == ColumnKind::Json
}

/// A value to be compared with a cell, or with a member of it.
fn parse(column: &Column, operator: Operator, value: &Value) -> Result<Literal, QueryError> {
    if holds_objects(column) && !value.is_null() {
        let name = &column.name;
        let what = if column.members.is_some() { "a list of objects" } else { "an object" };
        let message = format!(
            "'{name}' is {what}, which '{}' cannot compare. Use contains, starts-with, ends-with, like or their opposites, \
             which look at the texts in it, or 'is null'.",
            operator.as_str()
        );
        return Err(QueryError::field("bad_operator", name, message));
    }
    Literal::parse(column, value)
}

/// Truth values, UUIDs, bytes and JSON have no order, and nothing is greater than null.
fn ordered(column: &Column, comparison: Comparison, literal: &Literal) -> Result<(), QueryError> {
    if comparison == Comparison::Equal {
        return Ok(());
    }
    let name = &column.name;
    if *literal == Literal::Null {
        let message =
            format!("'{name}' cannot be compared with null by size. Use 'is null' or 'is not null'.");
        return Err(QueryError::field("bad_operator", name, message));
    }
    if column.members.is_some() {
        let message = format!(
            "'{name}' is a list, which has no order. Use = or 'in' for a member it has, != or 'not in' for one it has not."
        );
        return Err(QueryError::field("bad_operator", name, message));
    }
    let unordered =
        matches!(column.kind, ColumnKind::Bool | ColumnKind::Guid | ColumnKind::Binary | ColumnKind::Json)
            || matches!(literal, Literal::Bool(_) | Literal::Duration(_));
    if unordered {
        let message =
            format!("'{name}' has the type {}, which has no order. Use = or !=.", column.kind.as_str());
        return Err(QueryError::field("bad_operator", name, message));
    }
    Ok(())
}

/// As a reader of SQL would write it; values are cut, because it is shown in answers and headers.
impl fmt::Display for Checked {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let not = if self.negated { "not " } else { "" };
        let name = &self.column.name;
        match &self.test {
            Test::IsNull => write!(formatter, "{name} is {not}null"),
            Test::Compare(comparison, literal) => {
                let operator = match (comparison, self.negated) {
                    (Comparison::Equal, true) => return write!(formatter, "{name} != {}", literal.odata()),
                    (_, true) => {
                        return write!(formatter, "not {name} {} {}", comparison.sql(), literal.odata());
                    }
                    (comparison, false) => comparison.sql(),
                };
                write!(formatter, "{name} {operator} {}", literal.odata())
            }
            Test::OneOf(values) => {
                let shown: Vec<String> = values.iter().take(SHOWN_VALUES).map(Literal::odata).collect();
                let rest = if values.len() > SHOWN_VALUES { ", …" } else { "" };
                write!(formatter, "{name} {not}in ({}{rest})", shown.join(", "))
            }
            Test::Like(pattern) => write!(formatter, "{name} {not}{pattern}"),
        }
    }
}
