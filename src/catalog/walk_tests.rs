//! The table of paths: what each leads to, by the facts of this build.
#![allow(clippy::unwrap_used, reason = "tests")]

use super::super::facts::Facts;
use super::*;

fn shown(facts: &Facts, path: &str) -> String {
    let segments: Vec<String> = path.trim_matches('/').split('/').map(str::to_owned).collect();
    let walked = walk(facts, &segments);
    match walked.target {
        Target::Entities(kind) => format!("[{}]", facts.name(kind)),
        Target::Entity(kind) => facts.name(kind).to_owned(),
        Target::Value(kind) => format!("={}{}", if kind.collection { "[]" } else { "" }, kind.name),
        Target::Stream => "stream".to_owned(),
        Target::Count => "count".to_owned(),
        Target::Reference { collection } => format!("ref{}", if collection { "s" } else { "" }),
        Target::Action => format!("!{}", walked.operations[0].name),
        Target::Unknown => "?".to_owned(),
    }
}

#[test]
fn paths_lead_to_their_types() {
    let facts = Facts::embedded();
    for (path, expected) in [
        ("/me", "user"),
        ("/users", "[user]"),
        ("/USERS/x", "user"),
        ("/users('x')/messages('y')", "message"),
        ("/users(userPrincipalName='a@b.c')", "user"),
        ("/applications(appId='x')", "application"),
        ("/me/messages/AAMk=", "message"),
        ("/me/mailFolders/inbox/childFolders/x/messages", "[message]"),
        ("/me/messages/x/attachments", "[attachment]"),
        ("/me/messages/x/attachments/y/microsoft.graph.fileAttachment/contentBytes", "=Binary"),
        ("/me/messages/x/$value", "stream"),
        ("/me/messages/$count", "count"),
        ("/me/messages/delta", "[message]"),
        ("/users/delta()", "[user]"),
        ("/me/mailboxSettings", "=mailboxSettings"),
        ("/me/mailboxSettings/timeZone", "=String"),
        ("/me/photo/$value", "stream"),
        ("/me/messages/x/forward", "!forward"),
        ("/me/messages/x/microsoft.graph.forward", "!forward"),
        ("/users/x/calendar/getSchedule", "!getSchedule"),
        ("/me/reminderView(startDateTime='a',endDateTime='b')", "=[]reminder"),
        ("/me/calendarView", "[event]"),
        ("/groups/g/members", "[directoryObject]"),
        ("/groups/g/members/microsoft.graph.user", "[user]"),
        ("/groups/g/members/graph.user/$count", "count"),
        ("/groups/g/members/$ref", "refs"),
        ("/groups/g/members/u/$ref", "ref"),
        ("/groups/g/owners/u/mail", "=String"),
        ("/me/drive/root:/a/b.txt", "driveItem"),
        ("/me/drive/root:/a/b.txt:/children", "[driveItem]"),
        ("/me/drive/root:/a/b.txt:/content", "stream"),
        ("/drives/d/items/i:/new.txt:/createUploadSession", "!createUploadSession"),
        ("/me/drive/items/i/workbook/worksheets('S')/range(address='A1/B2')/format", "workbookRangeFormat"),
        ("/me/drive/root/search(q='{x}')", "[driveItem]"),
        ("/sites/contoso.com:/sites/a", "site"),
        ("/sites/contoso.com:/sites/a:/lists/l/items", "[listItem]"),
        ("/sites/root/lists", "[list]"),
        ("/teams/t/channels/c/messages/m/replies", "[chatMessage]"),
        ("/planner/tasks/t/details", "plannerTaskDetails"),
        ("/solutions/bookingBusinesses/b/appointments", "[bookingAppointment]"),
        ("/reports/getEmailActivityCounts(period='D7')", "stream"),
        ("/security/runHuntingQuery", "!security.runHuntingQuery"),
        ("/security/microsoft.graph.security.runHuntingQuery", "!security.runHuntingQuery"),
        ("/nothing/x", "?"),
        ("/me/nothing", "?"),
        ("/me/displayName/more", "?"),
    ] {
        assert_eq!(shown(&facts, path), expected, "{path}");
    }
}

#[test]
fn ids_become_placeholders() {
    let facts = Facts::embedded();
    for (path, pattern) in [
        ("/users/a@b.c/mailFolders/inbox/messages/x", "users/{id}/mailfolders/{id}/messages/{id}"),
        ("/users('x')", "users/{id}"),
        ("/me/drive/root:/a/b:/children", "me/drive/items/{id}/children"),
        ("/sites/contoso.com:/sites/a:/lists", "sites/{id}/lists"),
    ] {
        let segments: Vec<String> = path.trim_matches('/').split('/').map(str::to_owned).collect();
        assert_eq!(walk(&facts, &segments).pattern.join("/"), pattern, "{path}");
    }
}

proptest::proptest! {
    #[test]
    fn no_path_stops_the_walk(path in "((me|users|drive|root:|items|x:|\\$count|\\$ref|delta|microsoft.graph.user|children|a'\\(|\\(|:)/?){0,10}") {
        static FACTS: std::sync::LazyLock<Facts> = std::sync::LazyLock::new(Facts::embedded);
        let segments: Vec<String> = path.split('/').map(str::to_owned).collect();
        let _walked = walk(&FACTS, &segments);
    }
}
