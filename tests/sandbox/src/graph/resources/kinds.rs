//! What single kinds of resources need beyond their rules: properties that follow from others, and rows that come or
//! go with a row.
//! Never answers a request.

use super::path::ResourcePath;
use super::rules::{Rule, Within};
use crate::data::documents::Document;
use crate::data::seeds::mail_id;
use crate::graph::dispatch::Context;
use crate::graph::errors::GraphError;
use crate::state::State;
use crate::time::{instant, now_seconds};
use serde_json::{Map, Value, json};

type Fields = Map<String, Value>;

/// Completes the properties of a new row; answers what it belongs to and what it lies in.
pub(super) fn prepare(
    state: &mut State,
    context: &Context,
    path: &ResourcePath,
    fields: &mut Fields,
    raw: &Fields,
) -> Result<(String, String), GraphError> {
    let now = instant(now_seconds());
    let author = author(context);
    let first = path.ids.first().cloned().unwrap_or_default();
    let own = context.user.as_ref().map(|user| user.id.clone()).unwrap_or_default();
    match path.place.rule.table {
        "groups" => {
            new_group(state, fields, raw)?;
            fields.insert("createdDateTime".into(), now.into());
            Ok(Default::default())
        }
        "conversations" => {
            first_post(&raw["threads"][0])?;
            Ok((first, String::new()))
        }
        "threads" => {
            first_post(&Value::Object(raw.clone()))?;
            fields.insert("isLocked".into(), false.into());
            for name in ["toRecipients", "ccRecipients"] {
                fields.entry(name).or_insert_with(|| json!([]));
            }
            let conversation = match path.place.within {
                Within::Parent => path.ids.get(1).cloned().unwrap_or_default(),
                _ => mail_id("AAQkA", state.fresh.number(), 1),
            };
            Ok((first, conversation))
        }
        "plans" => {
            let group =
                container(raw).ok_or_else(|| planner_refusal("A plan needs a container: a group."))?;
            let known = state.documents.people.get(&group);
            let (members, owners) =
                known.ok_or_else(|| planner_refusal("The container is not a group of this tenant."))?;
            if context
                .asker
                .as_ref()
                .is_some_and(|user| !members.contains(&user.id) && !owners.contains(&user.id))
            {
                return Err(GraphError::new(
                    403,
                    "",
                    "You do not have the required permissions to access this item.",
                ));
            }
            let url = format!("https://graph.microsoft.com/v1.0/groups/{group}");
            fields.insert("container".into(), json!({"containerId": group, "type": "group", "url": url}));
            fields.insert("owner".into(), group.as_str().into());
            fields.insert("createdDateTime".into(), now.into());
            fields.insert("createdBy".into(), author);
            Ok((group, String::new()))
        }
        "buckets" | "tasks" => {
            let plan = text(raw, "planId");
            let scope = state.documents.get("plans", &plan).map(|plan| plan.scope.clone());
            let scope = scope.ok_or_else(|| planner_refusal("The field 'PlanId' does not name a plan."))?;
            if path.place.rule.table == "tasks" {
                check_task(state, fields, &plan)?;
                new_task(fields, &author, &now);
            } else {
                fields.insert("orderHint".into(), "85752723360752+".into());
            }
            Ok((scope, plan))
        }
        "todoLists" => {
            fields.extend([("isOwner".to_owned(), true.into()), ("isShared".to_owned(), false.into())]);
            fields.insert("wellknownListName".into(), "none".into());
            Ok((own, String::new()))
        }
        "todoTasks" => {
            for (name, value) in [("status", "notStarted"), ("importance", "normal")] {
                fields.entry(name).or_insert_with(|| value.into());
            }
            fields.insert("createdDateTime".into(), now.clone().into());
            fields.insert("lastModifiedDateTime".into(), now.into());
            Ok((first, String::new()))
        }
        "calendarGroups" => {
            fields.insert("classId".into(), state.fresh.guid().into());
            fields.insert("changeKey".into(), state.fresh.opaque(18).into());
            Ok((own, String::new()))
        }
        "bookingAppointments" => {
            let service = text(raw, "serviceId");
            let known = state.documents.get("bookingServices", &service).filter(|row| row.scope == first);
            let name = known.and_then(|row| row.fields.get("displayName").cloned());
            let name = name
                .ok_or_else(|| GraphError::bad_request("The service of the appointment does not exist."))?;
            fields.entry("serviceName").or_insert(name);
            fields.entry("customers").or_insert_with(|| json!([]));
            Ok((first, String::new()))
        }
        "bookingBusinesses" => {
            fields.insert("isPublished".into(), false.into());
            Ok(Default::default())
        }
        _ => Ok((first, String::new())),
    }
}

