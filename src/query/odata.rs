//! One checked condition as `$filter` text, as far as the service can evaluate it. Pure. A condition that the service
//! knows only roughly is sent roughly and left with the agent too, so that fewer rows travel and none is wrong. What is
//! sent always holds of every wanted row; where that is not sure, nothing is sent.

use std::time::Duration;

use super::condition::{Checked, Comparison, Test};
use super::lambda;
use super::like::Like;
use super::literal::{Literal, quoted};
use super::moment::Moment;
use crate::catalog::{Column, FilterOps, Home, TextComparison, is_uuid};

/// The longest `or` chain and the most values of `in (…)` sent: directory objects take fifteen, and Outlook's front
/// doors cut long URLs.
pub(super) const MOST_ALTERNATIVES: usize = 15;

/// Columns of Outlook that every row has, so that the opposite of a comparison needs no second look for rows without a
/// value, and "not before 1900" leaves no row out.
pub(super) const ALWAYS_PRESENT: [&str; 3] = ["receivedDateTime", "createdDateTime", "lastModifiedDateTime"];

/// How the parts of a filter's text are joined, to know where it needs parentheses.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Joined {
    /// One term.
    #[default]
    One,
    /// Terms joined by `and`.
    And,
    /// Terms joined by `or`.
    Or,
}

/// What goes to the service.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Pushed {
    /// Text for `$filter`, not yet percent-encoded.
    pub(super) filter: String,
    /// How it is joined.
    pub(super) joined: Joined,
    /// How many terms it has.
    pub(super) terms: usize,
    /// Whether exactly the wanted rows satisfy it; otherwise the agent must evaluate the condition as well.
    pub(super) exact: bool,
    /// Whether a directory object needs an advanced query for it.
    pub(super) advanced: bool,
}

impl Pushed {
    pub(super) fn exact(filter: String) -> Self {
        Self { filter, terms: 1, exact: true, ..Self::default() }
    }

    fn rough(filter: String) -> Self {
        Self { exact: false, ..Self::exact(filter) }
    }

    pub(super) fn advanced(mut self) -> Self {
        self.advanced = true;
        self
    }

    /// Its opposite, which a directory object needs an advanced query for.
    pub(super) fn not(self) -> Self {
        Self { filter: format!("not({})", self.filter), joined: Joined::One, ..self }.advanced()
    }

    /// Several joined by `word`.
    pub(super) fn join(parts: &[Self], joined: Joined) -> Self {
        let word = if joined == Joined::Or { " or " } else { " and " };
        let terms = parts.iter().map(|part| part.terms).sum();
        let (exact, advanced) = (parts.iter().all(|part| part.exact), parts.iter().any(|part| part.advanced));
        let joined =
            if parts.len() > 1 { joined } else { parts.first().map_or(Joined::One, |part| part.joined) };
        let texts: Vec<String> = parts.iter().map(|part| part.inside(joined)).collect();
        Self { filter: texts.join(word), joined, terms, exact, advanced }
    }

    /// Its text as a part of something joined by `outer`.
    pub(super) fn inside(&self, outer: Joined) -> String {
        if self.joined == Joined::One || self.joined == outer {
            self.filter.clone()
        } else {
            format!("({})", self.filter)
        }
    }
}

/// What of `condition` goes to the service; `None`: nothing.
pub(super) fn push(condition: &Checked, home: Home) -> Option<Pushed> {
    let column = &condition.column;
    let pushed = match (&column.members, &column.zone) {
        (Some(_), _) if condition.test == Test::IsNull => return None,
        (Some(_), _) => lambda::push(condition, home)?,
        (None, Some(_)) => return local_time(condition),
        (None, None) => plain(condition, home)?,
    };
    if column.text == TextComparison::CaseInsensitive || !case_matters(&condition.test) {
        return Some(pushed);
    }
    // Whether a service folds the case of identifiers is not documented: what equals one exactly is among what it answers
    // either way, and what differs from one, or comes after it, may not be.
    let sure = !condition.negated
        && matches!(condition.test, Test::Compare(Comparison::Equal, _) | Test::OneOf(_) | Test::Like(_));
    sure.then_some(Pushed { exact: false, ..pushed })
}

/// Whether a service that folds case may answer otherwise than one that does not. The digits of a UUID have no case.
fn case_matters(test: &Test) -> bool {
    let text = |literal: &Literal| matches!(literal, Literal::Text(text) if !is_uuid(text));
    match test {
        Test::IsNull => false,
        Test::Compare(Comparison::Equal, literal) => text(literal),
        Test::Compare(_, literal) => matches!(literal, Literal::Text(_)),
        Test::OneOf(values) => values.iter().any(text),
        Test::Like(_) => true,
    }
}

/// Longer than any zone is away from UTC.
const A_DAY: Duration = Duration::from_secs(86_400);

/// A local time goes as a text in UTC, the zone in which Outlook keeps it, but to no closer than a day: whether a service
/// compares it there or in another zone is not documented, and the agent compares moments anyway.
fn local_time(condition: &Checked) -> Option<Pushed> {
    let column = &condition.column;
    let from = |moment: &Moment| {
        let text = format!("{} ge '{}'", column.odata_path(), moment.before(A_DAY).whole_second());
        column.filter.has(FilterOps::GE).then(|| Pushed::rough(text))
    };
    let until = |moment: &Moment| {
        // Nothing is later than the last moment.
        let last = Some(moment.after(A_DAY)).filter(|last| *last < Moment::MAX)?;
        let text = format!("{} le '{}'", column.odata_path(), last.whole_second());
        column.filter.has(FilterOps::LE).then(|| Pushed::rough(text))
    };
    let moments: Vec<Moment> = match &condition.test {
        Test::Compare(_, Literal::Moment(moment)) => vec![*moment],
        Test::OneOf(values) => values
            .iter()
            .filter_map(|value| if let Literal::Moment(moment) = value { Some(*moment) } else { None })
            .collect(),
        _ => return None,
    };
    let (first, last) = (moments.iter().min()?, moments.iter().max()?);
    match &condition.test {
        // A row without a value fulfils every opposite, and the service cannot be asked for it.
        _ if condition.negated => None,
        Test::Compare(Comparison::Greater | Comparison::GreaterOrEqual, _) => from(first),
        Test::Compare(Comparison::Less | Comparison::LessOrEqual, _) => until(last),
        _ => Some(Pushed::join(&[from(first)?, until(last)?], Joined::And)),
    }
}

