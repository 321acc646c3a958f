//! `o365-agent tokens …` as an operator uses it.

use std::path::Path;
use std::process::{Command, Output};

use o365_sandbox::{Rotation, Sandbox, SandboxOptions};

use crate::cluster::Cluster;
use crate::support::{Agent, BINARY, Setup, delegated};

fn run(conf: &Path, arguments: &[&str]) -> (i32, String, String) {
    let Output { status, stdout, stderr } = Command::new(BINARY)
        .arg("tokens")
        .args(arguments)
        .arg("--config")
        .arg(conf)
        .env_remove("CREDENTIALS_DIRECTORY")
        .output()
        .unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
    (status.code().unwrap(), text(stdout), text(stderr))
}

async fn one_refresh(setup: &Setup, state: &str, conf: &str) -> u64 {
    let mut agent = Agent::spawn(setup.path(), state, conf, &[]);
    agent.await_state("mail", "ok").await;
    let view = agent.call(http::Method::POST, "/v1/connections/mail/refresh", &[], None).await.expect(200);
    assert_eq!(agent.stop(), 0);
    view["token"]["tokenGeneration"].as_u64().unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tokens_are_listed_exported_imported_moved_and_rekeyed() {
    let sandbox = Sandbox::start(SandboxOptions { rotation: Rotation::Strict, ..SandboxOptions::default() });
    let cluster = Cluster::start();
    let setup = Setup::new().drop_in("m.yaml", &delegated(&sandbox, "mail", ""));
    let database = format!("[TokenStore]\nGroup=blue\nTls=disable\nConnection={}\n", cluster.address());
    let (conf, state) = (setup.path().join("state.conf"), setup.path().join("state"));
    let generation = one_refresh(&setup, "state", &database).await;
    assert_eq!(generation, 2);
    let (code, listed, error) = run(&conf, &["list"]);
    assert!(code == 0 && listed.contains("token 2") && listed.contains("refresh token"), "{listed}{error}");

    // Export: without the flag nothing secret, and the file says so; with it a private file.
    let (_, bare, _) = run(&conf, &["export", "--all"]);
    assert!(
        bare.contains("left out") && bare.contains("\"secrets\": false") && !bare.contains("contents"),
        "{bare}"
    );
    let file = setup.path().join("export.json");
    let path = file.to_str().unwrap();
    assert_eq!(run(&conf, &["export", "mail", "--with-secrets", "--to", path]).0, 0);
    let mode = std::os::unix::fs::MetadataExt::mode(&std::fs::metadata(&file).unwrap());
    assert_eq!(mode & 0o777, 0o600);
    assert!(std::fs::read_to_string(&file).unwrap().contains("refresh_token"));
    assert_eq!(run(&conf, &["export", "mial"]).0, 1);
    assert_eq!(run(&conf, &["export"]).0, 2);

    // Import counts as newer than what is there.
    let (code, out, error) = run(&conf, &["import", path]);
    assert!(code == 0 && out.contains("token 3"), "{out}{error}");

    // Move to the database and back; the old place is out of use, and nothing is asked of the provider twice.
    let (code, out, error) = run(&conf, &["move", "--to", "postgresql"]);
    assert!(code == 0 && out.contains("Backend=postgresql"), "{out}{error}");
    assert!(run(&conf, &["list"]).1.contains("token 0"), "nothing is left in the file");
    assert_eq!(cluster.sql("SELECT generation FROM o365_agent_tokens"), "3");
    let in_database = format!("{database}Backend=postgresql\n");
    assert_eq!(one_refresh(&setup, "state", &in_database).await, 4);
    let (code, out, error) = run(&conf, &["move", "--to", "file"]);
    assert!(code == 0, "{out}{error}");

    // Re-key, with a crash after the first file: kill -9 at the rename of the second one.
    std::fs::write(setup.path().join("agent.d/n.yaml"), delegated(&sandbox, "other", "")).unwrap();
    assert_eq!(one_refresh(&setup, "state", &database).await, 5);
    let before = std::fs::read(state.join("token-key")).unwrap();
    for rename in 1..=6 {
        let crashed = Command::new("strace")
            .args([
                "-f",
                "-o",
                "/dev/null",
                "-e",
                "trace=rename",
                "-e",
                &format!("inject=rename:signal=SIGKILL:when={rename}"),
            ])
            .arg(BINARY)
            .args(["tokens", "rekey", "--config"])
            .arg(&conf)
            .output()
            .unwrap();
        if crashed.status.success() {
            assert!(rename > 3, "files, old key, new key");
            break;
        }
    }
    let (_, out, _) = run(&conf, &["rekey"]);
    assert!(out.contains("encrypted anew"), "and once more without a crash: {out}");
    assert_ne!(std::fs::read(state.join("token-key")).unwrap(), before);
    assert_eq!(one_refresh(&setup, "state", &database).await, 6);
    assert_eq!(sandbox.stats().refresh_reuses, 0);

    // Beside a running agent nothing is moved or re-keyed.
    let agent = Agent::spawn(setup.path(), "state", &database, &[]);
    agent.await_state("mail", "ok").await;
    for arguments in [&["rekey"][..], &["move", "--to", "postgresql"]] {
        let (code, _, error) = run(&conf, arguments);
        assert!(code == 1 && error.contains("systemctl stop"), "{error}");
    }
    let (code, out, error) = run(&conf, &["list", "--json"]);
    assert!(code == 0 && out.contains("\"hasRefreshToken\": true"), "{out}{error}");
}
