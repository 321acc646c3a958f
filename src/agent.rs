//! The whole life cycle: settings → bind → load → ready → wait → drain with a deadline. Decides the order of things and
//! nothing else.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::activity::Engine;
use crate::catalog::Catalogs;
use crate::clock::Clock;
use crate::connection::Registry;
use crate::control::{self, Control, Guard, Layers, Listener, Phase, ReloadHandle};
use crate::dropin::DropIns;
use crate::files;
use crate::graph::Governor;
use crate::loader::{self, Loader};
use crate::settings::{ControlPort, Loaded, Location, Settings};
use crate::systemd::{self, PassedSocket};
use crate::telemetry::{LogHandle, Metrics};
use crate::token::{Keeper, Transports};
use crate::watchdog::{self, Alive};

/// Runs the agent until a stop signal, and returns after an orderly end.
///
/// # Errors
/// A sentence, when the agent could not start.
pub async fn run(location: Location, loaded: Loaded, log: LogHandle) -> Result<(), String> {
    let (clock, metrics, stop) = (Clock::machine(), Metrics::new(), CancellationToken::new());
    let settings = loaded.settings.clone();
    let started_at = clock.now();
    metrics.started(started_at.as_seconds() as f64);

    // Bind first: an operator learns of a taken port before anything else has happened.
    files::ensure_private_folder(&settings.state_directory)
        .map_err(|error| format!("[Agent] StateDirectory: {error}"))?;
    let folders = ["tokens", "schema"].map(|folder| settings.state_directory.join(folder));
    let left_over: usize = folders.iter().map(|folder| files::remove_left_over(folder)).sum();
    if left_over > 0 {
        tracing::info!(left_over, "Removed temporary files that a killed agent had left.");
    }
    let credentials = systemd::credentials_directory();
    let token = control::control_token(credentials.as_deref(), &settings.control.token_file)?;
    let (listeners, addresses) = bind(&settings.control).await?;

    let transports = Arc::new(Transports::default());
    let keeper = Keeper::new(Arc::new(settings.clone()), clock.clone(), metrics.clone(), transports.clone());
    let engine = Engine::new(
        clock.clone(),
        metrics.clone(),
        &settings.limits,
        &settings.state_directory,
        settings.token_store.postgresql.is_some(),
    );
    let registry = Arc::new(Registry::new());
    let in_force = Arc::new(ArcSwap::from_pointee(settings.clone()));
    let (reload, reload_requests) = ReloadHandle::new();
    let phase = Arc::new(Phase::default());
    let alive = Alive::default();
    let mut loader = Loader {
        location,
        in_force: in_force.clone(),
        registry: registry.clone(),
        keeper: keeper.clone(),
        engine: engine.clone(),
        metrics: metrics.clone(),
        log,
        governor: Governor::new(),
        catalogs: Arc::new(Catalogs::new(Some(settings.state_directory.join("schema")))),
        transports,
        drop_ins: DropIns::watch(&settings.drop_in_directory, clock.clone()),
        alive: alive.clone(),
        applying: Default::default(),
    };

    let control = Arc::new(Control {
        engine: engine.clone(),
        registry: registry.clone(),
        keeper: keeper.clone(),
        settings: in_force.clone(),
        metrics: metrics.clone(),
        reload,
        phase: phase.clone(),
        clock: clock.clone(),
        started_at,
    });
    let layers = Arc::new(Layers { guard: Guard::new(token, &settings.control.unix_socket_users), metrics });
    let router = control::router(control, layers);
    let mut signals = Signals::new()?;

    let tasks = TaskTracker::new();
    tasks.spawn(control::serve(listeners, router, settings.limits.control_connections, stop.clone()));
    let report = loader.start(&loaded).await;
    tasks.spawn(loader.run(reload_requests, signals.hang_up(), stop.clone()));
    let drain_over = CancellationToken::new();
    tasks.spawn(watchdog::feed(alive, keeper.clone(), stop.clone(), drain_over.clone()));
    tasks.close();

    publish_address(&settings, &addresses)?;
    phase.set_ready();
    systemd::ready(&loader::status_line(&report));
    tracing::info!(
        addresses = addresses.join(" "),
        connections = report.connections,
        faults = report.faults.len(),
        "The agent is ready."
    );

    signals.stop().await;
    // A reload may have changed the drain time since the start.
    let settings = in_force.load_full();
    let limit = longest_stop(&settings);
    phase.set_draining();
    systemd::stopping(limit + STOP_MARGIN);
    tracing::info!(
        deadline_seconds = settings.limits.drain.as_secs(),
        "A stop signal has come; running work is finished."
    );
    let drained = async {
        stop.cancel();
        let runs_ended = engine.drain(settings.limits.drain).await;
        // Not bounded by the drain time: a token request that is on its way has its own bound, and losing its answer
        // could cost the connection its sign-in.
        let tokens_kept = keeper.drain(settings.refresh.request_timeout + COMMIT_TIME).await;
        if !tokens_kept {
            tracing::error!(
                "Not all work on tokens was finished and saved in its time. A token that was asked for may be lost; the agent finds out at its next start. Check the disk or the database of the token stores."
            );
        }
        drain_over.cancel();
        tasks.wait().await;
        runs_ended && tokens_kept
    };
    tokio::select! {
        ended = tokio::time::timeout(limit, drained) => match ended {
            Ok(true) => tracing::info!("The agent has stopped; everything was finished."),
            Ok(false) => tracing::warn!("The agent has stopped with work unfinished, as said above."),
            Err(_) => tracing::warn!("The agent stops with work unfinished: the drain time is over."),
        },
        () = signals.stop() => tracing::warn!("A second stop signal has come; the agent stops at once."),
    }
    Ok(())
}

