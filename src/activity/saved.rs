//! Saved activities: from a drop-in's body to a request, with the variables of this call. Never runs one.

use serde::de::DeserializeOwned;
use serde_json::Value;

use super::error::ActivityError;
use super::model::{CallOptions, ExecuteRequest, WriteRequest};
use super::variables::substituted;
use crate::catalog::did_you_mean;
use crate::connection::{ActivityKind, Connection};
use crate::query::QueryRequest;

/// A saved activity, ready to run.
#[derive(Clone, Debug, PartialEq)]
pub enum SavedRequest {
    /// A query.
    Query(QueryRequest),
    /// Create, Update or Delete.
    Write(ActivityKind, Box<WriteRequest>),
    /// A procedure.
    Execute(ExecuteRequest),
}

impl SavedRequest {
    /// Its kind.
    pub fn kind(&self) -> ActivityKind {
        match self {
            Self::Query(_) => ActivityKind::Query,
            Self::Write(kind, _) => *kind,
            Self::Execute(_) => ActivityKind::Execute,
        }
    }
}

/// The activity `name` (exactly as written) of `connection`.
///
/// # Errors
/// [`ActivityError::NotFound`], or a sentence naming the activity and the key that cannot be used.
pub(super) fn saved(
    connection: &Connection,
    name: &str,
    options: &CallOptions,
) -> Result<SavedRequest, ActivityError> {
    let Some(activity) = connection.activities.get(name) else {
        let near = did_you_mean(name, connection.activities.keys().map(String::as_str));
        let message = format!("The connection '{}' has no activity '{name}'.{near}", connection.name);
        return Err(ActivityError::NotFound { code: "unknown_activity", message });
    };
    let body = substituted(connection, name, &activity.body, &options.variables)?;
    Ok(match activity.kind {
        ActivityKind::Query => SavedRequest::Query(read(connection, name, body)?),
        ActivityKind::Execute => SavedRequest::Execute(read(connection, name, body)?),
        kind @ (ActivityKind::Create | ActivityKind::Update | ActivityKind::Delete) => {
            SavedRequest::Write(kind, Box::new(read(connection, name, body)?))
        }
    })
}

fn read<T: DeserializeOwned>(connection: &Connection, name: &str, body: Value) -> Result<T, ActivityError> {
    serde_json::from_value(body).map_err(|error| {
        let message = format!(
            "The activity '{name}' of the connection '{}' cannot run: {error}. Correct it in {}.",
            connection.name,
            connection.file.display()
        );
        ActivityError::request("bad_activity", message)
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use serde_json::json;

    use super::*;
    use crate::connection::SavedActivity;
    use crate::query::ConditionNode;
    use crate::query::test_support::connection;

    fn with(kind: ActivityKind, body: Value) -> Connection {
        connection(|connection| {
            connection.activities.insert("Unread mail".to_owned(), SavedActivity { kind, body });
        })
    }

    #[test]
    fn a_saved_activity_becomes_a_request() {
        let body = json!({"object": "Messages", "limit": 5,
            "conditions": [{"field": "isRead", "operator": "=", "value": "[read]"}]});
        let mut options = CallOptions::default();
        options.variables.insert("read".to_owned(), "false".to_owned());
        let found = saved(&with(ActivityKind::Query, body), "Unread mail", &options).unwrap();
        let SavedRequest::Query(query) = &found else { panic!("{found:?}") };
        assert_eq!(query.limit, Some(5));
        assert!(matches!(&query.conditions[0], ConditionNode::Is(condition) if condition.value == "false"));
        let body = json!({"object": "Contacts", "records": [{"givenName": "A"}]});
        let found = saved(&with(ActivityKind::Create, body), "Unread mail", &options).unwrap();
        assert_eq!(found.kind(), ActivityKind::Create);
    }

    #[test]
    fn refusals_name_the_activity_and_the_key() {
        let unknown = json!({"objekt": "Messages"});
        let variable = json!({"object": "[which]"});
        for (kind, body, name, expected) in [
            (ActivityKind::Query, &unknown, "Unread Mails", "Did you mean 'Unread mail'?"),
            (ActivityKind::Query, &unknown, "Unread mail", "unknown field `objekt`"),
            (ActivityKind::Query, &variable, "Unread mail", "Variable 'which' is not set"),
            (ActivityKind::Create, &variable, "Unread mail", "'Unread mail'"),
        ] {
            let message =
                saved(&with(kind, body.clone()), name, &CallOptions::default()).unwrap_err().to_string();
            assert!(message.contains(expected), "{message}");
        }
    }
}
