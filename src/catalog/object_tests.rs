//! Tests of the objects: columns against the documented lists, names, paths, and that the declarations name columns.
#![allow(clippy::unwrap_used, reason = "tests")]

use super::super::column::FilterOps;
use super::super::definitions::definitions;
use super::super::library::Catalog;
use super::*;

fn object(name: &str) -> Arc<Object> {
    Catalog::embedded().find_object(name).unwrap()
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
        let object = object(name);
        let names: Vec<&str> = object.columns().iter().map(|column| column.name.as_str()).collect();
        assert_eq!(names, list.lines().collect::<Vec<_>>(), "{name}");
    }
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
    assert_eq!(unknown.column("a_b").unwrap().path, ["a", "b"]);
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
