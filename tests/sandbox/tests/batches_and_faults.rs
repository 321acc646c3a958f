//! Batches, the limit of a mailbox, and things that go wrong on purpose.
#![allow(clippy::unwrap_used)]

mod helper;

use helper::{Client, send};
use o365_sandbox::{Fault, FaultAction, FaultTarget, Sandbox, SandboxOptions};
use serde_json::{Value, json};
use std::time::Duration;

fn part<'a>(reply: &'a Value, id: &str) -> &'a Value {
    reply["responses"].as_array().unwrap().iter().find(|part| part["id"] == id).unwrap()
}

fn batch(client: &Client, requests: Value) -> helper::Reply {
    client.send("POST", "/$batch", &[], &json!({"requests": requests}).to_string())
}

#[test]
fn a_batch_answers_each_part_on_its_own() {
    let sandbox = Sandbox::start(SandboxOptions::default());
    let client = Client::adele(&sandbox);
    sandbox.inject(Fault {
        target: FaultTarget::BatchPart { path_contains: Some("/contacts".into()) },
        times: 1,
        action: FaultAction::Status {
            status: 429,
            headers: vec![("retry-after".into(), "7".into())],
            body: String::new(),
        },
    });
    let json_type = json!({"Content-Type": "application/json"});
    let reply = batch(
        &client,
        json!([
            {"id": "1", "method": "GET", "url": "/me/messages?$top=2"},
            {"id": "2", "method": "GET", "url": "me/contacts"},
            {"id": "3", "method": "POST", "url": "/me/messages", "headers": json_type, "body": {"subject": "Hello"}},
            {"id": "4", "method": "POST", "url": "/me/messages", "body": {"subject": "Hello"}},
            {"id": "5", "method": "GET", "url": "/me/messages?$select=colour"},
            {"id": "6", "method": "GET", "url": "/users/$count", "headers": {"ConsistencyLevel": "eventual"}},
        ]),
    );
    assert_eq!(reply.status, 200, "{}", reply.body);
    let body = reply.json();
    let statuses: Vec<u64> =
        ["1", "2", "3", "4", "5", "6"].iter().map(|id| part(&body, id)["status"].as_u64().unwrap()).collect();
    assert_eq!(statuses, [200, 429, 201, 400, 400, 200]);
    assert_eq!(part(&body, "2")["headers"]["Retry-After"], "7");
    assert_eq!(part(&body, "1")["body"]["value"].as_array().unwrap().len(), 2);
    assert_ne!(body["responses"][0]["id"], "1", "the order is not the order of the requests");
    let stats = sandbox.stats();
    assert_eq!((stats.graph_requests, stats.batch_parts, stats.throttled), (1, 6, 1));
}

#[test]
fn dependent_parts_wait_or_fail() {
    let sandbox = Sandbox::start(SandboxOptions::default());
    let client = Client::adele(&sandbox);
    let body = batch(
        &client,
        json!([
            {"id": "a", "method": "GET", "url": "/me"},
            {"id": "b", "method": "GET", "url": "/me/messages/AAMkWrong=", "dependsOn": ["a"]},
            {"id": "c", "method": "GET", "url": "/me", "dependsOn": ["b"]},
        ]),
    )
    .json();
    let statuses: Vec<u64> =
        ["a", "b", "c"].iter().map(|id| part(&body, id)["status"].as_u64().unwrap()).collect();
    assert_eq!(statuses, [200, 400, 424]);
    let one = |id: &str| json!({"id": id, "method": "GET", "url": "/me"});
    let many: Vec<Value> = (0..21).map(|number| one(&number.to_string())).collect();
    let refused = [
        json!([]),
        json!([one("1"), one("1")]),
        json!(many),
        json!([{"id": "1", "method": "GET"}]),
        json!([{"id": "1", "method": "GET", "url": "http://elsewhere.example/"}]),
        json!([one("1"), {"id": "2", "method": "GET", "url": "/me", "dependsOn": ["9"]}]),
        json!([one("1"), one("2"), {"id": "3", "method": "GET", "url": "/me", "dependsOn": ["1"]},
               {"id": "4", "method": "GET", "url": "/me", "dependsOn": ["2"]}]),
    ];
    for requests in refused {
        assert_eq!(batch(&client, requests.clone()).status, 400, "{requests}");
    }
}

