//! A Graph path walked over the facts, segment by segment: what it leads to and of which type. Follows the URL conventions
//! of OData 4.01 (keys, casts, bound operations, `$count`, `$ref`, `$value`) and Graph's own path syntax for drives and
//! sites. Never refuses a path: what the facts do not know is unknown, and the service decides.

use super::facts::{Facts, TypeId};
use super::facts_line::{Navigation, Operation, TypeRef};
use super::path::encode_segment;

/// What a path leads to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Target<'a> {
    /// The rows of a collection of entities.
    Entities(TypeId),
    /// One entity.
    Entity(TypeId),
    /// A value that is no entity: `/me/mailboxSettings`, `/me/displayName`, what a function answers.
    Value(TypeRef<'a>),
    /// Bytes: `/content`, `/$value`.
    Stream,
    /// `…/$count`: a number as text.
    Count,
    /// `…/$ref`: the references of a collection, or the one of an entity.
    Reference {
        /// Whether there are several.
        collection: bool,
    },
    /// An action, which is called by POST and is no object; a function leads to what it answers.
    Action,
    /// The facts do not know it.
    Unknown,
}

/// How a path came to what it leads to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Way<'a> {
    /// By the name of an entity set or singleton, or through nothing that says whose the records are.
    Plain,
    /// By a navigation property, which was the last one.
    Navigation(Box<Arrival<'a>>),
    /// As what a function answers.
    Answer,
}

/// The last navigation of a path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Arrival<'a> {
    /// The type that it was found at.
    pub(super) owner: TypeId,
    pub(super) navigation: Navigation<'a>,
    /// The path of the navigation's target, without casts, following keys and `$ref`, percent-encoded.
    pub(super) path: String,
    /// The key that follows the navigation, when it stands in a segment of its own.
    pub(super) key: Option<String>,
    /// Whether the key stands in its own segment, in parentheses.
    pub(super) keyed_in_name: bool,
    /// Whether `$ref` follows the navigation.
    pub(super) reference: bool,
}

/// A path that was walked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Walk<'a> {
    pub(super) target: Target<'a>,
    /// The operations of the name that the path ends with: several, when it is overloaded.
    pub(super) operations: Vec<Operation<'a>>,
    /// The segments with every id as `{id}`, as the permissions of paths are written.
    pub(super) pattern: Vec<String>,
    /// The type that each segment leads to, where it is an entity or a collection of them.
    pub(super) types: Vec<Option<TypeId>>,
    pub(super) way: Way<'a>,
}

/// Walks `segments`, which are decoded.
pub(super) fn walk<'a>(facts: &'a Facts, segments: &[String]) -> Walk<'a> {
    let segments = whole_calls(segments);
    let mut walker = Walker {
        facts,
        target: Target::Unknown,
        operations: Vec::new(),
        pattern: Vec::new(),
        types: Vec::new(),
        way: Way::Plain,
        encoded: String::new(),
    };
    let mut at = 0;
    while at < segments.len() {
        let segment = segments[at].as_str();
        // `root:/a/b:` and `sites/host:/path:`: everything up to the segment that ends with a colon is one path.
        if segment.len() > 1 && segment.ends_with(':') && walker.takes_path(segment, at == 0) {
            let end = segments[at + 1..].iter().position(|segment| segment.ends_with(':'));
            let next = end.map_or(segments.len(), |end| at + 1 + end + 1);
            segments[at..next].iter().for_each(|segment| walker.passed(segment));
            at = next;
            walker.path_ended();
            continue;
        }
        walker.operations.clear();
        walker.target = if at == 0 { walker.root(segment) } else { walker.step(segment) };
        let kind = match walker.target {
            Target::Entities(kind) | Target::Entity(kind) => Some(kind),
            _ => None,
        };
        walker.types.push(kind);
        walker.passed(segment);
        if let Way::Navigation(arrival) = &mut walker.way
            && arrival.path.is_empty()
        {
            arrival.path.clone_from(&walker.encoded);
        }
        at += 1;
    }
    Walk {
        target: walker.target,
        operations: walker.operations,
        pattern: walker.pattern,
        types: walker.types,
        way: walker.way,
    }
}

/// Puts the pieces of a call together again whose quoted argument has a slash in it: `getByPath(path='/a/b')`.
fn whole_calls(segments: &[String]) -> Vec<String> {
    let mut whole: Vec<String> = Vec::new();
    for segment in segments {
        match whole.last_mut() {
            Some(open) if open.contains('(') && open.matches('\'').count() % 2 == 1 => {
                open.push('/');
                open.push_str(segment);
            }
            _ => whole.push(segment.clone()),
        }
    }
    whole
}

