//! Values and how they compare: identifiers exactly, collections by their members, local times as moments of their zone. Each
//! test is a write that would take more, or other, records under any other rule.

use o365_sandbox::Sandbox;
use serde_json::{Value, json};

use crate::support::{Agent, Setup, application, delegated, tenant};

fn agent(sandbox: &Sandbox) -> Agent {
    Setup::new()
        .drop_in("mail.yaml", &delegated(sandbox, "mail", ""))
        .drop_in("app.yaml", &application(sandbox, "app", ""))
        .start()
}

fn is(field: &str, operator: &str, value: Value) -> Value {
    let mut condition = json!({"field": field, "operator": operator});
    condition["value"] = value;
    condition
}

async fn rows(agent: &Agent, connection: &str, object: &str, field: &str, conditions: Value) -> Vec<Value> {
    let query = json!({"object": object, "fields": [field], "conditions": conditions});
    let answer = agent.post(&format!("/v1/connections/{connection}/query"), query).await.expect(200);
    answer["rows"].as_array().unwrap().iter().map(|row| row[field].clone()).collect()
}

async fn create(agent: &Agent, connection: &str, object: &str, records: Value) {
    let body = json!({"object": object, "records": records});
    let answer = agent.post(&format!("/v1/connections/{connection}/create"), body).await.expect(200);
    let created = |result: &Value| result["status"] == "created";
    assert!(answer["results"].as_array().unwrap().iter().all(created), "{answer}");
}

/// Deletes by conditions; the ids that were deleted.
async fn delete(agent: &Agent, connection: &str, object: &str, conditions: Value) -> Vec<Value> {
    let body = json!({"object": object, "conditions": conditions});
    let answer = agent.post(&format!("/v1/connections/{connection}/delete"), body).await.expect(200);
    let results = answer["results"].as_array().unwrap();
    assert!(results.iter().all(|result| result["status"] == "deleted"), "{answer}");
    results.iter().map(|result| result["id"].clone()).collect()
}

#[tokio::test]
async fn a_delete_by_an_or_of_ids_takes_no_id_that_differs_by_case() {
    let sandbox = tenant();
    let ids = ["AAMkCaseA", "AAMkCasea", "AAMkCASEa"];
    sandbox.give_contacts_ids(&sandbox.first_user().upn, &ids);
    let agent = agent(&sandbox);
    let or = json!({"or": [is("id", "=", json!("AAMkCaseA")), is("surname", "=", json!("Nobody at all"))]});
    assert_eq!(delete(&agent, "mail", "Contacts", json!([or])).await, [json!("AAMkCaseA")]);
    let left = rows(&agent, "mail", "Contacts", "id", json!([is("id", "in", json!(ids))])).await;
    assert_eq!(left, [json!("AAMkCasea"), json!("AAMkCASEa")]);
    let but = json!([is("id", "!=", json!("AAMkCasea")), is("id", "starts-with", json!("AAMkC"))]);
    assert_eq!(rows(&agent, "mail", "Contacts", "id", but).await, [json!("AAMkCASEa")]);
    // More values than one request takes, none of which is lost.
    let mut many: Vec<String> = (0..20).map(|number| format!("AAMkNone{number}")).collect();
    many.extend(["AAMkCasea".to_owned(), "AAMkCASEa".to_owned()]);
    let or = json!({"or": [is("id", "in", json!(many)), is("surname", "=", json!("Nobody at all"))]});
    assert_eq!(rows(&agent, "mail", "Contacts", "id", json!([or])).await.len(), 2);

    let described = agent.get("/v1/connections/mail/objects/Contacts").await.expect(200);
    let column = |name: &str| {
        let columns = described["columns"].as_array().unwrap();
        columns.iter().find(|column| column["name"] == name).unwrap().clone()
    };
    assert_eq!(
        (&column("id")["comparison"], &column("surname")["comparison"]),
        (&json!("exact"), &json!("caseInsensitive"))
    );
    assert_eq!(column("categories")["members"], "String");
}

