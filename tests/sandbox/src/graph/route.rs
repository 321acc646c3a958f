//! From a path to what it names.
//! Never looks at tokens, methods or options.

use super::attachments::Asked;
use super::drives::path::{self as drive_path, DriveOf, DrivePath, Verb};
use super::errors::GraphError;
use super::resources::path::{self as resource_path, ResourcePath};
use crate::answer::decode;
use crate::data::model::Entity;

/// Whose resource a path names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Whose {
    /// `/me`.
    Me,
    /// `/users/{id or principal name}`.
    User(String),
    /// `/groups/{id}`, which has a calendar.
    Group(String),
}

/// The folder or calendar that items are asked of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Parent {
    /// The whole mailbox; new items go to the default folder or calendar.
    Whole,
    /// The default folder or calendar.
    Default,
    /// An id or a well-known name.
    Named(String),
}

/// What a path names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Route {
    /// `/$batch`.
    Batch,
    /// `/users`.
    Users,
    /// `/users/$count`.
    UsersCount,
    /// One user.
    User(Whose),
    /// A collection in a mailbox.
    Items(Whose, Entity, Parent),
    /// The number of rows of such a collection.
    ItemsCount(Whose, Entity, Parent),
    /// One item; the default calendar has no id.
    Item(Whose, Entity, Option<String>),
    /// Something that is done with an item.
    Action(Whose, Entity, String, String),
    /// Something that is done with a user: sending mail.
    SendMail(Whose),
    /// The occurrences in a span of time.
    CalendarView(Whose, Parent),
    /// What hangs on a message or event.
    Attachments(Whose, Entity, String, Asked),
    /// A message as MIME text.
    Mime(Whose, String),
    /// A resource that is kept as JSON.
    Resource(ResourcePath),
    /// A user's licences: given and taken, or listed.
    Licenses(Whose, bool),
    /// Something in a drive.
    Drive(DrivePath),
    /// A user's manager; whether the path ends with `$ref`.
    Manager(Whose, bool),
    /// What changed since a token.
    Delta(Whose, Entity, Parent),
    /// What changed in the directory's users since a token.
    UsersDelta,
    /// The occurrences of a series in a span of time.
    Instances(Whose, String),
}

/// Reads a path (without the query).
pub(crate) fn parse(path: &str) -> Result<Route, GraphError> {
    let segments = segments(path);
    let words: Vec<&str> = segments.iter().map(String::as_str).collect();
    let lower: Vec<String> = words.iter().map(|word| word.to_ascii_lowercase()).collect();
    let lower: Vec<&str> = lower.iter().map(String::as_str).collect();
    match &lower[..] {
        ["v1.0", rest @ ..] => below_version(rest, &words[1..]),
        ["beta", ..] => Err(GraphError::bad_request("The beta endpoint is not served by this sandbox.")),
        [] => Err(GraphError::bad_request("Empty Path")),
        _ => Err(GraphError::bad_request("Invalid version")),
    }
}

fn below_version(lower: &[&str], words: &[&str]) -> Result<Route, GraphError> {
    match lower {
        ["$batch"] => Ok(Route::Batch),
        ["drives", _, ..] => drive(DriveOf::Id(words[1].to_owned()), &words[2..]),
        ["drive", ..] => drive(DriveOf::User(Whose::Me), &words[1..]),
        ["groups", _, "drive", ..] => drive(DriveOf::Group(words[1].to_owned()), &words[3..]),
        ["groups", _, "events" | "calendar" | "calendarview", ..] => {
            below_user(Whose::Group(words[1].to_owned()), &lower[2..], &words[2..])
        }
        ["users"] => Ok(Route::Users),
        ["users", "delta" | "delta()"] => Ok(Route::UsersDelta),
        ["users", "$count"] => Ok(Route::UsersCount),
        ["users", _, ..] => below_user(Whose::User(words[1].to_owned()), &lower[2..], &words[2..]),
        ["me", ..] => below_user(Whose::Me, &lower[1..], &words[1..]),
        [] => Err(GraphError::bad_request("Empty Path")),
        _ => resource_path::find(None, lower, words)
            .map(Route::Resource)
            .ok_or_else(|| unknown_segment(words[0])),
    }
}

