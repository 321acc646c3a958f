//! The Graph stage: the Microsoft Graph client. One function sets `Authorization`, and only on a [`CheckedUrl`]; pages,
//! batches, retries and throttling live here. Never knows a table or a column.

mod client;
mod model;
mod pages;

pub use client::GraphClient;
pub use model::*;
pub use pages::{Pages, RowBatch};
