//! Writes at relationships: references go and come, and nobody is lost from the directory.

use o365_sandbox::Sandbox;
use serde_json::{Value, json};

use crate::support::{Agent, Setup, application, tenant};

fn agent(sandbox: &Sandbox) -> Agent {
    Setup::new().drop_in("app.yaml", &application(sandbox, "app", "")).start()
}

async fn rows(agent: &Agent, object: &str, fields: &[&str]) -> Vec<Value> {
    let query = json!({"object": object, "fields": fields});
    agent.post("/v1/connections/app/query", query).await.expect(200)["rows"].as_array().unwrap().clone()
}

async fn ids(agent: &Agent, object: &str) -> Vec<String> {
    let rows = rows(agent, object, &["id"]).await;
    rows.iter().map(|row| row["id"].as_str().unwrap().to_owned()).collect()
}

/// Writes, expects one result with this status, and answers it.
async fn write(agent: &Agent, verb: &str, body: Value, status: &str) -> Value {
    let answer = agent.post(&format!("/v1/connections/app/{verb}"), body).await.expect(200);
    let result = answer["results"][0].clone();
    assert_eq!(result["status"], status, "{answer}");
    result
}

fn writes_sent(sandbox: &Sandbox) -> Vec<String> {
    let sent = sandbox.graph_requests();
    let writes = sent.iter().filter(|request| request.method != "GET");
    writes.map(|request| format!("{} {}", request.method, request.path_and_query)).collect()
}

#[tokio::test]
async fn deleting_a_member_or_manager_leaves_the_user_in_the_directory() {
    let sandbox = tenant();
    let agent = agent(&sandbox);
    let group = ids(&agent, "/groups").await.remove(0);
    let members = format!("/groups/{group}/members");
    let before = ids(&agent, &members).await;
    assert!(before.len() >= 3, "{before:?}");
    let users = ids(&agent, "/users").await.len();
    let all = [
        json!({"object": members, "keys": [before[0]]}),
        json!({"object": format!("{members}/{}", before[1]), "records": [{}]}),
        json!({"object": format!("{members}/microsoft.graph.user"), "records": [{"id": before[2]}]}),
    ];
    sandbox.clear_requests();
    for body in all {
        write(&agent, "delete", body, "deleted").await;
    }
    let sent = writes_sent(&sandbox);
    assert!(sent.len() == 3 && sent.iter().all(|sent| sent.ends_with("/$ref")), "{sent:?}");
    assert_eq!(ids(&agent, &members).await.len(), before.len() - 3);
    assert_eq!(ids(&agent, "/users").await.len(), users);

    // Back again, and a manager set, replaced and removed.
    let back =
        write(&agent, "create", json!({"object": members, "records": [{"id": before[0]}]}), "created").await;
    assert_eq!(back["id"], before[0].as_str());
    let manager = format!("/users/{}/manager", before[0]);
    for to in &before[1..3] {
        write(&agent, "create", json!({"object": manager, "records": [{"id": to}]}), "created").await;
        assert_eq!(rows(&agent, &manager, &["id"]).await[0]["id"], to.as_str());
    }
    // An id beside the path must be that of the manager there is.
    let other = json!({"object": manager, "keys": [before[0]]});
    let refused = agent.post("/v1/connections/app/delete", other).await;
    assert!(refused.status == 400 && refused.text().contains("does not lead to"), "{}", refused.text());
    write(&agent, "delete", json!({"object": manager, "keys": [before[2]]}), "deleted").await;
    write(&agent, "create", json!({"object": manager, "records": [{"id": before[1]}]}), "created").await;
    write(&agent, "delete", json!({"object": manager, "records": [{}]}), "deleted").await;
    assert_eq!(ids(&agent, "/users").await.len(), users);
    assert!(ids(&agent, &members).await.contains(&before[0]));
}

#[tokio::test]
async fn members_chosen_by_conditions_are_removed_as_references() {
    let sandbox = tenant();
    let agent = agent(&sandbox);
    let group = ids(&agent, "/groups").await.remove(0);
    let members = format!("/groups/{group}/members");
    let (before, users) = (ids(&agent, &members).await, ids(&agent, "/users").await.len());
    let conditions = json!([{"field": "id", "operator": "=", "value": before[0]}]);
    write(&agent, "delete", json!({"object": members, "conditions": conditions}), "deleted").await;
    assert_eq!(ids(&agent, &members).await.len(), before.len() - 1);
    assert_eq!(ids(&agent, "/users").await.len(), users);
}

#[tokio::test]
async fn what_a_relationship_does_not_take_is_refused_and_described_before_anything_is_sent() {
    let sandbox = tenant();
    let agent = agent(&sandbox);
    sandbox.clear_requests();
    for (verb, object, record, expected) in [
        ("delete", "/users/u/memberOf", json!({"id": "g"}), "for reading only"),
        ("create", "/users/u/memberOf", json!({"id": "g"}), "for reading only"),
        ("update", "/groups/g/members", json!({"id": "u", "jobTitle": "x"}), "is a relationship"),
        ("create", "/groups/g/members", json!({"displayName": "x"}), "that exists"),
        ("delete", "/users/u/planner/tasks", json!({"id": "t"}), "/planner/tasks/{id}"),
        ("delete", "/users/u/events/e/calendar", json!({}), "where such a record is kept"),
        ("delete", "/users/u/drive", json!({}), "for reading only"),
    ] {
        let body = json!({"object": object, "records": [record]});
        let result = write(&agent, verb, body, "failed").await;
        assert!(result["error"]["message"].as_str().unwrap().contains(expected), "{verb} {object}: {result}");
    }
    let call = json!({"procedure": "members", "target": "/groups/g", "parameters": {"displayName": "x"}});
    let refused = agent.post("/v1/connections/app/execute", call).await;
    assert!(refused.status == 400 && refused.text().contains("no action"), "{}", refused.text());
    assert_eq!(writes_sent(&sandbox), Vec::<String>::new());

    for (object, flags, words) in [
        ("%2Fgroups%2F%7Bid%7D%2Fmembers", [true, false, true], "Removes the reference"),
        ("%2Fusers%2F%7Bid%7D%2FmemberOf", [false, false, false], "for reading only"),
        ("%2Fusers%2F%7Bid%7D%2Fmanager", [true, false, true], "Removes the reference"),
    ] {
        let described = agent.get(&format!("/v1/connections/app/objects/{object}")).await.expect(200);
        let told = ["creatable", "updatable", "deletable"].map(|flag| described[flag].as_bool().unwrap());
        assert_eq!(told, flags, "{described}");
        assert!(described["relationship"]["delete"].as_str().unwrap().contains(words), "{described}");
    }
}
