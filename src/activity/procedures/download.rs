//! DownloadEmail and DownloadAttachments: MIME and raw contents of a mailbox (Graph, "Get MIME content of a message" and
//! "Get attachment"), and names from outside made harmless.

use std::collections::HashSet;

use serde_json::{Map, Value, json};

use super::attach::base;
use super::deliver::{Delivered, Destination, LARGEST, LARGEST_IN_ANSWER, Wanted, deliver};
use super::given::Given;
use super::local_files::{LocalPath, safe_name};
use super::run::Doing;
use super::{Call, Work, item, read};
use crate::activity::error::ActivityError;
use crate::catalog::encode_segment;
use crate::graph::{DownloadRequest, GraphError};

/// Attachments of one message that are read; Outlook allows 250.
const MOST: usize = 1000;

/// DownloadEmail.
#[derive(Debug)]
pub(super) struct DownloadMessage {
    base: String,
    mailbox: String,
    id: String,
    destination: Destination,
}

/// DownloadAttachments.
#[derive(Debug)]
pub(super) struct DownloadAttachments {
    base: String,
    mailbox: String,
    wanted: Vec<String>,
    destination: Many,
}

#[derive(Debug)]
enum Many {
    Stream,
    Answer,
    Folder { folder: LocalPath, overwrite: bool },
}

pub(super) fn message(given: &Given<'_>, call: Call<'_>) -> Result<Work, ActivityError> {
    let owner = call.owner(given)?;
    Ok(Work::DownloadMessage(DownloadMessage {
        base: format!("{}/{}", owner.path(), item("messages", given.id("Id")?)),
        mailbox: owner.mailbox(),
        id: given.id("Id")?.to_owned(),
        destination: Destination::read(given, call)?,
    }))
}

pub(super) fn attachments(given: &Given<'_>, call: Call<'_>) -> Result<Work, ActivityError> {
    let owner = call.owner(given)?;
    let kind = given.word("DestinationType", &["Message", "Event"], "Message")?;
    let overwrite = given.boolean("Overwrite", true)?;
    let destination = match given.text("AttachmentFolder")? {
        Some(_) if call.wants_stream => {
            return Err(given.fault(
                "AttachmentFolder",
                "cannot stand beside Accept: application/octet-stream: the content goes to one of both",
            ));
        }
        Some(folder) => {
            Many::Folder { folder: call.local_files.path("AttachmentFolder", folder)?, overwrite }
        }
        None if call.wants_stream => Many::Stream,
        None => Many::Answer,
    };
    Ok(Work::DownloadAttachments(DownloadAttachments {
        base: base(given, &owner, kind)?,
        mailbox: owner.mailbox(),
        wanted: given.list("AttachmentIds")?.into_iter().map(str::to_owned).collect(),
        destination,
    }))
}

/// A content of a mailbox: nothing identifies it, so one that broke off is begun again.
fn raw(path: String, mailbox: &str) -> DownloadRequest {
    DownloadRequest {
        request: read(path, Some(mailbox.to_owned())),
        limit: LARGEST,
        size: None,
        digest: None,
    }
}

impl DownloadMessage {
    pub(super) async fn run(self, doing: &Doing<'_>) -> Result<Delivered, ActivityError> {
        let request = raw(format!("{}/$value", self.base), &self.mailbox);
        let wanted = Wanted { request, name: "message.eml".to_owned(), identity: None };
        let outputs = Map::from_iter([("Id".to_owned(), Value::from(self.id))]);
        deliver(doing, wanted, &self.destination, outputs).await
    }
}

impl DownloadAttachments {
    pub(super) async fn run(self, doing: &Doing<'_>) -> Result<Delivered, ActivityError> {
        let found = self.find(doing).await?;
        if let Many::Stream = self.destination {
            return match found.as_slice() {
                [one] if has_content(one) => {
                    self.fetch(doing, one, &Destination::Stream, String::new()).await
                }
                [_] => {
                    Err(ActivityError::request("no_content", "The attachment is a link and has no content."))
                }
                others => {
                    let message = format!(
                        "There are {} attachments, and a stream holds one. Give its id in AttachmentIds.",
                        others.len()
                    );
                    Err(ActivityError::field("bad_parameter", "AttachmentIds", message))
                }
            };
        }
        let mut rows = Vec::with_capacity(found.len());
        let mut names = HashSet::new();
        let mut left = LARGEST_IN_ANSWER;
        for attachment in &found {
            let name = unique(&mut names, &safe_name(text(attachment, "name")));
            let destination = match &self.destination {
                Many::Folder { folder, overwrite } => {
                    Destination::Local { path: folder.below(&name), overwrite: *overwrite }
                }
                _ => Destination::Answer(left),
            };
            if !has_content(attachment) {
                rows.push(Value::Object(outputs(attachment)));
                continue;
            }
            match self.fetch(doing, attachment, &destination, name).await? {
                Delivered::Value(row) => {
                    left = left.saturating_sub(row.get("Size").and_then(Value::as_u64).unwrap_or(0));
                    rows.push(row);
                }
                Delivered::Content(_) => {}
            }
        }
        Ok(Delivered::Value(json!({"Attachments": rows})))
    }

