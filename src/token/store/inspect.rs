//! What the Test of a connection says about its store: tried out for real, told without a secret.

use crate::clock::Timestamp;

use super::super::model::TokenGeneration;
use super::{OpenStore, StoreError, Stored};

/// How a connection's token store fares.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "camelCase")]
pub struct StoreReport {
    /// Where the tokens are kept, or that no store is used.
    pub place: String,
    /// Whether the contents could be read (an empty store can).
    pub readable: bool,
    /// Whether the store's lock could be taken.
    pub lockable: bool,
    /// Whether the contents could be written back.
    pub writable: bool,
    /// The connection that owns the contents; absent when the store is empty or not readable.
    pub owner: Option<String>,
    /// The number of the newest token in it; 0 when there is none.
    pub generation: TokenGeneration,
    /// Whether there is an access token, and
    pub has_access_token: bool,
    /// whether there is a refresh token.
    pub has_refresh_token: bool,
    /// What is wrong and what to do, if something is.
    pub problem: Option<String>,
}

impl StoreReport {
    /// The report of a connection that uses no store.
    pub(in crate::token) fn not_used() -> Self {
        Self {
            place: "none (InitiateOAuth is OFF: the token of the drop-in is used as given)".to_owned(),
            readable: true,
            lockable: true,
            writable: true,
            owner: None,
            generation: 0,
            has_access_token: false,
            has_refresh_token: false,
            problem: None,
        }
    }

    /// Whether everything that a refresh will need works.
    pub fn is_good(&self) -> bool {
        self.readable && self.lockable && self.writable && self.problem.is_none()
    }
}

/// Reads, locks and writes back the store of the connection `owner`.
pub(in crate::token) async fn inspect(store: &OpenStore, owner: &str, now: Timestamp) -> StoreReport {
    let mut report = StoreReport { place: store.place(), ..StoreReport::not_used() };
    (report.readable, report.lockable, report.writable) = (false, false, false);
    if let Err(error) = try_out(store, owner, now, &mut report).await {
        report.problem = Some(error.to_string());
    } else if store.unsaved().is_some() {
        report.problem =
            Some("The newest token has not been written yet. The agent tries again by itself.".to_owned());
    }
    report
}

async fn try_out(
    store: &OpenStore,
    owner: &str,
    now: Timestamp,
    report: &mut StoreReport,
) -> Result<(), StoreError> {
    let looked = store.load(false).await;
    report.readable = looked.is_ok();
    looked?;
    let lock = store.lock().await?;
    report.lockable = true;
    let stored = store.load(true).await?;
    if let Some(stored) = &stored {
        report.owner = Some(owner.to_owned());
        report.generation = stored.generation;
        report.has_access_token = stored.access.is_some();
        report.has_refresh_token = stored.refresh_token.is_some();
    }
    // The same contents once more: proves that the next refresh can be committed, and changes nothing.
    let stored = stored.unwrap_or_else(|| Stored::claim(now));
    let generation = stored.generation;
    store.write_back(&lock, generation, &stored).await?;
    report.writable = true;
    Ok(())
}
