//! `o365-agent status`: the running agent's connections as a table, worst first.

use std::path::Path;
use std::process::ExitCode;

use serde_json::Value;

use super::NOT_WELL;
use super::client::{ask, painted};

/// Prints the table. 0 when every connection is well, 1 when one is not, 69 when the agent cannot be reached.
pub(super) fn status(config: Option<&Path>, as_json: bool) -> ExitCode {
    let (agent, list) = match (
        ask(config, http::Method::GET, "/v1/agent"),
        ask(config, http::Method::GET, "/v1/connections"),
    ) {
        (Ok(agent), Ok(list)) => (agent, list),
        (Err(reason), _) | (_, Err(reason)) => return reason.exit(),
    };
    let connections = list["connections"].as_array().cloned().unwrap_or_default();
    let faults: Vec<&Value> = agent["dropIns"]
        .as_array()
        .into_iter()
        .flatten()
        .flat_map(|file| file["faults"].as_array().into_iter().flatten())
        .collect();
    if as_json {
        println!("{}", serde_json::json!({"agent": agent, "connections": connections}));
    } else {
        print_table(&agent, &connections, &faults);
    }
    let well = faults.is_empty() && connections.iter().all(|connection| is_well(connection) == Some(true));
    if well { ExitCode::SUCCESS } else { ExitCode::from(NOT_WELL) }
}

fn print_table(agent: &Value, connections: &[Value], faults: &[&Value]) {
    println!(
        "o365-agent {} is {}, up {}, {} connection{}.",
        text(&agent["version"]),
        text(&agent["phase"]),
        duration(agent["uptimeSeconds"].as_u64().unwrap_or_default()),
        connections.len(),
        if connections.len() == 1 { "" } else { "s" }
    );
    let mut rows: Vec<&Value> = connections.iter().collect();
    rows.sort_by_key(|connection| (is_well(connection) == Some(true), text(&connection["name"]).to_owned()));
    let width = rows.iter().map(|row| text(&row["name"]).chars().count()).max().unwrap_or(4).clamp(4, 40);
    if !rows.is_empty() {
        println!("\n{:<width$}  {:<13}  {:<25}  {:<14}  LAST REFRESH", "NAME", "STATE", "SCHEME", "TOKEN");
    }
    for row in rows {
        let state = painted(&format!("{:<13}", text(&row["state"])), is_well(row));
        let scheme = row["authScheme"].as_str().unwrap_or("-");
        let token = match row["tokenExpiresInSeconds"].as_u64() {
            Some(0) => "expired".to_owned(),
            Some(seconds) => format!("{} left", duration(seconds)),
            None => "none".to_owned(),
        };
        let refreshed = row["token"]["refreshedAt"].as_str().unwrap_or("-");
        println!("{:<width$}  {state}  {scheme:<25}  {token:<14}  {refreshed}", text(&row["name"]));
        if let Some(message) = row["message"].as_str() {
            println!("{:width$}  → {message}", "");
        }
    }
    if !faults.is_empty() {
        println!(
            "\n{} in the drop-ins:",
            if faults.len() == 1 { "1 fault".to_owned() } else { format!("{} faults", faults.len()) }
        );
    }
    for fault in faults {
        let place = fault["line"].as_u64().map_or_else(String::new, |line| format!(":{line}"));
        println!("  {}{place}: {}: {}", text(&fault["file"]), text(&fault["key"]), text(&fault["message"]));
    }
}

fn is_well(connection: &Value) -> Option<bool> {
    match connection["state"].as_str() {
        Some("ok") => Some(true),
        Some("refreshing" | "degraded") => None,
        _ => Some(false),
    }
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

/// Seconds as people say them, in at most two units.
fn duration(seconds: u64) -> String {
    match seconds {
        0..=119 => format!("{seconds} s"),
        120..=7199 => format!("{} min", seconds / 60),
        7200..=172_799 => format!("{} h {} min", seconds / 3600, seconds % 3600 / 60),
        _ => format!("{} d {} h", seconds / 86_400, seconds % 86_400 / 3600),
    }
}

#[cfg(test)]
mod tests {
    use super::duration;

    #[test]
    fn durations_have_at_most_two_units() {
        for (seconds, expected) in [(59, "59 s"), (3599, "59 min"), (7260, "2 h 1 min"), (200_000, "2 d 7 h")]
        {
            assert_eq!(duration(seconds), expected);
        }
    }
}
