//! Plans for objects, the catalog's own and Graph paths alike: conditions on ids and places choose the paths, what the
//! service can compare becomes `$filter`, the rest stays with the agent. Pure.

use std::sync::Arc;

use super::error::QueryError;
use super::findings::watched;
use super::odata::{ALWAYS_PRESENT, Joined, Pushed};
use super::place_scans::{Owners, count, not_located, owners, refuse_unused, scans};
use super::places::{Users, column, places};
use super::plan::{Cell, Evaluated, Plan, Slots, refuse_repeated};
use super::request::QueryRequest;
use super::residual::Residual;
use super::scan::{Descend, Maker, Options, advanced, one_page, select_property, top};
use super::sort::SortKey;
use super::split::{Filter, Split, split};
use super::tree::Tree;
use crate::catalog::{Column, ColumnKind, ColumnSource, Home, Object};
use crate::clock::Timestamp;
use crate::connection::Connection;

pub(super) fn plan_object(
    object: &Arc<Object>,
    request: &QueryRequest,
    connection: &Connection,
    user_id: Option<&str>,
    now: Timestamp,
) -> Result<Plan, QueryError> {
    refuse_me(object, connection)?;
    let columns = columns(object, &request.fields)?;
    let order = order(object, request)?;
    let (places, conjuncts) = places(object, &request.conditions)?;
    let by_id = places.ids.is_some();
    let mut notes = notes(object, request);
    let mut plain = Vec::new();
    if let Some(range) = object.range().filter(|_| !by_id) {
        let (options, note) = places.range.options(range, now)?;
        plain = options;
        notes.push(note);
    }
    let split = match by_id || object.is_single() {
        // A record comes alone: `$filter` is for collections.
        true => Split { residual: conjuncts, ..Split::default() },
        false => split(conjuncts, object.home()),
    };
    let owners = owners(object, &places, connection, user_id)?;
    if owners == Owners::Everybody && places.users == Users::Default {
        notes.push(format!(
            "The connection acts as an application, so the {} of every user are read. Give a condition on UserId for one \
             user's.",
            object.name().to_lowercase()
        ));
    }
    // A condition on the column itself names the one folder that is wanted.
    let descend = object
        .recursion()
        .filter(|recursion| !by_id && !places.given.iter().any(|(column, _)| *column == recursion.column))
        .map(|recursion| Descend { recursion: *recursion, left: connection.directory_depth });
    let count = count(object, &places, &owners, &split)?;
    let mut draft = Draft {
        object,
        request,
        order,
        split,
        by_id,
        many: count > 1 || owners == Owners::Everybody || descend.is_some(),
        descend,
        sorted_here: false,
        travels: false,
    };
    draft.decide_order();

    let whole_rows = object.has_whole_rows() && columns.is_empty();
    let select = if whole_rows { Vec::new() } else { draft.select(&columns) };
    let Draft { order, split, sorted_here, travels, many: several, .. } = draft;
    let narrowed = !split.residual.is_empty();
    let offset = request.offset.unwrap_or(0);
    let service_skips = object.service_skips() && !narrowed && !by_id && !several && !sorted_here;
    let agent_offset = if service_skips { 0 } else { offset };
    let reads_all = narrowed || (sorted_here && !travels);
    let top = match by_id || object.is_single() {
        true => None,
        false => top(object.page_for(&select), connection, request, agent_offset, reads_all),
    };
    let alone = by_id || object.is_single();
    let options = Options {
        plain,
        top,
        skip: if service_skips { offset } else { 0 },
        order: match alone || (sorted_here && !travels) {
            true => Vec::new(),
            false => order.iter().map(|(column, descending)| order_text(column, *descending)).collect(),
        },
        filters: split.filters.clone(),
        expand: expand(&columns, &split.residual, &order),
        select,
        advanced: false,
    };
    let pushed = |filters: &[Filter]| filters.iter().any(|filter| filter.pushed.advanced);
    let advanced = advanced(object.home(), pushed(&split.filters) || pushed(&split.chunks), &options.order);
    let place_columns: Vec<String> = columns
        .iter()
        .chain(order.iter().map(|(column, _)| column))
        .filter(|column| column.source == ColumnSource::Place)
        .map(|column| column.name.clone())
        .collect();
    let service = Some(options.filter()).filter(|filter| !filter.is_empty());
    let service = chunked(service, &split.chunks);
    let maker = Maker {
        object: Arc::clone(object),
        options: Options { advanced, ..options },
        places: place_columns.clone(),
        rows: request.limit.filter(|_| travels).map(|limit| limit.saturating_add(offset)),
        given: Vec::new(),
        descend,
    };
    let scans = scans(&maker, &places, &owners, &split.chunks)
        .map_err(|error| not_located(error, object, connection))?;
    refuse_unused(object, &places, scans.first().map_or(&[], |(_, used)| used.as_slice()))?;
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
    let sort = if sorted_here { order.iter().map(sort_key).collect() } else { Vec::new() };
    let residual = split
        .residual
        .iter()
        .map(|tree| Residual::new(tree, &mut |column| slots.of_column(column)))
        .collect();
    let compared = split.residual.iter().flat_map(Tree::leaves).map(|condition| &condition.column);
    let shown = columns.iter().chain(order.iter().map(|(column, _)| column));
    let watched = watched(compared, shown, &mut slots, object.home());
    let one_page = alone || (!several && !sorted_here && one_page(top, request, agent_offset, narrowed));
    Ok(Plan {
        object: Arc::clone(object),
        scans: scans.into_iter().map(|(scan, _)| scan).collect(),
        in_order: by_id || !several,
        cells,
        whole_rows,
        residual,
        sort,
        slots: slots.0,
        fallbacks: slots.1,
        watched,
        limit: request.limit,
        max_rows: connection.max_rows.filter(|_| request.limit.is_none()),
        offset: agent_offset,
        one_page,
        evaluated: evaluated(
            service,
            &split.residual,
            !order.is_empty() && (sorted_here || !alone),
            sorted_here,
        ),
        notes,
        columns,
    })
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

/// What is decided step by step about one request.
struct Draft<'request> {
    object: &'request Object,
    request: &'request QueryRequest,
    order: Vec<(Column, bool)>,
    split: Split,
    by_id: bool,
    descend: Option<Descend>,
    many: bool,
    /// Whether the agent puts the rows in order.
    sorted_here: bool,
    /// Whether it does that with the first rows of each of several collections, which the service sorts.
    travels: bool,
}

