//! The process: start, readiness as systemd sees it, reload of settings, stop within its bound; and a small proxy that
//! other tests route requests through.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::unix::net::UnixDatagram;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use o365_sandbox::{Fault, FaultAction, FaultTarget};
use serde_json::json;

use crate::support::{PATIENCE, Setup, application, delegated, eventually, tenant};

/// An HTTP proxy for plain requests that remembers their request lines.
#[derive(Debug)]
pub(crate) struct CountingProxy {
    pub(crate) port: u16,
    seen: Arc<Mutex<Vec<String>>>,
    authorized: Arc<Mutex<bool>>,
}

impl CountingProxy {
    pub(crate) fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let (seen, authorized) = (Arc::new(Mutex::new(Vec::new())), Arc::new(Mutex::new(true)));
        let (seen_here, authorized_here) = (seen.clone(), authorized.clone());
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let (seen, authorized) = (seen_here.clone(), authorized_here.clone());
                std::thread::spawn(move || forward(stream.unwrap(), &seen, &authorized));
            }
        });
        Self { port, seen, authorized }
    }

    pub(crate) fn seen(&self) -> Vec<String> {
        self.seen.lock().unwrap().clone()
    }

    /// Whether every request carried the proxy's user and password.
    pub(crate) fn authorized(&self) -> bool {
        *self.authorized.lock().unwrap()
    }
}

/// Forwards one request and closes, so that every request has a connection of its own.
fn forward(mut client: TcpStream, seen: &Mutex<Vec<String>>, authorized: &Mutex<bool>) {
    let mut reader = BufReader::new(client.try_clone().unwrap());
    let (mut head, mut length, mut known) = (Vec::new(), 0, false);
    loop {
        let mut line = String::new();
        if reader.read_line(&mut line).unwrap_or(0) == 0 {
            return;
        }
        let lower = line.to_ascii_lowercase();
        if let Some(value) = lower.strip_prefix("content-length:") {
            length = value.trim().parse().unwrap();
        }
        if lower.starts_with("proxy-authorization: basic ") {
            known = line.trim().ends_with("YWdlbnQ6cHIweHktcHc="); // agent:pr0xy-pw
            continue;
        }
        if lower.starts_with("connection:") {
            continue;
        }
        if line == "\r\n" {
            break;
        }
        head.push(line);
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body).unwrap();
    seen.lock().unwrap().push(head[0].trim().to_owned());
    *authorized.lock().unwrap() &= known;
    let mut parts = head[0].split(' ');
    let (method, target) = (parts.next().unwrap(), parts.next().unwrap());
    let (host, path) = target.strip_prefix("http://").unwrap().split_once('/').unwrap();
    let mut server = TcpStream::connect(host).unwrap();
    write!(server, "{method} /{path} HTTP/1.1\r\n{}connection: close\r\n\r\n", head[1..].concat()).unwrap();
    server.write_all(&body).unwrap();
    let _cut = std::io::copy(&mut server, &mut client);
}

#[tokio::test]
async fn systemd_hears_ready_after_the_first_load_and_stopping_at_the_end() {
    let sandbox = tenant();
    let setup = Setup::new().drop_in("a.yaml", &application(&sandbox, "app", ""));
    let socket = setup.path().join("notify.sock");
    let notifications = UnixDatagram::bind(&socket).unwrap();
    notifications.set_read_timeout(Some(PATIENCE)).unwrap();
    let mut agent = setup
        .environment("NOTIFY_SOCKET", socket.to_str().unwrap())
        .environment("WATCHDOG_USEC", "14000000")
        .start();
    let hear = |wanted: &str| -> String {
        let mut buffer = [0; 4096];
        loop {
            let length = notifications.recv(&mut buffer).unwrap_or_else(|error| panic!("{wanted}: {error}"));
            let text = String::from_utf8_lossy(&buffer[..length]).into_owned();
            if text.contains(wanted) {
                return text;
            }
        }
    };
    let ready = hear("READY=1");
    assert!(ready.contains("STATUS=1 connection"), "{ready}");
    assert_eq!(agent.get("/readyz").await.text(), "ready\n");
    hear("WATCHDOG=1");
    assert_eq!(agent.stop(), 0);
    // Drain, last answers, a token request and its storing, the last callers, and a margin: the defaults of the settings.
    let stopping = hear("STOPPING=1");
    assert!(stopping.contains("EXTEND_TIMEOUT_USEC=68000000\n"), "{stopping}");
}

