//! The query stage: a request → a plan (OData requests and what is left for the agent) → rows. Never writes to Graph.

mod condition;
mod decode;
mod encode;
mod error;
mod like;
mod literal;
mod odata;
mod pipeline;
mod plan;
mod plan_object;
#[cfg(test)]
mod plan_tests;
mod request;
mod residual;
mod stream;
#[cfg(test)]
pub(crate) mod test_support;

pub use encode::Encoding;
pub use error::QueryError;
pub use plan::{Cell, Plan, plan};
pub use request::*;
pub use residual::Residual;
pub use stream::{End, Progress, RowStream};
