//! An object with its columns and its places: one of the catalog's own, or any Graph path. Both answer the same questions,
//! so that nobody needs to know which it is. Never sends, and never decides how a request is spelled beyond its path.

use std::borrow::Cow;
use std::sync::{Arc, OnceLock};

use super::column::{Column, ColumnKind, ColumnSource};
use super::definition::{Definition, InsertNeed, Names, Range, Recursion};
use super::facts::{Facts, TypeId};
use super::flatten::{flatten, unlisted};
use super::path::GraphPath;
use super::path_object::{PathObject, guessed_filter};
use super::route::{Location, NotLocated, Owner, Route, RouteUse, fill, pick, placeholders};
use super::untyped::untyped;
use super::{CatalogError, did_you_mean};
use crate::connection::ActivityKind;

/// Whose an object's rows are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Home {
    /// In a mailbox: Outlook's rules for filters and its limit of requests side by side hold.
    Mailbox,
    /// The tenant's directory, with its rules for advanced queries.
    Directory,
    /// Elsewhere: drives, sites, planner, bookings.
    Other,
}

/// The column that says whose a row is.
const USER: &str = "UserId";

/// An object.
pub struct Object {
    name: String,
    kind: Kind,
    facts: Arc<Facts>,
    graph_type: Option<TypeId>,
    columns: Vec<Column>,
    unlisted: OnceLock<Vec<Column>>,
    /// Whether Microsoft's pages show its path as one for reading only, once somebody asked.
    pub(super) read_only_path: OnceLock<bool>,
}

enum Kind {
    Named(&'static Definition),
    Path(Box<PathObject>),
}

impl std::fmt::Debug for Object {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Object").field("name", &self.name).finish_non_exhaustive()
    }
}

impl Object {
    /// The object that `definition` declares.
    pub(super) fn named(definition: &'static Definition, facts: Arc<Facts>) -> Self {
        let graph_type = facts.find(definition.graph_type);
        // A schema without the type (another cloud) leaves the object with its places only.
        let mut flattened = graph_type.map(|kind| flatten(&facts, kind, definition.etag)).unwrap_or_default();
        if let Some(listed) = definition.listed_type.and_then(|name| facts.find(name)) {
            for column in &mut flattened {
                let top = column.path.first().map_or("", String::as_str);
                column.derived =
                    column.source == ColumnSource::Property && facts.property(listed, top).is_none();
            }
        }
        let columns = definition.columns(flattened);
        Self {
            name: definition.name.to_owned(),
            kind: Kind::Named(definition),
            facts,
            graph_type,
            columns,
            unlisted: OnceLock::new(),
            read_only_path: OnceLock::new(),
        }
    }

    /// The object at `path`.
    pub(super) fn at(path: GraphPath, facts: Arc<Facts>) -> Self {
        let place = PathObject::new(path, &facts);
        Self::of_place(place, facts)
    }

    /// The object that a path is.
    pub(super) fn of_place(place: PathObject, facts: Arc<Facts>) -> Self {
        let mut columns = place.columns(&facts);
        for column in &mut columns {
            guessed_filter(column, place.home());
        }
        Self {
            name: format!("/{}", place.path.encoded()),
            graph_type: place.graph_type,
            kind: Kind::Path(Box::new(place)),
            facts,
            columns,
            unlisted: OnceLock::new(),
            read_only_path: OnceLock::new(),
        }
    }

    /// Its name (`Messages`), or its path with a leading slash.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The Graph path it is, when it is one.
    pub fn path(&self) -> Option<&GraphPath> {
        self.place().map(|place| &place.path)
    }

    pub(super) fn place(&self) -> Option<&PathObject> {
        if let Kind::Path(place) = &self.kind { Some(place) } else { None }
    }

