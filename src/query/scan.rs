//! One request being put together: its path and its query options, and the scans that a plan's places come to. Pure.

use std::sync::Arc;

use percent_encoding::utf8_percent_encode;

use super::odata::Joined;
use super::plan::{QUERY, Refused, Scan, Then};
use super::split::Filter;
use crate::catalog::{Column, ColumnSource, Home, NotLocated, Object, Owner, Recursion, Route};
use crate::graph::{Effect, GraphRequest};

/// The query options of a request.
#[derive(Clone, Debug, Default)]
pub(super) struct Options {
    /// Options without `$`, each with its value: the range of a calendar view.
    pub(super) plain: Vec<(&'static str, String)>,
    pub(super) select: Vec<String>,
    pub(super) expand: Vec<String>,
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

    /// The request for `path`. Options of OData always begin with `$`, which every Graph service understands.
    pub(super) fn request(&self, path: &str, mailbox: Option<String>) -> GraphRequest {
        let plain = |(name, value): &(&str, String)| format!("{name}={}", utf8_percent_encode(value, QUERY));
        let mut options: Vec<String> = self.plain.iter().map(plain).collect();
        let mut option = |name: &str, value: &str| {
            if !value.is_empty() {
                options.push(format!("${name}={}", utf8_percent_encode(value, QUERY)));
            }
        };
        option("select", &self.select.join(","));
        option("expand", &self.expand.join(","));
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
    pub(super) object: Arc<Object>,
    pub(super) route: Route,
    pub(super) options: Options,
    /// The place columns of the answer, in the order of [`Scan::places`].
    pub(super) places: Vec<String>,
    pub(super) rows: Option<u64>,
    /// Values of place columns by their declared names.
    pub(super) given: Vec<(&'static str, String)>,
    /// Whether the rows that hold further rows are read on.
    pub(super) descend: Option<Descend>,
}

/// How rows that hold further rows are read on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Descend {
    /// Which rows, and what their id is given to.
    pub(super) recursion: Recursion,
    /// The route to what is in such a row.
    pub(super) route: Route,
    /// How many levels further; absent: all.
    pub(super) left: Option<u32>,
}

/// Where the folders of one listing are read on.
#[derive(Clone, Debug)]
pub struct Folders {
    maker: Maker,
    owner: Option<Owner>,
    descend: Descend,
}

impl Folders {
    /// Which rows are read on.
    pub(super) fn recursion(&self) -> Recursion {
        self.descend.recursion
    }

    /// Whether the folders of this listing are too deep to be read.
    pub(super) fn is_last_level(&self) -> bool {
        self.descend.left == Some(0)
    }

    /// The scan of what is in the folder `id` of this listing.
    ///
    /// # Errors
    /// As [`Maker::scan`]; a folder is of a place that was found before.
    pub(super) fn inside(&self, id: &str) -> Result<Scan, NotLocated> {
        let mut maker = self.maker.clone();
        maker.route = self.descend.route;
        maker.given.retain(|(column, _)| *column != self.descend.recursion.column);
        maker.given.push((self.descend.recursion.column, id.to_owned()));
        maker.descend =
            Some(Descend { left: self.descend.left.map(|left| left.saturating_sub(1)), ..self.descend });
        let refused = Refused::LeavesOut { place: format!("the folder {id}"), named: true };
        maker.scan(self.owner.as_ref(), None, refused)
    }
}

impl Maker {
    /// The scan of `owner`'s collection, or of one `record` of it. A place column has a value in its rows only if the path
    /// holds that value.
    ///
    /// # Errors
    /// [`NotLocated`], when something that chooses the place is missing.
    pub(super) fn scan(
        &self,
        owner: Option<&Owner>,
        record: Option<&str>,
        refused: Refused,
    ) -> Result<Scan, NotLocated> {
        let location = self.object.locate_by(self.route, &self.given, owner, record)?;
        let options = match record {
            None => self.options.clone(),
            Some(_) => Options {
                select: self.options.select.clone(),
                expand: self.options.expand.clone(),
                ..Options::default()
            },
        };
        let place = |name: &String| {
            let given = self
                .given
                .iter()
                .find(|(column, _)| column.eq_ignore_ascii_case(name) && location.used.contains(column));
            let value = match (name.eq_ignore_ascii_case("UserId"), owner) {
                (true, Some(Owner::User(id))) if location.owner => Some(id.as_str()),
                (true, _) => None,
                (false, _) => given.map(|(_, value)| value.as_str()),
            };
            serde_json::Value::from(value).to_string().into_bytes()
        };
        let places = self.places.iter().map(place).collect::<Vec<_>>().into();
        Ok(Scan {
            request: options.request(&location.path, location.mailbox),
            // A path that does not begin with the owner is nobody's in particular.
            owner: owner.filter(|_| location.owner).and_then(|owner| match owner {
                Owner::User(name) => Some(name.as_str().into()),
                Owner::Me => None,
            }),
            places,
            rows: self.rows.filter(|_| record.is_none()),
            refused,
            then: match self.descend.filter(|_| record.is_none()) {
                None => Then::Deliver,
                Some(descend) => Then::DeliverAndDescend(Arc::new(Folders {
                    maker: self.clone(),
                    owner: owner.cloned(),
                    descend,
                })),
            },
        })
    }

    /// The scan of the mailbox of a user that a listing found.
    ///
    /// # Errors
    /// As [`Maker::scan`]; a plan is made only when there is none.
    pub(super) fn user(&self, id: &str) -> Result<Scan, NotLocated> {
        let refused = Refused::LeavesOut { place: id.to_owned(), named: false };
        self.scan(Some(&Owner::User(id.to_owned())), None, refused)
    }

    /// The scan that lists all users, each of whose mailboxes is then read.
    ///
    /// # Errors
    /// [`NotLocated`], when something besides the user is missing.
    pub(super) fn every_user(self) -> Result<Scan, NotLocated> {
        // What is missing for one user is missing for all, and is known before anything is sent.
        let refused = Refused::Fails(&[]);
        self.scan(Some(&Owner::User("somebody".to_owned())), None, refused)?;
        let options = Options { select: vec!["id".to_owned()], top: Some(999), ..Options::default() };
        Ok(Scan {
            request: options.request("users", None),
            owner: None,
            places: Arc::new([]),
            rows: None,
            refused: Refused::Fails(&[]),
            then: Then::EachUser(Arc::new(self)),
        })
    }
}

/// Adds a property to `$select`; annotations come by themselves and cannot be selected.
pub(super) fn select_property(select: &mut Vec<String>, column: &Column) {
    if let Some(top) = column.path.first()
        && matches!(column.source, ColumnSource::Property | ColumnSource::Etag)
        && !top.starts_with('@')
        && !select.contains(top)
    {
        select.push(top.clone());
    }
}

/// Whether a directory query needs the advanced headers.
pub(super) fn advanced(home: Home, filters_need_it: bool, order: &[String]) -> bool {
    home == Home::Directory && (filters_need_it || !order.is_empty())
}