#[tokio::test]
async fn a_reload_applies_what_it_can_and_names_what_needs_a_restart() {
    let agent = Setup::new().conf("[Logging]\nFormat=json\nLevel=info\n").start();
    let settings = std::fs::read_to_string(agent.settings_file()).unwrap();
    let changed = settings.replace("Level=info", "Level=debug\n[Limits]\nControlConnections=77");
    std::fs::write(agent.settings_file(), changed).unwrap();
    let report = agent.call(http::Method::POST, "/v1/agent/reload", &[], None).await.expect(200);
    assert_eq!(report["restartNeeded"], json!(["[Limits] ControlConnections"]), "{report}");
    assert_eq!(agent.get("/v1/agent").await.json()["settings"]["logFilter"], "debug");

    std::fs::write(
        agent.settings_file(),
        settings.replace("Level=info", "Level=debug\n[Limits]\nConcurrentRuns=many"),
    )
    .unwrap();
    let report = agent.call(http::Method::POST, "/v1/agent/reload", &[], None).await.expect(200);
    assert_eq!(report["ok"], false);
    assert!(report["faults"][0].as_str().unwrap().contains("ConcurrentRuns"), "{report}");
    assert_eq!(
        agent.get("/v1/agent").await.json()["settings"]["logFilter"],
        "debug",
        "the last good settings stay"
    );
}

#[tokio::test]
async fn settings_that_cannot_be_used_end_the_start_with_64() {
    let folder = tempfile::tempdir().unwrap();
    let conf = folder.path().join("x.conf");
    std::fs::write(&conf, "[ControlPort]\nListen=0.0.0.0:7365\n[Limits]\nConcurrentRuns=-1\n").unwrap();
    let output = std::process::Command::new(crate::support::BINARY)
        .args(["run", "--config"])
        .arg(&conf)
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(64));
    let message = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(message.contains("x.conf:2") && message.contains("x.conf:4"), "both faults at once: {message}");
}

/// SIGTERM while a refresh is on its way: the token is committed, and the exit code is 0.
#[tokio::test]
async fn a_stop_lets_a_running_refresh_commit() {
    let sandbox = tenant();
    let setup = Setup::new().drop_in("m.yaml", &delegated(&sandbox, "mail", ""));
    let mut agent = crate::support::Agent::spawn(setup.path(), "state", "", &[]);
    agent.await_state("mail", "ok").await;
    sandbox.inject(Fault {
        target: FaultTarget::Token,
        times: 1,
        action: FaultAction::Delay(Duration::from_millis(1500)),
    });
    let request = crate::support::client()
        .post(format!("{}/v1/connections/mail/refresh", agent.base))
        .header("authorization", format!("Bearer {}", agent.token));
    let caller = tokio::spawn(request.send());
    eventually("the token request is on its way", async || sandbox.stats().token_posts == 1).await;
    let before = agent.get("/v1/connections/mail").await.json()["token"]["tokenGeneration"].as_u64().unwrap();
    caller.abort();
    assert_eq!(agent.stop(), 0);
    let agent = crate::support::Agent::spawn(setup.path(), "state", "", &[]);
    agent.await_state("mail", "ok").await;
    let after = agent.get("/v1/connections/mail").await.json()["token"]["tokenGeneration"].as_u64().unwrap();
    assert_eq!(after, before + 1, "the answer that came after SIGTERM was kept");
    assert_eq!(sandbox.stats().token_posts, 1);
}

/// SIGTERM while a refresh waits for its store's lock: nothing is sent any more, and nothing is lost by it.
#[tokio::test]
async fn a_refresh_that_waits_for_a_lock_sends_nothing_after_sigterm() {
    let sandbox = tenant();
    let setup = Setup::new().drop_in("m.yaml", &delegated(&sandbox, "mail", ""));
    let mut agent = crate::support::Agent::spawn(setup.path(), "state", "", &[]);
    agent.await_state("mail", "ok").await;
    let tokens = std::fs::read_dir(setup.path().join("state/tokens")).unwrap();
    let lock = tokens.map(|entry| entry.unwrap().path()).find(|path| path.extension().unwrap() == "lock");
    let lock = std::fs::File::options().write(true).open(lock.unwrap()).unwrap();
    lock.lock().unwrap();
    let request = crate::support::client()
        .post(format!("{}/v1/connections/mail/refresh", agent.base))
        .header("authorization", format!("Bearer {}", agent.token));
    let caller = tokio::spawn(request.send());
    agent.await_state("mail", "refreshing").await;
    caller.abort();
    agent.signal("TERM");
    eventually("the stop has begun", async || agent.log().contains("A stop signal has come")).await;
    lock.unlock().unwrap();
    assert_eq!(agent.await_end(), 0);
    assert_eq!(sandbox.stats().token_posts, 0, "a request that begins after SIGTERM may lose its answer");
    assert!(agent.log().contains("everything was finished"));
}