/// How long storing a token may take, beyond its request.
const COMMIT_TIME: Duration = Duration::from_secs(10);
/// For what remains when runs and tokens are done: answers that are still being read by their callers.
const LAST_CALLERS: Duration = Duration::from_secs(5);
/// What systemd waits beyond the agent's own bound. `TimeoutStopSec=` of the unit holds the sum of the defaults.
const STOP_MARGIN: Duration = Duration::from_secs(5);

/// How long a stop takes at most.
fn longest_stop(settings: &Settings) -> Duration {
    Engine::longest_drain(settings.limits.drain)
        + settings.refresh.request_timeout
        + COMMIT_TIME
        + LAST_CALLERS
}

async fn bind(settings: &ControlPort) -> Result<(Vec<Listener>, Vec<String>), String> {
    let (mut listeners, mut addresses) = (Vec::new(), Vec::new());
    for passed in systemd::passed_sockets()? {
        let adopted = match passed {
            PassedSocket::Tcp(socket) => socket
                .set_nonblocking(true)
                .and_then(|()| tokio::net::TcpListener::from_std(socket))
                .and_then(|socket| {
                    let address = socket.local_addr()?;
                    addresses.push(address.to_string());
                    Ok(Listener::Tcp(socket, address))
                }),
            PassedSocket::Unix(socket) => {
                addresses.push("unix:systemd".to_owned());
                socket
                    .set_nonblocking(true)
                    .and_then(|()| tokio::net::UnixListener::from_std(socket))
                    .map(Listener::Unix)
            }
        };
        listeners
            .push(adopted.map_err(|error| format!("A socket passed by systemd cannot be used: {error}."))?);
    }
    if let Some(wanted) = settings.listen {
        let refused = |error| {
            format!(
                "[ControlPort] Listen={wanted}: {error}. Stop the program that has this port, or choose another."
            )
        };
        let socket = tokio::net::TcpListener::bind(wanted).await.map_err(refused)?;
        let address = socket.local_addr().map_err(refused)?;
        addresses.insert(0, address.to_string());
        listeners.push(Listener::Tcp(socket, address));
    }
    if let Some(path) = &settings.unix_socket {
        listeners.push(Listener::Unix(bind_unix(path)?));
        addresses.push(format!("unix:{}", path.display()));
    }
    if listeners.is_empty() {
        return Err("[ControlPort]: there is nothing to listen on. Set Listen or UnixSocket, or enable o365-agent.socket.".to_owned());
    }
    Ok((listeners, addresses))
}

/// Binds a unix socket. The umask is private already, so it is never open to others, not even for a moment.
fn bind_unix(path: &Path) -> Result<tokio::net::UnixListener, String> {
    use std::os::unix::fs::FileTypeExt;
    let left_over = std::fs::symlink_metadata(path).is_ok_and(|metadata| metadata.file_type().is_socket());
    if left_over && std::os::unix::net::UnixStream::connect(path).is_err() {
        files::remove(path).map_err(|error| error.to_string())?;
    }
    tokio::net::UnixListener::bind(path).map_err(|error| {
        format!(
            "[ControlPort] UnixSocket={}: {error}. Choose a path in a folder of the agent.",
            path.display()
        )
    })
}

/// Tells other programs of this host (and `o365-agent status`) where the port is, which matters with port 0.
fn publish_address(settings: &Settings, addresses: &[String]) -> Result<(), String> {
    let file = settings.state_directory.join("control-address");
    match addresses.iter().find(|address| !address.starts_with("unix:")) {
        Some(address) => {
            files::write_private(&file, format!("{address}\n").as_bytes()).map_err(|error| error.to_string())
        }
        None => files::remove(&file).map_err(|error| error.to_string()),
    }
}

/// The signals the agent listens to, registered before anything can be lost to their default actions.
struct Signals {
    terminate: Signal,
    interrupt: Signal,
    hang_up: Option<Signal>,
}

impl Signals {
    fn new() -> Result<Self, String> {
        let register = |kind| signal(kind).map_err(|error| format!("Signals cannot be received: {error}."));
        Ok(Self {
            terminate: register(SignalKind::terminate())?,
            interrupt: register(SignalKind::interrupt())?,
            hang_up: Some(register(SignalKind::hangup())?),
        })
    }

    fn hang_up(&mut self) -> Signal {
        self.hang_up.take().expect("asked for once, by the loader")
    }

    async fn stop(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::settings::{self, ThisHost};

    #[test]
    fn the_unit_s_stop_time_fits_the_default_bounds() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR"));
        let unit = files::read_bounded(&root.join("systemd/o365-agent.service"), 64 * 1024);
        let unit = String::from_utf8(unit.expect("the unit is there")).expect("it is text");
        let line =
            unit.lines().find_map(|line| line.strip_prefix("TimeoutStopSec=")).expect("it has the key");
        let seconds: u64 = line.trim_end_matches('s').parse().expect("seconds");
        let defaults = Location { path: root.join("no such file"), required: false };
        let settings = settings::load(&defaults, &ThisHost::new()).expect("the defaults are good").settings;
        assert_eq!(Duration::from_secs(seconds), longest_stop(&settings) + STOP_MARGIN);
    }
}
