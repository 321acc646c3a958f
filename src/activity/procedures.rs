//! Execute: named procedures, and any action that Graph binds to a resource, as Graph requests. Pure, but for reading the
//! answer.

use serde_json::{Map, Value, json};

use super::attachments::{attachments, local_file};
use super::error::ActivityError;
use super::model::ExecuteRequest;
use super::target::{owner, refuse_me, write};
use super::value::checked;
use crate::catalog::{
    ColumnKind, GraphPath, Procedure, ProcedureKind, describe_procedure, encode_segment, find_procedure,
};
use crate::connection::Connection;
use crate::graph::{Effect, GraphAnswer, GraphError, GraphRequest};

/// What of the answer is the result.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    /// `{"Status":"Success"}`: Graph answers nothing.
    Status,
    /// `{"Id":…}`: the id in the answer.
    Id,
    /// The answer itself; null when it is empty.
    Whole,
}

/// The request for `request`, and what of its answer is the result. With a `target` the procedure is an action bound to
/// that resource; a name that ends with `()` is a function without parameters, which is called by GET.
///
/// # Errors
/// A sentence naming the parameter and the remedy.
pub(super) fn call(
    request: &ExecuteRequest,
    connection: &Connection,
    user_id: Option<&str>,
) -> Result<(GraphRequest, Outcome), ActivityError> {
    let name = request.procedure.trim();
    if let Some(target) = &request.target {
        return bound(name, target, &request.parameters, connection);
    }
    let Some(procedure) = find_procedure(name) else {
        let error = describe_procedure(name).err();
        let message = error.map(|error| error.message).unwrap_or_default();
        return Err(ActivityError::field("unknown_procedure", "procedure", message));
    };
    let given = Given::new(procedure, &request.parameters)?;
    match procedure.kind {
        ProcedureKind::SendMail => send_mail(&given, connection, user_id),
        ProcedureKind::MoveMail => move_mail(&given, connection, user_id),
    }
}

/// The result of `outcome` in Graph's answer.
///
/// # Errors
/// [`GraphError::BadAnswer`], when the answer is not what Graph documents.
pub(super) fn result(outcome: Outcome, answer: &GraphAnswer) -> Result<Value, GraphError> {
    let bad = |what: &str| GraphError::BadAnswer { what: what.to_owned() };
    if outcome == Outcome::Status {
        return Ok(json!({"Status": "Success"}));
    }
    if answer.body.is_empty() {
        return Ok(Value::Null);
    }
    let body: Value = serde_json::from_slice(&answer.body)
        .map_err(|_| bad("the action answered with something other than JSON"))?;
    match outcome {
        Outcome::Id => match body.get("id").and_then(Value::as_str) {
            Some(id) => Ok(json!({"Id": id})),
            None => Err(bad("the message was moved, but the answer does not hold its new id")),
        },
        _ => Ok(body),
    }
}

fn bound(
    name: &str,
    target: &str,
    parameters: &Map<String, Value>,
    connection: &Connection,
) -> Result<(GraphRequest, Outcome), ActivityError> {
    let path = GraphPath::parse(target.trim())
        .map_err(|error| ActivityError::unknown("bad_target", "target", error))?;
    refuse_me(&path, connection)?;
    let (action, is_function) = match name.strip_suffix("()") {
        Some(function) => (function, true),
        None => (name, false),
    };
    let well_formed = action.starts_with(|first: char| first.is_ascii_alphabetic())
        && action.split('.').all(|word| !word.is_empty())
        && action
            .chars()
            .all(|character| character.is_ascii_alphanumeric() || matches!(character, '.' | '_'));
    if !well_formed {
        let message = format!(
            "'{}' is no name of an action. Write for example createReply, or microsoft.graph.createReply; a function \
             without parameters ends with '()', and one with parameters is queried as a Graph path.",
            crate::error::clean_foreign_text(name)
        );
        return Err(ActivityError::field("unknown_procedure", "procedure", message));
    }
    let mailbox = path.mailbox();
    if is_function {
        if !parameters.is_empty() {
            let message = "A function called with '()' has no parameters. Query one with parameters as a Graph path, such as \
                           /reports/getEmailActivityCounts(period='D7').";
            return Err(ActivityError::field("bad_parameter", "parameters", message));
        }
        let path = path.below(name);
        let request = GraphRequest {
            method: http::Method::GET,
            path,
            headers: Vec::new(),
            body: None,
            mailbox,
            effect: Effect::Repeatable,
        };
        return Ok((request, Outcome::Whole));
    }
    let body = Some(parameters.clone()).filter(|parameters| !parameters.is_empty());
    Ok((write(http::Method::POST, path.below(action), body, None, mailbox, Effect::Once), Outcome::Whole))
}

/// Parameters by their declared names.
struct Given<'request> {
    procedure: &'static Procedure,
    values: Vec<(&'static str, &'request Value)>,
}

