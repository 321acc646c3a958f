//! Runs a sandbox tenant until it is stopped, and prints what a client must know to use it.
//! Never listens on anything but 127.0.0.1.
// A test double: its output is for the person who started it.
#![allow(clippy::disallowed_methods)]

use o365_sandbox::{Rotation, Sandbox, SandboxOptions};
use std::process::ExitCode;

const USAGE: &str = "o365-sandbox [--login-port N] [--graph-port N] [--messages N] [--users N] [--strict]

Runs a simulated Microsoft 365 tenant on 127.0.0.1. Ports are free ones unless given.
Controls are at LOGIN_URL/admin/: GET facts, stats, requests, faults; POST faults, tokens, revoke, settings.";

fn main() -> ExitCode {
    let options = match options(std::env::args().skip(1)) {
        Ok(options) => options,
        Err(problem) => {
            eprintln!("{problem}\n\n{USAGE}");
            return ExitCode::from(64);
        }
    };
    match Sandbox::try_start(options) {
        Ok(sandbox) => {
            println!("{:#}", sandbox.facts());
            loop {
                std::thread::park();
            }
        }
        Err(problem) => {
            eprintln!("The sandbox cannot listen: {problem}");
            ExitCode::FAILURE
        }
    }
}

fn options(mut arguments: impl Iterator<Item = String>) -> Result<SandboxOptions, String> {
    let mut options = SandboxOptions::default();
    while let Some(name) = arguments.next() {
        if name == "--strict" {
            options.rotation = Rotation::Strict;
            continue;
        }
        let value = arguments.next().ok_or_else(|| format!("{name} needs a value."))?;
        let wrong = |_| format!("{name} needs a number, not '{value}'.");
        match name.as_str() {
            "--login-port" => options.login_port = value.parse().map_err(wrong)?,
            "--graph-port" => options.graph_port = value.parse().map_err(wrong)?,
            "--messages" => options.messages_per_mailbox = value.parse().map_err(wrong)?,
            "--users" => options.users = value.parse().map_err(wrong)?,
            _ => return Err(format!("{name} is not an option.")),
        }
    }
    Ok(options)
}
