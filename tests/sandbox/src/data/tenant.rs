//! The tenant's directory and mailboxes.
//! Never builds a mailbox before somebody opens it.

use super::attachments::{Attachment, Attachments};
use super::collection::{Collection, Owner};
use super::directory::{ADMINISTRATOR, WITHOUT_MAILBOX};
use super::folders::MAIL_FOLDERS;
use super::model::Entity;
use crate::options::SandboxOptions;
use crate::random::seed_of;
use serde_json::Value;
use std::collections::HashMap;
use std::sync::Arc;

/// A user as the services look it up.
#[derive(Debug, Clone)]
pub(crate) struct UserFacts {
    /// The row in the directory.
    pub(crate) key: u32,
    /// The object id.
    pub(crate) id: String,
    /// The user principal name.
    pub(crate) upn: String,
    /// The display name.
    pub(crate) name: String,
    /// Whether the user is an administrator.
    pub(crate) administrator: bool,
    /// Whether the user has a mailbox.
    pub(crate) has_mailbox: bool,
}

/// One mailbox.
#[derive(Debug, Clone)]
pub(crate) struct Mailbox {
    /// The rows, one collection per entity type.
    collections: HashMap<Entity, Collection>,
    attachments: Attachments,
    /// Events by the transaction id they were created with.
    pub(crate) transactions: HashMap<String, u32>,
}

impl Mailbox {
    /// All rows, a collection for each entity type.
    pub(crate) fn collections(&self) -> impl Iterator<Item = &Collection> {
        self.collections.values()
    }

    /// The rows of an entity type.
    pub(crate) fn of(&self, entity: Entity) -> &Collection {
        self.collections.get(&entity).expect("every mailbox is built with a collection per mailbox entity")
    }

    /// What hangs on a row.
    pub(crate) fn attachments_of(&self, entity: Entity, key: u32) -> Vec<Attachment> {
        self.attachments.of(self.of(entity), key)
    }

    /// Hangs an attachment on a row; answers its number.
    pub(crate) fn attach(&mut self, entity: Entity, key: u32, attachment: Attachment) -> u32 {
        let rows = self
            .collections
            .get(&entity)
            .expect("every mailbox is built with a collection per mailbox entity");
        self.attachments.add(rows, key, attachment)
    }

    /// Takes an attachment away; whether it was there.
    pub(crate) fn detach(&mut self, entity: Entity, key: u32, number: u32) -> bool {
        let rows = self
            .collections
            .get(&entity)
            .expect("every mailbox is built with a collection per mailbox entity");
        self.attachments.remove(rows, key, number)
    }

    /// The rows of an entity type, to be changed.
    pub(crate) fn of_mut(&mut self, entity: Entity) -> &mut Collection {
        self.collections
            .get_mut(&entity)
            .expect("every mailbox is built with a collection per mailbox entity")
    }
}

/// The directory and the mailboxes.
#[derive(Debug, Clone)]
pub(crate) struct Tenant {
    /// The directory's users.
    pub(crate) users: Collection,
    lookup: HashMap<String, u32>,
    mailboxes: HashMap<String, Mailbox>,
    options: SandboxOptions,
}

impl Tenant {
    /// A tenant as the options describe it.
    pub(crate) fn new(options: &SandboxOptions) -> Self {
        let owner = Arc::new(Owner {
            id: options.tenant_id.clone(),
            name: "Contoso".to_owned(),
            address: options.tenant_domain.clone(),
            seed: seed_of(&options.tenant_id),
        });
        let users = Collection::new(Entity::User, owner, options.users);
        let mut tenant =
            Self { users, lookup: HashMap::new(), mailboxes: HashMap::new(), options: options.clone() };
        for key in tenant.users.keys() {
            tenant.index_user(key);
        }
        tenant
    }

    /// Makes a user findable by id and principal name.
    pub(crate) fn index_user(&mut self, key: u32) {
        for name in ["id", "userPrincipalName"] {
            if let Value::String(text) = self.users.field(key, name) {
                self.lookup.insert(text.to_lowercase(), key);
            }
        }
    }

    /// The mailboxes that somebody opened.
    pub(crate) fn open_mailboxes(&self) -> impl Iterator<Item = &Mailbox> {
        self.mailboxes.values()
    }

    /// Finds a user by object id or principal name.
    pub(crate) fn user(&self, id_or_upn: &str) -> Option<UserFacts> {
        let key = *self.lookup.get(&id_or_upn.to_lowercase())?;
        self.users.contains(key).then(|| self.facts(key))
    }

    /// The id of a user that was there once.
    pub(crate) fn user_id(&self, key: u32) -> Option<String> {
        self.lookup
            .iter()
            .find(|(name, known)| **known == key && !name.contains('@'))
            .map(|(name, _)| name.clone())
    }

    /// The facts of a user by row.
    pub(crate) fn facts(&self, key: u32) -> UserFacts {
        let text = |name| match self.users.field(key, name) {
            Value::String(text) => text,
            _ => String::new(),
        };
        UserFacts {
            key,
            id: text("id"),
            upn: text("userPrincipalName"),
            name: text("displayName"),
            administrator: key == ADMINISTRATOR,
            // A mailbox takes a licence, which a freshly created user does not have.
            has_mailbox: key != WITHOUT_MAILBOX && (key as usize) < self.options.users,
        }
    }

    /// The user's mailbox, built when it is first opened.
    pub(crate) fn mailbox(&mut self, user: &UserFacts) -> &mut Mailbox {
        let options = &self.options;
        self.mailboxes.entry(user.id.clone()).or_insert_with(|| {
            let owner = Arc::new(Owner {
                id: user.id.clone(),
                name: user.name.clone(),
                address: user.upn.clone(),
                seed: seed_of(&user.id),
            });
            let messages = if user.key == 0 {
                options.messages_per_mailbox
            } else {
                options.messages_in_other_mailboxes
            };
            let sizes = [
                (Entity::Message, messages),
                (Entity::Event, options.events_per_mailbox),
                (Entity::Contact, options.contacts_per_mailbox),
                (Entity::Calendar, options.calendars_per_mailbox.max(1)),
                (Entity::MailFolder, MAIL_FOLDERS.len()),
                (Entity::ContactFolder, 1),
            ];
            let collections = sizes
                .into_iter()
                .map(|(entity, size)| (entity, Collection::new(entity, Arc::clone(&owner), size)))
                .collect();
            Mailbox { collections, attachments: Attachments::default(), transactions: HashMap::new() }
        })
    }
}
