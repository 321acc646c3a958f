//! Where the client gets its access tokens: the connection's [`TokenHandle`]. In unit tests a fixed row of tokens can
//! stand in; that variant does not exist in the shipped program.

use std::sync::Arc;
use std::time::Duration;

use crate::token::{AccessToken, TokenError, TokenGeneration, TokenHandle};

/// The source of access tokens.
#[derive(Debug)]
pub(super) enum Bearer {
    /// The connection's token.
    Handle(Arc<TokenHandle>),
    /// Tokens made by a test.
    #[cfg(test)]
    Made(super::test_support::MadeTokens),
}

impl Bearer {
    /// The valid token; waits for a refresh at most `wait`.
    pub(super) async fn get(&self, wait: Duration) -> Result<Arc<AccessToken>, TokenError> {
        match self {
            Self::Handle(handle) => match handle.current() {
                Some(token) => Ok(token),
                None => handle.get(wait).await,
            },
            #[cfg(test)]
            Self::Made(made) => {
                made.waiting.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
                let _not_held_back = made.hold.read().await;
                made.waiting.fetch_sub(1, std::sync::atomic::Ordering::SeqCst);
                made.get()
            }
        }
    }

    /// The valid token, if there is one now.
    pub(super) fn current(&self) -> Option<Arc<AccessToken>> {
        match self {
            Self::Handle(handle) => handle.current(),
            #[cfg(test)]
            Self::Made(made) => made.get().ok(),
        }
    }

    /// A token newer than `seen`.
    pub(super) async fn renew(
        &self,
        seen: TokenGeneration,
        claims: Option<String>,
        wait: Duration,
    ) -> Result<Arc<AccessToken>, TokenError> {
        match self {
            Self::Handle(handle) => handle.renew(seen, claims, wait).await,
            #[cfg(test)]
            Self::Made(made) => made.renew(seen, claims),
        }
    }
}
