//! The engine: live connections by name, and one method for each kind of activity. Holds no lock over a network call:
//! the map of connections is swapped whole, and a run keeps the version it began with.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;

use super::check_connection::{StoreProbe, check_connection};
use super::error::ActivityError;
use super::input::RecordFormat;
use super::kept::Kept;
use super::kept_results::KeptResults;
use super::model::{CallOptions, RunStatus, RunView, TestReport};
use super::patience::Patience;
use super::running::RunningQuery;
use super::runs::{Run, Runs};
use super::saved::{SavedRequest, saved};
use super::schema::{SchemaError, refresh_schema};
use super::spool::{SUFFIX, Spools};
use super::spooled_rows::SpooledRows;
use super::spooling::spool_rows;
use super::upload::{Upload, not_kept};
use super::variables::user_id;
use super::write::{Prepared, RunningWrite, WriteCall};
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

/// What a run has kept.
#[derive(Debug)]
pub enum RunResults {
    /// Results of records.
    Records(Box<KeptResults>),
    /// Rows of a query.
    Rows(Box<SpooledRows>),
}

/// How often a drain looks whether runs are left. Runs end by themselves and nobody is told, so this is a poll.
const DRAIN_POLL: Duration = Duration::from_millis(20);
/// How long runs that were told to stop have to bring home what is on its way.
const LAST_ANSWERS: Duration = Duration::from_secs(8);

type ByName = BTreeMap<String, Arc<Live>>;

/// Runs activities on live connections.
#[derive(Debug)]
pub struct Engine {
    metrics: Arc<Metrics>,
    clock: Clock,
    live: ArcSwap<ByName>,
    runs: Arc<Runs>,
    /// Journals of writes; absent when the state directory cannot hold them.
    kept: Option<Arc<Kept>>,
    /// Rows of queries; absent when the state directory cannot hold them.
    spools: Option<Arc<Spools>>,
    limits: ArcSwap<Limits>,
    patience: Patience,
    /// Whether other agents have the same connections.
    has_siblings: bool,
}

impl Engine {
    /// An engine without connections, which keeps runs and journals in `runs` below the state directory. `has_siblings`:
    /// the agent is one of a group.
    pub fn new(
        clock: Clock,
        metrics: Arc<Metrics>,
        limits: &Limits,
        state_directory: &Path,
        has_siblings: bool,
    ) -> Arc<Self> {
        let folder = state_directory.join("runs");
        let kept = Kept::open(&folder, clock.clone());
        let kept = kept
            .inspect_err(|error| {
                tracing::warn!(error, "Idempotency keys and results for later cannot be kept.")
            })
            .ok();
        let folder = kept.as_ref().map(|_| folder.as_path());
        let spools = folder.and_then(|folder| {
            Spools::open(folder, clock.clone())
                .inspect_err(|error| tracing::warn!(error, "Rows for later cannot be kept."))
                .ok()
        });
        let runs = Runs::new(clock.clone(), Arc::clone(&metrics), limits, folder);
        Arc::new(Self {
            kept,
            spools,
            metrics,
            clock,
            live: ArcSwap::default(),
            runs,
            limits: ArcSwap::from_pointee(limits.clone()),
            patience: Patience::of_process(),
            has_siblings,
        })
    }

    /// Takes new limits over for runs that begin from now on. `ConcurrentRuns` and `RunHistory` need a restart.
    pub fn set_limits(&self, limits: Limits) {
        self.limits.store(Arc::new(limits));
    }

    /// How long a drain with that bound takes at most.
    pub fn longest_drain(bound: Duration) -> Duration {
        bound + LAST_ANSWERS
    }

