//! Queries whose rows the service shows only a part of by itself: folders in folders, ranges of time, tasks of many users.
//! All of it comes, or the answer says what does not.

use o365_sandbox::{Sandbox, SandboxOptions};
use serde_json::{Value, json};

use crate::support::{Agent, Setup, application, delegated, tenant};

const MAIL: &str = "/v1/connections/mail/query";

fn with_depth(sandbox: &Sandbox, depth: &str) -> Agent {
    let more =
        if depth.is_empty() { String::new() } else { format!("      DirectoryRetrievalDepth: {depth}\n") };
    Setup::new().drop_in("mail.yaml", &delegated(sandbox, "mail", &more)).start()
}

/// Every file and folder of the drive, found by asking for one folder after the other.
async fn walked(agent: &Agent) -> Vec<(String, usize)> {
    let (mut found, mut waiting) = (Vec::new(), vec![("/me/drive/root/children".to_owned(), 0)]);
    while let Some((path, level)) = waiting.pop() {
        let answer = agent.post(MAIL, json!({"object": path})).await.expect(200);
        for row in answer["rows"].as_array().unwrap() {
            let id = row["id"].as_str().unwrap();
            if row.get("folder").is_some_and(|folder| !folder.is_null()) {
                waiting.push((format!("/me/drive/items/{id}/children"), level + 1));
            }
            found.push((id.to_owned(), level));
        }
    }
    found
}

fn sorted(rows: &Value) -> Vec<String> {
    let mut ids: Vec<String> =
        rows.as_array().unwrap().iter().map(|row| row["id"].as_str().unwrap().to_owned()).collect();
    ids.sort();
    ids
}

#[tokio::test]
async fn files_are_read_to_any_depth_and_a_cut_is_said() {
    let sandbox = tenant();
    let everything = with_depth(&sandbox, "-1");
    let all = walked(&everything).await;
    let deepest = all.iter().map(|(_, level)| *level).max().unwrap();
    assert!(
        deepest > 6 && all.len() > 250,
        "the drive proves nothing: {deepest} levels, {} items",
        all.len()
    );
    let upto = |depth: usize| {
        let mut ids: Vec<String> =
            all.iter().filter(|(_, level)| *level <= depth).map(|(id, _)| id.clone()).collect();
        ids.sort();
        ids
    };
    let request = json!({"object": "Files", "fields": ["id", "name"]});
    let answer = everything.post(MAIL, request.clone()).await.expect(200);
    assert_eq!(sorted(&answer["rows"]), upto(usize::MAX));
    assert_eq!((&answer["complete"], answer.get("reason")), (&json!(true), None));

    for (depth, levels) in [("", 5), ("1", 1), ("0", 0)] {
        let agent = with_depth(&sandbox, depth);
        let answer = agent.post(MAIL, request.clone()).await.expect(200);
        assert_eq!(sorted(&answer["rows"]), upto(levels), "DirectoryRetrievalDepth {depth}");
        assert_eq!(answer["complete"], false);
        let reason = answer["reason"].as_str().unwrap();
        assert!(reason.contains("DirectoryRetrievalDepth") && reason.contains("-1"), "{reason}");
    }
    let photos = everything
        .post(MAIL, json!({"object": "Files", "fields": ["id", "name"], "conditions": [{"field": "name", "operator": "=", "value": "Photos"}]}))
        .await
        .expect(200);
    let photos = photos["rows"][0]["id"].as_str().unwrap();
    let inside = json!({"object": "Files", "fields": ["id", "parentReference_id"],
        "conditions": [{"field": "ParentReference_Id", "operator": "=", "value": photos}]});
    let answer = everything.post(MAIL, inside).await.expect(200);
    let rows = answer["rows"].as_array().unwrap();
    assert!(rows.len() >= 250 && rows.iter().all(|row| row["parentReference_id"] == photos));
    assert_eq!(answer["complete"], true, "one folder was asked for");
    let largest = json!({"object": "Files", "fields": ["name", "size"], "orderBy": [{"field": "size", "descending": true}], "limit": 3});
    let answer = everything.post(MAIL, largest).await.expect(200);
    let sizes: Vec<u64> =
        answer["rows"].as_array().unwrap().iter().map(|row| row["size"].as_u64().unwrap()).collect();
    assert!(sizes.len() == 3 && sizes.is_sorted_by(|one, two| one >= two), "{sizes:?}");
}

