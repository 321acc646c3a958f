//! A group changes its key while its agents run: rows are readable under either key meanwhile, a change that was cut
//! short goes on where it stopped, and nothing is asked of the provider twice.

use std::path::Path;
use std::process::Command;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use o365_sandbox::{Rotation, Sandbox, SandboxOptions};

use crate::cluster::Cluster;
use crate::support::{Agent, BINARY, Setup, delegated};

const KEYS: &str = "SELECT connection, contents::json->>'key' FROM o365_agent_tokens ORDER BY connection";

fn rekey(conf: &Path) -> (i32, String) {
    let output = Command::new(BINARY)
        .args(["tokens", "rekey", "--config"])
        .arg(conf)
        .env_remove("CREDENTIALS_DIRECTORY")
        .output()
        .unwrap();
    let text = [output.stdout, output.stderr].concat();
    (output.status.code().unwrap(), String::from_utf8_lossy(&text).into_owned())
}

fn put(path: &Path, contents: &str) {
    std::fs::write(path, contents).unwrap();
    std::fs::set_permissions(path, std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
}

async fn refresh(agent: &Agent, name: &str) -> u16 {
    agent.call(http::Method::POST, &format!("/v1/connections/{name}/refresh"), &[], None).await.status
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_group_changes_its_key_while_its_agents_run() {
    let sandbox = Sandbox::start(SandboxOptions { rotation: Rotation::Strict, ..SandboxOptions::default() });
    let cluster = Cluster::start();
    let setup = Setup::new()
        .drop_in("a.yaml", &delegated(&sandbox, "a", ""))
        .drop_in("b.yaml", &delegated(&sandbox, "b", ""));
    // Two hosts of one group: each has its own copy of the key.
    let (old, new) = (STANDARD.encode([7; 32]), STANDARD.encode([8; 32]));
    let host = |name: &str| {
        let key = setup.path().join(format!("{name}-key"));
        put(&key, &old);
        let conf = format!(
            "[TokenStore]\nBackend=postgresql\nGroup=blue\nTls=disable\nLockTimeoutSeconds=2\nKeyFile={}\nConnection={}\n",
            key.display(),
            cluster.address()
        );
        (key, conf)
    };
    let ((key1, conf1), (key2, conf2), (_, conf3)) = (host("one"), host("two"), host("three"));
    let one = Agent::spawn(setup.path(), "one", &conf1, &[]);
    let two = Agent::spawn(setup.path(), "two", &conf2, &[]);
    for agent in [&one, &two] {
        for name in ["a", "b"] {
            agent.await_state(name, "ok").await;
            assert_eq!(refresh(agent, name).await, 200);
        }
    }
    let settings = setup.path().join("one.conf");
    let (code, told) = rekey(&settings);
    assert!(code == 1 && told.contains("one-key.new") && told.contains("every agent of the group"), "{told}");

    let before = cluster.sql(KEYS);
    for key in [&key1, &key2] {
        put(&key.with_extension("new"), &new);
    }
    // Somebody holds the second row: the change stops there, with one row under each key.
    cluster.sql("UPDATE o365_agent_tokens SET owner = 'x', lease_until = clock_timestamp() + interval '1 hour' WHERE connection = 'b'");
    let (code, told) = rekey(&settings);
    assert!(code == 1 && told.contains("has kept this connection's row"), "{told}");
    let halfway = cluster.sql(KEYS);
    assert_eq!(halfway.lines().zip(before.lines()).filter(|(now, then)| now != then).count(), 1, "{halfway}");
    cluster.sql("UPDATE o365_agent_tokens SET owner = NULL, lease_until = NULL WHERE connection = 'b'");
    for agent in [&two, &one] {
        for name in ["a", "b"] {
            assert_eq!(refresh(agent, name).await, 200, "{name} while keys are mixed: {}", agent.log());
        }
    }
    // What was refreshed meanwhile is under the new key already; a third agent without it asks for nothing.
    let posts = sandbox.stats().token_posts;
    let three = Agent::spawn(setup.path(), "three", &conf3, &[]);
    let view = three.call(http::Method::POST, "/v1/connections/a/refresh", &[], None).await;
    assert_ne!(view.status, 200);
    let view = three.get("/v1/connections/a").await.expect(200);
    assert!(view["message"].as_str().unwrap_or_default().contains("token-key.new"), "{view}");
    assert_eq!(sandbox.stats().token_posts, posts);

    cluster.sql("UPDATE o365_agent_tokens SET previous = contents");
    let (code, told) = rekey(&settings);
    assert!(code == 0 && told.contains("was done already") && told.contains("is in force"), "{told}");
    assert_eq!(std::fs::read_to_string(&key1).unwrap(), new);
    let ids = cluster.sql("SELECT DISTINCT contents::json->>'key' FROM o365_agent_tokens");
    assert!(ids.lines().count() == 1 && !before.contains(&ids), "{ids} {before}");
    for agent in [&one, &two] {
        for name in ["a", "b"] {
            assert_eq!(refresh(agent, name).await, 200, "{}", agent.log());
        }
    }
    drop(one);
    let one = Agent::spawn(setup.path(), "one", &conf1, &[]);
    one.await_state("a", "ok").await;
    assert_eq!(refresh(&one, "a").await, 200, "{}", one.log());
    assert_eq!(sandbox.stats().refresh_reuses, 0);
}
