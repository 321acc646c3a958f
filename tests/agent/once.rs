//! Exactly once: writes whose answers are lost while the work is done later, by one agent or two. Waits are shortened to
//! a fortieth, and so are the service's delays; `O365_AGENT_FULL_WAITS=1` takes both in full.

use std::time::Duration;

use o365_sandbox::{Fault, FaultAction, FaultTarget, Sandbox, SandboxOptions};
use serde_json::{Value, json};

use crate::support::{Agent, Answer, Setup, client, delegated, tenant};
use crate::writes::send;

const EXECUTE: &str = "/v1/connections/mail/execute";
const CREATE: &str = "/v1/connections/mail/create";

/// What the agent's waits are divided by.
fn shortened() -> f64 {
    if std::env::var_os("O365_AGENT_FULL_WAITS").is_some() { 1.0 } else { 40.0 }
}

/// A time of the service, by the same measure.
fn time(seconds: f64) -> Duration {
    Duration::from_secs_f64(seconds / shortened())
}

fn percent() -> String {
    format!("{}", (100.0 / shortened()).round())
}

fn agent(sandbox: &Sandbox) -> Agent {
    Setup::new()
        .environment("O365_AGENT_TEST_LOOKS_PERCENT", &percent())
        .drop_in("m.yaml", &delegated(sandbox, "mail", ""))
        .start()
}

fn on_post(sandbox: &Sandbox, path: &str, action: FaultAction) {
    let target = FaultTarget::Graph { method: Some("POST".into()), path_contains: Some(path.to_owned()) };
    sandbox.inject(Fault { target, times: 1, action });
}

fn later(seconds: f64) -> FaultAction {
    FaultAction::StatusThenExecuting { status: 504, after: time(seconds) }
}

async fn keyed(agent: &Agent, path: &str, key: &str, body: &Value) -> Answer {
    agent.call(http::Method::POST, path, &[("idempotency-key", key)], Some(body.clone())).await
}

fn mail(sandbox: &Sandbox, subject: &str) -> Value {
    let to = sandbox.user(1).upn;
    json!({"procedure": "SendMail", "parameters": {"Subject": subject, "Content": "x", "ToRecipients": to}})
}

async fn graph(sandbox: &Sandbox, path: &str) -> Value {
    graph_with(sandbox, http::Method::GET, path, None).await
}

async fn graph_with(
    sandbox: &Sandbox,
    method: http::Method,
    path: &str,
    change: Option<(&str, Value)>,
) -> Value {
    let tokens = sandbox.issue_delegated_tokens(&sandbox.first_user().upn);
    let mut request = client()
        .request(method, format!("{}/{path}", sandbox.graph_url()))
        .header("authorization", format!("Bearer {}", tokens.access_token));
    if let Some((etag, body)) = change {
        request = request
            .header("if-match", etag)
            .header("content-type", "application/json")
            .body(body.to_string());
    }
    serde_json::from_slice(&Answer::read(request.send().await.unwrap()).await.body).unwrap_or_default()
}

/// The messages with that subject: `isDraft` of each.
async fn there(sandbox: &Sandbox, subject: &str) -> Vec<bool> {
    let path = format!("me/messages?$select=id,isDraft&$filter=subject%20eq%20'{subject}'");
    let rows = graph(sandbox, &path).await["value"].clone();
    rows.as_array().unwrap().iter().map(|row| row["isDraft"].as_bool().unwrap()).collect()
}

fn posts(sandbox: &Sandbox, end: &str) -> usize {
    let requests = sandbox.graph_requests().into_iter();
    requests.filter(|request| request.method == "POST" && request.path_and_query.ends_with(end)).count()
}

#[tokio::test]
async fn a_mail_that_was_accepted_without_an_answer_is_posted_once_however_late_it_goes_out() {
    for seconds in [0.5, 12.0, 30.0, 55.0] {
        let sandbox = tenant();
        // The search folder shows nothing of it in time.
        sandbox.set_search_lag(Duration::from_secs(3600));
        let agent = agent(&sandbox);
        on_post(&sandbox, "/send", later(seconds));
        let sent = keyed(&agent, EXECUTE, "k", &mail(&sandbox, "late")).await.expect(200);
        assert_eq!(sent["result"]["Status"], "Success", "{seconds} s");
        sandbox.set_search_lag(Duration::ZERO);
        assert_eq!(
            (posts(&sandbox, "/send"), there(&sandbox, "late").await),
            (1, vec![false]),
            "{seconds} s"
        );
    }
}

