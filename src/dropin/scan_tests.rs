//! Which files are taken, which are refused, and what survives a replacement.

#![allow(clippy::unwrap_used)]

use std::os::unix::fs::{PermissionsExt, symlink};
use std::time::Duration;

use super::*;
use crate::clock::Timestamp;

const TEXT: &[u8] = b"connections: {A: {}}\n";

fn put(folder: &Path, name: &str, text: &[u8]) {
    files::write_private(&folder.join(name), text).unwrap();
}

fn good(snapshot: &Snapshot) -> Vec<&str> {
    snapshot.good.iter().map(|file| file.path.file_name().unwrap().to_str().unwrap()).collect()
}

#[test]
fn leftovers_are_not_drop_ins() {
    for name in ["a.yaml", "b.yml", "10-sales.yaml", "x y.yaml"] {
        assert!(is_drop_in_name(name), "{name}");
    }
    for name in [
        "a.yaml~",
        ".a.yaml",
        ".a.yaml.swp",
        "#a.yaml#",
        "a.yaml.tmp",
        "a.yaml.dpkg-new",
        "a.dpkg-old.yaml",
        "a.rpmsave.yaml",
        "a.yaml.rpmnew",
        "a.json",
        "yaml",
        "README.md",
        "a.yaml.example",
    ] {
        assert!(!is_drop_in_name(name), "{name}");
    }
}

#[test]
fn files_are_read_in_name_order_and_wrong_ones_are_refused_with_the_remedy() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path();
    for name in ["b.yaml", "a.yml", "c.yaml", "loose.yaml", "group.yaml"] {
        put(path, name, TEXT);
    }
    put(path, "large.yaml", &vec![b'#'; 300 * 1024]);
    put(path, "latin1.yaml", b"# ok\n# \xe4\n");
    std::fs::set_permissions(path.join("loose.yaml"), std::fs::Permissions::from_mode(0o646)).unwrap();
    std::fs::create_dir(path.join("folder.yaml")).unwrap();
    symlink("/etc/hostname", path.join("out.yaml")).unwrap();
    symlink("nowhere.txt", path.join("broken.yaml")).unwrap();
    rustix::fs::mknodat(rustix::fs::CWD, path.join("pipe.yaml"), rustix::fs::FileType::Fifo, 0o600.into(), 0)
        .unwrap();
    let snapshot = scan(path);
    assert_eq!(good(&snapshot), ["a.yml", "b.yaml", "c.yaml", "group.yaml"]);
    for (name, wanted) in [
        ("broken.yaml", "leads nowhere"),
        ("folder.yaml", "Not a regular file"),
        ("large.yaml", "limit of 262144 bytes"),
        ("latin1.yaml", "UTF-8"),
        ("loose.yaml", "chmod o-w"),
        ("out.yaml", "leads out of"),
        ("pipe.yaml", "Not a regular file"),
    ] {
        let rejected = snapshot.rejected.iter().find(|rejected| rejected.path.ends_with(name)).unwrap();
        assert!(rejected.fault.message.contains(wanted), "{}", rejected.fault);
    }
    assert_eq!(snapshot.rejected.len(), 7);
    assert_eq!(
        snapshot.rejected.iter().find(|one| one.path.ends_with("latin1.yaml")).unwrap().fault.line,
        Some(2)
    );
}

#[test]
fn a_kubernetes_volume_is_read_through_its_links() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path();
    for (version, text) in [("..v1", TEXT), ("..v2", b"connections: {B: {}}\n")] {
        std::fs::create_dir(path.join(version)).unwrap();
        put(&path.join(version), "a.yaml", text);
    }
    symlink("..v1", path.join("..data")).unwrap();
    symlink("..data/a.yaml", path.join("a.yaml")).unwrap();
    assert_eq!(scan(path).good[0].connections[0].name, "A");
    symlink("..v2", path.join("..data_tmp")).unwrap();
    #[expect(clippy::disallowed_methods, reason = "the kubelet swaps the link by renaming")]
    std::fs::rename(path.join("..data_tmp"), path.join("..data")).unwrap();
    assert_eq!(scan(path).good[0].connections[0].name, "B");
}

/// Writes a file that looks as if it had been changed just now by that clock.
fn put_now(folder: &Path, name: &str, text: &[u8], clock: &Clock) {
    put(folder, name, text);
    let modified = std::time::UNIX_EPOCH + Duration::from_millis(clock.now().as_millis().unsigned_abs());
    let file = std::fs::File::options().write(true).open(folder.join(name)).unwrap();
    file.set_times(std::fs::FileTimes::new().set_modified(modified)).unwrap();
}

/// A scanner whose clock stands just after the files were written.
fn scanner(folder: &Path) -> (Scanner, Clock) {
    let clock = Clock::manual(Clock::machine().now());
    (Scanner::new(folder, clock.clone()), clock)
}

fn later(clock: &Clock) {
    clock.set(clock.now().plus(Duration::from_millis(350)));
}

