//! Any bytes as a service's metadata: facts or one fault, never a panic, and facts that can be used. `cargo fuzz run csdl`.
#![no_main]

use o365_agent::catalog::{Catalog, facts_of_metadata};

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let Ok(text) = facts_of_metadata(bytes, &|_, _| String::new()) else { return };
    let Ok(catalog) = Catalog::of_text(text) else { return };
    for path in ["/users/x/things", "/me/x(y='z')/$count", "Messages", "/a/b/c/d"] {
        let _described = (catalog.describe(path), catalog.describe_procedure(path));
    }
});
