//! The plan of a query: what is asked of Graph, and what is left for the agent. Pure: the same request on the same
//! connection always gives the same plan. Conditions end here, and whatever else asks for rows ends here too.

use std::sync::Arc;

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC};

use super::error::QueryError;
use super::findings::Watched;
use super::planner::{Caller, ScanRequest};
use super::request::QueryRequest;
use super::residual::Residual;
use super::scan::{Folders, Maker};
use super::sort::SortKey;
use crate::catalog::{Catalog, Column, Object, Route};
use crate::clock::Timestamp;
use crate::connection::Connection;
use crate::graph::GraphRequest;

/// What a query comes to.
#[derive(Clone, Debug)]
pub struct Plan {
    /// What is queried.
    pub object: Arc<Object>,
    /// The route that every scan reads by.
    pub route: Route,
    /// What is read; with more than one, side by side.
    pub scans: Vec<Scan>,
    /// Whether the rows of one scan come before those of the next. Otherwise they come as they arrive: those of one
    /// scan in their order, mixed with those of others.
    pub in_order: bool,
    /// The columns of the answer. Empty with [`Plan::whole_rows`]: they are whatever the rows have.
    pub columns: Vec<Column>,
    /// Whether rows go out whole, as the service wrote them (a Graph path without `fields`).
    pub whole_rows: bool,
    /// Where each column's cell comes from, in the order of `columns`.
    pub cells: Vec<Cell>,
    /// The JSON paths that are read out of a row; the slots of `cells`, `residual` and `sort` count in here.
    pub slots: Vec<Vec<String>>,
    /// Slots that take the cell of another one where a row has nothing of their own.
    pub fallbacks: Vec<(usize, usize)>,
    /// The columns about which only the rows can tell.
    pub watched: Vec<Watched>,
    /// Conditions that the agent evaluates, all of which must hold.
    pub residual: Vec<Residual>,
    /// The order in which the agent puts the rows; empty: as they come.
    pub sort: Vec<SortKey>,
    /// The most rows, as the caller asked.
    pub limit: Option<u64>,
    /// The most rows by the connection's `MaxRows`, when the caller gave no limit.
    pub max_rows: Option<u64>,
    /// Rows that the agent leaves out first.
    pub offset: u64,
    /// Whether the rows wanted fit into the first page, so that reading ahead would fetch what nobody reads.
    pub one_page: bool,
    /// Who evaluates what.
    pub evaluated: Evaluated,
    /// What a reader of the answer must know about it: sentences.
    pub notes: Vec<String>,
}

/// One collection or record that is read.
#[derive(Clone, Debug)]
pub struct Scan {
    /// The first request; its next links are followed.
    pub request: GraphRequest,
    /// Whose it is, as the caller named the user.
    pub owner: Option<Arc<str>>,
    /// The cells of [`Cell::Place`], as JSON text.
    pub places: Arc<[Vec<u8>]>,
    /// The most rows that are of use, when the service sorts them and others may be read beside it.
    pub rows: Option<u64>,
    /// What a refusal of it means.
    pub refused: Refused,
    /// What becomes of its rows.
    pub then: Then,
}

/// What it means that the service refuses a scan.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Refused {
    /// The query has failed, except that these codes (with 404) mean "no such row" and give no rows.
    Fails(&'static [&'static str]),
    /// This one of many places cannot be read; the others can, and the end says which were left out.
    LeavesOut {
        /// The place as the caller named it.
        place: String,
        /// Whether the caller named it; otherwise it was found by listing, and having no mailbox is no fault.
        named: bool,
    },
}

/// What becomes of the rows of a scan.
#[derive(Clone, Debug)]
pub enum Then {
    /// They are rows of the answer.
    Deliver,
    /// They are, and those that hold further rows are read on.
    DeliverAndDescend(Arc<Folders>),
    /// Each names a user, whose rows are read next.
    EachUser(Arc<Maker>),
}

/// Where a column's cell comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cell {
    /// A slot of [`Plan::slots`].
    Slot(usize),
    /// The same in every row of a scan: one of [`Scan::places`].
    Place(usize),
}

/// Who evaluates the conditions and the order: the service before the rows travel, or the agent on the rows that came.
#[derive(Clone, Debug, Default, PartialEq, Eq, serde::Serialize, utoipa::ToSchema)]
pub struct Evaluated {
    /// The `$filter` that the service evaluates.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub service: Option<String>,
    /// Conditions that the agent evaluates, all of which must hold.
    pub agent: Vec<String>,
    /// Who sorts: `service` or `agent`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub order: Option<&'static str>,
    /// The fields of `agent`.
    #[serde(skip)]
    pub fields: Vec<String>,
}

impl Evaluated {
    /// Whether there was nothing to evaluate.
    pub fn is_empty(&self) -> bool {
        self.service.is_none() && self.agent.is_empty() && self.order.is_none()
    }
}

/// Plans `request` on `connection` by `catalog`. `user_id`: the connection's `UserId` with its variables replaced. `now`
/// bounds the range of a calendar view for which the caller gives none.
///
/// # Errors
/// [`QueryError::BadRequest`], naming the field and the remedy.
pub fn plan(
    catalog: &Catalog,
    request: &QueryRequest,
    connection: &Connection,
    user_id: Option<&str>,
    now: Timestamp,
) -> Result<Plan, QueryError> {
    let object = catalog.find_object(&request.object).map_err(QueryError::unknown_object)?;
    ScanRequest::bind(&object, &request.fields, &request.conditions, &request.order_by)?
        .window(request.limit, request.offset.unwrap_or(0))
        .plan(&Caller { connection, user_id, now })
}

/// What may stand unencoded in the value of a query option: what OData writes and no URL parser changes.
pub(super) const QUERY: &AsciiSet = &NON_ALPHANUMERIC
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
pub(super) struct Slots(pub(super) Vec<Vec<String>>, pub(super) Vec<(usize, usize)>);

impl Slots {
    /// The slot of `column`, whose name may be read in two ways.
    pub(super) fn of_column(&mut self, column: &Column) -> usize {
        let slot = self.of(&column.path);
        if let Some(fallback) = &column.fallback {
            let pair = (slot, self.of(fallback));
            if !self.1.contains(&pair) {
                self.1.push(pair);
            }
        }
        slot
    }

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
