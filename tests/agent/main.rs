//! Drives the built `o365-agent` binary against the simulated tenant, on free ports, as its users do.
#![allow(clippy::unwrap_used, clippy::disallowed_methods, clippy::print_stderr, reason = "tests may")]

mod activities;
mod canary;
mod cli;
mod crash;
mod drop_ins;
mod guard;
mod limits;
mod memory;
mod process;
mod schema;
mod support;
mod tokens;
