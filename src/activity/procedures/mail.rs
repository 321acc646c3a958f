//! SendMail, ForwardMail, ReplyToMessage and MoveMail as Graph requests (Graph, resource type `message`). Pure.

use serde_json::{Map, Value, json};

use super::given::Given;
use super::mail_attachments::{MailAttachment, attachments, inline};
use super::mail_once::MailOnce;
use super::mail_with_files::MailWithFiles;
use super::{Call, Outcome, Work, action, item};
use crate::activity::error::ActivityError;

pub(super) fn send(given: &Given<'_>, call: Call<'_>) -> Result<Work, ActivityError> {
    let owner = call.owner(given)?;
    if given.has("Id") {
        if let Some(other) = given.other_than(&["Id", "UserId"]) {
            return Err(given.fault(
                other,
                "cannot stand beside Id: a draft is sent as it is. Change it with Update first",
            ));
        }
        return Ok(action(
            &owner,
            &format!("{}/send", item("messages", given.id("Id")?)),
            None,
            Outcome::Status,
        ));
    }
    let mut message = new_mail(given)?;
    let attached = attachments(given, call.local_files)?;
    let save = given.boolean("SaveToSentItems", true)?;
    if call.has_key && !save {
        return Err(given.fault(
            "SaveToSentItems",
            "cannot be false with an Idempotency-Key: the message in Sent Items is how a repeat finds out that it was sent",
        ));
    }
    let small = inline(&message, &attached);
    if let Some(attachments) = small.as_ref().filter(|attachments| !attachments.is_empty()) {
        message.insert("attachments".to_owned(), Value::from(attachments.clone()));
    }
    match small {
        small if call.has_key => {
            let attached = if small.is_some() { Vec::new() } else { attached };
            Ok(Work::MailOnce(Box::new(MailOnce { owner, message, attached })))
        }
        Some(_) => Ok(send_at_once(&owner, message, save)),
        None => Ok(Work::Mail(Box::new(MailWithFiles { owner, message, attached, save }))),
    }
}

/// One request that makes the message and sends it.
pub(super) fn send_at_once(owner: &crate::catalog::Owner, message: Map<String, Value>, save: bool) -> Work {
    let body = Map::from_iter([
        ("message".to_owned(), Value::Object(message)),
        ("saveToSentItems".to_owned(), Value::Bool(save)),
    ]);
    action(owner, "sendMail", Some(body), Outcome::Status)
}

fn new_mail(given: &Given<'_>) -> Result<Map<String, Value>, ActivityError> {
    let mut message = Map::new();
    message.insert("subject".to_owned(), Value::from(given.text("Subject")?.unwrap_or_default()));
    let content_type = given.word("ContentType", &["text", "html"], "text")?;
    let content = given.text("Content")?.unwrap_or_default();
    message.insert("body".to_owned(), json!({"contentType": content_type, "content": content}));
    let mut reached = 0;
    for (parameter, property) in [
        ("ToRecipients", "toRecipients"),
        ("CCRecipients", "ccRecipients"),
        ("BccRecipients", "bccRecipients"),
    ] {
        let recipients = given.recipients(parameter)?;
        reached += recipients.len();
        if !recipients.is_empty() {
            message.insert(property.to_owned(), Value::from(recipients));
        }
    }
    if reached == 0 {
        return Err(given.fault(
            "ToRecipients",
            "is missing, and so are CCRecipients and BccRecipients: give one of them",
        ));
    }
    for (parameter, property) in [("FromEmail", "from"), ("SenderEmail", "sender")] {
        match given.recipients(parameter)?.as_slice() {
            [] => {}
            [one] => {
                message.insert(property.to_owned(), one.clone());
            }
            _ => return Err(given.fault(parameter, "takes one address")),
        }
    }
    Ok(message)
}

pub(super) fn forward(given: &Given<'_>, call: Call<'_>) -> Result<Work, ActivityError> {
    let owner = call.owner(given)?;
    let mut body = comment_and_message(given)?;
    body.insert("toRecipients".to_owned(), Value::from(needed_recipients(given)?));
    let path = format!("{}/forward", item("messages", given.id("Id")?));
    Ok(action(&owner, &path, Some(body), Outcome::Status))
}

/// The recipients of a forward, at least one.
pub(super) fn needed_recipients(given: &Given<'_>) -> Result<Vec<Value>, ActivityError> {
    match given.recipients("ToRecipients")? {
        empty if empty.is_empty() => Err(given.fault("ToRecipients", "holds no address")),
        recipients => Ok(recipients),
    }
}

pub(super) fn reply(given: &Given<'_>, call: Call<'_>) -> Result<Work, ActivityError> {
    let owner = call.owner(given)?;
    let body = comment_and_message(given)?;
    if body.is_empty() {
        return Err(given.fault("Comment", "is missing: give it, or a body in Message"));
    }
    let verb = if given.boolean("ReplyAll", false)? { "replyAll" } else { "reply" };
    let path = format!("{}/{verb}", item("messages", given.id("Id")?));
    Ok(action(&owner, &path, Some(body), Outcome::Status))
}

/// Graph takes the text as a comment or in the message, and refuses both ("message: forward", "message: reply").
fn comment_and_message(given: &Given<'_>) -> Result<Map<String, Value>, ActivityError> {
    let mut body = Map::new();
    let message = given.object("Message")?;
    if given.has("Comment") && message.as_ref().is_some_and(|message| message.contains_key("body")) {
        return Err(given.fault("Comment", "cannot stand beside a body in Message: give one of them"));
    }
    if let Some(comment) = given.text("Comment")? {
        body.insert("comment".to_owned(), Value::from(comment));
    }
    if let Some(message) = message {
        body.insert("message".to_owned(), Value::Object(message));
    }
    Ok(body)
}

pub(super) fn move_mail(given: &Given<'_>, call: Call<'_>) -> Result<Work, ActivityError> {
    let owner = call.owner(given)?;
    let body = Map::from_iter([("destinationId".to_owned(), Value::from(given.id("DestinationId")?))]);
    let path = format!("{}/move", item("messages", given.id("Id")?));
    Ok(action(&owner, &path, Some(body), Outcome::Fields(&[("Id", "id")])))
}

/// Whether any attachment is still a file that must be opened.
pub(super) fn has_files(attached: &[MailAttachment]) -> bool {
    attached.iter().any(MailAttachment::is_file)
}
