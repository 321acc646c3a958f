//! The first look at a connection's store: what is there, whether it is ours, and whether the drop-in's tokens are newer
//! than those already taken over. Sends nothing.

use std::sync::Arc;
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use crate::clock::Timestamp;

use super::plan::Seed;
use super::store::{Committed, Lineage, StoreError, Stored, StoredAccess, seeds};
use super::transaction::Context;
use super::{chance, state};

/// What the first look has found.
#[derive(Debug)]
pub(super) struct Opened {
    pub(super) stored: Arc<Stored>,
    /// Why the store could not be read, if what is known of it is used instead.
    pub(super) away: Option<StoreError>,
}

impl From<Arc<Stored>> for Opened {
    fn from(stored: Arc<Stored>) -> Self {
        Self { stored, away: None }
    }
}

/// Reads the store, claims it when nobody owns it, and takes new seed tokens over.
pub(super) async fn open(context: Arc<Context>, stop: CancellationToken) -> Result<Opened, StoreError> {
    context.proof.look(&context.connection, &context.clock).await;
    let store = &context.store;
    if store.unsaved().is_some_and(|unsaved| !counts(&context, &unsaved)) {
        return Ok(store.newest().into());
    }
    // Without the lock first: a reload must not wait for the running refresh of the version before it.
    match store.look().await {
        Ok(()) => {}
        // What this process knows stays in use while the store is away, as it would without a reload.
        Err(error @ (StoreError::Failed { .. } | StoreError::Corrupt(_)))
            if is_known(&context, &store.newest()) =>
        {
            return Ok(Opened { stored: store.newest(), away: Some(error) });
        }
        // Under the lock it will be set aside.
        Err(StoreError::Corrupt(_)) => {}
        Err(error) => return Err(error),
    }
    let newest = store.newest();
    let is_unclaimed = newest.is_empty() && store.is_vacant();
    if !is_unclaimed && !counts(&context, &newest) {
        return Ok(newest.into());
    }
    let stopping = || StoreError::Busy("The connection changed or the agent is stopping.".to_owned());
    let locked = tokio::select! {
        biased;
        () = stop.cancelled() => return Err(stopping()),
        locked = store.lock() => locked,
    };
    let lock = match locked {
        Ok(lock) => Some(lock),
        Err(error @ (StoreError::Failed { .. } | StoreError::Corrupt(_))) => {
            // Reading works and shows nothing newer, so the drop-in's tokens can be served; `commit` keeps them as owed.
            tracing::error!(connection = %context.connection.name, %error, "The token store cannot be written.");
            None
        }
        Err(error) => return Err(error),
    };
    // A newer version of this connection may have been waiting for the same lock with newer tokens; whoever has been
    // replaced must not put its own in their place.
    if stop.is_cancelled() {
        return Err(stopping());
    }
    let in_store = store.read(lock.is_some()).await?;
    let newest = store.newest();
    let next = match &context.plan.seed {
        Some(seed) if counts(&context, &newest) => taken_over(&context, seed, &newest),
        // Claims the store for this connection, so that a second one is refused from now on and not at its first refresh.
        _ if newest.is_empty() && store.is_vacant() => Stored::claim(context.clock.now()),
        _ => return Ok(newest.into()),
    };
    match store.commit(lock.as_ref(), in_store, Arc::new(next)).await {
        Committed::Saved(stored) | Committed::Overtaken(stored) => Ok(stored.into()),
        Committed::Owed(_, error @ (StoreError::Refused(_) | StoreError::Busy(_))) => Err(error),
        Committed::Owed(stored, error) => {
            tracing::error!(connection = %context.connection.name, %error, "The token store cannot be written. The connection works from memory.");
            Ok(stored.into())
        }
    }
}

/// Whether a predecessor has left tokens, and the drop-in has no newer ones.
fn is_known(context: &Context, newest: &Stored) -> bool {
    !newest.is_empty() && !counts(context, newest)
}

/// Whether the drop-in's tokens count: there are some, and they are not the ones the store has already taken over.
fn counts(context: &Context, stored: &Stored) -> bool {
    match &context.plan.seed {
        None => false,
        Some(seed) => !stored.has_taken(&seed.fingerprint),
    }
}

/// The seed in place of whatever was there: its refresh token belongs to another sign-in, perhaps of another person,
/// and must not be mixed with the old tokens.
fn taken_over(context: &Context, seed: &Seed, found: &Stored) -> Stored {
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
    let generation = context.store.next_generation();
    tracing::info!(connection = %context.connection.name, token_generation = generation,
        fingerprint = %access.as_ref().map(|access| access.secret.fingerprint()).unwrap_or_default(),
        "Took over the tokens given in the drop-in.");
    Stored {
        generation,
        access,
        refresh_token: seed.refresh_token.clone(),
        seed: seeds(Some(&seed.fingerprint), found.seed.as_deref()),
        lineage: Lineage::of_seed(&seed.fingerprint, now).taken_after(&found.lineage),
        denied: None,
    }
}

/// When a token found at start is to be refreshed: one that is overdue but still works (for `usable`) waits a moment, so
/// that an agent that was off for a while does not refresh all its connections in the same second. It was perhaps overdue
/// because the answer to its refresh was lost in a crash: then the used refresh token must be sent again soon, because
/// providers stricter than Entra honour it for half a minute or a minute only. `chance`: from 0 to 1.
pub(super) fn spread(due: Timestamp, now: Timestamp, usable: Duration, chance: f64) -> Timestamp {
    const SPREAD: Duration = Duration::from_secs(15);
    if due <= now { now.plus(SPREAD.mul_f64(chance).min(usable)) } else { due }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_overdue_token_waits_a_moment_and_never_longer_than_it_lives() {
        let now = Timestamp::from_seconds(1_700_000_000);
        let (past, future) = (now.minus(Duration::from_secs(1)), now.plus(Duration::from_secs(1)));
        let hour = Duration::from_secs(3600);
        assert_eq!(spread(future, now, hour, 1.0), future);
        assert_eq!(spread(past, now, hour, 0.0), now);
        assert!(
            spread(past, now, hour, 1.0) <= now.plus(Duration::from_secs(20)),
            "well inside a grace of 30 s"
        );
        assert_eq!(spread(past, now, Duration::from_secs(2), 1.0), now.plus(Duration::from_secs(2)));
        assert_eq!(spread(past, now, Duration::ZERO, 1.0), now);
    }
}
