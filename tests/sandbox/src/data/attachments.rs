//! What is attached to messages and events; a generated message that says so has one file.
//! Never knows ids' texts or JSON shapes of answers.

use super::collection::Collection;
use super::content::Content;
use super::model::Entity;
use crate::random::mix;
use serde_json::Value;
use std::collections::HashMap;
use std::sync::Arc;

/// The numbers of attachments that clients made begin here; below are those of generated messages.
const FIRST_MADE: u32 = 1 << 31;

/// One attachment.
#[derive(Debug, Clone)]
pub(crate) struct Attachment {
    /// Its number in the mailbox.
    pub(crate) number: u32,
    /// The name.
    pub(crate) name: String,
    /// The media type.
    pub(crate) content_type: Option<String>,
    /// Whether it is shown inside the body.
    pub(crate) inline: bool,
    /// What the body calls it.
    pub(crate) content_id: Option<String>,
    /// When it was changed, in seconds.
    pub(crate) modified: i64,
    /// What it is.
    pub(crate) kind: AttachmentKind,
}

/// What an attachment is.
#[derive(Debug, Clone)]
pub(crate) enum AttachmentKind {
    /// A file.
    File(Arc<Content>),
    /// A message, event or contact; its JSON with `@odata.type`.
    Item(Value),
    /// A link to a file elsewhere.
    Reference,
}

/// The attachments of a mailbox.
#[derive(Debug, Default, Clone)]
pub(crate) struct Attachments {
    /// By type and number at birth of what they hang on.
    made: HashMap<(Entity, u32), Vec<Attachment>>,
    /// Generated ones that were taken away.
    removed: Vec<(Entity, u32)>,
    count: u32,
}

impl Attachments {
    /// What hangs on a row.
    pub(crate) fn of(&self, rows: &Collection, key: u32) -> Vec<Attachment> {
        let place = (rows.entity, rows.origin(key));
        let mut all: Vec<Attachment> = self.generated(rows, place).into_iter().collect();
        all.extend(self.made.get(&place).into_iter().flatten().cloned());
        all
    }

    /// Hangs one more on a row; answers its number.
    pub(crate) fn add(&mut self, rows: &Collection, key: u32, mut attachment: Attachment) -> u32 {
        let number = FIRST_MADE + self.count;
        self.count += 1;
        attachment.number = number;
        self.made.entry((rows.entity, rows.origin(key))).or_default().push(attachment);
        number
    }

    /// Takes one away; whether it was there.
    pub(crate) fn remove(&mut self, rows: &Collection, key: u32, number: u32) -> bool {
        let place = (rows.entity, rows.origin(key));
        if self.generated(rows, place).is_some_and(|attachment| attachment.number == number) {
            self.removed.push(place);
            return true;
        }
        let Some(list) = self.made.get_mut(&place) else {
            return false;
        };
        let before = list.len();
        list.retain(|attachment| attachment.number != number);
        list.len() < before
    }

    /// Generated messages say by themselves whether they have one, and clients cannot change that.
    fn generated(&self, rows: &Collection, place: (Entity, u32)) -> Option<Attachment> {
        let born = rows.seeded(place.1, "hasAttachments");
        if place.0 != Entity::Message || born != Value::Bool(true) || self.removed.contains(&place) {
            return None;
        }
        let bits = mix(rows.owner.seed, u64::from(place.1), 120);
        let content = Content::Generated { seed: bits, length: 2_000 + bits % 40_000 };
        Some(Attachment {
            number: place.1,
            name: format!("Report {}.pdf", place.1),
            content_type: Some("application/pdf".to_owned()),
            inline: false,
            content_id: None,
            modified: super::messages::NEWEST - 86_400,
            kind: AttachmentKind::File(Arc::new(content)),
        })
    }
}
