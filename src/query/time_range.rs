//! The range of time that a calendar view shows: taken from conditions on the columns that bound it, or the last thirty
//! days, which is what operators know as the default. Pure; says in a sentence which range it is.

use std::time::Duration;

use serde_json::Value;

use super::error::QueryError;
use super::moment::Moment;
use super::request::{Condition, Operator};
use crate::catalog::Range;
use crate::clock::Timestamp;

/// The range when nobody gives one, and the other end when only one is given.
const DEFAULT_DAYS: u64 = 30;

/// The two ends, as far as they are given.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct TimeRange {
    start: Option<Moment>,
    end: Option<Moment>,
}

impl TimeRange {
    /// Takes `condition`, if it is about one of the columns of `range` and bounds it.
    ///
    /// # Errors
    /// A sentence, when the value is no moment or the end is given twice.
    pub(super) fn take(&mut self, range: &Range, condition: &Condition) -> Result<bool, QueryError> {
        let field = condition.field.trim().replace('/', "_");
        let (about_start, about_end) =
            (field.eq_ignore_ascii_case(range.start), field.eq_ignore_ascii_case(range.end));
        if !about_start && !about_end {
            return Ok(false);
        }
        let one = |value: &Value| read(condition, value);
        match (condition.operator, condition.value.as_array().map(Vec::as_slice)) {
            (Operator::Greater | Operator::GreaterOrEqual, _) => {
                set(&mut self.start, condition, one(&condition.value)?)?
            }
            (Operator::Less | Operator::LessOrEqual, _) => {
                set(&mut self.end, condition, one(&condition.value)?)?
            }
            (Operator::Equal, _) if about_start => set(&mut self.start, condition, one(&condition.value)?)?,
            (Operator::Equal, _) => set(&mut self.end, condition, one(&condition.value)?)?,
            (Operator::Between, Some([low, high])) => {
                set(&mut self.start, condition, one(low)?)?;
                set(&mut self.end, condition, one(high)?)?;
            }
            _ => return Ok(false),
        }
        Ok(true)
    }

