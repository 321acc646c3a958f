//! The scanner against serde_json, in every cut, and against everything that is not a page.
#![allow(clippy::unwrap_used)]

use proptest::prelude::*;
use serde_json::{Map, Value, json};

use super::*;

/// What a page came to.
#[derive(Debug, PartialEq)]
struct Page {
    rows: Vec<String>,
    link: Option<String>,
    count: Option<u64>,
}

fn scan<'a>(pieces: impl IntoIterator<Item = &'a [u8]>) -> Result<Page, ScanFault> {
    let mut scanner = PageScanner::new();
    let mut page = Page { rows: Vec::new(), link: None, count: None };
    let mut take = |batch: RowBatch| {
        assert_eq!(batch.rows().count(), batch.len());
        page.rows.extend(batch.rows().map(|row| String::from_utf8(row.to_vec()).unwrap()));
    };
    for piece in pieces {
        take(scanner.feed(Bytes::copy_from_slice(piece))?);
        if let Some(link) = scanner.take_new_link() {
            page.link = Some(link);
        }
    }
    take(scanner.finish()?);
    page.count = scanner.count();
    Ok(page)
}

/// All at once, byte by byte, and cut in two at every place: always the same.
fn scan_every_way(text: &str) -> Result<Page, ScanFault> {
    let bytes = text.as_bytes();
    let whole = scan([bytes]);
    assert_eq!(scan(bytes.chunks(1)), whole, "byte by byte: {text}");
    for cut in 0..=bytes.len() {
        assert_eq!(scan([&bytes[..cut], &bytes[cut..]]), whole, "cut at {cut}: {text}");
    }
    whole
}

fn page(rows: &[&str], link: Option<&str>, count: Option<u64>) -> Page {
    let rows = rows.iter().map(|row| (*row).to_owned()).collect();
    Page { rows, link: link.map(str::to_owned), count }
}

