//! Placeholder of paging: the graph stage replaces this file. Reads nothing.
#![allow(missing_docs, reason = "replaced by the graph stage")]

use super::model::GraphError;

#[derive(Debug)]
pub struct Pages {}

impl Pages {
    pub async fn next(&mut self) -> Result<Option<RowBatch>, GraphError> {
        Ok(None)
    }

    pub fn set_read_ahead(&mut self, _on: bool) {}

    pub fn count(&self) -> Option<u64> {
        None
    }
}

#[derive(Debug, Default)]
pub struct RowBatch {
    rows: Vec<Vec<u8>>,
}

impl RowBatch {
    pub fn len(&self) -> usize {
        self.rows.len()
    }

    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    pub fn rows(&self) -> impl Iterator<Item = &[u8]> {
        self.rows.iter().map(Vec::as_slice)
    }
}
