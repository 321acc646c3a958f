//! Tests of the objects: columns against the documented lists, names, paths, and that the declarations name columns.
#![allow(clippy::unwrap_used, reason = "tests")]

use super::super::column::FilterOps;
use super::super::definitions::definitions;
use super::super::library::Catalog;
use super::*;

fn object(name: &str) -> Arc<Object> {
    Catalog::embedded().find_object(name).unwrap()
}

/// Where the agent says something else than the list, and why.
const DEVIATIONS: [(&str, &str, &str); 3] = [
    ("*", "recurrence_range_startDate", "a day, as the metadata says, and no moment"),
    ("*", "recurrence_range_endDate", "a day, as the metadata says, and no moment"),
    ("*", "*", "a collection is JSON where the list says text, which is how it is written there"),
];

#[test]
fn the_columns_are_the_documented_ones_in_order_with_their_types_and_keys() {
    let (mut expected, mut seen) = (Vec::new(), Vec::new());
    let mut name = "";
    for line in include_str!("../../tests/fixtures/catalog/columns.txt").lines() {
        match line.strip_prefix(' ') {
            _ if line.starts_with('#') => {}
            Some(column) => expected.push(format!("{name} {column}")),
            None => name = line,
        }
    }
    let objects = Catalog::embedded();
    let in_order = {
        let mut names: Vec<&str> = expected.iter().filter_map(|line| line.split(' ').next()).collect();
        names.dedup();
        names
    };
    assert_eq!(in_order.len(), 21);
    assert_eq!(objects.objects().len(), 21);
    for name in in_order {
        for column in object(name).columns() {
            let kind = match column.kind {
                ColumnKind::String | ColumnKind::Json => 's',
                ColumnKind::Bool => 'b',
                ColumnKind::DateTime => 'd',
                ColumnKind::Date if DEVIATIONS.iter().any(|(_, known, _)| *known == column.name) => 'd',
                ColumnKind::Time => 't',
                ColumnKind::Int32 => 'i',
                ColumnKind::Int64 => 'l',
                ColumnKind::Double => 'n',
                ColumnKind::Binary => 'x',
                // Lengths of time and UUIDs are text there.
                ColumnKind::Duration | ColumnKind::Guid => 's',
                ColumnKind::Date | ColumnKind::Any => '?',
            };
            let key = if column.key { "*" } else { "" };
            seen.push(format!("{name} {key}{kind}:{}", column.name));
        }
    }
    for (expected, seen) in expected.iter().zip(&seen) {
        assert_eq!(expected, seen);
    }
    assert_eq!(expected.len(), seen.len());
}

#[test]
fn every_declared_path_is_one_of_the_service() {
    let catalog = Catalog::embedded();
    for definition in definitions() {
        let declared = catalog.facts().find(definition.listed_type.unwrap_or(definition.graph_type));
        assert!(declared.is_some(), "{}", definition.name);
        for template in definition.list.iter().chain(definition.create).chain(definition.record) {
            let path = template.replace("{owner}", "users/{id}").replace(['{', '}'], "");
            let leads_to = object(&format!("/{path}"));
            assert_eq!(leads_to.graph_type, declared, "{}: {template}", definition.name);
        }
        let described = catalog.describe(definition.name).unwrap();
        let has = |method: &str| described.permissions.iter().any(|found| found.method == method);
        assert!(has("GET"), "{}", definition.name);
        assert!(definition.create.is_empty() || has("POST"), "{} create", definition.name);
        // The table of permissions leaves out what the page "Update calendar" documents.
        let in_table = definition.name != "Calendars";
        assert!(!definition.update || has("PATCH") || !in_table, "{} update", definition.name);
        assert!(!definition.delete || has("DELETE"), "{} delete", definition.name);
        if !definition.create.is_empty() || definition.update || definition.delete {
            continue;
        }
        assert!(!definition.instead.is_empty(), "{} tells what to use instead", definition.name);
    }
}

