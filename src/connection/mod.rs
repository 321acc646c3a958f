//! The connection stage: what the agent may talk to, as types that cannot be wrong. Properties as operators know them
//! → validated, variables replaced → `Connection` with a `Generation` → the registry. Never does I/O.

mod activities;
mod auth;
mod callback;
mod check;
mod digest;
mod endpoints;
mod load;
mod model;
pub mod properties;
mod proxy;
mod registry;
mod store;
mod template;
#[cfg(test)]
mod tests;
mod values;
mod variables;

pub use callback::{Callback, Loopback, SignInSettings};
pub use model::*;
pub use registry::{Changes, Registry, check_directory};
pub use template::substitute_json;
