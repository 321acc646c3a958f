//! AssignLicense and FetchAdditionalUserFields as Graph requests (Graph, "user: assignLicense" and "Get user"). Pure.

use serde_json::{Map, Value, json};

use super::given::Given;
use super::{Call, Outcome, Work, item, read};
use crate::activity::error::ActivityError;
use crate::activity::target::write;
use crate::activity::value::checked;
use crate::catalog::ColumnKind;
use crate::graph::Effect;

pub(super) fn assign_license(given: &Given<'_>) -> Result<Work, ActivityError> {
    let add = ids(given, "AddLicenses")?.into_iter().map(|license| match license {
        Value::String(id) => {
            guid(given, "AddLicenses", &id).map(|id| json!({"skuId": id, "disabledPlans": []}))
        }
        Value::Object(license) if license.get("skuId").is_some_and(Value::is_string) => {
            Ok(Value::Object(license))
        }
        _ => Err(given.fault("AddLicenses", "needs ids, or objects with a skuId")),
    });
    let add = add.collect::<Result<Vec<_>, _>>()?;
    let remove = ids(given, "RemoveLicenses")?.into_iter().map(|id| match id {
        Value::String(id) => guid(given, "RemoveLicenses", &id),
        _ => Err(given.fault("RemoveLicenses", "needs ids")),
    });
    let remove = remove.collect::<Result<Vec<_>, _>>()?;
    if add.is_empty() && remove.is_empty() {
        return Err(given.fault("AddLicenses", "is missing, and so is RemoveLicenses: give one of them"));
    }
    // Graph wants both lists, also an empty one.
    let body = Map::from_iter([
        ("addLicenses".to_owned(), Value::from(add)),
        ("removeLicenses".to_owned(), Value::from(remove)),
    ]);
    let path = format!("{}/assignLicense", item("users", given.id("UserId")?));
    let request = write(http::Method::POST, path, Some(body), None, None, Effect::Once);
    Ok(Work::Ask(request, Outcome::Fields(&[("Id", "id"), ("UserPrincipalName", "userPrincipalName")])))
}

/// An array, or texts separated by `;`.
fn ids(given: &Given<'_>, name: &str) -> Result<Vec<Value>, ActivityError> {
    match given.value(name) {
        Some(Value::String(text)) if !text.trim_start().starts_with('[') => {
            Ok(given.list(name)?.into_iter().map(Value::from).collect())
        }
        None => Ok(Vec::new()),
        Some(value) => match checked(ColumnKind::Json, value) {
            Some(Value::Array(items)) => Ok(items),
            _ => Err(given.fault(name, "needs an array, or ids separated by ';'")),
        },
    }
}

fn guid(given: &Given<'_>, name: &str, id: &str) -> Result<Value, ActivityError> {
    checked(ColumnKind::Guid, &Value::from(id.trim())).ok_or_else(|| {
        given.fault(name, "needs ids of licenses (skuId), such as c7df2760-2c81-4ef7-b578-5b5392b571df")
    })
}

/// Properties that Graph answers only for a single user and only when they are named ("user resource type").
const SINGLE: &[(&str, &str)] = &[
    ("Id", "id"),
    ("AboutMe", "aboutMe"),
    ("Birthday", "birthday"),
    ("HireDate", "hireDate"),
    ("Interests", "interests"),
    ("MySite", "mySite"),
    ("PastProjects", "pastProjects"),
    ("PreferredName", "preferredName"),
    ("Responsibilities", "responsibilities"),
    ("Schools", "schools"),
    ("Skills", "skills"),
];

pub(super) fn fetch_fields(given: &Given<'_>, call: Call<'_>) -> Result<Work, ActivityError> {
    let owner = call.owner(given)?;
    let names: Vec<&str> = SINGLE.iter().map(|(_, property)| *property).collect();
    let path = format!("{}?$select={}", owner.path(), names.join(","));
    Ok(Work::Ask(read(path, None), Outcome::Fields(SINGLE)))
}
