//! The catalog as the control port shows it: objects with their columns, procedures with their parameters. Shapes
//! and their filling only.

use serde::Serialize;
use utoipa::ToSchema;

use super::column::{Column, ColumnKind};
use super::comparison::TextComparison;
use super::library::Catalog;
use super::object::Object;
use super::path::GraphPath;
use super::path_object::Shape;
use super::permissions::{MethodPermissions, around, of_path};
use super::procedures::{ParameterType, Procedure, find_procedure, procedures};
use super::relation::{Adding, Relation, Removing};
use super::route::RouteUse;
use super::{CatalogError, did_you_mean};
use crate::connection::ActivityKind;

/// An entry of the lists of objects and procedures.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct NamedEntry {
    /// The name.
    pub name: String,
    /// What it is, in a sentence.
    pub description: String,
}

/// One object, fully.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct ObjectDescription {
    /// The name.
    pub name: String,
    /// What it is, in a sentence.
    pub description: String,
    /// The type of its rows in Graph's metadata; absent: the metadata does not know the path.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub graph_type: Option<String>,
    /// Whether it is one record rather than rows.
    pub single: bool,
    /// Whether records can be made.
    pub creatable: bool,
    /// Whether records can be changed.
    pub updatable: bool,
    /// Whether records can be removed.
    pub deletable: bool,
    /// What a write means, when the records of the path live elsewhere and it holds references to them.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub relationship: Option<RelationshipDescription>,
    /// The key columns.
    pub key: Vec<String>,
    /// Columns whose `=` condition chooses where the rows are read from.
    pub path_columns: Vec<&'static str>,
    /// Of those, the ones that a query cannot do without.
    pub required_to_query: Vec<&'static str>,
    /// Columns that a new record must have.
    pub required_to_create: Vec<&'static str>,
    /// The most rows the service puts into one page; absent: the service decides.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub largest_page: Option<u32>,
    /// The methods that are documented, with the least permission for each.
    pub permissions: Vec<MethodPermissions>,
    /// The columns, in order. Empty for a path that the metadata does not know: query it to see what it answers.
    pub columns: Vec<ColumnDescription>,
}

/// A relationship: a path that holds references to records which live elsewhere.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct RelationshipDescription {
    /// What Create does.
    pub create: String,
    /// What Update does.
    pub update: String,
    /// What Delete does.
    pub delete: String,
}

impl RelationshipDescription {
    fn of(relation: &Relation) -> Self {
        let (name, kind, own) = (&relation.name, &relation.target_type, relation.own_path());
        let nothing = || "Refused: Microsoft documents this relationship for reading only.".to_owned();
        let create = match (relation.adding, relation.many) {
            (Adding::No, _) => nothing(),
            (Adding::Reference, true) => {
                format!("Adds a reference to a {kind} that exists, given by its id or @odata.id.")
            }
            (Adding::Reference, false) => {
                format!("Sets the reference to a {kind} that exists, given by its id or @odata.id.")
            }
            (Adding::ReferenceOrRecord, _) => format!(
                "Adds a reference to a {kind} that exists, given by its id or @odata.id alone; a record with other columns becomes a new {kind}."
            ),
        };
        let delete = match relation.removing {
            Removing::No => nothing(),
            _ => {
                format!("Removes the reference from {name}; the {kind} itself stays. It is removed at {own}.")
            }
        };
        Self { create, update: format!("Refused: a {kind} is changed at {own}."), delete }
    }
}

/// One column.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct ColumnDescription {
    /// The name, matched without regard to case.
    pub name: String,
    /// The type of its cells.
    #[serde(rename = "type")]
    pub kind: ColumnKind,
    /// How its texts are compared, by the service and by the agent alike; absent: its values are no texts.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub comparison: Option<TextComparison>,
    /// The type of its members, when it is a collection: `=` and `in` ask whether it has such a member, the text operators
    /// whether one of its members fits. `Json`: objects, in which only the text operators look.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub members: Option<ColumnKind>,
    /// The column that holds its time zone. Then it is compared and sorted as a moment: write the values of conditions
    /// with an offset (`2026-01-31T08:00:00+01:00`); without one they mean UTC.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub time_zone: Option<String>,
    /// Whether it is the key or a part of it.
    pub key: bool,
    /// Whether a new record must have it.
    pub required: bool,
    /// Whether the service sets it.
    pub read_only: bool,
    /// Whether it is answered when no columns are named.
    pub default: bool,
    /// Whether rows can be sorted by it.
    pub sortable: bool,
    /// The comparisons the service makes itself, in OData's words; others are made by the agent.
    pub filter: Vec<&'static str>,
    /// Whether `$search` looks at it.
    pub searchable: bool,
    /// Whether it always has a value, as far as the metadata tells.
    pub always_present: bool,
    /// The longest text, in characters, where the metadata tells.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_length: Option<u32>,
    /// The values of an enumeration; the service may add more.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub values: Vec<String>,
}

