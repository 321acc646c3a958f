//! Recorded requests and answers against the catalog: the share that is understood, and that what is not understood is
//! seen. The pairs are of our own making; `cargo run --example samples -- FILE.jsonl` does the same for any file.
#![allow(clippy::unwrap_used, reason = "tests")]

#[path = "../examples/samples/check.rs"]
mod check;

use check::{Sample, check};
use o365_agent::catalog::Catalog;

/// The last lines of the file, which the catalog must not understand.
const MISSES: [&str; 4] = [
    "'nothing' is not in the metadata",
    "displayName is no String: 7",
    "unreadItemCount is no Int32: \"many\"",
    "microsoft.graph.chat declares no shoeSize",
];

#[test]
fn every_kind_of_answer_decodes_without_loss_and_misses_are_seen() {
    let catalog = Catalog::embedded();
    let lines: Vec<&str> = include_str!("fixtures/catalog/samples.jsonl").lines().collect();
    let (understood, missed) = lines.split_at(lines.len() - MISSES.len());
    for line in understood {
        let outcome = check(&catalog, &serde_json::from_str::<Sample>(line).unwrap());
        assert!(outcome.is_whole() && outcome.is_whole_as_rows(), "{line}\n{outcome:?}");
    }
    for (line, reason) in missed.iter().zip(MISSES) {
        let outcome = check(&catalog, &serde_json::from_str::<Sample>(line).unwrap());
        let reasons: Vec<&String> = outcome.unresolved.iter().chain(&outcome.misses).collect();
        assert_eq!(reasons, [reason], "{line}");
        assert!(outcome.has_answer);
    }
    let compared: usize = understood
        .iter()
        .map(|line| check(&catalog, &serde_json::from_str::<Sample>(line).unwrap()))
        .map(|outcome| outcome.compared + outcome.undeclared + outcome.placeholders)
        .sum();
    assert!(compared > 70, "{compared} properties compared");
}
