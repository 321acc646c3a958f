//! Limits in time, faults in every nth request, and the record that proves what was done and when.
#![allow(clippy::unwrap_used)]

mod helper;

use helper::Client;
use o365_sandbox::{Fault, FaultAction, FaultTarget, RateLimit, Sandbox, SandboxOptions};
use serde_json::{Value, json};
use std::time::Duration;

fn contact(name: &str) -> String {
    json!({"givenName": name, "displayName": name}).to_string()
}

#[test]
fn rates_are_refused_with_an_honest_time() {
    let window = Duration::from_secs(2);
    let options =
        SandboxOptions { mailbox_rate: Some(RateLimit { requests: 3, window }), ..SandboxOptions::default() };
    let sandbox = Sandbox::start(options);
    let client = Client::adele(&sandbox);
    // The directory is no mailbox.
    assert!((0..5).all(|_| client.get("/me").status == 200));
    assert!((0..3).all(|_| client.get("/me/messages?$top=1").status == 200));
    let refused = client.get("/me/messages?$top=1");
    assert_eq!((refused.status, refused.code().as_str()), (429, "ApplicationThrottled"));
    let wait: u64 = refused.header("retry-after").parse().unwrap();
    assert!((1..=2).contains(&wait), "{wait}");
    std::thread::sleep(Duration::from_millis(150));
    assert_eq!(client.get("/me/messages?$top=1").status, 429);
    std::thread::sleep(Duration::from_secs(wait));
    assert_eq!(client.get("/me/messages?$top=1").status, 200, "after that time there is room");
    let early: Vec<bool> = sandbox.request_log().iter().map(|entry| entry.early_repeat).collect();
    assert_eq!(early.iter().filter(|early| **early).count(), 1, "{early:?}");
    assert_eq!(sandbox.stats().early_repeats, 1);
}

#[test]
fn batch_parts_count_one_by_one() {
    let sandbox = Sandbox::start(SandboxOptions::default());
    sandbox.set_rates(Some(RateLimit { requests: 5, window: Duration::from_secs(60) }), None);
    let client = Client::adele(&sandbox);
    let parts: Vec<Value> = (0..8)
        .map(|number| json!({"id": number.to_string(), "method": "POST", "url": "/me/contacts", "headers": {"Content-Type": "application/json"},
                             "body": {"givenName": format!("N{number}"), "displayName": format!("N{number}")}}))
        .collect();
    let body = client.send("POST", "/$batch", &[], &json!({"requests": parts}).to_string()).json();
    let statuses: Vec<u64> =
        body["responses"].as_array().unwrap().iter().map(|part| part["status"].as_u64().unwrap()).collect();
    assert_eq!(
        (
            statuses.iter().filter(|status| **status == 201).count(),
            statuses.iter().filter(|status| **status == 429).count()
        ),
        (5, 3)
    );
    let throttled = body["responses"].as_array().unwrap().iter().find(|part| part["status"] == 429).unwrap();
    assert!(throttled["headers"]["Retry-After"].is_string());
    assert_eq!(sandbox.created_names(), (5, 0));
    assert_eq!(sandbox.request_log().iter().filter(|entry| entry.in_batch).count(), 8);
}

#[test]
fn the_directory_counts_resource_units() {
    let window = Duration::from_secs(60);
    let options = SandboxOptions {
        directory_units: Some(RateLimit { requests: 6, window }),
        ..SandboxOptions::default()
    };
    let sandbox = Sandbox::start(options);
    let client = Client::adele(&sandbox);
    for (path, units) in
        [("/users", "2"), ("/users?$select=id", "1"), ("/users?$select=id&$top=5", "1"), ("/groups", "2")]
    {
        assert_eq!(client.get(path).header("x-ms-resource-unit"), units, "{path}");
    }
    let refused = client.get("/users");
    assert_eq!(
        (refused.status, refused.header("x-ms-throttle-information")),
        (429, "ResourceUnitLimitExceeded")
    );
    assert_eq!(client.get("/me/messages?$top=1").status, 200, "a mailbox is not the directory");
}

#[test]
fn faults_say_whether_the_request_was_carried_out() {
    let sandbox = Sandbox::start(SandboxOptions::default());
    let client = Client::adele(&sandbox);
    let fault = |action: FaultAction| {
        sandbox.inject(Fault {
            target: FaultTarget::Graph { method: Some("POST".into()), path_contains: None },
            times: 1,
            action,
        })
    };
    let cases = [
        (FaultAction::CutBeforeAnswer, None, 1, "cut_before_answer"),
        (FaultAction::DropBeforeExecuting, None, 0, "drop_before_executing"),
        (FaultAction::StatusAfterExecuting { status: 504 }, Some(504), 1, "status_after_executing_504"),
        (
            FaultAction::Status {
                status: 503,
                headers: vec![("retry-after".into(), "2".into())],
                body: String::new(),
            },
            Some(503),
            0,
            "status_503",
        ),
    ];
    for (action, status, made, kind) in cases {
        fault(action);
        let reply = client.try_send("POST", "/me/contacts", &[], &contact(kind));
        assert_eq!((reply.map(|reply| reply.status), sandbox.created(kind)), (status, made), "{kind}");
        assert_eq!(sandbox.stats().faults_by_kind.get(kind), Some(&1), "{kind}");
    }
    assert_eq!(client.send("POST", "/me/contacts", &[], &contact("drop_before_executing")).status, 201);
    assert_eq!(client.send("POST", "/me/contacts", &[], &contact("cut_before_answer")).status, 201);
    assert_eq!(sandbox.created("cut_before_answer"), 2, "a doubled row is found out");
    assert_eq!(sandbox.created_names(), (3, 1));
}

#[test]
fn one_request_in_so_many_is_hit() {
    let sandbox = Sandbox::start(SandboxOptions::default());
    let client = Client::adele(&sandbox);
    let target = FaultTarget::Graph { method: None, path_contains: Some("/contacts".into()) };
    sandbox.inject(Fault {
        target: FaultTarget::Every { nth: 3, target: Box::new(target) },
        times: u32::MAX,
        action: FaultAction::Status {
            status: 429,
            headers: vec![("retry-after".into(), "1".into())],
            body: String::new(),
        },
    });
    let statuses: Vec<u16> = (0..7).map(|_| client.get("/me/contacts?$top=1").status).collect();
    assert_eq!(statuses, [200, 200, 429, 200, 200, 429, 200]);
    assert_eq!(client.get("/me").status, 200);
}

#[test]
fn many_made_rows_are_all_there() {
    let sandbox = Sandbox::start(SandboxOptions { contacts_per_mailbox: 0, ..SandboxOptions::default() });
    let client = Client::adele(&sandbox);
    for round in 0..15 {
        let parts: Vec<Value> = (0..20)
            .map(|number| json!({"id": number.to_string(), "method": "POST", "url": "/me/contacts", "headers": {"Content-Type": "application/json"},
                                 "body": {"displayName": format!("Row {round}-{number}")}}))
            .collect();
        client.send("POST", "/$batch", &[], &json!({"requests": parts}).to_string());
    }
    let rows = client.all("/me/contacts?$top=100&$select=displayName", &[]);
    assert_eq!((rows.len(), sandbox.created_names()), (300, (300, 0)));
    assert!(rows.iter().all(|row| row["displayName"].as_str().unwrap().starts_with("Row ")));
}
