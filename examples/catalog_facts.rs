//! Makes `src/catalog/facts.txt` out of Microsoft Graph's own metadata: a developer's tool, run when the metadata
//! changes. Never used by the agent, and never sends anything.
//!
//! ```text
//! cargo run --example catalog_facts -- CSDL CAPABILITIES PERMISSIONS > src/catalog/facts.txt
//! ```
//!
//! `CSDL` is the metadata of Graph v1.0, `CAPABILITIES` a JSON object type → property → what is known of it (operators of
//! `$filter`, sorting, read-only, returned only when selected), `PERMISSIONS` a JSON object path → method → account →
//! permissions, the least of them marked with `*`. Each may be compressed with gzip. The format is described in
//! `src/catalog/facts.rs` and `src/catalog/permissions.rs`, which read it.
#![allow(
    clippy::print_stdout,
    clippy::print_stderr,
    clippy::disallowed_methods,
    reason = "a developer's tool reads whole files and writes to its standard output"
)]

use std::collections::{BTreeMap, BTreeSet};
use std::io::Read;
use std::process::ExitCode;

use serde_json::Value;

const HEAD: &str = "\
# Types, operations, roots and permissions of Microsoft Graph v1.0. Source: Microsoft Graph metadata, MIT
# (github.com/microsoftgraph/msgraph-metadata); filter, order, search, ro (read-only) and so (returned only when selected)
# from the doc comments of Microsoft's TypeScript types, MIT (github.com/microsoftgraph/msgraph-typescript-typings);
# methods and least permissions of paths from Microsoft Graph's permission tables, MIT.
# Made by examples/catalog_facts.rs; not edited by hand. The format: facts.rs and permissions.rs.
";

type Capabilities = BTreeMap<String, BTreeMap<String, Value>>;
type Permissions = BTreeMap<String, BTreeMap<String, BTreeMap<String, Vec<String>>>>;

fn main() -> ExitCode {
    match run(&std::env::args().skip(1).collect::<Vec<_>>()) {
        Ok(text) => {
            print!("{text}");
            ExitCode::SUCCESS
        }
        Err(message) => {
            eprintln!("{message}");
            ExitCode::FAILURE
        }
    }
}

fn run(arguments: &[String]) -> Result<String, String> {
    let [csdl, capabilities, permissions] = arguments else {
        return Err("Usage: catalog_facts CSDL CAPABILITIES PERMISSIONS".to_owned());
    };
    let known: Capabilities = json(capabilities)?;
    let words = |kind: &str, property: &str| {
        let facts = known.get(&capitalised(kind)).and_then(|facts| facts.get(property));
        facts.map(flags).unwrap_or_default()
    };
    let types = o365_agent::catalog::facts_of_metadata(&read(csdl)?, &words)
        .map_err(|error| format!("{csdl}: {error}"))?;
    let (scopes, paths) = write_permissions(&json(permissions)?);
    Ok(format!("{HEAD}{types}%permissions\n{scopes}%paths\n{paths}"))
}

fn json<T: serde::de::DeserializeOwned>(path: &str) -> Result<T, String> {
    serde_json::from_slice(&read(path)?).map_err(|error| format!("{path}: {error}"))
}

fn read(path: &str) -> Result<Vec<u8>, String> {
    let fault = |error: std::io::Error| format!("{path}: {error}");
    let bytes = std::fs::read(path).map_err(fault)?;
    if !bytes.starts_with(&[0x1f, 0x8b]) {
        return Ok(bytes);
    }
    let mut plain = Vec::new();
    flate2::read::GzDecoder::new(bytes.as_slice()).read_to_end(&mut plain).map_err(fault)?;
    Ok(plain)
}

/// The least permissions of every path and method, each pair of lists once.
fn write_permissions(permissions: &Permissions) -> (String, String) {
    let least = |accounts: &BTreeMap<String, Vec<String>>, account: &str| {
        let marked = accounts.get(account).into_iter().flatten().filter_map(|scope| scope.strip_prefix('*'));
        marked.collect::<Vec<_>>().join(" ")
    };
    let pair = |accounts: &BTreeMap<String, Vec<String>>| {
        format!("{};{}", least(accounts, "DelegatedWork"), least(accounts, "Application"))
    };
    let all: BTreeSet<String> = permissions.values().flat_map(|methods| methods.values().map(pair)).collect();
    let numbers: BTreeMap<&String, usize> =
        all.iter().enumerate().map(|(number, pair)| (pair, number)).collect();
    let sorted: BTreeMap<Vec<&str>, _> = permissions
        .iter()
        .map(|(path, methods)| (path.trim_matches('/').split('/').collect(), methods))
        .collect();
    let (mut text, mut before) = (String::new(), Vec::new());
    for (segments, methods) in sorted {
        let shared = segments.iter().zip(&before).take_while(|(one, other)| one == other).count();
        let mut words = Vec::new();
        for (method, letter) in [("GET", 'G'), ("POST", 'P'), ("PATCH", 'A'), ("PUT", 'U'), ("DELETE", 'D')] {
            if let Some(accounts) = methods.get(method) {
                words.push(format!("{letter}{}", numbers[&pair(accounts)]));
            }
        }
        if !words.is_empty() && shared < segments.len() {
            text.push_str(&format!("{shared} {} {}\n", segments[shared..].join("/"), words.join(" ")));
            before = segments;
        }
    }
    (all.iter().map(|pair| format!("{pair}\n")).collect(), text)
}

/// The words of the facts text.
fn flags(facts: &Value) -> String {
    let mut text = String::new();
    let is = |key: &str| facts.get(key).and_then(Value::as_bool).unwrap_or(false);
    for (key, word) in
        [("readonly", " ro"), ("selectonly", " so"), ("orderby", " order"), ("search", " search")]
    {
        if is(key) {
            text.push_str(word);
        }
    }
    let operators = facts.get("filter").and_then(Value::as_str).map(operators).unwrap_or_default();
    if !operators.is_empty() {
        text.push_str(&format!(" filter={}", operators.join(",")));
    }
    text
}

/// The doc comments list operators in prose: `eq, ne, not , ge, le, in, startsWith, and eq on null values`.
fn operators(prose: &str) -> Vec<&'static str> {
    let nulls = prose.contains("null values");
    let before_nulls = prose.replace("and eq on null values", "");
    let words: BTreeSet<String> =
        before_nulls.split([' ', ',']).map(str::to_lowercase).filter(|word| !word.is_empty()).collect();
    if prose.contains("/$count") {
        return Vec::new(); // operators on the members of a collection, not on the property
    }
    let mut known: Vec<&'static str> =
        [("eq", "eq"), ("ne", "ne"), ("not", "not"), ("ge", "ge"), ("le", "le"), ("in", "in")]
            .into_iter()
            .chain([("startswith", "startsWith"), ("endswith", "endsWith")])
            .filter(|(word, _)| words.contains(*word))
            .map(|(_, operator)| operator)
            .collect();
    if nulls {
        known.push("null");
    }
    known
}

fn capitalised(name: &str) -> String {
    let mut characters = name.chars();
    characters.next().map(|first| first.to_uppercase().chain(characters).collect()).unwrap_or_default()
}
