//! The activity stage: Query, Create, Update, Delete, Execute and Test on a live connection, each as a run that can be
//! listed and cancelled. Never knows an HTTP route and never prints.
//!
//! ```text
//! saved (variables) ─→ engine ─┬─ query  → query::plan → rows
//!                              ├─ write  → selection, upload → writing (body → target → graph's bulk) → results
//!                              ├─ execute → procedures/ (contents, local files, sign-in)
//!                              └─ test
//! ```
//!
//! `runs.rs` keeps what is running and what ran, `history.rs` over a restart. `journal.rs` holds what a write intended
//! and what came of it, `kept.rs` for how long and for whom; `spooling.rs` reads rows for later into `spool.rs`; `mark.rs` and `doubts.rs` find a record again whose creation
//! got no answer.

mod body;
mod check_connection;
mod doubts;
mod engine;
mod error;
mod history;
mod input;
mod journal;
mod kept;
mod kept_results;
mod mark;
mod model;
mod outgoing;
mod patience;
mod procedures;
mod reference;
mod results;
mod running;
mod runs;
mod saved;
mod schema;
mod selection;
mod spool;
mod spooled_rows;
mod spooling;
mod store_probe;
mod target;
mod upload;
mod value;
mod variables;
mod write;
mod writing;

pub use check_connection::StoreProbe;
pub use engine::{Engine, Live, RunResults};
pub use error::{ActivityError, graph_error_code};
pub use input::{InputFault, LONGEST_RECORD, RecordFormat, RecordReader};
pub use kept_results::KeptResults;
pub use model::*;
pub use procedures::{
    ContentStream, Executed, KeptCall, LocalFiles, ProcedureHost, RunningContent, RunningExecution,
};
pub use running::RunningQuery;
pub use runs::{RunFilter, Runs};
pub use saved::SavedRequest;
pub use schema::SchemaError;
pub use spooled_rows::{RowsEnd, SpooledRows};
pub use store_probe::KeptStore;
pub use upload::{StreamedRecords, Upload};
pub use write::{RunningWrite, WriteCall, WriteEnd};
