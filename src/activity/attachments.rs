//! The attachments of SendMail: from the procedure's texts to Graph's file attachments. Pure; reads no file.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use super::error::ActivityError;

/// Larger attachments need an upload session (Graph, "Attach large files to Outlook messages").
const LARGEST: usize = 3 * 1024 * 1024;

/// Graph's attachments from `Attachments` (`name1, content1; name2, content2`, or an array of `{name, contentBytes}`) and
/// from `FileName` with `ContentBytes`.
///
/// # Errors
/// A sentence naming the attachment and the remedy.
pub(super) fn attachments(
    list: Option<&Value>,
    file_name: Option<&str>,
    content: Option<&str>,
) -> Result<Vec<Value>, ActivityError> {
    let mut found = match list {
        None | Some(Value::Null) => Vec::new(),
        Some(Value::String(text)) => pairs(text)?,
        Some(Value::Array(items)) => items.iter().map(object).collect::<Result<_, _>>()?,
        Some(_) => {
            return Err(fault(
                "Attachments",
                "'Attachments' needs the text 'name1, content1; name2, content2'.",
            ));
        }
    };
    match (file_name, content) {
        (None, None) => {}
        (Some(name), Some(content)) => found.push(attachment(name, content)?),
        (Some(_), None) => {
            return Err(fault("ContentBytes", "'FileName' needs its content as 'ContentBytes', in base64."));
        }
        (None, Some(_)) => {
            return Err(fault("FileName", "'ContentBytes' needs a name for the file as 'FileName'."));
        }
    }
    Ok(found)
}

fn pairs(text: &str) -> Result<Vec<Value>, ActivityError> {
    let pieces = text.split(';').map(str::trim).filter(|piece| !piece.is_empty());
    let pair = |piece: &str| match piece.rsplit_once(',') {
        Some((name, content)) => attachment(name.trim(), content.trim()),
        None => Err(fault("Attachments", "Each attachment needs a name, a comma and its content in base64.")),
    };
    pieces.map(pair).collect()
}

fn object(item: &Value) -> Result<Value, ActivityError> {
    let text = |key: &str| item.get(key).and_then(Value::as_str);
    match (text("name"), text("contentBytes")) {
        (Some(name), Some(content)) => {
            let mut made = attachment(name, content)?;
            if let (Some(kind), Some(made)) = (text("contentType"), made.as_object_mut()) {
                made.insert("contentType".to_owned(), Value::from(kind));
            }
            Ok(made)
        }
        _ => Err(fault("Attachments", "Each attachment needs 'name' and 'contentBytes' (base64).")),
    }
}

fn attachment(name: &str, content: &str) -> Result<Value, ActivityError> {
    if name.is_empty() {
        return Err(fault("Attachments", "An attachment has no name. Give it one."));
    }
    if content.starts_with('@') {
        return Err(local_file(name));
    }
    let content: String = content.split_ascii_whitespace().collect();
    let bytes = STANDARD.decode(&content).map_err(|_| {
        fault(
            "Attachments",
            &format!("The content of the attachment '{name}' is not base64. Encode it with base64."),
        )
    })?;
    if bytes.len() >= LARGEST {
        let message = format!(
            "The attachment '{name}' has {} bytes; SendMail takes less than {LARGEST}. Make a draft with Create, add the \
             attachment to it through an upload session, and send the draft by its Id.",
            bytes.len()
        );
        return Err(fault("Attachments", &message));
    }
    Ok(json!({"@odata.type": "#microsoft.graph.fileAttachment", "name": name, "contentBytes": content}))
}

/// Local files are refused until activities are confined to `[LocalFiles] Root`; a caller of the control port could
/// otherwise mail any file that the agent can read.
pub(super) fn local_file(name: &str) -> ActivityError {
    let message = format!(
        "'{name}' would be read from the agent's host, which this version does not do. Give the content itself in base64 \
         (FileName with ContentBytes)."
    );
    fault("LocalFile", &message)
}

fn fault(parameter: &str, message: &str) -> ActivityError {
    ActivityError::field("bad_parameter", parameter, message)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;

    #[test]
    fn texts_and_arrays_become_attachments() {
        let list = json!("a.txt, SGk=; b, c.txt, SGk=;");
        let found = attachments(Some(&list), Some("d"), Some("SG k=")).unwrap();
        let names: Vec<&str> = found.iter().map(|attachment| attachment["name"].as_str().unwrap()).collect();
        assert_eq!(names, ["a.txt", "b, c.txt", "d"]);
        assert_eq!(found[2]["contentBytes"], "SGk=");
        let list = json!([{"name": "a", "contentBytes": "SGk=", "contentType": "text/plain"}]);
        assert_eq!(attachments(Some(&list), None, None).unwrap()[0]["contentType"], "text/plain");
    }

    #[test]
    fn refusals_say_what_to_do() {
        let large = STANDARD.encode(vec![0; LARGEST]);
        for (list, name, content, expected) in [
            (Some(json!("a.txt")), None, None, "a name, a comma"),
            (Some(json!("a, @/etc/shadow")), None, None, "does not do"),
            (Some(json!("a, %%%")), None, None, "is not base64"),
            (Some(json!(", SGk=")), None, None, "has no name"),
            (Some(json!(5)), None, None, "needs the text"),
            (Some(json!([{"name": "a"}])), None, None, "'contentBytes'"),
            (None, Some("a"), None, "needs its content"),
            (None, None, Some("SGk="), "needs a name"),
            (None, Some("a"), Some(large.as_str()), "upload session"),
        ] {
            let message = attachments(list.as_ref(), name, content).unwrap_err().to_string();
            assert!(message.contains(expected), "{list:?} {name:?}: {message}");
        }
    }
}
