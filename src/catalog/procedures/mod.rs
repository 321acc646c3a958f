//! The procedures as data: names, parameters and outputs, one file a family. Never builds a request.

mod account;
mod calendar;
mod drive;
mod mail;

use serde::Serialize;
use utoipa::ToSchema;

use super::{CatalogError, did_you_mean};

/// Which procedure it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProcedureKind {
    /// Sends a new message, or a draft.
    SendMail,
    /// Forwards a message.
    ForwardMail,
    /// Answers a message.
    ReplyToMessage,
    /// Moves a message to another folder.
    MoveMail,
    /// Downloads a message as MIME.
    DownloadEmail,
    /// Adds attachments to a message or an event.
    AddAttachments,
    /// Removes an attachment.
    DeleteAttachment,
    /// Downloads attachments.
    DownloadAttachments,
    /// Cancels a meeting.
    CancelEvent,
    /// Forwards a meeting.
    ForwardEvent,
    /// Accepts or declines a meeting.
    RespondToEvent,
    /// Puts a reminder off.
    SnoozeEventReminder,
    /// Ends a reminder.
    DismissEventReminder,
    /// Makes a folder on a drive.
    CreateFolder,
    /// Uploads a file to a drive.
    UploadFile,
    /// Downloads a file from a drive.
    DownloadFile,
    /// Assigns and takes licenses.
    AssignLicense,
    /// Reads what Graph tells only of one user at a time.
    FetchAdditionalUserFields,
    /// The address where an administrator consents.
    GetAdminConsentUrl,
    /// The address where a person signs in.
    GetOAuthAuthorizationUrl,
    /// Brings a sign-in to its end.
    GetOAuthAccessToken,
    /// Refreshes the kept token.
    RefreshOAuthAccessToken,
    /// Describes an object.
    CreateSchema,
}

/// What a parameter takes. A text stands for every one of them, so that a call without JSON can give it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub enum ParameterType {
    /// A text.
    String,
    /// True or false.
    Boolean,
    /// An instant, in ISO 8601.
    DateTime,
    /// Bytes as base64.
    Binary,
    /// An object or array, as JSON or as text that holds JSON.
    Json,
    /// The body of the call itself, as `application/octet-stream`.
    Stream,
}

/// One parameter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Parameter {
    /// Its name, matched without regard to case.
    pub name: &'static str,
    /// Other names for the same.
    pub also: &'static [&'static str],
    /// What it takes.
    pub kind: ParameterType,
    /// Whether it must be given.
    pub required: bool,
    /// What it means.
    pub description: &'static str,
}

/// One procedure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Procedure {
    /// Which one it is.
    pub kind: ProcedureKind,
    /// Its name, matched without regard to case.
    pub name: &'static str,
    /// What it does.
    pub description: &'static str,
    /// Whether it changes anything at Microsoft Graph; one that does is refused on a connection for reading.
    pub changes: bool,
    /// Its parameters.
    pub parameters: &'static [Parameter],
    /// The names of its outputs.
    pub outputs: &'static [&'static str],
}

const fn optional(name: &'static str, description: &'static str) -> Parameter {
    Parameter { name, also: &[], kind: ParameterType::String, required: false, description }
}

const fn required(name: &'static str, description: &'static str) -> Parameter {
    Parameter { required: true, ..optional(name, description) }
}

impl Parameter {
    const fn of(self, kind: ParameterType) -> Self {
        Self { kind, ..self }
    }

    const fn also(self, also: &'static [&'static str]) -> Self {
        Self { also, ..self }
    }

    fn is_called(&self, name: &str) -> bool {
        self.name.eq_ignore_ascii_case(name) || self.also.iter().any(|other| other.eq_ignore_ascii_case(name))
    }
}

