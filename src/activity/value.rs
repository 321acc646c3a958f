//! Values of records, checked against their column's type and brought to the form Graph takes. Pure.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;

use crate::catalog::ColumnKind;
use crate::query::moment::Written;
use crate::query::zones::is_utc;

/// The value as Graph takes it, or `None` when it is no value of that kind. Text is understood for every kind, because
/// variables in saved activities are always text; null always means "no value".
pub(super) fn checked(kind: ColumnKind, value: &Value) -> Option<Value> {
    if value.is_null() {
        return Some(Value::Null);
    }
    let text = value.as_str();
    match kind {
        ColumnKind::Any => Some(value.clone()),
        ColumnKind::String => text.map(Value::from),
        ColumnKind::Bool => match (value, text) {
            (Value::Bool(truth), _) => Some(Value::from(*truth)),
            (_, Some(text)) if text.eq_ignore_ascii_case("true") => Some(Value::from(true)),
            (_, Some(text)) if text.eq_ignore_ascii_case("false") => Some(Value::from(false)),
            _ => None,
        },
        ColumnKind::Int32 => i32::try_from(whole(value)?).ok().map(Value::from),
        ColumnKind::Int64 => whole(value).map(Value::from),
        ColumnKind::Double => match text {
            None => value.is_number().then(|| value.clone()),
            Some(text) => serde_json::from_str::<serde_json::Number>(text.trim()).ok().map(Value::Number),
        },
        ColumnKind::DateTime => moment(text?).map(Value::from),
        ColumnKind::Date => text?.parse::<jiff::civil::Date>().ok().map(|day| Value::from(day.to_string())),
        ColumnKind::Time => text?.parse::<jiff::civil::Time>().ok().map(|time| Value::from(time.to_string())),
        ColumnKind::Duration => text?.parse::<jiff::Span>().ok().map(|_| value.clone()),
        ColumnKind::Guid => {
            let shape = |byte: u8| byte.is_ascii_hexdigit() || byte == b'-';
            text.filter(|text| text.len() == 36 && text.bytes().all(shape)).map(Value::from)
        }
        ColumnKind::Binary => text.filter(|text| STANDARD.decode(text).is_ok()).map(Value::from),
        ColumnKind::Json => match text {
            None => (value.is_array() || value.is_object()).then(|| value.clone()),
            Some(text) => {
                serde_json::from_str::<Value>(text).ok().filter(|inner| inner.is_array() || inner.is_object())
            }
        },
    }
}

fn whole(value: &Value) -> Option<i64> {
    value.as_i64().or_else(|| value.as_str()?.trim().parse().ok())
}

/// A moment with offset as it was written; a day becomes its first instant in UTC.
fn moment(text: &str) -> Option<String> {
    let written = Written::parse(text)?;
    match (written.offset, text.len()) {
        (Some(_), _) => Some(text.to_owned()),
        (None, 10) => Some(format!("{}Z", written.local())),
        _ => None,
    }
}

/// The local time of a record as Graph takes it beside its zone, or what is wrong with it. `zone`: the zone given with it.
/// An offset beside a zone would say the time twice; only UTC beside UTC says the same.
pub(super) fn local_time(value: &Value, zone: Option<&str>) -> Result<Value, &'static str> {
    let Some(text) = value.as_str() else {
        return if value.is_null() {
            Ok(Value::Null)
        } else {
            Err("is a local time, and the value given is none")
        };
    };
    let written = Written::parse(text).ok_or("is a local time, and the value given is none")?;
    match written.offset {
        Some(0) if zone.is_none_or(is_utc) => Ok(Value::from(text)),
        Some(_) => Err("is a local time, whose zone stands beside it, so it takes no offset"),
        None if text.len() == 10 => Ok(Value::from(written.local())),
        None => Ok(Value::from(text)),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn values_are_brought_to_graphs_form_or_refused() {
        use ColumnKind::{
            Any, Binary, Bool, Date, DateTime, Double, Duration, Guid, Int32, Json, String, Time,
        };
        for (kind, given, expected) in [
            (String, json!("x"), Some(json!("x"))),
            (String, json!(1), None),
            (String, json!(null), Some(json!(null))),
            (Bool, json!("TRUE"), Some(json!(true))),
            (Bool, json!(1), None),
            (Int32, json!("7"), Some(json!(7))),
            (Int32, json!(1.5), None),
            (Int32, json!(5_000_000_000_i64), None),
            (Double, json!("1.5"), Some(json!(1.5))),
            (Double, json!("NaN"), None),
            (DateTime, json!("2026-01-31T08:00:00+01:00"), Some(json!("2026-01-31T08:00:00+01:00"))),
            (DateTime, json!("2026-01-31"), Some(json!("2026-01-31T00:00:00Z"))),
            (DateTime, json!("soon"), None),
            (DateTime, json!("9999-12-31T23:59:59Z"), Some(json!("9999-12-31T23:59:59Z"))),
            (DateTime, json!("0001-01-01T00:00:00Z"), Some(json!("0001-01-01T00:00:00Z"))),
            (DateTime, json!("9999-12-31"), Some(json!("9999-12-31T00:00:00Z"))),
            (Date, json!("2026-01-31"), Some(json!("2026-01-31"))),
            (Date, json!("31.1.2026"), None),
            (Time, json!("08:00"), Some(json!("08:00:00"))),
            (Duration, json!("PT1H"), Some(json!("PT1H"))),
            (Duration, json!("1x"), None),
            (
                Guid,
                json!("9d2b4e0c-5f3a-4c8e-8a51-0e6a3f1f7c11"),
                Some(json!("9d2b4e0c-5f3a-4c8e-8a51-0e6a3f1f7c11")),
            ),
            (Guid, json!("x"), None),
            (Binary, json!("SGVsbG8="), Some(json!("SGVsbG8="))),
            (Binary, json!("%"), None),
            (Json, json!(["a"]), Some(json!(["a"]))),
            (Json, json!("[\"a\", {\"b\": 1}]"), Some(json!(["a", {"b": 1}]))),
            (Json, json!("a, b"), None),
            (Json, json!("5"), None),
            (Any, json!({"x": 1}), Some(json!({"x": 1}))),
        ] {
            assert_eq!(checked(kind, &given), expected, "{kind:?} {given}");
        }
    }

    #[test]
    fn a_local_time_takes_no_offset_beside_its_zone() {
        for (value, zone, expected) in [
            (json!("2026-10-26T10:00:00"), Some("Europe/Berlin"), Some("2026-10-26T10:00:00")),
            (json!("2026-10-26"), Some("Europe/Berlin"), Some("2026-10-26T00:00:00")),
            (json!("9999-12-31T23:59:59.9999999"), Some("UTC"), Some("9999-12-31T23:59:59.9999999")),
            (json!("2026-10-26T10:00:00Z"), Some("utc"), Some("2026-10-26T10:00:00Z")),
            (json!("2026-10-26T10:00:00Z"), Some("Europe/Berlin"), None),
            (json!("2026-10-26T10:00:00+02:00"), Some("Europe/Berlin"), None),
            (json!("2026-10-26T10:00:00+02:00"), None, None),
            (json!("tomorrow"), Some("UTC"), None),
            (json!("10/26/2026"), Some("UTC"), None),
            (json!(5), Some("UTC"), None),
        ] {
            assert_eq!(local_time(&value, zone).ok(), expected.map(Value::from), "{value} {zone:?}");
        }
    }
}
