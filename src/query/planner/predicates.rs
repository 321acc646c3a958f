//! The conditions of a request as predicates, each checked against the catalogue. What can choose a place (whose mailbox,
//! which folder, which records) is kept apart from what is compared with rows, because only the chosen route decides which
//! of the two it becomes (`scope.rs`). Pure; chooses nothing.

use std::collections::HashSet;

use crate::catalog::{Column, ColumnSource, Home, Object, RouteUse, TextComparison};
use crate::query::condition::{Checked, Comparison, Test};
use crate::query::error::QueryError;
use crate::query::literal::Literal;
use crate::query::request::{Condition, ConditionNode, Operator};
use crate::query::time_range::TimeRange;
use crate::query::tree::Tree;

/// The most places that one condition may name.
const MOST_PLACES: usize = 1000;
/// The word that stands for every user.
const EVERYBODY: &str = "*";

/// Whose mailboxes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Users {
    /// These.
    Named(Vec<String>),
    /// Those of every user there is (`UserId = '*'`).
    Everybody,
}

/// One of the conditions that must all hold, before it is known what uses it.
#[derive(Clone, Debug)]
pub(super) enum Predicate {
    /// Whose rows. Only a path can use it.
    Owner(Users),
    /// A column that some route has a placeholder for is one of these.
    Place { column: &'static str, values: Vec<String>, on_rows: OnRows },
    /// The record is one of these.
    Ids { values: Vec<String>, on_rows: OnRows },
    /// Rows fulfil it; no route has a placeholder for it.
    Rows(Tree),
}

/// What a predicate that can choose a place means for a row that came from elsewhere.
#[derive(Clone, Debug)]
pub(super) enum OnRows {
    /// This.
    Means(Tree),
    /// Nothing: no row carries the column.
    NotCarried,
    /// Nothing: the value is a name, and rows carry ids. The refusal that says so.
    IsName(QueryError),
}

/// The conditions of a request, all of which must hold.
#[derive(Clone, Debug, Default)]
pub(super) struct Predicates {
    pub(super) list: Vec<Predicate>,
    pub(super) range: TimeRange,
}

impl Predicates {
    /// Checks `nodes` against the columns of `object`.
    ///
    /// # Errors
    /// A sentence naming the field, the fault and its place in the request.
    pub(super) fn bind(object: &Object, nodes: &[ConditionNode]) -> Result<Self, QueryError> {
        let mut bound = Self::default();
        let mut waiting: Vec<(&ConditionNode, String)> = nodes
            .iter()
            .enumerate()
            .map(|(index, node)| (node, format!("conditions[{index}]")))
            .rev()
            .collect();
        while let Some((node, at)) = waiting.pop() {
            match node {
                ConditionNode::And { and } => {
                    let inner =
                        and.iter().enumerate().map(|(index, node)| (node, format!("{at}.and[{index}]")));
                    waiting.extend(inner.rev());
                }
                ConditionNode::Is(condition)
                    if bound.take(object, condition).map_err(|error| error.at(&at))? => {}
                node => {
                    let tree = Tree::build(node, &at, &mut |condition| row_column(object, condition))?;
                    for tree in tree.conjuncts() {
                        bound.list.push(of_tree(object, tree).map_err(|error| error.at(&at))?);
                    }
                }
            }
        }
        Ok(bound)
    }

    /// Takes `condition`, if no row can be compared with it.
    fn take(&mut self, object: &Object, condition: &Condition) -> Result<bool, QueryError> {
        let field = condition.field.trim();
        if let Some(range) = object.range()
            && self.range.take(range, condition)?
        {
            return Ok(true);
        }
        let known = column(object, field);
        let is_property = known.as_ref().is_ok_and(|column| column.source == ColumnSource::Property);
        if let Some(column) = object.place_column(RouteUse::List, field).filter(|_| !is_property) {
            let values = place_values(object, column, values(field, condition)?)?;
            let predicate = Predicate::Place { column, values, on_rows: OnRows::NotCarried };
            let twice = |known: &Predicate| matches!(known, Predicate::Place { column: known, .. } if *known == column);
            return self.add_once(column, predicate, twice).map(|()| true);
        }
        let user = known.is_ok_and(|column| is_user(&column));
        if user {
            let users = place_values(object, "UserId", values(field, condition)?)?;
            let everybody = users.iter().any(|user| user == EVERYBODY);
            let users = if everybody { Users::Everybody } else { Users::Named(users) };
            let twice = |known: &Predicate| matches!(known, Predicate::Owner(_));
            self.add_once("UserId", Predicate::Owner(users), twice)?;
        }
        Ok(user)
    }

    fn add_once(
        &mut self,
        field: &str,
        predicate: Predicate,
        is_the_same: impl Fn(&Predicate) -> bool,
    ) -> Result<(), QueryError> {
        if self.list.iter().any(is_the_same) {
            let message = format!("'{field}' is given twice. Give one condition, with 'in' for several.");
            return Err(QueryError::field("bad_request", field, message));
        }
        self.list.push(predicate);
        Ok(())
    }

