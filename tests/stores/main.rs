//! Token stores shared by several agents, with the built binary: a group on a real PostgreSQL, many agents on one file,
//! the commands beside the agent, and the order of system calls in one commit.
#![allow(
    clippy::unwrap_used,
    clippy::disallowed_methods,
    clippy::print_stderr,
    dead_code,
    reason = "tests may"
)]

mod cluster;
mod commands;
mod files;
mod group;
mod rekey;
#[path = "../agent/support.rs"]
mod support;
