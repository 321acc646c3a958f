//! Any Graph path as an object: checked once, percent-encoded once, and then unable to leave the Graph root. Never
//! looks up a type.

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};

use super::CatalogError;
use super::object::Home;

/// What may stand unencoded in a path segment: RFC 3986 section 3.3 `pchar`.
const SEGMENT: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'.')
    .remove(b'_')
    .remove(b'~')
    .remove(b'!')
    .remove(b'$')
    .remove(b'&')
    .remove(b'\'')
    .remove(b'(')
    .remove(b')')
    .remove(b'*')
    .remove(b'+')
    .remove(b',')
    .remove(b';')
    .remove(b'=')
    .remove(b':')
    .remove(b'@');

/// A value as exactly one path segment: `/`, `#`, `?`, `%` and the like are encoded, and `.` and `..`, which a URL
/// parser would take for steps even when encoded, get an encoding that it does not.
pub fn encode_segment(value: &str) -> String {
    match value {
        // A trailing space is cut nowhere and matches no id, so the service answers "not found" rather than the parent.
        "" | "." | ".." => format!("{value}%20"),
        _ => utf8_percent_encode(value, SEGMENT).to_string(),
    }
}

/// The longest path accepted, in bytes; longer ones are refused by the service's front doors.
const LONGEST_PATH: usize = 4096;

/// First segments whose collections are the directory's, where advanced queries need the `ConsistencyLevel` header.
const DIRECTORY_ROOTS: [&str; 12] = [
    "users",
    "groups",
    "applications",
    "serviceprincipals",
    "devices",
    "contacts",
    "administrativeunits",
    "directory",
    "directoryobjects",
    "directoryroles",
    "oauth2permissiongrants",
    "organization",
];

/// Relationships between directory objects.
const DIRECTORY_RELATIONS: [&str; 20] = [
    "approleassignedto",
    "approleassignments",
    "createdobjects",
    "deleteditems",
    "directreports",
    "manager",
    "memberof",
    "members",
    "memberswithlicenseerrors",
    "oauth2permissiongrants",
    "owneddevices",
    "ownedobjects",
    "owners",
    "registereddevices",
    "registeredowners",
    "registeredusers",
    "sponsors",
    "transitivememberof",
    "transitivemembers",
    "transitivereports",
];

/// Segments behind a user (or `me`) that lead into the mailbox.
const MAILBOX_SEGMENTS: [&str; 14] = [
    "messages",
    "mailfolders",
    "events",
    "calendar",
    "calendars",
    "calendargroups",
    "calendarview",
    "contacts",
    "contactfolders",
    "outlook",
    "mailboxsettings",
    "inferenceclassification",
    "people",
    "sendmail",
];

/// Segments behind a group that lead into its mailbox.
const GROUP_SEGMENTS: [&str; 5] = ["events", "calendar", "calendarview", "conversations", "threads"];

/// Collections whose largest page is known, so that `$top` can be sent.
const PAGES: [(&str, u32); 8] = [
    ("messages", 1000),
    ("events", 1000),
    ("contacts", 1000),
    ("mailfolders", 1000),
    ("users", 999),
    ("groups", 999),
    ("members", 999),
    ("memberof", 999),
];

/// A checked path below the Graph root.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GraphPath {
    encoded: String,
    segments: Vec<String>,
}

impl GraphPath {
    /// Checks and encodes a path as a person writes it. `%XX` that is already there is kept.
    ///
    /// # Errors
    /// A sentence: what is wrong and how to write it.
    pub fn parse(path: &str) -> Result<Self, CatalogError> {
        let fault = |what: String| CatalogError::new(format!("The Graph path '{}' {what}", shown(path)));
        let body = path.strip_prefix('/').ok_or_else(|| fault("must begin with '/'.".to_owned()))?;
        let body = body.strip_suffix('/').unwrap_or(body);
        if body.is_empty() {
            return Err(fault("names nothing. Write a path such as /me/mailFolders.".to_owned()));
        }
        if path.len() > LONGEST_PATH {
            return Err(fault(format!("has more than {LONGEST_PATH} bytes. Shorten it.")));
        }
        if let Some(brace) = path.chars().find(|character| matches!(character, '{' | '}')) {
            return Err(fault(format!("contains {brace:?}. Put the id itself in the place of {{…}}.")));
        }
        if path.contains('?') {
            let remedy = "Use `fields`, `conditions`, `orderBy` and `limit` instead.";
            return Err(fault(format!("must not contain a query. {remedy}")));
        }
        if path.chars().any(char::is_control) {
            return Err(fault("contains a control character. Remove it.".to_owned()));
        }
        if path.contains("://") {
            return Err(fault(
                "must not name a scheme or host. Write the part behind the Graph root.".to_owned(),
            ));
        }
        let segments =
            body.split('/').map(|segment| decode(segment, &fault)).collect::<Result<Vec<_>, _>>()?;
        if matches!(segments[0].to_lowercase().as_str(), "v1.0" | "beta") {
            return Err(fault(format!(
                "must not begin with the version '{}'. The version belongs to the connection's GraphEndpoint; leave it out.",
                segments[0]
            )));
        }
        if let Some(special) = segments.iter().find(|segment| segment.starts_with('$') && *segment != "$ref")
        {
            return Err(fault(format!("contains '{special}', which does not answer with rows. Remove it.")));
        }
        let mut encoded: Vec<String> = segments.iter().map(|segment| encode_segment(segment)).collect();
        // RFC 3986 section 4.2: a colon in the first segment of a relative path would be read as the end of a scheme.
        encoded[0] = encoded[0].replace(':', "%3A");
        let encoded = encoded.join("/");
        Ok(Self { encoded, segments })
    }

