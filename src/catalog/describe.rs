//! The catalog as the control port shows it: objects with their columns, procedures with their parameters. Shapes
//! and their filling only.

use serde::Serialize;
use utoipa::ToSchema;

use super::column::{Column, ColumnKind, ColumnSource};
use super::objects::{Home, Object, ObjectKind, find_object, objects};
use super::procedures::{ParameterType, Procedure, find_procedure, procedures};
use super::{CatalogError, did_you_mean};

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
    /// The key column.
    pub key: &'static str,
    /// Columns whose `=` condition chooses where the rows are read from.
    pub path_columns: Vec<&'static str>,
    /// Columns that a new record must have.
    pub required_to_create: Vec<&'static str>,
    /// The most rows the service puts into one page.
    pub largest_page: u32,
    /// The columns, in order.
    pub columns: Vec<ColumnDescription>,
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
    /// Whether it is the key.
    pub key: bool,
    /// Whether the service sets it.
    pub read_only: bool,
    /// Whether it is answered when no columns are named.
    pub default: bool,
    /// Whether rows can be sorted by it.
    pub sortable: bool,
    /// The comparisons the service makes itself, in OData's words; others are made by the agent.
    pub filter: Vec<&'static str>,
    /// The values of an enumeration; the service may add more.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub values: Vec<&'static str>,
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

/// The named objects. Any Graph path is an object too.
pub fn list() -> Vec<NamedEntry> {
    let entry =
        |object: &Object| NamedEntry { name: object.name().to_owned(), description: sentence(object) };
    objects().iter().map(entry).collect()
}

/// One object with its columns.
///
/// # Errors
/// A sentence, when the name is unknown or is a Graph path, whose columns the service alone knows.
pub fn describe(name: &str) -> Result<ObjectDescription, CatalogError> {
    let object = match find_object(name)? {
        ObjectKind::Named(object) => object,
        ObjectKind::Path(path) => {
            return Err(CatalogError::new(format!(
                "The columns of the Graph path '/{}' are what the service answers. Query it without `fields` to see them.",
                path.encoded()
            )));
        }
    };
    let default: Vec<&str> = object.default_columns().iter().map(|column| column.name.as_str()).collect();
    let describe_column = |column: &Column| ColumnDescription {
        name: column.name.clone(),
        kind: column.kind,
        key: column.name == "id",
        read_only: column.read_only,
        default: default.contains(&column.name.as_str()),
        sortable: column.sortable,
        filter: column.filter.names(),
        values: column.values.clone(),
    };
    let places =
        object.columns().iter().any(|column| column.source == ColumnSource::Place && column.name == "UserId");
    let mut path_columns = vec!["id"];
    path_columns.extend(places.then_some("UserId"));
    path_columns.extend(object.parts().iter().map(|part| part.column));
    Ok(ObjectDescription {
        name: object.name().to_owned(),
        description: sentence(object),
        key: "id",
        path_columns,
        required_to_create: object.insert_needs().iter().map(|need| need.column).collect(),
        largest_page: object.largest_page(),
        columns: object.columns().iter().map(describe_column).collect(),
    })
}

fn sentence(object: &Object) -> String {
    match object.home() {
        Home::Mailbox => {
            format!("The {} of one user's mailbox, chosen by UserId.", object.name().to_lowercase())
        }
        Home::Directory => format!("The {} of the tenant's directory.", object.name().to_lowercase()),
    }
}

/// The named procedures. Any action that Graph binds to a resource can be called too.
pub fn list_procedures() -> Vec<NamedEntry> {
    let entry = |procedure: &Procedure| NamedEntry {
        name: procedure.name.to_owned(),
        description: procedure.description.to_owned(),
    };
    procedures().map(entry).collect()
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
        let messages = describe("messages").unwrap();
        assert_eq!(messages.path_columns, ["id", "UserId", "ParentFolderId"]);
        let json = serde_json::to_value(&messages.columns[0]).unwrap();
        assert_eq!(json["name"], "id");
        assert_eq!(json["type"], "String");
        assert_eq!(json["key"], true);
        assert_eq!(json["readOnly"], true);
        assert_eq!(describe("Users").unwrap().path_columns, ["id"]);
        assert!(describe("/me/mailFolders").unwrap_err().message.contains("without `fields`"));
        assert_eq!(list().len(), 5);
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
        assert_eq!(list_procedures().len(), 23);
    }
}
