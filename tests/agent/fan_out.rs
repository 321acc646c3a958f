//! Queries over several mailboxes, folders, calendars and records: side by side, with the place of each row, and never
//! looking complete when a part is missing.

use std::collections::BTreeSet;
use std::time::Duration;

use o365_sandbox::{Fault, FaultAction, FaultTarget, Sandbox, SandboxOptions};
use serde_json::{Value, json};

use crate::support::{Agent, Setup, application, delegated};

const PATH: &str = "/v1/connections/app/query";

fn tenant() -> (Sandbox, Agent) {
    let options = SandboxOptions {
        messages_per_mailbox: 60,
        messages_in_other_mailboxes: 7,
        users: 30,
        ..SandboxOptions::default()
    };
    let sandbox = Sandbox::start(options);
    let agent = Setup::new()
        .drop_in("app.yaml", &application(&sandbox, "app", ""))
        .drop_in("mail.yaml", &delegated(&sandbox, "mail", ""))
        .start();
    (sandbox, agent)
}

fn user_is(operator: &str, value: &Value) -> Value {
    json!({"field": "UserId", "operator": operator, "value": value})
}

fn column<'a>(rows: &'a Value, name: &str) -> Vec<&'a str> {
    rows.as_array().unwrap().iter().map(|row| row[name].as_str().unwrap()).collect()
}

#[tokio::test]
async fn every_mailbox_is_read_and_each_row_says_where_it_is_from() {
    let (sandbox, agent) = tenant();
    let request =
        json!({"object": "Messages", "fields": ["id", "UserId"], "conditions": [user_is("=", &json!("*"))]});
    let answer = agent.post(PATH, request).await.expect(200);
    let ids: BTreeSet<&str> = column(&answer["rows"], "id").into_iter().collect();
    assert_eq!(ids.len(), 60 + 28 * 7, "every message once");
    assert_eq!(answer["rows"].as_array().unwrap().len(), ids.len());
    let users: BTreeSet<&str> = column(&answer["rows"], "UserId").into_iter().collect();
    assert_eq!(users.len(), 29);
    assert!(users.contains(sandbox.first_user().id.as_str()));
    assert_eq!(answer["complete"], true, "a user without mailbox has nothing that could be missing");
    let note = answer["notes"][0].as_str().unwrap();
    assert!(note.starts_with("1 of the users found have no mailbox"), "{note}");
    assert!(note.contains(&sandbox.user_without_mailbox().id), "{note}");
}

#[tokio::test]
async fn a_list_of_mailboxes_is_read_side_by_side() {
    let (sandbox, agent) = tenant();
    let users: Vec<String> = (0..12).map(|number| sandbox.user(number).upn).collect();
    agent.post(PATH, json!({"object": "Users", "limit": 1})).await.expect(200);
    sandbox.set_page_latency(Duration::from_millis(300));
    let began = std::time::Instant::now();
    let mut named = users.clone();
    named.push(users[3].to_uppercase());
    let request = json!({"object": "Messages", "fields": ["subject", "UserId"],
        "conditions": [user_is("in", &json!(named)), {"field": "isRead", "operator": "=", "value": true}],
        "orderBy": [{"field": "receivedDateTime", "descending": true}], "limit": 15});
    let answer = agent.post(PATH, request).await.expect(200);
    // One after the other it would take 3.6 s.
    assert!(began.elapsed() < Duration::from_millis(2400), "{:?}", began.elapsed());
    assert_eq!(answer["rows"].as_array().unwrap().len(), 15);
    assert_eq!(answer["evaluated"]["order"], "agent");
    let sent: Vec<_> = sandbox.graph_requests().into_iter().map(|request| request.path_and_query).collect();
    let sent: Vec<_> = sent.iter().filter(|path| path.contains("/messages")).collect();
    assert_eq!(
        sent.len(),
        12,
        "a mailbox that is named twice is read once, and only its first rows: {sent:?}"
    );
    assert!(sent.iter().all(|path| path.contains("orderby=receivedDateTime%20desc")), "{sent:?}");
}