/// Makes the rows that come with a new one.
pub(super) fn created(
    state: &mut State,
    context: &Context,
    path: &ResourcePath,
    id: &str,
    raw: &Fields,
) -> Result<(), GraphError> {
    let group = path.ids.first().cloned().unwrap_or_default();
    match path.place.rule.table {
        "groups" => {
            let bound = |name: &str| -> Vec<String> {
                let list = raw.get(&format!("{name}@odata.bind")).and_then(Value::as_array);
                list.into_iter()
                    .flatten()
                    .filter_map(|url| url.as_str()?.rsplit('/').next().map(str::to_owned))
                    .collect()
            };
            let mut owners = bound("owners");
            owners.extend(context.asker.as_ref().filter(|_| owners.is_empty()).map(|user| user.id.clone()));
            state.documents.people.insert(id.to_owned(), (bound("members"), owners));
        }
        "conversations" => {
            for thread in raw["threads"].as_array().into_iter().flatten() {
                let thread_id = mail_id("AAQkA", state.fresh.number(), 2);
                let topic = raw["topic"].clone();
                let fields =
                    json!({"topic": topic, "isLocked": false, "toRecipients": [], "ccRecipients": []});
                let row = document(&thread_id, &group, id, fields);
                state.documents.table("threads").add(row);
                deliver(state, context, &thread_id, &thread["posts"][0]);
            }
        }
        "threads" => {
            let conversation =
                state.documents.get("threads", id).map(|row| row.parent.clone()).unwrap_or_default();
            if state.documents.get("conversations", &conversation).is_none() {
                let row = document(&conversation, &group, "", json!({"topic": raw["topic"]}));
                state.documents.table("conversations").add(row);
            }
            deliver(state, context, id, &raw["posts"][0]);
        }
        "plans" => {
            let row = document(id, "", "", json!({"sharedWith": {}, "categoryDescriptions": {}}));
            state.documents.table("planDetails").add(row);
        }
        "tasks" => {
            let fields =
                json!({"description": "", "previewType": "automatic", "references": {}, "checklist": {}});
            state.documents.table("taskDetails").add(document(id, "", "", fields));
        }
        _ => {}
    }
    Ok(())
}

/// Changes a row's properties.
pub(super) fn change(
    state: &mut State,
    context: &Context,
    rule: &Rule,
    id: &str,
    fields: Fields,
) -> Result<(), GraphError> {
    if rule.table == "tasks" {
        let plan =
            state.documents.get("tasks", id).map(|row| text(&row.fields, "planId")).unwrap_or_default();
        check_task(state, &fields, &plan)?;
    }
    let described = (rule.table == "taskDetails").then(|| fields.get("description").cloned()).flatten();
    let author = author(context);
    let Some(row) = state.documents.table(rule.table).get_mut(id) else {
        return Err(GraphError::item_not_found());
    };
    row.version += 1;
    for (name, value) in fields {
        match (rule.table, name.as_str(), value) {
            (
                "tasks" | "taskDetails",
                "assignments" | "appliedCategories" | "references" | "checklist",
                Value::Object(given),
            ) => {
                merge(row, &name, given, &author);
            }
            (_, _, value) => {
                row.fields.insert(name, value);
            }
        }
    }
    if rule.table == "tasks" {
        let done = row.fields.get("percentComplete").and_then(Value::as_i64) == Some(100);
        let when = if done { json!(instant(now_seconds())) } else { Value::Null };
        row.fields.insert("completedDateTime".into(), when);
        row.fields.insert("completedBy".into(), if done { author } else { Value::Null });
    }
    let counts = |name: &str| row.fields.get(name).and_then(Value::as_object).map_or(0, Map::len);
    let (references, checklist) = (counts("references"), counts("checklist"));
    if let Some(task) = state.documents.table("tasks").get_mut(id).filter(|_| rule.table == "taskDetails") {
        if let Some(described) = described {
            task.fields.insert(
                "hasDescription".into(),
                described.as_str().is_some_and(|text| !text.is_empty()).into(),
            );
        }
        task.fields.insert("referenceCount".into(), references.into());
        task.fields.insert("checklistItemCount".into(), checklist.into());
    }
    Ok(())
}

