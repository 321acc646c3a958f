//! "Must show" 3: many records through a service that throttles, fails and drops answers, and an agent that is killed while
//! it writes. Every record is there once in the end. `O365_AGENT_BULK` sets another number of records.

use std::collections::BTreeMap;
use std::time::Duration;

use o365_sandbox::{Fault, FaultAction, FaultTarget, Sandbox, SandboxOptions};
use serde_json::{Value, json};

use crate::support::{Agent, Setup, application, client, delegated, eventually};
use crate::writes::send;

fn records() -> usize {
    std::env::var("O365_AGENT_BULK").ok().and_then(|count| count.parse().ok()).unwrap_or(600)
}

fn empty(sandbox: SandboxOptions) -> Sandbox {
    Sandbox::start(SandboxOptions { contacts_per_mailbox: 0, ..sandbox })
}

/// Contacts spread over `mailboxes`, as NDJSON.
fn contacts(sandbox: &Sandbox, count: usize, mailboxes: u32) -> String {
    let users: Vec<String> = (0..mailboxes).map(|number| sandbox.user(number).upn).collect();
    let line = |n: usize| json!({"givenName": format!("N{n}"), "displayName": format!("Bulk {n}"), "UserId": users[n % users.len()]});
    (0..count).map(|n| format!("{}\n", line(n))).collect()
}

fn part(nth: u32, action: FaultAction) -> Fault {
    let target = FaultTarget::BatchPart { path_contains: Some("/contacts".into()) };
    Fault { target: FaultTarget::Every { nth, target: Box::new(target) }, times: u32::MAX, action }
}

fn call(nth: u32, action: FaultAction) -> Fault {
    let target = FaultTarget::Graph { method: Some("POST".into()), path_contains: Some("/$batch".into()) };
    Fault { target: FaultTarget::Every { nth, target: Box::new(target) }, times: 3, action }
}

fn status(status: u16, retry_after: Option<&str>) -> FaultAction {
    let headers = retry_after.map(|wait| ("retry-after".to_owned(), wait.to_owned())).into_iter().collect();
    FaultAction::Status { status, headers, body: String::new() }
}

/// How many results of each status.
fn tally(results: &[Value]) -> BTreeMap<String, usize> {
    let mut tally = BTreeMap::new();
    for result in results {
        *tally.entry(result["status"].as_str().unwrap().to_owned()).or_insert(0) += 1;
    }
    tally
}

