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

/// Plants `kind` at `path`, leading to `victim`.
fn plant(kind: &str, path: &Path, victim: &Path) {
    match kind {
        "symlink" => std::os::unix::fs::symlink(victim, path).unwrap(),
        "hard" => std::fs::hard_link(victim, path).unwrap(),
        "fifo" => {
            assert!(Command::new("mkfifo").args(["-m", "600"]).arg(path).status().unwrap().success());
        }
        "endless" => std::os::unix::fs::symlink("/dev/zero", path).unwrap(),
        _ => std::fs::create_dir(path).unwrap(),
    }
}

/// Row 7: drop-ins, before the start and while the agent runs, and written through the control port.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn planted_drop_ins_are_named_and_hurt_nobody() {
    let sandbox = tenant();
    let setup = Setup::new().drop_in("good.yaml", &delegated(&sandbox, "good", ""));
    let victim = setup.path().join("victim");
    std::fs::write(&victim, "precious: 1\n").unwrap();
    // A file that would make a good drop-in, if it lay in the folder.
    let outside = setup.path().join("outside");
    std::fs::write(&outside, delegated(&sandbox, "outside", "")).unwrap();
    plant("symlink", &setup.path().join("agent.d/early-outside.yaml"), &outside);
    let kinds = ["symlink", "hard", "fifo", "endless", "folder"];
    for kind in kinds {
        plant(kind, &setup.path().join(format!("agent.d/early-{kind}.yaml")), &victim);
    }
    let agent = setup.start();
    agent.await_state("good", "ok").await;
    assert_eq!(
        agent.state_of("outside").await,
        "absent",
        "a link that leads out of the folder is not followed"
    );
    for kind in kinds {
        plant(kind, &agent.drop_in_directory().join(format!("late-{kind}.yaml")), &victim);
    }
    let report = agent.call(http::Method::POST, "/v1/agent/reload", &[], None).await.expect(200);
    let faults = report["faults"].to_string();
    for kind in kinds {
        for when in ["early", "late"] {
            assert!(faults.contains(&format!("{when}-{kind}.yaml")), "{when} {kind}: {faults}");
        }
    }
    // A new connection whose file name is taken by a link is not written through it.
    plant("symlink", &agent.drop_in_directory().join("planted.yaml"), &victim);
    let document =
        serde_json::json!({"AuthScheme": "AzureAD", "InitiateOAuth": "OFF", "OAuthAccessToken": "x"});
    let made = agent.call(http::Method::PUT, "/v1/connections/planted", &[], Some(document)).await;
    assert!(made.status == 201 || made.status >= 400, "{}", made.text());
    assert_eq!(std::fs::read_to_string(&victim).unwrap(), "precious: 1\n");
    let query = serde_json::json!({"object": "Messages", "fields": ["id"], "limit": 1});
    agent.post("/v1/connections/good/query", query).await.expect(200);
}

/// Row 7: temporary files and the agent's own files in its state directory.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn planted_temporary_files_are_not_written_through() {
    let sandbox = tenant();
    let setup = Setup::new().drop_in("m.yaml", &delegated(&sandbox, "mail", ""));
    let conf = "[Logging]\nFormat=json\nLevel=info\n";
    let mut agent = Agent::spawn(setup.path(), "state", conf, &[]);
    agent.await_state("mail", "ok").await;
    agent.stop();
    let (victim, tokens) = (setup.path().join("victim"), setup.path().join("state/tokens"));
    std::fs::write(&victim, "precious").unwrap();
    std::fs::set_permissions(&victim, std::fs::Permissions::from_mode(0o600)).unwrap();
    let mut entries = std::fs::read_dir(&tokens).unwrap().map(|entry| entry.unwrap().file_name());
    let store = entries.find(|name| name.to_string_lossy().ends_with(".json")).unwrap();
    let planted: Vec<_> = ["symlink", "hard", "fifo"]
        .iter()
        .enumerate()
        .map(|(number, kind)| {
            let path = tokens.join(format!(".{}.00000000000{number}.tmp", store.to_string_lossy()));
            plant(kind, &path, &victim);
            path
        })
        .collect();
    let address = setup.path().join("state/control-address");
    std::fs::remove_file(&address).unwrap();
    let mut agent = Agent::spawn(setup.path(), "state", conf, &[]);
    agent.await_state("mail", "ok").await;
    for _ in 0..5 {
        agent.call(http::Method::POST, "/v1/connections/mail/refresh", &[], None).await.expect(200);
    }
    agent.stop();
    // The next start replaces a link that stands where the address of the port is written.
    std::fs::remove_file(&address).unwrap();
    std::os::unix::fs::symlink(&victim, &address).unwrap();
    let started = Command::new(BINARY)
        .args(["run", "--config"])
        .arg(setup.path().join("state.conf"))
        .stderr(Stdio::null())
        .spawn();
    let mut started = started.unwrap();
    eventually("the address is written", async || {
        !address.symlink_metadata().is_ok_and(|metadata| metadata.is_symlink())
    })
    .await;
    started.kill().unwrap();
    started.wait().unwrap();
    assert_eq!(std::fs::read_to_string(&victim).unwrap(), "precious");
    for path in planted {
        assert!(path.symlink_metadata().is_err(), "left over: {}", path.display());
    }
}
