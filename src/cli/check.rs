//! `o365-agent check`: settings and drop-ins as they would be loaded, and the certificates they name, with every fault,
//! without starting anything or asking any server.

use std::path::Path;
use std::process::ExitCode;

use super::{BAD_SETTINGS, NOT_WELL, environment};
use crate::clock::Clock;
use crate::loader;
use crate::settings::{self, Settings, ThisHost};
use crate::token::certificate;

/// Prints what would be in force and every fault. 0 when there is none, 1 when a drop-in has one, 64 when the settings
/// cannot be used.
pub(super) fn check(config: Option<&Path>, drop_ins: Option<&Path>) -> ExitCode {
    let location = settings::locate(config, &environment);
    let loaded = match settings::load(&location, &ThisHost::new()) {
        Ok(loaded) => loaded,
        Err(faults) => {
            for fault in &faults {
                println!("{fault}");
            }
            println!("The settings cannot be used: {} to mend.", counted(faults.len(), "fault"));
            return ExitCode::from(BAD_SETTINGS);
        }
    };
    for notice in &loaded.notices {
        println!("{}", notice.text);
    }
    let mut settings = loaded.settings;
    if let Some(folder) = drop_ins {
        settings.drop_in_directory = folder.to_owned();
    }
    let set = loader::preview(&settings);
    // After the faults of shape, because a connection that has one is not in the set.
    let credentials = certificate::faults(&set, Clock::machine().now());
    for fault in set.faults.iter().chain(&credentials) {
        println!("{fault}");
    }
    let connections = set.connections.len() - credentials.len();
    let faults = set.faults.len() + credentials.len();
    println!(
        "{}: {} in {}, {}.",
        settings.drop_in_directory.display(),
        counted(connections, "usable connection"),
        counted(set.files.len(), "file"),
        if faults == 0 { "no fault".to_owned() } else { counted(faults, "fault") }
    );
    if faults == 0 { ExitCode::SUCCESS } else { ExitCode::from(NOT_WELL) }
}

/// The settings for a command that talks to the running agent.
pub(super) fn settings(config: Option<&Path>) -> Result<Settings, String> {
    let location = settings::locate(config, &environment);
    settings::load(&location, &ThisHost::new())
        .map(|loaded| loaded.settings)
        .map_err(|faults| faults.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n"))
}

fn counted(count: usize, what: &str) -> String {
    format!("{count} {what}{}", if count == 1 { "" } else { "s" })
}
