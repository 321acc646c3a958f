//! Plans for objects, the catalog's own and Graph paths alike: conditions on id and places choose the path, what the service
//! can compare becomes `$filter`, the rest stays with the agent. Pure.

use std::sync::Arc;

use super::condition::{Checked, Comparison, Test, check};
use super::error::QueryError;
use super::literal::Literal;
use super::odata::push;
use super::plan::{
    Cell, Filter, Plan, Scan, Slots, advanced, one_page, refuse_repeated, select_property, top,
};
use super::request::{Condition, Operator, QueryRequest};
use super::residual::Residual;
use crate::catalog::{Column, ColumnSource, Home, NotLocated, Object, Owner, RouteUse};
use crate::connection::Connection;

/// The most records of an `id in (…)` that are read one by one.
const MOST_RECORDS: usize = 200;

/// Where rows are read from, decided by conditions.
#[derive(Default)]
struct Place {
    user: Option<String>,
    /// Values of place columns by their declared names.
    given: Vec<(&'static str, String)>,
    ids: Option<Vec<String>>,
}

pub(super) fn plan_object(
    object: &Arc<Object>,
    request: &QueryRequest,
    connection: &Connection,
    user_id: Option<&str>,
) -> Result<Plan, QueryError> {
    refuse_me(object, connection)?;
    let columns = columns(object, &request.fields)?;
    let (place, conditions) = split(object, &request.conditions)?;
    let owner = owner(&place, connection, user_id);
    let order = order(object, request)?;
    let by_id = place.ids.is_some();
    let located = |id: Option<&str>| {
        let wanted = if id.is_some() { RouteUse::Record } else { RouteUse::List };
        object
            .locate(wanted, &place.given, owner.as_ref(), id)
            .map_err(|error| not_located(error, object, connection))
    };
    let collection = located(place.ids.as_ref().and_then(|ids| ids.first()).map(String::as_str))?;
    if let Some((unused, _)) =
        place.given.iter().find(|(column, _)| !collection.used.contains(column) && !by_id)
    {
        let message = format!(
            "'{}' and '{unused}' both choose where {} are read from. Give one of them.",
            collection.used.first().copied().unwrap_or("UserId"),
            object.name()
        );
        return Err(QueryError::field("bad_request", unused, message));
    }

    let mut scan = Scan { mailbox: collection.mailbox, ..Scan::default() };
    let mut residual = Vec::new();
    let mut filters_need_advanced = false;
    for condition in &conditions {
        // A record that is asked for by its id comes alone: `$filter` is for collections.
        let pushed = if by_id { None } else { Some(push(condition, object.home())) };
        if let Some(text) = pushed.as_ref().and_then(|pushed| pushed.filter.clone()) {
            scan.filters.push(Filter { column: condition.column.name.clone(), text });
            filters_need_advanced |= pushed.as_ref().is_some_and(|pushed| pushed.advanced);
        }
        if pushed.is_none_or(|pushed| pushed.residual) {
            residual.push(condition);
        }
    }
    if object.order_leads_filter() && !order.is_empty() && !scan.filters.is_empty() {
        scan.filters = match lead_with_order(&order, std::mem::take(&mut scan.filters)) {
            Some(filters) => filters,
            None => {
                residual = conditions.iter().collect();
                Vec::new()
            }
        };
    }
    scan.order = order.iter().map(|(column, descending)| order_text(column, *descending)).collect();
    scan.advanced = advanced(object.home(), filters_need_advanced, &scan.order);
    let whole_rows = object.has_whole_rows() && columns.is_empty();
    if !whole_rows {
        scan.select = select(object, &request.fields, &columns, &residual);
    }
    let related = columns.iter().chain(residual.iter().map(|condition| &condition.column));
    for column in related.filter(|column| column.source == ColumnSource::Related) {
        if !scan.expand.contains(&column.path[0]) {
            scan.expand.push(column.path[0].clone());
        }
    }

    let offset = request.offset.unwrap_or(0);
    let service_skips = object.service_skips() && residual.is_empty() && !by_id;
    let agent_offset = if service_skips { 0 } else { offset };
    if service_skips {
        scan.skip = offset;
    }
    let mut fits_one_page = by_id;
    let requests = match &place.ids {
        None => {
            scan.top =
                top(object.page_for(&scan.select), connection, request, agent_offset, !residual.is_empty());
            if object.is_single() {
                scan.top = None;
            }
            fits_one_page = one_page(scan.top, request, agent_offset, !residual.is_empty());
            scan.path = collection.path;
            vec![scan.into_request()]
        }
        Some(ids) => {
            refuse_too_many(object, ids, &order)?;
            let mut seen = std::collections::BTreeSet::new();
            let record = |id: &String| {
                let path = located(Some(id))?.path;
                let (mailbox, select) = (scan.mailbox.clone(), scan.select.clone());
                Ok(Scan { path, mailbox, select, ..Scan::default() }.into_request())
            };
            ids.iter().filter(|id| seen.insert(id.as_str())).map(record).collect::<Result<_, QueryError>>()?
        }
    };
    let mut requests = requests.into_iter();
    let first =
        requests.next().ok_or_else(|| QueryError::request("bad_request", "The query asks for nothing."))?;
    let mut slots = Slots::default();
    let cells = columns.iter().map(|column| cell(column, &mut slots, owner.as_ref(), &place)).collect();
    Ok(Plan {
        object: Arc::clone(object),
        first,
        rest: requests.collect(),
        cells,
        whole_rows,
        residual: residual
            .iter()
            .map(|condition| Residual::new(slots.of(&condition.column.path), condition))
            .collect(),
        residual_fields: residual.iter().map(|condition| condition.column.name.clone()).collect(),
        slots: slots.0,
        columns,
        limit: request.limit,
        max_rows: connection.max_rows.filter(|_| request.limit.is_none()),
        offset: agent_offset,
        one_page: fits_one_page,
        absent_codes: if by_id { object.absent_codes() } else { &[] },
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

fn columns(object: &Object, fields: &[String]) -> Result<Vec<Column>, QueryError> {
    if fields.is_empty() {
        let shown = if object.has_whole_rows() { Vec::new() } else { object.default_columns() };
        return Ok(shown.into_iter().cloned().collect());
    }
    let find = |field: &String| column(object, field);
    let columns = fields.iter().map(find).collect::<Result<Vec<_>, _>>()?;
    refuse_repeated(&columns)?;
    Ok(columns)
}

/// The column of a field as written; a path's column goes by the name it was asked for.
fn column(object: &Object, field: &str) -> Result<Column, QueryError> {
    let field = field.trim();
    let mut found =
        object.column(field).map_err(|error| QueryError::unknown_field(field, error))?.into_owned();
    if object.has_whole_rows() {
        field.clone_into(&mut found.name);
    }
    Ok(found)
}

/// Takes the conditions that choose the path out of the others.
fn split(object: &Object, conditions: &[Condition]) -> Result<(Place, Vec<Checked>), QueryError> {
    let mut place = Place::default();
    let mut others = Vec::new();
    for condition in conditions {
        let field = condition.field.trim();
        let equal = condition.operator == Operator::Equal;
        let chooses = object.place_column(RouteUse::List, field);
        let known = column(object, field);
        let is_property = known.as_ref().is_ok_and(|column| column.source == ColumnSource::Property);
        if let Some(column) = chooses.filter(|_| equal || !is_property) {
            let value = place_value(field, condition)?;
            if let Some((earlier, _)) = place.given.iter().find(|(given, _)| *given == column) {
                let message = format!("'{earlier}' is given twice. Give it once.");
                return Err(QueryError::field("bad_request", field, message));
            }
            place.given.push((column, value));
            continue;
        }
        let column = known?;
        match column.source {
            ColumnSource::Place if column.name.eq_ignore_ascii_case("UserId") => {
                place.user = Some(place_value(field, condition)?);
            }
            ColumnSource::Place => {
                let message = format!(
                    "Microsoft Graph has no {} of a group, so '{field}' cannot be a condition here. Remove it.",
                    object.name().to_lowercase()
                );
                return Err(QueryError::field("bad_request", field, message));
            }
            _ => {
                let checked = check(&column, condition)?;
                match ids(object, &checked).filter(|_| place.ids.is_none()) {
                    Some(ids) => place.ids = Some(ids),
                    None => others.push(checked),
                }
            }
        }
    }
    Ok((place, others))
}

fn place_value(field: &str, condition: &Condition) -> Result<String, QueryError> {
    if condition.operator != Operator::Equal {
        let message =
            format!("'{field}' chooses where rows are read from and can be compared with '=' only.");
        return Err(QueryError::field("bad_operator", field, message));
    }
    let value = condition.value.as_str().map(str::trim).filter(|value| !value.is_empty());
    value.map(str::to_owned).ok_or_else(|| {
        let message = format!("'{field}' needs an id as text. Write for example {{\"field\":\"{field}\",\"operator\":\"=\",\"value\":\"…\"}}.");
        QueryError::field("bad_value", field, message)
    })
}

/// The records a condition on `id` names. Directory objects filter by `id in (…)` themselves; Outlook does not filter by
/// id at all, so each record is read by its own path.
fn ids(object: &Object, condition: &Checked) -> Option<Vec<String>> {
    if condition.column.name != "id" || !object.has_record_route() {
        return None;
    }
    let text = |literal: &Literal| match literal {
        Literal::Text(text) => Some(text.clone()),
        _ => None,
    };
    match &condition.test {
        Test::Compare(Comparison::Equal, literal) => Some(vec![text(literal)?]),
        Test::OneOf(values) if object.home() != Home::Directory => values.iter().map(text).collect(),
        _ => None,
    }
}

/// Whose rows are wanted: the condition's, the connection's, else the signed-in user's.
fn owner(place: &Place, connection: &Connection, user_id: Option<&str>) -> Option<Owner> {
    let user = place.user.as_deref().or(user_id).map(|user| Owner::User(user.to_owned()));
    user.or_else(|| connection.is_delegated().then_some(Owner::Me))
}

fn not_located(error: NotLocated, object: &Object, connection: &Connection) -> QueryError {
    match error {
        NotLocated::OwnerNeeded => QueryError::field(
            "user_id_required",
            "UserId",
            format!(
                "The connection '{}' acts as an application, which has no mailbox of its own, so {} need a user. Add the \
                 condition {{\"field\":\"UserId\",\"operator\":\"=\",\"value\":\"adele@contoso.com\"}}, or set UserId on \
                 the connection.",
                connection.name,
                object.name()
            ),
        ),
        NotLocated::Wrong { field, error } => QueryError::field("missing_condition", &field, error.message),
    }
}

fn order(object: &Object, request: &QueryRequest) -> Result<Vec<(Column, bool)>, QueryError> {
    let sorted = |order: &super::request::Order| {
        let column = column(object, &order.field)?;
        if column.sortable || object.is_lenient() {
            return Ok((column, order.descending));
        }
        let sortable: Vec<&str> = object
            .columns()
            .iter()
            .filter(|column| column.sortable)
            .map(|column| column.name.as_str())
            .collect();
        let message = format!(
            "Microsoft Graph does not sort {} by '{}'. Sort by one of {}, or leave orderBy out.",
            object.name(),
            column.name,
            sortable.join(", ")
        );
        Err(QueryError::field("bad_order", &column.name, message))
    };
    request.order_by.iter().map(sorted).collect()
}

fn order_text(column: &Column, descending: bool) -> String {
    let path = column.odata_path();
    if descending { format!("{path} desc") } else { path }
}

/// Columns that every row has, so that "not before 1900" leaves no row out.
const ALWAYS_PRESENT: [&str; 3] = ["receivedDateTime", "createdDateTime", "lastModifiedDateTime"];

/// Puts filters on the order's columns first, in the order's order, with a harmless one where there is none: otherwise
/// the service answers `InefficientFilter` (Graph, "List messages", "Using filter and orderby in the same query").
/// `None` when a column of the order cannot be given a harmless filter; the agent then evaluates all conditions.
fn lead_with_order(order: &[(Column, bool)], mut filters: Vec<Filter>) -> Option<Vec<Filter>> {
    let mut leading = Vec::new();
    for (column, _) in order {
        let (own, others): (Vec<_>, Vec<_>) =
            filters.into_iter().partition(|filter| filter.column == column.name);
        filters = others;
        if own.is_empty() {
            if !ALWAYS_PRESENT.contains(&column.name.as_str()) {
                return None;
            }
            let text = format!("{} ge 1900-01-01T00:00:00Z", column.odata_path());
            leading.push(Filter { column: column.name.clone(), text });
        }
        leading.extend(own);
    }
    leading.extend(filters);
    Some(leading)
}

fn select(object: &Object, fields: &[String], columns: &[Column], residual: &[&Checked]) -> Vec<String> {
    let needs_naming = residual.iter().any(|condition| condition.column.select_only);
    if fields.is_empty() && object.default_needs_no_select() && !needs_naming {
        return Vec::new();
    }
    let mut wanted = columns.iter().chain(residual.iter().map(|condition| &condition.column));
    // `$select` refuses the bare name of a property that only a derived type has; without it everything comes.
    if object.home() != Home::Directory && wanted.any(|column| column.derived) {
        return Vec::new();
    }
    let mut select = Vec::new();
    for column in columns.iter().chain(residual.iter().map(|condition| &condition.column)) {
        select_property(&mut select, column);
    }
    if select.is_empty() {
        select.push("id".to_owned());
    }
    select
}

fn refuse_too_many(object: &Object, ids: &[String], order: &[(Column, bool)]) -> Result<(), QueryError> {
    if ids.len() > MOST_RECORDS {
        let message =
            format!("'id in' has {} values; {MOST_RECORDS} are the most for {}.", ids.len(), object.name());
        return Err(QueryError::field("bad_value", "id", message));
    }
    if let (Some((column, _)), true) = (order.first(), ids.len() > 1) {
        let message = format!(
            "Records read by 'id in' come in the order of the ids and cannot be sorted by '{}'. Leave orderBy out.",
            column.name
        );
        return Err(QueryError::field("bad_order", &column.name, message));
    }
    Ok(())
}

fn cell(column: &Column, slots: &mut Slots, owner: Option<&Owner>, place: &Place) -> Cell {
    if !matches!(column.source, ColumnSource::Place) {
        return Cell::Slot(slots.of(&column.path));
    }
    let given = place.given.iter().find(|(name, _)| name.eq_ignore_ascii_case(&column.name));
    let value = match (column.name.eq_ignore_ascii_case("UserId"), owner) {
        (true, Some(Owner::User(id))) => Some(id.as_str()),
        (true, _) => None,
        (false, _) => given.map(|(_, value)| value.as_str()),
    };
    Cell::Constant(serde_json::Value::from(value).to_string().into_bytes())
}
