//! The settings stage: `jitterbit.conf` as written → merged with defaults → `Settings`. Never reads a drop-in.

mod host;
mod ini;
mod keys;
mod load;
mod merge;
mod model;
mod read;
mod restart;
#[cfg(test)]
mod tests;

pub use host::{Host, ThisHost};
pub use keys::{KEYS, Key};
pub use load::{DEFAULT_FILE, Loaded, Location, Notice, NoticeLevel, load, locate, parse};
pub use model::*;
