//! Graph's refusals, in its own shape.
//! Never decides when to refuse.

use crate::answer::Answer;
use crate::random::Fresh;
use crate::time::{now_seconds, zoneless};
use serde_json::json;

/// A refusal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct GraphError {
    /// The HTTP status.
    pub(crate) status: u16,
    /// The `code` member.
    pub(crate) code: String,
    /// The `message` member.
    pub(crate) message: String,
    /// Further headers.
    pub(crate) headers: Vec<(String, String)>,
}

impl GraphError {
    /// A refusal.
    pub(crate) fn new(status: u16, code: &str, message: impl Into<String>) -> Self {
        Self { status, code: code.to_owned(), message: message.into(), headers: Vec::new() }
    }

    /// 400 `BadRequest`.
    pub(crate) fn bad_request(message: impl Into<String>) -> Self {
        Self::new(400, "BadRequest", message)
    }

    /// 400 `Request_UnsupportedQuery`, the directory's answer to what it cannot do.
    pub(crate) fn unsupported_query(message: impl Into<String>) -> Self {
        Self::new(400, "Request_UnsupportedQuery", message)
    }

    /// 400 `ErrorInvalidUrlQueryFilter`, the mailbox's answer to a filter it cannot do.
    pub(crate) fn invalid_filter_node() -> Self {
        Self::new(400, "ErrorInvalidUrlQueryFilter", "The query filter contains one or more invalid nodes.")
    }

    /// 400, a name that the type does not have; the directory and the mailbox answer with different codes.
    pub(crate) fn unknown_property(directory: bool, clause: &str, name: &str, type_name: &str) -> Self {
        let text = format!("Could not find a property named '{name}' on type 'microsoft.graph.{type_name}'.");
        if directory {
            Self::bad_request(format!("{clause}: {text}"))
        } else {
            Self::new(400, "RequestBroker--ParseUri", text)
        }
    }

    /// 404 for an item.
    pub(crate) fn item_not_found() -> Self {
        Self::new(404, "ErrorItemNotFound", "The specified object was not found in the store.")
    }

    /// 404 for an item of a drive.
    pub(crate) fn drive_item_not_found() -> Self {
        Self::new(404, "itemNotFound", "The resource could not be found.")
    }

    /// 400 from a drive.
    pub(crate) fn invalid_request(message: impl Into<String>) -> Self {
        Self::new(400, "invalidRequest", message)
    }

    /// 409 from a drive.
    pub(crate) fn name_taken() -> Self {
        Self::new(409, "nameAlreadyExists", "The specified item name already exists.")
    }

    /// 404 for a directory object.
    pub(crate) fn resource_not_found(name: &str) -> Self {
        let text = format!(
            "Resource '{name}' does not exist or one of its queried reference-property objects are not present."
        );
        Self::new(404, "Request_ResourceNotFound", text)
    }

    /// 400 for text that is not an id.
    pub(crate) fn malformed_id() -> Self {
        Self::new(400, "ErrorInvalidIdMalformed", "Id is malformed.")
    }

    /// What becomes of an id that this mailbox did not write: another mailbox's is well formed, and there is no such item
    /// here.
    pub(crate) fn foreign_id(id: &str) -> Self {
        if crate::data::ids::is_of_some_mailbox(id) { Self::item_not_found() } else { Self::malformed_id() }
    }

    /// 403 from a mailbox.
    pub(crate) fn access_denied() -> Self {
        Self::new(403, "ErrorAccessDenied", "Access is denied. Check credentials and try again.")
    }

    /// 403 from the directory.
    pub(crate) fn insufficient_privileges() -> Self {
        Self::new(403, "Authorization_RequestDenied", "Insufficient privileges to complete the operation.")
    }

    /// 401 with the header that tells a client what to do.
    pub(crate) fn unauthenticated(message: &str) -> Self {
        Self::new(401, "InvalidAuthenticationToken", message).with(
            "www-authenticate",
            "Bearer realm=\"\", authorization_uri=\"https://login.microsoftonline.com/common/oauth2/authorize\", client_id=\"00000003-0000-0000-c000-000000000000\"",
        )
    }

    /// 405 for a method that the resource does not have.
    pub(crate) fn method_not_allowed() -> Self {
        Self::new(405, "Request_BadRequest", "Specified HTTP method is not allowed for the request target.")
    }

    /// The same with one more header.
    pub(crate) fn with(mut self, name: &str, value: impl Into<String>) -> Self {
        self.headers.push((name.to_owned(), value.into()));
        self
    }

    /// The answer.
    pub(crate) fn answer(&self, fresh: &mut Fresh, client_request_id: Option<&str>) -> Answer {
        let request_id = fresh.guid();
        let body = json!({"error": {
            "code": self.code,
            "message": self.message,
            "innerError": {
                "date": zoneless(now_seconds()).trim_end_matches(".0000000"),
                "request-id": request_id,
                "client-request-id": client_request_id.unwrap_or(&request_id),
            }
        }});
        let mut answer = Answer::json(self.status, &body).with("request-id", request_id);
        answer.headers.extend(self.headers.iter().cloned());
        answer
    }
}
