//! Moments as the service writes them: with an offset, or as a local time with the name of its zone beside it. Pure.
//!
//! The range is that of Edm.DateTimeOffset as Graph's servers hold it (.NET): from 0001-01-01T00:00:00Z to the last instant
//! of 9999-12-31 in UTC, in tenths of a microsecond; both occur in answers as "never". What lies beyond by its offset is the nearest end.

use std::fmt;
use std::time::Duration;

use jiff::civil::{Date, DateTime};
use jiff::fmt::temporal::Pieces;
use jiff::tz::AmbiguousOffset;

use super::zones;

/// A point in time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Moment {
    /// Seconds since 1970-01-01T00:00:00Z.
    seconds: i64,
    /// Of that second.
    nanoseconds: i32,
}

const EPOCH: DateTime = DateTime::constant(1970, 1, 1, 0, 0, 0, 0);

/// A local time, and its offset from UTC in seconds where it has one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Written {
    local: DateTime,
    pub(crate) offset: Option<i32>,
}

impl Written {
    /// Reads `2026-01-31T08:00:00`, with or without a fraction and an offset, or `2026-01-31`, which is its midnight.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let shape = text.as_bytes();
        let date = shape.len() >= 10 && shape[4] == b'-' && shape[7] == b'-';
        let time = shape.len() >= 16 && matches!(shape[10], b'T' | b't' | b' ') && shape[13] == b':';
        if !date || !(shape.len() == 10 || time) {
            return None;
        }
        let pieces = Pieces::parse(text).ok().filter(|pieces| pieces.time_zone_annotation().is_none())?;
        let local = pieces.date().to_datetime(pieces.time().unwrap_or_default());
        Some(Self { local, offset: pieces.to_numeric_offset().map(jiff::tz::Offset::seconds) })
    }

    /// As Graph's `dateTimeTimeZone` takes it: `2026-01-31T08:00:00`.
    pub(crate) fn local(&self) -> String {
        self.local.to_string()
    }

    fn in_utc(self) -> Moment {
        Moment::of_local(self.local, self.offset.unwrap_or(0))
    }
}

impl Moment {
    const MIN: Self = Self { seconds: -62_135_596_800, nanoseconds: 0 };
    pub(crate) const MAX: Self = Self { seconds: 253_402_300_799, nanoseconds: 999_999_900 };

    /// A moment with offset, or a day, which means its first instant in UTC.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        Self::complete(text).or_else(|| Self::in_utc(text).filter(|_| text.len() == 10))
    }

    /// A moment with offset: `2026-01-31T08:00:00Z`.
    pub(crate) fn complete(text: &str) -> Option<Self> {
        Written::parse(text).filter(|written| written.offset.is_some()).map(Written::in_utc)
    }

    /// As [`Moment::parse`]; a date and time without offset means UTC.
    pub(crate) fn in_utc(text: &str) -> Option<Self> {
        Written::parse(text).map(Written::in_utc)
    }

    /// A local time in the zone called `zone`, as IANA or Windows name it. A time that the clocks show twice is the first
    /// of the two, and one that they leave out is as much later.
    pub(crate) fn in_zone(text: &str, zone: &str) -> Option<Self> {
        let written = Written::parse(text)?;
        if written.offset.is_some() || zones::is_utc(zone) {
            return Some(written.in_utc());
        }
        let offset = match zones::find(zone)?.to_ambiguous_timestamp(written.local).offset() {
            AmbiguousOffset::Unambiguous { offset } => offset,
            AmbiguousOffset::Gap { before, .. } | AmbiguousOffset::Fold { before, .. } => before,
        };
        Some(Self::of_local(written.local, offset.seconds()))
    }

    fn of_local(local: DateTime, offset: i32) -> Self {
        let since = local.duration_since(EPOCH);
        let (mut seconds, mut nanoseconds) = (since.as_secs() - i64::from(offset), since.subsec_nanos());
        if nanoseconds < 0 {
            seconds -= 1;
            nanoseconds += 1_000_000_000;
        }
        Self { seconds, nanoseconds }.clamp(Self::MIN, Self::MAX)
    }

    /// The moment so many seconds after 1970-01-01T00:00:00Z.
    pub(crate) fn from_second(seconds: i64) -> Self {
        Self { seconds, nanoseconds: 0 }.clamp(Self::MIN, Self::MAX)
    }

    /// So much later, at most the last moment.
    pub(crate) fn after(self, time: Duration) -> Self {
        let more = i64::try_from(time.as_secs()).unwrap_or(i64::MAX);
        Self { seconds: self.seconds.saturating_add(more), ..self }.clamp(Self::MIN, Self::MAX)
    }

    /// So much earlier, at least the first moment.
    pub(crate) fn before(self, time: Duration) -> Self {
        let less = i64::try_from(time.as_secs()).unwrap_or(i64::MAX);
        Self { seconds: self.seconds.saturating_sub(less), ..self }.clamp(Self::MIN, Self::MAX)
    }

    /// Microseconds since 1970-01-01T00:00:00Z.
    pub(crate) fn as_microsecond(self) -> i64 {
        self.seconds * 1_000_000 + i64::from(self.nanoseconds / 1000)
    }

    /// Its date and time in UTC without a fraction.
    pub(crate) fn whole_second(self) -> DateTime {
        Self { nanoseconds: 0, ..self }.utc()
    }

    /// Its date and time in UTC.
    fn utc(self) -> DateTime {
        let since = jiff::SignedDuration::new(self.seconds, self.nanoseconds);
        EPOCH.checked_add(since).unwrap_or(DateTime::from(Date::MAX))
    }
}

