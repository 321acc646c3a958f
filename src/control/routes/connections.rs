//! Connections: what they are, how their tokens stand, test and refresh; and PUT and DELETE, which write drop-ins.
//! Never shows a secret: a connection's configuration is not read back, only its state.

use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::extract::{Extension, Path, State};
use axum::response::{IntoResponse, Response};
use axum::{Json, http::HeaderMap};
use http::{HeaderValue, StatusCode, header};
use serde::Serialize;
use utoipa::ToSchema;

use super::Shared;
use crate::activity::{CallOptions, Live, TestReport};
use crate::connection::{Connection, ConnectionName};
use crate::control::Control;
use crate::control::extract::{bounded_body, json};
use crate::control::layers::RequestId;
use crate::control::problem::Problem;
use crate::dropin;
use crate::error::Fault;
use crate::token::{ConnectionState, TokenStatus};

/// How long `POST …/refresh` waits for the token server.
const REFRESH_WAIT: Duration = Duration::from_secs(60);

/// A connection as the status routes show it.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct ConnectionView {
    name: String,
    /// `ok`, `refreshing`, `degraded`, `needs_sign_in`, `needs_admin` or `refused`.
    state: &'static str,
    /// What is wrong and what to do, in one or two sentences.
    #[serde(skip_serializing_if = "Option::is_none")]
    message: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    auth_scheme: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    initiate_oauth: Option<&'static str>,
    /// Which version of its configuration is in force.
    #[serde(skip_serializing_if = "Option::is_none")]
    generation: Option<u64>,
    /// The drop-in file it comes from.
    #[serde(skip_serializing_if = "Option::is_none")]
    file: Option<String>,
    /// Its token, without the token.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Object>)]
    token: Option<TokenStatus>,
    /// Seconds until the access token expires.
    #[serde(skip_serializing_if = "Option::is_none")]
    token_expires_in_seconds: Option<u64>,
    /// Names of its saved activities.
    activities: Vec<String>,
    /// Faults in its drop-in file now.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schema(value_type = Vec<Object>)]
    faults: Vec<Fault>,
}

/// All connections by name.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct ConnectionList {
    connections: Vec<ConnectionView>,
}

/// Every connection with its state, token expiry, last refresh, last error and generation.
#[utoipa::path(get, path = "/v1/connections", tag = "connections", responses((status = 200, body = ConnectionList)))]
pub(super) async fn list(State(control): Shared) -> Json<ConnectionList> {
    let set = control.registry.current();
    let mut connections: Vec<_> = set.connections.values().map(|connection| usable(&control, connection)).collect();
    connections.extend(set.refused.iter().map(|(name, faults)| refused(name, faults)));
    connections.sort_by(|one, other| one.name.cmp(&other.name));
    Json(ConnectionList { connections })
}

/// One connection. The ETag is its drop-in file's, for PUT and DELETE with If-Match.
#[utoipa::path(get, path = "/v1/connections/{name}", tag = "connections", params(("name" = String, Path)), responses(
    (status = 200, body = ConnectionView), (status = 404, body = Problem)))]
pub(super) async fn view(State(control): Shared, Path(name): Path<String>) -> Result<Response, Problem> {
    let set = control.registry.current();
    let (shown, file) = match set.connections.iter().find(|(known, _)| known.as_str() == name) {
        Some((_, connection)) => (usable(&control, connection), Some(connection.file.clone())),
        None => {
            let faults = set.refused.get(&name).ok_or_else(|| no_such_connection(&control, &name))?;
            (refused(&name, faults), faults.first().map(|fault| fault.file.clone()))
        }
    };
    let mut response = Json(shown).into_response();
    if let Some(tag) = file.and_then(|file| dropin::etag(&file)).and_then(|tag| HeaderValue::from_str(&tag).ok()) {
        response.headers_mut().insert(header::ETAG, tag);
    }
    Ok(response)
}

/// Writes the connection's drop-in. The body is the connection as in a drop-in file, as JSON. It takes effect at once;
/// a body with faults is refused and nothing is written.
#[utoipa::path(put, path = "/v1/connections/{name}", tag = "connections", params(("name" = String, Path)),
    request_body(content = Object, description = "The connection, as below its name in a drop-in"), responses(
    (status = 200, body = ConnectionView, description = "Replaced"), (status = 201, body = ConnectionView, description = "Made"),
    (status = 409, body = Problem), (status = 412, body = Problem), (status = 422, body = Problem)))]
