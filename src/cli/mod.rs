//! The command line: one file per subcommand, and the only stage that prints. Never does a stage's work itself.
//!
//! Exit codes: 0 done; 1 done, and the answer is "not well" (a test failed, a connection is down, a file has faults);
//! 2 the command line cannot be understood; 64 the settings cannot be used; 69 the agent cannot be reached;
//! 70 the agent could not go on.
#![expect(clippy::print_stdout, clippy::print_stderr, reason = "this is the stage that prints")]

mod check;
mod client;
mod reload;
mod run;
mod schema;
mod sign_in;
mod status;
mod test;
mod tokens;

use std::ffi::OsString;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// The answer is "not well".
pub(crate) const NOT_WELL: u8 = 1;
/// The command line cannot be understood.
pub(crate) const USAGE: u8 = 2;
/// The settings cannot be used (`EX_USAGE`); systemd does not start the agent again after it.
pub(crate) const BAD_SETTINGS: u8 = 64;
/// The agent cannot be reached (`EX_UNAVAILABLE`).
pub(crate) const UNREACHABLE: u8 = 69;
/// The agent could not go on (`EX_SOFTWARE`).
pub(crate) const FAILED: u8 = 70;

/// Private agent for Microsoft Office 365 connections: keeps their tokens alive and runs their activities.
#[derive(Debug, Parser)]
#[command(name = "o365-agent", version, about, max_term_width = 100)]
#[command(
    after_help = "Exit codes: 0 well; 1 not well; 2 wrong command line; 64 settings cannot be used; 69 agent not reachable; 70 agent could not go on."
)]
struct CommandLine {
    /// The settings file [default: $JITTERBIT_HOME/jitterbit.conf, else /etc/o365-agent/jitterbit.conf].
    #[arg(long, global = true, value_name = "FILE")]
    config: Option<PathBuf>,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run the agent in the foreground; systemd does this.
    Run,
    /// Check the settings and all drop-ins without starting anything; run it before saving.
    Check {
        /// The folder of drop-ins to check instead of the one in the settings.
        #[arg(long, value_name = "FOLDER")]
        drop_ins: Option<PathBuf>,
    },
    /// Show the running agent's connections and how their tokens stand.
    Status {
        /// Print the agent's JSON answer.
        #[arg(long)]
        json: bool,
    },
    /// Test one connection of the running agent, step by step.
    Test {
        /// The connection's name.
        name: String,
        /// Print the agent's JSON answer.
        #[arg(long)]
        json: bool,
    },
    /// Sign a person in to one connection of the running agent: by a code typed in on any device, or in a browser.
    SignIn {
        /// The connection's name.
        name: String,
        /// Sign in with a browser instead of a code.
        #[arg(long, conflicts_with_all = ["code", "cancel"])]
        browser: bool,
        /// Bring back the code (or the whole address) that the browser ended at; `-` reads it from standard input.
        #[arg(long, value_name = "CODE", conflicts_with = "cancel")]
        code: Option<String>,
        /// Cancel the pending sign-in.
        #[arg(long)]
        cancel: bool,
    },
    /// Make the running agent read settings and drop-ins again, and say what changed.
    Reload,
    /// Refresh or show what the running agent knows of Microsoft Graph's types.
    Schema {
        #[command(subcommand)]
        command: schema::Schema,
    },
    /// Look after the token stores without the agent.
    Tokens {
        #[command(subcommand)]
        command: tokens::Tokens,
    },
    /// Print the version.
    Version,
}

/// Parses `arguments` (the first is the program's name), carries the command out, and returns the exit code.
pub fn main(arguments: impl IntoIterator<Item = OsString>) -> ExitCode {
    let line = match CommandLine::try_parse_from(arguments) {
        Ok(line) => line,
        Err(message) => {
            let _nobody_to_tell = message.print();
            return ExitCode::from(if message.use_stderr() { USAGE } else { 0 });
        }
    };
    let config = line.config.as_deref();
    match line.command {
        Command::Run => run::run(config),
        Command::Check { drop_ins } => check::check(config, drop_ins.as_deref()),
        Command::Status { json } => status::status(config, json),
        Command::Test { name, json } => test::test(config, &name, json),
        Command::SignIn { name, browser, code, cancel } => {
            sign_in::sign_in(config, &name, sign_in::wish(browser, code, cancel))
        }
        Command::Reload => reload::reload(config),
        Command::Schema { command } => schema::schema(config, &command),
        Command::Tokens { command } => tokens::tokens(config, &command),
        Command::Version => {
            println!("o365-agent {}", env!("CARGO_PKG_VERSION"));
            ExitCode::SUCCESS
        }
    }
}

/// Reads one environment variable.
pub(crate) fn environment(name: &str) -> Option<String> {
    std::env::var(name).ok()
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    #[test]
    fn the_command_line_is_consistent() {
        super::CommandLine::command().debug_assert();
    }
}