impl<'request> Given<'request> {
    fn new(
        procedure: &'static Procedure,
        parameters: &'request Map<String, Value>,
    ) -> Result<Self, ActivityError> {
        let mut values: Vec<(&'static str, &Value)> = Vec::new();
        for (name, value) in parameters {
            if name.eq_ignore_ascii_case("LocalFile") {
                return Err(local_file(name));
            }
            let parameter = procedure
                .parameter(name)
                .map_err(|error| ActivityError::unknown("unknown_parameter", name, error))?;
            if values.iter().any(|(known, _)| *known == parameter.name) {
                let message = format!("The parameter '{name}' is given twice. Give it once.");
                return Err(ActivityError::field("bad_parameter", name, message));
            }
            if !value.is_null() {
                values.push((parameter.name, value));
            }
        }
        let given = Self { procedure, values };
        match procedure
            .parameters
            .iter()
            .find(|parameter| parameter.required && given.value(parameter.name).is_none())
        {
            None => Ok(given),
            Some(missing) => {
                let message = format!(
                    "{} needs the parameter '{}': {}",
                    procedure.name, missing.name, missing.description
                );
                Err(ActivityError::field("missing_parameter", missing.name, message))
            }
        }
    }

    fn value(&self, name: &str) -> Option<&'request Value> {
        self.values.iter().find(|(known, _)| *known == name).map(|(_, value)| *value)
    }

    /// A text; an empty one counts as not given.
    fn text(&self, name: &str) -> Result<Option<&'request str>, ActivityError> {
        match self.value(name) {
            None => Ok(None),
            Some(Value::String(text)) => Ok(Some(text.as_str()).filter(|text| !text.trim().is_empty())),
            Some(_) => Err(self.fault(name, "needs a text")),
        }
    }

    fn fault(&self, name: &str, what: &str) -> ActivityError {
        let message = format!("The parameter '{name}' of {} {what}.", self.procedure.name);
        ActivityError::field("bad_parameter", name, message)
    }

    /// Addresses separated by `;`, as Graph's recipients.
    fn recipients(&self, name: &str) -> Result<Vec<Value>, ActivityError> {
        let list = self.text(name)?.unwrap_or_default();
        let addresses = list.split(';').map(str::trim).filter(|address| !address.is_empty());
        addresses
            .map(|address| match address.contains('@') && !address.contains([' ', ',', '<', '>']) {
                true => Ok(recipient(address)),
                false => Err(self.fault(name, "needs addresses such as adele@contoso.com, separated by ';'")),
            })
            .collect()
    }
}

fn recipient(address: &str) -> Value {
    json!({"emailAddress": {"address": address}})
}

fn send_mail(
    given: &Given<'_>,
    connection: &Connection,
    user_id: Option<&str>,
) -> Result<(GraphRequest, Outcome), ActivityError> {
    let user = given.text("UserId")?.or(user_id);
    let owner = owner(connection, user, "SendMail", "the parameter UserId")?;
    let mailbox = Some(owner.mailbox());
    if let Some(id) = given.text("Id")? {
        if let Some((other, _)) = given.values.iter().find(|(name, _)| !matches!(*name, "Id" | "UserId")) {
            return Err(given.fault(
                other,
                "cannot stand beside Id: a draft is sent as it is. Change it with Update first",
            ));
        }
        let path = format!("{}/messages/{}/send", owner.path(), encode_segment(id.trim()));
        return Ok((write(http::Method::POST, path, None, None, mailbox, Effect::Once), Outcome::Status));
    }
    let body = Some(new_mail(given)?);
    let path = format!("{}/sendMail", owner.path());
    Ok((write(http::Method::POST, path, body, None, mailbox, Effect::Once), Outcome::Status))
}

fn new_mail(given: &Given<'_>) -> Result<Map<String, Value>, ActivityError> {
    let mut message = Map::new();
    message.insert("subject".to_owned(), Value::from(given.text("Subject")?.unwrap_or_default()));
    let content_type = given.text("ContentType")?.unwrap_or("text").trim().to_lowercase();
    if !matches!(content_type.as_str(), "text" | "html") {
        return Err(given.fault("ContentType", "is 'text' or 'html'"));
    }
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
    let attached =
        attachments(given.value("Attachments"), given.text("FileName")?, given.text("ContentBytes")?)?;
    if !attached.is_empty() {
        message.insert("attachments".to_owned(), Value::from(attached));
    }
    let save = match given.value("SaveToSentItems") {
        None => Value::Bool(true),
        Some(value) => checked(ColumnKind::Bool, value)
            .ok_or_else(|| given.fault("SaveToSentItems", "is true or false"))?,
    };
    Ok(Map::from_iter([("message".to_owned(), Value::Object(message)), ("saveToSentItems".to_owned(), save)]))
}

fn move_mail(
    given: &Given<'_>,
    connection: &Connection,
    user_id: Option<&str>,
) -> Result<(GraphRequest, Outcome), ActivityError> {
    let user = given.text("UserId")?.or(user_id);
    let owner = owner(connection, user, "MoveMail", "the parameter UserId")?;
    let id = given.text("Id")?.ok_or_else(|| given.fault("Id", "needs the id of the message"))?;
    let destination = match (given.text("DestinationId")?, given.text("DestinationFolder")?) {
        (Some(folder), None) | (None, Some(folder)) => folder.trim(),
        (Some(_), Some(_)) => {
            return Err(given.fault("DestinationFolder", "says the same as DestinationId: give one of them"));
        }
        (None, None) => {
            return Err(given.fault(
                "DestinationId",
                "is missing: give the folder's id or a well-known name such as 'archive'",
            ));
        }
    };
    let path = format!("{}/messages/{}/move", owner.path(), encode_segment(id.trim()));
    let body = Map::from_iter([("destinationId".to_owned(), Value::from(destination))]);
    Ok((write(http::Method::POST, path, Some(body), None, Some(owner.mailbox()), Effect::Once), Outcome::Id))
}

#[cfg(test)]
#[path = "procedures_tests.rs"]
mod tests;
