//! The scans of a scope: one for each user, place, record and piece of a long list, bounded in number. Pure.

use super::scope::{Owners, Scope};
use crate::catalog::{NotLocated, Object, Owner};
use crate::query::error::QueryError;
use crate::query::plan::{Refused, Scan};
use crate::query::scan::Maker;
use crate::query::split::{Filter, Split};

/// The most requests that a query begins with; next pages come on top.
const MOST_SCANS: usize = 5000;

/// How many scans the query begins with.
///
/// # Errors
/// A sentence, when they are too many.
pub(super) fn count(object: &Object, scope: &Scope, split: &Split) -> Result<usize, QueryError> {
    let users = match &scope.owners {
        Owners::These(owners) => owners.len(),
        Owners::Everybody | Owners::EverybodyByDefault => 1,
    };
    let scans = scope
        .places
        .iter()
        .map(|(_, values)| values.len())
        .chain(scope.ids.as_ref().map(Vec::len))
        .chain([users, split.chunks.len().max(1)])
        .fold(1, usize::saturating_mul);
    if scans <= MOST_SCANS {
        return Ok(scans);
    }
    let message = format!(
        "This query of {} would begin with {scans} requests; {MOST_SCANS} are the most. Ask for fewer users, folders, \
         records or values a query.",
        object.name()
    );
    Err(QueryError::request("bad_request", message))
}

/// One scan for each owner, place, record and piece of a long list.
///
/// # Errors
/// [`NotLocated`], when nobody says whose rows they are.
pub(super) fn scans(maker: &Maker, scope: &Scope, chunks: &[Filter]) -> Result<Vec<Scan>, NotLocated> {
    let mut givens: Vec<Vec<(&'static str, String)>> = vec![Vec::new()];
    for (column, values) in &scope.places {
        let with = |given: &Vec<(&'static str, String)>, value: &String| {
            let mut given = given.clone();
            given.push((*column, value.clone()));
            given
        };
        givens = values.iter().flat_map(|value| givens.iter().map(move |given| with(given, value))).collect();
    }
    let chunks: Vec<Option<&Filter>> = match chunks {
        [] => vec![None],
        chunks => chunks.iter().map(Some).collect(),
    };
    let records: Vec<Option<&str>> = match &scope.ids {
        None => vec![None],
        Some(ids) => ids.iter().map(|id| Some(id.as_str())).collect(),
    };
    let mut scans = Vec::new();
    for chunk in chunks {
        for given in &givens {
            let mut maker = Maker { given: given.clone(), ..maker.clone() };
            maker.options.filters.extend(chunk.cloned());
            let Owners::These(owners) = &scope.owners else {
                scans.push(maker.every_user()?);
                continue;
            };
            let many_places = owners.len() > 1 || givens.len() > 1;
            for owner in owners {
                for record in &records {
                    let refused = match (record, many_places) {
                        (Some(_), _) => Refused::Fails(maker.object.absent_codes()),
                        (None, false) => Refused::Fails(&[]),
                        (None, true) => {
                            Refused::LeavesOut { place: place_name(owner.as_ref(), given), named: true }
                        }
                    };
                    scans.push(maker.scan(owner.as_ref(), *record, refused)?);
                }
            }
        }
    }
    Ok(scans)
}

fn place_name(owner: Option<&Owner>, given: &[(&'static str, String)]) -> String {
    let values: Vec<&str> = given.iter().map(|(_, value)| value.as_str()).collect();
    match (owner, values.as_slice()) {
        (Some(Owner::User(user)), []) => user.clone(),
        (Some(Owner::User(user)), values) => format!("{} of {user}", values.join("/")),
        (_, []) => "me".to_owned(),
        (_, values) => values.join("/"),
    }
}
