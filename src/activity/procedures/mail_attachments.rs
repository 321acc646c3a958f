//! The attachments of SendMail: from the procedure's texts to Graph's file attachments, or to files that are still to be
//! opened. Pure.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use serde_json::{Map, Value, json};

use super::content::{Source, decode};
use super::given::Given;
use super::local_files::LocalFiles;
use crate::activity::error::ActivityError;
use crate::graph::LARGEST_BODY;

/// An attachment of this size or more needs an upload session, and all attachments of one request together stay below it
/// (Graph, "Attach large files to Outlook messages").
pub(super) const LARGE: usize = 3 * 1024 * 1024;

/// One attachment.
#[derive(Debug)]
pub(super) struct MailAttachment {
    pub(super) name: String,
    pub(super) content_type: Option<String>,
    pub(super) source: Source,
}

impl MailAttachment {
    pub(super) fn is_file(&self) -> bool {
        matches!(self.source, Source::Local(_))
    }

    fn bytes(&self) -> Option<&Bytes> {
        match &self.source {
            Source::Bytes(bytes) => Some(bytes),
            _ => None,
        }
    }
}

/// What a request has beside a message and its attachments: the wrapping, and the mark of a keyed one.
const WRAPPING: usize = 2 * 1024;

/// Whether a message with attachments of these names, media types and lengths fits into one request, as it is sent: in
/// base64, with its escapes.
pub(super) fn fits<'a>(
    message: &Map<String, Value>,
    attached: impl Iterator<Item = (&'a str, Option<&'a str>, u64)>,
) -> bool {
    let text = |value: &Value| value.to_string().len() as u64;
    let message = text(&Value::Object(message.clone()));
    let (mut contents, mut body) = (0u64, message + WRAPPING as u64);
    for (name, content_type, length) in attached {
        contents = contents.saturating_add(length);
        let head = text(&file_attachment(name, content_type, &[]));
        body = body.saturating_add(head + 1).saturating_add(length.div_ceil(3).saturating_mul(4));
    }
    contents < LARGE as u64 && body <= LARGEST_BODY as u64
}

/// The most bytes of one attachment that go into a request whose body without them is `empty`.
pub(super) fn room(empty: &Value) -> usize {
    (LARGEST_BODY.saturating_sub(empty.to_string().len()) / 4 * 3).min(LARGE - 1)
}

/// The attachments that go into the request itself; `None` when a file must be opened or they are too large for that.
pub(super) fn inline(message: &Map<String, Value>, attached: &[MailAttachment]) -> Option<Vec<Value>> {
    let contents = attached.iter().map(MailAttachment::bytes).collect::<Option<Vec<_>>>()?;
    let measured = attached.iter().zip(&contents).map(|(attachment, content)| {
        (attachment.name.as_str(), attachment.content_type.as_deref(), content.len() as u64)
    });
    let small = attached.is_empty() || fits(message, measured);
    let value = |(attachment, content): (&MailAttachment, &Bytes)| {
        file_attachment(&attachment.name, attachment.content_type.as_deref(), content)
    };
    small.then(|| attached.iter().zip(contents).map(value).collect())
}

/// Graph's `fileAttachment`.
pub(super) fn file_attachment(name: &str, content_type: Option<&str>, content: &[u8]) -> Value {
    let mut made = json!({
        "@odata.type": "#microsoft.graph.fileAttachment", "name": name, "contentBytes": STANDARD.encode(content)
    });
    if let Some(content_type) = content_type {
        made["contentType"] = Value::from(content_type);
    }
    made
}

/// Attachments from `Attachments` (`name1, content1; name2, content2`, or an array of `{name, contentBytes}`) and from
/// `FileName` with `ContentBytes` or `LocalFile`.
///
/// # Errors
/// A sentence naming the attachment and the remedy.
pub(super) fn attachments(
    given: &Given<'_>,
    files: &LocalFiles,
) -> Result<Vec<MailAttachment>, ActivityError> {
    let mut found = match given.value("Attachments") {
        None => Vec::new(),
        Some(Value::String(text)) if text.trim_start().starts_with('[') => {
            let items: Vec<Value> = serde_json::from_str(text)
                .map_err(|_| given.fault("Attachments", "begins like an array and is no JSON"))?;
            items.iter().map(object).collect::<Result<_, _>>()?
        }
        Some(Value::String(text)) => pairs(text, files)?,
        Some(Value::Array(items)) => items.iter().map(object).collect::<Result<_, _>>()?,
        Some(_) => return Err(fault("'Attachments' needs the text 'name1, content1; name2, content2'.")),
    };
    match (given.has("ContentBytes") || given.has("LocalFile"), given.text("FileName")?) {
        (false, None) => {}
        (false, Some(_)) => {
            return Err(given.fault("FileName", "needs its content as ContentBytes (in base64) or LocalFile"));
        }
        (true, name) => {
            let source = Source::read(given, files, false)?;
            let name = match (name, &source) {
                (Some(name), _) => name.to_owned(),
                (None, Source::Local(path)) => last_name(path.as_given()).to_owned(),
                (None, _) => {
                    return Err(given.fault("FileName", "is missing: ContentBytes needs a name for the file"));
                }
            };
            found.push(MailAttachment { name, content_type: None, source });
        }
    }
    Ok(found)
}

/// The last step of a path.
pub(super) fn last_name(path: &str) -> &str {
    path.rsplit('/').next().unwrap_or(path)
}

