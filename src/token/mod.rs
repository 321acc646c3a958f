//! The token stage: the right to talk. Grants, the token state machine, stores, and the keeper that refreshes in the
//! background. Never calls Graph, and never knows an activity.

mod handle;
mod model;
pub mod transport;

pub use handle::TokenHandle;
pub use model::*;
