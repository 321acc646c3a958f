//! Rows 2, 3 and 4: every open, write, fsync and rename of a refresh fails once, or is the process's last; and the order
//! of the system calls of a commit. strace injects, so that the product has no code for it.

use std::io::{BufRead, BufReader, Read};
use std::process::{Child, Command, Stdio};

use o365_sandbox::{Rotation, Sandbox, SandboxOptions};
use serde_json::json;

use crate::support::{Agent, Setup, delegated, eventually};

/// strace, attached to an agent.
struct Tracer(Child);

impl Tracer {
    fn attach(agent: &Agent, arguments: &[&str]) -> Self {
        let mut child = Command::new("strace")
            .args(["-f", "-y", "-p", &agent.pid().to_string()])
            .args(arguments)
            .stdin(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .expect("strace is installed by tests/run.sh");
        // It says so once it is attached to all threads.
        let mut line = String::new();
        let mut reader = BufReader::new(child.stderr.take().unwrap());
        reader.read_line(&mut line).unwrap();
        assert!(line.contains("attached"), "{line}");
        child.stderr = Some(reader.into_inner());
        Self(child)
    }

    /// Ends the tracing of an agent that may be dead: strace would wait for ever for the last of its threads.
    fn abandon(mut self) {
        let _may_have_ended = self.0.kill();
        self.0.wait().unwrap();
    }

    /// Ends the tracing; answers what was seen.
    fn detach(mut self) -> String {
        let _may_have_ended_with_the_agent =
            Command::new("kill").args(["-INT", &self.0.id().to_string()]).stderr(Stdio::null()).status();
        let mut seen = String::new();
        self.0.stderr.take().unwrap().read_to_string(&mut seen).unwrap();
        self.0.wait().unwrap();
        seen
    }
}

fn temporary_files(root: &std::path::Path) -> Vec<String> {
    let folder = root.join("state/tokens");
    let names = std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned());
    names.filter(|name| name.ends_with(".tmp")).collect()
}

const CONF: &str =
    "[Logging]\nFormat=json\nLevel=info\n[Refresh]\nBackoffBaseSeconds=1\nBackoffCapSeconds=1\n";

async fn works(agent: &Agent) {
    let query = json!({"object": "Messages", "fields": ["id"], "limit": 1});
    agent.post("/v1/connections/mail/query", query).await.expect(200);
}

/// Row 2.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_failing_system_call_of_a_refresh_is_survived() {
    let sandbox = Sandbox::start(SandboxOptions::default());
    let setup = Setup::new().drop_in("m.yaml", &delegated(&sandbox, "mail", ""));
    let mut agent = Agent::spawn(setup.path(), "state", CONF, &[]);
    agent.await_state("mail", "ok").await;
    let mut points = 0;
    let mut kinds = Vec::new();
    for (call, error) in [
        ("fsync", "EIO"),
        ("rename", "ENOSPC"),
        ("rename", "EIO"),
        ("openat", "EIO"),
        ("openat", "ENOSPC"),
        ("openat", "EINTR"),
        ("pwrite64", "EIO"),
        ("pwrite64", "ENOSPC"),
        ("pwrite64", "EINTR"),
    ] {
        for number in 1..40 {
            let inject = format!("inject={call}:error={error}:when={number}");
            let tracer = Tracer::attach(&agent, &["-e", &format!("trace={call}"), "-e", &inject]);
            let answer = agent.call(http::Method::POST, "/v1/connections/mail/refresh", &[], None).await;
            let seen = tracer.detach();
            if !seen.contains("INJECTED") {
                break;
            }
            points += 1;
            kinds.push((call, error));
            // The caller is told: it has its token, or the reason why not.
            let told =
                answer.status == 200 || answer.json()["detail"].as_str().is_some_and(|text| text.len() > 20);
            assert!(told, "{call} {error} {number}: {}", answer.text());
            works(&agent).await;
            eventually(&format!("healed after {call} {error} {number}"), async || {
                agent.state_of("mail").await == "ok"
            })
            .await;
        }
    }
    eprintln!("{points} points failed and were survived");
    kinds.dedup();
    assert_eq!(kinds.len(), 9, "each kind of failure was met: {kinds:?}");
    agent.stop();
    let agent = Agent::spawn(setup.path(), "state", CONF, &[]);
    works(&agent).await;
    assert_eq!(temporary_files(setup.path()), Vec::<String>::new());
    assert!(!agent.log().contains("corrupt"));
}

