//! The OAuth procedures. They go through the agent's own sign-in and refresh, which keep the tokens: no token is taken in
//! a parameter and none is ever in an answer, because whoever reads an answer, a log of it or a run could then use it.
//! What operators want from these procedures, that the connection works, the answer says.

use std::time::Duration;

use serde_json::{Value, json};

use super::given::Given;
use super::run::Doing;
use super::{Call, Work};
use crate::activity::error::ActivityError;
use crate::connection::{AuthScheme, Callback};
use crate::graph::GraphError;
use crate::secret::Secret;
use crate::token::{SignInError, SignInRequest, SignInView, TokenError, consent_url};

/// Longest wait for a token request, as on the refresh route.
const TOKEN_WAIT: Duration = Duration::from_secs(30);
/// Longest wait for a code to be redeemed, and how often its state is looked at: nobody is told.
const REDEEM_WAIT: Duration = Duration::from_secs(60);
const REDEEM_POLL: Duration = Duration::from_millis(50);

/// What the token stage is asked for.
#[derive(Debug)]
pub(super) enum SignInWork {
    /// An address for a browser, with what the person is asked there.
    Authorize { prompt: Option<&'static str> },
    /// A code that a person brought back.
    Redeem { verifier: Secret },
    /// A token, or else a sign-in with a code to type in.
    Get,
    /// A new token.
    Refresh,
}

pub(super) fn consent(given: &Given<'_>, call: Call<'_>) -> Result<Work, ActivityError> {
    let callback = match given.text("CallbackUrl")? {
        None => None,
        Some(text) => Some(
            Callback::parse(text.trim())
                .map_err(|message| ActivityError::field("bad_parameter", "CallbackUrl", message))?,
        ),
    };
    let url = consent_url(
        call.connection,
        callback.as_ref(),
        given.text("State")?,
        given.text("Scope")?.map(str::trim),
    );
    let url = url.ok_or_else(|| {
        let message = "The address needs OAuthClientId, the application that is consented to. Add it to the connection.";
        ActivityError::request("no_client_id", message)
    })?;
    Ok(Work::Ready(json!({"URL": url})))
}

pub(super) fn authorize(given: &Given<'_>, call: Call<'_>) -> Result<Work, ActivityError> {
    refuse_other_sign_in(given, call)?;
    Ok(Work::SignIn(SignInWork::Authorize { prompt: prompt(given)? }))
}

pub(super) fn access_token(given: &Given<'_>, call: Call<'_>) -> Result<Work, ActivityError> {
    refuse_other_sign_in(given, call)?;
    prompt(given)?;
    match (given.word("AuthMode", &["APP", "WEB"], "APP")?, given.text("Verifier")?) {
        ("WEB", Some(code)) => Ok(Work::SignIn(SignInWork::Redeem { verifier: Secret::from(code.trim()) })),
        ("WEB", None) => {
            Err(given.fault("Verifier", "is missing: with AuthMode WEB it is what the browser brought back"))
        }
        (_, Some(_)) => Err(given.fault("Verifier", "goes with AuthMode WEB only")),
        _ => Ok(Work::SignIn(SignInWork::Get)),
    }
}

pub(super) fn refresh(given: &Given<'_>) -> Result<Work, ActivityError> {
    if given.has("OAuthRefreshToken") {
        return Err(given.fault(
            "OAuthRefreshToken",
            "is refused: the agent refreshes with the token it keeps. Leave it out, or put the new one into the connection's drop-in",
        ));
    }
    Ok(Work::SignIn(SignInWork::Refresh))
}

/// A sign-in is the connection's: a caller who could choose where the code goes, or for what, could take it over.
fn refuse_other_sign_in(given: &Given<'_>, call: Call<'_>) -> Result<(), ActivityError> {
    let auth = &call.connection.auth;
    if given.text("CallbackUrl")?.is_some_and(|url| url.trim() != auth.sign_in.callback.as_str()) {
        return Err(given.fault(
            "CallbackUrl",
            "is not the connection's CallbackURL. Leave it out, or change CallbackURL in the drop-in",
        ));
    }
    if given.text("Scope")?.is_some_and(|scope| Some(scope.trim()) != auth.scope.as_deref().map(str::trim)) {
        return Err(given
            .fault("Scope", "is not the connection's Scope. Leave it out, or change Scope in the drop-in"));
    }
    if given.has("State") {
        return Err(given.fault(
            "State",
            "is made by the agent for each sign-in, so that nobody else can answer it. Leave it out",
        ));
    }
    Ok(())
}

fn prompt(given: &Given<'_>) -> Result<Option<&'static str>, ActivityError> {
    let word = given.word("Prompt", &["select_account", "login", "consent", "None"], "select_account")?;
    Ok(Some(word).filter(|word| *word != "None"))
}

impl SignInWork {
    pub(super) async fn run(self, doing: &Doing<'_>) -> Result<Value, ActivityError> {
        let (keeper, name) = (&doing.host.keeper, &doing.live.connection.name);
        match self {
            Self::Authorize { prompt } => {
                let view =
                    doing.bounded(async { Ok(keeper.sign_in(name, SignInRequest::Browser).await?) }).await?;
                let url = view.authorization_url.as_deref().map(|url| with_prompt(url, prompt));
                Ok(json!({"URL": url, "ExpiresAt": view.expires_at}))
            }
            Self::Redeem { verifier } => {
                let answering = keeper.sign_in(name, SignInRequest::Verifier(verifier));
                doing.bounded(async { Ok(answering.await?) }).await?;
                let view = doing.bounded(redeemed(doing)).await?;
                Ok(status(doing, Some(&view)))
            }
            Self::Get => match doing.live.tokens.get(TOKEN_WAIT).await {
                Ok(_) => Ok(status(doing, None)),
                Err(TokenError::NeedsSignIn(_))
                    if doing.live.connection.auth.scheme == AuthScheme::AzureAd =>
                {
                    let asking = keeper.sign_in(name, SignInRequest::DeviceCode);
                    let view = doing.bounded(async { Ok(asking.await?) }).await?;
                    Ok(json!({
                        "Status": view.state, "UserCode": view.user_code, "VerificationUri": view.verification_uri,
                        "ExpiresAt": view.expires_at, "ExpiresIn": view.seconds_left, "Message": view.message,
                    }))
                }
                Err(error) => Err(GraphError::Token(error).into()),
            },
            Self::Refresh => {
                doing.live.tokens.refresh_now(TOKEN_WAIT).await.map_err(GraphError::Token)?;
                Ok(status(doing, None))
            }
        }
    }
}

/// Waits until the code has been redeemed and the tokens are stored.
async fn redeemed(doing: &Doing<'_>) -> Result<SignInView, ActivityError> {
    let (keeper, name) = (&doing.host.keeper, &doing.live.connection.name);
    let until = tokio::time::Instant::now() + REDEEM_WAIT;
    loop {
        match keeper.sign_in_view(name) {
            Some(view) if view.is_pending() && tokio::time::Instant::now() < until => {}
            Some(SignInView { error: Some(failure), .. }) => return Err(SignInError::Refused(failure).into()),
            Some(view) if view.state == "done" => return Ok(view),
            _ => return Err(SignInError::TooLate.into()),
        }
        tokio::time::sleep(REDEEM_POLL).await;
    }
}

/// How the connection's token stands, without the token.
fn status(doing: &Doing<'_>, view: Option<&SignInView>) -> Value {
    let token = doing.live.tokens.status();
    let left = token.expires_at.map(|expiry| expiry.until(doing.clock.now()).as_secs());
    let mut answer =
        json!({"Status": token.state.as_str(), "ExpiresIn": left, "ExpiresAt": token.expires_at});
    if let Some(account) = view.and_then(|view| view.account.as_deref()) {
        answer["Account"] = Value::from(account);
    }
    answer
}

fn with_prompt(address: &str, prompt: Option<&str>) -> String {
    match (prompt, url::Url::parse(address)) {
        (Some(prompt), Ok(mut url)) => {
            url.query_pairs_mut().append_pair("prompt", prompt);
            url.into()
        }
        _ => address.to_owned(),
    }
}
