//! Every way in which an application or a machine proves itself, with the built agent and files made by the tools that
//! people use.
#![allow(clippy::unwrap_used, clippy::disallowed_methods, clippy::print_stderr, reason = "tests may")]

mod certificates;
mod check;
mod fabric;
mod files;
mod machine;
mod schemes;
#[path = "../agent/support.rs"]
#[allow(dead_code, reason = "shared with the other binary, which uses more of it")]
mod support;
