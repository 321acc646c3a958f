//! What a test compares: which rows the whole tenant has and in which version, and putting the tenant back as it was.
//! Never part of the simulated service.

use crate::data::documents::Documents;
use crate::data::drives::Drives;
use crate::data::tenant::Tenant;
use crate::handle::Sandbox;
use crate::state::State;
use std::collections::BTreeMap;

/// The tenant's rows at one moment.
#[derive(Debug, Clone)]
pub struct Checkpoint {
    tenant: Tenant,
    documents: Documents,
    drives: Drives,
}

impl Sandbox {
    /// Remembers all rows as they are.
    pub fn checkpoint(&self) -> Checkpoint {
        let state = self.state();
        Checkpoint {
            tenant: state.tenant.clone(),
            documents: state.documents.clone(),
            drives: state.drives.clone(),
        }
    }

    /// Puts all rows back as they were; what is counted and recorded stays.
    pub fn restore(&self, checkpoint: &Checkpoint) {
        let Checkpoint { tenant, documents, drives } = checkpoint.clone();
        let mut state = self.state();
        (state.tenant, state.documents, state.drives) = (tenant, documents, drives);
        // Rendered pages are known by versions, which begin anew.
        state.pages.clear();
    }

    /// Every row of the tenant by its id, with its kind, its place and its version as one text: the text changes with any
    /// change of the row. Mailboxes and drives that nobody opened have no rows yet.
    pub fn row_versions(&self) -> BTreeMap<String, String> {
        versions(&self.state())
    }
}

fn versions(state: &State) -> BTreeMap<String, String> {
    let mut found = BTreeMap::new();
    let collections = state.tenant.open_mailboxes().flat_map(|mailbox| mailbox.collections());
    for rows in collections.chain([&state.tenant.users]) {
        for key in rows.keys() {
            let text = format!("{:?} {} {} {}", rows.entity, rows.owner.id, rows.parent(key), rows.etag(key));
            found.insert(rows.id(key, false), text);
        }
    }
    // The details of plans and tasks have their ids.
    for (name, table) in state.documents.tables().filter(|(name, _)| !name.ends_with("Details")) {
        for row in table.rows() {
            let text = format!("{name} {} {} {}", row.scope, row.parent, row.version);
            found.insert(row.id.clone(), text);
        }
    }
    for drive in state.drives.all() {
        for (key, item) in drive.items() {
            found.insert(drive.item_id(key), format!("item {} {:?} {}", drive.id, item.parent, item.version));
        }
    }
    found
}
