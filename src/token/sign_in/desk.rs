//! The desk: at most one pending sign-in a connection, what is shown of it, and what a person may do to it. Sends
//! nothing itself; each sign-in is driven by a task that the keeper owns.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::oneshot;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::model::{SignInError, SignInMethod, SignInRequest, SignInView};
use super::protocol::{self, Redirect};
use super::stage::{IllegalMove, Stage, spoken};
use super::{browser, device};
use crate::clock::Timestamp;
use crate::connection::{AuthScheme, Connection, ConnectionName};
use crate::secret::Secret;
use crate::token::advice::sign_in_command;
use crate::token::handle::Shared;
use crate::token::model::{ConnectionState, TokenFailure};
use crate::token::succession::keeps_pending_sign_in;
use crate::token::transaction::Context;

/// All connections' sign-ins: the pending one, or the last one.
#[derive(Debug, Default)]
pub(in crate::token) struct SignIns {
    desk: Mutex<BTreeMap<ConnectionName, Arc<SignIn>>>,
}

/// What drives sign-ins: tasks that end with a stop, work that does not, and the stop.
#[derive(Clone, Debug)]
pub(in crate::token) struct Drivers {
    pub(in crate::token) tasks: TaskTracker,
    pub(in crate::token) flights: TaskTracker,
    pub(in crate::token) stop: CancellationToken,
}

/// One sign-in.
#[derive(Debug)]
pub(super) struct SignIn {
    pub(super) context: Arc<Context>,
    pub(super) shared: Arc<Shared>,
    pub(super) drivers: Drivers,
    method: SignInMethod,
    started_at: Timestamp,
    stage: Mutex<Stage>,
    /// Says that the stage was left from outside.
    pub(super) ended: CancellationToken,
    answer: Mutex<Option<Expected>>,
}

/// What a browser sign-in waits for. Taken by the first answer that is right.
#[derive(Debug)]
struct Expected {
    state: Secret,
    tell: oneshot::Sender<Redirect>,
}

/// A driver's first word: the authorization address, if there is one.
pub(super) type Ready = oneshot::Sender<Result<Option<String>, SignInError>>;

impl SignIns {
    /// Starts a sign-in, or answers the pending one.
    pub(in crate::token) async fn ask(
        &self,
        context: &Arc<Context>,
        shared: &Arc<Shared>,
        drivers: &Drivers,
        request: SignInRequest,
    ) -> Result<SignInView, SignInError> {
        possible(&context.connection)?;
        let method = match request {
            SignInRequest::DeviceCode => SignInMethod::DeviceCode,
            SignInRequest::Browser => SignInMethod::Browser,
            SignInRequest::Verifier(code) => return self.bring_back(&context.connection.name, &code),
        };
        if drivers.stop.is_cancelled() {
            return Err(SignInError::Stopping);
        }
        let sign_in = Arc::new(SignIn {
            context: Arc::clone(context),
            shared: Arc::clone(shared),
            drivers: drivers.clone(),
            method,
            started_at: context.clock.now(),
            stage: Mutex::new(Stage::Starting),
            ended: CancellationToken::new(),
            answer: Mutex::default(),
        });
        {
            let mut desk = self.desk();
            let name = &context.connection.name;
            if desk.get(name).is_some_and(|known| known.stage().is_pending()) {
                return Err(SignInError::Pending);
            }
            desk.insert(name.clone(), Arc::clone(&sign_in));
        }
        tracing::info!(connection = %context.connection.name, ?method, "A sign-in has been started.");
        let (ready, started) = oneshot::channel();
        // A task of its own: the caller may go away, the sign-in stays cancellable and visible.
        let driven = Arc::clone(&sign_in);
        drivers.tasks.spawn(async move {
            match driven.method {
                SignInMethod::DeviceCode => device::drive(driven, ready).await,
                SignInMethod::Browser => browser::drive(driven, ready).await,
            }
        });
        let authorization_url = started.await.unwrap_or(Err(SignInError::Stopping))?;
        Ok(SignInView { authorization_url, ..sign_in.view() })
    }

    /// The pending or last sign-in; where one is needed and the configuration says that the agent is to get the token,
    /// the offer to start one.
    pub(in crate::token) fn view(&self, context: &Context, state: ConnectionState) -> Option<SignInView> {
        let known =
            self.desk().get(&context.connection.name).map(|sign_in| (sign_in.stage(), sign_in.view()));
        let needed = state == ConnectionState::NeedsSignIn;
        match known {
            Some((stage, view)) if !(needed && matches!(stage, Stage::Done { .. })) => Some(view),
            _ if needed && context.plan.sign_in && possible(&context.connection).is_ok() => {
                Some(offer(&context.connection))
            }
            _ => None,
        }
    }

