//! `o365-agent tokens …`: the stores as they are, without the agent. Prints no secret unless a flag says so, and writes
//! one only into a file that nobody else may read.

use std::net::{SocketAddr, TcpStream};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use clap::{Subcommand, ValueEnum};

use super::{BAD_SETTINGS, FAILED, NOT_WELL};
use crate::clock::Clock;
use crate::connection::Connection;
use crate::files;
use crate::loader;
use crate::settings::{Backend, Settings};
use crate::token::Offline;

/// An export holds at most some kilobytes per connection.
const LARGEST_IMPORT: u64 = 64 * 1024 * 1024;

#[derive(Debug, Subcommand)]
pub(super) enum Tokens {
    /// Show every connection's store: place, generation, expiry; never a secret.
    List {
        /// Print JSON.
        #[arg(long)]
        json: bool,
    },
    /// Write the stores of one or all connections as JSON.
    Export {
        /// The connection's name.
        #[arg(required_unless_present = "all", conflicts_with = "all")]
        name: Option<String>,
        /// All connections.
        #[arg(long)]
        all: bool,
        /// Write the tokens themselves as well. Whoever reads them can act as these connections.
        #[arg(long)]
        with_secrets: bool,
        /// The file to write, with mode 0600, instead of the standard output.
        #[arg(long, value_name = "FILE")]
        to: Option<PathBuf>,
    },
    /// Put exported tokens into the configured stores.
    Import {
        /// A file made by `tokens export --with-secrets`.
        file: PathBuf,
    },
    /// Move the tokens of all connections between the agent's files and the group's database.
    Move {
        /// Where to.
        #[arg(long)]
        to: Place,
    },
    /// Encrypt all token files, or all rows of the agents' group, with a new key.
    Rekey {
        /// The file that holds the new key, or is to hold it [default: the key's own name and .new; made when missing,
        /// but not for a group, whose agents all need it first].
        #[arg(long, value_name = "FILE")]
        new_key: Option<PathBuf>,
    },
}

#[derive(Clone, Copy, Debug, ValueEnum)]
pub(super) enum Place {
    File,
    Postgresql,
}

/// 0 done; 1 something is not well or was refused; 64 the settings cannot be used; 70 no runtime.
pub(super) fn tokens(config: Option<&Path>, command: &Tokens) -> ExitCode {
    files::make_new_files_private();
    let settings = match super::check::settings(config) {
        Ok(settings) => settings,
        Err(message) => {
            eprintln!("o365-agent: {message}");
            return ExitCode::from(BAD_SETTINGS);
        }
    };
    let Ok(runtime) = tokio::runtime::Builder::new_current_thread().enable_all().build() else {
        return ExitCode::from(FAILED);
    };
    match runtime.block_on(run(settings, command)) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::from(NOT_WELL),
        Err(message) => {
            eprintln!("o365-agent: {message}");
            ExitCode::from(NOT_WELL)
        }
    }
}

async fn run(settings: Settings, command: &Tokens) -> Result<bool, String> {
    check_user(&settings)?;
    let running = is_running(&settings);
    let set = loader::preview(&settings);
    let broken = set.faults.len();
    let mut connections: Vec<Arc<Connection>> = set.connections.into_values().collect();
    if let Tokens::Export { name: Some(name), .. } = command {
        connections.retain(|connection| connection.name.as_str() == name);
        if connections.is_empty() {
            return Err(format!("There is no usable connection '{name}'. See `o365-agent check`."));
        }
    }
    if broken > 0 {
        eprintln!(
            "o365-agent: {broken} faults in the drop-ins; their connections are left out. See `o365-agent check`."
        );
    }
    let in_files = settings.token_store.backend == Backend::File;
    let offline = Offline::new(settings, connections, Clock::machine());
    match command {
        Tokens::List { json } => list(&offline, *json).await,
        Tokens::Export { with_secrets, to, .. } => {
            let text = offline.export(*with_secrets).await?;
            match to {
                Some(path) => {
                    files::write_private(path, format!("{text}\n").as_bytes())
                        .map_err(|error| error.to_string())?;
                }
                None => println!("{text}"),
            }
            Ok(true)
        }
        Tokens::Import { file } => {
            if running {
                eprintln!("o365-agent: The agent runs; it takes the imported tokens over within 37 s.");
            }
            let text = files::read_private(file, LARGEST_IMPORT).map_err(|error| error.to_string())?;
            told(offline.import(&text).await.map_err(|why| format!("{}: {why}", file.display()))?)
        }
        Tokens::Move { to } => {
            refuse_beside(running, "it would go on refreshing at the old place")?;
            let (backend, word) = match to {
                Place::File => (Backend::File, "file"),
                Place::Postgresql => (Backend::Postgresql, "postgresql"),
            };
            told(offline.move_to(backend).await?)?;
            println!("Now set [TokenStore] Backend={word} and start the agent.");
            Ok(true)
        }
        Tokens::Rekey { new_key } => {
            // The rows of a group are changed one by one under their leases, and its agents read both keys meanwhile.
            if in_files {
                refuse_beside(running, "it holds the old key in memory")?;
            }
            told(offline.rekey(new_key.as_deref()).await?)
        }
    }
}

async fn list(offline: &Offline, json: bool) -> Result<bool, String> {
    let listed = offline.list().await;
    if json {
        println!("{}", serde_json::to_string_pretty(&listed).map_err(|error| format!("{error}."))?);
    } else {
        for one in &listed {
            let expiry = one
                .expires_at
                .map_or_else(|| "no access token".to_owned(), |end| format!("access token until {end}"));
            let refresh = if one.has_refresh_token { "refresh token" } else { "no refresh token" };
            println!(
                "{}\n    {}\n    token {}, {expiry}, {refresh}",
                one.connection, one.place, one.generation
            );
            if let Some(problem) = &one.problem {
                println!("    {problem}");
            }
        }
    }
    Ok(listed.iter().all(|one| one.problem.is_none()))
}

fn told(lines: Vec<String>) -> Result<bool, String> {
    for line in lines {
        println!("{line}");
    }
    Ok(true)
}

fn refuse_beside(running: bool, why: &str) -> Result<(), String> {
    if running {
        Err(format!("The agent runs, and {why}. Stop it first: systemctl stop o365-agent"))
    } else {
        Ok(())
    }
}

/// Files made by another user would be refused by the agent.
fn check_user(settings: &Settings) -> Result<(), String> {
    let own = rustix::process::geteuid().as_raw();
    match std::fs::metadata(&settings.state_directory) {
        Ok(folder) if folder.uid() != own => Err(format!(
            "{} belongs to uid {}, not to you (uid {own}). Run this as the agent's user: runuser -u o365-agent -- o365-agent tokens …",
            settings.state_directory.display(),
            folder.uid()
        )),
        _ => Ok(()),
    }
}

/// Whether somebody answers at the address that the agent has written down.
fn is_running(settings: &Settings) -> bool {
    let written =
        files::read_bounded(&settings.state_directory.join("control-address"), 256).unwrap_or_default();
    let over_tcp = String::from_utf8_lossy(&written)
        .trim()
        .parse::<SocketAddr>()
        .is_ok_and(|address| TcpStream::connect_timeout(&address, Duration::from_secs(1)).is_ok());
    let socket = settings.control.unix_socket.as_deref();
    over_tcp || socket.is_some_and(|path| std::os::unix::net::UnixStream::connect(path).is_ok())
}
