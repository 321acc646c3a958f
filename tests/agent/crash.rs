//! kill -9 at random during refreshes: the store is readable and holds every token that was acknowledged.

use std::time::Duration;

use o365_sandbox::SandboxOptions;
use serde_json::json;

use crate::support::{Agent, Setup, delegated};

/// "Must show" 3, second part. `O365_AGENT_KILLS` sets another count; `O365_AGENT_NIGHTLY` takes 1,000.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn three_hundred_kills_lose_no_token_and_tear_no_store() {
    let nightly = std::env::var_os("O365_AGENT_NIGHTLY").map(|_| 1000);
    let kills: u32 = std::env::var("O365_AGENT_KILLS")
        .ok()
        .and_then(|count| count.parse().ok())
        .or(nightly)
        .unwrap_or(300);
    let sandbox = o365_sandbox::Sandbox::start(SandboxOptions::default());
    let setup = Setup::new().drop_in("m.yaml", &delegated(&sandbox, "mail", ""));
    let conf = "[Logging]\nFormat=json\nLevel=info\n";
    let mut acknowledged: u64 = 0;
    let mut seed = 0x9E37_79B9_7F4A_7C15_u64;
    for kill in 0..kills {
        let mut agent = Agent::spawn(setup.path(), "state", conf, &[]);
        // The port answers before the stores have been read, so that a slow disk delays no start.
        let mut generation = 0;
        crate::support::eventually("the store has been read", async || {
            let view = agent.get("/v1/connections/mail").await.expect(200);
            generation = view["token"]["tokenGeneration"].as_u64().unwrap();
            generation > 0
        })
        .await;
        assert!(
            generation >= acknowledged,
            "kill {kill}: generation {generation} after {acknowledged} was acknowledged"
        );
        assert!(!agent.log().contains("corrupt"), "kill {kill}: an unreadable store\n{}", agent.log());

        seed ^= seed << 13;
        seed ^= seed >> 7;
        seed ^= seed << 17;
        let when = Duration::from_micros(seed % 12_000);
        let refreshing = async {
            // A refresh is acknowledged when its answer arrives; the kill falls somewhere into the next one.
            loop {
                let sent = crate::support::client()
                    .post(format!("{}/v1/connections/mail/refresh", agent.base))
                    .header("authorization", format!("Bearer {}", agent.token))
                    .send()
                    .await;
                let Ok(mut answer) = sent else { return };
                let Ok(Some(chunk)) = answer.chunk().await else { return };
                let Ok(view) = serde_json::from_slice::<serde_json::Value>(&chunk) else { return };
                acknowledged = acknowledged.max(view["token"]["tokenGeneration"].as_u64().unwrap_or(0));
            }
        };
        let pid = agent.pid().to_string();
        let killer = async {
            tokio::time::sleep(when).await; // the random instant itself, not a wait for something
            std::process::Command::new("kill").args(["-KILL", &pid]).status().unwrap();
        };
        tokio::join!(refreshing, killer);
        agent.await_end();
    }
    assert!(acknowledged > u64::from(kills) / 20, "only {acknowledged} refreshes: the kills hit nothing");
    let agent = Agent::spawn(setup.path(), "state", conf, &[]);
    agent
        .post("/v1/connections/mail/query", json!({"object": "Messages", "fields": ["id"], "limit": 1}))
        .await
        .expect(200);
    let left_over = std::fs::read_dir(setup.path().join("state/tokens"))
        .unwrap()
        .filter(|entry| entry.as_ref().unwrap().file_name().to_string_lossy().contains("corrupt"));
    assert_eq!(left_over.count(), 0);
}