/// RFC 3339 in UTC.
impl fmt::Display for Moment {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}Z", self.utc())
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use proptest::prelude::*;

    use super::*;

    fn shown(moment: Option<Moment>) -> Option<String> {
        moment.map(|moment| moment.to_string())
    }

    #[test]
    fn moments_are_read_with_offset_or_zone() {
        for (text, zone, expected) in [
            ("2026-01-31T08:00:00+01:00", "", Some("2026-01-31T07:00:00Z")),
            ("2026-10-26T09:30:00.0000000", "UTC", Some("2026-10-26T09:30:00Z")),
            ("2026-10-26T09:30:00", "W. Europe Standard Time", Some("2026-10-26T08:30:00Z")),
            ("2026-10-24T09:30:00", "w. europe standard time", Some("2026-10-24T07:30:00Z")),
            ("2026-07-01T09:30:00", "Europe/Berlin", Some("2026-07-01T07:30:00Z")),
            ("2026-07-01T09:30:00", "Pacific Standard Time", Some("2026-07-01T16:30:00Z")),
            ("2026-07-01T09:30:00", "tzone://Microsoft/Utc", Some("2026-07-01T09:30:00Z")),
            ("2026-07-01T09:30:00", "Customized Time Zone", None),
            // The clocks show it twice, and not at all.
            ("2026-10-25T02:30:00", "Europe/Berlin", Some("2026-10-25T00:30:00Z")),
            ("2026-03-29T02:30:00", "Europe/Berlin", Some("2026-03-29T01:30:00Z")),
            ("9999-12-31T00:00:00", "Pacific Standard Time", Some("9999-12-31T08:00:00Z")),
            ("9999-12-31T23:59:59.9999999", "Pacific Standard Time", Some("9999-12-31T23:59:59.9999999Z")),
            ("0001-01-01T00:00:00", "Tokyo Standard Time", Some("0001-01-01T00:00:00Z")),
            ("tomorrow", "UTC", None),
            ("10/26/2026", "UTC", None),
        ] {
            assert_eq!(shown(Moment::in_zone(text, zone)).as_deref(), expected, "{text} {zone}");
        }
    }

    #[test]
    fn the_first_and_the_last_moment_are_moments() {
        for (text, expected) in [
            ("9999-12-31T23:59:59.9999999Z", "9999-12-31T23:59:59.9999999Z"),
            ("9999-12-31T23:59:59-05:00", "9999-12-31T23:59:59.9999999Z"),
            ("9999-12-31", "9999-12-31T00:00:00Z"),
            ("0001-01-01T00:00:00Z", "0001-01-01T00:00:00Z"),
            ("0001-01-01T00:00:00+14:00", "0001-01-01T00:00:00Z"),
        ] {
            assert_eq!(shown(Moment::parse(text)).as_deref(), Some(expected), "{text}");
        }
        for text in ["2026-01-31T08:00:00", "2026-02-31", "soon", "2026-01-31T08:00:00Z[UTC]", "20260131", ""]
        {
            assert_eq!(Moment::parse(text), None, "{text}");
        }
        assert!(Moment::MIN < Moment::from_second(0) && Moment::from_second(0) < Moment::MAX);
        assert_eq!(Moment::MAX.after(Duration::MAX), Moment::MAX);
        assert_eq!(Moment::MIN.before(Duration::MAX).to_string(), Moment::MIN.to_string());
    }

    proptest! {
        #[test]
        fn a_moment_reads_back_as_it_was_written(
            seconds in Moment::MIN.seconds..Moment::MAX.seconds,
            nanoseconds in 0..1_000_000_000_i32,
        ) {
            let moment = Moment { seconds, nanoseconds };
            prop_assert_eq!(Moment::parse(&moment.to_string()), Some(moment));
        }

        #[test]
        fn moments_have_the_order_of_time(
            one in -62_135_596_800_i64..=253_402_300_799,
            other in -62_135_596_800_i64..=253_402_300_799,
            hours in -14..=14_i32,
        ) {
            let (first, second) = (Moment::from_second(one), Moment::from_second(other));
            prop_assert_eq!(first.cmp(&second), one.cmp(&other));
            prop_assert_eq!(first.as_microsecond().cmp(&second.as_microsecond()), one.cmp(&other));
            // The same instant under another offset is the same moment, unless it lies beyond an end.
            let sign = if hours < 0 { '-' } else { '+' };
            let local = first.utc().checked_add(jiff::SignedDuration::from_hours(i64::from(hours)));
            if let Ok(local) = local && local.year() >= 1 {
                let text = format!("{local}{sign}{:02}:00", hours.abs());
                prop_assert_eq!(Moment::parse(&text), Some(first), "{}", text);
            }
        }
    }
}
