//! The procedures of events, as data (Graph, resource type `event`).

use super::ParameterType::{Boolean, DateTime, Json};
use super::{Parameter, Procedure, ProcedureKind, USER, optional, required};

const EVENT_ID: Parameter = required("Id", "The event's id.").also(&["EventId"]);
const COMMENT: Parameter = optional("Comment", "A text for the people who are told.");

pub(super) const PROCEDURES: &[Procedure] = &[
    Procedure {
        kind: ProcedureKind::CancelEvent,
        name: "CancelEvent",
        description: "Cancels a meeting and tells its attendees; for its organizer only.",
        changes: true,
        parameters: &[EVENT_ID, COMMENT, USER],
        outputs: &["Status"],
    },
    Procedure {
        kind: ProcedureKind::ForwardEvent,
        name: "ForwardEvent",
        description: "Forwards a meeting to further people.",
        changes: true,
        parameters: &[EVENT_ID, required("ToRecipients", "Addresses, separated by ';'."), COMMENT, USER],
        outputs: &["Status"],
    },
    Procedure {
        kind: ProcedureKind::RespondToEvent,
        name: "RespondToEvent",
        description: "Accepts, accepts tentatively or declines a meeting, the latter two also with another time proposed.",
        changes: true,
        parameters: &[
            EVENT_ID,
            required("ResponseType", "'accept', 'tentativelyAccept' or 'decline'.").also(&["Response"]),
            COMMENT,
            optional(
                "SendResponse",
                "Whether the organizer is told (default true; needed for another time).",
            )
            .of(Boolean),
            optional(
                "ProposedNewTime",
                "Another time, as Graph's timeSlot: {start: {dateTime, timeZone}, end: {…}}.",
            )
            .of(Json),
            optional("ProposedStart", "The beginning of another time; ProposedEnd goes with it.")
                .of(DateTime),
            optional("ProposedEnd", "The end of another time.").of(DateTime),
            optional("ProposedTimeZone", "The time zone of ProposedStart and ProposedEnd (default UTC)."),
            USER,
        ],
        outputs: &["Status"],
    },
    Procedure {
        kind: ProcedureKind::SnoozeEventReminder,
        name: "SnoozeEventReminder",
        description: "Puts an event's reminder off to another time.",
        changes: true,
        parameters: &[
            EVENT_ID,
            required("NewReminderTime", "When to remind; or Graph's dateTimeTimeZone: {dateTime, timeZone}.")
                .of(DateTime),
            optional("TimeZone", "The time zone of NewReminderTime (default UTC)."),
            USER,
        ],
        outputs: &["Status"],
    },
    Procedure {
        kind: ProcedureKind::DismissEventReminder,
        name: "DismissEventReminder",
        description: "Ends an event's reminder.",
        changes: true,
        parameters: &[EVENT_ID, USER],
        outputs: &["Status"],
    },
];
