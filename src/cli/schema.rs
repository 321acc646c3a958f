//! `o365-agent schema refresh [CONNECTION]`: makes the running agent fetch the schema of its Graph endpoints anew.

use std::collections::BTreeSet;
use std::path::Path;
use std::process::ExitCode;

use clap::Subcommand;
use serde_json::Value;

use super::NOT_WELL;
use super::client::{NoAnswer, ask, segment};

/// What can be done with schemas.
#[derive(Debug, Subcommand)]
pub(super) enum Schema {
    /// Fetch the schema of a connection's Graph endpoint, or of every endpoint there is, and use it from now on.
    Refresh {
        /// The connection's name; without it each Graph endpoint is asked once, through one of its connections.
        name: Option<String>,
    },
    /// Show which schema each connection uses.
    Show,
}

/// Carries the command out. 0 when all went well, 1 when something did not, 69 when the agent cannot be reached.
pub(super) fn schema(config: Option<&Path>, command: &Schema) -> ExitCode {
    let done = match command {
        Schema::Refresh { name: Some(name) } => refresh(config, name).map(|status| {
            println!("{name}: {}", line(&status));
            true
        }),
        Schema::Refresh { name: None } => refresh_all(config),
        Schema::Show => show(config),
    };
    match done {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::from(NOT_WELL),
        Err(reason) => reason.exit(),
    }
}

fn path(name: &str) -> String {
    format!("/v1/connections/{}/schema", segment(name))
}

fn refresh(config: Option<&Path>, name: &str) -> Result<Value, NoAnswer> {
    ask(config, http::Method::POST, &path(name))
}

fn names(config: Option<&Path>) -> Result<Vec<String>, NoAnswer> {
    let list = ask(config, http::Method::GET, "/v1/connections")?;
    let connections = list["connections"].as_array().cloned().unwrap_or_default();
    let usable = connections.iter().filter(|connection| connection["state"] != "refused");
    Ok(usable.filter_map(|connection| connection["name"].as_str().map(str::to_owned)).collect())
}

/// Each endpoint once; where one connection fails, the next one to the same endpoint is tried.
fn refresh_all(config: Option<&Path>) -> Result<bool, NoAnswer> {
    let (mut done, mut failed) = (BTreeSet::new(), BTreeSet::new());
    for name in names(config)? {
        let status = ask(config, http::Method::GET, &path(&name))?;
        let endpoint = status["endpoint"].as_str().unwrap_or_default().to_owned();
        if done.contains(&endpoint) {
            continue;
        }
        match refresh(config, &name) {
            Ok(status) => {
                println!("{}", line(&status));
                failed.remove(&endpoint);
                done.insert(endpoint);
            }
            Err(reason) => {
                eprintln!("o365-agent: {name}: {}", reason.message);
                failed.insert(endpoint);
            }
        }
    }
    if done.is_empty() && failed.is_empty() {
        println!("There is no connection.");
    }
    Ok(failed.is_empty())
}

fn show(config: Option<&Path>) -> Result<bool, NoAnswer> {
    for name in names(config)? {
        println!("{name}: {}", line(&ask(config, http::Method::GET, &path(&name))?));
    }
    Ok(true)
}

fn line(status: &Value) -> String {
    let (endpoint, types) =
        (status["endpoint"].as_str().unwrap_or_default(), status["types"].as_u64().unwrap_or(0));
    match status["fetchedAt"].as_str() {
        Some(moment) => format!("{endpoint}: {types} types, fetched {moment}"),
        None => format!("{endpoint}: {types} types, of this build"),
    }
}
