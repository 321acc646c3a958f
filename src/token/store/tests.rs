//! Stores alone: durability, ownership, keys, corruption, locks.
#![allow(clippy::unwrap_used)]

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use proptest::prelude::*;

use super::*;
use crate::clock::Clock;
use crate::connection::ConnectionName;
use crate::files;
use crate::token::testing::{settings, state_folder};

fn name(text: &str) -> ConnectionName {
    ConnectionName::new(text).unwrap()
}

fn stored(generation: u64) -> Stored {
    Stored {
        generation,
        access: Some(StoredAccess {
            secret: "canary-access".into(),
            obtained_at: Timestamp::from_millis(1_700_000_000_123),
            expires_at: Timestamp::from_seconds(1_700_003_600),
            refresh_due: Timestamp::from_seconds(1_700_001_800),
        }),
        refresh_token: Some("canary-refresh".into()),
        seed: Some("seed".to_owned()),
        denied: Some(DeniedMarker {
            refresh_token: "fingerprint".to_owned(),
            configuration: "digest".to_owned(),
            claims: Some("{}".to_owned()),
            failure: TokenFailure {
                code: "invalid_grant".to_owned(),
                aadsts: Some(70008),
                correlation_id: Some("id".to_owned()),
                message: "M.".to_owned(),
                at: Timestamp::from_millis(1_700_000_000_456),
                retry_at: None,
            },
        }),
        lineage: Lineage::of_seed("new", Timestamp::from_millis(1_700_000_000_321))
            .after(&Lineage::of_seed("old", Timestamp::default())),
    }
}

fn key_ring(folder: &Path) -> Arc<KeyRing> {
    Arc::new(KeyRing::new(&settings(folder), None))
}

fn file_store(path: PathBuf, owner: &str, keys: &Arc<KeyRing>) -> FileStore {
    FileStore::new(path, &name(owner), Arc::clone(keys), Duration::from_millis(60), Clock::machine())
}

async fn commit(store: &dyn Store, expected: u64, next: u64) -> Result<(), StoreError> {
    let lock = store.lock().await?;
    store.commit(&lock, expected, &stored(next)).await
}

fn assert_same(left: &Stored, right: &Stored) {
    assert_eq!(left.generation, right.generation);
    assert_eq!(left.refresh_token, right.refresh_token);
    assert_eq!((&left.seed, &left.denied, &left.lineage), (&right.seed, &right.denied, &right.lineage));
    let dates = |stored: &Stored| {
        let access = stored.access.as_ref().unwrap();
        (access.secret.clone(), access.obtained_at, access.expires_at, access.refresh_due)
    };
    assert!(dates(left) == dates(right));
}

#[tokio::test]
async fn what_was_committed_is_loaded_and_nothing_is_readable() {
    let folder = state_folder();
    let keys = key_ring(folder.path());
    let path = FileStore::default_path(folder.path(), &name("Sales mailbox"));
    let store = file_store(path.clone(), "Sales mailbox", &keys);
    assert!(store.load(false).await.unwrap().is_none());
    assert_eq!(store.version().await.unwrap(), None);
    commit(&store, 0, 1).await.unwrap();
    let before = store.version().await.unwrap();
    assert_same(&store.load(false).await.unwrap().unwrap(), &stored(1));
    commit(&store, 1, 2).await.unwrap();
    assert_ne!(store.version().await.unwrap(), before);
    assert!(matches!(commit(&store, 1, 2).await, Err(StoreError::Superseded { found: 2 })));
    let text = String::from_utf8(files::read_bounded(&path, LARGE).unwrap()).unwrap();
    assert!(text.contains("Sales mailbox") && !text.contains("canary"), "{text}");
    for entry in [path.clone(), with_suffix(&path, ".lock"), folder.path().join("token-key")] {
        assert_eq!(std::fs::metadata(entry).unwrap().permissions().mode() & 0o777, 0o600);
    }
}

const LARGE: u64 = 1 << 20;

fn with_suffix(path: &Path, suffix: &str) -> PathBuf {
    PathBuf::from(format!("{}{suffix}", path.display()))
}

#[test]
fn file_names_never_meet() {
    let path = |text: &str| FileStore::default_path(Path::new("/s"), &name(text));
    assert_ne!(path("Sales"), path("sales"));
    assert_ne!(path("a b"), path("a-b"));
    assert!(
        path("..").starts_with("/s/tokens")
            && path("..").file_name().unwrap().to_str().unwrap().starts_with("---")
    );
    assert!(path(&"é".repeat(128)).file_name().unwrap().len() < 100);
}

