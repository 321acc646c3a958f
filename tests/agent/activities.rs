//! The main job: an activity asked for over the control port, done at Graph, answered exactly.

use serde_json::{Value, json};

use crate::support::{Agent, Setup, application, delegated, tenant};

fn both(sandbox: &o365_sandbox::Sandbox) -> Agent {
    Setup::new()
        .drop_in("mail.yaml", &delegated(sandbox, "mail", ""))
        .drop_in("app.yaml", &application(sandbox, "app", ""))
        .start()
}

#[tokio::test]
async fn a_query_answers_the_columns_asked_for_in_their_order() {
    let sandbox = tenant();
    let agent = both(&sandbox);
    let request =
        json!({"object": "messages", "fields": ["subject", "id", "from_emailAddress_address"], "limit": 7});
    let answer = agent.post("/v1/connections/mail/query", request).await.expect(200);
    let names: Vec<_> =
        answer["columns"].as_array().unwrap().iter().map(|column| column["name"].clone()).collect();
    assert_eq!(names, ["subject", "id", "from_emailAddress_address"]);
    let rows = answer["rows"].as_array().unwrap();
    assert_eq!(rows.len(), 7);
    assert!(
        rows.iter().all(|row| row["from_emailAddress_address"].as_str().unwrap().contains('@')),
        "{rows:?}"
    );
    assert_eq!(answer["complete"], true);
    assert!(answer["runId"].is_string());
    let sent = sandbox.graph_requests().pop().unwrap();
    assert!(
        sent.path_and_query.contains("select=subject,id,from")
            || sent.path_and_query.contains("select=subject%2Cid%2Cfrom"),
        "{}",
        sent.path_and_query
    );
}

#[tokio::test]
async fn every_row_of_every_page_arrives_once_in_each_encoding() {
    let options = o365_sandbox::SandboxOptions { messages_per_mailbox: 2_345, ..Default::default() };
    let sandbox = o365_sandbox::Sandbox::start(options);
    let agent = both(&sandbox);
    let request = json!({"object": "Messages", "fields": ["id", "subject"]});
    let path = "/v1/connections/mail/query";

    let json = agent.post(path, request.clone()).await.expect(200);
    let mut ids: Vec<_> =
        json["rows"].as_array().unwrap().iter().map(|row| row["id"].as_str().unwrap().to_owned()).collect();
    assert_eq!(ids.len(), 2_345);

    let lines = agent
        .call(http::Method::POST, path, &[("accept", "application/x-ndjson")], Some(request.clone()))
        .await;
    let streamed: Vec<String> = lines
        .text()
        .lines()
        .map(|line| serde_json::from_str::<Value>(line).unwrap()["id"].as_str().unwrap().to_owned())
        .collect();
    assert_eq!(streamed, ids);

    let csv = agent.call(http::Method::POST, path, &[("accept", "text/csv")], Some(request)).await;
    let mut reader = csv::Reader::from_reader(csv.body.as_slice());
    assert_eq!(reader.headers().unwrap(), vec!["id", "subject"]);
    assert_eq!(reader.records().map(|record| record.unwrap()[0].to_owned()).collect::<Vec<_>>(), ids);

    ids.sort();
    ids.dedup();
    assert_eq!(ids.len(), 2_345, "no row twice");
}

