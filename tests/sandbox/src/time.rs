//! Instants as seconds since 1970 and their spellings in answers.
//! Never reads a time zone database: the service answers in UTC unless asked otherwise.

use std::time::{SystemTime, UNIX_EPOCH};

/// Milliseconds since 1970, now.
pub(crate) fn now_millis() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis() as u64)
}

/// Seconds since 1970, now.
pub(crate) fn now_seconds() -> i64 {
    (now_millis() / 1000) as i64
}

/// `2026-11-20T17:00:00Z`, the form of DateTimeOffset properties.
pub(crate) fn instant(seconds: i64) -> String {
    let (year, month, day, hour, minute, second) = parts(seconds);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}Z")
}

/// `2026-11-20T17:00:00.0000000`, the form of `dateTimeTimeZone.dateTime`.
pub(crate) fn zoneless(seconds: i64) -> String {
    let (year, month, day, hour, minute, second) = parts(seconds);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.0000000")
}

/// `2026-11-20 17:00:00Z`, the form of the token endpoint's error timestamps.
pub(crate) fn token_timestamp(seconds: i64) -> String {
    let (year, month, day, hour, minute, second) = parts(seconds);
    format!("{year:04}-{month:02}-{day:02} {hour:02}:{minute:02}:{second:02}Z")
}

/// Reads an ISO date, with or without a time, a fraction and an offset; the number is in nanoseconds.
/// Without an offset the text counts as UTC.
pub(crate) fn parse_nanos(text: &str) -> Option<i128> {
    if let Ok(timestamp) = text.parse::<jiff::Timestamp>() {
        return Some(timestamp.as_nanosecond());
    }
    // A time without an offset, or one in UTC on the last day there is, which no timestamp of the library reaches.
    let local: jiff::civil::DateTime = text.strip_suffix('Z').unwrap_or(text).parse().ok()?;
    Some(local.duration_since(jiff::civil::date(1970, 1, 1).at(0, 0, 0, 0)).as_nanos())
}

/// Like [`parse_nanos`], in whole seconds.
pub(crate) fn parse_seconds(text: &str) -> Option<i64> {
    parse_nanos(text).map(|nanos| nanos.div_euclid(1_000_000_000) as i64)
}

/// Day count to civil date: the usual era arithmetic, because it is needed for every generated row.
fn parts(seconds: i64) -> (i64, i64, i64, i64, i64, i64) {
    let days = seconds.div_euclid(86_400);
    let rest = seconds.rem_euclid(86_400);
    let shifted = days + 719_468;
    let era = shifted.div_euclid(146_097);
    let day_of_era = shifted.rem_euclid(146_097);
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted_month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted_month + 2) / 5 + 1;
    let month = if shifted_month < 10 { shifted_month + 3 } else { shifted_month - 9 };
    let year = year_of_era + era * 400 + i64::from(month <= 2);
    (year, month, day, rest / 3600, rest / 60 % 60, rest % 60)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spellings_and_reading_agree() {
        for seconds in [0, 951_782_400, 1_709_210_096, 1_795_366_800, 4_102_444_799] {
            assert_eq!(parse_seconds(&instant(seconds)), Some(seconds));
            assert_eq!(parse_seconds(&zoneless(seconds)), Some(seconds));
        }
        assert_eq!(instant(951_782_400), "2000-02-29T00:00:00Z");
        assert_eq!(parse_seconds("2026-01-01"), Some(1_767_225_600));
        assert_eq!(parse_seconds("2026-01-01T02:00:00+02:00"), Some(1_767_225_600));
        assert_eq!(parse_seconds("soon"), None);
    }
}
