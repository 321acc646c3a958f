//! The table of relationships: what a path holds, and what a write there means.
#![allow(clippy::unwrap_used, reason = "tests")]

use super::super::facts_line::Line;
use super::super::library::Catalog;
use super::super::walk::walk;
use super::*;
use crate::connection::ActivityKind::{Create, Delete, Update};

fn relation(path: &str) -> Option<Relation> {
    let segments: Vec<String> = path.trim_matches('/').split('/').map(str::to_owned).collect();
    let catalog = Catalog::embedded();
    let facts = catalog.facts();
    Relation::of(facts, &walk(facts, &segments).way)
}

#[test]
fn a_path_holds_references_or_the_records_themselves() {
    for (path, held) in [
        ("/groups/g/members", Some(("groups/g/members", None, "directoryObjects"))),
        ("/groups/g/members/u", Some(("groups/g/members", Some("u"), "directoryObjects"))),
        (
            "/groups/g/members/u/microsoft.graph.user",
            Some(("groups/g/members", Some("u"), "directoryObjects")),
        ),
        ("/groups/g/members/microsoft.graph.user", Some(("groups/g/members", None, "directoryObjects"))),
        (
            "/groups/g/members/microsoft.graph.user/u",
            Some(("groups/g/members", Some("u"), "directoryObjects")),
        ),
        ("/groups('g')/members('u')", Some(("groups('g')/members('u')", None, "directoryObjects"))),
        ("/groups/g/members/u/$ref", Some(("groups/g/members", Some("u"), "directoryObjects"))),
        ("/groups/g/acceptedSenders", Some(("groups/g/acceptedSenders", None, "directoryObjects"))),
        ("/me/manager", Some(("me/manager", None, "directoryObjects"))),
        ("/users/a@b/memberOf/g/members", Some(("users/a@b/memberOf/g/members", None, "directoryObjects"))),
        ("/me/planner/tasks", Some(("me/planner/tasks", None, "planner/tasks"))),
        ("/education/classes/c/members", Some(("education/classes/c/members", None, "education/users"))),
        (
            "/servicePrincipals/s/claimsMappingPolicies",
            Some(("servicePrincipals/s/claimsMappingPolicies", None, "policies/claimsMappingPolicies")),
        ),
        ("/groups/g/members/u/messages", None),
        ("/users/u/appRoleAssignments", None),
        ("/users/u/calendars", None),
        ("/users/u/planner", None),
        ("/me/messages/m/attachments", None),
        ("/organization/o/certificateBasedAuthConfiguration", None),
        ("/groups/g", None),
        ("/me/nothing", None),
    ] {
        let found = relation(path);
        let seen = found
            .as_ref()
            .map(|found| (found.path.as_str(), found.key.as_deref(), found.home.as_deref().unwrap_or("")));
        assert_eq!(seen, held, "{path}");
    }
}

#[test]
fn writes_that_no_page_documents_are_refused_with_the_cure() {
    let catalog = Catalog::embedded();
    for (path, kind, expected) in [
        ("/groups/g/members", Create, ""),
        ("/groups/g/members", Delete, ""),
        ("/groups/g/members", Update, "such as /users/{id}"),
        ("/groups/g/members/u", Update, "is changed at its own path"),
        ("/me/manager", Create, ""),
        ("/me/manager", Update, "is a relationship"),
        ("/me/memberOf", Delete, "for reading only"),
        ("/me/memberOf/$ref", Delete, ""),
        ("/groups/g/transitiveMembers", Create, "for reading only"),
        ("/me/planner/tasks", Delete, "/planner/tasks/{id}"),
        ("/me/planner/tasks", Create, "/planner/tasks/{id}"),
        ("/users/u/joinedTeams", Delete, "/teams/{id}"),
        ("/me/drive/following", Delete, "for reading only"),
        ("/me/events/e/calendar", Delete, "where such a record is kept"),
        ("/me/events/e/instances", Create, "where such a record is kept"),
        ("/users/u/licenseDetails", Delete, "for reading only"),
        ("/me/drive", Delete, "for reading only"),
        ("/me/messages/delta", Delete, "a function answers"),
        ("/me/messages", Delete, ""),
        ("/me/messages/m/attachments", Delete, ""),
        ("/me", Update, ""),
        ("/me/mailboxSettings", Update, ""),
        ("/me/extensions", Create, ""),
        ("/users/u/appRoleAssignments", Delete, ""),
        ("/me/nothing", Delete, ""),
    ] {
        let object = catalog.find_object(path).unwrap();
        match (object.allows(kind), expected) {
            (Ok(()), "") => {}
            (Err(error), expected) if !expected.is_empty() => {
                assert!(error.message.contains(expected), "{path} {kind:?}: {}", error.message);
            }
            (allowed, _) => panic!("{path} {kind:?}: {allowed:?}"),
        }
    }
}

