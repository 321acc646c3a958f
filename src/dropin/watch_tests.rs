//! What the watch hears: what others do to the directory, and nothing of what the agent does itself.

#![allow(clippy::unwrap_used)]

use std::time::{Duration, Instant};

use super::super::schedule::Schedule;
use super::*;
use crate::files;

fn wait_for_a_ring(bell: &Bell) -> u64 {
    #[expect(clippy::disallowed_methods, reason = "events come in real time")]
    let began = Instant::now();
    loop {
        match bell.take() {
            0 => assert!(began.elapsed() < Duration::from_secs(10), "nothing was heard"),
            rings => return rings,
        }
        std::thread::sleep(Duration::from_millis(2));
    }
}

#[test]
fn reading_the_directory_does_not_ask_for_another_look() {
    let folder = tempfile::tempdir().unwrap();
    files::write_private(&folder.path().join("a.yaml"), b"connections: {}\n").unwrap();
    let schedule = Schedule::new();
    let mut watch = Watch::new(folder.path(), schedule.bell());
    assert!(watch.arm() && watch.is_alive());
    for _ in 0..3 {
        assert_eq!(super::super::scan(folder.path()).good.len(), 1);
    }
    // Events come in order, so what the reading would have caused has been heard when the last of these is.
    let mut rings = 0;
    files::write_private(&folder.path().join("b.yaml"), b"connections: {}\n").unwrap();
    while rings < 2 {
        rings += wait_for_a_ring(schedule.bell());
    }
    assert!(rings <= 8, "only the write rings: {rings}");
}

#[test]
fn a_watch_that_broke_is_made_anew_and_asks_for_a_look() {
    let folder = tempfile::tempdir().unwrap();
    let schedule = Schedule::new();
    let mut watch = Watch::new(folder.path(), schedule.bell());
    assert!(watch.arm());
    assert!(!watch.arm());
    schedule.bell().break_watch();
    assert_eq!(wait_for_a_ring(schedule.bell()), 1);
    assert!(watch.arm());
    assert!(!watch.arm());
}
