//! The checked conditions as a tree in which nothing but single conditions is negated. Every condition is true or false
//! of a row, so `not` moves inwards exactly (De Morgan). Pure; decides neither who evaluates what nor how.

use std::fmt;

use super::condition::{Checked, Test, check};
use super::error::QueryError;
use super::literal::Literal;
use super::request::{Condition, ConditionNode};
use crate::catalog::Column;

/// Checked conditions.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Tree {
    /// All of these hold.
    All(Vec<Tree>),
    /// At least one of these holds.
    Any(Vec<Tree>),
    /// This holds.
    Is(Checked),
}

impl Tree {
    /// Checks `node`. `column` finds the column of a field or refuses it.
    ///
    /// # Errors
    /// A sentence naming the field, the fault and the place in the request.
    pub(super) fn build(
        node: &ConditionNode,
        place: &str,
        column: &mut dyn FnMut(&Condition) -> Result<Column, QueryError>,
    ) -> Result<Self, QueryError> {
        Self::read(node, false, place, column)
    }

    fn read(
        node: &ConditionNode,
        negated: bool,
        place: &str,
        column: &mut dyn FnMut(&Condition) -> Result<Column, QueryError>,
    ) -> Result<Self, QueryError> {
        let (nodes, name, all) = match node {
            ConditionNode::Is(condition) => {
                let read = column(condition).and_then(|column| check(&column, condition));
                let tree = read.map_err(|error| error.at(place))?;
                return Ok(if negated { tree.negated() } else { tree });
            }
            ConditionNode::Not { not } => return Self::read(not, !negated, &format!("{place}.not"), column),
            ConditionNode::And { and } => (and, "and", !negated),
            ConditionNode::Or { or } => (or, "or", negated),
        };
        let mut members = Vec::with_capacity(nodes.len());
        for (index, node) in nodes.iter().enumerate() {
            members.push(Self::read(node, negated, &format!("{place}.{name}[{index}]"), column)?);
        }
        Ok(if all { Self::all(members) } else { Self::any(members) })
    }

    /// All of `members`, without groups of the same kind inside.
    pub(super) fn all(members: Vec<Self>) -> Self {
        let flat = members.into_iter().flat_map(|member| match member {
            Self::All(inner) => inner,
            other => vec![other],
        });
        one_or(flat.collect(), Self::All)
    }

    /// Any of `members`. `a = 1 or a in (2, 3)` becomes `a in (1, 2, 3)`, which more services know and fewer tests need.
    pub(super) fn any(members: Vec<Self>) -> Self {
        let flat = members.into_iter().flat_map(|member| match member {
            Self::Any(inner) => inner,
            other => vec![other],
        });
        let mut kept: Vec<Self> = Vec::new();
        for member in flat {
            let merged = match &member {
                Self::Is(condition) => merge(&mut kept, condition),
                _ => false,
            };
            if !merged {
                kept.push(member);
            }
        }
        one_or(kept, Self::Any)
    }

    /// The exact opposite.
    pub(super) fn negated(self) -> Self {
        match self {
            Self::All(members) => Self::any(members.into_iter().map(Self::negated).collect()),
            Self::Any(members) => Self::all(members.into_iter().map(Self::negated).collect()),
            Self::Is(condition) => Self::Is(Checked { negated: !condition.negated, ..condition }),
        }
    }

    /// The conditions that must all hold.
    pub(super) fn conjuncts(self) -> Vec<Self> {
        match self {
            Self::All(members) => members,
            other => vec![other],
        }
    }

    /// Every single condition in it.
    pub(super) fn leaves(&self) -> Vec<&Checked> {
        match self {
            Self::Is(condition) => vec![condition],
            Self::All(members) | Self::Any(members) => members.iter().flat_map(Self::leaves).collect(),
        }
    }
}

fn one_or(mut members: Vec<Tree>, group: fn(Vec<Tree>) -> Tree) -> Tree {
    match (members.len(), members.pop()) {
        (1, Some(only)) => only,
        (_, last) => {
            members.extend(last);
            group(members)
        }
    }
}

/// Puts the values of `condition` into one of `kept` on the same column, when both ask for equality.
fn merge(kept: &mut [Tree], condition: &Checked) -> bool {
    let Some(more) = values(condition) else { return false };
    for tree in kept {
        let Tree::Is(other) = tree else { continue };
        if other.column != condition.column {
            continue;
        }
        if let Some(mut all) = values(other) {
            all.extend(more);
            other.test = Test::OneOf(all);
            return true;
        }
    }
    false
}

fn values(condition: &Checked) -> Option<Vec<Literal>> {
    match &condition.test {
        _ if condition.negated => None,
        Test::Compare(super::condition::Comparison::Equal, literal) => Some(vec![literal.clone()]),
        Test::OneOf(values) => Some(values.clone()),
        _ => None,
    }
}

/// As a reader of SQL would write it; for the answer, which says who evaluated what.
impl fmt::Display for Tree {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (members, word) = match self {
            Self::Is(condition) => return write!(formatter, "{condition}"),
            Self::All(members) => (members, " and "),
            Self::Any(members) => (members, " or "),
        };
        formatter.write_str("(")?;
        for (index, member) in members.iter().enumerate() {
            if index > 0 {
                formatter.write_str(word)?;
            }
            write!(formatter, "{member}")?;
        }
        formatter.write_str(")")
    }
}
