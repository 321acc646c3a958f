//! Counters and gauges in the OpenMetrics text format, served at `/metrics`. No global: one value, passed on.
//! Label values are connection names, activity kinds and closed sets of words; never an id, a path or a secret, so
//! that the number of series stays bounded by the configuration.

use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

/// Labels of a series about one connection.
#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct OfConnection {
    connection: String,
}

/// Labels of a series about one connection and one word out of a closed set.
#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct WithOutcome {
    connection: String,
    outcome: &'static str,
}

/// Labels of a series about being throttled: the scope is one word out of a closed set, never a mailbox.
#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct OfThrottle {
    connection: String,
    scope: &'static str,
}

/// Labels of a series about activity runs.
#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct OfRun {
    connection: String,
    activity: &'static str,
    outcome: &'static str,
}

/// Labels of a series about one thing a connection signs in with.
#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct OfCredential {
    connection: String,
    credential: &'static str,
}

/// All metrics of one agent. Cheap to share; recording never blocks for long and never fails.
#[derive(Debug)]
pub struct Metrics {
    registry: Registry,
    token_expiry: Family<OfConnection, Gauge>,
    token_usable: Family<OfConnection, Gauge>,
    credential_expiry: Family<OfCredential, Gauge>,
    token_refreshes: Family<WithOutcome, Counter>,
    graph_requests: Family<WithOutcome, Counter>,
    graph_throttled: Family<OfThrottle, Counter>,
    graph_gate_closed: Family<OfThrottle, Counter<f64, AtomicU64>>,
    graph_waiting: Family<OfConnection, Gauge>,
    graph_in_flight: Family<OfConnection, Gauge>,
    graph_retries: Family<OfConnection, Counter>,
    rows: Family<OfConnection, Counter>,
    runs: Family<OfRun, Counter>,
    runs_active: Gauge,
    connections: Gauge,
    drop_in_faults: Gauge,
    drop_in_loads: Counter,
    control_refused: Family<Refusal, Counter>,
    start_time: Gauge<f64, AtomicU64>,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct Refusal {
    reason: &'static str,
}

impl Metrics {
    /// An empty set of series, all registered.
    pub fn new() -> Arc<Self> {
        let mut metrics = Self {
            registry: Registry::with_prefix("o365_agent"),
            token_expiry: Family::default(),
            token_usable: Family::default(),
            credential_expiry: Family::default(),
            token_refreshes: Family::default(),
            graph_requests: Family::default(),
            graph_throttled: Family::default(),
            graph_gate_closed: Family::default(),
            graph_waiting: Family::default(),
            graph_in_flight: Family::default(),
            graph_retries: Family::default(),
            rows: Family::default(),
            runs: Family::default(),
            runs_active: Gauge::default(),
            connections: Gauge::default(),
            drop_in_faults: Gauge::default(),
            drop_in_loads: Counter::default(),
            control_refused: Family::default(),
            start_time: Gauge::default(),
        };
        metrics.register();
        Arc::new(metrics)
    }

    fn register(&mut self) {
        let registry = &mut self.registry;
        let expiry =
            "When the connection's access token expires, in seconds since 1970; 0 when there is none";
        registry.register("token_expiry_timestamp_seconds", expiry, self.token_expiry.clone());
        let credential = "When what a connection signs in with comes to its end, in seconds since 1970";
        registry.register("credential_expiry_timestamp_seconds", credential, self.credential_expiry.clone());
        let usable = "1 when calls of this connection can be served now, else 0";
        registry.register("connection_usable", usable, self.token_usable.clone());
        registry.register("token_refreshes", "Token requests by outcome", self.token_refreshes.clone());
        registry.register(
            "graph_requests",
            "Requests sent to Microsoft Graph by outcome",
            self.graph_requests.clone(),
        );
        registry.register(
            "graph_throttled",
            "Answers 429 or 503 with a wait, by what is throttled",
            self.graph_throttled.clone(),
        );
        registry.register(
            "graph_gate_closed_seconds",
            "Seconds for which nothing may be sent because Graph said so, by what is throttled",
            self.graph_gate_closed.clone(),
        );
        let waiting = "Requests to Microsoft Graph that wait for their turn";
        registry.register("graph_waiting", waiting, self.graph_waiting.clone());
        let in_flight = "Requests to Microsoft Graph that wait for an answer";
        registry.register("graph_in_flight", in_flight, self.graph_in_flight.clone());
        registry.register("graph_retries", "Requests sent again", self.graph_retries.clone());
        registry.register("rows", "Rows delivered to callers", self.rows.clone());
        registry.register("runs", "Finished activity runs by outcome", self.runs.clone());
        registry.register("runs_active", "Activity runs in progress", self.runs_active.clone());
        registry.register("connections", "Connections that are loaded", self.connections.clone());
        registry.register("drop_in_faults", "Faults in the drop-in files now", self.drop_in_faults.clone());
        registry.register(
            "drop_in_loads",
            "Changes of agent.d that were taken over",
            self.drop_in_loads.clone(),
        );
        registry.register(
            "control_refused",
            "Control port requests refused by reason",
            self.control_refused.clone(),
        );
        registry.register(
            "start_time_seconds",
            "When the agent started, in seconds since 1970",
            self.start_time.clone(),
        );
    }

    /// The text that `/metrics` answers with.
    pub fn render(&self) -> String {
        let mut text = String::with_capacity(8 * 1024);
        let _a_string_never_refuses = encode(&mut text, &self.registry);
        text
    }

