//! Attachments of messages and events: read, added, deleted, and sessions for large ones.
//! Never sends or changes the item they hang on, except for saying whether it has any.

use super::body;
use super::dispatch::Context;
use super::entity::find;
use super::errors::GraphError;
use super::listing::Head;
use super::mime;
use super::odata::query::Query;
use super::uploads::{Target, Upload};
use crate::answer::{Answer, Call};
use crate::data::attachments::{Attachment, AttachmentKind};
use crate::data::content::{Content, Slice};
use crate::data::ids;
use crate::data::model::Entity;
use crate::data::tenant::UserFacts;
use crate::state::State;
use crate::time::{instant, now_seconds};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Map, Value, json};
use std::sync::Arc;

/// An attachment in one request must be smaller; a session is for larger ones (Attach large files to Outlook items).
const SESSION_SIZE: u64 = 3 * 1024 * 1024;
/// The most that a session takes.
const LARGEST: u64 = 150 * 1024 * 1024;

/// What is asked of an item's attachments.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Asked {
    /// All of them.
    All,
    /// How many there are.
    Count,
    /// One.
    One(String),
    /// The raw bytes of one.
    Raw(String),
    /// A session for a large one.
    Session,
}

/// An attachment that is being uploaded.
#[derive(Debug, Clone)]
pub(crate) struct NewAttachment {
    owner: UserFacts,
    entity: Entity,
    /// The item's number at birth, as it may be moved meanwhile.
    origin: u32,
    name: String,
    content_type: Option<String>,
    inline: bool,
    content_id: Option<String>,
}

/// Does what is asked.
pub(crate) fn carry_out(
    state: &mut State,
    call: &Call,
    context: &Context,
    item: (Entity, &str),
    asked: &Asked,
) -> Result<Answer, GraphError> {
    let owner = context.owner().clone();
    let key = find(state.tenant.mailbox(&owner), item.0, Some(item.1))?;
    match (call.method.as_str(), asked) {
        ("GET", Asked::All) => all(state, call, &owner, item, key),
        ("GET", Asked::Count) => {
            let count = list(state, &owner, item.0, key).len();
            Ok(Answer::text(200, "text/plain", count.to_string()))
        }
        ("GET", Asked::One(id)) => {
            let query = Query::of_type(call, "fileAttachment")?;
            let attachment = one(state, &owner, item.0, key, id)?;
            let mut shown = shown(&owner, &attachment, &query)?;
            shown.shift_insert(
                0,
                "@odata.context".into(),
                format!("{}/$entity", collection(state, &owner, item)).into(),
            );
            Ok(Answer::json(200, &Value::Object(shown)))
        }
        ("GET", Asked::Raw(id)) => raw(&one(state, &owner, item.0, key, id)?),
        ("POST", Asked::All) => add(state, call, &owner, item, key),
        ("POST", Asked::Session) => open_session(state, call, &owner, item.0, key),
        ("DELETE", Asked::One(id)) => {
            let number = one(state, &owner, item.0, key, id)?.number;
            let mailbox = state.tenant.mailbox(&owner);
            mailbox.detach(item.0, key, number);
            note_attachments(state, &owner, item.0, key);
            state.count_write(None);
            Ok(Answer::empty(204))
        }
        _ => Err(GraphError::method_not_allowed()),
    }
}

/// Reads the attachments that a new message or event brings with it.
pub(crate) fn brought(given: &Map<String, Value>) -> Result<Vec<Attachment>, GraphError> {
    let named =
        given.iter().find(|(name, _)| name.eq_ignore_ascii_case("attachments")).map(|(_, value)| value);
    named.and_then(Value::as_array).into_iter().flatten().map(read_new).collect()
}

/// Hangs attachments on an item.
pub(crate) fn hang(state: &mut State, owner: &UserFacts, entity: Entity, key: u32, brought: Vec<Attachment>) {
    if brought.is_empty() {
        return;
    }
    for attachment in brought {
        state.tenant.mailbox(owner).attach(entity, key, attachment);
    }
    note_attachments(state, owner, entity, key);
}

