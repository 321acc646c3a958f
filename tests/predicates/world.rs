//! The tenant as a naive reader sees it: every row of every place that the tables use, listed by plain requests to Graph,
//! each with the places that it is in. Also makes what a fresh tenant lacks. Knows nothing of the agent.

use std::collections::{BTreeMap, BTreeSet};

use o365_sandbox::{Sandbox, SandboxOptions};
use serde_json::{Value, json};

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

    fn at(mut self, column: &'static str, value: &str) -> Self {
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

const BLANK: Object = Object {
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

    async fn one(&self, path: &str) -> Value {
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

fn row(value: &Value) -> Row {
    let tag = value["@odata.etag"].as_str().or(value["eTag"].as_str());
    Row {
        id: value["id"].as_str().unwrap().to_owned(),
        etag: tag.map(str::to_owned),
        removable: true,
        ..Row::default()
    }
}

fn text<'a>(value: &'a Value, name: &str) -> &'a str {
    value[name].as_str().unwrap_or_default()
}

/// What a fresh tenant lacks: folders in folders, a second contact folder, a group of calendars, events of groups with
/// attachments, series.
async fn furnish(graph: &Graph, users: &[String; 2], groups: &[String]) {
    for user in users {
        let outer =
            graph.make(&format!("users/{user}/mailFolders"), json!({"displayName": "Projects"})).await;
        let inside = format!("users/{user}/mailFolders/{outer}/childFolders");
        let inner = graph.make(&inside, json!({"displayName": "Moon"})).await;
        for folder in [&outer, &inner] {
            for number in 0..2 {
                let path = format!("users/{user}/mailFolders/{folder}/messages");
                graph.make(&path, json!({"subject": format!("Draft {number}")})).await;
            }
        }
        let folder =
            graph.make(&format!("users/{user}/contactFolders"), json!({"displayName": "Friends"})).await;
        for name in ["Ada", "Bob"] {
            let path = format!("users/{user}/contactFolders/{folder}/contacts");
            graph.make(&path, json!({"givenName": name})).await;
        }
        let of_calendars =
            graph.make(&format!("users/{user}/calendarGroups"), json!({"name": "Teams"})).await;
        for name in ["Red", "Blue"] {
            let path = format!("users/{user}/calendarGroups/{of_calendars}/calendars");
            graph.make(&path, json!({"name": name})).await;
        }
        for day in [1, 2] {
            let event = graph.make(&format!("users/{user}/events"), series(day)).await;
            attach(graph, &format!("users/{user}/events/{event}")).await;
        }
    }
    for group in groups {
        for day in [1, 2] {
            let event = graph.make(&format!("groups/{group}/events"), series(day)).await;
            attach(graph, &format!("groups/{group}/events/{event}")).await;
        }
    }
}

async fn attach(graph: &Graph, path: &str) {
    for name in ["a.txt", "b.txt"] {
        let file = json!({"@odata.type": "#microsoft.graph.fileAttachment", "name": name, "contentBytes": "SGVsbG8="});
        graph.make(&format!("{path}/attachments"), file).await;
    }
}

/// A series in the span of time that the tables look at.
fn series(day: u32) -> Value {
    json!({"subject": format!("Series {day}"),
        "start": {"dateTime": format!("2027-03-0{day}T09:00:00"), "timeZone": "UTC"},
        "end": {"dateTime": format!("2027-03-0{day}T10:00:00"), "timeZone": "UTC"},
        "recurrence": {"pattern": {"type": "daily", "interval": 1},
            "range": {"type": "numbered", "startDate": format!("2027-03-0{day}"), "numberOfOccurrences": 3}}})
}

/// The span of time of calendar views, as query options and as bounds.
const SPAN: &str = "startDateTime=2027-03-01T00:00:00Z&endDateTime=2027-03-10T00:00:00Z";
pub(crate) const SPAN_BOUNDS: (&str, &str) = ("2027-03-01T00:00:00Z", "2027-03-10T00:00:00Z");

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
            .map(|group| text(group, "id").to_owned())
            .collect();
        furnish(graph, &users, &groups).await;
        let mut objects = mailboxes(graph, &users).await;
        objects.extend(calendars(graph, &users, &groups).await);
        objects.extend(drives_and_planner(graph, &users, &groups).await);
        objects.extend(directory(graph, &groups).await);
        objects.extend(bookings(graph).await);
        Self { objects, users }
    }
}