struct Walker<'a> {
    facts: &'a Facts,
    target: Target<'a>,
    operations: Vec<Operation<'a>>,
    pattern: Vec<String>,
    types: Vec<Option<TypeId>>,
    way: Way<'a>,
    /// The path so far, percent-encoded.
    encoded: String,
}

/// A segment apart: its name, and whether a key or arguments stand in parentheses behind it.
fn call(segment: &str) -> (&str, bool) {
    match segment.split_once('(') {
        Some((name, rest)) if rest.ends_with(')') => (name, true),
        _ => (segment, false),
    }
}

impl<'a> Walker<'a> {
    fn named(&mut self, segment: &str) {
        self.pattern.push(segment.to_lowercase());
    }

    fn id(&mut self) {
        self.pattern.push("{id}".to_owned());
    }

    fn passed(&mut self, segment: &str) {
        for part in segment.split('/') {
            // As in `GraphPath`: a colon in the first segment would end a scheme.
            let first = self.encoded.is_empty();
            let part = encode_segment(part);
            let part = if first { part.replace(':', "%3A") } else { format!("/{part}") };
            self.encoded.push_str(&part);
        }
    }

    fn keyed(&mut self, key: &str) {
        self.id();
        if let Way::Navigation(arrival) = &mut self.way {
            arrival.key = Some(key.to_owned());
        }
    }

