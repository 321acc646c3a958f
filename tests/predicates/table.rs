//! The table: every object, every column that chooses a place, alone and beside others, read, changed and removed by
//! conditions, keys and records. Every cell does what a naive reader expects, or is refused before anything is sent.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Instant;

use o365_sandbox::{Checkpoint, Sandbox};
use serde_json::{Map, Value, json};

use crate::condition::{Condition, is, json_of};
use crate::generate::{Activity, Cell, How, cells};
use crate::rows::SPAN_BOUNDS;
use crate::support::{Agent, Answer, Setup, application, delegated};
use crate::world::{Graph, Object, World, small_tenant};

/// A tenant with an agent, and what the tenant was like before anything was written.
pub(crate) struct Bench {
    pub(crate) sandbox: Sandbox,
    pub(crate) agent: Agent,
    pub(crate) graph: Graph,
    pub(crate) world: World,
    checkpoint: Checkpoint,
    before: BTreeMap<String, String>,
    http: reqwest::Client,
}

/// How a cell ended.
enum Outcome {
    Right,
    Refused,
    Wrong(String),
}

impl Bench {
    pub(crate) async fn new() -> Self {
        let sandbox = small_tenant();
        let graph = Graph::new(&sandbox);
        let world = World::furnished(&sandbox, &graph).await;
        let user = format!("      UserId: {}\n", world.users[0]);
        let agent = Setup::new()
            .conf("[Logging]\nFormat=json\nLevel=info\n")
            .drop_in("mail.yaml", &delegated(&sandbox, "mail", ""))
            .drop_in("app.yaml", &application(&sandbox, "app", &user))
            .start();
        agent.await_state("mail", "ok").await;
        agent.await_state("app", "ok").await;
        // An answer that breaks off closes its connection.
        let http = reqwest::Client::builder().no_proxy().pool_max_idle_per_host(0).build().unwrap();
        let (checkpoint, before) = (sandbox.checkpoint(), sandbox.row_versions());
        Self { sandbox, agent, graph, world, checkpoint, before, http }
    }

    /// The ids of rows of the object's kind that were there before and are not there, or not the same, any more.
    pub(crate) fn changed(&self, object: &Object) -> BTreeSet<String> {
        let kind = |text: &str| text.split(' ').next().unwrap_or_default().to_owned();
        // Attachments and occurrences are parts of other rows; nothing writes them here.
        let Some(own) = self.before.get(&object.rows[0].id).map(|version| kind(version)) else {
            return BTreeSet::new();
        };
        let now = self.sandbox.row_versions();
        self.before
            .iter()
            .filter(|(id, version)| kind(version) == own && now.get(*id) != Some(version))
            .map(|(id, _)| id.clone())
            .collect()
    }

    /// A call of an activity. An answer that breaks off, because the query failed behind its first rows, has the status 599.
    pub(crate) async fn post(&self, path: &str, body: Value) -> Answer {
        let request = self
            .http
            .post(format!("{}{path}", self.agent.base))
            .header("authorization", format!("Bearer {}", self.agent.token))
            .header("content-type", "application/json")
            .body(body.to_string());
        let broken = |headers, body| Answer { status: 599, headers, body };
        let Ok(mut response) = request.send().await else {
            return broken(http::HeaderMap::new(), Vec::new());
        };
        let (status, headers) = (response.status().as_u16(), response.headers().clone());
        let mut body = Vec::new();
        loop {
            match response.chunk().await {
                Ok(Some(chunk)) => body.extend_from_slice(&chunk),
                Ok(None) => return Answer { status, headers, body },
                Err(_) => return broken(headers, body),
            }
        }
    }

    pub(crate) fn restore(&self) {
        self.sandbox.restore(&self.checkpoint);
    }
}

/// Users and groups, and others' mailboxes and drives, are an application's business; groups' calendars a member's.
pub(crate) fn connection(object: &Object, names_user: bool) -> &'static str {
    if names_user || ["Users", "Groups", "Files"].contains(&object.name) { "app" } else { "mail" }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_place_of_every_object_is_used_or_refused() {
    let bench = Bench::new().await;
    every_object_is_here(&bench).await;
    let began = Instant::now();
    let (mut right, mut refused, mut wrong) = (0, 0, Vec::new());
    for object in &bench.world.objects {
        let mut own = (0, 0);
        for cell in cells(object, &bench.world) {
            match bench.try_cell(object, &cell).await {
                Outcome::Right => own.0 += 1,
                Outcome::Refused => own.1 += 1,
                Outcome::Wrong(why) => wrong.push(format!(
                    "{} {} {} {:?} {:?}\n    {why}",
                    object.name, cell.place, cell.variant, cell.activity, cell.how
                )),
            }
        }
        eprintln!("{:24} {:4} right {:4} refused", object.name, own.0, own.1);
        right += own.0;
        refused += own.1;
    }
    eprintln!("{right} cells right, {refused} refused, {} wrong in {:?}", wrong.len(), began.elapsed());
    assert!(wrong.is_empty(), "{} cells are wrong:\n{}", wrong.len(), wrong.join("\n"));
    assert!(right >= RIGHT, "{right} cells are right, {RIGHT} were: what was right is not to be refused");
    assert_eq!(right + refused, ALL, "cells of the table");
}

