//! From what is wanted to a plan, in phases: the scope (which route, whose, which records), the push-down (what the service
//! filters), the ordering, the paging, the scans. Knows neither HTTP nor JSON. Pure: the same request on the same
//! connection always gives the same plan.

mod ordering;
mod paging;
mod predicates;
mod scans;
mod scope;
mod show;

use std::sync::Arc;

use ordering::{OrderBy, ordering};
use paging::paging;
use predicates::{Predicates, column};
use scans::{count, scans};
use scope::{Scope, not_located, scope};
use show::{evaluated, notes};

use super::error::QueryError;
use super::findings::watched;
use super::plan::{Cell, Plan, Slots, refuse_repeated};
use super::request::{ConditionNode, Order};
use super::residual::Residual;
use super::scan::{Descend, Maker, Options, advanced, select_property};
use super::sort::SortKey;
use super::split::{Filter, Split, split};
use super::tree::Tree;
use crate::catalog::{Column, ColumnSource, Home, Object, Route, RouteUse};
use crate::clock::Timestamp;
use crate::connection::Connection;

/// Which rows of which object, checked against the catalogue.
#[derive(Clone, Debug)]
pub struct ScanRequest {
    object: Arc<Object>,
    /// The columns wanted; `None`: the object's default columns.
    columns: Option<Vec<Column>>,
    predicates: Predicates,
    /// Columns with "largest first".
    order: Vec<(Column, bool)>,
    limit: Option<u64>,
    offset: u64,
}

/// For whom a query is planned.
#[derive(Clone, Copy, Debug)]
pub struct Caller<'caller> {
    /// The connection it runs on.
    pub connection: &'caller Connection,
    /// The connection's `UserId` with its variables replaced.
    pub user_id: Option<&'caller str>,
    /// Bounds the range of a calendar view for which nobody gives one.
    pub now: Timestamp,
}

/// How many rows can come from how many places.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Cardinality {
    /// One record with a path of its own.
    Record,
    /// Several of these, in the order of their ids and places.
    Records,
    /// One collection.
    Collection,
    /// Several collections, side by side.
    Collections,
}

impl ScanRequest {
    /// Binds names to columns and checks the conditions. `fields`: the columns wanted; none: the default columns.
    ///
    /// # Errors
    /// [`QueryError::BadRequest`], naming the field and the remedy.
    pub fn bind(
        object: &Arc<Object>,
        fields: &[String],
        conditions: &[ConditionNode],
        order: &[Order],
    ) -> Result<Self, QueryError> {
        let columns = match fields {
            [] => None,
            fields => {
                let found =
                    fields.iter().map(|field| column(object, field)).collect::<Result<Vec<_>, _>>()?;
                refuse_repeated(&found)?;
                Some(found)
            }
        };
        let order = order.iter().map(|order| ordered(object, order)).collect::<Result<_, _>>()?;
        let predicates = Predicates::bind(object, conditions)?;
        Ok(Self { object: Arc::clone(object), columns, predicates, order, limit: None, offset: 0 })
    }

    /// The same with the most rows wanted and how many to leave out first.
    #[must_use]
    pub fn window(self, limit: Option<u64>, offset: u64) -> Self {
        Self { limit, offset, ..self }
    }

