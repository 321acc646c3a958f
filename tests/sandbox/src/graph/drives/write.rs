//! Changing drives: folders, contents, names, places, copies and sessions for large uploads.
//! Never receives the bytes of a session; the content service does, and commits here.

use super::path::DrivePath;
use super::{check_name, check_tags, drive as find_drive, key, place, reply};
use crate::answer::{Answer, Call};
use crate::data::content::Content;
use crate::data::drives::{Actor, Drive, media_type};
use crate::graph::body;
use crate::graph::dispatch::Context;
use crate::graph::errors::GraphError;
use crate::graph::odata::query::Query;
use crate::graph::uploads::{DriveTarget, Target, Upload};
use crate::state::State;
use serde_json::{Map, Value, json};

/// The most bytes of a content in one request (Upload or replace driveItem contents).
const LARGEST_CONTENT: usize = 250 * 1024 * 1024;
const CONFLICT: &str = "@microsoft.graph.conflictBehavior";

/// What happens when a name is taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Conflict {
    /// The request fails.
    Fail,
    /// The old item goes.
    Replace,
    /// The new item gets another name.
    Rename,
}

/// Creates a folder.
pub(super) fn create_folder(
    state: &mut State,
    call: &Call,
    context: &Context,
    id: &str,
    path: &DrivePath,
) -> Result<Answer, GraphError> {
    let given = body::object(call)?;
    let Some(name) = given.get("name").and_then(Value::as_str).map(str::to_owned) else {
        return Err(GraphError::invalid_request("The name of the new item is missing."));
    };
    if !given.get("folder").is_some_and(Value::is_object) {
        return Err(GraphError::invalid_request(
            "Must provide one of the following facets to create an item: Bundle, File, Folder, RemoteItem.",
        ));
    }
    check_name(&name)?;
    let conflict = conflict(&given, None, Conflict::Fail)?;
    let author = actor(context);
    let origins = (state.graph_origin.clone(), state.content_origin.clone());
    let drive = drive_mut(state, id)?;
    let folder = key(drive, path)?;
    if drive.item(folder).is_some_and(|item| item.file.is_some()) {
        return Err(GraphError::invalid_request("The parent is not a folder."));
    }
    let name = free_name(drive, folder, &name, conflict)?;
    let made = drive.add(folder, &name, author, None);
    let answer = reply::item(201, drive, made, (&origins.0, &origins.1), &Query::default(), &[])?;
    state.count_write(Some(&name));
    Ok(answer)
}

/// Creates a file or replaces the content of one.
pub(super) fn put_content(
    state: &mut State,
    call: &Call,
    context: &Context,
    id: &str,
    path: &DrivePath,
) -> Result<Answer, GraphError> {
    if call.body.len() > LARGEST_CONTENT {
        return Err(GraphError::new(
            413,
            "requestTooLarge",
            "The content is larger than one request may bring.",
        ));
    }
    let pairs = crate::answer::decoded_pairs(call.query());
    let asked = pairs.iter().find(|(name, _)| name == CONFLICT).map(|(_, value)| value.as_str());
    let conflict = conflict(&Map::new(), asked, Conflict::Replace)?;
    let drive = find_drive(state, id)?;
    let (target, existing) = match path.names.as_slice() {
        [] => {
            let key = key(drive, path)?;
            let item = drive.item(key).ok_or_else(GraphError::drive_item_not_found)?;
            (DriveTarget::new(id, item.parent.unwrap_or(0), &item.name, Conflict::Replace), Some(key))
        }
        _ => {
            let (folder, name) = place(drive, path)?;
            check_name(name)?;
            (DriveTarget::new(id, folder, name, conflict), drive.named(folder, name))
        }
    };
    if let Some(existing) = existing {
        check_tags(call, drive, existing)?;
    }
    let given = call.header("content-type").map(str::to_owned);
    let target = DriveTarget { author: actor(context), media_type: given, ..target };
    commit(state, &target, Content::Memory(call.body.clone()))
}

