//! The procedures of events as Graph requests (Graph, resource type `event`). Pure.

use serde_json::{Map, Value, json};

use super::given::Given;
use super::mail::needed_recipients;
use super::{Call, Outcome, Work, action, item};
use crate::activity::error::ActivityError;

fn event(
    given: &Given<'_>,
    call: Call<'_>,
    verb: &str,
    body: Option<Map<String, Value>>,
) -> Result<Work, ActivityError> {
    let owner = call.owner(given)?;
    Ok(action(&owner, &format!("{}/{verb}", item("events", given.id("Id")?)), body, Outcome::Status))
}

fn comment(given: &Given<'_>) -> Result<Map<String, Value>, ActivityError> {
    let comment = given.text("Comment")?.map(|text| ("comment".to_owned(), Value::from(text)));
    Ok(comment.into_iter().collect())
}

pub(super) fn cancel(given: &Given<'_>, call: Call<'_>) -> Result<Work, ActivityError> {
    event(given, call, "cancel", Some(comment(given)?))
}

pub(super) fn forward(given: &Given<'_>, call: Call<'_>) -> Result<Work, ActivityError> {
    let mut body = comment(given)?;
    body.insert("toRecipients".to_owned(), Value::from(needed_recipients(given)?));
    event(given, call, "forward", Some(body))
}

pub(super) fn respond(given: &Given<'_>, call: Call<'_>) -> Result<Work, ActivityError> {
    let verb = given.word("ResponseType", &["accept", "tentativelyAccept", "decline"], "accept")?;
    let send = given.boolean("SendResponse", true)?;
    let mut body = comment(given)?;
    if let Some(slot) = proposed(given)? {
        if verb == "accept" {
            return Err(given.fault(
                "ProposedNewTime",
                "goes with tentativelyAccept and decline only: who accepts proposes no other time",
            ));
        }
        if !send {
            return Err(given.fault(
                "SendResponse",
                "must be true with another time proposed, because the organizer would not be told",
            ));
        }
        body.insert("proposedNewTime".to_owned(), slot);
    }
    body.insert("sendResponse".to_owned(), Value::Bool(send));
    event(given, call, verb, Some(body))
}

/// Graph's `timeSlot` from one parameter or from three.
fn proposed(given: &Given<'_>) -> Result<Option<Value>, ActivityError> {
    if let Some(slot) = given.object("ProposedNewTime")? {
        if given.has("ProposedStart") || given.has("ProposedEnd") {
            return Err(given.fault(
                "ProposedNewTime",
                "says the same as ProposedStart and ProposedEnd: give one of both",
            ));
        }
        return Ok(Some(Value::Object(slot)));
    }
    let start = given.time_in_zone("ProposedStart", "ProposedTimeZone")?;
    let end = given.time_in_zone("ProposedEnd", "ProposedTimeZone")?;
    match (start, end) {
        (None, None) => Ok(None),
        (Some(start), Some(end)) => Ok(Some(json!({"start": start, "end": end}))),
        (Some(_), None) => Err(given.fault("ProposedEnd", "is missing beside ProposedStart")),
        (None, Some(_)) => Err(given.fault("ProposedStart", "is missing beside ProposedEnd")),
    }
}

pub(super) fn snooze(given: &Given<'_>, call: Call<'_>) -> Result<Work, ActivityError> {
    let time = given.time_in_zone("NewReminderTime", "TimeZone")?.unwrap_or_default();
    event(given, call, "snoozeReminder", Some(Map::from_iter([("newReminderTime".to_owned(), time)])))
}

pub(super) fn dismiss(given: &Given<'_>, call: Call<'_>) -> Result<Work, ActivityError> {
    event(given, call, "dismissReminder", None)
}
