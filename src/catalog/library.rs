//! A catalog: the facts of one service and the objects made of them. Loaded when it is first asked for something; the
//! facts of this build until a service's own have been fetched. Never fetches.

use std::sync::{Arc, OnceLock};

use super::definitions::definitions;
use super::facts::Facts;
use super::object::Object;
use super::operation::{BoundOperation, find};
use super::path::GraphPath;
use super::{CatalogError, did_you_mean};

/// What objects there are.
#[derive(Debug, Default)]
pub struct Catalog {
    facts: OnceLock<Arc<Facts>>,
    named: OnceLock<Vec<Arc<Object>>>,
}

impl Catalog {
    /// The catalog of this build. Costs nothing until it is asked for something.
    pub fn embedded() -> Arc<Self> {
        static EMBEDDED: OnceLock<Arc<Catalog>> = OnceLock::new();
        EMBEDDED.get_or_init(Arc::default).clone()
    }

    /// The catalog of a facts text that was made of a service's metadata.
    ///
    /// # Errors
    /// A sentence: what is wrong with the text.
    pub fn of_text(text: String) -> Result<Arc<Self>, CatalogError> {
        let facts = Facts::of_text(text).map_err(CatalogError::new)?;
        Ok(Arc::new(Self { facts: OnceLock::from(Arc::new(facts)), named: OnceLock::new() }))
    }

    pub(super) fn facts(&self) -> &Arc<Facts> {
        self.facts.get_or_init(|| Arc::new(Facts::embedded()))
    }

    /// The catalog's own objects.
    pub fn objects(&self) -> &[Arc<Object>] {
        self.named.get_or_init(|| {
            definitions().map(|declared| Arc::new(Object::named(declared, self.facts().clone()))).collect()
        })
    }

    /// The object called `name`, in any case, or the Graph path it is when it begins with `/`.
    ///
    /// # Errors
    /// A sentence: what is wrong with the path, or the nearest name and the list of names.
    pub fn find_object(&self, name: &str) -> Result<Arc<Object>, CatalogError> {
        let name = name.trim();
        if name.starts_with('/') {
            let path = GraphPath::parse(name)?;
            return Ok(Arc::new(Object::at(path, self.facts().clone())));
        }
        let objects = self.objects();
        objects.iter().find(|object| object.name().eq_ignore_ascii_case(name)).cloned().ok_or_else(|| {
            let names: Vec<&str> = objects.iter().map(|object| object.name()).collect();
            let near = did_you_mean(name, names.iter().copied());
            CatalogError::new(format!(
                "There is no object '{name}'.{near} The objects are {}; any Graph path that begins with '/' is one too.",
                names.join(", ")
            ))
        })
    }

    /// The action or function called `name` (with or without `microsoft.graph.`, in any case) that Graph binds to the
    /// resource at `target`. `None`: the facts do not know it.
    pub fn find_operation(&self, target: &GraphPath, name: &str) -> Option<BoundOperation> {
        find(self.facts(), target, name)
    }
}
