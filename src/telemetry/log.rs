//! Log records: text on a terminal, JSON or the journal's own protocol under systemd; the filter can change at run time.
//! Never drops a field into the message text, so that a foreign string cannot start a new record.

use std::io::IsTerminal;

use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{EnvFilter, Layer, Registry, fmt, reload};

/// How records are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogFormat {
    /// The journal when systemd connected us to it, else text.
    Auto,
    /// One line of text a record.
    Text,
    /// One JSON object a line.
    Json,
    /// The journal's native protocol, with the fields CONNECTION, GENERATION, OUTCOME, REQUEST_ID.
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

/// Changes the filter of a running agent.
#[derive(Clone, Debug)]
pub struct LogHandle(reload::Handle<EnvFilter, Registry>);

impl LogHandle {
    /// A handle whose log nobody reads.
    #[cfg(test)]
    pub(crate) fn detached() -> Self {
        Self(reload::Layer::new(EnvFilter::new("off")).1)
    }

    /// Takes a new filter over at once.
    ///
    /// # Errors
    /// A sentence, when the filter cannot be understood; the old one then stays.
    pub fn set_filter(&self, filter: &str) -> Result<(), String> {
        self.0
            .reload(parse_filter(filter)?)
            .map_err(|error| format!("The log filter could not be changed: {error}."))
    }
}

/// Starts logging to standard error or the journal. `journal_stream` is the value of `$JOURNAL_STREAM`, which systemd
/// sets when standard error goes to the journal.
///
/// # Errors
/// A sentence that names `[Logging]`, when the filter cannot be understood or the journal cannot be reached.
pub fn start_logging(settings: &LogSettings, journal_stream: Option<&str>) -> Result<LogHandle, String> {
    let (filter, handle) = reload::Layer::new(parse_filter(&settings.filter)?);
    let format = match settings.format {
        LogFormat::Auto if journal_stream.is_some_and(|stream| !stream.is_empty()) => LogFormat::Journald,
        LogFormat::Auto => LogFormat::Text,
        chosen => chosen,
    };
    let output: Box<dyn Layer<_> + Send + Sync> = match format {
        LogFormat::Json => Box::new(
            fmt::layer().json().flatten_event(true).with_current_span(false).with_writer(std::io::stderr),
        ),
        LogFormat::Journald => match tracing_journald::layer() {
            Ok(layer) => {
                Box::new(layer.with_field_prefix(None).with_syslog_identifier("o365-agent".to_owned()))
            }
            Err(error) if settings.format == LogFormat::Auto => {
                let text = fmt::layer().with_ansi(false).with_writer(std::io::stderr);
                drop(error); // Auto means: the best that is there.
                Box::new(text)
            }
            Err(error) => {
                return Err(format!(
                    "[Logging] Format=journald: the journal cannot be reached: {error}. Use Format=json or text."
                ));
            }
        },
        LogFormat::Text | LogFormat::Auto => Box::new(
            fmt::layer()
                .with_ansi(std::io::stderr().is_terminal())
                .with_target(false)
                .with_writer(std::io::stderr),
        ),
    };
    // A second start in one process (only tests do that) keeps the first subscriber.
    let _already_started = tracing_subscriber::registry().with(filter).with(output).try_init();
    Ok(LogHandle(handle))
}

/// HTTP and TLS libraries log requests at their own debug levels, some with full URLs. Our own records say the same
/// without secrets, so theirs are held at `warn` whatever the operator asks of ours.
const LIBRARIES: [&str; 6] = ["hyper", "hyper_util", "reqwest", "rustls", "h2", "notify"];

fn parse_filter(text: &str) -> Result<EnvFilter, String> {
    let refused = |error: &dyn std::fmt::Display| {
        format!(
            "[Logging] Level '{text}' cannot be understood: {error}. Use error, warn, info, debug or trace."
        )
    };
    let mut filter = EnvFilter::builder().parse(text).map_err(|error| refused(&error))?;
    for library in LIBRARIES {
        filter = filter.add_directive(format!("{library}=warn").parse().map_err(|error| refused(&error))?);
    }
    Ok(filter)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bad_filter_is_refused_with_the_remedy() {
        assert!(parse_filter("info").is_ok());
        assert!(parse_filter("o365_agent=debug,info").is_ok());
        let message = parse_filter("o365_agent=loud=er").unwrap_err();
        assert!(message.contains("[Logging] Level") && message.contains("debug"), "{message}");
    }

    /// At trace, HTTP libraries tell addresses with their queries, and frames.
    #[test]
    fn libraries_stay_silent_whatever_is_asked_of_ours() {
        for asked in ["trace", "hyper=trace,reqwest=trace,info", "o365_agent=trace,debug"] {
            let filter = parse_filter(asked).expect("a good filter");
            tracing::subscriber::with_default(tracing_subscriber::registry().with(filter), || {
                assert!(!tracing::enabled!(target: "hyper::proto::h1", tracing::Level::INFO), "{asked}");
                assert!(!tracing::enabled!(target: "hyper_util::client", tracing::Level::DEBUG), "{asked}");
                assert!(!tracing::enabled!(target: "reqwest::connect", tracing::Level::TRACE), "{asked}");
                assert!(!tracing::enabled!(target: "h2::codec", tracing::Level::DEBUG), "{asked}");
                assert!(!tracing::enabled!(target: "rustls::client", tracing::Level::DEBUG), "{asked}");
                assert!(tracing::enabled!(target: "hyper::proto", tracing::Level::WARN), "{asked}");
                assert!(tracing::enabled!(target: "o365_agent::token", tracing::Level::INFO), "{asked}");
            });
        }
    }
}
