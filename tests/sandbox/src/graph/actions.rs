//! What is done with items beyond writing them: sending, answering, moving, accepting.
//! Never delivers mail to anybody: what is sent ends in the sender's own sent items.

use super::dispatch::Context;
use super::entity::find;
use super::errors::GraphError;
use super::new_items::new_message;
use super::write::created;
use super::{attachments, body};
use crate::answer::{Answer, Call};
use crate::data::attachments::Attachment;
use crate::data::folders;
use crate::data::model::Entity;
use crate::state::State;
use crate::time::{instant, now_seconds};
use serde_json::{Map, Value, json};

/// Sends a message that is in the request.
pub(crate) fn send_mail(state: &mut State, call: &Call, context: &Context) -> Result<Answer, GraphError> {
    let parameters = parameters(call, &["message", "saveToSentItems"])?;
    let Some(Value::Object(message)) = parameters.get("message") else {
        return Err(missing("message"));
    };
    let brought = attachments::brought(message)?;
    let message = body::nested(message.clone(), Entity::Message)?;
    require_recipients(&message)?;
    // The documentation's own samples write this flag as text.
    let save = !matches!(parameters.get("savetosentitems"), Some(Value::Bool(false)))
        && parameters.get("savetosentitems").and_then(Value::as_str) != Some("false");
    if save {
        store_sent(state, context, message, brought);
    } else {
        let subject = message.get("subject").and_then(Value::as_str).map(str::to_owned);
        state.count_write(subject.as_deref());
    }
    Ok(Answer::empty(202))
}

/// Does something with one item.
pub(crate) fn carry_out(
    state: &mut State,
    call: &Call,
    context: &Context,
    entity: Entity,
    id: &str,
    action: &str,
) -> Result<Answer, GraphError> {
    let owner = context.owner().clone();
    let key = find(state.tenant.mailbox(&owner), entity, Some(id))?;
    let done = match (entity, action) {
        (Entity::Message, "move" | "copy") => relocate(state, call, context, key, action == "move"),
        (Entity::Message, "send") => send_draft(state, context, key),
        (Entity::Message, "reply" | "replyall" | "forward") => {
            let (message, attached) = response(state, call, context, key, action)?;
            if action == "forward" {
                require_recipients(&message)?;
            }
            store_sent(state, context, message, attached);
            Ok(Answer::empty(202))
        }
        (Entity::Message, "createreply" | "createreplyall" | "createforward") => {
            let (message, attached) = response(state, call, context, key, &action["create".len()..])?;
            let fields = new_message(message, &owner, &mut state.fresh);
            let draft = state.tenant.mailbox(&owner).of_mut(Entity::Message).create(folders::DRAFTS, fields);
            attachments::hang(state, &owner, Entity::Message, draft, attached);
            created(state, context, Entity::Message, draft).map(|(_, answer)| answer)
        }
        (Entity::Event, "accept" | "decline" | "tentativelyaccept") => {
            answer_invitation(state, call, context, key, action)
        }
        (Entity::Event, "cancel") => cancel(state, call, context, key),
        (Entity::Event, "forward") => {
            let parameters = parameters(call, &["toRecipients", "comment"])?;
            require_recipients(&parameters_as_message(&parameters))?;
            Ok(Answer::empty(202))
        }
        (Entity::Event, "snoozereminder") => {
            let parameters = parameters(call, &["newReminderTime"])?;
            if !parameters.get("newremindertime").is_some_and(Value::is_object) {
                return Err(missing("newReminderTime"));
            }
            Ok(Answer::empty(200))
        }
        (Entity::Event, "dismissreminder") => {
            let changes = Map::from_iter([("isReminderOn".to_owned(), Value::Bool(false))]);
            state.tenant.mailbox(&owner).of_mut(entity).update(key, changes);
            Ok(Answer::empty(200))
        }
        _ => return Err(GraphError::bad_request(format!("Resource not found for the segment '{action}'."))),
    };
    state.stats.writes += u64::from(done.is_ok());
    done
}

