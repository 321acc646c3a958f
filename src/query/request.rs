//! A query as a caller writes it. Shapes only: nothing here is checked against the catalogue yet.

use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::ToSchema;

/// Query: which rows of which object.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct QueryRequest {
    /// An object's name (`Messages`, any case) or a Graph path (`/users/{id}/mailFolders`).
    pub object: String,
    /// The columns wanted, in this order; empty or absent = the object's default columns, which are all but those that
    /// the service answers only by name (GET …/objects/{object} tells); for a Graph path, whatever the service answers.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub fields: Vec<String>,
    /// Conditions that must all hold.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub conditions: Vec<Condition>,
    /// The order of the rows.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub order_by: Vec<Order>,
    /// The most rows wanted; absent = all (or the connection's `MaxRows`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limit: Option<u64>,
    /// How many rows to leave out first.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub offset: Option<u64>,
}

/// One condition on a column.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Condition {
    /// The column.
    pub field: String,
    /// The comparison.
    pub operator: Operator,
    /// What to compare with: a string, number, boolean or null; an array for `in`. Not used by `is null` and
    /// `is not null`.
    #[serde(default)]
    #[schema(value_type = Object)]
    pub value: Value,
}

/// The comparisons.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Deserialize, Serialize, ToSchema)]
pub enum Operator {
    /// Equal.
    #[serde(rename = "=", alias = "==", alias = "eq")]
    Equal,
    /// Not equal.
    #[serde(rename = "!=", alias = "<>", alias = "ne")]
    NotEqual,
    /// Greater.
    #[serde(rename = ">", alias = "gt")]
    Greater,
    /// Greater or equal.
    #[serde(rename = ">=", alias = "ge")]
    GreaterOrEqual,
    /// Less.
    #[serde(rename = "<", alias = "lt")]
    Less,
    /// Less or equal.
    #[serde(rename = "<=", alias = "le")]
    LessOrEqual,
    /// SQL LIKE with `%` and `_`.
    #[serde(rename = "like", alias = "LIKE")]
    Like,
    /// One of an array.
    #[serde(rename = "in", alias = "IN")]
    In,
    /// Has no value.
    #[serde(rename = "is null", alias = "IS NULL")]
    IsNull,
    /// Has a value.
    #[serde(rename = "is not null", alias = "IS NOT NULL")]
    IsNotNull,
    /// Contains the text.
    #[serde(rename = "contains", alias = "CONTAINS")]
    Contains,
    /// Begins with the text.
    #[serde(rename = "starts-with", alias = "startsWith", alias = "starts with", alias = "STARTS-WITH")]
    StartsWith,
}

/// One column of the order.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Order {
    /// The column.
    pub field: String,
    /// Largest first.
    #[serde(default)]
    pub descending: bool,
}
