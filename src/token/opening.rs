//! The first look at a connection's store: what is there, whether it is ours, and whether the drop-in's tokens are newer
//! than those already taken over. Sends nothing.

use std::sync::Arc;
use std::time::Duration;

use crate::clock::Timestamp;

use super::plan::Seed;
use super::store::{StoreError, Stored, StoredAccess};
use super::transaction::Context;
use super::{chance, state};

/// Reads the store, claims it when nobody owns it, and takes new seed tokens over.
pub(super) async fn open(context: Arc<Context>) -> Result<Arc<Stored>, StoreError> {
    if let Some(unsaved) = context.store.unsaved()
        && !counts(&context, Some(&unsaved))
    {
        return Ok(unsaved);
    }
    // Without the lock first: a reload must not wait for the running refresh of the version before it.
    match context.store.load(false).await {
        Ok(Some(stored)) if !counts(&context, Some(&stored)) => return Ok(Arc::new(stored)),
        Ok(_) => {}
        // Under the lock it will be set aside.
        Err(StoreError::Corrupt(_)) => {}
        Err(error) => return Err(error),
    }
    let lock = match context.store.lock().await {
        Ok(lock) => Some(lock),
        Err(error @ (StoreError::Failed { .. } | StoreError::Corrupt(_))) => {
            // Reading works and shows nothing newer, so the drop-in's tokens can be served; `commit` keeps them as owed.
            tracing::error!(connection = %context.connection.name, %error, "The token store cannot be written.");
            None
        }
        Err(error) => return Err(error),
    };
    let found = context.store.load(lock.is_some()).await?;
    let on_disk = found.as_ref().map_or(0, |found| found.generation);
    let next = match (&context.plan.seed, found) {
        (_, Some(found)) if !counts(&context, Some(&found)) => return Ok(Arc::new(found)),
        (Some(seed), found) => taken_over(&context, seed, found),
        // Claims the store for this connection, so that a second one is refused from now on and not at its first refresh.
        (None, found) => found.unwrap_or_default(),
    };
    let next = Arc::new(next);
    if let Err(error) = context.store.commit(lock.as_ref(), on_disk, &next).await {
        match error {
            StoreError::Superseded { .. } | StoreError::Refused(_) | StoreError::Busy(_) => {
                return Err(error);
            }
            StoreError::Corrupt(_) | StoreError::Failed { .. } => {
                tracing::error!(connection = %context.connection.name, %error, "The token store cannot be written. The connection works from memory.");
            }
        }
    }
    Ok(next)
}

/// Whether the drop-in's tokens count: there are some, and they are not the ones the store has already taken over.
fn counts(context: &Context, stored: Option<&Stored>) -> bool {
    match &context.plan.seed {
        None => false,
        Some(seed) => stored.and_then(|stored| stored.seed.as_ref()) != Some(&seed.fingerprint),
    }
}

/// The seed in place of whatever was there: its refresh token belongs to another sign-in, perhaps of another person,
/// and must not be mixed with the old tokens.
fn taken_over(context: &Context, seed: &Seed, found: Option<Stored>) -> Stored {
    let now = context.clock.now();
    let access = seed.access.as_ref().map(|given| {
        let expires_at = given.expires_at.unwrap_or(given.obtained_at.plus(Duration::from_secs(3600)));
        let lifetime = expires_at.until(given.obtained_at);
        let refresh_due = match given.expires_at {
            Some(_) => state::refresh_due(
                given.obtained_at,
                lifetime,
                None,
                context.refresh.minimum_validity,
                chance(),
            ),
            // Nothing tells when it ends, so a token whose end is known is fetched at once.
            None => now,
        };
        StoredAccess { secret: given.secret.clone(), obtained_at: given.obtained_at, expires_at, refresh_due }
    });
    let generation = found.map_or(0, |found| found.generation) + 1;
    tracing::info!(connection = %context.connection.name, token_generation = generation,
        fingerprint = %access.as_ref().map(|access| access.secret.fingerprint()).unwrap_or_default(),
        "Took over the tokens given in the drop-in.");
    Stored {
        generation,
        access,
        refresh_token: seed.refresh_token.clone(),
        seed: Some(seed.fingerprint.clone()),
        denied: None,
    }
}

/// When a token found at start is to be refreshed: one that is overdue but still works waits a moment, so that an
/// agent that was off for a while does not refresh all its connections in the same second.
pub(super) fn spread(due: Timestamp, now: Timestamp, usable: bool) -> Timestamp {
    const SPREAD: Duration = Duration::from_secs(60);
    if usable && due <= now { now.plus(SPREAD.mul_f64(chance())) } else { due }
}
