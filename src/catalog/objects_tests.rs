//! Tests of the objects: columns against the documented lists, names, paths, and that the declarations name columns.
#![allow(clippy::unwrap_used, reason = "tests")]

use super::super::column::FilterOps;
use super::*;

fn object(name: &str) -> &'static Object {
    match find_object(name).unwrap() {
        ObjectKind::Named(object) => object,
        ObjectKind::Path(path) => panic!("{path:?}"),
    }
}

#[test]
fn the_columns_are_the_documented_ones_in_order() {
    let documented = [
        ("Messages", include_str!("../../tests/fixtures/catalog/messages.txt")),
        ("Events", include_str!("../../tests/fixtures/catalog/events.txt")),
        ("Contacts", include_str!("../../tests/fixtures/catalog/contacts.txt")),
        ("Calendars", include_str!("../../tests/fixtures/catalog/calendars.txt")),
        ("Users", include_str!("../../tests/fixtures/catalog/users.txt")),
    ];
    for (name, list) in documented {
        let names: Vec<&str> = object(name).columns().iter().map(|column| column.name.as_str()).collect();
        assert_eq!(names, list.lines().collect::<Vec<_>>(), "{name}");
    }
}

#[test]
fn every_declared_name_is_a_column() {
    for definition in &DEFINITIONS {
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
        let found = object(name).column(column).unwrap();
        assert_eq!((found.kind, found.odata_path().as_str()), (kind, path), "{name}.{column}");
    }
    assert_eq!(object("Messages").column("importance").unwrap().values, ["low", "normal", "high"]);
    assert!(object("Users").column("mail").unwrap().filter.has(FilterOps::ENDS));
    assert!(object("Users").column("employeeOrgData_division").unwrap().filter.has(FilterOps::EQ));
    assert!(!object("Users").column("passwordProfile_password").unwrap().filter.has(FilterOps::EQ));
}

#[test]
fn default_columns_leave_out_what_must_be_named() {
    let messages: Vec<&str> =
        object("Messages").default_columns().iter().map(|column| column.name.as_str()).collect();
    assert!(messages.contains(&"Etag") && messages.contains(&"body_content"));
    assert!(!messages.contains(&"uniqueBody_content") && !messages.contains(&"UserId"));
    assert_eq!(object("Users").default_columns().len(), 11);
}

#[test]
fn paths_are_encoded_and_chosen_by_owner_and_part() {
    let messages = object("Messages");
    let folder = messages.part("parentfolderid").unwrap();
    let user = Owner::User("a#EXT#/b@c.com".to_owned());
    assert_eq!(messages.collection_path(&Owner::Me, None), "me/messages");
    assert_eq!(messages.collection_path(&user, None), "users/a%23EXT%23%2Fb@c.com/messages");
    assert_eq!(
        messages.collection_path(&Owner::Me, Some((folder, "Drafts"))),
        "me/mailFolders/Drafts/messages"
    );
    assert_eq!(messages.record_path(&Owner::Me, Some((folder, "Drafts")), "a/b="), "me/messages/a%2Fb=");
    let events = object("Events");
    let group = events.part("GroupId").unwrap();
    assert_eq!(events.record_path(&Owner::Me, Some((group, "g1")), "e"), "groups/g1/events/e");
    assert_eq!(object("Users").record_path(&Owner::Me, None, "u"), "users/u");
}

#[test]
fn unknown_names_are_answered_with_the_nearest() {
    let message = find_object("Mesages").unwrap_err().message;
    assert!(
        message.contains("Did you mean 'Messages'?") && message.contains("Events, Contacts"),
        "{message}"
    );
    let message = object("Users").column("displayNme").unwrap_err().message;
    assert!(message.contains("Did you mean 'displayName'?"), "{message}");
}