#[tokio::test]
async fn every_operator_gives_the_rows_that_satisfy_it() {
    let sandbox = tenant();
    let agent = both(&sandbox);
    let fields = json!([
        "id",
        "subject",
        "isRead",
        "receivedDateTime",
        "importance",
        "hasAttachments",
        "from_emailAddress_address"
    ]);
    let all = agent
        .post("/v1/connections/mail/query", json!({"object": "Messages", "fields": fields}))
        .await
        .expect(200);
    let all = all["rows"].as_array().unwrap().clone();
    let middle = all[all.len() / 2].clone();
    let (subject, sender) =
        (middle["subject"].as_str().unwrap(), middle["from_emailAddress_address"].as_str().unwrap());
    let (date, word) = (middle["receivedDateTime"].as_str().unwrap(), subject.split(' ').next().unwrap());
    let text = |row: &Value, column: &str| row[column].as_str().unwrap_or_default().to_owned();

    type Expectation<'a> = Box<dyn Fn(&Value) -> bool + 'a>;
    let rows: Vec<(&str, &str, Value, Expectation<'_>)> = vec![
        ("isRead", "=", json!(true), Box::new(|row| row["isRead"] == true)),
        ("isRead", "!=", json!(true), Box::new(|row| row["isRead"] == false)),
        ("subject", "=", json!(subject), Box::new(|row| row["subject"] == subject)),
        ("receivedDateTime", ">", json!(date), Box::new(|row| text(row, "receivedDateTime").as_str() > date)),
        (
            "receivedDateTime",
            ">=",
            json!(date),
            Box::new(|row| text(row, "receivedDateTime").as_str() >= date),
        ),
        ("receivedDateTime", "<", json!(date), Box::new(|row| text(row, "receivedDateTime").as_str() < date)),
        (
            "receivedDateTime",
            "<=",
            json!(date),
            Box::new(|row| text(row, "receivedDateTime").as_str() <= date),
        ),
        ("subject", "starts-with", json!(word), Box::new(|row| text(row, "subject").starts_with(word))),
        ("subject", "contains", json!(word), Box::new(|row| text(row, "subject").contains(word))),
        (
            "subject",
            "like",
            json!(format!("{word}%")),
            Box::new(|row| text(row, "subject").starts_with(word)),
        ),
        ("importance", "in", json!(["high", "low"]), Box::new(|row| row["importance"] != "normal")),
        (
            "from_emailAddress_address",
            "=",
            json!(sender),
            Box::new(|row| row["from_emailAddress_address"] == sender),
        ),
        ("subject", "is not null", Value::Null, Box::new(|row| !row["subject"].is_null())),
    ];
    for (field, operator, value, expected) in rows {
        let request = json!({"object": "Messages", "fields": fields,
            "conditions": [{"field": field, "operator": operator, "value": value}]});
        let answer = agent.post("/v1/connections/mail/query", request).await.expect(200);
        let wanted: Vec<_> = all.iter().filter(|row| expected(row)).collect();
        assert!(!wanted.is_empty(), "{field} {operator}: the table row proves nothing");
        assert_eq!(
            answer["rows"].as_array().unwrap().iter().collect::<Vec<_>>(),
            wanted,
            "{field} {operator} {value}"
        );
    }
}

#[tokio::test]
async fn order_limit_and_offset_cut_out_the_right_rows() {
    let sandbox = tenant();
    let agent = both(&sandbox);
    let base = json!({"object": "Messages", "fields": ["id", "subject", "receivedDateTime"],
        "orderBy": [{"field": "receivedDateTime"}]});
    let all = agent.post("/v1/connections/mail/query", base.clone()).await.expect(200);
    let all = all["rows"].as_array().unwrap().clone();
    assert!(
        all.windows(2)
            .all(|pair| pair[0]["receivedDateTime"].as_str() <= pair[1]["receivedDateTime"].as_str())
    );
    for (limit, offset) in [(5, 0), (5, 3), (1000, 190), (3, 5000), (0, 0)] {
        let mut request = base.clone();
        request["limit"] = json!(limit);
        request["offset"] = json!(offset);
        let answer = agent.post("/v1/connections/mail/query", request).await.expect(200);
        let expected: Vec<_> = all.iter().skip(offset).take(limit).cloned().collect();
        assert_eq!(answer["rows"].as_array().unwrap(), &expected, "limit {limit} offset {offset}");
    }
}

