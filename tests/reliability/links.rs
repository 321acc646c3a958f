//! Rows 6 and 7: nothing the agent makes is readable by others at any instant, and planted links and pipes are refused.

use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;
use std::process::{Command, Stdio};

use crate::support::{Agent, BINARY, Setup, application, delegated, eventually, tenant};

fn walk(folder: &Path, found: &mut Vec<(String, u32)>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let entry = entry.unwrap();
        let metadata = entry.path().symlink_metadata().unwrap();
        found.push((entry.path().display().to_string(), metadata.mode() & 0o7777));
        if metadata.is_dir() {
            walk(&entry.path(), found);
        }
    }
}

/// Row 6.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_open_to_others_even_without_a_umask() {
    let sandbox = tenant();
    let setup = Setup::new().drop_in("a.yaml", &application(&sandbox, "app", ""));
    let socket = setup.path().join("socket");
    let conf = format!("[ControlPort]\nListen=127.0.0.1:0\nUnixSocket={}\n", socket.display());
    // A first start writes the settings file; then everything is made anew under a trace.
    drop(Agent::spawn(setup.path(), "state", &conf, &[]));
    std::fs::remove_dir_all(setup.path().join("state")).unwrap();
    let _gone = std::fs::remove_file(&socket);
    let trace = setup.path().join("trace");
    let command = format!(
        "umask 000; exec strace -f -o {} -e trace=open,openat,creat,mkdir,mkdirat,mknod,mknodat,chmod,fchmod,umask,bind {BINARY} run --config {}",
        trace.display(),
        setup.path().join("state.conf").display()
    );
    let mut child = Command::new("sh").args(["-c", &command]).stderr(Stdio::null()).spawn().unwrap();
    let tokens = setup.path().join("state/tokens");
    eventually("the token is stored", async || {
        std::fs::read_dir(&tokens).is_ok_and(|entries| {
            entries.flatten().any(|entry| entry.file_name().to_string_lossy().ends_with(".json"))
        })
    })
    .await;
    let mut found = Vec::new();
    walk(&setup.path().join("state"), &mut found);
    found.push(("socket".to_owned(), socket.metadata().unwrap().permissions().mode() & 0o7777));
    Command::new("pkill").args(["-TERM", "-P", &child.id().to_string()]).status().unwrap();
    child.wait().unwrap();
    assert!(found.len() >= 5, "{found:?}");
    for (path, mode) in &found {
        let allowed = if path == "socket" { 0o760 } else { 0o700 };
        assert_eq!(mode & !allowed, 0, "{path} has mode {mode:o}");
    }
    let trace = std::fs::read_to_string(trace).unwrap();
    let at = |text: &str| trace.lines().position(|line| line.contains(text));
    assert!(at("umask(077)").unwrap() < at("O_CREAT").unwrap(), "the umask is the first thing");
    let created: Vec<_> = trace.lines().filter(|line| line.contains("O_CREAT")).collect();
    assert!(created.len() >= 4);
    for line in created {
        // A call that another thread interrupts in the trace has no closing bracket on its line.
        let mode = line.rsplit(", ").next().unwrap();
        assert!(mode.starts_with("0600") || mode.starts_with("0644"), "{line}");
        assert!(line.contains("O_NOFOLLOW") || line.contains("O_EXCL"), "{line}");
    }
}

/// Row 7, by the agent as a whole: `files.rs` tests each kind at its own level.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn planted_links_and_pipes_hurt_neither_victims_nor_the_agent() {
    let sandbox = tenant();
    for (suffix, kind) in [
        ("", "symlink"),
        ("", "fifo"),
        ("", "hard"),
        (".lock", "symlink"),
        (".lock", "fifo"),
        (".lock", "hard"),
    ] {
        let setup = Setup::new();
        let folder = setup.path().join("store");
        std::fs::create_dir(&folder).unwrap();
        std::fs::set_permissions(&folder, std::fs::Permissions::from_mode(0o700)).unwrap();
        let (victim, planted) = (setup.path().join("victim"), folder.join(format!("mail.json{suffix}")));
        std::fs::write(&victim, "precious").unwrap();
        std::fs::set_permissions(&victim, std::fs::Permissions::from_mode(0o600)).unwrap();
        match kind {
            "symlink" => std::os::unix::fs::symlink(&victim, &planted).unwrap(),
            "hard" => std::fs::hard_link(&victim, &planted).unwrap(),
            _ => {
                assert!(Command::new("mkfifo").args(["-m", "600"]).arg(&planted).status().unwrap().success())
            }
        }
        let location = format!("      OAuthSettingsLocation: {}\n", folder.join("mail.json").display());
        let agent = setup
            .conf("[Settings]\nEnableLocalFileLocation=true\n")
            .drop_in("m.yaml", &delegated(&sandbox, "mail", &location))
            .drop_in("n.yaml", &delegated(&sandbox, "other", ""))
            .start();
        agent.await_state("other", "ok").await;
        eventually(&format!("{kind} at mail.json{suffix} is dealt with"), async || {
            agent.state_of("mail").await != "refreshing"
        })
        .await;
        if kind != "hard" {
            let view = agent.get("/v1/connections/mail").await.expect(200);
            let message = view["message"].as_str().unwrap_or_default();
            assert!(
                message.contains("not a regular file") && message.contains("mail.json"),
                "{kind} {suffix}: {view}"
            );
        }
        assert_eq!(std::fs::read_to_string(&victim).unwrap(), "precious", "{kind} at mail.json{suffix}");
    }
}
