//! Plans for objects, the catalog's own and Graph paths alike: conditions on ids and places choose the paths, what the
//! service can compare becomes `$filter`, the rest stays with the agent. Pure.

use std::sync::Arc;

use super::error::QueryError;
use super::odata::{ALWAYS_PRESENT, Joined, Pushed};
use super::places::{Places, Users, column, places};
use super::plan::{Cell, Evaluated, Plan, Refused, Scan, Slots, refuse_repeated};
use super::request::QueryRequest;
use super::residual::Residual;
use super::scan::{Descend, Maker, Options, advanced, one_page, select_property, top};
use super::sort::SortKey;
use super::split::{Filter, Split, split};
use super::tree::Tree;
use crate::catalog::{Column, ColumnKind, ColumnSource, Home, NotLocated, Object, Owner};
use crate::clock::Timestamp;
use crate::connection::Connection;

/// The most requests that a query begins with; next pages come on top.
const MOST_SCANS: usize = 5000;

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
        _ => Cell::Slot(slots.of(&column.path)),
    };
    let cells = columns.iter().map(&mut cell).collect();
    let sort_key = |(column, descending): &(Column, bool)| SortKey {
        name: column.name.clone(),
        cell: cell(column),
        kind: column.kind,
        descending: *descending,
    };
    let sort = if sorted_here { order.iter().map(sort_key).collect() } else { Vec::new() };
    let residual =
        split.residual.iter().map(|tree| Residual::new(tree, &mut |column| slots.of(&column.path))).collect();
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

/// Whose mailboxes are read.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Owners {
    /// These; `None` is nobody's in particular, because the object is nobody's or nobody says whose.
    These(Vec<Option<Owner>>),
    /// Everybody's.
    Everybody,
}

/// The conditions' users, the connection's, else the signed-in one.
fn owners(
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

fn not_located(error: NotLocated, object: &Object, connection: &Connection) -> QueryError {
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
fn count(object: &Object, places: &Places, owners: &Owners, split: &Split) -> Result<usize, QueryError> {
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
fn scans(
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
fn refuse_unused(object: &Object, places: &Places, used: &[&'static str]) -> Result<(), QueryError> {
    let unused = places.given.iter().map(|(column, _)| *column).find(|column| !used.contains(column));
    let Some(unused) = unused.filter(|_| places.ids.is_none()) else { return Ok(()) };
    let message = format!(
        "'{}' and '{unused}' both choose where {} are read from. Give one of them.",
        used.first().copied().unwrap_or("UserId"),
        object.name()
    );
    Err(QueryError::field("bad_request", unused, message))
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