/// One procedure, fully.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct ProcedureDescription {
    /// The name.
    pub name: String,
    /// What it does.
    pub description: String,
    /// The parameters.
    pub parameters: Vec<ParameterDescription>,
    /// The names of its outputs.
    pub outputs: Vec<&'static str>,
}

/// One parameter.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct ParameterDescription {
    /// The name, matched without regard to case.
    pub name: &'static str,
    /// Other names for the same.
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    pub also: &'static [&'static str],
    /// What it takes.
    #[serde(rename = "type")]
    pub kind: ParameterType,
    /// Whether it must be given.
    pub required: bool,
    /// What it means.
    pub description: &'static str,
}

impl Catalog {
    /// The named objects that have `search` in their name or description, in any case; with a search also
    /// the roots of Graph paths that have it. Any Graph path is an object too.
    pub fn list(&self, search: &str) -> Vec<NamedEntry> {
        let entry = |object: &std::sync::Arc<Object>| NamedEntry {
            name: object.name().to_owned(),
            description: sentence(object),
        };
        let root = |root: super::facts::Root<'_>| NamedEntry {
            name: format!("/{}", root.name),
            description: format!(
                "{} microsoft.graph.{}.",
                if root.collection { "A collection of" } else { "One" },
                root.type_name
            ),
        };
        let roots = self.facts().roots().map(root).filter(|_| !search.trim().is_empty());
        self.objects().iter().map(entry).chain(roots).filter(|entry| entry.has(search)).collect()
    }

    /// One object with its columns: a named one, or what the metadata knows of a Graph path (in which `{id}` may stand for
    /// any id).
    ///
    /// # Errors
    /// A sentence, when the name is unknown or the path is none.
    pub fn describe(&self, name: &str) -> Result<ObjectDescription, CatalogError> {
        let object = match name.trim().starts_with(['/', 'h']) && name.contains('/') {
            true => std::sync::Arc::new(Object::at(GraphPath::reference(name)?, self.facts().clone())),
            false => self.find_object(name)?,
        };
        let permissions = permissions(&object);
        let allows = |kind| object.allows(kind).is_ok();
        let needs: Vec<&'static str> = object.insert_needs().iter().map(|need| need.column).collect();
        let default = object.default_columns();
        let describe_column = |column: &Column| ColumnDescription {
            name: column.name.clone(),
            kind: column.kind,
            comparison: column.compares_text().then_some(column.text),
            members: column.members,
            time_zone: column.zone.as_ref().map(|path| path.join("_")),
            key: column.key,
            read_only: column.read_only,
            required: needs.contains(&column.name.as_str()),
            default: default.iter().any(|shown| shown.name == column.name),
            sortable: column.sortable,
            searchable: column.searchable,
            always_present: column.required,
            max_length: column.max_length,
            filter: column.filter.names(),
            values: column.values.clone(),
        };
        let mut path_columns = Vec::new();
        path_columns.extend(object.has_record_route().then_some("id"));
        path_columns.extend(object.has_owner().then_some("UserId"));
        path_columns.extend(object.place_columns());
        Ok(ObjectDescription {
            name: match object.path() {
                Some(_) => name.trim().to_owned(),
                None => object.name().to_owned(),
            },
            description: sentence(&object),
            graph_type: object.graph_type(),
            single: object.is_single(),
            creatable: allows(ActivityKind::Create),
            updatable: allows(ActivityKind::Update),
            deletable: allows(ActivityKind::Delete),
            relationship: object.relation().map(RelationshipDescription::of),
            key: object
                .columns()
                .iter()
                .filter(|column| column.key)
                .map(|column| column.name.clone())
                .collect(),
            required_to_query: path_columns
                .iter()
                .filter(|column| object.needs_place(column))
                .copied()
                .collect(),
            path_columns,
            required_to_create: needs.clone(),
            largest_page: object.largest_page(),
            columns: object.columns().iter().map(describe_column).collect(),
            permissions,
        })
    }
}

impl NamedEntry {
    fn has(&self, search: &str) -> bool {
        let search = search.trim().to_lowercase();
        search.is_empty()
            || self.name.to_lowercase().contains(&search)
            || self.description.to_lowercase().contains(&search)
    }
}

