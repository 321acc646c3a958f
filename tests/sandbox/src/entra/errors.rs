//! The token endpoint's refusals, in its own shape.
//! Never decides when to refuse.

use crate::answer::Answer;
use crate::random::Fresh;
use crate::time::{now_seconds, token_timestamp};
use serde_json::{Map, Value, json};

/// A refusal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct OAuthError {
    /// The HTTP status.
    pub(crate) status: u16,
    /// The `error` member.
    pub(crate) error: String,
    /// The AADSTS number.
    pub(crate) code: u32,
    /// The text after the number.
    pub(crate) description: String,
    /// The `suberror` member.
    pub(crate) suberror: Option<String>,
    /// The `claims` member.
    pub(crate) claims: Option<String>,
}

impl OAuthError {
    /// A refusal of that kind.
    pub(crate) fn new(status: u16, error: &str, code: u32, description: impl Into<String>) -> Self {
        Self {
            status,
            error: error.to_owned(),
            code,
            description: description.into(),
            suberror: None,
            claims: None,
        }
    }

    /// A required field is missing.
    pub(crate) fn missing_parameter(name: &str) -> Self {
        let text = format!("The request body must contain the following parameter: '{name}'.");
        Self::new(400, "invalid_request", 900_144, text)
    }

    /// No application of that id.
    pub(crate) fn unknown_application(client_id: &str, tenant: &str) -> Self {
        let text =
            format!("Application with identifier '{client_id}' was not found in the directory '{tenant}'.");
        Self::new(400, "unauthorized_client", 700_016, text)
    }

    /// No tenant of that name.
    pub(crate) fn unknown_tenant(tenant: &str) -> Self {
        let text = format!("Tenant '{tenant}' not found. Check to make sure you have the correct tenant ID.");
        Self::new(400, "invalid_request", 90_002, text)
    }

    /// The secret is not one of the application's.
    pub(crate) fn wrong_secret(client_id: &str) -> Self {
        let text = format!("Invalid client secret provided for a secret added to app '{client_id}'.");
        Self::new(401, "invalid_client", 7_000_215, text)
    }

    /// The secret has expired.
    pub(crate) fn expired_secret(client_id: &str) -> Self {
        let text = format!("The provided client secret keys for app '{client_id}' are expired.");
        Self::new(401, "invalid_client", 7_000_222, text)
    }

    /// A confidential application came without a credential.
    pub(crate) fn no_credential() -> Self {
        let text =
            "The request body must contain the following parameter: 'client_assertion' or 'client_secret'.";
        Self::new(401, "invalid_client", 7_000_218, text)
    }

    /// A public application came with a credential.
    pub(crate) fn public_client_with_credential(client_id: &str) -> Self {
        let text = format!(
            "Client '{client_id}' is public so neither 'client_assertion' nor 'client_secret' should be presented."
        );
        Self::new(401, "invalid_client", 700_025, text)
    }

    /// The grant is not one of the endpoint's.
    pub(crate) fn unsupported_grant(grant: &str) -> Self {
        let text = format!("The app requested an unsupported grant type '{grant}'.");
        Self::new(400, "unsupported_grant_type", 70_003, text)
    }

    /// The scope is malformed or not allowed for the grant.
    pub(crate) fn invalid_scope(scope: &str) -> Self {
        let text = format!(
            "The provided value for the input parameter 'scope' is not valid. The scope {scope} is not valid."
        );
        Self::new(400, "invalid_scope", 70_011, text)
    }

    /// Scopes of more than one resource.
    pub(crate) fn two_resources() -> Self {
        let text = "The provided value for the input parameter 'scope' is not valid. Scopes of more than one resource were requested.";
        Self::new(400, "invalid_scope", 28_000, text)
    }

    /// The resource is not known in the tenant.
    pub(crate) fn unknown_resource(resource: &str) -> Self {
        let text = format!("The resource principal named {resource} was not found in the tenant.");
        Self::new(400, "invalid_resource", 500_011, text)
    }

    /// Consent is missing for a scope.
    pub(crate) fn consent_required(client_id: &str) -> Self {
        let text = format!(
            "The user or administrator has not consented to use the application with ID '{client_id}'."
        );
        let mut error = Self::new(400, "invalid_grant", 65_001, text);
        error.suberror = Some("consent_required".to_owned());
        error
    }

    /// The refresh token is not one, or belongs to someone else.
    pub(crate) fn bad_refresh_token(code: u32, text: &str, suberror: Option<&str>) -> Self {
        let mut error = Self::new(400, "invalid_grant", code, text);
        error.suberror = suberror.map(str::to_owned);
        error
    }

    /// The answer; `correlation_id` is the client's own, when it sent one.
    pub(crate) fn answer(
        &self,
        fresh: &mut Fresh,
        correlation_id: Option<&str>,
        login_origin: &str,
    ) -> Answer {
        let trace_id = fresh.guid();
        let correlation_id = correlation_id.map_or_else(|| fresh.guid(), str::to_owned);
        let timestamp = token_timestamp(now_seconds());
        let mut body = Map::new();
        body.insert("error".into(), self.error.as_str().into());
        body.insert(
            "error_description".into(),
            format!(
                "AADSTS{}: {}\r\nTrace ID: {trace_id}\r\nCorrelation ID: {correlation_id}\r\nTimestamp: {timestamp}",
                self.code, self.description
            )
            .into(),
        );
        body.insert("error_codes".into(), json!([self.code]));
        body.insert("timestamp".into(), timestamp.into());
        body.insert("trace_id".into(), trace_id.into());
        body.insert("correlation_id".into(), correlation_id.into());
        body.insert("error_uri".into(), format!("{login_origin}/error?code={}", self.code).into());
        if let Some(suberror) = &self.suberror {
            body.insert("suberror".into(), suberror.as_str().into());
        }
        if let Some(claims) = &self.claims {
            body.insert("claims".into(), claims.as_str().into());
        }
        Answer::json(self.status, &Value::Object(body))
            .with("cache-control", "no-store, no-cache")
            .with("pragma", "no-cache")
    }
}
