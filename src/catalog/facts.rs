//! Graph's types, operations and roots as facts: one text with an index of offsets over it, so that loading it is one scan
//! and a type's lines are read when somebody asks for that type. Never decides what a column is, never walks a path.
//!
//! The text is `facts.txt` of this build, or the same format made of a service's `$metadata` (`csdl_text.rs`). One line a
//! thing, types sorted by name without regard to case:
//!
//! ```text
//! # comment
//! set NAME TYPE                     an entity set; `single NAME TYPE` a singleton
//! entity NAME [< BASE] [open] [abstract] [stream]         likewise `complex`
//!  PROPERTY TYPE [ro] [so] [order] [search] [req] [max=N] [filter=OPERATOR,…]
//!  >NAVIGATION TYPE [-make] [-change] [-remove]           contained; `~NAVIGATION TYPE` leads elsewhere
//!  !ACTION [NAME[?]:TYPE]… [> TYPE]           `!!` when bound to a collection of the type
//!  =FUNCTION [NAME[?]:TYPE]… [> TYPE]         `==` when bound to a collection of the type
//! enum NAME MEMBER MEMBER …
//! ```
//!
//! `TYPE` is a primitive of EDM without `Edm.` (`DateTimeOffset`) or the name of a type without `microsoft.graph.`; `[]`
//! before it marks a collection. `?` marks a parameter that may be left out. A line `%…` ends the types.

use std::sync::OnceLock;

use super::facts_line::{Line, Lines, Navigation, Operation, Property};

/// The facts that came with this build.
pub(super) const EMBEDDED: &str = include_str!("facts.txt");

/// The deepest chain of base types followed: Graph's is 6 deep, and a faulty text could hold a circle.
const DEEPEST_INHERITANCE: usize = 32;

/// All facts.
#[derive(Debug)]
pub(super) struct Facts {
    text: Text,
    types: Vec<TypeRow>,
    roots: Vec<(u32, u32)>,
    children: OnceLock<Vec<(TypeId, TypeId)>>,
}

#[derive(Debug)]
enum Text {
    Embedded(&'static str),
    Fetched(Box<str>),
}

/// A type's place in the index.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct TypeId(u32);

#[derive(Clone, Copy, Debug)]
struct TypeRow {
    start: u32,
    end: u32,
    base: Option<TypeId>,
}

/// What a type is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum TypeKind {
    /// It has a key and a place of its own.
    Entity,
    /// A part of something else.
    Complex,
    /// One of a list of names.
    Enum,
}

/// An entity set or a singleton.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Root<'a> {
    pub(super) name: &'a str,
    pub(super) type_name: &'a str,
    pub(super) collection: bool,
}

impl Facts {
    /// Indexes the facts of this build.
    pub(super) fn embedded() -> Self {
        Self::index(Text::Embedded(EMBEDDED)).expect("facts.txt is part of the build and a test indexes it")
    }

    /// Indexes a text that was made of a service's metadata.
    ///
    /// # Errors
    /// The number of the faulty line and what is wrong with it.
    pub(super) fn of_text(text: String) -> Result<Self, String> {
        let facts = Self::index(Text::Fetched(text.into_boxed_str()))?;
        facts.check()?;
        Ok(facts)
    }

    fn text(&self) -> &str {
        match &self.text {
            Text::Embedded(text) => text,
            Text::Fetched(text) => text,
        }
    }

