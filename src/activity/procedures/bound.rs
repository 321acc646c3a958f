//! Any action or function that Graph binds to a resource, as a Graph request: actions by POST with their parameters as
//! the body, functions by GET with their parameters in the path (OData URL Conventions 4.01, section 4.5). The metadata says
//! which it is and what it takes; what the metadata does not know is called as it is written. Pure.

use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::{Map, Value};

use super::{Call, Outcome, Prepared, Work, read};
use crate::activity::error::ActivityError;
use crate::activity::target::{refuse_me, write};
use crate::catalog::{GraphPath, OperationCall};
use crate::graph::Effect;

/// The work for the operation `name` bound to `target`, or for the one at the path that `name` is.
pub(super) fn prepare(
    name: &str,
    target: Option<&str>,
    parameters: &Map<String, Value>,
    call: Call<'_>,
) -> Result<Prepared, ActivityError> {
    if call.has_content || call.wants_stream {
        let message = "An operation bound to a resource takes and answers JSON only. Send Content-Type and Accept: application/json.";
        return Err(ActivityError::field("bad_parameter", "procedure", message));
    }
    let (target, name) = match target {
        Some(target) => (target.trim(), name),
        None => name.trim_end_matches('/').rsplit_once('/').unwrap_or(("", name)),
    };
    let path =
        GraphPath::parse(target).map_err(|error| ActivityError::unknown("bad_target", "target", error))?;
    refuse_me(&path, call.connection)?;
    let (operation, is_function) = match name.strip_suffix("()") {
        Some(function) => (function, true),
        None => (name, false),
    };
    let well_formed = operation.starts_with(|first: char| first.is_ascii_alphabetic())
        && operation.split('.').all(|word| !word.is_empty())
        && operation
            .chars()
            .all(|character| character.is_ascii_alphanumeric() || matches!(character, '.' | '_'));
    if !well_formed {
        let message = format!(
            "'{}' is no name of an action. Write for example createReply, or microsoft.graph.createReply; a function ends \
             with '()'.",
            crate::error::clean_foreign_text(name)
        );
        return Err(ActivityError::field("unknown_procedure", "procedure", message));
    }
    let OperationCall { get, path: called, body } = match call.catalog.find_operation(&path, operation) {
        Some(known) => known
            .call(parameters)
            .map_err(|bad| ActivityError::unknown("bad_parameter", &bad.name, bad.error))?,
        // The service may know more than the metadata here: then the name alone says what it is.
        None if is_function => {
            OperationCall { get: true, path: function_path(&path, operation, parameters)?, body: None }
        }
        None => {
            if let Ok(object) = call.catalog.find_object(&format!("/{}", path.below(operation)))
                && object.graph_type().is_some()
            {
                let message = format!(
                    "'{operation}' is no action of '/{}' but its records. Use Create, Update or Delete with the object '{}'.",
                    path.encoded(),
                    object.name()
                );
                return Err(ActivityError::field("unknown_procedure", "procedure", message));
            }
            let body = Some(parameters.clone()).filter(|parameters| !parameters.is_empty());
            OperationCall { get: false, path: path.below(operation), body }
        }
    };
    let mailbox = path.mailbox();
    let request = match get {
        true => read(called, mailbox),
        false => write(http::Method::POST, called, body, None, mailbox, Effect::Once),
    };
    Ok(Prepared { work: Work::Ask(request, Outcome::Whole), changes: !get })
}

/// `path/function(a='x',b=1)`; what no literal can stand for goes behind an alias: `f(c=@c)?@c=[1]`.
fn function_path(
    path: &GraphPath,
    function: &str,
    parameters: &Map<String, Value>,
) -> Result<String, ActivityError> {
    let (mut inline, mut aliases) = (Vec::new(), Vec::new());
    for (name, value) in parameters {
        let plain = !name.is_empty()
            && name.chars().all(|character| character.is_ascii_alphanumeric() || character == '_');
        if !plain {
            let message = format!("'{}' is no name of a parameter.", crate::error::clean_foreign_text(name));
            return Err(ActivityError::field("unknown_parameter", name, message));
        }
        match value {
            Value::String(text) => inline.push(format!("{name}='{}'", text.replace('\'', "''"))),
            Value::Array(_) | Value::Object(_) => {
                inline.push(format!("{name}=@{name}"));
                aliases
                    .push(format!("@{name}={}", utf8_percent_encode(&value.to_string(), NON_ALPHANUMERIC)));
            }
            // Numbers, booleans and null are written as in JSON.
            simple => inline.push(format!("{name}={simple}")),
        }
    }
    let mut called = path.below(&format!("{function}({})", inline.join(",")));
    if !aliases.is_empty() {
        called.push('?');
        called.push_str(&aliases.join("&"));
    }
    Ok(called)
}
