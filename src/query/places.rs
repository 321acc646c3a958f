//! Conditions that choose where rows are read from: whose mailbox, which folder or calendar, which records. They become
//! paths instead of filters, one for each place. Pure.

use super::condition::{Checked, Comparison, Test};
use super::error::QueryError;
use super::literal::Literal;
use super::request::{Condition, ConditionNode, Operator};
use super::tree::Tree;
use crate::catalog::{Column, ColumnSource, Home, Object, PathPart};

/// The most places of one query.
const MOST_PLACES: usize = 1000;
/// The word that stands for every user.
const EVERYBODY: &str = "*";

/// Whose mailboxes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) enum Users {
    /// No condition says.
    #[default]
    Default,
    /// These.
    Named(Vec<String>),
    /// Those of every user there is (`UserId = '*'`).
    Everybody,
}

/// Where rows are read from, decided by conditions.
#[derive(Clone, Debug, Default)]
pub(super) struct Places {
    pub(super) users: Users,
    pub(super) parts: Option<(&'static PathPart, Vec<String>)>,
    pub(super) ids: Option<Vec<String>>,
}

/// Takes the conditions that choose places out of the others, which are checked.
///
/// # Errors
/// A sentence naming the field, the fault and its place in the request.
pub(super) fn places(
    object: &'static Object,
    nodes: &[ConditionNode],
) -> Result<(Places, Vec<Tree>), QueryError> {
    let mut places = Places::default();
    let mut others = Vec::new();
    let mut waiting: Vec<(&ConditionNode, String)> =
        nodes.iter().enumerate().map(|(index, node)| (node, format!("conditions[{index}]"))).rev().collect();
    while let Some((node, at)) = waiting.pop() {
        match node {
            ConditionNode::And { and } => {
                let inner = and.iter().enumerate().map(|(index, node)| (node, format!("{at}.and[{index}]")));
                waiting.extend(inner.rev());
            }
            ConditionNode::Is(condition)
                if places.take(object, condition).map_err(|error| error.at(&at))? => {}
            node => {
                let tree = Tree::build(node, &at, &mut |condition| column(object, condition))?;
                for tree in tree.conjuncts() {
                    match ids(object, &tree).filter(|_| places.ids.is_none()) {
                        Some(ids) => places.ids = Some(ids),
                        None => others.push(tree),
                    }
                }
            }
        }
    }
    Ok((places, others))
}

impl Places {
    /// Takes `condition`, if it chooses a place.
    fn take(&mut self, object: &'static Object, condition: &Condition) -> Result<bool, QueryError> {
        let field = condition.field.trim();
        let chooses = matches!(condition.operator, Operator::Equal | Operator::In);
        let column = object.column(field);
        if let Some(part) = object.part(field)
            && (chooses || column.is_err())
        {
            let values = values(field, condition)?;
            if let Some((earlier, _)) = &self.parts {
                let message = format!(
                    "'{}' and '{}' both choose where {} are read from. Give one of them.",
                    earlier.column,
                    part.column,
                    object.name()
                );
                return Err(QueryError::field("bad_request", field, message));
            }
            self.parts = Some((part, values));
            return Ok(true);
        }
        let user = column.is_ok_and(|column| column.source == ColumnSource::Place && column.name == "UserId");
        if user {
            if self.users != Users::Default {
                let message = "'UserId' is given twice. Give one condition, with 'in' for several users.";
                return Err(QueryError::field("bad_request", field, message));
            }
            let users = values(field, condition)?;
            self.users = match users.iter().any(|user| user == EVERYBODY) {
                true => Users::Everybody,
                false => Users::Named(users),
            };
        }
        Ok(user)
    }
}

/// The column of a condition that chooses no place.
fn column(object: &Object, condition: &Condition) -> Result<Column, QueryError> {
    let field = condition.field.trim();
    let column = object.column(field);
    if object.part(field).is_some() && column.is_err()
        || column.as_ref().is_ok_and(|column| column.source == ColumnSource::Place && column.name == "UserId")
    {
        let message = format!(
            "'{field}' chooses where rows are read from, so it stands with '=' or 'in' among the conditions that must \
             all hold, not inside 'or' or 'not'."
        );
        return Err(QueryError::field("bad_operator", field, message));
    }
    let column = column.map_err(|error| QueryError::unknown_field(field, error))?;
    if column.source == ColumnSource::Place {
        let message = format!(
            "Microsoft Graph has no {} of a group, so '{field}' cannot be a condition here. Remove it.",
            object.name().to_lowercase()
        );
        return Err(QueryError::field("bad_request", field, message));
    }
    Ok(column.clone())
}

fn values(field: &str, condition: &Condition) -> Result<Vec<String>, QueryError> {
    let one = std::slice::from_ref(&condition.value);
    let values = match (condition.operator, condition.value.as_array()) {
        (Operator::Equal, _) => one,
        (Operator::In, Some(list)) if !list.is_empty() => list.as_slice(),
        (Operator::In, _) => &[],
        _ => {
            let message = format!(
                "'{field}' chooses where rows are read from and can be compared with '=' and 'in' only."
            );
            return Err(QueryError::field("bad_operator", field, message));
        }
    };
    let whole = values.iter().all(|value| value.as_str().is_some_and(|text| !text.trim().is_empty()));
    if values.is_empty() || !whole {
        let (operator, example) = match condition.operator {
            Operator::In => ("in", "[\"…\", \"…\"]"),
            _ => ("=", "\"…\""),
        };
        let message = format!(
            "'{field}' needs an id as text. Write for example {{\"field\":\"{field}\",\"operator\":\"{operator}\",\"value\":{example}}}."
        );
        return Err(QueryError::field("bad_value", field, message));
    }
    // The same place twice would bring its rows twice. Ids of Outlook's folders and calendars differ by case; users and
    // groups do not.
    let fold = matches!(field.to_ascii_lowercase().as_str(), "userid" | "groupid");
    let mut seen = std::collections::HashSet::new();
    let texts = values.iter().filter_map(|value| value.as_str()).map(|text| text.trim().to_owned());
    let found: Vec<String> =
        texts.filter(|text| seen.insert(if fold { text.to_lowercase() } else { text.clone() })).collect();
    if found.len() > MOST_PLACES {
        let message = format!("'{field}' has {} values; {MOST_PLACES} are the most.", found.len());
        return Err(QueryError::field("bad_value", field, message));
    }
    Ok(found)
}

/// The records a condition on `id` names. Directory objects filter by `id in (…)` themselves; Outlook does not filter by
/// id at all, so each record is read by its own path.
fn ids(object: &Object, tree: &Tree) -> Option<Vec<String>> {
    let Tree::Is(Checked { column, negated: false, test }) = tree else { return None };
    if column.name != "id" {
        return None;
    }
    let text = |literal: &Literal| match literal {
        Literal::Text(text) => Some(text.clone()),
        _ => None,
    };
    match test {
        Test::Compare(Comparison::Equal, literal) => Some(vec![text(literal)?]),
        Test::OneOf(values) if object.home() == Home::Mailbox => {
            // Ids of Outlook differ by case, so only the same text is the same record.
            let mut seen = std::collections::HashSet::new();
            let ids = values.iter().map(text).collect::<Option<Vec<_>>>()?;
            Some(ids.into_iter().filter(|id| seen.insert(id.clone())).collect())
        }
        _ => None,
    }
}
