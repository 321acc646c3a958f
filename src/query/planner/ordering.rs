//! Who puts the rows in order, and what that costs the filter: a service that sorts by one column may not be asked to
//! filter by another. Pure.

use super::{Cardinality, ScanRequest};
use crate::catalog::{Column, ColumnKind, ColumnSource};
use crate::query::odata::{ALWAYS_PRESENT, Joined, Pushed};
use crate::query::split::{Filter, Split};
use crate::query::tree::Tree;

/// Who puts the rows in order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum OrderBy {
    /// Nobody: none is asked for, or there is one row.
    Unordered,
    /// The service.
    Service,
    /// The agent, which looks at all rows.
    Agent,
    /// The agent, with the first rows of each of several collections that the service sorts.
    Merge,
}

impl OrderBy {
    /// Whether the service is asked to sort.
    pub(super) fn is_pushed(self) -> bool {
        matches!(self, Self::Service | Self::Merge)
    }

    /// Whether the agent sorts what comes.
    pub(super) fn is_here(self) -> bool {
        matches!(self, Self::Agent | Self::Merge)
    }
}

/// Decides who sorts: the service, if it can and there is one collection; else the agent. May change what of `rows`, all
/// that must hold, is pushed down.
pub(super) fn ordering(
    request: &ScanRequest,
    cardinality: Cardinality,
    split: &mut Split,
    rows: Vec<Tree>,
) -> OrderBy {
    if request.order.is_empty() {
        return OrderBy::Unordered;
    }
    let wanted = match cardinality {
        Cardinality::Record => return OrderBy::Unordered,
        Cardinality::Records => return OrderBy::Agent,
        Cardinality::Collection if request.order.iter().all(|(column, _)| service_sorts(request, column)) => {
            OrderBy::Service
        }
        Cardinality::Collection | Cardinality::Collections if may_merge(request, split) => OrderBy::Merge,
        Cardinality::Collection | Cardinality::Collections => return OrderBy::Agent,
    };
    if !request.object.order_leads_filter() || split.filters.is_empty() {
        return wanted;
    }
    match (lead_with_order(&request.order, &split.filters), wanted) {
        (Some(filters), _) => {
            split.filters = filters;
            wanted
        }
        (None, OrderBy::Merge) => OrderBy::Agent,
        // With a limit the agent sorts what the filter leaves, in little memory. Without one it would have to hold all
        // rows, so the service sorts and the agent filters.
        (None, _) if request.limit.is_some() => OrderBy::Agent,
        (None, _) => {
            *split = Split { residual: rows, ..Split::default() };
            wanted
        }
    }
}

/// Whether the service sorts by `column`. What is not known of a path is left to the service.
fn service_sorts(request: &ScanRequest, column: &Column) -> bool {
    column.sortable || (request.object.is_lenient() && column.source == ColumnSource::Property)
}

/// Whether the first rows of each of several collections are enough. Only for values whose order is the same everywhere:
/// text is put in order by rules that differ.
fn may_merge(request: &ScanRequest, split: &Split) -> bool {
    use ColumnKind::{Bool, Date, DateTime, Int32, Int64};
    request.limit.is_some()
        && split.residual.is_empty()
        && split.chunks.is_empty()
        && request.order.iter().all(|(column, _)| {
            column.sortable && matches!(column.kind, DateTime | Date | Int32 | Int64 | Bool)
        })
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
