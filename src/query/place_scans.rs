//! The scans that the places of a query come to: one for each user, folder, record and piece of a long list, bounded in
//! number. Pure.

use super::error::QueryError;
use super::places::{Places, Users};
use super::plan::{Refused, Scan};
use super::scan::Maker;
use super::split::{Filter, Split};
use crate::catalog::{NotLocated, Object, Owner};
use crate::connection::Connection;

/// The most requests that a query begins with; next pages come on top.
const MOST_SCANS: usize = 5000;

/// Whose mailboxes are read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Owners {
    /// These; `None` is nobody's in particular, because the object is nobody's or nobody says whose.
    These(Vec<Option<Owner>>),
    /// Everybody's.
    Everybody,
}

/// The conditions' users, the connection's, else the signed-in one.
pub(super) fn owners(
    object: &Object,
    places: &Places,
    connection: &Connection,
    user_id: Option<&str>,
) -> Result<Owners, QueryError> {
    let default = user_id.map(|user| Owner::User(user.to_owned()));
    let default = default.or_else(|| connection.is_delegated().then_some(Owner::Me));
    match &places.users {
        _ if !object.has_owner() => Ok(Owners::These(vec![default])),
        Users::Named(users) => Ok(Owners::These(users.iter().cloned().map(Owner::User).map(Some).collect())),
        Users::Default
            if default.is_none()
                && object.walks_users()
                && places.given.is_empty()
                && places.ids.is_none() =>
        {
            Ok(Owners::Everybody)
        }
        Users::Default => Ok(Owners::These(vec![default])),
        Users::Everybody if places.ids.is_some() => Err(QueryError::field(
            "bad_request",
            "UserId",
            "A record is read from one mailbox. Name the user instead of '*', or leave the condition on 'id' out.",
        )),
        Users::Everybody => Ok(Owners::Everybody),
    }
}

pub(super) fn not_located(error: NotLocated, object: &Object, connection: &Connection) -> QueryError {
    match error {
        NotLocated::OwnerNeeded => QueryError::field(
            "user_id_required",
            "UserId",
            format!(
                "The connection '{}' acts as an application, which has no mailbox of its own, so {} need a user. Add the \
                 condition {{\"field\":\"UserId\",\"operator\":\"=\",\"value\":\"adele@contoso.com\"}} (or \"*\" for every \
                 mailbox), or set UserId on the connection.",
                connection.name,
                object.name()
            ),
        ),
        NotLocated::Wrong { field, error } => QueryError::field("missing_condition", &field, error.message),
    }
}

/// How many scans the query begins with.
pub(super) fn count(
    object: &Object,
    places: &Places,
    owners: &Owners,
    split: &Split,
) -> Result<usize, QueryError> {
    let users = match owners {
        Owners::These(owners) => owners.len(),
        Owners::Everybody => 1,
    };
    let places = places
        .given
        .iter()
        .map(|(_, values)| values.len())
        .chain(places.ids.as_ref().map(Vec::len))
        .chain([users, split.chunks.len().max(1)])
        .fold(1, usize::saturating_mul);
    if places <= MOST_SCANS {
        return Ok(places);
    }
    let message = format!(
        "This query of {} would begin with {places} requests; {MOST_SCANS} are the most. Ask for fewer users, folders, \
         records or values a query.",
        object.name()
    );
    Err(QueryError::request("bad_request", message))
}

/// One scan for each owner, place, record and piece of a long list, with the place columns that its path holds.
pub(super) fn scans(
    maker: &Maker,
    places: &Places,
    owners: &Owners,
    chunks: &[Filter],
) -> Result<Vec<(Scan, Vec<&'static str>)>, NotLocated> {
    let mut givens: Vec<Vec<(&'static str, String)>> = vec![Vec::new()];
    for (column, values) in &places.given {
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
    let records: Vec<Option<&str>> = match &places.ids {
        None => vec![None],
        Some(ids) => ids.iter().map(|id| Some(id.as_str())).collect(),
    };
    let mut scans = Vec::new();
    for chunk in chunks {
        for given in &givens {
            let mut maker = Maker { given: given.clone(), ..maker.clone() };
            maker.options.filters.extend(chunk.cloned());
            let Owners::These(owners) = owners else {
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

/// Refuses a condition on a place that the path does not hold: two of them exclude each other.
pub(super) fn refuse_unused(
    object: &Object,
    places: &Places,
    used: &[&'static str],
) -> Result<(), QueryError> {
    let unused = places.given.iter().map(|(column, _)| *column).find(|column| !used.contains(column));
    let Some(unused) = unused.filter(|_| places.ids.is_none()) else { return Ok(()) };
    let message = format!(
        "'{}' and '{unused}' both choose where {} are read from. Give one of them.",
        used.first().copied().unwrap_or("UserId"),
        object.name()
    );
    Err(QueryError::field("bad_request", unused, message))
}