const PATH: &str = "/v1/connections/app/create?object=Contacts&continueOnError=true&timeoutSeconds=3600";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_lost_or_doubled_while_the_service_throttles_fails_and_drops_answers() {
    let sandbox = empty(SandboxOptions::default());
    let agent = Setup::new()
        .conf("[Logging]\nFormat=json\nLevel=info\n")
        .environment("O365_AGENT_TEST_LOOKS_PERCENT", "5")
        .drop_in("a.yaml", &application(&sandbox, "app", ""))
        .start();
    let count = records();
    for fault in [
        part(61, status(429, Some("1"))),
        part(89, status(503, Some("1"))),
        part(97, status(504, None)),
        part(79, FaultAction::StatusAfterExecuting { status: 504 }),
        call(7, FaultAction::CutBeforeAnswer),
        call(11, FaultAction::DropBeforeExecuting),
        call(13, status(429, Some("1"))),
        call(17, status(503, None)),
    ] {
        sandbox.inject(fault);
    }
    let headers = [
        ("content-type", "application/x-ndjson"),
        ("accept", "application/x-ndjson"),
        ("idempotency-key", "bulk"),
    ];
    let records = contacts(&sandbox, count, 2);
    let results = async || -> Vec<Value> {
        let answer = send(&agent, PATH, &headers, records.clone()).await;
        answer.text().lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    };
    // What was lost on its way may show still, so it is unknown; the next call with the key sends what never came.
    let first = tally(&results().await);
    assert!(first.keys().all(|status| ["created", "unknown"].contains(&status.as_str())), "{first:?}");
    sandbox.clear_faults();
    let results = results().await;
    let stats = sandbox.stats();
    assert_eq!(
        tally(&results),
        BTreeMap::from([("created".to_owned(), count)]),
        "{:?}",
        stats.faults_by_kind
    );
    assert_eq!(sandbox.created_names(), (count, 0), "every record once; {:?}", stats.faults_by_kind);
    let hit = |kind: &str| stats.faults_by_kind.get(kind).copied().unwrap_or(0);
    for kind in [
        "status_429",
        "status_503",
        "status_504",
        "status_after_executing_504",
        "cut_before_answer",
        "drop_before_executing",
    ] {
        assert!(hit(kind) > 0, "{kind} hit nothing: {:?}", stats.faults_by_kind);
    }
    assert!(results.iter().enumerate().all(|(n, result)| result["index"] == n && result["id"].is_string()));
    assert!(stats.max_concurrent_per_mailbox <= 4, "{} at once", stats.max_concurrent_per_mailbox);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_agent_killed_while_it_writes_goes_on_with_the_key_and_no_record_is_lost_or_doubled() {
    let sandbox = empty(SandboxOptions::default());
    sandbox.set_page_latency(Duration::from_millis(5));
    let setup = Setup::new().drop_in("a.yaml", &application(&sandbox, "app", ""));
    let conf = "[Logging]\nFormat=json\nLevel=info\n";
    let short = [("O365_AGENT_TEST_LOOKS_PERCENT".to_owned(), "5".to_owned())];
    let count = records();
    let body = contacts(&sandbox, count, 2);
    let headers = [
        ("content-type", "application/x-ndjson"),
        ("accept", "application/x-ndjson"),
        ("idempotency-key", "killed"),
    ];
    let kills = 4;
    let mut interrupted = 0;
    for kill in 1..=kills {
        let mut agent = Agent::spawn(setup.path(), "state", conf, &short);
        agent.await_state("app", "ok").await;
        let writing = client()
            .post(format!("{}{PATH}", agent.base))
            .header("authorization", format!("Bearer {}", agent.token))
            .header("content-type", headers[0].1)
            .header("accept", headers[1].1)
            .header(headers[2].0, headers[2].1)
            .body(body.clone())
            .send();
        let writing = async {
            // The answer breaks off with the agent.
            let Ok(mut answer) = writing.await else { return };
            while let Ok(Some(_)) = answer.chunk().await {}
        };
        let pid = agent.pid().to_string();
        let wanted = count * kill / (kills + 2);
        let killer = async {
            eventually("enough records are there", async || sandbox.created_names().0 >= wanted).await;
            std::process::Command::new("kill").args(["-KILL", &pid]).status().unwrap();
        };
        tokio::join!(writing, killer);
        agent.await_end();
        let before = sandbox.created_names();
        assert!(before.0 < count, "the kill came too late to prove anything");
        assert_eq!(before.1, 0, "doubled after kill {kill}");
    }
    let agent = Agent::spawn(setup.path(), "state", conf, &short);
    let runs = agent.get("/v1/runs").await.expect(200);
    for run in runs["runs"].as_array().unwrap() {
        assert_eq!(run["status"], "interrupted", "{run}");
        assert!(run["error"].as_str().unwrap().contains("Idempotency-Key"), "{run}");
        interrupted += 1;
    }
    assert_eq!(interrupted, kills);
    let answer = send(&agent, PATH, &headers, body.clone()).await;
    let results: Vec<Value> = answer.text().lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(tally(&results), BTreeMap::from([("created".to_owned(), count)]));
    assert_eq!(sandbox.created_names(), (count, 0), "every record once");
    let ids: std::collections::BTreeSet<_> =
        results.iter().map(|result| result["id"].as_str().unwrap().to_owned()).collect();
    assert_eq!(ids.len(), count, "each record has an id of its own");
    let again = send(&agent, PATH, &headers, body).await;
    assert_eq!(again.text(), answer.text(), "the repeat gives the same results");
    assert_eq!(sandbox.created_names(), (count, 0));
}

#[tokio::test]
async fn a_record_whose_outcome_cannot_be_found_out_stays_unknown_also_for_the_repeat() {
    let sandbox = Sandbox::start(SandboxOptions::default());
    let agent = Setup::new().drop_in("a.yaml", &application(&sandbox, "app", "")).start();
    // A user has no mark: the service would not let one be found by it.
    sandbox.inject(Fault {
        target: FaultTarget::Graph { method: Some("POST".into()), path_contains: Some("/users".into()) },
        times: 1,
        action: FaultAction::CutBeforeAnswer,
    });
    let user = json!({"accountEnabled": true, "displayName": "Nova Quist", "mailNickname": "nova",
        "userPrincipalName": format!("nova@{}", sandbox.tenant_domain()),
        "passwordProfile_forceChangePasswordNextSignIn": true, "passwordProfile_password": "xWwvJ]6NMw+bWH-d"});
    let body = json!({"object": "Users", "records": [user]});
    for _ in 0..2 {
        let answer = agent
            .call(
                http::Method::POST,
                "/v1/connections/app/create",
                &[("idempotency-key", "u")],
                Some(body.clone()),
            )
            .await
            .expect(200);
        let result = &answer["results"][0];
        assert_eq!(
            (&result["status"], &result["error"]["code"]),
            (&json!("unknown"), &json!("outcome_unknown")),
            "{answer}"
        );
        assert!(
            result["error"]["message"].as_str().unwrap().contains("Look whether it happened"),
            "{answer}"
        );
    }
    let query = json!({"object": "Users", "fields": ["displayName"],
        "conditions": [{"field": "displayName", "operator": "=", "value": "Nova Quist"}]});
    let there = agent.post("/v1/connections/app/query", query).await.expect(200);
    assert_eq!(there["rows"].as_array().unwrap().len(), 1, "it was made, and not once more by the repeat");
}

#[tokio::test]
async fn events_are_sent_again_with_their_transaction_and_deletions_are_looked_after() {
    let sandbox = Sandbox::start(SandboxOptions::default());
    let agent = Setup::new().drop_in("m.yaml", &delegated(&sandbox, "mail", "")).start();
    let cut = |path: &str, method: &str| Fault {
        target: FaultTarget::Graph { method: Some(method.into()), path_contains: Some(path.into()) },
        times: 1,
        action: FaultAction::CutBeforeAnswer,
    };
    sandbox.inject(cut("/events", "POST"));
    let event = json!({"subject": "Once", "start_dateTime": "2027-03-01T09:00:00", "start_timeZone": "UTC",
        "end_dateTime": "2027-03-01T10:00:00", "end_timeZone": "UTC"});
    let made = agent
        .post("/v1/connections/mail/create", json!({"object": "Events", "records": [event]}))
        .await
        .expect(200);
    assert_eq!(
        (made["results"][0]["status"].as_str(), sandbox.created("Once")),
        (Some("created"), 1),
        "{made}"
    );
    sandbox.inject(cut("/events/", "DELETE"));
    let delete = json!({"object": "Events", "records": [{"id": made["results"][0]["id"]}]});
    let deleted = agent.post("/v1/connections/mail/delete", delete).await.expect(200);
    assert_eq!(deleted["results"][0]["status"], "deleted", "{deleted}");
}
