//! The parameters of a call by their declared names, each read as what it must be. Never looks at a connection.

use serde_json::{Map, Value, json};

use crate::activity::error::ActivityError;
use crate::activity::value::checked;
use crate::catalog::{ColumnKind, ParameterType, Procedure};

/// Parameters by their declared names. Null and the empty text count as not given.
#[derive(Debug)]
pub(super) struct Given<'request> {
    procedure: &'static Procedure,
    values: Vec<(&'static str, &'request Value)>,
}

impl<'request> Given<'request> {
    /// Finds each parameter, in any case.
    ///
    /// # Errors
    /// A sentence, when one is unknown, given twice or missing.
    pub(super) fn new(
        procedure: &'static Procedure,
        parameters: &'request Map<String, Value>,
    ) -> Result<Self, ActivityError> {
        let mut values: Vec<(&'static str, &Value)> = Vec::new();
        for (name, value) in parameters {
            let parameter = procedure
                .parameter(name)
                .map_err(|error| ActivityError::unknown("unknown_parameter", name, error))?;
            if values.iter().any(|(known, _)| *known == parameter.name) {
                let message = format!("The parameter '{}' is given twice. Give it once.", parameter.name);
                return Err(ActivityError::field("bad_parameter", name, message));
            }
            // A text beside a body that is a stream is another parameter of the same name in some tools; here it is a slip.
            if parameter.kind == ParameterType::Stream && !value.is_null() {
                let message = format!(
                    "The parameter '{}' of {} is the body of the call: send it with Content-Type: application/octet-stream. In \
                     JSON, give ContentBytes in base64.",
                    parameter.name, procedure.name
                );
                return Err(ActivityError::field("bad_parameter", name, message));
            }
            let empty = value.as_str().is_some_and(|text| text.trim().is_empty());
            if !value.is_null() && !empty {
                values.push((parameter.name, value));
            }
        }
        let given = Self { procedure, values };
        match procedure.parameters.iter().find(|parameter| parameter.required && !given.has(parameter.name)) {
            None => Ok(given),
            Some(missing) => {
                let message = format!(
                    "{} needs the parameter '{}': {}",
                    procedure.name, missing.name, missing.description
                );
                Err(ActivityError::field("missing_parameter", missing.name, message))
            }
        }
    }

    /// The procedure's name.
    pub(super) fn procedure(&self) -> &'static str {
        self.procedure.name
    }

    pub(super) fn has(&self, name: &str) -> bool {
        self.value(name).is_some()
    }

    /// The first given parameter that is none of `names`.
    pub(super) fn other_than(&self, names: &[&str]) -> Option<&'static str> {
        self.values.iter().map(|(name, _)| *name).find(|name| !names.contains(name))
    }

    pub(super) fn value(&self, name: &str) -> Option<&'request Value> {
        debug_assert!(self.procedure.parameter(name).is_ok(), "{} declares {name}", self.procedure.name);
        self.values.iter().find(|(known, _)| *known == name).map(|(_, value)| *value)
    }

    pub(super) fn text(&self, name: &str) -> Result<Option<&'request str>, ActivityError> {
        match self.value(name) {
            None => Ok(None),
            Some(Value::String(text)) => Ok(Some(text)),
            Some(_) => Err(self.fault(name, "needs a text")),
        }
    }

    /// The text of a parameter that is declared as needed.
    pub(super) fn needed(&self, name: &str) -> Result<&'request str, ActivityError> {
        self.text(name)?.ok_or_else(|| self.fault(name, "is missing"))
    }

    /// An id: a text without the spaces around it.
    pub(super) fn id(&self, name: &str) -> Result<&'request str, ActivityError> {
        self.needed(name).map(str::trim)
    }

    pub(super) fn boolean(&self, name: &str, default: bool) -> Result<bool, ActivityError> {
        match self.value(name) {
            None => Ok(default),
            Some(value) => checked(ColumnKind::Bool, value)
                .and_then(|value| value.as_bool())
                .ok_or_else(|| self.fault(name, "is true or false")),
        }
    }

    /// An object, or a text that holds one.
    pub(super) fn object(&self, name: &str) -> Result<Option<Map<String, Value>>, ActivityError> {
        match self.value(name) {
            None => Ok(None),
            Some(value) => match checked(ColumnKind::Json, value) {
                Some(Value::Object(object)) => Ok(Some(object)),
                _ => Err(self.fault(name, "needs a JSON object")),
            },
        }
    }

    /// One of `words`, in any case.
    pub(super) fn word(
        &self,
        name: &str,
        words: &[&'static str],
        default: &'static str,
    ) -> Result<&'static str, ActivityError> {
        let Some(text) = self.text(name)? else { return Ok(default) };
        words.iter().find(|word| word.eq_ignore_ascii_case(text.trim())).copied().ok_or_else(|| {
            let words: Vec<String> = words.iter().map(|word| format!("'{word}'")).collect();
            self.fault(name, &format!("is one of {}", words.join(", ")))
        })
    }

    /// Texts separated by `;`.
    pub(super) fn list(&self, name: &str) -> Result<Vec<&'request str>, ActivityError> {
        let list = self.text(name)?.unwrap_or_default();
        Ok(list.split(';').map(str::trim).filter(|text| !text.is_empty()).collect())
    }

    /// Addresses separated by `;`, as Graph's recipients.
    pub(super) fn recipients(&self, name: &str) -> Result<Vec<Value>, ActivityError> {
        let recipient = |address: &str| match address.contains('@') && !address.contains([' ', ',', '<', '>'])
        {
            true => Ok(json!({"emailAddress": {"address": address}})),
            false => Err(self.fault(name, "needs addresses such as adele@contoso.com, separated by ';'")),
        };
        self.list(name)?.into_iter().map(recipient).collect()
    }

    /// Graph's `dateTimeTimeZone` from an instant, or from a local time and the zone in the parameter `zone`.
    pub(super) fn time_in_zone(&self, name: &str, zone: &str) -> Result<Option<Value>, ActivityError> {
        if let Some(object @ Value::Object(_)) = self.value(name) {
            return Ok(Some(object.clone()));
        }
        let Some(text) = self.text(name)? else { return Ok(None) };
        if text.trim_start().starts_with('{') {
            return self.object(name).map(|object| object.map(Value::Object));
        }
        let zone = self.text(zone)?;
        let wrong = || {
            self.fault(
                name,
                "needs a time such as 2026-01-31T08:00:00Z, or 2026-01-31T08:00:00 with its time zone",
            )
        };
        if let Ok(instant) = text.trim().parse::<jiff::Timestamp>() {
            let utc = instant.strftime("%Y-%m-%dT%H:%M:%S").to_string();
            return match zone {
                None | Some("UTC") => Ok(Some(json!({"dateTime": utc, "timeZone": "UTC"}))),
                Some(_) => Err(self.fault(name, "says its offset itself, so leave the time zone out")),
            };
        }
        let local: jiff::civil::DateTime = text.trim().parse().map_err(|_| wrong())?;
        let local = local.strftime("%Y-%m-%dT%H:%M:%S").to_string();
        Ok(Some(json!({"dateTime": local, "timeZone": zone.unwrap_or("UTC")})))
    }

    /// A fault of one parameter; `what` follows its name in the sentence.
    pub(super) fn fault(&self, name: &str, what: &str) -> ActivityError {
        let message = format!("The parameter '{name}' of {} {what}.", self.procedure.name);
        ActivityError::field("bad_parameter", name, message)
    }
}
