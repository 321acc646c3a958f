//! Test: whether a connection works, step by step, each with what was found or what is wrong and what to do. Changes
//! nothing, and never shows a token.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use super::engine::Live;
use super::error::ActivityError;
use super::model::{TestReport, TestStep};
use crate::catalog::Owner;
use crate::clock::{Clock, Stopwatch};
use crate::graph::{CallContext, Effect, GraphError, GraphRequest};
use crate::token::certificate::inspect;

/// How far the machine's clock may be off before tokens and certificates begin to fail.
const CLOCK_TOLERANCE_SECONDS: u64 = 120;

/// What the token stage knows about a connection's store and the token server's clock. Wired by the agent.
pub trait StoreProbe: Send + Sync {
    /// Whether the token store can be read and written: a sentence on what was found, or on what is wrong and what to
    /// do. Must be bounded in time.
    fn store(&self) -> Pin<Box<dyn Future<Output = Result<String, String>> + Send + '_>>;

    /// How many seconds the token server's clock is ahead of this machine's, when one of its answers has told.
    fn clock_skew_seconds(&self) -> Option<i64>;
}

pub(super) async fn check_connection(
    live: &Live,
    probe: &dyn StoreProbe,
    user: Result<Option<String>, ActivityError>,
    clock: &Clock,
    context: &CallContext,
) -> TestReport {
    let mut report = Report { steps: Vec::new(), failed: false };
    let stopwatch = Clock::stopwatch();
    let configured = match user.as_ref().map_err(ActivityError::message) {
        Ok(_) => certificate(live, clock).await.map(|certificate| configuration(live) + &certificate),
        Err(message) => Err(message),
    };
    report.add("configuration", stopwatch, configured);
    let stopwatch = Clock::stopwatch();
    let store = match report.failed {
        true => Ok(String::new()),
        false => probe.store().await,
    };
    report.add("store", stopwatch, store);
    let stopwatch = Clock::stopwatch();
    let token = match report.failed {
        true => Ok(String::new()),
        false => token(live, clock, context).await,
    };
    report.add("token", stopwatch, token);
    report.add("clock", Clock::stopwatch(), judge_clock(probe.clock_skew_seconds()));
    let stopwatch = Clock::stopwatch();
    let graph = match report.failed {
        true => Ok(String::new()),
        false => graph(live, user.ok().flatten(), context).await,
    };
    report.add("graph", stopwatch, graph);
    TestReport { ok: !report.failed, steps: report.steps }
}

struct Report {
    steps: Vec<TestStep>,
    failed: bool,
}

impl Report {
    /// A step after one that failed was not tried.
    fn add(&mut self, step: &'static str, stopwatch: Stopwatch, result: Result<String, String>) {
        let milliseconds = u64::try_from(stopwatch.elapsed().as_millis()).unwrap_or(u64::MAX);
        let (ok, message) = match result {
            _ if self.failed => (None, "Not tried, because an earlier step failed.".to_owned()),
            Ok(message) => (Some(true), message),
            Err(message) => (Some(false), message),
        };
        self.failed |= ok == Some(false);
        self.steps.push(TestStep { step, ok, milliseconds, message });
    }
}

fn configuration(live: &Live) -> String {
    let connection = &live.connection;
    format!(
        "AuthScheme {}, InitiateOAuth {}, acting {}, Graph at {}.",
        connection.auth.scheme.as_str(),
        connection.auth.initiate.as_str(),
        if connection.is_delegated() { "for a signed-in user" } else { "as an application" },
        connection.endpoints.graph
    )
}

/// What is found where the client certificate should be, as a sentence that follows others.
async fn certificate(live: &Live, clock: &Clock) -> Result<String, String> {
    let (connection, now) = (Arc::clone(&live.connection), clock.now());
    let found = tokio::task::spawn_blocking(move || inspect(&connection, now)).await;
    let report = match found {
        Ok(Ok(Some(report))) => report,
        Ok(Ok(None)) => return Ok(String::new()),
        Ok(Err(error)) => return Err(error.to_string()),
        Err(_) => return Err("Reading the certificate broke off. Report this with the log.".to_owned()),
    };
    let subject = report.subject.unwrap_or_else(|| format!("with thumbprint {}", report.thumbprint));
    let end = report.not_after.map_or_else(String::new, |end| format!(", valid until {end}"));
    Ok(format!(" Certificate {subject} from {}{end}.", report.source))
}