pub(super) async fn put(
    State(control): Shared,
    Path(name): Path<String>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Problem> {
    let settings = control.settings.load_full();
    let body = bounded_body(body, 256 * 1024).await?;
    let document: serde_json::Value = json(&body)?;
    let name = ConnectionName::new(&name)
        .map_err(|message| Problem::new(StatusCode::BAD_REQUEST, "bad_name", message).field("name"))?;
    write(&control, &name, document, &headers, &settings).await
}

pub(super) async fn write(
    control: &Arc<Control>,
    name: &ConnectionName,
    document: serde_json::Value,
    headers: &HeaderMap,
    settings: &crate::settings::Settings,
) -> Result<Response, Problem> {
    let existed = file_of(control, name.as_str());
    check_precondition(headers, existed.as_deref())?;
    let faults = crate::control::from_stages::trial(control, name, &document, settings);
    if !faults.is_empty() {
        let detail = format!("The connection '{name}' has faults; nothing was written. {}", faults[0].message);
        let mut problem = Problem::new(StatusCode::UNPROCESSABLE_ENTITY, "faulty_connection", detail);
        problem.faults = faults;
        return Err(problem);
    }
    let directory = settings.drop_in_directory.clone();
    let owned = name.clone();
    tokio::task::spawn_blocking(move || dropin::put_connection(&directory, owned.as_str(), &document))
        .await
        .map_err(|_| stopping())?
        .map_err(|message| Problem::new(StatusCode::CONFLICT, "not_written", message))?;
    control.reload.reload().await.ok_or_else(stopping)?;
    let set = control.registry.current();
    let connection = set.connections.get(name).ok_or_else(|| {
        Problem::new(StatusCode::CONFLICT, "not_in_force", "The drop-in was written but is not in force. See GET /v1/agent for its faults.")
    })?;
    let status = if existed.is_some() { StatusCode::OK } else { StatusCode::CREATED };
    let mut response = (status, Json(usable(control, connection))).into_response();
    if let Some(tag) = dropin::etag(&connection.file).and_then(|tag| HeaderValue::from_str(&tag).ok()) {
        response.headers_mut().insert(header::ETAG, tag);
    }
    Ok(response)
}

/// Removes the connection's drop-in. Its stored tokens stay until its name is used again.
#[utoipa::path(delete, path = "/v1/connections/{name}", tag = "connections", params(("name" = String, Path)), responses(
    (status = 204, description = "Removed"), (status = 404, body = Problem), (status = 409, body = Problem), (status = 412, body = Problem)))]
pub(super) async fn delete(
    State(control): Shared,
    Path(name): Path<String>,
    headers: HeaderMap,
) -> Result<StatusCode, Problem> {
    let file = file_of(&control, &name).ok_or_else(|| no_such_connection(&control, &name))?;
    check_precondition(&headers, Some(&file))?;
    let directory = control.settings.load().drop_in_directory.clone();
    tokio::task::spawn_blocking(move || dropin::delete_connection(&directory, &name))
        .await
        .map_err(|_| stopping())?
        .map_err(|message| Problem::new(StatusCode::CONFLICT, "not_removed", message))?;
    control.reload.reload().await.ok_or_else(stopping)?;
    Ok(StatusCode::NO_CONTENT)
}

/// Checks configuration, store, token, clock and Graph, step by step. The status is 200 also when a step failed.
#[utoipa::path(post, path = "/v1/connections/{name}/test", tag = "connections", params(("name" = String, Path)), responses(
    (status = 200, body = TestReport), (status = 404, body = Problem)))]
pub(super) async fn test(
    State(control): Shared,
    Extension(id): Extension<RequestId>,
    Path(name): Path<String>,
) -> Result<Json<TestReport>, Problem> {
    if let Some(faults) = control.registry.current().refused.get(&name) {
        return Ok(Json(TestReport::refused(faults)));
    }
    let live = live(&control, &name)?;
    Ok(Json(control.engine.test(live, CallOptions { request_id: id.0, ..CallOptions::default() }).await))
}

/// Gets a new access token now, and answers with the connection's state.
#[utoipa::path(post, path = "/v1/connections/{name}/refresh", tag = "connections", params(("name" = String, Path)), responses(
    (status = 200, body = ConnectionView), (status = 404, body = Problem), (status = 503, body = Problem)))]
