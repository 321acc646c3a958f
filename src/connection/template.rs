//! Placeholder of the templates: the connection stage replaces this file. Knows only `[name]`.

use serde_json::Value;

use super::Template;

impl Template {
    /// The text with its variables replaced.
    ///
    /// # Errors
    /// A sentence naming the variable.
    pub fn resolve(&self, lookup: &dyn Fn(&str) -> Option<String>) -> Result<String, String> {
        resolve(&self.text, lookup)
    }
}

/// Replaces the variables in all texts inside `value`.
///
/// # Errors
/// A sentence naming the field and the variable.
pub fn substitute_json(value: &Value, lookup: &dyn Fn(&str) -> Option<String>) -> Result<Value, String> {
    Ok(match value {
        Value::String(text) => Value::String(resolve(text, lookup)?),
        Value::Array(items) => {
            Value::Array(items.iter().map(|item| substitute_json(item, lookup)).collect::<Result<_, _>>()?)
        }
        Value::Object(entries) => {
            let replaced = entries.iter().map(|(key, value)| Ok((key.clone(), substitute_json(value, lookup)?)));
            Value::Object(replaced.collect::<Result<_, String>>()?)
        }
        other => other.clone(),
    })
}

fn resolve(text: &str, lookup: &dyn Fn(&str) -> Option<String>) -> Result<String, String> {
    let Some((before, rest)) = text.split_once('[') else { return Ok(text.to_owned()) };
    let (name, after) = rest.split_once(']').ok_or("A bracket is not closed.")?;
    let value = lookup(name).ok_or_else(|| format!("Variable '{name}' is not set."))?;
    Ok(format!("{before}{value}{}", resolve(after, lookup)?))
}
