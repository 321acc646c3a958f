//! The first look at a connection's store: what is there, whether it is ours, and whether the drop-in's tokens are newer
//! than those already taken over. Sends nothing.

use std::sync::Arc;
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use crate::clock::Timestamp;

use super::plan::Seed;
use super::store::{StoreError, Stored, StoredAccess};
use super::transaction::Context;
use super::{chance, state};

/// Fingerprints of taken-over seeds stand in the store newest first, with this between them (older stores hold one).
const SEED_SEPARATOR: &str = " ";
/// How many are remembered.
const REMEMBERED_SEEDS: usize = 8;

/// Reads the store, claims it when nobody owns it, and takes new seed tokens over.
pub(super) async fn open(context: Arc<Context>, stop: CancellationToken) -> Result<Arc<Stored>, StoreError> {
    context.proof.look(&context.connection, &context.clock).await;
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
    let stopping = || StoreError::Busy("The connection changed or the agent is stopping.".to_owned());
    let locked = tokio::select! {
        biased;
        () = stop.cancelled() => return Err(stopping()),
        locked = context.store.lock() => locked,
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
        Some(seed) => {
            let taken = stored.and_then(|stored| stored.seed.as_deref()).unwrap_or_default();
            !taken.split(SEED_SEPARATOR).any(|known| known == seed.fingerprint)
        }
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
    let generation = found.as_ref().map_or(0, |found| found.generation) + 1;
    let earlier = found.and_then(|found| found.seed);
    tracing::info!(connection = %context.connection.name, token_generation = generation,
        fingerprint = %access.as_ref().map(|access| access.secret.fingerprint()).unwrap_or_default(),
        "Took over the tokens given in the drop-in.");
    Stored {
        generation,
        access,
        refresh_token: seed.refresh_token.clone(),
        seed: Some(with_earlier(&seed.fingerprint, earlier.as_deref())),
        denied: None,
    }
}

/// The new seed's fingerprint before those of the seeds it replaces. Older ones are remembered because the drop-in of a
/// sibling on the same store may lag behind: its restart would bring back a sign-in that has been replaced.
fn with_earlier(newest: &str, earlier: Option<&str>) -> String {
    let earlier = earlier.iter().flat_map(|earlier| earlier.split(SEED_SEPARATOR)).take(REMEMBERED_SEEDS - 1);
    std::iter::once(newest).chain(earlier).collect::<Vec<_>>().join(SEED_SEPARATOR)
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