    /// Ends the pending sign-in.
    pub(in crate::token) fn cancel(&self, name: &ConnectionName) -> Result<(), SignInError> {
        let sign_in = self.pending(name)?;
        sign_in.go(Stage::cancel).map_err(|_| SignInError::TooLate)?;
        sign_in.ended.cancel();
        tracing::info!(connection = %name, "The sign-in was cancelled.");
        Ok(())
    }

    /// The configuration has changed: sign-ins that were begun for something else end, removed connections are
    /// forgotten.
    pub(in crate::token) fn reconsider(&self, connections: &BTreeMap<ConnectionName, Arc<Connection>>) {
        self.desk().retain(|name, sign_in| {
            let now = connections.get(name);
            if now.is_none_or(|now| !keeps_pending_sign_in(&sign_in.context.connection, now)) {
                let failure = sign_in.context.failure(
                    "configuration_changed",
                    "The connection's configuration changed while the sign-in was pending. Start the sign-in again.",
                );
                sign_in.end(failure);
            }
            now.is_some()
        });
    }

    fn bring_back(&self, name: &ConnectionName, text: &Secret) -> Result<SignInView, SignInError> {
        let sign_in = self.pending(name)?;
        let waiting = sign_in.method == SignInMethod::Browser;
        if !waiting {
            return Err(SignInError::BadCode(
                "The pending sign-in waits for its code to be typed in at Microsoft, not here. Cancel it and start one with `--browser` to bring a code back."
                    .to_owned(),
            ));
        }
        let mut answer = sign_in.answer.lock().unwrap_or_else(PoisonError::into_inner);
        let expected = answer.as_ref().ok_or(SignInError::TooLate)?;
        let redirect = protocol::brought_back(text, &expected.state).map_err(SignInError::BadCode)?;
        if let Some(expected) = answer.take() {
            let _a_driver_that_has_just_ended_says_so_in_the_view = expected.tell.send(redirect);
        }
        drop(answer);
        Ok(sign_in.view())
    }

    fn pending(&self, name: &ConnectionName) -> Result<Arc<SignIn>, SignInError> {
        let known = self.desk().get(name).cloned();
        known.filter(|sign_in| sign_in.stage().is_pending()).ok_or(SignInError::NothingPending)
    }

