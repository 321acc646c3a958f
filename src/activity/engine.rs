//! The engine: live connections by name, and one method for each kind of activity. Holds no lock over a network call:
//! the map of connections is swapped whole, and a run keeps the version it began with.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;

use super::check_connection::{StoreProbe, check_connection};
use super::error::ActivityError;
use super::model::{
    CallOptions, ExecuteAnswer, ExecuteRequest, RunStatus, TestReport, WriteAnswer, WriteRequest,
};
use super::procedures;
use super::running::RunningQuery;
use super::runs::{Run, Runs};
use super::saved::{SavedRequest, saved};
use super::schema::{SchemaError, refresh_schema};
use super::variables::user_id;
use super::write::write_records;
use crate::catalog::{CatalogSlot, SchemaStatus};
use crate::clock::Clock;
use crate::connection::{ActivityKind, Connection};
use crate::graph::{CallContext, GraphClient};
use crate::query::{QueryRequest, RowStream, plan};
use crate::settings::Limits;
use crate::telemetry::Metrics;
use crate::token::TokenHandle;

/// A connection in force, with what it needs to talk.
#[derive(Debug)]
pub struct Live {
    /// The connection.
    pub connection: Arc<Connection>,
    /// Its token.
    pub tokens: Arc<TokenHandle>,
    /// Its way to Graph.
    pub graph: Arc<GraphClient>,
    /// What objects there are at its Graph endpoint.
    pub catalog: Arc<CatalogSlot>,
}

/// How often a drain looks whether runs are left. Runs end by themselves and nobody is told, so this is a poll.
const DRAIN_POLL: Duration = Duration::from_millis(20);

type ByName = BTreeMap<String, Arc<Live>>;

/// Runs activities on live connections.
#[derive(Debug)]
pub struct Engine {
    metrics: Arc<Metrics>,
    clock: Clock,
    live: ArcSwap<ByName>,
    runs: Arc<Runs>,
    limits: ArcSwap<Limits>,
}

impl Engine {
    /// An engine without connections.
    pub fn new(clock: Clock, metrics: Arc<Metrics>, limits: &Limits) -> Arc<Self> {
        let runs = Runs::new(clock.clone(), Arc::clone(&metrics), limits);
        Arc::new(Self {
            metrics,
            clock,
            live: ArcSwap::default(),
            runs,
            limits: ArcSwap::from_pointee(limits.clone()),
        })
    }

    /// Takes new limits over for runs that begin from now on. `ConcurrentRuns` and `RunHistory` need a restart.
    pub fn set_limits(&self, limits: Limits) {
        self.limits.store(Arc::new(limits));
    }

    /// Waits until every run has ended, for at most `bound`, and then asks the rest to stop. No run is begun any more
    /// by then: the control port has stopped accepting.
    pub async fn drain(&self, bound: Duration) {
        let none_left = async {
            while self.runs.active() > 0 {
                tokio::time::sleep(DRAIN_POLL).await;
            }
        };
        if tokio::time::timeout(bound, none_left).await.is_err() {
            tracing::warn!(
                runs = self.runs.active(),
                "The drain time is over; the runs in progress are cancelled."
            );
            self.runs.cancel_all();
        }
    }

    /// Takes a new set of connections into force, all at once. Runs in progress end on the version they began with.
    pub fn apply(&self, live: Vec<Arc<Live>>) {
        let by_name = |live: Arc<Live>| (live.connection.name.as_str().to_owned(), live);
        self.live.store(Arc::new(live.into_iter().map(by_name).collect()));
    }

    /// The connection called exactly `name`.
    pub fn live(&self, name: &str) -> Option<Arc<Live>> {
        self.live.load().get(name).cloned()
    }

    /// All connections in force, in name order.
    pub fn all(&self) -> Vec<Arc<Live>> {
        self.live.load().values().cloned().collect()
    }

    /// The runs.
    pub fn runs(&self) -> &Arc<Runs> {
        &self.runs
    }

    /// Begins a query. Nothing has been asked of Graph yet; [`RunningQuery::first`] does.
    ///
    /// # Errors
    /// [`ActivityError::BadRequest`] when the request cannot be planned, [`ActivityError::Busy`].
    pub fn query(
        &self,
        live: &Live,
        request: &QueryRequest,
        options: &CallOptions,
    ) -> Result<RunningQuery, ActivityError> {
        let user = user_id(&live.connection, &options.variables)?;
        let plan = plan(&live.catalog.get(), request, &live.connection, user.as_deref())?;
        let run = self.runs.start(&live.connection.name, ActivityKind::Query, &request.object, options)?;
        let context = self.context(&run, options);
        let stream = RowStream::new(plan, Arc::clone(&live.graph), context.clone());
        let name = live.connection.name.as_str().to_owned();
        Ok(RunningQuery::new(
            run,
            stream,
            context,
            name,
            Arc::clone(&self.metrics),
            self.limits.load().answer_rows,
        ))
    }

