//! The types of the service, as tables. Names and order follow the published metadata and sample answers.
//! Never leaves out a property that the service declares for these types, so `$select` of one is accepted.

use super::model::{Kind, Property, Shape, property as p};

const IMPORTANCE: Kind = Kind::Choice(&["low", "normal", "high"]);
const SENSITIVITY: Kind = Kind::Choice(&["normal", "personal", "private", "confidential"]);
const SHOW_AS: Kind = Kind::Choice(&["free", "tentative", "busy", "oof", "workingElsewhere", "unknown"]);
const BODY_TYPE: Kind = Kind::Choice(&["text", "html"]);
const ONLINE_MEETING: Kind =
    Kind::Choice(&["unknown", "teamsForBusiness", "skypeForBusiness", "skypeForConsumer"]);
const RESPONSE: Kind =
    Kind::Choice(&["none", "organizer", "tentativelyAccepted", "accepted", "declined", "notResponded"]);
const DAY: Kind =
    Kind::Choice(&["sunday", "monday", "tuesday", "wednesday", "thursday", "friday", "saturday"]);

const fn complex(name: &'static str, properties: &'static [Property]) -> Shape {
    Shape { name, properties, navigation: &[] }
}

static EMAIL_ADDRESS: Shape = complex("emailAddress", &[p("name", Kind::Text), p("address", Kind::Text)]);
static RECIPIENT: Shape = complex("recipient", &[p("emailAddress", Kind::Complex(&EMAIL_ADDRESS))]);
static ITEM_BODY: Shape = complex("itemBody", &[p("contentType", BODY_TYPE), p("content", Kind::Text)]);
static DATE_TIME_ZONE: Shape =
    complex("dateTimeTimeZone", &[p("dateTime", Kind::Text), p("timeZone", Kind::Text)]);
static FLAG: Shape = complex(
    "followupFlag",
    &[
        p("completedDateTime", Kind::Complex(&DATE_TIME_ZONE)),
        p("dueDateTime", Kind::Complex(&DATE_TIME_ZONE)),
        p("flagStatus", Kind::Choice(&["notFlagged", "complete", "flagged"])),
        p("startDateTime", Kind::Complex(&DATE_TIME_ZONE)),
    ],
);
static HEADER: Shape = complex("internetMessageHeader", &[p("name", Kind::Text), p("value", Kind::Text)]);
static ADDRESS: Shape = complex(
    "physicalAddress",
    &[
        p("street", Kind::Text),
        p("city", Kind::Text),
        p("state", Kind::Text),
        p("countryOrRegion", Kind::Text),
        p("postalCode", Kind::Text),
    ],
);
static COORDINATES: Shape = complex(
    "outlookGeoCoordinates",
    &[
        p("accuracy", Kind::Fraction),
        p("altitude", Kind::Fraction),
        p("altitudeAccuracy", Kind::Fraction),
        p("latitude", Kind::Fraction),
        p("longitude", Kind::Fraction),
    ],
);
static LOCATION: Shape = complex(
    "location",
    &[
        p("displayName", Kind::Text),
        p(
            "locationType",
            Kind::Choice(&[
                "default",
                "conferenceRoom",
                "homeAddress",
                "businessAddress",
                "geoCoordinates",
                "streetAddress",
                "hotel",
                "restaurant",
                "localBusiness",
                "postalAddress",
            ]),
        ),
        p("locationEmailAddress", Kind::Text),
        p("locationUri", Kind::Text),
        p("uniqueId", Kind::Text),
        p("uniqueIdType", Kind::Choice(&["unknown", "locationStore", "directory", "private", "bing"])),
        p("address", Kind::Complex(&ADDRESS)),
        p("coordinates", Kind::Complex(&COORDINATES)),
    ],
);
static RESPONSE_STATUS: Shape =
    complex("responseStatus", &[p("response", RESPONSE), p("time", Kind::Instant)]);
