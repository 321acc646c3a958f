//! AddAttachments and DeleteAttachment: below 3 MB in one request, above through an upload session (Graph, "Add
//! attachment" and "attachment: createUploadSession").

use serde_json::{Map, Value, json};

use super::content::{Content, Source};
use super::given::Given;
use super::mail_attachments::{file_attachment, room};
use super::run::Doing;
use super::{Call, Outcome, Work, body_of, item, read};
use crate::activity::error::ActivityError;
use crate::activity::target::write;
use crate::catalog::{Owner, encode_segment};
use crate::graph::{Effect, GraphError, LARGEST_BODY, UploadContent, UploadRequest};

/// Outlook takes attachments up to this size through a session.
const LARGEST: u64 = 150 * 1024 * 1024;
/// A piece of an attachment: Outlook takes less than 4 MB at a time.
const PIECE: usize = 12 * 320 * 1024;

/// AddAttachments.
#[derive(Debug)]
pub(super) struct AddAttachment {
    /// `…/messages/{id}` or `…/events/{id}`.
    base: String,
    mailbox: String,
    meta: AttachmentMeta,
    source: Source,
}

/// What is told about an attachment besides its content.
#[derive(Debug)]
pub(super) struct AttachmentMeta {
    pub(super) name: String,
    pub(super) content_type: Option<String>,
    pub(super) content_id: Option<String>,
    pub(super) is_inline: bool,
}

pub(super) fn add(given: &Given<'_>, call: Call<'_>) -> Result<Work, ActivityError> {
    let owner = call.owner(given)?;
    let base = base(given, &owner, given.word("DestinationType", &["Message", "Event"], "Message")?)?;
    let text = |name: &str| given.text(name).map(|text| text.map(str::to_owned));
    let meta = AttachmentMeta {
        name: given.id("FileName")?.to_owned(),
        content_type: text("ContentType")?,
        content_id: text("ContentId")?,
        is_inline: given.boolean("IsInline", false)?,
    };
    let source = Source::read(given, call.local_files, call.has_content)?;
    Ok(Work::Attach(Box::new(AddAttachment { base, mailbox: owner.mailbox(), meta, source })))
}

pub(super) fn delete(given: &Given<'_>, call: Call<'_>) -> Result<Work, ActivityError> {
    let owner = call.owner(given)?;
    let base = base(given, &owner, given.word("DestinationType", &["Message", "Event"], "Message")?)?;
    let path = format!("{base}/{}", item("attachments", given.id("AttachmentId")?));
    let request = write(http::Method::DELETE, path, None, None, Some(owner.mailbox()), Effect::Repeatable);
    Ok(Work::Ask(request, Outcome::Status))
}

/// The path of the message or event that has the attachments.
pub(super) fn base(given: &Given<'_>, owner: &Owner, kind: &str) -> Result<String, ActivityError> {
    let collection = if kind == "Event" { "events" } else { "messages" };
    Ok(format!("{}/{}", owner.path(), item(collection, given.id("Id")?)))
}

impl AddAttachment {
    pub(super) async fn run(self, doing: &Doing<'_>) -> Result<Value, ActivityError> {
        let content = self.source.open(doing).await?;
        let id = attach(doing, &self.base, &self.mailbox, &self.meta, content).await?;
        let mut outputs = Map::from_iter([("ContentBytes".to_owned(), Value::from("Added Successfully"))]);
        if let Some(id) = id {
            // What was stored, in the service's own words. That it is stored is known already.
            let select = "$select=id,name,contentType,size,isInline,lastModifiedDateTime";
            let path = format!("{}/attachments/{}?{select}", self.base, encode_segment(&id));
            let told = doing.live.graph.send(read(path, Some(self.mailbox)), &doing.context).await;
            let told =
                told.ok().and_then(|answer| body_of(&answer).ok()).unwrap_or_else(|| json!({"id": id}));
            for (output, property) in [
                ("Id", "id"),
                ("Name", "name"),
                ("ContentType", "contentType"),
                ("Size", "size"),
                ("IsInline", "isInline"),
                ("LastModifiedDateTime", "lastModifiedDateTime"),
            ] {
                outputs.insert(output.to_owned(), told.get(property).cloned().unwrap_or_default());
            }
        }
        Ok(Value::Object(outputs))
    }
}