    fn index(text: Text) -> Result<Self, String> {
        let mut facts = Self { text, types: Vec::new(), roots: Vec::new(), children: OnceLock::new() };
        let (mut types, mut roots) = (Vec::new(), Vec::new());
        let text = facts.text();
        if u32::try_from(text.len()).is_err() {
            return Err("the text has more than 4 GiB".to_owned());
        }
        #[expect(clippy::cast_possible_truncation, reason = "the length was compared with u32 above")]
        let place = |offset: usize| offset as u32;
        let mut start = 0;
        for (number, end) in memchr::memchr_iter(b'\n', text.as_bytes()).enumerate() {
            let line = &text[start..end];
            match line.as_bytes().first() {
                None | Some(b'#') => {}
                Some(b'%') => break,
                Some(b' ') => match types.last_mut() {
                    Some(TypeRow { end: last, .. }) => *last = place(end),
                    None => return Err(format!("line {}: no type: {line}", number + 1)),
                },
                Some(_) => match line.split(' ').next() {
                    Some("entity" | "complex" | "enum") => {
                        types.push(TypeRow { start: place(start), end: place(end), base: None });
                    }
                    Some("set" | "single") => roots.push((place(start), place(end))),
                    _ => return Err(format!("line {}: unknown keyword: {line}", number + 1)),
                },
            }
            start = end + 1;
        }
        let sorted = types.windows(2).all(|pair| {
            compare(header_name(text, &pair[0]), header_name(text, &pair[1])) == std::cmp::Ordering::Less
        });
        if !sorted {
            return Err("the types are not sorted by name".to_owned());
        }
        facts.types = types;
        facts.roots = roots;
        for place in 0..facts.types.len() {
            let base = header_base(facts.text(), &facts.types[place])
                .map(|base| facts.find(base).ok_or_else(|| format!("the base type {base} is not there")));
            facts.types[place].base = base.transpose()?;
        }
        Ok(facts)
    }

    /// Reads every line once, so that a text from elsewhere is known to be whole before it is used.
    fn check(&self) -> Result<(), String> {
        for id in self.ids() {
            for line in self.raw_lines(id) {
                Line::parse(line).ok_or_else(|| format!("{}: no fact: {line}", self.name(id)))?;
            }
            if self.ancestors(id).len() >= DEEPEST_INHERITANCE {
                return Err(format!("{} inherits from itself", self.name(id)));
            }
        }
        match self.roots().find(|root| self.find(root.type_name).is_none()) {
            Some(root) => Err(format!("{} has the unknown type {}", root.name, root.type_name)),
            None if self.roots.is_empty() => Err("there is no entity set".to_owned()),
            None => Ok(()),
        }
    }

