//! Row 5: a full disk under the token store degrades the connection and kills nothing.

use std::process::Command;
use std::time::{Duration, Instant};

use serde_json::json;

use crate::support::{Setup, delegated, eventually, tenant};

/// A file system of 64 KiB, unmounted at the end.
struct Small(std::path::PathBuf);

impl Small {
    fn mount(path: &std::path::Path) -> Option<Self> {
        std::fs::create_dir(path).unwrap();
        let mounted = Command::new("mount")
            .args(["-t", "tmpfs", "-o", "size=64k,mode=0700", "none"])
            .arg(path)
            .status()
            .is_ok_and(|status| status.success());
        mounted.then(|| Self(path.to_owned()))
    }
}

impl Drop for Small {
    fn drop(&mut self) {
        let _left_to_the_container = Command::new("umount").arg("-l").arg(&self.0).status();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_disk_degrades_and_heals() {
    if !crate::is_root("mounting a small file system") {
        return;
    }
    let sandbox = tenant();
    let setup = Setup::new();
    let Some(small) = Small::mount(&setup.path().join("small")) else {
        eprintln!("skipped: a small file system cannot be mounted here");
        return;
    };
    let location = format!("      OAuthSettingsLocation: {}\n", small.0.join("mail.json").display());
    let agent = setup
        .conf("[Settings]\nEnableLocalFileLocation=true\n")
        .drop_in("m.yaml", &delegated(&sandbox, "mail", &location))
        .start();
    agent.await_state("mail", "ok").await;
    // Fills the disk to the last byte.
    let filler = small.0.join("filler");
    let _full = std::fs::write(&filler, vec![0u8; 64 * 1024]);
    agent.call(http::Method::POST, "/v1/connections/mail/refresh", &[], None).await.expect(200);
    let view = agent.get("/v1/connections/mail").await.expect(200);
    assert_eq!(
        (&view["state"], &view["token"]["lastError"]["code"]),
        (&json!("degraded"), &json!("store_failed")),
        "{view}"
    );
    assert!(view["token"]["lastError"]["retryAt"].is_string(), "degraded says until when: {view}");
    let query = json!({"object": "Messages", "fields": ["id"], "limit": 1});
    agent.post("/v1/connections/mail/query", query).await.expect(200);
    std::fs::remove_file(&filler).unwrap();
    let freed = Instant::now();
    eventually("the token is saved", async || agent.state_of("mail").await == "ok").await;
    assert!(freed.elapsed() <= Duration::from_secs(5), "{:?}", freed.elapsed());
    drop(agent);
    drop(small);
}

/// Rows for later on a disk that becomes full: the run fails with a sentence, and what it had kept is gone.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rows_that_the_disk_does_not_take_are_an_error_and_never_half_an_answer() {
    if !crate::is_root("mounting a small file system") {
        return;
    }
    let sandbox = tenant();
    let setup = Setup::new().drop_in("m.yaml", &delegated(&sandbox, "mail", ""));
    let state = setup.path().join("state");
    std::fs::create_dir(&state).unwrap();
    std::fs::set_permissions(&state, std::os::unix::fs::PermissionsExt::from_mode(0o700)).unwrap();
    let Some(small) = Small::mount(&state.join("runs")) else {
        eprintln!("skipped: a small file system cannot be mounted here");
        return;
    };
    let agent = setup.start();
    let later = [("prefer", "respond-async")];
    for (limit, status, results) in [(200, "error", 409), (1, "success", 200)] {
        let query = json!({"object": "Messages", "limit": limit});
        let path = "/v1/connections/mail/query";
        let run = agent.call(http::Method::POST, path, &later, Some(query)).await.expect(202);
        let run = format!("/v1/runs/{}", run["id"].as_str().unwrap());
        let mut view = json!(null);
        eventually("the run has ended", async || {
            view = agent.get(&run).await.expect(200);
            view["status"] != "running"
        })
        .await;
        assert_eq!(view["status"], status, "{view}");
        assert_eq!(agent.get(&format!("{run}/results")).await.status, results);
        if status == "error" {
            let error = view["error"].as_str().unwrap();
            assert!(error.contains("Free some space on that file system."), "{error}");
            assert_eq!(view["resultsKept"], false);
        }
        let left = std::fs::read_dir(&small.0).unwrap();
        let left =
            left.filter(|file| file.as_ref().unwrap().path().extension().is_some_and(|end| end == "rows"));
        assert_eq!(left.count(), usize::from(status == "success"), "{status}");
    }
    drop(agent);
    drop(small);
}

/// Row 2, for the log: a log that cannot be written (a full disk, a journal that has gone) stops nothing.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_log_that_cannot_be_written_stops_nothing() {
    let sandbox = tenant();
    let setup = Setup::new().drop_in("m.yaml", &delegated(&sandbox, "mail", ""));
    // A first start writes the settings file.
    drop(crate::support::Agent::spawn(setup.path(), "state", "[Logging]\nFormat=json\nLevel=trace\n", &[]));
    let state = setup.path().join("state");
    std::fs::remove_file(state.join("control-address")).unwrap();
    let full = std::fs::OpenOptions::new().write(true).open("/dev/full").unwrap();
    let mut agent = Command::new(crate::support::BINARY)
        .args(["run", "--config"])
        .arg(setup.path().join("state.conf"))
        .stderr(full)
        .spawn()
        .unwrap();
    eventually("the agent is ready", async || state.join("control-address").exists()).await;
    let address = std::fs::read_to_string(state.join("control-address")).unwrap();
    let token = std::fs::read_to_string(state.join("control-token")).unwrap();
    for path in ["query", "refresh", "query"] {
        let answer = crate::support::client()
            .post(format!("http://{}/v1/connections/mail/{path}", address.trim()))
            .header("authorization", format!("Bearer {}", token.trim()))
            .header("content-type", "application/json")
            .body(if path == "query" {
                json!({"object": "Messages", "limit": 1}).to_string()
            } else {
                String::new()
            })
            .send()
            .await
            .unwrap();
        assert_eq!(answer.status(), 200, "{path}");
    }
    assert!(Command::new("kill").args(["-TERM", &agent.id().to_string()]).status().unwrap().success());
    assert_eq!(agent.wait().unwrap().code(), Some(0));
}
