//! Queries whose rows are fetched later: the same rows in each form, progress, cancelling, failing, dying, and the bound of
//! a JSON answer.

use std::os::unix::fs::PermissionsExt;
use std::time::Duration;

use http::Method;
use o365_sandbox::{Fault, FaultAction, FaultTarget, Sandbox, SandboxOptions};
use serde_json::{Value, json};

use crate::support::{Agent, Answer, Setup, application, delegated, eventually};

const PATH: &str = "/v1/connections/app/query";
/// A stop does not wait for what never comes.
const CONF: &str = "[Limits]\nDrainSeconds=1\n";
const LATER: [(&str, &str); 1] = [("prefer", "respond-async")];

fn tenant(messages: usize) -> (Sandbox, Setup) {
    let sandbox = Sandbox::start(SandboxOptions {
        messages_per_mailbox: messages,
        messages_in_other_mailboxes: 5,
        users: 8,
        ..SandboxOptions::default()
    });
    let saved = "      PageSize: 20\n    activities:\n      Unread:\n        type: Query\n        object: Messages\n        fields: [id, subject]\n        conditions: [{ field: isRead, operator: \"=\", value: \"false\" }]\n";
    let setup = Setup::new()
        .drop_in("app.yaml", &application(&sandbox, "app", ""))
        .drop_in("mail.yaml", &delegated(&sandbox, "mail", saved));
    (sandbox, setup)
}

/// Begins a run for later and answers its path.
async fn begin(agent: &Agent, path: &str, body: Value) -> String {
    let accepted = agent.call(Method::POST, path, &LATER, Some(body)).await;
    let view = accepted.expect(202);
    let id = view["id"].as_str().unwrap();
    let headers = ["location", "preference-applied", "x-run-id"];
    assert_eq!(
        headers.map(|name| accepted.headers[name].to_str().unwrap()),
        [&format!("/v1/runs/{id}"), "respond-async", id]
    );
    assert_eq!((&view["kind"], &view["resultsKept"]), (&json!("query"), &json!(true)), "{view}");
    format!("/v1/runs/{id}")
}

async fn ended(agent: &Agent, run: &str) -> Value {
    let mut view = Value::Null;
    eventually("the run has ended", async || {
        view = agent.get(run).await.expect(200);
        !["running", "cancel_requested"].contains(&view["status"].as_str().unwrap())
    })
    .await;
    view
}

async fn results(agent: &Agent, run: &str, accept: &str) -> Answer {
    agent.call(Method::GET, &format!("{run}/results"), &[("accept", accept)], None).await
}

fn sorted(answer: &Answer) -> Vec<String> {
    assert_eq!(answer.status, 200, "{}", answer.text());
    let mut lines: Vec<String> = answer.text().lines().map(str::to_owned).collect();
    lines.sort();
    lines
}

/// A JSON answer with its rows in a settled order and without the run.
fn settled(answer: &Answer) -> Value {
    let mut json = answer.expect(200);
    json["rows"].as_array_mut().unwrap().sort_by_key(Value::to_string);
    json["runId"].take();
    json
}

