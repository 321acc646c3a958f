//! The plan of a query: what is asked of Graph, and what is left for the agent. Pure: the same request on the same
//! connection always gives the same plan.

use std::sync::Arc;

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

use super::error::QueryError;
use super::plan_object::plan_object;
use super::request::QueryRequest;
use super::residual::Residual;
use crate::catalog::{Catalog, Column, ColumnSource, Home, Object};
use crate::connection::Connection;
use crate::graph::{Effect, GraphRequest};

/// What a query comes to.
#[derive(Clone, Debug)]
pub struct Plan {
    /// What is queried.
    pub object: Arc<Object>,
    /// The first request; its next links are followed.
    pub first: GraphRequest,
    /// Requests after it, each for one record: the rest of an `id in (…)` that the service does not know.
    pub rest: Vec<GraphRequest>,
    /// The columns of the answer. Empty with [`Plan::whole_rows`]: they are whatever the rows have.
    pub columns: Vec<Column>,
    /// Whether rows go out whole, as the service wrote them (a Graph path without `fields`).
    pub whole_rows: bool,
    /// Where each column's cell comes from, in the order of `columns`.
    pub cells: Vec<Cell>,
    /// The JSON paths that are read out of a row; the slots of `cells` and `residual` count in here.
    pub slots: Vec<Vec<String>>,
    /// Conditions that the agent evaluates.
    pub residual: Vec<Residual>,
    /// The columns those are about, for the answer and the log.
    pub residual_fields: Vec<String>,
    /// The most rows, as the caller asked.
    pub limit: Option<u64>,
    /// The most rows by the connection's `MaxRows`, when the caller gave no limit.
    pub max_rows: Option<u64>,
    /// Rows that the agent leaves out first.
    pub offset: u64,
    /// Whether the rows wanted fit into the first page, so that reading ahead would fetch what nobody reads.
    pub one_page: bool,
    /// Error codes that mean "no such row" (a record asked for by id) and give no rows instead of an error.
    pub absent_codes: &'static [&'static str],
}

/// Where a column's cell comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Cell {
    /// A slot of [`Plan::slots`].
    Slot(usize),
    /// The same in every row, as JSON text.
    Constant(Vec<u8>),
}

/// Plans `request` on `connection` by `catalog`. `user_id`: the connection's `UserId` with its variables replaced.
///
/// # Errors
/// [`QueryError::BadRequest`], naming the field and the remedy.
pub fn plan(
    catalog: &Catalog,
    request: &QueryRequest,
    connection: &Connection,
    user_id: Option<&str>,
) -> Result<Plan, QueryError> {
    let object = catalog.find_object(&request.object).map_err(QueryError::unknown_object)?;
    plan_object(&object, request, connection, user_id)
}

/// A `$filter` part with the column it is about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Filter {
    pub(super) column: String,
    pub(super) text: String,
}

/// One request being put together.
#[derive(Clone, Debug, Default)]
pub(super) struct Scan {
    pub(super) path: String,
    pub(super) mailbox: Option<String>,
    pub(super) select: Vec<String>,
    pub(super) expand: Vec<String>,
    pub(super) filters: Vec<Filter>,
    pub(super) order: Vec<String>,
    pub(super) top: Option<u64>,
    pub(super) skip: u64,
    /// Whether it needs an advanced query of the directory.
    pub(super) advanced: bool,
}

