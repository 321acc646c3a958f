//! Many agents on one token file, and the order of system calls in one commit.

use std::os::unix::fs::PermissionsExt;
use std::process::{Command, Stdio};
use std::time::Instant;

use o365_sandbox::{Rotation, Sandbox, SandboxOptions};

use crate::support::{Agent, Setup, delegated, eventually};

/// Row 11. `O365_AGENT_REFRESHES` sets another count; `O365_AGENT_NIGHTLY` takes 10,000.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn seven_agents_on_one_file_never_use_a_refresh_token_twice() {
    let nightly = std::env::var_os("O365_AGENT_NIGHTLY").map(|_| 10_000);
    let wanted = std::env::var("O365_AGENT_REFRESHES").ok().and_then(|count| count.parse().ok());
    let wanted: u64 = wanted.or(nightly).unwrap_or(500);
    let sandbox = Sandbox::start(SandboxOptions { rotation: Rotation::Strict, ..SandboxOptions::default() });
    let setup = Setup::new();
    let shared = setup.path().join("shared");
    std::fs::create_dir(&shared).unwrap();
    std::fs::set_permissions(&shared, PermissionsExt::from_mode(0o700)).unwrap();
    let location = format!("      OAuthSettingsLocation: {}\n", shared.join("mail.json").display());
    let setup = setup.drop_in("m.yaml", &delegated(&sandbox, "mail", &location));
    let conf = format!(
        "[Logging]\nFormat=json\nLevel=info\n[Settings]\nEnableLocalFileLocation=true\n[TokenStore]\nKeyFile={}\nGroup=red\n",
        setup.path().join("key").display()
    );
    let agents: Vec<_> =
        (0..7).map(|number| Agent::spawn(setup.path(), &format!("agent{number}"), &conf, &[])).collect();
    assert!(agents[0].log().contains("keep their tokens in files"), "the group is told what files mean");
    let began = Instant::now();
    while sandbox.stats().token_posts < wanted {
        let all = agents
            .iter()
            .map(|agent| agent.call(http::Method::POST, "/v1/connections/mail/refresh", &[], None));
        for answer in futures_util::future::join_all(all).await {
            answer.expect(200);
        }
    }
    let stats = sandbox.stats();
    eprintln!(
        "{} refreshes by 7 agents in {:?}, {} reuses",
        stats.token_posts,
        began.elapsed(),
        stats.refresh_reuses
    );
    assert_eq!(stats.refresh_reuses, 0, "{stats:?}");
}

/// Row 4: write, fsync of the file, rename, fsync of the folder, and only then the answer.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_commit_is_durable_before_it_is_answered() {
    let sandbox = Sandbox::start(SandboxOptions::default());
    let setup = Setup::new().drop_in("m.yaml", &delegated(&sandbox, "mail", ""));
    let agent = Agent::spawn(setup.path(), "state", "[Logging]\nFormat=json\nLevel=info\n", &[]);
    agent.await_state("mail", "ok").await;
    let trace = setup.path().join("trace");
    let mut tracer = Command::new("strace")
        .args([
            "-f",
            "-y",
            "-s",
            "64",
            "-e",
            "trace=openat,pwrite64,write,writev,sendto,sendmsg,fsync,fdatasync,rename,renameat,renameat2",
            "-o",
        ])
        .arg(&trace)
        .args(["-p", &agent.pid().to_string()])
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    // strace says so when it is attached, in its first line.
    let mut lines = std::io::BufRead::lines(std::io::BufReader::new(tracer.stderr.take().unwrap()));
    assert!(lines.next().unwrap().unwrap().contains("attached"));
    let answer = agent.call(http::Method::POST, "/v1/connections/mail/refresh", &[], None).await;
    answer.expect(200);
    let text = || std::fs::read_to_string(&trace).unwrap_or_default();
    eventually("the answer is in the trace", async || text().contains("HTTP/1.1 200 OK")).await;
    Command::new("kill").args(["-INT", &tracer.id().to_string()]).status().unwrap();
    tracer.wait().unwrap();
    let text = text();
    let lines: Vec<&str> = text.lines().collect();
    let after = |from: usize, what: &str, is: &dyn Fn(&str) -> bool| {
        lines[from..]
            .iter()
            .position(|line| is(line))
            .map_or_else(|| panic!("no {what} after line {from}:\n{text}"), |at| from + at + 1)
    };
    let temporary = |line: &str| line.contains("/tokens/.") && line.contains(".tmp");
    let written = after(0, "write", &|line| line.contains("pwrite64(") && temporary(line));
    let flushed = after(written, "fsync of the file", &|line| line.contains("fsync(") && temporary(line));
    let renamed = after(flushed, "rename", &|line| line.contains("rename") && temporary(line));
    let folder =
        after(renamed, "fsync of the folder", &|line| line.contains("fsync(") && line.contains("/tokens>"));
    after(folder, "answer", &|line| line.contains("HTTP/1.1 200 OK"));
    let first_answer = lines.iter().position(|line| line.contains("HTTP/1.1 200 OK")).unwrap();
    assert!(first_answer >= folder, "the answer was written before the folder was durable:\n{text}");
}