static TIME_SLOT: Shape = complex(
    "timeSlot",
    &[p("start", Kind::Complex(&DATE_TIME_ZONE)), p("end", Kind::Complex(&DATE_TIME_ZONE))],
);
static ATTENDEE: Shape = complex(
    "attendee",
    &[
        p("type", Kind::Choice(&["required", "optional", "resource"])),
        p("status", Kind::Complex(&RESPONSE_STATUS)),
        p("emailAddress", Kind::Complex(&EMAIL_ADDRESS)),
        p("proposedNewTime", Kind::Complex(&TIME_SLOT)),
    ],
);
static PATTERN: Shape = complex(
    "recurrencePattern",
    &[
        p(
            "type",
            Kind::Choice(&[
                "daily",
                "weekly",
                "absoluteMonthly",
                "relativeMonthly",
                "absoluteYearly",
                "relativeYearly",
            ]),
        ),
        p("interval", Kind::Number),
        p("month", Kind::Number),
        p("dayOfMonth", Kind::Number),
        p("daysOfWeek", Kind::List(&DAY)),
        p("firstDayOfWeek", DAY),
        p("index", Kind::Choice(&["first", "second", "third", "fourth", "last"])),
    ],
);
static RANGE: Shape = complex(
    "recurrenceRange",
    &[
        p("type", Kind::Choice(&["endDate", "noEnd", "numbered"])),
        p("startDate", Kind::Text),
        p("endDate", Kind::Text),
        p("recurrenceTimeZone", Kind::Text),
        p("numberOfOccurrences", Kind::Number),
    ],
);
static RECURRENCE: Shape = complex(
    "patternedRecurrence",
    &[p("pattern", Kind::Complex(&PATTERN)), p("range", Kind::Complex(&RANGE))],
);
static ONLINE_MEETING_INFO: Shape = complex(
    "onlineMeetingInfo",
    &[
        p("joinUrl", Kind::Text),
        p("conferenceId", Kind::Text),
        p("quickDial", Kind::Text),
        p("tollNumber", Kind::Text),
    ],
);
const RECIPIENTS: Kind = Kind::List(&Kind::Complex(&RECIPIENT));
const TEXTS: Kind = Kind::List(&Kind::Text);

/// Mail.
pub(crate) static MESSAGE: Shape = Shape {
    name: "message",
    navigation: &[
        "attachments",
        "extensions",
        "multiValueExtendedProperties",
        "singleValueExtendedProperties",
    ],
    properties: &[
        p("id", Kind::Text).read_only().unfilterable(),
        p("createdDateTime", Kind::Instant).read_only(),
        p("lastModifiedDateTime", Kind::Instant).read_only(),
        p("changeKey", Kind::Text).read_only().unfilterable(),
        p("categories", TEXTS),
        p("receivedDateTime", Kind::Instant).read_only(),
        p("sentDateTime", Kind::Instant).read_only(),
        p("hasAttachments", Kind::Flag).read_only(),
        p("internetMessageId", Kind::Text).draft_only(),
        p("subject", Kind::Text).draft_only(),
        p("bodyPreview", Kind::Text).read_only(),
        p("importance", IMPORTANCE),
        p("parentFolderId", Kind::Text).read_only(),
        p("conversationId", Kind::Text).read_only(),
        p("conversationIndex", Kind::Binary).read_only().unfilterable(),
        p("isDeliveryReceiptRequested", Kind::Flag),
        p("isReadReceiptRequested", Kind::Flag),
        p("isRead", Kind::Flag),
        p("isDraft", Kind::Flag).read_only(),
        p("webLink", Kind::Text).read_only().unfilterable(),
        p("inferenceClassification", Kind::Choice(&["focused", "other"])),
        p("body", Kind::Complex(&ITEM_BODY)).draft_only(),
        p("sender", Kind::Complex(&RECIPIENT)).draft_only(),
        p("from", Kind::Complex(&RECIPIENT)).draft_only(),
        p("toRecipients", RECIPIENTS).draft_only().unfilterable(),
        p("ccRecipients", RECIPIENTS).draft_only().unfilterable(),
        p("bccRecipients", RECIPIENTS).draft_only().unfilterable(),
        p("replyTo", RECIPIENTS).draft_only().unfilterable(),
        p("flag", Kind::Complex(&FLAG)),
        p("uniqueBody", Kind::Complex(&ITEM_BODY)).read_only().unfilterable().on_request(),
        p("internetMessageHeaders", Kind::List(&Kind::Complex(&HEADER))).unfilterable().on_request(),
    ],
};

