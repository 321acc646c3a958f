//! Occurrences of recurring events: which days they fall on, and how one is shown.
//! Never stores one: an occurrence follows from its series, and an exception to a series is not simulated.

use jiff::civil::{Date, Weekday};
use serde_json::{Map, Value, json};

/// The most occurrences of a series that are looked at, which also bounds their numbers.
pub(crate) const MOST: u32 = 4_096;
const DAY: i64 = 86_400;
/// A series is followed for so long: a pattern may name a day that never comes.
const LONGEST: i64 = 30 * 366 * DAY;

/// The starts of a series' occurrences that begin before that time, with their numbers; in seconds.
pub(crate) fn starts(recurrence: &Value, first: i64, until: i64) -> Vec<(u32, i64)> {
    let (pattern, range) = (&recurrence["pattern"], &recurrence["range"]);
    let clock = first.rem_euclid(DAY);
    let Some(begin) = date(range["startDate"].as_str()).or_else(|| date_of(first)) else {
        return Vec::new();
    };
    let end = date(range["endDate"].as_str()).filter(|_| range["type"] == "endDate");
    let numbered = range["type"] == "numbered";
    let most = range["numberOfOccurrences"]
        .as_u64()
        .filter(|_| numbered)
        .map_or(MOST, |number| number.min(MOST.into()) as u32);
    let until = until.min(first + LONGEST);
    let mut found = Vec::new();
    let mut day = begin;
    loop {
        let start = seconds(day) + clock;
        if start >= until || end.is_some_and(|end| day > end) || found.len() as u32 >= most {
            return found;
        }
        if falls_on(pattern, begin, day) {
            found.push((found.len() as u32, start));
        }
        match day.tomorrow() {
            Ok(next) => day = next,
            Err(_) => return found,
        }
    }
}

/// Turns a shown series into one of its occurrences.
pub(crate) fn show(row: &mut Map<String, Value>, id: String, times: (Value, Value), original: i64) {
    let master = row.get("id").cloned().unwrap_or(Value::Null);
    let changes = [
        ("id", Value::from(id)),
        ("type", "occurrence".into()),
        ("seriesMasterId", master),
        ("recurrence", Value::Null),
        ("start", times.0),
        ("end", times.1),
        ("originalStart", crate::time::instant(original).into()),
    ];
    for (name, value) in changes {
        if row.contains_key(name) || name == "id" {
            row.insert(name.to_owned(), value);
        }
    }
}

/// What is wrong with a new series, if anything is.
pub(crate) fn fault(recurrence: &Value) -> Option<&'static str> {
    let known = ["daily", "weekly", "absoluteMonthly", "relativeMonthly", "absoluteYearly", "relativeYearly"];
    let pattern = recurrence["pattern"]["type"].as_str().unwrap_or_default();
    let range = recurrence["range"]["type"].as_str().unwrap_or_default();
    if !known.contains(&pattern) || recurrence["pattern"]["interval"].as_i64().unwrap_or(0) < 1 {
        return Some("The recurrence pattern needs a type and an interval of at least 1.");
    }
    if matches!(pattern, "weekly" | "relativeMonthly" | "relativeYearly")
        && recurrence["pattern"]["daysOfWeek"][0].is_null()
    {
        return Some("The recurrence pattern needs daysOfWeek.");
    }
    let complete = match range {
        "noEnd" => true,
        "endDate" => recurrence["range"]["endDate"].is_string(),
        "numbered" => recurrence["range"]["numberOfOccurrences"].as_i64().unwrap_or(0) > 0,
        _ => false,
    };
    (!complete).then_some("The recurrence range is missing or incomplete.")
}

/// `dateTimeTimeZone` in UTC.
pub(crate) fn in_utc(seconds: i64) -> Value {
    json!({"dateTime": crate::time::zoneless(seconds), "timeZone": "UTC"})
}