#[tokio::test]
async fn rows_for_later_are_those_of_the_direct_answer_in_every_form_and_over_a_restart() {
    let (sandbox, setup) = tenant(30);
    let agent = Agent::spawn(setup.path(), "state", CONF, &[]);
    let user = |value: &str| json!([{"field": "UserId", "operator": "=", "value": value}]);
    let me = sandbox.first_user().upn;
    let requests = [
        json!({"object": "Messages", "fields": ["id", "UserId"], "conditions": user("*")}),
        json!({"object": "Messages", "fields": ["subject", "id", "from_emailAddress_address", "categories"],
            "conditions": user(&me), "orderBy": [{"field": "subject"}], "limit": 20}),
        json!({"object": format!("/users/{me}/messages")}),
        json!({"object": "Messages", "fields": ["id"], "conditions":
            [{"field": "UserId", "operator": "=", "value": me}, {"field": "subject", "operator": "=", "value": "none such"}]}),
    ];
    let mut runs = Vec::new();
    for request in &requests {
        let run = begin(&agent, PATH, request.clone()).await;
        let view = ended(&agent, &run).await;
        assert_eq!(view["status"], "success", "{request} {view}");
        let direct = agent.post(PATH, request.clone()).await;
        assert_eq!(settled(&results(&agent, &run, "application/json").await), settled(&direct), "{request}");
        assert_eq!(view["rows"].as_u64().unwrap() as usize, direct.json()["rows"].as_array().unwrap().len());
        for accept in ["application/x-ndjson", "text/csv"] {
            let direct = agent.call(Method::POST, PATH, &[("accept", accept)], Some(request.clone())).await;
            let kept = results(&agent, &run, accept).await;
            assert_eq!(sorted(&kept), sorted(&direct), "{accept} {request}");
            assert_eq!(kept.headers["content-type"], direct.headers["content-type"]);
            assert_eq!(kept.headers["x-complete"], "true");
        }
        runs.push((run.clone(), sorted(&results(&agent, &run, "application/x-ndjson").await)));
    }
    for accept in ["image/png", "application/vnd.apache.arrow.stream"] {
        let refused = results(&agent, &runs[0].0, accept).await;
        assert_eq!((refused.status, &refused.json()["code"]), (406, &json!("not_acceptable")), "{accept}");
    }
    let direct = agent.post(PATH, requests[3].clone()).await.expect(200);
    let none = agent.get(&format!("/v1/runs/{}/results", direct["runId"].as_str().unwrap())).await;
    assert_eq!((none.status, &none.json()["code"]), (404, &json!("no_results")));
    let wrong = agent.call(Method::POST, PATH, &LATER, Some(json!({"object": "Mesages"}))).await;
    assert_eq!(wrong.status, 400, "what is wrong with the request is said at once");

    drop(agent);
    let agent = Agent::spawn(setup.path(), "state", CONF, &[]);
    for (run, rows) in &runs {
        assert_eq!(sorted(&results(&agent, run, "application/x-ndjson").await), *rows, "after a restart");
    }
    for entry in std::fs::read_dir(setup.path().join("state/runs")).unwrap() {
        let entry = entry.unwrap();
        let mode = entry.metadata().unwrap().permissions().mode() & 0o7777;
        assert_eq!(mode, 0o600, "{:?}", entry.path());
    }
}

#[tokio::test]
async fn a_saved_query_runs_for_later_and_a_json_answer_of_it_is_bounded() {
    let (_sandbox, setup) = tenant(200);
    let agent = setup.conf("[Limits]\nAnswerRows=40\n").start();
    let path = "/v1/connections/mail/activities/Unread/run";
    let run = begin(&agent, path, json!({})).await;
    let view = ended(&agent, &run).await;
    let rows = view["rows"].as_u64().unwrap();
    assert!(rows > 40 && view["activity"] == "Unread", "{view}");
    let json = results(&agent, &run, "*/*").await;
    assert_eq!(json.json()["rows"].as_array().unwrap().len(), 40);
    assert_eq!(json.json()["complete"], false);
    let reason = json.json()["reason"].as_str().unwrap().to_owned();
    assert!(
        reason.contains("at most 40 rows (AnswerRows)") && reason.contains(&format!("all {rows} rows")),
        "{reason}"
    );
    assert_eq!(json.headers["x-complete"], "false");
    assert_eq!(sorted(&results(&agent, &run, "application/x-ndjson").await).len() as u64, rows);
}

#[tokio::test]
async fn a_mailbox_that_was_left_out_is_told_with_the_rows() {
    let (sandbox, setup) = tenant(10);
    let agent = setup.start();
    let users = json!([sandbox.user(1).upn, "nobody@contoso.example"]);
    let request = json!({"object": "Messages", "fields": ["id"],
        "conditions": [{"field": "UserId", "operator": "in", "value": users}]});
    let run = begin(&agent, PATH, request).await;
    assert_eq!(ended(&agent, &run).await["status"], "success_with_warning");
    let json = results(&agent, &run, "application/json").await.expect(200);
    assert_eq!((&json["complete"], json["rows"].as_array().unwrap().len()), (&json!(false), 5));
    assert!(json["reason"].as_str().unwrap().contains("nobody@contoso.example (404 "), "{json}");
    let lines = results(&agent, &run, "application/x-ndjson").await.text();
    let last: Value = serde_json::from_str(lines.lines().last().unwrap()).unwrap();
    assert_eq!((&last["@complete"], &last["@reason"]), (&json!(false), &json["reason"]));
    let csv = results(&agent, &run, "text/csv").await;
    assert!(csv.headers["x-reason"].to_str().unwrap().contains("nobody@contoso.example"));
}

