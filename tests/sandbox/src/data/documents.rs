//! Rows that are few and kept as JSON: groups, conversations, plans, bookings and their like.
//! Never knows rules; whoever writes here has checked them.

use serde_json::{Map, Value};
use std::collections::{BTreeMap, HashMap};

/// One row.
#[derive(Debug, Clone)]
pub(crate) struct Document {
    /// The id.
    pub(crate) id: String,
    /// The id of what it belongs to: a group, a business, a user; empty in the tenant's own tables.
    pub(crate) scope: String,
    /// The id of what it lies in within that, where there is something in between.
    pub(crate) parent: String,
    /// The properties, without the id.
    pub(crate) fields: Map<String, Value>,
    /// Counts the changes.
    pub(crate) version: u32,
}

/// A table of rows, in the order they were made.
#[derive(Debug, Default, Clone)]
pub(crate) struct Table {
    rows: BTreeMap<u64, Document>,
    by_id: HashMap<String, u64>,
    next: u64,
}

impl Table {
    /// All rows, oldest first.
    pub(crate) fn rows(&self) -> impl Iterator<Item = &Document> {
        self.rows.values()
    }

    /// The row of that id.
    pub(crate) fn get(&self, id: &str) -> Option<&Document> {
        self.rows.get(self.by_id.get(id)?)
    }

    /// The row of that id, to be changed.
    pub(crate) fn get_mut(&mut self, id: &str) -> Option<&mut Document> {
        self.rows.get_mut(self.by_id.get(id)?)
    }

    /// Adds a row.
    pub(crate) fn add(&mut self, row: Document) {
        self.by_id.insert(row.id.clone(), self.next);
        self.rows.insert(self.next, row);
        self.next += 1;
    }

    /// Takes a row out.
    pub(crate) fn remove(&mut self, id: &str) -> Option<Document> {
        self.rows.remove(&self.by_id.remove(id)?)
    }

    /// Takes out every row for which that holds.
    pub(crate) fn remove_where(&mut self, gone: impl Fn(&Document) -> bool) {
        let ids: Vec<String> = self.rows().filter(|row| gone(row)).map(|row| row.id.clone()).collect();
        for id in ids {
            self.remove(&id);
        }
    }
}

/// The tables by name.
#[derive(Debug, Default, Clone)]
pub(crate) struct Documents {
    tables: HashMap<&'static str, Table>,
    /// The users' ids in each group: members and owners.
    pub(crate) people: HashMap<String, (Vec<String>, Vec<String>)>,
    /// The id of each user's manager.
    pub(crate) managers: HashMap<String, String>,
}

impl Documents {
    /// All tables with their names.
    pub(crate) fn tables(&self) -> impl Iterator<Item = (&'static str, &Table)> {
        self.tables.iter().map(|(name, table)| (*name, table))
    }

    /// A table; empty when nothing was ever put in.
    pub(crate) fn table(&mut self, name: &'static str) -> &mut Table {
        self.tables.entry(name).or_default()
    }

    /// The row of a table.
    pub(crate) fn get(&self, table: &str, id: &str) -> Option<&Document> {
        self.tables.get(table)?.get(id)
    }
}
