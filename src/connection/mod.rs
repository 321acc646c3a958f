//! The connection stage: what the agent may talk to, as types that cannot be wrong. Properties as operators know them
//! → validated, variables replaced → `Connection` with a `Generation` → the registry. Never does I/O.

mod activities;
mod auth;
mod callback;
mod certificate;
mod check;
mod digest;
pub(crate) mod endpoints;
mod load;
mod model;
pub mod properties;
mod proxy;
mod registry;
mod scope;
mod server_trust;
mod store;
mod system_proxy;
mod template;
#[cfg(test)]
mod tests;
mod values;
mod variables;

pub use crate::settings::ProxyKind;
pub use callback::{Callback, Loopback, SignInSettings};
pub use certificate::{AssertionAlgorithm, CertificateKind, CertificateSource, ClientCertificate};
pub use model::*;
pub use registry::{Changes, Registry, check_directory};
pub use server_trust::ServerTrust;
pub use template::substitute_json;
