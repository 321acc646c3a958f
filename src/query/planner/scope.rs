//! Which route the rows of a query are read by, and what becomes of each predicate then: the path holds it, it is compared
//! with rows, or the query is refused. Every predicate is moved into exactly one of these, so none is left over. Pure.

use super::Caller;
use super::predicates::{OnRows, Predicate, Predicates, Users};
use crate::catalog::{NotLocated, Object, Owner, Route, RouteUse};
use crate::connection::Connection;
use crate::query::error::QueryError;
use crate::query::tree::Tree;

/// Where the rows of one query are read from.
#[derive(Clone, Debug)]
pub(super) struct Scope {
    pub(super) route: Route,
    pub(super) owners: Owners,
    /// The values of the route's columns.
    pub(super) places: Vec<(&'static str, Vec<String>)>,
    /// The records, with a route to single ones.
    pub(super) ids: Option<Vec<String>>,
}

/// Whose rows are read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Owners {
    /// These; `None` where the route has no owner, or nobody says whose.
    These(Vec<Option<Owner>>),
    /// Everybody's, because a condition says so.
    Everybody,
    /// Everybody's, because an application that names no user means all of them.
    EverybodyByDefault,
}

impl Owners {
    pub(super) fn is_everybody(&self) -> bool {
        !matches!(self, Self::These(_))
    }
}

