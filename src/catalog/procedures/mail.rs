//! The procedures of mail and of attachments, as data (Graph, resource types `message` and `attachment`).

use super::ParameterType::{Boolean, Json};
use super::{
    CONTENT, CONTENT_BYTES, LOCAL_FILE, OVERWRITE, Parameter, Procedure, ProcedureKind, USER, optional,
    required,
};

const MESSAGE_ID: Parameter = required("Id", "The message's id.").also(&["MessageId"]);
const DESTINATION_TYPE: Parameter =
    optional("DestinationType", "What Id names: 'Message' (default) or 'Event'.");
const MESSAGE: Parameter =
    optional("Message", "Further properties of the new message, as Graph's message resource.").of(Json);

pub(super) const PROCEDURES: &[Procedure] = &[
    Procedure {
        kind: ProcedureKind::SendMail,
        name: "SendMail",
        description: "Sends a new message, or the draft named by Id. A message whose attachments have 3 MB or more together is made as a draft, gets them through upload sessions, and is then sent.",
        changes: true,
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
            optional("Attachments", "'name1, content1; name2, content2', each content in base64 or as '@' with a path below [LocalFiles] Root; or an array of {name, contentBytes, contentType}."),
            optional("FileName", "The name of one attachment, whose content is ContentBytes or LocalFile."),
            LOCAL_FILE,
            CONTENT_BYTES,
            optional("SaveToSentItems", "Whether a copy is kept in Sent Items (default true).").of(Boolean),
            USER,
        ],
        outputs: &["Status"],
    },
    Procedure {
        kind: ProcedureKind::ForwardMail,
        name: "ForwardMail",
        description: "Forwards a message.",
        changes: true,
        parameters: &[
            MESSAGE_ID,
            required("ToRecipients", "Addresses, separated by ';'."),
            optional("Comment", "A text to stand before the forwarded message; not together with a body in Message."),
            MESSAGE,
            USER,
        ],
        outputs: &["Status"],
    },
    Procedure {
        kind: ProcedureKind::ReplyToMessage,
        name: "ReplyToMessage",
        description: "Answers the sender of a message, or everybody.",
        changes: true,
        parameters: &[
            MESSAGE_ID,
            optional("Comment", "The answer's text; not together with a body in Message."),
            optional("ReplyAll", "Whether everybody gets the answer (default false).").of(Boolean).also(&["ReplyToAll"]),
            MESSAGE,
            USER,
        ],
        outputs: &["Status"],
    },
    Procedure {
        kind: ProcedureKind::MoveMail,
        name: "MoveMail",
        description: "Moves a message to another folder. The message gets a new id.",
        changes: true,
        parameters: &[
            MESSAGE_ID,
            required("DestinationId", "The folder's id or well-known name, such as 'archive'.").also(&["DestinationFolder"]),
            USER,
        ],
        outputs: &["Id"],
    },
    Procedure {
        kind: ProcedureKind::DownloadEmail,
        name: "DownloadEmail",
        description: "Downloads a message as MIME: into LocalFile, as a stream when the call has Accept: application/octet-stream, else as base64 in the answer.",
        changes: false,
        parameters: &[MESSAGE_ID, LOCAL_FILE, OVERWRITE, USER],
        outputs: &["Id", "Size", "ContentType", "ContentBytes", "LocalFile", "Verified"],
    },
    Procedure {
        kind: ProcedureKind::AddAttachments,
        name: "AddAttachments",
        description: "Adds a file to a message or an event; 3 MB and more through an upload session. One of LocalFile, ContentBytes and Content is given.",
        changes: true,
        parameters: &[
            required("Id", "The id of the message or event."),
            required("DestinationType", "What Id names: 'Message' or 'Event'."),
            required("FileName", "The attachment's name."),
            LOCAL_FILE,
            CONTENT_BYTES,
            CONTENT,
            optional("ContentType", "The attachment's media type."),
            optional("ContentId", "The id by which an HTML body shows the attachment ('cid:')."),
            optional("IsInline", "Whether it is shown in the body rather than listed (default false).").of(Boolean),
            USER,
        ],
        outputs: &["ContentBytes", "Id", "Name", "ContentType", "Size", "IsInline", "LastModifiedDateTime"],
    },
    Procedure {
        kind: ProcedureKind::DeleteAttachment,
        name: "DeleteAttachment",
        description: "Removes an attachment from a message or an event.",
        changes: true,
        parameters: &[
            required("Id", "The id of the message or event.").also(&["MessageId", "EventId"]),
            required("AttachmentId", "The attachment's id."),
            DESTINATION_TYPE,
            USER,
        ],
        outputs: &["Status"],
    },
    Procedure {
        kind: ProcedureKind::DownloadAttachments,
        name: "DownloadAttachments",
        description: "Downloads attachments of a message or an event: into AttachmentFolder, as a stream when there is one and the call has Accept: application/octet-stream, else as base64 in the answer. Attached items come as MIME; links to files elsewhere have no content.",
        changes: false,
        parameters: &[
            required("Id", "The id of the message or event.").also(&["MessageId", "EventId"]),
            optional("AttachmentIds", "The attachments' ids, separated by ';' (default: all).").also(&["AttachmentId"]),
            DESTINATION_TYPE,
            optional("AttachmentFolder", "A folder below [LocalFiles] Root ('/' for the Root itself); needs EnableLocalFileLocation=true in [Settings].").also(&["LocalFolder"]),
            OVERWRITE,
            USER,
        ],
        outputs: &["Attachments"],
    },
];
