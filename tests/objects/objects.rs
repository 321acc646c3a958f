//! The table of the 21 objects, and the test that goes through it cell by cell.

use std::sync::Arc;

use crate::cells::{Bench, Row};
use crate::facts::{Facts, graph};
use crate::support::{Setup, application, delegated, tenant};

const NO_UPDATE: (&str, &str) = ("", "");
const SPAN: &[(&str, &str)] =
    &[("start_dateTime", "2026-11-01T00:00:00Z"), ("end_dateTime", "2026-12-31T00:00:00Z")];
const OCCURRENCES: &[(&str, &str)] = &[
    ("Events_id", "<series>"),
    ("StartDateTime", "2026-12-01T00:00:00Z"),
    ("EndDateTime", "2026-12-31T00:00:00Z"),
];
const BUSINESS: &[(&str, &str)] = &[("BusinessId", "<business>")];

/// The 21 objects.
const TABLE: &[Row] = &[
    Row {
        object: "Messages",
        connections: &["mail", "app"],
        owned: true,
        place: &[],
        columns: &[
            "id",
            "Etag",
            "subject",
            "body_content",
            "body_contentType",
            "from_emailAddress_address",
            "toRecipients",
            "flag_flagStatus",
            "receivedDateTime",
            "isRead",
        ],
        filter: ("from_emailAddress_address", "="),
        order: "receivedDateTime",
        create: r#"{"subject": "Made", "body_content": "<p>Hello</p>", "body_contentType": "html", "toRecipients": [{"emailAddress": {"address": "<other>"}}]}"#,
        update: ("subject", r#""Changed""#),
        delete: true,
        etag: false,
    },
    Row {
        object: "Events",
        connections: &["mail", "app"],
        owned: true,
        place: &[],
        columns: &[
            "id",
            "Etag",
            "subject",
            "start_dateTime",
            "start_timeZone",
            "end_dateTime",
            "location_displayName",
            "organizer_emailAddress_address",
            "attendees",
            "responseStatus_response",
        ],
        filter: ("subject", "="),
        order: "start_dateTime",
        create: r#"{"subject": "Made", "start_dateTime": "2026-12-01T08:00:00", "start_timeZone": "UTC", "end_dateTime": "2026-12-01T09:00:00", "end_timeZone": "UTC", "location_displayName": "Room 1", "attendees": [{"type": "required", "emailAddress": {"address": "<other>"}}]}"#,
        update: ("location_displayName", r#""Room 2""#),
        delete: true,
        etag: false,
    },
    Row {
        object: "CalendarView",
        connections: &["mail", "app"],
        owned: true,
        place: SPAN,
        columns: &["id", "subject", "start_dateTime", "end_dateTime", "type"],
        filter: ("subject", "="),
        order: "start_dateTime",
        create: "",
        update: NO_UPDATE,
        delete: false,
        etag: false,
    },
    Row {
        object: "EventOccurrences",
        connections: &["mail", "app"],
        owned: true,
        place: OCCURRENCES,
        columns: &["id", "Events_id", "subject", "start_dateTime", "end_dateTime", "type"],
        filter: ("start_dateTime", ">="),
        order: "start_dateTime",
        create: "",
        update: NO_UPDATE,
        delete: false,
        etag: false,
    },
    Row {
        object: "EventAttachments",
        connections: &["mail", "app"],
        owned: true,
        place: &[("Events_id", "<event>")],
        columns: &["id", "Events_id", "name", "contentType", "size", "isInline", "contentBytes"],
        filter: ("name", "="),
        order: "name",
        create: "",
        update: NO_UPDATE,
        delete: false,
        etag: false,
    },
    Row {
        object: "MessageAttachments",
        connections: &["mail", "app"],
        owned: true,
        place: &[("Messages_id", "<message>")],
        columns: &["id", "Messages_id", "name", "contentType", "size", "lastModifiedDateTime"],
        filter: ("name", "="),
        order: "name",
        create: "",
        update: NO_UPDATE,
        delete: false,
        etag: false,
    },
    Row {
        object: "Contacts",
        connections: &["mail", "app"],
        owned: true,
        place: &[],
        columns: &[
            "id",
            "Etag",
            "displayName",
            "givenName",
            "surname",
            "businessAddress_city",
            "emailAddresses",
            "businessPhones",
        ],
        filter: ("surname", "="),
        order: "displayName",
        create: r#"{"givenName": "Pavel", "surname": "Bansky", "businessAddress_city": "Lyon", "businessPhones": ["+1 732 555 0102"]}"#,
        update: ("businessAddress_city", r#""Munich""#),
        delete: true,
        etag: false,
    },
    Row {
        object: "Calendars",
        connections: &["mail", "app"],
        owned: true,
        place: &[],
        columns: &[
            "id",
            "name",
            "color",
            "canEdit",
            "isDefaultCalendar",
            "owner_address",
            "allowedOnlineMeetingProviders",
        ],
        filter: ("name", "="),
        order: "name",
        create: r#"{"name": "Made"}"#,
        update: ("name", r#""Changed""#),
        delete: true,
        etag: false,
    },
    Row {
        object: "MailFolders",
        connections: &["mail", "app"],
        owned: true,
        place: &[],
        columns: &["id", "displayName", "parentFolderId", "totalItemCount", "unreadItemCount", "isHidden"],
        filter: ("displayName", "="),
        order: "displayName",
        create: r#"{"displayName": "Made"}"#,
        update: ("displayName", r#""Changed""#),
        delete: true,
        etag: false,
    },
    Row {
        object: "Conversations",
        connections: &["mail"],
        owned: false,
        place: &[("GroupId", "<group>")],
        columns: &["id", "topic", "preview", "hasAttachments", "lastDeliveredDateTime", "uniqueSenders"],
        filter: ("topic", "="),
        order: "topic",
        create: r#"{"topic": "Made", "Content": "Let us begin."}"#,
        update: NO_UPDATE,
        delete: true,
        etag: false,
    },
    Row {
        object: "Groups",
        connections: &["mail", "app"],
        owned: false,
        place: &[],
        columns: &[
            "id",
            "displayName",
            "mailNickname",
            "mailEnabled",
            "groupTypes",
            "createdDateTime",
            "visibility",
        ],
        filter: ("displayName", "="),
        order: "displayName",
        create: r#"{"displayName": "Made", "mailEnabled": false, "mailNickname": "made", "securityEnabled": true}"#,
        update: ("description", r#""Changed""#),
        delete: true,
        etag: false,
    },
    Row {
        object: "Users",
        connections: &["app"],
        owned: false,
        place: &[],
        columns: &[
            "id",
            "displayName",
            "givenName",
            "userPrincipalName",
            "businessPhones",
            "city",
            "accountEnabled",
        ],
        filter: ("displayName", "="),
        order: "displayName",
        create: r#"{"accountEnabled": true, "displayName": "Made", "mailNickname": "made", "userPrincipalName": "made@<domain>", "passwordProfile_password": "xWwvJ]6NMw+bWH-d", "passwordProfile_forceChangePasswordNextSignIn": false}"#,
        update: ("jobTitle", r#""Changed""#),
        delete: true,
        etag: false,
    },
    Row {
        object: "Files",
        connections: &["mail", "app"],
        owned: true,
        place: &[],
        columns: &[
            "id",
            "eTag",
            "name",
            "size",
            "file_mimeType",
            "file_hashes_quickXorHash",
            "folder_childCount",
            "parentReference_id",
            "createdBy_user_displayName",
            "lastModifiedDateTime",
        ],
        filter: ("name", "="),
        order: "name",
        create: "",
        update: ("name", r#""Renamed.txt""#),
        delete: true,
        etag: false,
    },
    Row {
        object: "Tasks",
        connections: &["mail", "app"],
        owned: false,
        place: &[("planId", "<plan>")],
        columns: &[
            "id",
            "Etag",
            "title",
            "planId",
            "bucketId",
            "percentComplete",
            "assignments",
            "dueDateTime",
            "createdBy_user_id",
        ],
        filter: ("percentComplete", "="),
        order: "title",
        create: r#"{"title": "Made", "bucketId": "<bucket>"}"#,
        update: ("percentComplete", "50"),
        delete: true,
        etag: true,
    },
    Row {
        object: "Plans",
        connections: &["mail", "app"],
        owned: true,
        place: &[],
        columns: &["id", "title", "container_containerId", "createdDateTime", "createdBy_user_id"],
        filter: ("title", "="),
        order: "title",
        create: "",
        update: NO_UPDATE,
        delete: false,
        etag: false,
    },
    Row {
        object: "BookingBusinesses",
        connections: &["mail"],
        owned: false,
        place: &[],
        columns: &[
            "id",
            "displayName",
            "phone",
            "address_city",
            "businessHours",
            "schedulingPolicy_timeSlotInterval",
            "isPublished",
        ],
        filter: ("displayName", "="),
        order: "displayName",
        create: r#"{"displayName": "Fourth Coffee", "phone": "555-0100", "address_city": "Buffalo"}"#,
        update: ("phone", r#""555-0199""#),
        delete: true,
        etag: false,
    },
    Row {
        object: "BookingAppointments",
        connections: &["mail", "app"],
        owned: false,
        place: BUSINESS,
        columns: &[
            "id",
            "serviceId",
            "serviceName",
            "startDateTime_dateTime",
            "endDateTime_timeZone",
            "duration",
            "price",
            "customers",
        ],
        filter: ("startDateTime_dateTime", "="),
        order: "startDateTime_dateTime",
        create: r#"{"serviceId": "<service>", "startDateTime_dateTime": "2026-12-01T10:00:00Z", "startDateTime_timeZone": "UTC", "endDateTime_dateTime": "2026-12-01T11:00:00Z", "endDateTime_timeZone": "UTC"}"#,
        update: ("serviceNotes", r#""Changed""#),
        delete: true,
        etag: false,
    },
    Row {
        object: "BookingCustomers",
        connections: &["mail", "app"],
        owned: false,
        place: BUSINESS,
        columns: &["id", "displayName", "emailAddress", "phones"],
        filter: ("displayName", "="),
        order: "emailAddress",
        create: r#"{"displayName": "Joni Sherman", "emailAddress": "joni@contoso.com"}"#,
        update: ("displayName", r#""Changed""#),
        delete: true,
        etag: false,
    },
    Row {
        object: "BookingCustomQuestions",
        connections: &["mail", "app"],
        owned: false,
        place: BUSINESS,
        columns: &["id", "displayName", "answerInputType", "answerOptions"],
        filter: ("displayName", "="),
        order: "displayName",
        create: r#"{"displayName": "How tall are you?", "answerInputType": "text"}"#,
        update: ("displayName", r#""Changed""#),
        delete: true,
        etag: false,
    },
    Row {
        object: "BookingServices",
        connections: &["mail", "app"],
        owned: false,
        place: BUSINESS,
        columns: &[
            "id",
            "displayName",
            "defaultDuration",
            "defaultPrice",
            "defaultLocation_displayName",
            "staffMemberIds",
            "isHiddenFromCustomers",
        ],
        filter: ("defaultPrice", "="),
        order: "displayName",
        create: r#"{"displayName": "Tasting", "defaultDuration": "PT1H", "defaultPrice": 10.5}"#,
        update: ("description", r#""Changed""#),
        delete: true,
        etag: false,
    },
    Row {
        object: "BookingStaffMembers",
        connections: &["mail", "app"],
        owned: false,
        place: BUSINESS,
        columns: &["id", "displayName", "emailAddress", "role", "workingHours", "useBusinessHours"],
        filter: ("role", "="),
        order: "displayName",
        create: r#"{"displayName": "Dana Swope", "emailAddress": "dana@contoso.com", "role": "externalGuest"}"#,
        update: ("displayName", r#""Changed""#),
        delete: true,
        etag: false,
    },
];

#[tokio::test]
async fn every_object_does_every_activity_that_its_service_allows() {
    let sandbox = tenant();
    let facts = Facts::of(&sandbox).await;
    let agent = Setup::new()
        .drop_in("mail.yaml", &delegated(&sandbox, "mail", "      DirectoryRetrievalDepth: -1\n"))
        .drop_in("app.yaml", &application(&sandbox, "app", "      DirectoryRetrievalDepth: -1\n"))
        .start();
    let listed = agent.get("/v1/connections/mail/objects").await.expect(200);
    let mut listed: Vec<String> = listed["objects"]
        .as_array()
        .unwrap()
        .iter()
        .map(|object| object["name"].as_str().unwrap().to_owned())
        .collect();
    let mut table: Vec<String> = TABLE.iter().map(|row| row.object.to_owned()).collect();
    listed.sort();
    table.sort();
    assert_eq!(listed, table, "the table has every object that the agent has, and no other");

    let (mut done, mut refused, mut failed) = (0, 0, Vec::new());
    let (agent, facts) = (Arc::new(agent), Arc::new(facts));
    for row in TABLE {
        for connection in row.connections {
            // A file's content comes by a procedure; its record is changed and deleted like any other.
            let content = Some(serde_json::json!("content"));
            let file = graph(&sandbox, "PUT", "me/drive/root:/made.txt:/content", content).await;
            let file = file["id"].as_str().unwrap().to_owned();
            let bench = Bench { agent: Arc::clone(&agent), facts: Arc::clone(&facts), row, connection };
            // A task of its own: an object that fails does not hide the others.
            match tokio::spawn(cells(bench, file)).await {
                Ok((cells, turned_away)) => {
                    let (cells_shown, away) = (cells.join(" "), turned_away.join(" "));
                    eprintln!("{:24} {connection:5} {cells_shown:45} refused: {away}", row.object);
                    done += cells.len();
                    refused += turned_away.len();
                }
                Err(_) => failed.push((row.object, connection)),
            }
        }
    }
    eprintln!("{} objects, {done} cells done, {refused} refused", TABLE.len());
    assert!(failed.is_empty(), "{failed:?}");
    assert_eq!((TABLE.len(), done, refused), (21, 201, 33));
}

/// Goes through the cells of one object: the ones that were done, and the ones that were rightly refused.
async fn cells(bench: Bench, file: String) -> (Vec<&'static str>, Vec<&'static str>) {
    let row = bench.row;
    bench.query().await;
    bench.filter().await;
    bench.order().await;
    let (mut cells, mut turned_away) = (vec!["query", "filter", "order"], Vec::new());
    let id = if row.create.is_empty() {
        bench.refused("create").await;
        turned_away.push("create");
        file
    } else {
        cells.push("create");
        bench.create().await
    };
    if row.update.0.is_empty() {
        bench.refused("update").await;
        turned_away.push("update");
    } else {
        bench.update(&id).await;
        cells.push("update");
    }
    if row.delete {
        bench.delete(&id).await;
        cells.push("delete");
    } else {
        bench.refused("delete").await;
        turned_away.push("delete");
    }
    (cells, turned_away)
}
