//! Tests of the kept journals: who may use one, when they go, how many there are.
#![allow(clippy::unwrap_used, reason = "tests")]

use super::*;

fn kept(clock: &Clock) -> (tempfile::TempDir, Arc<Kept>) {
    let folder = tempfile::tempdir().unwrap();
    let kept = Kept::open(&folder.path().join("runs"), clock.clone()).unwrap();
    (folder, kept)
}

#[tokio::test]
async fn a_key_is_used_by_one_run_at_a_time_and_for_one_request() {
    let clock = Clock::machine();
    let (_folder, kept) = kept(&clock);
    let name = Kept::name_of_key("Sales", "create", "k-1");
    assert_ne!(name, Kept::name_of_key("Sales", "update", "k-1"));
    assert!(!name.contains("k-1"), "the key itself stays out of the file system");
    let first = kept.open_journal(&name, "run1", "same", "mark1").await.unwrap();
    assert!(first.earlier.header.is_none());
    for (fingerprint, code) in [("same", "idempotency_key_in_use"), ("other", "idempotency_key_reused")] {
        let error = kept.open_journal(&name, "run2", fingerprint, "mark2").await.unwrap_err();
        assert_eq!(error.code(), code);
    }
    first.journal.append(b"{\"sent\":{\"at\":1,\"records\":[4]}}\n".to_vec()).await.unwrap();
    drop(first);
    let error = kept.open_journal(&name, "run2", "other", "mark2").await.unwrap_err();
    assert_eq!(error.code(), "idempotency_key_reused", "the body is compared after the run, too");
    let again = kept.open_journal(&name, "run3", "same", "mark3").await.unwrap();
    assert_eq!(
        (again.mark.as_str(), again.earlier.sent.len()),
        ("mark1", 1),
        "the mark stays that of the first run"
    );
    drop(again);
    assert_eq!(kept.results(&name).await.unwrap().run.as_deref(), Some("run3"));
    assert_eq!(kept.results("run-none.journal").await.unwrap_err().code(), "no_results");
}

#[tokio::test]
async fn journals_go_after_their_day_also_over_a_restart() {
    let clock = Clock::manual(Clock::machine().now());
    let (folder, kept) = kept(&clock);
    let old = Kept::name_of_run("old");
    drop(kept.open_journal(&old, "old", "f", "m").await.unwrap());
    let reopened = Kept::open(&folder.path().join("runs"), clock.clone()).unwrap();
    assert!(reopened.results(&old).await.is_ok());
    clock.set(clock.now().plus(KEPT_FOR + Duration::from_secs(10)));
    drop(kept.open_journal(&Kept::name_of_run("new"), "new", "f", "m").await.unwrap());
    assert_eq!(kept.results(&old).await.unwrap_err().code(), "no_results");
    assert!(!folder.path().join("runs").join(&old).exists());
    clock.set(clock.now().plus(KEPT_FOR + Duration::from_secs(10)));
    let reopened = Kept::open(&folder.path().join("runs"), clock).unwrap();
    assert_eq!(reopened.results(&Kept::name_of_run("new")).await.unwrap_err().code(), "no_results");
}