/// Opens a session for a large upload.
pub(super) fn create_session(
    state: &mut State,
    call: &Call,
    context: &Context,
    id: &str,
    path: &DrivePath,
) -> Result<Answer, GraphError> {
    let given = if call.body.is_empty() { Map::new() } else { body::object(call)? };
    if let Some(unknown) = given
        .keys()
        .find(|name| !["item", "deferCommit", "driveItemSource", "mediaSource"].contains(&name.as_str()))
    {
        return Err(GraphError::invalid_request(format!(
            "The parameter '{unknown}' is not valid for the operation."
        )));
    }
    let item = given.get("item").and_then(Value::as_object).cloned().unwrap_or_default();
    let conflict = conflict(&item, None, Conflict::Fail)?;
    let drive = find_drive(state, id)?;
    let target = if path.names.is_empty() {
        let key = key(drive, path)?;
        let existing = drive.item(key).ok_or_else(GraphError::drive_item_not_found)?;
        if existing.file.is_none() {
            return Err(GraphError::invalid_request("A folder cannot be uploaded."));
        }
        check_tags(call, drive, key)?;
        DriveTarget::new(id, existing.parent.unwrap_or(0), &existing.name, Conflict::Replace)
    } else {
        let (folder, name) = place(drive, path)?;
        check_name(name)?;
        let named = item.get("name").and_then(Value::as_str);
        if named.is_some_and(|named| !named.eq_ignore_ascii_case(name)) {
            return Err(GraphError::invalid_request(
                "The name in the request does not match the name in the path.",
            ));
        }
        DriveTarget::new(id, folder, name, conflict)
    };
    if item.get("fileSize").and_then(Value::as_u64).is_some_and(|size| size > 1 << 40) {
        return Err(GraphError::new(507, "quotaLimitReached", "The user has reached their quota limit."));
    }
    let target = DriveTarget {
        author: actor(context),
        deferred: given.get("deferCommit") == Some(&Value::Bool(true)),
        ..target
    };
    let (token, upload) =
        Upload::open(state, Target::Drive(target), item.get("fileSize").and_then(Value::as_u64))?;
    let answer = json!({
        "@odata.context": format!("{}/v1.0/$metadata#microsoft.graph.uploadSession", state.graph_origin),
        "uploadUrl": format!("{}/upload/{token}", state.content_origin),
        "expirationDateTime": upload.expires_text(),
        "nextExpectedRanges": ["0-"]
    });
    state.uploads.insert(token, upload);
    Ok(Answer::json(200, &answer))
}

/// Ends a session whose end failed, with another name or another behaviour.
pub(super) fn commit_session(
    state: &mut State,
    call: &Call,
    id: &str,
    path: &DrivePath,
) -> Result<Answer, GraphError> {
    let given = body::object(call)?;
    let source = given.get("@microsoft.graph.sourceUrl").and_then(Value::as_str).unwrap_or_default();
    let token = source.rsplit('/').next().unwrap_or_default().to_owned();
    let conflict = conflict(&given, None, Conflict::Fail)?;
    let drive = find_drive(state, id)?;
    let folder = key(drive, path)?;
    let name = given.get("name").and_then(Value::as_str).map(str::to_owned);
    let upload = state.uploads.get(&token).filter(|upload| upload.is_whole());
    let Some(Target::Drive(target)) = upload.map(|upload| upload.target.clone()) else {
        return Err(GraphError::drive_item_not_found());
    };
    let name = name.unwrap_or_else(|| target.name.clone());
    check_name(&name)?;
    let target = DriveTarget { folder, name, conflict, ..target };
    Upload::commit(state, &token, &target)
}

/// Puts a content in its place; the end of every upload.
pub(crate) fn commit(
    state: &mut State,
    target: &DriveTarget,
    content: Content,
) -> Result<Answer, GraphError> {
    let origins = (state.graph_origin.clone(), state.content_origin.clone());
    let drive = drive_mut(state, &target.drive)?;
    let kind = target.media_type.clone().unwrap_or_else(|| media_type(&target.name).to_owned());
    let unreadable = |_| GraphError::new(500, "generalException", "The content could not be kept.");
    let existing = drive.named(target.folder, &target.name);
    let (status, key) = match existing.filter(|_| target.conflict == Conflict::Replace) {
        Some(existing) => {
            if drive.item(existing).is_some_and(|item| item.file.is_none()) {
                return Err(GraphError::name_taken());
            }
            let file = drive.file(content, kind).map_err(unreadable)?;
            drive.change(existing, |item| {
                item.file = Some(file);
                item.content_version += 1;
            });
            (200, existing)
        }
        None => {
            let name = free_name(drive, target.folder, &target.name, target.conflict)?;
            let file = drive.file(content, kind).map_err(unreadable)?;
            (201, drive.add(target.folder, &name, target.author.clone(), Some(file)))
        }
    };
    let answer = reply::item(status, drive, key, (&origins.0, &origins.1), &Query::default(), &[])?;
    state.count_write((status == 201).then_some(target.name.as_str()));
    Ok(answer)
}

/// Renames, moves or describes an item.
pub(super) fn update(
    state: &mut State,
    call: &Call,
    id: &str,
    path: &DrivePath,
) -> Result<Answer, GraphError> {
    let given = body::object(call)?;
    let fixed = ["id", "size", "webUrl", "eTag", "cTag", "createdDateTime", "folder", "file"];
    let shape = crate::data::types::shape("driveItem");
    for name in given.keys().filter(|name| !name.starts_with('@')) {
        if shape.find(name).is_none() {
            return Err(GraphError::invalid_request(format!(
                "The property '{name}' does not exist on type 'driveItem'."
            )));
        }
        if fixed.contains(&name.as_str()) {
            return Err(GraphError::invalid_request(format!("The property '{name}' cannot be changed.")));
        }
    }
    let conflict = conflict(&given, None, Conflict::Fail)?;
    let origins = (state.graph_origin.clone(), state.content_origin.clone());
    let drive = drive_mut(state, id)?;
    let key = key(drive, path)?;
    check_tags(call, drive, key)?;
    let item = drive.item(key).ok_or_else(GraphError::drive_item_not_found)?.clone();
    let name = given.get("name").and_then(Value::as_str).unwrap_or(&item.name).to_owned();
    check_name(&name)?;
    let parent = match given.get("parentReference").and_then(|parent| parent["id"].as_str()) {
        Some(parent) => Some(drive.find(parent).ok_or_else(GraphError::drive_item_not_found)?),
        None => item.parent,
    };
    let mut wanted = name;
    if let Some(parent) = parent {
        if drive.is_within(parent, key) {
            return Err(GraphError::invalid_request("An item cannot be moved into itself."));
        }
        if drive.named(parent, &wanted).is_some_and(|taken| taken != key) {
            wanted = free_name(drive, parent, &wanted, conflict)?;
        }
    }
    let text = |value: &Value| value.as_str().map(str::to_owned);
    drive.change(key, |item| {
        item.name = wanted;
        item.parent = parent;
        if let Some(description) = given.get("description") {
            item.description = text(description);
        }
        if let Some(facts) = given.get("fileSystemInfo") {
            item.file_system = (text(&facts["createdDateTime"]), text(&facts["lastModifiedDateTime"]));
        }
    });
    let answer = reply::item(200, drive, key, (&origins.0, &origins.1), &Query::default(), &[])?;
    state.count_write(None);
    Ok(answer)
}