#[tokio::test]
async fn the_newest_of_many_mailboxes_are_those_of_a_full_sort() {
    let (sandbox, agent) = tenant();
    let users: Vec<String> = (0..6).map(|number| sandbox.user(number).upn).collect();
    let base = json!({"object": "Messages", "fields": ["id", "receivedDateTime", "subject"],
        "conditions": [user_is("in", &json!(users))]});
    let all = agent.post(PATH, base.clone()).await.expect(200);
    for field in ["receivedDateTime", "subject"] {
        let mut keys: Vec<String> =
            column(&all["rows"], field).iter().map(|text| text.to_lowercase()).collect();
        keys.sort();
        keys.reverse();
        let mut request = base.clone();
        request["orderBy"] = json!([{"field": field, "descending": true}]);
        request["limit"] = json!(9);
        request["offset"] = json!(4);
        let answer = agent.post(PATH, request).await.expect(200);
        let found: Vec<String> =
            column(&answer["rows"], field).iter().map(|text| text.to_lowercase()).collect();
        assert_eq!(found, keys[4..13], "{field}");
    }
}

#[tokio::test]
async fn a_mailbox_that_cannot_be_read_is_left_out_and_named() {
    let (sandbox, agent) = tenant();
    let (good, missing) = (sandbox.user(1).upn, "nobody@contoso.example");
    let request =
        |users: Value| json!({"object": "Messages", "fields": ["id"], "conditions": [user_is("in", &users)]});
    let answer = agent.post(PATH, request(json!([good, missing]))).await.expect(200);
    assert_eq!(answer["rows"].as_array().unwrap().len(), 7);
    assert_eq!(answer["complete"], false);
    let reason = answer["reason"].as_str().unwrap();
    assert!(reason.starts_with("1 of the places asked for could not be read"), "{reason}");
    assert!(reason.contains("nobody@contoso.example (404 "), "{reason}");

    let lines = agent
        .call(
            http::Method::POST,
            PATH,
            &[("accept", "application/x-ndjson")],
            Some(request(json!([good, missing]))),
        )
        .await;
    let last: Value = serde_json::from_str(lines.text().lines().last().unwrap()).unwrap();
    assert_eq!((&last["@complete"], last["@reason"].as_str().unwrap()), (&json!(false), reason));

    let none = agent.post(PATH, request(json!([missing, "nobody.else@contoso.example"]))).await;
    assert_eq!(none.status, 404, "nothing at all could be read: {}", none.text());
}

#[tokio::test]
async fn csv_says_in_its_trailers_what_is_missing() {
    use std::io::{Read, Write};
    let (sandbox, agent) = tenant();
    let users = json!([sandbox.user(1).upn, "nobody@contoso.example"]);
    let body =
        json!({"object": "Messages", "fields": ["id"], "conditions": [user_is("in", &users)]}).to_string();
    let host = agent.base.trim_start_matches("http://").to_owned();
    let head = format!(
        "POST {PATH} HTTP/1.1\r\nhost: {host}\r\nauthorization: Bearer {}\r\naccept: text/csv\r\nte: trailers\r\n\
         content-type: application/json\r\ncontent-length: {}\r\nconnection: close\r\n\r\n",
        agent.token,
        body.len()
    );
    let text = tokio::task::spawn_blocking(move || {
        let mut stream = std::net::TcpStream::connect(host).unwrap();
        stream.write_all(format!("{head}{body}").as_bytes()).unwrap();
        let mut text = String::new();
        stream.read_to_string(&mut text).unwrap();
        text
    })
    .await
    .unwrap();
    let (_, trailers) = text.rsplit_once("\r\n0\r\n").unwrap();
    assert!(text.starts_with("HTTP/1.1 200") && trailers.contains("x-complete: false\r\n"), "{text}");
    assert!(trailers.contains("x-reason: 1 of the places asked for could not be read"), "{trailers}");
}

