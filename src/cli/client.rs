//! Talks to the running agent: over its unix socket where that can be reached, else over TCP with the control token.
//! Never prints the token and never starts an agent.

use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use serde_json::Value;

use super::{BAD_SETTINGS, NOT_WELL, UNREACHABLE, environment};
use crate::control::control_token;
use crate::files;
use crate::settings::Settings;
use crate::systemd;

/// Where systemd's `o365-agent.socket` listens.
const SYSTEMD_SOCKET: &str = "/run/o365-agent.sock";

/// A test walks through a token request and a Graph request, each with its own bound.
const ANSWER_TIME: Duration = Duration::from_secs(180);

/// An answer of the agent is bounded, like every body that is read.
const ANSWER_BYTES: usize = 64 * 1024 * 1024;

/// Why there is no answer, and the exit code for it.
#[derive(Debug)]
pub(super) struct NoAnswer {
    pub(super) message: String,
    pub(super) code: u8,
    /// The agent's own word for it.
    pub(super) problem: Option<String>,
}

impl NoAnswer {
    /// Without a word of the agent.
    pub(super) fn new(message: String, code: u8) -> Self {
        Self { message, code, problem: None }
    }

    /// Prints the reason and gives the exit code.
    pub(super) fn exit(&self) -> ExitCode {
        eprintln!("o365-agent: {}", self.message);
        ExitCode::from(self.code)
    }
}

/// One request to the running agent and its JSON answer.
pub(super) fn ask(config: Option<&Path>, method: http::Method, path: &str) -> Result<Value, NoAnswer> {
    let (settings, runtime) = prepare(config)?;
    runtime.block_on(ask_agent(&settings, method, path, None))
}

/// What a command needs that asks more than once.
pub(super) fn prepare(config: Option<&Path>) -> Result<(Settings, tokio::runtime::Runtime), NoAnswer> {
    let settings = super::check::settings(config).map_err(|message| NoAnswer::new(message, BAD_SETTINGS))?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| NoAnswer::new(format!("No runtime: {error}."), UNREACHABLE))?;
    Ok((settings, runtime))
}

/// One request with an optional JSON body.
pub(super) async fn ask_agent(
    settings: &Settings,
    method: http::Method,
    path: &str,
    body: Option<&Value>,
) -> Result<Value, NoAnswer> {
    let unreachable = |message: String| NoAnswer::new(message, UNREACHABLE);
    let builder = reqwest::Client::builder()
        .no_proxy()
        .redirect(reqwest::redirect::Policy::none())
        .timeout(ANSWER_TIME);
    let socket = [settings.control.unix_socket.as_deref(), Some(Path::new(SYSTEMD_SOCKET))]
        .into_iter()
        .flatten()
        .find(|socket| std::os::unix::net::UnixStream::connect(socket).is_ok());

    let (client, base, token) = if let Some(socket) = socket {
        (builder.unix_socket(socket.to_owned()).build(), "http://localhost".to_owned(), None)
    } else {
        let file = settings.state_directory.join("control-address");
        let address = files::read_bounded(&file, 256).map_err(|error| {
            unreachable(format!("The agent does not seem to run: {error} Start it with `systemctl start o365-agent`, or give its settings with --config."))
        })?;
        let address = String::from_utf8_lossy(&address).trim().to_owned();
        let credentials = systemd::credentials_directory();
        let token =
            control_token(credentials.as_deref(), &settings.control.token_file).map_err(unreachable)?;
        (builder.build(), format!("http://{address}"), Some(token))
    };
    let client = client.map_err(|error| unreachable(format!("No HTTP client: {error}.")))?;
    let mut request = client.request(method, format!("{base}{path}"));
    if let Some(body) = body {
        request = request.header(http::header::CONTENT_TYPE, "application/json").body(body.to_string());
    }
    if let Some(token) = token {
        let mut value = http::HeaderValue::try_from(format!("Bearer {}", token.expose())).map_err(|_| {
            unreachable("The control token holds characters that cannot be sent. Make a new one.".to_owned())
        })?;
        value.set_sensitive(true);
        request = request.header(http::header::AUTHORIZATION, value);
    }
    let mut answer = request.send().await.map_err(|error| {
        unreachable(format!(
            "The agent at {base} does not answer: {}. See `systemctl status o365-agent`.",
            crate::error::chain(&error)
        ))
    })?;

    let status = answer.status();
    let mut body = Vec::new();
    while let Some(chunk) = answer
        .chunk()
        .await
        .map_err(|error| unreachable(format!("The agent's answer broke off: {error}.")))?
    {
        if body.len() + chunk.len() > ANSWER_BYTES {
            return Err(unreachable("The agent's answer is too large.".to_owned()));
        }
        body.extend_from_slice(&chunk);
    }
    let value: Value = serde_json::from_slice(&body).unwrap_or(Value::Null);
    if status.is_success() {
        return Ok(value);
    }
    let detail =
        value["detail"].as_str().map_or_else(|| format!("The agent answered {status}."), str::to_owned);
    let problem = value["code"].as_str().map(str::to_owned);
    Err(NoAnswer { message: detail, code: NOT_WELL, problem })
}

/// A name as one path segment.
pub(super) fn segment(name: &str) -> String {
    percent_encoding::utf8_percent_encode(name, percent_encoding::NON_ALPHANUMERIC).to_string()
}

/// Whether text may be coloured: only on a terminal, and not when `NO_COLOR` is set.
pub(super) fn colour() -> bool {
    use std::io::IsTerminal;
    std::io::stdout().is_terminal() && environment("NO_COLOR").is_none_or(|value| value.is_empty())
}

/// `text` in the colour of `state`: green for well, yellow for waiting, red for help needed.
pub(super) fn painted(text: &str, well: Option<bool>) -> String {
    match (colour(), well) {
        (false, _) => text.to_owned(),
        (true, Some(true)) => format!("\x1b[32m{text}\x1b[0m"),
        (true, Some(false)) => format!("\x1b[31m{text}\x1b[0m"),
        (true, None) => format!("\x1b[33m{text}\x1b[0m"),
    }
}
