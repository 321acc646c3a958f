//! Plans for Graph paths. Their types are not looked up: fields are taken as written, conditions go to the service by the
//! form of their value, and what the service does not know it refuses in its own words. Pure.

use super::condition::check;
use super::error::QueryError;
use super::odata::push;
use super::plan::{
    Cell, Filter, Plan, Scan, Slots, advanced, one_page, refuse_repeated, select_property, top,
};
use super::request::QueryRequest;
use super::residual::Residual;
use crate::catalog::{Column, ColumnKind, FilterOps, GraphPath, Home};
use crate::connection::Connection;

/// What directory objects compare; `gt`, `lt` and `contains` they do not.
const DIRECTORY: FilterOps = FilterOps::EQUALITY
    .and(FilterOps::GE)
    .and(FilterOps::LE)
    .and(FilterOps::IN)
    .and(FilterOps::STARTS)
    .and(FilterOps::ENDS)
    .and(FilterOps::NULL);

/// What other resources usually compare.
const OTHERS: FilterOps =
    FilterOps::ORDERED.and(FilterOps::STARTS).and(FilterOps::CONTAINS).and(FilterOps::NULL);

pub(super) fn plan_path(
    path: &GraphPath,
    request: &QueryRequest,
    connection: &Connection,
) -> Result<Plan, QueryError> {
    if path.needs_user() && !connection.is_delegated() {
        let message = format!(
            "The connection '{}' acts as an application, which has no signed-in user, so '/{}' leads nowhere. Begin the \
             path with /users/adele@contoso.com instead of /me.",
            connection.name,
            path.encoded()
        );
        return Err(QueryError::field("user_id_required", "object", message));
    }
    let home = path.home();
    let columns = request.fields.iter().map(|field| column(field, home)).collect::<Result<Vec<_>, _>>()?;
    refuse_repeated(&columns)?;

    let mut scan = Scan { path: path.encoded().to_owned(), mailbox: path.mailbox(), ..Scan::default() };
    let mut residual = Vec::new();
    let mut filters_need_advanced = false;
    for condition in &request.conditions {
        let checked = check(&column(&condition.field, home)?, condition)?;
        let pushed = push(&checked, home);
        filters_need_advanced |= pushed.advanced && pushed.filter.is_some();
        if let Some(text) = pushed.filter {
            scan.filters.push(Filter { column: checked.column.name.clone(), text });
        }
        if pushed.residual {
            residual.push(checked);
        }
    }
    for order in &request.order_by {
        let path = column(&order.field, home)?.odata_path();
        scan.order.push(if order.descending { format!("{path} desc") } else { path });
    }
    scan.advanced = advanced(home, filters_need_advanced, &scan.order);
    let whole_rows = columns.is_empty();
    if !whole_rows {
        for column in columns.iter().chain(residual.iter().map(|condition| &condition.column)) {
            select_property(&mut scan.select, column);
        }
    }
    let offset = request.offset.unwrap_or(0);
    // `$top` is refused by single entities and by many collections, so it is sent only where it is known to be taken, or
    // where the operator has set a page size.
    scan.top = top(path.largest_page(), connection, request, offset, !residual.is_empty());
    let fits_one_page = one_page(scan.top, request, offset, !residual.is_empty());
    let mut slots = Slots::default();
    Ok(Plan {
        first: scan.into_request(),
        rest: Vec::new(),
        cells: columns.iter().map(|column| Cell::Slot(slots.of(&column.path))).collect(),
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
        offset,
        one_page: fits_one_page,
        absent_codes: &[],
    })
}

/// A field as written: `a/b` and `a_b` are property `b` of `a`. Names of directory extensions
/// (`extension_…_name`) contain underscores of their own and are left whole.
fn column(field: &str, home: Home) -> Result<Column, QueryError> {
    let field = field.trim();
    let separator: &[char] =
        match field.to_ascii_lowercase().starts_with("extension_") || field.starts_with('@') {
            true => &['/'],
            false => &['/', '_'],
        };
    let path: Vec<String> = field.split(separator).map(str::to_owned).collect();
    let well_formed = |part: &String| {
        let inner = part.strip_prefix("@odata.").unwrap_or(part);
        inner.starts_with(|first: char| first.is_ascii_alphabetic())
            && inner
                .chars()
                .all(|character| character.is_ascii_alphanumeric() || matches!(character, '_' | '.' | '@'))
    };
    if !path.iter().all(well_formed) {
        let shown = crate::error::clean_foreign_text(field);
        let message = format!(
            "'{shown}' is no name of a property. Write for example displayName, or body_content for a part."
        );
        return Err(QueryError::field("unknown_field", &shown, message));
    }
    let annotation = path[0].starts_with('@');
    let mut column = Column::property(field.to_owned(), path, ColumnKind::Any);
    column.filter = match home {
        _ if annotation => FilterOps::NONE,
        Home::Directory => DIRECTORY,
        Home::Mailbox => OTHERS,
    };
    Ok(column)
}