/// Deletes an item with everything below it.
pub(super) fn delete(
    state: &mut State,
    call: &Call,
    id: &str,
    path: &DrivePath,
) -> Result<Answer, GraphError> {
    let drive = drive_mut(state, id)?;
    let key = key(drive, path)?;
    check_tags(call, drive, key)?;
    drive.remove(key);
    state.count_write(None);
    Ok(Answer::empty(204))
}

/// Copies an item; the service does it later and tells where to ask about it.
pub(super) fn copy(state: &mut State, call: &Call, id: &str, path: &DrivePath) -> Result<Answer, GraphError> {
    let given = if call.body.is_empty() { Map::new() } else { body::object(call)? };
    let content_origin = state.content_origin.clone();
    let monitor = state.fresh.guid();
    let drive = drive_mut(state, id)?;
    let key = key(drive, path)?;
    let item = drive.item(key).ok_or_else(GraphError::drive_item_not_found)?.clone();
    let parent = given.get("parentReference").unwrap_or(&Value::Null);
    if parent["driveId"].as_str().is_some_and(|other| other != id) {
        return Err(GraphError::new(501, "NotImplemented", "This sandbox does not copy between drives."));
    }
    let folder = match parent["id"].as_str() {
        Some(folder) => drive.find(folder).ok_or_else(GraphError::drive_item_not_found)?,
        None => item.parent.unwrap_or(0),
    };
    let name = given.get("name").and_then(Value::as_str).unwrap_or(&item.name).to_owned();
    check_name(&name)?;
    let name = free_name(drive, folder, &name, Conflict::Fail)?;
    let copied = drive.copy(key, folder, &name).ok_or_else(GraphError::drive_item_not_found)?;
    let resource = drive.item_id(copied);
    state.count_write(Some(&name));
    Ok(Answer::empty(202).with("location", format!("{content_origin}/monitor/{monitor}?resource={resource}")))
}

fn drive_mut<'s>(state: &'s mut State, id: &str) -> Result<&'s mut Drive, GraphError> {
    state.drives.get_mut(id).ok_or_else(GraphError::drive_item_not_found)
}

fn actor(context: &Context) -> Actor {
    match &context.asker {
        Some(user) => Actor { id: user.id.clone(), name: user.name.clone(), address: user.upn.clone() },
        None => Actor { id: String::new(), name: "Sandbox application".to_owned(), address: String::new() },
    }
}

fn conflict(
    given: &Map<String, Value>,
    asked: Option<&str>,
    default: Conflict,
) -> Result<Conflict, GraphError> {
    let written = given
        .iter()
        .find(|(name, _)| name.eq_ignore_ascii_case(CONFLICT))
        .and_then(|(_, value)| value.as_str());
    match asked.or(written).map(str::to_ascii_lowercase).as_deref() {
        None => Ok(default),
        Some("fail") => Ok(Conflict::Fail),
        Some("replace") => Ok(Conflict::Replace),
        Some("rename") => Ok(Conflict::Rename),
        Some(other) => {
            Err(GraphError::invalid_request(format!("The conflict behavior '{other}' is not known.")))
        }
    }
}

/// The name that a new item gets, if it may have one.
fn free_name(drive: &mut Drive, folder: u32, name: &str, conflict: Conflict) -> Result<String, GraphError> {
    let Some(taken) = drive.named(folder, name) else {
        return Ok(name.to_owned());
    };
    match conflict {
        Conflict::Fail => Err(GraphError::name_taken()),
        Conflict::Replace => {
            drive.remove(taken);
            Ok(name.to_owned())
        }
        Conflict::Rename => {
            let (stem, ending) = name
                .rsplit_once('.')
                .map_or((name, String::new()), |(stem, ending)| (stem, format!(".{ending}")));
            let mut numbered = (1_u32..).map(|number| format!("{stem} {number}{ending}"));
            numbered.find(|name| drive.named(folder, name).is_none()).ok_or_else(GraphError::name_taken)
        }
    }
}
