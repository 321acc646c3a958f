//! A query as a caller writes it. Shapes only: nothing here is checked against the catalogue yet.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

pub use super::nodes::{Condition, ConditionNode};
pub use super::operator::Operator;

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
    /// Conditions that must all hold; each may be a group, see [`ConditionNode`]. One group alone needs no list.
    #[serde(default, skip_serializing_if = "Vec::is_empty", deserialize_with = "super::nodes::conditions")]
    pub conditions: Vec<ConditionNode>,
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