fn relocate(
    state: &mut State,
    call: &Call,
    context: &Context,
    key: u32,
    moves: bool,
) -> Result<Answer, GraphError> {
    let parameters = parameters(call, &["destinationId"])?;
    let Some(destination) = parameters.get("destinationid").and_then(Value::as_str) else {
        return Err(missing("destinationId"));
    };
    let owner = context.owner().clone();
    let mailbox = state.tenant.mailbox(&owner);
    let folder = find(mailbox, Entity::MailFolder, Some(destination))?;
    let messages = mailbox.of_mut(Entity::Message);
    let placed = if moves { messages.move_to(key, folder) } else { messages.copy_to(key, folder) };
    if !moves {
        let attached = mailbox.attachments_of(Entity::Message, key);
        attachments::hang(state, &owner, Entity::Message, placed, attached);
    }
    created(state, context, Entity::Message, placed).map(|(_, answer)| answer)
}

fn send_draft(state: &mut State, context: &Context, key: u32) -> Result<Answer, GraphError> {
    let owner = context.owner().clone();
    let messages = state.tenant.mailbox(&owner).of_mut(Entity::Message);
    if messages.field(key, "isDraft") != Value::Bool(true) {
        let text = "The message is not a draft, so it cannot be sent.";
        return Err(GraphError::new(400, "ErrorInvalidRequest", text));
    }
    let addressed = ["toRecipients", "ccRecipients", "bccRecipients"]
        .iter()
        .map(|name| ((*name).to_owned(), messages.field(key, name)))
        .collect();
    require_recipients(&addressed)?;
    messages.update(key, sent_fields());
    messages.move_to(key, folders::SENT);
    Ok(Answer::empty(202))
}

/// The message that answers or forwards another one, and what hangs on it.
fn response(
    state: &mut State,
    call: &Call,
    context: &Context,
    key: u32,
    action: &str,
) -> Result<(Map<String, Value>, Vec<Attachment>), GraphError> {
    let parameters = match call.body.is_empty() {
        true => Map::new(),
        false => parameters(call, &["comment", "message", "toRecipients"])?,
    };
    let (mut message, mut attached) = match parameters.get("message") {
        Some(Value::Object(message)) => {
            (body::nested(message.clone(), Entity::Message)?, attachments::brought(message)?)
        }
        _ => (Map::new(), Vec::new()),
    };
    if message.contains_key("body") && parameters.contains_key("comment") {
        let text = "Either the comment or the body of the message can be given, not both.";
        return Err(GraphError::new(400, "ErrorInvalidRequest", text));
    }
    if message.contains_key("toRecipients") && parameters.contains_key("torecipients") {
        let text = "The recipients can be given as a parameter or in the message, not both.";
        return Err(GraphError::new(400, "ErrorInvalidRequest", text));
    }
    if let Some(recipients) = parameters.get("torecipients") {
        message.insert("toRecipients".into(), recipients.clone());
    }
    let owner = context.owner().clone();
    let mailbox = state.tenant.mailbox(&owner);
    let messages = mailbox.of(Entity::Message);
    let original = messages.field(key, "subject").as_str().unwrap_or_default().to_owned();
    let prefix = if action == "forward" { "FW: " } else { "RE: " };
    if action == "forward" {
        attached.extend(mailbox.attachments_of(Entity::Message, key));
    } else if !message.contains_key("toRecipients") {
        let mut recipients = vec![messages.field(key, "from")];
        if action == "replyall" {
            for name in ["toRecipients", "ccRecipients"] {
                let others = messages.field(key, name);
                let own = |one: &&Value| one["emailAddress"]["address"] != owner.upn.as_str();
                recipients.extend(others.as_array().into_iter().flatten().filter(own).cloned());
            }
        }
        message.insert("toRecipients".into(), recipients.into());
    }
    if !message.contains_key("body") {
        let quoted = messages.field(key, "body");
        let comment = parameters.get("comment").and_then(Value::as_str).unwrap_or_default();
        let content = format!("{comment}<hr>{}", quoted["content"].as_str().unwrap_or_default());
        message.insert("body".into(), json!({"contentType": "html", "content": content}));
    }
    message.entry("conversationId").or_insert_with(|| messages.field(key, "conversationId"));
    let bare = original.trim_start_matches(prefix);
    message.entry("subject").or_insert_with(|| format!("{prefix}{bare}").into());
    Ok((message, attached))
}

