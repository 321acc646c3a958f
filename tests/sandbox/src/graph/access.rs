//! Who is asking, and whether they may.
//! Never changes anything.

use super::drives::path::DriveOf;
use super::errors::GraphError;
use super::route::{Route, Whose};
use crate::answer::Call;
use crate::data::model::Entity;
use crate::data::tenant::UserFacts;
use crate::state::State;

/// Who is asking.
#[derive(Debug, Clone)]
pub(crate) struct Principal {
    /// The signed-in user; `None` for an application on its own.
    pub(crate) user: Option<UserFacts>,
    /// Delegated scopes or application roles.
    pub(crate) permissions: Vec<String>,
}

/// Reads the token of a request.
pub(crate) fn principal(state: &State, call: &Call) -> Result<Principal, GraphError> {
    let header = call.header("authorization").unwrap_or_default();
    let token = match header.split_once(' ') {
        Some((scheme, token)) if scheme.eq_ignore_ascii_case("bearer") => token.trim(),
        _ => "",
    };
    if token.is_empty() {
        return Err(GraphError::unauthenticated("Access token is empty."));
    }
    if token.split('.').count() != 3 {
        return Err(GraphError::unauthenticated("CompactToken parsing failed with error code: 80049217"));
    }
    let known = state.tokens.accepted(token).map_err(GraphError::unauthenticated)?;
    Ok(Principal { user: known.user.clone(), permissions: known.permissions.clone() })
}

/// Whether a request to this resource is one that its mailbox limits.
pub(crate) fn uses_mailbox(route: &Route) -> bool {
    !matches!(
        route,
        Route::Users
            | Route::UsersDelta
            | Route::UsersCount
            | Route::User(_)
            | Route::Batch
            | Route::Drive(_)
            | Route::Resource(_)
            | Route::Manager(..)
            | Route::Licenses(..)
    )
}

/// Finds the user that a route names and checks that the caller may do this there.
pub(crate) fn check(
    state: &State,
    principal: &Principal,
    route: &Route,
    method: &str,
) -> Result<Option<UserFacts>, GraphError> {
    let writes = method != "GET";
    let whose = match route {
        Route::Batch => return Ok(None),
        Route::Users | Route::UsersDelta | Route::UsersCount => {
            check_directory(principal, writes, None)?;
            return Ok(None);
        }
        Route::Drive(path) => {
            check_drive(principal, writes)?;
            match &path.of {
                DriveOf::User(whose) => whose,
                DriveOf::Group(_) | DriveOf::Id(_) => return Ok(None),
            }
        }
        Route::Resource(path) => {
            super::resources::check(principal, path, method)?;
            match &path.whose {
                Some(whose) => whose,
                None => return Ok(None),
            }
        }
        Route::User(whose)
        | Route::Manager(whose, _)
        | Route::Licenses(whose, _)
        | Route::Attachments(whose, ..)
        | Route::Mime(whose, _)
        | Route::Items(whose, ..)
        | Route::ItemsCount(whose, ..)
        | Route::Item(whose, ..)
        | Route::Action(whose, ..)
        | Route::SendMail(whose)
        | Route::CalendarView(whose, _)
        | Route::Delta(whose, ..)
        | Route::Instances(whose, _) => whose,
    };
    let user = match (whose, &principal.user) {
        (Whose::Me, Some(user)) => user.clone(),
        (Whose::Me, None) => {
            let text = "/me request is only valid with delegated authentication flow.";
            return Err(GraphError::bad_request(text));
        }
        (Whose::Group(id), Some(_)) => {
            state.group_mailbox(id).ok_or_else(|| GraphError::resource_not_found(id))?
        }
        (Whose::Group(_), None) => return Err(GraphError::access_denied()),
        (Whose::User(name), _) => match state.tenant.user(name) {
            Some(user) => user,
            None if uses_mailbox(route) => {
                let text = format!("The requested user '{name}' is invalid.");
                return Err(GraphError::new(404, "ErrorInvalidUser", text));
            }
            None => return Err(GraphError::resource_not_found(name)),
        },
    };
    if matches!(route, Route::Resource(_)) {
        return Ok(Some(user));
    }
    if matches!(route, Route::Drive(_)) {
        if principal.user.as_ref().is_some_and(|own| own.id != user.id) {
            return Err(GraphError::new(403, "accessDenied", "Access denied"));
        }
        return Ok(Some(user));
    }
    if !uses_mailbox(route) {
        check_directory(principal, writes, Some(&user))?;
        return Ok(Some(user));
    }
    if !permitted(principal, needed(route, writes)) {
        return Err(GraphError::access_denied());
    }
    let group = matches!(whose, Whose::Group(_));
    if !group && principal.user.as_ref().is_some_and(|own| own.id != user.id) {
        return Err(GraphError::access_denied());
    }
    if !user.has_mailbox {
        let text = "The mailbox is either inactive, soft-deleted, or is hosted on-premise.";
        return Err(GraphError::new(404, "MailboxNotEnabledForRESTAPI", text));
    }
    Ok(Some(user))
}