/// A condition on one text, number, moment or truth value.
fn plain(condition: &Checked, home: Home) -> Option<Pushed> {
    let column = &condition.column;
    let path = column.odata_path();
    let can = |operators| column.filter.has(operators);
    match (&condition.test, condition.negated) {
        (Test::IsNull, false) => {
            can(FilterOps::NULL).then(|| Pushed::exact(format!("{path} eq null")).advanced())
        }
        (Test::IsNull, true) => can(FilterOps::NULL.and(FilterOps::NE))
            .then(|| Pushed::exact(format!("{path} ne null")).advanced()),
        (Test::Compare(comparison, literal), false) => compare(&path, column, *comparison, literal),
        (Test::Compare(Comparison::Equal, literal), true) => {
            can(FilterOps::NE).then(|| Pushed::exact(format!("{path} ne {}", literal.odata())).advanced())
        }
        (Test::Compare(comparison, literal), true) => {
            let able = match comparison {
                Comparison::Greater => FilterOps::LE,
                Comparison::Less => FilterOps::GE,
                _ => FilterOps::GT_LT,
            };
            let text = format!("{path} {} {}", comparison.opposite(), literal.odata());
            can(able).then(|| or_null(column, Pushed::exact(text))).flatten()
        }
        (Test::OneOf(values), negated) => one_of(&path, column, values, home, negated),
        (Test::Like(pattern), false) => like(&path, column, pattern),
        (Test::Like(pattern), true) if can(FilterOps::NOT) => {
            let positive = like(&path, column, pattern).filter(|pushed| pushed.exact)?;
            or_null(column, positive.not())
        }
        (Test::Like(_), true) => None,
    }
}

/// Of a cell without value every opposite holds, which OData says of `ne` only: so `null` is asked for as well.
fn or_null(column: &Column, pushed: Pushed) -> Option<Pushed> {
    if ALWAYS_PRESENT.contains(&column.name.as_str()) {
        return Some(pushed);
    }
    if !column.filter.has(FilterOps::NULL) {
        return None;
    }
    let null = Pushed::exact(format!("{} eq null", column.odata_path())).advanced();
    Some(Pushed::join(&[pushed, null], Joined::Or))
}

fn compare(path: &str, column: &Column, comparison: Comparison, literal: &Literal) -> Option<Pushed> {
    let can = |operators| column.filter.has(operators);
    let text = |operator: &str| format!("{path} {operator} {}", literal.odata());
    let exact = || Some(Pushed::exact(text(comparison.odata())));
    match comparison {
        Comparison::Equal if can(FilterOps::EQ) => exact(),
        Comparison::GreaterOrEqual if can(FilterOps::GE) => exact(),
        Comparison::LessOrEqual if can(FilterOps::LE) => exact(),
        Comparison::Greater | Comparison::Less if can(FilterOps::GT_LT) => exact(),
        Comparison::Greater if can(FilterOps::GE) => Some(Pushed::rough(text("ge"))),
        Comparison::Less if can(FilterOps::LE) => Some(Pushed::rough(text("le"))),
        _ => None,
    }
}

/// Directory objects know `in`; Outlook knows `or` only.
fn one_of(path: &str, column: &Column, values: &[Literal], home: Home, negated: bool) -> Option<Pushed> {
    if values.is_empty() || values.len() > MOST_ALTERNATIVES {
        return None;
    }
    if home == Home::Directory && column.filter.has(FilterOps::IN) && values.len() > 1 && !negated {
        let list: Vec<String> = values.iter().map(Literal::odata).collect();
        return Some(Pushed::exact(format!("{path} in ({})", list.join(","))));
    }
    let (able, operator, joined) = match negated {
        false => (FilterOps::EQ, "eq", Joined::Or),
        true => (FilterOps::NE, "ne", Joined::And),
    };
    let term = |value: &Literal| {
        let pushed = Pushed::exact(format!("{path} {operator} {}", value.odata()));
        if negated { pushed.advanced() } else { pushed }
    };
    column.filter.has(able).then(|| Pushed::join(&values.iter().map(term).collect::<Vec<_>>(), joined))
}

fn like(path: &str, column: &Column, pattern: &Like) -> Option<Pushed> {
    let can = |operators| column.filter.has(operators);
    let call = |function: &str, text: &str| format!("{function}({path},{})", quoted(text));
    match pattern {
        Like::StartsWith(text) if can(FilterOps::STARTS) => Some(Pushed::exact(call("startswith", text))),
        Like::EndsWith(text) if can(FilterOps::ENDS) => {
            Some(Pushed::exact(call("endswith", text)).advanced())
        }
        Like::Contains(text) if can(FilterOps::CONTAINS) => Some(Pushed::exact(call("contains", text))),
        Like::General { prefix, .. } if !prefix.is_empty() && can(FilterOps::STARTS) => {
            Some(Pushed::rough(call("startswith", prefix)))
        }
        _ => None,
    }
}
