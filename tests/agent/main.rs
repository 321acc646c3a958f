//! Drives the built `o365-agent` binary against the simulated tenant, on free ports, as its users do.
#![allow(clippy::unwrap_used, clippy::disallowed_methods, clippy::print_stderr, reason = "tests may")]

mod activities;
mod bulk;
mod canaries;
mod canary;
mod cli;
mod completeness;
mod conditions;
mod crash;
mod drop_ins;
mod fan_out;
mod guard;
mod limits;
mod long_runs;
mod memory;
mod once;
mod process;
mod relations;
mod schema;
mod spooled;
mod support;
mod throttling;
mod tokens;
mod values;
mod views;
mod writes;
