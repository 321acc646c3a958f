//! The procedures as data: names and parameters. Never builds a request.

use super::{CatalogError, did_you_mean};

/// Which procedure it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProcedureKind {
    /// Sends a new message, or a draft.
    SendMail,
    /// Moves a message to another folder.
    MoveMail,
}

/// One parameter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Parameter {
    /// Its name, matched without regard to case.
    pub name: &'static str,
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
    /// Its parameters.
    pub parameters: &'static [Parameter],
    /// The names of its outputs.
    pub outputs: &'static [&'static str],
}

const fn optional(name: &'static str, description: &'static str) -> Parameter {
    Parameter { name, required: false, description }
}

const PROCEDURES: [Procedure; 2] = [
    Procedure {
        kind: ProcedureKind::SendMail,
        name: "SendMail",
        description: "Sends a new message, or the draft named by Id.",
        parameters: &[
            optional("Id", "The id of a draft to send as it is; nothing else but UserId is given then."),
            optional("Subject", "The subject."),
            optional("Content", "The body."),
            optional("ContentType", "'text' (default) or 'html'."),
            optional("ToRecipients", "Addresses, separated by ';'."),
            optional("CCRecipients", "Addresses, separated by ';'."),
            optional("BccRecipients", "Addresses, separated by ';'."),
            optional("FromEmail", "The mailbox to send from."),
            optional("SenderEmail", "The address to send on behalf of."),
            optional("Attachments", "'name1, content1; name2, content2', each content in base64."),
            optional("FileName", "The name of one attachment, whose content is ContentBytes."),
            optional("ContentBytes", "The content of FileName in base64, below 3 MB."),
            optional("SaveToSentItems", "Whether a copy is kept in Sent Items (default true)."),
            optional("UserId", "The user whose mailbox sends, by id or user principal name."),
        ],
        outputs: &["Status"],
    },
    Procedure {
        kind: ProcedureKind::MoveMail,
        name: "MoveMail",
        description: "Moves a message to another folder. The message gets a new id.",
        parameters: &[
            Parameter { name: "Id", required: true, description: "The message's id." },
            optional(
                "DestinationId",
                "The folder's id or well-known name, such as 'archive'; this or DestinationFolder.",
            ),
            optional("DestinationFolder", "The same as DestinationId."),
            optional("UserId", "The user whose mailbox it is, by id or user principal name."),
        ],
        outputs: &["Id"],
    },
];

/// All procedures.
pub fn procedures() -> &'static [Procedure] {
    &PROCEDURES
}

/// The procedure called `name`, in any case.
pub fn find_procedure(name: &str) -> Option<&'static Procedure> {
    PROCEDURES.iter().find(|procedure| procedure.name.eq_ignore_ascii_case(name))
}

impl Procedure {
    /// The parameter called `name`, in any case.
    ///
    /// # Errors
    /// A sentence with the nearest name.
    pub fn parameter(&self, name: &str) -> Result<&'static Parameter, CatalogError> {
        self.parameters.iter().find(|parameter| parameter.name.eq_ignore_ascii_case(name)).ok_or_else(|| {
            let names: Vec<&str> = self.parameters.iter().map(|parameter| parameter.name).collect();
            let near = did_you_mean(name, names.iter().copied());
            CatalogError::new(format!(
                "{} has no parameter '{name}'.{near} Its parameters are {}.",
                self.name,
                names.join(", ")
            ))
        })
    }
}
