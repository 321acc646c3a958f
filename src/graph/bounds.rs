//! The bound on every wait: the caller's stop signal and the caller's deadline. Never measures wall-clock time.

use std::future::Future;
use std::time::Duration;

use tokio::time::Instant;

use super::{CallContext, GraphError};

/// Why a wait was cut short.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Stop {
    /// The caller has gone or the run was cancelled.
    Cancelled,
    /// The caller's deadline has passed.
    Deadline,
}

impl From<Stop> for GraphError {
    fn from(stop: Stop) -> Self {
        match stop {
            Stop::Cancelled => Self::Cancelled,
            Stop::Deadline => Self::Deadline,
        }
    }
}

/// Waits for `work`, but no longer than the caller does. A stop that came before wins over work that is ready.
pub(super) async fn bounded<T>(context: &CallContext, work: impl Future<Output = T>) -> Result<T, Stop> {
    tokio::select! {
        biased;
        () = context.cancel.cancelled() => Err(Stop::Cancelled),
        () = tokio::time::sleep_until(context.deadline) => Err(Stop::Deadline),
        done = work => Ok(done),
    }
}

/// Time until the caller's deadline.
pub(super) fn time_left(context: &CallContext) -> Duration {
    context.deadline.saturating_duration_since(Instant::now())
}