/// Takes away the rows that go with a deleted one.
pub(super) fn deleted(state: &mut State, rule: &Rule, row: &Document) {
    let documents = &mut state.documents;
    match rule.table {
        "groups" => {
            let mut kept = row.clone();
            kept.fields.insert("deletedDateTime".into(), instant(now_seconds()).into());
            documents.table("deletedGroups").add(kept);
            for table in ["conversations", "threads", "posts", "plans", "buckets", "tasks"] {
                documents.table(table).remove_where(|other| other.scope == row.id);
            }
        }
        "conversations" => {
            documents.table("threads").remove_where(|thread| thread.parent == row.id);
            documents
                .table("posts")
                .remove_where(|post| post.fields.get("conversationId").is_some_and(|id| *id == row.id));
        }
        "threads" => {
            documents.table("posts").remove_where(|post| post.parent == row.id);
            if documents.table("threads").rows().all(|thread| thread.parent != row.parent) {
                documents.table("conversations").remove(&row.parent);
            }
        }
        "plans" => {
            documents.table("buckets").remove_where(|bucket| bucket.parent == row.id);
            documents.table("tasks").remove_where(|task| task.parent == row.id);
        }
        "buckets" => documents
            .table("tasks")
            .remove_where(|task| task.fields.get("bucketId").is_some_and(|id| *id == row.id)),
        "bookingBusinesses" => {
            for table in [
                "bookingAppointments",
                "bookingCustomers",
                "bookingCustomQuestions",
                "bookingServices",
                "bookingStaffMembers",
            ] {
                documents.table(table).remove_where(|other| other.scope == row.id);
            }
        }
        "todoLists" => documents.table("todoTasks").remove_where(|task| task.scope == row.id),
        _ => {}
    }
}

/// Puts a post into a thread, and its words on the thread and its conversation.
pub(super) fn deliver(state: &mut State, context: &Context, thread: &str, post: &Value) {
    let Some((group, conversation)) =
        state.documents.get("threads", thread).map(|row| (row.scope.clone(), row.parent.clone()))
    else {
        return;
    };
    let now = instant(now_seconds());
    let (name, address) =
        context.asker.as_ref().map(|user| (user.name.clone(), user.upn.clone())).unwrap_or_default();
    let sender = json!({"emailAddress": {"name": name, "address": address}});
    let preview = crate::graph::body::plain_text(post["body"]["content"].as_str().unwrap_or_default());
    let fields = json!({
        "createdDateTime": now, "lastModifiedDateTime": now, "receivedDateTime": now, "hasAttachments": false, "categories": [],
        "changeKey": state.fresh.opaque(18), "conversationId": conversation, "conversationThreadId": thread, "body": post["body"],
        "from": sender, "sender": sender, "newParticipants": post["newParticipants"]
    });
    let id = mail_id("AAMkA", state.fresh.number(), 3);
    state.documents.table("posts").add(document(&id, &group, thread, fields));
    for (table, id) in [("threads", thread), ("conversations", conversation.as_str())] {
        if let Some(row) = state.documents.table(table).get_mut(id) {
            row.fields.insert("lastDeliveredDateTime".into(), now.as_str().into());
            row.fields.insert("preview".into(), preview.as_str().into());
            row.fields.insert("uniqueSenders".into(), json!([name]));
            row.fields.insert("hasAttachments".into(), false.into());
        }
    }
}

/// The group that a new plan is for: in `container`, or in `owner`, which is the older form.
fn container(raw: &Fields) -> Option<String> {
    let given = raw.get("container").unwrap_or(&Value::Null);
    let id = given["containerId"].as_str().or_else(|| given["url"].as_str()?.rsplit('/').next());
    id.or_else(|| raw.get("owner")?.as_str()).map(str::to_owned)
}

fn new_group(state: &mut State, fields: &mut Fields, raw: &Fields) -> Result<(), GraphError> {
    let refused = |text: &str| Err(GraphError::new(400, "Request_BadRequest", text));
    let nickname = text(fields, "mailNickname");
    if nickname.is_empty()
        || !nickname.is_ascii()
        || nickname.contains(['@', ' ', '(', ')', '\\', '[', ']', '"', ';', ':', '<', '>', ','])
    {
        return refused("Invalid value specified for property 'mailNickname' of resource 'Group'.");
    }
    let taken = state
        .documents
        .table("groups")
        .rows()
        .any(|row| text(&row.fields, "mailNickname").eq_ignore_ascii_case(&nickname));
    if taken {
        return refused("Another object with the same value for property mailNickname already exists.");
    }
    let unified = raw
        .get("groupTypes")
        .and_then(Value::as_array)
        .is_some_and(|types| types.iter().any(|kind| kind == "Unified"));
    if fields.get("mailEnabled") == Some(&Value::Bool(true)) && !unified {
        return refused(
            "The service does not currently support writes of mail-enabled groups. Please ensure that the mail-enablement property is unset and the security-enablement property is set.",
        );
    }
    fields.entry("groupTypes").or_insert_with(|| json!([]));
    if unified {
        let mail = format!("{nickname}@{}", state.options.tenant_domain);
        fields.insert("proxyAddresses".into(), json!([format!("SMTP:{mail}")]));
        fields.insert("mail".into(), mail.into());
        fields.entry("visibility").or_insert_with(|| "Public".into());
    }
    Ok(())
}

