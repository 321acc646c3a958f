//! The tree of conditions as a caller writes it: read by hand, because a fault must name its place in the tree
//! (`conditions[2].or[1].operator`), which a derived reader of alternatives cannot. Never looks at the catalogue.

use serde::Serialize;
use serde::de::{Deserialize, Deserializer, Error};
use serde_json::{Map, Value};
use utoipa::ToSchema;

use super::operator::Operator;
use crate::catalog::did_you_mean;

/// How deep groups may stand in one another.
const DEEPEST: usize = 16;
/// The most conditions and groups of one request.
const MOST_NODES: usize = 1000;

/// A condition, or a group of them: `{"and": […]}`, `{"or": […]}`, `{"not": …}`, in one another up to 16 deep. At most
/// 1000 conditions and groups in a request.
#[derive(Clone, Debug, PartialEq, Serialize, ToSchema)]
#[serde(untagged)]
pub enum ConditionNode {
    /// All of these hold.
    And {
        /// The conditions; at least one.
        #[schema(no_recursion)]
        and: Vec<ConditionNode>,
    },
    /// At least one of these holds.
    Or {
        /// The conditions; at least one.
        #[schema(no_recursion)]
        or: Vec<ConditionNode>,
    },
    /// This does not hold.
    Not {
        /// The condition whose exact opposite is meant.
        #[schema(no_recursion)]
        not: Box<ConditionNode>,
    },
    /// A condition on a column.
    Is(Condition),
}

/// One condition on a column.
#[derive(Clone, Debug, PartialEq, Serialize, ToSchema)]
pub struct Condition {
    /// The column.
    pub field: String,
    /// The comparison.
    pub operator: Operator,
    /// What to compare with: a string, number, boolean or null; an array for `in` and `not in`; an array of the two ends
    /// for `between` and `not between`. Not used by `is null` and `is not null`.
    #[schema(value_type = Object)]
    pub value: Value,
}

/// Reads the member `conditions`: a list, all of which must hold, or one group.
pub(super) fn conditions<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<ConditionNode>, D::Error> {
    read_conditions(Value::deserialize(deserializer)?).map_err(D::Error::custom)
}

/// Reads conditions: a list, all of which must hold, or one group.
///
/// # Errors
/// A sentence naming the place and the fault.
pub(crate) fn read_conditions(conditions: Value) -> Result<Vec<ConditionNode>, String> {
    let mut reader = Reader { left: MOST_NODES };
    match conditions {
        Value::Null => Ok(Vec::new()),
        Value::Array(items) => reader.list(items, "conditions", 0),
        group @ Value::Object(_) => reader.node(group, "conditions", 0).map(|node| vec![node]),
        other => Err(format!("conditions: must be a list of conditions, not {}.", named(&other))),
    }
}

impl<'de> Deserialize<'de> for ConditionNode {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let value = Value::deserialize(deserializer)?;
        Reader { left: MOST_NODES }.node(value, "condition", 0).map_err(D::Error::custom)
    }
}

/// Counts what it has read, so that the whole tree has a bound.
struct Reader {
    left: usize,
}

impl Reader {
    fn list(&mut self, items: Vec<Value>, place: &str, depth: usize) -> Result<Vec<ConditionNode>, String> {
        items
            .into_iter()
            .enumerate()
            .map(|(index, item)| self.node(item, &format!("{place}[{index}]"), depth))
            .collect()
    }

    fn node(&mut self, value: Value, place: &str, depth: usize) -> Result<ConditionNode, String> {
        self.left = self.left.checked_sub(1).ok_or_else(|| {
            format!("{place}: more than {MOST_NODES} conditions and groups. Use 'in' for many values of one field.")
        })?;
        if depth > DEEPEST {
            return Err(format!(
                "{place}: groups stand more than {DEEPEST} deep in one another. Flatten them."
            ));
        }
        let Value::Object(mut members) = value else {
            return Err(format!(
                "{place}: must be a condition such as {{\"field\":\"id\",\"operator\":\"=\",\"value\":\"1\"}} or a group \
                 such as {{\"or\":[…]}}, not {}.",
                named(&value)
            ));
        };
        let group = ["and", "or", "not"].into_iter().find(|name| members.contains_key(*name));
        let Some(group) = group else { return leaf(members, place).map(ConditionNode::Is) };
        if members.len() > 1 {
            let beside = members.keys().find(|key| *key != group).map_or("", String::as_str);
            return Err(format!(
                "{place}: has '{}' beside '{group}'. A group is {{\"{group}\": …}} and nothing else; put both into an \
                 'and' or an 'or'.",
                crate::error::clean_foreign_text(beside)
            ));
        }
        let inside = format!("{place}.{group}");
        let value = members.remove(group).unwrap_or_default();
        if group == "not" {
            return Ok(ConditionNode::Not { not: Box::new(self.node(value, &inside, depth + 1)?) });
        }
        let items = match value {
            Value::Array(items) if !items.is_empty() => items,
            Value::Array(_) => {
                return Err(format!("{inside}: is empty. Put a condition in, or leave the group out."));
            }
            other => return Err(format!("{inside}: must be a list of conditions, not {}.", named(&other))),
        };
        let items = self.list(items, &inside, depth + 1)?;
        Ok(if group == "and" { ConditionNode::And { and: items } } else { ConditionNode::Or { or: items } })
    }
}