/// A token request that outlasts its time is no orderly end, and the log does not call it one.
#[tokio::test]
async fn the_log_does_not_say_finished_when_token_work_was_not() {
    let sandbox = tenant();
    let setup = Setup::new().drop_in("m.yaml", &delegated(&sandbox, "mail", ""));
    let conf = "[Refresh]\nRequestTimeoutSeconds=1\n[TokenStore]\nLockTimeoutSeconds=60\n";
    let mut agent = crate::support::Agent::spawn(setup.path(), "state", conf, &[]);
    agent.await_state("mail", "ok").await;
    // The disk hangs when the answer is stored.
    let Some(slowed) = agent.slow_down("fsync", Duration::from_secs(60)).await else {
        eprintln!("skipped: the agent cannot be traced here");
        return;
    };
    let request = crate::support::client()
        .post(format!("{}/v1/connections/mail/refresh", agent.base))
        .header("authorization", format!("Bearer {}", agent.token));
    let caller = tokio::spawn(request.send());
    eventually("the answer is there", async || sandbox.stats().token_posts == 1).await;
    caller.abort();
    agent.signal("TERM");
    eventually("the agent has given up", async || agent.log().contains("The agent has stopped")).await;
    // The kernel ends no thread in the middle of a call that a tracer holds up.
    drop(slowed);
    assert_eq!(agent.await_end(), 0);
    let log = agent.log();
    assert!(log.contains("A token that was asked for may be lost"), "{log}");
    assert!(!log.contains("everything was finished"));
}

#[tokio::test]
async fn a_stop_is_bounded_with_idle_and_hanging_callers() {
    let sandbox = tenant();
    let mut agent = Setup::new()
        .conf("[Limits]\nDrainSeconds=1\n")
        .drop_in("m.yaml", &delegated(&sandbox, "mail", ""))
        .start();
    let idle = TcpStream::connect(agent.base.trim_start_matches("http://")).unwrap();
    agent.await_state("mail", "ok").await;
    let everything = FaultTarget::Graph { method: None, path_contains: None };
    sandbox.inject(Fault { target: everything, times: u32::MAX, action: FaultAction::Hang });
    let request = crate::support::client()
        .post(format!("{}/v1/connections/mail/query", agent.base))
        .header("authorization", format!("Bearer {}", agent.token))
        .header("content-type", "application/json")
        .body(json!({"object": "Messages"}).to_string());
    let hanging = tokio::spawn(request.send());
    eventually("the query is running", async || agent.get("/v1/runs").await.text().contains("running")).await;
    let began = Instant::now();
    assert_eq!(agent.stop(), 0);
    assert!(began.elapsed() < Duration::from_secs(10), "{:?}", began.elapsed());
    drop((idle, hanging));
}

#[tokio::test]
async fn metrics_tell_what_happened() {
    let sandbox = tenant();
    let agent = Setup::new().drop_in("m.yaml", &delegated(&sandbox, "mail", "")).start();
    agent
        .post("/v1/connections/mail/query", json!({"object": "Messages", "fields": ["id"]}))
        .await
        .expect(200);
    agent.call(http::Method::POST, "/v1/connections/mail/refresh", &[], None).await.expect(200);
    let metrics = agent.get("/metrics").await.text();
    for line in [
        "o365_agent_rows_total{connection=\"mail\"} 200",
        "o365_agent_token_refreshes_total{connection=\"mail\",outcome=\"refreshed\"} 1",
        "o365_agent_runs_total{connection=\"mail\",activity=\"query\",outcome=\"success\"} 1",
        "o365_agent_connection_usable{connection=\"mail\"} 1",
        "o365_agent_drop_in_faults 0",
    ] {
        assert!(metrics.contains(line), "{line} in\n{metrics}");
    }
    assert!(metrics.ends_with("# EOF\n"));
}