#[tokio::test]
async fn a_record_is_created_read_changed_and_deleted_in_each_object() {
    let sandbox = tenant();
    let agent = both(&sandbox);
    let user = sandbox.first_user().id;
    let event = json!({"subject": "Review", "start_dateTime": "2027-03-01T09:00:00", "start_timeZone": "UTC",
        "end_dateTime": "2027-03-01T10:00:00", "end_timeZone": "UTC"});
    let person = json!({"accountEnabled": true, "displayName": "Nova Quist", "mailNickname": "nova",
        "userPrincipalName": format!("nova@{}", sandbox.tenant_domain()),
        "passwordProfile_forceChangePasswordNextSignIn": true, "passwordProfile_password": "xWwvJ]6NMw+bWH-d"});
    let rows = [
        (
            "mail",
            "Messages",
            json!({"subject": "Draft", "body_content": "Hello", "body_contentType": "text"}),
            "subject",
            json!("Changed"),
        ),
        ("mail", "Events", event, "subject", json!("Moved")),
        ("mail", "Contacts", json!({"givenName": "Ada", "surname": "Byron"}), "givenName", json!("Augusta")),
        ("mail", "Calendars", json!({"name": "Team"}), "name", json!("Squad")),
        ("app", "Users", person, "displayName", json!("Nova Q.")),
        (
            "app",
            "Contacts",
            json!({"givenName": "Ida", "surname": "Rhodes", "UserId": user}),
            "surname",
            json!("R."),
        ),
    ];
    for (connection, object, record, column, changed) in rows {
        let by_user = connection == "app" && object != "Users";
        let call = |activity: &str| format!("/v1/connections/{connection}/{activity}");
        let created =
            agent.post(&call("create"), json!({"object": object, "records": [record]})).await.expect(200);
        assert_eq!(created["results"][0]["status"], "created", "{object}: {created}");
        let id = created["results"][0]["id"].as_str().unwrap().to_owned();

        let mut key = json!({"id": id});
        let mut conditions = vec![json!({"field": "id", "operator": "=", "value": id})];
        if by_user {
            key["UserId"] = json!(user);
            conditions.push(json!({"field": "UserId", "operator": "=", "value": user}));
        }
        let mut change = key.clone();
        change[column] = changed.clone();
        let updated =
            agent.post(&call("update"), json!({"object": object, "records": [change]})).await.expect(200);
        assert_eq!(updated["results"][0]["status"], "updated", "{object}: {updated}");

        let query = json!({"object": object, "fields": ["id", column], "conditions": conditions});
        let read = agent.post(&call("query"), query.clone()).await.expect(200);
        assert_eq!(read["rows"], json!([{"id": id, column: changed}]), "{object}");

        let deleted =
            agent.post(&call("delete"), json!({"object": object, "records": [key]})).await.expect(200);
        assert_eq!(deleted["results"][0]["status"], "deleted", "{object}: {deleted}");
        let gone = agent.post(&call("query"), query).await;
        assert!(gone.status == 404 || gone.expect(200)["rows"] == json!([]), "{object}: {}", gone.text());
    }
}

#[tokio::test]
async fn many_records_go_by_batch_and_keep_their_order() {
    let sandbox = tenant();
    let agent = both(&sandbox);
    let mut records: Vec<Value> =
        (0..45).map(|n| json!({"givenName": format!("N{n}"), "surname": "Batch"})).collect();
    records[17] = json!({"givenName": "X", "surname": "Y", "birthday": "not a date"});
    let answer = agent
        .post(
            "/v1/connections/mail/create",
            json!({"object": "Contacts", "records": records, "continueOnError": true}),
        )
        .await
        .expect(200);
    let results = answer["results"].as_array().unwrap();
    assert_eq!(results.len(), 45);
    for (index, result) in results.iter().enumerate() {
        assert_eq!(result["index"], index);
        assert_eq!(result["status"], if index == 17 { "failed" } else { "created" }, "{result}");
    }
    assert!(results[17]["error"]["message"].as_str().unwrap().contains("birthday"), "{}", results[17]);
    let stats = sandbox.stats();
    assert!(stats.graph_requests < 20, "45 records took {} requests", stats.graph_requests);
}

#[tokio::test]
async fn a_failed_record_stops_the_rest_unless_told_otherwise() {
    let sandbox = tenant();
    let agent = both(&sandbox);
    let records = json!([{"id": "AAMk-none="}, {"id": "AAMk-none2="}]);
    let answer = agent
        .post("/v1/connections/mail/delete", json!({"object": "Messages", "records": records}))
        .await
        .expect(200);
    assert_eq!(answer["results"][0]["status"], "failed");
    assert_eq!(answer["results"][0]["error"]["graph"]["code"], "ErrorInvalidIdMalformed", "{answer}");
    assert_eq!(answer["results"][1]["status"], "skipped");
}