#[tokio::test]
async fn a_mail_that_may_go_out_later_is_unknown_and_the_next_call_looks_and_does_not_send() {
    let sandbox = tenant();
    let agent = agent(&sandbox);
    let call = mail(&sandbox, "unclear");
    on_post(&sandbox, "/send", FaultAction::DropBeforeExecuting);
    for _ in 0..2 {
        let problem = keyed(&agent, EXECUTE, "k", &call).await.expect(502);
        assert_eq!(problem["code"], "outcome_unknown", "{problem}");
        assert!(problem["detail"].as_str().unwrap().contains("lies in Drafts still"), "{problem}");
    }
    assert_eq!((posts(&sandbox, "/send"), there(&sandbox, "unclear").await), (1, vec![true]));
    // Whoever sends the draft after all has cleared it up.
    let draft = graph(&sandbox, "me/messages?$select=id&$filter=subject%20eq%20'unclear'").await;
    let by_id = json!({"procedure": "SendMail", "parameters": {"Id": draft["value"][0]["id"]}});
    agent.post(EXECUTE, by_id).await.expect(200);
    keyed(&agent, EXECUTE, "k", &call).await.expect(200);
    assert_eq!((posts(&sandbox, "/send"), there(&sandbox, "unclear").await), (2, vec![false]));
}

#[tokio::test]
async fn a_draft_whose_answer_was_lost_is_made_once() {
    for seconds in [0.5, 6.0, 30.0] {
        let sandbox = tenant();
        sandbox.set_search_lag(Duration::from_secs(3600));
        let agent = agent(&sandbox);
        on_post(&sandbox, "/messages", later(seconds));
        keyed(&agent, EXECUTE, "k", &mail(&sandbox, "draft")).await.expect(200);
        assert_eq!((sandbox.created("draft"), posts(&sandbox, "/send")), (1, 1), "{seconds} s");
    }
}

/// A record of each kind that can be marked, with the name that the sandbox counts it by.
fn kinds() -> Vec<(&'static str, &'static str, Value)> {
    let event = json!({"subject": "Late", "start_dateTime": "2027-03-01T09:00:00", "start_timeZone": "UTC",
        "end_dateTime": "2027-03-01T10:00:00", "end_timeZone": "UTC"});
    vec![
        ("Contacts", "/contacts", json!({"givenName": "Late", "displayName": "Late"})),
        ("Messages", "/messages", json!({"subject": "Late"})),
        ("Events", "/events", event),
        ("MailFolders", "/mailFolders", json!({"displayName": "Late"})),
    ]
}

#[tokio::test]
async fn a_record_that_shows_late_is_found_and_not_posted_again() {
    for (object, path, record) in kinds() {
        for seconds in [0.5, 6.0, 30.0] {
            let sandbox = tenant();
            sandbox.set_search_lag(Duration::from_secs(3600));
            let agent = agent(&sandbox);
            on_post(&sandbox, path, later(seconds));
            let body = json!({"object": object, "records": [record]});
            let made = keyed(&agent, CREATE, "k", &body).await.expect(200);
            let result = &made["results"][0];
            assert_eq!((&result["status"], sandbox.created("Late")), (&json!("created"), 1), "{made}");
            assert!(result["id"].is_string(), "{made}");
            assert_eq!(posts(&sandbox, path), 1, "{object} after {seconds} s");
        }
    }
}

