//! Runs that outlive many tokens while their connection is edited: they end as they began. Times are real: what is
//! tested is that a token's end is survived.

use std::time::{Duration, Instant};

use http::Method;
use o365_sandbox::{Sandbox, SandboxOptions};
use serde_json::{Value, json};

use crate::support::{Agent, Setup, application, client, delegated_with, eventually};
use crate::writes::send;

/// How long each token lives. The agent hands a token out for nine tenths of it.
const LIFETIME: Duration = Duration::from_secs(12);

async fn edit(agent: &Agent, text: &str) {
    std::fs::write(agent.drop_in_directory().join("c.yaml"), text).unwrap();
    agent.call(Method::POST, "/v1/agent/reload", &[], None).await.expect(200);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_query_of_forty_pages_outlives_its_tokens_across_a_reload() {
    let sandbox = Sandbox::start(SandboxOptions {
        access_token_lifetime: LIFETIME,
        page_latency: Duration::from_millis(700),
        ..SandboxOptions::default()
    });
    let tokens = sandbox.issue_delegated_tokens_for(&sandbox.first_user().upn, LIFETIME);
    let text = |more: &str| delegated_with(&sandbox, "mail", &tokens, &format!("      PageSize: 5\n{more}"));
    let agent = Setup::new().drop_in("c.yaml", &text("")).start();
    agent.await_state("mail", "ok").await;
    let began = Instant::now();
    let request = client()
        .post(format!("{}/v1/connections/mail/query", agent.base))
        .header("authorization", format!("Bearer {}", agent.token))
        .header("content-type", "application/json")
        .body(json!({"object": "/me/messages", "fields": ["id"]}).to_string());
    let run = tokio::spawn(async move { crate::support::Answer::read(request.send().await.unwrap()).await });
    eventually("the run is under way", async || sandbox.stats().graph_requests >= 2).await;
    edit(&agent, &text("      MaxRows: 100000\n")).await;
    let answer = run.await.unwrap().expect(200);
    let rows = answer["rows"].as_array().map_or(0, Vec::len);
    assert_eq!((rows, &answer["complete"]), (200, &json!(true)), "{:?}", answer["reason"]);
    assert!(
        began.elapsed() > LIFETIME + LIFETIME / 2,
        "the first token must have ended: {:?}",
        began.elapsed()
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_bulk_outlives_its_tokens_across_ten_edits() {
    let sandbox = Sandbox::start(SandboxOptions {
        contacts_per_mailbox: 0,
        access_token_lifetime: LIFETIME,
        page_latency: Duration::from_millis(350),
        ..SandboxOptions::default()
    });
    let text = |more: &str| application(&sandbox, "app", more);
    let agent = Setup::new().drop_in("c.yaml", &text("")).start();
    agent.await_state("app", "ok").await;
    let user = sandbox.first_user().upn;
    let count = 800;
    let records: String = (0..count)
        .map(|n| {
            format!(
                "{}\n",
                json!({"givenName": format!("N{n}"), "displayName": format!("Bulk {n}"), "UserId": user})
            )
        })
        .collect();
    let headers = [
        ("content-type", "application/x-ndjson"),
        ("accept", "application/x-ndjson"),
        ("idempotency-key", "long"),
    ];
    let path = "/v1/connections/app/create?object=Contacts&continueOnError=true&timeoutSeconds=3600";
    let began = Instant::now();
    let edits = async {
        for number in 1..=10 {
            eventually("records are written", async || sandbox.created_names().0 >= number * 60).await;
            edit(&agent, &text(&format!("      MaxRows: {number}\n"))).await;
        }
    };
    let (answer, ()) = tokio::join!(send(&agent, path, &headers, records), edits);
    let results: Vec<Value> = answer.text().lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let failed: Vec<&Value> = results.iter().filter(|result| result["status"] != "created").collect();
    assert!(failed.is_empty(), "{} of {count}, the first: {}", failed.len(), failed[0]);
    assert_eq!((results.len(), sandbox.created_names()), (count, (count, 0)));
    assert!(began.elapsed() > LIFETIME, "the first token must have ended: {:?}", began.elapsed());
}