/// The attachments of an item as JSON, for `$expand`.
pub(crate) fn expanded(
    mailbox: &crate::data::tenant::Mailbox,
    owner: &UserFacts,
    entity: Entity,
    key: u32,
) -> Result<Value, GraphError> {
    let query = Query::default();
    let list = mailbox.attachments_of(entity, key);
    let shown: Result<Vec<Value>, GraphError> =
        list.iter().map(|attachment| shown(owner, attachment, &query).map(Value::Object)).collect();
    shown.map(Value::Array)
}

/// Ends an upload: the attachment is there, and the header says where.
pub(crate) fn finish_upload(
    state: &mut State,
    target: &NewAttachment,
    content: Content,
) -> Result<Answer, GraphError> {
    let owner = &target.owner;
    let mailbox = state.tenant.mailbox(owner);
    let key = mailbox.of(target.entity).current_key(target.origin);
    if !mailbox.of(target.entity).contains(key) {
        return Err(GraphError::item_not_found());
    }
    let attachment = Attachment {
        number: 0,
        name: target.name.clone(),
        content_type: target.content_type.clone(),
        inline: target.inline,
        content_id: target.content_id.clone(),
        modified: now_seconds(),
        kind: AttachmentKind::File(Arc::new(content)),
    };
    let number = mailbox.attach(target.entity, key, attachment);
    let item = mailbox.of(target.entity).id(key, false);
    note_attachments(state, owner, target.entity, key);
    state.count_write(None);
    let items = if target.entity == Entity::Message { "Messages" } else { "Events" };
    let place = format!(
        "https://outlook.office.com/api/v2.0/Users('{}@{}')/{items}('{item}')/Attachments('{}')",
        owner.id,
        state.options.tenant_id,
        ids::attachment(&owner.id, number)
    );
    Ok(Answer::empty(201).with("location", place))
}

fn all(
    state: &mut State,
    call: &Call,
    owner: &UserFacts,
    item: (Entity, &str),
    key: u32,
) -> Result<Answer, GraphError> {
    let query = Query::of_type(call, "fileAttachment")?;
    let mut list = list(state, owner, item.0, key);
    if !query.order.is_empty() || query.search.is_some() {
        return Err(GraphError::bad_request("The query option is not supported for attachments."));
    }
    if let Some(filter) = &query.filter {
        let mut kept = Vec::new();
        for attachment in list {
            let row = shown(owner, &attachment, &Query::default())?;
            if super::odata::evaluate::matches_document(filter, &row) {
                kept.push(attachment);
            }
        }
        list = kept;
    }
    let end = query.top.map_or(list.len(), |top| (query.skip + top).min(list.len()));
    let rows = list.get(query.skip.min(end)..end).unwrap_or_default();
    let rows: Result<Vec<Value>, GraphError> =
        rows.iter().map(|attachment| shown(owner, attachment, &query).map(Value::Object)).collect();
    let rows = rows?;
    let link = (end < list.len())
        .then(|| super::listing::next_link(&state.graph_origin, call, &format!("$skip={end}")));
    let head = Head {
        context: collection(state, owner, item),
        count: query.count.then_some(list.len()),
        next_link: link,
        next_link_after_value: state.options.next_link_after_value,
    };
    let mut answer = Answer::text(200, "application/json; charset=utf-8", Vec::new());
    answer.rows = rows.len() as u64;
    answer.body = head.render(rows.into_iter());
    Ok(answer)
}

fn add(
    state: &mut State,
    call: &Call,
    owner: &UserFacts,
    item: (Entity, &str),
    key: u32,
) -> Result<Answer, GraphError> {
    let given = Value::Object(body::object(call)?);
    let attachment = read_new(&given)?;
    let number = state.tenant.mailbox(owner).attach(item.0, key, attachment);
    note_attachments(state, owner, item.0, key);
    let id = ids::attachment(&owner.id, number);
    let attachment = one(state, owner, item.0, key, &id)?;
    let mut shown = shown(owner, &attachment, &Query::default())?;
    shown.shift_insert(
        0,
        "@odata.context".into(),
        format!("{}/$entity", collection(state, owner, item)).into(),
    );
    state.count_write(Some(&attachment.name));
    Ok(Answer::json(201, &Value::Object(shown)))
}

