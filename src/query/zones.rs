//! Time zones by the names that Graph uses for them: those of Windows and those of IANA (Graph, "dateTimeTimeZone resource
//! type"). The rules of the zones are part of the binary, so a host without tzdata knows them all. Never reads a file.

use std::collections::HashMap;
use std::sync::OnceLock;

use jiff::tz::TimeZone;

/// One line a zone: the Windows name, a tab, the IANA name.
const WINDOWS: &str = include_str!("windows_zones.txt");

/// Names of Universal Time that Outlook uses and neither table has.
const UTC: [&str; 5] = ["", "UTC", "tzone://Microsoft/Utc", "Coordinated Universal Time", "Z"];

/// Whether `name` is UTC, which Outlook, Bookings and To Do answer in unless they are asked otherwise.
pub(crate) fn is_utc(name: &str) -> bool {
    UTC.iter().any(|known| known.eq_ignore_ascii_case(name.trim()))
}

/// The zone called `name`, in any case.
pub(crate) fn find(name: &str) -> Option<TimeZone> {
    let name = name.trim();
    if is_utc(name) {
        return Some(TimeZone::UTC);
    }
    TimeZone::get(iana(name).unwrap_or(name)).ok()
}

/// The IANA name of a Windows zone.
fn iana(name: &str) -> Option<&'static str> {
    static BY_NAME: OnceLock<HashMap<String, &'static str>> = OnceLock::new();
    let table = BY_NAME.get_or_init(|| {
        let lines = WINDOWS.lines().filter(|line| !line.starts_with('#'));
        lines
            .filter_map(|line| line.split_once('\t'))
            .map(|(name, iana)| (name.to_lowercase(), iana))
            .collect()
    });
    table.get(&name.to_lowercase()).copied()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_windows_zone_is_known_to_the_binary() {
        let names: Vec<&str> =
            WINDOWS.lines().filter_map(|line| line.split_once('\t')).map(|(name, _)| name).collect();
        assert_eq!(names.len(), 139, "CLDR 48");
        for name in names {
            assert!(find(name).is_some(), "{name}");
        }
        for name in ["Europe/Berlin", "america/new_york", "Etc/GMT-12", "Asia/Kolkata", "Asia/Calcutta"] {
            assert!(find(name).is_some(), "{name}");
        }
        assert!(find("Customized Time Zone").is_none());
    }
}
