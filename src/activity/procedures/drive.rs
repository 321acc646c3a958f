//! Where things are on drives, CreateFolder and DownloadFile (Graph, resource type `driveItem`).

use percent_encoding::percent_encode_byte;
use serde_json::{Map, Value, json};

use super::deliver::{Delivered, Destination, LARGEST, Wanted, deliver};
use super::given::Given;
use super::local_files::safe_name;
use super::run::Doing;
use super::{Call, Outcome, Work, body_of, item, read};
use crate::activity::error::ActivityError;
use crate::activity::target::{owner, write};
use crate::catalog::encode_segment;
use crate::graph::{DownloadRequest, Effect, GraphError, KnownDigest};

/// The properties that a download and the check of an upload need.
pub(super) const SELECT: &str = "$select=id,name,size,file,folder,eTag,cTag,webUrl";

/// The path of the drive that the call names.
pub(super) fn drive(given: &Given<'_>, call: Call<'_>) -> Result<String, ActivityError> {
    if let Some(drive) = given.text("DriveId")? {
        return Ok(item("drives", drive.trim()));
    }
    match (given.text("UserId")?, given.text("GroupId")?) {
        (None, Some(group)) => Ok(format!("{}/drive", item("groups", group.trim()))),
        (user, _) => {
            let user = user.map(str::trim).or(call.user_id);
            let how = "one of the parameters UserId, GroupId and DriveId";
            Ok(format!("{}/drive", owner(call.connection, user, given.procedure(), how)?.path()))
        }
    }
}

/// A path from the drive's root, each step encoded: a colon would end the path ("Address resources in a drive").
pub(super) fn encode_path(given: &Given<'_>, name: &str, path: &str) -> Result<String, ActivityError> {
    let steps: Vec<&str> = path.trim().trim_matches('/').split('/').collect();
    if steps.iter().any(|step| matches!(*step, "" | "." | "..")) {
        return Err(given.fault(name, "has an empty step, '.' or '..'; write it as 'Folder/File'"));
    }
    Ok(steps.iter().map(|step| encode_step(step)).collect::<Vec<_>>().join("/"))
}

/// One name in such a path.
pub(super) fn encode_step(name: &str) -> String {
    encode_segment(name).replace(':', percent_encode_byte(b':'))
}

/// The folder that ParentId or ParentPath name, as `items/{id}`, `root:/{path}:` or `root`.
fn parent(given: &Given<'_>) -> Result<String, ActivityError> {
    match (given.text("ParentId")?, given.text("ParentPath")?.map(|path| path.trim().trim_matches('/'))) {
        (Some(_), Some(_)) => Err(given.fault("ParentPath", "says the same as ParentId: give one of them")),
        (Some(id), None) => Ok(item("items", id.trim())),
        (None, None | Some("")) => Ok("root".to_owned()),
        (None, Some(path)) => Ok(format!("root:/{}:", encode_path(given, "ParentPath", path)?)),
    }
}

/// A new item `name` in the folder that the call names, as a path that ends with `:`.
pub(super) fn new_item(given: &Given<'_>, name: &str) -> Result<String, ActivityError> {
    let parent = parent(given)?;
    // `root:/Folder:` and the name make `root:/Folder/name:`, `items/{id}` makes `items/{id}:/name:`.
    let folder = parent.strip_suffix(':').map_or_else(|| format!("{parent}:"), str::to_owned);
    Ok(format!("{folder}/{}:", encode_step(name)))
}

pub(super) fn create_folder(given: &Given<'_>, call: Call<'_>) -> Result<Work, ActivityError> {
    let conflict = given.word("ConflictBehavior", &["fail", "rename", "replace"], "fail")?;
    let path = format!("{}/{}/children", drive(given, call)?, parent(given)?);
    let name = given.id("FolderName")?;
    check_name(given, "FolderName", name)?;
    let body = json!({"name": name, "folder": {}, "@microsoft.graph.conflictBehavior": conflict});
    let body = body.as_object().cloned();
    let request = write(http::Method::POST, path, body, None, None, Effect::Once);
    let fields = Outcome::Fields(&[("Id", "id"), ("Name", "name"), ("WebUrl", "webUrl"), ("ETag", "eTag")]);
    Ok(Work::Ask(request, fields))
}

/// A name on a drive; the rest of OneDrive's rules is its own business.
pub(super) fn check_name(given: &Given<'_>, parameter: &str, name: &str) -> Result<(), ActivityError> {
    if name.contains(['/', '\\']) || matches!(name, "." | "..") || name.chars().any(char::is_control) {
        return Err(given.fault(parameter, "is a name without folders; give the folder as ParentPath"));
    }
    Ok(())
}

/// DownloadFile.
#[derive(Debug)]
pub(super) struct DownloadFile {
    drive: String,
    /// `items/{id}` or `root:/{path}`.
    item: String,
    destination: Destination,
}

pub(super) fn download(given: &Given<'_>, call: Call<'_>) -> Result<Work, ActivityError> {
    let item = match (given.text("Id")?, given.text("Path")?) {
        (Some(id), None) => item("items", id.trim()),
        (None, Some(path)) => format!("root:/{}", encode_path(given, "Path", path)?),
        (Some(_), Some(_)) => return Err(given.fault("Path", "says the same as Id: give one of them")),
        (None, None) => return Err(given.fault("Id", "is missing: give the file's id, or its path as Path")),
    };
    let destination = Destination::read(given, call)?;
    Ok(Work::DownloadFile(Box::new(DownloadFile { drive: drive(given, call)?, item, destination })))
}

impl DownloadFile {
    pub(super) async fn run(self, doing: &Doing<'_>) -> Result<Delivered, ActivityError> {
        let told = doing
            .live
            .graph
            .send(read(format!("{}/{}?{SELECT}", self.drive, self.item), None), &doing.context);
        let told = body_of(&told.await?)?;
        let text = |key: &str| told.get(key).and_then(Value::as_str);
        let id = text("id").ok_or_else(|| GraphError::BadAnswer { what: "the item has no id".to_owned() })?;
        if told.get("folder").is_some_and(Value::is_object) {
            let message = "This is a folder, which has no content. Query Files for what is in it.";
            return Err(ActivityError::request("not_a_file", message));
        }
        let content = format!("{}/{}/content", self.drive, item("items", id));
        let size = told.get("size").and_then(Value::as_u64);
        let digest = told.pointer("/file/hashes").and_then(KnownDigest::of_hashes);
        // The cTag changes with the content only, the eTag with anything.
        let version = text("cTag").or_else(|| text("eTag"));
        let identity = version.map(|version| format!("{} {id} {version}", self.drive));
        let name = text("name").unwrap_or("download");
        let mut outputs = Map::new();
        outputs.insert("Id".to_owned(), Value::from(id));
        outputs.insert("Name".to_owned(), Value::from(name));
        if let Some(media_type) = told.pointer("/file/mimeType").and_then(Value::as_str) {
            outputs.insert("ContentType".to_owned(), Value::from(media_type));
        }
        let wanted = Wanted {
            request: DownloadRequest { request: read(content, None), limit: LARGEST, size, digest },
            name: safe_name(name),
            identity,
        };
        deliver(doing, wanted, &self.destination, outputs).await
    }
}
