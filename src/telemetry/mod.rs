//! What the agent says about itself while it runs: log records and metrics. Never holds a secret; a leaf that any
//! stage may use and that uses none.

mod log;
mod metrics;
mod repeats;

pub use log::{LogFormat, LogHandle, LogSettings, start_logging};
pub use metrics::Metrics;
pub use repeats::Repeats;
