//! Mail folders, contact folders and calendars: few, with fixed numbers.
//! Never counts items; whoever has the messages does that.

use super::collection::Owner;
use super::model::Entity;
use super::{events, ids};
use serde_json::{Value, json};

/// The mail folders: well-known name and display name; the position is the folder's number.
pub(crate) const MAIL_FOLDERS: &[(&str, &str)] = &[
    ("inbox", "Inbox"),
    ("sentitems", "Sent Items"),
    ("drafts", "Drafts"),
    ("deleteditems", "Deleted Items"),
    ("archive", "Archive"),
    ("junkemail", "Junk Email"),
    ("outbox", "Outbox"),
    ("conversationhistory", "Conversation History"),
];
/// The number of the folder that holds all others; no row has it.
pub(crate) const ROOT: u32 = u32::MAX;
/// The number of the inbox.
pub(crate) const INBOX: u32 = 0;
/// The number of the sent items.
pub(crate) const SENT: u32 = 1;
/// The number of the drafts.
pub(crate) const DRAFTS: u32 = 2;
/// The number of the deleted items.
pub(crate) const DELETED: u32 = 3;

/// The number of the folder with that well-known name.
pub(crate) fn well_known(name: &str) -> Option<u32> {
    if name.eq_ignore_ascii_case("msgfolderroot") {
        return Some(ROOT);
    }
    MAIL_FOLDERS
        .iter()
        .position(|(known, _)| known.eq_ignore_ascii_case(name))
        .map(|position| position as u32)
}

/// The folder of a generated message.
pub(crate) fn folder_of_message(key: u32) -> u32 {
    match key % 20 {
        7 | 13 | 18 => SENT,
        11 => 4,
        16 if key % 100 == 16 => DRAFTS,
        16 => DELETED,
        _ => INBOX,
    }
}

/// Whether the mailbox's owner wrote what lies there.
pub(crate) fn is_outgoing(folder: u32) -> bool {
    folder == SENT || folder == DRAFTS
}

/// One property of generated mail folder `key`; the counts are put in by the reader.
pub(crate) fn mail_folder_field(owner: &Owner, key: u32, name: &str) -> Value {
    match name {
        "displayName" if key == ROOT => "Top of Information Store".into(),
        "displayName" => MAIL_FOLDERS.get(key as usize).map_or("Folder", |(_, shown)| shown).into(),
        // The root folder has a number that no row has.
        "parentFolderId" => ids::encode(&owner.id, Entity::MailFolder, u32::MAX, false).into(),
        "childFolderCount" | "unreadItemCount" | "totalItemCount" => 0.into(),
        "isHidden" => false.into(),
        _ => Value::Null,
    }
}

/// One property of generated contact folder `key`.
pub(crate) fn contact_folder_field(owner: &Owner, _key: u32, name: &str) -> Value {
    match name {
        "displayName" => "Contacts".into(),
        "parentFolderId" => ids::encode(&owner.id, Entity::ContactFolder, u32::MAX, false).into(),
        _ => Value::Null,
    }
}

/// One property of generated calendar `key`; number 0 is the default calendar.
pub(crate) fn calendar_field(owner: &Owner, key: u32, name: &str) -> Value {
    let own = key != 2;
    match name {
        "name" => events::CALENDAR_NAMES
            .get(key as usize)
            .map_or_else(|| format!("Calendar {key}"), |name| (*name).to_owned())
            .into(),
        "color" => "auto".into(),
        "hexColor" => "".into(),
        "isDefaultCalendar" => (key == 0).into(),
        "canShare" | "canEdit" => own.into(),
        "canViewPrivateItems" => true.into(),
        "allowedOnlineMeetingProviders" => json!(["teamsForBusiness"]),
        "defaultOnlineMeetingProvider" => "teamsForBusiness".into(),
        "isTallyingResponses" => (key == 0).into(),
        "isRemovable" => (key != 0).into(),
        "owner" => json!({"name": owner.name, "address": owner.address}),
        _ => Value::Null,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn well_known_names_are_found_in_any_case() {
        assert_eq!(well_known("Inbox"), Some(INBOX));
        assert_eq!(well_known("DeletedItems"), Some(DELETED));
        assert_eq!(well_known("nowhere"), None);
    }
}
