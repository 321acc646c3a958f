//! Placeholder of the Graph client: the graph stage replaces this file. Sends nothing.
#![allow(missing_docs, reason = "replaced by the graph stage")]

use std::sync::Arc;

use super::model::{CallContext, GraphAnswer, GraphError, GraphRequest};
use super::pages::Pages;
use crate::connection::Connection;

#[derive(Debug)]
pub struct GraphClient {
    connection: Arc<Connection>,
}

impl GraphClient {
    pub fn connection(&self) -> &Arc<Connection> {
        &self.connection
    }

    pub async fn send(&self, _request: GraphRequest, _context: &CallContext) -> Result<GraphAnswer, GraphError> {
        Err(GraphError::Cancelled)
    }

    pub fn pages(self: &Arc<Self>, _first: GraphRequest, _context: CallContext) -> Pages {
        Pages {}
    }

    pub async fn batch(
        &self,
        requests: Vec<GraphRequest>,
        _context: &CallContext,
    ) -> Vec<Result<GraphAnswer, GraphError>> {
        requests.iter().map(|_| Err(GraphError::Cancelled)).collect()
    }
}
