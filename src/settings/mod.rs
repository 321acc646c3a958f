//! The settings stage: `jitterbit.conf` as written → merged with defaults → [`Settings`]. Never reads a drop-in.

mod model;

pub use model::*;
