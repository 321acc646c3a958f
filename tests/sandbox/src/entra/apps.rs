//! The applications that are registered in the tenant, and how they prove who they are.
//! Never grants anything; it only says which application is speaking.

use super::errors::OAuthError;
use crate::answer::{Call, decode};
use crate::options::{
    CONFIDENTIAL_CLIENT_ID, CONFIDENTIAL_CLIENT_SECRET, EXPIRED_CLIENT_SECRET, PUBLIC_CLIENT_ID,
};
use crate::state::State;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;

/// The form of a token request.
pub(crate) type Form = [(String, String)];

/// A registered application.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum App {
    /// It has secrets and application roles.
    Confidential,
    /// It has no secret and serves signed-in users.
    Public,
}

impl App {
    /// Its client id.
    pub(crate) fn client_id(self) -> &'static str {
        match self {
            Self::Confidential => CONFIDENTIAL_CLIENT_ID,
            Self::Public => PUBLIC_CLIENT_ID,
        }
    }

    /// The application of that id.
    pub(crate) fn find(client_id: &str) -> Option<Self> {
        [Self::Confidential, Self::Public]
            .into_iter()
            .find(|app| app.client_id().eq_ignore_ascii_case(client_id))
    }
}

/// The field's value; an empty one counts as missing.
pub(crate) fn field<'a>(form: &'a Form, name: &str) -> Option<&'a str> {
    form.iter()
        .find(|(known, _)| known == name)
        .map(|(_, value)| value.as_str())
        .filter(|value| !value.is_empty())
}

/// Which application sends the request; fails unless its credential is right.
pub(crate) fn authenticate(
    state: &mut State,
    call: &Call,
    form: &Form,
    tenant: &str,
) -> Result<App, OAuthError> {
    let basic = basic_credential(call);
    let client_id = match (&basic, field(form, "client_id")) {
        (_, Some(client_id)) => client_id.to_owned(),
        (Some((client_id, _)), None) => client_id.clone(),
        (None, None) => return Err(OAuthError::missing_parameter("client_id")),
    };
    let app = App::find(&client_id).ok_or_else(|| OAuthError::unknown_application(&client_id, tenant))?;
    let secret = field(form, "client_secret").map(str::to_owned).or(basic.map(|(_, secret)| secret));
    let assertion = field(form, "client_assertion");
    match (app, secret, assertion) {
        (App::Public, None, None) => Ok(app),
        (App::Public, _, _) => Err(OAuthError::public_client_with_credential(app.client_id())),
        (App::Confidential, Some(secret), None) if secret == CONFIDENTIAL_CLIENT_SECRET => Ok(app),
        (App::Confidential, Some(secret), None) if secret == EXPIRED_CLIENT_SECRET => {
            Err(OAuthError::expired_secret(app.client_id()))
        }
        (App::Confidential, Some(_), _) => Err(OAuthError::wrong_secret(app.client_id())),
        (App::Confidential, None, Some(_)) => {
            let audience = format!("{}{}", state.login_origin, call.path());
            state.credentials.verify(app, form, &audience).map(|()| app)
        }
        (App::Confidential, None, None) => Err(OAuthError::no_credential()),
    }
}

fn basic_credential(call: &Call) -> Option<(String, String)> {
    let value = call.header("authorization")?.strip_prefix("Basic ")?;
    let text = String::from_utf8(STANDARD.decode(value.trim()).ok()?).ok()?;
    let (client_id, secret) = text.split_once(':')?;
    // RFC 6749 section 2.3.1: both halves are form-encoded before they are joined.
    Some((decode(&client_id.replace('+', " ")), decode(&secret.replace('+', " "))))
}