    /// Waits until every run has ended, for at most `bound`, and then asks the rest to stop. No run is begun any more
    /// by then: the control port has stopped accepting. Whether all of them ended without being asked.
    pub async fn drain(&self, bound: Duration) -> bool {
        let none_left = async {
            while self.runs.active() > 0 {
                tokio::time::sleep(DRAIN_POLL).await;
            }
        };
        let all_ended = tokio::time::timeout(bound, none_left).await.is_ok();
        if !all_ended {
            tracing::warn!(
                runs = self.runs.active(),
                "The drain time is over; the runs in progress are cancelled."
            );
            self.runs.cancel_all();
            let none_left = async {
                while self.runs.active() > 0 {
                    tokio::time::sleep(DRAIN_POLL).await;
                }
            };
            let _those_left_are_in_the_history_as_interrupted =
                tokio::time::timeout(LAST_ANSWERS, none_left).await;
        }
        all_ended
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
        self.begin(live, request, options, |_| None)
    }

    /// Begins a query whose rows are fetched later, and answers its run. It goes on by itself; the agent's drain waits for
    /// it.
    ///
    /// # Errors
    /// As [`Engine::query`], and [`ActivityError::NotKept`].
    pub async fn query_for_later(
        &self,
        live: &Live,
        request: &QueryRequest,
        options: &CallOptions,
    ) -> Result<String, ActivityError> {
        let spools = self.spools.as_ref().ok_or_else(no_folder)?;
        let mut query = self.begin(live, request, options, |run| Some(Spools::name_of_run(run)))?;
        let run = query.run_id().to_owned();
        let spool = spools.begin(&Spools::name_of_run(&run)).await.inspect_err(|error| query.fail(error))?;
        tokio::spawn(spool_rows(query, spool));
        Ok(run)
    }