async fn mailboxes(graph: &Graph, users: &[String; 2]) -> Vec<Object> {
    let mut messages = Object {
        name: "Messages",
        places: &["UserId", "ParentFolderId"],
        update: r#"{"categories": ["T"]}"#,
        delete: true,
        ..BLANK
    };
    let mut folders = Object {
        name: "MailFolders",
        places: &["UserId", "ParentFolderId", "id"],
        update: r#"{"displayName": "T"}"#,
        delete: true,
        ..BLANK
    };
    let mut attachments = Object {
        name: "MessageAttachments",
        places: &["UserId", "Messages_id"],
        needs: &["Messages_id"],
        ..BLANK
    };
    let mut contacts = Object {
        name: "Contacts",
        places: &["UserId", "ParentFolderId"],
        update: r#"{"jobTitle": "T"}"#,
        delete: true,
        ..BLANK
    };
    for user in users {
        let top = graph.list(&format!("users/{user}/mailFolders?$top=100")).await;
        let mut waiting: Vec<(Value, bool)> = top
            .into_iter()
            .map(|folder| (folder.clone(), !["Projects"].contains(&text(&folder, "displayName"))))
            .collect();
        while let Some((folder, fixed)) = waiting.pop() {
            let id = text(&folder, "id").to_owned();
            let parent = text(&folder, "parentFolderId");
            let own = Row { removable: !fixed, within: Some(parent.to_owned()), ..row(&folder) };
            folders.rows.push(own.at("UserId", user).at("ParentFolderId", parent));
            let inner = graph.list(&format!("users/{user}/mailFolders/{id}/childFolders?$top=100")).await;
            waiting.extend(inner.into_iter().map(|folder| (folder, false)));
            for message in graph.list(&format!("users/{user}/mailFolders/{id}/messages?$top=100")).await {
                messages.rows.push(row(&message).at("UserId", user).at("ParentFolderId", &id));
                if message["hasAttachments"] == true {
                    let message = text(&message, "id");
                    let path = format!("users/{user}/messages/{message}/attachments");
                    for attachment in graph.list(&path).await {
                        attachments.rows.push(row(&attachment).at("UserId", user).at("Messages_id", message));
                    }
                }
            }
        }
        for folder in graph.list(&format!("users/{user}/contactFolders")).await {
            let id = text(&folder, "id");
            for contact in graph.list(&format!("users/{user}/contactFolders/{id}/contacts?$top=100")).await {
                let found = row(&contact).at("UserId", user).at("ParentFolderId", id);
                contacts.rows.push(found.at("isDefault", &(folder["displayName"] == "Contacts").to_string()));
            }
        }
    }
    for name in ["archive", "inbox", "msgfolderroot"] {
        let id = text(&graph.one(&format!("me/mailFolders/{name}")).await, "id").to_owned();
        if name != "msgfolderroot" {
            messages.names.push(("ParentFolderId", name, id.clone()));
            folders.names.push(("id", name, id.clone()));
        }
        folders.names.push(("ParentFolderId", name, id));
    }
    vec![messages, folders, attachments, contacts]
}

