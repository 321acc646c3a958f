//! Create, Update and Delete in every form: streams in and out, idempotency keys, runs for later, records chosen by keys and
//! by conditions, Etags, and what is told about each record.

use o365_sandbox::{Fault, FaultAction, FaultTarget, Sandbox};
use serde_json::{Value, json};

use crate::support::{Agent, Answer, PATIENCE, Setup, application, client, delegated, eventually, tenant};

fn agent(sandbox: &Sandbox) -> Agent {
    Setup::new()
        .drop_in("mail.yaml", &delegated(sandbox, "mail", ""))
        .drop_in("app.yaml", &application(sandbox, "app", ""))
        .start()
}

const CREATE: &str = "/v1/connections/mail/create";

/// A call with any body.
pub(crate) async fn send(
    agent: &Agent,
    path: &str,
    headers: &[(&str, &str)],
    body: impl Into<reqwest::Body>,
) -> Answer {
    let mut request = client()
        .post(format!("{}{path}", agent.base))
        .header("authorization", format!("Bearer {}", agent.token))
        .timeout(PATIENCE * 10);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    Answer::read(request.body(body).send().await.unwrap()).await
}

fn lines(answer: &Answer) -> Vec<Value> {
    assert_eq!(answer.status, 200, "{}", answer.text());
    answer.text().lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

fn contacts(count: usize) -> Vec<Value> {
    (0..count).map(|n| json!({"givenName": format!("N{n}"), "surname": "Stream", "displayName": format!("N{n} Stream")})).collect()
}

fn ndjson(records: &[Value]) -> String {
    records.iter().map(|record| format!("{record}\n")).collect()
}

async fn count(agent: &Agent, surname: &str) -> usize {
    let query = json!({"object": "Contacts", "fields": ["id", "surname"],
        "conditions": [{"field": "surname", "operator": "=", "value": surname}]});
    agent.post("/v1/connections/mail/query", query).await.expect(200)["rows"].as_array().unwrap().len()
}

fn statuses(results: &[Value]) -> Vec<&str> {
    results.iter().map(|result| result["status"].as_str().unwrap()).collect()
}

#[tokio::test]
async fn records_stream_in_as_ndjson_or_csv_and_results_stream_out_in_order() {
    let sandbox = tenant();
    let agent = agent(&sandbox);
    let ndjson_in = [("content-type", "application/x-ndjson"), ("accept", "application/x-ndjson")];
    let answer = send(
        &agent,
        "/v1/connections/mail/create?object=Contacts&continueOnError=true",
        &ndjson_in,
        ndjson(&contacts(150)),
    )
    .await;
    let results = lines(&answer);
    assert_eq!(answer.headers["content-type"], "application/x-ndjson");
    assert!(answer.headers.contains_key("x-run-id"));
    for (index, result) in results.iter().enumerate() {
        assert_eq!((&result["index"], &result["status"]), (&json!(index), &json!("created")), "{result}");
        assert!(result["id"].is_string());
    }
    assert_eq!((results.len(), count(&agent, "Stream").await), (150, 150));

    let csv = "givenName,surname,emailAddresses,birthday\nAda,Csv,\"[{\"\"name\"\":\"\"A\"\",\"\"address\"\":\"\"a@b.example\"\"}]\",\nIda,Csv,,1980-02-03\nBad,Csv,,soon\n";
    let answer = send(
        &agent,
        "/v1/connections/mail/create?object=contacts&continueOnError=true",
        &[("content-type", "text/csv")],
        csv,
    )
    .await;
    let answer = answer.expect(200);
    let results = answer["results"].as_array().unwrap();
    assert_eq!(statuses(results), ["created", "created", "failed"], "{answer}");
    assert!(results[2]["error"]["message"].as_str().unwrap().contains("birthday"), "{answer}");
    assert!(answer["runId"].is_string());
    let query = json!({"object": "Contacts", "fields": ["givenName", "emailAddresses", "birthday"],
        "conditions": [{"field": "surname", "operator": "=", "value": "Csv"}]});
    let rows = agent.post("/v1/connections/mail/query", query).await.expect(200)["rows"].clone();
    let ada = rows.as_array().unwrap().iter().find(|row| row["givenName"] == "Ada").unwrap();
    assert!(ada["emailAddresses"].to_string().contains("a@b.example") && ada["birthday"].is_null(), "{ada}");
}

#[tokio::test]
async fn a_stream_with_a_fault_writes_nothing_and_says_where_it_is() {
    let sandbox = tenant();
    let agent = agent(&sandbox);
    let path = "/v1/connections/mail/create?object=Contacts";
    let rows = [
        (
            path,
            "application/x-ndjson",
            "{\"givenName\":\"A\",\"surname\":\"Fault\"}\n{\"givenName\":\n",
            400,
            "Record 1 (line 2",
        ),
        (path, "text/csv", "givenName,surname\nA,Fault\nB,Fault,C\n", 400, "Record 1 (line 3) has 3 cells"),
        (path, "text/csv", "", 400, "no records"),
        ("/v1/connections/mail/create", "text/csv", "surname\nFault\n", 400, "?object=Contacts"),
        ("/v1/connections/mail/create?object=Contacts&rows=1", "text/csv", "surname\nFault\n", 400, "rows"),
        ("/v1/connections/mail/create?object=Contcts", "text/csv", "surname\nFault\n", 400, "Contacts"),
        ("/v1/connections/mail/query", "text/csv", "surname\nFault\n", 415, "application/json"),
    ];
    for (path, media_type, body, status, expected) in rows {
        let answer = send(&agent, path, &[("content-type", media_type)], body).await;
        assert_eq!(answer.status, status, "{path}: {}", answer.text());
        assert!(answer.text().contains(expected), "{path}: {}", answer.text());
    }
    assert_eq!(count(&agent, "Fault").await, 0);
}

#[tokio::test]
async fn a_failure_stops_the_rest_and_says_which_were_not_tried() {
    let sandbox = tenant();
    let agent = agent(&sandbox);
    let records = contacts(300);
    sandbox.inject(Fault {
        target: FaultTarget::BatchPart { path_contains: Some("/contacts".into()) },
        times: 1,
        action: FaultAction::Status { status: 400, headers: Vec::new(), body: String::new() },
    });
    let answer = agent.post(CREATE, json!({"object": "Contacts", "records": records})).await.expect(200);
    let results = answer["results"].as_array().unwrap();
    let counted = |status: &str| results.iter().filter(|result| result["status"] == status).count();
    assert_eq!((results.len(), counted("failed")), (300, 1), "{answer}");
    assert!(counted("created") < 80 && counted("skipped") >= 220, "{} created", counted("created"));
    assert_eq!(count(&agent, "Stream").await, counted("created"), "what is told is what is there");
    let run = agent.get(&format!("/v1/runs/{}", answer["runId"].as_str().unwrap())).await.expect(200);
    assert_eq!(run["status"], "success_with_warning");
    assert_eq!((run["rows"].as_u64().unwrap() as usize, &run["total"]), (counted("created"), &json!(300)));
    assert_eq!(run["failed"].as_u64().unwrap() as usize, 300 - counted("created"));
}

#[tokio::test]
async fn a_repeat_with_the_same_key_gives_the_first_results_and_sends_nothing() {
    let sandbox = tenant();
    let agent = agent(&sandbox);
    let mut records = contacts(30);
    records[7] = json!({"givenNme": "X"});
    let body = json!({"object": "Contacts", "records": records, "continueOnError": true});
    let key = [("idempotency-key", "\"order-4711\"")];
    let call = async |headers: &[(&str, &str)], body: &Value| {
        agent.call(http::Method::POST, CREATE, headers, Some(body.clone())).await
    };
    let first = call(&key, &body).await.expect(200);
    assert_eq!(count(&agent, "Stream").await, 29);
    sandbox.clear_requests();
    let again = call(&key, &body).await.expect(200);
    assert_eq!(again["results"], first["results"]);
    let posts = sandbox.graph_requests().iter().filter(|request| request.method == "POST").count();
    assert_eq!((posts, count(&agent, "Stream").await), (0, 29));

    // The same as a stream is another request, and so is a changed record.
    let mut other = body.clone();
    other["records"][0]["givenName"] = json!("Other");
    let refused = call(&key, &other).await;
    assert_eq!((refused.status, &refused.json()["code"]), (422, &json!("idempotency_key_reused")));
    let path = "/v1/connections/mail/create?object=Contacts";
    let streamed = [("content-type", "text/csv"), ("idempotency-key", "order-4711")];
    assert_eq!(send(&agent, path, &streamed, "surname\nOther\n").await.status, 422);
    for wrong in ["", "\"open", &"x".repeat(256)] {
        assert_eq!(call(&[("idempotency-key", wrong)], &body).await.status, 400, "{wrong}");
    }
    // Another key is another request.
    call(&[("idempotency-key", "order-4712")], &body).await.expect(200);
    assert_eq!(count(&agent, "Stream").await, 58);
}

#[tokio::test]
async fn a_run_for_later_is_accepted_shows_its_progress_and_keeps_its_results() {
    let sandbox = tenant();
    let agent = agent(&sandbox);
    sandbox.set_page_latency(std::time::Duration::from_millis(20));
    let headers =
        [("prefer", "respond-async"), ("content-type", "application/x-ndjson"), ("idempotency-key", "later")];
    let path = "/v1/connections/mail/create?object=Contacts&continueOnError=true";
    let accepted = send(&agent, path, &headers, ndjson(&contacts(800))).await;
    assert_eq!(
        (accepted.status, accepted.headers["preference-applied"].to_str().unwrap()),
        (202, "respond-async")
    );
    let run = accepted.headers["location"].to_str().unwrap().to_owned();
    assert_eq!(run, format!("/v1/runs/{}", accepted.json()["id"].as_str().unwrap()));
    let busy = send(&agent, path, &headers, ndjson(&contacts(800))).await;
    assert_eq!(
        (busy.status, &busy.json()["code"]),
        (409, &json!("idempotency_key_in_use")),
        "{}",
        busy.text()
    );
    assert!(run.ends_with(busy.json()["runId"].as_str().unwrap()));
    let mut seen = Vec::new();
    eventually("the run has ended", async || {
        let view = agent.get(&run).await.expect(200);
        seen.push(view["rows"].as_u64().unwrap());
        view["status"] == "success"
    })
    .await;
    assert!(
        seen.windows(2).all(|pair| pair[0] <= pair[1]) && seen.iter().any(|rows| (1..800).contains(rows)),
        "{seen:?}"
    );
    let kept = agent.get(&format!("{run}/results")).await.expect(200);
    assert_eq!((&kept["status"], &kept["complete"]), (&json!("success"), &json!(true)));
    assert_eq!(kept["results"].as_array().unwrap().len(), 800);
    assert!(kept["results"].as_array().unwrap().iter().enumerate().all(|(n, result)| result["index"] == n));
    let again = agent
        .call(http::Method::GET, &format!("{run}/results"), &[("accept", "application/x-ndjson")], None)
        .await;
    assert_eq!(lines(&again), *kept["results"].as_array().unwrap());
    assert_eq!(count(&agent, "Stream").await, 800);

    // A run that keeps nothing says so, and lists can be narrowed and read in pages.
    let plain = agent.post(CREATE, json!({"object": "Contacts", "records": contacts(1)})).await.expect(200);
    let none = agent.get(&format!("/v1/runs/{}/results", plain["runId"].as_str().unwrap())).await;
    assert_eq!((none.status, &none.json()["code"]), (404, &json!("no_results")));
    let page = agent.get("/v1/runs?kind=create&limit=1").await.expect(200);
    let next = page["next"].as_str().unwrap();
    let rest = agent.get(&format!("/v1/runs?kind=create&status=success&after={next}")).await.expect(200);
    let ids: Vec<_> = rest["runs"].as_array().unwrap().iter().map(|run| run["id"].clone()).collect();
    assert_eq!((ids.len(), page["runs"][0]["id"] == plain["runId"], &rest["next"]), (1, true, &Value::Null));
    for wrong in ["limit=0", "status=done", "colour=red"] {
        assert_eq!(agent.get(&format!("/v1/runs?{wrong}")).await.status, 400, "{wrong}");
    }
}

#[tokio::test]
async fn cancelling_a_bulk_brings_home_what_is_on_its_way_and_says_what_was_not_tried() {
    let sandbox = tenant();
    let agent = agent(&sandbox);
    sandbox.set_page_latency(std::time::Duration::from_millis(30));
    let records = contacts(1500);
    let body = json!({"object": "Contacts", "records": records, "continueOnError": true});
    let (answer, ()) = tokio::join!(agent.post(CREATE, body), async {
        eventually("some records are done", async || {
            let list = agent.get("/v1/runs?status=running").await.expect(200);
            let Some(run) = list["runs"].as_array().unwrap().first().cloned() else { return false };
            if run["rows"].as_u64().unwrap() < 20 {
                return false;
            }
            let id = run["id"].as_str().unwrap();
            let cancelled =
                agent.call(http::Method::DELETE, &format!("/v1/runs/{id}"), &[], None).await.expect(202);
            assert!(
                cancelled["status"] == "cancel_requested" || cancelled["status"] == "cancelled",
                "{cancelled}"
            );
            true
        })
        .await;
    });
    let answer = answer.expect(200);
    let results = answer["results"].as_array().unwrap();
    let created = results.iter().filter(|result| result["status"] == "created").count();
    let skipped = results.iter().filter(|result| result["status"] == "skipped").count();
    assert_eq!((results.len(), created + skipped), (1500, 1500), "nothing is unknown");
    assert!(skipped > 0 && results.iter().any(|result| result["error"]["code"] == "cancelled"));
    assert_eq!(count(&agent, "Stream").await, created);
    let run = agent.get(&format!("/v1/runs/{}", answer["runId"].as_str().unwrap())).await.expect(200);
    assert_eq!(run["status"], "cancelled");
}

#[tokio::test]
async fn records_are_chosen_by_keys_and_by_conditions_within_a_limit() {
    let sandbox = tenant();
    let agent = agent(&sandbox);
    let made = agent
        .post(CREATE, json!({"object": "Contacts", "records": contacts(25), "continueOnError": true}))
        .await;
    let ids: Vec<_> =
        made.expect(200)["results"].as_array().unwrap().iter().map(|result| result["id"].clone()).collect();
    let path = |kind: &str| format!("/v1/connections/mail/{kind}");
    let by_keys = json!({"object": "Contacts", "keys": ids[..3], "set": {"surname": "Keyed"}});
    let answer = agent.post(&path("update"), by_keys).await.expect(200);
    assert_eq!(statuses(answer["results"].as_array().unwrap()), ["updated"; 3]);
    assert_eq!((count(&agent, "Keyed").await, count(&agent, "Stream").await), (3, 22));

    let conditions = json!([{"field": "surname", "operator": "=", "value": "Stream"}]);
    let change = |more: Value| {
        let mut request =
            json!({"object": "Contacts", "conditions": conditions, "set": {"surname": "Moved"}});
        request.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        request
    };
    let dry = agent.post(&path("update"), change(json!({"dryRun": true}))).await.expect(200);
    assert_eq!((&dry["matched"], &dry["results"]), (&json!(22), &json!([])));
    let refused = agent.post(&path("update"), change(json!({"maxRows": 21}))).await;
    assert_eq!(
        (refused.status, &refused.json()["code"]),
        (400, &json!("too_many_rows")),
        "{}",
        refused.text()
    );
    assert_eq!(count(&agent, "Stream").await, 22, "nothing was written");
    let key = [("idempotency-key", "move")];
    let call = async || {
        agent
            .call(
                http::Method::POST,
                &path("update"),
                &key,
                Some(change(json!({"maxRows": 22, "continueOnError": true}))),
            )
            .await
    };
    let moved = call().await.expect(200);
    assert_eq!((&moved["matched"], count(&agent, "Moved").await), (&json!(22), 22));
    assert_eq!(
        call().await.expect(200)["results"],
        moved["results"],
        "the records of the first call, not of a new search"
    );

    let delete = json!({"object": "Contacts", "conditions": [{"field": "surname", "operator": "=", "value": "Moved"}]});
    let deleted = agent.post(&path("delete"), delete.clone()).await.expect(200);
    assert_eq!((&deleted["matched"], count(&agent, "Moved").await), (&json!(22), 0));
    let none = agent.post(&path("delete"), delete).await.expect(200);
    assert_eq!((&none["matched"], &none["results"]), (&json!(0), &json!([])));

    // An application names the mailbox in the conditions; the rows say where they are.
    let user = sandbox.user(1).upn;
    let place = json!({"field": "UserId", "operator": "=", "value": user});
    let other =
        json!({"object": "Contacts", "records": [{"givenName": "P", "surname": "Place", "UserId": user}]});
    agent.post("/v1/connections/app/create", other).await.expect(200);
    let delete = json!({"object": "Contacts", "conditions": [place, {"field": "surname", "operator": "=", "value": "Place"}]});
    let deleted = agent.post("/v1/connections/app/delete", delete).await.expect(200);
    assert_eq!(deleted["results"][0]["status"], "deleted", "{deleted}");
}

#[tokio::test]
async fn an_old_etag_is_refused_with_the_remedy() {
    let sandbox = tenant();
    let agent = agent(&sandbox);
    let query = json!({"object": "Contacts", "fields": ["id", "Etag"], "limit": 1});
    let row = agent.post("/v1/connections/mail/query", query).await.expect(200)["rows"][0].clone();
    let change = |name: &str| json!({"object": "Contacts", "records": [{"id": row["id"], "Etag": row["Etag"], "surname": name}]});
    let first = agent.post("/v1/connections/mail/update", change("One")).await.expect(200);
    assert_eq!(first["results"][0]["status"], "updated", "{first}");
    let second = agent.post("/v1/connections/mail/update", change("Two")).await.expect(200);
    let error = &second["results"][0]["error"];
    assert_eq!(
        (&error["code"], &error["graph"]["status"]),
        (&json!("changed_meanwhile"), &json!(412)),
        "{second}"
    );
    assert!(error["message"].as_str().unwrap().contains("Read it again"), "{second}");
}

#[tokio::test]
async fn a_saved_write_takes_its_records_with_the_call() {
    let sandbox = tenant();
    let saved = "    activities:\n      New contacts:\n        type: Create\n        object: Contacts\n        continueOnError: true\n";
    let agent = Setup::new().drop_in("m.yaml", &delegated(&sandbox, "mail", saved)).start();
    let run = "/v1/connections/mail/activities/New%20contacts/run";
    let given = agent.post(run, json!({"records": contacts(2)})).await.expect(200);
    assert_eq!(statuses(given["results"].as_array().unwrap()), ["created"; 2]);
    let csv = [("content-type", "text/csv"), ("idempotency-key", "k")];
    for _ in 0..2 {
        let streamed = send(&agent, run, &csv, "givenName,surname\nA,Stream\nB,Stream\n").await.expect(200);
        assert_eq!(statuses(streamed["results"].as_array().unwrap()), ["created"; 2]);
    }
    assert_eq!(count(&agent, "Stream").await, 4);
    let runs = agent.get("/v1/runs?activity=New%20contacts").await.expect(200);
    assert_eq!(runs["runs"].as_array().unwrap().len(), 3);
}
