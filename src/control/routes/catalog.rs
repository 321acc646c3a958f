//! Objects and procedures of a connection, with their columns and parameters.

use axum::Json;
use axum::extract::{Path, Query, State};
use http::StatusCode;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::Shared;
use super::connections::live;
use crate::catalog::{self, NamedEntry, ObjectDescription, ProcedureDescription};
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

/// The objects that can be named in Query, Create, Update and Delete. Any Graph path is an object besides.
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

/// One object with its columns.
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

/// The procedures that Execute can call. Any bound action of Graph can be called by its name besides.
#[utoipa::path(get, path = "/v1/connections/{name}/procedures", tag = "catalogue", params(("name" = String, Path), Wanted), responses(
    (status = 200, body = ProcedureList), (status = 404, body = Problem)))]
pub(super) async fn procedures(
    State(control): Shared,
    Path(name): Path<String>,
    Query(wanted): Query<Wanted>,
) -> Result<Json<ProcedureList>, Problem> {
    live(&control, &name)?;
    Ok(Json(ProcedureList { procedures: catalog::list_procedures(&wanted.search) }))
}

/// One procedure with its parameters.
#[utoipa::path(get, path = "/v1/connections/{name}/procedures/{procedure}", tag = "catalogue",
    params(("name" = String, Path), ("procedure" = String, Path)), responses(
    (status = 200, body = ProcedureDescription), (status = 404, body = Problem)))]
pub(super) async fn procedure(
    State(control): Shared,
    Path((name, procedure)): Path<(String, String)>,
) -> Result<Json<ProcedureDescription>, Problem> {
    live(&control, &name)?;
    catalog::describe_procedure(&procedure)
        .map(Json)
        .map_err(|error| Problem::new(StatusCode::NOT_FOUND, "unknown_procedure", error.message))
}
