//! The actions and functions that Graph binds to resources, as the control port shows them: by the path they are called at
//! or by their bare name. Shapes and their filling only.

use serde::Serialize;
use utoipa::ToSchema;

use super::describe::{NamedEntry, ProcedureDescription, describe_procedure};
use super::facts::{Facts, TypeId};
use super::facts_line::{Operation, TypeRef};
use super::library::Catalog;
use super::operation::{Overload, full_name, overload};
use super::path::GraphPath;
use super::permissions::{MethodPermissions, of_path};
use super::walk::{Target, is_called, walk};
use super::{CatalogError, did_you_mean};

/// The most operations that a search lists.
const MOST_FOUND: usize = 200;

/// A procedure of the catalog's own, or an operation of Graph.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[serde(untagged)]
pub enum ProcedureView {
    /// One of the catalog's own.
    Named(ProcedureDescription),
    /// An action or function.
    Bound(OperationDescription),
}

/// An action or function.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct OperationDescription {
    /// The name to give as `procedure`, with the resource's path as `target`.
    pub name: String,
    /// What it is, in a sentence.
    pub description: String,
    /// `POST` for an action, `GET` for a function.
    pub method: &'static str,
    /// The types of the resources it is bound to.
    pub bound_to: Vec<String>,
    /// The ways to call it.
    pub overloads: Vec<OverloadDescription>,
    /// The least permissions, where the path is given and documented.
    pub permissions: Vec<MethodPermissions>,
}

/// One way to call it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct OverloadDescription {
    /// The parameters, in order.
    pub parameters: Vec<OperationParameterDescription>,
    /// The type of the answer; absent: there is none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub answer: Option<String>,
}

/// One parameter.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct OperationParameterDescription {
    /// The name, matched without regard to case.
    pub name: String,
    /// Its type in Graph's metadata.
    #[serde(rename = "type")]
    pub type_name: String,
    /// Whether it must be given.
    pub required: bool,
}

impl Catalog {
    /// One procedure: a named one, an operation at a path (`/me/messages/{id}/forward`), or an operation by its name alone
    /// (`microsoft.graph.forward`), wherever Graph binds it.
    ///
    /// # Errors
    /// A sentence with the nearest name.
    pub fn describe_procedure(&self, name: &str) -> Result<ProcedureView, CatalogError> {
        let name = name.trim();
        if name.starts_with('/') {
            return self.describe_at(name).map(ProcedureView::Bound);
        }
        let unknown = match describe_procedure(name) {
            Ok(found) => return Ok(ProcedureView::Named(found)),
            Err(error) => error,
        };
        let bare = name.trim_end_matches("()");
        let found: Vec<_> = all(self.facts()).filter(|(_, found)| is_called(found.name, bare)).collect();
        described(self.facts(), &found, Vec::new()).map(ProcedureView::Bound).ok_or(unknown)
    }