#[tokio::test]
async fn a_file_belongs_to_one_connection_and_one_key() {
    let folder = state_folder();
    let keys = key_ring(folder.path());
    let path = folder.path().join("shared.json");
    commit(&file_store(path.clone(), "first", &keys), 0, 1).await.unwrap();
    let second = file_store(path.clone(), "second", &keys);
    for error in [second.load(false).await.unwrap_err(), commit(&second, 1, 2).await.unwrap_err()] {
        let text = error.to_string();
        assert!(
            matches!(error, StoreError::Refused(_)) && text.contains("'first'") && text.contains("'second'"),
            "{text}"
        );
    }
    // Rewriting the name in the frame does not help: the seal is bound to the owner.
    let forged =
        String::from_utf8(files::read_bounded(&path, LARGE).unwrap()).unwrap().replace("first", "second");
    files::write_private(&path, forged.as_bytes()).unwrap();
    assert!(matches!(second.load(false).await, Err(StoreError::Corrupt(_))));

    let other_folder = state_folder();
    let other_keys = key_ring(other_folder.path());
    let path = folder.path().join("keyed.json");
    commit(&file_store(path.clone(), "first", &keys), 0, 1).await.unwrap();
    let wrong = file_store(path.clone(), "first", &other_keys);
    let error = wrong.load(true).await.unwrap_err();
    let (right_id, wrong_id) = (keys.key().unwrap().id.clone(), other_keys.key().unwrap().id.clone());
    let text = error.to_string();
    assert!(
        matches!(error, StoreError::Refused(_)) && text.contains(&right_id) && text.contains(&wrong_id),
        "{text}"
    );
    assert!(path.exists(), "a file for another key is not set aside");
}

#[tokio::test]
async fn an_unreadable_file_is_set_aside_under_the_lock_only() {
    let folder = state_folder();
    let keys = key_ring(folder.path());
    let path = folder.path().join("a.json");
    let store = file_store(path.clone(), "a", &keys);
    commit(&store, 0, 1).await.unwrap();
    let whole = files::read_bounded(&path, LARGE).unwrap();
    let mut flipped = whole.clone();
    let middle = flipped.len() / 2;
    flipped[middle] ^= 1;
    let newer = String::from_utf8(whole.clone()).unwrap().replace("\"version\": 2", "\"version\": 3");
    for bad in [&b""[..], &whole[..whole.len() / 2], &flipped, b"[]", b"\0\0\0\0"] {
        files::write_private(&path, bad).unwrap();
        assert!(matches!(store.load(false).await, Err(StoreError::Corrupt(_))));
        let _lock = store.lock().await.unwrap();
        assert!(store.load(true).await.unwrap().is_none());
        assert!(!path.exists());
    }
    let kept = std::fs::read_dir(folder.path())
        .unwrap()
        .filter(|entry| entry.as_ref().unwrap().file_name().to_string_lossy().starts_with("a.json.corrupt-"));
    assert!(kept.count() >= 1);
    files::write_private(&path, newer.as_bytes()).unwrap();
    let error = store.load(true).await.unwrap_err();
    assert!(matches!(&error, StoreError::Refused(text) if text.contains("newer agent")), "{error}");
    files::write_private(&path, &whole).unwrap();
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o644)).unwrap();
    let error = store.load(true).await.unwrap_err();
    assert!(matches!(&error, StoreError::Refused(text) if text.contains("chmod 600")), "{error}");
    assert!(path.exists());
    std::fs::set_permissions(folder.path(), std::fs::Permissions::from_mode(0o777)).unwrap();
    let error = store.lock().await.unwrap_err();
    assert!(matches!(&error, StoreError::Refused(text) if text.contains("chmod go-w")), "{error}");
}

#[tokio::test]
async fn a_lock_has_one_holder_and_a_bounded_wait() {
    let folder = state_folder();
    let keys = key_ring(folder.path());
    let file = || file_store(folder.path().join("a.json"), "a", &keys);
    let memory = MemoryStore::new("one", Duration::from_millis(60));
    let (first, second) = (file(), file());
    for (holder, waiter) in [(&first as &dyn Store, &second as &dyn Store), (&memory, &memory)] {
        let held = holder.lock().await.unwrap();
        assert!(matches!(waiter.lock().await, Err(StoreError::Busy(_))));
        drop(held);
        waiter.lock().await.unwrap();
    }
    assert!(matches!(commit(&memory, 1, 2).await, Err(StoreError::Superseded { found: 0 })));
    commit(&memory, 0, 1).await.unwrap();
    assert_same(&memory.load(false).await.unwrap().unwrap(), &stored(1));
}

