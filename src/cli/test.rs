//! `o365-agent test NAME`: asks the running agent to test one connection, and prints its steps.

use std::path::Path;
use std::process::ExitCode;

use super::NOT_WELL;
use super::client::{ask, painted, segment};

/// Prints the steps. 0 when all are well, 1 when one is not, 69 when the agent cannot be reached.
pub(super) fn test(config: Option<&Path>, name: &str, as_json: bool) -> ExitCode {
    let report = match ask(config, http::Method::POST, &format!("/v1/connections/{}/test", segment(name))) {
        Ok(report) => report,
        Err(reason) => return reason.exit(),
    };
    let ok = report["ok"].as_bool() == Some(true);
    if as_json {
        println!("{report}");
    } else {
        for step in report["steps"].as_array().into_iter().flatten() {
            let (mark, well) = match step["ok"].as_bool() {
                Some(true) => ("ok     ", Some(true)),
                Some(false) => ("FAILED ", Some(false)),
                None => ("-      ", None),
            };
            let (name, message) =
                (step["step"].as_str().unwrap_or_default(), step["message"].as_str().unwrap_or_default());
            let milliseconds = step["milliseconds"].as_u64().unwrap_or_default();
            println!("{} {name:<14} {milliseconds:>6} ms  {message}", painted(mark, well));
        }
        println!("{}", if ok { "The connection works." } else { "The connection does not work." });
    }
    if ok { ExitCode::SUCCESS } else { ExitCode::from(NOT_WELL) }
}