    pub(super) fn definition(&self) -> Option<&'static Definition> {
        if let Kind::Named(definition) = self.kind { Some(definition) } else { None }
    }

    /// The name of its Graph type (`microsoft.graph.message`), where the facts know it.
    pub fn graph_type(&self) -> Option<String> {
        self.graph_type.map(|kind| format!("microsoft.graph.{}", self.facts.name(kind)))
    }

    /// Whose its rows are.
    pub fn home(&self) -> Home {
        match &self.kind {
            Kind::Named(definition) => definition.home,
            Kind::Path(place) => place.home(),
        }
    }

    /// Whether it is one record rather than a collection (`/me`, `/me/mailboxSettings`). An unknown path counts as a
    /// collection, which takes both kinds of answers.
    pub fn is_single(&self) -> bool {
        self.place().is_some_and(PathObject::is_single)
    }

    /// Whether a route leads to one record rather than to a collection.
    pub fn is_single_by(&self, route: Route) -> bool {
        self.is_single()
            || self.definition().is_some_and(|definition| definition.single.contains(&route.template))
    }

    /// The place column without whose value this route shows the default place alone (the default folder of contacts).
    pub fn default_place(&self, route: Route) -> Option<&'static str> {
        let column = self.definition().and_then(|definition| definition.default_place)?;
        (route.wanted == RouteUse::List && !route.uses(column)).then_some(column)
    }

    /// Whether its rows go out as the service wrote them when no columns are named: those of a path, which may be of
    /// several types.
    pub fn has_whole_rows(&self) -> bool {
        self.place().is_some()
    }

    /// Whether what is not known of a column is left to the service (paths) or to the agent (the catalog's own objects).
    pub fn is_lenient(&self) -> bool {
        self.place().is_some()
    }

    /// The columns of its list, in order. Empty: the facts do not know the path.
    pub fn columns(&self) -> &[Column] {
        &self.columns
    }

    /// The column with this name, in any case. Besides those of the list: the whole of a complex property that may hold
    /// more than its declared parts, and for a path the properties of derived types, related records, and any other name
    /// as a column without type.
    ///
    /// # Errors
    /// A sentence with the nearest name.
    pub fn column(&self, name: &str) -> Result<Cow<'_, Column>, CatalogError> {
        let flat = name.replace('/', "_");
        // Files have both `Etag`, the row's tag, and `eTag`, a property: the name as it is written wins.
        let exactly = |column: &&Column| column.name == flat;
        let is = |column: &&Column| column.name.eq_ignore_ascii_case(&flat);
        let listed = || self.columns.iter().find(exactly).or_else(|| self.columns.iter().find(is));
        if let Some(found) = listed().or_else(|| self.unlisted().iter().find(is)) {
            return Ok(Cow::Borrowed(found));
        }
        if let Some(place) = self.place() {
            return untyped(&self.facts, self.graph_type, name, place.home()).map(Cow::Owned);
        }
        let near = did_you_mean(name, self.columns.iter().map(|column| column.name.as_str()));
        let object = self.name();
        Err(CatalogError::new(format!(
            "{object} has no column '{name}'.{near} GET …/objects/{object} lists its columns."
        )))
    }

    /// Whether rows may hold properties that the metadata does not declare.
    pub fn is_open(&self) -> bool {
        self.graph_type.is_some_and(|kind| self.facts.is_open(kind))
    }

    /// The columns that are found by name but stand in no list.
    pub fn unlisted(&self) -> &[Column] {
        self.unlisted.get_or_init(|| {
            let Some(kind) = self.graph_type else { return Vec::new() };
            let mut found = unlisted(&self.facts, kind, &self.columns, self.place().is_some());
            if let Some(place) = self.place() {
                found.iter_mut().for_each(|column| guessed_filter(column, place.home()));
            } else if self.has_owner()
                && !self.columns.iter().any(|column| column.name.eq_ignore_ascii_case(USER))
            {
                let mut owner = Column::property(USER.to_owned(), Vec::new(), ColumnKind::String);
                owner.source = ColumnSource::Place;
                found.push(owner);
            }
            found
        })
    }

    /// The type of a property of a whole row.
    pub fn kind_of_property(&self, name: &str) -> ColumnKind {
        let top = |column: &&Column| column.path.len() == 1 && column.path[0] == name;
        let found = self.columns.iter().find(top).or_else(|| self.unlisted().iter().find(top));
        let part = |column: &Column| column.path.first().is_some_and(|first| first == name);
        match found {
            Some(column) => column.kind,
            None if self.columns.iter().any(part) => ColumnKind::Json,
            None => ColumnKind::Any,
        }
    }

    /// The columns that are answered when none are named.
    pub fn default_columns(&self) -> Vec<&Column> {
        let named = self.definition().map_or(&[][..], |definition| definition.default_columns);
        let shown = |column: &&Column| match named {
            [] => !column.select_only && matches!(column.source, ColumnSource::Property | ColumnSource::Etag),
            named => named.contains(&column.name.as_str()),
        };
        self.columns.iter().filter(shown).collect()
    }

    /// Whether the service answers exactly the default columns when nothing is selected.
    pub fn default_needs_no_select(&self) -> bool {
        self.definition().is_none_or(|definition| definition.default_columns.is_empty())
    }

    /// Every way to its rows or records. A Graph path is the only way to its own rows.
    pub fn ways(&self, wanted: RouteUse) -> Vec<Route> {
        match self.place() {
            Some(_) if wanted == RouteUse::List => vec![Route { wanted, template: "" }],
            _ => self.routes(wanted).iter().map(|template| Route { wanted, template }).collect(),
        }
    }

    fn routes(&self, wanted: RouteUse) -> &'static [&'static str] {
        self.definition().map_or(&[], |definition| match wanted {
            RouteUse::List => definition.list,
            RouteUse::Create => definition.create,
            RouteUse::Record => definition.record,
        })
    }

    /// The declared name of the column that `name` (any case, or another name for it) is, when its value chooses a place
    /// for `wanted`. `UserId` is none: it chooses the owner.
    pub fn place_column(&self, wanted: RouteUse, name: &str) -> Option<&'static str> {
        let aliases = self.definition().map_or(&[][..], |definition| definition.aliases);
        let alias =
            aliases.iter().find(|(alias, _)| alias.eq_ignore_ascii_case(name)).map(|(_, column)| *column);
        let name = alias.unwrap_or(name);
        let mut columns = self.routes(wanted).iter().flat_map(|template| placeholders(template));
        columns.find(|column| column.eq_ignore_ascii_case(name))
    }

    /// All columns whose values choose where rows are read from.
    pub fn place_columns(&self) -> Vec<&'static str> {
        let mut all: Vec<&'static str> = Vec::new();
        for column in self.routes(RouteUse::List).iter().flat_map(|template| placeholders(template)) {
            if !all.contains(&column) {
                all.push(column);
            }
        }
        all
    }

    /// The path templates for `wanted`.
    pub(super) fn templates(&self, wanted: RouteUse) -> &'static [&'static str] {
        self.routes(wanted)
    }

    /// Whether no query can do without this place column.
    pub fn needs_place(&self, column: &str) -> bool {
        let routes = self.routes(RouteUse::List);
        !routes.is_empty() && routes.iter().all(|template| placeholders(template).any(|name| name == column))
    }

    /// Whether `UserId` means anything: rows are one user's.
    pub fn has_owner(&self) -> bool {
        self.routes(RouteUse::List).iter().any(|template| super::route::has_owner(template))
    }

    /// Whether single records are read by a path of their own.
    pub fn has_record_route(&self) -> bool {
        !self.routes(RouteUse::Record).is_empty()
    }

    /// Where it is. `given`: values of place columns by their declared names; `owner`: whose, when somebody says so; `id`:
    /// the record's. A path is where it is, and its records are below it.
    ///
    /// # Errors
    /// [`NotLocated`], when something is missing.
    pub fn locate(
        &self,
        wanted: RouteUse,
        given: &[(&'static str, String)],
        owner: Option<&Owner>,
        id: Option<&str>,
    ) -> Result<Location, NotLocated> {
        if let Some(place) = self.place() {
            let path = match id {
                Some(id) => place.path.below(id),
                None => place.path.encoded().to_owned(),
            };
            return Ok(Location { path, mailbox: place.path.mailbox(), used: Vec::new(), owner: false });
        }
        let routes = self.routes(wanted);
        if routes.is_empty() {
            let name = self.name();
            let what = if wanted == RouteUse::Create { "no new" } else { "no single" };
            let message = format!(
                "Microsoft Graph takes {what} records of {name}. GET …/objects/{name} tells what it takes."
            );
            return Err(NotLocated::Wrong { field: "object".to_owned(), error: CatalogError::new(message) });
        }
        let template = pick(routes, given, self.name())?;
        self.locate_by(Route { wanted, template }, given, owner, id)
    }

    /// Where it is by `route`, one of [`Object::ways`]. `given` has a value for each column of the route.
    ///
    /// # Errors
    /// [`NotLocated::OwnerNeeded`].
    pub fn locate_by(
        &self,
        route: Route,
        given: &[(&'static str, String)],
        owner: Option<&Owner>,
        id: Option<&str>,
    ) -> Result<Location, NotLocated> {
        match self.place() {
            Some(_) => self.locate(route.wanted, given, owner, id),
            None => fill(route.template, given, owner, id, self.home() == Home::Mailbox),
        }
    }

    /// The sentence that names the places without which no row is found.
    ///
    /// # Errors
    /// [`NotLocated::Wrong`], when `given` is not enough for any list.
    pub fn has_enough_places(&self, given: &[(&'static str, String)]) -> Result<(), NotLocated> {
        match self.routes(RouteUse::List) {
            [] => Ok(()),
            routes => pick(routes, given, self.name()).map(|_| ()),
        }
    }

    /// The way to a record whose row was read by `found`: a record is looked for only where its row was seen.
    ///
    /// # Errors
    /// A sentence, when no single record of that place can be reached.
    pub fn record_way(&self, found: Route) -> Result<Route, CatalogError> {
        if self.place().is_some() || found.wanted == RouteUse::Record {
            return Ok(Route { wanted: RouteUse::Record, ..found });
        }
        let leads_there = |route: &Route| {
            route.columns().all(|column| found.uses(column)) && (found.has_owner() || !route.has_owner())
        };
        let ways = self.ways(RouteUse::Record);
        let way = ways.into_iter().filter(leads_there).max_by_key(|route| route.columns().count());
        way.ok_or_else(|| {
            let place = found.columns().collect::<Vec<_>>().join(" and ");
            CatalogError::new(format!(
                "Microsoft Graph reaches no single record of {} by {place}, so those found there can be neither changed \
                 nor removed.",
                self.name()
            ))
        })
    }

    /// Whether `value` stands for a record by another name than its id (`inbox`, `root`, a user principal name): then what
    /// to query for the id. A path takes such a name; no row has it, so it never compares with the ids of rows.
    pub fn name_in_path(&self, column: &str, value: &str) -> Option<&'static str> {
        let names = self.definition().map_or(&[][..], |definition| definition.names_in_path);
        let (_, names) = names.iter().find(|(known, _)| known.eq_ignore_ascii_case(column))?;
        let is_name = match names.names {
            Names::These(names) => names.iter().any(|name| name.eq_ignore_ascii_case(value.trim())),
            Names::Principals => value.contains('@'),
        };
        is_name.then_some(names.read)
    }

    /// The most rows a page can hold, when it is known that it takes `$top`.
    pub fn largest_page(&self) -> Option<u32> {
        match &self.kind {
            Kind::Named(definition) => definition.largest_page,
            Kind::Path(place) => place.largest_page,
        }
    }

    /// The page to ask for when `selected` properties are answered (none: all of them).
    pub fn page_for(&self, selected: &[String]) -> Option<u32> {
        let Some(definition) = self.definition() else { return self.largest_page() };
        let Some((heavy, page)) = definition.heavy else { return definition.largest_page };
        let is_heavy = selected.is_empty() || selected.iter().any(|name| heavy.contains(&name.as_str()));
        if is_heavy { Some(page) } else { definition.largest_page }
    }

    /// What a new record must have.
    pub fn insert_needs(&self) -> &'static [InsertNeed] {
        self.definition().map_or(&[], |definition| definition.insert_needs)
    }

    /// The columns that bound the range of time it shows, when the service shows only a range.
    pub fn range(&self) -> Option<&'static Range> {
        self.definition().and_then(|definition| definition.range.as_ref())
    }

    /// How rows that hold further rows are read on.
    pub fn recursion(&self) -> Option<&'static Recursion> {
        self.definition().and_then(|definition| definition.recursion.as_ref())
    }

    /// Whether an application that names no user means every user.
    pub fn walks_users(&self) -> bool {
        self.definition().is_some_and(|definition| definition.walks_users)
    }

    /// Whether columns of the order must lead the filter.
    pub fn order_leads_filter(&self) -> bool {
        self.definition().is_some_and(|definition| definition.order_leads_filter)
    }

    /// Whether the service skips rows when it is told to.
    pub fn service_skips(&self) -> bool {
        self.definition().is_some() && self.home() == Home::Mailbox && self.range().is_none()
    }

    /// Error codes that mean "there is no such row".
    pub fn absent_codes(&self) -> &'static [&'static str] {
        self.definition().map_or(&[], |definition| definition.absent_codes)
    }

    /// Refuses what the service does not do with records of this object. A path takes what the service takes, unless the
    /// metadata or Microsoft's pages say that it does not (`path_writes.rs`).
    ///
    /// # Errors
    /// A sentence with what to use instead.
    pub fn allows(&self, kind: ActivityKind) -> Result<(), CatalogError> {
        let Some(definition) = self.definition() else { return self.allows_at_path(kind) };
        let (allowed, what) = match kind {
            ActivityKind::Create => (!definition.create.is_empty(), "makes no new"),
            ActivityKind::Update => (definition.update, "does not change"),
            ActivityKind::Delete => (definition.delete, "does not remove"),
            ActivityKind::Query | ActivityKind::Execute => (true, ""),
        };
        if allowed {
            return Ok(());
        }
        let (name, instead) = (self.name(), definition.instead);
        Err(CatalogError::new(format!(
            "Microsoft Graph {what} records of {name}.{instead} GET …/objects/{name} tells what it takes."
        )))
    }

    /// Whether the service refuses to change or remove a record without `If-Match`, that is without the column `Etag`:
    /// everything of Planner ("plannerTask: update" and its kind), also below a path.
    pub fn needs_etag(&self) -> bool {
        match self.definition() {
            Some(definition) => definition.etag_required,
            None => self.graph_type.is_some_and(|kind| self.facts.name(kind).starts_with("planner")),
        }
    }

    /// The `@odata.type` that records must say, where their collection holds several types.
    pub fn record_type(&self) -> Option<String> {
        self.definition()?.listed_type?;
        self.graph_type().map(|kind| format!("#{kind}"))
    }
}

#[cfg(test)]
#[path = "object_tests.rs"]
mod tests;
