//! Memory does not grow with the rows: a query of 100,000 messages is streamed.

use o365_sandbox::{Sandbox, SandboxOptions};
use serde_json::json;

use crate::support::{Setup, delegated};

/// "Must show" 1, on whatever build runs the tests (the bound is on growth, which the build hardly changes).
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hundred_thousand_rows_are_streamed_in_constant_memory() {
    let sandbox =
        Sandbox::start(SandboxOptions { messages_per_mailbox: 100_000, ..SandboxOptions::default() });
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
    assert_eq!(lines, 100_000);
    let peak = agent.memory_kib("VmHWM");
    assert!(peak.saturating_sub(idle) <= 32 * 1024, "peak {peak} KiB over idle {idle} KiB");
}