/// What became of the predicates with one route.
struct Consumed {
    users: Option<Users>,
    places: Vec<(&'static str, Vec<String>)>,
    ids: Option<Vec<String>>,
    rows: Vec<Tree>,
}

/// Why a route does not do.
enum Unfit {
    /// It needs what is not given.
    Incomplete,
    /// It neither holds this predicate, nor can rows be compared with it.
    Unused(QueryError),
}

/// Chooses the route and consumes the predicates: answers the scope and what must hold of its rows.
///
/// # Errors
/// A sentence naming the predicate that no route of the others uses, or the place that is missing.
pub(super) fn scope(
    object: &Object,
    predicates: Predicates,
    caller: &Caller<'_>,
) -> Result<(Scope, Vec<Tree>), QueryError> {
    let by_id = predicates.has_ids();
    let predicates = predicates.list;
    let mut ways = object.ways(RouteUse::List);
    // The narrower, the fewer rows travel; of two as narrow, the one that is declared later.
    ways.reverse();
    ways.sort_by_key(|route| (std::cmp::Reverse(route.columns().count()), route.has_owner()));
    if by_id {
        let mut records = object.ways(RouteUse::Record);
        records.sort_by_key(|route| std::cmp::Reverse(route.columns().count()));
        ways.splice(0..0, records);
    }
    let mut refusal = None;
    for route in ways {
        match consume(object, predicates.clone(), route) {
            Ok(consumed) => {
                let Consumed { users, places, ids, rows } = consumed;
                let owners = owners(object, route, users, ids.is_some(), caller)?;
                refuse_default_place(object, route, &rows)?;
                return Ok((Scope { route, owners, places, ids }, rows));
            }
            Err(Unfit::Unused(error)) if route.wanted == RouteUse::List => {
                refusal.get_or_insert(error);
            }
            Err(Unfit::Unused(_) | Unfit::Incomplete) => {}
        }
    }
    let given: Vec<(&'static str, String)> = predicates
        .iter()
        .filter_map(|predicate| match predicate {
            Predicate::Place { column, .. } => Some((*column, String::new())),
            _ => None,
        })
        .collect();
    let missing =
        object.has_enough_places(&given).map_err(|error| not_located(error, object, caller.connection));
    Err(missing.err().or(refusal).unwrap_or_else(|| {
        let message = format!("The conditions choose no place that {} can be read from.", object.name());
        QueryError::request("bad_request", message)
    }))
}

/// Moves each predicate into the path of `route` or to the rows.
fn consume(object: &Object, predicates: Vec<Predicate>, route: Route) -> Result<Consumed, Unfit> {
    let in_path: Vec<bool> =
        (0..predicates.len()).map(|index| holder(&predicates, index, route) == Some(index)).collect();
    let mut consumed = Consumed { users: None, places: Vec::new(), ids: None, rows: Vec::new() };
    for (predicate, in_path) in predicates.into_iter().zip(in_path) {
        match (predicate, in_path) {
            (Predicate::Owner(users), true) => consumed.users = Some(users),
            (Predicate::Place { column, values, .. }, true) => consumed.places.push((column, values)),
            (Predicate::Ids { values, .. }, true) => consumed.ids = Some(values),
            (Predicate::Rows(tree), _) => consumed.rows.push(tree),
            (Predicate::Owner(_), false) => return Err(Unfit::Unused(both_choose(object, route, "UserId"))),
            (Predicate::Place { column, on_rows, .. }, false) => {
                consumed.rows.push(means(object, route, column, on_rows)?);
            }
            (Predicate::Ids { on_rows, .. }, false) => {
                consumed.rows.push(means(object, route, "id", on_rows)?);
            }
        }
    }
    let has = |column| consumed.places.iter().any(|(known, _)| *known == column);
    let complete = route.columns().all(has) && (route.wanted != RouteUse::Record || consumed.ids.is_some());
    if complete { Ok(consumed) } else { Err(Unfit::Incomplete) }
}

/// Which of `predicates` the path of `route` holds where it could hold the one at `index`. Of two for the same
/// placeholder it is the one that cannot be compared with rows.
fn holder(predicates: &[Predicate], index: usize, route: Route) -> Option<usize> {
    let same = |other: &Predicate| match (&predicates[index], other) {
        (Predicate::Owner(_), Predicate::Owner(_)) => route.has_owner(),
        (Predicate::Ids { .. }, Predicate::Ids { .. }) => route.wanted == RouteUse::Record,
        (Predicate::Place { column, .. }, Predicate::Place { column: other, .. }) => {
            column == other && route.uses(column)
        }
        _ => false,
    };
    let bound_to_path = |predicate: &Predicate| match predicate {
        Predicate::Place { on_rows, .. } | Predicate::Ids { on_rows, .. } => {
            !matches!(on_rows, OnRows::Means(_))
        }
        Predicate::Owner(_) | Predicate::Rows(_) => false,
    };
    let first = predicates.iter().position(|other| same(other) && bound_to_path(other));
    first.or_else(|| predicates.iter().position(same))
}

/// Refuses to compare rows by the place where the service shows the default place alone: "not in that folder" would be a
/// part of the rows that are meant.
fn refuse_default_place(object: &Object, route: Route, rows: &[Tree]) -> Result<(), QueryError> {
    let Some(place) = object.default_place(route) else { return Ok(()) };
    let compared =
        |tree: &Tree| tree.leaves().iter().any(|condition| condition.column.name.eq_ignore_ascii_case(place));
    if !rows.iter().any(compared) {
        return Ok(());
    }
    let message = format!(
        "Without '=' or 'in' on '{place}' Microsoft Graph shows the default place of {} alone, so '{place}' stands with '=' \
         or 'in' among the conditions that must all hold, not inside 'or' or 'not'.",
        object.name()
    );
    Err(QueryError::field("bad_operator", place, message))
}

fn means(object: &Object, route: Route, column: &str, on_rows: OnRows) -> Result<Tree, Unfit> {
    match on_rows {
        OnRows::Means(tree) => Ok(tree),
        OnRows::IsName(refusal) => Err(Unfit::Unused(refusal)),
        OnRows::NotCarried => Err(Unfit::Unused(both_choose(object, route, column))),
    }
}

fn both_choose(object: &Object, route: Route, unused: &str) -> QueryError {
    let message = format!(
        "'{}' and '{unused}' both choose where {} are read from. Give one of them.",
        route.columns().next().unwrap_or("UserId"),
        object.name()
    );
    QueryError::field("bad_request", unused, message)
}

/// The conditions' users, the connection's, else the signed-in one; nobody where the route has no owner.
fn owners(
    object: &Object,
    route: Route,
    users: Option<Users>,
    by_id: bool,
    caller: &Caller<'_>,
) -> Result<Owners, QueryError> {
    if !route.has_owner() {
        return Ok(Owners::These(vec![None]));
    }
    let default = caller.user_id.map(|user| Owner::User(user.to_owned()));
    let default = default.or_else(|| caller.connection.is_delegated().then_some(Owner::Me));
    match users {
        Some(Users::Named(users)) => {
            Ok(Owners::These(users.into_iter().map(Owner::User).map(Some).collect()))
        }
        Some(Users::Everybody) if by_id => Err(QueryError::field(
            "bad_request",
            "UserId",
            "A record is read from one mailbox. Name the user instead of '*', or leave the condition on 'id' out.",
        )),
        Some(Users::Everybody) => Ok(Owners::Everybody),
        None if default.is_none() && object.walks_users() => Ok(Owners::EverybodyByDefault),
        None => Ok(Owners::These(vec![default])),
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
