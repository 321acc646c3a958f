//! The loader: settings and drop-ins → connections in force. Start-up and reload are this one path: read the settings,
//! look at the drop-ins, apply the snapshot to the registry, then give keeper and engine the new set. Never judges a
//! drop-in itself.

mod applying;

use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use tokio::signal::unix::Signal;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use crate::activity::{Engine, Live};
use crate::catalog::Catalogs;
use crate::connection::{Changes, ConnectionSet, Registry, check_directory};
use crate::control::{ReloadReport, ReloadRequest};
use crate::dropin::{DropIns, Snapshot};
use crate::graph::{Governor, GraphClient};
use crate::settings::{self, Loaded, Location, Notice, NoticeLevel, Settings, ThisHost};
use crate::systemd;
use crate::telemetry::{LogHandle, Metrics};
use crate::token::{Keeper, Transports};
use crate::watchdog::{Alive, IDLE_TURN};

pub use applying::Applying;

/// Reading what drop-ins name that takes longer is reported: a file system does not answer.
const APPLY_PATIENCE: Duration = Duration::from_secs(20);

/// What the drop-in folder of `settings` comes to when nothing was loaded before. Changes nothing anywhere.
pub fn preview(settings: &Settings) -> ConnectionSet {
    check_directory(&settings.drop_in_directory, settings, &ThisHost::new())
}

/// What a turn of the loop is for.
enum Work {
    /// Something was seen.
    Apply(Snapshot),
    /// What took too long to apply has been applied.
    Applied(Changes),
    /// Somebody asked, and perhaps waits for the report.
    Reload(Option<ReloadRequest>),
}

/// Everything a load needs.
#[derive(Debug)]
pub struct Loader {
    /// Where the settings are read from.
    pub location: Location,
    /// The settings in force, shared with the control port.
    pub in_force: Arc<ArcSwap<Settings>>,
    /// The connections as configured.
    pub registry: Arc<Registry>,
    /// Their tokens.
    pub keeper: Arc<Keeper>,
    /// Their activities.
    pub engine: Arc<Engine>,
    /// Counters and gauges.
    pub metrics: Arc<Metrics>,
    /// The log filter.
    pub log: LogHandle,
    /// Shared limits on requests to Graph.
    pub governor: Arc<Governor>,
    /// The catalogs by Graph endpoint.
    pub catalogs: Arc<Catalogs>,
    /// Shared HTTP clients.
    pub transports: Arc<Transports>,
    /// The drop-ins, watched.
    pub drop_ins: DropIns,
    /// Tells the watchdog that this loop turns.
    pub alive: Alive,
    /// What is being applied.
    pub applying: Applying,
}

impl Loader {
    /// The first load, with the settings that were read before anything was started.
    pub async fn start(&mut self, loaded: &Loaded) -> ReloadReport {
        log_notices(&loaded.notices);
        let snapshot = self.drop_ins.settled().await;
        self.apply(snapshot).await
    }

    /// Looks again whenever there is something to see, until `stop`. The loop turns while its work waits for a disk, and a
    /// stop ends that wait.
    pub async fn run(
        mut self,
        mut requests: mpsc::Receiver<ReloadRequest>,
        mut hang_up: Signal,
        stop: CancellationToken,
    ) {
        let alive = self.alive.clone();
        loop {
            alive.turned();
            let work = tokio::select! {
                () = stop.cancelled() => return,
                () = tokio::time::sleep(IDLE_TURN) => continue,
                snapshot = self.drop_ins.next() => Work::Apply(snapshot),
                Some(changes) = self.applying.landed(), if self.applying.is_under_way() => Work::Applied(changes),
                Some(()) = hang_up.recv() => Work::Reload(None),
                Some(caller) = requests.recv() => Work::Reload(Some(caller)),
            };
            tokio::select! {
                biased;
                () = stop.cancelled() => return,
                () = alive.turning(self.turn(work)) => {}
            }
        }
    }

    async fn turn(&mut self, work: Work) {
        match work {
            Work::Apply(snapshot) => {
                self.apply(snapshot).await;
            }
            Work::Applied(changes) => {
                tracing::info!("The files that the drop-ins name could be read again.");
                self.put_in_force(&changes);
                if let Some(snapshot) = self.applying.waiting() {
                    self.apply(snapshot).await;
                }
            }
            Work::Reload(caller) => {
                let report = self.reload().await;
                // A caller that has gone wanted the reload all the same.
                let _caller_may_have_gone = caller.map(|caller| caller.send(report));
            }
        }
    }

