//! The tenant as a naive reader sees it: every row of every place that the tables use, listed by plain requests to Graph,
//! each with the places that it is in (`rows.rs`). Knows nothing of the agent.

use std::collections::{BTreeMap, BTreeSet};

use o365_sandbox::{Sandbox, SandboxOptions};
use serde_json::Value;

use crate::condition::Condition;
use crate::support::{Answer, client};

/// A row with what is true of its place.
#[derive(Clone, Debug, Default)]
pub(crate) struct Row {
    pub(crate) id: String,
    pub(crate) etag: Option<String>,
    /// The folder that it lies in, which is deleted with what is in it.
    pub(crate) within: Option<String>,
    /// Whether the service lets it be deleted.
    pub(crate) removable: bool,
    /// Columns with all values that are true of it; a column that is not here has none.
    pub(crate) places: BTreeMap<&'static str, Vec<String>>,
}

impl Row {
    /// Whether the column has that value. Ids compare as they are; users and groups without regard to case.
    pub(crate) fn has(&self, column: &str, value: &str) -> bool {
        let same = |known: &String| match column {
            "UserId" | "GroupId" => known.eq_ignore_ascii_case(value),
            _ => known == value,
        };
        if column == "id" { self.id == value } else { self.values(column).iter().any(same) }
    }

    pub(crate) fn values(&self, column: &str) -> &[String] {
        self.places.get(column).map_or(&[], Vec::as_slice)
    }

    pub(crate) fn at(mut self, column: &'static str, value: &str) -> Self {
        self.places.entry(column).or_default().push(value.to_owned());
        self
    }
}

/// An object of the tables.
pub(crate) struct Object {
    pub(crate) name: &'static str,
    /// The columns that choose places.
    pub(crate) places: &'static [&'static str],
    /// The ones without which nothing is read.
    pub(crate) needs: &'static [&'static str],
    /// A positive condition on one of these replaces the connection's user.
    pub(crate) roots: &'static [&'static str],
    /// Whether it is somebody's when nothing says whose.
    pub(crate) owned: bool,
    /// What an Update writes; nothing where there is no Update.
    pub(crate) update: &'static str,
    pub(crate) delete: bool,
    /// Columns that an Update sets, so that a record with one says nothing of where it is.
    pub(crate) settable: &'static [&'static str],
    pub(crate) rows: Vec<Row>,
    /// Names that paths take: column, name, id.
    pub(crate) names: Vec<(&'static str, &'static str, String)>,
}

/// All objects.
pub(crate) struct World {
    pub(crate) objects: Vec<Object>,
    pub(crate) users: [String; 2],
}

pub(crate) const BLANK: Object = Object {
    name: "",
    places: &[],
    needs: &[],
    roots: &[],
    owned: true,
    update: "",
    delete: false,
    settable: &[],
    rows: Vec::new(),
    names: Vec::new(),
};

impl Object {
    /// The ids of the rows that a caller means by these conditions.
    pub(crate) fn meant(&self, conditions: &[Condition], world: &World) -> BTreeSet<String> {
        self.chosen(conditions, world).map(|row| row.id.clone()).collect()
    }

    fn chosen<'a>(
        &'a self,
        conditions: &'a [Condition],
        world: &'a World,
    ) -> impl Iterator<Item = &'a Row> + 'a {
        self.rows.iter().filter(move |row| self.is_meant(row, conditions, world))
    }

    /// Whether a caller means that row by these conditions.
    pub(crate) fn is_meant(&self, row: &Row, conditions: &[Condition], world: &World) -> bool {
        let chosen: Vec<&str> = conditions.iter().filter_map(Condition::chosen_column).collect();
        let says_whose = chosen.iter().any(|column| *column == "UserId" || self.roots.contains(column));
        let in_scope = !self.owned || says_whose || row.has("UserId", &world.users[0]);
        // Without a calendar a view shows the default one, and contacts come from the default folder.
        let is_default = || row.values("isDefault").iter().any(|value| value == "true");
        let default_place = match self.name {
            "CalendarView" => chosen.contains(&"CalendarId") || is_default(),
            "Contacts" => ["ParentFolderId", "id"].iter().any(|known| chosen.contains(known)) || is_default(),
            _ => true,
        };
        let id_of = |column: &str, value: &str| {
            let known = self
                .names
                .iter()
                .find(|(named, name, _)| *named == column && name.eq_ignore_ascii_case(value));
            known.map_or_else(|| value.to_owned(), |(_, _, id)| id.clone())
        };
        in_scope && default_place && conditions.iter().all(|condition| condition.holds(row, &id_of))
    }

    /// The rows that change when those are deleted: the service keeps some, and a folder goes with what is in it.
    pub(crate) fn gone_with(&self, ids: &BTreeSet<String>) -> BTreeSet<String> {
        let mut gone: BTreeSet<String> = self
            .rows
            .iter()
            .filter(|row| row.removable && ids.contains(&row.id))
            .map(|row| row.id.clone())
            .collect();
        loop {
            let inner: Vec<String> = self
                .rows
                .iter()
                .filter(|row| row.within.as_ref().is_some_and(|within| gone.contains(within)))
                .map(|row| row.id.clone())
                .filter(|id| !gone.contains(id))
                .collect();
            if inner.is_empty() {
                return gone;
            }
            gone.extend(inner);
        }
    }

    pub(crate) fn row(&self, id: &str) -> &Row {
        self.rows.iter().find(|row| row.id == id).unwrap()
    }
}