    /// Create, Update or Delete: one result a record, in order.
    ///
    /// # Errors
    /// [`ActivityError`] when no record was tried. What happened to a record that was tried stands in its result.
    pub async fn write(
        &self,
        live: &Live,
        kind: ActivityKind,
        request: &WriteRequest,
        options: &CallOptions,
    ) -> Result<WriteAnswer, ActivityError> {
        refuse_read_only(&live.connection, kind)?;
        let user = user_id(&live.connection, &options.variables)?;
        let mut run = self.runs.start(&live.connection.name, kind, &request.object, options)?;
        let context = self.context(&run, options);
        // Boxed: a batch in progress is large, and callers hold this future beside others.
        let written = Box::pin(write_records(live, kind, request, user.as_deref(), &context)).await;
        match written {
            Err(error) => {
                run.fail(&error);
                Err(error)
            }
            Ok((results, outcome)) => {
                let done = results.iter().filter(|result| result.was_written()).count() as u64;
                run.add_rows(done);
                self.metrics.rows(live.connection.name.as_str(), done);
                match outcome {
                    Some(error) => run.fail(&error),
                    None if done == results.len() as u64 => run.succeed(RunStatus::Success),
                    None => run.succeed(RunStatus::SuccessWithWarning),
                }
                Ok(WriteAnswer { results, run_id: run.id().to_owned() })
            }
        }
    }

    /// Execute: a procedure, or an action that Graph binds to a resource.
    ///
    /// # Errors
    /// [`ActivityError`]; [`crate::graph::GraphError::OutcomeUnknown`] says that it may have happened.
    pub async fn execute(
        &self,
        live: &Live,
        request: &ExecuteRequest,
        options: &CallOptions,
    ) -> Result<ExecuteAnswer, ActivityError> {
        refuse_read_only(&live.connection, ActivityKind::Execute)?;
        let user = user_id(&live.connection, &options.variables)?;
        let (call, outcome) = procedures::call(request, &live.connection, user.as_deref())?;
        let mut run =
            self.runs.start(&live.connection.name, ActivityKind::Execute, &request.procedure, options)?;
        let context = self.context(&run, options);
        let answer = Box::pin(live.graph.send(call, &context)).await;
        let result =
            answer.and_then(|answer| procedures::result(outcome, &answer)).map_err(ActivityError::from);
        let result = result.inspect_err(|error| run.fail(error))?;
        run.add_rows(1);
        run.succeed(RunStatus::Success);
        Ok(ExecuteAnswer { result, run_id: run.id().to_owned() })
    }

    /// Fetches the schema of the connection's Graph endpoint and puts it in use.
    ///
    /// # Errors
    /// [`SchemaError`]; the schema in use stays.
    pub async fn refresh_schema(
        &self,
        live: &Live,
        options: &CallOptions,
    ) -> Result<SchemaStatus, SchemaError> {
        let cancel = tokio_util::sync::CancellationToken::new();
        let _stops_when_dropped = cancel.clone().drop_guard();
        let deadline = self.deadline(options);
        let context = CallContext { request_id: options.request_id.clone(), cancel, deadline };
        Box::pin(refresh_schema(live, &self.clock, &context)).await
    }

    /// Test: step by step, what works and what does not. It is no run: it must answer when all places are taken.
    pub async fn test(&self, live: &Live, probe: &dyn StoreProbe, options: &CallOptions) -> TestReport {
        let cancel = tokio_util::sync::CancellationToken::new();
        // Stops what a caller that went away left behind.
        let _stops_when_dropped = cancel.clone().drop_guard();
        let deadline = self.deadline(options);
        let context = CallContext { request_id: options.request_id.clone(), cancel, deadline };
        let user = user_id(&live.connection, &options.variables);
        Box::pin(check_connection(live, probe, user, &self.clock, &context)).await
    }

    /// The saved activity called exactly `name`, with its variables replaced, ready for [`Engine::query`],
    /// [`Engine::write`] or [`Engine::execute`]. Put the name into [`CallOptions::activity`] for the run's sake.
    ///
    /// # Errors
    /// [`ActivityError::NotFound`], or a sentence naming the activity and what is wrong with it.
    pub fn saved(
        &self,
        live: &Live,
        name: &str,
        options: &CallOptions,
    ) -> Result<SavedRequest, ActivityError> {
        saved(&live.connection, name, options)
    }

    fn context(&self, run: &Run, options: &CallOptions) -> CallContext {
        CallContext {
            request_id: options.request_id.clone(),
            cancel: run.cancel_token().clone(),
            deadline: self.deadline(options),
        }
    }

    fn deadline(&self, options: &CallOptions) -> tokio::time::Instant {
        let limit = self.limits.load().run_timeout;
        let timeout = options.timeout.map_or(limit, |timeout| timeout.min(limit));
        tokio::time::Instant::now() + timeout
    }
}

fn refuse_read_only(connection: &Connection, kind: ActivityKind) -> Result<(), ActivityError> {
    if !connection.read_only {
        return Ok(());
    }
    let message = format!(
        "The connection '{}' is for reading only (Readonly), so {} is refused. Change Readonly in {}, or use another \
         connection.",
        connection.name,
        kind.as_str(),
        connection.file.display()
    );
    Err(ActivityError::ReadOnly { message })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::query::test_support::connection;

    #[test]
    fn a_connection_for_reading_refuses_to_write_and_says_where_it_is_set() {
        let reading = connection(|connection| connection.read_only = true);
        let error = refuse_read_only(&reading, ActivityKind::Delete).err().map(|error| error.message());
        assert!(error.is_some_and(
            |message| message.contains("delete is refused") && message.contains("agent.d/sales.yaml")
        ));
        assert!(refuse_read_only(&connection(|_| {}), ActivityKind::Delete).is_ok());
    }
}