/// Drives answer with codes of their own.
fn check_drive(principal: &Principal, writes: bool) -> Result<(), GraphError> {
    let needed: &[&str] = if writes {
        &["Files.ReadWrite", "Files.ReadWrite.All", "Sites.ReadWrite.All"]
    } else {
        &[
            "Files.Read",
            "Files.Read.All",
            "Files.ReadWrite",
            "Files.ReadWrite.All",
            "Sites.Read.All",
            "Sites.ReadWrite.All",
        ]
    };
    if permitted(principal, needed) {
        Ok(())
    } else {
        Err(GraphError::new(403, "accessDenied", "Access denied"))
    }
}

fn check_directory(principal: &Principal, writes: bool, user: Option<&UserFacts>) -> Result<(), GraphError> {
    let own = matches!((&principal.user, user), (Some(own), Some(user)) if own.id == user.id);
    let needed: &[&str] = match (writes, own) {
        (false, true) => {
            &["User.Read", "User.ReadWrite", "User.Read.All", "User.ReadWrite.All", "User.ReadBasic.All"]
        }
        (false, false) => &[
            "User.Read.All",
            "User.ReadWrite.All",
            "User.ReadBasic.All",
            "Directory.Read.All",
            "Directory.ReadWrite.All",
        ],
        (true, true) => &["User.ReadWrite", "User.ReadWrite.All", "Directory.ReadWrite.All"],
        (true, false) => &["User.ReadWrite.All", "Directory.ReadWrite.All"],
    };
    // A scope alone does not make a plain user an administrator: what counts is what both may do.
    let plain_user = principal.user.as_ref().is_some_and(|own| !own.administrator);
    if !permitted(principal, needed) || (writes && !own && plain_user) {
        return Err(GraphError::insufficient_privileges());
    }
    Ok(())
}

fn permitted(principal: &Principal, needed: &[&str]) -> bool {
    principal.permissions.iter().any(|held| needed.contains(&held.as_str()))
}

fn needed(route: &Route, writes: bool) -> &'static [&'static str] {
    let entity = match route {
        Route::SendMail(_) => return &["Mail.Send"],
        Route::Action(_, Entity::Message, _, action)
            if ["send", "reply", "replyall", "forward"].contains(&action.as_str()) =>
        {
            return &["Mail.Send"];
        }
        Route::CalendarView(..) => Entity::Event,
        Route::Mime(..) => Entity::Message,
        Route::Items(_, entity, _)
        | Route::Attachments(_, entity, ..)
        | Route::ItemsCount(_, entity, _)
        | Route::Item(_, entity, _)
        | Route::Action(_, entity, ..)
        | Route::Delta(_, entity, _) => *entity,
        Route::Instances(..) => Entity::Event,
        Route::Batch
        | Route::Users
        | Route::UsersDelta
        | Route::UsersCount
        | Route::User(_)
        | Route::Drive(_)
        | Route::Resource(_)
        | Route::Manager(..)
        | Route::Licenses(..) => {
            return &[];
        }
    };
    match (entity, writes) {
        (Entity::Message | Entity::MailFolder, false) => &["Mail.Read", "Mail.ReadWrite", "Mail.ReadBasic"],
        (Entity::Message | Entity::MailFolder, true) => &["Mail.ReadWrite"],
        (Entity::Event | Entity::Calendar, false) => {
            &["Calendars.Read", "Calendars.ReadWrite", "Calendars.ReadBasic"]
        }
        (Entity::Event | Entity::Calendar, true) => &["Calendars.ReadWrite"],
        (Entity::Contact | Entity::ContactFolder, false) => &["Contacts.Read", "Contacts.ReadWrite"],
        (Entity::Contact | Entity::ContactFolder, true) => &["Contacts.ReadWrite"],
        (Entity::User, _) => &["User.ReadWrite.All"],
    }
}