    /// Reads a path as it stands in a page or a log: with or without scheme, host and version, with a query, with `{id}` in
    /// the place of ids, with `$count` or `$value` at its end. For looking up only: nothing is ever sent there.
    ///
    /// # Errors
    /// A sentence, when nothing is left of it.
    pub fn reference(text: &str) -> Result<Self, CatalogError> {
        let text = text.trim();
        let behind_host = match text.split_once("://") {
            Some((scheme, rest)) if scheme.chars().all(char::is_alphanumeric) => {
                rest.find('/').map_or("", |slash| &rest[slash..])
            }
            _ => text,
        };
        let path = behind_host.split(['?', '#']).next().unwrap_or_default();
        let decoded = |segment: &str| {
            let text = percent_decode_str(segment).decode_utf8_lossy().into_owned();
            text.chars()
                .filter(|character| !matches!(character, '{' | '}') && !character.is_control())
                .collect()
        };
        let mut segments: Vec<String> =
            path.split('/').map(decoded).filter(|segment: &String| !segment.trim().is_empty()).collect();
        if segments.first().is_some_and(|first| matches!(bare(first).as_str(), "v1.0" | "beta")) {
            segments.remove(0);
        }
        if segments.is_empty() || text.len() > LONGEST_PATH {
            return Err(CatalogError::new(format!("'{}' is no Graph path.", shown(text))));
        }
        let encoded = segments.iter().map(|segment| encode_segment(segment)).collect::<Vec<_>>().join("/");
        Ok(Self { encoded, segments })
    }

    /// The path, percent-encoded, without a leading slash.
    pub fn encoded(&self) -> &str {
        &self.encoded
    }

    /// The segments, decoded.
    pub(super) fn segments(&self) -> &[String] {
        &self.segments
    }

    /// Whether it begins with `/me`, which only a signed-in user has.
    pub fn needs_user(&self) -> bool {
        self.segments[0].eq_ignore_ascii_case("me")
    }

    /// The name under which requests to the mailbox share their limit, when it leads into one.
    pub fn mailbox(&self) -> Option<String> {
        let inside = |place: usize| {
            self.segments.get(place).is_some_and(|segment| MAILBOX_SEGMENTS.contains(&bare(segment).as_str()))
        };
        match bare(&self.segments[0]).as_str() {
            "me" if inside(1) => Some("me".to_owned()),
            "users" if inside(2) => Some(self.segments[1].to_lowercase()),
            "groups"
                if self
                    .segments
                    .get(2)
                    .is_some_and(|segment| GROUP_SEGMENTS.contains(&bare(segment).as_str())) =>
            {
                Some(format!("groups/{}", self.segments[1].to_lowercase()))
            }
            _ => None,
        }
    }

    /// Whose its rows are: a collection or an entity of the directory, or one of their relationships, is the directory's.
    pub fn home(&self) -> Home {
        let root = bare(&self.segments[0]);
        let entity_length = if root == "me" { 1 } else { 2 };
        let rooted = root == "me" || DIRECTORY_ROOTS.contains(&root.as_str());
        let related = self.segments.get(entity_length);
        match related {
            None if rooted => Home::Directory,
            Some(segment) if rooted && DIRECTORY_RELATIONS.contains(&bare(segment).as_str()) => {
                Home::Directory
            }
            _ if self.mailbox().is_some() => Home::Mailbox,
            _ => Home::Other,
        }
    }

    /// The most rows a page can hold, when it is known that the last segment is a collection that takes `$top`.
    pub fn largest_page(&self) -> Option<u32> {
        let last = bare(self.segments.last()?);
        PAGES.iter().find(|(name, _)| *name == last).map(|(_, size)| *size)
    }

    /// Whether its last segment is this id, which is compared exactly.
    pub fn ends_with(&self, id: &str) -> bool {
        self.segments.last().is_some_and(|last| last == id)
    }

    /// The path with one more segment behind it.
    pub fn below(&self, segment: &str) -> String {
        format!("{}/{}", self.encoded, encode_segment(segment))
    }
}

fn bare(segment: &str) -> String {
    segment.to_lowercase()
}

