//! The dropin stage: `agent.d/*.yaml` as written → a `Snapshot` of what every file says. Never knows OAuth: which
//! properties exist and what they mean is the connection stage's business.

mod edit;
mod look;
mod node;
mod raw;
mod scan;
mod schedule;
mod settle;
mod watch;
mod write;
mod yaml;

pub use edit::connection_document;
pub use look::DropIns;
pub use node::{Document, Entry, Node, Place, Step};
pub use raw::{DropInFile, FAULT_LIMIT, RawActivity, RawConnection, RawProperty, RawVariable};
pub use scan::{Rejected, Scanner, Snapshot, is_drop_in_name, read_drop_in, scan};
pub use schedule::Poke;
pub use settle::{SETTLE_TIME, Settler, Verdict};
pub use write::{
    ConnectionFile, PlannedRemoval, PlannedWrite, WriteError, delete_connection, find_connection,
    plan_delete, plan_put, put_connection,
};
