//! Tests of the facts: this build's are whole and indexed, faulty texts are refused with their line.
#![allow(clippy::unwrap_used, reason = "tests")]

use super::*;
use crate::catalog::facts_line::TypeRef;

/// What is embedded of the metadata, in all.
const MOST_EMBEDDED: usize = 1024 * 1024;

#[test]
fn the_facts_of_this_build_are_whole() {
    assert!(EMBEDDED.len() <= MOST_EMBEDDED, "{} bytes", EMBEDDED.len());
    let facts = Facts::embedded();
    facts.check().unwrap();
    let known = |kind: &TypeRef<'_>| {
        facts.find(kind.name).is_some() || kind.name.starts_with(|first: char| first.is_ascii_uppercase())
    };
    for id in facts.ids() {
        for line in facts.lines(id) {
            let kinds = match &line {
                Line::Property(found) => vec![found.kind],
                Line::Navigation(found) => vec![found.kind],
                Line::Operation(found) => {
                    found.parameters.iter().map(|parameter| parameter.kind).chain(found.answer).collect()
                }
            };
            assert!(kinds.iter().all(known), "{}: {line:?}", facts.name(id));
        }
    }
}

#[test]
fn types_are_found_in_any_case_with_what_they_inherit() {
    let facts = Facts::embedded();
    let message = facts.find("MESSAGE").unwrap();
    assert_eq!(facts.name(message), "message");
    assert_eq!(facts.kind(message), TypeKind::Entity);
    assert_eq!(facts.properties(message)[0].name, "id");
    assert!(facts.is_open(message) && facts.is_a(message, facts.find("outlookItem").unwrap()));
    let members: Vec<&str> = facts.members(facts.find("bodyType").unwrap()).unwrap().collect();
    assert_eq!(members, ["text", "html"]);
    let attachments = facts.derived(facts.find("attachment").unwrap());
    let names: Vec<&str> = attachments.iter().map(|id| facts.name(*id)).collect();
    assert_eq!(names, ["fileAttachment", "itemAttachment", "referenceAttachment"]);
    assert!(facts.navigation(message, "Attachments").unwrap().contained);
    assert!(facts.operations(message, false).iter().any(|found| found.name == "forward" && !found.function));
    assert!(facts.operations(message, true).iter().any(|found| found.name == "delta" && found.function));
    assert!(facts.find("nothing").is_none() && facts.find("").is_none());
}

#[test]
fn faults_name_their_line() {
    for (text, expected) in [
        ("entity a < b\n", "the base type b"),
        (" x String\n", "line 1: no type"),
        ("entity a\n x\nset s a\n", "a: no fact"),
        ("entity a\n x String filter=xx\nset s a\n", "a: no fact"),
        ("thing a\n", "line 1: unknown keyword"),
        ("entity b\nentity a\n", "not sorted"),
        ("entity a\nentity A\n", "not sorted"),
        ("entity a < a\nset s a\n", "inherits from itself"),
        ("entity a\n", "no entity set"),
        ("entity a\nset s b\n", "unknown type b"),
    ] {
        let message = Facts::of_text(text.to_owned()).unwrap_err();
        assert!(message.contains(expected), "{text:?}: {message}");
    }
}

#[test]
fn what_is_known_of_a_property_is_written_as_it_is_read() {
    for words in
        ["", " ro so", " order search req max=20 filter=eq,ne,null", " filter=eq,ge,le,gt,in,startsWith"]
    {
        let flags =
            crate::catalog::facts_line::Flags::parse(words.split(' ').filter(|word| !word.is_empty()));
        let again = flags.unwrap().words();
        let sorted = |text: &str| {
            let mut parts: Vec<String> = text.split([' ', ',', '=']).map(str::to_owned).collect();
            parts.sort();
            parts
        };
        assert_eq!(sorted(&again), sorted(words));
    }
}

proptest::proptest! {
    #[test]
    fn no_text_stops_the_reader(text in "((entity|complex|enum|set|single| |!|=|>|~|<|\\[\\]|open|a|b|:|\\?|%|#)[ \n]?){0,40}") {
        if let Ok(facts) = Facts::of_text(text) {
            for id in facts.ids() {
                let _read = (facts.properties(id), facts.derived(id), facts.operations(id, false));
            }
        }
    }
}