fn falls_on(pattern: &Value, begin: Date, day: Date) -> bool {
    let interval = pattern["interval"].as_i64().unwrap_or(1).max(1);
    let number = |name: &str| pattern[name].as_i64().unwrap_or(0);
    let days: Vec<&str> =
        pattern["daysOfWeek"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
    let on_weekday = days.contains(&name_of(day.weekday()));
    let months = (i64::from(day.year()) - i64::from(begin.year())) * 12 + i64::from(day.month())
        - i64::from(begin.month());
    let years = i64::from(day.year()) - i64::from(begin.year());
    let in_place = || match pattern["index"].as_str().unwrap_or("first") {
        "last" => day.day() + 7 > day.days_in_month(),
        word => {
            let words = ["first", "second", "third", "fourth"];
            words.get(usize::from((day.day() as u8 - 1) / 7)).is_some_and(|known| *known == word)
        }
    };
    match pattern["type"].as_str().unwrap_or_default() {
        "daily" => (seconds(day) - seconds(begin)) / DAY % interval == 0,
        "weekly" => {
            let first = pattern["firstDayOfWeek"].as_str().unwrap_or("sunday");
            let weeks = (seconds(week_start(day, first)) - seconds(week_start(begin, first))) / (7 * DAY);
            on_weekday && weeks % interval == 0
        }
        "absoluteMonthly" => months % interval == 0 && i64::from(day.day()) == number("dayOfMonth"),
        "relativeMonthly" => months % interval == 0 && on_weekday && in_place(),
        "absoluteYearly" => {
            years % interval == 0
                && i64::from(day.month()) == number("month")
                && i64::from(day.day()) == number("dayOfMonth")
        }
        "relativeYearly" => {
            years % interval == 0 && i64::from(day.month()) == number("month") && on_weekday && in_place()
        }
        _ => false,
    }
}

fn week_start(day: Date, first: &str) -> Date {
    let mut start = day;
    for _ in 0..7 {
        if name_of(start.weekday()) == first {
            break;
        }
        start = start.yesterday().unwrap_or(start);
    }
    start
}

fn name_of(day: Weekday) -> &'static str {
    match day {
        Weekday::Sunday => "sunday",
        Weekday::Monday => "monday",
        Weekday::Tuesday => "tuesday",
        Weekday::Wednesday => "wednesday",
        Weekday::Thursday => "thursday",
        Weekday::Friday => "friday",
        Weekday::Saturday => "saturday",
    }
}

fn date(text: Option<&str>) -> Option<Date> {
    text?.parse().ok()
}

fn date_of(moment: i64) -> Option<Date> {
    crate::time::instant(moment).get(..10)?.parse().ok()
}

fn seconds(day: Date) -> i64 {
    crate::time::parse_seconds(&day.to_string()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_fall_on_the_days_they_name() {
        let first = crate::time::parse_seconds("2026-09-01T10:00:00Z").unwrap();
        let until = crate::time::parse_seconds("2027-01-01").unwrap();
        let cases = [
            (json!({"type": "daily", "interval": 30}), "2026-09-01 2026-10-01 2026-10-31"),
            (
                json!({"type": "weekly", "interval": 2, "daysOfWeek": ["monday", "friday"]}),
                "2026-09-04 2026-09-14 2026-09-18",
            ),
            (json!({"type": "absoluteMonthly", "interval": 1, "dayOfMonth": 31}), "2026-10-31 2026-12-31"),
            (
                json!({"type": "relativeMonthly", "interval": 1, "daysOfWeek": ["tuesday"], "index": "last"}),
                "2026-09-29 2026-10-27 2026-11-24",
            ),
            (json!({"type": "absoluteYearly", "interval": 1, "month": 12, "dayOfMonth": 24}), "2026-12-24"),
        ];
        for (pattern, expected) in cases {
            let range = json!({"type": "numbered", "numberOfOccurrences": 3, "startDate": "2026-09-01"});
            let found = starts(&json!({"pattern": pattern, "range": range}), first, until);
            let days: Vec<String> =
                found.iter().map(|(_, start)| crate::time::instant(*start)[..10].to_owned()).collect();
            assert_eq!(days.join(" "), expected, "{pattern}");
        }
    }
}
