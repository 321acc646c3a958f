//! The one place where activities ask the connection stage for variables. Never keeps a value.

use std::collections::BTreeMap;

use serde_json::Value;

use super::error::ActivityError;
use crate::connection::{Connection, substitute_json};

/// The variables of one request.
type Given = BTreeMap<String, String>;

/// The connection's `UserId` with its variables replaced, if it has one.
///
/// # Errors
/// A sentence naming the variable.
pub(super) fn user_id(connection: &Connection, given: &Given) -> Result<Option<String>, ActivityError> {
    let fault = |message: String| ActivityError::field("bad_variable", "UserId", message);
    let lookup = connection.variable_lookup(given).map_err(fault)?;
    let Some(template) = &connection.user_id else { return Ok(None) };
    let user = template.resolve(&lookup).map_err(fault)?;
    Ok(Some(user.trim().to_owned()).filter(|user| !user.is_empty()))
}

/// A saved activity's body with its variables replaced.
///
/// # Errors
/// A sentence naming the activity, the field and the variable.
pub(super) fn substituted(
    connection: &Connection,
    activity: &str,
    body: &Value,
    given: &Given,
) -> Result<Value, ActivityError> {
    let fault = |message: String| {
        let message = format!(
            "The activity '{activity}' of the connection '{}' cannot run. {message}",
            connection.name
        );
        ActivityError::request("bad_variable", message)
    };
    let lookup = connection.variable_lookup(given).map_err(fault)?;
    substitute_json(body, &lookup).map_err(fault)
}
