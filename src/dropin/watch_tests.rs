//! Every way of saving is seen in time, and lost watches are made good. Real files and real time, with deadlines.

#![allow(clippy::unwrap_used)]

use std::path::Path;
use std::time::Duration;

use super::super::scan::{DropIns, Snapshot};
use super::*;
use crate::clock::Clock;
use crate::files;

/// The promise is two seconds; the rest is for a machine that is busy with other tests.
const DEADLINE: Duration = Duration::from_secs(6);

fn text(marker: &str) -> String {
    format!("connections:\n  A:\n    UserId: {marker}\n")
}

fn marker(snapshot: &Snapshot) -> Option<String> {
    let connection = snapshot.good.iter().flat_map(|file| &file.connections).find(|one| one.name == "A")?;
    connection.properties.first()?.value.scalar().map(str::to_owned)
}

/// Waits until the marker is live; the connection must be there in every snapshot on the way.
async fn wait_for(drop_ins: &mut DropIns, wanted: &str) {
    let arrival = async {
        loop {
            let snapshot = drop_ins.next().await;
            let found = marker(&snapshot);
            assert!(found.is_some(), "the connection was absent while waiting for {wanted}");
            if found.as_deref() == Some(wanted) {
                return;
            }
        }
    };
    timeout(DEADLINE, arrival).await.unwrap_or_else(|_| panic!("{wanted} was not seen"));
}

#[tokio::test]
#[expect(clippy::disallowed_methods, reason = "these are the ways in which other programs save")]
async fn every_way_of_saving_is_seen_and_the_connection_is_never_absent() {
    use std::io::Write;
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.yaml");
    std::fs::write(&path, text("first")).unwrap();
    let mut drop_ins = DropIns::watch(folder.path(), Clock::machine());
    assert_eq!(marker(&drop_ins.settled().await).as_deref(), Some("first"));

    std::fs::write(&path, text("in place")).unwrap();
    wait_for(&mut drop_ins, "in place").await;

    files::write_private(&path, text("renamed").as_bytes()).unwrap();
    wait_for(&mut drop_ins, "renamed").await;

    // vim: the old file is moved to a backup, a new one is written, the backup is removed.
    let backup = folder.path().join("a.yaml~");
    std::fs::rename(&path, &backup).unwrap();
    std::fs::write(&path, text("vim")).unwrap();
    std::fs::remove_file(&backup).unwrap();
    wait_for(&mut drop_ins, "vim").await;

    std::fs::remove_file(&path).unwrap();
    std::fs::write(&path, text("removed and made")).unwrap();
    wait_for(&mut drop_ins, "removed and made").await;

    // A slow append: what is there in between is valid YAML without the connection.
    let whole = text("appended");
    let mut file = std::fs::File::create(&path).unwrap();
    for part in whole.as_bytes().chunks(12) {
        file.write_all(part).unwrap();
        tokio::time::sleep(Duration::from_millis(40)).await;
    }
    drop(file);
    wait_for(&mut drop_ins, "appended").await;

    // An old file moved in keeps its old time stamp.
    let elsewhere = folder.path().join("elsewhere.txt");
    std::fs::write(&elsewhere, text("moved")).unwrap();
    let hour_ago =
        std::fs::FileTimes::new().set_modified(std::time::UNIX_EPOCH + Duration::from_secs(1_000_000));
    std::fs::File::options().write(true).open(&elsewhere).unwrap().set_times(hour_ago).unwrap();
    std::fs::rename(&elsewhere, &path).unwrap();
    wait_for(&mut drop_ins, "moved").await;
}

