//! Never short and silent: results of a run that broke off, mailboxes with several names.

use std::time::Duration;

use o365_sandbox::{Sandbox, SandboxOptions};
use serde_json::{Value, json};

use crate::support::{Agent, Setup, application, delegated, eventually, tenant};
use crate::writes::send;

fn lines(text: &str) -> Vec<Value> {
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn results_of_an_interrupted_run_are_not_complete_and_say_how_many_there_should_be() {
    let sandbox = tenant();
    sandbox.set_page_latency(Duration::from_millis(100));
    let setup = Setup::new().drop_in("mail.yaml", &delegated(&sandbox, "mail", ""));
    let conf = "[Logging]\nFormat=json\nLevel=info\n";
    let mut agent = Agent::spawn(setup.path(), "state", conf, &[]);
    agent.await_state("mail", "ok").await;
    let records: String = (0..2000)
        .map(|n| format!("{}\n", json!({"givenName": format!("N{n}"), "surname": "Kept"})))
        .collect();
    let headers = [("content-type", "application/x-ndjson"), ("prefer", "respond-async")];
    let path = "/v1/connections/mail/create?object=Contacts&continueOnError=true";
    let run = send(&agent, path, &headers, records).await.expect(202)["id"].as_str().unwrap().to_owned();
    let results = format!("/v1/runs/{run}/results");
    let ndjson = [("accept", "application/x-ndjson")];
    let mut last = Value::Null;
    eventually("some results are kept", async || {
        let answer = agent.call(http::Method::GET, &results, &ndjson, None).await;
        let all = lines(&answer.text());
        last = all.last().cloned().unwrap_or_default();
        all.len() > 20
    })
    .await;
    assert_eq!((&last["@complete"], &last["@status"]), (&json!(false), &json!("running")), "{last}");
    agent.signal("KILL");
    agent.await_end();

    let agent = Agent::spawn(setup.path(), "state", conf, &[]);
    let view = agent.get(&format!("/v1/runs/{run}")).await.expect(200);
    assert_eq!((&view["status"], &view["total"]), (&json!("interrupted"), &json!(2000)), "{view}");
    let answer = agent.get(&results).await.expect(200);
    let count = answer["results"].as_array().unwrap().len();
    assert!((20..2000).contains(&count), "{count}");
    assert_eq!(
        (&answer["complete"], &answer["status"], &answer["total"]),
        (&json!(false), &json!("interrupted"), &json!(2000))
    );
    let answer = agent.call(http::Method::GET, &results, &ndjson, None).await;
    let end = lines(&answer.text()).pop().unwrap();
    assert_eq!(end, json!({"@complete": false, "@status": "interrupted", "@total": 2000}));
}

async fn query(agent: &Agent, user: Value, operator: &str) -> Vec<Value> {
    let conditions = json!([{"field": "UserId", "operator": operator, "value": user}]);
    let query = json!({"object": "Messages", "fields": ["id"], "conditions": conditions});
    agent.post("/v1/connections/app/query", query).await.expect(200)["rows"].as_array().unwrap().clone()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_mailbox_under_its_two_names_never_has_more_than_four_requests_at_once() {
    let sandbox = Sandbox::start(SandboxOptions {
        page_latency: Duration::from_millis(100),
        enforce_mailbox_concurrency: false,
        ..SandboxOptions::default()
    });
    let agent = Setup::new().drop_in("app.yaml", &application(&sandbox, "app", "")).start();
    agent.await_state("app", "ok").await;
    let user = sandbox.user(1);
    // Its answer says whose mailbox it is.
    query(&agent, json!(user.upn), "=").await;
    sandbox.reset_stats();
    let at_once = (0..16).map(|number| {
        let name = if number % 2 == 0 { json!(user.upn) } else { json!(user.id) };
        query(&agent, name, "=")
    });
    futures_util::future::join_all(at_once).await;
    let most = sandbox.stats().max_concurrent_per_mailbox;
    assert!((2..=4).contains(&most), "{most} at once");
}

#[tokio::test]
async fn a_mailbox_named_twice_gives_its_rows_once() {
    let sandbox = tenant();
    let agent = Setup::new().drop_in("app.yaml", &application(&sandbox, "app", "")).start();
    let (user, other) = (sandbox.user(1), sandbox.user(2));
    let alone = query(&agent, json!(user.upn), "=").await.len();
    let others = query(&agent, json!(other.upn), "=").await.len();
    let both = query(&agent, json!([user.upn, user.id]), "in").await;
    assert_eq!(both.len(), alone);
    let all = query(&agent, json!([user.id, other.upn, user.upn, other.id.to_uppercase()]), "in").await;
    assert_eq!(all.len(), alone + others);
}
