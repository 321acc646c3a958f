//! How a handler asks for a reload and hears what came of it. The reload itself is the loader's work.

use tokio::sync::{mpsc, oneshot};
use utoipa::ToSchema;

use crate::error::Fault;

/// What a load changed. The first load at start-up gives one as well: it is the same code path.
#[derive(Clone, Debug, Default, serde::Serialize, serde::Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct ReloadReport {
    /// Whether everything that was read is in force (no fault, and nothing waits for a restart).
    pub ok: bool,
    /// Connections that are new.
    pub added: Vec<String>,
    /// Connections that changed.
    pub changed: Vec<String>,
    /// Connections that are gone.
    pub removed: Vec<String>,
    /// How many connections are in force.
    pub connections: usize,
    /// Settings that were changed in the file but take effect only after a restart.
    pub restart_needed: Vec<String>,
    /// Remarks on the settings file.
    pub notices: Vec<String>,
    /// Everything that is wrong, as `file:line: key: message`.
    pub faults: Vec<String>,
}

impl ReloadReport {
    /// The faults as lines of text.
    pub fn fault_lines(faults: &[Fault]) -> Vec<String> {
        faults.iter().map(ToString::to_string).collect()
    }
}

/// One request to look again.
pub type ReloadRequest = oneshot::Sender<ReloadReport>;

/// Asks the loader to look again.
#[derive(Clone, Debug)]
pub struct ReloadHandle(mpsc::Sender<ReloadRequest>);

impl ReloadHandle {
    /// A handle and the queue it fills. The queue is short: a reload that is already waiting will see the newest files.
    pub fn new() -> (Self, mpsc::Receiver<ReloadRequest>) {
        let (sender, receiver) = mpsc::channel(8);
        (Self(sender), receiver)
    }

    /// Loads settings and drop-ins again and waits for the outcome; `None` when the agent is stopping.
    pub async fn reload(&self) -> Option<ReloadReport> {
        let (sender, receiver) = oneshot::channel();
        self.0.send(sender).await.ok()?;
        receiver.await.ok()
    }
}
