//! Plans for the catalog's objects: conditions on ids and places choose the paths, what the service can compare becomes
//! `$filter`, the rest stays with the agent. Pure.

use super::error::QueryError;
use super::odata::{ALWAYS_PRESENT, Joined, Pushed};
use super::places::{Places, Users, places};
use super::plan::{Cell, Evaluated, Plan, Refused, Scan, Slots, refuse_repeated};
use super::request::QueryRequest;
use super::residual::Residual;
use super::scan::{Maker, Options, advanced, one_page, select_property, top};
use super::sort::SortKey;
use super::split::{Filter, Split, split};
use super::tree::Tree;
use crate::catalog::{Column, ColumnKind, ColumnSource, Home, Object, Owner, PathPart};
use crate::connection::Connection;

/// The most requests that a query begins with; next pages come on top.
const MOST_SCANS: usize = 5000;

pub(super) fn plan_named(
    object: &'static Object,
    request: &QueryRequest,
    connection: &Connection,
    user_id: Option<&str>,
) -> Result<Plan, QueryError> {
    let columns = columns(object, &request.fields)?;
    let order = order(object, request)?;
    let (places, conjuncts) = places(object, &request.conditions)?;
    let owners = owners(object, &places, connection, user_id)?;
    let by_id = places.ids.is_some();
    let split = match by_id {
        // A record that is asked for by its id comes alone: `$filter` is for collections.
        true => Split { residual: conjuncts, ..Split::default() },
        false => split(conjuncts, object.home()),
    };
    let parts = places.parts.as_ref().map_or(1, |(_, values)| values.len());
    let records = places.ids.as_ref().map_or(1, Vec::len);
    let everybody = owners.is_none();
    let count = owners.as_ref().map_or(1, Vec::len) * parts * records * split.chunks.len().max(1);
    refuse_too_many(object, count)?;
    let mut draft = Draft {
        object,
        request,
        order,
        split,
        by_id,
        many: count > 1 || everybody,
        sorted_here: false,
        travels: false,
    };
    draft.decide_order();

    let select = draft.select(&columns);
    let Draft { order, split, sorted_here, travels, many: several, .. } = draft;
    let narrowed = !split.residual.is_empty();
    let offset = request.offset.unwrap_or(0);
    let service_skips = object.home() == Home::Mailbox && !narrowed && !by_id && !several && !sorted_here;
    let agent_offset = if service_skips { 0 } else { offset };
    let reads_all = narrowed || (sorted_here && !travels);
    let largest = Some(object.page_for(&select));
    let options = Options {
        top: if by_id { None } else { top(largest, connection, request, agent_offset, reads_all) },
        skip: if service_skips { offset } else { 0 },
        order: match by_id || (sorted_here && !travels) {
            true => Vec::new(),
            false => order.iter().map(|(column, descending)| order_text(column, *descending)).collect(),
        },
        filters: split.filters.clone(),
        select,
        advanced: false,
    };
    let pushed = |filters: &[Filter]| filters.iter().any(|filter| filter.pushed.advanced);
    let advanced = advanced(object.home(), pushed(&split.filters) || pushed(&split.chunks), &options.order);
    let rows = request.limit.filter(|_| travels).map(|limit| limit.saturating_add(offset));
    let one_page =
        by_id || (!several && !sorted_here && one_page(options.top, request, agent_offset, narrowed));
    let place_columns: Vec<String> = columns
        .iter()
        .chain(order.iter().map(|(column, _)| column))
        .filter(|column| column.source == ColumnSource::Place)
        .map(|column| column.name.clone())
        .collect();
    let service = Some(options.filter()).filter(|filter| !filter.is_empty());
    let service = chunked(service, &split.chunks);
    let maker = Maker {
        object,
        options: Options { advanced, ..options },
        places: place_columns.clone(),
        rows,
        part: None,
    };
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
    Ok(Plan {
        scans: scans(maker, &places, owners, &split.chunks),
        in_order: by_id || !several,
        cells,
        whole_rows: false,
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
            !order.is_empty() && (sorted_here || !by_id),
            sorted_here,
        ),
        notes: notes(object, request),
        columns,
    })
}

/// What is decided step by step about one request.
struct Draft<'request> {
    object: &'static Object,
    request: &'request QueryRequest,
    order: Vec<(Column, bool)>,
    split: Split,
    by_id: bool,
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
        let one_record = self.by_id && !self.many;
        self.sorted_here =
            !one_record && (self.by_id || self.many || !self.order.iter().all(|(column, _)| column.sortable));
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
        let mut select = Vec::new();
        for column in columns.iter().chain(extra) {
            select_property(&mut select, column);
        }
        if select.is_empty() {
            select.push("id".to_owned());
        }
        select
    }
}

fn columns(object: &Object, fields: &[String]) -> Result<Vec<Column>, QueryError> {
    if fields.is_empty() {
        return Ok(object.default_columns().into_iter().cloned().collect());
    }
    let find = |field: &String| {
        object.column(field.trim()).cloned().map_err(|error| QueryError::unknown_field(field, error))
    };
    let columns = fields.iter().map(find).collect::<Result<Vec<_>, _>>()?;
    refuse_repeated(&columns)?;
    Ok(columns)
}