#[tokio::test]
async fn a_mailbox_that_breaks_after_rows_went_out_breaks_the_answer() {
    let (sandbox, agent) = tenant();
    sandbox.inject(Fault {
        target: FaultTarget::Graph { method: None, path_contains: Some("skip".to_owned()) },
        times: u32::MAX,
        action: FaultAction::Status { status: 403, headers: Vec::new(), body: String::new() },
    });
    let users = json!([sandbox.first_user().upn, sandbox.user(1).upn]);
    let request = json!({"object": "Messages", "fields": ["id"], "conditions": [user_is("in", &users)]});
    let small_pages = application(&sandbox, "small", "      PageSize: 10\n");
    let agent_small = Setup::new().drop_in("small.yaml", &small_pages).start();
    let answer = crate::support::client()
        .post(format!("{}/v1/connections/small/query", agent_small.base))
        .header("authorization", format!("Bearer {}", agent_small.token))
        .header("content-type", "application/json")
        .body(request.to_string())
        .send()
        .await
        .unwrap();
    assert!(!answer.status().is_success() || answer.bytes().await.is_err(), "it must not look complete");
    drop(agent);
}

#[tokio::test]
async fn folders_and_records_are_read_side_by_side_too() {
    let (_sandbox, agent) = tenant();
    let mail = "/v1/connections/mail/query";
    let folders = agent
        .post(mail, json!({"object": "/me/mailFolders", "fields": ["id", "totalItemCount"]}))
        .await
        .expect(200);
    let folders: Vec<(String, u64)> = folders["rows"]
        .as_array()
        .unwrap()
        .iter()
        .map(|row| (row["id"].as_str().unwrap().to_owned(), row["totalItemCount"].as_u64().unwrap()))
        .filter(|(_, count)| *count > 0)
        .collect();
    assert!(folders.len() > 1);
    let ids: Vec<&str> = folders.iter().map(|(id, _)| id.as_str()).collect();
    let request = json!({"object": "Messages", "fields": ["id", "parentFolderId"],
        "conditions": [{"field": "ParentFolderId", "operator": "in", "value": ids}]});
    let answer = agent.post(mail, request).await.expect(200);
    let rows = answer["rows"].as_array().unwrap();
    assert_eq!(rows.len() as u64, folders.iter().map(|(_, count)| count).sum::<u64>());
    assert!(rows.iter().all(|row| ids.contains(&row["parentFolderId"].as_str().unwrap())));

    let wanted: Vec<&str> = rows.iter().take(25).map(|row| row["id"].as_str().unwrap()).collect();
    let mut asked = wanted.clone();
    let gone = rows[30]["id"].as_str().unwrap();
    let delete = json!({"object": "Messages", "records": [{"id": gone}]});
    agent.post("/v1/connections/mail/delete", delete).await.expect(200);
    asked.insert(3, gone);
    let request = json!({"object": "Messages", "fields": ["id"],
        "conditions": [{"field": "id", "operator": "in", "value": asked}]});
    let answer = agent.post(mail, request).await.expect(200);
    assert_eq!(
        column(&answer["rows"], "id"),
        wanted,
        "in the order of the ids; one that is not there is no row"
    );
    let sorted = json!({"object": "Messages", "fields": ["id", "subject"], "orderBy": [{"field": "subject"}],
        "conditions": [{"field": "id", "operator": "in", "value": asked}]});
    let answer = agent.post(mail, sorted).await.expect(200);
    let subjects: Vec<String> =
        column(&answer["rows"], "subject").iter().map(|text| text.to_lowercase()).collect();
    assert!(subjects.is_sorted() && subjects.len() == 25);
}

