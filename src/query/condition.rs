//! One condition with its column known and its value checked. Pure; decides neither who evaluates it nor how.

use serde_json::Value;

use super::error::QueryError;
use super::like::Like;
use super::literal::Literal;
use super::request::{Condition, Operator};
use crate::catalog::{Column, ColumnKind};

/// The most values of one `in`.
const MOST_VALUES: usize = 1000;

/// A checked condition.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Checked {
    /// The column.
    pub(super) column: Column,
    /// What must hold.
    pub(super) test: Test,
}

/// What must hold of a cell.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Test {
    /// It has no value.
    IsNull,
    /// It has a value.
    IsNotNull,
    /// It compares so. As in OData, nothing but "not equal" holds of a cell without value.
    Compare(Comparison, Literal),
    /// It is one of these.
    OneOf(Vec<Literal>),
    /// It matches this pattern, without regard to case.
    Like(Like),
}

/// The comparisons.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Comparison {
    Equal,
    NotEqual,
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
            Self::NotEqual => "ne",
            Self::Greater => "gt",
            Self::GreaterOrEqual => "ge",
            Self::Less => "lt",
            Self::LessOrEqual => "le",
        }
    }
}

/// Checks the value of `condition` against `column`.
///
/// # Errors
/// A sentence naming the field, what is wrong and an example.
pub(super) fn check(column: &Column, condition: &Condition) -> Result<Checked, QueryError> {
    let value = &condition.value;
    let compare = |comparison| -> Result<Test, QueryError> {
        let literal = Literal::parse(column, value)?;
        ordered(column, comparison, &literal)?;
        Ok(match (comparison, literal) {
            (Comparison::Equal, Literal::Null) => Test::IsNull,
            (Comparison::NotEqual, Literal::Null) => Test::IsNotNull,
            (_, literal) => Test::Compare(comparison, literal),
        })
    };
    let test = match condition.operator {
        Operator::Equal => compare(Comparison::Equal)?,
        Operator::NotEqual => compare(Comparison::NotEqual)?,
        Operator::Greater => compare(Comparison::Greater)?,
        Operator::GreaterOrEqual => compare(Comparison::GreaterOrEqual)?,
        Operator::Less => compare(Comparison::Less)?,
        Operator::LessOrEqual => compare(Comparison::LessOrEqual)?,
        Operator::IsNull => Test::IsNull,
        Operator::IsNotNull => Test::IsNotNull,
        Operator::In => Test::OneOf(values(column, value)?),
        Operator::Like => like(Like::parse(text(column, "like", value, "\"Report%\"")?)),
        Operator::Contains => {
            Test::Like(Like::Contains(text(column, "contains", value, "\"report\"")?.to_owned()))
        }
        Operator::StartsWith => {
            Test::Like(Like::StartsWith(text(column, "starts-with", value, "\"Report\"")?.to_owned()))
        }
    };
    Ok(Checked { column: column.clone(), test })
}

fn like(pattern: Like) -> Test {
    match pattern {
        Like::Anything => Test::IsNotNull,
        Like::Exactly(text) => Test::Compare(Comparison::Equal, Literal::Text(text)),
        pattern => Test::Like(pattern),
    }
}

fn values(column: &Column, value: &Value) -> Result<Vec<Literal>, QueryError> {
    let fault = |what: &str| {
        let message = format!(
            "The condition on '{}' {what}. Write for example {{\"field\":\"{}\",\"operator\":\"in\",\"value\":[{}]}}.",
            column.name,
            column.name,
            column.kind.example()
        );
        QueryError::field("bad_value", &column.name, message)
    };
    let list = value.as_array().filter(|list| !list.is_empty());
    let list = list.ok_or_else(|| fault("has the operator 'in' and needs an array of values"))?;
    if list.len() > MOST_VALUES {
        return Err(fault(&format!("has {} values; {MOST_VALUES} are the most", list.len())));
    }
    if list.iter().any(Value::is_null) {
        return Err(fault("has null among its values, which 'in' never finds: use 'is null' for it"));
    }
    list.iter().map(|value| Literal::parse(column, value)).collect()
}

fn text<'a>(column: &Column, operator: &str, value: &'a Value, example: &str) -> Result<&'a str, QueryError> {
    let textual = matches!(column.kind, ColumnKind::String | ColumnKind::Json | ColumnKind::Any);
    if !textual {
        let message = format!(
            "'{}' has the type {}, which '{operator}' cannot compare: it is for text. Use =, !=, <, <=, > or >=.",
            column.name,
            column.kind.as_str()
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

/// Truth values, UUIDs, bytes and JSON have no order, and nothing is greater than null.
fn ordered(column: &Column, comparison: Comparison, literal: &Literal) -> Result<(), QueryError> {
    if matches!(comparison, Comparison::Equal | Comparison::NotEqual) {
        return Ok(());
    }
    let name = &column.name;
    if *literal == Literal::Null {
        let message =
            format!("'{name}' cannot be compared with null by size. Use 'is null' or 'is not null'.");
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
