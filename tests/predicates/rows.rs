//! Makes what a fresh tenant lacks and lists every row of every place, by plain requests. Never asks the agent.

use serde_json::{Value, json};

use crate::world::{BLANK, Graph, Object, Row};

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

/// Makes what is missing and lists the rows of every object.
pub(crate) async fn of_all_objects(graph: &Graph, users: &[String; 2], groups: &[String]) -> Vec<Object> {
    furnish(graph, users, groups).await;
    let mut objects = mailboxes(graph, users).await;
    objects.extend(calendars(graph, users, groups).await);
    objects.extend(drives(graph, users, groups).await);
    objects.extend(planner(graph, users).await);
    objects.extend(directory(graph, groups).await);
    objects.extend(bookings(graph).await);
    objects
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

async fn drives(graph: &Graph, users: &[String; 2], groups: &[String]) -> Vec<Object> {
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
    vec![files]
}

/// The plans of all groups: a plan is read by its id, whose ever it is.
async fn planner(graph: &Graph, users: &[String; 2]) -> Vec<Object> {
    let groups = graph.list("groups").await;
    let groups = groups.iter().filter(|group| group["mailEnabled"] == true).map(|group| text(group, "id"));
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
    vec![tasks, plans]
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
