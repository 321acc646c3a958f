//! The cells of the table: one function each, which asks the agent for an activity and checks what came of it.

use std::sync::Arc;

use serde_json::{Map, Value, json};

use crate::facts::Facts;
use crate::support::Agent;

/// An object of the table.
pub(crate) struct Row {
    /// Its name.
    pub(crate) object: &'static str,
    /// The connections that may do all of it: `mail` is a user's, `app` an application's.
    pub(crate) connections: &'static [&'static str],
    /// Whether an application has to say whose rows it means.
    pub(crate) owned: bool,
    /// The columns that choose the place, with their values.
    pub(crate) place: &'static [(&'static str, &'static str)],
    /// The columns that are asked for, flattened ones among them; each must have a value in some row.
    pub(crate) columns: &'static [&'static str],
    /// The column of the filter and its operator: the value is taken from a row in the middle.
    pub(crate) filter: (&'static str, &'static str),
    /// The column of the order.
    pub(crate) order: &'static str,
    /// A new record; empty where the service (or the driver that operators know) has no such activity.
    pub(crate) create: &'static str,
    /// A column to change and its new value; an empty name where there is no such activity.
    pub(crate) update: (&'static str, &'static str),
    /// Whether records can be deleted.
    pub(crate) delete: bool,
    /// Whether changes need the record's Etag.
    pub(crate) etag: bool,
}

/// What the cells of one object share.
pub(crate) struct Bench {
    pub(crate) agent: Arc<Agent>,
    pub(crate) facts: Arc<Facts>,
    pub(crate) row: &'static Row,
    pub(crate) connection: &'static str,
}

impl Bench {
    /// Reads the asked-for columns of every row; each has a value somewhere, and each row has exactly them.
    pub(crate) async fn query(&self) -> Vec<Value> {
        let rows = self.rows(json!({}), self.row.columns).await;
        assert!(!rows.is_empty(), "{}: nothing to prove anything with", self.row.object);
        for column in self.row.columns {
            assert!(
                rows.iter().any(|row| !row[column].is_null()),
                "{}: no row has a value of {column}: {}",
                self.row.object,
                rows[0]
            );
        }
        assert!(rows.iter().all(|row| row.as_object().unwrap().len() == self.row.columns.len()));
        rows
    }

    /// The rows that have the value of a row in the middle, and no others.
    pub(crate) async fn filter(&self) {
        let (column, operator) = self.row.filter;
        let all = self.rows(json!({}), &["id", column]).await;
        let with_value: Vec<&Value> = all.iter().filter(|row| !row[column].is_null()).collect();
        let value = with_value[with_value.len() / 2][column].clone();
        let holds = |other: &Value| match (operator, text(other), text(&value)) {
            ("=", other, value) => other == value,
            (">=", other, value) => other >= value,
            ("starts-with", other, value) => other.starts_with(&value),
            (unknown, ..) => panic!("no such operator in the table: {unknown}"),
        };
        let wanted = ids(all.iter().filter(|row| !row[column].is_null() && holds(&row[column])));
        let condition = json!({"field": column, "operator": operator, "value": value});
        let found = self.rows(json!({"conditions": [condition]}), &["id", column]).await;
        assert_eq!(ids(found.iter()), wanted, "{} {column} {operator} {value}", self.row.object);
    }

    /// All rows, ordered by a column from its largest value down.
    pub(crate) async fn order(&self) {
        let column = self.row.order;
        let all = self.rows(json!({}), &["id", column]).await;
        let order = json!({"orderBy": [{"field": column, "descending": true}]});
        let sorted = self.rows(order, &["id", column]).await;
        assert_eq!(ids(sorted.iter()), ids(all.iter()), "{}", self.row.object);
        let values: Vec<String> = sorted.iter().map(|row| text(&row[column])).collect();
        let mut expected = values.clone();
        expected.sort_by(|left, right| right.cmp(left));
        assert_eq!(values, expected, "{} by {column}", self.row.object);
    }

    /// Makes a record and reads back every single value that it was given. Services answer points in time with more
    /// digits, and never a password or the first post of a conversation.
    pub(crate) async fn create(&self) -> String {
        let mut record = self.facts.json(self.row.create);
        record.as_object_mut().unwrap().extend(self.keys(false));
        self.forget_the_user_of_a_task(&mut record);
        let results = self.write("create", record.clone()).await;
        let id =
            results["id"].as_str().unwrap_or_else(|| panic!("{}: {results}", self.row.object)).to_owned();
        let given: Vec<(&String, &Value)> = record
            .as_object()
            .unwrap()
            .iter()
            .filter(|(name, value)| {
                let told =
                    !name.starts_with("passwordProfile_") && !["Content", "UserId"].contains(&name.as_str());
                told && !value.is_array() && !value.is_object()
            })
            .collect();
        let columns: Vec<&str> = given.iter().map(|(name, _)| name.as_str()).collect();
        let found = self.by_id(&id, &columns).await;
        assert_eq!(found.len(), 1, "{}", self.row.object);
        for (name, value) in given {
            let shown = text(&found[0][name.as_str()]);
            assert!(shown.starts_with(&text(value)), "{} {name}: {value}, but {shown}", self.row.object);
        }
        id
    }

