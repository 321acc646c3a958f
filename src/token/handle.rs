//! One connection's token as its users see it: a snapshot read without lock or I/O, and a refresh that many callers share.

use std::sync::Arc;
use std::time::Duration;

use super::model::{AccessToken, TokenError, TokenGeneration, TokenStatus};

/// One connection's token. Cheap to share.
#[derive(Debug)]
pub struct TokenHandle {}

impl TokenHandle {
    /// The valid access token, if there is one now. Takes no lock and does no I/O.
    pub fn current(&self) -> Option<Arc<AccessToken>> {
        None
    }

    /// The valid access token, waiting for a refresh for at most `wait` if there is none.
    ///
    /// # Errors
    /// [`TokenError`], also [`TokenError::TryLater`] when `wait` is over. Giving up does not stop the refresh.
    pub async fn get(&self, _wait: Duration) -> Result<Arc<AccessToken>, TokenError> {
        Err(TokenError::Superseded)
    }

    /// A token newer than `seen`, which Graph has refused with 401; makes at most one token request for all callers
    /// that saw the same token. `claims`: the decoded claims challenge (JSON text) to hand to the token endpoint.
    ///
    /// # Errors
    /// As [`TokenHandle::get`].
    pub async fn renew(
        &self,
        _seen: TokenGeneration,
        _claims: Option<String>,
        _wait: Duration,
    ) -> Result<Arc<AccessToken>, TokenError> {
        Err(TokenError::Superseded)
    }

    /// What can be told without telling a token.
    pub fn status(&self) -> TokenStatus {
        unreachable!("replaced by the token stage")
    }
}
