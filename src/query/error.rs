//! Why a query has no answer, by what the caller can do about it.

use crate::catalog::CatalogError;
use crate::graph::GraphError;

/// Why a query has no answer.
#[derive(Clone, Debug, thiserror::Error)]
pub enum QueryError {
    /// The request must be changed; nothing was sent.
    #[error("{message}")]
    BadRequest {
        /// A stable code: `unknown_object`, `unknown_field`, `bad_value`, `bad_operator`, `bad_order`, `user_id_required`,
        /// `bad_request`.
        code: &'static str,
        /// The field it is about.
        field: Option<String>,
        /// What is wrong and what to write instead.
        message: String,
    },
    /// Graph refused or could not be asked.
    #[error(transparent)]
    Graph(#[from] GraphError),
    /// A row cannot be shown in the asked-for form without losing something; rows before it were delivered.
    #[error("{message}")]
    NotShowable {
        /// What is wrong and what to ask for instead.
        message: String,
    },
    /// The rows cannot be held as the request would need; nothing of the answer was delivered.
    #[error("{message}")]
    TooLarge {
        /// Which bound was passed and what to ask for instead.
        message: String,
    },
}

impl QueryError {
    pub(crate) fn field(code: &'static str, field: &str, message: impl Into<String>) -> Self {
        Self::BadRequest { code, field: Some(field.to_owned()), message: message.into() }
    }

    /// The same with its place in the request: `… (conditions[2].or[1])`.
    pub(super) fn at(self, place: &str) -> Self {
        match self {
            Self::BadRequest { code, field, message } => {
                Self::BadRequest { code, field, message: format!("{message} (At {place}.)") }
            }
            other => other,
        }
    }

    pub(crate) fn request(code: &'static str, message: impl Into<String>) -> Self {
        Self::BadRequest { code, field: None, message: message.into() }
    }

    pub(crate) fn unknown_field(field: &str, error: CatalogError) -> Self {
        Self::field("unknown_field", field, error.message)
    }

    pub(crate) fn unknown_object(error: CatalogError) -> Self {
        Self::field("unknown_object", "object", error.message)
    }
}
