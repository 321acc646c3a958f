//! Any text as `jitterbit.conf`: settings or faults, never a panic. `cargo fuzz run settings`.
#![no_main]

use o365_agent::settings::{ThisHost, parse};

libfuzzer_sys::fuzz_target!(|text: &str| {
    let _either = parse(None, text, &ThisHost::with_environment(|_| None));
});