fn below_user(whose: Whose, lower: &[&str], words: &[&str]) -> Result<Route, GraphError> {
    let named = |index: usize| Parent::Named(words[index].to_owned());
    match lower {
        [] => Ok(Route::User(whose)),
        ["drive", ..] => drive(DriveOf::User(whose), &words[1..]),
        ["drives"] => {
            let of = DriveOf::User(whose);
            Ok(Route::Drive(DrivePath { of, anchor: None, names: Vec::new(), verb: Verb::Drives }))
        }
        ["assignlicense" | "microsoft.graph.assignlicense"] => Ok(Route::Licenses(whose, true)),
        ["manager"] => Ok(Route::Manager(whose, false)),
        ["manager", "$ref"] => Ok(Route::Manager(whose, true)),
        ["licensedetails"] => Ok(Route::Licenses(whose, false)),
        ["calendargroups", _, "calendars", ..] => {
            items(whose, Entity::Calendar, named(1), &lower[3..], &words[3..])
        }
        ["planner" | "todo" | "calendargroups", ..] => resource_path::find(Some(whose), lower, words)
            .map(Route::Resource)
            .ok_or_else(|| unknown_segment(words[0])),
        ["sendmail" | "microsoft.graph.sendmail"] => Ok(Route::SendMail(whose)),
        ["calendarview"] => Ok(Route::CalendarView(whose, Parent::Whole)),
        ["calendar"] => Ok(Route::Item(whose, Entity::Calendar, None)),
        ["calendar", "calendarview"] => Ok(Route::CalendarView(whose, Parent::Default)),
        ["calendar", "events", ..] => items(whose, Entity::Event, Parent::Default, &lower[2..], &words[2..]),
        ["calendars", _, "calendarview"] => Ok(Route::CalendarView(whose, named(1))),
        ["calendars", _, "events", ..] => items(whose, Entity::Event, named(1), &lower[3..], &words[3..]),
        ["mailfolders", _, "messages", ..] => {
            items(whose, Entity::Message, named(1), &lower[3..], &words[3..])
        }
        ["mailfolders", _, "childfolders", ..] => {
            items(whose, Entity::MailFolder, named(1), &lower[3..], &words[3..])
        }
        ["contactfolders", _, "contacts", ..] => {
            items(whose, Entity::Contact, named(1), &lower[3..], &words[3..])
        }
        ["contactfolders", _, "childfolders", ..] => {
            items(whose, Entity::ContactFolder, named(1), &lower[3..], &words[3..])
        }
        [collection, ..] => {
            let entity = match *collection {
                "messages" => Entity::Message,
                "events" => Entity::Event,
                "contacts" => Entity::Contact,
                "calendars" => Entity::Calendar,
                "mailfolders" => Entity::MailFolder,
                "contactfolders" => Entity::ContactFolder,
                _ => return Err(unknown_segment(words[0])),
            };
            // The documents call this list "the default contacts folder", but events and messages "the mailbox".
            let parent = if entity == Entity::Contact { Parent::Default } else { Parent::Whole };
            items(whose, entity, parent, &lower[1..], &words[1..])
        }
    }
}

fn items(
    whose: Whose,
    entity: Entity,
    parent: Parent,
    lower: &[&str],
    words: &[&str],
) -> Result<Route, GraphError> {
    match lower {
        [] => Ok(Route::Items(whose, entity, parent)),
        ["$count"] => Ok(Route::ItemsCount(whose, entity, parent)),
        ["delta" | "delta()"] => Ok(Route::Delta(whose, entity, parent)),
        [_, "instances"] if entity == Entity::Event => Ok(Route::Instances(whose, words[0].to_owned())),
        [_] => Ok(Route::Item(whose, entity, Some(words[0].to_owned()))),
        [_, "$value"] if entity == Entity::Message => Ok(Route::Mime(whose, words[0].to_owned())),
        [_, "attachments", rest @ ..] if matches!(entity, Entity::Message | Entity::Event) => {
            let asked = match rest {
                [] => Asked::All,
                ["$count"] => Asked::Count,
                ["createuploadsession" | "microsoft.graph.createuploadsession"] => Asked::Session,
                [_] => Asked::One(words[2].to_owned()),
                [_, "$value"] => Asked::Raw(words[2].to_owned()),
                _ => return Err(unknown_segment(words[3])),
            };
            Ok(Route::Attachments(whose, entity, words[0].to_owned(), asked))
        }
        [_, action] => {
            let action = action.strip_prefix("microsoft.graph.").unwrap_or(action).to_owned();
            Ok(Route::Action(whose, entity, words[0].to_owned(), action))
        }
        _ => Err(unknown_segment(words[2])),
    }
}

fn drive(of: DriveOf, words: &[&str]) -> Result<Route, GraphError> {
    let words: Vec<String> = words.iter().map(|word| (*word).to_owned()).collect();
    drive_path::parse(of, &words).map(Route::Drive)
}

/// Splits a path; `users('x')` is the same as `users/x`, except in a file's path, which stands between colons.
fn segments(path: &str) -> Vec<String> {
    let mut segments: Vec<String> = Vec::new();
    let mut in_file_path = false;
    for raw in path.split('/').filter(|segment| !segment.is_empty()) {
        let segment = decode(raw);
        if in_file_path || (segment.ends_with(':') && segments.len() > 1) {
            in_file_path = in_file_path != segment.ends_with(':');
            segments.push(segment);
            continue;
        }
        match segment.strip_suffix("')").and_then(|rest| rest.split_once("('")) {
            Some((name, key)) if !name.is_empty() => {
                segments.push(name.to_owned());
                segments.push(key.replace("''", "'"));
            }
            _ => segments.push(segment),
        }
    }
    segments
}

fn unknown_segment(segment: &str) -> GraphError {
    GraphError::bad_request(format!("Resource not found for the segment '{segment}'."))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_name_what_the_documentation_says() {
        let user = || Whose::User("adele@contoso.com".into());
        let cases = [
            ("/v1.0/me", Route::User(Whose::Me)),
            ("/v1.0/users/adele%40contoso.com", Route::User(user())),
            (
                "/v1.0/users('adele@contoso.com')/messages",
                Route::Items(user(), Entity::Message, Parent::Whole),
            ),
            ("/v1.0/me/messages/$count", Route::ItemsCount(Whose::Me, Entity::Message, Parent::Whole)),
            (
                "/v1.0/me/mailFolders/Inbox/messages",
                Route::Items(Whose::Me, Entity::Message, Parent::Named("Inbox".into())),
            ),
            (
                "/v1.0/me/messages/AAMk=/move",
                Route::Action(Whose::Me, Entity::Message, "AAMk=".into(), "move".into()),
            ),
            ("/v1.0/me/calendar", Route::Item(Whose::Me, Entity::Calendar, None)),
            ("/v1.0/$batch", Route::Batch),
        ];
        for (path, expected) in cases {
            assert_eq!(parse(path), Ok(expected), "{path}");
        }
        for path in ["/v1.0/unicorns", "/v1.0/me/unicorns", "/beta/me", "/v2.0/me", "/"] {
            assert_eq!(parse(path).unwrap_err().status, 400, "{path}");
        }
    }
}
