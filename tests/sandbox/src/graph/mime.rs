//! Items as text: messages as MIME, events as iCalendar, contacts as vCard.
//! Never reads any of these back.

use crate::answer::Answer;
use crate::data::attachments::{Attachment, AttachmentKind};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Map, Value};

const BOUNDARY: &str = "_004_SANDBOX_BOUNDARY_";

/// A message as it would be delivered.
pub(crate) fn of_message(message: &Map<String, Value>, attachments: &[Attachment]) -> Answer {
    let mut text = String::new();
    let mut header = |name: &str, value: &str| {
        if !value.is_empty() {
            text.push_str(&format!("{name}: {value}\r\n"));
        }
    };
    let plain = |name: &str| message.get(name).and_then(Value::as_str).unwrap_or_default().to_owned();
    let people = |name: &str| {
        let list = match message.get(name) {
            Some(Value::Array(list)) => list.clone(),
            Some(one @ Value::Object(_)) => vec![one.clone()],
            _ => Vec::new(),
        };
        let person = |one: &Value| {
            let address = &one["emailAddress"];
            format!(
                "{} <{}>",
                word(address["name"].as_str().unwrap_or_default()),
                address["address"].as_str().unwrap_or_default()
            )
        };
        list.iter().map(person).collect::<Vec<_>>().join(", ")
    };
    header("From", &people("from"));
    header("To", &people("toRecipients"));
    header("CC", &people("ccRecipients"));
    header("Subject", &word(&plain("subject")));
    header("Date", &plain("sentDateTime"));
    header("Message-ID", &plain("internetMessageId"));
    header("MIME-Version", "1.0");
    let body = message.get("body").cloned().unwrap_or(Value::Null);
    let kind = if body["contentType"] == "html" { "text/html" } else { "text/plain" };
    let content = wrapped(body["content"].as_str().unwrap_or_default().as_bytes());
    let body = format!(
        "Content-Type: {kind}; charset=\"utf-8\"\r\nContent-Transfer-Encoding: base64\r\n\r\n{content}"
    );
    if attachments.is_empty() {
        text.push_str(&body);
    } else {
        text.push_str(&format!(
            "Content-Type: multipart/mixed; boundary=\"{BOUNDARY}\"\r\n\r\n--{BOUNDARY}\r\n{body}"
        ));
        for attachment in attachments {
            text.push_str(&part(attachment));
        }
        text.push_str(&format!("--{BOUNDARY}--\r\n"));
    }
    Answer::text(200, "text/plain", text.into_bytes())
}

/// An attached item in the form that suits its type.
pub(crate) fn of_item(item: &Value) -> Answer {
    let type_name = item["@odata.type"].as_str().unwrap_or_default().trim_start_matches('#');
    let text = |name: &str| item[name].as_str().unwrap_or_default();
    match type_name {
        "microsoft.graph.event" => {
            let text = format!(
                "BEGIN:VCALENDAR\r\nVERSION:2.0\r\nBEGIN:VEVENT\r\nSUMMARY:{}\r\nEND:VEVENT\r\nEND:VCALENDAR\r\n",
                text("subject")
            );
            Answer::text(200, "text/calendar", text.into_bytes())
        }
        "microsoft.graph.contact" => {
            let text = format!("BEGIN:VCARD\r\nVERSION:3.0\r\nFN:{}\r\nEND:VCARD\r\n", text("displayName"));
            Answer::text(200, "text/x-vcard", text.into_bytes())
        }
        _ => match item {
            Value::Object(message) => of_message(message, &[]),
            _ => of_message(&Map::new(), &[]),
        },
    }
}

fn part(attachment: &Attachment) -> String {
    let AttachmentKind::File(content) = &attachment.kind else {
        return String::new();
    };
    let bytes = content.whole().unwrap_or_default();
    format!(
        "--{BOUNDARY}\r\nContent-Type: {}; name=\"{name}\"\r\nContent-Disposition: attachment; filename=\"{name}\"\r\nContent-Transfer-Encoding: base64\r\n\r\n{}",
        attachment.content_type.as_deref().unwrap_or("application/octet-stream"),
        wrapped(&bytes),
        name = word(&attachment.name)
    )
}

/// Words beyond ASCII are written encoded (RFC 2047).
fn word(text: &str) -> String {
    if text.is_ascii() { text.to_owned() } else { format!("=?utf-8?B?{}?=", STANDARD.encode(text)) }
}

fn wrapped(bytes: &[u8]) -> String {
    let encoded = STANDARD.encode(bytes);
    let mut text = String::with_capacity(encoded.len() + encoded.len() / 38);
    let mut rest = encoded.as_str();
    while !rest.is_empty() {
        // Base64 is ASCII, so every place is a boundary of a character.
        let (line, after) = rest.split_at(rest.len().min(76));
        text.push_str(line);
        text.push_str("\r\n");
        rest = after;
    }
    text
}
