//! Every way of saving is seen in time, lost watches are made good, and no future that is dropped loses anything. Real
//! files; real time with deadlines where events count, paused time where deadlines do.

#![allow(clippy::unwrap_used)]

use std::future::Future;
use std::path::Path;
use std::pin::{Pin, pin};
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::time::timeout;

use super::super::schedule::SWEEP;
use super::*;
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

/// Polls a future until it is ready or has been found waiting so many times; then it is dropped.
struct DroppedAfter<'a, F> {
    future: Pin<&'a mut F>,
    polls: u32,
}

impl<F: Future> Future for DroppedAfter<'_, F> {
    type Output = Option<F::Output>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        match self.future.as_mut().poll(context) {
            Poll::Ready(output) => Poll::Ready(Some(output)),
            Poll::Pending if self.polls == 0 => Poll::Ready(None),
            Poll::Pending => {
                self.polls -= 1;
                Poll::Pending
            }
        }
    }
}

async fn dropped_after<F: Future>(polls: u32, future: F) -> Option<F::Output> {
    let mut future = pin!(future);
    DroppedAfter { future: future.as_mut(), polls }.await
}

/// The drop-ins of a folder, with a clock that goes with the runtime's, and a first look already taken.
async fn watched(folder: &Path) -> DropIns {
    files::write_private(&folder.join("a.yaml"), text("first").as_bytes()).unwrap();
    let clock = Clock::simulated(Clock::machine().now());
    let mut drop_ins = DropIns::watch(folder, clock);
    drop_ins.refuse_watching();
    while marker(&drop_ins.next().await).as_deref() != Some("first") {}
    drop_ins
}

/// More than the looks of one change have awaits.
const AWAITS: u32 = 12;

#[tokio::test(start_paused = true)]
async fn next_and_settled_dropped_at_every_await_lose_nothing_that_was_heard() {
    for polls in 0..AWAITS {
        for settles in [false, true] {
            let folder = tempfile::tempdir().unwrap();
            let mut drop_ins = watched(folder.path()).await;
            files::write_private(&folder.path().join("a.yaml"), text("second").as_bytes()).unwrap();
            drop_ins.poke().poke();
            let started = Instant::now();
            let mut seen = None;
            // Dropped again and again at this await, as a loop with many other things to do drops it.
            for _ in 0..3 {
                let dropped = if settles {
                    dropped_after(polls, drop_ins.settled()).await
                } else {
                    dropped_after(polls, drop_ins.next()).await
                };
                seen = dropped.as_ref().and_then(marker).or(seen);
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
            while seen.as_deref() != Some("second") {
                seen = marker(&drop_ins.next().await);
                let waited = started.elapsed();
                assert!(waited < Duration::from_secs(3), "{polls} polls, settles {settles}: {waited:?}");
            }
        }
    }
}

#[tokio::test(start_paused = true)]
async fn without_events_a_change_is_seen_within_a_minute_of_turns_that_drop_the_wait() {
    let folder = tempfile::tempdir().unwrap();
    let mut drop_ins = watched(folder.path()).await;
    let started = Instant::now();
    files::write_private(&folder.path().join("a.yaml"), text("second").as_bytes()).unwrap();
    let mut seen = None;
    while seen.as_deref() != Some("second") {
        if let Ok(snapshot) = timeout(Duration::from_secs(5), drop_ins.next()).await {
            seen = marker(&snapshot);
        }
        assert!(started.elapsed() <= Duration::from_secs(60), "{:?}", started.elapsed());
    }
    assert!(
        started.elapsed() >= SWEEP - Duration::from_secs(2),
        "{:?}: something else saw it",
        started.elapsed()
    );
}

#[tokio::test(start_paused = true)]
async fn a_look_that_hangs_is_reported_and_its_result_is_taken_in_the_end() {
    let folder = tempfile::tempdir().unwrap();
    let mut drop_ins = watched(folder.path()).await;
    files::write_private(&folder.path().join("a.yaml"), text("second").as_bytes()).unwrap();
    let held_up = drop_ins.hold_up();
    drop_ins.poke().poke();
    // Time does not go by itself while a thread is at work.
    assert!(dropped_after(0, drop_ins.next()).await.is_none());
    tokio::time::advance(Duration::from_secs(1)).await;
    assert!(dropped_after(0, drop_ins.next()).await.is_none());
    tokio::time::advance(LOOK_PATIENCE + Duration::from_secs(1)).await;
    let silent = drop_ins.next().await;
    assert!(silent.fault.as_ref().unwrap().message.contains("does not answer"), "{silent:?}");
    assert_eq!(marker(&silent).as_deref(), Some("first"), "what was there before stays");
    assert!(dropped_after(0, drop_ins.next()).await.is_none(), "it is reported once");
    drop(held_up);
    while marker(&drop_ins.next().await).as_deref() != Some("second") {}
}
