//! Memory does not grow with the rows: a query of 100,000 messages is streamed, or of as many as `O365_AGENT_ROWS` says.

use std::time::Duration;

use o365_sandbox::{Sandbox, SandboxOptions};
use serde_json::json;

use crate::support::{Setup, delegated};

/// "Must show" 1, on whatever build runs the tests (the bound is on growth, which the build hardly changes).
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_first_row_is_out_within_one_page() {
    let sandbox =
        Sandbox::start(SandboxOptions { messages_per_mailbox: 20_000, ..SandboxOptions::default() });
    let agent = Setup::new().drop_in("m.yaml", &delegated(&sandbox, "mail", "")).start();
    agent.await_state("mail", "ok").await;
    agent.post("/v1/connections/mail/query", json!({"object": "Messages", "limit": 1})).await.expect(200);
    sandbox.clear_requests();
    // Long enough that no third page can have been asked for before the first row has come.
    sandbox.set_page_latency(Duration::from_millis(400));
    let request = json!({"object": "Messages", "fields": ["id"]});
    let mut response = crate::support::client()
        .post(format!("{}/v1/connections/mail/query", agent.base))
        .header("authorization", format!("Bearer {}", agent.token))
        .header("accept", "application/x-ndjson")
        .header("content-type", "application/json")
        .body(request.to_string())
        .send()
        .await
        .unwrap();
    let first = response.chunk().await.unwrap().unwrap();
    let asked = sandbox.graph_requests().len();
    assert!(first.starts_with(b"{\"id\":"));
    assert!(asked <= 2, "{asked} pages were asked for before the first row came");
    sandbox.set_page_latency(Duration::ZERO);
    let mut lines = first.iter().filter(|byte| **byte == b'\n').count();
    while let Some(chunk) = response.chunk().await.unwrap() {
        lines += chunk.iter().filter(|byte| **byte == b'\n').count();
    }
    assert_eq!(lines, 20_000);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hundred_thousand_rows_are_streamed_in_constant_memory() {
    let rows = std::env::var("O365_AGENT_ROWS").ok().and_then(|text| text.parse().ok()).unwrap_or(100_000);
    let sandbox = Sandbox::start(SandboxOptions { messages_per_mailbox: rows, ..SandboxOptions::default() });
    let agent = Setup::new()
        .conf("[Logging]\nLevel=info\n")
        .drop_in("m.yaml", &delegated(&sandbox, "mail", ""))
        .start();
    agent.await_state("mail", "ok").await;
    let idle = agent.memory_kib("VmRSS");
    let request = json!({"object": "Messages", "fields": ["id", "subject", "receivedDateTime", "from_emailAddress_address", "bodyPreview"]});
    let mut response = crate::support::client()
        .post(format!("{}/v1/connections/mail/query", agent.base))
        .header("authorization", format!("Bearer {}", agent.token))
        .header("accept", "application/x-ndjson")
        .header("content-type", "application/json")
        .body(request.to_string())
        .send()
        .await
        .unwrap();
    assert_eq!(response.status(), 200);
    let mut lines = 0;
    while let Some(chunk) = response.chunk().await.unwrap() {
        lines += chunk.iter().filter(|byte| **byte == b'\n').count();
    }
    assert_eq!(lines, rows);
    let peak = agent.memory_kib("VmHWM");
    eprintln!("{rows} rows: peak {peak} KiB, idle {idle} KiB, over idle {} KiB", peak.saturating_sub(idle));
    assert!(peak.saturating_sub(idle) <= 32 * 1024, "peak {peak} KiB over idle {idle} KiB");
}