fn first_post(thread: &Value) -> Result<(), GraphError> {
    if thread["posts"][0]["body"]["content"].is_string() {
        return Ok(());
    }
    Err(GraphError::new(
        400,
        "ErrorInvalidArgument",
        "A conversation begins with a thread and a post with a body.",
    ))
}

fn check_task(state: &State, fields: &Fields, plan: &str) -> Result<(), GraphError> {
    let out_of_range = |name: &str, most: i64| {
        fields.get(name).and_then(Value::as_i64).is_some_and(|number| !(0..=most).contains(&number))
    };
    if out_of_range("percentComplete", 100) || out_of_range("priority", 10) {
        return Err(planner_refusal("A number is outside its range."));
    }
    if let Some(bucket) = fields.get("bucketId").and_then(Value::as_str) {
        let there = state.documents.get("buckets", bucket).is_some_and(|row| row.parent == plan);
        if !there {
            return Err(planner_refusal("The field 'BucketId' does not name a bucket of the plan."));
        }
    }
    let wrong = |value: &Value| {
        !(value.is_null() || value["orderHint"].is_string() && value["@odata.type"].is_string())
    };
    if fields.get("assignments").and_then(Value::as_object).is_some_and(|people| people.values().any(wrong)) {
        return Err(planner_refusal("An assignment needs its type and an orderHint."));
    }
    Ok(())
}

fn new_task(fields: &mut Fields, author: &Value, now: &str) {
    let given = fields.remove("assignments");
    let mut row = document("", "", "", json!({"assignments": {}}));
    merge(
        &mut row,
        "assignments",
        given.and_then(|given| given.as_object().cloned()).unwrap_or_default(),
        author,
    );
    fields.insert("assignments".into(), row.fields["assignments"].clone());
    let defaults = json!({
        "percentComplete": 0, "priority": 5, "orderHint": "8585652762754882063", "assigneePriority": "", "createdDateTime": now,
        "createdBy": author, "hasDescription": false, "previewType": "automatic", "referenceCount": 0, "checklistItemCount": 0,
        "activeChecklistItemCount": 0, "appliedCategories": {}
    });
    for (name, value) in defaults.as_object().into_iter().flatten() {
        fields.entry(name.as_str()).or_insert_with(|| value.clone());
    }
}

/// Open types are changed member by member: null takes one away.
fn merge(row: &mut Document, name: &str, given: Fields, author: &Value) {
    let kept = row.fields.entry(name.to_owned()).or_insert_with(|| json!({}));
    if !kept.is_object() {
        *kept = json!({});
    }
    for (key, mut value) in given {
        if value.is_null() || (name == "appliedCategories" && value == false) {
            if let Some(kept) = kept.as_object_mut() {
                kept.shift_remove(&key);
            }
            continue;
        }
        if name == "assignments" {
            value["assignedBy"] = author.clone();
            value["assignedDateTime"] = instant(now_seconds()).into();
        }
        kept[key] = value;
    }
}

fn author(context: &Context) -> Value {
    match &context.asker {
        Some(user) => json!({"user": {"id": user.id, "displayName": user.name}}),
        None => json!({"application": {"id": crate::options::CONFIDENTIAL_CLIENT_ID}}),
    }
}

fn document(id: &str, scope: &str, parent: &str, fields: Value) -> Document {
    let fields = fields.as_object().cloned().unwrap_or_default();
    Document { id: id.to_owned(), scope: scope.to_owned(), parent: parent.to_owned(), fields, version: 0 }
}

fn planner_refusal(text: &str) -> GraphError {
    GraphError::new(400, "", format!("Schema validation has failed. {text}"))
}

fn text(fields: &Fields, name: &str) -> String {
    fields.get(name).and_then(Value::as_str).unwrap_or_default().to_owned()
}