fn answer_invitation(
    state: &mut State,
    call: &Call,
    context: &Context,
    key: u32,
    action: &str,
) -> Result<Answer, GraphError> {
    if !call.body.is_empty() {
        parameters(call, &["comment", "sendResponse", "proposedNewTime"])?;
    }
    let owner = context.owner().clone();
    let events = state.tenant.mailbox(&owner).of_mut(Entity::Event);
    if events.field(key, "isOrganizer") == Value::Bool(true) {
        let text = "Your request can't be completed. You can't respond to this meeting because you're the meeting organizer.";
        return Err(GraphError::new(400, "ErrorInvalidRequest", text));
    }
    if action == "decline" {
        events.remove(key);
        return Ok(Answer::empty(202));
    }
    let (response, shown_as) =
        if action == "accept" { ("accepted", "busy") } else { ("tentativelyAccepted", "tentative") };
    let now = instant(now_seconds());
    events.update(
        key,
        Map::from_iter([
            ("responseStatus".to_owned(), json!({"response": response, "time": now})),
            ("showAs".to_owned(), shown_as.into()),
        ]),
    );
    Ok(Answer::empty(202))
}

fn cancel(state: &mut State, call: &Call, context: &Context, key: u32) -> Result<Answer, GraphError> {
    if !call.body.is_empty() {
        parameters(call, &["comment"])?;
    }
    let owner = context.owner().clone();
    let events = state.tenant.mailbox(&owner).of_mut(Entity::Event);
    if events.field(key, "isOrganizer") != Value::Bool(true) {
        let text = "You need to be an organizer to cancel a meeting.";
        return Err(GraphError::new(400, "ErrorInvalidRequest", text));
    }
    events.remove(key);
    Ok(Answer::empty(202))
}

fn store_sent(state: &mut State, context: &Context, message: Map<String, Value>, attached: Vec<Attachment>) {
    let owner = context.owner().clone();
    let mut fields = new_message(message, &owner, &mut state.fresh);
    fields.extend(sent_fields());
    let subject = fields.get("subject").and_then(Value::as_str).map(str::to_owned);
    let key = state.tenant.mailbox(&owner).of_mut(Entity::Message).create(folders::SENT, fields);
    attachments::hang(state, &owner, Entity::Message, key, attached);
    state.count_write(subject.as_deref());
}

fn sent_fields() -> Map<String, Value> {
    let now = instant(now_seconds());
    Map::from_iter([("isDraft".to_owned(), Value::Bool(false)), ("sentDateTime".to_owned(), now.into())])
}

/// An action's parameters by lower-case name; unknown ones are refused.
fn parameters(call: &Call, known: &[&str]) -> Result<Map<String, Value>, GraphError> {
    let mut parameters = Map::new();
    for (name, value) in body::object(call)? {
        if !known.iter().any(|known| known.eq_ignore_ascii_case(&name)) {
            let text = format!(
                "The parameter '{name}' in the request payload is not a valid parameter for the operation."
            );
            return Err(GraphError::bad_request(text));
        }
        parameters.insert(name.to_ascii_lowercase(), value);
    }
    Ok(parameters)
}

fn parameters_as_message(parameters: &Map<String, Value>) -> Map<String, Value> {
    Map::from_iter([(
        "toRecipients".to_owned(),
        parameters.get("torecipients").cloned().unwrap_or(Value::Null),
    )])
}

fn require_recipients(message: &Map<String, Value>) -> Result<(), GraphError> {
    let lists = ["toRecipients", "ccRecipients", "bccRecipients"];
    let mut recipients =
        lists.iter().filter_map(|name| message.get(*name)).filter_map(Value::as_array).flatten().peekable();
    if recipients.peek().is_none() {
        let text = "At least one recipient isn't valid: the message has none.";
        return Err(GraphError::new(400, "ErrorInvalidRecipients", text));
    }
    let valid = |recipient: &Value| {
        recipient["emailAddress"]["address"].as_str().is_some_and(|address| address.contains('@'))
    };
    if recipients.all(valid) {
        Ok(())
    } else {
        Err(GraphError::new(400, "ErrorInvalidRecipients", "At least one recipient isn't valid."))
    }
}

fn missing(name: &str) -> GraphError {
    GraphError::new(
        400,
        "ErrorInvalidParameter",
        format!("The parameter '{name}' is required and was not given."),
    )
}
