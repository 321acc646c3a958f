//! UploadFile: small contents in one request, others through an upload session, and a check of what was stored against
//! the digest that the drive tells (Graph, "Upload small files" and "driveItem: createUploadSession").

use serde_json::{Map, Value, json};

use super::content::{Content, Source};
use super::drive::{SELECT, check_name, drive, new_item};
use super::given::Given;
use super::mail_attachments::last_name;
use super::run::Doing;
use super::{Call, Work, body_of, item, read};
use crate::activity::error::ActivityError;
use crate::activity::target::write;
use crate::catalog::encode_segment;
use crate::graph::{Digests, Effect, GraphError, GraphRequest, KnownDigest, UploadContent, UploadRequest};

/// Contents below this go in one request.
const SMALL: usize = 4 * 1024 * 1024;
/// A piece of an upload: a multiple of 320 KiB, and between the 5 and 10 MiB that the service's page calls best. Of these
/// the smaller end: the allocator may keep a freed piece for every thread that has held one.
const PIECE: usize = 16 * 320 * 1024;

/// UploadFile.
#[derive(Debug)]
pub(super) struct UploadFile {
    drive: String,
    place: Place,
    conflict: &'static str,
    source: Source,
}

#[derive(Debug)]
enum Place {
    /// An item whose content is replaced: `items/{id}`.
    Item(String),
    /// A new item: a path that ends with `:`, and its name.
    New { path: String, name: String },
}

pub(super) fn upload(given: &Given<'_>, call: Call<'_>) -> Result<Work, ActivityError> {
    let drive = drive(given, call)?;
    let source = Source::read(given, call.local_files, call.has_content)?;
    let conflict = given.word("ConflictBehavior", &["replace", "rename", "fail"], "replace")?;
    let place = match (given.text("ItemId")?, given.text("FileName")?) {
        (Some(id), _) => {
            if let Some(other) = ["FileName", "ParentId", "ParentPath", "ConflictBehavior"]
                .into_iter()
                .find(|name| given.has(name))
            {
                return Err(
                    given.fault(other, "cannot stand beside ItemId, which says which file is replaced")
                );
            }
            Place::Item(item("items", id.trim()))
        }
        (None, name) => {
            let name = match (name, &source) {
                (Some(name), _) => name.trim(),
                (None, Source::Local(path)) => last_name(path.as_given()),
                (None, _) => return Err(given.fault("FileName", "is missing: give the file's name")),
            };
            check_name(given, "FileName", name)?;
            Place::New { path: new_item(given, name)?, name: name.to_owned() }
        }
    };
    Ok(Work::UploadFile(Box::new(UploadFile { drive, place, conflict, source })))
}

impl UploadFile {
    pub(super) async fn run(self, doing: &Doing<'_>) -> Result<Value, ActivityError> {
        let Self { drive, place, conflict, source } = self;
        let upload = Upload { doing, drive, place, conflict };
        let mut content = source.open(upload.doing).await?;
        match upload.doing.bounded(content.below(SMALL)).await? {
            Some(bytes) => {
                let mut digests = Digests::default();
                digests.update(&bytes);
                let size = bytes.len() as u64;
                let answer = upload.doing.live.graph.send(upload.put(bytes), &upload.doing.context).await?;
                upload.checked(body_of(&answer)?, size, &digests).await
            }
            None => upload.by_session(&mut content).await,
        }
    }
}

/// An upload whose content is open.
struct Upload<'a, 'b> {
    doing: &'a Doing<'b>,
    drive: String,
    place: Place,
    conflict: &'static str,
}

impl Upload<'_, '_> {
    /// Where the item is, and after an upload is to be found.
    fn item(&self) -> String {
        let Self { drive, place: Place::Item(path) | Place::New { path, .. }, .. } = self;
        format!("{drive}/{path}")
    }

    /// Whether doing it twice gives the same as doing it once.
    fn effect(&self) -> Effect {
        match (&self.place, self.conflict) {
            (Place::Item(_), _) | (Place::New { .. }, "replace") => Effect::Repeatable,
            _ => Effect::Once,
        }
    }

    fn put(&self, bytes: bytes::Bytes) -> GraphRequest {
        let query = match self.place {
            Place::Item(_) => String::new(),
            Place::New { .. } => format!("?@microsoft.graph.conflictBehavior={}", self.conflict),
        };
        GraphRequest {
            method: http::Method::PUT,
            path: format!("{}/content{query}", self.item()),
            headers: vec![("Content-Type", "application/octet-stream".to_owned())],
            body: Some(bytes),
            mailbox: None,
            effect: self.effect(),
        }
    }