#[test]
fn keys_come_from_credential_file_or_first_start() {
    let (folder, credentials) = (state_folder(), state_folder());
    let made: Vec<_> = (0..8)
        .map(|_| {
            let ring = key_ring(folder.path());
            std::thread::spawn(move || ring.key().unwrap().id.clone())
        })
        .collect();
    let made: Vec<String> = made.into_iter().map(|thread| thread.join().unwrap()).collect();
    assert!(made.iter().all(|id| *id == made[0]), "agents that start together end with one key: {made:?}");

    let hex = "00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff\n";
    let with_file = |contents: &[u8]| {
        let path = folder.path().join("key");
        files::write_private(&path, contents).unwrap();
        let mut settings = settings(folder.path());
        settings.token_store.key_file = Some(path);
        KeyRing::new(&settings, Some(credentials.path().to_owned())).key().map(|key| key.id.clone())
    };
    let id = with_file(hex.as_bytes()).unwrap();
    assert_eq!(with_file(b"ABEiM0RVZneImaq7zN3u/wARIjNEVWZ3iJmqu8zd7v8=").unwrap(), id);
    assert_eq!(with_file(b"ABEiM0RVZneImaq7zN3u_wARIjNEVWZ3iJmqu8zd7v8=\n").unwrap(), id);
    assert_ne!(with_file(&[7; 32]).unwrap(), id);
    for bad in [&b""[..], b"short", &[b'x'; 64], &[0; 33], &"é".repeat(32).into_bytes()] {
        assert!(matches!(with_file(bad), Err(StoreError::Refused(text)) if text.contains("openssl rand")));
    }
    files::write_private(&credentials.path().join("token-key"), &[9; 32]).unwrap();
    let from_credential = with_file(hex.as_bytes()).unwrap();
    assert_ne!(from_credential, id, "the credential comes first");
}

/// One of eight ways in which a file goes bad.
fn spoilt(whole: &[u8], other: &[u8], mut pick: impl FnMut(usize) -> usize) -> Vec<u8> {
    let mut bytes = whole.to_vec();
    let (from, to) = (pick(bytes.len()), pick(bytes.len()));
    let range = from.min(to)..from.max(to);
    match pick(8) {
        0 => bytes[from] ^= 1 << pick(8),
        1 => bytes.truncate(from),
        2 => drop(bytes.drain(range)),
        3 => bytes[range].fill(0),
        4 => bytes.extend_from_slice(&whole[range]),
        5 => bytes.splice(from..from, (0..pick(64)).map(|_| u8::try_from(pick(256)).unwrap())).for_each(drop),
        6 => bytes[range.clone()].copy_from_slice(&vec![b'"'; range.len()]),
        _ => bytes = [&whole[..from], &other[from.min(other.len())..]].concat(),
    }
    bytes
}

