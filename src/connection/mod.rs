//! The connection stage: what the agent may talk to, as types that cannot be wrong. Properties as operators know them
//! → validated, variables replaced → [`Connection`] with a [`Generation`] → the registry. Never does I/O.

mod model;
mod template;
mod variables;

pub use model::*;
pub use template::substitute_json;