fn open_session(
    state: &mut State,
    call: &Call,
    owner: &UserFacts,
    entity: Entity,
    key: u32,
) -> Result<Answer, GraphError> {
    let given = body::object(call)?;
    let item =
        given.iter().find(|(name, _)| name.eq_ignore_ascii_case("attachmentItem")).map(|(_, value)| value);
    let Some(item) = item.filter(|item| item.is_object()) else {
        return Err(GraphError::new(
            400,
            "ErrorInvalidParameter",
            "The parameter 'AttachmentItem' is required.",
        ));
    };
    let text = |name: &str| item[name].as_str().filter(|text| !text.is_empty()).map(str::to_owned);
    let (Some(kind), Some(name), Some(size)) = (text("attachmentType"), text("name"), item["size"].as_u64())
    else {
        let text = "The properties attachmentType, name and size are required.";
        return Err(GraphError::new(400, "ErrorInvalidParameter", text));
    };
    if !kind.eq_ignore_ascii_case("file") {
        return Err(GraphError::new(
            400,
            "ErrorInvalidParameter",
            "Only files can be uploaded in a session.",
        ));
    }
    if size < SESSION_SIZE {
        let text = "The attachment size should be greater than the minimum size.";
        return Err(GraphError::new(400, "ErrorAttachmentSizeShouldNotBeLessThanMinimumSize", text));
    }
    if size > LARGEST {
        let text = "The attachment size exceeds the allowable limit.";
        return Err(GraphError::new(413, "ErrorAttachmentSizeLimitExceeded", text));
    }
    let target = NewAttachment {
        owner: owner.clone(),
        entity,
        origin: state.tenant.mailbox(owner).of(entity).origin(key),
        name,
        content_type: text("contentType"),
        inline: item["isInline"] == true,
        content_id: text("contentId"),
    };
    let (token, upload) = Upload::open(state, Target::Attachment(target), Some(size))?;
    let answer = json!({
        "@odata.context": format!("{}/v1.0/$metadata#microsoft.graph.uploadSession", state.graph_origin),
        "uploadUrl": format!("{}/upload/{token}?authtoken=sandbox", state.content_origin),
        "expirationDateTime": upload.expires_text(),
        "nextExpectedRanges": ["0-"]
    });
    state.uploads.insert(token, upload);
    Ok(Answer::json(201, &answer))
}

fn raw(attachment: &Attachment) -> Result<Answer, GraphError> {
    match &attachment.kind {
        AttachmentKind::File(content) => {
            let media_type = attachment.content_type.as_deref().unwrap_or("application/octet-stream");
            let mut answer = Answer::text(200, media_type, Vec::new());
            answer.slice = Some(Slice { content: Arc::clone(content), start: 0, length: content.length() });
            Ok(answer)
        }
        AttachmentKind::Item(item) => Ok(mime::of_item(item)),
        AttachmentKind::Reference => Err(GraphError::method_not_allowed()),
    }
}

fn read_new(given: &Value) -> Result<Attachment, GraphError> {
    let invalid = |text: String| GraphError::new(400, "ErrorInvalidProperty", text);
    let text = |name: &str| given[name].as_str().map(str::to_owned);
    let type_name = text("@odata.type").unwrap_or_default();
    let kind = match type_name.trim_start_matches('#').to_ascii_lowercase().as_str() {
        "microsoft.graph.fileattachment" => {
            let Some(encoded) = text("contentBytes") else {
                return Err(invalid("The property 'contentBytes' is required.".to_owned()));
            };
            let bytes = STANDARD.decode(encoded).map_err(|_| {
                let text = "Cannot convert a value to target type 'Edm.Binary' because of conversion error.";
                GraphError::new(400, "RequestBodyRead", text)
            })?;
            if bytes.len() as u64 >= SESSION_SIZE {
                let text = "The attachment is too large for one request; use an upload session.";
                return Err(GraphError::new(413, "RequestEntityTooLarge", text));
            }
            AttachmentKind::File(Arc::new(Content::Memory(bytes.into())))
        }
        "microsoft.graph.itemattachment" if given["item"].is_object() => {
            AttachmentKind::Item(given["item"].clone())
        }
        "microsoft.graph.itemattachment" => {
            return Err(invalid("The property 'item' is required.".to_owned()));
        }
        "microsoft.graph.referenceattachment" => AttachmentKind::Reference,
        "" => {
            let text = "An attachment must say its type in '@odata.type', as 'microsoft.graph.attachment' is abstract.";
            return Err(GraphError::new(400, "RequestBodyRead", text));
        }
        other => {
            let text = format!("The type '{other}' is not an attachment.");
            return Err(GraphError::new(400, "RequestBodyRead", text));
        }
    };
    let Some(name) = text("name").filter(|name| !name.is_empty()) else {
        return Err(invalid("The property 'name' is required.".to_owned()));
    };
    let guessed =
        matches!(kind, AttachmentKind::File(_)).then(|| crate::data::drives::media_type(&name).to_owned());
    Ok(Attachment {
        number: 0,
        content_type: text("contentType").or(guessed),
        name,
        inline: given["isInline"] == true,
        content_id: text("contentId"),
        modified: now_seconds(),
        kind,
    })
}

