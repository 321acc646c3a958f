//! Conditions that choose where rows are read from: whose mailbox, which folder or calendar, which records, which range of
//! time. They become paths and options instead of filters. Pure.

use super::condition::{Checked, Comparison, Test};
use super::error::QueryError;
use super::literal::Literal;
use super::request::{Condition, ConditionNode, Operator};
use super::time_range::TimeRange;
use super::tree::Tree;
use crate::catalog::{Column, ColumnSource, Home, Object, RouteUse};

/// The most places that one condition may name.
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
    /// Values of place columns by their declared names.
    pub(super) given: Vec<(&'static str, Vec<String>)>,
    pub(super) ids: Option<Vec<String>>,
    pub(super) range: TimeRange,
}

/// Takes the conditions that choose places out of the others, which are checked.
///
/// # Errors
/// A sentence naming the field, the fault and its place in the request.
pub(super) fn places(object: &Object, nodes: &[ConditionNode]) -> Result<(Places, Vec<Tree>), QueryError> {
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
                let tree = Tree::build(node, &at, &mut |condition| free_column(object, condition))?;
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

/// The column of a field as written; a path's column goes by the name it was asked for.
pub(super) fn column(object: &Object, field: &str) -> Result<Column, QueryError> {
    let field = field.trim();
    let mut found =
        object.column(field).map_err(|error| QueryError::unknown_field(field, error))?.into_owned();
    if object.has_whole_rows() {
        field.clone_into(&mut found.name);
    }
    Ok(found)
}

impl Places {
    /// Takes `condition`, if it chooses a place.
    fn take(&mut self, object: &Object, condition: &Condition) -> Result<bool, QueryError> {
        let field = condition.field.trim();
        if let Some(range) = object.range()
            && self.range.take(range, condition)?
        {
            return Ok(true);
        }
        let chooses = matches!(condition.operator, Operator::Equal | Operator::In);
        let known = column(object, field);
        let is_property = known.as_ref().is_ok_and(|column| column.source == ColumnSource::Property);
        let place = object.place_column(RouteUse::List, field).filter(|_| chooses || !is_property);
        if let Some(place) = place {
            let values = values(field, condition)?;
            if self.given.iter().any(|(given, _)| *given == place) {
                let message = format!("'{place}' is given twice. Give one condition, with 'in' for several.");
                return Err(QueryError::field("bad_request", field, message));
            }
            self.given.push((place, values));
            return Ok(true);
        }
        let user = known.is_ok_and(|column| is_user(&column));
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

fn is_user(column: &Column) -> bool {
    column.source == ColumnSource::Place && column.name.eq_ignore_ascii_case("UserId")
}

/// The column of a condition that chooses no place.
fn free_column(object: &Object, condition: &Condition) -> Result<Column, QueryError> {
    let field = condition.field.trim();
    let known = column(object, field);
    let is_property = known.as_ref().is_ok_and(|column| column.source == ColumnSource::Property);
    let chooses = object.place_column(RouteUse::List, field).is_some();
    if chooses && !is_property || known.as_ref().is_ok_and(is_user) {
        let message = format!(
            "'{field}' chooses where rows are read from, so it stands with '=' or 'in' among the conditions that must \
             all hold, not inside 'or' or 'not'."
        );
        return Err(QueryError::field("bad_operator", field, message));
    }
    let column = known?;
    match column.source {
        ColumnSource::Property | ColumnSource::Etag | ColumnSource::Related => Ok(column),
        ColumnSource::Place if column.name.eq_ignore_ascii_case("GroupId") => {
            let message = format!(
                "Microsoft Graph has no {} of a group, so '{field}' cannot be a condition here. Remove it.",
                object.name().to_lowercase()
            );
            Err(QueryError::field("bad_request", field, message))
        }
        ColumnSource::FilterOnly => {
            let message = format!(
                "'{field}' bounds the range of time that is shown, so it stands with '=', '>=', '<=' or 'between' among \
                 the conditions that must all hold."
            );
            Err(QueryError::field("bad_operator", field, message))
        }
        ColumnSource::Place | ColumnSource::CreateOnly => {
            let message =
                format!("No row of {} has '{field}', so it cannot be a condition. Remove it.", object.name());
            Err(QueryError::field("bad_request", field, message))
        }
    }
}

fn values(field: &str, condition: &Condition) -> Result<Vec<String>, QueryError> {
    let values = match (condition.operator, condition.value.as_array()) {
        (Operator::Equal, _) => std::slice::from_ref(&condition.value),
        (Operator::In, Some(list)) => list.as_slice(),
        (Operator::In, None) => &[],
        _ => {
            let message = format!(
                "'{field}' chooses where rows are read from and can be compared with '=' and 'in' only."
            );
            return Err(QueryError::field("bad_operator", field, message));
        }
    };
    let text = |value: &serde_json::Value| {
        value.as_str().map(str::trim).filter(|text| !text.is_empty()).map(str::to_owned)
    };
    let texts: Option<Vec<String>> = values.iter().map(text).collect();
    let Some(texts) = texts.filter(|texts| !texts.is_empty()) else {
        let (operator, example) = match condition.operator {
            Operator::In => ("in", "[\"…\", \"…\"]"),
            _ => ("=", "\"…\""),
        };
        let message = format!(
            "'{field}' needs an id as text. Write for example {{\"field\":\"{field}\",\"operator\":\"{operator}\",\"value\":{example}}}."
        );
        return Err(QueryError::field("bad_value", field, message));
    };
    // The same place twice would bring its rows twice. Ids of Outlook's folders and calendars differ by case; users and
    // groups do not.
    let fold = matches!(field.to_ascii_lowercase().as_str(), "userid" | "groupid");
    let mut seen = std::collections::HashSet::new();
    let found: Vec<String> = texts
        .into_iter()
        .filter(|text| seen.insert(if fold { text.to_lowercase() } else { text.clone() }))
        .collect();
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
    if column.name != "id" || !object.has_record_route() {
        return None;
    }
    let text = |literal: &Literal| match literal {
        Literal::Text(text) => Some(text.clone()),
        _ => None,
    };
    match test {
        Test::Compare(Comparison::Equal, literal) => Some(vec![text(literal)?]),
        Test::OneOf(values) if object.home() != Home::Directory => {
            // The same record twice would bring its row twice.
            let mut seen = std::collections::HashSet::new();
            let ids = values.iter().map(text).collect::<Option<Vec<_>>>()?;
            Some(ids.into_iter().filter(|id| seen.insert(column.text.key(id).into_owned())).collect())
        }
        _ => None,
    }
}
