//! The systemd protocol: READY, STATUS, RELOADING, STOPPING, the watchdog, passed sockets and credentials.
//! Never logs a credential; does nothing at all when the agent is not run by systemd.

use std::net::TcpListener;
use std::os::unix::net::UnixListener;
use std::path::PathBuf;
use std::time::Duration;

use sd_notify::NotifyState;

use crate::error::clean_foreign_text;

/// Where systemd put the credentials of `LoadCredential=`, if it did.
pub fn credentials_directory() -> Option<PathBuf> {
    std::env::var_os("CREDENTIALS_DIRECTORY").filter(|path| !path.is_empty()).map(PathBuf::from)
}

/// Tells systemd that start-up (or a reload) is over.
pub fn ready(status: &str) {
    tell(&[NotifyState::Ready, NotifyState::Status(&one_line(status))]);
}

/// Tells systemd that a reload has begun. With the monotonic time, which `Type=notify-reload` needs to tell an old
/// READY from the new one.
pub fn reloading() {
    match NotifyState::monotonic_usec_now() {
        Ok(time) => tell(&[NotifyState::Reloading, time]),
        Err(_) => tell(&[NotifyState::Reloading]),
    }
}

/// Sets the line that `systemctl status` shows.
pub fn status(text: &str) {
    tell(&[NotifyState::Status(&one_line(text))]);
}

/// Tells systemd that the agent is going down, and how long that takes at most: `TimeoutStopSec=` of the unit fits the
/// defaults, and the operator's settings can ask for more.
pub fn stopping(at_most: Duration) {
    let micros = u32::try_from(at_most.as_micros()).unwrap_or(u32::MAX);
    tell(&[
        NotifyState::Stopping,
        NotifyState::ExtendTimeoutUsec(micros),
        NotifyState::Status("Finishing running work."),
    ]);
}

/// Tells systemd that the agent is alive.
pub fn feed_watchdog() {
    tell(&[NotifyState::Watchdog]);
}

/// How often the watchdog has to be fed at the latest, if systemd watches.
pub fn watchdog_interval() -> Option<Duration> {
    sd_notify::watchdog_enabled()
}

/// A listening socket that systemd made for us.
#[derive(Debug)]
pub enum PassedSocket {
    /// TCP.
    Tcp(TcpListener),
    /// Unix stream.
    Unix(UnixListener),
}

/// The sockets of `o365-agent.socket`, taken over once at start-up.
///
/// # Errors
/// A sentence, when systemd passed something that is no listening stream socket.
pub fn passed_sockets() -> Result<Vec<PassedSocket>, String> {
    let mut passed = listenfd::ListenFd::from_env();
    (0..passed.len())
        .filter_map(|index| match passed.take_unix_listener(index) {
            Ok(Some(socket)) => Some(Ok(PassedSocket::Unix(socket))),
            Ok(None) => None,
            Err(_) => match passed.take_tcp_listener(index) {
                Ok(socket) => socket.map(|socket| Ok(PassedSocket::Tcp(socket))),
                Err(error) => Some(Err(format!(
                    "Socket {index} passed by systemd is neither a unix nor a TCP stream socket ({error}). Correct o365-agent.socket."
                ))),
            },
        })
        .collect()
}

/// A newline would let a connection name add fields to the notification.
fn one_line(text: &str) -> String {
    clean_foreign_text(text)
}

fn tell(states: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(states) {
        tracing::debug!(%error, "systemd could not be told.");
    }
}
