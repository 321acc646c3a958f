//! One line of the facts below a type: a property, a navigation property, an action or a function, borrowed from the text.
//! Never looks anything up.

use super::column::FilterOps;

/// A line below a type.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Line<'a> {
    Property(Property<'a>),
    Navigation(Navigation<'a>),
    Operation(Operation<'a>),
}

/// The name of a type, and whether it is a collection of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct TypeRef<'a> {
    pub(super) name: &'a str,
    pub(super) collection: bool,
}

/// One structural property.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Property<'a> {
    pub(super) name: &'a str,
    pub(super) kind: TypeRef<'a>,
    pub(super) flags: Flags,
}

/// What is known of a property besides its type.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Flags {
    pub(super) read_only: bool,
    pub(super) select_only: bool,
    pub(super) sortable: bool,
    pub(super) searchable: bool,
    pub(super) required: bool,
    pub(super) max_length: Option<u32>,
    pub(super) filter: FilterOps,
}

/// One navigation property.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Navigation<'a> {
    pub(super) name: &'a str,
    pub(super) kind: TypeRef<'a>,
    pub(super) contained: bool,
    pub(super) barred: Barred,
}

/// What the metadata says is not done at a navigation property.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Barred {
    pub(super) make: bool,
    pub(super) change: bool,
    pub(super) remove: bool,
}

impl Barred {
    /// Reads the words behind a navigation's type; words that say something else are passed over.
    fn parse<'a>(words: impl Iterator<Item = &'a str>) -> Self {
        let mut barred = Self::default();
        for word in words {
            match word {
                "-make" => barred.make = true,
                "-change" => barred.change = true,
                "-remove" => barred.remove = true,
                _ => {}
            }
        }
        barred
    }

    /// The words, each with a space before it.
    pub(super) fn words(self) -> String {
        let words = [(self.make, " -make"), (self.change, " -change"), (self.remove, " -remove")];
        words.into_iter().filter(|(set, _)| *set).map(|(_, word)| word).collect()
    }
}

/// A bound action or function.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Operation<'a> {
    /// With its namespace, unless it is `microsoft.graph`.
    pub(super) name: &'a str,
    pub(super) function: bool,
    pub(super) on_collection: bool,
    pub(super) parameters: Vec<OperationParameter<'a>>,
    pub(super) answer: Option<TypeRef<'a>>,
}

/// A parameter of an action or function.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct OperationParameter<'a> {
    pub(super) name: &'a str,
    pub(super) kind: TypeRef<'a>,
    pub(super) optional: bool,
}

/// The lines of a type, parsed as they are asked for.
pub(super) struct Lines<I>(pub(super) I);

impl<'a, I: Iterator<Item = &'a str>> Iterator for Lines<I> {
    type Item = Line<'a>;

    fn next(&mut self) -> Option<Line<'a>> {
        // Texts are checked line by line before they are used, so none is left out here.
        self.0.by_ref().find_map(Line::parse)
    }
}

impl<'a> TypeRef<'a> {
    /// Reads `[]recipient` or `String`.
    pub(super) fn parse(text: &'a str) -> Self {
        match text.strip_prefix("[]") {
            Some(name) => Self { name, collection: true },
            None => Self { name: text, collection: false },
        }
    }
}

impl<'a> Line<'a> {
    /// Reads a line without its leading space.
    pub(super) fn parse(text: &'a str) -> Option<Self> {
        let (sign, rest) = (text.chars().next()?, text.get(1..)?);
        match sign {
            '>' | '~' => {
                let mut words = rest.split(' ');
                let (name, kind) = (words.next().filter(|name| !name.is_empty())?, words.next()?);
                Some(Self::Navigation(Navigation {
                    name,
                    kind: TypeRef::parse(kind),
                    contained: sign == '>',
                    barred: Barred::parse(words),
                }))
            }
            '!' | '=' => parse_operation(sign, rest).map(Self::Operation),
            _ => parse_property(text).map(Self::Property),
        }
    }

    /// The property this is.
    pub(super) fn property(self) -> Option<Property<'a>> {
        if let Self::Property(found) = self { Some(found) } else { None }
    }

    /// The navigation property this is.
    pub(super) fn navigation(self) -> Option<Navigation<'a>> {
        if let Self::Navigation(found) = self { Some(found) } else { None }
    }

    /// The operation this is.
    pub(super) fn operation(self) -> Option<Operation<'a>> {
        if let Self::Operation(found) = self { Some(found) } else { None }
    }
}

impl Flags {
    /// Reads the words behind a property's type.
    pub(super) fn parse<'a>(words: impl Iterator<Item = &'a str>) -> Option<Self> {
        let mut flags = Self::default();
        for word in words {
            match word {
                "ro" => flags.read_only = true,
                "so" => flags.select_only = true,
                "order" => flags.sortable = true,
                "search" => flags.searchable = true,
                "req" => flags.required = true,
                _ => match word.split_once('=')? {
                    ("max", length) => flags.max_length = Some(length.parse().ok()?),
                    ("filter", operators) => flags.filter = FilterOps::parse(operators)?,
                    _ => return None,
                },
            }
        }
        Some(flags)
    }

    /// The words, each with a space before it.
    pub(super) fn words(&self) -> String {
        let mut text = String::new();
        for (set, word) in [
            (self.read_only, " ro"),
            (self.select_only, " so"),
            (self.sortable, " order"),
            (self.searchable, " search"),
            (self.required, " req"),
        ] {
            text.push_str(if set { word } else { "" });
        }
        if let Some(length) = self.max_length {
            text.push_str(&format!(" max={length}"));
        }
        if self.filter != FilterOps::NONE {
            let mut names = self.filter.names();
            names.retain(|name| *name != "lt"); // said by "gt"
            text.push_str(&format!(" filter={}", names.join(",")));
        }
        text
    }
}

fn parse_property(text: &str) -> Option<Property<'_>> {
    let mut words = text.split(' ');
    let (name, kind) = (words.next().filter(|name| !name.is_empty())?, words.next()?);
    Some(Property { name, kind: TypeRef::parse(kind), flags: Flags::parse(words)? })
}

fn parse_operation(sign: char, rest: &str) -> Option<Operation<'_>> {
    let (on_collection, rest) = match rest.strip_prefix(sign) {
        Some(rest) => (true, rest),
        None => (false, rest),
    };
    let mut words = rest.split(' ');
    let name = words.next().filter(|name| !name.is_empty())?;
    let (mut parameters, mut answer) = (Vec::new(), None);
    while let Some(word) = words.next() {
        if word == ">" {
            answer = Some(TypeRef::parse(words.next()?));
            break;
        }
        let (name, kind) = word.split_once(':')?;
        let (name, optional) = match name.strip_suffix('?') {
            Some(name) => (name, true),
            None => (name, false),
        };
        parameters.push(OperationParameter { name, kind: TypeRef::parse(kind), optional });
    }
    Some(Operation { name, function: sign == '=', on_collection, parameters, answer })
}
