//! Makes `src/catalog/facts.txt` out of Microsoft Graph's own metadata: a developer's tool, run when the metadata
//! changes. Never used by the agent, and never sends anything.
//!
//! ```text
//! cargo run --example catalog_facts -- CSDL [--capabilities JSON] [TYPE…] > src/catalog/facts.txt
//! ```
//!
//! `CSDL` is the unpacked metadata of Graph v1.0, `JSON` the per-property capabilities (operators of `$filter`, sorting,
//! read-only, returned only when selected). With types named (`message user …`) their closure is written: base types,
//! complex types and enumerations they use. Without any, the whole metadata is. The format is described in
//! `src/catalog/types.rs`, which reads it.
#![allow(
    clippy::print_stdout,
    clippy::print_stderr,
    clippy::disallowed_methods,
    reason = "a developer's tool reads whole files and writes to its standard output"
)]

use std::collections::{BTreeMap, BTreeSet};
use std::process::ExitCode;

/// One type of the metadata, as it is written out.
#[derive(Default)]
struct Type {
    keyword: &'static str,
    base: Option<String>,
    open: bool,
    is_abstract: bool,
    properties: Vec<(String, String)>,
    members: Vec<String>,
}

type Types = BTreeMap<String, Type>;
type Capabilities = BTreeMap<String, BTreeMap<String, serde_json::Value>>;

fn main() -> ExitCode {
    match run(std::env::args().skip(1).collect()) {
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

fn run(mut arguments: Vec<String>) -> Result<String, String> {
    let mut capabilities = Capabilities::new();
    if let Some(place) = arguments.iter().position(|argument| argument == "--capabilities") {
        let path = arguments.get(place + 1).cloned().ok_or("--capabilities needs a file.")?;
        capabilities = serde_json::from_str(&read(&path)?).map_err(|error| format!("{path}: {error}"))?;
        arguments.drain(place..=place + 1);
    }
    let (csdl, wanted) =
        arguments.split_first().ok_or("Usage: catalog_facts CSDL [--capabilities JSON] [TYPE…]")?;
    let types = read_types(&read(csdl)?);
    let chosen = if wanted.is_empty() { types.keys().cloned().collect() } else { closure(&types, wanted)? };
    Ok(write_facts(&types, &chosen, &capabilities))
}

fn read(path: &str) -> Result<String, String> {
    std::fs::read_to_string(path).map_err(|error| format!("{path}: {error}"))
}

/// CSDL is a flat and regular use of XML (no text, no entities in the attributes needed here, no CDATA), so a scan for
/// tags is enough and an XML crate is not.
fn read_types(xml: &str) -> Types {
    let mut types = Types::new();
    let (mut namespace, mut alias) = (String::new(), String::new());
    let mut current: Option<String> = None;
    for piece in xml.split('<').skip(1) {
        let tag = piece.split('>').next().unwrap_or_default();
        let name = tag.split([' ', '/']).find(|word| !word.is_empty()).unwrap_or_default();
        let attribute = |wanted: &str| attribute(tag, wanted).map(str::to_owned);
        let short = |full: &str| short_name(full, &namespace, &alias);
        if tag.starts_with('/') {
            if matches!(name, "EntityType" | "ComplexType" | "EnumType") {
                current = None;
            }
            continue;
        }
        match name {
            "Schema" => {
                namespace = attribute("Namespace").unwrap_or_default();
                alias = attribute("Alias").unwrap_or_default();
            }
            "EntityType" | "ComplexType" | "EnumType" => {
                let keyword = match name {
                    "EntityType" => "entity",
                    "ComplexType" => "complex",
                    _ => "enum",
                };
                let full = short(&format!("{namespace}.{}", attribute("Name").unwrap_or_default()));
                let entry = Type {
                    keyword,
                    base: attribute("BaseType").map(|base| short(&base)),
                    open: attribute("OpenType").as_deref() == Some("true"),
                    is_abstract: attribute("Abstract").as_deref() == Some("true"),
                    ..Type::default()
                };
                types.insert(full.clone(), entry);
                current = (!tag.ends_with('/')).then_some(full);
            }
            "Property" | "Member" => {
                let Some(owner) = current.as_ref().and_then(|owner| types.get_mut(owner)) else { continue };
                let property = attribute("Name").unwrap_or_default();
                if name == "Member" {
                    owner.members.push(property);
                } else {
                    owner.properties.push((property, short(&attribute("Type").unwrap_or_default())));
                }
            }
            _ => {}
        }
    }
    types
}

fn attribute<'a>(tag: &'a str, wanted: &str) -> Option<&'a str> {
    let start = tag.find(&format!(" {wanted}=\""))? + wanted.len() + 3;
    tag[start..].split('"').next()
}