    /// The plan of it.
    ///
    /// # Errors
    /// [`QueryError::BadRequest`], naming the field and the remedy.
    pub fn plan(mut self, caller: &Caller<'_>) -> Result<Plan, QueryError> {
        let Caller { connection, now, .. } = *caller;
        let object = Arc::clone(&self.object);
        refuse_me(&object, connection)?;
        let predicates = std::mem::take(&mut self.predicates);
        let range = predicates.range.clone();
        let (scope, rows) = scope(&object, predicates, caller)?;
        let by_id = scope.route.wanted == RouteUse::Record;
        let (mut notes, mut plain) = (notes(&self, &scope), Vec::new());
        if let Some(bounds) = object.range().filter(|_| !by_id) {
            let (options, note) = range.options(bounds, now)?;
            plain = options;
            notes.push(note);
        }

        let descend = descend(&object, &scope, connection);
        let alone = by_id || object.is_single_by(scope.route);
        // A record comes alone: `$filter` is for collections. Folders that do not fulfil it hold rows that do.
        let mut split = match alone || descend.is_some() {
            true => Split { residual: rows.clone(), ..Split::default() },
            false => split(rows.clone(), object.home()),
        };
        let several = count(&object, &scope, &split)? > 1 || scope.owners.is_everybody() || descend.is_some();
        let cardinality = match (alone, several) {
            (true, false) => Cardinality::Record,
            (true, true) => Cardinality::Records,
            (false, false) => Cardinality::Collection,
            (false, true) => Cardinality::Collections,
        };
        let order_by = ordering(&self, cardinality, &mut split, rows);

        let columns = self.shown_columns();
        let whole_rows = object.has_whole_rows() && columns.is_empty();
        let select =
            if whole_rows { Vec::new() } else { self.select(&columns, &split.residual, order_by, descend) };
        let narrowed = !split.residual.is_empty();
        let paging = paging(&self, connection, cardinality, order_by, narrowed, object.page_for(&select));

        let text = |(column, descending): &(Column, bool)| {
            let path = column.odata_path();
            if *descending { format!("{path} desc") } else { path }
        };
        let order = if order_by.is_pushed() { self.order.iter().map(text).collect() } else { Vec::new() };
        let pushed = |filters: &[Filter]| filters.iter().any(|filter| filter.pushed.advanced);
        let options = Options {
            plain,
            top: paging.top,
            skip: paging.skip,
            advanced: advanced(object.home(), pushed(&split.filters) || pushed(&split.chunks), &order),
            order,
            filters: split.filters.clone(),
            expand: expand(&columns, &split.residual, &self.order),
            select,
        };
        let evaluated = evaluated(&options.filter(), &split, order_by);
        let place_columns: Vec<String> = columns
            .iter()
            .chain(self.order.iter().map(|(column, _)| column))
            .filter(|column| column.source == ColumnSource::Place)
            .map(|column| column.name.clone())
            .collect();
        let merged = self.limit.filter(|_| order_by == OrderBy::Merge);
        let maker = Maker {
            object: Arc::clone(&object),
            route: scope.route,
            options,
            places: place_columns.clone(),
            rows: merged.map(|limit| limit.saturating_add(self.offset)),
            given: Vec::new(),
            descend,
        };
        let scans =
            scans(&maker, &scope, &split.chunks).map_err(|error| not_located(error, &object, connection))?;

        let mut slots = Slots::default();
        let mut cell = |column: &Column| match place_columns.iter().position(|name| *name == column.name) {
            Some(place) if column.source == ColumnSource::Place => Cell::Place(place),
            _ => Cell::Slot(slots.of_column(column)),
        };
        let cells = columns.iter().map(&mut cell).collect();
        let sort_key = |(column, descending): &(Column, bool)| SortKey {
            name: column.name.clone(),
            cell: cell(column),
            kind: column.kind,
            text: column.text,
            zone: column.zone_column().map(|zone| cell(&zone)),
            descending: *descending,
        };
        let sort = if order_by.is_here() { self.order.iter().map(sort_key).collect() } else { Vec::new() };
        let compile = |tree: &Tree| Residual::new(tree, &mut |column| slots.of_column(column));
        let residual = split.residual.iter().map(compile).collect();
        let compared = split.residual.iter().flat_map(Tree::leaves).map(|condition| &condition.column);
        let shown = columns.iter().chain(self.order.iter().map(|(column, _)| column));
        let watched = watched(compared, shown, &mut slots, object.home());
        Ok(Plan {
            object,
            route: scope.route,
            scans,
            in_order: cardinality != Cardinality::Collections,
            cells,
            whole_rows,
            residual,
            sort,
            slots: slots.0,
            fallbacks: slots.1,
            watched,
            limit: self.limit,
            max_rows: connection.max_rows.filter(|_| self.limit.is_none()),
            offset: paging.offset,
            one_page: paging.one_page,
            evaluated,
            notes,
            columns,
        })
    }

