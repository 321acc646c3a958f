//! Tests of refreshed schemas: in use at once and after a restart, per endpoint, and a bad one never replaces a good one.
#![allow(clippy::unwrap_used, clippy::disallowed_methods, reason = "tests")]

use super::*;

/// A service with one type more and one property more than this build's facts.
fn metadata(property: &str) -> String {
    format!(
        "<Edmx><Schema Namespace=\"microsoft.graph\" Alias=\"graph\">\
         <EntityType Name=\"entity\" Abstract=\"true\"><Property Name=\"id\" Type=\"Edm.String\"/></EntityType>\
         <EntityType Name=\"user\" BaseType=\"graph.entity\"><Property Name=\"displayName\" Type=\"Edm.String\"/>\
         <Property Name=\"{property}\" Type=\"Edm.Int32\"/></EntityType>\
         <EntityContainer Name=\"c\"><EntitySet Name=\"users\" EntityType=\"graph.user\"/></EntityContainer>\
         </Schema></Edmx>"
    )
}

fn endpoint(text: &str) -> url::Url {
    text.parse().unwrap()
}

const NOON: Timestamp = Timestamp::from_seconds(1_800_000_000);

#[test]
fn a_refreshed_schema_is_in_use_at_once_and_after_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    let schemas = Some(folder.path().join("schema"));
    let (ours, other) = (endpoint("https://graph.test/v1.0/"), endpoint("https://graph.other/v1.0/"));
    let catalogs = Catalogs::new(schemas.clone());
    let slot = catalogs.of(&ours);
    let before = slot.get();
    assert_eq!(slot.status().source, "build");
    let status = slot.replace(metadata("shoeSize").as_bytes(), NOON).unwrap();
    assert_eq!(
        (status.source, status.types, status.fetched_at.as_deref()),
        ("service", 2, Some("2027-01-15T08:00:00Z"))
    );
    let users = |catalog: &Catalog| catalog.find_object("Users").unwrap();
    let kind = |slot: &CatalogSlot| users(&slot.get()).column("shoeSize").map(|column| column.kind);
    assert_eq!(kind(&slot).unwrap(), crate::catalog::ColumnKind::Int32);
    // What the build knows of a property stays known.
    let name = users(&slot.get());
    assert!(name.column("displayName").unwrap().filter.has(crate::catalog::FilterOps::STARTS));
    assert!(users(&before).column("shoeSize").is_err(), "who began with the old one ends with it");
    assert_eq!(catalogs.of(&other).status().source, "build");

    let restarted = Catalogs::new(schemas);
    assert_eq!(restarted.of(&ours).status(), status);
    assert!(kind(&restarted.of(&ours)).is_ok());
    assert_eq!(restarted.of(&other).status().source, "build");
}

#[test]
fn a_bad_schema_never_replaces_a_good_one() {
    let folder = tempfile::tempdir().unwrap();
    let ours = endpoint("https://graph.test/v1.0/");
    let catalogs = Catalogs::new(Some(folder.path().join("schema")));
    let slot = catalogs.of(&ours);
    let good = slot.replace(metadata("shoeSize").as_bytes(), NOON).unwrap();
    let strange = metadata("x").replace("\"user\"", "\"thing\"").replace("graph.user", "graph.thing");
    for (document, expected) in [
        (String::new(), "no entity set"),
        ("<html>Sign in</html>".to_owned(), "no entity set"),
        (metadata("x")[..300].to_owned(), "at byte"),
        (metadata("x").replace("graph.user", "graph.gone"), "unknown type gone"),
        (
            metadata("x").replace("BaseType=\"graph.entity\"", "BaseType=\"graph.user\""),
            "inherits from itself",
        ),
        (strange, "none of the types"),
    ] {
        let message = slot.replace(document.as_bytes(), NOON).unwrap_err().to_string();
        assert!(message.contains(expected) && message.contains("stays"), "{message}");
        assert_eq!(slot.status(), good);
        assert_eq!(Catalogs::new(Some(folder.path().join("schema"))).of(&ours).status(), good);
    }
}

#[test]
fn a_kept_schema_that_cannot_be_used_is_none() {
    let folder = tempfile::tempdir().unwrap();
    let ours = endpoint("https://graph.test/v1.0/");
    let new = || Catalogs::new(Some(folder.path().join("schema"))).of(&ours);
    new().replace(metadata("shoeSize").as_bytes(), NOON).unwrap();
    let file = folder.path().join("schema/https---graph-test-v1-0.facts");
    let text = std::fs::read_to_string(&file).unwrap();
    for broken in [
        text[..text.len() - 20].replace("set users", "set  users"),
        text.replace("graph.test", "graph.evil"),
        text.replace("schema 1", "schema 2"),
        "\u{0}".to_owned(),
    ] {
        std::fs::write(&file, broken).unwrap();
        assert_eq!(new().status().source, "build");
    }
    std::fs::write(&file, text).unwrap();
    assert_eq!(new().status().source, "service");
}
