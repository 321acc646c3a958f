//! Conditions on collections of plain values as `$filter` text: `categories/any(x:x eq 'Keep')` (OData 4.01, "Lambda
//! operators"; Graph, "Use the $filter query parameter"). What a service knows of a collection it knows of its members, so
//! nothing here is ever about the collection's text. Pure.

use super::condition::{Checked, Comparison, Test};
use super::like::Like;
use super::literal::{Literal, quoted};
use super::odata::{Joined, MOST_ALTERNATIVES, Pushed};
use crate::catalog::{FilterOps, Home};

/// What of a condition on a collection goes to the service; `None`: nothing. A collection without members fulfils no
/// `any` and every `not(any)`, as it does with the agent.
pub(super) fn push(condition: &Checked, home: Home) -> Option<Pushed> {
    let column = &condition.column;
    let can = |operators| column.filter.has(operators);
    let any = |what: String| format!("{}/any(x:{what})", column.odata_path());
    let equal = |literal: &Literal| Pushed::exact(any(format!("x eq {}", literal.odata())));
    let positive = match &condition.test {
        Test::Compare(Comparison::Equal, literal) if can(FilterOps::EQ) => equal(literal),
        Test::OneOf(values) if can(FilterOps::EQ) && (1..=MOST_ALTERNATIVES).contains(&values.len()) => {
            Pushed::join(&values.iter().map(equal).collect::<Vec<_>>(), Joined::Or)
        }
        Test::Like(Like::StartsWith(text)) if can(FilterOps::STARTS) => {
            Pushed::exact(any(format!("startswith(x,{})", quoted(text)))).advanced()
        }
        _ => return None,
    };
    match condition.negated {
        false => Some(positive),
        // Only the directory documents `not` before a lambda.
        true if home == Home::Directory && can(FilterOps::NOT) => Some(positive.not()),
        true => None,
    }
}
