//! Row 21 on the built binary, at night: the machine's clock jumps by hours and days, both ways, under a running agent.
//! libfaketime moves the wall clock alone, as an operator or a time server does; the hours themselves pass in virtual time in
//! `token/herd_tests.rs`.

use std::path::Path;
use std::time::{Duration, Instant};

use o365_sandbox::{Sandbox, SandboxOptions};
use serde_json::json;

use crate::support::{Agent, Setup, delegated};

/// Debian's package `faketime`.
const LIBRARY: &str = "/usr/lib/x86_64-linux-gnu/faketime/libfaketimeMT.so.1";

/// Jumps of the wall clock, as libfaketime reads them.
const JUMPS: [&str; 4] = ["+3600", "+86400", "-3600", "-86400"];

async fn generation(agent: &Agent) -> u64 {
    agent.get("/v1/connections/mail").await.expect(200)["token"]["tokenGeneration"].as_u64().unwrap()
}

/// How long after the jump the agent had a fresh token.
async fn jump(by: &str) -> Duration {
    let sandbox = Sandbox::start(SandboxOptions::default());
    let setup = Setup::new().drop_in("m.yaml", &delegated(&sandbox, "mail", ""));
    let offset = setup.path().join("offset");
    std::fs::write(&offset, "+0").unwrap();
    let environment = [
        ("LD_PRELOAD", LIBRARY),
        ("FAKETIME_TIMESTAMP_FILE", offset.to_str().unwrap()),
        ("FAKETIME_NO_CACHE", "1"),
        ("FAKETIME_DONT_FAKE_MONOTONIC", "1"),
    ]
    .map(|(name, value)| (name.to_owned(), value.to_owned()));
    let agent = Agent::spawn(setup.path(), "state", "[Logging]\nFormat=json\nLevel=info\n", &environment);
    agent.await_state("mail", "ok").await;
    // A token of this clock, whose dates are known to the second.
    agent.call(http::Method::POST, "/v1/connections/mail/refresh", &[], None).await.expect(200);
    let (before, posts) = (generation(&agent).await, sandbox.stats().token_posts);
    let jumped = Instant::now();
    std::fs::write(&offset, by).unwrap();
    while generation(&agent).await == before {
        assert!(jumped.elapsed() < Duration::from_secs(60), "{by}: no fresh token:\n{}", agent.log());
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    let took = jumped.elapsed();
    let query = json!({"object": "Messages", "fields": ["id"], "limit": 1});
    agent.post("/v1/connections/mail/query", query).await.expect(200);
    assert!(sandbox.stats().token_posts - posts <= 2, "{by}: {:?}", sandbox.stats());
    eprintln!("{by} s: fresh after {took:?}, {} token requests", sandbox.stats().token_posts - posts);
    took
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_clock_that_jumps_leaves_a_fresh_token_within_a_minute() {
    if crate::size(0, 1) == 0 || !Path::new(LIBRARY).exists() {
        eprintln!("skipped: it takes O365_AGENT_NIGHTLY=1 and the package faketime");
        return;
    }
    futures_util::future::join_all(JUMPS.map(jump)).await;
}