/// Adds one attachment; its id, as far as the service tells it.
pub(super) async fn attach(
    doing: &Doing<'_>,
    base: &str,
    mailbox: &str,
    meta: &AttachmentMeta,
    mut content: Content,
) -> Result<Option<String>, ActivityError> {
    let mailbox = Some(mailbox.to_owned());
    let mut empty = file_attachment(&meta.name, meta.content_type.as_deref(), &[]);
    describe(&mut empty, meta);
    if let Some(bytes) = doing.bounded(content.below(room(&empty) + 1)).await? {
        let mut made = file_attachment(&meta.name, meta.content_type.as_deref(), &bytes);
        drop(bytes);
        describe(&mut made, meta);
        let Value::Object(body) = made else { return Ok(None) };
        let request =
            write(http::Method::POST, format!("{base}/attachments"), Some(body), None, mailbox, Effect::Once);
        let answer = doing.live.graph.send(request, &doing.context).await?;
        return Ok(body_of(&answer)?.get("id").and_then(Value::as_str).map(str::to_owned));
    }
    let size = content.length();
    if size > LARGEST {
        let message = format!(
            "The attachment '{}' has {size} bytes; Outlook takes up to {LARGEST}. Upload it with UploadFile and send a link.",
            crate::error::clean_foreign_text(&meta.name)
        );
        return Err(ActivityError::request("attachment_too_large", message));
    }
    let mut made = json!({"attachmentType": "file", "name": meta.name, "size": size});
    if let Some(content_type) = &meta.content_type {
        made["contentType"] = Value::from(content_type.as_str());
    }
    describe(&mut made, meta);
    let body = Map::from_iter([("AttachmentItem".to_owned(), made)]);
    let path = format!("{base}/attachments/createUploadSession");
    // A session that nobody uses ends by itself, so asking twice does no harm.
    let session = write(http::Method::POST, path, Some(body), None, mailbox, Effect::Repeatable);
    let uploaded = doing
        .live
        .graph
        .upload(UploadRequest { session, piece: PIECE }, &mut content, &doing.context)
        .await
        .map_err(|error| between(&meta.name, size, error))?;
    let Some(answer) = uploaded.answer else {
        let what = "the last piece of the attachment was sent, its answer was lost, and the upload session has ended since";
        return Err(GraphError::OutcomeUnknown { what: what.to_owned() }.into());
    };
    let told = body_of(&answer).ok().and_then(|body| body.get("id")?.as_str().map(str::to_owned));
    Ok(told.or_else(|| id_in_location(answer.location.as_deref()?)))
}

/// A few hundred bytes below 3 MiB are too many for one request, in base64 and with what stands around it, and too few for
/// a session.
fn between(name: &str, size: u64, error: GraphError) -> ActivityError {
    match &error {
        GraphError::Refused(refusal)
            if refusal.code == "ErrorAttachmentSizeShouldNotBeLessThanMinimumSize" =>
        {
            let message = format!(
                "The attachment '{}' has {size} bytes: too many for one request, which holds {LARGEST_BODY} as they are sent, and \
                 too few for an upload session of Outlook. Pack it, or make it larger.",
                crate::error::clean_foreign_text(name)
            );
            ActivityError::request("attachment_size", message)
        }
        _ => error.into(),
    }
}

fn describe(made: &mut Value, meta: &AttachmentMeta) {
    if meta.is_inline {
        made["isInline"] = Value::Bool(true);
    }
    if let Some(content_id) = &meta.content_id {
        made["contentId"] = Value::from(content_id.as_str());
    }
}

/// Outlook answers an upload with `Location: …/Attachments('id')`, Graph's own addresses end with `…/attachments/id`.
fn id_in_location(location: &str) -> Option<String> {
    let location = location.split(['?', '#']).next()?;
    let at = location.to_ascii_lowercase().rfind("/attachments")? + "/attachments".len();
    let rest = &location[at..];
    let id = match rest.strip_prefix("('") {
        Some(quoted) => quoted.split("')").next()?,
        None => rest.strip_prefix('/')?.split('/').next()?,
    };
    let id = percent_encoding::percent_decode_str(id).decode_utf8().ok()?.into_owned();
    (!id.is_empty()).then_some(id)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_id_is_found_in_either_form_of_address() {
        for (location, id) in [
            (
                "https://outlook.office.com/api/v2.0/Users('a@b')/Messages('M=')/Attachments('AAM-_=')",
                Some("AAM-_="),
            ),
            ("https://graph.microsoft.com/v1.0/me/messages/M/attachments/A%2FB=?x=1", Some("A/B=")),
            ("https://outlook.office.com/api/v2.0/Attachments('')", None),
            ("https://x/attachments", None),
            ("https://x/y", None),
        ] {
            assert_eq!(id_in_location(location).as_deref(), id, "{location}");
        }
    }
}
