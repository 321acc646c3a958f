//! Conditions on places, over the control port of the built agent, against a naive reading of the same rows: every object,
//! every column that chooses a place, read and written; and random writes while others write too. The naive reading shares
//! no code with the agent: it lists every place by itself and filters by its own rules.
#![allow(clippy::unwrap_used, clippy::disallowed_methods, clippy::print_stderr, reason = "tests may")]

mod condition;
mod generate;
mod random;
mod rows;
mod specimens;
#[path = "../agent/support.rs"]
#[allow(dead_code, reason = "shared with the other tests of the binary")]
mod support;
mod table;
mod world;
