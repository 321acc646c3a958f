//! The catalog over the control port: paths and operations described, searched, and the service's own schema fetched, in
//! use at once and after a restart.

use o365_sandbox::{Fault, FaultAction, FaultTarget};
use serde_json::json;

use crate::support::{Agent, BINARY, Setup, application, tenant};

/// A path as one segment of a route.
fn segment(path: &str) -> String {
    path.replace('/', "%2F").replace('{', "%7B").replace('}', "%7D")
}

#[tokio::test]
async fn paths_and_operations_are_described_and_searched() {
    let sandbox = tenant();
    let agent = Setup::new().drop_in("a.yaml", &application(&sandbox, "app", "")).start();
    agent.await_state("app", "ok").await;
    let objects = "/v1/connections/app/objects";
    let folders = agent.get(&format!("{objects}/{}", segment("/users/{id}/mailFolders"))).await.expect(200);
    assert_eq!(folders["graphType"], "microsoft.graph.mailFolder");
    assert!(folders["columns"].as_array().unwrap().iter().any(|column| column["name"] == "unreadItemCount"));
    assert!(folders["permissions"].as_array().unwrap().iter().any(|found| found["method"] == "POST"));
    let found = agent.get(&format!("{objects}?search=BOOKINGC")).await.expect(200);
    let names: Vec<&str> =
        found["objects"].as_array().unwrap().iter().filter_map(|object| object["name"].as_str()).collect();
    assert_eq!(names, ["BookingCustomers", "BookingCustomQuestions"]);
    assert_eq!(agent.get(objects).await.expect(200)["objects"].as_array().unwrap().len(), 21);

    let procedures = "/v1/connections/app/procedures";
    let path = segment("/me/messages/{id}/forward");
    let forward = agent.get(&format!("{procedures}/{path}")).await.expect(200);
    assert_eq!(
        (forward["method"].as_str(), forward["boundTo"][0].as_str()),
        (Some("POST"), Some("microsoft.graph.message"))
    );
    let found = agent.get(&format!("{procedures}?search=getschedule")).await.expect(200);
    assert_eq!(found["procedures"][0]["name"], "microsoft.graph.getSchedule");
    agent.get(&format!("{procedures}/explode")).await.expect(404);
}

#[tokio::test]
async fn a_services_own_schema_is_in_use_at_once_and_after_a_restart() {
    let sandbox = tenant();
    let setup = Setup::new().drop_in("a.yaml", &application(&sandbox, "app", ""));
    let mut agent = Agent::spawn(setup.path(), "state", "", &[]);
    agent.await_state("app", "ok").await;
    let (schema, users) = ("/v1/connections/app/schema", "/v1/connections/app/objects/Users");
    assert_eq!(agent.get(schema).await.expect(200)["source"], "build");
    let badge = async |agent: &Agent| {
        let users = agent.get(users).await.expect(200);
        users["columns"].as_array().unwrap().iter().any(|column| column["name"] == "sandboxBadgeNumber")
    };
    assert!(!badge(&agent).await);
    let refreshed = agent.post(schema, json!({})).await.expect(200);
    assert_eq!(refreshed["source"], "service");
    assert!(badge(&agent).await);
    assert_eq!(agent.get(schema).await.expect(200), refreshed);

    assert_eq!(agent.stop(), 0);
    let agent = Agent::spawn(setup.path(), "state", "", &[]);
    agent.await_state("app", "ok").await;
    assert!(badge(&agent).await);
    assert_eq!(agent.get(schema).await.expect(200), refreshed);

    // A page of a proxy instead of the metadata changes nothing.
    let metadata = FaultTarget::Graph { method: None, path_contains: Some("$metadata".to_owned()) };
    sandbox.inject(Fault { target: metadata, times: 1, action: FaultAction::Garbage });
    let problem = agent.post(schema, json!({})).await.expect(502);
    assert_eq!(problem["code"], "bad_schema");
    assert!(problem["detail"].as_str().unwrap().contains("stays"), "{problem}");
    assert_eq!(agent.get(schema).await.expect(200), refreshed);

    let conf = agent.settings_file();
    let output = tokio::task::spawn_blocking(move || {
        let all = ["schema", "refresh", "--config", conf.to_str().unwrap()];
        std::process::Command::new(BINARY).args(all).env_remove("JITTERBIT_HOME").output().unwrap()
    });
    let output = output.await.unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success() && text.contains("3 types, fetched"), "{text}");
}
