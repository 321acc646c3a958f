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
use crate::activity::{CallOptions, KeptStore, Live, TestReport};
use crate::connection::{Connection, ConnectionName};
use crate::control::Control;
use crate::control::extract::{bounded_body, json};
use crate::control::layers::RequestId;
use crate::control::problem::Problem;
use crate::dropin::{self, ConnectionFile};
use crate::error::Fault;
use crate::settings::ThisHost;
use crate::token::{ConnectionState, SignInView, TokenStatus};

/// A drop-in is read up to this size, so it is written up to this size.
const DROP_IN_BYTES: usize = 256 * 1024;

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
    /// A person's sign-in: pending, ended, or offered because it is needed.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Object>)]
    sign_in: Option<SignInView>,
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
    let mut connections: Vec<_> =
        set.connections.values().map(|connection| usable(&control, connection)).collect();
    connections.extend(set.refused.iter().map(|(name, faults)| refused(name, faults)));
    connections.sort_by(|one, other| one.name.cmp(&other.name));
    Json(ConnectionList { connections })
}

/// One connection. The ETag is its drop-in file's, for PUT and DELETE with If-Match.
#[utoipa::path(get, path = "/v1/connections/{name}", tag = "connections", params(("name" = String, Path)), responses(
    (status = 200, body = ConnectionView), (status = 404, body = Problem)))]
pub(super) async fn view(State(control): Shared, Path(name): Path<String>) -> Result<Response, Problem> {
    let set = control.registry.current();
    let shown = match control.registry.get(&name) {
        Some(connection) => usable(&control, &connection),
        None => refused(&name, set.refused.get(&name).ok_or_else(|| no_such_connection(&control, &name))?),
    };
    let mut response = Json(shown).into_response();
    let tag = etag(&control, &name).await?;
    add_etag(&mut response, tag);
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
    let body = bounded_body(body, DROP_IN_BYTES).await?;
    let document: serde_json::Value = json(&body)?;
    let name = ConnectionName::new(&name)
        .map_err(|message| Problem::new(StatusCode::BAD_REQUEST, "bad_name", message).field("name"))?;
    write(&control, &name, document, &headers).await
}

/// Plans the file, tries it against everything else that is in force, writes it, and waits until it is in force.
pub(super) async fn write(
    control: &Arc<Control>,
    name: &ConnectionName,
    document: serde_json::Value,
    headers: &HeaderMap,
) -> Result<Response, Problem> {
    let (headers, owned, shared) = (headers.clone(), name.clone(), control.clone());
    let existed = blocking(move || {
        let snapshot = dropin::scan(&shared.settings.load().drop_in_directory);
        let before = dropin::find_connection(&snapshot, owned.as_str());
        check_precondition(&headers, before.as_ref().map(ConnectionFile::etag).as_deref())?;
        let in_force = shared.registry.get(owned.as_str()).map(|connection| connection.file.clone());
        let planned = dropin::plan_put(&snapshot, owned.as_str(), &document, in_force.as_deref())?;
        let path = planned.file.path.clone();
        let tried = snapshot.with(planned.file.clone());
        let mut faults = shared.registry.preview(&tried, &shared.settings.load(), &ThisHost::new());
        faults.retain(|fault| fault.file == path);
        if let Some(first) = faults.first() {
            let detail = format!(
                "The connection '{owned}' has faults; nothing was written. {}: {}",
                first.key, first.message
            );
            let mut problem = Problem::new(StatusCode::UNPROCESSABLE_ENTITY, "faulty_connection", detail);
            problem.faults = faults;
            return Err(problem);
        }
        planned.commit()?;
        Ok(before.is_some())
    })
    .await?;
    control.reload.reload().await.ok_or_else(stopping)?;
    let connection = control.registry.get(name.as_str()).ok_or_else(|| {
        let detail = "The drop-in was written but is not in force. GET /v1/agent shows why.";
        Problem::new(StatusCode::CONFLICT, "not_in_force", detail)
    })?;
    let status = if existed { StatusCode::OK } else { StatusCode::CREATED };
    let mut response = (status, Json(usable(control, &connection))).into_response();
    add_etag(&mut response, etag(control, name.as_str()).await?);
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
    let shared = control.clone();
    blocking(move || {
        let snapshot = dropin::scan(&shared.settings.load().drop_in_directory);
        let before =
            dropin::find_connection(&snapshot, &name).ok_or_else(|| no_such_connection(&shared, &name))?;
        check_precondition(&headers, Some(&before.etag()))?;
        let in_force = shared.registry.get(&name).map(|connection| connection.file.clone());
        Ok(dropin::plan_delete(&snapshot, &name, in_force.as_deref())?.commit()?)
    })
    .await?;
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
    let options = CallOptions { request_id: id.0, ..CallOptions::default() };
    let probe = KeptStore { keeper: control.keeper.clone(), live: live.clone() };
    Ok(Json(control.engine.test(&live, &probe, &options).await))
}