#[tokio::test]
async fn procedures_send_and_move_mail_and_call_bound_actions() {
    let sandbox = tenant();
    let agent = both(&sandbox);
    let path = "/v1/connections/mail/execute";
    let send = json!({"procedure": "sendmail", "parameters": {"Subject": "Hi", "Content": "There",
        "ToRecipients": "a@contoso.onmicrosoft.com; b@contoso.onmicrosoft.com"}});
    agent.post(path, send).await.expect(200);
    let sent = sandbox.graph_requests().pop().unwrap();
    assert!(sent.path_and_query.ends_with("/me/sendMail"), "{}", sent.path_and_query);

    let query = json!({"object": "Messages", "fields": ["id"], "limit": 1});
    let id = agent.post("/v1/connections/mail/query", query).await.expect(200)["rows"][0]["id"]
        .as_str()
        .unwrap()
        .to_owned();
    let moved = agent
        .post(path, json!({"procedure": "MoveMail", "parameters": {"Id": id, "DestinationId": "archive"}}))
        .await
        .expect(200);
    let new_id = moved["result"]["id"].as_str().or(moved["result"]["Id"].as_str()).unwrap().to_owned();
    assert_ne!(new_id, id);

    let reply = json!({"procedure": "forward", "target": format!("/me/messages/{new_id}"),
        "parameters": {"comment": "See below", "toRecipients": [{"emailAddress": {"address": "c@contoso.onmicrosoft.com"}}]}});
    agent.post(path, reply).await.expect(200);
}

#[tokio::test]
async fn any_graph_path_is_an_object() {
    let sandbox = tenant();
    let agent = both(&sandbox);
    let answer =
        agent.post("/v1/connections/mail/query", json!({"object": "/me/mailFolders"})).await.expect(200);
    assert!(answer["rows"].as_array().unwrap().iter().any(|row| row["displayName"] == "Inbox"), "{answer}");
    let me = agent
        .post("/v1/connections/mail/query", json!({"object": "/me", "fields": ["userPrincipalName"]}))
        .await
        .expect(200);
    assert_eq!(me["rows"], json!([{"userPrincipalName": sandbox.first_user().upn}]));
}

#[tokio::test]
async fn an_application_must_say_whose_mailbox() {
    let sandbox = tenant();
    let agent = both(&sandbox);
    let problem = agent.post("/v1/connections/app/query", json!({"object": "Messages"})).await;
    assert_eq!(problem.status, 400);
    assert!(problem.json()["detail"].as_str().unwrap().contains("UserId"), "{}", problem.text());
    let request = json!({"object": "Messages", "fields": ["id"], "limit": 2,
        "conditions": [{"field": "UserId", "operator": "=", "value": sandbox.user(1).upn}]});
    assert_eq!(
        agent.post("/v1/connections/app/query", request).await.expect(200)["rows"].as_array().unwrap().len(),
        2
    );
}

#[tokio::test]
async fn directory_queries_carry_the_advanced_headers_they_need() {
    let sandbox = tenant();
    let agent = both(&sandbox);
    for (operator, value) in
        [("!=", "Adele Vance"), ("starts-with", "A"), ("contains", "de"), ("like", "%e"), ("like", "A%")]
    {
        let request = json!({"object": "Users", "fields": ["id", "displayName"], "orderBy": [{"field": "displayName"}],
            "conditions": [{"field": "displayName", "operator": operator, "value": value}]});
        let answer = agent.post("/v1/connections/app/query", request).await.expect(200);
        assert!(!answer["rows"].as_array().unwrap().is_empty(), "{operator} {value}");
    }
}

#[tokio::test]
async fn a_capped_answer_says_that_it_is_capped() {
    let sandbox = tenant();
    let agent = Setup::new().drop_in("m.yaml", &delegated(&sandbox, "mail", "      MaxRows: 5\n")).start();
    let request = json!({"object": "Messages", "fields": ["id"]});
    let answer = agent.post("/v1/connections/mail/query", request.clone()).await.expect(200);
    assert_eq!(answer["rows"].as_array().unwrap().len(), 5);
    assert_eq!(answer["complete"], false);
    assert!(answer["reason"].as_str().unwrap().contains("MaxRows"), "{answer}");
}

