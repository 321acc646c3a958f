//! The objects as data, a file for each service they live in. Holds no logic.

mod bookings;
mod directory;
mod drive_and_planner;
mod outlook;

use super::definition::Definition;

/// All objects, in the order they are listed in.
pub(super) fn definitions() -> impl Iterator<Item = &'static Definition> {
    const FAMILIES: [&[Definition]; 4] = [
        &outlook::OUTLOOK,
        &directory::DIRECTORY,
        &drive_and_planner::DRIVE_AND_PLANNER,
        &bookings::BOOKINGS,
    ];
    FAMILIES.into_iter().flatten()
}
