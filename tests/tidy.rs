//! The house rules that a compiler cannot hold: imports point left, every file says what it is, files stay small, one
//! writer of files, one printer, one module per exchangeable crate. Reads the source as text; never builds anything.
#![allow(clippy::unwrap_used, clippy::disallowed_methods, reason = "tests may")]

use std::fs;
use std::path::{Path, PathBuf};

/// The stages in the order data flows through them.
const STAGES: [&str; 10] =
    ["settings", "dropin", "connection", "token", "graph", "catalog", "query", "activity", "control", "cli"];

/// Modules that any stage may import and that import no stage.
const LEAVES: [&str; 6] = ["files", "secret", "clock", "error", "telemetry", "systemd"];

/// The life cycle stands outside the flow: it wires the stages, and only the command line imports it.
const LIFE_CYCLE: [&str; 3] = ["agent", "loader", "watchdog"];

const LONGEST_FILE: usize = 500;

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

fn rust_files(folder: &str) -> Vec<(PathBuf, String)> {
    let mut found = Vec::new();
    let mut folders = vec![root().join(folder)];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).into_iter().flatten() {
            let path = entry.unwrap().path();
            if path.is_dir() && path.file_name().unwrap() != "target" {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let text = fs::read_to_string(&path).unwrap();
                found.push((path.strip_prefix(root()).unwrap().to_owned(), text));
            }
        }
    }
    found.sort();
    assert!(!found.is_empty(), "no Rust files in {folder}");
    found
}

/// The product's part of a file: without comments and without its trailing test module.
fn product(text: &str) -> String {
    let end = ["#[cfg(test)]\nmod tests {", "#[cfg(test)]\n#[allow"]
        .iter()
        .filter_map(|mark| text.find(mark))
        .min()
        .unwrap_or(text.len());
    text[..end].lines().map(|line| line.split("//").next().unwrap_or_default()).collect::<Vec<_>>().join("\n")
}

fn is_test_file(path: &Path) -> bool {
    let name = path.file_stem().unwrap().to_string_lossy();
    name == "tests"
        || name == "testing"
        || name.ends_with("_world")
        || name.ends_with("_tests")
        || name.starts_with("test_")
        || path.components().any(|part| part.as_os_str() == "tests")
}

fn stage_of(path: &Path) -> String {
    let mut parts = path.components().skip(1).map(|part| part.as_os_str().to_string_lossy().into_owned());
    parts.next().unwrap().trim_end_matches(".rs").trim_end_matches("_tests").to_owned()
}

fn check(faults: &[String]) {
    assert!(faults.is_empty(), "\n{}", faults.join("\n"));
}

#[test]
fn imports_point_left() {
    let place = |module: &str| STAGES.iter().position(|stage| *stage == module);
    let mut faults = Vec::new();
    for (path, text) in rust_files("src") {
        let own = stage_of(&path);
        if own == "lib" || own == "main" || LIFE_CYCLE.contains(&own.as_str()) {
            continue;
        }
        let text = product(&text);
        for (at, _) in text.match_indices("crate::") {
            let rest = &text[at + 7..];
            let module: String = rest
                .chars()
                .take_while(|character| character.is_ascii_lowercase() || *character == '_')
                .collect();
            let allowed = match (place(&own), place(&module)) {
                (Some(own), Some(other)) => other <= own,
                (None, Some(_)) => false,
                (_, None) => {
                    LEAVES.contains(&module.as_str())
                        || module == own
                        || (own == "cli" && LIFE_CYCLE.contains(&module.as_str()))
                }
            };
            if !allowed {
                faults.push(format!("{}: {own} must not import {module}", path.display()));
            }
        }
    }
    check(&faults);
}

#[test]
fn every_file_says_what_it_is_and_stays_small() {
    let mut faults = Vec::new();
    for folder in ["src", "tests", "examples", "benches", "fuzz"] {
        if !root().join(folder).exists() {
            continue;
        }
        for (path, text) in rust_files(folder) {
            if !text.starts_with("//! ") {
                faults.push(format!("{}: does not open with `//! ` and what it is", path.display()));
            }
            if text.lines().count() > LONGEST_FILE {
                faults.push(format!(
                    "{}: {} lines, more than {LONGEST_FILE}",
                    path.display(),
                    text.lines().count()
                ));
            }
        }
    }
    check(&faults);
}