impl Draft<'_> {
    /// Who sorts. The service, if it can and there is one collection; else the agent.
    fn decide_order(&mut self) {
        if self.order.is_empty() {
            return;
        }
        let one_record = (self.by_id || self.object.is_single()) && !self.many;
        self.sorted_here = !one_record
            && (self.by_id || self.many || !self.order.iter().all(|(column, _)| self.service_sorts(column)));
        let asked_for = match self.sorted_here {
            true => self.may_travel(),
            false => !self.by_id,
        };
        self.travels = asked_for && self.sorted_here;
        if !asked_for || !self.object.order_leads_filter() || self.split.filters.is_empty() {
            return;
        }
        match lead_with_order(&self.order, &self.split.filters) {
            Some(filters) => self.split.filters = filters,
            None if self.sorted_here => self.travels = false,
            // With a limit the agent sorts what the filter leaves, in little memory. Without one it would have to hold all
            // rows, so the service sorts and the agent filters.
            None if self.request.limit.is_some() => self.sorted_here = true,
            None => self.unfilter(),
        }
    }

    /// Whether the service sorts by `column`. What is not known of a path is left to the service.
    fn service_sorts(&self, column: &Column) -> bool {
        column.sortable || (self.object.is_lenient() && column.source == ColumnSource::Property)
    }

    /// Whether the first rows of each of several collections are enough. Only for values whose order is the same
    /// everywhere: text is put in order by rules that differ.
    fn may_travel(&self) -> bool {
        use ColumnKind::{Bool, Date, DateTime, Int32, Int64};
        self.request.limit.is_some()
            && !self.by_id
            && self.split.residual.is_empty()
            && self.split.chunks.is_empty()
            && self.order.iter().all(|(column, _)| {
                column.sortable && matches!(column.kind, DateTime | Date | Int32 | Int64 | Bool)
            })
    }

    /// Leaves all conditions to the agent.
    fn unfilter(&mut self) {
        let places = places(self.object, &self.request.conditions);
        self.split = Split {
            residual: places.map(|(_, conjuncts)| conjuncts).unwrap_or_default(),
            ..Split::default()
        };
    }

    fn select(&self, columns: &[Column]) -> Vec<String> {
        let residual = self.split.residual.iter().flat_map(Tree::leaves).map(|condition| &condition.column);
        let sorted = self.order.iter().filter(|_| self.sorted_here).map(|(column, _)| column);
        let extra: Vec<&Column> = residual.chain(sorted).collect();
        let needs_naming = extra.iter().any(|column| column.select_only);
        if self.request.fields.is_empty() && self.object.default_needs_no_select() && !needs_naming {
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
        if let Some(descend) = self.descend {
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

fn columns(object: &Object, fields: &[String]) -> Result<Vec<Column>, QueryError> {
    if fields.is_empty() {
        let shown = if object.has_whole_rows() { Vec::new() } else { object.default_columns() };
        return Ok(shown.into_iter().cloned().collect());
    }
    let columns = fields.iter().map(|field| column(object, field)).collect::<Result<Vec<_>, _>>()?;
    refuse_repeated(&columns)?;
    Ok(columns)
}

fn order(object: &Object, request: &QueryRequest) -> Result<Vec<(Column, bool)>, QueryError> {
    let column = |order: &super::request::Order| {
        let column = column(object, &order.field)?;
        if matches!(column.source, ColumnSource::CreateOnly | ColumnSource::FilterOnly) {
            let message =
                format!("No row of {} has '{}', so rows cannot be sorted by it.", object.name(), column.name);
            return Err(QueryError::field("bad_order", &column.name, message));
        }
        Ok((column, order.descending))
    };
    request.order_by.iter().map(column).collect()
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

fn order_text(column: &Column, descending: bool) -> String {
    let path = column.odata_path();
    if descending { format!("{path} desc") } else { path }
}

/// Puts filters on the order's columns first, in the order's order, with a harmless one where there is none: otherwise
/// the service answers `InefficientFilter` (Graph, "List messages", "Using filter and orderby in the same query").
/// `None` when a column of the order cannot be given a harmless filter.
fn lead_with_order(order: &[(Column, bool)], filters: &[Filter]) -> Option<Vec<Filter>> {
    let mut filters = filters.to_vec();
    let mut leading = Vec::new();
    for (column, _) in order {
        let (own, others): (Vec<_>, Vec<_>) =
            filters.into_iter().partition(|filter| filter.column == column.name);
        filters = others;
        if own.is_empty() {
            if !ALWAYS_PRESENT.contains(&column.name.as_str()) {
                return None;
            }
            let filter = format!("{} ge 1900-01-01T00:00:00Z", column.odata_path());
            let pushed = Pushed { filter, joined: Joined::One, terms: 1, exact: true, advanced: false };
            leading.push(Filter { column: column.name.clone(), pushed });
        }
        leading.extend(own);
    }
    leading.extend(filters);
    Some(leading)
}

/// The service's part as it is shown, with the first piece of a long list.
fn chunked(service: Option<String>, chunks: &[Filter]) -> Option<String> {
    let Some(first) = chunks.first() else { return service };
    let list = format!("{} (and {} more such lists)", first.pushed.inside(Joined::And), chunks.len() - 1);
    Some(service.map_or(list.clone(), |service| format!("{service} and {list}")))
}

/// Who evaluates what, as the answer shows it.
fn evaluated(service: Option<String>, residual: &[Tree], ordered: bool, sorted_here: bool) -> Evaluated {
    let mut fields: Vec<String> = Vec::new();
    for condition in residual.iter().flat_map(Tree::leaves) {
        if !fields.contains(&condition.column.name) {
            fields.push(condition.column.name.clone());
        }
    }
    Evaluated {
        service: service.map(|text| cut(&text)),
        agent: residual.iter().map(|tree| cut(&tree.to_string())).collect(),
        order: ordered.then_some(if sorted_here { "agent" } else { "service" }),
        fields,
    }
}

fn cut(text: &str) -> String {
    crate::error::clean_foreign_text(text)
}

fn notes(object: &Object, request: &QueryRequest) -> Vec<String> {
    let left_out: Vec<&str> = object
        .columns()
        .iter()
        .filter(|column| column.select_only)
        .map(|column| column.name.as_str())
        .collect();
    let mut notes = Vec::new();
    if request.fields.is_empty() && !left_out.is_empty() {
        let (shown, more) = (left_out.len().min(3), if left_out.len() > 3 { ", …" } else { "" });
        notes.push(format!(
            "{} columns that Microsoft Graph answers only by name are left out ({}{more}). Name them in `fields` to get them.",
            left_out.len(),
            left_out[..shown].join(", ")
        ));
    }
    notes
}
