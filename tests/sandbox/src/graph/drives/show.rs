//! How drives and their items look in answers, and the addresses their bytes can be had from.
//! Never changes anything.

use crate::data::drives::{Drive, DriveItem, FileFacts, ROOT, moment};
use crate::graph::errors::GraphError;
use crate::graph::odata::query::Query;
use crate::random::{mix, seed_of};
use crate::time::now_seconds;
use serde_json::{Map, Value, json};

/// How long the address of a content is good for.
const ADDRESS_LIFETIME: i64 = 3_600;

/// A drive.
pub(crate) fn drive(drive: &Drive) -> Map<String, Value> {
    let used = drive.size(ROOT);
    let total: u64 = 1 << 40;
    let owner = if drive.of_group {
        json!({"group": {"email": drive.owner.address, "id": drive.owner.id, "displayName": drive.owner.name}})
    } else {
        Drive::identity(&drive.owner)
    };
    object(json!({
        "createdDateTime": moment(crate::data::messages::NEWEST - 86_400 * 400),
        "description": "",
        "id": drive.id,
        "lastModifiedDateTime": moment(now_seconds()),
        "name": if drive.of_group { "Documents" } else { "OneDrive" },
        "webUrl": drive.web,
        "driveType": drive.kind,
        "createdBy": {"user": {"displayName": "System Account"}},
        "lastModifiedBy": Drive::identity(&drive.owner),
        "owner": owner,
        "quota": {"deleted": 0, "remaining": total - used, "state": "normal", "total": total, "used": used}
    }))
}

/// An item with its default properties; the file's address comes first, as in the service's answers.
pub(crate) fn item(drive: &Drive, key: u32, content_origin: &str) -> Map<String, Value> {
    let mut shown = Map::new();
    let Some(item) = drive.any_item(key) else {
        return shown;
    };
    if item.deleted {
        return deleted(drive, key, item);
    }
    if item.file.is_some() {
        shown.insert("@microsoft.graph.downloadUrl".into(), address(drive, key, item, content_origin).into());
    }
    let guid = drive.guid(key);
    let file_system =
        |given: &Option<String>, own: i64| given.clone().map_or_else(|| moment(own), Value::from);
    shown.extend(object(json!({
        "createdDateTime": moment(item.created),
        "eTag": etag(drive, key, item),
        "id": drive.item_id(key),
        "lastModifiedDateTime": moment(item.modified),
        "name": item.name,
        "webUrl": format!("{}{}", drive.web, drive.path(key).replace(' ', "%20")),
        "cTag": format!("\"c:{{{guid}}},{}\"", item.content_version),
        "size": drive.size(key),
        "createdBy": Drive::identity(&item.author),
        "lastModifiedBy": Drive::identity(&item.author),
        "fileSystemInfo": {
            "createdDateTime": file_system(&item.file_system.0, item.created),
            "lastModifiedDateTime": file_system(&item.file_system.1, item.modified)
        }
    })));
    if let Some(description) = &item.description {
        shown.insert("description".into(), description.as_str().into());
    }
    shown.insert("parentReference".into(), parent(drive, item));
    match &item.file {
        Some(FileFacts { media_type, hashes, .. }) => {
            shown.insert("file".into(), json!({"hashes": hashes, "mimeType": media_type}));
        }
        None => {
            shown.insert("folder".into(), json!({"childCount": drive.children(key).len()}));
        }
    }
    if key == ROOT {
        shown.insert("root".into(), json!({}));
    }
    shown
}

/// The item with what `$select` and `$expand` say.
pub(crate) fn chosen(
    drive: &Drive,
    key: u32,
    content_origin: &str,
    query: &Query,
    names: &[String],
) -> Result<Map<String, Value>, GraphError> {
    let mut shown = item(drive, key, content_origin);
    if query.select.is_some() || !names.is_empty() {
        let selected = query.select.iter().flatten().map(|property| property.name.to_owned());
        let wanted: Vec<String> = selected.chain(names.iter().cloned()).collect();
        shown.retain(|name, _| wanted.contains(name));
    }
    for expanded in &query.expand {
        if !expanded.name.eq_ignore_ascii_case("children") {
            let text = format!("The request to expand '{}' is not supported.", expanded.name);
            return Err(GraphError::new(400, "notSupported", text));
        }
        let children: Vec<Value> = drive
            .children(key)
            .into_iter()
            .map(|child| Value::Object(item(drive, child, content_origin)))
            .collect();
        shown.insert("children".into(), children.into());
    }
    Ok(shown)
}

/// The tag of an item.
pub(crate) fn etag(drive: &Drive, key: u32, item: &DriveItem) -> String {
    format!("\"{{{}}},{}\"", drive.guid(key), item.version)
}

/// Where the bytes of a file can be had without a token.
pub(crate) fn address(drive: &Drive, key: u32, item: &DriveItem, content_origin: &str) -> String {
    let expires = now_seconds() + ADDRESS_LIFETIME;
    let id = drive.item_id(key);
    let proof = proof(&drive.id, &id, item.content_version, expires);
    format!(
        "{content_origin}/download/{}/{id}?v={}&e={expires}&tempauth={proof:016x}",
        drive.id, item.content_version
    )
}

/// What makes an address good.
pub(crate) fn proof(drive: &str, item: &str, version: u32, expires: i64) -> u64 {
    mix(seed_of(drive) ^ seed_of(item), expires as u64, u64::from(version) + 110)
}

fn deleted(drive: &Drive, key: u32, item: &DriveItem) -> Map<String, Value> {
    let mut shown = object(json!({"id": drive.item_id(key), "deleted": {"state": "deleted"}}));
    shown.insert("parentReference".into(), parent(drive, item));
    shown
}

fn parent(drive: &Drive, item: &DriveItem) -> Value {
    match item.parent {
        None => json!({"driveType": drive.kind, "driveId": drive.id}),
        Some(parent) => json!({
            "driveType": drive.kind,
            "driveId": drive.id,
            "id": drive.item_id(parent),
            "name": drive.any_item(parent).map(|folder| folder.name.clone()),
            "path": format!("/drives/{}/root:{}", drive.id, drive.path(parent))
        }),
    }
}

fn object(value: Value) -> Map<String, Value> {
    match value {
        Value::Object(object) => object,
        _ => Map::new(),
    }
}
