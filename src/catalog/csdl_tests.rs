//! Tests of the CSDL reader: a document becomes facts, a faulty one is refused, and nothing stops it.
#![allow(clippy::unwrap_used, reason = "tests")]

use super::super::csdl_text::facts_text;

/// A schema of every element that is read, with an alias, an overload and an unbound action.
const DOCUMENT: &str = r##"<?xml version="1.0" encoding="utf-8"?>
<edmx:Edmx Version="4.0" xmlns:edmx="http://docs.oasis-open.org/odata/ns/edmx"><edmx:DataServices>
<Schema Namespace="microsoft.graph" Alias="graph" xmlns="http://docs.oasis-open.org/odata/ns/edm">
  <EnumType Name="colour" IsFlags="true"><Member Name="red" Value="0"/><Member Name="blue" Value="1"/></EnumType>
  <EntityType Name="entity" Abstract="true"><Key><PropertyRef Name="id"/></Key>
    <Property Name="id" Type="Edm.String" Nullable="false"/></EntityType>
  <EntityType Name="thing" BaseType="graph.entity" OpenType="true" HasStream="true">
    <Property Name="name" Type="Edm.String" MaxLength="20"/>
    <Property Name="colours" Type="Collection(graph.colour)"/>
    <NavigationProperty Name="parts" Type="Collection(graph.part)" ContainsTarget="true"/>
    <NavigationProperty Name="owner" Type="microsoft.graph.sub.owner"/>
  </EntityType>
  <ComplexType Name="part"/>
  <Action Name="paint" IsBound="true"><Parameter Name="it" Type="graph.thing"/>
    <Parameter Name="colour" Type="graph.colour" Nullable="false"/><Parameter Name="gloss" Type="Edm.Boolean" Nullable="false">
    <Annotation Term="Org.OData.Core.V1.OptionalParameter"/></Parameter></Action>
  <Function Name="newest" IsBound="true"><Parameter Name="them" Type="Collection(graph.thing)"/>
    <ReturnType Type="graph.thing"/></Function>
  <Action Name="free"/>
  <EntityContainer Name="s"><EntitySet Name="things" EntityType="microsoft.graph.thing"/>
    <Singleton Name="me" Type="self.owner"/></EntityContainer>
  <Annotations Target="microsoft.graph.thing/name"><Annotation Term="Org.OData.Core.V1.Computed" Bool="true"/></Annotations>
</Schema>
<Schema Namespace="microsoft.graph.sub" Alias="self" xmlns="http://docs.oasis-open.org/odata/ns/edm">
  <EntityType Name="owner" BaseType="graph.entity"/></Schema>
</edmx:DataServices></edmx:Edmx>"##;

const FACTS: &str = "\
set things thing
single me sub.owner
enum colour red blue
entity entity abstract
 id String req
complex part
entity sub.owner < entity
entity thing < entity open stream
 name String ro max=20 filter=eq
 colours []colour
 >parts []part
 ~owner sub.owner
 !paint colour:colour gloss?:Boolean
 ==newest > thing
";

fn nothing(_: &str, _: &str) -> String {
    String::new()
}

#[test]
fn a_document_becomes_facts() {
    let known = |kind: &str, property: &str| {
        if (kind, property) == ("thing", "name") { " filter=eq".to_owned() } else { String::new() }
    };
    assert_eq!(facts_text(DOCUMENT.as_bytes(), &known).unwrap(), FACTS);
    crate::catalog::Catalog::of_text(FACTS.to_owned()).unwrap();
}

#[test]
fn faulty_documents_are_refused_with_the_reason() {
    let schema = |inside: &str| format!("<Schema Namespace=\"n\">{inside}</Schema>");
    for (xml, expected) in [
        (DOCUMENT[..600].to_owned(), "at byte"),
        ("<Schema Namespace=\"n\"><a>".to_owned(), "ends before"),
        ("<a><b></a></b>".to_owned(), "at byte"),
        ("<!DOCTYPE x [<!ENTITY e \"x\">]><Schema/>".to_owned(), "document type"),
        (schema("<EntityType Name=\"a b\"/>"), "is no name"),
        (schema("<EntityType Name=\"a\nentity x\"/>"), "is no name"),
        (schema("<EntityType/>"), "without Name"),
        (schema("<EntityType Name=\"a\"><Property Name=\"p\"/></EntityType>"), "is no type"),
        (schema("<EntityType Name=\"a\"/><EntityType Name=\"A\"/>"), "there twice"),
        ("<x>".repeat(100), "nested too deeply"),
    ] {
        let message = facts_text(xml.as_bytes(), &nothing).unwrap_err();
        assert!(message.contains(expected), "{xml}: {message}");
    }
}

proptest::proptest! {
    #[test]
    fn no_document_stops_the_reader(cut in 0..DOCUMENT.len(), put in "[<>/\"=&;! a-zA-Z]{0,12}") {
        let mut xml = DOCUMENT.to_owned();
        if xml.is_char_boundary(cut) {
            xml.insert_str(cut, &put);
        }
        if let Ok(text) = facts_text(xml.as_bytes(), &nothing) {
            let _used = crate::catalog::Catalog::of_text(text).map(|catalog| {
                let _described = (catalog.describe("/things/x/parts"), catalog.describe("Messages"));
            });
        }
    }
}
