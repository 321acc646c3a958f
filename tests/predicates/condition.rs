//! A condition as a caller writes it and as a naive reader understands it. Knows nothing of routes, filters or plans.

use serde_json::{Value, json};

use crate::world::Row;

/// A condition.
#[derive(Clone, Debug)]
pub(crate) enum Condition {
    /// The column is one of these; with `=` when there is one value and `list` is not set.
    Is { column: &'static str, values: Vec<String>, list: bool },
    /// The column is none of these.
    IsNot { column: &'static str, values: Vec<String> },
    /// Not that.
    Not(Box<Condition>),
    /// One of those.
    Or(Vec<Condition>),
}

pub(crate) fn is(column: &'static str, value: &str) -> Condition {
    Condition::Is { column, values: vec![value.to_owned()], list: false }
}

pub(crate) fn one_of(column: &'static str, values: &[&str]) -> Condition {
    let values = values.iter().map(|value| (*value).to_owned()).collect();
    Condition::Is { column, values, list: true }
}

impl Condition {
    /// As the control port takes it.
    pub(crate) fn json(&self) -> Value {
        let leaf = |column: &str, operator: &str, value: Value| json!({"field": column, "operator": operator, "value": value});
        match self {
            Self::Is { column, values, list: false } => leaf(column, "=", json!(values[0])),
            Self::Is { column, values, .. } => leaf(column, "in", json!(values)),
            Self::IsNot { column, values } if values.len() == 1 => leaf(column, "!=", json!(values[0])),
            Self::IsNot { column, values } => leaf(column, "not in", json!(values)),
            Self::Not(inner) => json!({"not": inner.json()}),
            Self::Or(members) => json!({"or": members.iter().map(Self::json).collect::<Vec<_>>()}),
        }
    }

    /// Whether it holds of a row. `id_of` knows the ids behind names such as `archive`.
    pub(crate) fn holds(&self, row: &Row, id_of: &dyn Fn(&str, &str) -> String) -> bool {
        let among = |column: &str, values: &[String]| {
            values.iter().any(|value| row.has(column, &id_of(column, value)))
        };
        match self {
            Self::Is { column, values, .. } => among(column, values),
            Self::IsNot { column, values } => !among(column, values),
            Self::Not(inner) => !inner.holds(row, id_of),
            Self::Or(members) => members.iter().any(|member| member.holds(row, id_of)),
        }
    }

    /// The column that it says to be one of some values, and nothing else: then it can choose a place.
    pub(crate) fn chosen_column(&self) -> Option<&'static str> {
        match self {
            Self::Is { column, .. } => Some(column),
            Self::IsNot { .. } => None,
            Self::Not(inner) => match inner.as_ref() {
                Self::IsNot { column, .. } => Some(column),
                Self::Not(inner) => inner.chosen_column(),
                _ => None,
            },
            Self::Or(members) => {
                let columns: Vec<_> = members.iter().map(Self::chosen_column).collect();
                let first = *columns.first()?;
                first.filter(|_| columns.iter().all(|column| *column == first))
            }
        }
    }

    /// Whether it names `column`.
    pub(crate) fn names(&self, column: &str) -> bool {
        match self {
            Self::Is { column: own, .. } | Self::IsNot { column: own, .. } => *own == column,
            Self::Not(inner) => inner.names(column),
            Self::Or(members) => members.iter().any(|member| member.names(column)),
        }
    }
}

/// All of them as the control port takes them.
pub(crate) fn json_of(conditions: &[Condition]) -> Value {
    conditions.iter().map(Condition::json).collect()
}
