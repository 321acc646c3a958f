//! How requests travel: certificates of a private authority, proxies of several kinds, time limits. Drives the built
//! binary against the simulated tenant over TLS, with real proxies from Debian in between.
#![allow(clippy::unwrap_used, clippy::disallowed_methods, clippy::print_stderr, reason = "tests may")]

mod authority;
mod certificates;
mod proxies;
mod servers;
mod socks;
#[allow(dead_code, reason = "shared with the agent's other tests, which use all of it")]
#[path = "../agent/support.rs"]
mod support;
mod timeouts;
