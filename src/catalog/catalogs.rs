//! The catalogs in use, one for each Graph endpoint, so that a cloud with another schema has another catalog. Never fetches
//! a schema.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use arc_swap::ArcSwap;

use super::library::Catalog;

/// The catalog of one Graph endpoint, which can be exchanged while it is in use.
#[derive(Debug)]
pub struct CatalogSlot {
    current: ArcSwap<Catalog>,
}

impl CatalogSlot {
    /// A slot with the catalog of this build.
    pub fn embedded() -> Arc<Self> {
        Arc::new(Self { current: ArcSwap::new(Catalog::embedded()) })
    }

    /// The catalog in use. Whoever has it keeps it until the end of what they do.
    pub fn get(&self) -> Arc<Catalog> {
        self.current.load_full()
    }
}

/// The catalogs by endpoint.
#[derive(Debug, Default)]
pub struct Catalogs {
    slots: Mutex<BTreeMap<String, Arc<CatalogSlot>>>,
}

impl Catalogs {
    /// The catalog of the service at `graph`.
    pub fn of(&self, graph: &url::Url) -> Arc<CatalogSlot> {
        let mut slots = self.slots.lock().unwrap_or_else(PoisonError::into_inner);
        slots.entry(graph.as_str().to_owned()).or_insert_with(CatalogSlot::embedded).clone()
    }
}