#[tokio::test]
async fn a_collection_has_a_member_or_has_it_not() {
    let sandbox = tenant();
    let agent = agent(&sandbox);
    let contact = |name: &str, categories: Value| json!({"givenName": name, "surname": "Specimen", "categories": categories});
    let records = json!([
        contact("one", json!(["Keep"])),
        contact("two", json!(["Blue", "Keep"])),
        contact("three", json!(["Keeper"])),
        contact("four", json!([])),
    ]);
    create(&agent, "mail", "Contacts", records).await;
    for (condition, expected) in [
        (is("categories", "=", json!("keep")), vec!["one", "two"]),
        (is("categories", "!=", json!("Keep")), vec!["four", "three"]),
        (is("categories", "in", json!(["Blue", "Keeper"])), vec!["three", "two"]),
        (is("categories", "not in", json!(["Blue", "Keeper"])), vec!["four", "one"]),
        (is("categories", "contains", json!("eep")), vec!["one", "three", "two"]),
        (is("categories", "=", json!("[\"Keep\"]")), vec![]),
        (is("categories", "is null", Value::Null), vec!["four"]),
        // Inside an `or` with something that only the agent compares, so it compares the members too.
        (
            json!({"or": [is("categories", "=", json!("KEEPER")), is("personalNotes", "contains", json!("no such note"))]}),
            vec!["three"],
        ),
    ] {
        let conditions = json!([is("surname", "=", json!("Specimen")), condition]);
        let mut found = rows(&agent, "mail", "Contacts", "givenName", conditions.clone()).await;
        found.sort_by_key(Value::to_string);
        assert_eq!(found, expected, "{conditions}");
    }
    let sent = sandbox.graph_requests();
    assert!(
        sent.iter().any(|request| request.path_and_query.contains("categories/any(x:x%20eq%20%27keep%27)")),
        "the service finds members"
    );
    sandbox.clear_requests();
    let refused =
        json!({"object": "Messages", "conditions": [is("toRecipients", "=", json!("adele@contoso.com"))]});
    let refused = agent.post("/v1/connections/mail/query", refused).await.expect(400);
    assert!(refused.to_string().contains("is a list of objects, which '=' cannot compare"), "{refused}");
    assert!(sandbox.graph_requests().is_empty());
    let doomed = json!([is("surname", "=", json!("Specimen")), is("categories", "!=", json!("Keep"))]);
    assert_eq!(delete(&agent, "mail", "Contacts", doomed).await.len(), 2, "those that have no such category");
}

const TEN: &str = "2026-10-26T10:00:00+02:00";

#[tokio::test]
async fn a_delete_of_what_ends_before_a_moment_looks_at_moments() {
    let sandbox = tenant();
    let agent = agent(&sandbox);
    let event = |end: &str, zone: &str| {
        json!({"subject": "Specimen", "start_dateTime": "2026-10-26T01:00:00", "start_timeZone": "UTC",
            "end_dateTime": end, "end_timeZone": zone})
    };
    let records = json!([event("2026-10-26T07:00:00", "UTC"), event("2026-10-26T09:30:00", "UTC")]);
    create(&agent, "mail", "Events", records).await;
    let or =
        json!({"or": [is("end_dateTime", "<", json!(TEN)), is("bodyPreview", "=", json!("no such body"))]});
    let doomed = json!([is("subject", "=", json!("Specimen")), or]);
    assert_eq!(delete(&agent, "mail", "Events", doomed).await.len(), 1);
    let specimens = || json!([is("subject", "=", json!("Specimen"))]);
    let left = rows(&agent, "mail", "Events", "end_dateTime", specimens()).await;
    assert_eq!(left.len(), 1);
    assert!(left[0].as_str().unwrap().starts_with("2026-10-26T09:30:00"), "{left:?}");
    // The same outside an `or`, where the service leaves out what is more than a day away.
    for (operator, expected) in [("<", 0), (">", 1), ("!=", 1), ("=", 0)] {
        let conditions =
            json!([is("subject", "=", json!("Specimen")), is("end_dateTime", operator, json!(TEN))]);
        assert_eq!(rows(&agent, "mail", "Events", "id", conditions).await.len(), expected, "{operator}");
    }
}