    pub(super) fn has_ids(&self) -> bool {
        self.list.iter().any(|predicate| matches!(predicate, Predicate::Ids { .. }))
    }
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

/// One conjunct: it can choose a place, if it says that a column is one of some texts.
fn of_tree(object: &Object, tree: Tree) -> Result<Predicate, QueryError> {
    let Some((name, texts, is_list)) = wanted_texts(&tree) else { return rows(object, tree) };
    if let Some(column) = object.place_column(RouteUse::List, name) {
        let values = place_values(object, column, texts)?;
        let on_rows = match column.eq_ignore_ascii_case(name) {
            true => on_rows(object, tree),
            false => OnRows::NotCarried,
        };
        return Ok(Predicate::Place { column, values, on_rows });
    }
    let is_name = texts.iter().any(|text| object.name_in_path(name, text).is_some());
    // Directory objects filter by `id in (…)` themselves; Outlook does not filter by id at all, so each record is read by
    // its own path.
    let by_path = object.has_record_route() && (!is_list || is_name || object.home() != Home::Directory);
    if name == "id" && by_path {
        let values = place_values(object, "id", texts)?;
        return Ok(Predicate::Ids { values, on_rows: on_rows(object, tree) });
    }
    rows(object, tree)
}

/// The column and the texts of a tree that says "is one of these texts"; whether it was a list.
fn wanted_texts(tree: &Tree) -> Option<(&str, Vec<String>, bool)> {
    let Tree::Is(Checked { column, negated: false, test }) = tree else { return None };
    let text = |literal: &Literal| match literal {
        Literal::Text(text) => Some(text.clone()),
        _ => None,
    };
    let texts = match test {
        Test::Compare(Comparison::Equal, literal) => vec![text(literal)?],
        Test::OneOf(values) => values.iter().map(text).collect::<Option<Vec<_>>>()?,
        _ => return None,
    };
    Some((&column.name, texts, matches!(test, Test::OneOf(_))))
}

fn on_rows(object: &Object, tree: Tree) -> OnRows {
    match refuse_names(object, &tree) {
        Ok(()) => OnRows::Means(tree),
        Err(error) => OnRows::IsName(error),
    }
}

fn rows(object: &Object, tree: Tree) -> Result<Predicate, QueryError> {
    refuse_names(object, &tree)?;
    Ok(Predicate::Rows(tree))
}

/// Refuses to compare rows with a name that only a path takes: "not the archive" would include the archive.
fn refuse_names(object: &Object, tree: &Tree) -> Result<(), QueryError> {
    for Checked { column, test, .. } in tree.leaves() {
        let literals = match test {
            Test::Compare(_, literal) => std::slice::from_ref(literal),
            Test::OneOf(literals) => literals.as_slice(),
            Test::IsNull | Test::Like(_) => &[],
        };
        for literal in literals {
            let Literal::Text(text) = literal else { continue };
            if let Some(read) = object.name_in_path(&column.name, text) {
                let (name, text) = (&column.name, crate::error::clean_foreign_text(text));
                let message = format!(
                    "'{text}' is a name, and rows carry the id in '{name}', so they cannot be compared with it. Query \
                     {read} and compare with its id; or give the name with '=' alone among the conditions that must all \
                     hold, where it chooses what is read."
                );
                return Err(QueryError::field("bad_value", name, message));
            }
        }
    }
    Ok(())
}

fn is_user(column: &Column) -> bool {
    column.source == ColumnSource::Place && column.name.eq_ignore_ascii_case("UserId")
}

/// The column of a condition that is compared with rows.
fn row_column(object: &Object, condition: &Condition) -> Result<Column, QueryError> {
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

/// The values of a condition on a column that no row carries.
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
    let texts: Option<Vec<String>> = values.iter().map(|value| value.as_str().map(str::to_owned)).collect();
    texts.filter(|texts| !texts.is_empty()).ok_or_else(|| needs_id(field))
}

fn needs_id(field: &str) -> QueryError {
    let message = format!(
        "'{field}' needs an id as text. Write for example {{\"field\":\"{field}\",\"operator\":\"=\",\"value\":\"…\"}}, or \
         with the operator 'in' a list of ids."
    );
    QueryError::field("bad_value", field, message)
}

/// Values that go into paths: trimmed, none empty, each once. The same place twice would bring its rows twice.
fn place_values(object: &Object, field: &str, texts: Vec<String>) -> Result<Vec<String>, QueryError> {
    let texts: Vec<String> = texts.into_iter().map(|text| text.trim().to_owned()).collect();
    if texts.is_empty() || texts.iter().any(String::is_empty) {
        return Err(needs_id(field));
    }
    let names: Vec<Option<&str>> = texts.iter().map(|text| object.name_in_path(field, text)).collect();
    if let Some(read) = names.iter().flatten().next().filter(|_| names.iter().any(Option::is_none)) {
        let message = format!(
            "'{field}' is given ids and names in one list, which may be the same one twice. Give ids only: query {read} \
             for the id."
        );
        return Err(QueryError::field("bad_value", field, message));
    }
    // Names, and the ids of users and groups, are the same in any case; other ids are as their column compares.
    let rule = object.column(field).map_or(TextComparison::Exact, |column| column.text);
    let fold = matches!(field, "UserId" | "GroupId") || names.iter().any(Option::is_some);
    let mut seen = HashSet::new();
    let found: Vec<String> = texts
        .into_iter()
        .filter(|text| seen.insert(if fold { text.to_lowercase() } else { rule.key(text).into_owned() }))
        .collect();
    if found.len() > MOST_PLACES {
        let message = format!("'{field}' has {} values; {MOST_PLACES} are the most.", found.len());
        return Err(QueryError::field("bad_value", field, message));
    }
    Ok(found)
}