    fn refer(&mut self, collection: bool) -> Target<'a> {
        if let Way::Navigation(arrival) = &mut self.way {
            arrival.reference = true;
        }
        Target::Reference { collection }
    }

    fn root(&mut self, segment: &str) -> Target<'a> {
        let (name, key) = call(segment);
        let found = self.facts.roots().find(|root| root.name.eq_ignore_ascii_case(name));
        self.named(name);
        let Some((kind, collection)) =
            found.and_then(|root| Some((self.facts.find(root.type_name)?, root.collection)))
        else {
            return Target::Unknown;
        };
        if key {
            self.id();
        }
        if collection && !key { Target::Entities(kind) } else { Target::Entity(kind) }
    }

    fn step(&mut self, segment: &str) -> Target<'a> {
        match (segment.to_ascii_lowercase().as_str(), &self.target) {
            ("$count", _) => {
                self.named(segment);
                return Target::Count;
            }
            ("$ref", Target::Entities(_)) => {
                self.named(segment);
                return self.refer(true);
            }
            ("$ref", _) => {
                self.named(segment);
                return self.refer(false);
            }
            ("$value", _) => {
                self.named(segment);
                return Target::Stream;
            }
            _ => {}
        }
        match self.target.clone() {
            Target::Entities(kind) => self.below_collection(kind, segment),
            Target::Entity(kind) => self.below_entity(kind, segment),
            Target::Value(TypeRef { name, .. }) => match self.facts.find(name) {
                Some(kind) => self.below_entity(kind, segment),
                None => self.unknown(segment),
            },
            Target::Reference { collection: true } => {
                self.keyed(segment);
                Target::Reference { collection: false }
            }
            _ => self.unknown(segment),
        }
    }

    fn unknown(&mut self, segment: &str) -> Target<'a> {
        self.named(segment);
        self.way = Way::Plain;
        Target::Unknown
    }

    fn below_collection(&mut self, kind: TypeId, segment: &str) -> Target<'a> {
        if let Some(derived) = self.cast(kind, segment) {
            self.named(segment);
            return Target::Entities(derived);
        }
        if let Some(target) = self.operation(kind, true, segment) {
            return target;
        }
        self.keyed(segment);
        Target::Entity(kind)
    }

    fn below_entity(&mut self, kind: TypeId, segment: &str) -> Target<'a> {
        let (name, key) = call(segment);
        if let Some(derived) = self.cast(kind, segment) {
            self.named(segment);
            return Target::Entity(derived);
        }
        // A type that the entity may have at run time can have what its declared type has not.
        let candidates = std::iter::once(kind).chain(self.facts.derived(kind));
        for kind in candidates {
            if let Some(found) = self.facts.navigation(kind, name) {
                let owner = kind;
                let Some(kind) = self.facts.find(found.kind.name) else { return self.unknown(segment) };
                self.named(name);
                if key {
                    self.id();
                }
                let collection = found.kind.collection && !key;
                self.way = Way::Navigation(Box::new(Arrival {
                    owner,
                    navigation: found,
                    path: String::new(),
                    key: None,
                    keyed_in_name: key,
                    reference: false,
                }));
                return if collection { Target::Entities(kind) } else { Target::Entity(kind) };
            }
            if let Some(found) = self.facts.property(kind, segment) {
                self.named(segment);
                self.way = Way::Plain;
                return match found.kind.name {
                    "Stream" => Target::Stream,
                    _ => Target::Value(found.kind),
                };
            }
            if let Some(target) = self.operation(kind, false, segment) {
                return target;
            }
        }
        // Bound to the collection and called on a member: the service has the last word on that.
        self.operation(kind, true, segment).unwrap_or_else(|| self.unknown(segment))
    }

    /// `microsoft.graph.user` (or `graph.user`) below something that may be one.
    fn cast(&self, kind: TypeId, segment: &str) -> Option<TypeId> {
        let lower = segment.to_ascii_lowercase();
        let name = lower.strip_prefix("microsoft.graph.").or_else(|| lower.strip_prefix("graph."))?;
        let wanted = self.facts.find(name)?;
        (self.facts.is_a(wanted, kind) || self.facts.is_a(kind, wanted)).then_some(wanted)
    }

    /// A bound action or function, with or without its namespace and with or without parentheses.
    fn operation(&mut self, kind: TypeId, on_collection: bool, segment: &str) -> Option<Target<'a>> {
        let (name, _) = call(segment);
        let found: Vec<Operation<'a>> = self
            .facts
            .operations(kind, on_collection)
            .into_iter()
            .filter(|operation| is_called(operation.name, name))
            .collect();
        let first = found.first()?.clone();
        self.named(segment);
        self.operations = found;
        self.way = Way::Answer;
        if !first.function {
            return Some(Target::Action);
        }
        let Some(answer) = first.answer else { return Some(Target::Unknown) };
        let entity = self
            .facts
            .find(answer.name)
            .filter(|kind| self.facts.kind(*kind) == super::facts::TypeKind::Entity);
        Some(match (answer.name, entity) {
            ("Stream", _) => Target::Stream,
            (_, Some(kind)) if answer.collection => Target::Entities(kind),
            (_, Some(kind)) => Target::Entity(kind),
            _ => Target::Value(answer),
        })
    }

    /// Whether a path in Graph's colon syntax can begin with `segment` here; then the target is where it begins.
    fn takes_path(&mut self, segment: &str, first: bool) -> bool {
        let name = &segment[..segment.len() - 1];
        let (target, pattern) = (self.target.clone(), self.pattern.len());
        let next = if first { self.root(name) } else { self.step(name) };
        let drive_or_site = match &next {
            Target::Entity(kind) => {
                ["driveItem", "site"].iter().any(|name| self.facts.find(name) == Some(*kind))
            }
            _ => false,
        };
        if drive_or_site {
            self.target = next;
        } else {
            self.target = target;
            self.pattern.truncate(pattern);
        }
        drive_or_site
    }

    /// The path in colon syntax has ended: it named another entity of the same type.
    fn path_ended(&mut self) {
        self.way = Way::Plain;
        let kind = match self.target {
            Target::Entity(kind) => Some(kind),
            _ => None,
        };
        // Permissions are written for the id, and a path is another way to say it.
        if self.pattern.last().is_some_and(|last| last == "root") && kind == self.facts.find("driveItem") {
            self.pattern.pop();
            self.pattern.push("items".to_owned());
            self.pattern.push("{id}".to_owned());
        }
        self.types.push(kind);
    }
}

/// `forward`, `graph.forward` and `microsoft.graph.forward` are one; an operation of another namespace is called with it,
/// or by its bare name, which Graph takes where no other has it.
pub(super) fn is_called(operation: &str, name: &str) -> bool {
    let lower = name.to_ascii_lowercase();
    let name =
        lower.strip_prefix("microsoft.graph.").or_else(|| lower.strip_prefix("graph.")).unwrap_or(&lower);
    operation.eq_ignore_ascii_case(name)
        || operation.rsplit_once('.').is_some_and(|(_, bare)| bare.eq_ignore_ascii_case(name))
}

#[cfg(test)]
#[path = "walk_tests.rs"]
mod tests;
