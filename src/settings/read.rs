//! Merged text → [`Settings`]: types, ranges and the rules between keys. Every wrong value becomes a fault; none stops
//! the others from being looked at. Touches the machine only through the [`Host`] it is given.

use std::fmt::Display;
use std::net::SocketAddr;
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::time::Duration;

use super::host::Host;
use super::keys;
use super::merge::Merged;
use super::{AgentProxy, ControlPort, LONGEST_SOCKS_WORD, Limits, ProxyKind, Refresh, Settings};
use crate::error::Fault;
use crate::secret::Secret;
use crate::telemetry::{LogFormat, LogSettings};

#[path = "read_token_store.rs"]
mod token_store;

/// Reads everything; where a value is wrong, a fault is added and a harmless value stands in.
pub(super) fn read(
    file: Option<&Path>,
    named: &Path,
    merged: &Merged,
    host: &dyn Host,
    faults: &mut Vec<Fault>,
) -> Settings {
    let mut reader = Reader { file: named, merged, faults };
    let state_directory = reader.path("Agent", "StateDirectory").unwrap_or_default();
    Settings {
        file: file.map(Path::to_owned),
        enable_local_file_location: reader.boolean("Settings", "EnableLocalFileLocation"),
        predefined_variables: merged.variables.clone(),
        drop_in_directory: reader.path("Agent", "DropInDirectory").unwrap_or_default(),
        control: reader.control_port(&state_directory),
        state_directory,
        token_store: reader.token_store(host),
        refresh: reader.refresh(),
        proxy: reader.proxy(host),
        local_files_root: reader.path("LocalFiles", "Root"),
        logging: reader.logging(),
        limits: reader.limits(),
    }
}

struct Reader<'a> {
    file: &'a Path,
    merged: &'a Merged,
    faults: &'a mut Vec<Fault>,
}

