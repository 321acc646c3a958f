//! What only the rows can tell about an answer: that nobody has a property of a name that was asked for, and that a row's
//! list of related records was cut by the service. Pure; never changes a row.

use super::members::any_member;
use super::plan::Slots;
use crate::catalog::{Column, ColumnKind, ColumnSource, Home};

/// The most related records that the directory puts into a row, without a link to the others (Graph, "Use the $expand
/// query parameter", on objects that derive from directoryObject).
const MOST_EXPANDED: usize = 20;

/// A column whose cells are looked at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Watched {
    name: String,
    slot: usize,
    what: Watch,
    /// Whether a condition that the agent evaluates is on it.
    compared: bool,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Watch {
    /// Whether any row has it.
    Untyped,
    /// Whether all of it is there: the slot of the link to the rest, and the most records without a link.
    Related { link: usize, most: Option<usize> },
}

/// Which of `compared`, on which the agent evaluates conditions, and of `others` are looked at.
pub(super) fn watched<'a>(
    compared: impl Iterator<Item = &'a Column>,
    others: impl Iterator<Item = &'a Column>,
    slots: &mut Slots,
    home: Home,
) -> Vec<Watched> {
    let mut found: Vec<Watched> = Vec::new();
    let all = compared.map(|column| (column, true)).chain(others.map(|column| (column, false)));
    for (column, compared) in all {
        let first = column.path.first().map_or("", String::as_str);
        let what = match (column.source, column.path.len(), column.members) {
            (ColumnSource::Related, 1, Some(_)) => Watch::Related {
                link: slots.of(&[format!("{first}@odata.nextLink")]),
                most: (home == Home::Directory).then_some(MOST_EXPANDED),
            },
            _ if column.kind == ColumnKind::Any && !first.starts_with('@') => Watch::Untyped,
            _ => continue,
        };
        if !found.iter().any(|known| known.name == column.name) {
            let slot = slots.of_column(column);
            found.push(Watched { name: column.name.clone(), slot, what, compared });
        }
    }
    found
}

/// What the rows so far have shown.
#[derive(Debug)]
pub(super) struct Findings {
    /// Each with how many rows had it, or had it cut.
    columns: Vec<(Watched, u64)>,
    rows: u64,
}

impl Findings {
    pub(super) fn new(watched: Vec<Watched>) -> Self {
        Self { columns: watched.into_iter().map(|column| (column, 0)).collect(), rows: 0 }
    }

    /// Looks at the cells of one row.
    pub(super) fn look(&mut self, cells: &[Option<&[u8]>]) {
        self.rows += 1;
        let there = |slot: usize| cells.get(slot).copied().flatten();
        for (column, count) in &mut self.columns {
            let counts = match column.what {
                Watch::Untyped => there(column.slot).is_some(),
                Watch::Related { link, most } => {
                    let linked = there(link).is_some_and(|link| link != b"null");
                    linked
                        || most.is_some_and(|most| there(column.slot).is_some_and(|cell| holds(cell, most)))
                }
            };
            *count += u64::from(counts);
        }
    }

    /// The sentence about names that no row had.
    pub(super) fn note(&self) -> Option<String> {
        let unseen = |(column, count): &&(Watched, u64)| column.what == Watch::Untyped && *count == 0;
        let names: Vec<String> = self
            .columns
            .iter()
            .filter(unseen)
            .filter(|_| self.rows > 0)
            .map(|(column, _)| format!("'{}'", crate::error::clean_foreign_text(&column.name)))
            .collect();
        (!names.is_empty()).then(|| {
            format!(
                "No row that Microsoft Graph answered has a property called {}, so it is null everywhere and conditions on \
                 it compare with nothing. Check the name, its capitals too.",
                names.join(" or ")
            )
        })
    }

    /// A column of a condition, when no row has its name, so that the condition chose nothing: each row fulfils it or none.
    pub(super) fn compared_with_nothing(&self) -> Option<&str> {
        let unseen = |(column, count): &&(Watched, u64)| {
            column.compared && column.what == Watch::Untyped && *count == 0
        };
        self.columns.iter().find(unseen).filter(|_| self.rows > 0).map(|(column, _)| column.name.as_str())
    }

    /// Why the rows are not all there is.
    pub(super) fn reason(&self) -> Option<String> {
        let cut = |(column, count): &&(Watched, u64)| column.what != Watch::Untyped && *count > 0;
        let (column, count) = self.columns.iter().find(cut)?;
        let name = &column.name;
        Some(format!(
            "In {count} rows '{name}' has more records than Microsoft Graph puts into a row, or as many as it puts there at \
             most, so some may be missing. Query the path of the row that ends in /{name} for all of them."
        ))
    }
}

/// Whether a JSON array has at least `most` members.
fn holds(cell: &[u8], most: usize) -> bool {
    let mut members = 0;
    cell.first() == Some(&b'[')
        && any_member(cell, &mut |_| {
            members += 1;
            members >= most
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn findings(what: Watch) -> Findings {
        Findings::new(vec![Watched { name: "members".to_owned(), slot: 0, what, compared: true }])
    }

    #[test]
    fn a_list_that_was_cut_is_found_by_its_link_or_its_length() {
        let list = |members: usize| format!("[{}]", vec!["{}"; members].join(","));
        let (nineteen, twenty) = (list(19), list(20));
        for (cells, most, cut) in [
            ([Some(nineteen.as_bytes()), None], Some(20), false),
            ([Some(twenty.as_bytes()), None], Some(20), true),
            ([Some(twenty.as_bytes()), None], None, false),
            ([Some(nineteen.as_bytes()), Some(b"\"https://graph.test/x\"".as_slice())], None, true),
            ([None, Some(b"null".as_slice())], Some(20), false),
        ] {
            let mut findings = findings(Watch::Related { link: 1, most });
            findings.look(&cells);
            assert_eq!(findings.reason().is_some(), cut, "{cells:?}");
            assert_eq!(findings.note(), None);
        }
    }

    #[test]
    fn a_name_that_no_row_has_is_said() {
        let mut findings = findings(Watch::Untyped);
        assert_eq!(findings.note(), None, "no rows say nothing");
        findings.look(&[None]);
        assert!(findings.note().is_some_and(|note| note.contains("'members'")));
        assert_eq!(findings.compared_with_nothing(), Some("members"));
        findings.look(&[Some(b"null")]);
        assert_eq!(findings.compared_with_nothing(), None);
        assert_eq!((findings.note(), findings.reason()), (None, None), "a null that came is a value");
    }
}
