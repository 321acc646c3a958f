//! Checked conditions as `$filter` text, as far as the service can evaluate them. Pure. A condition that the service
//! knows only roughly is sent roughly and left with the agent too, so that fewer rows travel and none is wrong.

use super::condition::{Checked, Comparison, Test};
use super::like::Like;
use super::literal::{Literal, quoted};
use crate::catalog::{Column, FilterOps, Home};

/// The longest `or` chain and the most values of `in (…)` sent: directory objects take fifteen, and Outlook's front
/// doors cut long URLs.
const MOST_ALTERNATIVES: usize = 15;

/// What of a condition goes to the service.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Pushed {
    /// Text for `$filter`, not yet percent-encoded; absent: nothing.
    pub(super) filter: Option<String>,
    /// Whether the agent must evaluate the condition as well.
    pub(super) residual: bool,
    /// Whether a directory object needs an advanced query for it.
    pub(super) advanced: bool,
}

impl Pushed {
    fn exact(filter: String) -> Self {
        Self { filter: Some(filter), residual: false, advanced: false }
    }

    fn rough(filter: String) -> Self {
        Self { filter: Some(filter), residual: true, advanced: false }
    }

    fn agent_only() -> Self {
        Self { filter: None, residual: true, advanced: false }
    }

    fn advanced(mut self) -> Self {
        self.advanced = true;
        self
    }
}

/// What of `condition` goes to the service.
pub(super) fn push(condition: &Checked, home: Home) -> Pushed {
    let column = &condition.column;
    let path = column.odata_path();
    let can = |operators| column.filter.has(operators);
    match &condition.test {
        Test::IsNull if can(FilterOps::NULL) => Pushed::exact(format!("{path} eq null")).advanced(),
        Test::IsNotNull if can(FilterOps::NULL.and(FilterOps::NE)) => {
            Pushed::exact(format!("{path} ne null")).advanced()
        }
        Test::IsNull | Test::IsNotNull => Pushed::agent_only(),
        Test::Compare(comparison, literal) => compare(&path, column, *comparison, literal),
        Test::OneOf(values) => one_of(&path, column, values, home),
        Test::Like(pattern) => like(&path, column, pattern),
    }
}

fn compare(path: &str, column: &Column, comparison: Comparison, literal: &Literal) -> Pushed {
    let can = |operators| column.filter.has(operators);
    let text = |operator: &str| format!("{path} {operator} {}", literal.odata());
    let operator = comparison.odata();
    match comparison {
        Comparison::Equal if can(FilterOps::EQ) => Pushed::exact(text(operator)),
        Comparison::NotEqual if can(FilterOps::NE) => Pushed::exact(text(operator)).advanced(),
        Comparison::GreaterOrEqual if can(FilterOps::GE) => Pushed::exact(text(operator)),
        Comparison::LessOrEqual if can(FilterOps::LE) => Pushed::exact(text(operator)),
        Comparison::Greater | Comparison::Less if can(FilterOps::GT_LT) => Pushed::exact(text(operator)),
        Comparison::Greater if can(FilterOps::GE) => Pushed::rough(text("ge")),
        Comparison::Less if can(FilterOps::LE) => Pushed::rough(text("le")),
        _ => Pushed::agent_only(),
    }
}

/// Directory objects know `in`; Outlook knows `or` only.
fn one_of(path: &str, column: &Column, values: &[Literal], home: Home) -> Pushed {
    if values.len() > MOST_ALTERNATIVES {
        return Pushed::agent_only();
    }
    if home == Home::Directory && column.filter.has(FilterOps::IN) {
        let list: Vec<String> = values.iter().map(Literal::odata).collect();
        return Pushed::exact(format!("{path} in ({})", list.join(",")));
    }
    if !column.filter.has(FilterOps::EQ) {
        return Pushed::agent_only();
    }
    let chain: Vec<String> = values.iter().map(|value| format!("{path} eq {}", value.odata())).collect();
    Pushed::exact(match chain.as_slice() {
        [only] => only.clone(),
        chain => format!("({})", chain.join(" or ")),
    })
}

fn like(path: &str, column: &Column, pattern: &Like) -> Pushed {
    let can = |operators| column.filter.has(operators);
    let call = |function: &str, text: &str| format!("{function}({path},{})", quoted(text));
    match pattern {
        Like::StartsWith(text) if can(FilterOps::STARTS) => Pushed::exact(call("startswith", text)),
        Like::EndsWith(text) if can(FilterOps::ENDS) => Pushed::exact(call("endswith", text)).advanced(),
        Like::Contains(text) if can(FilterOps::CONTAINS) => Pushed::exact(call("contains", text)),
        Like::General { prefix, .. } if !prefix.is_empty() && can(FilterOps::STARTS) => {
            Pushed::rough(call("startswith", prefix))
        }
        _ => Pushed::agent_only(),
    }
}
