//! The catalog stage: what objects, columns and procedures there are, as facts. Graph's own metadata → types → the
//! flatten rule → columns; one place per object that says where it lives in Graph; and any Graph path as an object. Never
//! sends anything.
//!
//! ```text
//! $metadata ─ csdl ─ csdl_text ─→ facts ─┬─ flatten ──────┬─→ object ─→ library
//!                                         └─ walk ─ path_object ┘
//! definitions ────────────────────────────────────────────┘
//! ```

mod answer;
mod catalogs;
mod column;
mod comparison;
mod csdl;
mod csdl_text;
mod definition;
mod definitions;
mod describe;
mod describe_operation;
mod facts;
mod facts_line;
mod flatten;
mod library;
mod object;
mod operation;
mod path;
mod path_object;
mod path_writes;
mod permissions;
mod procedures;
mod relation;
mod route;
mod untyped;
mod walk;

pub use answer::Answer;
pub use catalogs::{CatalogSlot, Catalogs, LARGEST_METADATA, SchemaFault, SchemaStatus};
pub use column::{Column, ColumnKind, ColumnSource, FilterOps};
pub use comparison::TextComparison;
pub(crate) use comparison::is_uuid;
pub use csdl_text::Known;
pub use definition::{InsertNeed, Range, Recursion};
pub use describe::{
    ColumnDescription, NamedEntry, ObjectDescription, ParameterDescription, ProcedureDescription,
    RelationshipDescription, describe_procedure, list_procedures,
};
pub use describe_operation::{
    OperationDescription, OperationParameterDescription, OverloadDescription, ProcedureView,
};
pub use library::Catalog;
pub use object::{Home, Object};
pub use operation::{BadParameter, BoundOperation, CallParameter, OperationCall, Overload};
pub use path::{GraphPath, encode_segment};
pub use permissions::MethodPermissions;
pub use procedures::{Parameter, ParameterType, Procedure, ProcedureKind, find_procedure, procedures};
pub use relation::{Adding, Relation, Removing};
pub use route::{Location, NotLocated, Owner, Route, RouteUse};

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

/// The facts text of a CSDL document, of which `facts.txt` and refreshed schemas are made. `known`: what is known of a
/// property beside the metadata.
///
/// # Errors
/// A sentence: what is wrong with the document.
pub fn facts_of_metadata(xml: &[u8], known: Known<'_>) -> Result<String, CatalogError> {
    csdl_text::facts_text(xml, known)
        .map_err(|what| CatalogError::new(format!("The metadata cannot be used: {what}.")))
}