impl Reader<'_> {
    fn fault(&mut self, section: &str, name: &str, message: impl Into<String>) {
        let (file, line) = (self.file.to_owned(), self.merged.line(section, name));
        self.faults.push(Fault { file, line, key: format!("[{section}] {name}"), message: message.into() });
    }

    fn text(&self, section: &str, name: &str) -> Option<String> {
        Some(self.merged.text(section, name)).filter(|text| !text.is_empty())
    }

    fn boolean(&mut self, section: &str, name: &str) -> bool {
        match self.merged.text(section, name).to_ascii_lowercase().as_str() {
            "1" | "true" => true,
            "0" | "false" => false,
            other => {
                self.fault(
                    section,
                    name,
                    format!("'{}' is not a boolean. Write true or false (or 1 or 0).", other.escape_debug()),
                );
                false
            }
        }
    }

    fn number<N: FromStr + PartialOrd + Display + Copy>(
        &mut self,
        section: &str,
        name: &str,
        range: RangeInclusive<N>,
    ) -> N {
        let text = self.merged.text(section, name);
        match text.parse() {
            Ok(number) if range.contains(&number) => number,
            _ => {
                let (low, high) = (*range.start(), *range.end());
                let message =
                    format!("'{}' is not a whole number from {low} to {high}.", text.escape_debug());
                self.fault(section, name, message);
                low
            }
        }
    }

    fn seconds(&mut self, section: &str, name: &str, range: RangeInclusive<u64>) -> Duration {
        Duration::from_secs(self.number(section, name, range))
    }

    /// An absolute path, with forward slashes as the original wants them.
    fn path(&mut self, section: &str, name: &str) -> Option<PathBuf> {
        let text = self.text(section, name)?;
        if text.contains('\\') {
            self.fault(
                section,
                name,
                format!("'{}' has a backslash. Write paths with forward slashes.", text.escape_debug()),
            );
        } else if !text.starts_with('/') {
            self.fault(
                section,
                name,
                format!("'{}' is not an absolute path. Write it from / on.", text.escape_debug()),
            );
        }
        Some(PathBuf::from(text))
    }

    fn control_port(&mut self, state_directory: &Path) -> ControlPort {
        let listen = self.listen();
        let unix_socket = self.path("ControlPort", "UnixSocket");
        let mut unix_socket_users = Vec::new();
        for user in self.text("ControlPort", "UnixSocketUsers").unwrap_or_default().split([',', ';', ' ']) {
            match user.parse() {
                Ok(number) => unix_socket_users.push(number),
                Err(_) if user.is_empty() => {}
                Err(_) => {
                    let message = format!(
                        "'{}' is not a user id. Write numbers, separated by commas (see `id -u`).",
                        user.escape_debug()
                    );
                    self.fault("ControlPort", "UnixSocketUsers", message);
                }
            }
        }
        let token_file =
            self.path("ControlPort", "TokenFile").unwrap_or_else(|| state_directory.join("control-token"));
        ControlPort { listen, unix_socket, unix_socket_users, token_file }
    }

    fn listen(&mut self) -> Option<SocketAddr> {
        let text = self.text("ControlPort", "Listen")?;
        let with_address = text.replace("localhost:", "127.0.0.1:");
        match with_address.parse::<SocketAddr>() {
            Ok(address) if address.ip().is_loopback() => Some(address),
            Ok(address) => {
                // There is no TLS on this port: a bearer token would cross the network in the clear.
                let message = format!(
                    "{address} can be reached from other hosts, and this port has no TLS. \
                     Listen on 127.0.0.1 or [::1], and put a TLS reverse proxy in front for other hosts."
                );
                self.fault("ControlPort", "Listen", message);
                None
            }
            Err(_) => {
                let message = format!(
                    "'{}' is not an address with a port. Write for example 127.0.0.1:7365.",
                    text.escape_debug()
                );
                self.fault("ControlPort", "Listen", message);
                None
            }
        }
    }

    fn refresh(&mut self) -> Refresh {
        let refresh = Refresh {
            request_timeout: self.seconds("Refresh", "RequestTimeoutSeconds", 1..=300),
            minimum_validity: self.seconds("Refresh", "MinimumValiditySeconds", 0..=1800),
            backoff_base: self.seconds("Refresh", "BackoffBaseSeconds", 1..=300),
            backoff_cap: self.seconds("Refresh", "BackoffCapSeconds", 1..=3600),
            concurrent_per_host: self.number("Refresh", "ConcurrentPerHost", 1..=64),
        };
        if refresh.backoff_base > refresh.backoff_cap {
            self.fault(
                "Refresh",
                "BackoffBaseSeconds",
                "It is larger than BackoffCapSeconds. Make it smaller.",
            );
        }
        refresh
    }

    /// No `Host`, no proxy; then the other keys must not be set either, because somebody means them to work.
    fn proxy(&mut self, host: &dyn Host) -> Option<AgentProxy> {
        const SECTION: &str = "Proxy";
        let kind = self.proxy_kind();
        let port = match self.text(SECTION, "Port") {
            None => kind.default_port(),
            Some(_) => self.number(SECTION, "Port", 1..=u16::MAX),
        };
        let password = self.password(SECTION, host);
        let user = self.text(SECTION, "User");
        if password.is_some() && user.is_none() {
            self.fault(SECTION, "User", "A password is set but no user. Set User, or remove the password.");
        }
        let Some(name) = self.text(SECTION, "Host") else {
            let set =
                ["Type", "Port", "User", "Password", "PasswordFile", "PasswordCredential", "Exceptions"]
                    .into_iter()
                    .find(|name| {
                        keys::find(SECTION, name)
                            .is_some_and(|key| key.default != self.merged.text(SECTION, name))
                    });
            if let Some(set) = set {
                self.fault(
                    SECTION,
                    set,
                    "[Proxy] Host is not set, so there is no proxy. Set Host, or remove this key.",
                );
            }
            return None;
        };
        if name.contains(['/', ':', '@', ' ']) && name.parse::<std::net::IpAddr>().is_err() {
            let message = format!(
                "'{}' is not a host name. Write only the name; the port has its own key.",
                name.escape_debug()
            );
            self.fault(SECTION, "Host", message);
        }
        let exceptions = self.text(SECTION, "Exceptions").unwrap_or_default();
        let exceptions =
            exceptions.split(';').map(str::trim).filter(|name| !name.is_empty()).map(str::to_owned);
        if kind == ProxyKind::Socks5 {
            for (key, length) in [
                ("User", user.as_ref().map_or(0, String::len)),
                ("Password", password.as_ref().map_or(0, |password| password.expose().len())),
            ] {
                if length > LONGEST_SOCKS_WORD {
                    self.fault(
                        SECTION,
                        key,
                        "SOCKS5 takes at most 255 bytes here (RFC 1929). Use a shorter one.",
                    );
                }
            }
        }
        Some(AgentProxy { kind, host: name, port, user, password, exceptions: exceptions.collect() })
    }

    fn proxy_kind(&mut self) -> ProxyKind {
        match self.merged.text("Proxy", "Type").to_ascii_lowercase().as_str() {
            "http" => ProxyKind::Http,
            "https" => ProxyKind::Https,
            "socks5" => ProxyKind::Socks5,
            other => {
                let message = format!("'{}' is not one of http, https, socks5.", other.escape_debug());
                self.fault("Proxy", "Type", message);
                ProxyKind::Http
            }
        }
    }

    fn password(&mut self, section: &str, host: &dyn Host) -> Option<Secret> {
        const NAMES: [&str; 3] = ["Password", "PasswordFile", "PasswordCredential"];
        let given: Vec<_> =
            NAMES.into_iter().filter_map(|name| Some((name, self.text(section, name)?))).collect();
        if let [_, (second, _), ..] = given.as_slice() {
            self.fault(section, second, "The password is given more than once. Keep one of Password, PasswordFile and PasswordCredential.");
        }
        let (name, text) = given.into_iter().next()?;
        let read = match name {
            "Password" => Ok(Secret::from(text)),
            "PasswordFile" => host.secret_file(Path::new(&text)),
            _ => host.credential(&text),
        };
        read.map_err(|message| self.fault(section, name, message)).ok()
    }

    fn logging(&mut self) -> LogSettings {
        let format = match self.merged.text("Logging", "Format").to_ascii_lowercase().as_str() {
            "auto" => LogFormat::Auto,
            "text" => LogFormat::Text,
            "json" => LogFormat::Json,
            "journald" => LogFormat::Journald,
            other => {
                self.fault(
                    "Logging",
                    "Format",
                    format!("'{}' is not one of auto, text, json, journald.", other.escape_debug()),
                );
                LogFormat::Auto
            }
        };
        let filter = self.merged.text("Logging", "Level");
        if let Err(error) = tracing_subscriber::EnvFilter::builder().parse(&filter) {
            let message = format!(
                "'{}' is not a log filter ({error}). Write for example info or o365_agent=debug.",
                filter.escape_debug()
            );
            self.fault("Logging", "Level", message);
        }
        LogSettings { format, filter }
    }

    fn limits(&mut self) -> Limits {
        const MIB: usize = 1024 * 1024;
        Limits {
            control_connections: self.number("Limits", "ControlConnections", 1..=65_536),
            concurrent_runs: self.number("Limits", "ConcurrentRuns", 1..=4096),
            request_body_bytes: self.number("Limits", "RequestBodyBytes", 1024..=1024 * MIB),
            run_timeout: self.seconds("Limits", "RunTimeoutSeconds", 1..=604_800),
            page_bytes: self.number("Limits", "PageBytes", 64 * 1024..=1024 * MIB),
            answer_rows: self.number("Limits", "AnswerRows", 1..=100_000_000),
            drain: self.seconds("Limits", "DrainSeconds", 0..=3600),
            run_history: self.number("Limits", "RunHistory", 0..=1_000_000),
        }
    }
}
