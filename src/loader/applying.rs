//! The application of a snapshot to the registry, on a thread of its own: it reads the files that drop-ins name, and their
//! file system may hang. One at a time, and the newest snapshot waits for its turn. Never drops what was begun.

use std::path::PathBuf;
use std::sync::Arc;

use tokio::task::JoinHandle;

use crate::connection::{Changes, Registry};
use crate::dropin::Snapshot;
use crate::settings::{Settings, ThisHost};

/// What is being applied, if anything is.
#[derive(Debug, Default)]
pub struct Applying {
    under_way: Option<UnderWay>,
    /// The newest snapshot, which could not be begun yet.
    waiting: Option<Snapshot>,
}

#[derive(Debug)]
struct UnderWay {
    work: JoinHandle<Changes>,
    host: ThisHost,
}

impl Applying {
    /// Applies `snapshot` after what is under way. When the future is dropped, the work goes on and the snapshot waits.
    pub async fn apply(
        &mut self,
        snapshot: Snapshot,
        registry: &Arc<Registry>,
        settings: &Arc<Settings>,
    ) -> Changes {
        self.waiting = Some(snapshot);
        self.landed().await;
        let Some(snapshot) = self.waiting.take() else { return Changes::default() };
        let (registry, settings, host) = (Arc::clone(registry), Arc::clone(settings), ThisHost::new());
        let reader = host.clone();
        let work = tokio::task::spawn_blocking(move || registry.apply(&snapshot, &settings, &reader));
        self.under_way = Some(UnderWay { work, host });
        self.landed().await.unwrap_or_default()
    }

    /// The end of the work under way; `None` without any. It stays under way until this future has returned.
    pub async fn landed(&mut self) -> Option<Changes> {
        let under_way = self.under_way.as_mut()?;
        let applied = (&mut under_way.work).await;
        self.under_way = None;
        Some(applied.unwrap_or_else(|error| {
            tracing::error!(%error, "Applying the drop-ins failed; everything stays as it was.");
            Changes::default()
        }))
    }

    /// Whether work is under way.
    pub fn is_under_way(&self) -> bool {
        self.under_way.is_some()
    }

    /// The snapshot that waits for the end of the work.
    pub fn waiting(&mut self) -> Option<Snapshot> {
        self.waiting.take()
    }

    /// The file that is being read.
    pub fn reading(&self) -> Option<PathBuf> {
        self.under_way.as_ref()?.host.reading()
    }
}
