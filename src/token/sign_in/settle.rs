//! From new tokens to a signed-in connection: store lock → re-read → durable commit → only then is the token known to
//! anyone, as in a refresh. A store that cannot take them now gets them later. Never keeps the refresh token of an earlier
//! sign-in, which may be another person's.

use std::sync::Arc;
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use crate::clock::Timestamp;
use crate::token::answer::NewTokens;
use crate::token::claims::read_claims;
use crate::token::handle::{Blocked, Shared, View};
use crate::token::model::{TokenError, TokenFailure, TokenGeneration};
use crate::token::store::{Committed, Lineage, StoreError, StoreLock, Stored, StoredAccess, seeds};
use crate::token::transaction::{Context, Settled};

use super::stage::SignedIn;

/// How often a store that is busy, or that moved on meanwhile, is tried: these tokens cost a person's time.
const ATTEMPTS: u32 = 3;
/// How long the connection's task may take to use what was committed, before the sign-in is called done anyway.
const PUBLISHED_WITHIN: Duration = Duration::from_secs(5);

/// Commits `tokens`, which were asked for at `asked_at`. After a `stop` it waits for no lock: the tokens are kept at once, and
/// the keeper's drain saves them or says that they are lost.
pub(in crate::token) async fn settle(
    context: Arc<Context>,
    shared: Arc<Shared>,
    tokens: NewTokens,
    asked_at: Timestamp,
    stop: CancellationToken,
) -> Result<SignedIn, TokenFailure> {
    let mut attempt = 0;
    let (before, next) = loop {
        attempt += 1;
        match commit(&context, &tokens, asked_at, &stop).await {
            Ok(committed) => break committed,
            // Somebody else has signed in meanwhile; this person was later.
            Err(StoreError::Superseded { .. }) if attempt < ATTEMPTS => {}
            Err(error) => return Err(failure(&context, &error)),
        }
    };
    let account = |stored: &Stored| stored.access.as_ref().and_then(account_of);
    let (account, previous) = (account(&next), account(&before));
    let signed_in = SignedIn {
        previous_account: previous.filter(|previous| Some(previous) != account.as_ref()),
        account,
        renewable: next.refresh_token.is_some(),
    };
    tracing::info!(connection = %context.connection.name, token_generation = next.generation,
        account = signed_in.account, previous_account = signed_in.previous_account, renewable = signed_in.renewable,
        "A person has signed the connection in.");
    let mut view = shared.view.subscribe();
    // A task that a reload has replaced says no more; its successor finds the token in the store.
    let replaced = |view: &View| matches!(view.blocked, Some(Blocked::For(TokenError::Superseded)));
    let published = view.wait_for(|view| view.status.token_generation >= next.generation || replaced(view));
    let _whoever_reads_the_status_sees_it_soon = tokio::time::timeout(PUBLISHED_WITHIN, published).await;
    Ok(signed_in)
}

/// What was in force before, and the new tokens.
async fn commit(
    context: &Context,
    tokens: &NewTokens,
    asked_at: Timestamp,
    stop: &CancellationToken,
) -> Result<(Arc<Stored>, Arc<Stored>), StoreError> {
    let store = &context.store;
    let mut trouble = None;
    let locked = tokio::select! {
        biased;
        locked = lock_and_read(context) => locked,
        () = stop.cancelled() => Err(StoreError::Busy("The agent is stopping.".to_owned())),
    };
    let (lock, in_store) = match locked {
        Ok((lock, in_store)) => (Some(lock), in_store),
        Err(error @ StoreError::Refused(_)) => return Err(error),
        // These tokens cost a person's time, and the code that brought them is spent.
        Err(error) => {
            trouble = Some(error);
            (None, 0)
        }
    };
    let before = store.newest();
    // What stands in the drop-in is older than this sign-in, also where the store was never read.
    let pasted = context.plan.fingerprints();
    let bare = Stored {
        refresh_token: None,
        denied: None,
        seed: seeds(pasted.as_deref(), before.seed.as_deref()),
        lineage: Lineage::begin(context.clock.now()).after(&before.lineage),
        ..(*before).clone()
    };
    let next = Arc::new(context.next(&bare, store.next_generation(), tokens.clone(), asked_at));
    let committed = match trouble {
        Some(error) => store.keep(&next, error),
        None => store.commit(lock.as_ref(), in_store, next).await,
    };
    match committed {
        Committed::Saved(next) => Ok((before, next)),
        Committed::Owed(next, error) => {
            tracing::error!(connection = %context.connection.name, %error, "The sign-in could not be saved. It is used from memory, and saving is tried again.");
            Ok((before, next))
        }
        Committed::Overtaken(_) => Err(StoreError::Superseded { found: store.newest().generation }),
    }
}

/// The store's lock, waiting some time for a store that is busy, and the number of what is there.
async fn lock_and_read(context: &Context) -> Result<(StoreLock, TokenGeneration), StoreError> {
    let mut attempt = 0;
    let lock = loop {
        attempt += 1;
        match context.store.lock().await {
            Ok(lock) => break lock,
            Err(StoreError::Busy(_)) if attempt < ATTEMPTS => {}
            Err(error) => return Err(error),
        }
    };
    let in_store = context.store.read(true).await?;
    Ok((lock, in_store))
}

fn failure(context: &Context, error: &StoreError) -> TokenFailure {
    match context.store_trouble(error) {
        Settled::Refused(failure) | Settled::TryLater { failure, .. } => failure,
        _ => context.failure("store_failed", &error.to_string()),
    }
}

/// A hint, as all that a token says about itself.
fn account_of(access: &StoredAccess) -> Option<String> {
    read_claims(access.secret.expose())?.account
}