    fn desk(&self) -> std::sync::MutexGuard<'_, BTreeMap<ConnectionName, Arc<SignIn>>> {
        self.desk.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl SignIn {
    pub(super) fn stage(&self) -> Stage {
        self.stage.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Makes a move; whoever comes second to a move that excludes his own is told.
    pub(super) fn go(
        &self,
        step: impl FnOnce(Stage) -> Result<Stage, IllegalMove>,
    ) -> Result<(), IllegalMove> {
        let mut stage = self.stage.lock().unwrap_or_else(PoisonError::into_inner);
        *stage = step(stage.clone())?;
        Ok(())
    }

    /// It cannot succeed; from a stage that has ended already this changes nothing.
    pub(super) fn fail(&self, failure: TokenFailure) {
        let (name, code, aadsts) = (&self.context.connection.name, failure.code.clone(), failure.aadsts);
        if self.go(|stage| stage.fail(failure)).is_ok() {
            tracing::warn!(connection = %name, code, aadsts, "The sign-in failed.");
        }
    }

    /// Ends it from outside, unless the person has signed in already: that is stored, and the new configuration finds it.
    /// Which of the two came first is decided in one move.
    fn end(&self, failure: TokenFailure) {
        let (name, code) = (&self.context.connection.name, failure.code.clone());
        if self.go(|stage| stage.break_off(failure)).is_ok() {
            tracing::warn!(connection = %name, code, "The sign-in was ended.");
            self.ended.cancel();
        }
    }

    /// Nobody signed in in time.
    pub(super) fn expire(&self) {
        if self.go(Stage::expire).is_ok() {
            tracing::warn!(connection = %self.context.connection.name, "The sign-in was not finished in time.");
        }
    }

    /// Waits for a right answer with that `state`.
    pub(super) fn expect(&self, state: Secret) -> oneshot::Receiver<Redirect> {
        let (tell, told) = oneshot::channel();
        *self.answer.lock().unwrap_or_else(PoisonError::into_inner) = Some(Expected { state, tell });
        told
    }

    /// A browser came back with that query.
    pub(super) fn browser_came_back(&self, query: &str) -> CameBack {
        let mut answer = self.answer.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(expected) = answer.as_ref() else { return CameBack::Again };
        let Some(redirect) = protocol::redirect(query, &expected.state) else { return CameBack::NotOurs };
        let shown = match &redirect {
            Redirect::Code(_) => CameBack::SignedIn,
            Redirect::Refused { .. } => CameBack::Refused,
        };
        if let Some(expected) = answer.take() {
            let _a_driver_that_has_just_ended_says_so_in_the_view = expected.tell.send(redirect);
        }
        shown
    }

    fn view(&self) -> SignInView {
        let (stage, now) = (self.stage(), self.context.clock.now());
        let connection = &self.context.connection;
        let left = stage.expires_at().map(|at| at.until(now));
        let (prompt, signed_in, error) = match &stage {
            Stage::WaitingForCodeEntry { prompt, .. } => (Some(prompt), None, None),
            Stage::Done { signed_in } => (None, Some(signed_in), None),
            Stage::Failed { failure } => (None, None, Some(failure)),
            _ => (None, None, None),
        };
        SignInView {
            state: stage.name(),
            message: message(&stage, connection, now),
            method: Some(self.method),
            user_code: prompt.map(|prompt| prompt.user_code.clone()),
            verification_uri: prompt.map(|prompt| prompt.verification_uri.clone()),
            authorization_url: None,
            admin_consent_url: protocol::admin_consent_url(connection),
            started_at: Some(self.started_at),
            expires_at: stage.expires_at(),
            seconds_left: left.map(|left| left.as_secs()),
            account: signed_in.and_then(|signed_in| signed_in.account.clone()),
            previous_account: signed_in.and_then(|signed_in| signed_in.previous_account.clone()),
            error: error.cloned(),
        }
    }
}

/// What the listener's page says.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum CameBack {
    /// With a code.
    SignedIn,
    /// With the server's refusal.
    Refused,
    /// The answer was there already.
    Again,
    /// It is not the answer to this sign-in.
    NotOurs,
}

fn message(stage: &Stage, connection: &Connection, now: Timestamp) -> String {
    let command = sign_in_command(&connection.name);
    let left = stage.expires_at().map(|at| spoken(at.until(now))).unwrap_or_default();
    match stage {
        Stage::Starting => "The sign-in is being started.".to_owned(),
        Stage::WaitingForCodeEntry { prompt, .. } => format!(
            "Open {} in any browser and enter the code {}; {left} left.",
            prompt.verification_uri, prompt.user_code
        ),
        Stage::WaitingForRedirect { listening: true, .. } => format!(
            "Open the address that was shown at the start in a browser on this host; {left} left. From another machine, bring the code back with --code."
        ),
        Stage::WaitingForRedirect { listening: false, .. } => format!(
            "Open the address that was shown at the start in any browser, and bring the code of the address where it ends back with --code; {left} left."
        ),
        Stage::Redeeming => "The person has signed in; the tokens are being fetched and stored.".to_owned(),
        Stage::Done { signed_in } => {
            let who = signed_in.account.as_deref().map(|who| format!(" as {who}")).unwrap_or_default();
            let before = signed_in.previous_account.as_deref();
            let before = before.map(|who| format!(" Before, it was {who}.")).unwrap_or_default();
            let renewal = if signed_in.renewable {
                ""
            } else {
                " There was no refresh token in the answer, so this has to be done again when the token ends. Allow offline_access."
            };
            format!("The connection is signed in{who}.{before}{renewal}")
        }
        Stage::Failed { failure } => format!("{} To try again, run {command}.", failure.message),
        Stage::Cancelled => format!("The sign-in was cancelled. To start it again, run {command}."),
        Stage::Expired => format!("Nobody signed in in time. To start it again, run {command}."),
    }
}

/// Nothing is pending and nothing is sent: only what could be done.
fn offer(connection: &Connection) -> SignInView {
    SignInView {
        state: "offered",
        message: format!(
            "A person has to sign in: run {}. A sign-in that was pending when the agent stopped has to be started again.",
            sign_in_command(&connection.name)
        ),
        method: None,
        user_code: None,
        verification_uri: None,
        authorization_url: None,
        admin_consent_url: protocol::admin_consent_url(connection),
        started_at: None,
        expires_at: None,
        seconds_left: None,
        account: None,
        previous_account: None,
        error: None,
    }
}

fn possible(connection: &Connection) -> Result<(), SignInError> {
    let scheme = connection.auth.scheme;
    if scheme != AuthScheme::AzureAd {
        return Err(SignInError::NotPossible(format!(
            "AuthScheme {} signs in by itself, without a person. Use AuthScheme AzureAD for a person's sign-in.",
            scheme.as_str()
        )));
    }
    if connection.auth.client_id.is_none() {
        return Err(SignInError::NotPossible(
            "A sign-in needs OAuthClientId, the application that the person signs in to. Add it to the connection.".to_owned(),
        ));
    }
    Ok(())
}