/// Gets a new access token now, and answers with the connection's state.
#[utoipa::path(post, path = "/v1/connections/{name}/refresh", tag = "connections", params(("name" = String, Path)), responses(
    (status = 200, body = ConnectionView), (status = 404, body = Problem), (status = 503, body = Problem)))]
pub(super) async fn refresh(
    State(control): Shared,
    Path(name): Path<String>,
) -> Result<Json<ConnectionView>, Problem> {
    let live = live(&control, &name)?;
    live.tokens.refresh_now(REFRESH_WAIT).await?;
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
    let faults = control
        .registry
        .current()
        .faults
        .iter()
        .filter(|fault| fault.file == connection.file)
        .cloned()
        .collect();
    let sign_in = control.keeper.sign_in_view(&connection.name);
    let pending = sign_in.as_ref().filter(|view| view.is_pending());
    ConnectionView {
        name: connection.name.to_string(),
        state: state.as_str(),
        // What a person is being waited for matters more than why.
        message: pending.map(|view| view.message.clone()).or_else(|| {
            token.as_ref().and_then(|token| token.last_error.as_ref()).map(|error| error.message.clone())
        }),
        auth_scheme: Some(connection.auth.scheme.as_str()),
        initiate_oauth: Some(connection.auth.initiate.as_str()),
        generation: Some(connection.generation.number()),
        file: Some(connection.file.display().to_string()),
        token_expires_in_seconds: token
            .as_ref()
            .and_then(|token| token.expires_at)
            .map(|expiry| expiry.until(control.clock.now()).as_secs()),
        token,
        sign_in,
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
        sign_in: None,
        activities: Vec::new(),
        faults: faults.to_vec(),
    }
}

async fn etag(control: &Arc<Control>, name: &str) -> Result<Option<String>, Problem> {
    let (shared, name) = (control.clone(), name.to_owned());
    blocking(move || {
        let snapshot = dropin::scan(&shared.settings.load().drop_in_directory);
        Ok(dropin::find_connection(&snapshot, &name).map(|file| file.etag()))
    })
    .await
}

fn add_etag(response: &mut Response, tag: Option<String>) {
    if let Some(tag) = tag.and_then(|tag| HeaderValue::from_str(&tag).ok()) {
        response.headers_mut().insert(header::ETAG, tag);
    }
}

/// File work off the async threads.
pub(super) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, Problem> + Send + 'static,
) -> Result<T, Problem> {
    tokio::task::spawn_blocking(work).await.map_err(|_| stopping())?
}

/// If-Match and If-None-Match (RFC 9110 section 13.1) against the drop-in as it is now.
fn check_precondition(headers: &HeaderMap, current: Option<&str>) -> Result<(), Problem> {
    let matches = |name: header::HeaderName| {
        headers.get(name).and_then(|value| value.to_str().ok()).map(|wanted| {
            wanted
                .split(',')
                .map(str::trim)
                .any(|tag| current.is_some_and(|current| tag == "*" || tag == current))
        })
    };
    if matches(header::IF_MATCH) == Some(false) || matches(header::IF_NONE_MATCH) == Some(true) {
        let detail = "The connection has changed since you read it (or exists already). Read it again and repeat with its new ETag.";
        return Err(Problem::new(StatusCode::PRECONDITION_FAILED, "precondition_failed", detail));
    }
    Ok(())
}

fn stopping() -> Problem {
    Problem::new(
        StatusCode::SERVICE_UNAVAILABLE,
        "stopping",
        "The agent is stopping. Repeat the request after it has started.",
    )
}
