//! What makes a Graph path an object: its type by the facts, its page size, and what its service probably compares. Never
//! refuses a path.

use super::column::{Column, ColumnKind, FilterOps};
use super::facts::{Facts, TypeId, TypeKind};
use super::facts_line::Barred;
use super::flatten::{flatten, value_column};
use super::object::Home;
use super::path::GraphPath;
use super::relation::Relation;
use super::walk::{Target, Way, walk};

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

/// Collections whose largest page is known, so that `$top` can be sent.
const PAGES: [(&str, u32); 8] = [
    ("message", 1000),
    ("event", 1000),
    ("contact", 1000),
    ("mailFolder", 1000),
    ("user", 999),
    ("group", 999),
    ("directoryObject", 999),
    ("chatMessage", 50),
];

/// A path as an object.
#[derive(Clone, Debug)]
pub(super) struct PathObject {
    pub(super) path: GraphPath,
    pub(super) shape: Shape,
    pub(super) graph_type: Option<TypeId>,
    /// The path with every id as `{id}`.
    pub(super) pattern: Vec<String>,
    pub(super) largest_page: Option<u32>,
    /// What a record of it is, when the record is not there itself.
    pub(super) standing: Standing,
    home: Home,
    value: Option<Column>,
}

/// What a record of a path is to the path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Standing {
    /// It lives there, as far as is known; what the metadata says is not done with it.
    Lives(Barred),
    /// It is a reference to what lives elsewhere.
    Reference(Box<Relation>),
    /// A function answers it.
    Answered,
}

/// What a path answers with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Shape {
    /// Rows.
    Collection,
    /// One record.
    Single,
    /// Bytes or text.
    Bytes,
    /// Nothing: it is an action, which Execute calls.
    Action,
    /// Nobody knows.
    Unknown,
}

impl PathObject {
    pub(super) fn new(path: GraphPath, facts: &Facts) -> Self {
        let walked = walk(facts, path.segments());
        let standing = match (&walked.way, Relation::of(facts, &walked.way)) {
            (_, Some(relation)) => Standing::Reference(Box::new(relation)),
            (Way::Navigation(arrival), None) => Standing::Lives(arrival.navigation.barred),
            (Way::Answer, None) => Standing::Answered,
            (Way::Plain, None) => Standing::Lives(Barred::default()),
        };
        let place = Self::leading_to(path, facts, &walked.target, walked.pattern);
        Self { standing, ..place }
    }

    /// A path with what it leads to.
    pub(super) fn leading_to(
        path: GraphPath,
        facts: &Facts,
        target: &Target<'_>,
        pattern: Vec<String>,
    ) -> Self {
        let (mut shape, mut graph_type, mut value) = (Shape::Unknown, None, None);
        match *target {
            Target::Entities(kind) => (shape, graph_type) = (Shape::Collection, Some(kind)),
            Target::Entity(kind) => (shape, graph_type) = (Shape::Single, Some(kind)),
            Target::Value(kind) => {
                let id = facts.find(kind.name).filter(|id| facts.kind(*id) != TypeKind::Enum);
                shape = if kind.collection { Shape::Collection } else { Shape::Single };
                graph_type = id;
                value = id.is_none().then(|| value_column(facts, kind));
            }
            Target::Reference { collection } => {
                shape = if collection { Shape::Collection } else { Shape::Single };
            }
            Target::Stream | Target::Count => shape = Shape::Bytes,
            Target::Action => shape = Shape::Action,
            Target::Unknown => {}
        }
        let is_a = |name: &str| {
            graph_type.is_some_and(|kind| facts.find(name).is_some_and(|other| facts.is_a(kind, other)))
        };
        let home = match graph_type {
            None => path.home(),
            Some(_) if is_a("directoryObject") || is_a("oAuth2PermissionGrant") => Home::Directory,
            Some(_) if path.mailbox().is_some() => Home::Mailbox,
            Some(_) => Home::Other,
        };
        let named = |id: TypeId| PAGES.iter().find(|(name, _)| facts.find(name) == Some(id));
        let largest_page = match (graph_type, shape) {
            (Some(id), Shape::Collection) => named(id).map(|(_, size)| *size),
            (None, Shape::Unknown) => path.largest_page(),
            _ => None,
        };
        let standing = Standing::Lives(Barred::default());
        Self { path, shape, graph_type, pattern, largest_page, standing, home, value }
    }

    pub(super) fn home(&self) -> Home {
        self.home
    }

    pub(super) fn is_single(&self) -> bool {
        self.shape == Shape::Single
    }

    /// The columns by the flatten rule; none where the facts do not know the type.
    pub(super) fn columns(&self, facts: &Facts) -> Vec<Column> {
        match self.graph_type {
            Some(kind) => flatten(facts, kind, facts.kind(kind) == TypeKind::Entity),
            None => self.value.clone().into_iter().collect(),
        }
    }
}

/// What the service can probably compare, where the facts say nothing: what it cannot it refuses in its own words.
pub(super) fn guessed_filter(column: &mut Column, home: Home) {
    column.lies_in(home);
    let comparable = !matches!(column.kind, ColumnKind::Json | ColumnKind::Binary);
    if column.filter == FilterOps::NONE
        && comparable
        && !column.path.first().is_some_and(|first| first.starts_with('@'))
    {
        column.filter = if home == Home::Directory { DIRECTORY } else { OTHERS };
    }
}
