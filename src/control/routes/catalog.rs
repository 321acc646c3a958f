//! Objects and procedures of a connection, with their columns and parameters.

use axum::Json;
use axum::extract::{Path, Query, State};
use http::StatusCode;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::Shared;
use super::connections::live;
use crate::catalog::{self, NamedEntry, ObjectDescription, ProcedureView};
use crate::control::problem::Problem;

/// What of a list is wanted.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
pub(super) struct Wanted {
    /// Part of a name or description, in any case; empty or absent = everything.
    #[serde(default)]
    search: String,
}

/// The objects by name.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct ObjectList {
    objects: Vec<NamedEntry>,
}

/// The procedures by name.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct ProcedureList {
    procedures: Vec<NamedEntry>,
}

/// The objects that can be named in Query, Create, Update and Delete. Any Graph path is an object besides; a search finds
/// the roots of those too.
#[utoipa::path(get, path = "/v1/connections/{name}/objects", tag = "catalogue", params(("name" = String, Path), Wanted), responses(
    (status = 200, body = ObjectList), (status = 404, body = Problem)))]
pub(super) async fn objects(
    State(control): Shared,
    Path(name): Path<String>,
    Query(wanted): Query<Wanted>,
) -> Result<Json<ObjectList>, Problem> {
    let catalog = live(&control, &name)?.catalog.get();
    Ok(Json(ObjectList { objects: catalog.list(&wanted.search) }))
}

/// One object with its columns: a named one, or any Graph path (percent-encoded, `{id}` for any id).
#[utoipa::path(get, path = "/v1/connections/{name}/objects/{object}", tag = "catalogue",
    params(("name" = String, Path), ("object" = String, Path)), responses(
    (status = 200, body = ObjectDescription), (status = 404, body = Problem)))]
pub(super) async fn object(
    State(control): Shared,
    Path((name, object)): Path<(String, String)>,
) -> Result<Json<ObjectDescription>, Problem> {
    let catalog = live(&control, &name)?.catalog.get();
    catalog
        .describe(&object)
        .map(Json)
        .map_err(|error| Problem::new(StatusCode::NOT_FOUND, "unknown_object", error.message))
}

/// The procedures that Execute can call. Any action or function that Graph binds to a resource can be called besides; a
/// search finds them too.
#[utoipa::path(get, path = "/v1/connections/{name}/procedures", tag = "catalogue", params(("name" = String, Path), Wanted), responses(
    (status = 200, body = ProcedureList), (status = 404, body = Problem)))]
pub(super) async fn procedures(
    State(control): Shared,
    Path(name): Path<String>,
    Query(wanted): Query<Wanted>,
) -> Result<Json<ProcedureList>, Problem> {
    let catalog = live(&control, &name)?.catalog.get();
    let mut procedures = catalog::list_procedures(&wanted.search);
    procedures.extend(catalog.list_operations(&wanted.search));
    Ok(Json(ProcedureList { procedures }))
}

/// One procedure with its parameters: a named one, an operation by its path (percent-encoded), or by its name alone.
#[utoipa::path(get, path = "/v1/connections/{name}/procedures/{procedure}", tag = "catalogue",
    params(("name" = String, Path), ("procedure" = String, Path)), responses(
    (status = 200, body = ProcedureView), (status = 404, body = Problem)))]
pub(super) async fn procedure(
    State(control): Shared,
    Path((name, procedure)): Path<(String, String)>,
) -> Result<Json<ProcedureView>, Problem> {
    let catalog = live(&control, &name)?.catalog.get();
    catalog
        .describe_procedure(&procedure)
        .map(Json)
        .map_err(|error| Problem::new(StatusCode::NOT_FOUND, "unknown_procedure", error.message))
}
