//! Routes as data: where an object's rows, new records and single records are, as path templates whose placeholders are
//! columns. Picks and fills them; never sends and never reads a condition.
//!
//! `{owner}` stands for `me` or `users/{UserId}`; any other placeholder is a column (`{ParentFolderId}`), and `{id}` the
//! record's own id. A template without placeholders is a place that everybody shares.

use super::CatalogError;
use super::path::encode_segment;

/// Whose mailbox or drive an activity acts on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Owner {
    /// The signed-in user.
    Me,
    /// A user by id or user principal name.
    User(String),
}

impl Owner {
    /// `me`, or `users/{id}` percent-encoded.
    pub fn path(&self) -> String {
        match self {
            Self::Me => "me".to_owned(),
            Self::User(id) => format!("users/{}", encode_segment(id)),
        }
    }

    /// The name under which requests to this mailbox share their limit.
    pub fn mailbox(&self) -> String {
        match self {
            Self::Me => "me".to_owned(),
            Self::User(id) => id.to_lowercase(),
        }
    }
}

/// What a path is wanted for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RouteUse {
    /// Reading many rows.
    List,
    /// Making a new record.
    Create,
    /// Reading, changing or removing one record by its id.
    Record,
}

/// One way to rows or records: a path template, with the columns whose values it holds. The template of a Graph path is
/// empty, because the path is where it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Route {
    /// What its path is for.
    pub wanted: RouteUse,
    pub(super) template: &'static str,
}

impl Route {
    /// The columns whose values the path holds, in order; without the owner and the record's id.
    pub fn columns(self) -> impl Iterator<Item = &'static str> {
        placeholders(self.template)
    }

    /// Whether the path holds the value of this column, named as it is declared.
    pub fn uses(self, column: &str) -> bool {
        self.columns().any(|known| known == column)
    }

    /// Whether the path begins with the user whose rows they are.
    pub fn has_owner(self) -> bool {
        has_owner(self.template)
    }
}

/// Where something is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Location {
    /// The path below the Graph root, percent-encoded.
    pub path: String,
    /// The name under which requests share a mailbox's limit, when it is in a mailbox.
    pub mailbox: Option<String>,
    /// The columns whose values the path holds. Whatever else was given has chosen nothing and is true of nothing.
    pub used: Vec<&'static str>,
    /// Whether the path begins with the owner. Otherwise the owner that was given has chosen nothing.
    pub owner: bool,
}

/// Why there is no location.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NotLocated {
    /// It is one user's, and nobody says whose.
    OwnerNeeded,
    /// A column is missing, or two exclude each other.
    Wrong {
        /// The column.
        field: String,
        /// The sentence.
        error: CatalogError,
    },
}

const OWNER: &str = "{owner}";