/// A tenant that is small, so that a table of thousands of cells is quick.
pub(crate) fn small_tenant() -> Sandbox {
    Sandbox::start(SandboxOptions {
        messages_per_mailbox: 24,
        messages_in_other_mailboxes: 12,
        contacts_per_mailbox: 5,
        events_per_mailbox: 10,
        ..SandboxOptions::default()
    })
}

/// Plain requests to Graph.
pub(crate) struct Graph {
    http: reqwest::Client,
    url: String,
    own: String,
    application: String,
    first: String,
}

impl Graph {
    pub(crate) fn new(sandbox: &Sandbox) -> Self {
        Self {
            http: client(),
            url: sandbox.graph_url(),
            own: sandbox.issue_delegated_tokens(&sandbox.first_user().upn).access_token,
            application: sandbox.issue_app_token().access_token,
            first: sandbox.first_user().upn,
        }
    }

    pub(crate) async fn call(&self, method: &str, path: &str, body: Option<Value>) -> Answer {
        // Another user's things are an application's business, a group's calendar a member's.
        let foreign = path.starts_with("users/") && !path.starts_with(&format!("users/{}", self.first));
        let token = if foreign || path == "users" { &self.application } else { &self.own };
        let url = if path.starts_with("http") { path.to_owned() } else { format!("{}/{path}", self.url) };
        let method: http::Method = method.parse().unwrap();
        let mut request = self.http.request(method, url).header("authorization", format!("Bearer {token}"));
        if let Some(body) = body {
            request = request.header("content-type", "application/json").body(body.to_string());
        }
        Answer::read(request.send().await.unwrap()).await
    }

    pub(crate) async fn make(&self, path: &str, body: Value) -> String {
        let answer = self.call("POST", path, Some(body)).await;
        assert!(answer.status < 300, "{path}: {}", answer.text());
        answer.json()["id"].as_str().unwrap().to_owned()
    }

    pub(crate) async fn one(&self, path: &str) -> Value {
        self.call("GET", path, None).await.expect(200)
    }

    /// All rows of a collection.
    pub(crate) async fn list(&self, path: &str) -> Vec<Value> {
        let mut rows = Vec::new();
        let mut next = path.to_owned();
        loop {
            let page = self.call("GET", &next, None).await.expect(200);
            rows.extend(page["value"].as_array().unwrap().iter().cloned());
            match page["@odata.nextLink"].as_str() {
                // The token of the first page goes for the next ones too.
                Some(link) => next = link.split_once("/v1.0/").unwrap().1.to_owned(),
                None => return rows,
            }
        }
    }
}

impl World {
    /// Makes what is missing and reads everything.
    pub(crate) async fn furnished(sandbox: &Sandbox, graph: &Graph) -> Self {
        let users = [sandbox.first_user().upn, sandbox.user(1).upn];
        let groups: Vec<String> = graph
            .list("groups")
            .await
            .iter()
            .filter(|group| group["mailEnabled"] == true)
            .take(2)
            .map(|group| group["id"].as_str().unwrap().to_owned())
            .collect();
        let objects = crate::rows::of_all_objects(graph, &users, &groups).await;
        Self { objects, users }
    }
}
