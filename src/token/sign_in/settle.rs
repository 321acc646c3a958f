//! From new tokens to a signed-in connection: store lock → re-read → durable commit → only then is the token known to
//! anyone, as in a refresh. Never keeps the refresh token of an earlier sign-in, which may be another person's.

use std::sync::Arc;
use std::time::Duration;

use crate::clock::Timestamp;
use crate::token::answer::NewTokens;
use crate::token::claims::read_claims;
use crate::token::handle::{Blocked, Shared, View};
use crate::token::model::{TokenError, TokenFailure};
use crate::token::store::{StoreError, Stored, StoredAccess};
use crate::token::transaction::{Context, Settled};

use super::stage::SignedIn;

/// How often a store that is busy, or that moved on meanwhile, is tried: these tokens cost a person's time.
const ATTEMPTS: u32 = 3;
/// How long the connection's task may take to use what was committed, before the sign-in is called done anyway.
const PUBLISHED_WITHIN: Duration = Duration::from_secs(5);

/// Commits `tokens`, which were asked for at `asked_at`.
pub(super) async fn settle(
    context: Arc<Context>,
    shared: Arc<Shared>,
    tokens: NewTokens,
    asked_at: Timestamp,
) -> Result<SignedIn, TokenFailure> {
    let mut attempt = 0;
    let (before, next) = loop {
        attempt += 1;
        match commit(&context, &tokens, asked_at).await {
            Ok(committed) => break committed,
            Err(StoreError::Superseded { .. } | StoreError::Busy(_)) if attempt < ATTEMPTS => {}
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

async fn commit(
    context: &Context,
    tokens: &NewTokens,
    asked_at: Timestamp,
) -> Result<(Stored, Arc<Stored>), StoreError> {
    let lock = match context.store.lock().await {
        Ok(lock) => Some(lock),
        // Nobody can write, so nobody can be overtaken; from memory the connection works until the disk is repaired.
        Err(StoreError::Failed { nobody_can_write: true, .. }) => None,
        Err(error) => return Err(error),
    };
    let found = context.store.load(lock.is_some()).await?.unwrap_or_default();
    let on_disk = found.generation;
    let before = match context.store.unsaved() {
        Some(unsaved) if unsaved.generation > on_disk => (*unsaved).clone(),
        _ => found,
    };
    let bare = Stored { refresh_token: None, denied: None, ..before.clone() };
    let next = Arc::new(context.next(&bare, on_disk, tokens.clone(), asked_at));
    match context.store.commit(lock.as_ref(), on_disk, &next).await {
        Ok(()) => {}
        Err(error @ StoreError::Superseded { .. }) => return Err(error),
        Err(error) => {
            tracing::error!(connection = %context.connection.name, %error, "The sign-in could not be saved. It is used from memory, and saving is tried again.");
            context.store.announce();
        }
    }
    Ok((before, next))
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