    /// The agent started at this many seconds since 1970.
    pub fn started(&self, seconds: f64) {
        self.start_time.set(seconds);
    }

    /// The access token of `connection` expires then (seconds since 1970; `None`: there is no token).
    pub fn token_expiry(&self, connection: &str, seconds: Option<i64>) {
        self.token_expiry.get_or_create(&of(connection)).set(seconds.unwrap_or(0));
    }

    /// A credential of `connection` (`access_token`, `refresh_token`, `client_secret`, `certificate`) ends then.
    pub fn credential_expiry(&self, connection: &str, credential: &'static str, seconds: i64) {
        let labels = OfCredential { connection: connection.to_owned(), credential };
        self.credential_expiry.get_or_create(&labels).set(seconds);
    }

    /// Whether calls of `connection` can be served now.
    pub fn usable(&self, connection: &str, usable: bool) {
        self.token_usable.get_or_create(&of(connection)).set(i64::from(usable));
    }

    /// A token request of `connection` ended: `refreshed`, `denied`, `try_later` or `superseded`.
    pub fn token_refresh(&self, connection: &str, outcome: &'static str) {
        self.token_refreshes.get_or_create(&WithOutcome { connection: connection.to_owned(), outcome }).inc();
    }

    /// A Graph request was answered: `2xx`, `3xx`, `4xx`, `5xx`, or `no_answer`.
    pub fn graph_request(&self, connection: &str, outcome: &'static str) {
        self.graph_requests.get_or_create(&WithOutcome { connection: connection.to_owned(), outcome }).inc();
    }

    /// Graph told `connection` to wait; `scope` is `mailbox`, `service`, `tenant` or `application`.
    pub fn throttled(&self, connection: &str, scope: &'static str) {
        self.graph_throttled.get_or_create(&throttle(connection, scope)).inc();
    }

    /// Nothing may be sent for so much longer, because of an answer to `connection`.
    pub fn gate_closed(&self, connection: &str, scope: &'static str, longer: Duration) {
        self.graph_gate_closed.get_or_create(&throttle(connection, scope)).inc_by(longer.as_secs_f64());
    }

    /// One request of `connection` waits for its turn until the result is dropped.
    pub fn graph_waiting(&self, connection: &str) -> Counted {
        Counted::one_of(self.graph_waiting.get_or_create_owned(&of(connection)))
    }

    /// One request of `connection` waits for its answer until the result is dropped.
    pub fn graph_in_flight(&self, connection: &str) -> Counted {
        Counted::one_of(self.graph_in_flight.get_or_create_owned(&of(connection)))
    }

    /// A Graph request is sent again.
    pub fn retried(&self, connection: &str) {
        self.graph_retries.get_or_create(&of(connection)).inc();
    }

    /// Rows went out to a caller.
    pub fn rows(&self, connection: &str, count: u64) {
        self.rows.get_or_create(&of(connection)).inc_by(count);
    }

    /// A run began.
    pub fn run_started(&self) {
        self.runs_active.inc();
    }

    /// A run ended: `success`, `error` or `cancelled`.
    pub fn run_finished(&self, connection: &str, activity: &'static str, outcome: &'static str) {
        self.runs_active.dec();
        self.runs.get_or_create(&OfRun { connection: connection.to_owned(), activity, outcome }).inc();
    }

    /// A set of connections was taken over, with so many faults left in the drop-in files.
    pub fn loaded(&self, connections: usize, faults: usize) {
        self.connections.set(i64::try_from(connections).unwrap_or(i64::MAX));
        self.drop_in_faults.set(i64::try_from(faults).unwrap_or(i64::MAX));
        self.drop_in_loads.inc();
    }

    /// The control port refused a request, for one of a closed set of reasons.
    pub fn refused(&self, reason: &'static str) {
        self.control_refused.get_or_create(&Refusal { reason }).inc();
    }

    /// Drops the gauges of a connection that is gone, so that alerts on it end.
    pub fn forget(&self, connection: &str) {
        self.token_expiry.remove(&of(connection));
        self.token_usable.remove(&of(connection));
        self.graph_waiting.remove(&of(connection));
        self.graph_in_flight.remove(&of(connection));
        for credential in ["access_token", "refresh_token", "client_secret", "certificate"] {
            let labels = OfCredential { connection: connection.to_owned(), credential };
            self.credential_expiry.remove(&labels);
        }
    }
}

/// One of the things that a gauge counts now.
#[derive(Debug)]
pub struct Counted(Gauge);

impl Counted {
    fn one_of(gauge: Gauge) -> Self {
        gauge.inc();
        Self(gauge)
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.dec();
    }
}

fn throttle(connection: &str, scope: &'static str) -> OfThrottle {
    OfThrottle { connection: connection.to_owned(), scope }
}

fn of(connection: &str) -> OfConnection {
    OfConnection { connection: connection.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn renders_what_was_recorded() {
        let metrics = Metrics::new();
        metrics.token_refresh("Sales \"mailbox\"", "refreshed");
        metrics.token_expiry("Sales \"mailbox\"", Some(42));
        let text = metrics.render();
        let refreshes =
            "o365_agent_token_refreshes_total{connection=\"Sales \\\"mailbox\\\"\",outcome=\"refreshed\"} 1";
        assert!(text.contains(refreshes), "{text}");
        assert!(
            text.contains(
                "o365_agent_token_expiry_timestamp_seconds{connection=\"Sales \\\"mailbox\\\"\"} 42"
            )
        );
    }
}
