//! Row 9: one holder at a time, over processes; nobody loses a turn; a killed holder's lock is free at once.

use std::io::Write;
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use o365_agent::files::FileLock;

const FOLDER: &str = "O365_AGENT_TEST_LOCK_FOLDER";
const TURNS: &str = "O365_AGENT_TEST_LOCK_TURNS";

/// A process of the bracket test: does nothing unless it was started by one of the tests below.
#[test]
fn child() {
    let (Some(folder), Ok(turns)) = (std::env::var_os(FOLDER), std::env::var(TURNS)) else { return };
    let folder = PathBuf::from(folder);
    let mut log = std::fs::OpenOptions::new().append(true).create(true).open(folder.join("log")).unwrap();
    let own = std::process::id();
    writeln!(std::fs::File::create(folder.join(format!("ready-{own}"))).unwrap()).unwrap();
    while !folder.join("go").exists() {
        std::thread::sleep(Duration::from_millis(1));
    }
    for _ in 0..turns.parse::<u32>().unwrap() {
        let held = FileLock::acquire(&folder.join("x.lock"), Duration::from_secs(120)).unwrap();
        writeln!(log, "<{own}").unwrap();
        std::thread::yield_now();
        writeln!(log, ">{own}").unwrap();
        drop(held);
        // Away for a moment, or the same process would take all its turns in a row.
        std::thread::sleep(Duration::from_micros(300));
    }
    if turns == "1" {
        // The holder that is killed: takes the lock once more and keeps it.
        let _held = FileLock::acquire(&folder.join("x.lock"), Duration::from_secs(120)).unwrap();
        writeln!(log, "holding").unwrap();
        std::thread::sleep(Duration::from_secs(60));
    }
}

fn start(folder: &std::path::Path, turns: u32) -> Child {
    Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "locks::child", "--nocapture"])
        .env(FOLDER, folder)
        .env(TURNS, turns.to_string())
        .stdout(Stdio::null())
        .spawn()
        .unwrap()
}

#[test]
fn many_processes_take_turns_without_overlap_or_loss() {
    let (processes, turns) = (crate::size(20, 80), crate::size(25, 100));
    let folder = tempfile::tempdir().unwrap();
    let children: Vec<_> = (0..processes).map(|_| start(folder.path(), turns)).collect();
    // All at once, so that each turn is contended for.
    let began = Instant::now();
    let ready = || std::fs::read_dir(folder.path()).unwrap().count();
    while ready() < processes as usize + 1 {
        assert!(began.elapsed() < crate::support::PATIENCE);
        std::thread::sleep(Duration::from_millis(5));
    }
    std::fs::write(folder.path().join("go"), "").unwrap();
    for mut child in children {
        assert!(child.wait().unwrap().success());
    }
    let log = std::fs::read_to_string(folder.path().join("log")).unwrap();
    let lines: Vec<_> = log.lines().collect();
    assert_eq!(lines.len(), (processes * turns * 2) as usize, "no turn is lost");
    let changes = lines
        .chunks(2)
        .map(|pair| pair[0])
        .collect::<Vec<_>>()
        .windows(2)
        .filter(|two| two[0] != two[1])
        .count();
    eprintln!(
        "{} turns of {processes} processes in {:?}; the holder changed {changes} times",
        processes * turns,
        began.elapsed()
    );
    assert!(changes >= (processes * turns / 10) as usize, "hardly contended for: {changes}");
    for pair in lines.chunks(2) {
        assert_eq!(pair[0].strip_prefix('<'), pair[1].strip_prefix('>'), "two holders at once: {pair:?}");
    }
}

#[test]
fn a_killed_holders_lock_is_free_at_once_and_never_replaced() {
    let folder = tempfile::tempdir().unwrap();
    let lock = folder.path().join("x.lock");
    drop(FileLock::acquire(&lock, Duration::ZERO).unwrap());
    let inode = lock.metadata().unwrap().ino();
    let mut slowest = Duration::ZERO;
    for _ in 0..crate::size(15, 200) {
        let _fresh = std::fs::remove_file(folder.path().join("log"));
        std::fs::write(folder.path().join("go"), "").unwrap();
        let mut holder = start(folder.path(), 1);
        let began = Instant::now();
        while !std::fs::read_to_string(folder.path().join("log")).unwrap_or_default().contains("holding") {
            assert!(began.elapsed() < crate::support::PATIENCE);
            std::thread::sleep(Duration::from_millis(2));
        }
        assert!(FileLock::acquire(&lock, Duration::ZERO).is_err(), "it is held");
        holder.kill().unwrap();
        let killed = Instant::now();
        drop(FileLock::acquire(&lock, Duration::from_secs(5)).unwrap());
        slowest = slowest.max(killed.elapsed());
        holder.wait().unwrap();
        assert_eq!(lock.metadata().unwrap().ino(), inode);
    }
    eprintln!("the slowest next holder came {slowest:?} after the kill");
    assert!(slowest <= Duration::from_millis(200), "{slowest:?}");
}
