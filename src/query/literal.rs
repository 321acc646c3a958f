//! Values of conditions, checked against their column's type. Never sends a value that the type does not allow, so that
//! nothing a caller writes can change the meaning of a filter.

use serde_json::Value;

use super::error::QueryError;
use super::moment::Moment;
use crate::catalog::{Column, ColumnKind, is_uuid};

/// A checked value.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Literal {
    /// No value.
    Null,
    /// `true` or `false`.
    Bool(bool),
    /// A whole number.
    Whole(i64),
    /// A number.
    Number(f64),
    /// Text, also of enumerations and ids.
    Text(String),
    /// A moment.
    Moment(Moment),
    /// A value whose spelling is its OData spelling and whose text order is its order: days, times of day, UUIDs.
    Plain(String),
    /// A duration.
    Duration(String),
}

impl Literal {
    /// Checks one value of `column`.
    ///
    /// # Errors
    /// A sentence naming the field, its type and an example.
    pub(super) fn parse(column: &Column, value: &Value) -> Result<Self, QueryError> {
        if value.is_null() {
            return Ok(Self::Null);
        }
        if column.zone.is_some() {
            return Self::of_moment(column, value);
        }
        let kind = column.members.unwrap_or(column.kind);
        Self::of_kind(kind, value).ok_or_else(|| {
            let given = crate::error::clean_foreign_text(&value.to_string());
            let message = format!(
                "'{}' has the type {}, and {given} is no such value. Write for example {}.",
                column.name,
                kind.as_str(),
                kind.example()
            );
            QueryError::field("bad_value", &column.name, message)
        })
    }

    /// A moment to be compared with a local time in its zone. A date and time without offset means UTC.
    fn of_moment(column: &Column, value: &Value) -> Result<Self, QueryError> {
        value.as_str().and_then(Moment::in_utc).map(Self::Moment).ok_or_else(|| {
            let given = crate::error::clean_foreign_text(&value.to_string());
            let message = format!(
                "'{}' is a moment, and {given} is none. Write for example \"2026-01-31T08:00:00+01:00\" or \
                 \"2026-01-31T07:00:00Z\".",
                column.name
            );
            QueryError::field("bad_value", &column.name, message)
        })
    }

    /// Text is understood for every type, because variables in saved activities are always text.
    fn of_kind(kind: ColumnKind, value: &Value) -> Option<Self> {
        let text = value.as_str();
        Some(match kind {
            ColumnKind::String | ColumnKind::Json | ColumnKind::Binary => Self::Text(text?.to_owned()),
            ColumnKind::Bool => Self::Bool(match (value.as_bool(), text) {
                (Some(truth), _) => truth,
                (None, Some(text)) if text.eq_ignore_ascii_case("true") => true,
                (None, Some(text)) if text.eq_ignore_ascii_case("false") => false,
                _ => return None,
            }),
            ColumnKind::Int32 => Self::Whole(i64::from(i32::try_from(whole(value)?).ok()?)),
            ColumnKind::Int64 => Self::Whole(whole(value)?),
            ColumnKind::Double => {
                let number = value.as_f64().or_else(|| text?.parse().ok())?;
                Self::Number(number.is_finite().then_some(number)?)
            }
            ColumnKind::DateTime => Self::Moment(Moment::parse(text?)?),
            ColumnKind::Date => Self::Plain(text?.parse::<jiff::civil::Date>().ok()?.to_string()),
            ColumnKind::Time => Self::Plain(text?.parse::<jiff::civil::Time>().ok()?.to_string()),
            ColumnKind::Duration => Self::Duration(duration(text?)?),
            ColumnKind::Guid => Self::Plain(text.filter(|text| is_uuid(text))?.to_lowercase()),
            ColumnKind::Any => match value {
                Value::Bool(truth) => Self::Bool(*truth),
                Value::Number(number) => match number.as_i64() {
                    Some(number) => Self::Whole(number),
                    None => Self::Number(number.as_f64()?),
                },
                // Only a complete RFC 3339 moment is taken for one: OData wants moments unquoted and text quoted, and the
                // type of the property is not known here.
                Value::String(text) => match Moment::complete(text) {
                    Some(moment) => Self::Moment(moment),
                    None => Self::Text(text.clone()),
                },
                _ => return None,
            },
        })
    }

