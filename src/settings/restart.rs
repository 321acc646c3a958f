//! Which settings a reload can apply and which wait for a restart. Never applies anything itself.

use super::{Limits, Settings};
use crate::telemetry::LogSettings;

impl Settings {
    /// The keys that differ in `newer` and that only a restart applies, as `[Section] Key`.
    pub fn needs_restart(&self, newer: &Settings) -> Vec<&'static str> {
        let (old, new) = (self, newer);
        let mut keys = Vec::new();
        let mut compare = |differs: bool, key: &'static str| {
            if differs {
                keys.push(key);
            }
        };
        compare(old.drop_in_directory != new.drop_in_directory, "[Agent] DropInDirectory");
        compare(old.state_directory != new.state_directory, "[Agent] StateDirectory");
        compare(old.control.listen != new.control.listen, "[ControlPort] Listen");
        compare(old.control.unix_socket != new.control.unix_socket, "[ControlPort] UnixSocket");
        compare(
            old.control.unix_socket_users != new.control.unix_socket_users,
            "[ControlPort] UnixSocketUsers",
        );
        compare(old.control.token_file != new.control.token_file, "[ControlPort] TokenFile");
        compare(old.token_store.key_file != new.token_store.key_file, "[TokenStore] KeyFile");
        let (old_store, new_store) = (&old.token_store, &new.token_store);
        compare(old_store.lock_timeout != new_store.lock_timeout, "[TokenStore] LockTimeoutSeconds");
        compare(old_store.backend != new_store.backend, "[TokenStore] Backend");
        compare(old_store.group != new_store.group, "[TokenStore] Group");
        compare(old_store.postgresql != new_store.postgresql, "[TokenStore] Connection");
        let (old_refresh, new_refresh) = (&old.refresh, &new.refresh);
        compare(
            old_refresh.request_timeout != new_refresh.request_timeout,
            "[Refresh] RequestTimeoutSeconds",
        );
        compare(
            old_refresh.minimum_validity != new_refresh.minimum_validity,
            "[Refresh] MinimumValiditySeconds",
        );
        compare(old_refresh.backoff_base != new_refresh.backoff_base, "[Refresh] BackoffBaseSeconds");
        compare(old_refresh.backoff_cap != new_refresh.backoff_cap, "[Refresh] BackoffCapSeconds");
        compare(
            old_refresh.concurrent_per_host != new_refresh.concurrent_per_host,
            "[Refresh] ConcurrentPerHost",
        );
        compare(old.logging.format != new.logging.format, "[Logging] Format");
        compare(
            old.limits.control_connections != new.limits.control_connections,
            "[Limits] ControlConnections",
        );
        compare(old.limits.concurrent_runs != new.limits.concurrent_runs, "[Limits] ConcurrentRuns");
        compare(old.limits.request_body_bytes != new.limits.request_body_bytes, "[Limits] RequestBodyBytes");
        compare(old.limits.page_bytes != new.limits.page_bytes, "[Limits] PageBytes");
        compare(old.limits.run_history != new.limits.run_history, "[Limits] RunHistory");
        keys
    }

    /// These settings, with every key that only a restart applies as `running` has it: what a reload may put in force.
    #[must_use]
    pub fn with_restart_keys_of(&self, running: &Settings) -> Settings {
        Settings {
            drop_in_directory: running.drop_in_directory.clone(),
            state_directory: running.state_directory.clone(),
            control: running.control.clone(),
            token_store: running.token_store.clone(),
            refresh: running.refresh.clone(),
            logging: LogSettings { format: running.logging.format, ..self.logging.clone() },
            limits: Limits {
                control_connections: running.limits.control_connections,
                concurrent_runs: running.limits.concurrent_runs,
                request_body_bytes: running.limits.request_body_bytes,
                page_bytes: running.limits.page_bytes,
                run_history: running.limits.run_history,
                ..self.limits.clone()
            },
            ..self.clone()
        }
    }
}