    /// Reads the settings and the drop-ins again.
    async fn reload(&mut self) -> ReloadReport {
        systemd::reloading();
        let (mut restart_needed, mut notices, mut setting_faults) = (Vec::new(), Vec::new(), Vec::new());
        match settings::load(&self.location, &ThisHost::new()) {
            Ok(loaded) => {
                let running = self.in_force.load_full();
                restart_needed =
                    running.needs_restart(&loaded.settings).into_iter().map(str::to_owned).collect();
                notices = loaded.notices.iter().map(|notice| notice.text.to_string()).collect();
                log_notices(&loaded.notices);
                let newer = loaded.settings.with_restart_keys_of(&running);
                if newer.logging != running.logging
                    && let Err(message) = self.log.set_filter(&newer.logging.filter)
                {
                    setting_faults.push(message);
                }
                for key in &restart_needed {
                    tracing::warn!(key, "This setting has changed and takes effect after a restart.");
                }
                self.engine.set_limits(newer.limits.clone());
                self.in_force.store(Arc::new(newer));
            }
            Err(faults) => {
                for fault in &faults {
                    tracing::error!(%fault, "The settings have a fault; the last good ones stay in force.");
                }
                setting_faults = ReloadReport::fault_lines(&faults);
            }
        }
        let snapshot = self.drop_ins.settled().await;
        let mut report = self.apply(snapshot).await;
        setting_faults.append(&mut report.faults);
        report.faults = setting_faults;
        report.restart_needed = restart_needed;
        report.notices = notices;
        report.ok = report.faults.is_empty() && report.restart_needed.is_empty();
        systemd::ready(&status_line(&report));
        report
    }

    /// Puts in force what a snapshot says. Where a file that it names does not answer, that is reported and everything stays
    /// as it was; the snapshot is put in force when the file system answers again.
    async fn apply(&mut self, snapshot: Snapshot) -> ReloadReport {
        let settings = self.in_force.load_full();
        let applied = self.applying.apply(snapshot, &self.registry, &settings);
        match tokio::time::timeout(APPLY_PATIENCE, applied).await {
            Ok(changes) => self.put_in_force(&changes),
            Err(_) => self.silent(),
        }
    }

    /// The report that a file which drop-ins name does not answer.
    fn silent(&self) -> ReloadReport {
        let seconds = APPLY_PATIENCE.as_secs();
        let what = self.applying.reading().map_or_else(
            || "The files that the drop-ins name do".to_owned(),
            |path| format!("{}: the file or folder, which a drop-in names, does", path.display()),
        );
        let fault = format!(
            "{what} not answer; reading has taken more than {seconds} seconds. The connections stay as they were. Check the file system."
        );
        tracing::error!(%fault, "The drop-ins cannot be put in force.");
        let mut report = report(&Changes::default(), &self.registry.current());
        report.ok = false;
        report.faults.push(fault);
        systemd::status(&status_line(&report));
        report
    }

    /// Registry, then keeper, then engine, so that a connection that is found in the engine has its token handle as well.
    fn put_in_force(&self, changes: &Changes) -> ReloadReport {
        let set = self.registry.current();
        self.keeper.apply(&set);
        self.engine.apply(self.live(&set));
        self.metrics.loaded(set.connections.len(), set.faults.len());
        let report = report(changes, &set);
        systemd::status(&status_line(&report));
        report
    }

    /// The live connections of a set. What has not changed keeps its client, and with it its open connections.
    fn live(&self, set: &ConnectionSet) -> Vec<Arc<Live>> {
        let page_bytes = self.in_force.load().limits.page_bytes;
        let mut live = Vec::with_capacity(set.connections.len());
        for (name, connection) in &set.connections {
            if let Some(known) = self.engine.live(name.as_str())
                && known.connection.generation == connection.generation
            {
                live.push(known);
                continue;
            }
            let Some(tokens) = self.keeper.handle(name) else { continue };
            match self.transports.clients(connection) {
                Ok(http) => {
                    let (governor, metrics) = (self.governor.clone(), self.metrics.clone());
                    let graph = GraphClient::new(
                        connection.clone(),
                        tokens.clone(),
                        http,
                        governor,
                        metrics,
                        page_bytes,
                    );
                    let catalog = self.catalogs.of(&connection.endpoints.graph);
                    live.push(Arc::new(Live { connection: connection.clone(), tokens, graph, catalog }));
                }
                Err(reason) => {
                    tracing::error!(connection = %name, reason, "The connection has no HTTP client.")
                }
            }
        }
        live
    }
}

fn report(changes: &Changes, set: &ConnectionSet) -> ReloadReport {
    let names = |connections: &[Arc<crate::connection::Connection>]| {
        connections.iter().map(|connection| connection.name.to_string()).collect()
    };
    ReloadReport {
        ok: set.faults.is_empty(),
        added: names(&changes.added),
        changed: names(&changes.changed),
        removed: names(&changes.removed),
        connections: set.connections.len(),
        restart_needed: Vec::new(),
        notices: Vec::new(),
        faults: ReloadReport::fault_lines(&set.faults),
    }
}

/// The line that `systemctl status` shows.
pub fn status_line(report: &ReloadReport) -> String {
    let plural = |count: usize, what: &str| format!("{count} {what}{}", if count == 1 { "" } else { "s" });
    format!(
        "{} in force, {} in the configuration.",
        plural(report.connections, "connection"),
        plural(report.faults.len(), "fault")
    )
}

fn log_notices(notices: &[Notice]) {
    for notice in notices {
        match notice.level {
            NoticeLevel::Info => tracing::info!(notice = %notice.text, "A remark on the settings file."),
            NoticeLevel::Warning => tracing::warn!(notice = %notice.text, "A remark on the settings file."),
        }
    }
}

#[cfg(test)]
#[path = "loader_tests.rs"]
mod tests;