    async fn fetch(
        &self,
        doing: &Doing<'_>,
        attachment: &Value,
        destination: &Destination,
        name: String,
    ) -> Result<Delivered, ActivityError> {
        let id = text(attachment, "id");
        let name = if name.is_empty() { safe_name(text(attachment, "name")) } else { name };
        let path = format!("{}/attachments/{}/$value", self.base, encode_segment(id));
        let wanted = Wanted { request: raw(path, &self.mailbox), name, identity: None };
        deliver(doing, wanted, destination, outputs(attachment)).await
    }

    /// The attachments asked for, without their contents.
    async fn find(&self, doing: &Doing<'_>) -> Result<Vec<Value>, ActivityError> {
        let select = "$select=id,name,contentType,size,isInline,lastModifiedDateTime";
        let list = read(format!("{}/attachments?{select}", self.base), Some(self.mailbox.clone()));
        let mut pages = doing.live.graph.pages(list, doing.context.clone());
        let mut found = Vec::new();
        while let Some(batch) = pages.next().await? {
            for row in batch.rows() {
                let row: Value = serde_json::from_slice(row)
                    .map_err(|_| GraphError::BadAnswer { what: "an attachment is not JSON".to_owned() })?;
                found.push(row);
            }
            if found.len() > MOST {
                let what = format!("there are more than {MOST} attachments");
                return Err(GraphError::BadAnswer { what }.into());
            }
        }
        if let Some(absent) =
            self.wanted.iter().find(|wanted| !found.iter().any(|row| text(row, "id") == wanted.as_str()))
        {
            let message = format!(
                "There is no attachment '{}' there. Leave AttachmentIds out to get all of them.",
                crate::error::clean_foreign_text(absent)
            );
            return Err(ActivityError::field("unknown_attachment", "AttachmentIds", message));
        }
        found.retain(|row| {
            self.wanted.is_empty() || self.wanted.iter().any(|wanted| text(row, "id") == wanted)
        });
        Ok(found)
    }
}

/// A link to a file elsewhere has no content of its own.
fn has_content(attachment: &Value) -> bool {
    !text(attachment, "@odata.type").ends_with("referenceAttachment")
}

fn text<'a>(value: &'a Value, key: &str) -> &'a str {
    value.get(key).and_then(Value::as_str).unwrap_or_default()
}

fn outputs(attachment: &Value) -> Map<String, Value> {
    [
        ("AttachmentId", "id"),
        ("Name", "name"),
        ("ContentType", "contentType"),
        ("Size", "size"),
        ("IsInline", "isInline"),
        ("LastModifiedDateTime", "lastModifiedDateTime"),
    ]
    .into_iter()
    .map(|(output, property)| (output.to_owned(), attachment.get(property).cloned().unwrap_or_default()))
    .collect()
}

/// Two attachments of one name must not become one file.
fn unique(names: &mut HashSet<String>, name: &str) -> String {
    let mut candidate = name.to_owned();
    let mut number = 2;
    while !names.insert(candidate.to_lowercase()) {
        candidate = match name.rsplit_once('.') {
            Some((stem, extension)) => format!("{stem} ({number}).{extension}"),
            None => format!("{name} ({number})"),
        };
        number += 1;
    }
    candidate
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_attachments_of_one_name_are_two_files() {
        let mut names = HashSet::new();
        let made: Vec<_> = ["a.txt", "A.txt", "a.txt", "b", "b"].map(|name| unique(&mut names, name)).into();
        assert_eq!(made, ["a.txt", "A (2).txt", "a (3).txt", "b", "b (2)"]);
    }
}