    async fn by_session(&self, content: &mut Content) -> Result<Value, ActivityError> {
        let body = match &self.place {
            Place::Item(_) => Map::new(),
            Place::New { name, .. } => Map::from_iter([(
                "item".to_owned(),
                json!({"@microsoft.graph.conflictBehavior": self.conflict, "name": name}),
            )]),
        };
        let path = format!("{}/createUploadSession", self.item());
        // A session that nobody uses ends by itself, so asking twice does no harm.
        let session = write(http::Method::POST, path, Some(body), None, None, Effect::Repeatable);
        let request = UploadRequest { session, piece: PIECE };
        let uploaded = self.doing.live.graph.upload(request, content, &self.doing.context).await?;
        let size = content.length();
        if let Some(answer) = uploaded.answer {
            return self.checked(body_of(&answer)?, size, &uploaded.digests).await;
        }
        // The last answer was lost: the item itself says whether it is there.
        let unknown = || {
            GraphError::OutcomeUnknown {
            what: "the last piece of the file was sent, its answer was lost, and the upload session has ended since".to_owned(),
        }
        };
        if self.conflict == "rename" {
            return Err(unknown().into());
        }
        let path = format!("{}?{SELECT}", self.item().trim_end_matches(':'));
        let told = self.doing.live.graph.send(read(path, None), &self.doing.context).await;
        let told = told.ok().and_then(|answer| body_of(&answer).ok()).ok_or_else(unknown)?;
        match judge(&told, size, &uploaded.digests) {
            Ok(Some(verified)) => Ok(outputs(&told, verified)),
            _ => Err(unknown().into()),
        }
    }

    /// Checks the stored item; one whose digest is not told yet is asked for once more.
    async fn checked(&self, told: Value, size: u64, digests: &Digests) -> Result<Value, ActivityError> {
        let verified = match judge(&told, size, digests)? {
            Some(verified) => return Ok(outputs(&told, verified)),
            None => "length",
        };
        let Some(id) = told.get("id").and_then(Value::as_str) else { return Ok(outputs(&told, verified)) };
        let path = format!("{}/items/{}?{SELECT}", self.drive, encode_segment(id));
        let again = self.doing.live.graph.send(read(path, None), &self.doing.context).await;
        match again.ok().and_then(|answer| body_of(&answer).ok()) {
            Some(again) => {
                let verified = judge(&again, size, digests)?.unwrap_or(verified);
                Ok(outputs(&again, verified))
            }
            None => Ok(outputs(&told, verified)),
        }
    }
}

/// Whether the stored item is what was sent: by its digest; `None` when it tells only its length.
fn judge(told: &Value, size: u64, digests: &Digests) -> Result<Option<&'static str>, GraphError> {
    let id = told.get("id").and_then(Value::as_str).unwrap_or_default();
    let damaged = |how: String| GraphError::BadAnswer {
        what: format!(
            "the file was stored as item '{}', but {how}: it was damaged on the way, or the service has changed it (as SharePoint \
             does with some Office documents). Compare it before you use it",
            crate::error::clean_foreign_text(id)
        ),
    };
    if let Some(stored) = told.get("size").and_then(Value::as_u64).filter(|stored| *stored != size) {
        return Err(damaged(format!("it has {stored} bytes instead of {size}")));
    }
    match told.pointer("/file/hashes").and_then(KnownDigest::of_hashes) {
        Some(known) if digests.agree(&known) => Ok(Some(known.kind())),
        Some(known) => Err(damaged(format!("its {} is another one", known.kind()))),
        None => Ok(None),
    }
}

fn outputs(told: &Value, verified: &'static str) -> Value {
    let mut outputs = Map::new();
    for (output, property) in
        [("Id", "id"), ("Name", "name"), ("Size", "size"), ("WebUrl", "webUrl"), ("ETag", "eTag")]
    {
        outputs.insert(output.to_owned(), told.get(property).cloned().unwrap_or_default());
    }
    outputs.insert("Verified".to_owned(), Value::from(verified));
    Value::Object(outputs)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_stored_is_compared_with_what_was_sent() {
        let mut digests = Digests::default();
        digests.update(b"J");
        for (told, expected) in [
            (
                json!({"size": 1, "file": {"hashes": {"quickXorHash": "SgAAAAAAAAAAAAAAAQAAAAAAAAA="}}}),
                Ok(Some("quickXorHash")),
            ),
            (json!({"size": 1, "file": {}}), Ok(None)),
            (json!({}), Ok(None)),
            (json!({"id": "x", "size": 2}), Err("has 2 bytes instead of 1")),
            (json!({"size": 1, "file": {"hashes": {"sha1Hash": "00"}}}), Err("its sha1Hash is another one")),
        ] {
            match (judge(&told, 1, &digests), expected) {
                (Ok(verified), Ok(expected)) => assert_eq!(verified, expected, "{told}"),
                (Err(error), Err(expected)) => assert!(error.to_string().contains(expected), "{error}"),
                (judged, expected) => panic!("{told}: {judged:?}, not {expected:?}"),
            }
        }
    }
}