/// `Edm.String` → `String`, `Collection(graph.recipient)` → `[]recipient`, `microsoft.graph.callRecords.x` →
/// `callRecords.x`.
fn short_name(full: &str, namespace: &str, alias: &str) -> String {
    if let Some(inner) = full.strip_prefix("Collection(").and_then(|rest| rest.strip_suffix(')')) {
        return format!("[]{}", short_name(inner, namespace, alias));
    }
    if let Some(edm) = full.strip_prefix("Edm.") {
        return edm.to_owned();
    }
    let resolved = match full.split_once('.') {
        Some(("graph", rest)) => format!("microsoft.graph.{rest}"),
        Some((prefix, rest)) if prefix == alias => format!("{namespace}.{rest}"),
        _ => full.to_owned(),
    };
    resolved.strip_prefix("microsoft.graph.").unwrap_or(&resolved).to_owned()
}

fn closure(types: &Types, wanted: &[String]) -> Result<BTreeSet<String>, String> {
    let mut chosen = BTreeSet::new();
    let mut open: Vec<String> = wanted.to_vec();
    while let Some(name) = open.pop() {
        let Some(entry) = types.get(&name) else {
            if wanted.contains(&name) {
                return Err(format!("The metadata has no type '{name}'."));
            }
            continue; // a primitive type
        };
        if chosen.insert(name) {
            open.extend(entry.base.clone());
            open.extend(entry.properties.iter().map(|(_, kind)| kind.trim_start_matches("[]").to_owned()));
        }
    }
    Ok(chosen)
}

fn write_facts(types: &Types, chosen: &BTreeSet<String>, capabilities: &Capabilities) -> String {
    let mut text = String::from(
        "# Types of Microsoft Graph v1.0. Source: Microsoft Graph metadata, MIT (github.com/microsoftgraph/msgraph-metadata);\n\
         # operators of $filter, order, ro (read-only) and so (returned only when selected) from the doc comments of\n\
         # Microsoft's TypeScript types, MIT (github.com/microsoftgraph/msgraph-typescript-typings).\n\
         # Made by examples/catalog_facts.rs; not edited by hand. The format is described in types.rs.\n",
    );
    let mut written = BTreeSet::new();
    for keyword in ["entity", "complex", "enum"] {
        for name in chosen.iter().filter(|name| types[*name].keyword == keyword) {
            write_type(&mut text, types, name, capabilities, &mut written);
        }
    }
    text
}

/// Base types come first, so that a reader meets no name it does not know yet.
fn write_type(
    text: &mut String,
    types: &Types,
    name: &str,
    capabilities: &Capabilities,
    written: &mut BTreeSet<String>,
) {
    let Some(entry) = types.get(name) else { return };
    if !written.insert(name.to_owned()) {
        return;
    }
    if let Some(base) = &entry.base {
        write_type(text, types, base, capabilities, written);
    }
    text.push_str(entry.keyword);
    text.push(' ');
    text.push_str(name);
    if let Some(base) = &entry.base {
        text.push_str(&format!(" < {base}"));
    }
    for (flag, word) in [(entry.open, " open"), (entry.is_abstract, " abstract")] {
        if flag {
            text.push_str(word);
        }
    }
    if !entry.members.is_empty() {
        text.push_str(&format!(" = {}", entry.members.join(" ")));
    }
    text.push('\n');
    let known = capabilities.get(&capitalised(name));
    for (property, kind) in &entry.properties {
        text.push_str(&format!(" {property} {kind}"));
        if let Some(facts) = known.and_then(|known| known.get(property)) {
            text.push_str(&flags(facts));
        }
        text.push('\n');
    }
}

fn flags(facts: &serde_json::Value) -> String {
    let mut text = String::new();
    let is = |key: &str| facts.get(key).and_then(serde_json::Value::as_bool).unwrap_or(false);
    for (key, word) in
        [("readonly", " ro"), ("selectonly", " so"), ("orderby", " order"), ("search", " search")]
    {
        if is(key) {
            text.push_str(word);
        }
    }
    let operators =
        facts.get("filter").and_then(serde_json::Value::as_str).map(operators).unwrap_or_default();
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
