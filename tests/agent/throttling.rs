//! A tenant that gives a tenth of what is asked for: nothing is sent before its time, little is lost, and others do not
//! notice. `O365_AGENT_THROTTLED_SECONDS` makes it as long as one likes, and its figures binding.

use std::time::{Duration, Instant};

use o365_sandbox::{CONFIDENTIAL_CLIENT_ID, CONFIDENTIAL_CLIENT_SECRET, RateLimit, Sandbox, SandboxOptions};
use serde_json::json;

use crate::support::{Agent, Setup, eventually};

/// A mailbox works on four requests at once, each for 50 ms: 80 a second are asked for, and 8 given.
const SERVICE_TIME: Duration = Duration::from_millis(50);
const WINDOW: Duration = Duration::from_secs(10);
const GIVEN: u32 = 80;

fn seconds() -> Option<u32> {
    std::env::var("O365_AGENT_THROTTLED_SECONDS").ok().and_then(|seconds| seconds.parse().ok())
}

/// An application's connection that acts on the mailbox of one user.
fn mailbox(sandbox: &Sandbox, name: &str, user: &str) -> String {
    format!(
        "connections:\n  {name}:\n    AuthScheme: AzureServicePrincipal\n    InitiateOAuth: GETANDREFRESH\n    OAuthClientId: {CONFIDENTIAL_CLIENT_ID}\n    OAuthClientSecret: '{CONFIDENTIAL_CLIENT_SECRET}'\n    AdvancedConfigurations:\n      AzureEnvironment: CUSTOM\n      AuthorityHost: {}\n      GraphEndpoint: {}\n      AzureTenant: {}\n      UserId: {user}\n",
        sandbox.login_url(),
        sandbox.graph_url(),
        sandbox.tenant_id()
    )
}

async fn small_query(agent: &Agent) -> Duration {
    let asked = Instant::now();
    let query = json!({"object": "Messages", "fields": ["id"], "limit": 1});
    agent.post("/v1/connections/quiet/query", query).await.expect(200);
    asked.elapsed()
}

fn middle(mut times: Vec<Duration>) -> Duration {
    times.sort();
    times[times.len() / 2]
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn throttled_to_a_tenth_nothing_is_early_and_little_is_lost() {
    let sandbox = Sandbox::start(SandboxOptions { page_latency: SERVICE_TIME, ..SandboxOptions::default() });
    let users = [sandbox.user(0), sandbox.user(1)];
    let agent = Setup::new()
        .drop_in("a.yaml", &mailbox(&sandbox, "busy", &users[0].upn))
        .drop_in("b.yaml", &mailbox(&sandbox, "quiet", &users[1].upn))
        .start();
    for name in ["busy", "quiet"] {
        agent.await_state(name, "ok").await;
    }
    let mut usual = Vec::new();
    for _ in 0..15 {
        usual.push(small_query(&agent).await);
    }
    let usual = middle(usual);
    sandbox.set_rates(Some(RateLimit { requests: GIVEN, window: WINDOW }), None);
    sandbox.clear_request_log();

    let windows = seconds().map_or(1, |seconds| (seconds / 10).max(1));
    let rest = 20;
    let records: Vec<_> =
        (0..windows * GIVEN + rest).map(|n| json!({"givenName": format!("c{n}")})).collect();
    let (began, count) = (Instant::now(), records.len());
    let job = async {
        let call = json!({"object": "Contacts", "records": records, "timeoutSeconds": 600});
        let answer = agent.post("/v1/connections/busy/create", call).await.expect(200);
        (began.elapsed(), answer)
    };
    let others = async {
        let mut times = Vec::new();
        eventually("the run is held back", async || {
            let runs = agent.get("/v1/runs").await.expect(200);
            runs["runs"].as_array().unwrap().iter().any(|run| run["throttledSeconds"].as_f64() > Some(0.5))
        })
        .await;
        while began.elapsed() < WINDOW.mul_f64(0.9) * windows {
            times.push(small_query(&agent).await);
            tokio::time::sleep(Duration::from_millis(300)).await;
        }
        times
    };
    let ((took, answer), times) = tokio::join!(job, others);
    let results = answer["results"].as_array().unwrap();
    assert!(results.len() == count && results.iter().all(|result| result["status"] == "created"), "{answer}");

    let log = sandbox.request_log();
    let early: Vec<_> =
        log.iter().filter(|request| request.early_repeat || request.early_for_owner).collect();
    assert!(early.is_empty(), "{} of {} came too early: {:?}", early.len(), log.len(), early.first());
    let refused = log.iter().filter(|request| request.status == 429).count();
    let best = WINDOW * windows + SERVICE_TIME * rest.div_ceil(4);
    let ratio = took.as_secs_f64() / best.as_secs_f64();
    let (slowest, meanwhile) = (times.iter().max().copied().unwrap(), middle(times));
    eprintln!(
        "{count} records in {took:.2?}, at best {best:.2?}: {ratio:.3}; {refused} refusals; a small query usually {usual:.1?}, meanwhile {meanwhile:.1?}, at most {slowest:.1?}"
    );
    let (most, slower) = if seconds().is_some() { (1.10, 2) } else { (2.0, 10) };
    assert!(ratio <= most, "{took:?} and at best {best:?}");
    assert!(meanwhile <= usual * slower, "{meanwhile:?} and usually {usual:?}");

    let metrics = agent.get("/metrics").await.text();
    for series in [
        "o365_agent_graph_throttled_total{connection=\"busy\",scope=\"mailbox\"} ",
        "o365_agent_graph_gate_closed_seconds_total{connection=\"busy\",scope=\"mailbox\"} ",
        "o365_agent_graph_waiting{connection=\"busy\"} 0",
        "o365_agent_graph_in_flight{connection=\"quiet\"} 0",
    ] {
        assert!(metrics.contains(series), "{series} is not in {metrics}");
    }
    assert!(!metrics.contains(&users[0].upn), "no mailbox is a label");
    let runs = agent.get("/v1/runs").await.expect(200);
    let run = runs["runs"].as_array().unwrap().iter().find(|run| run["connection"] == "busy").unwrap();
    assert!(run["throttledSeconds"].as_f64() > Some(4.0) && run["waiting"] == 0, "{run}");
}