const USER: Parameter = optional(
    "UserId",
    "The user whose data it is, by id or user principal name; needed when the connection acts as an application.",
);
const LOCAL_FILE: Parameter = optional(
    "LocalFile",
    "A file below [LocalFiles] Root on the agent's host; needs EnableLocalFileLocation=true in [Settings].",
);
const CONTENT_BYTES: Parameter = optional("ContentBytes", "The content in base64.").of(ParameterType::Binary);
const CONTENT: Parameter = optional("Content", "The content as a stream: send it as the body with Content-Type: application/octet-stream, and the procedure and its parameters as query parameters.").of(ParameterType::Stream);
const OVERWRITE: Parameter =
    optional("Overwrite", "Whether a local file that is there already is replaced (default true).")
        .of(ParameterType::Boolean);
const DRIVE: Parameter =
    optional("DriveId", "The drive, by id. Default: the drive of UserId, else the signed-in user's.");
const GROUP: Parameter =
    optional("GroupId", "The group whose default drive it is; UserId and DriveId win over it.");

/// All procedures, by family.
pub fn procedures() -> impl Iterator<Item = &'static Procedure> {
    [mail::PROCEDURES, calendar::PROCEDURES, drive::PROCEDURES, account::PROCEDURES].into_iter().flatten()
}

/// The procedure called `name`, in any case.
pub fn find_procedure(name: &str) -> Option<&'static Procedure> {
    procedures().find(|procedure| procedure.name.eq_ignore_ascii_case(name))
}

impl Procedure {
    /// The parameter called `name`, in any case.
    ///
    /// # Errors
    /// A sentence with the nearest name.
    pub fn parameter(&self, name: &str) -> Result<&'static Parameter, CatalogError> {
        self.parameters.iter().find(|parameter| parameter.is_called(name)).ok_or_else(|| {
            let names: Vec<&str> = self.parameters.iter().map(|parameter| parameter.name).collect();
            let near = did_you_mean(name, names.iter().copied());
            let takes = match names.is_empty() {
                true => "It has none.".to_owned(),
                false => format!("Its parameters are {}.", names.join(", ")),
            };
            let name = crate::error::clean_foreign_text(name);
            CatalogError::new(format!("{} has no parameter '{name}'.{near} {takes}", self.name))
        })
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    /// The names that operators know (25.0 of the driver).
    const KNOWN: [&str; 23] = [
        "AddAttachments",
        "AssignLicense",
        "CancelEvent",
        "CreateFolder",
        "CreateSchema",
        "DeleteAttachment",
        "DismissEventReminder",
        "DownloadAttachments",
        "DownloadEmail",
        "DownloadFile",
        "FetchAdditionalUserFields",
        "ForwardEvent",
        "ForwardMail",
        "GetAdminConsentURL",
        "GetOAuthAccessToken",
        "GetOAuthAuthorizationURL",
        "MoveMail",
        "RefreshOAuthAccessToken",
        "ReplyToMessage",
        "RespondToEvent",
        "SendMail",
        "SnoozeEventReminder",
        "UploadFile",
    ];

    #[test]
    fn there_are_the_known_ones_each_with_clear_names() {
        let names: BTreeSet<_> = procedures().map(|procedure| procedure.name).collect();
        assert_eq!(names, BTreeSet::from(KNOWN));
        assert_eq!(procedures().count(), KNOWN.len());
        for procedure in procedures() {
            let mut seen = BTreeSet::new();
            for parameter in procedure.parameters {
                for name in [parameter.name].iter().chain(parameter.also) {
                    assert!(seen.insert(name.to_lowercase()), "{} {name}", procedure.name);
                }
                assert!(parameter.description.ends_with('.'), "{} {}", procedure.name, parameter.name);
            }
            assert!(
                procedure.description.ends_with('.') && !procedure.outputs.is_empty(),
                "{}",
                procedure.name
            );
        }
    }

    #[test]
    fn parameters_are_found_by_any_of_their_names() {
        let found =
            find_procedure("movemail").and_then(|procedure| procedure.parameter("DESTINATIONFOLDER").ok());
        assert_eq!(found.map(|parameter| parameter.name), Some("DestinationId"));
        let message = find_procedure("SendMail").and_then(|procedure| procedure.parameter("Subjct").err());
        assert!(message.is_some_and(|error| error.message.contains("Did you mean 'Subject'?")));
    }
}
