//! What the answer says about its plan: who evaluates what, and notes. Pure.

use super::ScanRequest;
use super::ordering::OrderBy;
use super::scope::{Owners, Scope};
use crate::error::clean_foreign_text;
use crate::query::odata::Joined;
use crate::query::plan::Evaluated;
use crate::query::split::{Filter, Split};
use crate::query::tree::Tree;

/// Who evaluates what. `filter`: the service's part that every scan has.
pub(super) fn evaluated(filter: &str, split: &Split, order_by: OrderBy) -> Evaluated {
    let mut fields: Vec<String> = Vec::new();
    for condition in split.residual.iter().flat_map(Tree::leaves) {
        if !fields.contains(&condition.column.name) {
            fields.push(condition.column.name.clone());
        }
    }
    let service = Some(filter.to_owned()).filter(|filter| !filter.is_empty());
    Evaluated {
        service: chunked(service, &split.chunks).map(|text| clean_foreign_text(&text)),
        agent: split.residual.iter().map(|tree| clean_foreign_text(&tree.to_string())).collect(),
        order: match order_by {
            OrderBy::Unordered => None,
            OrderBy::Service => Some("service"),
            OrderBy::Agent | OrderBy::Merge => Some("agent"),
        },
        fields,
    }
}

/// The service's part, with the first piece of a long list.
fn chunked(service: Option<String>, chunks: &[Filter]) -> Option<String> {
    let Some(first) = chunks.first() else { return service };
    let list = format!("{} (and {} more such lists)", first.pushed.inside(Joined::And), chunks.len() - 1);
    Some(service.map_or(list.clone(), |service| format!("{service} and {list}")))
}

/// What a reader of the answer must know about it.
pub(super) fn notes(request: &ScanRequest, scope: &Scope) -> Vec<String> {
    let left_out: Vec<&str> = request
        .object
        .columns()
        .iter()
        .filter(|column| column.select_only)
        .map(|column| column.name.as_str())
        .collect();
    let mut notes = Vec::new();
    if request.columns.is_none() && !left_out.is_empty() {
        let (shown, more) = (left_out.len().min(3), if left_out.len() > 3 { ", …" } else { "" });
        notes.push(format!(
            "{} columns that Microsoft Graph answers only by name are left out ({}{more}). Name them in `fields` to get them.",
            left_out.len(),
            left_out[..shown].join(", ")
        ));
    }
    if let Some(place) = request.object.default_place(scope.route) {
        let object = request.object.name().to_lowercase();
        notes.push(format!(
            "Only the {object} of the default folder are read. Give a condition on {place} for another."
        ));
    }
    if scope.owners == Owners::EverybodyByDefault {
        notes.push(format!(
            "The connection acts as an application, so the {} of every user are read. Give a condition on UserId for one \
             user's.",
            request.object.name().to_lowercase()
        ));
    }
    notes
}
