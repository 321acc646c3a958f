//! The token stage: the right to talk. Grants, the token state machine, stores, and the keeper that refreshes in the
//! background. Never calls Graph, and never knows an activity.
//!
//! Flow: `plan` says what a configuration allows → `task` (one a connection, owned by `keeper`) drives `state` →
//! `transaction` renews through `store` and `endpoint`, whose answers `answer` judges with `advice` → `handle` hands out. A person's first token comes by `sign_in`.

mod advice;
mod answer;
mod assertion;
pub mod certificate;
mod claims;
mod endpoint;
mod fixed;
mod forecast;
mod forewarn;
mod handle;
mod keeper;
mod managed_identity;
mod model;
mod opening;
mod places;
mod plan;
mod proof;
mod publish;
mod settling;
mod sign_in;
mod state;
mod store;
mod succession;
mod task;
mod transaction;
pub mod transport;
mod turn;
mod wants;
mod watching;

#[cfg(test)]
mod flow_tests;
#[cfg(test)]
mod herd_tests;
#[cfg(test)]
mod model_acts_tests;
#[cfg(test)]
mod model_tests;
#[cfg(test)]
mod model_world_tests;
#[cfg(test)]
mod moody_tests;
#[cfg(test)]
mod redaction_tests;
#[cfg(test)]
mod store_flow_tests;
#[cfg(test)]
mod testing;
#[cfg(test)]
mod trouble_tests;

pub use claims::{TokenClaims, read_claims};
pub use forecast::{Credential, CredentialForecast};
pub use handle::TokenHandle;
pub use keeper::Keeper;
pub use model::*;
pub use sign_in::{SignInError, SignInMethod, SignInRequest, SignInView, consent_url};
pub use store::{Listed, Offline, StoreReport};
pub use transport::{HttpClients, Transports};

/// A number from 0 to 1 for jitter. From the operating system's generator, because two agents that start together
/// must not draw the same numbers.
fn chance() -> f64 {
    let bytes = crate::secret::random_bytes(4);
    let number = bytes.iter().fold(0u32, |number, byte| (number << 8) | u32::from(*byte));
    f64::from(number) / f64::from(u32::MAX)
}
