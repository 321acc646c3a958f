//! The query stage: a request → a plan (OData requests and what is left for the agent) → rows. Never writes to Graph.

mod request;

pub use request::*;
