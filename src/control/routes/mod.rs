//! The list of routes, and the OpenAPI document made from the same list: a route that is not documented cannot exist.

mod activities;
mod agent;
mod catalog;
mod connections;
mod execute;
mod open;
mod runs;
mod schema;
mod sign_in;
mod writes;

use std::sync::Arc;

use axum::Router;
use axum::middleware::from_fn_with_state;
use http::StatusCode;
use utoipa::OpenApi;
use utoipa::openapi::security::{HttpAuthScheme, HttpBuilder, SecurityScheme};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::Control;
use super::layers::{Layers, around};
use super::problem::Problem;

/// What handlers share.
pub(super) type Shared = axum::extract::State<Arc<Control>>;

#[derive(OpenApi)]
#[openapi(
    info(
        title = "o365-agent",
        description = "Local control port of the private agent: Microsoft Office 365 connections, their tokens and their activities. Errors are RFC 9457 problem documents with a stable `code`."
    ),
    security(("bearer" = []))
)]
struct Document;

fn listed() -> OpenApiRouter<Arc<Control>> {
    OpenApiRouter::with_openapi(Document::openapi())
        .routes(routes!(open::healthz))
        .routes(routes!(open::readyz))
        .routes(routes!(open::metrics))
        .routes(routes!(open::openapi))
        .routes(routes!(agent::view))
        .routes(routes!(agent::reload))
        .routes(routes!(connections::list))
        .routes(routes!(connections::view, connections::put, connections::delete))
        .routes(routes!(connections::test))
        .routes(routes!(connections::refresh))
        .routes(routes!(sign_in::start, sign_in::view, sign_in::cancel))
        .routes(routes!(catalog::objects))
        .routes(routes!(catalog::object))
        .routes(routes!(catalog::procedures))
        .routes(routes!(catalog::procedure))
        .routes(routes!(schema::view, schema::refresh))
        .routes(routes!(activities::query))
        .routes(routes!(writes::create))
        .routes(routes!(writes::update))
        .routes(routes!(writes::delete))
        .routes(routes!(execute::execute))
        .routes(routes!(activities::list_saved))
        .routes(routes!(activities::view_saved, activities::put_saved, activities::delete_saved))
        .routes(routes!(activities::run_saved))
        .routes(routes!(runs::list))
        .routes(routes!(runs::view, runs::cancel))
        .routes(routes!(runs::results))
}

/// The whole control port: every route, and around all of them (also around "no such route") the layers.
pub fn router(control: Arc<Control>, layers: Arc<Layers>) -> Router {
    let (router, _) = listed().split_for_parts();
    router
        .fallback(async || {
            Problem::new(
                StatusCode::NOT_FOUND,
                "no_such_route",
                "There is no such route. See /openapi.json for all of them.",
            )
        })
        .method_not_allowed_fallback(async || {
            Problem::new(
                StatusCode::METHOD_NOT_ALLOWED,
                "method_not_allowed",
                "This route does not take that method. See /openapi.json.",
            )
        })
        .with_state(control)
        .layer(from_fn_with_state(layers, around))
}

/// The OpenAPI 3.1 document.
pub fn open_api() -> utoipa::openapi::OpenApi {
    let (_, mut document) = listed().split_for_parts();
    document.info.version = env!("CARGO_PKG_VERSION").to_owned();
    let bearer = SecurityScheme::Http(
        HttpBuilder::new()
            .scheme(HttpAuthScheme::Bearer)
            .description(Some("The contents of the control token file. Not needed on the unix socket."))
            .build(),
    );
    document.components.get_or_insert_with(Default::default).add_security_scheme("bearer", bearer);
    document
}
