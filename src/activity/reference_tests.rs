//! Records of relationships: the exact request, or the refusal.
#![allow(clippy::unwrap_used, reason = "tests")]

use serde_json::json;

use super::*;
use crate::activity::mark::Marks;
use crate::activity::target::prepare;
use crate::catalog::Catalog;
use crate::query::test_support::connection;
use ActivityKind::{Create, Delete, Update};

/// `METHOD path body`, or the sentence. The Graph root of the connection is left out of bodies.
fn line(object: &str, kind: ActivityKind, record: &Value) -> String {
    let (object, connection) = (Catalog::embedded().find_object(object).unwrap(), connection(|_| {}));
    let marks = Marks { prefix: "p".to_owned(), with_property: true, elsewhere: None };
    let record = record.as_object().unwrap();
    match prepare(&object, kind, &connection, None, record, (&marks, 0)) {
        Ok(prepared) => {
            let request = prepared.request;
            let body = request.body.map(|body| String::from_utf8(body.to_vec()).unwrap());
            let body = body.unwrap_or_default().replace(connection.endpoints.graph.as_str(), "ROOT/");
            format!("{} {} {body}", request.method, request.path)
        }
        Err(error) => error.message(),
    }
}

#[test]
fn references_are_added_set_and_removed_by_ref() {
    for (object, kind, record, expected) in [
        ("/groups/g/members", Delete, json!({"id": "u"}), "DELETE groups/g/members/u/$ref "),
        ("/groups/g/members/u", Delete, json!({}), "DELETE groups/g/members/u/$ref "),
        ("/groups/g/members/u", Delete, json!({"id": "u"}), "DELETE groups/g/members/u/$ref "),
        ("/groups/g/members/u/$ref", Delete, json!({}), "DELETE groups/g/members/u/$ref "),
        ("/groups/g/members/$ref", Delete, json!({"id": "u"}), "DELETE groups/g/members/u/$ref "),
        (
            "/groups/g/members/microsoft.graph.user",
            Delete,
            json!({"id": "a/b"}),
            "DELETE groups/g/members/a%2Fb/$ref ",
        ),
        ("/groups/g/members/u/microsoft.graph.user", Delete, json!({}), "DELETE groups/g/members/u/$ref "),
        ("/groups('g')/members('u')", Delete, json!({}), "DELETE groups('g')/members('u')/$ref "),
        ("/users/u/manager", Delete, json!({}), "DELETE users/u/manager/$ref "),
        ("/me/manager/$ref", Delete, json!({}), "DELETE me/manager/$ref "),
        ("/groups/g/acceptedSenders", Delete, json!({"id": "a@b"}), "%2Fusers%2Fa%40b "),
        (
            "/groups/g/members",
            Create,
            json!({"id": "u"}),
            r#"POST groups/g/members/$ref {"@odata.id":"ROOT/directoryObjects/u"}"#,
        ),
        (
            "/groups/g/members",
            Create,
            json!({"ID": "a@b"}),
            r#"POST groups/g/members/$ref {"@odata.id":"ROOT/users/a@b"}"#,
        ),
        (
            "/groups/g/members/$ref",
            Create,
            json!({"@odata.id": "/users/u"}),
            r#"POST groups/g/members/$ref {"@odata.id":"ROOT/users/u"}"#,
        ),
        (
            "/users/u/manager",
            Create,
            json!({"id": "m"}),
            r#"PUT users/u/manager/$ref {"@odata.id":"ROOT/directoryObjects/m"}"#,
        ),
        (
            "/print/shares/s/allowedUsers",
            Create,
            json!({"id": "u"}),
            r#"POST print/shares/s/allowedUsers/$ref {"@odata.id":"ROOT/users/u"}"#,
        ),
        (
            "/directory/administrativeUnits/a/members",
            Create,
            json!({"displayName": "x"}),
            r#"POST directory/administrativeUnits/a/members {"displayName":"x"}"#,
        ),
    ] {
        let line = line(object, kind, &record);
        assert!(
            line == expected || (expected.starts_with('%') && line.ends_with(expected)),
            "{object}: {line}"
        );
    }
}

#[test]
fn what_is_not_the_reference_is_refused() {
    for (object, kind, record, expected) in [
        ("/groups/g/members", Delete, json!({}), "needs the id"),
        ("/groups/g/members", Delete, json!({"id": "u", "displayName": "x"}), "and nothing else"),
        ("/groups/g/members/u", Delete, json!({"id": "v"}), "names the reference to 'u'"),
        ("/users/u/manager", Delete, json!({"id": "m"}), "takes no id"),
        ("/groups/g/members", Update, json!({"id": "u", "jobTitle": "x"}), "is a relationship"),
        ("/groups/g/members", Create, json!({"displayName": "x"}), "that exists"),
        ("/groups/g/members", Create, json!({"id": "u", "@odata.id": "/users/u"}), "Give one"),
        ("/groups/g/members/u", Create, json!({"id": "v"}), "without the key"),
        (
            "/groups/g/members",
            Create,
            json!({"@odata.id": "https://evil.example/v1.0/users/u"}),
            "must be an address below",
        ),
        ("/groups/g/members", Create, json!({"@odata.id": "/../x"}), "must be an address below"),
        ("/users/u/memberOf", Delete, json!({"id": "g"}), "for reading only"),
        ("/users/u", Delete, json!({"id": "manager"}), "is not the id at its end"),
    ] {
        let line = line(object, kind, &record);
        assert!(line.contains(expected), "{object}: {line}");
    }
}

/// Whatever is deleted at a navigation of users or groups that is no containment, the request ends with `/$ref`.
#[test]
fn delete_never_names_the_record_behind_a_relationship() {
    let facts = include_str!("../catalog/facts.txt");
    let (mut kind, mut sent) = ("", 0);
    for fact in facts.lines().take_while(|line| !line.starts_with('%')) {
        if let Some(name) = fact.strip_prefix("entity ") {
            kind = name.split(' ').next().unwrap_or_default();
        }
        let Some(navigation) = fact.strip_prefix(" ~").and_then(|rest| rest.split(' ').next()) else {
            continue;
        };
        let root = match kind {
            "user" => "users",
            "group" => "groups",
            _ => continue,
        };
        for (path, record) in [
            (format!("/{root}/x/{navigation}"), json!({"id": "y"})),
            (format!("/{root}/x/{navigation}"), json!({})),
            (format!("/{root}/x/{navigation}/y"), json!({})),
            (format!("/{root}/x/{navigation}/microsoft.graph.user"), json!({"id": "y"})),
            (format!("/{root}('x')/{navigation}('y')"), json!({})),
            (format!("/{root}/x/{navigation}/$ref"), json!({"id": "y"})),
        ] {
            let line = line(&path, Delete, &record);
            if line.starts_with("DELETE ") {
                assert!(line.trim_end().ends_with("/$ref"), "{path}: {line}");
                sent += 1;
            }
        }
    }
    assert!(sent >= 30, "{sent}");
}