    /// The query options and the sentence about them.
    ///
    /// # Errors
    /// A sentence, when the end lies before the start.
    pub(super) fn options(
        &self,
        range: &Range,
        now: Timestamp,
    ) -> Result<(Vec<(&'static str, String)>, String), QueryError> {
        let days = Duration::from_secs(DEFAULT_DAYS * 86_400);
        let now = Moment::from_second(now.as_seconds());
        let (start, end, given) = match (self.start, self.end) {
            (Some(start), Some(end)) => (start, end, true),
            (Some(start), None) => (start, start.after(days), false),
            (None, Some(end)) => (end.before(days), end, false),
            (None, None) => (now.before(days), now, false),
        };
        if end < start {
            let message =
                format!("The range of time ends ({end}) before it begins ({start}). Exchange its ends.");
            return Err(QueryError::field("bad_value", range.end, message));
        }
        let mut note = format!("Only events that touch the time from {start} to {end} are shown.");
        if !given {
            note.push_str(&format!(
                " Give conditions on both {} and {} for another range; without them it is {DEFAULT_DAYS} days.",
                range.start, range.end
            ));
        }
        let options = vec![(range.start_option, start.to_string()), (range.end_option, end.to_string())];
        Ok((options, note))
    }
}

fn set(end: &mut Option<Moment>, condition: &Condition, value: Moment) -> Result<(), QueryError> {
    if end.replace(value).is_some() {
        let field = condition.field.trim();
        let message = format!(
            "The same end of the range of time is given twice, the second time by '{field}'. Give it once."
        );
        return Err(QueryError::field("bad_request", field, message));
    }
    Ok(())
}

/// A moment; `2026/01/31` and a date and time without offset are known too, and mean UTC.
fn read(condition: &Condition, value: &Value) -> Result<Moment, QueryError> {
    let field = condition.field.trim();
    let text = value.as_str().map(|text| text.trim().replace('/', "-"));
    let found = text.as_deref().and_then(Moment::in_utc);
    found.ok_or_else(|| {
        let given = crate::error::clean_foreign_text(&value.to_string());
        let message = format!(
            "'{field}' bounds a range of time, and {given} is no moment. Write for example \"2026-01-31T08:00:00Z\" or \
             \"2026-01-31\"."
        );
        QueryError::field("bad_value", field, message)
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use serde_json::json;

    use super::*;

    const VIEW: Range = Range {
        start: "start_dateTime",
        end: "end_dateTime",
        start_option: "startDateTime",
        end_option: "endDateTime",
    };

    /// `FIELD OPERATOR VALUE` conditions → `start..end`, or the message.
    fn range(conditions: &[(&str, &str, Value)]) -> Result<String, String> {
        let mut range = TimeRange::default();
        let mut left = 0;
        for (field, operator, value) in conditions {
            let operator = Operator::parse(operator).unwrap();
            let condition = Condition { field: (*field).to_owned(), operator, value: value.clone() };
            if !range.take(&VIEW, &condition).map_err(|error| error.to_string())? {
                left += 1;
            }
        }
        let now = Timestamp::from_seconds(1_767_225_600); // 2026-01-01
        let (options, note) = range.options(&VIEW, now).map_err(|error| error.to_string())?;
        assert_eq!((options[0].0, options[1].0), ("startDateTime", "endDateTime"));
        assert_eq!(note.contains("30 days"), conditions.len() - left < 2, "{note}");
        Ok(format!("{}..{} +{left}", options[0].1, options[1].1))
    }

    #[test]
    fn the_range_comes_from_the_conditions() {
        let both = "2026-02-01T00:00:00Z..2026-02-03T12:00:00Z";
        for (conditions, expected) in [
            (vec![], "2025-12-02T00:00:00Z..2026-01-01T00:00:00Z +0".to_owned()),
            (
                vec![
                    ("Start_DateTime", ">=", json!("2026-02-01")),
                    ("End_DateTime", "<=", json!("2026-02-03T12:00:00")),
                ],
                format!("{both} +0"),
            ),
            (
                vec![
                    ("start/dateTime", "=", json!("2026/02/01")),
                    ("end_dateTime", "=", json!("2026-02-03T13:00:00+01:00")),
                ],
                format!("{both} +0"),
            ),
            (
                vec![
                    ("start_dateTime", ">", json!("2026-02-01")),
                    ("start_dateTime", "<", json!("2026-02-03T12:00:00Z")),
                ],
                format!("{both} +0"),
            ),
            (
                vec![("start_dateTime", ">=", json!("2026-02-01"))],
                "2026-02-01T00:00:00Z..2026-03-03T00:00:00Z +0".into(),
            ),
            (
                vec![("end_dateTime", "<", json!("2026-02-01"))],
                "2026-01-02T00:00:00Z..2026-02-01T00:00:00Z +0".into(),
            ),
            (
                vec![("start_dateTime", "like", json!("2026%"))],
                "2025-12-02T00:00:00Z..2026-01-01T00:00:00Z +1".into(),
            ),
            (vec![("subject", "=", json!("x"))], "2025-12-02T00:00:00Z..2026-01-01T00:00:00Z +1".into()),
        ] {
            assert_eq!(range(&conditions), Ok(expected), "{conditions:?}");
        }
    }

    #[test]
    fn what_is_no_range_is_refused() {
        for (conditions, expected) in [
            (vec![("start_dateTime", ">=", json!("soon"))], "\"soon\" is no moment"),
            (vec![("start_dateTime", ">=", json!(5))], "5 is no moment"),
            (
                vec![
                    ("start_dateTime", ">=", json!("2026-02-01")),
                    ("start_dateTime", ">", json!("2026-02-01")),
                ],
                "given twice",
            ),
            (
                vec![
                    ("start_dateTime", ">=", json!("2026-02-02")),
                    ("end_dateTime", "<=", json!("2026-02-01")),
                ],
                "Exchange its ends",
            ),
        ] {
            let message = range(&conditions).unwrap_err();
            assert!(message.contains(expected), "{message}");
        }
    }
}