#[test]
fn pages_are_cut_into_rows() {
    for (text, expected) in [
        (r#"{"value":[]}"#, page(&[], None, None)),
        (r#" { "value" : [ ] } "#, page(&[], None, None)),
        (
            r#"{"@odata.nextLink":"https:\/\/x\u002fy","value":[{"a":"]}\"{"}]}"#,
            page(&[r#"{"a":"]}\"{"}"#], Some("https://x/y"), None),
        ),
        (
            r#"{"value":[{"a":[{}]} , {"b":"\\"}],"@odata.nextLink":"n","@odata.count":7}"#,
            page(&[r#"{"a":[{}]}"#, r#"{"b":"\\"}"#], Some("n"), Some(7)),
        ),
        (
            r#"{"\u0040odata.nextLink":"n","\u0076alue":["a" ,1, null,[1],true,-1.5e3]}"#,
            page(&[r#""a""#, "1", "null", "[1]", "true", "-1.5e3"], Some("n"), None),
        ),
        (
            r#"{"@odata.count":"12","x":{"value":[1],"@odata.nextLink":"no"},"value":[2]}"#,
            page(&["2"], None, Some(12)),
        ),
        (r#"{"@odata.nextLink":null,"value":[]}"#, page(&[], None, None)),
        (
            r#"{"x":"€\n","n":-0.5,"t":true,"value":[{"ü":"\uD83D\uDE00"}]}"#,
            page(&[r#"{"ü":"\uD83D\uDE00"}"#], None, None),
        ),
        (r#" {"id":"1","x":[1,{"y":"}"}]} "#, page(&[r#"{"id":"1","x":[1,{"y":"}"}]}"#], None, None)),
        (r#"{"value":"text"}"#, page(&[r#"{"value":"text"}"#], None, None)),
        (r#"{}"#, page(&["{}"], None, None)),
        (
            r#"{"@odata.context":"x#p/$entity","id":"1","value":["a"]}"#,
            page(&[r#"{"@odata.context":"x#p/$entity","id":"1","value":["a"]}"#], None, None),
        ),
        (r#"{"@odata.context":"x#users","value":["a"]}"#, page(&[r#""a""#], None, None)),
    ] {
        assert_eq!(scan_every_way(text), Ok(expected), "{text}");
    }
}

#[test]
fn what_is_not_json_is_refused() {
    for text in [
        "[]",
        "x",
        "\"a\"",
        "{,}",
        "{\"a\"}",
        "{\"a\" 1}",
        "{\"a\":}",
        "{\"a\":1,}",
        "{\"a\":1 2}",
        "{a:1}",
        "{\"a\":tru}",
        "{\"a\":01}",
        "{\"value\":[,]}",
        "{\"value\":[1,]}",
        "{\"value\":[1 2]}",
        "{\"value\":[{}{}]}",
        "{\"value\":[tru]}",
        "{\"value\":[1}",
        "{\"value\":[{]}]}",
        "{\"value\":[[}]]}",
        "{\"value\":[]]}",
        "{\"value\":[]}x",
        "{\"value\":[]}{}",
        "{\"value\":[],\"value\":[]}",
        "{\"@odata.nextLink\":\"a\",\"@odata.nextLink\":\"b\"}",
        "{\"@odata.nextLink\":7}",
        "{\"@odata.nextLink\":{}}",
        "{\"@odata.nextLink\":\"\\x\"}",
        "<html></html>",
        "{\"a\":'x'}",
        "{\"\\x\":1}",
    ] {
        assert!(
            matches!(scan_every_way(text), Err(ScanFault::Invalid(_))),
            "{text}: {:?}",
            scan([text.as_bytes()])
        );
    }
    let deep = format!("{{\"value\":[{}", "[".repeat(200));
    assert!(matches!(scan([deep.as_bytes()]), Err(ScanFault::Invalid(_))));
    let long = format!("{{\"@odata.nextLink\":\"{}", "x".repeat(LONGEST_TEXT));
    assert!(matches!(scan([long.as_bytes()]), Err(ScanFault::Invalid(_))));
}

#[test]
fn a_page_that_ends_early_is_never_complete() {
    let text =
        r#"{"@odata.count":3,"@odata.nextLink":"n\\","value":[{"a":"b\""},"c",{"d":[1]}],"e":{"f":null}}"#;
    for end in 0..text.len() {
        assert_eq!(scan([&text.as_bytes()[..end]]), Err(ScanFault::Truncated), "{}", &text[..end]);
    }
    assert!(scan([text.as_bytes()]).is_ok());
}

#[test]
fn rows_in_one_piece_are_not_copied() {
    let piece = Bytes::from_static(br#"{"value":[{"a":1},{"b":2}]}"#);
    let within = piece.as_ptr_range();
    let batch = PageScanner::new().feed(piece).unwrap();
    assert_eq!(batch.len(), 2);
    assert!(batch.rows().all(|row| within.contains(&row.as_ptr())));
}

#[test]
fn rows_come_out_before_the_page_has_ended() {
    let mut scanner = PageScanner::new();
    let first = scanner.feed(Bytes::from_static(br#"{"@odata.nextLink":"n","value":[{"a":1},{"b""#)).unwrap();
    assert_eq!(first.rows().collect::<Vec<_>>(), [br#"{"a":1}"#]);
    assert_eq!(scanner.take_new_link().as_deref(), Some("n"));
    assert_eq!(scanner.take_new_link(), None);
    let second = scanner.feed(Bytes::from_static(b":2}")).unwrap();
    assert_eq!(second.rows().collect::<Vec<_>>(), [br#"{"b":2}"#]);
}

fn any_json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<i32>().prop_map(|eighths| Value::from(f64::from(eighths) / 8.0)), // exact in binary
        any_text().prop_map(Value::from),
    ];
    leaf.prop_recursive(4, 24, 5, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..5).prop_map(Value::from),
            prop::collection::vec((any_text(), inner), 0..5)
                .prop_map(|pairs| Value::Object(pairs.into_iter().collect())),
        ]
    })
}

fn any_text() -> impl Strategy<Value = String> {
    prop_oneof![
        "[a-z]{0,6}",
        "[\"\\\\{}\\[\\],:\n\u{1}é😀]{0,6}",
        Just("value".to_owned()),
        Just("@odata.nextLink".to_owned())
    ]
}

fn cut(text: &str, cuts: &[prop::sample::Index]) -> Vec<usize> {
    let mut places: Vec<usize> = cuts.iter().map(|cut| cut.index(text.len() + 1)).collect();
    places.extend([0, text.len()]);
    places.sort_unstable();
    places
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn rows_equal_what_serde_json_reads(
        rows in prop::collection::vec(any_json(), 0..8),
        before in prop::collection::vec(("[b-u]{1,5}", any_json()), 0..3),
        link in prop::option::of(any_text()),
        link_first in any::<bool>(),
        pretty in any::<bool>(),
        cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..12),
    ) {
        let mut answer: Map<String, Value> = before.into_iter().collect();
        if let (true, Some(link)) = (link_first, &link) {
            answer.insert("@odata.nextLink".to_owned(), json!(link));
        }
        answer.insert("value".to_owned(), json!(rows));
        if let (false, Some(link)) = (link_first, &link) {
            answer.insert("@odata.nextLink".to_owned(), json!(link));
        }
        let text = if pretty { serde_json::to_string_pretty(&answer) } else { serde_json::to_string(&answer) }.unwrap();
        let places = cut(&text, &cuts);
        let pieces = places.windows(2).map(|ends| &text.as_bytes()[ends[0]..ends[1]]);
        let page = scan(pieces).unwrap();
        let read: Vec<Value> = page.rows.iter().map(|row| serde_json::from_str(row).unwrap()).collect();
        prop_assert_eq!(read, rows);
        prop_assert_eq!(page.link, link);
    }

    #[test]
    fn any_bytes_in_any_cut_give_the_same_verdict(
        bytes in prop::collection::vec(prop::sample::select(b"{}[]\",:\\ 1tav".to_vec()), 0..40),
        cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..6),
        begins_like_a_page in any::<bool>(),
    ) {
        let mut text = if begins_like_a_page { b"{\"value\":[".to_vec() } else { Vec::new() };
        text.extend(bytes);
        let text = String::from_utf8(text).unwrap();
        let places = cut(&text, &cuts);
        let pieces = places.windows(2).map(|ends| &text.as_bytes()[ends[0]..ends[1]]);
        prop_assert_eq!(scan(pieces), scan([text.as_bytes()]));
        if serde_json::from_str::<Map<String, Value>>(&text).is_ok() {
            prop_assert!(!matches!(scan([text.as_bytes()]), Err(ScanFault::Truncated)));
        }
    }
}