#[tokio::test]
async fn a_list_longer_than_a_filter_may_be_is_asked_for_in_pieces() {
    let (sandbox, agent) = tenant();
    let users: Vec<String> = (0..30).map(|number| sandbox.user(number).upn).collect();
    let mut asked = users.clone();
    asked.push(users[5].to_uppercase());
    asked.extend((0..70).map(|number| format!("nobody{number}@contoso.example")));
    sandbox.clear_requests();
    let request = json!({"object": "Users", "fields": ["userPrincipalName"],
        "conditions": [{"field": "userPrincipalName", "operator": "in", "value": asked}],
        "orderBy": [{"field": "userPrincipalName", "descending": true}]});
    let answer = agent.post(PATH, request).await.expect(200);
    let mut expected: Vec<String> = users.iter().map(|upn| upn.to_lowercase()).collect();
    expected.sort();
    expected.reverse();
    let found: Vec<String> =
        column(&answer["rows"], "userPrincipalName").iter().map(|upn| upn.to_lowercase()).collect();
    assert_eq!(found, expected);
    let sent = sandbox.graph_requests();
    assert!((7..=10).contains(&sent.len()), "{} requests", sent.len());
    assert!(sent.iter().all(|request| request.path_and_query.len() < 4096));
}

#[tokio::test]
async fn sorting_what_the_service_cannot_sort_is_bounded() {
    let options = SandboxOptions { messages_per_mailbox: 60_000, ..SandboxOptions::default() };
    let sandbox = Sandbox::start(options);
    let agent = Setup::new().drop_in("mail.yaml", &delegated(&sandbox, "mail", "")).start();
    agent.await_state("mail", "ok").await;
    let path = "/v1/connections/mail/query";
    let request = json!({"object": "Messages", "fields": ["id", "bodyPreview", "subject", "conversationId", "webLink"],
        "orderBy": [{"field": "bodyPreview"}]});
    let lines = [("accept", "application/x-ndjson")];
    let answer = agent.call(http::Method::POST, path, &lines, Some(request.clone())).await;
    assert_eq!(answer.status, 400, "{}", answer.text());
    assert_eq!(answer.json()["code"], "too_large_to_sort");
    assert!(answer.text().contains("Give a limit"), "{}", answer.text());
    let idle = agent.memory_kib("VmHWM");
    let mut limited = request;
    limited["limit"] = json!(50);
    let answer = agent.call(http::Method::POST, path, &lines, Some(limited)).await;
    assert_eq!((answer.status, answer.text().lines().count()), (200, 50));
    assert!(agent.memory_kib("VmHWM") < idle + 32 * 1024);
}

#[tokio::test]
async fn a_mailbox_that_cannot_be_read_stops_a_write_by_conditions_before_it_begins() {
    let (sandbox, agent) = tenant();
    let (good, missing) = (sandbox.user(1).upn, "nobody@contoso.example");
    let count = async || {
        let request =
            json!({"object": "Messages", "fields": ["id"], "conditions": [user_is("=", &json!(good))]});
        agent.post(PATH, request).await.expect(200)["rows"].as_array().unwrap().len()
    };
    // As many as there are, more, and fewer than `maxRows`: a part is missing each time.
    for (kind, most) in [("delete", 7), ("delete", 1000), ("update", 7), ("update", 8)] {
        let mut request = json!({"object": "Messages", "conditions": [user_is("in", &json!([good, missing]))], "maxRows": most});
        if kind == "update" {
            request["set"] = json!({"isRead": true});
        }
        for dry_run in [false, true] {
            request["dryRun"] = json!(dry_run);
            let refused = agent.post(&format!("/v1/connections/app/{kind}"), request.clone()).await;
            let problem = refused.json();
            assert_eq!(
                (refused.status, &problem["code"]),
                (400, &json!("incomplete_selection")),
                "{problem}"
            );
            let detail = problem["detail"].as_str().unwrap();
            assert!(detail.contains("nothing was written") && detail.contains(missing), "{detail}");
        }
    }
    let written: Vec<_> = sandbox
        .graph_requests()
        .into_iter()
        .map(|request| request.method)
        .filter(|method| method != "GET")
        .collect();
    assert!(written.is_empty(), "{written:?}");
    assert_eq!(count().await, 7);
    // Users found by listing who have no mailbox leave nothing out.
    let all = json!({"object": "Messages", "conditions": [user_is("=", &json!("*")), {"field": "subject", "operator": "=", "value": "none such"}]});
    let answer = agent.post("/v1/connections/app/delete", all).await.expect(200);
    assert_eq!(answer["matched"], 0);
}