    /// The columns of the answer; none for whole rows.
    fn shown_columns(&self) -> Vec<Column> {
        match &self.columns {
            Some(columns) => columns.clone(),
            None if self.object.has_whole_rows() => Vec::new(),
            None => self.object.default_columns().into_iter().cloned().collect(),
        }
    }

    /// What is selected: the columns of the answer, and those that the agent compares and sorts by.
    fn select(
        &self,
        columns: &[Column],
        residual: &[Tree],
        order_by: OrderBy,
        descend: Option<Descend>,
    ) -> Vec<String> {
        let residual = residual.iter().flat_map(Tree::leaves).map(|condition| &condition.column);
        let sorted = self.order.iter().filter(|_| order_by.is_here()).map(|(column, _)| column);
        let extra: Vec<&Column> = residual.chain(sorted).collect();
        let needs_naming = extra.iter().any(|column| column.select_only);
        if self.columns.is_none() && self.object.default_needs_no_select() && !needs_naming {
            return Vec::new();
        }
        // `$select` refuses the bare name of a property that only a derived type has; without it everything comes.
        if self.object.home() != Home::Directory
            && columns.iter().chain(extra.iter().copied()).any(|column| column.derived)
        {
            return Vec::new();
        }
        // Nobody knows which of two readings of a name is one of the service's, and it refuses the other.
        if columns.iter().chain(extra.iter().copied()).any(|column| column.fallback.is_some()) {
            return Vec::new();
        }
        let mut select = Vec::new();
        for column in columns.iter().chain(extra) {
            select_property(&mut select, column);
        }
        if let Some(descend) = descend {
            for name in ["id", descend.recursion.holds.first().copied().unwrap_or("id")] {
                if !select.iter().any(|known| known == name) {
                    select.push(name.to_owned());
                }
            }
        }
        if select.is_empty() {
            select.push("id".to_owned());
        }
        select
    }
}

/// `/me` leads nowhere for an application.
fn refuse_me(object: &Object, connection: &Connection) -> Result<(), QueryError> {
    let Some(path) = object.path().filter(|path| path.needs_user() && !connection.is_delegated()) else {
        return Ok(());
    };
    let message = format!(
        "The connection '{}' acts as an application, which has no signed-in user, so '/{}' leads nowhere. Begin the path \
         with /users/adele@contoso.com instead of /me.",
        connection.name,
        path.encoded()
    );
    Err(QueryError::field("user_id_required", "object", message))
}

fn ordered(object: &Object, order: &Order) -> Result<(Column, bool), QueryError> {
    let column = column(object, &order.field)?;
    if matches!(column.source, ColumnSource::CreateOnly | ColumnSource::FilterOnly) {
        let message =
            format!("No row of {} has '{}', so rows cannot be sorted by it.", object.name(), column.name);
        return Err(QueryError::field("bad_order", &column.name, message));
    }
    Ok((column, order.descending))
}

/// How folders are read on. A condition on the folder's column itself names the one folder that is wanted.
fn descend(object: &Object, scope: &Scope, connection: &Connection) -> Option<Descend> {
    let recursion = *object.recursion()?;
    let around = scope.route;
    if around.wanted == RouteUse::Record || around.uses(recursion.column) {
        return None;
    }
    let is_inside = |route: &Route| {
        route.has_owner() == around.has_owner()
            && route.uses(recursion.column)
            && route.columns().all(|column| column == recursion.column || around.uses(column))
            && around.columns().all(|column| route.uses(column))
    };
    let route = object.ways(RouteUse::List).into_iter().find(is_inside)?;
    Some(Descend { recursion, route, left: connection.directory_depth })
}

/// The related records that must come with the rows.
fn expand(columns: &[Column], residual: &[Tree], order: &[(Column, bool)]) -> Vec<String> {
    let residual = residual.iter().flat_map(Tree::leaves).map(|condition| &condition.column);
    let all = columns.iter().chain(residual).chain(order.iter().map(|(column, _)| column));
    let mut expand: Vec<String> = Vec::new();
    for column in all.filter(|column| column.source == ColumnSource::Related) {
        if let Some(first) = column.path.first().filter(|first| !expand.contains(first)) {
            expand.push(first.clone());
        }
    }
    expand
}
