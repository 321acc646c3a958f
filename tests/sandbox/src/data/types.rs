//! Types that are taken from the service's published metadata as they are, from `types.txt` beside this file.
//! Never the types of mail, events, contacts and users; those are in `shapes`, with what the documents say of each.
//!
//! A type's line is `name >navigation properties`; a property's is ` name kind flags`, where a kind is `Text`, `Flag`,
//! `Number`, `Fraction`, `Instant`, `Binary`, `Any` (an open or recursive type), `Choice:a|b`, `Complex:name`, or one of
//! these after `*` (a collection), and `filter` begins the operators that the property's description names.

use super::model::{Kind, Property, Shape, property};
use std::collections::HashMap;
use std::sync::OnceLock;

const TYPES: &str = include_str!("types.txt");

/// The type of that name.
///
/// # Panics
/// When the file does not have it; the names are this crate's own.
pub(crate) fn shape(name: &str) -> &'static Shape {
    static SHAPES: OnceLock<HashMap<&'static str, &'static Shape>> = OnceLock::new();
    SHAPES.get_or_init(read).get(name).copied().expect("every name in the sandbox's rules is in types.txt")
}

/// One type's lines.
struct Written {
    navigation: Vec<&'static str>,
    properties: Vec<&'static str>,
}

/// The types live as long as the process, as those written in code do.
fn read() -> HashMap<&'static str, &'static Shape> {
    let mut written: HashMap<&'static str, Written> = HashMap::new();
    let mut current = "";
    for line in TYPES.lines() {
        match line.strip_prefix(' ') {
            Some(property) => {
                if let Some(owner) = written.get_mut(current) {
                    owner.properties.push(property);
                }
            }
            None => {
                let (name, navigation) = line.split_once(" >").unwrap_or((line, ""));
                current = name;
                let navigation = navigation.split_ascii_whitespace().collect();
                written.insert(name, Written { navigation, properties: Vec::new() });
            }
        }
    }
    let mut shapes = HashMap::new();
    for name in written.keys() {
        build(name, &written, &mut shapes);
    }
    shapes
}

fn build(
    name: &'static str,
    written: &HashMap<&'static str, Written>,
    shapes: &mut HashMap<&'static str, &'static Shape>,
) -> &'static Shape {
    if let Some(known) = shapes.get(name) {
        return known;
    }
    let source = written.get(name).expect("the generator writes every type that a kind names");
    let properties: Vec<Property> =
        source.properties.iter().map(|line| read_property(line, written, shapes)).collect();
    let shape: &'static Shape = Box::leak(Box::new(Shape {
        name,
        properties: Box::leak(properties.into_boxed_slice()),
        navigation: Box::leak(source.navigation.clone().into_boxed_slice()),
    }));
    shapes.insert(name, shape);
    shape
}

fn read_property(
    line: &'static str,
    written: &HashMap<&'static str, Written>,
    shapes: &mut HashMap<&'static str, &'static Shape>,
) -> Property {
    let (facts, operators) = line.split_once(" filter ").unwrap_or((line, ""));
    let mut words = facts.split(' ');
    let (name, kind) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
    let mut read = property(name, read_kind(kind, written, shapes)).operators(operators);
    for flag in words {
        read = match flag {
            "readonly" => read.read_only(),
            "onrequest" => read.on_request(),
            _ => read,
        };
    }
    read
}

fn read_kind(
    text: &'static str,
    written: &HashMap<&'static str, Written>,
    shapes: &mut HashMap<&'static str, &'static Shape>,
) -> Kind {
    if let Some(item) = text.strip_prefix('*') {
        return Kind::List(Box::leak(Box::new(read_kind(item, written, shapes))));
    }
    match text.split_once(':') {
        Some(("Choice", members)) => Kind::Choice(Box::leak(members.split('|').collect())),
        Some((_, name)) => Kind::Complex(build(name, written, shapes)),
        None => match text {
            "Text" => Kind::Text,
            "Flag" => Kind::Flag,
            "Number" => Kind::Number,
            "Fraction" => Kind::Fraction,
            "Instant" => Kind::Instant,
            "Binary" => Kind::Binary,
            _ => Kind::Any,
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_file_is_read_whole() {
        let group = shape("group");
        assert!(group.find("DISPLAYNAME").unwrap().operators.contains("startsWith"));
        assert!(group.find("allowExternalSenders").unwrap().on_request);
        assert!(group.navigates("threads"));
        assert!(matches!(shape("driveItem").find("file").unwrap().kind, Kind::Complex(_)));
        assert!(
            matches!(shape("post").find("body").unwrap().kind, Kind::Complex(body) if body.find("content").is_some())
        );
    }
}