#[test]
fn what_is_missing_or_not_taken_is_named() {
    let wrong = |name: &str, wanted, given: &[(&'static str, String)]| match object(name)
        .locate(wanted, given, Some(&Owner::Me), Some("x"))
        .unwrap_err()
    {
        NotLocated::Wrong { field, error } => format!("{field}: {}", error.message),
        NotLocated::OwnerNeeded => "owner".to_owned(),
    };
    assert!(wrong("Conversations", RouteUse::List, &[]).starts_with("GroupId: Conversations needs GroupId"));
    assert!(wrong("EventOccurrences", RouteUse::List, &[]).starts_with("Events_id: "));
    assert!(wrong("BookingServices", RouteUse::Record, &[]).starts_with("BusinessId: "));
    let message = object("Files").allows(ActivityKind::Create).unwrap_err().message;
    assert!(message.contains("UploadFile"), "{message}");
    assert!(object("CalendarView").allows(ActivityKind::Delete).is_err());
    assert!(object("Conversations").allows(ActivityKind::Update).is_err());
    assert!(object("Tasks").needs_etag() && object("Tasks").allows(ActivityKind::Update).is_ok());
    assert_eq!(object("Files").column("Etag").unwrap().path, ["eTag"]);
    assert_eq!(object("Events").column("Etag").unwrap().path, ["@odata.etag"]);
    assert_eq!(object("EventOccurrences").place_column(RouteUse::List, "eventid"), Some("Events_id"));
    assert_eq!(object("Plans").column("userid").unwrap().source, ColumnSource::Place);
}

#[test]
fn every_declared_name_is_a_column() {
    for definition in definitions() {
        let object = object(definition.name);
        let filters = definition.filters.iter().flat_map(|(names, _)| names.iter());
        let needs = definition.insert_needs.iter().map(|need| &need.column);
        let lists = [
            definition.default_columns,
            definition.sortable,
            definition.read_only,
            definition.writable,
            definition.select_only,
        ];
        for name in lists.into_iter().flatten().chain(filters).chain(needs) {
            assert_eq!(object.column(name).unwrap().name, *name, "{}", definition.name);
        }
    }
}

#[test]
fn types_and_paths_follow_the_flatten_rule() {
    for (name, column, kind, path) in [
        ("messages", "BODY_CONTENT", ColumnKind::String, "body/content"),
        ("Messages", "categories", ColumnKind::Json, "categories"),
        ("Messages", "conversationIndex", ColumnKind::Binary, "conversationIndex"),
        ("Messages", "receivedDateTime", ColumnKind::DateTime, "receivedDateTime"),
        ("Messages", "Etag", ColumnKind::String, "@odata.etag"),
        ("Events", "location_coordinates_latitude", ColumnKind::Double, "location/coordinates/latitude"),
        ("Events", "recurrence_range_endDate", ColumnKind::Date, "recurrence/range/endDate"),
        ("Events", "start_dateTime", ColumnKind::String, "start/dateTime"),
        ("Events", "reminderMinutesBeforeStart", ColumnKind::Int32, "reminderMinutesBeforeStart"),
        (
            "Users",
            "mailboxSettings_workingHours_startTime",
            ColumnKind::Time,
            "mailboxSettings/workingHours/startTime",
        ),
    ] {
        let object = object(name);
        let found = object.column(column).unwrap();
        assert_eq!((found.kind, found.odata_path().as_str()), (kind, path), "{name}.{column}");
    }
    assert_eq!(object("Messages").column("importance").unwrap().values, ["low", "normal", "high"]);
    assert!(object("Users").column("mail").unwrap().filter.has(FilterOps::ENDS));
    assert!(object("Users").column("employeeOrgData_division").unwrap().filter.has(FilterOps::EQ));
    assert!(!object("Users").column("passwordProfile_password").unwrap().filter.has(FilterOps::EQ));
}

#[test]
fn default_columns_leave_out_what_must_be_named() {
    let object_of_messages = object("Messages");
    let messages: Vec<&str> =
        object_of_messages.default_columns().iter().map(|column| column.name.as_str()).collect();
    assert!(messages.contains(&"Etag") && messages.contains(&"body_content"));
    assert!(!messages.contains(&"uniqueBody_content") && !messages.contains(&"UserId"));
    assert_eq!(object("Users").default_columns().len(), 11);
}

#[test]
fn paths_are_encoded_and_chosen_by_owner_and_place() {
    let user = Owner::User("a#EXT#/b@c.com".to_owned());
    let located = |name: &str, wanted, given: &[(&'static str, &str)], owner: &Owner, id: Option<&str>| {
        let given: Vec<_> = given.iter().map(|(column, value)| (*column, (*value).to_owned())).collect();
        object(name).locate(wanted, &given, Some(owner), id).unwrap().path
    };
    use RouteUse::{List, Record};
    let drafts = [("ParentFolderId", "Drafts")];
    assert_eq!(located("Messages", List, &[], &Owner::Me, None), "me/messages");
    assert_eq!(located("Messages", List, &[], &user, None), "users/a%23EXT%23%2Fb@c.com/messages");
    assert_eq!(located("Messages", List, &drafts, &Owner::Me, None), "me/mailFolders/Drafts/messages");
    assert_eq!(located("Messages", Record, &drafts, &Owner::Me, Some("a/b=")), "me/messages/a%2Fb=");
    assert_eq!(located("Events", Record, &[("GroupId", "g1")], &Owner::Me, Some("e")), "groups/g1/events/e");
    assert_eq!(located("Users", Record, &[], &Owner::Me, Some("u")), "users/u");
    assert_eq!(located("/me/mailFolders", Record, &[], &Owner::Me, Some("f")), "me/mailFolders/f");
    assert_eq!(object("messages").place_column(List, "parentfolderid"), Some("ParentFolderId"));
}

#[test]
fn any_path_is_an_object_with_its_columns() {
    let folders = object("/users/u/MailFolders");
    assert_eq!(folders.graph_type().as_deref(), Some("microsoft.graph.mailFolder"));
    assert_eq!(folders.column("DISPLAYNAME").unwrap().kind, ColumnKind::String);
    assert_eq!(folders.column("unreadItemCount").unwrap().kind, ColumnKind::Int32);
    assert_eq!((folders.home(), folders.largest_page()), (Home::Mailbox, Some(1000)));
    assert!(!folders.is_single() && object("/me/mailboxSettings").is_single());
    // What a row may have besides the columns of its collection's type.
    let attachments = object("/me/messages/m/attachments");
    assert!(attachments.columns().iter().all(|column| column.name != "contentBytes"));
    assert_eq!(attachments.column("contentBytes").unwrap().kind, ColumnKind::Binary);
    assert_eq!(object("/groups/g/members").column("mail").unwrap().kind, ColumnKind::String);
    assert_eq!(object("/me/messages").column("attachments").unwrap().source, ColumnSource::Related);
    assert_eq!(object("/planner/tasks/t").column("assignments").unwrap().kind, ColumnKind::Json);
    assert_eq!(object("/me").column("mailboxSettings/timeZone").unwrap().name, "mailboxSettings_timeZone");
    // The directory has rules of its own, also below a user; a chat's messages are no mail.
    assert_eq!(object("/me/memberOf").home(), Home::Directory);
    assert_eq!(object("/teams/t/channels/c/messages").largest_page(), Some(50));
    // What the facts do not know stays usable.
    let unknown = object("/me/nothing/of/that");
    assert!(unknown.columns().is_empty());
    let whole = unknown.column("a_b").unwrap();
    assert_eq!(
        (whole.path.as_slice(), whole.fallback.as_deref()),
        (&["a_b".to_owned()][..], Some(&["a".to_owned(), "b".to_owned()][..]))
    );
    assert!(unknown.column("a b").is_err());
}

#[test]
fn unknown_names_are_answered_with_the_nearest() {
    let message = Catalog::embedded().find_object("Mesages").unwrap_err().message;
    assert!(
        message.contains("Did you mean 'Messages'?") && message.contains("Events, Contacts"),
        "{message}"
    );
    let message = object("Users").column("displayNme").unwrap_err().message;
    assert!(message.contains("Did you mean 'displayName'?"), "{message}");
}