    fn describe_at(&self, path: &str) -> Result<OperationDescription, CatalogError> {
        let path = path.replace(['{', '}'], "");
        let (target, name) = path.trim_end_matches('/').rsplit_once('/').unwrap_or(("", &path));
        let facts = self.facts();
        let target = GraphPath::parse(if target.is_empty() { "/me" } else { target })?;
        let mut segments = target.segments().to_vec();
        let bound_to = walk(facts, &segments).target;
        segments.push(name.to_owned());
        let walked = walk(facts, &segments);
        let pattern: Vec<&str> = walked.pattern.iter().map(String::as_str).collect();
        let (kind, collection) = match bound_to {
            Target::Entities(kind) => (kind, true),
            Target::Entity(kind) => (kind, false),
            Target::Value(TypeRef { name, collection: false }) => {
                let unknown =
                    || CatalogError::new(format!("'{path}' is bound to a value that has no operations."));
                (facts.find(name).ok_or_else(unknown)?, false)
            }
            _ => {
                return Err(CatalogError::new(format!(
                    "The metadata does not know what '/{}' leads to, so it cannot tell its actions and functions. \
                     Correct the path, or refresh the schema.",
                    target.encoded()
                )));
            }
        };
        let found: Vec<(TypeId, Operation<'_>)> =
            walked.operations.iter().map(|operation| (kind, operation.clone())).collect();
        described(facts, &found, of_path(&pattern)).ok_or_else(|| {
            let known = facts.operations(kind, collection);
            let near = did_you_mean(name, known.iter().map(|operation| operation.name));
            let mut names: Vec<&str> = known.iter().map(|operation| operation.name).collect();
            names.dedup();
            CatalogError::new(format!(
                "'/{}' has no action or function '{}'.{near} It has: {}.",
                target.encoded(),
                crate::error::clean_foreign_text(name),
                if names.is_empty() { "none".to_owned() } else { names.join(", ") }
            ))
        })
    }

    /// The actions and functions of Graph that have `search` in their names, in any case; none for an empty search.
    pub fn list_operations(&self, search: &str) -> Vec<NamedEntry> {
        let search = search.trim().to_lowercase();
        if search.is_empty() {
            return Vec::new();
        }
        let facts = self.facts();
        let mut found: std::collections::BTreeMap<&str, Vec<(TypeId, Operation<'_>)>> = Default::default();
        for (kind, operation) in all(facts).filter(|(_, found)| found.name.to_lowercase().contains(&search)) {
            found.entry(operation.name).or_default().push((kind, operation));
        }
        let entry = |found: &Vec<_>| {
            described(facts, found, Vec::new())
                .map(|found| NamedEntry { name: found.name, description: found.description })
        };
        found.values().take(MOST_FOUND).filter_map(entry).collect()
    }
}

/// Every operation with the type that declares it.
fn all(facts: &Facts) -> impl Iterator<Item = (TypeId, Operation<'_>)> {
    facts.ids().flat_map(move |id| {
        facts.lines(id).filter_map(|line| line.operation()).map(move |operation| (id, operation))
    })
}

fn described(
    facts: &Facts,
    found: &[(TypeId, Operation<'_>)],
    permissions: Vec<MethodPermissions>,
) -> Option<OperationDescription> {
    let (_, first) = found.first()?;
    let mut bound_to: Vec<String> = found
        .iter()
        .map(|(kind, operation)| {
            full_name(facts, TypeRef { name: facts.name(*kind), collection: operation.on_collection })
        })
        .collect();
    bound_to.dedup();
    let mut overloads: Vec<OverloadDescription> = Vec::new();
    for (_, operation) in found {
        let shown = shown(overload(facts, operation));
        if !overloads.contains(&shown) {
            overloads.push(shown);
        }
    }
    let what = if first.function { "A function" } else { "An action" };
    let method = if first.function { "GET" } else { "POST" };
    Some(OperationDescription {
        name: format!("microsoft.graph.{}", first.name),
        description: format!("{what} of {}.", bound_to.join(", ")),
        method,
        bound_to,
        overloads,
        permissions: permissions.into_iter().filter(|found| found.method == method).collect(),
    })
}

fn shown(overload: Overload) -> OverloadDescription {
    let parameter = |given: super::operation::CallParameter| OperationParameterDescription {
        name: given.name,
        type_name: given.type_name,
        required: given.required,
    };
    OverloadDescription {
        parameters: overload.parameters.into_iter().map(parameter).collect(),
        answer: overload.answer,
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;

    fn bound(name: &str) -> OperationDescription {
        match Catalog::embedded().describe_procedure(name).unwrap() {
            ProcedureView::Bound(found) => found,
            ProcedureView::Named(found) => panic!("{found:?}"),
        }
    }

    #[test]
    fn operations_describe_themselves_by_path_and_by_name() {
        let forward = bound("/me/messages/{id}/FORWARD");
        assert_eq!((forward.name.as_str(), forward.method), ("microsoft.graph.forward", "POST"));
        assert_eq!(forward.bound_to, ["microsoft.graph.message"]);
        let names: Vec<&str> =
            forward.overloads[0].parameters.iter().map(|parameter| parameter.name.as_str()).collect();
        assert_eq!(names, ["ToRecipients", "Message", "Comment"]);
        assert_eq!(forward.permissions[0].delegated, ["Mail.Send"]);
        let anywhere = bound("microsoft.graph.forward");
        assert!(anywhere.bound_to.iter().any(|kind| kind == "microsoft.graph.event"));
        assert_eq!(anywhere.overloads.len(), 3);
        let schedule = bound("/users/{id}/calendar/getSchedule");
        assert_eq!(
            schedule.overloads[0].answer.as_deref(),
            Some("Collection(microsoft.graph.scheduleInformation)")
        );
        assert!(bound("/reports/getEmailActivityCounts").overloads[0].parameters[0].required);
        assert!(matches!(Catalog::embedded().describe_procedure("sendmail"), Ok(ProcedureView::Named(_))));
    }

    #[test]
    fn unknown_operations_are_answered_with_what_there_is() {
        let message = |name: &str| Catalog::embedded().describe_procedure(name).unwrap_err().message;
        assert!(message("/me/messages/x/forwrd").contains("Did you mean 'forward'?"));
        assert!(message("/me/nothing/x").contains("does not know what '/me/nothing' leads to"));
        assert!(message("SendMial").contains("Did you mean 'SendMail'?"));
    }

    #[test]
    fn operations_are_searched_in_any_case() {
        let found = Catalog::embedded().list_operations("GETSCHED");
        assert_eq!(found[0].name, "microsoft.graph.getSchedule");
        assert!(Catalog::embedded().list_operations("").is_empty());
    }
}