#[tokio::test]
async fn mail_folders_come_with_those_inside_them() {
    let sandbox = tenant();
    let agent = with_depth(&sandbox, "");
    let top = agent.post(MAIL, json!({"object": "/me/mailFolders"})).await.expect(200);
    let children: u64 =
        top["rows"].as_array().unwrap().iter().map(|row| row["childFolderCount"].as_u64().unwrap_or(0)).sum();
    let answer =
        agent.post(MAIL, json!({"object": "MailFolders", "fields": ["id", "displayName"]})).await.expect(200);
    assert!(
        answer["rows"].as_array().unwrap().len() as u64
            >= top["rows"].as_array().unwrap().len() as u64 + children
    );
    assert_eq!(answer["complete"], true);
}

#[tokio::test]
async fn a_calendar_view_shows_the_range_that_the_conditions_give_and_says_which() {
    let sandbox = Sandbox::start(SandboxOptions { events_per_mailbox: 80, ..SandboxOptions::default() });
    let agent = with_depth(&sandbox, "");
    let events = agent
        .post(MAIL, json!({"object": "Events", "fields": ["id", "start_dateTime", "end_dateTime", "type"]}))
        .await
        .expect(200);
    let mut starts: Vec<&str> = events["rows"]
        .as_array()
        .unwrap()
        .iter()
        .map(|row| row["start_dateTime"].as_str().unwrap())
        .collect();
    starts.sort_unstable();
    let (from, to) = (&starts[starts.len() / 4][..10], &starts[starts.len() / 2][..10]);
    let request = json!({"object": "CalendarView", "fields": ["id", "start_dateTime", "end_dateTime"], "conditions": [
        {"field": "Start_DateTime", "operator": ">=", "value": from},
        {"field": "End_DateTime", "operator": "<=", "value": to}]});
    sandbox.clear_requests();
    let answer = agent.post(MAIL, request).await.expect(200);
    let sent = sandbox.graph_requests().pop().unwrap().path_and_query;
    assert!(
        sent.contains(&format!("calendarView?startDateTime={from}T00:00:00Z&endDateTime={to}T00:00:00Z")),
        "{sent}"
    );
    let rows = answer["rows"].as_array().unwrap();
    assert!(!rows.is_empty());
    for row in rows {
        assert!(
            row["end_dateTime"].as_str().unwrap() >= from && row["start_dateTime"].as_str().unwrap() <= to,
            "{row}"
        );
    }
    let note = answer["notes"].to_string();
    assert!(note.contains("Only events that touch the time from") && !note.contains("30 days"), "{note}");
    let answer = agent.post(MAIL, json!({"object": "CalendarView", "fields": ["id"]})).await.expect(200);
    assert!(answer["notes"].to_string().contains("without them it is 30 days"), "{}", answer["notes"]);
    let csv = agent
        .call(
            http::Method::POST,
            MAIL,
            &[("accept", "text/csv")],
            Some(json!({"object": "CalendarView", "fields": ["id"]})),
        )
        .await;
    assert!(csv.headers["x-notes"].to_str().unwrap().contains("30 days"));
}

#[tokio::test]
async fn a_missing_condition_is_named_with_an_example() {
    let sandbox = tenant();
    let agent = with_depth(&sandbox, "");
    for (object, column) in [
        ("EventOccurrences", "Events_id"),
        ("MessageAttachments", "Messages_id"),
        ("EventAttachments", "Events_id"),
        ("Conversations", "GroupId"),
    ] {
        let answer = agent.post(MAIL, json!({"object": object})).await;
        assert_eq!(answer.status, 400, "{}", answer.text());
        let detail = answer.json()["detail"].as_str().unwrap().to_owned();
        assert!(detail.contains(&format!("{{\"field\":\"{column}\",\"operator\":\"=\"")), "{detail}");
    }
}

#[tokio::test]
async fn tasks_of_an_application_are_those_of_every_user() {
    let sandbox = Sandbox::start(SandboxOptions { users: 28, ..SandboxOptions::default() });
    let agent = Setup::new().drop_in("app.yaml", &application(&sandbox, "app", "")).start();
    let path = "/v1/connections/app/query";
    let mut expected = 0;
    for number in 0..4 {
        let request = json!({"object": "Tasks", "fields": ["id"],
            "conditions": [{"field": "UserId", "operator": "=", "value": sandbox.user(number).id}]});
        expected += agent.post(path, request).await.expect(200)["rows"].as_array().unwrap().len();
    }
    assert!(expected > 0);
    let answer = agent.post(path, json!({"object": "Tasks", "fields": ["id", "UserId"]})).await.expect(200);
    assert_eq!(answer["rows"].as_array().unwrap().len(), expected, "{}", answer["reason"]);
    assert!(answer["notes"].to_string().contains("tasks of every user are read"), "{}", answer["notes"]);
}
