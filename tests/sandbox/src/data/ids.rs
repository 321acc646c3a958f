//! The opaque ids of mailbox items: long base64url text like the service's, which hides a row's number.
//! Never lets a client-made text through as an id: what was not written here is malformed.

use super::model::Entity;
use crate::random::mix;
use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE};

/// The kind of an attachment in an id; the entity types have the lower numbers.
const ATTACHMENT: u8 = 40;
/// The kind of an occurrence.
const OCCURRENCE: u8 = 41;

/// What an id stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct DecodedId {
    /// The entity type.
    pub(crate) entity: Entity,
    /// The row's number, or for an immutable id the number the row was born with.
    pub(crate) key: u32,
    /// Whether it is an immutable id.
    pub(crate) immutable: bool,
}

/// Writes the id of a row in the mailbox of `owner` (a GUID).
pub(crate) fn encode(owner: &str, entity: Entity, key: u32, immutable: bool) -> String {
    write(owner, number(entity), key, immutable)
}

/// Writes the id of an attachment in the mailbox of `owner`.
pub(crate) fn attachment(owner: &str, key: u32) -> String {
    write(owner, ATTACHMENT, key, false)
}

/// Reads the id of an attachment; `None` when it was not written by [`attachment`].
pub(crate) fn attachment_number(owner: &str, text: &str) -> Option<u32> {
    let bytes = URL_SAFE.decode(text).ok()?;
    let key = u32::from_be_bytes(bytes.get(81..85)?.try_into().ok()?);
    (attachment(owner, key) == text).then_some(key)
}

/// Writes the id of an occurrence in the mailbox of `owner`.
pub(crate) fn occurrence(owner: &str, key: u32) -> String {
    write(owner, OCCURRENCE, key, false)
}

/// Reads the id of an occurrence; `None` when it was not written by [`occurrence`].
pub(crate) fn occurrence_number(owner: &str, text: &str) -> Option<u32> {
    let bytes = URL_SAFE.decode(text).ok()?;
    let key = u32::from_be_bytes(bytes.get(81..85)?.try_into().ok()?);
    (occurrence(owner, key) == text).then_some(key)
}

fn write(owner: &str, kind: u8, key: u32, immutable: bool) -> String {
    let seed = crate::random::seed_of(owner);
    let mut bytes = Vec::with_capacity(86);
    // The first bytes make ordinary ids begin with "AAMk" and immutable ones with "AAkA", as the service's do.
    bytes.extend_from_slice(if immutable { &[0, 9, 0, 0x2E] } else { &[0, 3, 0x24, 0] });
    bytes.extend_from_slice(owner.as_bytes());
    bytes.extend_from_slice(&[0, 0x46, 0, 0, 0, 0]);
    for purpose in 0..4 {
        bytes.extend_from_slice(
            &mix(seed, u64::from(key) * u64::from(purpose > 1), 70 + purpose).to_be_bytes(),
        );
        if purpose == 1 {
            bytes.extend_from_slice(&[7, 0]);
        }
    }
    bytes.push(kind);
    bytes.extend_from_slice(&key.to_be_bytes());
    // Two bytes short of a multiple of three: the text ends with "=", as most of the service's do.
    while bytes.len() % 3 != 2 {
        bytes.push(0);
    }
    URL_SAFE.encode(bytes)
}

/// Reads an id of the mailbox of `owner`; `None` when it was not written by [`encode`].
pub(crate) fn decode(owner: &str, text: &str) -> Option<DecodedId> {
    let bytes = URL_SAFE.decode(text).ok()?;
    let immutable = match bytes.get(..4)? {
        [0, 9, 0, 0x2E] => true,
        [0, 3, 0x24, 0] => false,
        _ => return None,
    };
    let entity = entity(*bytes.get(80)?)?;
    let key = u32::from_be_bytes(bytes.get(81..85)?.try_into().ok()?);
    (encode(owner, entity, key, immutable) == text).then_some(DecodedId { entity, key, immutable })
}

/// Whether an id was written for some mailbox: then it is well formed, and in another mailbox there is no such item.
pub(crate) fn is_of_some_mailbox(text: &str) -> bool {
    let owner = |bytes: &[u8]| String::from_utf8(bytes.get(4..40)?.to_vec()).ok();
    let Some(owner) = URL_SAFE.decode(text).ok().and_then(|bytes| owner(&bytes)) else { return false };
    decode(&owner, text).is_some()
        || attachment_number(&owner, text).is_some()
        || occurrence_number(&owner, text).is_some()
}

/// Writes a row's change key; `change` counts its changes.
pub(crate) fn change_key(owner_seed: u64, key: u32, change: u32) -> String {
    let mut bytes = Vec::with_capacity(30);
    bytes.extend_from_slice(&[9, 0, 0, 0, 22, 0, 0, 0]);
    bytes.extend_from_slice(&mix(owner_seed, 0, 80).to_be_bytes());
    bytes.extend_from_slice(&mix(owner_seed, u64::from(key), 81).to_be_bytes());
    bytes.extend_from_slice(&[0, 0]);
    bytes.extend_from_slice(&change.to_be_bytes());
    STANDARD.encode(bytes)
}

fn number(entity: Entity) -> u8 {
    match entity {
        Entity::Message => 1,
        Entity::Event => 2,
        Entity::Contact => 3,
        Entity::Calendar => 4,
        Entity::MailFolder => 5,
        Entity::ContactFolder => 6,
        Entity::User => 7,
    }
}

fn entity(number: u8) -> Option<Entity> {
    Some(match number {
        1 => Entity::Message,
        2 => Entity::Event,
        3 => Entity::Contact,
        4 => Entity::Calendar,
        5 => Entity::MailFolder,
        6 => Entity::ContactFolder,
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_look_like_the_services_and_come_back() {
        let owner = "8a7c4f00-0000-4000-8000-0123456789ab";
        let mut special = 0;
        for key in [0, 1, 77, 99_999, u32::MAX] {
            for immutable in [false, true] {
                let id = encode(owner, Entity::Message, key, immutable);
                assert!(id.ends_with('='), "{id}");
                special += id.matches(['-', '_']).count();
                let expected = DecodedId { entity: Entity::Message, key, immutable };
                assert_eq!(decode(owner, &id), Some(expected));
                assert_eq!(decode("another-owner", &id), None);
            }
        }
        assert!(special > 0);
        assert_eq!(decode(owner, "not-an-id"), None);
    }
}