/// The columns that a template has placeholders for, in order.
pub(super) fn placeholders(template: &'static str) -> impl Iterator<Item = &'static str> {
    template
        .split('/')
        .filter_map(|segment| segment.strip_prefix('{')?.strip_suffix('}'))
        .filter(|name| !matches!(*name, "owner" | "id"))
}

/// Whether a template begins with its owner.
pub(super) fn has_owner(template: &str) -> bool {
    template.starts_with(OWNER)
}

/// The template for what was given: the one that uses the most of it and misses nothing. `given`: columns by their
/// declared names. `object`: its name, for the sentence.
///
/// # Errors
/// [`NotLocated::Wrong`], naming the column that is missing, with an example.
pub(super) fn pick(
    templates: &'static [&'static str],
    given: &[(&'static str, String)],
    object: &str,
) -> Result<&'static str, NotLocated> {
    let has = |column: &&'static str| given.iter().any(|(name, _)| name == column);
    let complete = templates.iter().filter(|template| placeholders(template).all(|column| has(&column)));
    if let Some(best) = complete.max_by_key(|template| (placeholders(template).count(), !has_owner(template)))
    {
        return Ok(best);
    }
    let nearest =
        templates.iter().min_by_key(|template| placeholders(template).filter(|column| !has(column)).count());
    let missing: Vec<&str> = nearest
        .into_iter()
        .flat_map(|template| placeholders(template))
        .filter(|column| !has(column))
        .collect();
    let field = missing.first().copied().unwrap_or("object");
    let message = format!(
        "{object} needs {}: Microsoft Graph keeps its rows below it. Add for example the condition \
         {{\"field\":\"{field}\",\"operator\":\"=\",\"value\":\"…\"}}, or the column {field} in each record.",
        missing.join(" and ")
    );
    Err(NotLocated::Wrong { field: field.to_owned(), error: CatalogError::new(message) })
}

/// Fills a template.
///
/// # Errors
/// [`NotLocated::OwnerNeeded`].
pub(super) fn fill(
    template: &'static str,
    given: &[(&'static str, String)],
    owner: Option<&Owner>,
    id: Option<&str>,
    in_mailbox: bool,
) -> Result<Location, NotLocated> {
    let value =
        |name: &str| given.iter().find(|(column, _)| *column == name).map(|(_, value)| value.as_str());
    let (mut segments, mut used, mut mailbox, mut before) = (Vec::new(), Vec::new(), None, "");
    for segment in template.split('/') {
        let Some(name) = segment.strip_prefix('{').and_then(|rest| rest.strip_suffix('}')) else {
            segments.push(segment.to_owned());
            before = segment;
            continue;
        };
        match name {
            "owner" => {
                let owner = owner.ok_or(NotLocated::OwnerNeeded)?;
                segments.push(owner.path());
                mailbox = Some(owner.mailbox());
            }
            "id" => segments.push(encode_segment(id.unwrap_or_default())),
            _ => {
                let value = value(name).unwrap_or_default();
                segments.push(encode_segment(value));
                mailbox.get_or_insert_with(|| format!("{before}/{}", value.to_lowercase()));
                used.push(name);
            }
        }
    }
    let used = placeholders(template).filter(|name| used.contains(name)).collect();
    Ok(Location {
        path: segments.join("/"),
        mailbox: mailbox.filter(|_| in_mailbox),
        used,
        owner: has_owner(template),
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;

    const ROUTES: &[&str] =
        &["{owner}/events", "{owner}/calendars/{CalendarId}/events", "groups/{GroupId}/events"];

    #[test]
    fn the_route_is_chosen_by_what_is_given() {
        let user = Owner::User("A#EXT#/b@c".to_owned());
        for (given, owner, path, mailbox) in [
            (vec![], Some(&Owner::Me), "me/events", Some("me")),
            (vec![], Some(&user), "users/A%23EXT%23%2Fb@c/events", Some("a#ext#/b@c")),
            (vec![("CalendarId", "x/y")], Some(&Owner::Me), "me/calendars/x%2Fy/events", Some("me")),
            (vec![("GroupId", "G")], None, "groups/G/events", Some("groups/g")),
        ] {
            let given: Vec<(&str, String)> =
                given.into_iter().map(|(name, value)| (name, value.to_owned())).collect();
            let template = pick(ROUTES, &given, "Events").unwrap();
            let location = fill(template, &given, owner, None, true).unwrap();
            assert_eq!((location.path.as_str(), location.mailbox.as_deref()), (path, mailbox));
        }
        assert_eq!(fill(ROUTES[0], &[], None, None, true), Err(NotLocated::OwnerNeeded));
    }

    #[test]
    fn what_is_missing_is_named_with_an_example() {
        let missing = pick(&["groups/{GroupId}/conversations"], &[], "Conversations").unwrap_err();
        let NotLocated::Wrong { field, error } = missing else { panic!("{missing:?}") };
        assert_eq!(field, "GroupId");
        assert!(
            error.message.contains("Conversations needs GroupId")
                && error.message.contains("\"operator\":\"=\"")
        );
    }
}
