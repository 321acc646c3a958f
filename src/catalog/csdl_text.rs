//! A CSDL document → the text that `facts.rs` reads. The same code makes `facts.txt` of this build (through
//! `examples/catalog_facts.rs`) and the facts of a refreshed schema. Never keeps anything.

use std::collections::BTreeMap;

use super::csdl::{Csdl, CsdlOperation, CsdlType, parse};
use super::facts_line::{Barred, Flags};

/// What is known of a property beside the metadata, as the words behind its type (` so filter=eq,ne`).
pub type Known<'a> = &'a dyn Fn(&str, &str) -> String;

/// The facts text of a CSDL document.
///
/// # Errors
/// What is wrong with the document.
pub(super) fn facts_text(xml: &[u8], known: Known<'_>) -> Result<String, String> {
    let csdl = parse(xml)?;
    let mut types: BTreeMap<String, &CsdlType> = BTreeMap::new();
    for kind in &csdl.types {
        if types.insert(kind.name.to_ascii_lowercase(), kind).is_some() {
            return Err(format!("the type {} is there twice", kind.name));
        }
    }
    let mut operations: BTreeMap<String, Vec<&CsdlOperation>> = BTreeMap::new();
    for operation in &csdl.operations {
        let bound_to = operation.parameters[0].kind.trim_start_matches("[]").to_ascii_lowercase();
        operations.entry(bound_to).or_default().push(operation);
    }
    let mut text = String::new();
    for root in &csdl.roots {
        let keyword = if root.collection { "set" } else { "single" };
        text.push_str(&format!("{keyword} {} {}\n", root.name, root.kind));
    }
    for (key, kind) in types {
        write_type(&mut text, &csdl, kind, known)?;
        let mut lines: Vec<String> =
            operations.get(&key).into_iter().flatten().map(|found| operation_line(found)).collect();
        lines.sort();
        lines.dedup();
        text.extend(lines);
    }
    Ok(text)
}

fn write_type(text: &mut String, csdl: &Csdl, kind: &CsdlType, known: Known<'_>) -> Result<(), String> {
    text.push_str(&format!("{} {}", kind.keyword, kind.name));
    if let Some(base) = &kind.base {
        text.push_str(&format!(" < {base}"));
    }
    for (flag, word) in [(kind.open, " open"), (kind.is_abstract, " abstract"), (kind.stream, " stream")] {
        text.push_str(if flag { word } else { "" });
    }
    for member in &kind.members {
        text.push_str(&format!(" {member}"));
    }
    text.push('\n');
    for property in &kind.properties {
        let sign = match property.contained {
            None => "",
            Some(true) => ">",
            Some(false) => "~",
        };
        text.push_str(&format!(" {sign}{} {}", property.name, property.kind));
        if !sign.is_empty() {
            let restricted = |target: &str| csdl.restricted.get(target).copied().unwrap_or_default();
            let here = restricted(&format!("{}/{}", kind.name, property.name));
            let anywhere = restricted(property.kind.trim_start_matches("[]"));
            let barred = Barred {
                make: here[0] || anywhere[0],
                change: here[1] || anywhere[1],
                remove: here[2] || anywhere[2],
            };
            text.push_str(&barred.words());
        } else {
            let words = known(&kind.name, &property.name);
            let mut flags = Flags::parse(words.split(' ').filter(|word| !word.is_empty()))
                .ok_or_else(|| format!("'{words}' says nothing of {}/{}", kind.name, property.name))?;
            flags.read_only |= csdl.computed.contains(&format!("{}/{}", kind.name, property.name));
            flags.required = property.required;
            flags.max_length = property.max_length;
            text.push_str(&flags.words());
        }
        text.push('\n');
    }
    Ok(())
}

fn operation_line(operation: &CsdlOperation) -> String {
    let (bound_to, parameters) = match operation.parameters.split_first() {
        Some((first, rest)) => (first.kind.as_str(), rest),
        None => ("", &[][..]),
    };
    let sign = match (operation.function, bound_to.starts_with("[]")) {
        (false, false) => "!",
        (false, true) => "!!",
        (true, false) => "=",
        (true, true) => "==",
    };
    let mut line = format!(" {sign}{}", operation.name);
    for parameter in parameters {
        let optional = if parameter.optional { "?" } else { "" };
        line.push_str(&format!(" {}{optional}:{}", parameter.name, parameter.kind));
    }
    if let Some(answer) = &operation.answer {
        line.push_str(&format!(" > {answer}"));
    }
    line.push('\n');
    line
}