/// Words that only some places may use, with the reason.
const RESERVED: [(&str, &[&str], &str); 14] = [
    ("fs::write(", &["src/files"], "only the files leaf writes files"),
    ("File::create", &["src/files"], "only the files leaf writes files"),
    ("OpenOptions", &["src/files"], "only the files leaf writes files"),
    ("fs::rename(", &["src/files"], "only the files leaf writes files"),
    ("fs::remove_file(", &["src/files"], "only the files leaf removes files"),
    ("create_dir", &["src/files"], "only the files leaf makes folders"),
    ("fs2::", &["src/files"], "fs2 can be exchanged in one module"),
    ("serde_yaml", &["src/dropin/yaml.rs"], "serde_yaml can be exchanged in one module"),
    ("println!", &["src/cli"], "only cli prints"),
    ("print!(", &["src/cli"], "only cli prints"),
    (
        "header::AUTHORIZATION",
        &["src/graph", "src/control/guard.rs", "src/cli/client.rs", "src/token/managed_identity/mod.rs"],
        "one function sets Authorization",
    ),
    ("SystemTime::now", &["src/clock.rs"], "time comes from the Clock"),
    ("todo!", &[], "nothing is left to do"),
    ("process::exit", &[], "an exit skips the drain"),
];

#[test]
fn reserved_words_stay_where_they_belong() {
    let mut faults = Vec::new();
    for (path, text) in rust_files("src") {
        if is_test_file(&path) {
            continue;
        }
        let (text, shown) = (product(&text), path.display().to_string());
        for (word, places, reason) in RESERVED {
            if text.contains(word) && !places.iter().any(|place| shown.starts_with(place)) {
                faults.push(format!("{shown}: `{word}`: {reason}"));
            }
        }
    }
    check(&faults);
}

#[test]
fn no_expect_without_a_proof_and_no_unwrap() {
    let mut faults = Vec::new();
    for (path, text) in rust_files("src") {
        if is_test_file(&path) {
            continue;
        }
        for (number, line) in product(&text).lines().enumerate() {
            let bare = line.contains(".unwrap()")
                || line
                    .split(".expect(\"")
                    .skip(1)
                    .any(|rest| rest.split('"').next().unwrap_or_default().split(' ').count() < 4);
            if bare {
                faults.push(format!(
                    "{}:{}: an expect says in a sentence why it cannot happen",
                    path.display(),
                    number + 1
                ));
            }
        }
    }
    check(&faults);
}

#[test]
fn the_top_level_holds_what_the_design_names_and_nothing_else() {
    let allowed = [
        "Cargo.toml",
        "Cargo.lock",
        "src",
        "jitterbit.conf.example",
        "agent.d",
        "tests",
        "systemd",
        "README.md",
        "clippy.toml",
        "deny.toml",
        "rustfmt.toml",
        "ARCHITECTURE.md",
        "CHANGELOG.md",
        "LICENSE",
        "benches",
        "examples",
        "fuzz",
        "docs",
        "target",
    ];
    let extra: Vec<_> = fs::read_dir(root())
        .unwrap()
        .map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned())
        .filter(|name| !name.starts_with('.') && !allowed.contains(&name.as_str()))
        .collect();
    assert!(extra.is_empty(), "{extra:?}");
}

#[test]
fn the_architecture_page_is_short_and_names_every_stage() {
    let page = fs::read_to_string(root().join("ARCHITECTURE.md")).unwrap();
    assert!(page.lines().count() <= 200, "{} lines", page.lines().count());
    for stage in STAGES.iter().chain(&LEAVES).chain(&LIFE_CYCLE) {
        assert!(page.contains(&format!("`{stage}")), "ARCHITECTURE.md does not name `{stage}`");
    }
}