#[tokio::test]
async fn bookings_are_chosen_by_moments_too() {
    let sandbox = tenant();
    let agent = agent(&sandbox);
    let business = rows(&agent, "app", "BookingBusinesses", "id", json!([])).await[0].clone();
    let of_business = || is("BusinessId", "=", business.clone());
    let service = rows(&agent, "app", "BookingServices", "id", json!([of_business()])).await[0].clone();
    let appointment = |end: &str| {
        json!({"BusinessId": business, "serviceId": service, "startDateTime_dateTime": "2026-10-26T01:00:00",
            "startDateTime_timeZone": "UTC", "endDateTime_dateTime": end, "endDateTime_timeZone": "UTC"})
    };
    let records = json!([appointment("2026-10-26T07:00:00"), appointment("2026-10-26T09:30:00")]);
    create(&agent, "app", "BookingAppointments", records).await;
    let start = is("startDateTime_dateTime", "=", json!("2026-10-26T01:00:00Z"));
    let or = json!({"or": [is("endDateTime_dateTime", "<", json!(TEN)), is("serviceNotes", "=", json!("no such note"))]});
    let doomed = json!([of_business(), start, or]);
    assert_eq!(delete(&agent, "app", "BookingAppointments", doomed).await.len(), 1);
    let left = json!([of_business(), start]);
    let left = rows(&agent, "app", "BookingAppointments", "endDateTime_dateTime", left).await;
    assert_eq!(left.len(), 1);
    assert!(left[0].as_str().unwrap().starts_with("2026-10-26T09:30:00"), "{left:?}");
}

#[tokio::test]
async fn what_is_no_moment_is_refused_before_anything_is_sent() {
    let sandbox = tenant();
    let agent = agent(&sandbox);
    agent
        .post("/v1/connections/mail/query", json!({"object": "Events", "fields": ["id"], "limit": 1}))
        .await
        .expect(200);
    sandbox.clear_requests();
    for value in ["tomorrow", "10/26/2026", "2026-10-26T25:00:00Z"] {
        let delete = json!({"object": "Events", "conditions": [is("end_dateTime", "<", json!(value))]});
        let refused = agent.post("/v1/connections/mail/delete", delete).await.expect(400);
        assert!(refused.to_string().contains("'end_dateTime' is a moment"), "{refused}");
    }
    for (value, zone) in [("tomorrow", "UTC"), ("10/26/2026", "UTC"), (TEN, "W. Europe Standard Time")] {
        let record = json!({"id": "AAMk", "end_dateTime": value, "end_timeZone": zone});
        let update = json!({"object": "Events", "records": [record]});
        let refused = agent.post("/v1/connections/mail/update", update).await;
        assert!(refused.text().contains("'end_dateTime' is a local time"), "{}", refused.text());
    }
    assert!(sandbox.graph_requests().is_empty(), "nothing was sent");
}

#[tokio::test]
async fn the_last_and_the_first_moment_are_moments_everywhere() {
    let sandbox = tenant();
    let agent = agent(&sandbox);
    for (value, operator, expected) in [
        ("9999-12-31T23:59:59Z", "<", true),
        ("9999-12-31", ">", false),
        ("0001-01-01T00:00:00Z", ">", true),
        ("0001-01-01", "<", false),
    ] {
        for field in ["createdDateTime", "end_dateTime"] {
            let conditions = json!([is(field, operator, json!(value))]);
            let found = rows(&agent, "mail", "Events", "id", conditions).await;
            assert_eq!(!found.is_empty(), expected, "{field} {operator} {value}");
        }
    }
    let contact = json!([{"givenName": "Never", "surname": "Specimen", "birthday": "9999-12-31T00:00:00Z"}]);
    create(&agent, "mail", "Contacts", contact).await;
    let query = json!({"object": "Contacts", "fields": ["birthday"], "conditions": [is("surname", "=", json!("Specimen"))],
        "orderBy": [{"field": "birthday"}]});
    let headers = [("accept", "application/vnd.apache.arrow.stream"), ("content-type", "application/json")];
    let answer = crate::writes::send(&agent, "/v1/connections/mail/query", &headers, query.to_string()).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
}