/// Row 3.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_kill_at_every_system_call_of_a_refresh_is_survived() {
    let sandbox = Sandbox::start(SandboxOptions::default());
    let setup = Setup::new().drop_in("m.yaml", &delegated(&sandbox, "mail", ""));
    let mut points = 0;
    for call in ["fsync", "rename", "openat", "pwrite64"] {
        for number in 1..40 {
            let mut agent = Agent::spawn(setup.path(), "state", CONF, &[]);
            agent.await_state("mail", "ok").await;
            let before =
                agent.get("/v1/connections/mail").await.expect(200)["token"]["tokenGeneration"].as_u64();
            works(&agent).await;
            // What the kill before this start left is gone; a commit of this agent's own may be under way until now.
            eventually("left-over files are gone", async || temporary_files(setup.path()).is_empty()).await;
            let inject = format!("inject={call}:signal=SIGKILL:when={number}");
            let tracer = Tracer::attach(&agent, &["-e", &format!("trace={call}"), "-e", &inject]);
            let request = crate::support::client()
                .post(format!("{}/v1/connections/mail/refresh", agent.base))
                .header("authorization", format!("Bearer {}", agent.token));
            let answered = request.send().await.is_ok();
            tracer.abandon();
            if answered {
                break;
            }
            agent.await_end();
            points += 1;
            let again = Agent::spawn(setup.path(), "state", CONF, &[]);
            let after =
                again.get("/v1/connections/mail").await.expect(200)["token"]["tokenGeneration"].as_u64();
            assert!(after >= before, "{call} {number}: {after:?} after {before:?}");
            assert!(!again.log().contains("corrupt"), "{call} {number}");
        }
    }
    eprintln!("{points} kills at system calls were survived");
    assert!(points >= 6, "only {points} kills hit");
}

/// Row 4: write, fsync(file), rename, fsync(folder), and only then the answer.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_commit_is_durable_before_anybody_hears_of_it() {
    let sandbox = Sandbox::start(SandboxOptions { rotation: Rotation::Strict, ..SandboxOptions::default() });
    let agent = Setup::new().drop_in("m.yaml", &delegated(&sandbox, "mail", "")).conf(CONF).start();
    agent.await_state("mail", "ok").await;
    let tracer = Tracer::attach(&agent, &["-e", "trace=pwrite64,write,writev,sendto,fsync,rename"]);
    for _ in 0..5 {
        agent.call(http::Method::POST, "/v1/connections/mail/refresh", &[], None).await.expect(200);
    }
    let seen = tracer.detach();
    let mut stage = 0;
    let mut commits = 0;
    for line in seen.lines() {
        let next = match stage {
            0 => line.contains("pwrite64(") && line.contains(".tmp>"),
            1 => line.contains("fsync(") && line.contains(".tmp>"),
            2 => line.contains("rename(") && line.contains("/tokens/"),
            3 => line.contains("fsync(") && line.contains("/tokens>"),
            _ => line.contains("HTTP/1.1 200"),
        };
        let answer = line.contains("HTTP/1.1 200") && line.contains("TCP");
        assert!(next || !answer, "answered at stage {stage}:\n{seen}");
        if next {
            stage = (stage + 1) % 5;
            commits += usize::from(stage == 0);
        }
    }
    assert_eq!(commits, 5, "{seen}");
}
