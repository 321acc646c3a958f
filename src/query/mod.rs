//! The query stage: a request → a plan (OData requests and what is left for the agent) → rows. Never writes to Graph.

mod arrow;
mod condition;
mod csv_rows;
mod decode;
mod encode;
mod error;
mod feed;
mod findings;
mod lambda;
mod like;
mod literal;
mod members;
pub(crate) mod moment;
mod nodes;
mod odata;
mod one_mailbox;
mod operator;
mod pipeline;
mod plan;
#[cfg(test)]
mod plan_scope_tests;
#[cfg(test)]
mod plan_tests;
mod planner;
mod request;
mod residual;
mod scan;
mod skipped;
mod sort;
mod split;
mod stream;
#[cfg(test)]
pub(crate) mod test_support;
mod time_range;
mod tree;
#[cfg(test)]
mod value_plan_tests;
pub(crate) mod zones;

pub use csv_rows::CsvRows;
pub use encode::Encoding;
pub use error::QueryError;
pub use findings::Watched;
pub(crate) use nodes::read_conditions;
pub use plan::{Cell, Evaluated, Plan, Refused, Scan, Then, plan};
pub use planner::{Caller, ScanRequest};
pub use request::*;
pub use residual::Residual;
pub use scan::{Descend, Folders, Maker};
pub use sort::SortKey;
pub use stream::{End, Progress, RowStream};
