//! How two texts of a column are compared: by the service in `$filter`, and by the agent wherever it compares, merges,
//! de-duplicates or sorts. One rule a column, so that the two never disagree. Never looks at a request.
//!
//! Microsoft Graph compares text without regard to case, in mailboxes and in the directory alike. Identifiers are the
//! exception: those of Outlook, Planner and SharePoint are base64, in which case carries information (Graph, "Get
//! Outlook resource IDs": ids "are case-sensitive"), and so are change keys and entity tags (RFC 9110, 8.8.3). The ids
//! of most directory objects are UUIDs, whose digits have no case (RFC 9562, 4); those of grants and role assignments are
//! base64 too. Whether a `$filter` on an identifier that is no UUID folds its case is not documented, so what the service
//! answers for one is compared again by the agent.

use std::borrow::Cow;

use serde::Serialize;
use utoipa::ToSchema;

use super::column::ColumnKind;
use super::object::Home;

/// How two texts of a column are compared.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub enum TextComparison {
    /// Without regard to case.
    #[default]
    CaseInsensitive,
    /// Character by character. Two UUIDs are compared as UUIDs, whose digits have no case.
    Exact,
}

/// Properties besides identifiers in which case carries information: versions, positions and digests in base64.
const ORDINAL: [&str; 8] = [
    "changeKey",
    "eTag",
    "cTag",
    "@odata.etag",
    "orderHint",
    "quickXorHash",
    "iCalUId",
    "onPremisesImmutableId",
];

impl TextComparison {
    /// The rule of the property at `path` in rows of `home`.
    pub(super) fn of(path: &[String], kind: ColumnKind, home: Home) -> Self {
        let name = path.last().map_or("", String::as_str);
        let is_id = name.eq_ignore_ascii_case("id")
            || ["Id", "ID", "Ids", "IDs"].iter().any(|ending| name.ends_with(ending));
        match () {
            () if kind == ColumnKind::Binary || ORDINAL.contains(&name) => Self::Exact,
            // Other names that end so are the directory's own words, such as `employeeId`, or UUIDs.
            () if is_id && (home != Home::Directory || name == "id") => Self::Exact,
            () => Self::CaseInsensitive,
        }
    }

    /// The text by which `text` is compared: two texts are the same value exactly when their keys are the same text.
    pub fn key(self, text: &str) -> Cow<'_, str> {
        match self {
            Self::CaseInsensitive => Cow::Owned(text.to_lowercase()),
            Self::Exact if is_uuid(text) => Cow::Owned(text.to_ascii_lowercase()),
            Self::Exact => Cow::Borrowed(text),
        }
    }
}

/// Whether `text` is written as a UUID: 32 digits in five groups (RFC 9562, 4).
pub(crate) fn is_uuid(text: &str) -> bool {
    text.len() == 36
        && text.bytes().enumerate().all(|(place, byte)| match place {
            8 | 13 | 18 | 23 => byte == b'-',
            _ => byte.is_ascii_hexdigit(),
        })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn rule(name: &str, home: Home) -> TextComparison {
        TextComparison::of(&[name.to_owned()], ColumnKind::String, home)
    }

    #[test]
    fn identifiers_compare_exactly_and_the_rest_without_regard_to_case() {
        use TextComparison::{CaseInsensitive, Exact};
        for (name, home, expected) in [
            ("id", Home::Mailbox, Exact),
            ("parentFolderId", Home::Mailbox, Exact),
            ("changeKey", Home::Mailbox, Exact),
            ("iCalUId", Home::Mailbox, Exact),
            ("subject", Home::Mailbox, CaseInsensitive),
            ("valid", Home::Mailbox, CaseInsensitive),
            ("planId", Home::Other, Exact),
            ("staffMemberIds", Home::Other, Exact),
            ("@odata.etag", Home::Other, Exact),
            ("id", Home::Directory, Exact),
            ("employeeId", Home::Directory, CaseInsensitive),
            ("userPrincipalName", Home::Directory, CaseInsensitive),
            ("onPremisesImmutableId", Home::Directory, Exact),
        ] {
            assert_eq!(rule(name, home), expected, "{name} {home:?}");
        }
        assert_eq!(
            TextComparison::of(&["content".to_owned()], ColumnKind::Binary, Home::Other),
            Exact,
            "base64"
        );
    }

    proptest! {
        #[test]
        fn keys_say_which_texts_are_the_same(one in "[aAbB1-]{0,40}", other in "[aAbB1-]{0,40}") {
            let (exact, folded) = (TextComparison::Exact, TextComparison::CaseInsensitive);
            prop_assert_eq!(folded.key(&one) == folded.key(&other), one.eq_ignore_ascii_case(&other));
            let same = one == other || (is_uuid(&one) && one.eq_ignore_ascii_case(&other));
            prop_assert_eq!(exact.key(&one) == exact.key(&other), same);
            // What is the same exactly is the same without regard to case.
            prop_assert!(exact.key(&one) != exact.key(&other) || folded.key(&one) == folded.key(&other));
        }
    }

    #[test]
    fn two_spellings_of_a_uuid_are_one_value() {
        let upper = "9D2B4E0C-5F3A-4C8E-8A51-0E6A3F1F7C11";
        assert_eq!(TextComparison::Exact.key(upper), upper.to_lowercase());
        assert_eq!(TextComparison::Exact.key("AAMkCaseA"), "AAMkCaseA");
    }
}
