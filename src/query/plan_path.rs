//! Plans for Graph paths. Their types are not looked up: fields are taken as written, conditions go to the service by the
//! form of their value, and what the service does not know it refuses in its own words. Pure.

use std::sync::Arc;

use super::error::QueryError;
use super::plan::{Cell, Plan, Refused, Scan, Slots, Then, refuse_repeated};
use super::plan_named::{chunked, evaluated};
use super::request::QueryRequest;
use super::residual::Residual;
use super::scan::{Options, advanced, one_page, select_property, top};
use super::split::{Filter, split};
use super::tree::Tree;
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

    let mut conjuncts = Vec::new();
    for (index, node) in request.conditions.iter().enumerate() {
        let place = format!("conditions[{index}]");
        let tree = Tree::build(node, &place, &mut |condition| column(&condition.field, home))?;
        conjuncts.extend(tree.conjuncts());
    }
    let split = split(conjuncts, home);
    let mut order = Vec::new();
    for asked in &request.order_by {
        let path = column(&asked.field, home)?.odata_path();
        order.push(if asked.descending { format!("{path} desc") } else { path });
    }
    let several = split.chunks.len() > 1;
    if several && !order.is_empty() {
        let message = "A list of so many values is asked for in several requests, whose rows cannot be sorted here. Give \
                       fewer values, or leave orderBy out.";
        return Err(QueryError::request("bad_order", message));
    }
    let pushed = |filters: &[Filter]| filters.iter().any(|filter| filter.pushed.advanced);
    let advanced = advanced(home, pushed(&split.filters) || pushed(&split.chunks), &order);
    let whole_rows = columns.is_empty();
    let mut select = Vec::new();
    if !whole_rows {
        let residual = split.residual.iter().flat_map(Tree::leaves).map(|condition| &condition.column);
        columns.iter().chain(residual).for_each(|column| select_property(&mut select, column));
    }
    let offset = request.offset.unwrap_or(0);
    let narrowed = !split.residual.is_empty();
    // `$top` is refused by single entities and by many collections, so it is sent only where it is known to be taken, or
    // where the operator has set a page size.
    let top = top(path.largest_page(), connection, request, offset, narrowed);
    let options = Options { select, filters: split.filters.clone(), order, top, skip: 0, advanced };
    let scan = |chunk: Option<&Filter>| {
        let mut options = options.clone();
        options.filters.extend(chunk.cloned());
        Scan {
            request: options.request(path.encoded(), path.mailbox()),
            places: Arc::new([]),
            rows: None,
            refused: Refused::Fails(&[]),
            then: Then::Deliver,
        }
    };
    let scans = match split.chunks.as_slice() {
        [] => vec![scan(None)],
        chunks => chunks.iter().map(|chunk| scan(Some(chunk))).collect(),
    };
    let mut slots = Slots::default();
    let service = Some(options.filter()).filter(|filter| !filter.is_empty());
    Ok(Plan {
        scans,
        in_order: !several,
        cells: columns.iter().map(|column| Cell::Slot(slots.of(&column.path))).collect(),
        whole_rows,
        residual: split
            .residual
            .iter()
            .map(|tree| Residual::new(tree, &mut |column| slots.of(&column.path)))
            .collect(),
        sort: Vec::new(),
        slots: slots.0,
        columns,
        limit: request.limit,
        max_rows: connection.max_rows.filter(|_| request.limit.is_none()),
        offset,
        one_page: !several && one_page(top, request, offset, narrowed),
        evaluated: evaluated(
            chunked(service, &split.chunks),
            &split.residual,
            !options.order.is_empty(),
            false,
        ),
        notes: Vec::new(),
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
