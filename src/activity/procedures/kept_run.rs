//! Execute with an `Idempotency-Key` or for later: its result is kept with the journals of writes. The order is: intent
//! durable → sent → result durable → told. Decides what a repeat does when the first call ended without its result. Never
//! knows how a procedure is carried out.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use aws_lc_rs::digest::{Context, SHA256};
use serde_json::Value;
use tokio::task::JoinHandle;

use super::deliver::Delivered;
use super::run::{Doing, ProcedureHost};
use super::{Call, Prepared, Work, prepare};
use crate::activity::engine::{Engine, Live, refuse_read_only};
use crate::activity::error::ActivityError;
use crate::activity::journal::{Journal, LONGEST_LINE, Line};
use crate::activity::kept::{Held, Kept, Opened, hex};
use crate::activity::mark::{Elsewhere, Marks, mark_of_key};
use crate::activity::model::{
    CallOptions, ExecuteAnswer, ExecuteRequest, RecordError, RecordResult, RecordStatus, RunStatus,
};
use crate::activity::patience::Patience;
use crate::activity::results::{is_for_good, record_error};
use crate::activity::runs::Run;
use crate::activity::upload::not_kept;
use crate::activity::variables::user_id;
use crate::activity::writing::sent_by_an_earlier_run;
use crate::clock::Clock;
use crate::connection::ActivityKind;
use crate::graph::{CallContext, Effect, GraphError};

/// The place of a procedure in its journal, where a write has many records.
pub(super) const ONLY: usize = 0;

/// How a call is kept.
#[derive(Clone, Debug, Default)]
pub struct KeptCall {
    /// The caller's `Idempotency-Key`.
    pub key: Option<String>,
    /// Whether the result is fetched later instead of being answered.
    pub later: bool,
}

/// An execution in progress, or one whose result is told again. Dropping it lets it go on: its result is kept.
#[derive(Debug)]
pub struct RunningExecution {
    run_id: String,
    task: JoinHandle<Result<ExecuteAnswer, ActivityError>>,
}

impl RunningExecution {
    /// The run's id.
    pub fn run_id(&self) -> &str {
        &self.run_id
    }

    /// Its answer.
    ///
    /// # Errors
    /// [`ActivityError`], as it was kept.
    pub async fn answer(self) -> Result<ExecuteAnswer, ActivityError> {
        match self.task.await {
            Ok(answer) => answer,
            // A panic in a run belongs to its request, where the control port catches it.
            Err(failed) if failed.is_panic() => std::panic::resume_unwind(failed.into_panic()),
            Err(_) => Err(not_kept("the agent is stopping.")),
        }
    }
}

/// What earlier runs with the same key came to.
#[derive(Debug)]
pub(super) struct Before {
    /// There was one.
    pub(super) tried: bool,
    /// Something may have been sent so long ago, and what became of it is not known.
    pub(super) in_doubt: Option<Duration>,
    /// The draft that was about to be sent.
    pub(super) draft: Option<String>,
}

/// What a procedure that looks into its own doubts needs of the journal.
#[derive(Debug)]
pub(super) struct Book {
    pub(super) marks: Marks,
    pub(super) before: Before,
    pub(super) patience: Patience,
    journal: Journal,
}

impl Book {
    /// Notes durably that something of it was sent until now: a later call waits from here.
    pub(super) async fn was_sent(&self, clock: &Clock) -> Result<(), ActivityError> {
        let at = clock.now().as_millis();
        append(&self.journal, &Line::Sent { at, records: &[ONLY] }).await.map_err(|()| {
            not_kept("the journal of the run cannot be written, and the message may have been sent. Repeat the call with the same Idempotency-Key when the disk is well again.")
        })
    }

    /// Notes durably that the draft is about to be sent, or may have been by another agent: from here on it is only looked
    /// at.
    pub(super) async fn draft_is_whole(&self, id: &str) -> Result<(), ActivityError> {
        append(&self.journal, &Line::Draft(id)).await.map_err(|()| {
            not_kept("the journal of the run cannot be written; the message was not sent. Repeat the call with the same Idempotency-Key when the disk is well again.")
        })
    }
}

/// What a repeat does when an earlier run may have carried it out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum InDoubt {
    /// It again: it reads, or it comes to the same.
    DoAgain,
    /// The work itself finds out.
    FindOut,
    /// Nothing.
    TellUnknown,
}

