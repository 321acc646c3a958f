//! The device code flow (RFC 8628): asks for a code, shows it, and polls at the server's pace until somebody has typed
//! it in. Polls no faster than it is told to, and stops at the code's end.

use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;
use tokio_util::sync::CancellationToken;

use super::desk::{Ready, SignIn};
use super::model::SignInError;
use super::protocol::{self, DeviceCode};
use super::stage::Stage;
use super::{settle, wire};
use crate::clock::{Clock, Timestamp};
use crate::token::answer::{self, NewTokens, Outcome};
use crate::token::endpoint::{self, Answered, ClientIdentity};
use crate::token::model::TokenFailure;
use crate::token::plan::Grant;
use crate::token::transaction::Context;

/// RFC 8628 section 3.5: what `slow_down` adds, for this poll and all after it.
const SLOW_DOWN: Duration = Duration::from_secs(5);
/// The longest wait between polls of a server that does not answer.
const LONGEST_WAIT: Duration = Duration::from_secs(60);

/// What a poll came to.
enum Poll {
    /// Nobody has typed the code in yet.
    Pending,
    /// The same, and we ask too often.
    SlowDown,
    /// The code has ended.
    Expired,
    Tokens(NewTokens),
    Refused(TokenFailure),
    /// Passing trouble.
    Later(Option<Duration>),
}

/// Drives one sign-in to its end.
pub(super) async fn drive(sign_in: Arc<SignIn>, ready: Ready) {
    let context = &sign_in.context;
    let code = match ask_for_code(context, &sign_in.drivers.stop).await {
        Ok(code) => code,
        Err(error) => {
            if let SignInError::Refused(failure) | SignInError::TryLater { failure, .. } = &error {
                sign_in.fail(failure.clone());
            }
            let _the_caller_may_have_gone = ready.send(Err(error));
            return;
        }
    };
    // What is shown goes by the wall clock; waiting goes by the clock that nobody sets.
    let (expires_at, given) = (context.clock.now().plus(code.lifetime), Clock::stopwatch());
    let claims = claims_on_record(context).await;
    let shown = sign_in.go(|stage| stage.prompt(code.prompt.clone(), expires_at));
    let _the_caller_may_have_gone = ready.send(Ok(None));
    if shown.is_err() {
        return;
    }
    let mut interval = code.interval;
    let mut wait = interval;
    loop {
        let left = code.lifetime.saturating_sub(given.elapsed());
        tokio::select! {
            biased;
            () = sign_in.drivers.stop.cancelled() => return,
            () = sign_in.ended.cancelled() => return,
            () = tokio::time::sleep(wait.min(left)) => {}
        }
        if given.elapsed() >= code.lifetime {
            return sign_in.expire();
        }
        let asked_at = context.clock.now();
        match poll(context, &sign_in.drivers.stop, &code, claims.as_deref()).await {
            Poll::Pending => wait = interval,
            Poll::SlowDown => {
                interval += SLOW_DOWN;
                wait = interval;
            }
            // RFC 8628 section 3.5 asks for exponential backoff here.
            Poll::Later(after) => wait = (wait * 2).min(LONGEST_WAIT).max(after.unwrap_or_default()),
            Poll::Expired => return sign_in.expire(),
            Poll::Refused(failure) => return sign_in.fail(failure),
            Poll::Tokens(tokens) => return store(&sign_in, tokens, asked_at).await,
        }
    }
}

/// Stores the tokens of a sign-in, unless it was cancelled meanwhile. A stop of the agent waits for it.
pub(super) async fn store(sign_in: &Arc<SignIn>, tokens: NewTokens, asked_at: Timestamp) {
    if sign_in.stage() != Stage::Redeeming && sign_in.go(Stage::accept).is_err() {
        return;
    }
    let driven = Arc::clone(sign_in);
    let stored = sign_in.drivers.flights.spawn(async move {
        let (context, shared) = (Arc::clone(&driven.context), Arc::clone(&driven.shared));
        match settle::settle(context, shared, tokens, asked_at, driven.drivers.stop.clone()).await {
            Ok(signed_in) => {
                if let Err(error) = driven.go(|stage| stage.finish(signed_in)) {
                    tracing::error!(%error, "A sign-in move was not made.");
                }
            }
            Err(failure) => driven.fail(failure),
        }
    });
    if stored.await.is_err() {
        sign_in.fail(
            sign_in.context.failure("internal", "Storing the sign-in broke off. Report this with the log."),
        );
    }
}

