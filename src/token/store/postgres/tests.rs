//! The group store alone, on a real PostgreSQL: leases, stale commits, keys, corruption, migrations.
#![allow(clippy::unwrap_used, clippy::disallowed_methods, dead_code, reason = "tests may")]

#[path = "../../../../tests/stores/cluster.rs"]
mod cluster;

use std::path::Path;

use super::*;
use crate::secret::Secret;
use crate::settings::{DatabaseTls, Postgresql};
use crate::token::store::KeyRing;
use crate::token::testing::{settings, state_folder, until};
use cluster::Cluster;

fn database(cluster: &Cluster, folder: &Path, lease: f64) -> Arc<Database> {
    let settings_of_database = Postgresql {
        connection: cluster.address(),
        listen_connection: None,
        password: None,
        tls: DatabaseTls::Disable,
        root_certificate: None,
        pool_size: 2,
        lease: Duration::from_secs_f64(lease),
        refresh_without_store: false,
    };
    let keys = Arc::new(KeyRing::new(&settings(folder), None));
    Arc::new(Database::new(settings_of_database, "group".to_owned(), keys))
}

fn store(database: &Arc<Database>) -> PostgresStore {
    let name = ConnectionName::new("mail").unwrap();
    PostgresStore::new(Arc::clone(database), &name, Duration::from_secs(10), Clock::machine())
}

fn tokens(generation: u64, refresh: &str) -> Stored {
    Stored { generation, refresh_token: Some(Secret::from(refresh)), ..Stored::default() }
}

