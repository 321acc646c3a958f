//! Tests of the run history: torn and damaged logs, and rewriting.
#![allow(clippy::unwrap_used, clippy::disallowed_methods, reason = "tests")]

use super::*;

fn run(id: &str, status: RunStatus) -> Remembered {
    let view = RunView {
        id: id.to_owned(),
        connection: "Sales".to_owned(),
        kind: ActivityKind::Query,
        object: "Messages".to_owned(),
        activity: None,
        status,
        request_id: "r".to_owned(),
        started_at: Timestamp::from_millis(1500),
        finished_at: None,
        rows: 3,
        failed: 0,
        total: None,
        results_kept: false,
        waiting: 0,
        throttled_seconds: 0.0,
        error: None,
    };
    Remembered { view, journal: None }
}

fn open(folder: &Path) -> (History, Vec<(String, RunStatus)>) {
    let (history, runs) = History::open(folder, 10, Timestamp::from_seconds(9)).unwrap();
    (history, runs.into_iter().map(|run| (run.view.id, run.view.status)).collect())
}

#[test]
fn a_torn_last_line_is_left_out_and_a_damaged_log_is_set_aside() {
    let folder = tempfile::tempdir().unwrap();
    let (history, none) = open(folder.path());
    assert!(none.is_empty());
    history.note(&run("a", RunStatus::Running));
    history.note(&run("a", RunStatus::Success));
    history.note(&run("b", RunStatus::Running));
    drop(history);
    let path = folder.path().join("history.ndjson");
    let whole = std::fs::read(&path).unwrap();
    std::fs::write(&path, [&whole[..], b"{\"id\":\"c\""].concat()).unwrap();
    let expected = vec![("a".to_owned(), RunStatus::Success), ("b".to_owned(), RunStatus::Interrupted)];
    assert_eq!(open(folder.path()).1, expected);
    assert_eq!(open(folder.path()).1, expected, "what was rewritten is read again");

    std::fs::write(&path, [b"not a run\n", &whole[..]].concat()).unwrap();
    assert_eq!(open(folder.path()).1, []);
    assert!(folder.path().join("history.damaged-9.ndjson").exists());
}
