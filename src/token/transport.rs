//! HTTP clients for token and Graph requests: proxy, timeouts, no redirects. Clients are shared by connections whose
//! transport is the same, because each holds a connection pool and the host's trust roots.

use std::sync::Arc;

use crate::connection::Connection;

/// Hands out HTTP clients.
#[derive(Debug, Default)]
pub struct Transports {}

impl Transports {
    /// The client for `connection`: its proxy and exceptions applied, redirects off, connect bounded to 5 s, gzip on.
    ///
    /// # Errors
    /// A sentence that names the property that cannot be used.
    pub fn client(&self, _connection: &Arc<Connection>) -> Result<reqwest::Client, String> {
        Err("replaced by the token stage".to_owned())
    }
}