pub(super) async fn refresh(State(control): Shared, Path(name): Path<String>) -> Result<Json<ConnectionView>, Problem> {
    let live = live(&control, &name)?;
    let seen = live.tokens.status().token_generation;
    live.tokens.renew(seen, None, REFRESH_WAIT).await?;
    Ok(Json(usable(&control, &live.connection)))
}

/// The live connection of that name.
pub(super) fn live(control: &Control, name: &str) -> Result<Arc<Live>, Problem> {
    control.engine.live(name).ok_or_else(|| match control.registry.current().refused.get(name) {
        Some(faults) => {
            let first = faults.first().map(ToString::to_string).unwrap_or_default();
            let detail = format!("The connection '{name}' cannot be used because of its drop-in: {first}");
            let mut problem = Problem::new(StatusCode::CONFLICT, "connection_refused", detail);
            problem.faults = faults.clone();
            problem
        }
        None => no_such_connection(control, name),
    })
}

fn no_such_connection(control: &Control, name: &str) -> Problem {
    let set = control.registry.current();
    let nearest = crate::error::nearest_name(name, set.connections.keys().map(ConnectionName::as_str));
    let hint = nearest.map(|known| format!(" Did you mean '{known}'?")).unwrap_or_default();
    let name = crate::error::clean_foreign_text(name);
    let detail = format!("There is no connection '{name}'.{hint} GET /v1/connections lists all of them.");
    Problem::new(StatusCode::NOT_FOUND, "no_such_connection", detail)
}

fn usable(control: &Control, connection: &Arc<Connection>) -> ConnectionView {
    let token = control.keeper.handle(&connection.name).map(|handle| handle.status());
    let state = token.as_ref().map_or(ConnectionState::Refreshing, |token| token.state);
    let faults = control.registry.current().faults.iter().filter(|fault| fault.file == connection.file).cloned().collect();
    ConnectionView {
        name: connection.name.to_string(),
        state: state.as_str(),
        message: token.as_ref().and_then(|token| token.last_error.as_ref()).map(|error| error.message.clone()),
        auth_scheme: Some(connection.auth.scheme.as_str()),
        initiate_oauth: Some(connection.auth.initiate.as_str()),
        generation: Some(connection.generation.number()),
        file: Some(connection.file.display().to_string()),
        token_expires_in_seconds: token
            .as_ref()
            .and_then(|token| token.expires_at)
            .map(|expiry| expiry.until(control.clock.now()).as_secs()),
        token,
        activities: connection.activities.keys().cloned().collect(),
        faults,
    }
}

fn refused(name: &str, faults: &[Fault]) -> ConnectionView {
    ConnectionView {
        name: name.to_owned(),
        state: ConnectionState::Refused.as_str(),
        message: faults.first().map(ToString::to_string),
        auth_scheme: None,
        initiate_oauth: None,
        generation: None,
        file: faults.first().map(|fault| fault.file.display().to_string()),
        token: None,
        token_expires_in_seconds: None,
        activities: Vec::new(),
        faults: faults.to_vec(),
    }
}

fn file_of(control: &Control, name: &str) -> Option<std::path::PathBuf> {
    let set = control.registry.current();
    let in_force = set.connections.iter().find(|(known, _)| known.as_str() == name).map(|(_, connection)| connection.file.clone());
    in_force.or_else(|| set.refused.get(name).and_then(|faults| faults.first()).map(|fault| fault.file.clone()))
}

/// If-Match and If-None-Match (RFC 9110 section 13.1) against the drop-in file as it is now.
fn check_precondition(headers: &HeaderMap, file: Option<&std::path::Path>) -> Result<(), Problem> {
    let current = file.and_then(dropin::etag);
    let matches = |name: header::HeaderName| {
        headers.get(name).and_then(|value| value.to_str().ok()).map(|wanted| {
            wanted.split(',').any(|tag| {
                let tag = tag.trim();
                current.as_deref().is_some_and(|current| tag == "*" || tag == current)
            })
        })
    };
    if matches(header::IF_MATCH) == Some(false) || matches(header::IF_NONE_MATCH) == Some(true) {
        let detail = "The connection has changed since you read it (or exists already). Read it again and repeat with its new ETag.";
        return Err(Problem::new(StatusCode::PRECONDITION_FAILED, "precondition_failed", detail));
    }
    Ok(())
}

fn stopping() -> Problem {
    Problem::new(StatusCode::SERVICE_UNAVAILABLE, "stopping", "The agent is stopping. Repeat the request after it has started.")
}
