//! What a column is: its name, where its value lies in a row, its type, and what the service can do with it.
//! Holds no logic about requests.

use serde::Serialize;
use utoipa::ToSchema;

use super::comparison::TextComparison;
use super::object::Home;

/// The type of a column's cells.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub enum ColumnKind {
    /// Text, also for enumerations.
    String,
    /// `true` or `false`.
    Bool,
    /// A whole number of up to 32 bits.
    Int32,
    /// A whole number of up to 64 bits.
    Int64,
    /// A number.
    Double,
    /// A moment with offset, `2026-01-31T08:00:00Z`.
    DateTime,
    /// A day, `2026-01-31`.
    Date,
    /// A time of day, `08:00:00`.
    Time,
    /// A duration, `PT1H`.
    Duration,
    /// A UUID.
    Guid,
    /// Bytes in base64.
    Binary,
    /// A JSON array or object.
    Json,
    /// Whatever the service answers: columns of Graph paths that the facts do not know.
    Any,
}

impl ColumnKind {
    /// The kind for a primitive type of EDM, by its name without `Edm.`.
    pub(super) fn of_primitive(name: &str) -> Self {
        match name {
            "Boolean" => Self::Bool,
            "Byte" | "SByte" | "Int16" | "Int32" => Self::Int32,
            "Int64" => Self::Int64,
            "Single" | "Double" | "Decimal" => Self::Double,
            "DateTimeOffset" => Self::DateTime,
            "Date" => Self::Date,
            "TimeOfDay" => Self::Time,
            "Duration" => Self::Duration,
            "Guid" => Self::Guid,
            // A stream is read and written by its own path; in a row it is at most a link to it.
            "Binary" | "Stream" => Self::Binary,
            "String" => Self::String,
            _ => Self::Json,
        }
    }

    /// The word used in answers and messages.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::String => "String",
            Self::Bool => "Bool",
            Self::Int32 => "Int32",
            Self::Int64 => "Int64",
            Self::Double => "Double",
            Self::DateTime => "DateTime",
            Self::Date => "Date",
            Self::Time => "Time",
            Self::Duration => "Duration",
            Self::Guid => "Guid",
            Self::Binary => "Binary",
            Self::Json => "Json",
            Self::Any => "Any",
        }
    }

    /// A value of this kind, for messages.
    pub fn example(self) -> &'static str {
        match self {
            Self::String | Self::Any => "\"text\"",
            Self::Bool => "true",
            Self::Int32 | Self::Int64 => "42",
            Self::Double => "4.2",
            Self::DateTime => "\"2026-01-31T08:00:00Z\"",
            Self::Date => "\"2026-01-31\"",
            Self::Time => "\"08:00:00\"",
            Self::Duration => "\"PT1H\"",
            Self::Guid => "\"9d2b4e0c-5f3a-4c8e-8a51-0e6a3f1f7c11\"",
            Self::Binary => "\"SGVsbG8=\"",
            Self::Json => "[\"a\", \"b\"]",
        }
    }
}

/// Where a column's cells come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ColumnSource {
    /// A property of the row.
    Property,
    /// `@odata.etag`, which comes with a row without being selected and goes out as `If-Match`.
    Etag,
    /// The place the row was read from (`UserId`, `GroupId`, `CalendarId`): known from the request, not in the row.
    Place,
    /// Related records, which come with a row only when they are asked for with `$expand`.
    Related,
    /// Given with a new record only; no row has it.
    CreateOnly,
    /// A condition only (the bounds of a range); no row has it and no record takes it.
    FilterOnly,
}

/// Which comparisons the service can make on a column.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FilterOps(u16);

impl FilterOps {
    /// None: conditions are evaluated by the agent.
    pub const NONE: Self = Self(0);
    /// `eq`.
    pub const EQ: Self = Self(1);
    /// `ne`.
    pub const NE: Self = Self(1 << 1);
    /// `ge`.
    pub const GE: Self = Self(1 << 2);
    /// `le`.
    pub const LE: Self = Self(1 << 3);
    /// `gt` and `lt`, which directory objects do not have.
    pub const GT_LT: Self = Self(1 << 4);
    /// `in (…)`.
    pub const IN: Self = Self(1 << 5);
    /// `startsWith`.
    pub const STARTS: Self = Self(1 << 6);
    /// `endsWith`.
    pub const ENDS: Self = Self(1 << 7);
    /// `contains`.
    pub const CONTAINS: Self = Self(1 << 8);
    /// Comparison with `null`.
    pub const NULL: Self = Self(1 << 9);
    /// `not (…)`.
    pub const NOT: Self = Self(1 << 10);
    /// Equal or not, as for booleans and enumerations.
    pub const EQUALITY: Self = Self(Self::EQ.0 | Self::NE.0);
    /// All comparisons of an ordered value.
    pub const ORDERED: Self = Self(Self::EQUALITY.0 | Self::GE.0 | Self::LE.0 | Self::GT_LT.0);

