//! The objects as data, a file for each service they live in. Holds no logic.

mod directory;
mod outlook;

use super::definition::Definition;

/// All objects, in the order they are listed in.
pub(super) fn definitions() -> impl Iterator<Item = &'static Definition> {
    const FAMILIES: [&[Definition]; 2] = [&outlook::OUTLOOK, &directory::DIRECTORY];
    FAMILIES.into_iter().flatten()
}
