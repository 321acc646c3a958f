//! The activity stage: Query, Create, Update, Delete, Execute and Test on a live connection, each as a run that can be
//! listed and cancelled. Never knows an HTTP route and never prints.
//!
//! ```text
//! saved (variables) ─→ engine ─┬─ query  → query::plan → rows
//!                              ├─ write  → body → target → one request a record
//!                              ├─ execute → procedures, attachments
//!                              └─ test
//! ```
//!
//! `runs.rs` keeps what is running and what ran.

mod attachments;
mod body;
mod check_connection;
mod engine;
mod error;
mod model;
mod procedures;
mod running;
mod runs;
mod saved;
mod schema;
mod store_probe;
mod target;
mod value;
mod variables;
mod write;

pub use check_connection::StoreProbe;
pub use engine::{Engine, Live};
pub use error::{ActivityError, graph_error_code};
pub use model::*;
pub use running::RunningQuery;
pub use runs::Runs;
pub use saved::SavedRequest;
pub use schema::SchemaError;
pub use store_probe::KeptStore;
