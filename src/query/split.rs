//! Splits checked conditions between the service and the agent. Pure. An `or` goes to the service only if all its
//! branches can; of an `and` goes what can, and the agent evaluates the rest on the rows that come.

use percent_encoding::utf8_percent_encode;

use super::condition::{Checked, Test};
use super::literal::Literal;
use super::odata::{Joined, MOST_ALTERNATIVES, Pushed, push};
use super::plan::QUERY;
use super::tree::Tree;
use crate::catalog::{Home, TextComparison};

/// The longest `$filter` sent, percent-encoded. Front doors and proxies take URLs of some 8 KiB, paths and `$select`
/// included; Outlook's own bound is not documented.
const LONGEST_FILTER: usize = 3072;

/// The conditions of one query, split.
#[derive(Clone, Debug, Default)]
pub(super) struct Split {
    /// What goes to the service, all of which must hold.
    pub(super) filters: Vec<Filter>,
    /// What the agent evaluates, all of which must hold.
    pub(super) residual: Vec<Tree>,
    /// A list too long for one request: each of these filters, with the others, is a request of its own, and no row
    /// satisfies two of them.
    pub(super) chunks: Vec<Filter>,
}

/// One conjunct of `$filter`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Filter {
    /// The only column it is about; empty when there are several.
    pub(super) column: String,
    /// The conjunct.
    pub(super) pushed: Pushed,
}

/// Splits `conjuncts`, all of which must hold.
pub(super) fn split(conjuncts: Vec<Tree>, home: Home) -> Split {
    let mut split = Split::default();
    let mut length = 0;
    for tree in conjuncts {
        if split.chunks.is_empty()
            && let Some(mut chunks) = chunks(&tree, home)
        {
            length += chunks.iter().map(Filter::length).max().unwrap_or(0);
            if chunks.iter().any(|chunk| !chunk.pushed.exact) {
                split.residual.push(tree);
            }
            match chunks.len() {
                // The values were the same ones over and over.
                1 => split.filters.append(&mut chunks),
                _ => split.chunks = chunks,
            }
            continue;
        }
        let filter = conjunct(&tree, home).filter(|filter| length + filter.length() <= LONGEST_FILTER);
        if let Some(filter) = &filter {
            length += filter.length();
        }
        if filter.as_ref().is_none_or(|filter| !filter.pushed.exact) {
            split.residual.push(tree);
        }
        split.filters.extend(filter);
    }
    split
}

impl Filter {
    fn length(&self) -> usize {
        " and ()".len() * 3 + utf8_percent_encode(&self.pushed.filter, QUERY).map(str::len).sum::<usize>()
    }
}

/// What of `tree` goes to the service.
fn conjunct(tree: &Tree, home: Home) -> Option<Filter> {
    let pushed = push_tree(tree, home)?;
    let leaves = tree.leaves();
    let one = leaves.windows(2).all(|pair| pair[0].column.name == pair[1].column.name);
    let column = leaves.first().filter(|_| one).map(|leaf| leaf.column.name.clone()).unwrap_or_default();
    Some(Filter { column, pushed })
}

fn push_tree(tree: &Tree, home: Home) -> Option<Pushed> {
    match tree {
        Tree::Is(condition) => push(condition, home),
        Tree::Any(members) => {
            let parts = members.iter().map(|member| push_tree(member, home)).collect::<Option<Vec<_>>>()?;
            Some(Pushed::join(&parts, Joined::Or)).filter(|pushed| pushed.terms <= MOST_ALTERNATIVES)
        }
        Tree::All(members) => {
            let parts: Vec<Pushed> = members.iter().filter_map(|member| push_tree(member, home)).collect();
            let exact = parts.len() == members.len();
            let pushed = Pushed::join(&parts, Joined::And);
            (pushed.terms > 0).then_some(Pushed { exact: exact && pushed.exact, ..pushed })
        }
    }
}

/// A list of more values than one request takes, as several lists.
fn chunks(tree: &Tree, home: Home) -> Option<Vec<Filter>> {
    let Tree::Is(Checked { column, negated: false, test: Test::OneOf(values) }) = tree else { return None };
    if values.len() <= MOST_ALTERNATIVES {
        return None;
    }
    // A row that fulfils two of the lists would come twice: of a collection, several members can be wanted, and a local
    // time is asked for no closer than a day.
    if column.members.is_some() || column.zone.is_some() {
        return None;
    }
    let key = |value: &Literal| match value {
        Literal::Text(text) => column.text.key(text).into_owned(),
        other => other.odata(),
    };
    let folded = |value: &&Literal| value.odata().to_lowercase();
    let mut seen = std::collections::HashSet::new();
    let mut values: Vec<&Literal> = values.iter().filter(|value| seen.insert(key(value))).collect();
    if column.text == TextComparison::Exact {
        // Identifiers that differ by case stay in one list, because the service may take them for the same.
        values.sort_by_cached_key(folded);
    }
    let chunk = |values: &[&Literal]| {
        let values = values.iter().map(|value| (*value).clone()).collect();
        conjunct(
            &Tree::Is(Checked { column: column.clone(), negated: false, test: Test::OneOf(values) }),
            home,
        )
    };
    let most = values.iter().filter_map(|value| chunk(&[value])).map(|filter| filter.length()).max()?;
    let size = (LONGEST_FILTER * 2 / 3 / most.max(1)).clamp(1, MOST_ALTERNATIVES);
    let (mut filters, mut list) = (Vec::new(), Vec::new());
    for same in values.chunk_by(|one, other| folded(one) == folded(other)) {
        if !list.is_empty() && list.len() + same.len() > size {
            filters.push(chunk(&std::mem::take(&mut list))?);
        }
        list.extend(same);
    }
    filters.push(chunk(&list)?);
    let sure = |filter: &Filter| filter.pushed.exact || column.text == TextComparison::Exact;
    filters.iter().all(|filter| sure(filter) && filter.length() <= LONGEST_FILTER).then_some(filters)
}

#[cfg(test)]
#[path = "split_tests.rs"]
mod tests;
