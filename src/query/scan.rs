//! One request being put together: its path and its query options, and the scans that a plan's places come to. Pure.

use std::sync::Arc;

use percent_encoding::utf8_percent_encode;

use super::odata::Joined;
use super::plan::{QUERY, Refused, Scan, Then};
use super::request::QueryRequest;
use super::split::Filter;
use crate::catalog::{Column, Home, Object, Owner, PathPart};
use crate::connection::Connection;
use crate::graph::{Effect, GraphRequest};

/// The query options of a request.
#[derive(Clone, Debug, Default)]
pub(super) struct Options {
    pub(super) select: Vec<String>,
    pub(super) filters: Vec<Filter>,
    pub(super) order: Vec<String>,
    pub(super) top: Option<u64>,
    pub(super) skip: u64,
    /// Whether it needs an advanced query of the directory.
    pub(super) advanced: bool,
}

impl Options {
    /// The text of `$filter`, not yet percent-encoded.
    pub(super) fn filter(&self) -> String {
        let texts: Vec<String> =
            self.filters.iter().map(|filter| filter.pushed.inside(Joined::And)).collect();
        texts.join(" and ")
    }

    /// The request for `path`. Its options always begin with `$`, which every Graph service understands.
    pub(super) fn request(&self, path: &str, mailbox: Option<String>) -> GraphRequest {
        let mut options = Vec::new();
        let mut option = |name: &str, value: &str| {
            if !value.is_empty() {
                options.push(format!("${name}={}", utf8_percent_encode(value, QUERY)));
            }
        };
        option("select", &self.select.join(","));
        option("filter", &self.filter());
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
            path: format!("{path}{query}"),
            headers: consistency.into_iter().collect(),
            body: None,
            mailbox,
            effect: Effect::Repeatable,
        }
    }
}

/// Makes the scans of one object for whatever place its rows are read from.
#[derive(Clone, Debug)]
pub struct Maker {
    pub(super) object: &'static Object,
    pub(super) options: Options,
    /// The place columns of the answer, in the order of [`Scan::places`].
    pub(super) places: Vec<String>,
    pub(super) rows: Option<u64>,
    /// The part of the mailbox that is read from each owner.
    pub(super) part: Option<(&'static PathPart, String)>,
}

impl Maker {
    /// The scan of `owner`'s collection, or of one `record` of it.
    pub(super) fn scan(
        &self,
        owner: &Owner,
        part: Option<(&'static PathPart, &str)>,
        record: Option<&str>,
        refused: Refused,
    ) -> Scan {
        let path = match record {
            None => self.object.collection_path(owner, part),
            Some(id) => self.object.record_path(owner, part, id),
        };
        let options = match record {
            None => self.options.clone(),
            Some(_) => Options { select: self.options.select.clone(), ..Options::default() },
        };
        let place = |name: &String| {
            let value = match (name.as_str(), owner, part) {
                ("UserId", Owner::User(id), _) => Some(id.as_str()),
                (name, _, Some((part, value))) if part.column == name => Some(value),
                _ => None,
            };
            serde_json::Value::from(value).to_string().into_bytes()
        };
        Scan {
            request: options.request(&path, mailbox(self.object, owner, part)),
            places: self.places.iter().map(place).collect::<Vec<_>>().into(),
            rows: self.rows.filter(|_| record.is_none()),
            refused,
            then: Then::Deliver,
        }
    }

    /// The scan of the mailbox of a user that a listing found.
    pub(super) fn user(&self, id: &str) -> Scan {
        let refused = Refused::LeavesOut { place: id.to_owned(), named: false };
        let part = self.part.as_ref().map(|(part, value)| (*part, value.as_str()));
        self.scan(&Owner::User(id.to_owned()), part, None, refused)
    }

    /// The scan that lists all users, each of whose mailboxes is then read.
    pub(super) fn every_user(self) -> Scan {
        let options = Options { select: vec!["id".to_owned()], top: Some(999), ..Options::default() };
        Scan {
            request: options.request("users", None),
            places: Arc::new([]),
            rows: None,
            refused: Refused::Fails(&[]),
            then: Then::EachUser(Arc::new(self)),
        }
    }
}

fn mailbox(object: &Object, owner: &Owner, part: Option<(&PathPart, &str)>) -> Option<String> {
    match (object.home(), part) {
        (Home::Directory, _) => None,
        (Home::Mailbox, Some((part, value))) if !part.below_owner => {
            Some(format!("{}/{}", part.segment, value.to_lowercase()))
        }
        (Home::Mailbox, _) => Some(owner.mailbox()),
    }
}

/// Adds a property to `$select`; annotations come by themselves and cannot be selected.
pub(super) fn select_property(select: &mut Vec<String>, column: &Column) {
    if let Some(top) = column.path.first()
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
