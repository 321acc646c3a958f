//! Execute: from a procedure's parameters to work on Microsoft Graph. Preparing is pure and comes first, so that a wrong
//! call is refused before anything is sent or opened; one file a family.

mod attach;
mod bound;
mod calendar;
mod content;
mod deliver;
mod download;
mod drive;
mod given;
mod kept_run;
mod local_files;
mod mail;
mod mail_attachments;
mod mail_once;
mod mail_with_files;
mod run;
mod running_content;
mod schema;
mod sign_in;
mod upload_file;
mod user;

use serde_json::{Map, Value, json};

use super::error::ActivityError;
use super::model::ExecuteRequest;
use super::target::{owner, write};
use crate::catalog::{
    Catalog, Owner, Procedure, ProcedureKind, describe_procedure, encode_segment, find_procedure,
};
use crate::connection::Connection;
use crate::graph::{Effect, GraphAnswer, GraphError, GraphRequest};

pub use content::ContentStream;
pub use kept_run::{KeptCall, RunningExecution};
pub use local_files::LocalFiles;
pub use run::{Executed, ProcedureHost};
pub use running_content::RunningContent;

use given::Given;

/// What there is to do.
#[derive(Debug)]
enum Work {
    /// One request.
    Ask(GraphRequest, Outcome),
    /// Nothing is sent.
    Ready(Value),
    Mail(Box<mail_with_files::MailWithFiles>),
    MailOnce(Box<mail_once::MailOnce>),
    Attach(Box<attach::AddAttachment>),
    DownloadMessage(download::DownloadMessage),
    DownloadAttachments(download::DownloadAttachments),
    DownloadFile(Box<drive::DownloadFile>),
    UploadFile(Box<upload_file::UploadFile>),
    SignIn(sign_in::SignInWork),
    Schema(schema::WriteSchema),
}

/// What of Graph's answer is the result.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Outcome {
    /// `{"Status":"Success"}`: Graph answers nothing.
    Status,
    /// The named outputs, each with the property it comes from.
    Fields(&'static [(&'static str, &'static str)]),
    /// The answer itself; null when it is empty.
    Whole,
}

/// A call with everything its parameters are judged by.
#[derive(Clone, Copy, Debug)]
struct Call<'a> {
    connection: &'a Connection,
    catalog: &'a Catalog,
    /// The connection's own UserId.
    user_id: Option<&'a str>,
    local_files: &'a LocalFiles,
    /// Whether the body of the call is a content.
    has_content: bool,
    /// Whether the caller takes a content as a stream.
    wants_stream: bool,
    /// Whether it comes with an `Idempotency-Key`.
    has_key: bool,
}

/// What `request` comes to.
#[derive(Debug)]
struct Prepared {
    work: Work,
    /// Whether it can change anything at Graph.
    changes: bool,
}

/// The work for `request`. With a `target`, or a Graph path as its name, the procedure is an operation bound to that
/// resource.
///
/// # Errors
/// A sentence naming the parameter and the remedy.
fn prepare(request: &ExecuteRequest, call: Call<'_>) -> Result<Prepared, ActivityError> {
    let name = request.procedure.trim();
    if request.target.is_some() || name.starts_with('/') {
        return bound::prepare(name, request.target.as_deref(), &request.parameters, call);
    }
    let Some(procedure) = find_procedure(name) else {
        let error = describe_procedure(name).err();
        let message = error.map(|error| error.message).unwrap_or_default();
        return Err(ActivityError::field("unknown_procedure", "procedure", message));
    };
    let given = Given::new(procedure, &request.parameters)?;
    refuse_stream(procedure, call)?;
    let work = match procedure.kind {
        ProcedureKind::SendMail => mail::send(&given, call),
        ProcedureKind::ForwardMail => mail::forward(&given, call),
        ProcedureKind::ReplyToMessage => mail::reply(&given, call),
        ProcedureKind::MoveMail => mail::move_mail(&given, call),
        ProcedureKind::DownloadEmail => download::message(&given, call),
        ProcedureKind::AddAttachments => attach::add(&given, call),
        ProcedureKind::DeleteAttachment => attach::delete(&given, call),
        ProcedureKind::DownloadAttachments => download::attachments(&given, call),
        ProcedureKind::CancelEvent => calendar::cancel(&given, call),
        ProcedureKind::ForwardEvent => calendar::forward(&given, call),
        ProcedureKind::RespondToEvent => calendar::respond(&given, call),
        ProcedureKind::SnoozeEventReminder => calendar::snooze(&given, call),
        ProcedureKind::DismissEventReminder => calendar::dismiss(&given, call),
        ProcedureKind::CreateFolder => drive::create_folder(&given, call),
        ProcedureKind::UploadFile => upload_file::upload(&given, call),
        ProcedureKind::DownloadFile => drive::download(&given, call),
        ProcedureKind::AssignLicense => user::assign_license(&given),
        ProcedureKind::FetchAdditionalUserFields => user::fetch_fields(&given, call),
        ProcedureKind::GetAdminConsentUrl => sign_in::consent(&given, call),
        ProcedureKind::GetOAuthAuthorizationUrl => sign_in::authorize(&given, call),
        ProcedureKind::GetOAuthAccessToken => sign_in::access_token(&given, call),
        ProcedureKind::RefreshOAuthAccessToken => sign_in::refresh(&given),
        ProcedureKind::CreateSchema => schema::create(&given, call),
    }?;
    Ok(Prepared { work, changes: procedure.changes })
}

