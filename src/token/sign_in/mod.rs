//! Signing a person in without any other tool: by device code (RFC 8628), or in a browser with authorization code and
//! PKCE (RFC 7636, RFC 8252), whose code may also be brought back by hand. Starts nothing unless it is asked to, and
//! what comes out goes into the store the way a refresh does.
//!
//! Flow: `desk` (one sign-in a connection) → `device` or `browser` (with `listener`) drives `stage` → `settle` commits.

mod browser;
mod desk;
mod device;
mod listener;
mod model;
mod protocol;
mod settle;
mod stage;
mod wire;

pub(super) use desk::{Drivers, SignIns};
pub use model::{SignInError, SignInMethod, SignInRequest, SignInView};
pub use protocol::consent_url;
#[cfg(test)]
pub(super) use settle::settle;