fn leaf(mut members: Map<String, Value>, place: &str) -> Result<Condition, String> {
    let mut text = |name: &str, example: &str| match members.remove(name) {
        Some(Value::String(text)) => Ok(text),
        Some(other) => Err(format!("{place}.{name}: must be a text, not {}.", named(&other))),
        None => Err(format!("{place}: has no '{name}'. Add for example {example}.")),
    };
    let field = text("field", "\"field\":\"id\"")?;
    let operator = text("operator", "\"operator\":\"=\"")?;
    let operator = Operator::parse(&operator).map_err(|message| format!("{place}.operator: {message}"))?;
    let value = members.remove("value").unwrap_or_default();
    if let Some(unknown) = members.keys().next() {
        let near = did_you_mean(unknown, ["field", "operator", "value", "and", "or", "not"]);
        let unknown = crate::error::clean_foreign_text(unknown);
        return Err(format!(
            "{place}: unknown key '{unknown}'.{near} A condition has 'field', 'operator' and 'value'."
        ));
    }
    Ok(Condition { field, operator, value })
}

fn named(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "a truth value",
        Value::Number(_) => "a number",
        Value::String(_) => "a text",
        Value::Array(_) => "a list",
        Value::Object(_) => "an object",
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use serde_json::json;

    use super::*;
    use crate::query::QueryRequest;

    fn read(conditions: &Value) -> Result<Vec<ConditionNode>, String> {
        let request = json!({"object": "Messages", "conditions": conditions});
        serde_json::from_value::<QueryRequest>(request)
            .map(|request| request.conditions)
            .map_err(|error| error.to_string())
    }

    #[test]
    fn a_tree_is_read_and_written_alike() {
        let leaf = |field: &str| json!({"field": field, "operator": "=", "value": 1});
        for tree in [
            json!([leaf("a"), leaf("b")]),
            json!([{"or": [leaf("a"), {"and": [leaf("b"), {"not": leaf("c")}]}]}]),
            json!([{"not": {"or": [leaf("a")]}}, {"field": "d", "operator": "not between", "value": [1, 2]}]),
        ] {
            assert_eq!(serde_json::to_value(read(&tree).unwrap()).unwrap(), tree);
        }
        assert_eq!(read(&json!({"or": [leaf("a"), leaf("b")]})).unwrap().len(), 1, "one group alone");
        assert!(read(&json!(null)).unwrap().is_empty());
        assert!(read(&json!([])).unwrap().is_empty());
    }

    #[test]
    fn a_fault_names_its_place() {
        let good = json!({"field": "a", "operator": "=", "value": 1});
        let deep = (0..40).fold(good.clone(), |inner, _| json!({"not": inner}));
        for (conditions, expected) in [
            (json!("x"), "conditions: must be a list of conditions, not a text."),
            (json!([1]), "conditions[0]: must be a condition such as"),
            (
                json!([good, {"or": [good, {"field": "a", "operator": "~"}]}]),
                "conditions[1].or[1].operator: '~' is no",
            ),
            (json!([{"and": []}]), "conditions[0].and: is empty."),
            (json!([{"or": 1}]), "conditions[0].or: must be a list of conditions, not a number."),
            (json!([{"not": [good]}]), "conditions[0].not: must be a condition"),
            (json!([{"or": [good], "and": [good]}]), "conditions[0]: has 'or' beside 'and'."),
            (json!([{"not": good, "field": "x"}]), "conditions[0]: has 'field' beside 'not'."),
            (json!([{"not": {"operator": "="}}]), "conditions[0].not: has no 'field'."),
            (json!([{"field": "a"}]), "conditions[0]: has no 'operator'."),
            (json!([{"field": 1, "operator": "="}]), "conditions[0].field: must be a text, not a number."),
            (
                json!([{"field": "a", "operator": "=", "valeu": 1}]),
                "conditions[0]: unknown key 'valeu'. Did you mean 'value'?",
            ),
            (json!([{"And": [good]}]), "conditions[0]: has no 'field'."),
            (json!({"or": [{"field": "a", "operator": "x"}]}), "conditions.or[0].operator: 'x' is no"),
            (json!([deep]), "groups stand more than 16 deep"),
            (json!(vec![good; 1001]), "conditions[1000]: more than 1000"),
        ] {
            let message = read(&conditions).unwrap_err();
            assert!(message.contains(expected), "{message}\nnot: {expected}");
        }
    }
}