/// The client that asks. Only a connection with a client id comes here.
pub(super) fn client(context: &Context) -> ClientIdentity {
    let connection = &context.connection;
    ClientIdentity {
        client_id: connection.auth.client_id.clone().unwrap_or_default(),
        tenant: protocol::tenant(connection).to_owned(),
    }
}

/// What Conditional Access wants of the next sign-in, as the last refused refresh was told.
pub(super) async fn claims_on_record(context: &Context) -> Option<String> {
    // A store that cannot be read now is reported when the tokens are to go there.
    let stored = context.store.load(false).await.ok().flatten()?;
    let marker = stored.denied.as_ref()?;
    let same = stored.refresh_token.as_ref().is_some_and(|token| token.fingerprint() == marker.refresh_token);
    marker.claims.clone().filter(|_| same)
}

fn address(context: &Context, name: &str) -> Result<url::Url, SignInError> {
    protocol::login_url(&context.connection, name).ok_or_else(|| {
        SignInError::NotPossible(
            "AzureTenant cannot stand in an address. Set it to the tenant's domain or id.".to_owned(),
        )
    })
}

async fn ask_for_code(context: &Context, stop: &CancellationToken) -> Result<DeviceCode, SignInError> {
    let url = address(context, "devicecode")?;
    let mut form = String::new();
    let scope = protocol::scope(&context.connection);
    endpoint::add(&mut form, &[("client_id", &client(context).client_id), ("scope", &scope)]);
    let later = |failure: TokenFailure, after: Option<Duration>| SignInError::TryLater {
        failure,
        after: after.unwrap_or(Duration::from_secs(5)),
    };
    let Answered { status, headers, body } =
        wire::post(context, stop, url, form).await.map_err(|failure| later(failure, None))?;
    if status == 200 {
        return DeviceCode::read(&body).ok_or_else(|| {
            let failure = context.failure(
                "answer_unusable",
                "The device code endpoint's answer is not one that can be shown. Check AuthorityHost and the proxy.",
            );
            later(failure, None)
        });
    }
    match answer::classify(status, &headers, &body, context.clock.now()) {
        Outcome::Denied(denial) => Err(SignInError::Refused(denial.failure)),
        Outcome::TryLater { after, failure } => Err(later(failure, after)),
        // Not reached: tokens come with status 200 only.
        Outcome::Refreshed(_) => Err(SignInError::Stopping),
    }
}

async fn poll(context: &Context, stop: &CancellationToken, code: &DeviceCode, claims: Option<&str>) -> Poll {
    let client = client(context);
    let Some(url) = endpoint::token_url_of(&context.connection, &client.tenant) else {
        return Poll::Expired;
    };
    let proof = Some(code.device_code.expose().as_str());
    let form = endpoint::form(&context.connection, &client, Grant::DeviceCode, proof, claims);
    match wire::post(context, stop, url, form).await {
        Ok(answered) => judge(&answered, context.clock.now()),
        Err(failure) => {
            tracing::debug!(connection = %context.connection.name, code = failure.code, "A poll of the sign-in got no answer.");
            Poll::Later(None)
        }
    }
}

/// RFC 8628 section 3.5 on top of what a token answer means anyway.
fn judge(answered: &Answered, now: Timestamp) -> Poll {
    if (400..=499).contains(&answered.status) {
        let error: Option<Value> = serde_json::from_slice(&answered.body).ok();
        match error.as_ref().and_then(|error| error["error"].as_str()) {
            Some("authorization_pending") => return Poll::Pending,
            Some("slow_down") => return Poll::SlowDown,
            Some("expired_token") => return Poll::Expired,
            _ => {}
        }
    }
    match answer::classify(answered.status, &answered.headers, &answered.body, now) {
        Outcome::Refreshed(tokens) => Poll::Tokens(tokens),
        Outcome::Denied(denial) => Poll::Refused(denial.failure),
        Outcome::TryLater { after, .. } => Poll::Later(after),
    }
}