#[tokio::test]
async fn a_record_that_does_not_show_is_unknown_and_the_next_call_clears_it_up() {
    let (object, path, record) = kinds().remove(0);
    let body = json!({"object": object, "records": [record]});
    // One that shows after the last look, and one that was never taken.
    for (action, made_again) in [(later(55.0), false), (FaultAction::DropBeforeExecuting, true)] {
        let sandbox = tenant();
        let agent = agent(&sandbox);
        on_post(&sandbox, path, action);
        let first = keyed(&agent, CREATE, "k", &body).await.expect(200);
        assert_eq!(first["results"][0]["status"], "unknown", "{first}");
        assert_eq!(posts(&sandbox, path), 1, "it may show still");
        let second = keyed(&agent, CREATE, "k", &body).await.expect(200);
        assert_eq!(second["results"][0]["status"], "created", "{second}");
        assert_eq!((sandbox.created("Late"), posts(&sandbox, path)), (1, 1 + usize::from(made_again)));
    }
}

#[tokio::test]
async fn an_event_that_the_service_knows_is_there_and_a_group_s_is_not_repeated() {
    let options = SandboxOptions { refuse_known_transactions: true, ..SandboxOptions::default() };
    let sandbox = Sandbox::start(options);
    let agent = agent(&sandbox);
    let (object, path, record) = kinds().remove(2);
    on_post(&sandbox, path, FaultAction::StatusAfterExecuting { status: 504 });
    let made = agent.post(CREATE, json!({"object": object, "records": [record]})).await.expect(200);
    assert_eq!((&made["results"][0]["status"], sandbox.created("Late")), (&json!("created"), 1), "{made}");
    assert_eq!(posts(&sandbox, path), 2, "the service recognised the repeat");

    let group = graph(&sandbox, "groups?$filter=displayName%20eq%20'Retail'&$select=id").await;
    let mut of_group = record.clone();
    of_group["subject"] = json!("Of a group");
    of_group["GroupId"] = group["value"][0]["id"].clone();
    on_post(&sandbox, path, FaultAction::StatusAfterExecuting { status: 504 });
    let made = agent.post(CREATE, json!({"object": object, "records": [of_group]})).await.expect(200);
    assert_eq!(made["results"][0]["status"], "unknown", "{made}");
    assert_eq!(posts(&sandbox, path), 3, "nothing documents that a group's calendar recognises a repeat");
}

#[tokio::test]
async fn a_key_that_a_sibling_used_finds_what_it_wrote() {
    let sandbox = tenant();
    let setup = Setup::new().drop_in("m.yaml", &delegated(&sandbox, "mail", ""));
    let conf = "[Logging]\nFormat=json\nLevel=info\n";
    let short = [("O365_AGENT_TEST_LOOKS_PERCENT".to_owned(), percent())];
    let agents = ["one", "two"].map(|state| Agent::spawn(setup.path(), state, conf, &short));
    for agent in &agents {
        agent.await_state("mail", "ok").await;
    }
    for agent in &agents {
        keyed(agent, EXECUTE, "k", &mail(&sandbox, "siblings")).await.expect(200);
        for (object, _, record) in kinds() {
            let body = json!({"object": object, "records": [record]});
            let made = keyed(agent, CREATE, &format!("k-{object}"), &body).await.expect(200);
            assert_eq!(made["results"][0]["status"], "created", "{made}");
            assert!(made["results"][0]["id"].is_string(), "{made}");
        }
    }
    assert_eq!((posts(&sandbox, "/send"), there(&sandbox, "siblings").await), (1, vec![false]));
    assert_eq!(sandbox.created("Late"), u32::try_from(kinds().len()).unwrap(), "one of each kind");
    // Another request under the key at one of them is still refused.
    let other = keyed(&agents[0], EXECUTE, "k", &mail(&sandbox, "other")).await;
    assert_eq!(other.status, 422);
}