/// Row 8. 500 files in a quick run, 10,000 with `O365_AGENT_NIGHTLY`.
#[tokio::test]
#[expect(clippy::disallowed_methods, reason = "spoils files behind the agent's back")]
async fn a_spoilt_file_is_kept_aside_and_hurts_one_connection_only() {
    let count = if std::env::var_os("O365_AGENT_NIGHTLY").is_some() { 10_000 } else { 500 };
    let folder = state_folder();
    let keys = key_ring(folder.path());
    let (path, beside) = (folder.path().join("a.json"), folder.path().join("b.json"));
    let (store, neighbour) = (file_store(path.clone(), "a", &keys), file_store(beside.clone(), "b", &keys));
    commit(&store, 0, 1).await.unwrap();
    commit(&neighbour, 0, 1).await.unwrap();
    let (whole, other) = (std::fs::read(&path).unwrap(), std::fs::read(&beside).unwrap());
    let mut random = 0x9E37_79B9_7F4A_7C15_u64;
    let mut pick = |below: usize| {
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        usize::try_from(random >> 11).unwrap() % below
    };
    let (mut aside_count, mut refused) = (0, 0);
    for number in 0..count {
        let bytes = spoilt(&whole, &other, &mut pick);
        std::fs::write(&path, &bytes).unwrap();
        let lock = store.lock().await.unwrap();
        match store.load(true).await {
            // White space, or the last bits of base64: what opens is what was sealed.
            Ok(Some(opened)) => assert_same(&opened, &stored(1)),
            Ok(None) => {
                let aside = std::fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().path());
                let aside: Vec<_> =
                    aside.filter(|path| path.to_string_lossy().contains(".corrupt-")).collect();
                assert_eq!(aside.len(), 1, "{number}");
                assert_eq!(std::fs::read(&aside[0]).unwrap(), bytes, "{number}: kept as it was");
                std::fs::remove_file(&aside[0]).unwrap();
                // The connection goes on: its next token is stored.
                store.commit(&lock, 0, &stored(1)).await.unwrap();
                aside_count += 1;
            }
            // It says that it is another connection's, another key's or a newer agent's: it is left alone.
            Err(error) => {
                assert!(matches!(error, StoreError::Refused(_)), "{number}: {error}");
                assert_eq!(std::fs::read(&path).unwrap(), bytes, "{number}: untouched");
                refused += 1;
            }
        }
        assert_same(&neighbour.load(false).await.unwrap().unwrap(), &stored(1));
    }
    assert!(aside_count > count * 8 / 10 && refused > 0, "{aside_count} set aside, {refused} refused");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(10_000))]
    #[test]
    fn changed_files_never_open_and_never_panic(position in any::<prop::sample::Index>(), bit in 0u8..8, cut in any::<bool>()) {
        use std::sync::OnceLock;
        static SEALED: OnceLock<(tempfile::TempDir, Arc<super::key::StoreKey>, Vec<u8>)> = OnceLock::new();
        let (_folder, key, whole) = SEALED.get_or_init(|| {
            let folder = state_folder();
            let key = key_ring(folder.path()).key().unwrap();
            let whole = envelope::seal(&stored(1), "a", &key).unwrap();
            (folder, key, whole)
        });
        let mut bytes = whole.clone();
        let position = position.index(bytes.len());
        if cut { bytes.truncate(position) } else { bytes[position] ^= 1 << bit }
        // A change in white space or in the last bits of base64 changes nothing; what opens must be what was sealed.
        if let Ok(opened) = envelope::open(&bytes, "a", key) {
            assert_same(&opened, &stored(1));
        }
    }
}

#[tokio::test]
async fn a_move_never_replaces_another_person_s_tokens_by_number() {
    let tokens = |lineage: &Lineage, generation, token: &str| Stored {
        generation,
        refresh_token: Some(token.into()),
        lineage: lineage.clone(),
        ..Stored::default()
    };
    let anna = Lineage::begin(Clock::machine().now());
    let bert = Lineage::begin(Clock::machine().now()).after(&anna);
    let stranger = Lineage::begin(Clock::machine().now());
    // What is moved, what is there, and what is there afterwards with its number.
    let rows = [
        (tokens(&anna, 47, "anna"), tokens(&bert, 3, "bert"), ("bert", 3), false),
        (tokens(&anna, 47, "anna"), tokens(&stranger, 3, "dora"), ("dora", 3), false),
        (tokens(&anna, 47, "anna"), tokens(&anna, 48, "anna-48"), ("anna-48", 48), false),
        (tokens(&anna, 47, "anna"), tokens(&anna, 46, "anna-46"), ("anna", 47), true),
        (tokens(&bert, 3, "bert"), tokens(&anna, 47, "anna"), ("bert", 48), true),
        (tokens(&bert, 3, "bert"), tokens(&bert, 48, "bert"), ("bert", 48), true),
    ];
    for (moved, there, (token, number), done) in rows {
        let inner = Arc::new(MemoryStore::new("m", Duration::from_secs(1)));
        let lock = inner.lock().await.unwrap();
        inner.commit(&lock, 0, &there).await.unwrap();
        drop(lock);
        let what = format!("{moved:?} onto {there:?}");
        assert_eq!(
            put(&OpenStore::new(inner.clone()), moved, Newness::MustBeNewer).await.is_ok(),
            done,
            "{what}"
        );
        let after = inner.load(false).await.unwrap().unwrap();
        assert_eq!((after.refresh_token, after.generation), (Some(token.into()), number), "{what}");
    }
}
