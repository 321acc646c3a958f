//! Generated appointments: every property of event number N follows from the mailbox and N alone.
//! Never expands a recurrence: generated events are single instances.

use super::collection::Owner;
use super::ids;
use super::messages::{NEWEST, recipient};
use super::model::Entity;
use super::words::{CATEGORIES, GIVEN_NAMES, PEOPLE, ROOMS, SENTENCES, SURNAMES, TOPICS};
use crate::random::{mix, pick};
use crate::time::{instant, zoneless};
use serde_json::{Value, json};

/// The first calendars' names.
pub(crate) const CALENDAR_NAMES: &[&str] = &["Calendar", "Birthdays", "Holidays", "Projects"];

/// The calendar of a generated event.
pub(crate) fn calendar_of_event(key: u32) -> u32 {
    u32::from(key % 10 == 9)
}

/// One property of generated event `key`; number 0 starts last.
pub(crate) fn field(owner: &Owner, key: u32, name: &str) -> Value {
    let bits = |purpose| mix(owner.seed, u64::from(key), purpose);
    let subject = || format!("{} meeting", pick(TOPICS, bits(31)));
    match name {
        "createdDateTime" => instant(start(key) - 86_400 * 9).into(),
        "lastModifiedDateTime" => instant(start(key) - 86_400 * 8).into(),
        "categories" if bits(32) % 8 == 0 => json!([pick(CATEGORIES, bits(33))]),
        "categories" => json!([]),
        "originalStartTimeZone" | "originalEndTimeZone" => "UTC".into(),
        "iCalUId" => format!("040000008200E00074C5B7101A82E008{:016X}{key:08X}", bits(34)).into(),
        "reminderMinutesBeforeStart" => 15.into(),
        "isReminderOn" => (bits(35) % 3 != 0).into(),
        "hasAttachments" => false.into(),
        "subject" => subject().into(),
        "bodyPreview" => pick(SENTENCES, bits(36)).into(),
        "body" => json!({"contentType": "html", "content": format!(
            "<html><head>\r\n<meta http-equiv=\"Content-Type\" content=\"text/html; charset=utf-8\"></head><body>{}</body></html>",
            pick(SENTENCES, bits(36)))}),
        "importance" => "normal".into(),
        "sensitivity" => if bits(37) % 9 == 0 { "private" } else { "normal" }.into(),
        "isAllDay" | "isCancelled" | "isDraft" | "hideAttendees" => false.into(),
        "isOrganizer" => organized(owner, key).into(),
        "responseRequested" | "allowNewTimeProposals" => true.into(),
        "showAs" => ["busy", "busy", "tentative", "free"][bits(38) as usize % 4].into(),
        "type" => "singleInstance".into(),
        "webLink" => {
            let id = ids::encode(&owner.id, Entity::Event, key, false).replace('=', "%3D");
            format!("https://outlook.office365.com/owa/?itemid={id}&exvsurl=1&path=/calendar/item").into()
        }
        "isOnlineMeeting" => (bits(39) % 2 == 0).into(),
        "onlineMeetingProvider" => if bits(39) % 2 == 0 { "teamsForBusiness" } else { "unknown" }.into(),
        "onlineMeeting" if bits(39) % 2 == 0 => {
            json!({"joinUrl": format!("https://teams.microsoft.com/l/meetup-join/{:016x}", bits(40))})
        }
        "responseStatus" => {
            let response = if organized(owner, key) { "organizer" } else { "notResponded" };
            json!({"response": response, "time": "0001-01-01T00:00:00Z"})
        }
        "start" => json!({"dateTime": zoneless(start(key)), "timeZone": "UTC"}),
        "end" => {
            let length = 1800 * (1 + (bits(41) % 4) as i64);
            json!({"dateTime": zoneless(start(key) + length), "timeZone": "UTC"})
        }
        "location" => location(pick(ROOMS, bits(42))),
        "locations" => json!([location(pick(ROOMS, bits(42)))]),
        "attendees" => {
            let (name, address) = colleague(owner, bits(43));
            json!([{
                "type": "required",
                "status": {"response": "none", "time": "0001-01-01T00:00:00Z"},
                "emailAddress": {"name": name, "address": address}
            }])
        }
        "organizer" if organized(owner, key) => recipient(&owner.name, &owner.address),
        "organizer" => {
            let (name, address) = colleague(owner, bits(44));
            recipient(&name, &address)
        }
        "cancelledOccurrences" => json!([]),
        _ => Value::Null,
    }
}

/// `location` from a display name alone.
pub(crate) fn location(name: &str) -> Value {
    json!({"displayName": name, "locationType": "default", "uniqueId": name, "uniqueIdType": "private"})
}

fn start(key: u32) -> i64 {
    // Meetings lie on half hours, from five weeks ahead of the newest message downwards.
    (NEWEST + 35 * 86_400 - i64::from(key) * 12_600).div_euclid(1800) * 1800
}

fn organized(owner: &Owner, key: u32) -> bool {
    mix(owner.seed, u64::from(key), 45).is_multiple_of(2)
}

fn colleague(owner: &Owner, bits: u64) -> (String, String) {
    let domain = owner.address.split_once('@').map_or(owner.address.as_str(), |(_, domain)| domain);
    if bits.is_multiple_of(2) {
        let (given, surname, _, _) = PEOPLE[(bits >> 8) as usize % PEOPLE.len()];
        return (format!("{given} {surname}"), format!("{given}{}@{domain}", &surname[..1]));
    }
    let (given, surname) = (pick(GIVEN_NAMES, bits >> 8), pick(SURNAMES, bits >> 20));
    (format!("{given} {surname}"), format!("{}@adatum.example", given.to_lowercase()))
}