#[test]
fn a_replaced_file_is_never_absent() {
    let folder = tempfile::tempdir().unwrap();
    let (mut scanner, clock) = scanner(folder.path());
    put_now(folder.path(), "a.yaml", TEXT, &clock);
    assert!(scanner.look().1, "a fresh file is waited for");
    later(&clock);
    let (snapshot, unsettled) = scanner.look();
    assert_eq!((good(&snapshot), unsettled), (vec!["a.yaml"], false));
    let first = Arc::clone(&snapshot.good[0]);
    assert!(Arc::ptr_eq(&first, &scanner.look().0.good[0]), "the same contents are not parsed again");
    // rm, then a new file while it is still waited for.
    files::remove(&folder.path().join("a.yaml")).unwrap();
    let (snapshot, unsettled) = scanner.look();
    assert!(Arc::ptr_eq(&first, &snapshot.good[0]) && unsettled);
    put_now(folder.path(), "a.yaml", b"connections: {B: {}}\n", &clock);
    let (snapshot, unsettled) = scanner.look();
    assert_eq!((snapshot.good[0].connections[0].name.as_str(), unsettled), ("A", true));
    later(&clock);
    assert_eq!(scanner.look().0.good[0].connections[0].name, "B");
    // Gone for good after the second look.
    files::remove(&folder.path().join("a.yaml")).unwrap();
    assert_eq!(scanner.look().0.good.len(), 1);
    later(&clock);
    let (snapshot, unsettled) = scanner.look();
    assert_eq!((snapshot.good.len(), unsettled), (0, false));
}

#[test]
fn a_truncated_file_is_not_believed_while_it_grows() {
    let folder = tempfile::tempdir().unwrap();
    let (mut scanner, clock) = scanner(folder.path());
    for text in [&b"connections:\n"[..], b"connections:\n  A: {}\n", b"connections:\n  A: {}\n  B: {}\n"] {
        clock.set(clock.now().plus(Duration::from_millis(100)));
        put_now(folder.path(), "a.yaml", text, &clock);
        let (snapshot, unsettled) = scanner.look();
        assert_eq!((snapshot.good.len(), unsettled), (0, true));
    }
    later(&clock);
    assert_eq!(scanner.look().0.good[0].connections.len(), 2);
}

/// The rest arrives after the directory was looked at and before the file is read.
#[test]
fn what_changes_between_the_look_and_the_reading_waits() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.yaml");
    let (mut scanner, clock) = scanner(folder.path());
    put_now(folder.path(), "a.yaml", TEXT, &clock);
    clock.set(clock.now().plus(Duration::from_secs(5)));
    assert_eq!(good(&scanner.look().0), ["a.yaml"]);
    // The first third has stood still for long enough; the second is written now, the last is still to come.
    put(folder.path(), "a.yaml", b"connections:\n  B: {}\n");
    let old = std::time::UNIX_EPOCH + Duration::from_secs(1_000_000);
    let append = |text: &[u8]| {
        let mut file = std::fs::File::options().append(true).open(&path).unwrap();
        std::io::Write::write_all(&mut file, text).unwrap();
        // A writer that sets the time of modification back, so that only the time of change tells.
        file.set_times(std::fs::FileTimes::new().set_modified(old)).unwrap();
    };
    clock.set(clock.now().plus(Duration::from_secs(5)));
    let (found, verdict) = scanner.see().unwrap();
    assert_eq!(verdict.ready.as_slice(), std::slice::from_ref(&path));
    append(b"  C: {}\n");
    let (snapshot, unsettled) = scanner.take(&found, verdict);
    assert_eq!((snapshot.good[0].connections[0].name.as_str(), unsettled), ("A", true));
    append(b"  D: {}\n");
    clock.set(clock.now().plus(Duration::from_secs(5)));
    let (snapshot, unsettled) = scanner.look();
    assert_eq!((snapshot.good[0].connections.len(), unsettled), (3, false));
    // What has just vanished is waited for, as if the look had seen that it is missing.
    let (found, verdict) = scanner.see().unwrap();
    files::remove(&path).unwrap();
    let (snapshot, unsettled) = scanner.take(&found, verdict);
    assert_eq!((snapshot.good.len(), snapshot.rejected.len(), unsettled), (1, 0, true));
}

#[test]
fn a_file_that_becomes_unusable_and_is_removed_leaves_nothing() {
    let folder = tempfile::tempdir().unwrap();
    symlink("/etc/hostname", folder.path().join("a.yaml")).unwrap();
    let clock = Clock::manual(Timestamp::from_seconds(4_000_000_000));
    let mut scanner = Scanner::new(folder.path(), clock);
    assert_eq!(scanner.look().0.rejected.len(), 1);
    files::remove(&folder.path().join("a.yaml")).unwrap();
    assert_eq!(scanner.look().0.rejected.len(), 0);
}

#[test]
fn shapes_that_lie_are_faults_with_lines() {
    let file =
        DropInFile::parse(Path::new("a.yaml"), b"connections:\n  A:\n    x: 1\n    x: 2\n  B: []\n").unwrap();
    let lines: Vec<_> = file.faults.iter().map(|fault| (fault.line, fault.key.as_str())).collect();
    assert_eq!(lines, [(Some(4), "connections.A.x"), (Some(5), "connections.B")]);
    assert!(!format!("{file:?}").contains("\"2\""));
}
