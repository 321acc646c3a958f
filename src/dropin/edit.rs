//! A connection as a document that can be changed and written again: what PUT and DELETE of one saved activity start
//! from. Never writes; `write.rs` does.

use std::path::Path;

use serde_json::{Map, Value};

use super::node::Document;
use super::write::WriteError;
use crate::error::Fault;
use crate::files;

/// The connection `name` of `file` as it is written there, with its saved activity `activity` replaced by `body`
/// (`None`: removed). It holds inline secrets: it goes into a file and nowhere else.
///
/// # Errors
/// [`WriteError::Broken`] when the file cannot be read, [`WriteError::NotFound`] when the connection is not in it.
pub fn connection_document(
    file: &Path,
    name: &str,
    activity: &str,
    body: Option<Value>,
) -> Result<Value, WriteError> {
    let broken = || WriteError::Broken { name: name.to_owned(), file: file.display().to_string() };
    let bytes = files::read_bounded(file, super::scan::FILE_LIMIT)?;
    let document = Document::parse(String::from_utf8(bytes).map_err(|_| broken())?).map_err(|_| broken())?;
    let mut connection = document
        .root
        .to_json()
        .get_mut("connections")
        .and_then(Value::as_object_mut)
        .and_then(|connections| connections.iter_mut().find(|(key, _)| key.trim() == name))
        .map(|(_, value)| value.take())
        .ok_or_else(|| WriteError::NotFound(name.to_owned()))?;
    let fields = connection.as_object_mut().ok_or_else(broken)?;
    let key = fields.keys().find(|key| key.eq_ignore_ascii_case("activities")).cloned();
    let key = key.unwrap_or_else(|| "activities".to_owned());
    let activities = fields.entry(key).or_insert_with(|| Value::Object(Map::new()));
    if activities.is_null() {
        *activities = Value::Object(Map::new());
    }
    let activities = activities.as_object_mut().ok_or_else(broken)?;
    match body {
        Some(body @ Value::Object(_)) => drop(activities.insert(activity.to_owned(), body)),
        Some(_) => {
            let message =
                "A saved activity is an object with `type` and the fields of its request.".to_owned();
            let key = format!("connections.{name}.activities.{activity}");
            return Err(WriteError::Invalid(Fault { file: file.to_owned(), line: None, key, message }));
        }
        None => drop(activities.shift_remove(activity)),
    }
    Ok(connection)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn one_activity_is_replaced_or_removed_and_the_rest_stays() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("a.yaml");
        let text = "connections:\n  mail:\n    AuthScheme: AzureAD\n    activities:\n      old: { type: Query, object: Users }\n";
        files::write_private(&file, text.as_bytes()).unwrap();
        let new = json!({"type": "Query", "object": "Messages"});
        let added = connection_document(&file, "mail", "new", Some(new.clone())).unwrap();
        assert_eq!(
            added,
            json!({"AuthScheme": "AzureAD", "activities": {"old": {"type": "Query", "object": "Users"}, "new": new}})
        );
        let removed = connection_document(&file, "mail", "old", None).unwrap();
        assert_eq!(removed, json!({"AuthScheme": "AzureAD", "activities": {}}));
        assert!(matches!(connection_document(&file, "male", "x", None), Err(WriteError::NotFound(_))));
        assert!(matches!(
            connection_document(&file, "mail", "x", Some(json!(5))),
            Err(WriteError::Invalid(_))
        ));
    }
}