/// How a run that does not read its rows to the end is stopped.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Stop {
    Cancel,
    Refusal,
    Kill,
    Terminate,
}

#[tokio::test]
async fn a_run_that_does_not_end_well_keeps_no_rows_and_says_why() {
    for (stop, status, sentence) in [
        (Stop::Cancel, "cancelled", "cancelled"),
        (Stop::Refusal, "error", "403"),
        (Stop::Kill, "interrupted", "The agent ended while this run was in progress."),
        (Stop::Terminate, "cancelled", "cancelled"),
    ] {
        let (sandbox, setup) = tenant(300);
        let mut agent = Agent::spawn(setup.path(), "state", CONF, &[]);
        // Some rows come, and the rest never does.
        let action = match stop {
            Stop::Refusal => FaultAction::Status { status: 403, headers: Vec::new(), body: String::new() },
            _ => FaultAction::Hang,
        };
        let target = FaultTarget::Graph { method: None, path_contains: Some("skip".to_owned()) };
        sandbox.inject(Fault { target, times: u32::MAX, action });
        let run = begin(&agent, "/v1/connections/mail/query", json!({"object": "Messages"})).await;
        if stop != Stop::Refusal {
            eventually("rows have come", async || agent.get(&run).await.expect(200)["rows"] != 0).await;
            let early = results(&agent, &run, "application/json").await;
            assert_eq!((early.status, &early.json()["code"]), (409, &json!("run_in_progress")), "{stop:?}");
        }
        match stop {
            Stop::Cancel => {
                agent.call(Method::DELETE, &run, &[], None).await.expect(202);
            }
            Stop::Refusal => {}
            Stop::Kill | Stop::Terminate => {
                agent.signal(if stop == Stop::Kill { "KILL" } else { "TERM" });
                agent.await_end();
                agent = Agent::spawn(setup.path(), "state", CONF, &[]);
            }
        }
        let view = ended(&agent, &run).await;
        assert_eq!(
            (&view["status"], &view["resultsKept"]),
            (&json!(status), &json!(false)),
            "{stop:?} {view}"
        );
        let refused = results(&agent, &run, "application/json").await;
        let detail = refused.json()["detail"].as_str().unwrap().to_owned();
        assert_eq!((refused.status, &refused.json()["code"]), (409, &json!("no_complete_rows")), "{detail}");
        assert!(detail.contains("so none are kept") && detail.contains(sentence), "{stop:?}: {detail}");
        let left: Vec<_> = std::fs::read_dir(setup.path().join("state/runs"))
            .unwrap()
            .map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned())
            .filter(|name| name.ends_with(".rows"))
            .collect();
        assert!(left.is_empty(), "{stop:?}: {left:?}");
    }
}

#[tokio::test]
async fn progress_is_shown_while_rows_are_read() {
    let (sandbox, setup) = tenant(300);
    let agent = setup.start();
    agent.post("/v1/connections/mail/query", json!({"object": "Messages", "limit": 1})).await.expect(200);
    sandbox.set_page_latency(Duration::from_millis(50));
    let body = json!({"object": "Messages", "fields": ["id"]});
    let run = begin(&agent, "/v1/connections/mail/query", body).await;
    let mut seen = Vec::new();
    eventually("the run has ended", async || {
        let view = agent.get(&run).await.expect(200);
        seen.push(view["rows"].as_u64().unwrap());
        view["status"] == "success"
    })
    .await;
    assert!(seen.is_sorted() && seen.iter().any(|rows| (1..300).contains(rows)), "{seen:?}");
    assert_eq!(seen.last(), Some(&300));
}
