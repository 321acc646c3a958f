//! The browser flow: authorization code with PKCE (RFC 7636) and a listener on loopback for the browser's return
//! (RFC 8252), opened only for this sign-in. Opens no browser itself: the agent is a service.

use std::sync::Arc;
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use super::desk::{Ready, SignIn};
use super::device::{claims_on_record, client, store};
use super::listener::Listener;
use super::model::SignInError;
use super::protocol::{self, Proof, Redirect};
use super::stage::Stage;
use super::wire;
use crate::secret::Secret;
use crate::token::advice;
use crate::token::answer::{self, NewTokens, Outcome};
use crate::token::endpoint;
use crate::token::model::TokenFailure;
use crate::token::plan::Grant;
use crate::token::transaction::Context;

/// How long a browser may take: as long as Entra's own codes live.
const LIFETIME: Duration = Duration::from_secs(10 * 60);
/// How often a code is sent when no answer comes. A second sending of a code that was taken is refused, which loses
/// nothing that the lost answer had not lost already.
const ATTEMPTS: u32 = 3;
const PAUSE: Duration = Duration::from_secs(1);

/// Drives one sign-in to its end.
pub(super) async fn drive(sign_in: Arc<SignIn>, ready: Ready) {
    let context = &sign_in.context;
    let proof = Proof::new();
    let (listener, redirect_uri, url) = match prepare(context, &proof).await {
        Ok(prepared) => prepared,
        Err(error) => {
            sign_in.fail(context.failure("callback_unavailable", &error.to_string()));
            let _the_caller_may_have_gone = ready.send(Err(error));
            return;
        }
    };
    let expires_at = context.clock.now().plus(LIFETIME);
    let answered = sign_in.expect(proof.state.clone());
    let waiting = sign_in.go(|stage| stage.await_redirect(listener.is_some(), expires_at));
    let _the_caller_may_have_gone = ready.send(Ok(Some(url)));
    if waiting.is_err() {
        return;
    }
    let closing = CancellationToken::new();
    // Whatever ends this function closes the port, and the page that is being sent then is still finished.
    let _closes_with_this = closing.clone().drop_guard();
    if let Some(listener) = listener {
        sign_in.drivers.tasks.spawn(listener.serve(Arc::clone(&sign_in), closing.clone()));
    }
    let redirect = tokio::select! {
        biased;
        () = sign_in.drivers.stop.cancelled() => return,
        () = sign_in.ended.cancelled() => return,
        Ok(redirect) = answered => redirect,
        // By the clock that nobody sets, as the server counts the code's life.
        () = tokio::time::sleep(LIFETIME) => return sign_in.expire(),
    };
    closing.cancel();
    match redirect {
        Redirect::Refused { error, aadsts } => sign_in.fail(refused(context, &error, aadsts)),
        Redirect::Code(code) => {
            if sign_in.go(Stage::accept).is_err() {
                return;
            }
            let asked_at = context.clock.now();
            match redeem(context, &sign_in.drivers.stop, &code, &redirect_uri, &proof.verifier).await {
                Ok(tokens) => store(&sign_in, tokens, asked_at).await,
                Err(failure) => sign_in.fail(failure),
            }
        }
    }
}

async fn prepare(
    context: &Context,
    proof: &Proof,
) -> Result<(Option<Listener>, String, String), SignInError> {
    let callback = &context.connection.auth.sign_in.callback;
    let listener = match callback.loopback() {
        Some(loopback) => Some(Listener::open(loopback).await.map_err(SignInError::Callback)?),
        None => None,
    };
    let redirect_uri =
        listener.as_ref().map_or_else(|| callback.as_str().to_owned(), |open| callback.with_port(open.port));
    let claims = claims_on_record(context).await;
    let client_id = client(context).client_id;
    let url =
        protocol::authorization_url(&context.connection, &client_id, &redirect_uri, proof, claims.as_deref());
    let url = url.ok_or_else(|| {
        SignInError::NotPossible(
            "AzureTenant cannot stand in an address. Set it to the tenant's domain or id.".to_owned(),
        )
    })?;
    Ok((listener, redirect_uri, url))
}

pub(super) async fn redeem(
    context: &Context,
    stop: &CancellationToken,
    code: &Secret,
    redirect_uri: &str,
    verifier: &Secret,
) -> Result<NewTokens, TokenFailure> {
    let client = client(context);
    let connection = &context.connection;
    let mut attempt = 0;
    loop {
        attempt += 1;
        let Some(url) = endpoint::token_url_of(connection, &client.tenant) else {
            return Err(context.failure("bad_tenant", "AzureTenant cannot stand in an address. Correct it."));
        };
        let proof = Some(code.expose().as_str());
        let mut form = endpoint::form(connection, &client, Grant::AuthorizationCode, proof, None);
        endpoint::add(&mut form, &[("redirect_uri", redirect_uri), ("code_verifier", verifier.expose())]);
        let outcome = match wire::post(context, stop, url, form).await {
            Ok(answered) => {
                answer::classify(answered.status, &answered.headers, &answered.body, context.clock.now())
            }
            Err(failure) => Outcome::TryLater { after: None, failure },
        };
        match outcome {
            Outcome::Refreshed(tokens) => return Ok(tokens),
            Outcome::Denied(denial) => {
                let mut failure = denial.failure;
                // The number's own advice speaks of refresh tokens.
                if failure.code == "invalid_grant" && denial.needs_sign_in {
                    failure.message =
                        "Microsoft does not accept the sign-in's code: it works once and for about ten minutes."
                            .to_owned();
                }
                return Err(failure);
            }
            Outcome::TryLater { failure, .. } if attempt == ATTEMPTS => return Err(failure),
            Outcome::TryLater { after, failure } => {
                let pause = tokio::time::sleep(after.unwrap_or_default().clamp(PAUSE, PAUSE * 10));
                if stop.run_until_cancelled(pause).await.is_none() {
                    return Err(failure);
                }
            }
        }
    }
}

/// The server's own word, and our sentence for it.
fn refused(context: &Context, error: &str, aadsts: Option<u32>) -> TokenFailure {
    let advice = advice::of_refusal(error, aadsts).map_or(
        "Microsoft refused the sign-in. Sign in again, or ask the tenant's administrator.",
        |advice| advice.message,
    );
    let mut failure = context.failure(error, advice);
    failure.aadsts = aadsts;
    failure
}