fn shown(
    owner: &UserFacts,
    attachment: &Attachment,
    query: &Query,
) -> Result<Map<String, Value>, GraphError> {
    let unreadable = |_| GraphError::new(500, "ErrorInternalServerError", "The attachment cannot be read.");
    let wanted = |name: &str| {
        query.select.as_ref().is_none_or(|list| list.iter().any(|property| property.name == name))
    };
    let mut size = 1_000;
    let mut own: Vec<(&str, Value)> = Vec::new();
    let type_name = match &attachment.kind {
        AttachmentKind::File(content) => {
            size = content.length();
            own.push(("contentId", json!(attachment.content_id)));
            own.push(("contentLocation", Value::Null));
            if wanted("contentBytes") {
                own.push(("contentBytes", STANDARD.encode(content.whole().map_err(unreadable)?).into()));
            }
            "fileAttachment"
        }
        AttachmentKind::Item(item) => {
            let expanded = query
                .expand
                .iter()
                .any(|expand| expand.name.to_ascii_lowercase().ends_with("itemattachment/item"));
            if expanded {
                own.push(("item", item.clone()));
            }
            "itemAttachment"
        }
        AttachmentKind::Reference => "referenceAttachment",
    };
    let mut row = Map::new();
    row.insert("@odata.type".into(), format!("#microsoft.graph.{type_name}").into());
    if type_name == "fileAttachment" {
        row.insert("@odata.mediaContentType".into(), json!(attachment.content_type));
    }
    let common = [
        ("id", json!(ids::attachment(&owner.id, attachment.number))),
        ("lastModifiedDateTime", json!(instant(attachment.modified))),
        ("name", json!(attachment.name)),
        ("contentType", json!(attachment.content_type)),
        ("size", json!(size)),
        ("isInline", json!(attachment.inline)),
    ];
    for (name, value) in common.into_iter().chain(own) {
        if name == "id" || name == "item" || wanted(name) {
            row.insert(name.to_owned(), value);
        }
    }
    Ok(row)
}

fn one(
    state: &mut State,
    owner: &UserFacts,
    entity: Entity,
    key: u32,
    id: &str,
) -> Result<Attachment, GraphError> {
    let number = ids::attachment_number(&owner.id, id).ok_or_else(|| GraphError::foreign_id(id))?;
    let list = list(state, owner, entity, key);
    list.into_iter().find(|attachment| attachment.number == number).ok_or_else(GraphError::item_not_found)
}

fn list(state: &mut State, owner: &UserFacts, entity: Entity, key: u32) -> Vec<Attachment> {
    state.tenant.mailbox(owner).attachments_of(entity, key)
}

/// The item says whether anything hangs on it beyond what its body shows.
fn note_attachments(state: &mut State, owner: &UserFacts, entity: Entity, key: u32) {
    let mailbox = state.tenant.mailbox(owner);
    let any = mailbox.attachments_of(entity, key).iter().any(|attachment| !attachment.inline);
    mailbox.of_mut(entity).update(key, Map::from_iter([("hasAttachments".to_owned(), any.into())]));
}

fn collection(state: &State, owner: &UserFacts, item: (Entity, &str)) -> String {
    let items = if item.0 == Entity::Message { "messages" } else { "events" };
    format!(
        "{}/v1.0/$metadata#users('{}')/{items}('{}')/attachments",
        state.graph_origin,
        owner.id,
        item.1.replace('=', "%3D")
    )
}
