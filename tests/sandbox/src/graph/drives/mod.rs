//! OneDrive and SharePoint drives: `/me/drive`, `/users/{id}/drive`, `/groups/{id}/drive`, `/drives/{id}`.
//! Never moves bytes of files; that is the content service's, on another port.

pub(crate) mod path;
mod read;
mod reply;
mod show;
pub(crate) mod write;

pub(crate) use show::{etag, proof};

use super::dispatch::Context;
use super::errors::GraphError;
use crate::answer::{Answer, Call};
use crate::data::drives::{Actor, Drive, ROOT};
use crate::state::State;
use path::{DriveOf, DrivePath, Verb};

/// Does what is asked of a drive.
pub(crate) fn carry_out(
    state: &mut State,
    call: &Call,
    context: &Context,
    path: &DrivePath,
) -> Result<Answer, GraphError> {
    let id = open(state, context, &path.of)?;
    match (call.method.as_str(), &path.verb) {
        ("GET", Verb::Itself | Verb::Drives) if path.anchor.is_none() => {
            read::drive(state, &id, path.verb == Verb::Drives)
        }
        ("GET", Verb::Itself) => read::item(state, call, &id, path),
        ("GET", Verb::Children) => read::children(state, call, &id, path),
        ("GET", Verb::Content) => read::content(state, &id, path),
        ("GET", Verb::Delta(token)) => read::delta(state, call, &id, path, token.as_deref()),
        ("GET", Verb::Search(text)) => read::search(state, call, &id, path, text),
        ("POST", Verb::Children) => write::create_folder(state, call, context, &id, path),
        ("PUT", Verb::Content) => write::put_content(state, call, context, &id, path),
        ("PUT", Verb::Itself) if path.anchor.is_some() => write::commit_session(state, call, &id, path),
        ("PATCH", Verb::Itself) if path.anchor.is_some() => write::update(state, call, &id, path),
        ("DELETE", Verb::Itself) if path.anchor.is_some() => write::delete(state, call, &id, path),
        ("POST", Verb::Copy) => write::copy(state, call, &id, path),
        ("POST", Verb::UploadSession) => write::create_session(state, call, context, &id, path),
        _ => Err(GraphError::method_not_allowed()),
    }
}

/// The item that a path names.
fn key(drive: &Drive, path: &DrivePath) -> Result<u32, GraphError> {
    let anchor =
        drive.find(path.anchor.as_deref().unwrap_or("root")).ok_or_else(GraphError::drive_item_not_found)?;
    drive.at_path(anchor, &path.names).ok_or_else(GraphError::drive_item_not_found)
}

/// The folder that a path's last name is to lie in, and that name.
fn place<'p>(drive: &Drive, path: &'p DrivePath) -> Result<(u32, &'p str), GraphError> {
    let anchor =
        drive.find(path.anchor.as_deref().unwrap_or("root")).ok_or_else(GraphError::drive_item_not_found)?;
    let (name, folders) =
        path.names.split_last().ok_or_else(|| GraphError::invalid_request("A name is missing."))?;
    let folder = drive.at_path(anchor, folders).ok_or_else(GraphError::drive_item_not_found)?;
    match drive.item(folder) {
        Some(item) if item.file.is_none() => Ok((folder, name)),
        _ => Err(GraphError::drive_item_not_found()),
    }
}

/// The id of the drive that is meant; it is built when it is opened for the first time.
fn open(state: &mut State, context: &Context, of: &DriveOf) -> Result<String, GraphError> {
    let personal = state.options.personal_drives;
    match of {
        DriveOf::User(_) => {
            let user = context.owner();
            let owner = Actor { id: user.id.clone(), name: user.name.clone(), address: user.upn.clone() };
            Ok(state.drives.of(&owner, false, personal))
        }
        DriveOf::Group(group) => {
            let owner = state.group_actor(group).ok_or_else(|| GraphError::resource_not_found(group))?;
            Ok(state.drives.of(&owner, true, personal))
        }
        DriveOf::Id(id) => {
            let unknown = || GraphError::new(404, "itemNotFound", "The resource could not be found.");
            if state.drives.get(id).is_none() {
                state.open_all_drives();
            }
            let drive = state.drives.get(id).ok_or_else(unknown)?;
            let foreign =
                !drive.of_group && context.asker.as_ref().is_some_and(|asker| asker.id != drive.owner.id);
            if foreign { Err(GraphError::new(403, "accessDenied", "Access denied")) } else { Ok(id.clone()) }
        }
    }
}

fn drive<'s>(state: &'s State, id: &str) -> Result<&'s Drive, GraphError> {
    state.drives.get(id).ok_or_else(GraphError::drive_item_not_found)
}

/// Refuses names that no file may have.
fn check_name(name: &str) -> Result<(), GraphError> {
    let forbidden = ['"', '*', ':', '<', '>', '?', '/', '\\', '|'];
    if name.is_empty() || name.contains(forbidden) || name.ends_with(['.', ' ']) || name.len() > 400 {
        return Err(GraphError::invalid_request("The name in the provided resource is not valid."));
    }
    Ok(())
}

/// Whether the request may go on, given the item's tags.
fn check_tags(call: &Call, drive: &Drive, key: u32) -> Result<(), GraphError> {
    let Some(item) = drive.item(key) else {
        return Ok(());
    };
    let content_tag = format!("\"c:{{{}}},{}\"", drive.guid(key), item.content_version);
    let current = |wanted: &str| wanted == "*" || wanted == etag(drive, key, item) || wanted == content_tag;
    let stale = call.header("if-match").is_some_and(|wanted| !current(wanted))
        || call.header("if-none-match").is_some_and(current);
    if stale {
        return Err(GraphError::new(412, "resourceModified", "ETag does not match current item's value"));
    }
    if key == ROOT && call.method == "DELETE" {
        return Err(GraphError::invalid_request("The root folder cannot be deleted."));
    }
    Ok(())
}