/// Appointments.
pub(crate) static EVENT: Shape = Shape {
    name: "event",
    navigation: &[
        "attachments",
        "calendar",
        "exceptionOccurrences",
        "extensions",
        "instances",
        "multiValueExtendedProperties",
        "singleValueExtendedProperties",
    ],
    properties: &[
        p("id", Kind::Text).read_only().unfilterable(),
        p("createdDateTime", Kind::Instant).read_only(),
        p("lastModifiedDateTime", Kind::Instant).read_only(),
        p("changeKey", Kind::Text).read_only().unfilterable(),
        p("categories", TEXTS),
        p("transactionId", Kind::Text),
        p("originalStartTimeZone", Kind::Text).read_only(),
        p("originalEndTimeZone", Kind::Text).read_only(),
        p("iCalUId", Kind::Text).read_only(),
        p("reminderMinutesBeforeStart", Kind::Number),
        p("isReminderOn", Kind::Flag),
        p("hasAttachments", Kind::Flag).read_only(),
        p("subject", Kind::Text),
        p("bodyPreview", Kind::Text).read_only(),
        p("importance", IMPORTANCE),
        p("sensitivity", SENSITIVITY),
        p("isAllDay", Kind::Flag),
        p("isCancelled", Kind::Flag).read_only(),
        p("isOrganizer", Kind::Flag).read_only(),
        p("responseRequested", Kind::Flag),
        p("seriesMasterId", Kind::Text).read_only(),
        p("showAs", SHOW_AS),
        p("type", Kind::Choice(&["singleInstance", "occurrence", "exception", "seriesMaster"])).read_only(),
        p("webLink", Kind::Text).read_only().unfilterable(),
        p("onlineMeetingUrl", Kind::Text).read_only(),
        p("isOnlineMeeting", Kind::Flag),
        p("onlineMeetingProvider", ONLINE_MEETING),
        p("allowNewTimeProposals", Kind::Flag),
        p("isDraft", Kind::Flag).read_only(),
        p("hideAttendees", Kind::Flag),
        p("recurrence", Kind::Complex(&RECURRENCE)).unfilterable(),
        p("onlineMeeting", Kind::Complex(&ONLINE_MEETING_INFO)).read_only().unfilterable(),
        p("responseStatus", Kind::Complex(&RESPONSE_STATUS)).read_only(),
        p("body", Kind::Complex(&ITEM_BODY)),
        p("start", Kind::Complex(&DATE_TIME_ZONE)),
        p("end", Kind::Complex(&DATE_TIME_ZONE)),
        p("location", Kind::Complex(&LOCATION)),
        p("locations", Kind::List(&Kind::Complex(&LOCATION))).unfilterable(),
        p("attendees", Kind::List(&Kind::Complex(&ATTENDEE))).unfilterable(),
        p("organizer", Kind::Complex(&RECIPIENT)),
        p("originalStart", Kind::Instant).read_only().on_request(),
        p("cancelledOccurrences", TEXTS).read_only().unfilterable().on_request(),
    ],
};

