//! Any bytes as a page: rows or one fault, never a panic, and the same whatever pieces they come in; what is a page to
//! serde_json is the same page to the scanner. `cargo fuzz run pages`.
#![no_main]

use o365_agent::graph::scan_page;
use serde_json::Value;

libfuzzer_sys::fuzz_target!(|input: (u8, &[u8])| {
    let (piece, page) = input;
    let whole = scan_page(page, usize::MAX);
    let pieces = scan_page(page, usize::from(piece).max(1));
    assert_eq!(whole.is_ok(), pieces.is_ok());
    let Ok((rows, link)) = whole else { return };
    assert_eq!(pieces, Ok((rows.clone(), link)));
    let Ok(Value::Object(parsed)) = serde_json::from_slice::<Value>(page) else { return };
    let Some(Value::Array(wanted)) = parsed.get("value") else { return };
    let found: Vec<Value> =
        rows.iter().map(|row| serde_json::from_slice(row).expect("a part of valid JSON is valid")).collect();
    assert_eq!(&found, wanted);
});
