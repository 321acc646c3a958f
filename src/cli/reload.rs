//! `o365-agent reload`: makes the running agent look again and waits for the outcome. systemd's `ExecReload` calls it,
//! so that `systemctl reload` fails when the reload found faults.

use std::path::Path;
use std::process::ExitCode;

use super::client::ask;
use super::{NOT_WELL, UNREACHABLE};
use crate::control::ReloadReport;

/// Prints what changed. 0 when all that was read is in force, 1 when something is not.
pub(super) fn reload(config: Option<&Path>) -> ExitCode {
    let report = match ask(config, http::Method::POST, "/v1/agent/reload") {
        Ok(report) => report,
        Err(reason) => return reason.exit(),
    };
    let Ok(report) = serde_json::from_value::<ReloadReport>(report) else {
        eprintln!("o365-agent: The agent's answer cannot be read. Is it another version?");
        return ExitCode::from(UNREACHABLE);
    };
    println!(
        "{} connections in force; {} added, {} changed, {} removed.",
        report.connections,
        report.added.len(),
        report.changed.len(),
        report.removed.len()
    );
    for key in &report.restart_needed {
        println!("{key} has changed and takes effect after a restart.");
    }
    for notice in &report.notices {
        println!("{notice}");
    }
    for fault in &report.faults {
        eprintln!("{fault}");
    }
    if report.ok { ExitCode::SUCCESS } else { ExitCode::from(NOT_WELL) }
}