    /// The value as `$filter` spells it (OData 4.01 ABNF), not yet percent-encoded.
    pub(super) fn odata(&self) -> String {
        match self {
            Self::Null => "null".to_owned(),
            Self::Bool(truth) => truth.to_string(),
            Self::Whole(number) => number.to_string(),
            Self::Number(number) => number.to_string(),
            Self::Text(text) => quoted(text),
            Self::Moment(moment) => moment.to_string(),
            Self::Plain(text) => text.clone(),
            Self::Duration(text) => format!("duration'{text}'"),
        }
    }
}

/// Text in single quotes, the quotes in it doubled.
pub(super) fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', "''"))
}

fn whole(value: &Value) -> Option<i64> {
    value.as_i64().or_else(|| value.as_str()?.trim().parse().ok())
}

fn duration(text: &str) -> Option<String> {
    let _checked: jiff::Span = text.parse().ok()?;
    let plain = text
        .chars()
        .all(|character| character.is_ascii_alphanumeric() || matches!(character, '.' | '-' | '+'));
    plain.then(|| text.to_owned())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use serde_json::json;

    use super::*;

    #[test]
    fn values_are_checked_and_spelled_by_type() {
        for (kind, value, expected) in [
            (ColumnKind::String, json!("O'Neil"), Some("'O''Neil'")),
            (ColumnKind::String, json!(5), None),
            (ColumnKind::Bool, json!(true), Some("true")),
            (ColumnKind::Bool, json!("False"), Some("false")),
            (ColumnKind::Bool, json!("yes"), None),
            (ColumnKind::Int32, json!(5), Some("5")),
            (ColumnKind::Int32, json!("5"), Some("5")),
            (ColumnKind::Int32, json!(3_000_000_000_u64), None),
            (ColumnKind::Int64, json!(3_000_000_000_u64), Some("3000000000")),
            (ColumnKind::Double, json!(1.5), Some("1.5")),
            (ColumnKind::Double, json!("inf"), None),
            (ColumnKind::DateTime, json!("2026-01-31T08:00:00+01:00"), Some("2026-01-31T07:00:00Z")),
            (ColumnKind::DateTime, json!("2026-01-31"), Some("2026-01-31T00:00:00Z")),
            (ColumnKind::DateTime, json!("2026-01-31T08:00:00"), None),
            (ColumnKind::DateTime, json!("now() or 1 eq 1"), None),
            (ColumnKind::Date, json!("2026-01-31"), Some("2026-01-31")),
            (ColumnKind::Date, json!("2026-02-31"), None),
            (ColumnKind::Time, json!("08:00:00"), Some("08:00:00")),
            (ColumnKind::Duration, json!("PT1H"), Some("duration'PT1H'")),
            (ColumnKind::Duration, json!("1' or"), None),
            (
                ColumnKind::Guid,
                json!("9D2B4E0C-5f3a-4c8e-8a51-0e6a3f1f7c11"),
                Some("9d2b4e0c-5f3a-4c8e-8a51-0e6a3f1f7c11"),
            ),
            (ColumnKind::Guid, json!("x"), None),
            (ColumnKind::Any, json!("2026-01-31T08:00:00Z"), Some("2026-01-31T08:00:00Z")),
            (ColumnKind::Any, json!("2026-01-31"), Some("'2026-01-31'")),
            (ColumnKind::Any, json!({"a": 1}), None),
            (ColumnKind::Any, json!(null), Some("null")),
        ] {
            let column = Column::property("c".to_owned(), vec!["c".to_owned()], kind);
            let parsed = Literal::parse(&column, &value);
            assert_eq!(parsed.as_ref().map(Literal::odata).ok().as_deref(), expected, "{kind:?} {value}");
        }
    }

    #[test]
    fn a_refusal_names_field_type_and_example() {
        let column = Column::property("isRead".to_owned(), vec!["isRead".to_owned()], ColumnKind::Bool);
        let message = Literal::parse(&column, &json!("maybe")).unwrap_err().to_string();
        assert_eq!(
            message,
            "'isRead' has the type Bool, and \"maybe\" is no such value. Write for example true."
        );
    }
}