#[tokio::test]
#[expect(clippy::disallowed_methods, reason = "the directory is moved by somebody else")]
async fn a_directory_that_is_moved_replaced_or_late_is_found() {
    let folder = tempfile::tempdir().unwrap();
    let directory = folder.path().join("agent.d");
    let mut drop_ins = DropIns::watch(&directory, Clock::machine());
    let first = drop_ins.settled().await;
    assert!(first.fault.is_some() && first.good.is_empty());
    let fill = |directory: &Path, name: &str| {
        std::fs::create_dir(directory).unwrap();
        std::fs::write(directory.join("a.yaml"), text(name)).unwrap();
    };
    fill(&directory, "late");
    let late = async { while marker(&drop_ins.next().await).as_deref() != Some("late") {} };
    timeout(DEADLINE, late).await.expect("a directory that appears later is found");
    // Moved away: everything stays, with a fault.
    std::fs::rename(&directory, folder.path().join("away")).unwrap();
    let away = async { while drop_ins.next().await.fault.is_none() {} };
    timeout(DEADLINE, away).await.expect("the loss is noticed");
    // Another one in its place, and then a change in that one.
    fill(&directory, "replaced");
    wait_for(&mut drop_ins, "replaced").await;
    std::fs::write(directory.join("a.yaml"), text("again")).unwrap();
    wait_for(&mut drop_ins, "again").await;
}

#[tokio::test]
async fn reading_the_directory_does_not_ask_for_another_look() {
    let folder = tempfile::tempdir().unwrap();
    files::write_private(&folder.path().join("a.yaml"), text("x").as_bytes()).unwrap();
    let mut watcher = Watcher::new(folder.path());
    timeout(DEADLINE, watcher.changed()).await.expect("the first watch asks for a look");
    let seen = watcher.bell.rung.load(Ordering::Acquire);
    for _ in 0..3 {
        let _snapshot = super::super::scan::scan(folder.path());
    }
    // A file made after the reading is heard after it, as events come in order: so this is not a wait for nothing.
    files::write_private(&folder.path().join("b.yaml"), text("x").as_bytes()).unwrap();
    timeout(DEADLINE, watcher.changed()).await.expect("a new file asks for a look");
    let made = watcher.bell.rung.load(Ordering::Acquire) - seen;
    assert!((1..=8).contains(&made), "only the write rings: {made}");
}

#[tokio::test(start_paused = true)]
async fn pokes_lost_events_and_the_sweep_ask_for_a_look() {
    let folder = tempfile::tempdir().unwrap();
    let mut watcher = Watcher::new(folder.path());
    watcher.changed().await;
    let started = tokio::time::Instant::now();
    watcher.changed().await;
    let waited = started.elapsed();
    assert!(waited >= SWEEP && waited < SWEEP + 2 * QUIET, "without events once a minute: {waited:?}");

    let poke = watcher.poke();
    for _ in 0..100 {
        poke.poke();
    }
    let started = tokio::time::Instant::now();
    watcher.changed().await;
    assert!(started.elapsed() <= 2 * QUIET, "a poke is answered at once");

    // The watch reports that it broke: it is made anew, and that asks for a look.
    watcher.bell.broken.store(true, Ordering::Release);
    assert!(watcher.arm());
    assert!(!watcher.arm());
}

#[tokio::test(start_paused = true)]
async fn endless_unrest_is_looked_at_and_dropping_loses_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let mut watcher = Watcher::new(folder.path());
    watcher.changed().await;
    let poke = watcher.poke();
    let unrest = tokio::spawn(async move {
        loop {
            poke.poke();
            sleep(Duration::from_millis(100)).await;
        }
    });
    let started = tokio::time::Instant::now();
    watcher.changed().await;
    assert!(started.elapsed() <= LONGEST_UNREST + QUIET, "{:?}", started.elapsed());
    unrest.abort();
    watcher.changed().await;
    watcher.poke().poke();
    assert!(timeout(QUIET / 2, watcher.changed()).await.is_err(), "dropped while waiting for quiet");
    let started = tokio::time::Instant::now();
    watcher.changed().await;
    assert!(started.elapsed() <= 2 * QUIET, "the poke was not forgotten: {:?}", started.elapsed());
}
