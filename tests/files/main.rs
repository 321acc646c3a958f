//! The procedures of the built agent against the simulated tenant: contents of any size, local files, and every procedure
//! once from the call to what it changed.
#![allow(clippy::unwrap_used, clippy::disallowed_methods, clippy::print_stderr, reason = "tests may")]

mod attachments;
mod keyed;
mod large;
mod local;
mod procedures;
mod streams;
#[path = "../agent/support.rs"]
#[allow(dead_code, reason = "shared with the other tests of the binary")]
mod support;
mod transfer;