    fn begin(
        &self,
        live: &Live,
        request: &QueryRequest,
        options: &CallOptions,
        journal: impl FnOnce(&str) -> Option<String>,
    ) -> Result<RunningQuery, ActivityError> {
        let user = user_id(&live.connection, &options.variables)?;
        let plan = plan(&live.catalog.get(), request, &live.connection, user.as_deref(), self.clock.now())?;
        let (name, kind) = (&live.connection.name, ActivityKind::Query);
        let run = self.runs.start_with(name, kind, &request.object, options, journal)?;
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

    /// Create, Update or Delete: one result a record, in order. What happened to a record stands in its result.
    ///
    /// # Errors
    /// [`ActivityError`] when nothing was tried: the request is wrong, its key is in use, all places are taken.
    pub async fn write(
        &self,
        live: &Arc<Live>,
        kind: ActivityKind,
        call: WriteCall,
        options: &CallOptions,
    ) -> Result<RunningWrite, ActivityError> {
        refuse_read_only(&live.connection, kind)?;
        let user = user_id(&live.connection, &options.variables)?;
        let object = call.request.object.clone();
        let write = Prepared::new(live, kind, call, user, &self.metrics, (&self.clock, self.patience))?;
        let mut journal = None;
        let start = |id: &str| {
            journal = write.journal_name(id);
            journal.clone()
        };
        let mut run = self.runs.start_with(&live.connection.name, kind, &object, options, start)?;
        let context = self.context(&run, options);
        let opened = match &journal {
            None => None,
            Some(name) => {
                let opened = match self.kept() {
                    Ok(kept) => {
                        kept.open_journal(name, run.id(), &write.fingerprint, &write.mark(run.id())).await
                    }
                    Err(error) => Err(error),
                };
                Some(opened.inspect_err(|error| run.fail(error))?)
            }
        };
        let marks = write.marks(run.id(), opened.as_ref(), self.has_siblings);
        Ok(write.start(run, context, marks, opened))
    }

    /// A body of records on its way in, for [`WriteCall::streamed`].
    ///
    /// # Errors
    /// [`ActivityError::NotKept`], when the state directory cannot be used.
    pub fn upload(&self, format: RecordFormat) -> Result<Upload, ActivityError> {
        Ok(Upload::new(format, self.kept()?.folder()))
    }

    /// What a run keeps. Results of records: all of them after its end, those so far before. Rows: after its end only.
    ///
    /// # Errors
    /// [`ActivityError::NotFound`], [`ActivityError::NoResults`].
    pub async fn results(&self, run: &str) -> Result<RunResults, ActivityError> {
        let unknown = || ActivityError::NotFound {
            code: "no_such_run",
            message: "There is no such run. Runs are remembered up to [Limits] RunHistory.".to_owned(),
        };
        let view = self.runs.get(run).ok_or_else(unknown)?;
        let name = self.runs.journal(run);
        if view.kind == ActivityKind::Query {
            let spools = self.spools.as_ref().ok_or_else(no_folder)?;
            let name = rows_of(&view, name)?;
            return Ok(RunResults::Rows(Box::new(spools.read(&name).await?)));
        }
        // A run that keeps nothing has no journal under this name either.
        let name = name.unwrap_or_else(|| Kept::name_of_run(run));
        let results = KeptResults::new(view, self.kept()?.results(&name).await?);
        Ok(RunResults::Records(Box::new(results)))
    }

    /// Rows that one JSON answer holds at most.
    pub fn answer_rows(&self) -> u64 {
        self.limits.load().answer_rows
    }

    pub(super) fn kept(&self) -> Result<&Arc<Kept>, ActivityError> {
        self.kept.as_ref().ok_or_else(no_folder)
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
        let context = CallContext::new(options.request_id.clone(), cancel, deadline);
        Box::pin(refresh_schema(live, &self.clock, &context)).await
    }

    /// Test: step by step, what works and what does not. It is no run: it must answer when all places are taken.
    pub async fn test(&self, live: &Live, probe: &dyn StoreProbe, options: &CallOptions) -> TestReport {
        let cancel = tokio_util::sync::CancellationToken::new();
        // Stops what a caller that went away left behind.
        let _stops_when_dropped = cancel.clone().drop_guard();
        let deadline = self.deadline(options);
        let context = CallContext::new(options.request_id.clone(), cancel, deadline);
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

    /// Waits after writes that got no answer.
    pub(super) fn patience(&self) -> Patience {
        self.patience
    }

    pub(super) fn clock(&self) -> &Clock {
        &self.clock
    }

    pub(super) fn context(&self, run: &Run, options: &CallOptions) -> CallContext {
        CallContext {
            request_id: options.request_id.clone(),
            cancel: run.cancel_token().clone(),
            deadline: self.deadline(options),
            traffic: run.traffic(),
        }
    }

    fn deadline(&self, options: &CallOptions) -> tokio::time::Instant {
        let limit = self.limits.load().run_timeout;
        let timeout = options.timeout.map_or(limit, |timeout| timeout.min(limit));
        tokio::time::Instant::now() + timeout
    }
}

fn no_folder() -> ActivityError {
    not_kept("the agent could not open 'runs' below [Agent] StateDirectory at its start; its log says why.")
}

/// The name of the file with the rows of a query.
fn rows_of(view: &RunView, name: Option<String>) -> Result<String, ActivityError> {
    let refused = |code, message: String| Err(ActivityError::NoResults { code, message });
    let id = &view.id;
    match (view.status, name.filter(|name| name.ends_with(SUFFIX))) {
        (RunStatus::Success | RunStatus::SuccessWithWarning, Some(name)) => Ok(name),
        (RunStatus::Running | RunStatus::CancelRequested, Some(_)) => refused(
            "run_in_progress",
            format!(
                "The run {id} still reads its rows. GET /v1/runs/{id} shows how far it is; ask for its results when it has ended."
            ),
        ),
        (RunStatus::Error | RunStatus::Cancelled | RunStatus::Interrupted, _) => {
            let why = view.error.as_deref().unwrap_or("It was cancelled. Run the query again.");
            refused(
                "no_complete_rows",
                format!("The run {id} did not read its rows to the end, so none are kept. {why}"),
            )
        }
        (_, None) => {
            let message = "The rows of this run are not kept. A query with Prefer: respond-async keeps them for 24 hours.";
            Err(ActivityError::NotFound { code: "no_results", message: message.to_owned() })
        }
    }
}

pub(super) fn refuse_read_only(connection: &Connection, kind: ActivityKind) -> Result<(), ActivityError> {
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
