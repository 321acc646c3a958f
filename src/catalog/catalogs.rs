//! The catalogs in use, one for each Graph endpoint, so that a cloud with another schema has another catalog: the facts of
//! this build, or those made of the service's own metadata, kept in a file and read when first asked for. Never fetches a
//! schema; a bad one never replaces a good one.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use arc_swap::ArcSwap;
use serde::Serialize;
use utoipa::ToSchema;

use super::csdl_text::facts_text;
use super::facts_line::{Flags, Line};
use super::library::Catalog;
use super::{CatalogError, facts::Facts};
use crate::clock::Timestamp;
use crate::files;

/// The largest metadata taken, in bytes: Graph's is 3.4 MB, its beta's 8.
pub const LARGEST_METADATA: usize = 32 * 1024 * 1024;

/// The first line of a kept schema; another version of the agent may write another format and then fetches anew.
const HEAD: &str = "# o365-agent schema 1 of ";

/// The second line, with the moment.
const FETCHED: &str = "# fetched ";

/// Which schema is in use at a Graph endpoint.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct SchemaStatus {
    /// The Graph endpoint.
    pub endpoint: String,
    /// `build`: it came with this agent; `service`: it was made of the service's `$metadata`.
    pub source: &'static str,
    /// When it was fetched.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fetched_at: Option<String>,
    /// How many types it has.
    pub types: usize,
}

/// The catalog of one Graph endpoint, which can be exchanged while it is in use.
#[derive(Debug)]
pub struct CatalogSlot {
    endpoint: String,
    file: Option<PathBuf>,
    in_use: OnceLock<ArcSwap<InUse>>,
    /// Held while a schema is exchanged, so that the file and the memory agree.
    exchange: Mutex<()>,
}

#[derive(Debug)]
struct InUse {
    catalog: Arc<Catalog>,
    fetched_at: Option<String>,
}

/// Why a fetched schema is not in use.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SchemaFault {
    /// The document is none that can be used.
    #[error(transparent)]
    Bad(CatalogError),
    /// It cannot be kept.
    #[error("The schema cannot be kept: {0} The one in use stays.")]
    NotKept(String),
}

impl CatalogSlot {
    /// The catalog in use. Whoever has it keeps it until the end of what they do.
    pub fn get(&self) -> Arc<Catalog> {
        self.in_use().load().catalog.clone()
    }

    /// Which schema is in use.
    pub fn status(&self) -> SchemaStatus {
        let in_use = self.in_use().load();
        SchemaStatus {
            endpoint: self.endpoint.clone(),
            source: if in_use.fetched_at.is_some() { "service" } else { "build" },
            fetched_at: in_use.fetched_at.clone(),
            types: in_use.catalog.facts().len(),
        }
    }

    /// Checks a service's metadata, keeps it and puts it in use. Blocks on the disk.
    ///
    /// # Errors
    /// [`SchemaFault`]; then everything stays as it was.
    pub fn replace(&self, metadata: &[u8], at: Timestamp) -> Result<SchemaStatus, SchemaFault> {
        let _one_at_a_time = self.exchange.lock().unwrap_or_else(PoisonError::into_inner);
        let known = known_of_this_build();
        let text = facts_text(metadata, &known).map_err(|what| bad(&what))?;
        let text = format!("{HEAD}{}\n{FETCHED}{at}\n{text}", self.endpoint);
        let catalog = Catalog::of_text(text.clone()).map_err(|error| bad(&error.message))?;
        if catalog.objects().iter().all(|object| object.graph_type().is_none()) {
            return Err(bad("it declares none of the types of Microsoft Graph that this agent works with"));
        }
        if let Some(file) = &self.file {
            let kept = file.parent().map_or(Ok(()), files::ensure_private_folder);
            kept.and_then(|()| files::write_private(file, text.as_bytes()))
                .map_err(|error| SchemaFault::NotKept(error.to_string()))?;
        }
        self.in_use().store(Arc::new(InUse { catalog, fetched_at: Some(at.to_string()) }));
        Ok(self.status())
    }

