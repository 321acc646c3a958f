//! Request bodies: JSON, checked against the type that is written.
//! Never stores anything.

use super::errors::GraphError;
use super::extended;
use crate::answer::Call;
use crate::data::model::{Entity, Kind, Shape};
use serde_json::{Map, Value};

/// Reads the properties of a new or changed entity. Names come back spelled as in answers.
pub(crate) fn read(call: &Call, entity: Entity) -> Result<Map<String, Value>, GraphError> {
    let object = object(call)?;
    let directory = entity == Entity::User;
    checked(object, entity.shape(), directory, true)
}

/// Reads a body that is a JSON object of any kind, such as an action's parameters.
pub(crate) fn object(call: &Call) -> Result<Map<String, Value>, GraphError> {
    if call.body.is_empty() {
        return Err(GraphError::bad_request("Empty Payload. JSON content expected."));
    }
    let content_type = call.header("content-type").unwrap_or_default().to_ascii_lowercase();
    if content_type.is_empty() {
        let text = "A missing or empty content type header was found when trying to read a message. The content type header is required.";
        return Err(GraphError::new(400, "RequestBodyRead", text));
    }
    if !content_type.starts_with("application/json") {
        let text = format!(
            "A supported MIME type could not be found that matches the content type '{content_type}'."
        );
        return Err(GraphError::new(415, "UnsupportedMediaType", text));
    }
    match serde_json::from_slice(&call.body) {
        Ok(Value::Object(object)) => Ok(object),
        _ => Err(GraphError::bad_request(
            "Unable to read JSON request payload. Please ensure Content-Type header is set and payload is of valid JSON format.",
        )),
    }
}

/// Checks the properties of a body against a type.
pub(crate) fn of_shape(
    object: Map<String, Value>,
    shape: &'static Shape,
    directory: bool,
) -> Result<Map<String, Value>, GraphError> {
    checked(object, shape, directory, true)
}

/// Checks the properties of a nested entity, such as the message of `sendMail`.
pub(crate) fn nested(object: Map<String, Value>, entity: Entity) -> Result<Map<String, Value>, GraphError> {
    checked(object, entity.shape(), false, true)
}

/// Text without its HTML tags and with single spaces.
pub(crate) fn plain_text(html: &str) -> String {
    let mut text = String::new();
    let mut in_tag = false;
    for character in html.chars() {
        match character {
            '<' => in_tag = true,
            '>' => {
                in_tag = false;
                text.push(' ');
            }
            _ if in_tag => {}
            other => text.push(other),
        }
    }
    let text = text.replace("&nbsp;", " ").replace("&lt;", "<").replace("&gt;", ">").replace("&amp;", "&");
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

fn checked(
    object: Map<String, Value>,
    shape: &'static Shape,
    directory: bool,
    top: bool,
) -> Result<Map<String, Value>, GraphError> {
    let mut fields = Map::new();
    for (name, value) in object {
        if name.contains('@') {
            // Annotations say how to read the body; the sandbox needs none of them.
            continue;
        }
        let Some(property) = shape.find(&name) else {
            if top && shape.navigates(&name) && !directory {
                if name.eq_ignore_ascii_case("attachments") {
                    let attached = value.as_array().is_some_and(|list| !list.is_empty());
                    fields.insert("hasAttachments".into(), attached.into());
                }
                if name.eq_ignore_ascii_case(extended::NAME) {
                    extended::check(&value)?;
                    fields.insert(extended::NAME.into(), value);
                }
                continue;
            }
            return Err(unknown(&name, shape.name, directory));
        };
        if top && property.read_only {
            if directory {
                let text = format!("Property '{}' is read-only and cannot be set.", property.name);
                return Err(GraphError::new(400, "Request_BadRequest", text));
            }
            continue;
        }
        fields.insert(property.name.to_owned(), converted(property.name, value, property.kind, directory)?);
    }
    Ok(fields)
}

fn converted(name: &str, value: Value, kind: Kind, directory: bool) -> Result<Value, GraphError> {
    match (kind, value) {
        (_, Value::Null) => Ok(Value::Null),
        (Kind::Any, any) => Ok(any),
        (Kind::Text | Kind::Binary, Value::String(text)) => Ok(text.into()),
        (Kind::Flag, Value::Bool(flag)) => Ok(flag.into()),
        (Kind::Number, Value::Number(number)) if number.is_i64() => Ok(number.into()),
        (Kind::Fraction, Value::Number(number)) => Ok(number.into()),
        (Kind::Instant, Value::String(text)) if crate::time::parse_nanos(&text).is_some() => {
            Ok(match crate::time::parse_seconds(&text) {
                Some(seconds) => crate::time::instant(seconds).into(),
                None => text.into(),
            })
        }
        (Kind::Choice(members), Value::String(text)) => {
            match members.iter().find(|member| member.eq_ignore_ascii_case(&text)) {
                Some(member) => Ok((*member).into()),
                None => Err(mismatch(name, &text.into(), kind, directory)),
            }
        }
        (Kind::Complex(shape), Value::Object(object)) => {
            checked(object, shape, directory, false).map(Value::Object)
        }
        (Kind::List(item), Value::Array(items)) => {
            let items = items.into_iter().map(|value| converted(name, value, *item, directory));
            items.collect::<Result<Vec<_>, _>>().map(Value::Array)
        }
        (_, other) => Err(mismatch(name, &other, kind, directory)),
    }
}

fn unknown(name: &str, type_name: &str, directory: bool) -> GraphError {
    let text = format!(
        "The property '{name}' does not exist on type 'microsoft.graph.{type_name}'. Make sure to only use property names that are defined by the type or mark the type as open type."
    );
    GraphError::new(400, if directory { "Request_BadRequest" } else { "RequestBodyRead" }, text)
}

fn mismatch(name: &str, value: &Value, kind: Kind, directory: bool) -> GraphError {
    if directory {
        let text = format!("Invalid value specified for property '{name}' of resource 'User'.");
        return GraphError::new(400, "Request_BadRequest", text);
    }
    let text = format!("Cannot convert the literal '{value}' to the expected type '{}'.", kind.edm_name());
    GraphError::new(400, "RequestBodyRead", text)
}