async fn lapsed(cluster: &Cluster) {
    until("the lease has lapsed", || {
        cluster.sql("SELECT lease_until < clock_timestamp() FROM o365_agent_tokens") == "t"
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stale_commit_is_refused_every_time_and_loses_nothing() {
    let (cluster, folder) = (Cluster::start(), state_folder());
    let (one, two) =
        (store(&database(&cluster, folder.path(), 0.05)), store(&database(&cluster, folder.path(), 5.0)));
    for round in 0..100_u64 {
        let stale = one.lock().await.unwrap();
        let before = one.load(true).await.unwrap().map_or(0, |stored| stored.generation);
        assert_eq!(before, round);
        lapsed(&cluster).await;
        if round % 2 == 0 {
            // A sibling takes over, and has not committed yet: ours must neither be stored nor counted as overtaken.
            let theirs = two.lock().await.unwrap();
            let refused = one.commit(&stale, before, &tokens(before + 1, "stale")).await;
            assert!(matches!(refused, Err(StoreError::Failed { .. })), "{round}: {refused:?}");
            two.commit(&theirs, before, &tokens(before + 1, "theirs")).await.unwrap();
        } else {
            let theirs = two.lock().await.unwrap();
            two.commit(&theirs, before, &tokens(before + 1, "theirs")).await.unwrap();
            let refused = one.commit(&stale, before, &tokens(before + 1, "stale")).await;
            assert!(
                matches!(refused, Err(StoreError::Superseded { found }) if found == before + 1),
                "{round}: {refused:?}"
            );
        }
        drop(stale);
        let kept = two.load(false).await.unwrap().unwrap();
        assert_eq!((kept.generation, kept.refresh_token), (before + 1, Some("theirs".into())));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_commit_names_the_generation_it_was_made_from() {
    let (cluster, folder) = (Cluster::start(), state_folder());
    let store = store(&database(&cluster, folder.path(), 20.0));
    let lock = store.lock().await.unwrap();
    store.commit(&lock, 0, &tokens(1, "first")).await.unwrap();
    drop(lock);
    // The lease is ours and lasts, but what we would write is made from something older than what is there.
    let lock = store.lock().await.unwrap();
    let refused = store.commit(&lock, 0, &tokens(1, "stale")).await;
    assert!(matches!(refused, Err(StoreError::Superseded { found: 1 })), "{refused:?}");
    assert_eq!(store.load(false).await.unwrap().unwrap().refresh_token, Some("first".into()));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_holder_at_a_time_also_within_a_process() {
    let (cluster, folder) = (Cluster::start(), state_folder());
    let (first, second) = (database(&cluster, folder.path(), 20.0), database(&cluster, folder.path(), 20.0));
    let inside = Arc::new(std::sync::atomic::AtomicU32::new(0));
    let mut workers = Vec::new();
    for number in 0..8 {
        // Two stores of one process share no local queue here: the row alone must part them.
        let store = store(if number % 2 == 0 { &first } else { &second });
        let inside = Arc::clone(&inside);
        workers.push(tokio::spawn(async move {
            for _ in 0..10 {
                let lock = store.lock().await.unwrap();
                assert_eq!(inside.fetch_add(1, std::sync::atomic::Ordering::SeqCst), 0);
                let before = store.load(true).await.unwrap().map_or(0, |stored| stored.generation);
                inside.fetch_sub(1, std::sync::atomic::Ordering::SeqCst);
                store.commit(&lock, before, &tokens(before + 1, "rt")).await.unwrap();
            }
        }));
    }
    for worker in workers {
        worker.await.unwrap();
    }
    assert_eq!(cluster.sql("SELECT generation, owner FROM o365_agent_tokens"), "80|");
    // Nothing of a token has left the process in the clear, and no statement was named.
    let log = cluster.log();
    assert!(!log.contains("\"refresh_token\"") && !log.contains("PREPARE") && log.contains("<unnamed>"));
    // A lock that is dropped without a commit is given back at once.
    let store = store(&first);
    drop(store.lock().await.unwrap());
    first.tasks.close();
    until("given back", || cluster.sql("SELECT owner IS NULL FROM o365_agent_tokens") == "t").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_group_has_one_key_and_a_bad_row_is_set_aside() {
    let (cluster, folder, other) = (Cluster::start(), state_folder(), state_folder());
    let one = store(&database(&cluster, folder.path(), 20.0));
    let lock = one.lock().await.unwrap();
    one.commit(&lock, 0, &tokens(1, "canary-refresh")).await.unwrap();
    drop(lock);
    let stranger = store(&database(&cluster, other.path(), 20.0));
    let expected = cluster.sql("SELECT key_id FROM o365_agent_groups");
    let error = stranger.load(false).await.unwrap_err();
    assert!(
        matches!(&error, StoreError::Refused(text) if text.contains(&expected) && text.contains("'group'") && text.contains("KeyFile")),
        "{error}"
    );
    assert!(!cluster.sql("SELECT contents FROM o365_agent_tokens").contains("canary"));

    for spoil in
        ["contents = left(contents, 40)", "generation = 7", "contents = replace(contents, 'mail', 'liam')"]
    {
        cluster.sql(&format!("UPDATE o365_agent_tokens SET {spoil}"));
        assert!(matches!(one.load(false).await, Err(StoreError::Corrupt(_))), "{spoil}");
        let lock = one.lock().await.unwrap();
        assert!(one.load(true).await.unwrap().is_none(), "{spoil}");
        one.commit(&lock, 0, &tokens(1, "anew")).await.unwrap();
    }
    assert_eq!(cluster.sql("SELECT count(*) FROM o365_agent_set_aside"), "3");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_schema_is_made_and_migrated_by_many_at_once() {
    let (cluster, folder) = (Cluster::start(), state_folder());
    let _key_first = KeyRing::new(&settings(folder.path()), None).key().unwrap();
    let at_once = async || {
        let agents: Vec<_> = (0..6).map(|_| database(&cluster, folder.path(), 20.0)).collect();
        let work: Vec<_> = agents
            .into_iter()
            .map(|agent| tokio::spawn(async move { agent.key().await.map(|_| ()) }))
            .collect();
        for done in work {
            done.await.unwrap().unwrap();
        }
    };
    at_once().await;
    assert_eq!(cluster.sql("SELECT version FROM o365_agent_schema"), "2");
    // Back to version 1 with a row in it, as an older agent left it.
    cluster.sql("DROP TABLE o365_agent_groups, o365_agent_set_aside; ALTER TABLE o365_agent_tokens DROP COLUMN changes, DROP COLUMN previous; UPDATE o365_agent_schema SET version = 1; INSERT INTO o365_agent_tokens (group_name, connection, generation) VALUES ('group', 'old', 3)");
    at_once().await;
    assert_eq!(
        cluster.sql("SELECT version, generation, changes FROM o365_agent_schema, o365_agent_tokens"),
        "2|3|0"
    );
    cluster.sql("UPDATE o365_agent_schema SET version = 99");
    let error = database(&cluster, folder.path(), 20.0).key().await.unwrap_err();
    assert!(matches!(&error, StoreError::Refused(text) if text.contains("newer agent")), "{error}");
}

/// The clocks of the agents' hosts may be wrong by years: who holds a row, and for how long, is a matter of the database's
/// clock alone.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_wrong_clock_neither_ends_nor_prolongs_a_lease() {
    let (cluster, folder) = (Cluster::start(), state_folder());
    let name = ConnectionName::new("mail").unwrap();
    let at = |year: i64, lease: f64| {
        let clock = Clock::manual(crate::clock::Timestamp::from_seconds((year - 1970) * 31_557_600));
        let database = database(&cluster, folder.path(), lease);
        PostgresStore::new(database, &name, Duration::from_millis(600), clock)
    };
    let (early, late) = (at(2001, 20.0), at(2090, 20.0));
    for (holder, other) in [(&early, &late), (&late, &early)] {
        let held = holder.lock().await.unwrap();
        assert!(matches!(other.lock().await, Err(StoreError::Busy(_))), "the row is taken");
        let before = holder.load(true).await.unwrap().map_or(0, |stored| stored.generation);
        holder.commit(&held, before, &tokens(before + 1, "rt")).await.unwrap();
        drop(held);
    }
    for year in [2001, 2090] {
        let short = at(year, 0.05);
        let stale = short.lock().await.unwrap();
        let before = short.load(true).await.unwrap().unwrap().generation;
        lapsed(&cluster).await;
        let refused = short.commit(&stale, before, &tokens(before + 1, "stale")).await;
        assert!(matches!(refused, Err(StoreError::Failed { .. })), "{year}: {refused:?}");
        drop(early.lock().await.unwrap());
    }
}