#[tokio::test]
async fn saved_activities_run_by_name_with_variables() {
    let sandbox = tenant();
    let saved = "    activities:\n      By subject:\n        type: Query\n        object: Messages\n        fields: [id, subject]\n        conditions: [{ field: subject, operator: starts-with, value: \"[prefix{Zz}]\" }]\n        limit: 3\n";
    let agent = Setup::new().drop_in("m.yaml", &delegated(&sandbox, "mail", saved)).start();
    let all = agent
        .post("/v1/connections/mail/query", json!({"object": "Messages", "fields": ["subject"], "limit": 1}))
        .await
        .expect(200);
    let prefix = &all["rows"][0]["subject"].as_str().unwrap()[..4];
    let run = "/v1/connections/mail/activities/By%20subject/run";
    let answer = agent.post(run, json!({"variables": {"prefix": prefix}})).await.expect(200);
    let rows = answer["rows"].as_array().unwrap();
    assert!(
        !rows.is_empty() && rows.iter().all(|row| row["subject"].as_str().unwrap().starts_with(prefix)),
        "{answer}"
    );
    let default = agent.call(http::Method::POST, run, &[], None).await.expect(200);
    assert_eq!(default["rows"], json!([]), "the default in braces");
    let listed = agent.get("/v1/connections/mail/activities").await.expect(200);
    assert_eq!(listed["activities"][0]["name"], "By subject");
    assert_eq!(
        agent.call(http::Method::POST, "/v1/connections/mail/activities/Nope/run", &[], None).await.status,
        404
    );
}

#[tokio::test]
async fn wrong_requests_are_answered_exactly() {
    let sandbox = tenant();
    let agent = both(&sandbox);
    let rows = [
        ("mail/query", json!({"object": "Mesages"}), 400, "Messages"),
        ("mail/query", json!({"object": "Messages", "fields": ["subjet"]}), 400, "subject"),
        (
            "mail/query",
            json!({"object": "Messages", "conditions": [{"field": "isRead", "operator": "=", "value": "maybe"}]}),
            400,
            "isRead",
        ),
        (
            "mail/query",
            json!({"object": "Messages", "conditions": [{"field": "isRead", "operator": "~", "value": 1}]}),
            400,
            "~",
        ),
        ("mail/query", json!({"object": "/me/../users"}), 400, ".."),
        ("mail/query", json!({"sql": "SELECT 1"}), 400, "sql"),
        ("mail/create", json!({"object": "Events", "records": [{"subject": "x"}]}), 200, "start"),
        ("mail/create", json!({"object": "Contacts", "records": [{"givenNme": "x"}]}), 200, "givenName"),
        ("mail/execute", json!({"procedure": "SendMial"}), 400, "SendMail"),
        ("none/query", json!({"object": "Messages"}), 404, "none"),
    ];
    for (path, body, status, expected) in rows {
        let answer = agent.post(&format!("/v1/connections/{path}"), body.clone()).await;
        assert_eq!(answer.status, status, "{path} {body}: {}", answer.text());
        assert!(answer.text().contains(expected), "{path} {body}: {}", answer.text());
        if status >= 400 {
            assert_eq!(answer.headers["content-type"], "application/problem+json");
            assert_eq!(answer.json()["requestId"], answer.headers["x-request-id"].to_str().unwrap());
        }
    }
}

#[tokio::test]
async fn runs_are_listed_and_can_be_cancelled() {
    let sandbox = tenant();
    let agent = both(&sandbox);
    agent
        .post("/v1/connections/mail/query", json!({"object": "Messages", "fields": ["id"]}))
        .await
        .expect(200);
    let run = agent.get("/v1/runs").await.expect(200)["runs"][0].clone();
    assert_eq!(
        (&run["status"], &run["kind"], &run["rows"]),
        (&json!("success"), &json!("query"), &json!(200))
    );
    let one = agent.get(&format!("/v1/runs/{}", run["id"].as_str().unwrap())).await.expect(200);
    assert_eq!(one["connection"], "mail");

    let fault = o365_sandbox::Fault {
        target: o365_sandbox::FaultTarget::Graph { method: None, path_contains: None },
        times: 1,
        action: o365_sandbox::FaultAction::Hang,
    };
    sandbox.inject(fault);
    let (answer, ()) =
        tokio::join!(agent.post("/v1/connections/mail/query", json!({"object": "Messages"})), async {
            let mut id = None;
            crate::support::eventually("a run is running", async || {
                let list = agent.get("/v1/runs").await.expect(200);
                id = list["runs"]
                    .as_array()
                    .unwrap()
                    .iter()
                    .find(|run| run["status"] == "running")
                    .map(|run| run["id"].as_str().unwrap().to_owned());
                id.is_some()
            })
            .await;
            agent
                .call(http::Method::DELETE, &format!("/v1/runs/{}", id.unwrap()), &[], None)
                .await
                .expect(202);
        });
    assert_eq!(answer.json()["code"], "cancelled", "{}", answer.text());
}
