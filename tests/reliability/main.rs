//! Promises about failing disks, kills, links, locks and slow servers, proved on the built binary. Sizes are those of a
//! quick run; `O365_AGENT_NIGHTLY=1` takes the full ones.
#![allow(clippy::unwrap_used, clippy::disallowed_methods, clippy::print_stderr, reason = "tests may")]

mod clocks;
mod disk;
mod faults;
mod links;
mod locks;
mod neighbours;
mod provider;
mod restarts;
mod soak;
#[allow(dead_code, reason = "shared with the other test binary, which uses the rest")]
#[path = "../agent/support.rs"]
mod support;

/// The size of a test: `nightly` when that is asked for.
fn size(quick: u32, nightly: u32) -> u32 {
    if std::env::var_os("O365_AGENT_NIGHTLY").is_some() { nightly } else { quick }
}

/// Whether this process may trace and mount; says why a test is skipped if not.
fn is_root(what: &str) -> bool {
    let root = std::fs::read_to_string("/proc/self/status").unwrap().contains("\nUid:\t0\t0\t");
    if !root {
        eprintln!("skipped: {what} needs root");
    }
    root
}
