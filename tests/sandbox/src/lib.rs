//! A simulated Microsoft 365 tenant: an Entra token endpoint and Microsoft Graph v1.0 on loopback ports.
//! It is written from the service's documents, shares no code with the agent and never bends a rule for a client.
//!
//! ```
//! let sandbox = o365_sandbox::Sandbox::start(o365_sandbox::SandboxOptions::default());
//! let tokens = sandbox.issue_delegated_tokens(&sandbox.first_user().upn);
//! assert_eq!(tokens.expires_in, 3600);
//! ```
// The bans are for the product; this is a test double, whose clock is the machine's and whose binary prints.
#![allow(clippy::disallowed_methods)]
#![forbid(unsafe_code)]
#![warn(missing_docs, unreachable_pub)]

mod admin;
mod answer;
mod content;
mod controls;
mod data;
mod entra;
mod faults;
mod graph;
mod handle;
mod http;
mod login;
mod options;
mod random;
mod snapshot;
mod state;
mod throttle;
mod time;
mod tls;

pub use controls::IssuedTokens;
pub use entra::identity::IDENTITY_HEADER;
pub use faults::{Fault, FaultAction, FaultTarget};
pub use handle::{Sandbox, SandboxUser};
pub use options::{
    APPLICATION_ROLES, CONFIDENTIAL_CLIENT_ID, CONFIDENTIAL_CLIENT_SECRET, DEFAULT_TENANT_DOMAIN,
    DEFAULT_TENANT_ID, DELEGATED_SCOPES, EXPIRED_CLIENT_SECRET, PUBLIC_CLIENT_ID, REDIRECT_URIS, Rotation,
    SandboxOptions,
};
pub use snapshot::Checkpoint;
pub use state::{RecordedRequest, Stats};
pub use throttle::{LoggedRequest, RateLimit};
pub use tls::{TlsFiles, TlsFront};
