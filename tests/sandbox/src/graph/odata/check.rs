//! Refuses the filters and orders that the language allows but the service does not carry out.
//! Never changes what it checks.

use super::expression::{Expr, Function, Operator, Path};
use crate::data::directory::SORTABLE;
use crate::data::model::Kind;
use crate::graph::errors::GraphError;

/// What a directory request said about advanced queries.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Advanced {
    /// `ConsistencyLevel: eventual`.
    pub(crate) header: bool,
    /// `$count=true`.
    pub(crate) count: bool,
}

/// Refuses a mailbox filter that the service does not support.
pub(crate) fn mailbox_filter(expression: &Expr) -> Result<(), GraphError> {
    let supported = |path: &Path| {
        let whole = matches!(path.kind, Kind::Complex(_) | Kind::List(_));
        if path.root.unfilterable || (whole && !path.from_variable) {
            return Err(GraphError::invalid_filter_node());
        }
        Ok(())
    };
    match expression {
        Expr::And(left, right) | Expr::Or(left, right) => {
            mailbox_filter(left)?;
            mailbox_filter(right)
        }
        Expr::Not(inner) => mailbox_filter(inner),
        Expr::Compare(path, _, _) | Expr::In(path, _) | Expr::Call(_, path, _) | Expr::Truth(path) => {
            supported(path)
        }
        Expr::Lambda { all, path, condition } => {
            if path.root.name == crate::graph::extended::NAME && !*all {
                return condition
                    .as_deref()
                    .map_or_else(|| Err(GraphError::invalid_filter_node()), mailbox_filter);
            }
            let is_address = path.root.name == "emailAddresses";
            if *all || path.root.unfilterable || !(is_address || path.root.name == "categories") {
                return Err(GraphError::invalid_filter_node());
            }
            match condition.as_deref() {
                None => Ok(()),
                // Contacts can be found by an address that is known exactly, and in no other way.
                Some(Expr::Compare(_, Operator::Eq, _)) => Ok(()),
                Some(_) if is_address => Err(GraphError::invalid_filter_node()),
                Some(condition) => mailbox_filter(condition),
            }
        }
    }
}

/// Refuses an order of messages whose properties do not lead the filter, in the same order.
pub(crate) fn message_order(expression: Option<&Expr>, order: &[(Path, bool)]) -> Result<(), GraphError> {
    let Some(expression) = expression.filter(|_| !order.is_empty()) else {
        return Ok(());
    };
    let mut filtered = Vec::new();
    collect_paths(expression, &mut filtered);
    let leads =
        order.iter().enumerate().all(|(position, (path, _))| filtered.get(position) == Some(&path.text()));
    if leads {
        return Ok(());
    }
    let text = "The restriction or sort order is too complex for this operation.";
    Err(GraphError::new(400, "InefficientFilter", text))
}

/// Refuses a directory filter that the service does not support, or only supports as an advanced query.
pub(crate) fn directory_filter(expression: &Expr, advanced: Advanced) -> Result<(), GraphError> {
    directory_node(expression, advanced, false)
}

/// Refuses a directory order that the service does not support.
pub(crate) fn directory_order(
    filtered: bool,
    order: &[(Path, bool)],
    advanced: Advanced,
) -> Result<(), GraphError> {
    if order.is_empty() {
        return Ok(());
    }
    if order.iter().any(|(path, _)| !SORTABLE.contains(&path.text().as_str())) {
        return Err(GraphError::unsupported_query("Sorting not supported for current query."));
    }
    if filtered {
        needs_advanced(advanced)?;
    }
    Ok(())
}

fn directory_node(expression: &Expr, advanced: Advanced, negated: bool) -> Result<(), GraphError> {
    match expression {
        Expr::And(left, right) | Expr::Or(left, right) => {
            directory_node(left, advanced, negated)?;
            directory_node(right, advanced, negated)
        }
        Expr::Not(inner) => {
            needs_advanced(advanced)?;
            directory_node(inner, advanced, true)
        }
        Expr::Truth(path) => allowed(path, "eq", negated),
        Expr::In(path, _) => allowed(path, "in", negated),
        Expr::Compare(path, operator, literal) => {
            let null = matches!(literal, super::expression::Literal::Null);
            let word = match operator {
                Operator::Eq if null => "null",
                Operator::Eq => "eq",
                Operator::Ne => "ne",
                Operator::Ge => "ge",
                Operator::Le => "le",
                Operator::Gt => "gt",
                Operator::Lt => "lt",
            };
            allowed(path, word, negated)?;
            if *operator == Operator::Ne { needs_advanced(advanced) } else { Ok(()) }
        }
        Expr::Call(function, path, _) => {
            let word = match function {
                Function::StartsWith => "startsWith",
                Function::EndsWith => "endsWith",
                Function::Contains => "contains",
            };
            allowed(path, word, negated)?;
            if *function == Function::EndsWith { needs_advanced(advanced) } else { Ok(()) }
        }
        Expr::Lambda { all: true, .. } => {
            Err(GraphError::unsupported_query("The 'all' operator is not supported."))
        }
        Expr::Lambda { path, condition, .. } => match condition.as_deref() {
            Some(condition) => directory_node(condition, advanced, negated),
            None => Err(unsupported(path)),
        },
    }
}

fn allowed(path: &Path, word: &str, negated: bool) -> Result<(), GraphError> {
    let documented = |wanted: &str| path.root.operators.split(' ').any(|known| known == wanted);
    let whole = matches!(path.kind, Kind::Complex(_) | Kind::List(_));
    if whole || !documented(word) || (negated && !documented("not")) {
        return Err(unsupported(path));
    }
    Ok(())
}

fn unsupported(path: &Path) -> GraphError {
    GraphError::unsupported_query(format!(
        "Unsupported or invalid query filter clause specified for property '{}' of resource 'User'.",
        path.root.name
    ))
}

fn needs_advanced(advanced: Advanced) -> Result<(), GraphError> {
    if advanced.header && advanced.count {
        Ok(())
    } else {
        Err(GraphError::unsupported_query("Unsupported Query."))
    }
}

fn collect_paths(expression: &Expr, found: &mut Vec<String>) {
    let mut note = |path: &Path| {
        let text = path.text();
        if !found.contains(&text) {
            found.push(text);
        }
    };
    match expression {
        Expr::And(left, right) | Expr::Or(left, right) => {
            collect_paths(left, found);
            collect_paths(right, found);
        }
        Expr::Not(inner) => collect_paths(inner, found),
        Expr::Compare(path, _, _)
        | Expr::In(path, _)
        | Expr::Call(_, path, _)
        | Expr::Truth(path)
        | Expr::Lambda { path, .. } => note(path),
    }
}
