//! `o365-agent run`: reads the settings, starts logging and the runtime, and hands over to the life cycle.

use std::path::Path;
use std::process::ExitCode;

use super::{BAD_SETTINGS, FAILED, environment};
use crate::agent;
use crate::files;
use crate::settings::{self, ThisHost};
use crate::telemetry::start_logging;

/// Runs until a stop signal. 0 after an orderly end, 64 when the settings cannot be used, 70 when the start failed.
pub(super) fn run(config: Option<&Path>) -> ExitCode {
    files::make_new_files_private();
    crate::secret::forbid_core_dumps();
    let location = settings::locate(config, &environment);
    let loaded = match settings::load(&location, &ThisHost::new()) {
        Ok(loaded) => loaded,
        Err(faults) => {
            for fault in faults {
                eprintln!("{fault}");
            }
            return ExitCode::from(BAD_SETTINGS);
        }
    };
    let log = match start_logging(&loaded.settings.logging, environment("JOURNAL_STREAM").as_deref()) {
        Ok(log) => log,
        Err(message) => {
            eprintln!("o365-agent: {message}");
            return ExitCode::from(BAD_SETTINGS);
        }
    };
    log_panics();
    let runtime =
        match tokio::runtime::Builder::new_multi_thread().enable_all().thread_name("o365-agent").build() {
            Ok(runtime) => runtime,
            Err(error) => {
                tracing::error!(%error, "The runtime could not be started.");
                return ExitCode::from(FAILED);
            }
        };
    let ended = runtime.block_on(Box::pin(agent::run(location, loaded, log)));
    // Blocking file work that still runs is not waited for: everything that had to be durable was awaited above.
    runtime.shutdown_background();
    match ended {
        Ok(()) => ExitCode::SUCCESS,
        Err(message) => {
            tracing::error!(reason = message, "The agent could not start.");
            eprintln!("o365-agent: {message}");
            ExitCode::from(FAILED)
        }
    }
}

/// A panic becomes a log record with its place but without its payload, which could hold anything.
fn log_panics() {
    std::panic::set_hook(Box::new(|panic| {
        let place = panic.location().map(ToString::to_string).unwrap_or_default();
        tracing::error!(place, "Internal error: a task panicked. Report it with this place.");
    }));
}