    fn in_use(&self) -> &ArcSwap<InUse> {
        self.in_use.get_or_init(|| {
            let kept = self.file.as_deref().and_then(|file| read_kept(file, &self.endpoint));
            let embedded = || InUse { catalog: Catalog::embedded(), fetched_at: None };
            ArcSwap::from_pointee(kept.unwrap_or_else(embedded))
        })
    }
}

fn bad(what: &str) -> SchemaFault {
    SchemaFault::Bad(CatalogError::new(format!(
        "The metadata of the service cannot be used: {what}. The schema in use stays."
    )))
}

/// A kept schema. One that cannot be used is as good as none: it can be fetched again.
fn read_kept(file: &Path, endpoint: &str) -> Option<InUse> {
    let unusable = |reason: &str| {
        tracing::warn!(file = %file.display(), reason,
            "The kept schema cannot be used; the one of this build is. `o365-agent schema refresh` fetches it again.");
    };
    let bytes = match files::read_bounded(file, LARGEST_METADATA as u64) {
        Ok(bytes) => bytes,
        Err(error) if error.is_not_found() => return None,
        Err(error) => {
            unusable(&error.to_string());
            return None;
        }
    };
    let read = String::from_utf8(bytes).map_err(|_| "it is not UTF-8".to_owned()).and_then(|text| {
        let mut lines = text.lines();
        let of = lines.next().and_then(|line| line.strip_prefix(HEAD));
        let fetched_at = lines.next().and_then(|line| line.strip_prefix(FETCHED)).map(str::to_owned);
        if of != Some(endpoint) || fetched_at.is_none() {
            return Err("it is of another endpoint or another version of the agent".to_owned());
        }
        let catalog = Catalog::of_text(text).map_err(|error| error.message)?;
        Ok(InUse { catalog, fetched_at })
    });
    read.map_err(|reason| unusable(&reason)).ok()
}

/// What this build knows of properties beside the metadata: operators of `$filter`, sorting, what must be asked for.
fn known_of_this_build() -> impl Fn(&str, &str) -> String {
    let facts = Facts::embedded();
    move |kind, name| {
        let own = facts.find(kind).map(|id| facts.lines(id).filter_map(Line::property));
        let found = own.and_then(|mut own| own.find(|property| property.name == name));
        let flags = found.map(|property| Flags { required: false, max_length: None, ..property.flags });
        flags.unwrap_or_default().words()
    }
}

/// The catalogs by endpoint.
#[derive(Debug)]
pub struct Catalogs {
    folder: Option<PathBuf>,
    slots: Mutex<BTreeMap<String, Arc<CatalogSlot>>>,
}

impl Catalogs {
    /// Catalogs that keep fetched schemas in `folder`; without one they are forgotten at the end.
    pub fn new(folder: Option<PathBuf>) -> Self {
        Self { folder, slots: Mutex::default() }
    }

    /// The catalog of the service at `graph`. Reads nothing yet.
    pub fn of(&self, graph: &url::Url) -> Arc<CatalogSlot> {
        let endpoint = graph.as_str().trim_end_matches('/').to_owned();
        let mut slots = self.slots.lock().unwrap_or_else(PoisonError::into_inner);
        let slot = slots.entry(endpoint).or_insert_with_key(|endpoint| {
            let file = self.folder.as_ref().map(|folder| folder.join(file_name(endpoint)));
            let (in_use, exchange) = (OnceLock::new(), Mutex::default());
            Arc::new(CatalogSlot { endpoint: endpoint.clone(), file, in_use, exchange })
        });
        slot.clone()
    }
}

/// An endpoint as the name of a file. Two that come to the same name are told apart by the file's first line.
fn file_name(endpoint: &str) -> String {
    let safe = |character: char| if character.is_ascii_alphanumeric() { character } else { '-' };
    let name: String = endpoint.chars().map(safe).take(150).collect();
    format!("{name}.facts")
}

#[cfg(test)]
#[path = "catalogs_tests.rs"]
mod tests;