impl InDoubt {
    fn of(work: &Work, changes: bool) -> Self {
        match work {
            Work::MailOnce(_) => Self::FindOut,
            _ if !changes => Self::DoAgain,
            // A repeated deletion is refused as not found, which would be told of one that was done.
            Work::Ask(request, _)
                if request.effect == Effect::Repeatable && request.method != http::Method::DELETE =>
            {
                Self::DoAgain
            }
            _ => Self::TellUnknown,
        }
    }
}

impl Engine {
    /// Execute with its result kept for 24 hours. Goes on when the caller has gone.
    ///
    /// # Errors
    /// [`ActivityError`] when nothing was tried: the request is wrong, its key is in use, all places are taken.
    pub async fn execute_kept(
        &self,
        live: &Arc<Live>,
        request: &ExecuteRequest,
        host: ProcedureHost,
        kept: KeptCall,
        options: &CallOptions,
    ) -> Result<RunningExecution, ActivityError> {
        if host.wants_stream {
            let message = "A content as the answer is not kept, so Accept: application/octet-stream goes neither with an Idempotency-Key nor with Prefer: respond-async. Leave one of them out, or take the content with LocalFile.";
            return Err(ActivityError::request("content_not_kept", message));
        }
        let user = user_id(&live.connection, &options.variables)?;
        let call = Call {
            catalog: &live.catalog.get(),
            connection: &live.connection,
            user_id: user.as_deref(),
            local_files: &host.local_files,
            has_content: false,
            wants_stream: false,
            has_key: kept.key.is_some(),
        };
        let Prepared { work, changes } = prepare(request, call)?;
        if matches!(work, Work::SignIn(_)) {
            let message = "What a sign-in needs and gives is not kept on disk, so it takes neither an Idempotency-Key nor Prefer: respond-async. Leave the header out.";
            return Err(ActivityError::field("sign_in_not_kept", "procedure", message));
        }
        if changes {
            refuse_read_only(&live.connection, ActivityKind::Execute)?;
        }
        let connection = &live.connection.name;
        let mut name = String::new();
        let journal = |id: &str| {
            name = match &kept.key {
                Some(key) => Kept::name_of_key(connection.as_str(), ActivityKind::Execute.as_str(), key),
                None => Kept::name_of_run(id),
            };
            Some(name.clone())
        };
        let mut run = self.runs().start_with(
            connection,
            ActivityKind::Execute,
            &request.procedure,
            options,
            journal,
        )?;
        let context = self.context(&run, options);
        let fingerprint = fingerprint(request, user.as_deref());
        let (kind, now) = (ActivityKind::Execute, self.clock().now());
        let of_key = kept.key.as_ref();
        let mark =
            of_key.map_or_else(|| run.id().to_owned(), |key| mark_of_key(&live.connection, kind, key, now));
        // The journal of another agent is not seen here, so what it may have done with the key is looked for first.
        let elsewhere = of_key.map(|key| Elsewhere::of_key(&live.connection, kind, key, now));
        let opened = match self.kept() {
            Ok(kept) => kept.open_journal(&name, run.id(), &fingerprint, &mark).await,
            Err(error) => Err(error),
        };
        let opened = opened.inspect_err(|error| run.fail(error))?;
        let in_doubt = InDoubt::of(&work, changes);
        let (live, clock) = (Arc::clone(live), self.clock().clone());
        let patience = self.patience();
        let kept = KeptRun { live, host, clock, work, changes, in_doubt, context, patience, elsewhere };
        let run_id = run.id().to_owned();
        Ok(RunningExecution { run_id, task: tokio::spawn(kept.run(run, opened)) })
    }
}

struct KeptRun {
    live: Arc<Live>,
    host: ProcedureHost,
    clock: Clock,
    work: Work,
    changes: bool,
    in_doubt: InDoubt,
    context: CallContext,
    patience: Patience,
    elsewhere: Option<Elsewhere>,
}

impl KeptRun {
    async fn run(self, mut run: Run, opened: Opened) -> Result<ExecuteAnswer, ActivityError> {
        let Opened { journal, earlier, mark, held } = opened;
        let run_id = run.id().to_owned();
        let done = match earlier.done(ONLY) {
            Ok(Some(kept)) => told_again(kept),
            Err(error) => Err(error),
            Ok(None) => {
                let before = Before {
                    tried: earlier.header.is_some(),
                    in_doubt: earlier.sent.get(&ONLY).map(|at| self.patience.age(*at, self.clock.now())),
                    draft: earlier.draft.clone(),
                };
                Box::pin(self.carry_out(journal, mark, before)).await
            }
        };
        // The journal is free for a repeat before anybody can learn that the run has ended.
        drop::<Held>(held);
        match done {
            Ok(result) => {
                run.add_rows(1);
                run.succeed(RunStatus::Success);
                Ok(ExecuteAnswer { result, run_id })
            }
            Err(error) => {
                run.fail(&error);
                Err(error)
            }
        }
    }