/// The documented methods of the path of an object, and of one of its records.
fn permissions(object: &Object) -> Vec<MethodPermissions> {
    let mut all: Vec<MethodPermissions> = Vec::new();
    if let Some(place) = object.place() {
        let pattern: Vec<&str> = place.pattern.iter().map(String::as_str).collect();
        return around(&pattern, place.shape == Shape::Collection);
    }
    let mut add = |segments: &[&str]| {
        for found in of_path(segments) {
            if !all.iter().any(|known| known.method == found.method) {
                all.push(found);
            }
        }
    };
    for wanted in [RouteUse::List, RouteUse::Create, RouteUse::Record] {
        for template in object.templates(wanted) {
            for owner in ["users/{id}", "me"] {
                add(&template.replace("{owner}", owner).split('/').collect::<Vec<_>>());
            }
        }
    }
    all
}

fn sentence(object: &Object) -> String {
    match (object.definition(), object.graph_type()) {
        (Some(declared), _) => declared.description.to_owned(),
        (None, Some(kind)) if object.is_single() => format!("One {kind}."),
        (None, Some(kind)) => format!("A collection of {kind}."),
        (None, None) => {
            "A path that the metadata does not know; its columns are what the service answers.".to_owned()
        }
    }
}

/// The named procedures. Any action that Graph binds to a resource can be called too.
pub fn list_procedures(search: &str) -> Vec<NamedEntry> {
    let entry = |procedure: &Procedure| NamedEntry {
        name: procedure.name.to_owned(),
        description: procedure.description.to_owned(),
    };
    procedures().map(entry).filter(|entry| entry.has(search)).collect()
}

/// One procedure with its parameters.
///
/// # Errors
/// A sentence, when the name is unknown.
pub fn describe_procedure(name: &str) -> Result<ProcedureDescription, CatalogError> {
    let procedure = find_procedure(name).ok_or_else(|| {
        let names: Vec<&str> = procedures().map(|procedure| procedure.name).collect();
        let near = did_you_mean(name, names.iter().copied());
        CatalogError::new(format!(
            "There is no procedure '{name}'.{near} The procedures are {}. Any action that Graph binds to a resource can \
             be called too: give its name as `procedure` and the resource's Graph path as `target`.",
            names.join(", ")
        ))
    })?;
    let parameters = procedure.parameters.iter().map(|parameter| ParameterDescription {
        name: parameter.name,
        also: parameter.also,
        kind: parameter.kind,
        required: parameter.required,
        description: parameter.description,
    });
    Ok(ProcedureDescription {
        name: procedure.name.to_owned(),
        description: procedure.description.to_owned(),
        parameters: parameters.collect(),
        outputs: procedure.outputs.to_vec(),
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;

    #[test]
    fn an_object_describes_itself() {
        let catalog = Catalog::embedded();
        let messages = catalog.describe("messages").unwrap();
        assert_eq!(messages.path_columns, ["id", "UserId", "ParentFolderId"]);
        assert_eq!(messages.graph_type.as_deref(), Some("microsoft.graph.message"));
        assert!(messages.permissions.iter().any(|found| found.method == "POST"));
        let json = serde_json::to_value(&messages.columns[0]).unwrap();
        assert_eq!(json["name"], "id");
        assert_eq!(json["type"], "String");
        assert_eq!(json["key"], true);
        assert_eq!(json["readOnly"], true);
        assert_eq!(catalog.describe("Users").unwrap().path_columns, ["id"]);
    }

    #[test]
    fn a_path_describes_itself() {
        let folders = Catalog::embedded().describe("/users/{id}/MAILFOLDERS").unwrap();
        assert_eq!(folders.graph_type.as_deref(), Some("microsoft.graph.mailFolder"));
        assert!(folders.creatable && folders.deletable && !folders.single);
        assert!(folders.columns.iter().any(|column| column.name == "unreadItemCount"));
        assert!(Catalog::embedded().describe("/me/nothing").unwrap().columns.is_empty());
    }

    #[test]
    fn lists_are_searched_in_any_case() {
        let names =
            |search| Catalog::embedded().list(search).into_iter().map(|entry| entry.name).collect::<Vec<_>>();
        assert_eq!(names("MESSAGES")[0], "Messages");
        assert!(names("").len() > names("message").len());
        assert_eq!(list_procedures("MOVE")[0].name, "MoveMail");
    }

    #[test]
    fn procedures_describe_themselves() {
        assert!(
            describe_procedure("sendmail")
                .unwrap()
                .parameters
                .iter()
                .any(|parameter| parameter.name == "ContentBytes")
        );
        let message = describe_procedure("SendMial").unwrap_err().message;
        assert!(message.contains("Did you mean 'SendMail'?") && message.contains("`target`"), "{message}");
        assert_eq!(list_procedures("").len(), 23);
    }
}
