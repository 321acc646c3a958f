//! The `o365-agent` binary: hands the command line to the library and returns its exit code. Decides nothing.

use std::process::ExitCode;

fn main() -> ExitCode {
    o365_agent::cli::main(std::env::args_os())
}
