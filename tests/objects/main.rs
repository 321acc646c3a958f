//! Every object with every activity that its service allows, and every procedure, asked for over the control port of the
//! built agent and done at the simulated tenant. Each table is data; each cell is one exchange that is checked.
#![allow(clippy::unwrap_used, clippy::disallowed_methods, clippy::print_stderr, reason = "tests may")]

mod cells;
mod facts;
mod objects;
mod procedures;
#[path = "../agent/support.rs"]
#[allow(dead_code, reason = "shared with the other tests of the binary")]
mod support;
