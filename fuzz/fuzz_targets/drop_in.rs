//! Any bytes as a drop-in file: a document or one fault, never a panic. `cargo fuzz run drop_in`.
#![no_main]

use std::path::Path;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let _either = o365_agent::dropin::DropInFile::parse(Path::new("fuzz.yaml"), bytes);
});
