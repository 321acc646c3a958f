//! Refreshing a schema: the service's `$metadata` is fetched with the connection's token, checked, kept and put in use. Not a
//! run: it asks for no rows and must work when all places are taken.

use std::sync::Arc;

use super::engine::Live;
use crate::catalog::{LARGEST_METADATA, SchemaFault, SchemaStatus};
use crate::clock::Clock;
use crate::graph::{CallContext, Effect, GraphError, GraphRequest};

/// Why the schema was not refreshed; the one in use stays.
#[derive(Clone, Debug, thiserror::Error)]
pub enum SchemaError {
    /// Graph refused or could not be asked.
    #[error(transparent)]
    Graph(#[from] GraphError),
    /// What came cannot be used or kept.
    #[error(transparent)]
    Fault(#[from] SchemaFault),
}

/// Refreshes the schema of the endpoint of `live`.
///
/// # Errors
/// [`SchemaError`].
pub(super) async fn refresh_schema(
    live: &Live,
    clock: &Clock,
    context: &CallContext,
) -> Result<SchemaStatus, SchemaError> {
    let request = GraphRequest {
        method: http::Method::GET,
        path: "$metadata".to_owned(),
        headers: vec![("Accept", "application/xml".to_owned())],
        body: None,
        mailbox: None,
        effect: Effect::Repeatable,
    };
    let answer = live.graph.send(request, context).await?;
    if answer.body.len() > LARGEST_METADATA {
        let what = format!("its $metadata is larger than {LARGEST_METADATA} bytes");
        return Err(GraphError::BadAnswer { what }.into());
    }
    let (slot, now) = (Arc::clone(&live.catalog), clock.now());
    let replaced = tokio::task::spawn_blocking(move || slot.replace(&answer.body, now)).await;
    let status = replaced.map_err(|error| SchemaFault::NotKept(error.to_string()))??;
    tracing::info!(connection = %live.connection.name, endpoint = status.endpoint, types = status.types,
        "The schema was refreshed from the service's metadata.");
    Ok(status)
}
