//! The directory's objects as data, each in one place: users and groups. Holds no logic.

use super::super::column::FilterOps;
use super::super::definition::{Definition, InsertNeed, Names, NamesInPath, PLAIN};
use super::super::object::Home;

const USERS: NamesInPath =
    NamesInPath { names: Names::Principals, read: "Users with the condition id = this name" };
const ABSENT: &[&str] = &["Request_ResourceNotFound"];

pub(in crate::catalog) const DIRECTORY: [Definition; 2] = [
    Definition {
        name: "Users",
        description: "The users of the tenant.",
        graph_type: "user",
        home: Home::Directory,
        list: &["users"],
        create: &["users"],
        record: &["users/{id}"],
        names_in_path: &[("id", USERS)],
        update: true,
        delete: true,
        largest_page: Some(999),
        // The properties Graph returns when none are selected; several others are refused for lists of users or need
        // further permissions, so "all" would make the plainest query fail.
        default_columns: &[
            "id",
            "businessPhones",
            "displayName",
            "givenName",
            "jobTitle",
            "mail",
            "mobilePhone",
            "officeLocation",
            "preferredLanguage",
            "surname",
            "userPrincipalName",
        ],
        filters: &[
            (&["id"], FilterOps::EQ.and(FilterOps::IN)),
            // Passwords are never returned, and sign-in activity cannot be combined with another filter.
            (
                &[
                    "passwordProfile_password",
                    "passwordProfile_forceChangePasswordNextSignIn",
                    "passwordProfile_forceChangePasswordNextSignInWithMfa",
                    "signInActivity_lastNonInteractiveSignInDateTime",
                    "signInActivity_lastNonInteractiveSignInRequestId",
                    "signInActivity_lastSignInDateTime",
                    "signInActivity_lastSignInRequestId",
                    "signInActivity_lastSuccessfulSignInDateTime",
                    "signInActivity_lastSuccessfulSignInRequestId",
                ],
                FilterOps::NONE,
            ),
        ],
        read_only: &["deletedDateTime"],
        writable: &["mobilePhone", "businessPhones"],
        insert_needs: &[
            InsertNeed { column: "accountEnabled", example: "true" },
            InsertNeed { column: "displayName", example: "\"Adele Vance\"" },
            InsertNeed { column: "mailNickname", example: "\"adelev\"" },
            InsertNeed { column: "userPrincipalName", example: "\"adelev@contoso.com\"" },
            InsertNeed { column: "passwordProfile_password", example: "\"[initial password]\"" },
        ],
        absent_codes: ABSENT,
        ..PLAIN
    },
    Definition {
        name: "Groups",
        description: "The groups of the tenant: Microsoft 365 groups, security groups, distribution lists.",
        graph_type: "group",
        home: Home::Directory,
        list: &["groups"],
        create: &["groups"],
        record: &["groups/{id}"],
        update: true,
        delete: true,
        etag: true,
        largest_page: Some(999),
        filters: &[(&["id"], FilterOps::EQ.and(FilterOps::IN))],
        read_only: &["deletedDateTime"],
        insert_needs: &[
            InsertNeed { column: "displayName", example: "\"Project Moon\"" },
            InsertNeed { column: "mailEnabled", example: "false" },
            InsertNeed { column: "mailNickname", example: "\"project-moon\"" },
            InsertNeed { column: "securityEnabled", example: "true" },
        ],
        absent_codes: ABSENT,
        ..PLAIN
    },
];