/// People of an address book.
pub(crate) static CONTACT: Shape = Shape {
    name: "contact",
    navigation: &["extensions", "multiValueExtendedProperties", "photo", "singleValueExtendedProperties"],
    properties: &[
        p("id", Kind::Text).read_only().unfilterable(),
        p("createdDateTime", Kind::Instant).read_only(),
        p("lastModifiedDateTime", Kind::Instant).read_only(),
        p("changeKey", Kind::Text).read_only().unfilterable(),
        p("categories", TEXTS),
        p("parentFolderId", Kind::Text).read_only(),
        p("birthday", Kind::Instant),
        p("fileAs", Kind::Text),
        p("displayName", Kind::Text),
        p("givenName", Kind::Text),
        p("initials", Kind::Text),
        p("middleName", Kind::Text),
        p("nickName", Kind::Text),
        p("surname", Kind::Text),
        p("title", Kind::Text),
        p("yomiGivenName", Kind::Text),
        p("yomiSurname", Kind::Text),
        p("yomiCompanyName", Kind::Text),
        p("generation", Kind::Text),
        p("imAddresses", TEXTS),
        p("jobTitle", Kind::Text),
        p("companyName", Kind::Text),
        p("department", Kind::Text),
        p("officeLocation", Kind::Text),
        p("profession", Kind::Text),
        p("businessHomePage", Kind::Text),
        p("assistantName", Kind::Text),
        p("manager", Kind::Text),
        p("homePhones", TEXTS),
        p("mobilePhone", Kind::Text),
        p("businessPhones", TEXTS),
        p("spouseName", Kind::Text),
        p("personalNotes", Kind::Text),
        p("children", TEXTS),
        p("emailAddresses", Kind::List(&Kind::Complex(&EMAIL_ADDRESS))),
        p("homeAddress", Kind::Complex(&ADDRESS)),
        p("businessAddress", Kind::Complex(&ADDRESS)),
        p("otherAddress", Kind::Complex(&ADDRESS)),
        p("primaryEmailAddress", Kind::Complex(&EMAIL_ADDRESS)).on_request(),
        p("secondaryEmailAddress", Kind::Complex(&EMAIL_ADDRESS)).on_request(),
        p("tertiaryEmailAddress", Kind::Complex(&EMAIL_ADDRESS)).on_request(),
    ],
};

/// Calendars.
pub(crate) static CALENDAR: Shape = Shape {
    name: "calendar",
    navigation: &["calendarPermissions", "calendarView", "events", "singleValueExtendedProperties"],
    properties: &[
        p("id", Kind::Text).read_only().unfilterable(),
        p("name", Kind::Text),
        p(
            "color",
            Kind::Choice(&[
                "auto",
                "lightBlue",
                "lightGreen",
                "lightOrange",
                "lightGray",
                "lightYellow",
                "lightTeal",
                "lightPink",
                "lightBrown",
                "lightRed",
                "maxColor",
            ]),
        ),
        p("hexColor", Kind::Text).read_only(),
        p("isDefaultCalendar", Kind::Flag).read_only(),
        p("changeKey", Kind::Text).read_only().unfilterable(),
        p("canShare", Kind::Flag).read_only(),
        p("canViewPrivateItems", Kind::Flag).read_only(),
        p("canEdit", Kind::Flag).read_only(),
        p("allowedOnlineMeetingProviders", Kind::List(&ONLINE_MEETING)).read_only().unfilterable(),
        p("defaultOnlineMeetingProvider", ONLINE_MEETING),
        p("isTallyingResponses", Kind::Flag).read_only(),
        p("isRemovable", Kind::Flag).read_only(),
        p("owner", Kind::Complex(&EMAIL_ADDRESS)).read_only(),
    ],
};

/// Mail folders.
pub(crate) static MAIL_FOLDER: Shape = Shape {
    name: "mailFolder",
    navigation: &["childFolders", "messageRules", "messages", "singleValueExtendedProperties"],
    properties: &[
        p("id", Kind::Text).read_only().unfilterable(),
        p("displayName", Kind::Text),
        p("parentFolderId", Kind::Text).read_only(),
        p("childFolderCount", Kind::Number).read_only(),
        p("unreadItemCount", Kind::Number).read_only(),
        p("totalItemCount", Kind::Number).read_only(),
        p("isHidden", Kind::Flag),
    ],
};

/// Contact folders.
pub(crate) static CONTACT_FOLDER: Shape = Shape {
    name: "contactFolder",
    navigation: &["childFolders", "contacts", "singleValueExtendedProperties"],
    properties: &[
        p("id", Kind::Text).read_only().unfilterable(),
        p("parentFolderId", Kind::Text),
        p("displayName", Kind::Text),
    ],
};

pub(crate) use super::directory::USER;
