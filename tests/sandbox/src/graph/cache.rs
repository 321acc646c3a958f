//! Rendered pages and filtered row lists, so that a warm page costs a look-up.
//! Never answers for changed rows: the collection's version is part of every key.

use bytes::Bytes;
use std::collections::HashMap;
use std::sync::Arc;

/// Bytes of rendered pages that are kept.
const LARGEST_TOTAL: usize = 64 * 1024 * 1024;
/// Row lists that are kept.
const MOST_LISTS: usize = 16;

/// A rendered page.
#[derive(Debug, Clone)]
pub(crate) struct Page {
    /// The whole body.
    pub(crate) body: Bytes,
    /// The rows in it.
    pub(crate) rows: u64,
}

/// The cache.
#[derive(Debug, Default)]
pub(crate) struct PageCache {
    pages: HashMap<String, Page>,
    total: usize,
    lists: HashMap<String, Arc<Vec<u32>>>,
}

impl PageCache {
    /// A page that was rendered before.
    pub(crate) fn page(&self, key: &str) -> Option<Page> {
        self.pages.get(key).cloned()
    }

    /// Keeps a page; starts anew when there are too many bytes.
    pub(crate) fn keep_page(&mut self, key: String, page: Page) {
        if self.total + page.body.len() > LARGEST_TOTAL {
            self.pages.clear();
            self.total = 0;
        }
        self.total += page.body.len();
        self.pages.insert(key, page);
    }

    /// A row list that was computed before.
    pub(crate) fn list(&self, key: &str) -> Option<Arc<Vec<u32>>> {
        self.lists.get(key).cloned()
    }

    /// Keeps a row list; starts anew when there are too many.
    pub(crate) fn keep_list(&mut self, key: String, list: Arc<Vec<u32>>) {
        if self.lists.len() >= MOST_LISTS {
            self.lists.clear();
        }
        self.lists.insert(key, list);
    }

    /// Forgets everything.
    pub(crate) fn clear(&mut self) {
        *self = Self::default();
    }
}