    async fn carry_out(self, journal: Journal, mark: String, before: Before) -> Result<Value, ActivityError> {
        let Self { live, host, clock, work, changes, in_doubt, context, patience, elsewhere } = self;
        if before.in_doubt.is_some() && in_doubt == InDoubt::TellUnknown {
            let error = sent_by_an_earlier_run().into();
            keep(&journal, &Err(&error), changes).await?;
            return Err(error);
        }
        // What is in doubt already stays as old as it is.
        if before.in_doubt.is_none() {
            let at = clock.now().as_millis();
            append(&journal, &Line::Sent { at, records: &[ONLY] })
                .await
                .map_err(|()| not_kept("the journal of the run cannot be written; nothing was sent."))?;
        }
        let elsewhere = elsewhere.filter(|_| !before.tried);
        let marks = Marks { prefix: mark, with_property: true, elsewhere };
        let book = Some(Book { marks, before, patience, journal: journal.clone() });
        let doing = Doing { live: &live, host: &host, context, clock: &clock, body: Mutex::new(None), book };
        let done = match work.run(&doing).await {
            Ok(Delivered::Value(value)) => Ok(value),
            // Nobody asked for one; see `execute_kept`.
            Ok(Delivered::Content(_)) => Err(not_kept("a content cannot be kept.")),
            Err(error) => Err(error),
        };
        keep(&journal, &done.as_ref(), changes).await?;
        done
    }
}

/// Makes the result durable.
async fn keep(
    journal: &Journal,
    done: &Result<&Value, &ActivityError>,
    changes: bool,
) -> Result<(), ActivityError> {
    let (result, for_good) = kept_result(done, changes);
    let line = if for_good { Line::Done(&result) } else { Line::Told(&result) };
    append(journal, &line).await.map_err(|()| {
        not_kept("the result cannot be kept: the journal of the run cannot be written. The procedure may have been done; repeat the call with the same Idempotency-Key when the disk is well again.")
    })
}

/// The result as it is kept, and whether a repeat gets it again instead of another try.
fn kept_result(done: &Result<&Value, &ActivityError>, changes: bool) -> (RecordResult, bool) {
    let result = |status, error, result| RecordResult { index: ONLY, status, id: None, error, result };
    match done {
        // A line holds a little more than the value.
        Ok(value) if value.to_string().len() + 1024 > LONGEST_LINE => {
            let message = format!(
                "The procedure was done, and its result is larger than the {LONGEST_LINE} bytes that are kept. Take a content with LocalFile."
            );
            let error = RecordError { code: "result_too_large".to_owned(), message, graph: None };
            (result(RecordStatus::Executed, Some(error), None), true)
        }
        Ok(value) => (result(RecordStatus::Executed, None, Some((*value).clone())), true),
        Err(error) => {
            let status = match error {
                ActivityError::Graph(GraphError::OutcomeUnknown { .. }) => RecordStatus::Unknown,
                ActivityError::Graph(GraphError::BadAnswer { .. }) if changes => RecordStatus::Unknown,
                _ => RecordStatus::Failed,
            };
            let for_good = matches!(error, ActivityError::Graph(error) if is_for_good(error));
            (result(status, Some(record_error(error)), None), for_good)
        }
    }
}

/// The answer from a result that is for good.
fn told_again(kept: RecordResult) -> Result<Value, ActivityError> {
    match kept.error {
        None => Ok(kept.result.unwrap_or_default()),
        Some(RecordError { graph: Some(refusal), .. }) => Err(GraphError::Refused(refusal).into()),
        Some(error) => Err(ActivityError::TooLarge { message: error.message }),
    }
}

async fn append(journal: &Journal, line: &Line<'_>) -> Result<(), ()> {
    let mut text = Vec::new();
    line.write(&mut text);
    journal.append(text).await
}

/// SHA-256 over everything that makes this request another one, in hex. Of a local file it is the path.
fn fingerprint(request: &ExecuteRequest, user_id: Option<&str>) -> String {
    let mut context = Context::new(&SHA256);
    // The request came from JSON, so it becomes JSON.
    let request = serde_json::to_vec(request).unwrap_or_default();
    for part in [&*request, user_id.unwrap_or_default().as_bytes()] {
        context.update(&part.len().to_be_bytes());
        context.update(part);
    }
    hex(context.finish().as_ref())
}