    /// All types.
    pub(super) fn ids(&self) -> impl Iterator<Item = TypeId> + '_ {
        (0..self.types.len()).filter_map(|place| u32::try_from(place).ok().map(TypeId))
    }

    /// The type with this name (`message`, `security.alert`), in any case.
    pub(super) fn find(&self, name: &str) -> Option<TypeId> {
        let text = self.text();
        let place = self.types.binary_search_by(|row| compare(header_name(text, row), name)).ok()?;
        u32::try_from(place).ok().map(TypeId)
    }

    fn row(&self, id: TypeId) -> &TypeRow {
        &self.types[id.0 as usize]
    }

    fn header(&self, id: TypeId) -> &str {
        let row = self.row(id);
        self.text()[row.start as usize..row.end as usize].lines().next().unwrap_or_default()
    }

    /// The type's name without `microsoft.graph.`.
    pub(super) fn name(&self, id: TypeId) -> &str {
        header_name(self.text(), self.row(id))
    }

    /// What the type is.
    pub(super) fn kind(&self, id: TypeId) -> TypeKind {
        match self.header(id).as_bytes() {
            [b'c', ..] => TypeKind::Complex,
            [b'e', b'n', b't', ..] => TypeKind::Entity,
            _ => TypeKind::Enum,
        }
    }

    /// Whether rows may hold properties that are not declared: the type or one it inherits from is open.
    pub(super) fn is_open(&self, id: TypeId) -> bool {
        self.ancestors(id).into_iter().any(|id| self.header(id).split(' ').skip(2).any(|word| word == "open"))
    }

    /// The type and those it inherits from, itself first.
    pub(super) fn ancestors(&self, id: TypeId) -> Vec<TypeId> {
        std::iter::successors(Some(id), |id| self.row(*id).base).take(DEEPEST_INHERITANCE).collect()
    }

    /// Whether `id` is `ancestor` or inherits from it.
    pub(super) fn is_a(&self, id: TypeId, ancestor: TypeId) -> bool {
        self.ancestors(id).contains(&ancestor)
    }

    /// The types that inherit from this one, at any depth.
    pub(super) fn derived(&self, id: TypeId) -> Vec<TypeId> {
        let children = self.children.get_or_init(|| {
            let mut all: Vec<_> =
                self.ids().filter_map(|child| self.row(child).base.map(|base| (base, child))).collect();
            all.sort_unstable();
            all
        });
        let (mut found, mut next) = (Vec::new(), vec![id]);
        while let Some(base) = next.pop() {
            let start = children.partition_point(|(other, _)| *other < base);
            for (_, child) in children[start..].iter().take_while(|(other, _)| *other == base) {
                if !found.contains(child) {
                    found.push(*child);
                    next.push(*child);
                }
            }
        }
        found.sort_unstable();
        found
    }

    fn raw_lines(&self, id: TypeId) -> impl Iterator<Item = &str> {
        let row = self.row(id);
        self.text()[row.start as usize..row.end as usize].lines().skip(1).map(|line| &line[1..])
    }

    /// The type's own lines.
    pub(super) fn lines(&self, id: TypeId) -> Lines<impl Iterator<Item = &str>> {
        Lines(self.raw_lines(id))
    }

    /// The structural properties with those inherited, base type first.
    pub(super) fn properties(&self, id: TypeId) -> Vec<Property<'_>> {
        let own = |id| self.lines(id).filter_map(Line::property);
        self.ancestors(id).into_iter().rev().flat_map(own).collect()
    }

    /// The structural property called `name` in any case, own or inherited.
    pub(super) fn property(&self, id: TypeId, name: &str) -> Option<Property<'_>> {
        let own = |id| self.lines(id).filter_map(Line::property);
        self.ancestors(id).into_iter().flat_map(own).find(|property| property.name.eq_ignore_ascii_case(name))
    }

    /// The navigation properties with those inherited, base type first.
    pub(super) fn navigations(&self, id: TypeId) -> Vec<Navigation<'_>> {
        let own = |id| self.lines(id).filter_map(Line::navigation);
        self.ancestors(id).into_iter().rev().flat_map(own).collect()
    }

    /// The navigation property called `name` in any case, own or inherited.
    pub(super) fn navigation(&self, id: TypeId, name: &str) -> Option<Navigation<'_>> {
        let own = |id| self.lines(id).filter_map(Line::navigation);
        self.ancestors(id).into_iter().flat_map(own).find(|found| found.name.eq_ignore_ascii_case(name))
    }

    /// The actions and functions bound to the type or to a collection of it, own ones first.
    pub(super) fn operations(&self, id: TypeId, collection: bool) -> Vec<Operation<'_>> {
        let own = |id| self.lines(id).filter_map(Line::operation);
        self.ancestors(id)
            .into_iter()
            .flat_map(own)
            .filter(|found| found.on_collection == collection)
            .collect()
    }

    /// The members of an enumeration; `None` for any other type.
    pub(super) fn members(&self, id: TypeId) -> Option<impl Iterator<Item = &str>> {
        (self.kind(id) == TypeKind::Enum).then(|| self.header(id).split(' ').skip(2))
    }

    /// The entity sets and singletons.
    pub(super) fn roots(&self) -> impl Iterator<Item = Root<'_>> {
        self.roots.iter().filter_map(|(start, end)| {
            let mut words = self.text()[*start as usize..*end as usize].split(' ');
            let collection = words.next() == Some("set");
            Some(Root { name: words.next()?, type_name: words.next()?, collection })
        })
    }

    /// How many types there are.
    pub(super) fn len(&self) -> usize {
        self.types.len()
    }
}

/// The order of the types: by name without regard to case; two that differ by case only keep an order of their own.
fn compare(one: &str, other: &str) -> std::cmp::Ordering {
    one.bytes().map(|byte| byte.to_ascii_lowercase()).cmp(other.bytes().map(|byte| byte.to_ascii_lowercase()))
}

fn header_name<'a>(text: &'a str, row: &TypeRow) -> &'a str {
    let line = &text[row.start as usize..row.end as usize];
    let rest = line.split_once(' ').map_or("", |(_, rest)| rest);
    &rest[..rest.find([' ', '\n']).unwrap_or(rest.len())]
}

fn header_base<'a>(text: &'a str, row: &TypeRow) -> Option<&'a str> {
    let line = text[row.start as usize..row.end as usize].lines().next()?;
    let mut words = line.split(' ').skip(2);
    (line.as_bytes().get(1) != Some(&b'n') || line.starts_with("ent")).then_some(())?;
    (words.next() == Some("<")).then(|| words.next()).flatten()
}

#[cfg(test)]
#[path = "facts_tests.rs"]
mod tests;
