//! `GET /v1.0/$metadata`: the schema as OData CSDL XML, which Graph answers without a token. A few types only, with one
//! property of `user` that no published schema has, so that who reads it can be told from who does not.
//! Never describes the sandbox's resources.

use crate::answer::{Answer, Call};

const DOCUMENT: &str = r#"<?xml version="1.0" encoding="utf-8"?>
<edmx:Edmx Version="4.0" xmlns:edmx="http://docs.oasis-open.org/odata/ns/edmx">
  <edmx:DataServices>
    <Schema Namespace="microsoft.graph" Alias="graph" xmlns="http://docs.oasis-open.org/odata/ns/edm">
      <EntityType Name="entity" Abstract="true">
        <Key><PropertyRef Name="id" /></Key>
        <Property Name="id" Type="Edm.String" Nullable="false" />
      </EntityType>
      <EntityType Name="directoryObject" BaseType="graph.entity" OpenType="true">
        <Property Name="deletedDateTime" Type="Edm.DateTimeOffset" />
      </EntityType>
      <EntityType Name="user" BaseType="graph.directoryObject" OpenType="true">
        <Property Name="displayName" Type="Edm.String" />
        <Property Name="mail" Type="Edm.String" />
        <Property Name="sandboxBadgeNumber" Type="Edm.Int32" />
        <NavigationProperty Name="manager" Type="graph.directoryObject" />
      </EntityType>
      <Action Name="revokeSignInSessions" IsBound="true">
        <Parameter Name="bindingParameter" Type="graph.user" />
        <ReturnType Type="Edm.Boolean" />
      </Action>
      <EntityContainer Name="GraphService">
        <EntitySet Name="users" EntityType="microsoft.graph.user" />
        <Singleton Name="me" Type="microsoft.graph.user" />
      </EntityContainer>
    </Schema>
  </edmx:DataServices>
</edmx:Edmx>
"#;

/// The document, when it is asked for.
pub(crate) fn asked_for(call: &Call) -> Option<Answer> {
    if call.method != "GET" || call.path() != "/v1.0/$metadata" {
        return None;
    }
    let mut answer = Answer::empty(200).with("content-type", "application/xml");
    answer.body = DOCUMENT.into();
    Some(answer)
}