/// Every navigation of users and groups that is no containment by the metadata.
#[test]
fn no_relationship_of_users_and_groups_holds_the_records_themselves() {
    let catalog = Catalog::embedded();
    let facts = catalog.facts();
    let mut seen = 0;
    for (kind, root) in [("user", "/users/x"), ("group", "/groups/x")] {
        let kind = facts.find(kind).unwrap();
        for line in facts.ancestors(kind).into_iter().flat_map(|kind| facts.lines(kind)) {
            let Line::Navigation(navigation) = line else { continue };
            if navigation.contained {
                continue;
            }
            seen += 1;
            for behind in ["", "/y"] {
                let path = format!("{root}/{}{behind}", navigation.name);
                assert!(
                    relation(&path).is_some() || !(navigation.kind.collection || behind.is_empty()),
                    "{path}"
                );
            }
        }
    }
    assert!(seen >= 20, "{seen}");
}

#[test]
fn every_listed_relationship_is_one_of_the_metadata() {
    let catalog = Catalog::embedded();
    let facts = catalog.facts();
    let listed = WRITTEN.iter().map(|(kind, names, _)| (kind, names));
    for (kind, names) in
        listed.chain(NOT_CONTAINED.iter().chain(&CONTAINED).map(|(kind, names)| (kind, names)))
    {
        let id = facts.find(kind).unwrap_or_else(|| panic!("{kind}"));
        for name in *names {
            assert!(facts.navigation(id, name).is_some(), "{kind}/{name}");
        }
    }
}

/// Generated pages of relationships without a home, and an action that the metadata does not have.
const NOT_WRITTEN: [&str; 3] = [
    "/devicemanagement/manageddeviceoverview",
    "/devicemanagement/softwareupdatestatussummary",
    "/security/collaboration/analyzedEmails/setVerdict",
];

/// Whatever Microsoft's pages write at a path is not refused there.
#[test]
fn every_write_that_a_page_documents_is_allowed() {
    let (_, tables) = include_str!("facts.txt").split_once("\n%paths\n").unwrap();
    let mut stack: Vec<&str> = Vec::new();
    let (mut seen, mut refused) = (0, Vec::new());
    for line in tables.lines() {
        let mut words = line.split(' ');
        let (shared, rest) = (words.next().unwrap(), words.next().unwrap());
        stack.truncate(shared.parse().unwrap());
        stack.extend(rest.split('/'));
        let path = format!("/{}", stack.join("/"));
        let Ok(object) = Catalog::embedded().find_object(&path) else { continue };
        for method in words {
            let kind = match &method[..1] {
                "P" => Create,
                "A" => Update,
                "D" => Delete,
                _ => continue,
            };
            seen += 1;
            if let Err(error) = object.allows(kind)
                && !NOT_WRITTEN.contains(&path.as_str())
            {
                refused.push(format!("{method} {path}: {}", error.message));
            }
        }
    }
    assert!(seen > 500, "{seen}");
    assert!(refused.is_empty(), "{} of {seen}:\n{}", refused.len(), refused.join("\n"));
}
