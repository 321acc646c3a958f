//! Row 22: a token server that hangs for half a minute delays no call of another connection. And row 29's far corners:
//! children's environment, core dumps.

use std::time::{Duration, Instant};

use o365_sandbox::{Fault, FaultAction, FaultTarget};
use serde_json::json;

use crate::support::{Agent, Setup, delegated, tenant};

async fn took(agent: &Agent) -> Duration {
    let began = Instant::now();
    let query = json!({"object": "Messages", "fields": ["id"], "limit": 1});
    agent.post("/v1/connections/quick/query", query).await.expect(200);
    began.elapsed()
}

fn p99(mut times: Vec<Duration>) -> Duration {
    times.sort();
    times[times.len() * 99 / 100]
}

/// Row 22. Two agents stand in the same noise of the same machine, and their calls alternate: one has a connection whose
/// token request hangs, the other does not. Five rounds, of which the middle one counts: a delay that comes from the
/// hanging request is there in every round, one that comes from another process of the machine is not.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hanging_token_server_delays_no_other_connection() {
    let sandbox = tenant();
    let start = || {
        Setup::new()
            .conf("[Logging]\nLevel=info\n[Refresh]\nRequestTimeoutSeconds=300\n")
            .drop_in("q.yaml", &delegated(&sandbox, "quick", ""))
            .drop_in("s.yaml", &delegated(&sandbox, "slow", ""))
            .start()
    };
    let (control, subject) = (start(), start());
    for agent in [&control, &subject] {
        agent.await_state("quick", "ok").await;
        agent.await_state("slow", "ok").await;
        for _ in 0..50 {
            took(agent).await;
        }
    }
    sandbox.inject(Fault { target: FaultTarget::Token, times: u32::MAX, action: FaultAction::Hang });
    let url = format!("{}/v1/connections/slow/refresh", subject.base);
    let bearer = format!("Bearer {}", subject.token);
    let hanging = tokio::spawn(async move {
        crate::support::client().post(url).header("authorization", bearer).send().await
    });
    crate::support::eventually("the request hangs", async || subject.state_of("slow").await == "refreshing")
        .await;
    let mut differences = Vec::new();
    for _ in 0..5 {
        let (mut without, mut with) = (Vec::new(), Vec::new());
        for _ in 0..crate::size(200, 500) {
            without.push(took(&control).await);
            with.push(took(&subject).await);
        }
        let (without, with) = (p99(without), p99(with));
        eprintln!("p99 without {without:?}, with a hanging token server {with:?}");
        differences.push(with.saturating_sub(without));
    }
    assert_eq!(subject.state_of("slow").await, "refreshing", "it has hung all the time");
    assert_eq!(sandbox.stats().token_posts, 1);
    hanging.abort();
    differences.sort();
    assert!(differences[2] <= Duration::from_millis(10), "{differences:?}");
}

#[tokio::test]
async fn no_core_is_dumped_and_no_child_is_left() {
    if !crate::is_root("raising the limit on core dumps") {
        return;
    }
    // A host that allows core dumps; this process of the test runner is the test's own.
    let unlimited = rustix::process::Rlimit { current: None, maximum: None };
    rustix::process::setrlimit(rustix::process::Resource::Core, unlimited).unwrap();
    let sandbox = tenant();
    let agent = Setup::new().drop_in("m.yaml", &delegated(&sandbox, "mail", "")).start();
    agent.await_state("mail", "ok").await;
    // The agent starts no children, so no environment of a child can hold a secret.
    let children = std::fs::read_to_string(format!("/proc/{0}/task/{0}/children", agent.pid())).unwrap();
    assert_eq!(children, "");
    let limits = std::fs::read_to_string(format!("/proc/{}/limits", agent.pid())).unwrap();
    let core = limits.lines().find(|line| line.starts_with("Max core file size")).unwrap();
    assert_eq!(core.split_whitespace().nth(4), Some("0"), "a core dump would hold every token: {core}");
}