async fn calendars(graph: &Graph, users: &[String; 2], groups: &[String]) -> Vec<Object> {
    let mut events = Object {
        name: "Events",
        places: &["UserId", "CalendarId", "GroupId"],
        roots: &["GroupId"],
        update: r#"{"subject": "T"}"#,
        delete: true,
        ..BLANK
    };
    let mut own = Object {
        name: "Calendars",
        places: &["UserId", "CalendarGroupId", "GroupId"],
        roots: &["GroupId"],
        update: r#"{"color": "lightBlue"}"#,
        delete: true,
        ..BLANK
    };
    let mut view = Object {
        name: "CalendarView",
        places: &["UserId", "CalendarId", "GroupId"],
        roots: &["GroupId"],
        ..BLANK
    };
    let mut occurrences = Object {
        name: "EventOccurrences",
        places: &["UserId", "GroupId", "Events_id"],
        needs: &["Events_id"],
        roots: &["GroupId"],
        ..BLANK
    };
    let mut attachments =
        Object { name: "EventAttachments", ..Object { rows: Vec::new(), ..copy(&occurrences) } };
    let of_groups: Vec<_> =
        groups.iter().map(|group| ("GroupId", group.as_str(), format!("groups/{group}"))).collect();
    let of_users = users.iter().map(|user| ("UserId", user.as_str(), format!("users/{user}")));
    for (column, owner, path) in of_users.chain(of_groups) {
        let calendars = match column {
            "GroupId" => vec![graph.one(&format!("{path}/calendar")).await],
            _ => graph.list(&format!("{path}/calendars?$top=100")).await,
        };
        for calendar in calendars {
            let id = text(&calendar, "id");
            let default = calendar["isDefaultCalendar"] == true;
            let shown = Row { removable: !default, ..row(&calendar) };
            own.rows.push(shown.at(column, owner));
            let below = if column == "GroupId" { path.clone() } else { format!("{path}/calendars/{id}") };
            for event in graph.list(&format!("{below}/events?$top=100")).await {
                let event_id = text(&event, "id").to_owned();
                let mut found = row(&event).at(column, owner);
                if column == "UserId" {
                    found = found.at("CalendarId", id);
                }
                if event["type"] == "seriesMaster" {
                    let instances =
                        graph.list(&format!("{path}/events/{event_id}/instances?{SPAN}&$top=100")).await;
                    for occurrence in instances {
                        occurrences.rows.push(row(&occurrence).at(column, owner).at("Events_id", &event_id));
                    }
                    for attachment in graph.list(&format!("{path}/events/{event_id}/attachments")).await {
                        attachments.rows.push(row(&attachment).at(column, owner).at("Events_id", &event_id));
                    }
                }
                events.rows.push(found);
            }
            for event in graph.list(&format!("{below}/calendarView?{SPAN}&$top=100")).await {
                let mut found = row(&event).at(column, owner).at("isDefault", &default.to_string());
                if column == "UserId" {
                    found = found.at("CalendarId", id);
                }
                view.rows.push(found);
            }
        }
        if column == "UserId" {
            for group in graph.list(&format!("{path}/calendarGroups")).await {
                let group = text(&group, "id");
                for calendar in graph.list(&format!("{path}/calendarGroups/{group}/calendars?$top=100")).await
                {
                    let id = text(&calendar, "id");
                    let known = own.rows.iter_mut().find(|row| row.id == id).unwrap();
                    known.places.entry("CalendarGroupId").or_default().push(group.to_owned());
                }
            }
        }
    }
    vec![events, own, view, occurrences, attachments]
}

fn copy(object: &Object) -> Object {
    Object { names: object.names.clone(), rows: object.rows.clone(), ..*object }
}