fn pairs(text: &str, files: &LocalFiles) -> Result<Vec<MailAttachment>, ActivityError> {
    let pieces = text.split(';').map(str::trim).filter(|piece| !piece.is_empty());
    let pair = |piece: &str| match piece.rsplit_once(',') {
        Some((name, content)) => attachment(name.trim(), content.trim(), None, files),
        None => Err(fault(
            "Each attachment needs a name, a comma and its content in base64, or '@' and a local file.",
        )),
    };
    pieces.map(pair).collect()
}

fn object(item: &Value) -> Result<MailAttachment, ActivityError> {
    let text = |key: &str| item.get(key).and_then(Value::as_str);
    match (text("name"), text("contentBytes")) {
        // A path is taken from the text form only, as the driver's users write it.
        (Some(name), Some(content)) => {
            attachment(name, content.trim_start_matches('@'), text("contentType"), &LocalFiles::default())
        }
        _ => Err(fault("Each attachment needs 'name' and 'contentBytes' (base64).")),
    }
}

fn attachment(
    name: &str,
    content: &str,
    content_type: Option<&str>,
    files: &LocalFiles,
) -> Result<MailAttachment, ActivityError> {
    if name.is_empty() {
        return Err(fault("An attachment has no name. Give it one."));
    }
    let source = match content.strip_prefix('@') {
        Some(path) => Source::Local(files.path("Attachments", path)?),
        None => Source::Bytes(decode(content).ok_or_else(|| {
            fault(&format!("The content of the attachment '{name}' is not base64. Encode it with base64."))
        })?),
    };
    Ok(MailAttachment { name: name.to_owned(), content_type: content_type.map(str::to_owned), source })
}

fn fault(message: &str) -> ActivityError {
    ActivityError::field("bad_parameter", "Attachments", message)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use serde_json::Map;

    use super::*;
    use crate::catalog::find_procedure;

    fn read(parameters: &Value) -> Result<Vec<MailAttachment>, ActivityError> {
        let parameters: Map<String, Value> = parameters.as_object().unwrap().clone();
        let given = Given::new(find_procedure("SendMail").unwrap(), &parameters)?;
        attachments(&given, &LocalFiles::default())
    }

    #[test]
    fn texts_and_arrays_become_attachments() {
        let found = read(
            &json!({"Attachments": "a.txt, SGk=; b, c.txt, SGk=;", "FileName": "d", "ContentBytes": "SG k="}),
        )
        .unwrap();
        let found = inline(&Map::new(), &found).unwrap();
        let names: Vec<&str> = found.iter().map(|attachment| attachment["name"].as_str().unwrap()).collect();
        assert_eq!(names, ["a.txt", "b, c.txt", "d"]);
        assert_eq!(found[2]["contentBytes"], "SGk=");
        let list = json!([{"name": "a", "contentBytes": "SGk=", "contentType": "text/plain"}]);
        for list in [list.clone(), Value::from(list.to_string())] {
            let found = read(&json!({"Attachments": list})).unwrap();
            assert_eq!(inline(&Map::new(), &found).unwrap()[0]["contentType"], "text/plain");
        }
    }

    #[test]
    fn what_is_too_large_for_one_request_goes_another_way() {
        let half = STANDARD.encode(vec![0; LARGE / 2]);
        let one = read(&json!({"FileName": "a", "ContentBytes": half})).unwrap();
        assert!(inline(&Map::new(), &one).is_some());
        let two = read(&json!({"Attachments": format!("a, {half}; b, {half}")})).unwrap();
        assert!(inline(&Map::new(), &two).is_none(), "together they are too large");
        // Below 3 MiB, and above 4 MiB as it is sent.
        let whole = STANDARD.encode(vec![0; LARGE - 1]);
        let one = read(&json!({"FileName": "a", "ContentBytes": whole})).unwrap();
        assert!(inline(&Map::new(), &one).is_none());
        let long = Map::from_iter([("body".to_owned(), Value::from("\"".repeat(1024 * 1024)))]);
        let small = read(&json!({"FileName": "a", "ContentBytes": half})).unwrap();
        assert!(inline(&long, &small).is_none(), "escapes count");
        let head = file_attachment("a", None, &[]);
        for empty in [head.clone(), json!({"x": "y".repeat(500_000), "head": head})] {
            let most = room(&empty);
            assert!(empty.to_string().len() + STANDARD.encode(vec![0; most]).len() <= LARGEST_BODY);
            assert!(most == LARGE - 1 || empty.to_string().len() + (most + 4).div_ceil(3) * 4 > LARGEST_BODY);
        }
    }

    #[test]
    fn refusals_say_what_to_do() {
        for (parameters, expected) in [
            (json!({"Attachments": "a.txt"}), "a name, a comma"),
            (json!({"Attachments": "a, @/etc/shadow"}), "switched off"),
            (json!({"Attachments": [{"name": "a", "contentBytes": "@/etc/shadow"}]}), "is not base64"),
            (json!({"LocalFile": "/etc/shadow"}), "switched off"),
            (json!({"Attachments": "a, %%%"}), "is not base64"),
            (json!({"Attachments": ", SGk="}), "has no name"),
            (json!({"Attachments": 5}), "needs the text"),
            (json!({"Attachments": [{"name": "a"}]}), "'contentBytes'"),
            (json!({"FileName": "a"}), "needs its content"),
            (json!({"ContentBytes": "SGk="}), "a name for the file"),
        ] {
            let message = read(&parameters).unwrap_err().to_string();
            assert!(message.contains(expected), "{parameters}: {message}");
        }
    }
}