/// The cells of the table.
const ALL: usize = 2901;
/// Those that were right when the table was last looked at; the others are refused.
const RIGHT: usize = 1286;

async fn every_object_is_here(bench: &Bench) {
    let listed = bench.agent.get("/v1/connections/mail/objects").await.expect(200);
    let listed = listed["objects"].as_array().unwrap().iter();
    let listed: BTreeSet<&str> = listed.map(|object| object["name"].as_str().unwrap()).collect();
    let here: BTreeSet<&str> = bench.world.objects.iter().map(|object| object.name).collect();
    assert_eq!(listed, here);
    for object in &bench.world.objects {
        let path = format!("/v1/connections/mail/objects/{}", object.name);
        let described = bench.agent.get(&path).await.expect(200);
        let lower = |name: &str| name.to_lowercase();
        let places: BTreeSet<String> = described["pathColumns"]
            .as_array()
            .unwrap()
            .iter()
            .map(|name| lower(name.as_str().unwrap()))
            .filter(|name| name != "id")
            .collect();
        let own = object.places.iter().filter(|place| **place != "id").map(|place| lower(place));
        assert_eq!(places, own.collect(), "{}", object.name);
    }
}

impl Bench {
    async fn try_cell(&self, object: &Object, cell: &Cell) -> Outcome {
        match (&cell.how, cell.activity) {
            (How::Conditions(conditions), Activity::Query) => self.query(object, conditions).await,
            (How::Conditions(conditions), activity) => {
                let mut body = json!({"object": object.name, "conditions": json_of(conditions), "continueOnError": true});
                if activity == Activity::Update {
                    body["set"] = serde_json::from_str(update_of(object)).unwrap();
                }
                let meant = object.meant(conditions, &self.world);
                let names_user = conditions.iter().any(|condition| condition.names("UserId"));
                self.write(object, activity, body, &meant, names_user).await
            }
            (How::Keys(keys, places), activity) => {
                let mut body = json!({"object": object.name, "keys": keys, "continueOnError": true});
                if activity == Activity::Update {
                    let mut set: Map<String, Value> = serde_json::from_str(update_of(object)).unwrap();
                    set.extend(places.iter().map(|(column, value)| ((*column).to_owned(), json!(value))));
                    body["set"] = set.into();
                }
                // A Delete takes ids alone, so they are those of the connection's user.
                let places: &[_] = if activity == Activity::Update { places } else { &[] };
                let meant = keys.iter().flat_map(|id| self.record(object, id, places)).collect();
                let names_user = places.iter().any(|(column, _)| *column == "UserId");
                self.write(object, activity, body, &meant, names_user).await
            }
            (How::Record(id, places), activity) => {
                let mut record = Map::new();
                if activity == Activity::Update {
                    record = serde_json::from_str(update_of(object)).unwrap();
                }
                record.insert("id".to_owned(), json!(id));
                if object.name == "Tasks" {
                    record.insert("Etag".to_owned(), json!(object.row(id).etag));
                }
                record.extend(places.iter().map(|(column, value)| ((*column).to_owned(), json!(value))));
                let body = json!({"object": object.name, "records": [record], "continueOnError": true});
                let meant = self.record(object, id, places);
                let names_user = places.iter().any(|(column, _)| *column == "UserId");
                self.write(object, activity, body, &meant, names_user).await
            }
        }
    }