#[tokio::test]
async fn what_a_keyed_update_sets_lies_in_no_journal() {
    const CANARY: &str = "c4n4ry-Xv7-of-set";
    let sandbox = tenant();
    let agent = agent(&sandbox);
    let conditions = json!([{"field": "displayName", "operator": "contains", "value": "a"}]);
    let request = json!({"object": "Contacts", "conditions": conditions, "set": {"personalNotes": CANARY}});
    let updated = keyed(&agent, "/v1/connections/mail/update", "k", &request).await.expect(200);
    let results = updated["results"].as_array().unwrap();
    assert!(!results.is_empty() && results.iter().all(|result| result["status"] == "updated"), "{updated}");
    let mut files = 0;
    let mut folders = vec![agent.root().join("state")];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
                continue;
            }
            let bytes = std::fs::read(&path).unwrap_or_default();
            files += usize::from(path.extension().is_some_and(|end| end == "journal"));
            let text = String::from_utf8_lossy(&bytes);
            assert!(!text.contains(CANARY), "{} holds what was set", path.display());
        }
    }
    assert_eq!(files, 1, "there is a journal to look into");
    let again = keyed(&agent, "/v1/connections/mail/update", "k", &request).await.expect(200);
    assert_eq!(again["results"], updated["results"]);
}

#[tokio::test]
async fn tasks_are_changed_by_conditions_and_keys_as_they_were_chosen() {
    let sandbox = tenant();
    let agent = agent(&sandbox);
    let group = graph(&sandbox, "groups?$filter=displayName%20eq%20'Retail'&$select=id").await;
    let group = group["value"][0]["id"].as_str().unwrap().to_owned();
    let plan = graph(&sandbox, &format!("groups/{group}/planner/plans")).await["value"][0]["id"].clone();
    let tasks = format!("planner/plans/{}/tasks", plan.as_str().unwrap());
    let all = graph(&sandbox, &tasks).await["value"].as_array().unwrap().clone();
    let count = all.len();
    assert!(count > 2, "{all:?}");
    let conditions = json!([{"field": "planId", "operator": "=", "value": plan}]);
    let update = "/v1/connections/mail/update";
    let statuses = |answer: &Value| -> Vec<String> {
        let results = answer["results"].as_array().unwrap().iter();
        results.map(|result| result["status"].as_str().unwrap().to_owned()).collect()
    };
    let request = json!({"object": "Tasks", "conditions": conditions, "set": {"percentComplete": 50}});
    let answer = agent.post(update, request).await.expect(200);
    assert_eq!(statuses(&answer), vec!["updated"; count], "{answer}");

    let id = all[0]["id"].as_str().unwrap();
    let request = json!({"object": "Tasks", "keys": [id], "set": {"title": "By key"}});
    let answer = agent.post(update, request.clone()).await.expect(200);
    assert_eq!(statuses(&answer), ["updated"], "{answer}");
    let path = format!("planner/tasks/{id}");
    assert_eq!(graph(&sandbox, &path).await["title"], "By key");
    let at_path = json!({"object": "/planner/tasks", "keys": [id], "set": {"title": "By path"}});
    let answer = agent.post(update, at_path).await.expect(200);
    assert_eq!(statuses(&answer), ["updated"], "{answer}");

    // Somebody changes one of them between the choice and the write.
    let target = FaultTarget::Graph { method: Some("PATCH".into()), path_contains: Some(path.clone()) };
    sandbox.inject(Fault { target, times: 1, action: FaultAction::Delay(Duration::from_secs(2)) });
    sandbox.clear_requests();
    let request = json!({"object": "Tasks", "keys": [id], "set": {"title": "Too late"}});
    let changing = async {
        crate::support::eventually("the change is on its way", async || {
            sandbox.graph_requests().iter().any(|request| request.method == "PATCH")
        })
        .await;
        let etag = graph(&sandbox, &path).await["@odata.etag"].as_str().unwrap().to_owned();
        graph_with(&sandbox, http::Method::PATCH, &path, Some((&etag, json!({"title": "Theirs"})))).await;
    };
    let (answer, ()) = tokio::join!(agent.post(update, request), changing);
    let answer = answer.expect(200);
    assert_eq!(answer["results"][0]["error"]["code"], "changed_meanwhile", "{answer}");
    assert_eq!(graph(&sandbox, &path).await["title"], "Theirs");

    let missing = json!({"object": "Tasks", "keys": ["AAAAAAAAAAAAAAAAAAAAAAAAAAAA"], "set": {"title": "x"}});
    let answer = agent.post(update, missing).await.expect(200);
    assert_eq!(statuses(&answer), ["failed"], "{answer}");
    let delete = json!({"object": "Tasks", "conditions": conditions});
    let answer = agent.post("/v1/connections/mail/delete", delete).await.expect(200);
    assert_eq!(statuses(&answer), vec!["deleted"; count], "{answer}");
    assert_eq!(graph(&sandbox, &tasks).await["value"], json!([]));
}

