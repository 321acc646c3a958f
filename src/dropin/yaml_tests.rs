//! What the YAML reader keeps, where it says things are, and what it refuses.

#![allow(clippy::unwrap_used)]

use std::time::Duration;

use proptest::prelude::*;

use super::*;
use crate::clock::Clock;

fn map(node: &Node) -> &[Entry] {
    match node {
        Node::Map(entries) => entries,
        other => panic!("not a map: {other:?}"),
    }
}

#[test]
fn order_duplicates_and_number_texts_are_kept() {
    let root = parse("b: 007\na: [1.50, 'x', true, ~]\nb: 0x1F\n1: yes\n").unwrap();
    let keys: Vec<&str> = map(&root).iter().map(|entry| &*entry.key).collect();
    assert_eq!(keys, ["b", "a", "b", "1"]);
    assert_eq!(map(&root)[0].value.scalar(), Some("007"));
    assert_eq!(map(&root)[2].value.scalar(), Some("0x1F"));
    assert_eq!(
        map(&root)[3].value,
        Node::Text("yes".to_owned()),
        "YAML 1.2: only true and false are booleans"
    );
    let Node::List(items) = &map(&root)[1].value else { panic!("not a list") };
    assert_eq!(
        items.iter().map(Node::scalar).collect::<Vec<_>>(),
        [Some("1.50"), Some("x"), Some("true"), None]
    );
}

#[test]
fn every_place_has_its_line() {
    let text = "# one\na:\n  - x\n  -\n    k: v\n    k: >\n      folded\nb: {c: [1,\n  2]}\n";
    let cases: [(&[Step], usize); 7] = [
        (&[Step::Key(0)], 2),
        (&[Step::Value(0), Step::Item(0)], 3),
        (&[Step::Value(0), Step::Item(1)], 5),
        (&[Step::Value(0), Step::Item(1), Step::Key(1)], 6),
        (&[Step::Key(1)], 8),
        (&[Step::Value(1), Step::Value(0), Step::Item(1)], 9),
        (&[], 2),
    ];
    for (steps, wanted) in cases {
        assert_eq!(line(text, steps), Some(wanted), "{steps:?}");
    }
}

#[test]
fn what_cannot_be_used_is_said_with_its_line() {
    for (text, wanted_line, wanted) in [
        ("a: [1\nb: 2\n", Some(2), "Not valid YAML"),
        ("a: !tag x\n", Some(1), "YAML tags"),
        ("a: 1\n---\nb: 2\n", None, "more than one document"),
        ("a: 1\n? [x]\n: 2\n", Some(2), "A key must be text"),
        ("a: .inf\n", Some(1), "finite number"),
        ("a: *nowhere\n", Some(1), "unknown anchor"),
    ] {
        let (line, message) = parse(text).unwrap_err();
        assert_eq!(line, wanted_line, "{text:?}: {message}");
        assert!(message.contains(wanted), "{text:?}: {message}");
    }
    assert_eq!(parse("").unwrap(), Node::Null);
    assert_eq!(parse("# only a comment\n").unwrap(), Node::Null);
}

#[test]
fn bombs_are_refused_quickly() {
    let mut laughs = "a0: &a0 [x, x, x, x, x, x, x, x, x]\n".to_owned();
    for level in 1..12 {
        let below = level - 1;
        laughs.push_str(&format!("a{level}: &a{level} [{}]\n", vec![format!("*a{below}"); 9].join(", ")));
    }
    let echo = format!("a: &a {}\nb: [{}]\n", "x".repeat(60_000), vec!["*a"; 9_000].join(", "));
    let deep = "[".repeat(200_000);
    let deep_maps = "{a: ".repeat(40_000);
    let deep_blocks: String = (0..600).map(|level| format!("{}-\n", " ".repeat(level))).collect();
    let wide = "- [a]\n".repeat(30_000);
    for (name, text) in [
        ("laughs", &laughs),
        ("echo", &echo),
        ("deep", &deep),
        ("maps", &deep_maps),
        ("blocks", &deep_blocks),
        ("wide", &wide),
    ] {
        let watch = Clock::stopwatch();
        assert!(parse(text).is_err(), "{name}");
        // Generous, because tests share the machine; without the budgets the first two take minutes or all memory.
        assert!(watch.elapsed() < Duration::from_secs(2), "{name} took {:?}", watch.elapsed());
    }
}

proptest! {
    #[test]
    fn any_text_is_parsed_or_refused_without_panic(text in "(?s)[ -~\n\t\u{e4}]{0,120}") {
        let _either_way = parse(&text);
    }

    #[test]
    fn yaml_like_text_has_lines_within_the_file(
        text in prop::collection::vec("[ ]{0,4}(- )?([a-c]: ?)?([a-c&*!|>{}\\[\\],'\"0-9]{0,4})", 0..12)
    ) {
        let text = text.join("\n");
        match parse(&text) {
            Ok(Node::Map(entries)) => for index in 0..entries.len() {
                let line = line(&text, &[Step::Key(index)]).unwrap();
                prop_assert!((1..=text.lines().count()).contains(&line));
            },
            Ok(_) => {}
            Err((line, _)) => prop_assert!(line.unwrap_or(1) <= text.lines().count() + 1),
        }
    }

    #[test]
    fn what_is_written_is_read_back(key in "[a-zA-Z0-9 _.:#-]{1,20}", value in "(?s)[ -~\n\u{e4}]{0,60}") {
        let json = serde_json::json!({ "connections": { &key: { "OAuthClientSecret": &value, "n": 5, "b": [true, null] } } });
        prop_assert_eq!(parse(&to_text(&json).unwrap()).unwrap().to_json(), json);
    }
}
