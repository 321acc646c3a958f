//! People signing in to the built agent, without any other tool: each flow end to end against the simulated tenant, and
//! against a certified OAuth server from npm.
#![allow(clippy::unwrap_used, clippy::disallowed_methods, clippy::print_stderr, reason = "tests may")]

mod browser;
#[path = "../agent/canaries.rs"]
mod canaries;
mod canary;
mod command;
mod device;
mod flows;
mod provider;
mod second_person;
#[path = "../agent/support.rs"]
#[allow(dead_code, reason = "shared with the other tests of the binary")]
mod support;
mod verifier;
