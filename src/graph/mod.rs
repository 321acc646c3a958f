//! The Graph stage: the Microsoft Graph client. Never knows a table or a column.
//!
//! ```text
//! GraphRequest ─ checked_url ─ governor (turns, gates) ─ client (the one authorised send) ─ retry ─┬─ send:  whole answer
//!                                                                                                  ├─ pages: rows, one page ahead
//!                                                                                                  └─ bulk:  20 a call, side by side
//! ```
//!
//! * `checked_url.rs` is the only way to a URL that may carry the token; `attempt.rs` has the one function that sets
//!   `Authorization`, and takes nothing else.
//! * `retry.rs` decides, without doing, what is sent again; `settle.rs` makes sure that a write whose outcome is unknown
//!   says so, whatever stopped it.
//! * `upload.rs` and `download.rs` move contents of any size to and from pre-signed addresses (`presigned.rs`), which never
//!   get the token.
//! * `bulk.rs` decides which requests go into which `$batch` call and when, `batch.rs` makes one such call.
//! * `fetch.rs` receives one page in a task of its own, `scan.rs` cuts it into rows while it arrives, `pages.rs` strings
//!   pages together.

mod attempt;
mod batch;
mod batch_parts;
mod bearer;
mod body;
mod bounds;
mod bulk;
mod checked_url;
mod client;
mod content_head;
mod digests;
mod download;
mod fetch;
mod follow;
mod governor;
mod links;
mod model;
mod pages;
mod presigned;
mod refusal;
mod retry;
mod rows;
mod scan;
mod settle;
mod traffic;
mod upload;
mod upload_answer;

#[cfg(test)]
mod framing_tests;
#[cfg(test)]
mod test_support;

pub use bulk::{Announce, Bulk, BulkOptions, BulkOutcome, Finished};
pub use client::GraphClient;
pub use digests::{Digests, KnownDigest};
pub use download::{Download, DownloadRequest, Verified};
pub use governor::{Governor, ThrottleScope, is_object_id};
pub use model::*;
pub use pages::Pages;
pub use rows::RowBatch;
pub use scan::scan_page;
pub use traffic::Traffic;
pub use upload::{UploadContent, UploadRequest, Uploaded};