async fn drives_and_planner(graph: &Graph, users: &[String; 2], groups: &[String]) -> Vec<Object> {
    let mut files = Object {
        name: "Files",
        places: &["UserId", "GroupId", "parentReference_driveId", "parentReference_id"],
        roots: &["GroupId", "parentReference_driveId"],
        update: r#"{"description": "T"}"#,
        delete: true,
        settable: &["parentReference_id"],
        ..BLANK
    };
    let of_groups = groups.iter().map(|group| ("GroupId", group, format!("groups/{group}/drive")));
    let of_users = users.iter().map(|user| ("UserId", user, format!("users/{user}/drive")));
    for (column, owner, path) in of_users.chain(of_groups) {
        let drive = text(&graph.one(&path).await, "id").to_owned();
        let root = text(&graph.one(&format!("{path}/root")).await, "id").to_owned();
        if files.names.is_empty() {
            files.names.push(("parentReference_id", "root", root.clone()));
        }
        let mut waiting = vec![root];
        while let Some(folder) = waiting.pop() {
            for item in graph.list(&format!("{path}/items/{folder}/children")).await {
                if item["folder"].is_object() {
                    waiting.push(text(&item, "id").to_owned());
                }
                let found = Row { within: Some(folder.clone()), ..row(&item) };
                let found = found.at(column, owner).at("parentReference_driveId", &drive);
                files.rows.push(found.at("parentReference_id", &folder));
            }
        }
    }
    let mut tasks = Object {
        name: "Tasks",
        places: &["UserId", "planId", "bucketId"],
        roots: &["planId", "bucketId", "id"],
        update: r#"{"title": "T"}"#,
        delete: true,
        settable: &["planId", "bucketId"],
        ..BLANK
    };
    let mut plans =
        Object { name: "Plans", places: &["UserId", "GroupId"], roots: &["GroupId", "id"], ..BLANK };
    for group in groups {
        for plan in graph.list(&format!("groups/{group}/planner/plans")).await {
            let id = text(&plan, "id").to_owned();
            for task in graph.list(&format!("planner/plans/{id}/tasks")).await {
                let found = row(&task).at("planId", &id).at("bucketId", text(&task, "bucketId"));
                tasks.rows.push(found);
            }
            plans.rows.push(row(&plan).at("GroupId", group));
        }
    }
    for user in users {
        for (object, name) in [(&mut tasks, "tasks"), (&mut plans, "plans")] {
            for of_user in graph.list(&format!("users/{user}/planner/{name}")).await {
                let id = text(&of_user, "id");
                match object.rows.iter_mut().find(|row| row.id == id) {
                    Some(known) => known.places.entry("UserId").or_default().push(user.clone()),
                    None if name == "tasks" => {
                        let places = row(&of_user).at("UserId", user).at("planId", text(&of_user, "planId"));
                        object.rows.push(places.at("bucketId", text(&of_user, "bucketId")));
                    }
                    None => object.rows.push(row(&of_user).at("UserId", user)),
                }
            }
        }
    }
    vec![files, tasks, plans]
}

async fn directory(graph: &Graph, groups: &[String]) -> Vec<Object> {
    let mut users = Object {
        name: "Users",
        places: &["id"],
        owned: false,
        update: r#"{"jobTitle": "T"}"#,
        delete: true,
        ..BLANK
    };
    for user in graph.list("users").await {
        users.rows.push(row(&user));
        if users.names.len() < 2 {
            let name: &'static str = text(&user, "userPrincipalName").to_owned().leak();
            users.names.push(("id", name, text(&user, "id").to_owned()));
        }
    }
    let mut all_groups = Object {
        name: "Groups",
        places: &["id"],
        owned: false,
        update: r#"{"description": "T"}"#,
        delete: true,
        ..BLANK
    };
    all_groups.rows.extend(graph.list("groups").await.iter().map(row));
    let mut conversations = Object {
        name: "Conversations",
        places: &["GroupId"],
        needs: &["GroupId"],
        owned: false,
        delete: true,
        ..BLANK
    };
    for group in groups {
        for conversation in graph.list(&format!("groups/{group}/conversations")).await {
            conversations.rows.push(row(&conversation).at("GroupId", group));
        }
    }
    vec![users, all_groups, conversations]
}

async fn bookings(graph: &Graph) -> Vec<Object> {
    let of_business = |name, update| Object {
        name,
        places: &["BusinessId"],
        needs: &["BusinessId"],
        owned: false,
        update,
        delete: true,
        ..BLANK
    };
    let mut found = vec![Object {
        name: "BookingBusinesses",
        places: &["id"],
        owned: false,
        update: r#"{"phone": "T"}"#,
        delete: true,
        ..BLANK
    }];
    let businesses = graph.list("solutions/bookingBusinesses").await;
    found[0].rows.extend(businesses.iter().map(row));
    for (name, segment, update) in [
        ("BookingAppointments", "appointments", r#"{"serviceNotes": "T"}"#),
        ("BookingCustomers", "customers", r#"{"displayName": "T"}"#),
        ("BookingCustomQuestions", "customQuestions", r#"{"displayName": "T"}"#),
        ("BookingServices", "services", r#"{"description": "T"}"#),
        ("BookingStaffMembers", "staffMembers", r#"{"displayName": "T"}"#),
    ] {
        let mut object = of_business(name, update);
        for business in &businesses {
            let business = text(business, "id");
            for own in graph.list(&format!("solutions/bookingBusinesses/{business}/{segment}")).await {
                object.rows.push(row(&own).at("BusinessId", business));
            }
        }
        found.push(object);
    }
    found
}