fn order(object: &Object, request: &QueryRequest) -> Result<Vec<(Column, bool)>, QueryError> {
    let column = |order: &super::request::Order| {
        let column = object.column(order.field.trim());
        let column = column.map_err(|error| QueryError::unknown_field(&order.field, error))?;
        Ok((column.clone(), order.descending))
    };
    request.order_by.iter().map(column).collect()
}

/// Whose mailboxes: the conditions', the connection's, else the signed-in user's; `None`: everybody's.
fn owners(
    object: &Object,
    places: &Places,
    connection: &Connection,
    user_id: Option<&str>,
) -> Result<Option<Vec<Owner>>, QueryError> {
    let at_root = places.parts.as_ref().is_some_and(|(part, _)| !part.below_owner);
    match (&places.users, user_id) {
        (Users::Everybody, _) if object.home() == Home::Directory || at_root => Ok(Some(vec![Owner::Me])),
        (Users::Everybody, _) => match &places.ids {
            None => Ok(None),
            Some(_) => Err(QueryError::field(
                "bad_request",
                "UserId",
                "A record is read from one mailbox. Name the user instead of '*', or leave the condition on 'id' out.",
            )),
        },
        (Users::Named(users), _) => Ok(Some(users.iter().cloned().map(Owner::User).collect())),
        (Users::Default, Some(user)) => Ok(Some(vec![Owner::User(user.to_owned())])),
        (Users::Default, None)
            if connection.is_delegated() || at_root || object.home() == Home::Directory =>
        {
            Ok(Some(vec![Owner::Me]))
        }
        (Users::Default, None) => Err(QueryError::field(
            "user_id_required",
            "UserId",
            format!(
                "The connection '{}' acts as an application, which has no mailbox of its own, so {} need a user. Add the \
                 condition {{\"field\":\"UserId\",\"operator\":\"=\",\"value\":\"adele@contoso.com\"}} (or \"*\" for every \
                 mailbox), or set UserId on the connection.",
                connection.name,
                object.name()
            ),
        )),
    }
}

/// One scan for each owner, part, record and piece of a long list.
fn scans(maker: Maker, places: &Places, owners: Option<Vec<Owner>>, chunks: &[Filter]) -> Vec<Scan> {
    let with = |chunk: Option<&Filter>| {
        let mut maker = maker.clone();
        maker.options.filters.extend(chunk.cloned());
        maker
    };
    let makers: Vec<Maker> = match chunks {
        [] => vec![with(None)],
        chunks => chunks.iter().map(|chunk| with(Some(chunk))).collect(),
    };
    let parts: Vec<Option<(&'static PathPart, &str)>> = match &places.parts {
        None => vec![None],
        Some((part, values)) => values.iter().map(|value| Some((*part, value.as_str()))).collect(),
    };
    let records: Vec<Option<&str>> = match &places.ids {
        None => vec![None],
        Some(ids) => ids.iter().map(|id| Some(id.as_str())).collect(),
    };
    let mut scans = Vec::new();
    for maker in makers {
        for part in &parts {
            let Some(owners) = &owners else {
                let part = part.map(|(part, value)| (part, value.to_owned()));
                scans.push(Maker { part, ..maker.clone() }.every_user());
                continue;
            };
            let many_places = owners.len() > 1 || parts.len() > 1;
            for owner in owners {
                for record in &records {
                    let refused = match (record, many_places) {
                        (Some(_), _) => Refused::Fails(maker.object.absent_codes()),
                        (None, false) => Refused::Fails(&[]),
                        (None, true) => Refused::LeavesOut { place: place_name(owner, *part), named: true },
                    };
                    scans.push(maker.scan(owner, *part, *record, refused));
                }
            }
        }
    }
    scans
}

fn place_name(owner: &Owner, part: Option<(&PathPart, &str)>) -> String {
    match (owner, part) {
        (Owner::User(user), None) => user.clone(),
        (Owner::User(user), Some((part, value))) if part.below_owner => format!("{value} of {user}"),
        (_, Some((_, value))) => value.to_owned(),
        (Owner::Me, None) => "me".to_owned(),
    }
}

fn refuse_too_many(object: &Object, count: usize) -> Result<(), QueryError> {
    if count <= MOST_SCANS {
        return Ok(());
    }
    let message = format!(
        "This query of {} would begin with {count} requests; {MOST_SCANS} are the most. Ask for fewer users, folders, \
         records or values a query.",
        object.name()
    );
    Err(QueryError::request("bad_request", message))
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
pub(super) fn chunked(service: Option<String>, chunks: &[Filter]) -> Option<String> {
    let Some(first) = chunks.first() else { return service };
    let list = format!("{} (and {} more such lists)", first.pushed.inside(Joined::And), chunks.len() - 1);
    Some(service.map_or(list.clone(), |service| format!("{service} and {list}")))
}

/// Who evaluates what, as the answer shows it.
pub(super) fn evaluated(
    service: Option<String>,
    residual: &[Tree],
    ordered: bool,
    sorted_here: bool,
) -> Evaluated {
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