    /// Both sets.
    #[must_use]
    pub const fn and(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// Whether all of `other` is in it.
    pub const fn has(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }

    /// Reads the list of the facts file: `eq,ne,startsWith`.
    pub(super) fn parse(list: &str) -> Option<Self> {
        list.split(',').try_fold(Self::NONE, |all, word| {
            Some(all.and(Self::NAMES.iter().find(|(name, _)| *name == word)?.1))
        })
    }

    const NAMES: [(&'static str, Self); 12] = [
        ("eq", Self::EQ),
        ("ne", Self::NE),
        ("not", Self::NOT),
        ("ge", Self::GE),
        ("le", Self::LE),
        ("gt", Self::GT_LT),
        ("lt", Self::GT_LT),
        ("in", Self::IN),
        ("startsWith", Self::STARTS),
        ("endsWith", Self::ENDS),
        ("contains", Self::CONTAINS),
        ("null", Self::NULL),
    ];

    /// The operators' names.
    pub fn names(self) -> Vec<&'static str> {
        Self::NAMES.iter().filter(|(_, bit)| self.has(*bit)).map(|(name, _)| *name).collect()
    }
}

/// One column.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Column {
    /// Its name as shown (`body_content`).
    pub name: String,
    /// Where its value lies in a row, outermost property first (`body`, `content`); for [`ColumnSource::Place`] empty.
    pub path: Vec<String>,
    /// Where its cells come from.
    pub source: ColumnSource,
    /// The type of its cells.
    pub kind: ColumnKind,
    /// How its texts, or the texts of its members, are compared.
    pub text: TextComparison,
    /// The type of its members, when it is a collection; [`ColumnKind::Json`]: objects.
    pub members: Option<ColumnKind>,
    /// Where its time zone lies in a row, when it is a local time with a zone beside it (`dateTimeTimeZone`).
    pub zone: Option<Vec<String>>,
    /// Where its value may lie instead, when its name can be read in two ways and nothing says which is meant.
    pub fallback: Option<Vec<String>>,
    /// The members, when it is an enumeration. The service may add more.
    pub values: Vec<String>,
    /// Whether it is a key or a part of one.
    pub key: bool,
    /// What the service can compare; anything else is compared by the agent.
    pub filter: FilterOps,
    /// Whether the service can sort by it.
    pub sortable: bool,
    /// Whether the service sets it and refuses to be given it.
    pub read_only: bool,
    /// Whether it is answered only when it is asked for by name.
    pub select_only: bool,
    /// Whether only rows of a derived type have it: then `$select` does not take its bare name.
    pub derived: bool,
    /// Whether `$search` looks at it.
    pub searchable: bool,
    /// Whether it always has a value, as far as the metadata tells.
    pub required: bool,
    /// The longest text, in characters, where the metadata tells.
    pub max_length: Option<u32>,
}

impl Column {
    /// A column of a row's property, with nothing known about it but its place and type.
    pub fn property(name: String, path: Vec<String>, kind: ColumnKind) -> Self {
        Self {
            text: TextComparison::of(&path, kind, Home::Other),
            name,
            path,
            source: ColumnSource::Property,
            kind,
            members: None,
            zone: None,
            fallback: None,
            values: Vec::new(),
            key: false,
            filter: FilterOps::NONE,
            sortable: false,
            read_only: false,
            select_only: false,
            derived: false,
            searchable: false,
            required: false,
            max_length: None,
        }
    }

    /// Says whose its rows are, which decides how identifiers are compared.
    pub(super) fn lies_in(&mut self, home: Home) {
        self.text = TextComparison::of(&self.path, self.members.unwrap_or(self.kind), home);
    }

    /// Whether its values, or those of its members, are compared as texts.
    pub fn compares_text(&self) -> bool {
        use ColumnKind::{Any, Binary, Json, String};
        self.zone.is_none() && matches!(self.members.unwrap_or(self.kind), String | Any | Binary | Json)
    }

    /// The column of its time zone, when it has one.
    pub fn zone_column(&self) -> Option<Self> {
        let path = self.zone.clone()?;
        Some(Self::property(path.join("_"), path, ColumnKind::String))
    }

    /// The path as OData writes it: `from/emailAddress/address`.
    pub fn odata_path(&self) -> String {
        self.path.join("/")
    }
}
