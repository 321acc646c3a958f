//! How large the pages are and who leaves out the first rows. Pure.

use super::ordering::OrderBy;
use super::{Cardinality, ScanRequest};
use crate::connection::Connection;

/// The pages of a query.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Paging {
    /// The `$top` of each collection.
    pub(super) top: Option<u64>,
    /// Rows that the service leaves out first.
    pub(super) skip: u64,
    /// Rows that the agent leaves out first.
    pub(super) offset: u64,
    /// Whether the rows wanted fit into the first page.
    pub(super) one_page: bool,
}

/// Decides the pages. `narrowed`: whether the agent drops rows.
pub(super) fn paging(
    request: &ScanRequest,
    connection: &Connection,
    cardinality: Cardinality,
    order_by: OrderBy,
    narrowed: bool,
    largest: Option<u32>,
) -> Paging {
    let one_collection = cardinality == Cardinality::Collection && !order_by.is_here();
    let service_skips = one_collection && !narrowed && request.object.service_skips();
    let (skip, offset) = if service_skips { (request.offset, 0) } else { (0, request.offset) };
    if matches!(cardinality, Cardinality::Record | Cardinality::Records) {
        return Paging { top: None, skip, offset, one_page: true };
    }
    let reads_all = narrowed || order_by == OrderBy::Agent;
    let top = top(largest, connection, request.limit, offset, reads_all);
    let wanted = request.limit.map(|limit| limit.saturating_add(offset));
    let fits = matches!((top, wanted), (Some(top), Some(wanted)) if wanted <= top);
    Paging { top, skip, offset, one_page: one_collection && !narrowed && fits }
}

/// The `$top` of a collection: the largest page the resource and the connection take, and no more rows than wanted.
/// One row more than a cap of the connection is asked for, to know whether the cap cut anything.
fn top(
    largest: Option<u32>,
    connection: &Connection,
    limit: Option<u64>,
    skipped_by_agent: u64,
    reads_all: bool,
) -> Option<u64> {
    let page = match (largest, connection.page_size) {
        (Some(largest), Some(size)) => largest.min(size),
        (Some(only), None) | (None, Some(only)) => only,
        (None, None) => return None,
    };
    let wanted = limit.or_else(|| connection.max_rows.map(|rows| rows.saturating_add(1)));
    let wanted = wanted.filter(|_| !reads_all).map(|rows| rows.saturating_add(skipped_by_agent));
    Some(u64::from(page).min(wanted.unwrap_or(u64::MAX)).max(1))
}