/// A body that nobody would read, or an answer that nobody can give, is refused before it is taken.
fn refuse_stream(procedure: &Procedure, call: Call<'_>) -> Result<(), ActivityError> {
    let takes =
        procedure.parameters.iter().any(|parameter| parameter.kind == crate::catalog::ParameterType::Stream);
    if call.has_content && !takes {
        let message = format!(
            "{} takes no content as the body of the call. Send its parameters as JSON.",
            procedure.name
        );
        return Err(ActivityError::field("bad_parameter", "procedure", message));
    }
    let gives = procedure.outputs.contains(&"ContentBytes") && !procedure.changes
        || procedure.outputs == ["Attachments"];
    if call.wants_stream && !gives {
        let message = format!("{} answers with JSON only. Send Accept: application/json.", procedure.name);
        return Err(ActivityError::field("not_a_content", "procedure", message));
    }
    Ok(())
}

impl Call<'_> {
    /// Whose data it is: the parameter UserId, the connection's own, or the signed-in user.
    fn owner(&self, given: &Given<'_>) -> Result<Owner, ActivityError> {
        let user = given.text("UserId")?.map(str::trim).or(self.user_id);
        owner(self.connection, user, given.procedure(), "the parameter UserId")
    }
}

/// A POST that may not be repeated, to an action below `path`.
fn action(owner: &Owner, path: &str, body: Option<Map<String, Value>>, outcome: Outcome) -> Work {
    let path = format!("{}/{path}", owner.path());
    Work::Ask(write(http::Method::POST, path, body, None, Some(owner.mailbox()), Effect::Once), outcome)
}

/// `collection/id`, with the id as one segment.
fn item(collection: &str, id: &str) -> String {
    format!("{collection}/{}", encode_segment(id))
}

/// A GET of `path`.
fn read(path: String, mailbox: Option<String>) -> GraphRequest {
    GraphRequest {
        method: http::Method::GET,
        path,
        headers: Vec::new(),
        body: None,
        mailbox,
        effect: Effect::Repeatable,
    }
}

/// The result of `outcome` in Graph's answer.
///
/// # Errors
/// [`GraphError::BadAnswer`], when the answer is not what Graph documents.
fn result(outcome: Outcome, answer: &GraphAnswer) -> Result<Value, GraphError> {
    if outcome == Outcome::Status {
        return Ok(json!({"Status": "Success"}));
    }
    if answer.body.is_empty() && outcome == Outcome::Whole {
        return Ok(Value::Null);
    }
    let body = body_of(answer)?;
    match outcome {
        Outcome::Fields(fields) => {
            let field = |(output, property): &(&str, &str)| {
                ((*output).to_owned(), body.get(*property).cloned().unwrap_or_default())
            };
            let outputs: Map<String, Value> = fields.iter().map(field).collect();
            match outputs.get("Id") {
                Some(Value::Null) => Err(GraphError::BadAnswer {
                    what: "it was done, but the answer does not hold the id".to_owned(),
                }),
                _ => Ok(Value::Object(outputs)),
            }
        }
        _ => Ok(body),
    }
}

/// The JSON of an answer.
///
/// # Errors
/// [`GraphError::BadAnswer`].
fn body_of(answer: &GraphAnswer) -> Result<Value, GraphError> {
    serde_json::from_slice(&answer.body)
        .map_err(|_| GraphError::BadAnswer { what: "it is something other than JSON".to_owned() })
}

#[cfg(test)]
#[path = "requests_tests.rs"]
mod tests;