    /// Changes a column and reads the new value back.
    pub(crate) async fn update(&self, id: &str) {
        let (column, value) = self.row.update;
        let value: Value = self.facts.json(value);
        let mut record = json!({"id": id, column: value});
        record.as_object_mut().unwrap().extend(self.keys(true));
        self.forget_the_user_of_a_task(&mut record);
        self.put_etag(&mut record, id).await;
        let results = self.write("update", record).await;
        assert!(results["error"].is_null(), "{}: {results}", self.row.object);
        let found = self.by_id(id, &["id", column]).await;
        assert_eq!(found, vec![json!({"id": id, column: value})], "{}", self.row.object);
    }

    /// Deletes a record and finds it no more.
    pub(crate) async fn delete(&self, id: &str) {
        let mut record = json!({"id": id});
        record.as_object_mut().unwrap().extend(self.keys(true));
        self.forget_the_user_of_a_task(&mut record);
        self.put_etag(&mut record, id).await;
        let results = self.write("delete", record).await;
        assert!(results["error"].is_null(), "{}: {results}", self.row.object);
        assert!(self.by_id(id, &["id"]).await.is_empty(), "{}", self.row.object);
    }

    /// An activity that the object does not have is refused before anything is sent, with a sentence that names the object.
    pub(crate) async fn refused(&self, activity: &str) {
        let mut record = json!({"id": "none", "Etag": "W/\"1\"", "subject": "x"});
        record.as_object_mut().unwrap().extend(self.keys(true));
        let result = self.write(activity, record).await;
        assert_eq!(result["error"]["code"], "not_allowed", "{} {activity}: {result}", self.row.object);
        let message = result["error"]["message"].as_str().unwrap_or_default();
        assert!(message.contains(self.row.object), "{message}");
    }

    /// One row by its id.
    pub(crate) async fn by_id(&self, id: &str, columns: &[&str]) -> Vec<Value> {
        self.rows(json!({"conditions": [{"field": "id", "operator": "=", "value": id}]}), columns).await
    }

    async fn rows(&self, mut request: Value, columns: &[&str]) -> Vec<Value> {
        let mut conditions = request["conditions"].as_array().cloned().unwrap_or_default();
        for (field, value) in self.keys(false) {
            conditions.push(json!({"field": field, "operator": operator(&field), "value": value}));
        }
        request["object"] = self.row.object.into();
        request["fields"] = json!(columns);
        request["conditions"] = conditions.into();
        let path = format!("/v1/connections/{}/query", self.connection);
        let answer = self.agent.post(&path, request.clone()).await;
        assert_eq!(answer.status, 200, "{request}: {}", answer.text());
        let answer = answer.json();
        assert_eq!(answer["complete"], true, "{}: {answer}", self.row.object);
        answer["rows"].as_array().unwrap().clone()
    }

    async fn write(&self, activity: &str, record: Value) -> Value {
        let path = format!("/v1/connections/{}/{activity}", self.connection);
        let request = json!({"object": self.row.object, "records": [record]});
        let answer = self.agent.post(&path, request.clone()).await;
        assert_eq!(answer.status, 200, "{activity} {request}: {}", answer.text());
        answer.json()["results"][0].clone()
    }

    /// A task is where its id says, whoever has it, and a record with a user is refused.
    fn forget_the_user_of_a_task(&self, record: &mut Value) {
        if self.row.object == "Tasks" {
            record.as_object_mut().unwrap().remove("UserId");
        }
    }

    async fn put_etag(&self, record: &mut Value, id: &str) {
        if self.row.etag {
            record["Etag"] = self.by_id(id, &["id", "Etag"]).await[0]["Etag"].clone();
        }
    }

    /// The columns of the place. A record that is there already is not told its plan: a task cannot change it.
    fn keys(&self, of_a_record: bool) -> Map<String, Value> {
        let place = self.row.place.iter().filter(|(name, _)| !of_a_record || *name != "planId");
        let owner = (self.row.owned && self.connection == "app").then_some(&("UserId", "<user>"));
        place
            .chain(owner)
            .map(|(name, value)| ((*name).to_owned(), self.facts.filled(value).into()))
            .collect()
    }
}

/// The bounds of a range come as the first value at and the last before.
fn operator(field: &str) -> &'static str {
    match field {
        "start_dateTime" => ">=",
        "end_dateTime" => "<=",
        _ => "=",
    }
}

fn ids<'a>(rows: impl Iterator<Item = &'a Value>) -> Vec<String> {
    let mut ids: Vec<String> = rows.map(|row| text(&row["id"])).collect();
    ids.sort();
    ids
}

/// Values as a service compares them: without regard to case; numbers as wide as each other.
fn text(value: &Value) -> String {
    match value {
        Value::String(text) => text.to_lowercase(),
        Value::Number(number) => format!("{:020.4}", number.as_f64().unwrap()),
        Value::Null => String::new(),
        other => other.to_string(),
    }
}