    /// The record of that id, if it is where the places say.
    fn record(&self, object: &Object, id: &str, places: &[(&'static str, String)]) -> BTreeSet<String> {
        let places = places.iter().map(|(column, value)| is(column, value));
        object.meant(&places.chain([is("id", id)]).collect::<Vec<_>>(), &self.world)
    }

    /// Reads, and compares the ids and what the rows say of their places.
    async fn query(&self, object: &Object, conditions: &[Condition]) -> Outcome {
        let columns: Vec<&str> = object.places.iter().filter(|place| **place != "id").copied().collect();
        let carried = |column: &&str| match object.name {
            "Events" => *column != "CalendarId",
            "Calendars" => *column != "CalendarGroupId",
            "CalendarView" | "EventAttachments" => *column != "GroupId",
            _ => true,
        };
        let mut fields: Vec<&str> = vec!["id"];
        fields.extend(columns.into_iter().filter(carried));
        let mut all = json_of(conditions);
        if let Some((start, end)) = bounds(object) {
            let bound = |field: &str, operator: &str, value: &str| json!({"field": field, "operator": operator, "value": value});
            let list = all.as_array_mut().unwrap();
            list.push(bound(start, ">=", SPAN_BOUNDS.0));
            list.push(bound(end, "<=", SPAN_BOUNDS.1));
        }
        let names_user = conditions.iter().any(|condition| condition.names("UserId"));
        let path = format!("/v1/connections/{}/query", connection(object, names_user));
        let body = json!({"object": object.name, "fields": fields, "conditions": all});
        let answer = self.post(&path, body).await;
        let meant = object.meant(conditions, &self.world);
        if answer.status != 200 {
            return refusal(&answer, &meant);
        }
        let answer = answer.json();
        let mut found = Vec::new();
        for row in answer["rows"].as_array().unwrap() {
            let id = row["id"].as_str().unwrap().to_owned();
            let Some(known) = object.rows.iter().find(|known| known.id == id) else {
                return Outcome::Wrong(format!("a row that nobody has: {row}"));
            };
            let values = fields[1..].iter().filter_map(|column| Some((*column, row[*column].as_str()?)));
            if let Some((column, value)) =
                values.into_iter().find(|(column, value)| !known.has(column, value))
            {
                return Outcome::Wrong(format!("{column} of a row is said to be {value}, which is not true"));
            }
            found.push(id);
        }
        found.sort();
        if ["Tasks", "Plans"].contains(&object.name) {
            // One may be several users', and comes with each.
            found.dedup();
        }
        if answer["complete"] != true && found.iter().all(|id| meant.contains(id)) {
            // It says itself that a place could not be read.
            return Outcome::Refused;
        }
        if found.iter().eq(&meant) { Outcome::Right } else { Outcome::Wrong(differs(&meant, &found)) }
    }

    async fn write(
        &self,
        object: &Object,
        activity: Activity,
        body: Value,
        meant: &BTreeSet<String>,
        names_user: bool,
    ) -> Outcome {
        let kind = if activity == Activity::Update { "update" } else { "delete" };
        let path = format!("/v1/connections/{}/{kind}", connection(object, names_user));
        let answer = self.post(&path, body).await;
        let changed = self.changed(object);
        if !changed.is_empty() {
            self.restore();
        }
        let expected = match activity {
            Activity::Delete => object.gone_with(meant),
            _ => meant.clone(),
        };
        let kept: BTreeSet<&String> = meant.difference(&expected).collect();
        let outcome = refusal(&answer, &expected);
        match (&outcome, changed.is_empty()) {
            (Outcome::Refused, true) => outcome,
            _ if changed == expected && answer.status < 300 => Outcome::Right,
            // What the service keeps (the inbox, the default calendar) is refused by itself.
            (_, true) if kept.len() == meant.len() && answer.status < 300 => Outcome::Right,
            _ => Outcome::Wrong(format!("{}; {}", differs(&expected, &changed), answer.text())),
        }
    }
}

fn update_of(object: &Object) -> &'static str {
    if object.update.is_empty() { r#"{"subject": "T"}"# } else { object.update }
}

fn bounds(object: &Object) -> Option<(&'static str, &'static str)> {
    match object.name {
        "CalendarView" => Some(("start_dateTime", "end_dateTime")),
        "EventOccurrences" => Some(("StartDateTime", "EndDateTime")),
        _ => None,
    }
}

/// Whether an answer says that the agent refused, or that the service knows no such thing where there is none.
fn refusal(answer: &Answer, expected: &BTreeSet<String>) -> Outcome {
    let text = answer.text();
    let body = serde_json::from_str(&text).unwrap_or(Value::Null);
    let by_agent =
        |error: &Value| error["graph"].is_null() && !error["code"].as_str().unwrap_or_default().is_empty();
    if answer.status == 200 {
        let results = body["results"].as_array().cloned().unwrap_or_default();
        let refused =
            |result: &Value| by_agent(&result["error"]) || expected.is_empty() && !result["error"].is_null();
        let all = !results.is_empty() && results.iter().all(refused);
        return if all { Outcome::Refused } else { Outcome::Right };
    }
    let is_refused = (400..500).contains(&answer.status) && (by_agent(&body) || expected.is_empty());
    if is_refused || expected.is_empty() && answer.status == 502 {
        Outcome::Refused
    } else {
        Outcome::Wrong(format!("{}: {text}", answer.status))
    }
}

fn differs<'a>(expected: &BTreeSet<String>, found: impl IntoIterator<Item = &'a String>) -> String {
    let found: Vec<&String> = found.into_iter().collect();
    let missing: Vec<&String> = expected.iter().filter(|id| !found.contains(id)).collect();
    let extra: Vec<&&String> = found.iter().filter(|id| !expected.contains(**id)).collect();
    format!("{} expected, {} found; missing {missing:?}; too many {extra:?}", expected.len(), found.len())
}