#[test]
fn a_mailbox_serves_four_at_once() {
    let sandbox = Sandbox::start(SandboxOptions {
        page_latency: Duration::from_millis(1_000),
        ..SandboxOptions::default()
    });
    let client = Client::adele(&sandbox);
    let replies: Vec<helper::Reply> = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..7).map(|_| scope.spawn(|| client.get("/me/messages?$top=1"))).collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    let throttled: Vec<_> = replies.iter().filter(|reply| reply.status == 429).collect();
    assert_eq!(throttled.len(), 3);
    assert!(throttled[0].body.contains("over its MailboxConcurrency limit"));
    assert_eq!(
        (throttled[0].code().as_str(), throttled[0].header("retry-after")),
        ("ApplicationThrottled", "1")
    );
    let stats = sandbox.stats();
    assert_eq!((stats.max_concurrent_per_mailbox, stats.throttled), (4, 3));
    sandbox.set_page_latency(Duration::from_millis(20));
    // A batch queues its parts instead of refusing them.
    let requests: Vec<Value> = (0..8)
        .map(|number| json!({"id": number.to_string(), "method": "GET", "url": "/me/events?$top=1"}))
        .collect();
    let body = batch(&client, json!(requests)).json();
    assert!(body["responses"].as_array().unwrap().iter().all(|part| part["status"] == 200));
    assert_eq!(sandbox.stats().max_concurrent_per_mailbox, 4);
}

#[test]
fn faults_do_what_they_say() {
    let sandbox = Sandbox::start(SandboxOptions::default());
    let client = Client::adele(&sandbox);
    sandbox.inject(Fault::graph(1, FaultAction::ClaimsChallenge));
    let reply = client.get("/me");
    let header = reply.header("www-authenticate");
    assert_eq!(reply.status, 401);
    assert!(header.contains("error=\"insufficient_claims\", claims=\"eyJ"), "{header}");
    sandbox.inject(Fault::graph(1, FaultAction::CutBeforeAnswer));
    assert!(client.try_send("POST", "/me/messages", &[], r#"{"subject":"Made"}"#).is_none());
    assert_eq!(client.get("/me/messages/$count").body, "201", "the message was made all the same");
    sandbox.inject(Fault::graph(1, FaultAction::CutMidBody(100)));
    assert!(client.try_send("GET", "/me/messages", &[], "").is_none());
    sandbox.inject(Fault::graph(1, FaultAction::Garbage));
    assert!(client.get("/me").body.starts_with("<!DOCTYPE html>"));
    sandbox.inject(Fault::graph(
        1,
        FaultAction::Redirect { location: "http://evil.example/".into(), status: 302 },
    ));
    assert_eq!(client.get("/me").header("location"), "http://evil.example/");
    sandbox.inject(Fault::graph(1, FaultAction::Delay(Duration::from_millis(1))));
    assert_eq!(client.get("/me").status, 200);
    let asked = client.send("GET", "/me", &[("x-sandbox-fault", "503;retry-after=2")], "");
    assert_eq!(
        (asked.status, asked.header("retry-after"), asked.code().as_str()),
        (503, "2", "ServiceUnavailable")
    );
    sandbox.inject(Fault::graph(u32::MAX, FaultAction::Hang));
    sandbox.clear_faults();
    assert_eq!(client.get("/me").status, 200);
    assert_eq!(sandbox.stats().faults_hit, 7);
}

#[test]
fn the_controls_work_over_http() {
    let sandbox = Sandbox::start(SandboxOptions::default());
    let admin = |method: &str, path: &str, body: &str| {
        send(method, &format!("{}/admin/{path}", sandbox.login_url()), &[], body).unwrap()
    };
    let facts = admin("GET", "facts", "").json();
    assert_eq!(facts["graph_url"], sandbox.graph_url());
    let user = facts["users"][0]["userPrincipalName"].as_str().unwrap();
    let tokens = admin("POST", "tokens", &json!({"user": user, "lifetime_seconds": 60}).to_string()).json();
    assert_eq!(tokens["expires_in"], 60);
    let client =
        Client { base: sandbox.graph_url(), access_token: tokens["access_token"].as_str().unwrap().into() };
    let fault =
        json!({"target": {"graph": {"method": "GET"}}, "times": 1, "action": {"status": {"status": 504}}});
    assert_eq!(admin("POST", "faults", &fault.to_string()).status, 204);
    assert_eq!(client.get("/me").status, 504);
    assert_eq!(client.get("/me").status, 200);
    assert_eq!(admin("GET", "stats", "").json()["graph_requests"], 2);
    assert_eq!(admin("POST", "revoke", &json!({"user": user}).to_string()).json()["revoked"], 1);
    assert_eq!(admin("POST", "revoke", "{}").status, 204);
    assert_eq!(client.get("/me").status, 401);
    assert_eq!(admin("POST", "faults", "{}").status, 400);
    assert_eq!(admin("GET", "nothing", "").status, 404);
}

#[test]
fn a_dropped_sandbox_is_gone_even_with_a_hanging_request() {
    let sandbox = Sandbox::start(SandboxOptions::default());
    let client = Client::adele(&sandbox);
    sandbox.inject(Fault::graph(1, FaultAction::Hang));
    let hanging = std::thread::spawn(move || client.try_send("GET", "/me", &[], ""));
    while sandbox.stats().graph_requests == 0 {
        std::thread::yield_now();
    }
    let address = sandbox.graph_origin().trim_start_matches("http://").to_owned();
    drop(sandbox);
    assert!(hanging.join().unwrap().is_none());
    assert!(std::net::TcpStream::connect(address).is_err());
}
