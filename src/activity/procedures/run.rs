//! Runs what was prepared, as one run. Never sends itself what a family's file sends.

use std::sync::{Arc, Mutex, PoisonError};

use serde_json::Value;

use super::content::ContentStream;
use super::deliver::Delivered;
use super::kept_run::Book;
use super::local_files::LocalFiles;
use super::running_content::RunningContent;
use super::{Call, Outcome, Prepared, Work, prepare, result};
use crate::activity::engine::{Engine, Live, refuse_read_only};
use crate::activity::error::ActivityError;
use crate::activity::model::{CallOptions, ExecuteAnswer, ExecuteRequest, RunStatus};
use crate::activity::variables::user_id;
use crate::clock::Clock;
use crate::connection::ActivityKind;
use crate::graph::{CallContext, GraphError, GraphRequest};
use crate::token::Keeper;

/// How long an afterthought (removing a draft that was not sent) may take when the run's own time is over.
const AFTERMATH: std::time::Duration = std::time::Duration::from_secs(10);

/// What procedures need of the agent besides the connection.
#[derive(Clone, Debug)]
pub struct ProcedureHost {
    /// Signs people in.
    pub keeper: Arc<Keeper>,
    /// The settings about local files.
    pub local_files: LocalFiles,
    /// Whether the caller takes a content as a stream.
    pub wants_stream: bool,
}

/// What an execution answers with.
#[derive(Debug)]
pub enum Executed {
    /// Values.
    Answer(ExecuteAnswer),
    /// A content on its way.
    Content(Box<RunningContent>),
}

/// A procedure in progress.
pub(super) struct Doing<'a> {
    pub(super) live: &'a Live,
    pub(super) host: &'a ProcedureHost,
    pub(super) context: CallContext,
    pub(super) clock: &'a Clock,
    pub(super) body: Mutex<Option<ContentStream>>,
    /// What is kept of the call, when it has an `Idempotency-Key` or is fetched later.
    pub(super) book: Option<Book>,
}

impl Doing<'_> {
    /// The body of the call, for the one who asks first.
    pub(super) fn take_body(&self) -> Option<ContentStream> {
        self.body.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    /// Sends one request and reads its result.
    pub(super) async fn ask(&self, request: GraphRequest, outcome: Outcome) -> Result<Value, ActivityError> {
        let answer = self.live.graph.send(request, &self.context).await?;
        Ok(result(outcome, &answer)?)
    }

    /// Waits for work that is not Graph's, but no longer than the caller does.
    pub(super) async fn bounded<T>(
        &self,
        work: impl Future<Output = Result<T, ActivityError>>,
    ) -> Result<T, ActivityError> {
        tokio::select! {
            biased;
            () = self.context.cancel.cancelled() => Err(GraphError::Cancelled.into()),
            () = tokio::time::sleep_until(self.context.deadline) => Err(GraphError::Deadline.into()),
            done = work => done,
        }
    }

    /// A context for putting something right after the run has failed, also when it was cancelled.
    pub(super) fn aftermath(&self) -> CallContext {
        CallContext {
            request_id: self.context.request_id.clone(),
            cancel: tokio_util::sync::CancellationToken::new(),
            deadline: tokio::time::Instant::now() + AFTERMATH,
            traffic: Arc::clone(&self.context.traffic),
        }
    }
}

impl Engine {
    /// Execute: a procedure, or an operation that Graph binds to a resource. `body` is the body of the call, when that is a
    /// content.
    ///
    /// # Errors
    /// [`ActivityError`]; [`GraphError::OutcomeUnknown`] says that it may have happened.
    pub async fn execute(
        &self,
        live: &Live,
        request: &ExecuteRequest,
        body: Option<ContentStream>,
        host: &ProcedureHost,
        options: &CallOptions,
    ) -> Result<Executed, ActivityError> {
        let user = user_id(&live.connection, &options.variables)?;
        let catalog = live.catalog.get();
        let call = Call {
            catalog: &catalog,
            connection: &live.connection,
            user_id: user.as_deref(),
            local_files: &host.local_files,
            has_content: body.is_some(),
            wants_stream: host.wants_stream,
            has_key: false,
        };
        let Prepared { work, changes } = prepare(request, call)?;
        if changes {
            refuse_read_only(&live.connection, ActivityKind::Execute)?;
        }
        let mut run =
            self.runs().start(&live.connection.name, ActivityKind::Execute, &request.procedure, options)?;
        let context = self.context(&run, options);
        let doing = Doing { live, host, context, clock: self.clock(), body: Mutex::new(body), book: None };
        // Boxed: uploads and downloads in progress are large, and callers hold this future beside others.
        let done = Box::pin(work.run(&doing)).await;
        match done.inspect_err(|error| run.fail(error))? {
            Delivered::Value(result) => {
                run.add_rows(1);
                run.succeed(RunStatus::Success);
                Ok(Executed::Answer(ExecuteAnswer { result, run_id: run.id().to_owned() }))
            }
            Delivered::Content(content) => Ok(Executed::Content(Box::new(RunningContent::new(run, content)))),
        }
    }
}

impl Work {
    pub(super) async fn run(self, doing: &Doing<'_>) -> Result<Delivered, ActivityError> {
        let value = match self {
            Self::Ask(request, outcome) => doing.ask(request, outcome).await?,
            Self::Ready(value) => value,
            Self::Mail(mail) => mail.run(doing).await?,
            Self::MailOnce(mail) => mail.run(doing).await?,
            Self::Attach(attachment) => attachment.run(doing).await?,
            Self::UploadFile(file) => file.run(doing).await?,
            Self::SignIn(work) => work.run(doing).await?,
            Self::Schema(schema) => schema.run().await?,
            Self::DownloadMessage(message) => return message.run(doing).await,
            Self::DownloadAttachments(attachments) => return attachments.run(doing).await,
            Self::DownloadFile(file) => return file.run(doing).await,
        };
        Ok(Delivered::Value(value))
    }
}
