//! Row 39: an agent that lives long. Tokens that live for seconds, reloads all the time, callers at work: memory, open files
//! and threads stay what they were. A quarter of a minute in a quick run, an hour at night;
//! `O365_AGENT_SOAK_SECONDS` sets another time.

use std::time::{Duration, Instant};

use o365_sandbox::{Sandbox, SandboxOptions};
use serde_json::json;

use crate::support::{Agent, Setup, application, delegated};

/// What the kernel says of a process.
#[derive(Clone, Copy, Debug)]
struct Size {
    resident_kib: u64,
    files: usize,
    threads: u64,
}

fn size_of(agent: &Agent) -> Size {
    let files = std::fs::read_dir(format!("/proc/{}/fd", agent.pid())).unwrap().count();
    Size { resident_kib: agent.memory_kib("VmRSS"), files, threads: agent.memory_kib("Threads") }
}

fn seconds() -> u64 {
    let wanted = std::env::var("O365_AGENT_SOAK_SECONDS").ok().and_then(|text| text.parse().ok());
    wanted.unwrap_or_else(|| u64::from(crate::size(15, 3600)))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_long_life_takes_no_more_memory_files_or_threads() {
    let nightly = crate::size(0, 1) == 1;
    let (connections, lifetime, pause) = if nightly {
        (100, Duration::from_secs(10), Duration::from_secs(5))
    } else {
        (10, Duration::from_secs(2), Duration::from_millis(500))
    };
    let sandbox =
        Sandbox::start(SandboxOptions { access_token_lifetime: lifetime, ..SandboxOptions::default() });
    let setup = (0..connections).fold(Setup::new().conf("[Logging]\nLevel=error\n"), |setup, number| {
        let name = format!("c{number}");
        let text =
            if number % 2 == 0 { delegated(&sandbox, &name, "") } else { application(&sandbox, &name, "") };
        setup.drop_in(&format!("{name}.yaml"), &text)
    });
    let agent = setup.start();
    for number in 0..connections {
        agent.await_state(&format!("c{number}"), "ok").await;
    }
    let text = std::fs::read_to_string(agent.drop_in_directory().join("c1.yaml")).unwrap();
    let (began, whole) = (Instant::now(), Duration::from_secs(seconds()));
    let (mut rounds, mut sizes, mut asked) = (0_u64, Vec::new(), 0_u64);
    while began.elapsed() < whole {
        rounds += 1;
        // Every reload changes one connection, so that there is a new version of it each time.
        let changed = format!("{text}      MaxRows: {}\n", 100 + rounds % 50);
        std::fs::write(agent.drop_in_directory().join("c1.yaml"), changed).unwrap();
        agent.call(http::Method::POST, "/v1/agent/reload", &[], None).await.expect(200);
        for number in 0..connections {
            let query = json!({"object": "/users", "fields": ["id"], "limit": 1});
            let answer = agent.post(&format!("/v1/connections/c{number}/query"), query).await;
            assert_eq!(answer.status, 200, "round {rounds}: {}", answer.text());
            asked += 1;
        }
        sizes.push((began.elapsed(), size_of(&agent)));
        tokio::time::sleep(pause).await; // the pace of the reloads
    }
    // The first third warms up: pools, caches and the allocator's own reserves.
    let warm: Vec<_> = sizes[sizes.len() / 3..].to_vec();
    let middle = |of: &[(Duration, Size)]| {
        let mut resident: Vec<_> = of.iter().map(|(_, size)| size.resident_kib).collect();
        resident.sort_unstable();
        resident[resident.len() / 2]
    };
    let (first, last) = warm.split_at(warm.len() / 2);
    let growth = middle(last).saturating_sub(middle(first));
    let between = (last[last.len() / 2].0 - first[first.len() / 2].0).as_secs_f64();
    let slope = growth as f64 / 1024.0 / between * 3600.0;
    let (before, after) = (warm[0].1, warm[warm.len() - 1].1);
    let refreshes = sandbox.stats().token_posts;
    eprintln!(
        "{rounds} reloads, {asked} queries, {refreshes} token requests in {:?}: {before:?} → {after:?}, {slope:.2} MiB/h",
        began.elapsed()
    );
    assert!(refreshes > connections, "the tokens were renewed while it ran");
    assert!(after.files <= before.files + 8, "open files grow: {before:?} → {after:?}");
    // The pool for file work comes and goes with the work.
    assert!(after.threads <= before.threads + 16, "threads grow: {before:?} → {after:?}");
    if whole >= Duration::from_secs(1800) {
        assert!(slope < 1.0, "{slope:.2} MiB an hour");
    } else {
        assert!(growth < 8 * 1024, "{growth} KiB within {between:.0} s");
    }
}