/// Decodes and checks one segment; the caller encodes it again, so that every spelling of a segment becomes one.
fn decode(segment: &str, fault: &impl Fn(String) -> CatalogError) -> Result<String, CatalogError> {
    if segment.is_empty() {
        return Err(fault("contains '//'. Write one slash between two segments.".to_owned()));
    }
    let text = percent_decode_str(segment).decode_utf8().map_err(|_| {
        fault(format!("contains '{segment}', which is not UTF-8 when decoded. Correct the escape."))
    })?;
    // A URL parser takes an encoded `..` for a step up as well, so it is looked for in the decoded text.
    if matches!(&*text, "." | "..") {
        return Err(fault(format!("contains the step '{segment}'. Write the path without steps.")));
    }
    if text.chars().any(|character| character.is_control() || character == '\\') {
        return Err(fault(format!(
            "contains '{}', which no Graph path has. Remove it.",
            segment.escape_debug()
        )));
    }
    Ok(text.into_owned())
}

fn shown(path: &str) -> String {
    crate::error::clean_foreign_text(path)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;

    #[test]
    fn paths_are_encoded_once() {
        for (written, encoded) in [
            ("/me/mailFolders", "me/mailFolders"),
            ("/me/mailFolders/", "me/mailFolders"),
            ("/users/a b@c.com/messages", "users/a%20b@c.com/messages"),
            ("/users/a%20b@c.com", "users/a%20b@c.com"),
            ("/users/x#EXT#@t.com", "users/x%23EXT%23@t.com"),
            ("/me/messages/AA%2FBB==", "me/messages/AA%2FBB=="),
            ("/reports/getX(period='D7')", "reports/getX(period='D7')"),
            ("/groups/g/members/$ref", "groups/g/members/$ref"),
            ("/sites/contoso.com:/sites/a", "sites/contoso.com:/sites/a"),
        ] {
            assert_eq!(GraphPath::parse(written).unwrap().encoded(), encoded, "{written}");
        }
    }

    #[test]
    fn what_could_leave_the_root_is_refused_with_a_remedy() {
        for (written, expected) in [
            ("me", "must begin with '/'"),
            ("/", "names nothing"),
            ("/users/{id}/messages", "Put the id itself"),
            ("/me/messages?$top=1", "Use `fields`"),
            ("/me//messages", "one slash"),
            ("/me/../users", "without steps"),
            ("/me/%2e%2E/users", "without steps"),
            ("/me/a\\b", "Remove it"),
            ("/me/a%5Cb", "Remove it"),
            ("/me/a%00", "Remove it"),
            ("/me/%ff", "not UTF-8"),
            ("/https://evil.example/x", "scheme or host"),
            ("//evil.example/x", "one slash"),
            ("/v1.0/me", "GraphEndpoint"),
            ("/beta/me", "GraphEndpoint"),
            ("/users/$count", "does not answer with rows"),
            ("/$batch", "does not answer with rows"),
            ("/me/a\nb", "control character"),
        ] {
            let message = GraphPath::parse(written).unwrap_err().message;
            assert!(message.contains(expected), "{written:?}: {message}");
        }
        assert!(GraphPath::parse(&format!("/{}", "a".repeat(5000))).is_err());
    }

    #[test]
    fn mailboxes_and_the_directory_are_told_apart() {
        for (path, mailbox, home) in [
            ("/me/messages", Some("me"), Home::Mailbox),
            ("/me", None, Home::Directory),
            ("/users/A@b.c/mailFolders/x", Some("a@b.c"), Home::Mailbox),
            ("/users/a@b.c/memberOf", None, Home::Directory),
            ("/users", None, Home::Directory),
            ("/groups/g/events", Some("groups/g"), Home::Mailbox),
            ("/groups/g/members", None, Home::Directory),
            ("/groups/g/members/microsoft.graph.user", None, Home::Directory),
            ("/me/todo/lists", None, Home::Other),
            ("/sites/s/lists", None, Home::Other),
        ] {
            let path = GraphPath::parse(path).unwrap();
            assert_eq!((path.mailbox().as_deref(), path.home()), (mailbox, home), "{path:?}");
        }
    }

    proptest::proptest! {
        #[test]
        fn whatever_is_accepted_stays_below_the_root(path in "/[a-z%./\\\\?#{}:@2eEF ]{0,40}") {
            if let Ok(path) = GraphPath::parse(&path) {
                let root = url::Url::parse("https://graph.test/v1.0/").unwrap();
                let joined = root.join(path.encoded()).unwrap();
                proptest::prop_assert_eq!(joined.origin(), root.origin());
                proptest::prop_assert!(joined.path().starts_with("/v1.0/"), "{}", joined);
                proptest::prop_assert_eq!(joined.path().trim_start_matches("/v1.0/"), path.encoded());
                proptest::prop_assert!(joined.query().is_none() && joined.fragment().is_none());
            }
        }

        #[test]
        fn a_segment_stays_one_segment(id in ".{0,20}") {
            let root = url::Url::parse("https://graph.test/v1.0/").unwrap();
            let joined = root.join(&format!("me/messages/{}", encode_segment(&id))).unwrap();
            proptest::prop_assert_eq!(joined.path_segments().unwrap().count(), 4);
            proptest::prop_assert!(joined.path().starts_with("/v1.0/me/messages/"));
        }
    }
}
