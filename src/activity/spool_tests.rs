//! Tests of kept rows: how much is kept, for how long, and what counts as whole.
#![allow(clippy::unwrap_used, clippy::disallowed_methods, reason = "tests")]

use std::os::unix::fs::PermissionsExt;

use serde_json::{Value, json};

use super::*;

fn spools(clock: &Clock, bounds: Bounds) -> (tempfile::TempDir, Arc<Spools>) {
    let folder = tempfile::tempdir().unwrap();
    let spools = Spools::open_with(folder.path(), clock.clone(), bounds).unwrap();
    (folder, spools)
}

fn end(rows: u64) -> RowsEnd {
    let columns = vec![json!({"name": "id", "type": "string"})];
    let (reason, notes) = (None, vec!["A note.".to_owned()]);
    RowsEnd { columns, evaluated: Value::Null, rows, complete: true, reason, notes, notes_at_end: Vec::new() }
}

async fn keep(spools: &Arc<Spools>, name: &str, text: &str) -> Vec<Pushed> {
    let mut spool = spools.begin(name).await.unwrap();
    let mut pushed = Vec::new();
    for line in text.split_inclusive('\n') {
        pushed.push(spool.push(&mut line.as_bytes().to_vec()).await.unwrap());
    }
    let rows = pushed.iter().map(|pushed| pushed.rows).sum();
    spool.finish(&end(rows)).await.unwrap();
    pushed
}

async fn all(mut rows: SpooledRows) -> String {
    let mut text = Vec::new();
    loop {
        let (again, piece) = rows.next().await.unwrap();
        if piece.is_empty() {
            return String::from_utf8(text).unwrap();
        }
        assert_eq!(piece.last(), Some(&b'\n'), "whole lines only");
        text.extend(piece);
        rows = again;
    }
}

#[tokio::test]
async fn rows_come_back_as_they_were_however_long_and_only_we_can_read_the_file() {
    let (folder, spools) = spools(&Clock::machine(), BOUNDS);
    let long = "x".repeat(200_000);
    let many: String = (0..3000).map(|n| format!("{{\"id\":\"{n}\"}}\n")).collect();
    for (name, text) in [
        ("none.rows", String::new()),
        ("long.rows", format!("{{\"id\":\"1\"}}\n{{\"id\":\"{long}\"}}\n{{}}\n")),
        ("many.rows", many),
    ] {
        keep(&spools, name, &text).await;
        let rows = spools.read(name).await.unwrap();
        assert_eq!(
            (rows.end().rows, rows.end().names()),
            (text.lines().count() as u64, vec!["id".to_owned()])
        );
        assert!(all(rows).await == text, "{name}");
        let mode = std::fs::metadata(folder.path().join(name)).unwrap().permissions().mode();
        assert_eq!(mode & 0o7777, 0o600);
    }
}

#[tokio::test]
async fn what_is_kept_is_bounded_for_a_run_and_for_all_and_the_cut_is_between_rows() {
    let row = "{\"id\":\"12345\"}\n";
    let bytes = row.len() as u64;
    let bounds = Bounds { files: 5, run: 3 * bytes + 2, total: 5 * bytes + 2 };
    let (folder, spools) = spools(&Clock::machine(), bounds);
    let mut spool = spools.begin("a.rows").await.unwrap();
    let pushed = spool.push(&mut row.repeat(9).into_bytes()).await.unwrap();
    assert_eq!(pushed.rows, 3);
    assert!(pushed.full.unwrap().contains("of one run take at most"));
    spool.finish(&end(3)).await.unwrap();
    assert_eq!(all(spools.read("a.rows").await.unwrap()).await, row.repeat(3));

    let mut second = spools.begin("b.rows").await.unwrap();
    let pushed = second.push(&mut row.repeat(3).into_bytes()).await.unwrap();
    assert_eq!(pushed.rows, 2);
    assert!(pushed.full.unwrap().contains("of all runs of the last 24 hours"));
    // Given up, it leaves neither a file nor a claim on room.
    second.discard().await;
    assert!(!folder.path().join("b.rows").exists());
    assert_eq!(keep(&spools, "c.rows", &row.repeat(2)).await.len(), 2);

    let mut last = spools.begin("d.rows").await.unwrap();
    let mut two_bytes = b"\n\n".to_vec();
    assert_eq!(last.push(&mut two_bytes).await.unwrap().full, None);
    let refused = spools.begin("e.rows").await.unwrap_err();
    assert!(refused.message().contains("as much as it may. Wait, or query without"), "{refused}");
}

#[tokio::test]
async fn rows_go_after_their_day_and_those_without_an_end_at_the_next_start() {
    let clock = Clock::manual(Clock::machine().now());
    let (folder, spools) = spools(&clock, BOUNDS);
    keep(&spools, "old.rows", "{}\n").await;
    let whole = std::fs::read(folder.path().join("old.rows")).unwrap();
    for (name, length) in [("empty.rows", 0), ("rows.rows", 3), ("torn.rows", whole.len() - 1)] {
        std::fs::write(folder.path().join(name), &whole[..length]).unwrap();
    }
    let again = Spools::open(folder.path(), clock.clone()).unwrap();
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1, "what has no end is removed");
    assert_eq!(all(again.read("old.rows").await.unwrap()).await, "{}\n");
    let dying = again.begin("dying.rows").await.unwrap();
    assert_eq!(again.read("dying.rows").await.unwrap_err().code(), "no_results", "it has no end yet");

    clock.set(clock.now().plus(KEPT_FOR + Duration::from_secs(10)));
    assert_eq!(again.read("old.rows").await.unwrap_err().code(), "no_results");
    assert!(!folder.path().join("old.rows").exists());
    assert!(folder.path().join("dying.rows").exists(), "one that is being written stays");
    drop(dying);
    assert!(!folder.path().join("dying.rows").exists());
}
