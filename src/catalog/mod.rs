//! The catalog stage: what objects, columns and procedures there are, as facts. Graph's own metadata → types → the
//! flatten rule → columns; and one place per object that says where it lives in Graph. Never sends anything.

mod column;
mod definitions;
mod describe;
mod flatten;
mod objects;
mod path;
mod procedures;
mod types;

pub use column::{Column, ColumnKind, ColumnSource, FilterOps};
pub use describe::{
    ColumnDescription, NamedEntry, ObjectDescription, ParameterDescription, ProcedureDescription, describe,
    describe_procedure, list, list_procedures,
};
pub use objects::{Home, InsertNeed, Object, ObjectKind, Owner, PathPart, find_object};
pub use path::{GraphPath, encode_segment};
pub use procedures::{Parameter, ParameterType, Procedure, ProcedureKind, find_procedure, procedures};

use crate::error::nearest_name;

/// A name that the catalog does not know: a sentence with the nearest name and the remedy.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct CatalogError {
    /// The whole sentence.
    pub message: String,
}

impl CatalogError {
    pub(crate) fn new(message: impl Into<String>) -> Self {
        Self { message: message.into() }
    }
}

/// ` Did you mean 'x'?`, or nothing.
pub fn did_you_mean<'a>(given: &str, known: impl IntoIterator<Item = &'a str>) -> String {
    nearest_name(given, known).map(|near| format!(" Did you mean '{near}'?")).unwrap_or_default()
}
