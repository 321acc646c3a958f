//! The control stage: the local HTTP port. Guard → extract → one call into a stage → answer. Decides nothing: what may
//! be done, retried or refused is decided to its left.

mod answer;
mod extract;
mod from_stages;
mod guard;
mod layers;
mod problem;
mod reload;
mod routes;
mod server;
mod spooled;
mod token_file;
mod written;

use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};

use arc_swap::ArcSwap;

use crate::activity::Engine;
use crate::clock::{Clock, Timestamp};
use crate::connection::Registry;
use crate::settings::Settings;
use crate::telemetry::Metrics;
use crate::token::Keeper;

pub use guard::{Guard, OPEN_PATHS, Refusal, Via};
pub use layers::Layers;
pub use problem::Problem;
pub use reload::{ReloadHandle, ReloadReport, ReloadRequest};
pub use routes::{open_api, router};
pub use server::{Listener, serve};
pub use token_file::control_token;

/// What handlers may use. One value, made by the life cycle and shared.
#[derive(Debug)]
pub struct Control {
    /// Runs activities.
    pub engine: Arc<Engine>,
    /// The connections as configured.
    pub registry: Arc<Registry>,
    /// Their tokens.
    pub keeper: Arc<Keeper>,
    /// The settings in force.
    pub settings: Arc<ArcSwap<Settings>>,
    /// Counters and gauges.
    pub metrics: Arc<Metrics>,
    /// Asks the loader to look again.
    pub reload: ReloadHandle,
    /// Whether the agent is starting, ready or draining.
    pub phase: Arc<Phase>,
    /// The time.
    pub clock: Clock,
    /// When the agent started.
    pub started_at: Timestamp,
}

/// The phases of the agent's life that `/readyz` tells apart.
#[derive(Debug, Default)]
pub struct Phase(AtomicU8);

impl Phase {
    /// The first load is done and the port is bound.
    pub fn set_ready(&self) {
        self.0.store(1, Ordering::Release);
    }

    /// A stop signal has come.
    pub fn set_draining(&self) {
        self.0.store(2, Ordering::Release);
    }

    /// `starting`, `ready` or `draining`.
    pub fn word(&self) -> &'static str {
        match self.0.load(Ordering::Acquire) {
            0 => "starting",
            1 => "ready",
            _ => "draining",
        }
    }
}