/// Records of one object for a bulk, as NDJSON, and the part of the path that its requests have.
fn bulk(object: &str, count: usize) -> (String, &'static str) {
    let line = |n: usize| match object {
        "Contacts" => json!({"givenName": format!("N{n}"), "displayName": format!("C {n}")}),
        "Messages" => json!({"subject": format!("M {n}")}),
        _ => {
            json!({"subject": format!("E {n}"), "start_dateTime": "2027-03-01T09:00:00", "start_timeZone": "UTC",
            "end_dateTime": "2027-03-01T10:00:00", "end_timeZone": "UTC"})
        }
    };
    let path = match object {
        "Contacts" => "/contacts",
        "Messages" => "/messages",
        _ => "/events",
    };
    ((0..count).map(|n| format!("{}\n", line(n))).collect(), path)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn keyed_writes_under_lost_answers_are_done_once_and_every_unknown_is_cleared_up() {
    let sandbox = Sandbox::start(SandboxOptions {
        contacts_per_mailbox: 0,
        events_per_mailbox: 0,
        messages_per_mailbox: 0,
        ..SandboxOptions::default()
    });
    sandbox.set_search_lag(time(20.0));
    let agent = Setup::new()
        .conf("[Logging]\nFormat=json\nLevel=info\n")
        .environment("O365_AGENT_TEST_LOOKS_PERCENT", &percent())
        .drop_in("m.yaml", &delegated(&sandbox, "mail", ""))
        .start();
    let count = 150;
    let mut unknown = 0;
    for object in ["Contacts", "Messages", "Events"] {
        let (body, path) = bulk(object, count);
        let part = |nth: u32, action: FaultAction| {
            let target = FaultTarget::BatchPart { path_contains: Some(path.into()) };
            sandbox.inject(Fault {
                target: FaultTarget::Every { nth, target: Box::new(target) },
                times: 3,
                action,
            });
        };
        for (nth, seconds) in [(7, 0.5), (11, 3.0), (13, 6.0), (17, 12.0), (19, 20.0), (23, 30.0), (29, 55.0)]
        {
            part(nth, later(seconds));
        }
        part(31, FaultAction::Status { status: 504, headers: Vec::new(), body: String::new() });
        let url =
            format!("/v1/connections/mail/create?object={object}&continueOnError=true&timeoutSeconds=900");
        let headers = [
            ("content-type", "application/x-ndjson"),
            ("accept", "application/x-ndjson"),
            ("idempotency-key", object),
        ];
        let first = send(&agent, &url, &headers, body.clone()).await;
        let status = |line: &str| serde_json::from_str::<Value>(line).unwrap()["status"].clone();
        unknown += first.text().lines().filter(|line| status(line) == "unknown").count();
        assert!(
            first.text().lines().all(|line| ["created", "unknown"].contains(&status(line).as_str().unwrap())),
            "{object}: {}",
            first.text()
        );
        let second = send(&agent, &url, &headers, body).await;
        let created = second.text().lines().filter(|line| status(line) == "created").count();
        assert_eq!(
            created,
            count,
            "{object}: every unknown is cleared up by the next call\n{}",
            second.text()
        );
    }
    assert!(unknown > 0, "no outcome was unknown, so nothing was cleared up");
    for (n, seconds) in [0.5, 6.0, 12.0, 30.0].into_iter().enumerate() {
        on_post(&sandbox, "/send", later(seconds));
        on_post(&sandbox, "me/messages", later(seconds));
        keyed(&agent, EXECUTE, &format!("mail {n}"), &mail(&sandbox, &format!("S {n}"))).await.expect(200);
        assert_eq!(posts(&sandbox, "/send"), n + 1);
    }
    assert_eq!(sandbox.created_names(), (3 * count + 4, 0), "every record once");
}
