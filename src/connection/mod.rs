//! The connection stage: what the agent may talk to, as types that cannot be wrong. Properties as operators know them
//! → validated, variables replaced → [`Connection`] with a [`Generation`] → the registry. Never does I/O.

mod model;

pub use model::*;
