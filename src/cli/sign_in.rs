//! `o365-agent sign-in NAME`: starts a sign-in in the running agent, says what to do, and waits for its end. Ctrl-C
//! cancels it. Does none of the signing in itself.

use std::io::IsTerminal;
use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use serde_json::{Value, json};

use super::client::{NoAnswer, ask_agent, painted, prepare, segment};
use super::{FAILED, NOT_WELL, USAGE};
use crate::clock::Clock;
use crate::settings::Settings;

/// How often the agent is asked how it goes.
const LOOK_EVERY: Duration = Duration::from_millis(500);
/// How often a line says how much time is left.
const SAY_EVERY: Duration = Duration::from_secs(60);
/// A whole redirect address fits into this.
const CODE_BYTES: u64 = 16 * 1024;

/// What the command line asks for.
#[derive(Debug)]
pub(super) enum Wish {
    DeviceCode,
    Browser,
    /// The code, or `-` for standard input.
    Code(String),
    Cancel,
}

/// The options as one wish; the command line's parser has refused contradictions.
pub(super) fn wish(browser: bool, code: Option<String>, cancel: bool) -> Wish {
    match (browser, code, cancel) {
        (_, _, true) => Wish::Cancel,
        (_, Some(code), _) => Wish::Code(code),
        (true, ..) => Wish::Browser,
        _ => Wish::DeviceCode,
    }
}

/// Prints what to do and how it ended. 0 when the connection is signed in (or the sign-in was cancelled as asked), 1 when
/// not, 69 when the agent cannot be reached.
pub(super) fn sign_in(config: Option<&Path>, name: &str, wish: Wish) -> ExitCode {
    let body = match wish {
        Wish::DeviceCode => json!({"method": "device_code"}),
        Wish::Browser => json!({"method": "browser"}),
        Wish::Code(code) => match code_given(code) {
            Ok(code) => json!({"method": "verifier", "code": code}),
            Err(message) => {
                eprintln!("o365-agent: {message}");
                return ExitCode::from(USAGE);
            }
        },
        Wish::Cancel => Value::Null,
    };
    let prepared = prepare(config);
    let (settings, runtime) = match prepared {
        Ok(prepared) => prepared,
        Err(reason) => return reason.exit(),
    };
    let path = format!("/v1/connections/{}/sign-in", segment(name));
    let done = runtime.block_on(async {
        if body.is_null() {
            ask_agent(&settings, http::Method::DELETE, &path, None).await?;
            println!("The sign-in is cancelled.");
            return Ok(true);
        }
        start_and_wait(&settings, &path, &body).await
    });
    match done {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::from(NOT_WELL),
        Err(reason) => reason.exit(),
    }
}

/// An argument can be seen by every user of the host, standard input cannot.
fn code_given(code: String) -> Result<String, String> {
    if code != "-" {
        return Ok(code);
    }
    let mut text = String::new();
    let mut input = std::io::Read::take(std::io::stdin(), CODE_BYTES);
    std::io::Read::read_to_string(&mut input, &mut text)
        .map_err(|error| format!("The code cannot be read from standard input: {error}."))?;
    Ok(text.trim().to_owned())
}

async fn start_and_wait(settings: &Settings, path: &str, body: &Value) -> Result<bool, NoAnswer> {
    // Listened for from the start: a Ctrl-C that comes as soon as the code is on the screen must cancel, too.
    let mut interrupts = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::interrupt())
        .map_err(|error| NoAnswer::new(format!("Ctrl-C cannot be listened for: {error}."), FAILED))?;
    let started = ask_agent(settings, http::Method::POST, path, Some(body)).await;
    let first = match started {
        // Whoever lost the terminal finds the code again.
        Err(reason) if reason.problem.as_deref() == Some("sign_in_pending") => {
            let pending = ask_agent(settings, http::Method::GET, path, None).await?;
            if pending["method"] != body["method"] || body["method"] == "browser" {
                return Err(reason);
            }
            println!("This sign-in is pending already:");
            pending
        }
        other => other?,
    };
    for line in instructions(&first) {
        println!("{line}");
    }
    let wait = wait(settings, path, first);
    tokio::select! {
        ended = wait => ended,
        _ = interrupts.recv() => {
            ask_agent(settings, http::Method::DELETE, path, None).await?;
            println!("\nThe sign-in is cancelled.");
            Ok(false)
        }
    }
}

fn instructions(view: &Value) -> Vec<String> {
    let text = |name: &str| view[name].as_str();
    let mut lines = Vec::new();
    if let (Some(code), Some(address)) = (text("userCode"), text("verificationUri")) {
        lines.push(format!("Open    {address}"));
        lines.push(format!("Enter   {}", painted(code, None)));
    } else if let Some(address) = text("authorizationUrl") {
        lines.push("Open this address in a browser on this host and sign in:".to_owned());
        lines.push(String::new());
        lines.push(address.to_owned());
        lines.push(String::new());
        lines.push(
            "With a browser on another machine it ends at an address that does not answer. Bring that address back from a second terminal: o365-agent sign-in NAME --code -".to_owned(),
        );
    }
    if let Some(address) = text("adminConsentUrl") {
        lines.push(format!("If an administrator has to consent first: {address}"));
    }
    lines
}

/// Looks until the sign-in has ended; plain lines, because this may be a service's log.
async fn wait(settings: &Settings, path: &str, first: Value) -> Result<bool, NoAnswer> {
    let mut view = first;
    let mut last_said: Option<crate::clock::Stopwatch> = None;
    let mut drawn = false;
    loop {
        let state = view["state"].as_str().unwrap_or_default();
        let message = view["message"].as_str().unwrap_or_default();
        match state {
            "done" | "failed" | "cancelled" | "expired" | "offered" => {
                if drawn {
                    println!();
                }
                println!("{}", painted(message, Some(state == "done")));
                return Ok(state == "done");
            }
            _ => {
                if let Some(left) = view["secondsLeft"].as_u64() {
                    if std::io::stdout().is_terminal() {
                        print!("\rWaiting, {:>2}:{:02} left. Ctrl-C cancels. ", left / 60, left % 60);
                        drawn = std::io::Write::flush(&mut std::io::stdout()).is_ok();
                    } else if last_said.is_none_or(|said| said.elapsed() >= SAY_EVERY) {
                        println!("Waiting, {left} s left.");
                        last_said = Some(Clock::stopwatch());
                    }
                }
            }
        }
        tokio::time::sleep(LOOK_EVERY).await;
        view = ask_agent(settings, http::Method::GET, path, None).await?;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn instructions_name_code_and_address() {
        let device =
            json!({"userCode": "ABCD", "verificationUri": "https://h/", "adminConsentUrl": "https://a/"});
        let lines = instructions(&device);
        assert!(
            lines[0].contains("https://h/") && lines[1].contains("ABCD") && lines[2].contains("https://a/")
        );
        let browser = instructions(&json!({"authorizationUrl": "https://login/authorize?x"}));
        assert!(browser.contains(&"https://login/authorize?x".to_owned()));
        assert!(instructions(&json!({"state": "redeeming"})).is_empty());
    }
}