async fn token(live: &Live, clock: &Clock, context: &CallContext) -> Result<String, String> {
    let left = context.deadline.saturating_duration_since(tokio::time::Instant::now());
    let token =
        live.tokens.get(left.min(live.connection.timeout)).await.map_err(|error| error.to_string())?;
    let minutes = token.expires_at.until(clock.now()).as_secs() / 60;
    Ok(format!("An access token is there; it expires at {} (in {minutes} minutes).", token.expires_at))
}

fn judge_clock(skew: Option<i64>) -> Result<String, String> {
    match skew {
        None => Ok("The token server has not told its time since the agent started.".to_owned()),
        Some(seconds) if seconds.unsigned_abs() <= CLOCK_TOLERANCE_SECONDS => Ok(format!(
            "The machine's clock differs from the token server's by {} seconds.",
            seconds.unsigned_abs()
        )),
        Some(seconds) => {
            let side = if seconds > 0 { "behind" } else { "ahead of" };
            Err(format!(
                "The machine's clock is {} seconds {side} the token server's. Turn time synchronisation on (timedatectl \
                 set-ntp true).",
                seconds.unsigned_abs()
            ))
        }
    }
}

/// Reads one thing that says who we are. A 403 means that Graph has accepted the token, which is what is tested here.
async fn graph(live: &Live, user: Option<String>, context: &CallContext) -> Result<String, String> {
    let path = match user {
        Some(user) => format!("{}?$select=id", Owner::User(user).path()),
        None if live.connection.is_delegated() => "me?$select=id".to_owned(),
        None => "users?$select=id&$top=1".to_owned(),
    };
    let request = GraphRequest {
        method: http::Method::GET,
        path: path.clone(),
        headers: Vec::new(),
        body: None,
        mailbox: None,
        effect: Effect::Repeatable,
    };
    let soon = tokio::time::Instant::now() + live.connection.timeout.max(Duration::from_secs(1));
    let context = CallContext { deadline: context.deadline.min(soon), ..context.clone() };
    judge_graph(&path, live.graph.send(request, &context).await.map(|_| ()))
}

fn judge_graph(path: &str, answer: Result<(), GraphError>) -> Result<String, String> {
    match answer {
        Ok(()) => Ok(format!("Microsoft Graph answered /{path}.")),
        Err(GraphError::Refused(refusal)) if refusal.status == 403 => Ok(format!(
            "Microsoft Graph accepted the token, which has no permission to read /{path} ({}). If an activity needs it, \
             grant it to the app.",
            refusal.code
        )),
        Err(error) => Err(error.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::graph::GraphRefusal;

    #[test]
    fn steps_after_a_failure_are_not_tried() {
        let mut report = Report { steps: Vec::new(), failed: false };
        report.add("store", Clock::stopwatch(), Ok("Fine.".to_owned()));
        report.add("token", Clock::stopwatch(), Err("No token. Sign in.".to_owned()));
        report.add("graph", Clock::stopwatch(), Ok(String::new()));
        let seen: Vec<_> = report.steps.iter().map(|step| step.ok).collect();
        assert_eq!((seen, report.failed), (vec![Some(true), Some(false), None], true));
    }

    #[test]
    fn a_wrong_clock_is_named_with_its_side() {
        assert!(judge_clock(None).is_ok());
        assert!(judge_clock(Some(-120)).is_ok());
        assert!(judge_clock(Some(300)).is_err_and(|message| message.contains("300 seconds behind")));
        assert!(judge_clock(Some(-300)).is_err_and(|message| message.contains("300 seconds ahead of")));
    }

    #[test]
    fn a_missing_permission_still_proves_the_way_to_graph() {
        let refused = |status| GraphError::Refused(GraphRefusal { status, ..GraphRefusal::default() });
        assert!(judge_graph("me", Err(refused(403))).is_ok_and(|message| message.contains("no permission")));
        assert!(judge_graph("me", Err(refused(401))).is_err());
        assert!(judge_graph("me", Ok(())).is_ok());
    }
}