impl Scan {
    /// The request. Its options always begin with `$`, which every Graph service understands.
    pub(super) fn into_request(self) -> GraphRequest {
        let mut options = Vec::new();
        let mut option = |name: &str, value: &str| {
            if !value.is_empty() {
                options.push(format!("${name}={}", utf8_percent_encode(value, QUERY)));
            }
        };
        let filters: Vec<&str> = self.filters.iter().map(|filter| filter.text.as_str()).collect();
        option("select", &self.select.join(","));
        option("expand", &self.expand.join(","));
        option("filter", &filters.join(" and "));
        option("orderby", &self.order.join(","));
        option("top", &self.top.map(|top| top.to_string()).unwrap_or_default());
        option(
            "skip",
            &Some(self.skip).filter(|skip| *skip > 0).map(|skip| skip.to_string()).unwrap_or_default(),
        );
        option("count", if self.advanced { "true" } else { "" });
        let query = if options.is_empty() { String::new() } else { format!("?{}", options.join("&")) };
        let consistency = self.advanced.then(|| ("ConsistencyLevel", "eventual".to_owned()));
        GraphRequest {
            method: http::Method::GET,
            path: format!("{}{query}", self.path),
            headers: consistency.into_iter().collect(),
            body: None,
            mailbox: self.mailbox,
            effect: Effect::Repeatable,
        }
    }
}

/// What may stand unencoded in the value of a query option: what OData writes and no URL parser changes.
const QUERY: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'.')
    .remove(b'_')
    .remove(b'~')
    .remove(b'(')
    .remove(b')')
    .remove(b',')
    .remove(b'/')
    .remove(b':')
    .remove(b'@');

/// The slots of a plan, each path once.
#[derive(Debug, Default)]
pub(super) struct Slots(pub(super) Vec<Vec<String>>);

impl Slots {
    /// The slot of `path`.
    pub(super) fn of(&mut self, path: &[String]) -> usize {
        if let Some(place) = self.0.iter().position(|known| known == path) {
            return place;
        }
        self.0.push(path.to_vec());
        self.0.len() - 1
    }
}

/// Refuses a column that is named twice: one of the two would be lost in a JSON object.
pub(super) fn refuse_repeated(columns: &[Column]) -> Result<(), QueryError> {
    for (place, column) in columns.iter().enumerate() {
        if columns[..place].iter().any(|earlier| earlier.name == column.name) {
            let message = format!("The field '{}' is named twice. Name it once.", column.name);
            return Err(QueryError::field("bad_request", &column.name, message));
        }
    }
    Ok(())
}

/// Adds a property to `$select`; annotations come by themselves and cannot be selected.
pub(super) fn select_property(select: &mut Vec<String>, column: &Column) {
    if let Some(top) = column.path.first()
        && column.source == ColumnSource::Property
        && !top.starts_with('@')
        && !select.contains(top)
    {
        select.push(top.clone());
    }
}

/// The `$top` of a collection: the largest page the resource and the connection take, and no more rows than wanted.
/// One row more than a cap of the connection is asked for, to know whether the cap cut anything.
pub(super) fn top(
    largest: Option<u32>,
    connection: &Connection,
    request: &QueryRequest,
    skipped_by_agent: u64,
    residual: bool,
) -> Option<u64> {
    let page = match (largest, connection.page_size) {
        (Some(largest), Some(size)) => largest.min(size),
        (Some(only), None) | (None, Some(only)) => only,
        (None, None) => return None,
    };
    let wanted = match request.limit {
        Some(limit) => Some(limit),
        None => connection.max_rows.map(|rows| rows.saturating_add(1)),
    };
    let wanted = wanted.filter(|_| !residual).map(|rows| rows.saturating_add(skipped_by_agent));
    Some(u64::from(page).min(wanted.unwrap_or(u64::MAX)).max(1))
}

/// Whether the first page holds all rows that the caller wants.
pub(super) fn one_page(
    top: Option<u64>,
    request: &QueryRequest,
    skipped_by_agent: u64,
    residual: bool,
) -> bool {
    let wanted = request.limit.map(|limit| limit.saturating_add(skipped_by_agent));
    !residual && matches!((top, wanted), (Some(top), Some(wanted)) if wanted <= top)
}

/// Whether a directory query needs the advanced headers.
pub(super) fn advanced(home: Home, filters_need_it: bool, order: &[String]) -> bool {
    home == Home::Directory && (filters_need_it || !order.is_empty())
}
