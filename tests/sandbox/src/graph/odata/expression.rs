//! What a filter is once it has been read: conditions on paths and constants.
//! Never reads text and never looks at rows.

use crate::data::model::{Kind, Property};

/// A comparison.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Operator {
    /// Equal.
    Eq,
    /// Not equal.
    Ne,
    /// Greater.
    Gt,
    /// Greater or equal.
    Ge,
    /// Less.
    Lt,
    /// Less or equal.
    Le,
}

/// A constant.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Literal {
    /// `null`.
    Null,
    /// A string or an enumeration member.
    Text(String),
    /// `true` or `false`.
    Flag(bool),
    /// A number.
    Number(f64),
    /// A point in time in nanoseconds since 1970.
    Instant(i128),
}

/// A path to a value.
#[derive(Debug, Clone)]
pub(crate) struct Path {
    /// Whether it starts at the lambda's variable instead of the row.
    pub(crate) from_variable: bool,
    /// The names, spelled as in answers.
    pub(crate) names: Vec<&'static str>,
    /// The type of the value.
    pub(crate) kind: Kind,
    /// The first property of the path; for a variable the collection's.
    pub(crate) root: &'static Property,
}

impl Path {
    /// `from/emailAddress/address`.
    pub(crate) fn text(&self) -> String {
        self.names.join("/")
    }
}

/// The function of two strings.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Function {
    /// `startswith`.
    StartsWith,
    /// `endswith`.
    EndsWith,
    /// `contains`.
    Contains,
}

/// A condition.
#[derive(Debug, Clone)]
pub(crate) enum Expr {
    /// Both.
    And(Box<Self>, Box<Self>),
    /// Either.
    Or(Box<Self>, Box<Self>),
    /// The opposite.
    Not(Box<Self>),
    /// A comparison.
    Compare(Path, Operator, Literal),
    /// One of a list.
    In(Path, Vec<Literal>),
    /// A function.
    Call(Function, Path, String),
    /// A Boolean property on its own.
    Truth(Path),
    /// `any` (or `all`) over a collection; `None` asks whether it has elements.
    Lambda {
        /// Whether it is `all`.
        all: bool,
        /// The collection.
        path: Path,
        /// The condition on an element.
        condition: Option<Box<Self>>,
    },
}
